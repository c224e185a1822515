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
    def pull(xi, yi, zi, mi, x, y, z, masses, by_x, by_y, by_z):
        # One body against all behind it, which are pulled back: each pair once.
        potential, sum_x, sum_y, sum_z = 0.0, 0.0, 0.0, 0.0
        for j in range(x.size):
            dx, dy, dz = xi - x[j], yi - y[j], zi - z[j]
            inverse = 1.0 / math.sqrt(dx * dx + dy * dy + dz * dz + softening)
            field = mi * masses[j] * inverse
            force = field * inverse * inverse
            potential += field
            sum_x += force * dx
            sum_y += force * dy
            sum_z += force * dz
            by_x[j] -= force * dx
            by_y[j] -= force * dy
            by_z[j] -= force * dz
        return potential, sum_x, sum_y, sum_z

    @numba.njit(fastmath=True)
    def value_and_grad(positions, masses):
        n = masses.size
        x, y, z = positions[:, 0].copy(), positions[:, 1].copy(), positions[:, 2].copy()
        by_x, by_y, by_z = np.zeros(n), np.zeros(n), np.zeros(n)
        value = 0.0
        for i in range(n):
            k = i + 1
            potential, sum_x, sum_y, sum_z = pull(
                x[i], y[i], z[i], masses[i], x[k:], y[k:], z[k:], masses[k:],
                by_x[k:], by_y[k:], by_z[k:],
            )  # fmt: skip
            value -= potential + 0.5 * masses[i] * masses[i] / math.sqrt(softening)
            by_x[i] += sum_x
            by_y[i] += sum_y
            by_z[i] += sum_z
        gradient = np.empty_like(positions)
        gradient[:, 0], gradient[:, 1], gradient[:, 2] = by_x, by_y, by_z
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
