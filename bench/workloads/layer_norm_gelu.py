"""Layer normalization followed by GELU, row by row in float32: a transformer's memory-bound half."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

from bench.workload import Workload, library

EPSILON = 1e-5
SQRT_HALF = 0.7071067811865476
INVERSE_SQRT_TWO_PI = 0.3989422804014327


def make_inputs(rng: np.random.Generator, rows: int, features: int) -> tuple[np.ndarray, ...]:
    """Return activations, and the scale and shift of each feature."""
    return (
        rng.standard_normal((rows, features)),
        rng.uniform(0.5, 1.5, features),
        0.1 * rng.standard_normal(features),
    )


def layer_norm_gelu(x, gamma, beta):
    centred = x - np.mean(x, axis=1, keepdims=True)
    variance = np.mean(centred**2, axis=1, keepdims=True)
    y = centred / np.sqrt(variance + EPSILON) * gamma + beta
    activation = 0.5 * y * (1.0 + special.erf(y * SQRT_HALF))
    return np.mean(activation**2)


def by_hand(x, gamma, beta) -> tuple[Any, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return the gradients with n = (x - mean) / deviation and g = ∂f/∂y.

    ∂x = (h - mean(h) - n mean(h n)) / deviation where h = g γ (Ba, Kiros, Hinton 2016), and
    g = 2 a (Φ(y) + y φ(y)) / size with a = y Φ(y).
    """
    inverse_size = 1.0 / x.size
    centred = x - x.mean(axis=1, keepdims=True)
    inverse = 1.0 / np.sqrt((centred * centred).mean(axis=1, keepdims=True) + EPSILON)
    normal = centred * inverse
    y = normal * gamma + beta
    cdf = 0.5 + 0.5 * special.erf(y * SQRT_HALF)
    activation = y * cdf
    by_y = np.exp(-0.5 * y * y)
    by_y *= y * INVERSE_SQRT_TWO_PI
    by_y += cdf
    by_y *= activation
    by_y *= 2.0 * inverse_size
    value = np.mean(activation * activation)
    by_gamma, by_beta = np.sum(by_y * normal, axis=0), np.sum(by_y, axis=0)
    by_y *= gamma
    along = (by_y * normal).mean(axis=1, keepdims=True)
    by_y -= by_y.mean(axis=1, keepdims=True)
    normal *= along
    by_y -= normal
    by_y *= inverse
    return value, (by_y, by_gamma, by_beta)


def torch_function():
    torch = library("torch")
    functional = torch.nn.functional

    def layer_norm_gelu(x, gamma, beta):
        normal = functional.layer_norm(x, x.shape[1:], gamma, beta, EPSILON)
        return (functional.gelu(normal) ** 2).mean()

    return layer_norm_gelu


def numba_by_hand():
    import math

    numba = library("numba")

    @numba.njit(fastmath=True)
    def value_and_grad(x, gamma, beta):
        rows, features = x.shape
        kind = x.dtype.type
        one, half, zero = kind(1.0), kind(0.5), kind(0.0)
        per_row, scale = one / kind(features), kind(2.0 / (rows * features))
        by_x = np.empty_like(x)
        by_gamma, by_beta = np.zeros(features), np.zeros(features)
        value = 0.0
        normal, flow = np.empty(features, x.dtype), np.empty(features, x.dtype)
        for i in range(rows):
            mean, variance = zero, zero
            for j in range(features):
                mean += x[i, j]
            mean *= per_row
            for j in range(features):
                centred = x[i, j] - mean
                variance += centred * centred
            inverse = one / math.sqrt(variance * per_row + kind(EPSILON))
            total, along, squares = zero, zero, zero
            for j in range(features):
                normal[j] = (x[i, j] - mean) * inverse
                y = normal[j] * gamma[j] + beta[j]
                cdf = half + half * math.erf(y * kind(SQRT_HALF))
                density = kind(INVERSE_SQRT_TWO_PI) * math.exp(-half * y * y)
                activation = y * cdf
                squares += activation * activation
                by_y = scale * activation * (cdf + y * density)
                by_gamma[j] += by_y * normal[j]
                by_beta[j] += by_y
                flow[j] = by_y * gamma[j]
                total += flow[j]
                along += flow[j] * normal[j]
            value += squares
            total *= per_row
            along *= per_row
            for j in range(features):
                by_x[i, j] = inverse * (flow[j] - total - normal[j] * along)
        value /= rows * features
        return value, (by_x, by_gamma.astype(x.dtype), by_beta.astype(x.dtype))

    return value_and_grad


WORKLOADS = (
    Workload(
        name="layer_norm_gelu",
        title="layer norm + GELU, {:,} × {}, f32",
        dtype="float32",
        argnums=(0, 1, 2),
        sizes={"full": (8192, 768), "quick": (256, 768), "test": (4, 5)},
        make_inputs=make_inputs,
        function=layer_norm_gelu,
        by_hand=by_hand,
        torch_function=torch_function,
        numba_by_hand=numba_by_hand,
        cpp_source="layer_norm_gelu.cpp",
    ),
)
