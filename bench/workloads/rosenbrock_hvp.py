"""The Hessian of the chained Rosenbrock function times a vector: second order, one pass."""

from __future__ import annotations

import numpy as np

from bench.workload import Workload, library
from bench.workloads import rosenbrock


def make_inputs(rng: np.random.Generator, n: int) -> tuple[np.ndarray, ...]:
    """Return a point of `n` coordinates and a direction."""
    return rng.uniform(-1.5, 1.5, n), rng.standard_normal(n)


def by_hand(x: np.ndarray, v: np.ndarray) -> tuple[None, tuple[np.ndarray]]:
    """Return the derivative of the gradient along v.

    With rᵢ = xᵢ₊₁ - xᵢ² and its change sᵢ = vᵢ₊₁ - 2 xᵢ vᵢ:
    (Hv)ᵢ = -400 (vᵢ rᵢ + xᵢ sᵢ) + 2 vᵢ, plus 200 sᵢ₋₁ from the term before.
    """
    left, left_moves = x[:-1], v[:-1]
    residual = x[1:] - left * left
    residual_moves = v[1:] - 2.0 * left * left_moves
    product = np.empty_like(x)
    product[:-1] = -400.0 * (left_moves * residual + left * residual_moves) + 2.0 * left_moves
    product[-1] = 0.0
    product[1:] += 200.0 * residual_moves
    return None, (product,)


def numba_by_hand():
    numba = library("numba")

    @numba.njit(fastmath=True)
    def hvp(x, v):
        n = x.size
        product = np.empty_like(x)
        moves = v[1] - 2.0 * x[0] * v[0]
        product[0] = -400.0 * (v[0] * (x[1] - x[0] * x[0]) + x[0] * moves) + 2.0 * v[0]
        for i in range(1, n - 1):
            before = v[i] - 2.0 * x[i - 1] * v[i - 1]
            moves = v[i + 1] - 2.0 * x[i] * v[i]
            residual = x[i + 1] - x[i] * x[i]
            product[i] = 200.0 * before - 400.0 * (v[i] * residual + x[i] * moves) + 2.0 * v[i]
        product[n - 1] = 200.0 * (v[n - 1] - 2.0 * x[n - 2] * v[n - 2])
        return None, (product,)

    return hvp


WORKLOADS = (
    Workload(
        name="rosenbrock_hvp",
        title="Hessian · vector, Rosenbrock, {:,}",
        dtype="float64",
        quantity="hvp",
        argnums=(0,),
        sizes={"full": (100_000,), "quick": (20_000,), "test": (7,)},
        make_inputs=make_inputs,
        function=rosenbrock.rosenbrock,
        by_hand=by_hand,
        torch_function=rosenbrock.torch_function,
        numba_by_hand=numba_by_hand,
        cpp_source="rosenbrock_hvp.cpp",
    ),
)
