"""What NumPy's array constructors return while a function is traced: arrays that traced numbers can be written into.

These constructors do not dispatch on their arguments, so the shadow module (shadow.py) calls the functions here in
their place. Outside of a trace they return what NumPy returns.
"""

import functools
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from gradloom.trace.calling import apply
from gradloom.trace.context import element_of, fail, mark, state
from gradloom.trace.functions import buffer, full
from gradloom.trace.lengths import LENGTHS, has_length, linspace, traced_length
from gradloom.trace.memory import is_traced, lift, unwrap
from gradloom.trace.picking import take
from gradloom.trace.promote import convert
from gradloom.trace.shaping import concatenate
from gradloom.trace.tracer import Tracer
from gradloom.trace.views import atleast_1d, expand_dims, tracer_of
from gradloomc.dialects import nd
from gradloomc.ir import types as ir_types
from gradloomc.ir.errors import ShapeError, TracerError, UnsupportedError

SHADOWED: dict[Any, Callable[..., Any]] = {}  # NumPy or math function -> what stands for it in traced code


def shadows(*functions: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register what stands for functions in traced code."""

    def register(shadow: Callable[..., Any]) -> Callable[..., Any]:
        for function in functions:
            SHADOWED[function] = shadow
        return shadow

    return register


def _constructor(function: Callable[..., Any]) -> Callable[..., Any]:
    """A constructor of concrete arrays."""

    def construct(*args: Any, **kwargs: Any) -> Any:
        if state.trace is None:
            return function(*args, **kwargs)
        mark()
        symbolic = LENGTHS.get(function)
        if symbolic is not None and has_length((*args, *kwargs.values())):
            return symbolic(*args, **kwargs)
        if is_traced(args) or is_traced(kwargs):
            fail(
                TracerError,
                f"np.{function.__name__} needs plain numbers: a shape or a range cannot depend on traced values",
                "pass sizes as plain ints; for a range of floats use start + step * np.arange(n)",
            )
        result = function(*unwrap(args), **unwrap(kwargs))
        return buffer(result) if result.dtype.kind in "fiub" else result

    construct.__name__ = construct.__qualname__ = function.__name__
    construct.__doc__ = function.__doc__
    return construct


for _function in (np.zeros, np.ones, np.eye, np.identity, np.tri, np.arange, np.fromiter, np.indices):
    SHADOWED[_function] = _constructor(_function)


def _writable(result: Any) -> Any:
    """Return a new array as one that traced numbers can be written into; all else as it is."""
    return buffer(result) if result.__class__ is np.ndarray and result.dtype.kind in "fiub" else result


def _new(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that returns an array of its own."""

    @functools.wraps(function)
    def make(*args: Any, **kwargs: Any) -> Any:
        return _writable(function(*args, **kwargs))

    return make


for _function in (np.copy, np.logspace, np.geomspace, np.tile, np.repeat, np.diagflat):
    SHADOWED[_function] = _new(_function)


@shadows(np.linspace)
def _linspace(start: Any, stop: Any, num: Any = 50, *args: Any, **kwargs: Any) -> Any:
    """As numpy.linspace; the number of points may be a length that is not fixed."""
    if state.trace is None or not has_length((start, stop, num)):
        return _writable(np.linspace(start, stop, num, *args, **kwargs))
    return linspace(start, stop, num, *args, **kwargs)


@shadows(np.empty)
def empty(shape: Any, dtype: Any = float, order: str = "C", **options: Any) -> Any:
    """As numpy.empty (zeros, so that a run is like any other)."""
    return SHADOWED[np.zeros](shape, dtype, order, **options)


@shadows(np.full)
def full_array(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C", **options: Any) -> Any:
    """As numpy.full, with a fill value that may be traced."""
    if state.trace is None:
        return np.full(shape, fill_value, dtype, order, **options)  # type: ignore[call-overload]
    mark()
    return full(unwrap(shape), fill_value, dtype)


def _array(x: Any, dtype: Any, copy: bool, ndmin: int) -> Any:
    mark()
    if not is_traced(x):
        concrete = unwrap(x)
        array = np.array(concrete, dtype=dtype, ndmin=ndmin)
        return buffer(array) if array.dtype.kind in "fiub" else array
    if x.__class__ is not Tracer:
        result = Tracer(lift(x))
    else:
        result = x.copy() if copy else x
    if dtype is not None and result.dtype != np.dtype(dtype):
        result = Tracer(convert(result.value, element_of(np.dtype(dtype))))
    if result.ndim < ndmin:
        result = expand_dims(result, tuple(range(ndmin - result.ndim)))
    return result


@shadows(np.array)
def array(
    object: Any,
    dtype: Any = None,
    *,
    copy: Any = True,
    order: str = "K",
    subok: bool = False,
    ndmin: int = 0,
    **options: Any,
) -> Any:
    """As numpy.array of (nested sequences of) traced and concrete arrays and numbers."""
    if state.trace is None:
        return np.array(object, dtype, copy=copy, order=order, subok=subok, ndmin=ndmin, **options)  # type: ignore[call-overload]
    return _array(object, dtype, bool(copy), ndmin)


def _asarray(function: Callable[..., Any]) -> Callable[..., Any]:
    def convert_to_array(a: Any, dtype: Any = None, order: Any = None, **options: Any) -> Any:
        if state.trace is None:
            return function(a, dtype, **options) if order is None else function(a, dtype, order, **options)
        if a.__class__ is Tracer:
            mark()
            same = dtype is None or np.dtype(dtype) == a.dtype
            return a if same and not options.get("copy") else a.astype(dtype or a.dtype)
        if isinstance(a, np.ndarray):
            return function(a, dtype, **options)
        return _array(a, dtype, True, 0)

    convert_to_array.__name__ = function.__name__
    return convert_to_array


for _function in (np.asarray, np.asanyarray, np.ascontiguousarray, np.asfortranarray, np.asarray_chkfinite):
    SHADOWED[_function] = _asarray(_function)


@shadows(np.require)
def require(a: Any, dtype: Any = None, requirements: Any = None, **options: Any) -> Any:
    """As numpy.require."""
    if a.__class__ is Tracer:
        return SHADOWED[np.asarray](a, dtype)
    return np.require(a, dtype, requirements, **options)


@shadows(np.take)
def _take(a: Any, indices: Any, *args: Any, **kwargs: Any) -> Any:
    """As numpy.take, which asks the array what it means but not the positions."""
    return (take if is_traced(indices) else np.take)(a, indices, *args, **kwargs)


@shadows(np.isscalar)
def isscalar(element: Any) -> bool:
    """As numpy.isscalar; a traced number counts as one."""
    return element.ndim == 0 if element.__class__ is Tracer else np.isscalar(element)


@shadows(np.fromfunction)
def fromfunction(function: Callable[..., Any], shape: Any, *, dtype: Any = float, **kwargs: Any) -> Any:
    """As numpy.fromfunction."""
    grids = np.indices(tuple(map(operator.index, shape)), dtype=dtype)
    return function(*[buffer(grid) for grid in grids], **kwargs)


@shadows(np.vectorize)
def vectorize(pyfunc: Any = None, *args: Any, **options: Any) -> Any:
    """As numpy.vectorize, where no traced array is passed."""
    real = np.vectorize(pyfunc, *args, **options)

    def call(*arguments: Any, **keywords: Any) -> Any:
        if is_traced(arguments) or is_traced(keywords):
            fail(
                UnsupportedError,
                "np.vectorize calls a Python function for each element",
                "call the function on the whole array, with np.where for conditions",
            )
        return real(*unwrap(arguments), **unwrap(keywords))

    return call


class _Grid:
    """np.r_ and np.c_: joins written as an index."""

    __slots__ = ("_columns", "_real")

    def __init__(self, columns: bool):
        self._columns, self._real = columns, np.c_ if columns else np.r_

    def __getitem__(self, key: Any) -> Any:
        if not is_traced(key):
            result = self._real[unwrap(key)]
            return buffer(result) if isinstance(result, np.ndarray) and state.trace is not None else result
        mark()
        parts, kinds = [], []
        for item in key if key.__class__ is tuple else (key,):
            if isinstance(item, str):
                fail(UnsupportedError, "a string in np.r_ or np.c_ is not supported", "use np.concatenate or np.stack")
            part = tracer_of(np.r_[item] if isinstance(item, slice) else item)
            kinds.append(item if isinstance(item, (int, float)) else part.dtype)  # numbers give way to arrays
            parts.append(expand_dims(part, 1) if self._columns and part.ndim < 2 else atleast_1d(part))
        return concatenate([part.astype(np.result_type(*kinds)) for part in parts], -1)


GRIDS = {id(np.r_): _Grid(False), id(np.c_): _Grid(True)}


# --- the math module --------------------------------------------------------------------------------------------------


def _weak(result: Any) -> Any:
    """What math functions return is a Python float or int: its dtype gives way to that of arrays."""
    if result.__class__ is Tracer and result.dtype.kind in "fi":
        element = ir_types.f64 if result.dtype.kind == "f" else ir_types.i64
        result = Tracer(convert(result.value, element), weak=True)
    return result


def _scalar(x: Any, name: str) -> Any:
    """Return an argument of a math function as a traced double of shape ()."""
    if x.__class__ is not Tracer:
        return x
    if x.size != 1:
        fail(
            ShapeError,
            "only 0-dimensional arrays can be converted to Python scalars: "
            f"math.{name} got an array of shape {x.shape}",
            f"use np.{name}",
        )
    return Tracer(convert(nd.reshape(x.value, shape=()), ir_types.f64), weak=True)


def _math(name: str, meaning: Callable[..., Any]) -> None:
    real = getattr(math, name, None)
    if real is None:  # a newer Python has it
        return

    def function(*args: Any, **kwargs: Any) -> Any:
        if state.trace is not None and has_length(args):
            args = tuple([traced_length(arg) for arg in args])
        if not is_traced(args) and not is_traced(kwargs):
            return real(*unwrap(args), **unwrap(kwargs))
        mark()
        return _weak(meaning(*[_scalar(arg, name) for arg in args], **kwargs))

    function.__name__ = name
    SHADOWED[real] = function


def _ufunc(ufunc: Any) -> Callable[..., Any]:
    return lambda *args: apply(ufunc, args)


for _name in (
    "sin cos tan sinh cosh tanh exp exp2 expm1 log2 log10 log1p sqrt cbrt fabs hypot fmod copysign degrees radians "
    "isnan isinf isfinite nextafter"
).split():
    _math(_name, _ufunc(getattr(np, _name)))
for _name, _other in {
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "atan2": np.arctan2,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "pow": np.power,
}.items():
    _math(_name, _ufunc(_other))


def _log(x: Any, base: Any = None) -> Any:
    result = apply(np.log, (x,))
    return result if base is None else result / (apply(np.log, (base,)) if is_traced(base) else math.log(base))


def _hypot(*coordinates: Any) -> Any:
    total: Any = 0.0
    for each in coordinates:
        total = apply(np.hypot, (total, each))
    return total


def _to_integer(ufunc: Any) -> Callable[[Any], Any]:
    return lambda x: apply(ufunc, (x,)).astype(np.int64)


_math("log", _log)
_math("hypot", _hypot)
_math("floor", _to_integer(np.floor))
_math("ceil", _to_integer(np.ceil))
_math("trunc", _to_integer(np.trunc))
_math("modf", lambda x: tuple(map(_weak, apply(np.modf, (x,)))))
_math("ldexp", lambda x, i: x * number_power_of_two(i))
_math("erf", lambda x: Tracer(nd.erf(x.value)))
_math("erfc", lambda x: Tracer(nd.erfc(x.value)))
_math("isclose", lambda a, b, rel_tol=1e-9, abs_tol=0.0: _isclose(a, b, rel_tol, abs_tol))


def number_power_of_two(exponent: Any) -> Any:
    """Return 2.0 ** exponent."""
    return apply(np.exp2, (exponent,)) if is_traced(exponent) else math.ldexp(1.0, exponent)


def _isclose(a: Any, b: Any, rel_tol: float, abs_tol: float) -> Any:
    largest = apply(np.maximum, (apply(np.absolute, (a,)), apply(np.absolute, (b,))))
    bound = apply(np.maximum, (largest * rel_tol, abs_tol))
    return (abs(a - b) <= bound) | (a == b)


def _sequence_math(name: str, meaning: Callable[..., Any]) -> None:
    real: Any = getattr(math, name)

    def function(*args: Any, **kwargs: Any) -> Any:
        args = tuple([list(arg) if arg.__class__ is Tracer or hasattr(arg, "__next__") else arg for arg in args])
        if not is_traced(args) and not is_traced(kwargs):
            return real(*unwrap(args), **unwrap(kwargs))
        mark()
        return _weak(meaning(*args, **kwargs))

    function.__name__ = name
    SHADOWED[real] = function


def _total(items: Any) -> Any:
    total: Any = 0.0
    for item in items:
        total = total + item
    return total


def _product(items: Any, *, start: Any = 1) -> Any:
    for item in items:
        start = start * item
    return start


def _distance(p: Any, q: Any) -> Any:
    return _hypot(*[a - b for a, b in zip(p, q, strict=True)])


_sequence_math("fsum", _total)
_sequence_math("prod", _product)
_sequence_math("dist", _distance)
