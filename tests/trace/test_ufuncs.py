"""Every ufunc on tracers: dtypes, shapes and values are NumPy's, and so are the refusals."""

import itertools
from typing import Any

import numpy as np
import pytest

from gradloom.trace import ufuncs
from gradloom.trace.capture import trace_flat
from gradloomc.ir.errors import DTypeError, GradloomError, ShapeError, UnsupportedError
from gradloomc.ir.types import f64, tensor
from harness.tracing import check, numpy_result, run

DTYPES = ("bool", "int32", "int64", "uint8", "float16", "float32", "float64")
NUMPY_UFUNCS = sorted(
    {
        ufunc.__name__: ufunc
        for ufunc in vars(np).values()
        if isinstance(ufunc, np.ufunc) and ufunc.signature is None and ufunc.__name__ in ufuncs.RULES
    }.items()
)
UNARY = [ufunc for _, ufunc in NUMPY_UFUNCS if ufunc.nin == 1]
BINARY = [ufunc for _, ufunc in NUMPY_UFUNCS if ufunc.nin == 2]
UNDEFINED_INTEGERS = {
    "reciprocal",
    "floor_divide",
    "remainder",
    "fmod",
    "divmod",
}  # NumPy's answer for x / 0 is not defined


def named(ufunc: Any) -> str:
    return ufunc.__name__


def sample(dtype: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Small numbers of a dtype, from 1 to 4 so that most functions are defined."""
    rng = np.random.default_rng(seed)
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    values = rng.uniform(1, 4, shape)
    return (values if dtype.startswith("float") else np.round(values)).astype(dtype)


def compare(function: Any, *arrays: Any) -> None:
    """Assert that tracing does what NumPy does, errors included."""
    try:
        numpy_result(function, *arrays)
    except (TypeError, ValueError, OverflowError) as error:
        with pytest.raises((DTypeError, ShapeError, OverflowError, TypeError)) as caught:
            run(function, *arrays)
        if not isinstance(caught.value, GradloomError):
            assert type(caught.value) is type(error)
        return
    check(function, *arrays, tolerance=5e-3 if any(np.asarray(a).dtype.itemsize < 4 for a in arrays) else 1e-6)


def test_all_ufuncs_of_real_numbers_are_known() -> None:
    """What is left out works on complex numbers, dates, strings or bits only, or is named here."""
    left_out = {"isnat", "gcd", "lcm", "spacing", "frexp", "bitwise_count"}
    for name, ufunc in vars(np).items():
        if isinstance(ufunc, np.ufunc) and ufunc.signature is None and ufunc.__name__ not in left_out:
            assert ufunc.__name__ in ufuncs.RULES, name


@pytest.mark.parametrize("ufunc", UNARY, ids=named)
@pytest.mark.parametrize("dtype", DTYPES)
def test_unary(ufunc: Any, dtype: str) -> None:
    for shape in ((), (0,), (1,), (2, 3)):
        x = sample(dtype, shape, 1)
        if ufunc.__name__ in ("arcsin", "arccos", "arctanh") and dtype.startswith("float"):
            x = (x / 5).astype(dtype)
        compare(ufunc, x)


@pytest.mark.parametrize("ufunc", BINARY, ids=named)
@pytest.mark.parametrize("dtype", DTYPES)
def test_binary_of_two_arrays(ufunc: Any, dtype: str) -> None:
    for other in DTYPES:
        x, y = sample(dtype, (2, 3), 1), sample(other, (3,), 2)
        if ufunc.__name__ in UNDEFINED_INTEGERS and other == "bool":
            y = np.ones_like(y)
        compare(ufunc, x, y)


@pytest.mark.parametrize("ufunc", BINARY, ids=named)
def test_binary_with_python_numbers(ufunc: Any) -> None:
    for dtype, number in itertools.product(DTYPES, (True, 2, 2.5, -1, 300)):
        x = sample(dtype, (3,), 3)
        compare(lambda x, n=number: ufunc(x, n), x)
        if ufunc.__name__ in UNDEFINED_INTEGERS and dtype == "bool":
            x = np.ones_like(x)
        compare(lambda x, n=number: ufunc(n, x), x)


@pytest.mark.parametrize("ufunc", BINARY, ids=named)
def test_shapes_of_two_operands(ufunc: Any) -> None:
    shapes = ((), (1,), (3,), (2, 1), (0,), (1, 1, 3), (2, 3))
    for left, right in itertools.product(shapes, repeat=2):
        dtype = "int64" if "bitwise" in ufunc.__name__ or "shift" in ufunc.__name__ else "float64"
        if ufunc.__name__ == "ldexp":
            compare(ufunc, sample("float64", left, 1), sample("int32", right, 2))
        else:
            compare(ufunc, sample(dtype, left, 1), sample(dtype, right, 2))


OPERATORS = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "truediv": lambda a, b: a / b,
    "floordiv": lambda a, b: a // b,
    "mod": lambda a, b: a % b,
    "pow": lambda a, b: a**b,
    "divmod": divmod,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "lshift": lambda a, b: a << b,
    "rshift": lambda a, b: a >> b,
}


@pytest.mark.parametrize("name", OPERATORS)
def test_operators(name: str) -> None:
    function = OPERATORS[name]
    bits = name in ("and", "or", "xor", "lshift", "rshift")
    dtype = "int64" if bits else "float32"
    x, y = sample(dtype, (3,), 1), sample(dtype, (2, 1), 2)
    compare(function, x, y)
    concrete = sample(dtype, (2, 3), 5)
    for other in (2, concrete, concrete[0, 0], [1, 2, 3]):
        compare(lambda a, other=other: function(a, other), x)
        compare(lambda a, other=other: function(other, a), x)


def test_unary_operators() -> None:
    x = np.array([-1.5, 0.0, 2.0])
    compare(lambda x: (-x, +x, abs(x)), x)
    compare(lambda x: (round(x, 1), round(x)), np.float64(2.26))
    compare(lambda n: ~n, np.array([1, -3]))
    compare(lambda b: ~b, np.array([True, False]))


def test_edge_values() -> None:
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.5, -2.5, 0.5])
    y = x[::-1].copy()
    for ufunc in (np.modf, np.floor, np.rint, np.trunc, np.sign, np.signbit, np.isnan, np.isinf, np.isfinite):
        check(ufunc, x)
    for ufunc in (np.maximum, np.fmax, np.copysign, np.heaviside, np.hypot, np.logaddexp, np.fmod, np.remainder):
        check(ufunc, x, y)


def test_scipy_special_by_name() -> None:
    special = pytest.importorskip("scipy.special")
    x = np.linspace(-2, 2, 9)
    unit = np.linspace(0.05, 0.95, 7)
    for name in ("erf", "erfc", "expit", "ndtr", "log_expit", "expm1", "exp2", "exp10", "cbrt", "radian_free"):
        if hasattr(special, name):
            check(getattr(special, name), x, tolerance=1e-12)
            check(getattr(special, name), x.astype(np.float32), tolerance=1e-5)
    for name in ("logit", "log1p", "entr"):
        check(getattr(special, name), unit, tolerance=1e-12)
    for name in ("xlogy", "xlog1py", "rel_entr"):
        check(getattr(special, name), unit, unit[::-1].copy(), tolerance=1e-12)
    check(special.erf, np.arange(4), tolerance=1e-12)
    check(lambda x: special.xlogy(0, x), np.array([0.0, 1.0, np.nan]))
    with pytest.raises(UnsupportedError, match="gammaln"):
        run(special.gammaln, x)


def test_keyword_arguments() -> None:
    x, mask = np.array([1.0, -2.0, 3.0]), np.array([True, False, True])
    check(lambda x: np.add(x, 1, dtype=np.float32), x.astype(np.float32))
    check(lambda x: np.multiply(x, 2, dtype="f8"), x.astype(np.float32))

    def with_out(x: Any) -> Any:
        out = np.zeros(3)
        result = np.exp(x, out=out)
        return out, result

    def with_where(x: Any, mask: Any) -> Any:
        out = np.full(3, 7.0)
        np.sqrt(x, where=mask, out=out)
        return out

    check(with_out, x)
    check(with_where, x, mask)
    with pytest.raises(UnsupportedError, match="leaves elements undefined"):
        run(lambda x: np.exp(x, where=x > 0), x)
    with pytest.raises(DTypeError, match="same_kind"):
        run(lambda x: np.add(x, 1, out=np.zeros(3, int)), x)
    with pytest.raises(ShapeError, match="non-broadcastable output"):
        run(lambda x: np.add(x, 1, out=np.zeros(1)), x)


def test_out_made_outside_is_refused() -> None:
    outside = np.zeros(3)
    with pytest.raises(UnsupportedError, match="into an array that no traced array went into"):
        run(lambda x: np.add(x, 1, out=outside), np.ones(3))


def test_methods_of_ufuncs() -> None:
    x = np.array([[1.0, 2.0], [3.0, 5.0]])
    for ufunc in (np.add, np.multiply, np.maximum, np.minimum, np.logical_and, np.logical_or):
        check(ufunc.reduce, x)
        check(lambda x, f=ufunc: f.reduce(x, axis=1, keepdims=True), x)
        check(lambda x, f=ufunc: f.reduce(x, axis=None), x)
    check(lambda x: np.subtract.outer(x, x), x)
    check(lambda x: np.add.reduce(x, initial=3), x)
    with pytest.raises(UnsupportedError, match="reduceat"):
        run(lambda x: np.add.reduceat(x, [0, 1]), x)
    with pytest.raises(UnsupportedError, match=r"hypot\.reduce"):
        run(np.hypot.reduce, x)


def test_unknown_operand_classes_answer_for_themselves() -> None:
    class Other:
        def __radd__(self, other: Any) -> str:
            return "mine"

    found = []

    def function(x: Any) -> Any:
        found.append(x + Other())
        return x

    run(function, np.ones(2))
    assert found == ["mine"]
    with pytest.raises(DTypeError, match="complex"):
        run(lambda x: x * 1j, np.ones(2))
    with pytest.raises(DTypeError, match="neither an array nor a number"):
        run(lambda x: x + "a", np.ones(2))


def test_python_float_arguments_are_weak() -> None:
    """A tracer that stands for a Python float takes the dtype of the arrays that it meets, as in NumPy."""

    def result_dtype(compute: Any) -> Any:
        found = []

        def call(tracers: Any) -> Any:
            tracers[0].weak = True
            found.append(compute(*tracers))
            return [found[0]]

        trace_flat(call, [tensor((), f64), tensor((2,), np_f32)], ["s", "x"], "f")
        return found[0].dtype

    from gradloomc.ir.types import f32 as np_f32

    assert result_dtype(lambda s, x: s * x) == np.float32
    assert result_dtype(lambda s, x: (2 * s + 1.5) ** 2 * x) == np.float32
    assert result_dtype(lambda s, x: -s * x) == np.float32
    assert result_dtype(lambda s, x: np.sin(s) * x) == np.float64
    assert result_dtype(lambda s, x: np.where(x > 0, s, x)) == np.float32
    assert result_dtype(lambda s, x: s) == np.float64
