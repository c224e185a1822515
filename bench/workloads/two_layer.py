"""A two-layer ReLU network with a squared loss: PyTorch's first tutorial, 64/1000/100/10."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.workload import Workload, library


def make_inputs(
    rng: np.random.Generator, batch: int, inputs: int, hidden: int, outputs: int
) -> tuple[np.ndarray, ...]:
    """Return x, y, w1 and w2, all standard normal as in the tutorial."""
    return (
        rng.standard_normal((batch, inputs)),
        rng.standard_normal((batch, outputs)),
        rng.standard_normal((inputs, hidden)),
        rng.standard_normal((hidden, outputs)),
    )


def two_layer(x, y, w1, w2):
    hidden = np.maximum(x @ w1, 0.0)
    return np.sum((hidden @ w2 - y) ** 2)


def by_hand(x, y, w1, w2) -> tuple[Any, tuple[np.ndarray, np.ndarray]]:
    """∂/∂w₂ = hᵀG and ∂/∂w₁ = xᵀ(G w₂ᵀ · [h > 0]) with G = 2 (h w₂ - y)."""
    hidden = np.maximum(x @ w1, 0.0)
    residual = hidden @ w2 - y
    by_output = 2.0 * residual
    by_hidden = by_output @ w2.T
    by_hidden *= hidden > 0.0
    return np.vdot(residual, residual), (x.T @ by_hidden, hidden.T @ by_output)


def torch_function():
    def two_layer(x, y, w1, w2):
        return ((x @ w1).clamp(min=0) @ w2 - y).pow(2).sum()

    return two_layer


def numba_by_hand():
    numba = library("numba")

    @numba.njit(fastmath=True)
    def value_and_grad(x, y, w1, w2):
        # `np.dot` in numba is the same BLAS; the loops between the products are fused by hand.
        zero = x.dtype.type(0.0)
        hidden = np.dot(x, w1)
        for i in range(hidden.shape[0]):
            for j in range(hidden.shape[1]):
                hidden[i, j] = max(hidden[i, j], zero)
        by_output = np.dot(hidden, w2)
        value = zero
        for i in range(by_output.shape[0]):
            for j in range(by_output.shape[1]):
                residual = by_output[i, j] - y[i, j]
                value += residual * residual
                by_output[i, j] = residual + residual
        by_hidden = np.dot(by_output, w2.T)
        for i in range(hidden.shape[0]):
            for j in range(hidden.shape[1]):
                if hidden[i, j] <= zero:
                    by_hidden[i, j] = zero
        return value, (np.dot(x.T, by_hidden), np.dot(hidden.T, by_output))

    return value_and_grad


WORKLOADS = (
    Workload(
        name="two_layer",
        title="two-layer net, {}/{}/{}/{}, f32",
        dtype="float32",
        argnums=(2, 3),
        sizes={"full": (64, 1000, 100, 10), "quick": (64, 1000, 100, 10), "test": (3, 5, 4, 2)},
        make_inputs=make_inputs,
        function=two_layer,
        by_hand=by_hand,
        torch_function=torch_function,
        numba_by_hand=numba_by_hand,
        cpp_source="two_layer.cpp",
    ),
)
