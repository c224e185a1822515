"""NumPy's functions that work element by element without being ufuncs: choosing, limiting, rounding, comparing.

Also what asks for shapes and dtypes, and arrays like another one.
"""

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradloom.trace.calling import apply
from gradloom.trace.context import element_of, fail, state
from gradloom.trace.memory import is_traced, lift, unwrap
from gradloom.trace.promote import (
    Operand,
    as_float,
    bring,
    broadcast_shapes,
    common_element,
    convert,
    key_of,
    normalize_axis,
    number,
    shape_of,
    stretch,
    truth,
    weak_class,
)
from gradloom.trace.reductions import all as all_of
from gradloom.trace.reductions import deliver, finish
from gradloom.trace.tracer import Tracer, implements
from gradloom.trace.views import tracer_of
from gradloomc.dialects import nd
from gradloomc.ir import types as ir_types
from gradloomc.ir.errors import DTypeError, ShapeError, UnsupportedError
from gradloomc.ir.extents import index_of, is_symbolic
from gradloomc.ir.types import ScalarType, tensor


def operands(*arrays: Any) -> tuple[list[Operand], ScalarType]:
    """Return values and Python numbers, and the dtype that NumPy's result_type gives for them."""
    values: list[Operand] = []
    keys = []
    for array in arrays:
        if array.__class__ in (int, float):
            values.append(array)
            keys.append(array.__class__)
        else:
            values.append(lift(array))
            keys.append(key_of(values[-1], array.__class__ is Tracer and array.weak))
    return values, common_element(keys)


# --- choosing ---------------------------------------------------------------------------------------------------------


@implements(np.where)
def where(condition: Any, x: Any = None, y: Any = None, /) -> Tracer:
    """As numpy.where with three arguments; the derivative of the branch not taken is an exact 0."""
    if x is None or y is None:
        fail(
            UnsupportedError,
            "np.where with one argument returns as many positions as elements are true, which is not known while the "
            "function is being traced",
            "use the mask itself, as in np.where(mask, a, b)",
        )
    mask = truth(lift(condition))
    (x, y), element = operands(x, y)
    shape = broadcast_shapes([mask.type.shape, shape_of(x), shape_of(y)], (mask, x, y))
    return Tracer(nd.select(stretch(mask, shape), bring(x, element, shape), bring(y, element, shape)))


@implements(np.select)
def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Tracer:
    """As numpy.select."""
    if len(condlist) != len(choicelist):
        fail(ShapeError, "list of cases must be same length as list of conditions")
    if not condlist:
        fail(ShapeError, "select with an empty condition list is not possible")
    masks = [lift(condition) for condition in condlist]
    for mask in masks:
        if mask.type.element.kind != "b":
            fail(DTypeError, "invalid entry in condlist: should be boolean ndarray")
    values, element = operands(*choicelist, default)
    shape = broadcast_shapes([*[mask.type.shape for mask in masks], *[shape_of(value) for value in values]])
    result = bring(values.pop(), element, shape)
    for mask, value in zip(reversed(masks), reversed(values), strict=True):
        result = nd.select(stretch(mask, shape), bring(value, element, shape), result)
    return Tracer(result)


@implements(np.piecewise)
def piecewise(x: Any, condlist: Any, funclist: Sequence[Any], *args: Any, **kw: Any) -> Tracer:
    """As numpy.piecewise, for functions that work element by element."""
    value = lift(x)
    conditions = list(condlist) if isinstance(condlist, (list, tuple)) else [condlist]
    masks = [lift(condition) for condition in conditions]
    masks = [stretch(truth(mask), value.type.shape) for mask in masks]
    if len(funclist) == len(masks) + 1:
        covered = masks[0]
        for mask in masks[1:]:
            covered = nd.logical_or(covered, mask)
        masks.append(nd.logical_not(covered))
    if len(funclist) != len(masks):
        fail(
            ShapeError,
            f"with {len(masks)} condition(s), either {len(masks)} or {len(masks) + 1} functions are expected",
        )
    result = nd.zeros_like(value)
    for mask, function in zip(masks, funclist, strict=True):
        piece = lift(function(Tracer(value), *args, **kw) if callable(function) else function)
        result = nd.select(mask, bring(piece, value.type.element, value.type.shape), result)
    return Tracer(result)


@implements(np.choose)
def choose(a: Any, choices: Any, out: Any = None, mode: str = "raise") -> Any:
    """As numpy.choose."""
    index = lift(a)
    values, element = operands(*choices)
    shape = broadcast_shapes([index.type.shape, *[shape_of(value) for value in values]])
    index = stretch(index, shape)
    result = bring(values[-1], element, shape)
    for k in range(len(values) - 2, -1, -1):
        result = nd.select(nd.eq(index, number(k, index.type)), bring(values[k], element, shape), result)
    return finish(result, out)


@implements(np.clip)
def clip(
    a: Any, a_min: Any = None, a_max: Any = None, out: Any = None, *, min: Any = None, max: Any = None, **kwargs: Any
) -> Any:
    """As numpy.clip; the derivative at a limit is 1."""
    low = min if a_min is None or a_min is np._NoValue else a_min  # type: ignore[attr-defined]
    high = max if a_max is None or a_max is np._NoValue else a_max  # type: ignore[attr-defined]
    if a.__class__ in (int, float):
        a = lift(a)
    (x, *limits), element = operands(a, *[limit for limit in (low, high) if limit is not None])
    if element.kind == "b":
        element = ir_types.i1
    shape = broadcast_shapes([shape_of(x), *map(shape_of, limits)])
    x = bring(x, element, shape)
    if low is None and high is None:
        return finish(x, out)
    if element.kind == "f":
        least, most = -np.inf, np.inf
    elif element.kind == "b":
        (low_value, high_value) = [bring(limit, element, shape) for limit in limits]
        return finish(nd.minimum(nd.maximum(x, low_value), high_value), out)
    else:
        least, most = np.iinfo(element.dtype).min, np.iinfo(element.dtype).max
    lower = number(least, x.type) if low is None else bring(limits[0], element, shape)
    upper = number(most, x.type) if high is None else bring(limits[-1], element, shape)
    return finish(nd.clip(x, lower, upper), out)


@implements(np.nan_to_num)
def nan_to_num(x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    """As numpy.nan_to_num."""
    value = lift(x)
    if value.type.element.kind != "f":
        return Tracer(value)
    limits = np.finfo(value.type.element.dtype)
    high = number(limits.max if posinf is None else posinf, value.type)
    low = number(limits.min if neginf is None else neginf, value.type)
    infinite = nd.isinf(value)
    result = nd.select(nd.logical_and(infinite, nd.gt(value, 0.0)), high, value)
    result = nd.select(nd.logical_and(infinite, nd.lt(value, 0.0)), low, result)
    result = Tracer(
        nd.select(
            nd.isnan(value),
            bring(nan if nan.__class__ in (int, float) else lift(nan), value.type.element, value.type.shape),
            result,
        )
    )
    return result if copy else tracer_of(x)._assign(result)


# --- rounding, comparing ----------------------------------------------------------------------------------------------


@implements(np.round, np.around)
def round(a: Any, decimals: int = 0, out: Any = None) -> Any:
    """As numpy.round: half to even, by scaling."""
    x = lift(a)
    decimals = operator.index(decimals)
    if x.type.element.kind == "b":
        x = convert(x, ir_types.f16)
    if x.type.element.kind in "iu":
        if decimals >= 0:
            return finish(x, out)
        scale = number(10**-decimals, tensor(x.type.shape, ir_types.f64))
        rounded = nd.mul(nd.rint(nd.div(convert(x, ir_types.f64), scale)), scale)
        return finish(convert(rounded, x.type.element), out)
    if decimals == 0:
        return finish(nd.rint(x), out)
    scale = number(10.0 ** abs(decimals), x.type)
    if decimals > 0:
        return finish(nd.div(nd.rint(nd.mul(x, scale)), scale), out)
    return finish(nd.mul(nd.rint(nd.div(x, scale)), scale), out)


@implements(np.fix)
def fix(x: Any, out: Any = None) -> Any:
    """As numpy.fix."""
    return deliver(apply(np.trunc, (x,)), out)


@implements(np.isclose)
def isclose(a: Any, b: Any, rtol: Any = 1.0e-5, atol: Any = 1.0e-8, equal_nan: bool = False) -> Any:
    """As numpy.isclose."""
    x, y = tracer_of(a), tracer_of(b)
    if y.dtype.kind in "iub":
        y = y.astype(np.float64)
    near = abs(x - y) <= atol + rtol * abs(y)
    close = (near & apply(np.isfinite, (y,))) | (x == y)
    if equal_nan:
        close = close | (apply(np.isnan, (x,)) & apply(np.isnan, (y,)))
    return close


@implements(np.allclose)
def allclose(a: Any, b: Any, rtol: Any = 1.0e-5, atol: Any = 1.0e-8, equal_nan: bool = False) -> Any:
    """As numpy.allclose (a traced boolean)."""
    return all_of(isclose(a, b, rtol, atol, equal_nan))


@implements(np.array_equal)
def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> Any:
    """As numpy.array_equal (a traced boolean; False at once if the shapes differ)."""
    x, y = tracer_of(a1), tracer_of(a2)
    if x.shape != y.shape:
        return False
    same = apply(np.equal, (x, y))
    if equal_nan:
        same = same | ((x != x) & (y != y))
    return all_of(same)


@implements(np.sinc)
def sinc(x: Any) -> Tracer:
    """As numpy.sinc; at 0 by its series, so that the first two derivatives there are right."""
    value = lift(x)
    value = convert(value, as_float(value.type.element))
    angle = nd.mul(value, number(math.pi, value.type))
    zero = nd.eq(value, 0.0)
    safe = nd.select(zero, nd.ones_like(angle), angle)
    series = nd.sub(nd.ones_like(angle), nd.mul(nd.square(angle), number(1 / 6, angle.type)))
    return Tracer(nd.select(zero, series, nd.div(nd.sin(safe), safe)))


# --- parts and kinds --------------------------------------------------------------------------------------------------


@implements(np.real, np.conj)
def real(val: Any) -> Any:
    """As numpy.real: the array itself."""
    return val


@implements(np.real_if_close)
def real_if_close(a: Any, tol: float = 100) -> Any:
    """As numpy.real_if_close: the array itself."""
    return a


@implements(np.imag)
def imag(val: Any) -> Any:
    """As numpy.imag: zeros."""
    return zeros_like(val)


@implements(np.angle)
def angle(z: Any, deg: bool = False) -> Any:
    """As numpy.angle: 0 for positive and pi for negative numbers, -0.0 among them."""
    x = lift(z)
    x = convert(x, as_float(x.type.element))
    half_turn = 180.0 if deg else math.pi
    return Tracer(nd.select(nd.isnan(x), x, nd.select(nd.signbit(x), number(half_turn, x.type), nd.zeros_like(x))))


@implements(np.isreal)
def isreal(x: Any) -> Any:
    """As numpy.isreal: True everywhere."""
    return np.ones(np.shape(x), bool)


@implements(np.iscomplex)
def iscomplex(x: Any) -> Any:
    """As numpy.iscomplex: False everywhere."""
    return np.zeros(np.shape(x), bool)


@implements(np.isrealobj)
def isrealobj(x: Any) -> bool:
    """As numpy.isrealobj."""
    return True


@implements(np.iscomplexobj)
def iscomplexobj(x: Any) -> bool:
    """As numpy.iscomplexobj."""
    return False


@implements(np.shape)
def shape(a: Any) -> tuple[int, ...]:
    """As numpy.shape."""
    return tracer_of(a).shape


@implements(np.ndim)
def ndim(a: Any) -> int:
    """As numpy.ndim."""
    return tracer_of(a).ndim


@implements(np.size)
def size(a: Any, axis: Any = None) -> int:
    """As numpy.size."""
    x = tracer_of(a)
    if axis is None:
        return x.size
    axes = axis if isinstance(axis, tuple) else (axis,)
    return math.prod(x.shape[normalize_axis(k, x.ndim)] for k in axes)


def _dtype_or_number(x: Any) -> Any:
    if x.__class__ is Tracer:
        return weak_class(x.value)(0) if x.weak else x.dtype
    return x


@implements(np.result_type)
def result_type(*arrays_and_dtypes: Any) -> Any:
    """As numpy.result_type."""
    return np.result_type(*map(_dtype_or_number, arrays_and_dtypes))


@implements(np.can_cast)
def can_cast(from_: Any, to: Any, casting: Any = "safe") -> bool:
    """As numpy.can_cast."""
    return np.can_cast(_dtype_or_number(from_), to, casting)


@implements(np.common_type)
def common_type(*arrays: Any) -> Any:
    """As numpy.common_type."""
    return np.common_type(*[np.empty(0, tracer_of(x).dtype) for x in arrays])


@implements(np.copy)
def copy(a: Any, order: str = "K", subok: bool = False) -> Tracer:
    """As numpy.copy."""
    return tracer_of(a).copy()


# --- arrays like another ----------------------------------------------------------------------------------------------


def _like(number: int) -> Callable[..., Any]:
    def like(
        prototype: Any,
        dtype: Any = None,
        order: str = "K",
        subok: bool = True,
        shape: Any = None,
        *,
        device: Any = None,
    ) -> Any:
        x = tracer_of(prototype)
        return full(x.shape if shape is None else shape, number, x.dtype if dtype is None else dtype)

    return like


def buffer(array: Any) -> Any:
    """Return an array that traced code makes, writable by traced numbers."""
    if state.trace is None:
        return array
    return Tracer(array)


zeros_like = implements(np.zeros_like, always=True)(_like(0))
ones_like = implements(np.ones_like, always=True)(_like(1))
empty_like = implements(np.empty_like, always=True)(_like(0))


def full(shape: Any, fill: Any, dtype: Any) -> Any:
    """Return an array of one number, which may be traced."""
    wanted = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    varies = state.trace is not None and any(map(is_symbolic, wanted))
    if not is_traced(fill) and not varies:
        return buffer(np.full(wanted, unwrap(fill), dtype))
    value = lift(fill)
    if dtype is not None:
        value = convert(value, element_of(np.dtype(dtype)))
    result = Tracer(stretch(value, tuple(map(index_of, wanted))))
    result._contiguous = True
    return result


@implements(np.full_like, always=True)
def full_like(
    a: Any,
    fill_value: Any,
    dtype: Any = None,
    order: str = "K",
    subok: bool = True,
    shape: Any = None,
    *,
    device: Any = None,
) -> Any:
    """As numpy.full_like."""
    x = tracer_of(a)
    return full(x.shape if shape is None else shape, fill_value, x.dtype if dtype is None else dtype)
