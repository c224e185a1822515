"""The chained Rosenbrock function: a small one, where the call is all, and one in memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.workload import Workload, library


def make_inputs(rng: np.random.Generator, n: int) -> tuple[np.ndarray, ...]:
    """Return one point of `n` coordinates."""
    return (rng.uniform(-1.5, 1.5, n),)


def rosenbrock(x):
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def by_hand(x: np.ndarray) -> tuple[Any, tuple[np.ndarray]]:
    """∂f/∂xᵢ = -400 xᵢ (xᵢ₊₁ - xᵢ²) - 2 (1 - xᵢ), plus 200 (xᵢ - xᵢ₋₁²) from the term before."""
    left, right = x[:-1], x[1:]
    residual = right - left * left
    remainder = 1.0 - left
    gradient = np.empty_like(x)
    gradient[:-1] = -400.0 * left * residual - 2.0 * remainder
    gradient[-1] = 0.0
    gradient[1:] += 200.0 * residual
    return 100.0 * np.dot(residual, residual) + np.dot(remainder, remainder), (gradient,)


def torch_function():
    def rosenbrock(x):
        return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()

    return rosenbrock


def numba_by_hand():
    numba = library("numba")

    @numba.njit(fastmath=True)
    def value_and_grad(x):
        n = x.size
        gradient = np.empty_like(x)
        residual = x[1] - x[0] * x[0]
        value = 100.0 * residual * residual + (1.0 - x[0]) * (1.0 - x[0])
        gradient[0] = -400.0 * x[0] * residual - 2.0 * (1.0 - x[0])
        for i in range(1, n - 1):
            before = x[i] - x[i - 1] * x[i - 1]
            residual = x[i + 1] - x[i] * x[i]
            remainder = 1.0 - x[i]
            value += 100.0 * residual * residual + remainder * remainder
            gradient[i] = 200.0 * before - 400.0 * x[i] * residual - 2.0 * remainder
        gradient[n - 1] = 200.0 * (x[n - 1] - x[n - 2] * x[n - 2])
        return value, (gradient,)

    return value_and_grad


def _row(name: str, full: int, quick: int) -> Workload:
    return Workload(
        name=name,
        title="Rosenbrock, {:,}",
        dtype="float64",
        argnums=(0,),
        sizes={"full": (full,), "quick": (quick,), "test": (7,)},
        make_inputs=make_inputs,
        function=rosenbrock,
        by_hand=by_hand,
        torch_function=torch_function,
        numba_by_hand=numba_by_hand,
        cpp_source="rosenbrock.cpp",
    )


WORKLOADS = (
    _row("rosenbrock_10", 10, 10),
    _row("rosenbrock_1e6", 1_000_000, 50_000),
)
