"""ADBench's Gaussian mixture: log-likelihood of points with a Wishart prior, by all parameters.

The objective is that of Šrajer, Kukelova and Fitzgibbon, "A benchmark of selected algorithmic
differentiation tools on some problems in computer vision and machine learning" (2018), section 4.1,
in the vectorised form of their later Python versions. An inverse covariance is QᵀQ, and Q is kept
as a row of `icf`: the logarithms of its diagonal, then its entries below, column by column.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bench.workload import Workload, library

# The prior's parameters γ and m, as in ADBench's data sets.
WISHART_GAMMA = 1.0
WISHART_M = 0


def make_inputs(rng: np.random.Generator, n: int, d: int, k: int) -> tuple[np.ndarray, ...]:
    """Return weights, means and inverse covariance factors of k components, and n points."""
    return (
        rng.standard_normal(k),
        rng.standard_normal((k, d)),
        rng.standard_normal((k, d * (d + 1) // 2)),
        rng.standard_normal((n, d)),
    )


def constant(n: int, d: int, k: int) -> float:
    """Return the part of the objective that depends on no parameter."""
    freedom = d + WISHART_M + 1
    log_gamma = 0.25 * d * (d - 1) * math.log(math.pi)
    log_gamma += sum(math.lgamma(0.5 * (freedom - j)) for j in range(d))
    scale = freedom * d * math.log(WISHART_GAMMA / math.sqrt(2.0))
    return -0.5 * n * d * math.log(2.0 * math.pi) - k * (scale - log_gamma)


def log_sum_exp(x):
    largest = np.max(x, axis=-1, keepdims=True)
    return np.log(np.sum(np.exp(x - largest), axis=-1)) + largest[..., 0]


def below_diagonal(icf, d):
    row, column = np.arange(d)[:, None], np.arange(d)[None, :]
    position = d + column * (d - 1) - column * (column - 1) // 2 + row - column - 1
    return np.where(row > column, icf[:, np.where(row > column, position, 0)], 0.0)


def gmm(alphas, means, icf, x):
    n, d = x.shape
    k = alphas.shape[0]
    log_determinants = np.sum(icf[:, :d], axis=1)
    diagonals = np.exp(icf[:, :d])
    centred = x[:, None, :] - means
    products = np.einsum("kij,nkj->nki", below_diagonal(icf, d), centred)
    distances = np.sum((diagonals * centred + products) ** 2, axis=2)
    likelihood = np.sum(log_sum_exp(alphas + log_determinants - 0.5 * distances))
    squares = np.sum(diagonals**2) + np.sum(icf[:, d:] ** 2)
    prior = 0.5 * WISHART_GAMMA**2 * squares - WISHART_M * np.sum(log_determinants)
    return likelihood - n * log_sum_exp(alphas) + prior + constant(n, d, k)


def by_hand(alphas, means, icf, x) -> tuple[Any, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return the gradients by responsibilities, as in an EM step.

    With y = Q (x - μ) and wₙₖ, the softmax over k of α + log|Q| - |y|²/2:
    ∂α = Σₙ w - n softmax(α), ∂μ = Qᵀ Σₙ w y, and ∂Q = -Σₙ w y (x - μ)ᵀ, of which the entries
    below the diagonal count, and those on it times q, as icf holds log q.
    """
    n, d = x.shape
    k = len(alphas)
    columns, rows = np.triu_indices(d, 1)
    on = np.arange(d)
    diagonals = np.exp(icf[:, :d])
    factors = np.zeros((k, d, d))
    factors[:, on, on] = diagonals
    factors[:, rows, columns] = icf[:, d:]
    log_determinants = icf[:, :d].sum(axis=1)

    centred = x - means[:, None, :]
    whitened = centred @ factors.transpose(0, 2, 1)
    inner = (alphas + log_determinants)[:, None] - 0.5 * np.sum(whitened * whitened, axis=2)
    largest = inner.max(axis=0)
    weights = np.exp(inner - largest)
    normalizers = weights.sum(axis=0)
    weights /= normalizers
    powers = np.exp(alphas - alphas.max())
    log_weights = np.log(powers.sum()) + alphas.max()
    gamma = WISHART_GAMMA**2
    squares = np.vdot(diagonals, diagonals) + np.vdot(icf[:, d:], icf[:, d:])
    value = np.sum(np.log(normalizers) + largest) - n * log_weights + constant(n, d, k)
    value += 0.5 * gamma * squares - WISHART_M * log_determinants.sum()

    mass = weights.sum(axis=1)
    whitened *= weights[:, :, None]
    by_means = np.squeeze(whitened.sum(axis=1)[:, None, :] @ factors, axis=1)
    by_factors = -(whitened.transpose(0, 2, 1) @ centred)
    by_icf = np.empty_like(icf)
    by_icf[:, :d] = by_factors[:, on, on] * diagonals + mass[:, None] + gamma * diagonals**2
    by_icf[:, :d] -= WISHART_M
    by_icf[:, d:] = by_factors[:, rows, columns] + gamma * icf[:, d:]
    return value, (mass - n * powers / powers.sum(), by_means, by_icf)


def torch_function():
    torch = library("torch")

    def gmm(alphas, means, icf, x):
        n, d = x.shape
        log_determinants = icf[:, :d].sum(1)
        diagonals = icf[:, :d].exp()
        row, column = torch.arange(d)[:, None], torch.arange(d)[None, :]
        position = d + column * (d - 1) - column * (column - 1) // 2 + row - column - 1
        lower = icf[:, (position * (row > column))] * (row > column)
        centred = x[:, None, :] - means
        whitened = diagonals * centred + torch.einsum("kij,nkj->nki", lower, centred)
        inner = alphas + log_determinants - 0.5 * (whitened**2).sum(2)
        squares = (diagonals**2).sum() + (icf[:, d:] ** 2).sum()
        prior = 0.5 * WISHART_GAMMA**2 * squares - WISHART_M * log_determinants.sum()
        likelihood = torch.logsumexp(inner, 1).sum() - n * torch.logsumexp(alphas, 0)
        return likelihood + prior + constant(n, d, alphas.shape[0])

    return gmm


def numba_by_hand():
    numba = library("numba")
    gamma, prior_m = WISHART_GAMMA**2, float(WISHART_M)

    @numba.njit(fastmath=True)
    def unpack(icf, factors):
        components, d, _ = factors.shape
        for k in range(components):
            at = d
            for j in range(d):
                factors[k, j, j] = np.exp(icf[k, j])
                for i in range(j + 1, d):
                    factors[k, i, j] = icf[k, at]
                    at += 1

    @numba.njit(fastmath=True)
    def whiten(factor, mean, points, whitened, squares):
        # Points run along the last axis: every innermost loop is over contiguous memory.
        d, n = points.shape
        squares[:] = 0.0
        for i in range(d):
            whitened[i, :] = 0.0
            for j in range(i + 1):
                entry, centre = factor[i, j], mean[j]
                for s in range(n):
                    whitened[i, s] += entry * (points[j, s] - centre)
            for s in range(n):
                squares[s] += whitened[i, s] * whitened[i, s]

    @numba.njit(fastmath=True)
    def softmax(inner):
        # Over the first axis, in place; returns the sum of the logarithms of the normalizers.
        components, n = inner.shape
        total = 0.0
        largest, normalizer = inner[0].copy(), np.zeros(n)
        for k in range(1, components):
            for s in range(n):
                largest[s] = max(largest[s], inner[k, s])
        for k in range(components):
            for s in range(n):
                inner[k, s] = np.exp(inner[k, s] - largest[s])
                normalizer[s] += inner[k, s]
        for s in range(n):
            total += np.log(normalizer[s]) + largest[s]
            normalizer[s] = 1.0 / normalizer[s]
        for k in range(components):
            for s in range(n):
                inner[k, s] *= normalizer[s]
        return total

    @numba.njit(fastmath=True)
    def collect(factor, mean, points, whitened, weights, by_factor, by_mean):
        # Returns Σ w; writes -Σ w y (x - μ)ᵀ + γ² Q and Qᵀ Σ w y; weights y in place.
        d, n = points.shape
        mass = 0.0
        for s in range(n):
            mass += weights[s]
        by_mean[:] = 0.0
        for i in range(d):
            weighted = 0.0
            for s in range(n):
                whitened[i, s] *= weights[s]
                weighted += whitened[i, s]
            for j in range(i + 1):
                outer, centre = 0.0, mean[j]
                for s in range(n):
                    outer += whitened[i, s] * (points[j, s] - centre)
                by_factor[i, j] = gamma * factor[i, j] - outer
                by_mean[j] += factor[i, j] * weighted
        return mass

    @numba.njit(fastmath=True)
    def value_and_grad(alphas, means, icf, x):
        n, d = x.shape
        components = alphas.size
        factors = np.empty((components, d, d))
        unpack(icf, factors)
        points = np.ascontiguousarray(x.T)
        whitened = np.empty((components, d, n))
        weights = np.empty((components, n))
        squares = np.empty(n)
        value = 0.0
        for k in range(components):
            whiten(factors[k], means[k], points, whitened[k], squares)
            offset = alphas[k]
            for j in range(d):
                offset += icf[k, j]
            for s in range(n):
                weights[k, s] = offset - 0.5 * squares[s]
        value += softmax(weights)
        largest = alphas.max()
        normalizer = np.exp(alphas - largest).sum()
        value -= n * (np.log(normalizer) + largest)

        by_alphas, by_means, by_icf = (
            np.empty_like(alphas), np.empty_like(means), np.empty_like(icf),
        )  # fmt: skip
        by_factor = np.empty((d, d))
        for k in range(components):
            mass = collect(
                factors[k], means[k], points, whitened[k], weights[k], by_factor, by_means[k]
            )
            by_alphas[k] = mass - n * np.exp(alphas[k] - largest) / normalizer
            at = d
            for j in range(d):
                diagonal = factors[k, j, j]
                value += 0.5 * gamma * diagonal * diagonal - prior_m * icf[k, j]
                by_icf[k, j] = by_factor[j, j] * diagonal + mass - prior_m
                for i in range(j + 1, d):
                    value += 0.5 * gamma * icf[k, at] * icf[k, at]
                    by_icf[k, at] = by_factor[i, j]
                    at += 1
        return value, (by_alphas, by_means, by_icf)

    def with_constant(alphas, means, icf, x):
        value, gradients = value_and_grad(alphas, means, icf, x)
        n, d = x.shape
        return value + constant(n, d, len(alphas)), gradients

    return with_constant


WORKLOADS = (
    Workload(
        name="gmm",
        title="Gaussian mixture, {:,} points, d = {}, k = {}",
        dtype="float64",
        argnums=(0, 1, 2),
        sizes={"full": (1_000, 10, 25), "quick": (200, 10, 25), "test": (6, 3, 2)},
        make_inputs=make_inputs,
        function=gmm,
        by_hand=by_hand,
        torch_function=torch_function,
        numba_by_hand=numba_by_hand,
        cpp_source="gmm.cpp",
    ),
)
