"""NumPy's functions that pick elements by position, and those that write into an array."""

from collections.abc import Callable
from typing import Any

import numpy as np

from gradloom.trace.context import fail
from gradloom.trace.diagonals import diagonal_mask
from gradloom.trace.functions import where as choose_by
from gradloom.trace.indexing import parse
from gradloom.trace.memory import is_traced, lift, unwrap
from gradloom.trace.promote import (
    convert,
    normalize_axis,
)
from gradloom.trace.reductions import finish
from gradloom.trace.tracer import Tracer, implements
from gradloom.trace.views import ravel, reshaped, tracer_of
from gradloomc.dialects import nd
from gradloomc.ir import types as ir_types
from gradloomc.ir.core import Value
from gradloomc.ir.errors import ShapeError, UnsupportedError

# --- picking ----------------------------------------------------------------------------------------------------------


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
    mask: Any = unwrap(condition) if not is_traced(condition) else lift(condition)
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


for _function in (
    np.nonzero,
    np.flatnonzero,
    np.argwhere,
    np.unique,
    np.trim_zeros,
    np.intersect1d,
    np.union1d,
    np.setdiff1d,
):
    implements(_function)(_not_known(_function.__name__))


# --- writing ----------------------------------------------------------------------------------------------------------


def writable(a: Any, name: str) -> Tracer:
    if a.__class__ is not Tracer:
        fail(
            UnsupportedError,
            f"np.{name} writes a traced array into an array that no traced array went into: it is a plain ndarray, "
            "which cannot hold traced numbers",
            "make it with np.array(...) in the function: a = np.array(a)",
        )
    return a


@implements(np.copyto, always=True)
def copyto(dst: Any, src: Any, casting: str = "same_kind", where: Any = True) -> None:
    """As numpy.copyto."""
    target = writable(dst, "copyto")
    if where is True:
        target._assign(src)
    elif is_traced([src, where, target]):
        target._write(choose_by(where, src, target))
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
    if target.ndim > 2 and len(set(target.shape)) > 1:
        fail(ShapeError, "All dimensions of input must be of equal length")
    if tracer_of(val).size == 1 and (target.concrete is None or is_traced([val])):
        target._write_masked(diagonal_mask(target.shape), val)
        return
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
