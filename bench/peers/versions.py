"""Rows written anew for libraries whose arrays cannot say the row's own NumPy source.

Each takes the library's module and returns the row's function on that library's arrays; the same
mathematics, in the library's own idiom. Owns those functions; the adapters look them up by column and
row, and no library is imported here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.workloads import gmm, nbody

Version = Callable[[Any], Callable[..., Any]]


def _packed(d: int) -> dict[tuple[int, int], int]:
    """Where icf keeps each entry (row, column) below the diagonal: by columns, after the d logarithms."""
    places = [(row, column) for column in range(d) for row in range(column + 1, d)]
    return {place: d + i for i, place in enumerate(places)}


def _prior(squares: Any, log_determinants: Any, n: int, d: int, k: int) -> Any:
    return 0.5 * gmm.WISHART_GAMMA**2 * squares - gmm.WISHART_M * log_determinants + gmm.constant(n, d, k)


def gmm_pytensor(tensor: Any) -> Callable[..., Any]:
    """Batched products with triangular factors that are filled by index."""

    def function(alphas: Any, means: Any, icf: Any, x: Any) -> Any:
        (n, d), k = x.type.shape, alphas.type.shape[0]
        rows, columns = (np.array(axis) for axis in zip(*_packed(d), strict=True))
        diagonals = tensor.exp(icf[:, :d])
        log_determinants = tensor.sum(icf[:, :d], axis=1)
        factors = tensor.zeros((k, d, d))
        factors = tensor.set_subtensor(factors[:, np.arange(d), np.arange(d)], diagonals)
        factors = tensor.set_subtensor(factors[:, rows, columns], icf[:, d:])
        whitened = tensor.matmul(x[None, :, :] - means[:, None, :], factors.transpose(0, 2, 1))
        inner = (alphas + log_determinants)[:, None] - 0.5 * tensor.sum(whitened**2, axis=2)
        likelihood = tensor.sum(tensor.logsumexp(inner, axis=0)) - n * tensor.logsumexp(alphas)
        squares = tensor.sum(diagonals**2) + tensor.sum(icf[:, d:] ** 2)
        return likelihood + _prior(squares, tensor.sum(log_determinants), n, d, k)

    return function


def gmm_drjit(dr: Any) -> Callable[..., Any]:
    """Coordinate by coordinate on (n, k) arrays: there is no product of stacked matrices."""

    def log_sum_exp(a: Any, axis: int) -> Any:
        largest = dr.detach(dr.max(a, axis=axis, keepdims=True))
        return dr.sum(dr.log(dr.sum(dr.exp(a - largest), axis=axis, keepdims=True)) + largest)

    def function(alphas: Any, means: Any, icf: Any, x: Any) -> Any:
        (n, d), k = x.shape, alphas.shape[0]
        at = _packed(d)
        centred = [x[:, i][:, None] - means[:, i][None, :] for i in range(d)]
        distances = 0.0
        for i in range(d):
            whitened = dr.exp(icf[:, i])[None, :] * centred[i]
            for j in range(i):
                whitened = whitened + icf[:, at[i, j]][None, :] * centred[j]
            distances = distances + whitened * whitened
        log_determinants = dr.sum(icf[:, :d], axis=1)
        likelihood = log_sum_exp((alphas + log_determinants)[None, :] - 0.5 * distances, 1)
        squares = dr.sum(dr.exp(2.0 * icf[:, :d])) + dr.sum(icf[:, d:] ** 2)
        return likelihood - n * log_sum_exp(alphas, 0) + _prior(squares, dr.sum(log_determinants), n, d, k)

    return function


def gmm_casadi(ca: Any) -> Callable[..., Any]:
    """Component by component, each with a triangular matrix."""

    def function(alphas: Any, means: Any, icf: Any, x: Any) -> Any:
        (n, d), k = x.shape, alphas.shape[0]
        at = _packed(d)
        squares, log_determinants, columns = 0.0, 0.0, []
        for c in range(k):
            diagonal = ca.exp(icf[c, :d])
            entries = [
                diagonal[i] if i == j else icf[c, at[i, j]] if i > j else 0.0 for i in range(d) for j in range(d)
            ]
            factor = ca.reshape(ca.vertcat(*entries), d, d)  # by columns: the transpose
            whitened = (x - ca.repmat(means[c, :], n, 1)) @ factor
            log_determinant = ca.sum2(icf[c, :d])
            columns.append(alphas[c] + log_determinant - 0.5 * ca.sum2(whitened**2))
            log_determinants += log_determinant
            squares += ca.sum2(diagonal**2) + ca.sum2(icf[c, d:] ** 2)
        largest, largest_alpha = columns[0], alphas[0]
        for c in range(1, k):
            largest, largest_alpha = ca.fmax(largest, columns[c]), ca.fmax(largest_alpha, alphas[c])
        total = sum(ca.exp(column - largest) for column in columns)
        likelihood = ca.sum1(ca.log(total) + largest)
        mixture = ca.log(ca.sum1(ca.exp(alphas - largest_alpha))) + largest_alpha
        return likelihood - n * mixture + _prior(squares, log_determinants, n, d, k)

    return function


def nbody_casadi(ca: Any) -> Callable[..., Any]:
    """One matrix of differences for each coordinate: there are no arrays of three dimensions."""

    def function(positions: Any, masses: Any) -> Any:
        n = masses.shape[0]
        squares = nbody.SOFTENING**2
        for i in range(3):
            column = positions[:, i]
            squares = squares + (ca.repmat(column, 1, n) - ca.repmat(column.T, n, 1)) ** 2
        return -0.5 * (masses.T @ ((1.0 / ca.sqrt(squares)) @ masses))

    return function


VERSIONS: dict[tuple[str, str], Version] = {
    ("pytensor", "gmm"): gmm_pytensor,
    ("drjit", "gmm"): gmm_drjit,
    ("casadi", "gmm"): gmm_casadi,
    ("casadi", "nbody"): nbody_casadi,
}
