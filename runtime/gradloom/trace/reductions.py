"""NumPy's reductions on tracers: sums, means, extrema, measures of spread, positions."""

import math
from typing import Any

import numpy as np

from gradloom.trace.calling import apply
from gradloom.trace.context import element_of, fail
from gradloom.trace.memory import lift
from gradloom.trace.promote import (
    accumulator,
    as_float,
    bring,
    common_element,
    convert,
    is_axis_of_number,
    length,
    normalize_axes,
    normalize_axis,
    number,
    reduced_axes,
    stretch,
    truth,
)
from gradloom.trace.tracer import Tracer, implements
from gradloomc.dialects import nd
from gradloomc.ir import types as ir_types
from gradloomc.ir.core import Value
from gradloomc.ir.errors import DTypeError, ShapeError, UnsupportedError
from gradloomc.ir.types import ScalarType

MISSING: Any = np._NoValue  # type: ignore[attr-defined]  # NumPy's own word for "not given"
Axes = tuple[int, ...]


def given(x: Any) -> bool:
    """Tell whether an optional argument was passed."""
    return x is not MISSING and x is not None


def finish(result: Value, out: Any) -> Any:
    """Return a result as a tracer, or write it into `out`."""
    return deliver(Tracer(result), out)


def deliver(result: Tracer, out: Any) -> Any:
    """Return a result, or write it into `out`."""
    if out.__class__ is tuple and len(out) == 1:
        (out,) = out
    if out is None or out is MISSING:
        return result
    if out.__class__ is not Tracer:
        fail(
            UnsupportedError,
            "traced numbers are written (by out=, or by +=, *= and the like) into an array that no traced array went "
            "into: it is a plain ndarray, which cannot hold them",
            "leave out= away, write a = a + x instead of a += x, or make the array in the function with np.array(...) "
            "or np.zeros(...)",
        )
    return out._assign(result)


def keep(value: Value, shape: Axes, axes: Axes, keepdims: Any) -> Value:
    """Put reduced axes back with extent 1 if `keepdims`."""
    if keepdims is True or (given(keepdims) and keepdims):
        return nd.reshape(value, shape=tuple(1 if k in axes else extent for k, extent in enumerate(shape)))
    return value


def masked(x: Value, where: Any, neutral: Any) -> Value:
    """Replace the elements that `where` leaves out."""
    if where is True or where is MISSING or where is None:
        return x
    mask = truth(lift(where))
    return nd.select(stretch(mask, x.type.shape), x, number(neutral, x.type))


def _reduce(
    a: Any,
    axis: Any,
    keepdims: Any,
    out: Any,
    build: Any,
    element: ScalarType | None = None,
    where: Any = MISSING,
    neutral: Any = 0,
    initial: Any = MISSING,
    combine: Any = None,
) -> Any:
    x = lift(a)
    axes = reduced_axes(axis, x.type.rank)
    if element is not None:
        x = convert(x, element)
    x = masked(x, where, neutral)
    result = build(x, axes=axes)
    if given(initial):
        start = initial if initial.__class__ in (int, float, bool) else lift(initial)
        result = combine(result, bring(start, result.type.element, result.type.shape))
    return finish(keep(result, x.type.shape, axes, keepdims), out)


def _accumulator_of(a: Any, dtype: Any) -> ScalarType:
    return element_of(np.dtype(dtype)) if given(dtype) else accumulator(lift(a).type.element)


@implements(np.sum)
def sum(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = MISSING,
    initial: Any = MISSING,
    where: Any = MISSING,
) -> Any:
    """As numpy.sum."""
    a = lift(a)
    element = _accumulator_of(a, dtype)
    if element.kind == "b":
        return any(a, axis, out, keepdims, where=where)
    return _reduce(a, axis, keepdims, out, nd.reduce_sum, element, where, 0, initial, nd.add)


@implements(np.prod)
def prod(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = MISSING,
    initial: Any = MISSING,
    where: Any = MISSING,
) -> Any:
    """As numpy.prod."""
    a = lift(a)
    element = _accumulator_of(a, dtype)
    if element.kind == "b":
        return all(a, axis, out, keepdims, where=where)
    return _reduce(a, axis, keepdims, out, nd.reduce_prod, element, where, 1, initial, nd.mul)


@implements(np.any)
def any(a: Any, axis: Any = None, out: Any = None, keepdims: Any = MISSING, *, where: Any = MISSING) -> Any:
    """As numpy.any."""
    return _reduce(truth(lift(a)), axis, keepdims, out, nd.reduce_any, None, where, False)


@implements(np.all)
def all(a: Any, axis: Any = None, out: Any = None, keepdims: Any = MISSING, *, where: Any = MISSING) -> Any:
    """As numpy.all."""
    return _reduce(truth(lift(a)), axis, keepdims, out, nd.reduce_all, None, where, True)


def _extreme(element: ScalarType, largest: bool) -> Any:
    if element.kind == "f":
        return np.inf if largest else -np.inf
    if element.kind == "b":
        return largest
    info = np.iinfo(element.dtype)
    return info.max if largest else info.min


def _extremum(name: str, build: Any, combine: Any, largest: bool) -> Any:
    def reduction(
        a: Any, axis: Any = None, out: Any = None, keepdims: Any = MISSING, initial: Any = MISSING, where: Any = MISSING
    ) -> Any:
        x = lift(a)
        axes = reduced_axes(axis, x.type.rank)
        if where is not MISSING and where is not True and not given(initial):
            fail(
                ShapeError,
                f"reduction operation '{name}' does not have an identity, so to use a where mask "
                "one has to specify 'initial'",
            )
        if 0 in [x.type.shape[k] for k in axes]:
            if not given(initial):
                fail(ShapeError, f"zero-size array to reduction operation {name} which has no identity")
            kept = tuple(x.type.shape[k] for k in nd.kept_axes(x.type.rank, axes))
            start = bring(initial if initial.__class__ in (int, float) else lift(initial), x.type.element, kept)
            return finish(keep(start, x.type.shape, axes, keepdims), out)
        neutral = _extreme(x.type.element, not largest)
        return _reduce(x, axis, keepdims, out, build, None, where, neutral, initial, combine)

    reduction.__doc__ = f"As numpy.{name[:3]}."
    return reduction


max = implements(np.max, np.amax)(_extremum("maximum", nd.reduce_max, nd.maximum, True))
min = implements(np.min, np.amin)(_extremum("minimum", nd.reduce_min, nd.minimum, False))


@implements(np.ptp)
def ptp(a: Any, axis: Any = None, out: Any = None, keepdims: Any = MISSING) -> Any:
    """As numpy.ptp."""
    x = lift(a)
    return deliver(apply(np.subtract, (max(x, axis, None, keepdims), min(x, axis, None, keepdims))), out)


def _count(x: Value, axes: Axes, where: Any) -> Any:
    """Return how many elements are reduced: a number, or a value per result if a mask is traced."""
    if where is True or where is MISSING or where is None:
        return math.prod(x.type.shape[axis] for axis in axes)
    mask = stretch(truth(lift(where)), x.type.shape)
    return nd.reduce_sum(convert(mask, x.type.element), axes=axes)


def _divide(total: Value, count: Any) -> Value:
    return nd.div(total, count if count.__class__ is Value else length(count, total.type))


def _mean(x: Value, axes: Axes, where: Any = MISSING) -> Value:
    return _divide(nd.reduce_sum(masked(x, where, 0), axes=axes), _count(x, axes, where))


def _working(element: ScalarType) -> ScalarType:
    """Half precision is averaged in single precision, as in NumPy."""
    return ir_types.f32 if element is ir_types.f16 else element


@implements(np.mean)
def mean(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = MISSING, *, where: Any = MISSING
) -> Any:
    """As numpy.mean; integers are averaged as float64."""
    x = lift(a)
    axes = normalize_axes(axis, x.type.rank)
    element = element_of(np.dtype(dtype)) if given(dtype) else as_float(x.type.element)
    working = element if given(dtype) else _working(element)
    result = _mean(convert(x, as_float(working)), axes, where)
    return finish(keep(convert(result, element), x.type.shape, axes, keepdims), out)


def _variance(
    a: Any, axis: Any, dtype: Any, ddof: Any, keepdims: Any, where: Any, center: Any, correction: Any
) -> tuple[Value, Value, Axes]:
    x = lift(a)
    axes = normalize_axes(axis, x.type.rank)
    if given(correction):
        ddof = correction
    element = element_of(np.dtype(dtype)) if given(dtype) else as_float(x.type.element)
    working = element if given(dtype) else _working(element)
    x = convert(x, as_float(working))
    average = nd.reshape(lift(center), shape=_mean_shape(x, axes)) if given(center) else _mean(x, axes, where)
    distance = nd.sub(x, nd.spread(average, x, axes))
    count = _count(x, axes, where)
    if count.__class__ is Value:
        count = nd.maximum(nd.sub(count, number(ddof, count.type)), nd.zeros_like(count))
    else:
        count = count - ddof if count > ddof else 0
    total = nd.reduce_sum(masked(nd.square(distance), where, 0), axes=axes)
    return convert(_divide(total, count), element), x, axes


def _mean_shape(x: Value, axes: Axes) -> Axes:
    return tuple(x.type.shape[axis] for axis in nd.kept_axes(x.type.rank, axes))


@implements(np.var)
def var(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = MISSING,
    *,
    where: Any = MISSING,
    mean: Any = MISSING,
    correction: Any = MISSING,
) -> Any:
    """As numpy.var."""
    result, x, axes = _variance(a, axis, dtype, ddof, keepdims, where, mean, correction)
    return finish(keep(result, x.type.shape, axes, keepdims), out)


def guarded_sqrt(x: Value) -> Value:
    """Return the square root with derivative 0 at 0 (the root of a sum of squares has a kink there)."""
    zero = nd.zeros_like(x)
    return nd.select(nd.eq(x, zero), zero, nd.sqrt(x))


@implements(np.std)
def std(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = MISSING,
    *,
    where: Any = MISSING,
    mean: Any = MISSING,
    correction: Any = MISSING,
) -> Any:
    """As numpy.std; the derivative where all elements are equal is 0."""
    result, x, axes = _variance(a, axis, dtype, ddof, keepdims, where, mean, correction)
    return finish(keep(guarded_sqrt(result), x.type.shape, axes, keepdims), out)


@implements(np.average)
def average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: Any = MISSING) -> Any:
    """As numpy.average."""
    x = lift(a)
    if weights is None:
        result = mean(x, axis, keepdims=keepdims)
        total: Any = Tracer(nd.splat(x.type.size / _at_least_one(result.size), result.value.type))
        return (result, total) if returned else result
    w = lift(weights)
    axes = normalize_axes(axis, x.type.rank)
    if w.type.shape != x.type.shape:
        if axis is None:
            fail(DTypeError, "Axis must be specified when shapes of a and weights differ.")
        if w.type.shape != tuple(x.type.shape[k] for k in axes):
            fail(ShapeError, "Shape of weights must be consistent with shape of a along specified axis.")
        w = nd.broadcast(w, shape=x.type.shape, dims=axes)
    element = common_element([x.type.element, w.type.element])
    if x.type.element.kind in "iub":
        element = common_element([element, ir_types.f64])
    x, w = convert(x, element), convert(w, element)
    scale = nd.reduce_sum(w, axes=axes)
    result = nd.div(nd.reduce_sum(nd.mul(x, w), axes=axes), scale)
    kept = Tracer(keep(result, x.type.shape, axes, keepdims))
    return (kept, Tracer(keep(scale, x.type.shape, axes, keepdims))) if returned else kept


def _at_least_one(count: int) -> int:
    return count or 1


def _position(name: str, build: Any) -> Any:
    def search(a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = MISSING) -> Any:
        x = lift(a)
        rank, shape = x.type.rank, x.type.shape
        if axis is None or is_axis_of_number(axis, rank):
            x, axes = nd.reshape(x, shape=(x.type.size,)), tuple(range(rank))
            axis = 0
        else:
            axis = normalize_axis(axis, rank)
            axes = (axis,)
        if x.type.shape[axis] == 0:
            fail(ShapeError, f"attempt to get {name} of an empty sequence")
        return finish(keep(build(x, axis=axis), shape, axes, keepdims), out)

    search.__doc__ = f"As numpy.{name}."
    return search


argmax = implements(np.argmax)(_position("argmax", nd.argmax))
argmin = implements(np.argmin)(_position("argmin", nd.argmin))


@implements(np.count_nonzero)
def count_nonzero(a: Any, axis: Any = None, *, keepdims: Any = False) -> Any:
    """As numpy.count_nonzero."""
    return sum(truth(lift(a)), axis, keepdims=keepdims)


# --- nan-aware --------------------------------------------------------------------------------------------------------


def _without_nan(a: Any, replacement: Any) -> tuple[Value, Any]:
    x = lift(a)
    if x.type.element.kind != "f":
        return x, MISSING
    unknown = nd.isnan(x)
    return nd.select(unknown, number(replacement, x.type), x), Tracer(nd.logical_not(unknown))


@implements(np.nansum)
def nansum(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = MISSING,
    initial: Any = MISSING,
    where: Any = MISSING,
) -> Any:
    """As numpy.nansum."""
    return sum(_without_nan(a, 0)[0], axis, dtype, out, keepdims, initial, where)


@implements(np.nanprod)
def nanprod(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = MISSING,
    initial: Any = MISSING,
    where: Any = MISSING,
) -> Any:
    """As numpy.nanprod."""
    return prod(_without_nan(a, 1)[0], axis, dtype, out, keepdims, initial, where)


def _both(known: Any, where: Any) -> Any:
    if known is MISSING or where is MISSING or where is None:
        return where if known is MISSING else known
    return apply(np.logical_and, (known, where))


@implements(np.nanmean)
def nanmean(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = MISSING, *, where: Any = MISSING
) -> Any:
    """As numpy.nanmean."""
    x, known = _without_nan(a, 0)
    return mean(x, axis, dtype, out, keepdims, where=_both(known, where))


@implements(np.nanvar)
def nanvar(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = MISSING,
    *,
    where: Any = MISSING,
    mean: Any = MISSING,
    correction: Any = MISSING,
) -> Any:
    """As numpy.nanvar."""
    x, known = _without_nan(a, 0)
    return var(x, axis, dtype, out, ddof, keepdims, where=_both(known, where), mean=mean, correction=correction)


@implements(np.nanstd)
def nanstd(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = MISSING,
    *,
    where: Any = MISSING,
    mean: Any = MISSING,
    correction: Any = MISSING,
) -> Any:
    """As numpy.nanstd."""
    x, known = _without_nan(a, 0)
    return std(x, axis, dtype, out, ddof, keepdims, where=_both(known, where), mean=mean, correction=correction)


def _nan_extremum(extremum: Any, largest: bool) -> Any:
    def reduction(
        a: Any, axis: Any = None, out: Any = None, keepdims: Any = MISSING, initial: Any = MISSING, where: Any = MISSING
    ) -> Any:
        x, known = _without_nan(a, -np.inf if largest else np.inf)
        result = extremum(x, axis, None, keepdims, initial, where)
        if known is not MISSING:
            nothing = lift(all(apply(np.logical_not, (known,)), axis, None, keepdims))
            result = Tracer(nd.select(nothing, nd.splat(np.nan, result.value.type), result.value))
        return deliver(result, out)

    return reduction


implements(np.nanmax)(_nan_extremum(max, True))
implements(np.nanmin)(_nan_extremum(min, False))


# --- norms ------------------------------------------------------------------------------------------------------------


@implements(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """As numpy.linalg.norm for the norms without a decomposition; the derivative of a 2-norm at 0 is 0."""
    v = lift(x)
    v = convert(v, as_float(v.type.element))
    rank, shape = v.type.rank, v.type.shape
    if axis is None and (ord is None or (ord in ("f", "fro") and rank == 2) or (ord == 2 and rank == 1)):
        axes = tuple(range(rank))
        return finish(keep(_root_of_squares(v, axes), shape, axes, keepdims), None)
    axes = tuple(range(rank)) if axis is None else tuple(normalize_axis(k, rank) for k in _as_tuple(axis))
    if len(axes) == 1:
        return finish(keep(_vector_norm(v, ord, axes), shape, axes, keepdims), None)
    if len(axes) != 2:
        fail(ShapeError, "Improper number of dimensions to norm.")
    if axes[0] == axes[1]:
        fail(ShapeError, "Duplicate axes given.")
    return finish(keep(_matrix_norm(v, ord, axes), shape, tuple(sorted(axes)), keepdims), None)


def _as_tuple(axis: Any) -> tuple[Any, ...]:
    return tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)


def _root_of_squares(v: Value, axes: Axes) -> Value:
    return guarded_sqrt(nd.reduce_sum(nd.square(v), axes=axes))


def _vector_norm(v: Value, ord: Any, axes: Axes) -> Value:
    if ord is None or ord == 2:
        return _root_of_squares(v, axes)
    size = nd.abs_(v)
    if ord == np.inf:
        return lift(max(size, axes))
    if ord == -np.inf:
        return lift(min(size, axes))
    if ord == 0:
        return nd.reduce_sum(convert(nd.ne(v, nd.zeros_like(v)), v.type.element), axes=axes)
    if ord == 1:
        return nd.reduce_sum(size, axes=axes)
    if isinstance(ord, str):
        fail(ShapeError, f"Invalid norm order '{ord}' for vectors")
    total = nd.reduce_sum(nd.power(size, number(ord, size.type)), axes=axes)
    return nd.power(total, number(1 / ord, total.type))


def _matrix_norm(v: Value, ord: Any, axes: Axes) -> Value:
    if ord in (None, "fro", "f"):
        return _root_of_squares(v, tuple(sorted(axes)))
    if ord not in (1, -1, np.inf, -np.inf):
        fail(
            UnsupportedError,
            f"the matrix norm of order {ord!r} needs singular values, which gradloom does not compute yet",
            "use the Frobenius norm, np.linalg.norm(a)",
        )
    row, column = axes
    summed, searched = (row, column) if ord in (1, -1) else (column, row)
    sums = nd.reduce_sum(nd.abs_(v), axes=(summed,))
    search = (searched - (searched > summed),)
    return lift((max if ord > 0 else min)(sums, search))


@implements(np.linalg.vector_norm)
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    """As numpy.linalg.vector_norm."""
    v = lift(x)
    v = convert(v, as_float(v.type.element))
    axes = normalize_axes(axis, v.type.rank)
    if len(axes) == 1 or ord in (2, None):
        return finish(keep(_vector_norm(v, ord, axes), v.type.shape, axes, keepdims), None)
    return finish(keep(_vector_norm(v, ord, axes), v.type.shape, axes, keepdims), None)


@implements(np.linalg.matrix_norm)
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """As numpy.linalg.matrix_norm."""
    return norm(x, ord, (-2, -1), keepdims)
