"""Logistic regression on a tall matrix: two matrix-vector products around a nonlinearity."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

from bench.workload import Workload, library


def make_inputs(rng: np.random.Generator, samples: int, features: int) -> tuple[np.ndarray, ...]:
    """Return weights, a design matrix and labels drawn from a true logistic model."""
    design = rng.standard_normal((samples, features))
    truth = rng.standard_normal(features) / np.sqrt(features)
    labels = rng.uniform(size=samples) < special.expit(design @ truth)
    return 0.1 * rng.standard_normal(features), design, labels.astype(np.float64)


def logistic(w, x, y):
    z = x @ w
    return np.mean(np.logaddexp(0.0, z) - y * z)


def by_hand(w: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[Any, tuple[np.ndarray]]:
    """∇f = Xᵀ(σ(Xw) - y) / n, with one exponential for both log(1 + exp z) and σ(z)."""
    z = x @ w
    small = np.exp(-np.abs(z))
    value = np.mean(np.maximum(z, 0.0) + np.log1p(small) - y * z)
    sigmoid = np.where(z >= 0.0, 1.0, small) / (1.0 + small)
    return value, ((sigmoid - y) @ x / len(y),)


def jax_function():
    jax = library("jax")

    def logistic(w, x, y):
        z = x @ w
        return jax.numpy.mean(jax.nn.softplus(z) - y * z)

    return logistic


def torch_function():
    torch = library("torch")

    def logistic(w, x, y):
        return torch.nn.functional.binary_cross_entropy_with_logits(x @ w, y)

    return logistic


def numba_by_hand():
    import math

    numba = library("numba")

    @numba.njit(fastmath=True)
    def value_and_grad(w, x, y):
        samples, features = x.shape
        value = 0.0
        gradient = np.zeros_like(w)
        for i in range(samples):
            z = 0.0
            for j in range(features):
                z += x[i, j] * w[j]
            small = math.exp(-abs(z))
            value += max(z, 0.0) + math.log1p(small) - y[i] * z
            residual = (1.0 if z >= 0.0 else small) / (1.0 + small) - y[i]
            for j in range(features):
                gradient[j] += residual * x[i, j]
        return value / samples, (gradient / samples,)

    return value_and_grad


WORKLOADS = (
    Workload(
        name="logistic",
        title="logistic regression, {:,} × {}",
        dtype="float64",
        argnums=(0,),
        sizes={"full": (100_000, 100), "quick": (4_000, 100), "test": (6, 3)},
        make_inputs=make_inputs,
        function=logistic,
        by_hand=by_hand,
        jax_function=jax_function,
        torch_function=torch_function,
        numba_by_hand=numba_by_hand,
        cpp_source="logistic.cpp",
    ),
)
