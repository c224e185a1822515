"""A five-point stencil: the squared residual of -k Δu + u³ on a grid, by the field and by k."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.workload import Workload, library


def make_inputs(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, ...]:
    """Return a field and a positive coefficient at each of its points."""
    return rng.standard_normal((height, width)), rng.uniform(0.5, 1.5, (height, width))


def stencil(u, k):
    centre = u[1:-1, 1:-1]
    laplacian = u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4.0 * centre
    residual = centre**3 - k[1:-1, 1:-1] * laplacian
    return np.sum(residual**2)


def by_hand(u: np.ndarray, k: np.ndarray) -> tuple[Any, tuple[np.ndarray, np.ndarray]]:
    """∂k = -2 r Δu, and ∂u = Δᵀ(-2 r k) + 6 r u², where Δᵀ adds each point to its neighbours."""
    centre, inner = u[1:-1, 1:-1], k[1:-1, 1:-1]
    laplacian = u[2:, 1:-1] + u[:-2, 1:-1]
    laplacian += u[1:-1, 2:]
    laplacian += u[1:-1, :-2]
    laplacian -= 4.0 * centre
    squares = centre * centre
    residual = squares * centre - inner * laplacian
    value = np.vdot(residual, residual)
    residual *= -2.0
    by_k = np.zeros_like(k)
    np.multiply(residual, laplacian, out=by_k[1:-1, 1:-1])
    squares *= -3.0
    squares *= residual
    residual *= inner
    squares -= 4.0 * residual
    by_u = np.zeros_like(u)
    by_u[1:-1, 1:-1] = squares
    by_u[2:, 1:-1] += residual
    by_u[:-2, 1:-1] += residual
    by_u[1:-1, 2:] += residual
    by_u[1:-1, :-2] += residual
    return value, (by_u, by_k)


def torch_function():
    def stencil(u, k):
        centre = u[1:-1, 1:-1]
        laplacian = u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4.0 * centre
        residual = centre**3 - k[1:-1, 1:-1] * laplacian
        return (residual**2).sum()

    return stencil


def numba_by_hand():
    numba = library("numba")

    @numba.njit(fastmath=True)
    def residuals(above, centre, below, k, by_k, flow, direct):
        # One row: -2 r k into `flow`, 6 r u² into `direct`; zero where there is no residual.
        n = centre.size
        total = 0.0
        for j in range(1, n - 1):
            u = centre[j]
            laplacian = above[j] + below[j] + centre[j - 1] + centre[j + 1] - 4.0 * u
            residual = u * u * u - k[j] * laplacian
            total += residual * residual
            by_k[j] = -2.0 * residual * laplacian
            flow[j] = -2.0 * residual * k[j]
            direct[j] = 6.0 * residual * u * u
        by_k[0] = by_k[n - 1] = 0.0
        return total

    @numba.njit(fastmath=True)
    def gather(above, centre, below, direct, by_u):
        n = centre.size
        by_u[0] = centre[1]
        by_u[n - 1] = centre[n - 2]
        for j in range(1, n - 1):
            around = above[j] + below[j] + centre[j - 1] + centre[j + 1]
            by_u[j] = around - 4.0 * centre[j] + direct[j]

    @numba.njit(fastmath=True)
    def value_and_grad(u, k):
        # The flow of three rows is kept in a ring, so that each array is read or written once.
        height, width = u.shape
        by_u, by_k = np.empty_like(u), np.empty_like(k)
        flow, direct = np.zeros((3, width)), np.zeros((2, width))
        by_k[0, :] = 0.0
        by_k[height - 1, :] = 0.0
        value = 0.0
        for i in range(height):
            after = (i + 1) % 3
            if i + 1 < height - 1:
                value += residuals(
                    u[i], u[i + 1], u[i + 2], k[i + 1], by_k[i + 1], flow[after], direct[(i + 1) % 2]
                )
            else:
                flow[after, :] = 0.0
                direct[(i + 1) % 2, :] = 0.0
            gather(flow[(i + 2) % 3], flow[i % 3], flow[after], direct[i % 2], by_u[i])
        return value, (by_u, by_k)

    return value_and_grad


WORKLOADS = (
    Workload(
        name="stencil",
        title="five-point stencil, {:,} × {:,}",
        dtype="float64",
        argnums=(0, 1),
        sizes={"full": (1024, 1024), "quick": (128, 128), "test": (5, 6)},
        make_inputs=make_inputs,
        function=stencil,
        by_hand=by_hand,
        torch_function=torch_function,
        numba_by_hand=numba_by_hand,
        cpp_source="stencil.cpp",
    ),
)
