"""NumPy's other functions on tracers, against NumPy."""

import math
from typing import Any

import numpy as np
import pytest

from gradloomc.ad.transform import vjp_of
from gradloomc.interp.interpreter import interpret
from gradloomc.ir.errors import DTypeError, ShapeError, UnsupportedError
from harness.tracing import check, run, trace

X = np.array([[-2.5, 0.0, 1.5], [np.pi, -0.4, 7.0]])
SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -1.5, 2.5])

FUNCTIONS = {
    "where": lambda x: np.where(x > 0, x, -1),
    "where both": lambda x: np.where(x > 0, x, x[0]),
    "where numbers": lambda x: np.where(x > 0, 1, 2.5),
    "where mask of numbers": lambda x: np.where(x, 1.0, x),
    "select": lambda x: np.select([x > 3, x > 0], [x * 2, x], default=-1),
    "select default": lambda x: np.select([x > 3], [x]),
    "piecewise": lambda x: np.piecewise(x, [x < 0, x > 2], [lambda v: -v, lambda v: v**2, 7.0]),
    "piecewise two": lambda x: np.piecewise(x, [x < 0, x >= 0], [-1, np.sin]),
    "choose": lambda x: np.choose((x > 0).astype(int), [x, x * 2]),
    "clip": lambda x: np.clip(x, -1, 2),
    "clip arrays": lambda x: np.clip(x, x[0], x[1]),
    "clip low": lambda x: np.clip(x, 0, None),
    "clip high": lambda x: x.clip(max=1.0),
    "clip method": lambda x: x.clip(-1, 1),
    "nan_to_num": np.nan_to_num,
    "round": lambda x: np.round(x),
    "round decimals": lambda x: (np.round(x, 1), x.round(-1), np.around(x, 3)),
    "fix": np.fix,
    "isclose": lambda x: np.isclose(x, [0.0, 1e-9, 1.5]),
    "allclose": lambda x: np.allclose(x, x + 1e-12),
    "array_equal": lambda x: (np.array_equal(x, x), np.array_equal(x, x + 1)),
    "sinc": np.sinc,
    "angle": lambda x: (np.angle(x), np.angle(x, deg=True)),
    "angle of zeros": lambda x: np.angle(x * [[-0.0, 0.0, np.nan]]),
    "isreal": lambda x: (np.isreal(x), np.iscomplex(x)),
    "zeros_like": lambda x: np.zeros_like(x) + x,
    "ones_like": lambda x: np.ones_like(x, dtype=np.float32) * x,
    "full_like": lambda x: np.full_like(x, x[0, 0]),
    "full": lambda x: np.full((2, 2), x[0, 0]),
    "full of row": lambda x: np.full((4, 3), x[0]),
    "polyval": lambda x: np.polyval([1.0, 2.0, 3.0], x),
    "polyval traced": lambda x: np.polyval(x[0], x[1]),
    "linspace": lambda x: np.linspace(x[0, 0], x[0, 2], 7),
    "linspace open": lambda x: np.linspace(0.0, x[0, 2], 5, endpoint=False),
    "linspace rows": lambda x: np.linspace(x[0], x[1], 4, axis=1),
    "cov": np.cov,
    "take": lambda x: np.take(x, [0, 2, 2], axis=1),
    "take flat": lambda x: np.take(x, [5, -1]),
    "take clip": lambda x: np.take(x, [7, -9], mode="clip"),
    "take wrap": lambda x: np.take(x, [7, -9], mode="wrap"),
    "take method": lambda x: x.take([1, 0], axis=0),
    "take_along_axis": lambda x: np.take_along_axis(x, np.array([[0], [2]]), axis=1),
    "compress": lambda x: np.compress([True, False, True], x, axis=1),
    "extract": lambda x: np.extract(np.array([[True, False, True], [False, True, True]]), x),
    "logspace by power": lambda x: 10.0 ** np.linspace(x[0, 1], x[0, 2], 3),
    "heaviside": lambda x: np.heaviside(x, 0.5),
    "deg2rad": lambda x: (np.deg2rad(x), np.rad2deg(x)),
    "interp": lambda x: np.interp(x, [-1.0, 0.0, 2.0, 4.0], [1.0, 3.0, -1.0, 5.0]),
    "interp ends": lambda x: np.interp(x, [-1.0, 0.0, 2.0], [1.0, 3.0, -1.0], left=9.0, right=x[0, 0]),
    "interp values": lambda x: np.interp([0.5, 1.5], [0.0, 1.0, 2.0], x[0]),
    "common_type": lambda x: np.zeros(2, np.common_type(x)) + x[0, 0],
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function(name: str) -> None:
    check(FUNCTIONS[name], X, tolerance=1e-12)
    if name not in ("cov", "interp", "interp ends", "interp values"):
        check(FUNCTIONS[name], X.astype(np.float32), tolerance=1e-5)


SCANS = {
    "cumsum": np.cumsum,
    "cumsum axis": lambda x: x.cumsum(axis=1),
    "cumprod": np.cumprod,
    "cumprod axis": lambda x: np.cumprod(x, axis=-1),
    "cumulative_sum": lambda x: np.cumulative_sum(x, axis=1, include_initial=True),
    "cumulative_prod": lambda x: np.cumulative_prod(x, axis=0, include_initial=True),
    "nancumsum": np.nancumsum,
    "add.accumulate": lambda x: np.add.accumulate(x),
    "maximum.accumulate": lambda x: np.maximum.accumulate(x, axis=1),
    "minimum.accumulate": lambda x: np.minimum.accumulate(x),
}


@pytest.mark.parametrize("name", SCANS)
@pytest.mark.parametrize("dtype", ("int32", "uint8", "float32", "float64"))
def test_scans(name: str, dtype: str) -> None:
    check(SCANS[name], np.abs(X).astype(dtype), tolerance=1e-5)
    check(SCANS[name], np.zeros((0, 2), dtype) if "axis" not in name else np.zeros((2, 0), dtype))


def test_derivative_of_cumprod_at_zeros() -> None:
    x = np.array([2.0, 0.0, 3.0, 0.0, 5.0])
    adjoint = vjp_of(trace(lambda x: np.sum(np.cumprod(x)), x).function, [0], unit_seed=True)
    np.testing.assert_array_equal(interpret(adjoint, [x])[1], [1.0, 8.0, 0.0, 0.0, 0.0])


@pytest.mark.parametrize("name", ("where", "clip", "round", "select", "nan_to_num", "take", "fix", "sinc", "clip low"))
def test_integers(name: str) -> None:
    check(FUNCTIONS[name], np.array([[-2, 0, 1], [3, 14, 25]]), tolerance=1e-12)


@pytest.mark.parametrize("name", ("nan_to_num", "isclose", "interp", "round", "angle"))
def test_special_values(name: str) -> None:
    check(FUNCTIONS[name], SPECIAL.reshape(2, 3))


def test_traced_positions() -> None:
    x, rows, columns = X, np.array([1, 0, -1]), np.array([0, 2, 1])
    check(lambda x, i, j: x[i, j], x, rows, columns)
    check(lambda x, i: np.take(x, i, axis=0), x, rows)
    check(lambda i: np.take(X, i, axis=1), columns)  # a table that is no argument
    check(lambda i: np.take(X, i, mode="clip"), columns * 4)
    check(lambda x, i: np.take_along_axis(x, i, 1), x, np.array([[0, 1], [2, 0]]))
    check(lambda x: np.take_along_axis(x, np.argmax(x, axis=1)[:, None], 1), x)
    check(lambda x: x[np.arange(2), np.argmax(x, axis=1)], x)
    check(lambda x, i: np.choose(i, [x, -x]), x, np.array([[0, 1, 1], [1, 0, 0]]))


def test_special_functions_of_scipy() -> None:
    special = pytest.importorskip("scipy.special")
    x = np.array([[1.0, 2.0, -3.0], [1000.0, 999.0, -1000.0]])
    for axis in (None, 0, 1, (0, 1)):
        check(lambda x, a=axis: special.logsumexp(x, axis=a), x)
    check(lambda x: special.logsumexp(x, axis=1, keepdims=True, b=np.array([1.0, 2.0, 0.5])), x)
    for axis in (None, 0, 1):
        check(lambda x, a=axis: (special.softmax(x, axis=a), special.log_softmax(x, axis=a)), x)
    logsumexp = special.logsumexp
    check(lambda x: logsumexp(x), x.astype(np.float32), tolerance=1e-6)


SCALAR_MATH = [
    name
    for name in "sin cos tan asin acos atan sinh cosh tanh asinh atanh exp exp2 expm1 log log2 log10 log1p sqrt cbrt "
    "fabs degrees radians erf erfc floor ceil trunc modf isnan isinf isfinite".split()
    if hasattr(math, name)
]


@pytest.mark.parametrize("name", SCALAR_MATH)
def test_math(name: str) -> None:
    function = getattr(math, name)
    check(lambda x: function(x), np.float64(0.7), tolerance=1e-14)
    check(lambda x: getattr(math, name)(x) * np.ones(2, np.float32), np.float64(0.7), tolerance=1e-6)


def test_math_of_several_arguments() -> None:
    x, y = np.float64(0.7), np.float64(2.5)
    check(
        lambda x, y: (math.atan2(x, y), math.pow(x, y), math.hypot(x, y, 1.0), math.copysign(x, -1.0), math.fmod(y, x)),
        x,
        y,
    )
    check(lambda x, y: (math.log(x, y), math.log(y, 10), math.log(2, x), math.ldexp(x, 3)), x, y)
    check(lambda x, y: (math.fsum([x, y, 1.0]), math.prod([x, y, 2.0]), math.dist([x, y], [0.0, 1.0])), x, y)
    check(lambda x, y: (math.isclose(x, y), math.isclose(x, x)), x, y)
    check(lambda x: math.sin(2.0) * x, x)
    with pytest.raises(ShapeError, match="only 0-dimensional arrays"):
        run(lambda x: math.sin(x), np.ones(3))


def test_refusals() -> None:
    cases: list[tuple[Any, Any, str]] = [
        (lambda x: np.where(x > 0), UnsupportedError, "not known while the function is being traced"),
        (lambda x: np.nonzero(x), UnsupportedError, "depends on the elements"),
        (lambda x: np.unique(x), UnsupportedError, "depends on the elements"),
        (lambda x: np.fft.fft(x), UnsupportedError, "gradloom cannot trace numpy.fft.fft"),
        (lambda x: np.linalg.eig(x), UnsupportedError, "gradloom cannot trace numpy.linalg.eig"),
        (lambda x: np.select([x], [x]), DTypeError, "should be boolean ndarray"),
        (lambda x: np.select([x > 0], [x, x]), ShapeError, "same length"),
        (lambda x: np.polyval(x, 1.0).sort(), UnsupportedError, "no 'sort'"),
        (lambda x: np.interp(x, [1.0, 2.0], [1.0]), ShapeError, "not of the same length"),
    ]
    for function, error, message in cases:
        with pytest.raises(error, match=message):
            run(function, X)
