"""The softened gravitational potential of n bodies, by broadcasting (n, n, 3) differences."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.workload import Workload, library

SOFTENING = 0.1


def make_inputs(rng: np.random.Generator, n: int) -> tuple[np.ndarray, ...]:
    """Return positions and masses of `n` bodies."""
    return rng.standard_normal((n, 3)), rng.uniform(0.5, 1.5, n) / n


def potential(positions, masses):
    # A body's softened potential in its own field is a constant, so nobody leaves it out.
    differences = positions[:, None, :] - positions[None, :, :]
    squares = np.sum(differences**2, axis=-1) + SOFTENING**2
    return -0.5 * np.sum(masses[:, None] * masses[None, :] / np.sqrt(squares))


def by_hand(positions: np.ndarray, masses: np.ndarray) -> tuple[Any, tuple[np.ndarray]]:
    """∂U/∂xᵢ = mᵢ Σⱼ mⱼ (xᵢ - xⱼ) / rᵢⱼ³ = mᵢ (xᵢ Σⱼ wᵢⱼ - Σⱼ wᵢⱼ xⱼ) with w = mⱼ / rᵢⱼ³.

    Coordinate by coordinate, so that every temporary is n × n.
    """
    squares = np.full((len(masses), len(masses)), SOFTENING**2, dtype=positions.dtype)
    for coordinate in positions.T:
        differences = coordinate[:, None] - coordinate[None, :]
        differences *= differences
        squares += differences
    inverses = 1.0 / np.sqrt(squares)
    value = -0.5 * (masses @ (inverses @ masses))
    inverses *= inverses * inverses
    inverses *= masses
    gradient = inverses.sum(axis=1)[:, None] * positions - inverses @ positions
    gradient *= masses[:, None]
    return value, (gradient,)


def torch_function():
    def potential(positions, masses):
        differences = positions[:, None, :] - positions[None, :, :]
        squares = (differences**2).sum(-1) + SOFTENING**2
        return -0.5 * (masses[:, None] * masses[None, :] / squares.sqrt()).sum()

    return potential


def numba_by_hand():
    import math

    numba = library("numba")
    softening = SOFTENING**2

    @numba.njit(fastmath=True)
    def value_and_grad(positions, masses):
        # Coordinates in arrays of their own, so that eight bodies make a vector.
        n = masses.size
        x, y, z = positions[:, 0].copy(), positions[:, 1].copy(), positions[:, 2].copy()
        gradient = np.empty_like(positions)
        value = 0.0
        for i in range(n):
            xi, yi, zi = x[i], y[i], z[i]
            potential, by_x, by_y, by_z = 0.0, 0.0, 0.0, 0.0
            for j in range(n):
                dx, dy, dz = xi - x[j], yi - y[j], zi - z[j]
                inverse = 1.0 / math.sqrt(dx * dx + dy * dy + dz * dz + softening)
                field = masses[j] * inverse
                pull = field * inverse * inverse
                potential += field
                by_x += pull * dx
                by_y += pull * dy
                by_z += pull * dz
            value -= 0.5 * masses[i] * potential
            gradient[i, 0] = masses[i] * by_x
            gradient[i, 1] = masses[i] * by_y
            gradient[i, 2] = masses[i] * by_z
        return value, (gradient,)

    return value_and_grad


WORKLOADS = (
    Workload(
        name="nbody",
        title="{:,} bodies, all pairs",
        dtype="float64",
        argnums=(0,),
        sizes={"full": (1_000,), "quick": (200,), "test": (5,)},
        make_inputs=make_inputs,
        function=potential,
        by_hand=by_hand,
        torch_function=torch_function,
        numba_by_hand=numba_by_hand,
        cpp_source="nbody.cpp",
    ),
)
