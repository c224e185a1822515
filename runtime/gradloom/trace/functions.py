"""NumPy's other functions on tracers: choosing, limiting, rounding, differences, polynomials, interpolation, picking, writing."""

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradloom.trace.calling import apply
from gradloom.trace.context import element_of, fail, state
from gradloom.trace.indexing import parse
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
from gradloom.trace.reductions import sum as sum_of
from gradloom.trace.shaping import part_of, ravel, reshaped, tracer_of
from gradloom.trace.tracer import Tracer, implements
from gradloomc.dialects import nd
from gradloomc.ir import types as ir_types
from gradloomc.ir.core import Value
from gradloomc.ir.errors import DTypeError, ShapeError, UnsupportedError
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


# --- choosing -----------------------------------------------------------------------------------------------------------------------


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
    result = Tracer(nd.select(nd.isnan(value), bring(nan if nan.__class__ in (int, float) else lift(nan), value.type.element, value.type.shape), result))
    return result if copy else tracer_of(x)._assign(result)


# --- rounding, comparing ----------------------------------------------------------------------------------------------------------------


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
    x, y = (each if each.__class__ is Tracer else Tracer(lift(each)) for each in (a, b))
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


# --- parts and kinds ---------------------------------------------------------------------------------------------------------------------


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
    """As numpy.angle: 0 for positive and pi for negative numbers."""
    x = lift(z)
    x = convert(x, as_float(x.type.element))
    half_turn = 180.0 if deg else math.pi
    return Tracer(nd.select(nd.lt(x, 0.0), number(half_turn, x.type), nd.select(nd.isnan(x), x, nd.zeros_like(x))))


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


# --- arrays like another ------------------------------------------------------------------------------------------------------------------


def _like(make: Callable[..., Any]) -> Callable[..., Any]:
    def like(
        prototype: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, *, device: Any = None
    ) -> Any:
        x = tracer_of(prototype)
        array = make(x.shape if shape is None else shape, x.dtype if dtype is None else dtype)
        return buffer(array)

    return like


def buffer(array: Any) -> Any:
    """Return an array that traced code makes, writable by traced numbers."""
    if state.trace is None:
        return array
    result = Tracer(array)
    if not array.shape:
        result._guard = "buffer"
    return result


zeros_like = implements(np.zeros_like, always=True)(_like(np.zeros))
ones_like = implements(np.ones_like, always=True)(_like(np.ones))
empty_like = implements(np.empty_like, always=True)(_like(np.zeros))


def full(shape: Any, fill: Any, dtype: Any) -> Any:
    """Return an array of one number, which may be traced."""
    wanted = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    if not is_traced(fill):
        return buffer(np.full(wanted, unwrap(fill), dtype))
    value = lift(fill)
    if dtype is not None:
        value = convert(value, element_of(np.dtype(dtype)))
    return Tracer(stretch(value, tuple(map(operator.index, wanted))))


@implements(np.full_like, always=True)
def full_like(
    a: Any, fill_value: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, *, device: Any = None
) -> Any:
    """As numpy.full_like."""
    x = tracer_of(a)
    return full(x.shape if shape is None else shape, fill_value, x.dtype if dtype is None else dtype)


# --- differences, sums along an axis ---------------------------------------------------------------------------------------------------------


@implements(np.diff)
def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = np._NoValue, append: Any = np._NoValue) -> Tracer:  # type: ignore[attr-defined]
    """As numpy.diff."""
    x = lift(a)
    if not x.type.rank:
        fail(ShapeError, "diff requires input that is at least one dimensional")
    if n < 0:
        fail(ShapeError, f"order must be non-negative but got {n}")
    axis = normalize_axis(axis, x.type.rank)
    parts = []
    for extra in (prepend, None, append):
        if extra is None:
            parts.append(x)
        elif extra is not np._NoValue:  # type: ignore[attr-defined]
            value = lift(extra)
            if not value.type.rank:
                value = stretch(value, tuple(1 if k == axis else e for k, e in enumerate(x.type.shape)))
            parts.append(value)
    element = common_element([part.type.element for part in parts])
    x = nd.concatenate(*[convert(part, element) for part in parts], axis=axis)
    for _ in range(n):
        extent = x.type.shape[axis]
        upper, lower = part_of(x, axis, min(1, extent), extent), part_of(x, axis, 0, max(extent - 1, 0))
        x = nd.ne(upper, lower) if element.kind == "b" else nd.sub(upper, lower)
    return Tracer(x)


@implements(np.ediff1d)
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Tracer:
    """As numpy.ediff1d."""
    parts = [each for each in (to_begin, diff(ravel(ary)), to_end) if each is not None]
    values = [nd.reshape(v, shape=(v.type.size,)) for v in map(lift, parts)]
    return Tracer(nd.concatenate(*[convert(v, lift(ary).type.element) for v in values], axis=0))


@implements(np.trapezoid)
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    """As numpy.trapezoid."""
    value = lift(y)
    axis = normalize_axis(axis, value.type.rank)
    if x is None:
        width: Any = dx
    else:
        width = diff(x, axis=-1) if np.ndim(x) == 1 else diff(x, axis=axis)
        if np.ndim(x) == 1:
            width = reshaped(width, tuple(width.size if k == axis else 1 for k in range(value.type.rank)))
    extent = value.type.shape[axis]
    pair = Tracer(part_of(value, axis, min(1, extent), extent)) + Tracer(part_of(value, axis, 0, max(extent - 1, 0)))
    return sum_of(width * pair / 2.0, axis)


@implements(np.gradient)
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """As numpy.gradient, for uniform spacing and edge_order 1."""
    value = lift(f)
    value = convert(value, as_float(value.type.element))
    rank = value.type.rank
    axes = tuple(range(rank)) if axis is None else tuple(normalize_axis(k, rank) for k in (axis if isinstance(axis, (tuple, list)) else (axis,)))
    steps = list(varargs) or [1.0]
    if len(steps) == 1:
        steps *= len(axes)
    if len(steps) != len(axes) or edge_order != 1 or any(np.ndim(step) for step in steps):
        fail(UnsupportedError, "gradloom traces np.gradient with one number per axis as spacing and edge_order=1")
    results = []
    for along, step in zip(axes, steps, strict=True):
        extent = value.type.shape[along]
        if extent < 2:
            fail(ShapeError, "Shape of array too small to calculate a numerical gradient, at least (edge_order + 1) elements are required.")
        inner = Tracer(nd.sub(part_of(value, along, 2, extent), part_of(value, along, 0, extent - 2))) / (2.0 * step)
        first = Tracer(nd.sub(part_of(value, along, 1, 2), part_of(value, along, 0, 1))) / step
        last = Tracer(nd.sub(part_of(value, along, extent - 1, extent), part_of(value, along, extent - 2, extent - 1))) / step
        results.append(Tracer(nd.concatenate(*[lift(part) for part in (first, inner, last)], axis=along)))
    return results[0] if len(results) == 1 else tuple(results)


@implements(np.polyval)
def polyval(p: Any, x: Any) -> Any:
    """As numpy.polyval: Horner's scheme."""
    coefficients = tracer_of(p)
    x = tracer_of(x)
    result: Any = apply(np.multiply, (x, 0))
    for k in range(coefficients.shape[0]):
        result = result * x + coefficients[k]
    return result


@implements(np.interp)
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Tracer:
    """As numpy.interp; the derivative at a node is that of the interval to its right."""
    if period is not None:
        fail(UnsupportedError, "gradloom does not support period= of np.interp", "reduce x with np.mod first")
    x, nodes, values = (convert(lift(each), ir_types.f64) for each in (x, xp, fp))
    if nodes.type.rank != 1 or nodes.type.shape != values.type.shape:
        fail(ShapeError, "fp and xp are not of the same length.")
    count = nodes.type.size
    if not count:
        fail(ShapeError, "array of sample points is empty")
    flat = nd.reshape(x, shape=(x.type.size,))
    below = (part_of(values, 0, 0, 1) if left is None else nd.reshape(bring(left if left.__class__ in (int, float) else lift(left), ir_types.f64), shape=(1,)))
    above = (part_of(values, 0, count - 1, count) if right is None else nd.reshape(bring(right if right.__class__ in (int, float) else lift(right), ir_types.f64), shape=(1,)))
    table = (flat.type.size, count)
    passed = nd.le(nd.broadcast(nodes, shape=table, dims=(1,)), nd.broadcast(flat, shape=table, dims=(0,)))
    position = nd.sub(nd.reduce_sum(convert(passed, ir_types.i64), axes=(1,)), nd.splat(1, tensor(flat.type.shape, ir_types.i64)))
    last = nd.splat(max(count - 2, 0), position.type)
    start = nd.minimum(nd.maximum(position, nd.zeros_like(position)), last)
    x0, y0 = nd.gather(nodes, start), nd.gather(values, start)
    if count > 1:
        stop = nd.add(start, nd.splat(1, start.type))
        slope = nd.div(nd.sub(nd.gather(values, stop), y0), nd.sub(nd.gather(nodes, stop), x0))
        result = nd.add(nd.mul(slope, nd.sub(flat, x0)), y0)
    else:
        result = y0
    edges = [nd.broadcast(each, shape=flat.type.shape, dims=(0,)) for each in (part_of(nodes, 0, 0, 1), part_of(nodes, 0, count - 1, count), below, above, part_of(values, 0, count - 1, count))]
    result = nd.select(nd.eq(flat, edges[1]), edges[4], result)
    result = nd.select(nd.lt(flat, edges[0]), edges[2], nd.select(nd.gt(flat, edges[1]), edges[3], result))
    result = nd.select(nd.isnan(flat), flat, result)
    return Tracer(nd.reshape(result, shape=x.type.shape))


@implements(np.linspace)
def linspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, retstep: bool = False, dtype: Any = None, axis: int = 0, *, device: Any = None
) -> Any:
    """As numpy.linspace with traced ends."""
    num = operator.index(num)
    element = as_float(operands(start, stop)[1]).dtype
    first, last = tracer_of(start).astype(element), tracer_of(stop).astype(element)
    divisions = num - 1 if endpoint else num
    span = last - first
    step = span / divisions if divisions > 0 else span * np.nan
    grid = np.arange(num, dtype=element).reshape((num,) + (1,) * span.ndim)
    result = first + grid * step if divisions > 0 else first + grid * span
    if endpoint and num > 1:  # the end is exact
        value = lift(result)
        end = nd.reshape(stretch(last.value, value.type.shape[1:]), shape=(1, *value.type.shape[1:]))
        result = Tracer(nd.concatenate(part_of(value, 0, 0, num - 1), end, axis=0))
    if axis != 0:
        from_first = [k for k in range(1, result.ndim)]
        from_first.insert(normalize_axis(axis, result.ndim), 0)
        result = result.transpose(from_first)
    if dtype is not None:
        result = result.astype(dtype)
    return (result, step) if retstep else result


@implements(np.cov)
def cov(m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: int | None = None, fweights: Any = None, aweights: Any = None, *, dtype: Any = None) -> Any:
    """As numpy.cov without weights."""
    if fweights is not None or aweights is not None or y is not None:
        fail(UnsupportedError, "gradloom traces np.cov of one array without weights")
    x = tracer_of(m)
    x = x.astype(np.result_type(x.dtype, np.float64) if dtype is None else dtype)
    x = reshaped(x, (1, *x.shape)) if x.ndim == 1 else (x if rowvar else x.T)
    if x.ndim != 2:
        fail(ShapeError, "m has more than 2 dimensions")
    count = x.shape[1] - ((0 if bias else 1) if ddof is None else ddof)
    centered = x - x.mean(axis=1, keepdims=True)
    result = centered @ centered.T / max(count, 0)
    return reshaped(result, ()) if result.size == 1 else result


# --- picking ---------------------------------------------------------------------------------------------------------------------------------


def _index_operand(indices: Any) -> Any:
    if indices.__class__ is Tracer:
        return indices.value if indices.concrete is None else indices.concrete
    return lift(indices) if is_traced(indices) else np.asarray(unwrap(indices))


@implements(np.take)
def take(a: Any, indices: Any, axis: int | None = None, out: Any = None, mode: str = "raise") -> Any:
    """As numpy.take."""
    x = lift(a)
    if axis is None:
        x, axis = nd.reshape(x, shape=(x.type.size,)), 0
    axis = normalize_axis(axis, x.type.rank)
    index = _index_operand(indices)
    extent = x.type.shape[axis]
    if mode in ("clip", "wrap"):
        if index.__class__ is Value:
            index = convert(index, ir_types.i64)
            if mode == "clip":
                index = nd.clip(index, nd.zeros_like(index), nd.splat(extent - 1, index.type))
            else:
                index = nd.remainder(index, nd.splat(extent, index.type))
        else:
            index = np.clip(index, 0, extent - 1) if mode == "clip" else index % extent
    return finish(parse(x.type.shape, (slice(None),) * axis + (index,)).read(x), out)


@implements(np.take_along_axis)
def take_along_axis(arr: Any, indices: Any, axis: int | None = -1) -> Tracer:
    """As numpy.take_along_axis."""
    x = lift(arr)
    index = _index_operand(indices)
    if axis is None:
        x, axis = nd.reshape(x, shape=(x.type.size,)), 0
    axis = normalize_axis(axis, x.type.rank)
    have = index.type.shape if index.__class__ is Value else index.shape
    if len(have) != x.type.rank:
        fail(ShapeError, "`indices` and `arr` must have the same number of dimensions")
    key = []
    for k, extent in enumerate(x.type.shape):
        if k == axis:
            key.append(index)
        else:
            key.append(np.arange(extent).reshape([-1 if j == k else 1 for j in range(x.type.rank)]))
    return Tracer(parse(x.type.shape, tuple(key)).read(x))


@implements(np.compress)
def compress(condition: Any, a: Any, axis: int | None = None, out: Any = None) -> Any:
    """As numpy.compress with a concrete condition."""
    mask = unwrap(condition) if not is_traced(condition) else lift(condition)
    x = lift(a)
    if axis is None:
        x, axis = nd.reshape(x, shape=(x.type.size,)), 0
    axis = normalize_axis(axis, x.type.rank)
    if mask.__class__ is Value:
        parse(x.type.shape, (mask,))
    rows = np.flatnonzero(mask)
    return finish(parse(x.type.shape, (slice(None),) * axis + (rows,)).read(x), out)


@implements(np.extract)
def extract(condition: Any, arr: Any) -> Any:
    """As numpy.extract with a concrete condition."""
    return compress(ravel(condition) if condition.__class__ is Tracer else np.ravel(condition), ravel(arr))


def _not_known(name: str) -> Callable[..., Any]:
    def refuse(*args: Any, **kwargs: Any) -> Any:
        fail(
            UnsupportedError,
            f"the size of the result of np.{name} depends on the elements, which are not known while the function is "
            "being traced",
            "keep the shape, as in np.where(mask, x, 0), or compute it outside and pass it as an array",
        )

    return refuse


for _function in (np.nonzero, np.flatnonzero, np.argwhere, np.unique, np.trim_zeros, np.intersect1d, np.union1d, np.setdiff1d):
    implements(_function)(_not_known(_function.__name__))


# --- writing ---------------------------------------------------------------------------------------------------------------------------------


def writable(a: Any, name: str) -> Tracer:
    if a.__class__ is not Tracer:
        fail(
            UnsupportedError,
            f"np.{name} writes a traced array into an array made outside of the traced function",
            "copy that array in the function first: a = np.array(a)",
        )
    return a


@implements(np.copyto, always=True)
def copyto(dst: Any, src: Any, casting: str = "same_kind", where: Any = True) -> None:
    """As numpy.copyto."""
    target = writable(dst, "copyto")
    if where is True:
        target._assign(src)
    elif is_traced([src, where, target]):
        target._write(globals()["where"](where, src, target))
    else:
        target._write(np.where(unwrap(where), unwrap(src), target.concrete))


@implements(np.fill_diagonal, always=True)
def fill_diagonal(a: Any, val: Any, wrap: bool = False) -> None:
    """As numpy.fill_diagonal."""
    target = writable(a, "fill_diagonal")
    if target.ndim < 2:
        fail(ShapeError, "array must be at least 2-d")
    if wrap:
        fail(UnsupportedError, "gradloom does not support wrap= of np.fill_diagonal")
    rows = np.arange(min(target.shape))
    target[(rows,) * target.ndim] = val


@implements(np.put_along_axis, always=True)
def put_along_axis(arr: Any, indices: Any, values: Any, axis: int | None) -> None:
    """As numpy.put_along_axis with concrete indices."""
    target = writable(arr, "put_along_axis")
    index = unwrap(indices)
    if axis is None:
        fail(UnsupportedError, "gradloom does not support axis=None of np.put_along_axis")
    axis = normalize_axis(axis, target.ndim)
    key = tuple(
        index if k == axis else np.arange(extent).reshape([-1 if j == k else 1 for j in range(target.ndim)])
        for k, extent in enumerate(target.shape)
    )
    target[key] = values


@implements(np.putmask, always=True)
def putmask(a: Any, mask: Any, values: Any) -> None:
    """As numpy.putmask for one value, or values of the shape of the array."""
    target = writable(a, "putmask")
    value = tracer_of(values)
    if value.size != 1 and value.shape != target.shape:
        fail(UnsupportedError, "gradloom traces np.putmask with one value or with values of the array's shape")
    copyto(target, reshaped(value, ()) if value.size == 1 else value, where=mask)
