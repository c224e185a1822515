"""Reductions on tracers against NumPy: dtypes, axes, masks, empty arrays, and derivatives at kinks."""

import itertools
from typing import Any

import numpy as np
import pytest

from gradloomc.ad.transform import vjp_of
from gradloomc.interp.interpreter import interpret
from gradloomc.ir.errors import DTypeError, ShapeError, UnsupportedError
from harness.tracing import check, run, trace

DTYPES = ("bool", "int32", "int64", "uint8", "float16", "float32", "float64")
ALL = (np.sum, np.prod, np.mean, np.max, np.min, np.any, np.all, np.var, np.std, np.ptp, np.count_nonzero)
NAN_AWARE = (np.nansum, np.nanprod, np.nanmean, np.nanvar, np.nanstd, np.nanmax, np.nanmin)


def named(function: Any) -> str:
    return function.__name__


def sample(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.standard_normal(shape) * 3).astype(dtype)


def gradient(function: Any, x: Any) -> np.ndarray:
    """Return the gradient of a scalar function by the interpreter."""
    adjoint = vjp_of(trace(function, x).function, [0], unit_seed=True)
    return interpret(adjoint, [x])[-1]


@pytest.mark.parametrize("function", ALL, ids=named)
@pytest.mark.parametrize("dtype", DTYPES)
def test_axes_and_dtypes(function: Any, dtype: str) -> None:
    if function is np.ptp and dtype == "bool":
        with pytest.raises(DTypeError, match="boolean subtract"):
            run(function, sample(dtype, (3,)))
        return
    tolerance = 2e-2 if dtype == "float16" else 2e-6
    x = sample(dtype, (2, 3, 4))
    for axis in (None, 0, -1, (0, 2), (), (0, 1, 2)):
        check(lambda x, a=axis: function(x, axis=a), x, tolerance=tolerance)
        check(lambda x, a=axis: function(x, axis=a, keepdims=True), x, tolerance=tolerance)
    for shape in ((), (1,), (3, 1)):
        check(function, sample(dtype, shape), tolerance=tolerance)


@pytest.mark.parametrize("function", (np.sum, np.prod, np.mean, np.any, np.all), ids=named)
def test_empty(function: Any) -> None:
    check(function, np.zeros((0,)))
    check(lambda x: function(x, axis=1), np.zeros((2, 0)))
    check(lambda x: function(x, axis=0), np.zeros((2, 0)))


def test_empty_extremum_is_refused() -> None:
    with pytest.raises(ShapeError, match="zero-size array to reduction operation maximum which has no identity"):
        run(np.max, np.zeros((0,)))
    check(lambda x: np.max(x, initial=3.0), np.zeros((0,)))
    with pytest.raises(ShapeError, match="attempt to get argmax of an empty sequence"):
        run(np.argmax, np.zeros((0,)))


@pytest.mark.parametrize("method", "sum prod mean max min any all var std argmax argmin".split())
def test_methods(method: str) -> None:
    x = sample("float64", (3, 4))
    check(lambda x: getattr(x, method)(), x)
    check(lambda x: getattr(x, method)(0), x)
    check(lambda x: getattr(x, method)(axis=1), x)


def test_where_initial_ddof_dtype() -> None:
    x = sample("float64", (3, 4))
    mask = x > 0
    for function in (np.sum, np.prod, np.mean, np.var, np.std, np.any, np.all):
        check(lambda x, m, f=function: f(x, axis=0, where=m), x, mask)
        check(lambda x, f=function: f(x, where=np.array([True, False, True, True])), x)
    for function in (np.max, np.min):
        check(lambda x, m, f=function: f(x, axis=0, where=m, initial=-1.5), x, mask)
        with pytest.raises(ShapeError, match="does not have an identity"):
            run(lambda x, m, f=function: f(x, where=m), x, mask)
    for function in (np.sum, np.prod, np.max, np.min):
        check(lambda x, f=function: f(x, axis=1, initial=2), x)
    for function in (np.var, np.std):
        check(lambda x, f=function: f(x, axis=1, ddof=1), x)
        check(lambda x, f=function: f(x, correction=1), x)
        check(lambda x, f=function: f(x, mean=np.mean(x, keepdims=True)), x)
        check(lambda x, f=function: f(x, ddof=20), x)
    for dtype in ("float32", "float64"):
        for function in (np.sum, np.prod, np.mean, np.var):
            check(lambda x, f=function, d=dtype: f(x, dtype=d), x.astype(np.float32), tolerance=1e-5)
    check(lambda n: np.sum(n, dtype=float), np.arange(4))


def test_out() -> None:
    def function(x: Any) -> Any:
        out = np.zeros(4)
        result = np.sum(x, axis=0, out=out)
        return out, result, x.mean(axis=0, out=np.empty(4))

    check(function, sample("float64", (3, 4)))


@pytest.mark.parametrize("function", (np.argmax, np.argmin), ids=named)
def test_positions(function: Any) -> None:
    x = np.array([[1.0, 5.0, 5.0], [7.0, -1.0, -1.0]])
    for axis, keepdims in itertools.product((None, 0, 1, -1), (False, True)):
        check(lambda x, a=axis, k=keepdims: function(x, axis=a, keepdims=k), x)
    check(function, np.array(3.0))


@pytest.mark.parametrize("function", NAN_AWARE, ids=named)
def test_nan_aware(function: Any) -> None:
    x = np.array([[1.0, np.nan, 3.0], [4.0, 5.0, -6.0]])
    for axis in (None, 0, 1):
        check(lambda x, a=axis: function(x, axis=a), x)
    check(function, np.arange(4))


def test_average() -> None:
    x, w = sample("float64", (3, 4)), np.array([1.0, 2.0, 0.5, 1.0])
    check(np.average, x)
    check(lambda x, w: np.average(x, axis=1, weights=w), x, w)
    check(lambda x, w: np.average(x, axis=1, weights=w, returned=True, keepdims=True), x, w)
    check(lambda x: np.average(x, weights=np.abs(x) + 1), x)
    check(np.average, np.arange(4))
    with pytest.raises(DTypeError, match="Axis must be specified"):
        run(lambda x, w: np.average(x, weights=w), x, w)


@pytest.mark.parametrize("order", (None, 2, 1, 0, np.inf, -np.inf, 3, 0.5))
def test_vector_norms(order: Any) -> None:
    x = sample("float64", (3, 4))
    check(lambda x: np.linalg.norm(x[0], order), x)
    check(lambda x: np.linalg.norm(x, order, axis=1), x)
    check(lambda x: np.linalg.norm(x, order, axis=0, keepdims=True), x)


@pytest.mark.parametrize("order", (None, "fro", 1, -1, np.inf, -np.inf))
def test_matrix_norms(order: Any) -> None:
    x = sample("float64", (2, 3, 4))
    check(lambda x: np.linalg.norm(x[0], order), x)
    check(lambda x: np.linalg.norm(x, order, axis=(1, 2)), x)
    check(lambda x: np.linalg.norm(x, order, axis=(2, 0), keepdims=True), x)


def test_other_norms() -> None:
    x = sample("float64", (2, 3, 4))
    check(np.linalg.norm, x)
    check(np.linalg.norm, np.arange(5))
    check(lambda x: np.linalg.vector_norm(x, axis=1), x)
    check(np.linalg.matrix_norm, x)
    with pytest.raises(UnsupportedError, match="singular values"):
        run(lambda x: np.linalg.norm(x[0], 2), x)


def test_wrong_axes() -> None:
    wrong: Any = 1.5
    x = np.zeros((2, 3))
    with pytest.raises(ShapeError, match="axis 2 is out of bounds for array of dimension 2"):
        run(lambda x: np.sum(x, axis=2), x)
    with pytest.raises(ShapeError, match="duplicate value in 'axis'"):
        run(lambda x: np.sum(x, axis=(0, 0)), x)
    with pytest.raises(DTypeError, match="an axis should be an integer"):
        run(lambda x: np.sum(x, axis=wrong), x)


def test_derivatives_at_kinks() -> None:
    """The conventions: the norm at 0 and the deviation of equal numbers have derivative 0, ties share."""
    zero, equal = np.zeros(3), np.full(3, 2.0)
    np.testing.assert_array_equal(gradient(np.linalg.norm, zero), zero)
    np.testing.assert_array_equal(gradient(lambda x: np.linalg.norm(x) ** 2, zero), zero)
    np.testing.assert_array_equal(gradient(np.std, equal), zero)
    np.testing.assert_allclose(gradient(np.max, equal), np.full(3, 1 / 3))
    np.testing.assert_array_equal(gradient(lambda x: np.sum(np.clip(x, 2.0, None)), equal), np.ones(3))
    np.testing.assert_array_equal(gradient(lambda x: np.sum(np.maximum(x, 2.0)), equal), np.full(3, 0.5))
    np.testing.assert_array_equal(gradient(lambda x: np.sum(np.where(x > 0, np.sqrt(x), 0)), -equal), zero)
    np.testing.assert_array_equal(gradient(lambda x: np.sum(np.sinc(x)), zero), zero)
    np.testing.assert_allclose(gradient(lambda x: np.linalg.norm(x), np.array([3.0, 4.0])), [0.6, 0.8])


@pytest.mark.parametrize("axis", [0, -1, 1, (0,)])
@pytest.mark.parametrize("function", [*ALL, np.cumsum, np.cumprod, np.argmax], ids=named)
def test_the_axis_of_a_number_is_what_numpy_lets_pass(function: Any, axis: Any) -> None:
    x = np.array(3.0)
    try:
        expected = function(x, axis=axis)
    except (np.exceptions.AxisError, TypeError):
        with pytest.raises((ShapeError, DTypeError)):
            run(lambda x: function(x, axis=axis), x)
    else:
        (found,) = run(lambda x: function(x, axis=axis), x)
        assert np.shape(found) == np.shape(expected) and np.asarray(found).dtype == np.asarray(expected).dtype
        np.testing.assert_array_equal(found, expected)
