"""Sums weighted by exponentials: triangles of factors, weights next to nothing, and how they are computed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gradloom import check_grads, compile_grad, value_and_grad

RNG = np.random.default_rng(7)
D = 4
ROW, COLUMN = np.arange(D)[:, None], np.arange(D)[None, :]


def whitened(factors, means, x):
    """Return Q (x - mu) for lower triangular Q, for all points and components."""
    lower = np.where(ROW >= COLUMN, factors, 0.0)
    centred = x[:, None, :] - means
    return np.sum(lower[None] * centred[:, :, None, :], axis=3)


def mixture(factors, means, x):
    inner = -0.5 * np.sum(whitened(factors, means, x) ** 2, axis=2)
    largest = np.max(inner, axis=1, keepdims=True)
    return np.sum(np.log(np.sum(np.exp(inner - largest), axis=1)) + largest[:, 0])


def densities(factors, means, x):
    return np.sum(np.exp(-0.5 * np.sum(whitened(factors, means, x) ** 2, axis=2)))


def inputs(spread: float, n: int = 200, k: int = 70) -> tuple[np.ndarray, ...]:
    return spread * RNG.normal(size=(k, D, D)), RNG.normal(size=(k, D)), RNG.normal(size=(n, D))


def gradients(factors, means, x, normalized: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the gradients -sum w y (x - mu)^T and Q^T w y in extended precision, and the weights."""
    factors, means, x = (np.asarray(array, np.longdouble) for array in (factors, means, x))
    lower = np.where(ROW >= COLUMN, factors, 0)
    centred = x[:, None, :] - means
    y = np.einsum("kij,nkj->nki", lower, centred)
    inner = -np.sum(y * y, axis=2) / 2
    weights = np.exp(inner - inner.max(1, keepdims=True)) if normalized else np.exp(inner)
    if normalized:
        weights /= weights.sum(1, keepdims=True)
    weighted = weights[:, :, None] * y
    by_factors = -np.einsum("nki,nkj->kij", weighted, centred) * (ROW >= COLUMN)
    return by_factors, np.einsum("kij,nki->kj", lower, weighted), weights


def loops_of(fun: Callable[..., Any], *args: Any) -> str:
    return compile_grad(fun, argnums=(0, 1)).value_and_grad.ir("loops", *args)


@pytest.mark.parametrize("spread", [0.5, 5.0, 15.0])
def test_gradients_of_a_mixture(spread: float) -> None:
    args = inputs(spread)
    value, (by_factors, by_means) = value_and_grad(mixture, argnums=(0, 1))(*args)
    expected, expected_means, weights = gradients(*args, normalized=True)
    tiny = np.finfo(np.float64).smallest_normal
    if spread > 1:
        assert np.sum((weights > 0) & (weights < tiny)) > 10  # many of these sums have subnormal terms
    np.testing.assert_allclose(value, mixture(*args), rtol=1e-12)
    np.testing.assert_allclose(by_factors, expected.astype(float), rtol=1e-11, atol=1e-13 * np.abs(by_factors).max())
    scale = np.abs(expected_means).max()
    np.testing.assert_allclose(by_means, expected_means.astype(float), rtol=1e-11, atol=float(1e-13 * scale))
    check_grads(mixture, (0.4 / spread * args[0][:5], args[1][:5], args[2][:6]))


def test_sums_of_nothing_but_small_weights_keep_their_digits() -> None:
    """Terms of 1e-320 count where there are no others."""
    k, n = 70, 100
    factors = np.broadcast_to(np.eye(D), (k, D, D)).copy()
    means = np.zeros((k, D))
    x = np.zeros((n, D))
    x[:, 0] = np.sqrt(2 * np.linspace(690, 735, n))  # exp(-690) is 2e-300, exp(-735) subnormal
    x[:, 1:] = RNG.normal(size=(n, D - 1)) * 0.01
    assert "math.lift " in loops_of(densities, factors, means, x)
    for points in (x, x[80:]):
        _, (by_factors, by_means) = value_and_grad(densities, argnums=(0, 1))(factors, means, points)
        expected, expected_means, _ = gradients(factors, means, points, normalized=False)
        smallest = 4 * n * 5e-324
        np.testing.assert_allclose(by_factors, expected.astype(float), rtol=1e-12, atol=60 * smallest)
        np.testing.assert_allclose(by_means, expected_means.astype(float), rtol=1e-12, atol=60 * smallest)
        assert np.abs(by_factors[:, 0, 0]).min() > 0


def test_weights_are_lifted_where_many_sums_share_them() -> None:
    args = inputs(0.5)
    assert loops_of(mixture, *args).count("math.lift ") == 1
    few = compile_grad(lambda a, x: np.sum(np.exp(a[:, None] * x), axis=1)[0] * 1.0)
    assert "math.lift" not in few.value_and_grad.ir("loops", RNG.normal(size=70), RNG.normal(size=90))


def test_zeros_of_a_triangle_are_multiplied_once() -> None:
    """Of the 16 products of a 4 x 4 triangle 10 are computed, and one with 0 for each coordinate but the first."""
    text = compile_grad(mixture).ir("kernels", *inputs(0.5))
    nest = next(part for part in text.split("kernel.nest") if "math" not in part and part.count("arith.mulf") > 10)
    zero = next(line.split()[0] for line in nest.splitlines() if "type = f64, value = 0.0" in line)
    assert nest.count(f"arith.mulf {zero}, ") == D - 1
    assert nest.count("arith.mulf") == D * (D + 1) // 2 + (D - 1) + D + 1  # rows, zeros, squares, 1/2


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_zeros_of_a_triangle_make_nan_of_infinities_as_in_numpy(bad: float) -> None:
    factors, means, x = inputs(0.5)
    for coordinate in range(D):
        x[3, coordinate] = bad

        def norms(factors: Any, means: Any, x: Any) -> Any:
            return np.sum(np.abs(whitened(factors, means, x)), axis=2)

        with np.errstate(invalid="ignore"):
            expected = norms(factors, means, x)
        np.testing.assert_allclose(compile_grad(norms)(factors, means, x), expected, rtol=1e-13)
        x[3, coordinate] = 0.5
