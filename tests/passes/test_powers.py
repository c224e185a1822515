"""Constant powers become products, roots and reciprocals: accurate, and right where they overflow."""

from typing import Any

import numpy as np
import pytest

from gradloom import compile_grad

EXPONENTS = [-13, -12, -7, -6, -3, -2, -1.5, -0.5, 1.5, 2.5, 5, 6, 11, 16, 17, 0.3, -2.5]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("exponent", EXPONENTS)
def test_powers_of_squares(exponent: float, dtype: Any) -> None:
    x = np.random.default_rng(3).uniform(0.4, 2.5, 300).astype(dtype)
    x[:5] = 0.5, 1.0, 2.0, -1.5, -0.75

    def function(x: Any) -> Any:
        return np.sum((x * x) ** dtype(exponent))

    value, gradient = compile_grad(function).value_and_grad(x)
    precise = x.astype(np.longdouble)
    tolerance = 12 * np.finfo(dtype).eps
    np.testing.assert_allclose(value, float(np.sum((precise**2) ** exponent)), rtol=2 * tolerance)
    expected = 2 * exponent * (precise**2) ** exponent / precise
    np.testing.assert_allclose(gradient, expected.astype(float), rtol=tolerance)


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_powers_of_special_numbers(exponent: float) -> None:
    x = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, 1e200, 1e-200, -1e-200, 1e30, 1e-30])
    weights = np.eye(len(x))
    with np.errstate(all="ignore"):
        of_squares, of_any = np.abs((x * x) ** exponent), x**exponent
    function: Any = compile_grad(lambda x, w: np.sum(np.where(w > 0, (x * x) ** exponent, 0.0)), argnums=0)
    plain: Any = compile_grad(lambda x, w: np.sum(np.where(w > 0, x**exponent, 0.0)), argnums=0)
    for k, weight in enumerate(weights):
        np.testing.assert_allclose(function.value_and_grad(x, weight)[0], of_squares[k], rtol=1e-14)
        np.testing.assert_allclose(plain.value_and_grad(x, weight)[0], of_any[k], rtol=1e-14)


def test_zero_gradients_where_powers_vanish() -> None:
    x = np.array([1e30, 1e60, np.inf])
    gradient = compile_grad(lambda x: np.sum((x * x) ** -6.0)).grad(x[:2])
    np.testing.assert_array_equal(gradient, 0.0)
