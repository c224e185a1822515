"""NumPy's small numerics on tracers: differences, integrals, polynomials, interpolation, grids, covariance."""

from typing import Any

import numpy as np

from gradloom.trace.calling import apply
from gradloom.trace.context import fail
from gradloom.trace.functions import operands
from gradloom.trace.memory import lift
from gradloom.trace.promote import (
    as_float,
    bring,
    common_element,
    convert,
    normalize_axis,
    stretch,
)
from gradloom.trace.reductions import sum as sum_of
from gradloom.trace.tracer import Tracer, implements
from gradloom.trace.views import part_of, ravel, reshaped, tracer_of
from gradloomc.dialects import nd
from gradloomc.ir import types as ir_types
from gradloomc.ir.errors import ShapeError, UnsupportedError
from gradloomc.ir.extents import index_of, is_symbolic
from gradloomc.ir.types import tensor

# --- differences, sums along an axis ----------------------------------------------------------------------------------


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
    upper: Any = Tracer(part_of(value, axis, min(1, extent), extent))
    return sum_of(width * (upper + Tracer(part_of(value, axis, 0, max(extent - 1, 0)))) / 2.0, axis)


@implements(np.gradient)
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """As numpy.gradient, for uniform spacing and edge_order 1."""
    value = lift(f)
    value = convert(value, as_float(value.type.element))
    rank = value.type.rank
    axes = (
        tuple(range(rank))
        if axis is None
        else tuple(normalize_axis(k, rank) for k in (axis if isinstance(axis, (tuple, list)) else (axis,)))
    )
    steps = list(varargs) or [1.0]
    if len(steps) == 1:
        steps *= len(axes)
    if len(steps) != len(axes) or edge_order != 1 or any(np.ndim(step) for step in steps):
        fail(UnsupportedError, "gradloom traces np.gradient with one number per axis as spacing and edge_order=1")
    results = []
    for along, step in zip(axes, steps, strict=True):
        extent = value.type.shape[along]
        if extent < 2:
            fail(
                ShapeError,
                "Shape of array too small to calculate a numerical gradient, "
                "at least (edge_order + 1) elements are required.",
            )
        inner = Tracer(nd.sub(part_of(value, along, 2, extent), part_of(value, along, 0, extent - 2))) / (2.0 * step)
        first = Tracer(nd.sub(part_of(value, along, 1, 2), part_of(value, along, 0, 1))) / step
        last = (
            Tracer(nd.sub(part_of(value, along, extent - 1, extent), part_of(value, along, extent - 2, extent - 1)))
            / step
        )
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
    below = (
        part_of(values, 0, 0, 1)
        if left is None
        else nd.reshape(bring(left if left.__class__ in (int, float) else lift(left), ir_types.f64), shape=(1,))
    )
    above = (
        part_of(values, 0, count - 1, count)
        if right is None
        else nd.reshape(bring(right if right.__class__ in (int, float) else lift(right), ir_types.f64), shape=(1,))
    )
    table = (flat.type.size, count)
    passed = nd.le(nd.broadcast(nodes, shape=table, dims=(1,)), nd.broadcast(flat, shape=table, dims=(0,)))
    position = nd.sub(
        nd.reduce_sum(convert(passed, ir_types.i64), axes=(1,)), nd.splat(1, tensor(flat.type.shape, ir_types.i64))
    )
    last = nd.splat(max(count - 2, 0), position.type)
    start = nd.minimum(nd.maximum(position, nd.zeros_like(position)), last)
    x0, y0 = nd.gather(nodes, start, axes=(0,)), nd.gather(values, start, axes=(0,))
    if count > 1:
        stop = nd.add(start, nd.splat(1, start.type))
        slope = nd.div(nd.sub(nd.gather(values, stop, axes=(0,)), y0), nd.sub(nd.gather(nodes, stop, axes=(0,)), x0))
        result = nd.add(nd.mul(slope, nd.sub(flat, x0)), y0)
    else:
        result = y0
    edges = [
        nd.broadcast(each, shape=flat.type.shape, dims=(0,))
        for each in (
            part_of(nodes, 0, 0, 1),
            part_of(nodes, 0, count - 1, count),
            below,
            above,
            part_of(values, 0, count - 1, count),
        )
    ]
    result = nd.select(nd.eq(flat, edges[1]), edges[4], result)
    result = nd.select(nd.lt(flat, edges[0]), edges[2], nd.select(nd.gt(flat, edges[1]), edges[3], result))
    result = nd.select(nd.isnan(flat), flat, result)
    return Tracer(nd.reshape(result, shape=x.type.shape))


@implements(np.linspace)
def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
    *,
    device: Any = None,
) -> Any:
    """As numpy.linspace with traced ends."""
    num = index_of(num)
    element = as_float(operands(start, stop)[1]).dtype
    first, last = tracer_of(start).astype(element), tracer_of(stop).astype(element)
    divisions = num - 1 if endpoint else num
    span = last - first
    step = span / divisions if divisions > 0 else span * np.nan
    grid = nd.iota(shape=(num,), axis=0, type=first.value.type.element) if is_symbolic(num) else np.arange(num)
    grid = tracer_of(grid).astype(element).reshape((num,) + (1,) * span.ndim)
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
def cov(
    m: Any,
    y: Any = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: int | None = None,
    fweights: Any = None,
    aweights: Any = None,
    *,
    dtype: Any = None,
) -> Any:
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
