"""NumPy's functions that join, repeat, shift and pad arrays."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradloom.trace.context import Array, fail
from gradloom.trace.indexing import parse
from gradloom.trace.memory import lift
from gradloom.trace.promote import (
    bring,
    common_element,
    convert,
    normalize_axis,
    show,
    stretch,
)
from gradloom.trace.reductions import finish
from gradloom.trace.tracer import Tracer, implements
from gradloom.trace.views import atleast_1d, atleast_2d, atleast_3d, part_of, reshaped, tracer_of, transpose
from gradloomc.dialects import nd
from gradloomc.ir.core import Value
from gradloomc.ir.errors import ShapeError, UnsupportedError
from gradloomc.ir.extents import index_of
from gradloomc.ir.types import i1, tensor

Shape = tuple[int, ...]

# --- joins ------------------------------------------------------------------------------------------------------------


def _joined(arrays: Any, dtype: Any) -> list[Value]:
    if arrays.__class__ is Tracer:
        arrays = list(arrays)
    values = [lift(each) for each in arrays]
    if not values:
        fail(ShapeError, "need at least one array to concatenate")
    element = common_element([value.type.element for value in values])
    if dtype is not None:
        element = lift(np.zeros((), dtype)).type.element
    return [convert(value, element) for value in values]


@implements(np.concatenate)
def concatenate(
    arrays: Any, /, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind"
) -> Any:
    """As numpy.concatenate."""
    values = _joined(arrays, dtype)
    if axis is None:
        values = [nd.reshape(value, shape=(value.type.size,)) for value in values]
        axis = 0
    rank = values[0].type.rank
    if not rank:
        fail(ShapeError, "zero-dimensional arrays cannot be concatenated", "np.stack joins numbers to an array")
    axis = normalize_axis(axis, rank)
    first = values[0].type.shape
    for position, value in enumerate(values):
        shape = value.type.shape
        if len(shape) != rank:
            fail(
                ShapeError,
                "all the input array dimensions except for the concatenation axis must match exactly, but along "
                f"dimension 0 the array at index 0 has {rank} dimension(s) and the array at index {position} has "
                f"{len(shape)} dimension(s)",
            )
        for k in range(rank):
            if k != axis and shape[k] != first[k]:
                fail(
                    ShapeError,
                    "all the input array dimensions except for the concatenation axis must match exactly, but along "
                    f"dimension {k}, the array at index 0 has size {first[k]} and the array at index {position} has "
                    f"size {shape[k]}",
                )
    return finish(nd.concatenate(*values, axis=axis), out)


@implements(np.stack)
def stack(arrays: Any, axis: int = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    """As numpy.stack."""
    values = _joined(arrays, dtype)
    shape = values[0].type.shape
    if any(value.type.shape != shape for value in values):
        fail(
            ShapeError,
            "all input arrays must have the same shape, got " + ", ".join(show(value.type.shape) for value in values),
        )
    axis = normalize_axis(axis, len(shape) + 1)
    wide = (*shape[:axis], 1, *shape[axis:])
    return finish(nd.concatenate(*[nd.reshape(value, shape=wide) for value in values], axis=axis), out)


def _list_of(arrays: Any) -> list[Any]:
    return list(arrays)


@implements(np.vstack)
def vstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    """As numpy.vstack."""
    return concatenate([atleast_2d(each) for each in _list_of(tup)], 0, dtype=dtype)


@implements(np.hstack)
def hstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    """As numpy.hstack."""
    arrays = [atleast_1d(each) for each in _list_of(tup)]
    return concatenate(arrays, 0 if arrays and arrays[0].ndim == 1 else 1, dtype=dtype)


@implements(np.dstack)
def dstack(tup: Any) -> Any:
    """As numpy.dstack."""
    return concatenate([atleast_3d(each) for each in _list_of(tup)], 2)


@implements(np.column_stack)
def column_stack(tup: Any) -> Any:
    """As numpy.column_stack."""
    arrays = [tracer_of(each) for each in _list_of(tup)]
    return concatenate([transpose(atleast_2d(each)) if each.ndim < 2 else each for each in arrays], 1)


@implements(np.append)
def append(arr: Any, values: Any, axis: int | None = None) -> Any:
    """As numpy.append."""
    return concatenate([arr, values], axis)


@implements(np.block)
def block(arrays: Any) -> Any:
    """As numpy.block."""

    def depth_of(part: Any) -> int:
        return 1 + max((depth_of(each) for each in part), default=0) if isinstance(part, list) else 0

    def join(part: Any, depth: int, rank: int) -> Any:
        if depth == 0:
            x = tracer_of(part)
            return reshaped(x, (1,) * (rank - x.ndim) + x.shape)
        return concatenate([join(each, depth - 1, rank) for each in part], -depth)

    def ranks(part: Any) -> int:
        return max(map(ranks, part)) if isinstance(part, list) else tracer_of(part).ndim

    depth = depth_of(arrays)
    return join(arrays, depth, max(depth, ranks(arrays)))


@implements(np.meshgrid)
def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> tuple[Tracer, ...]:
    """As numpy.meshgrid."""
    values = [lift(each) for each in xi]
    count = len(values)
    order = list(range(count))
    if indexing == "xy" and count > 1:
        order[0], order[1] = 1, 0
    elif indexing not in ("xy", "ij"):
        fail(ShapeError, "Valid values for `indexing` are 'xy' and 'ij'.")
    shape = [1] * count
    for value, axis in zip(values, order, strict=True):
        shape[axis] = value.type.size
    grids = []
    for value, axis in zip(values, order, strict=True):
        aligned = tuple(value.type.size if k == axis else 1 for k in range(count))
        grid = nd.reshape(value, shape=aligned)
        grids.append(Tracer(grid if sparse else stretch(grid, tuple(shape))))
    return tuple(grids)


# --- repetition, shifts, padding --------------------------------------------------------------------------------------


@implements(np.roll)
def roll(a: Any, shift: Any, axis: Any = None) -> Tracer:
    """As numpy.roll."""
    x = lift(a)
    if axis is None:
        flat = roll(Tracer(nd.reshape(x, shape=(x.type.size,))), shift, 0)
        return Tracer(nd.reshape(flat.value, shape=x.type.shape))
    shifts, axes = np.broadcast_arrays(np.atleast_1d(shift), np.atleast_1d(axis))
    for by, along in zip(shifts.tolist(), axes.tolist(), strict=True):
        along = normalize_axis(along, x.type.rank)
        extent = x.type.shape[along]
        by = by % extent if extent else 0
        if by:
            x = nd.concatenate(part_of(x, along, extent - by, extent), part_of(x, along, 0, extent - by), axis=along)
    return Tracer(x)


@implements(np.tile)
def tile(A: Any, reps: Any) -> Tracer:
    """As numpy.tile."""
    x = lift(A)
    counts = (
        [index_of(each) for each in reps]
        if isinstance(reps, (tuple, list, np.ndarray))
        else [index_of(reps)]
    )
    rank = max(len(counts), x.type.rank)
    counts = [1] * (rank - len(counts)) + counts
    shape = (1,) * (rank - x.type.rank) + x.type.shape
    wide = tuple(itertools.chain.from_iterable(zip(counts, shape, strict=True)))
    dims = tuple(range(1, 2 * rank, 2))
    repeated = nd.broadcast(nd.reshape(x, shape=shape), shape=wide, dims=dims)
    return Tracer(nd.reshape(repeated, shape=tuple(c * e for c, e in zip(counts, shape, strict=True))))


@implements(np.repeat)
def repeat(a: Any, repeats: Any, axis: int | None = None) -> Tracer:
    """As numpy.repeat."""
    x = lift(a)
    if axis is None:
        x, axis = nd.reshape(x, shape=(x.type.size,)), 0
    axis = normalize_axis(axis, x.type.rank)
    counts = np.asarray(repeats)
    shape = x.type.shape
    if counts.size == 1:
        count = int(counts.reshape(()))
        wide = (*shape[: axis + 1], count, *shape[axis + 1 :])
        dims = tuple(k for k in range(len(wide)) if k != axis + 1)
        spread = nd.broadcast(x, shape=wide, dims=dims)
        return Tracer(nd.reshape(spread, shape=(*shape[:axis], shape[axis] * count, *shape[axis + 1 :])))
    if counts.shape != (shape[axis],):
        fail(
            ShapeError,
            f"operands could not be broadcast together with shape ({shape[axis]},) {show(counts.shape)}",
        )
    rows = np.repeat(np.arange(shape[axis]), counts)
    return Tracer(parse(shape, (slice(None),) * axis + (rows,)).read(x))


@implements(np.pad)
def pad(array: Any, pad_width: Any, mode: Any = "constant", **options: Any) -> Tracer:
    """As numpy.pad, for the modes constant, edge, reflect, symmetric, wrap and empty."""
    x = lift(array)
    rank = x.type.rank
    if isinstance(pad_width, dict):
        widths = [(0, 0)] * rank
        for axis, width in pad_width.items():
            widths[axis] = tuple(np.broadcast_to(width, (2,)).tolist())
    else:
        widths = [tuple(pair) for pair in np.broadcast_to(np.asarray(pad_width), (rank, 2)).tolist()]
    if any(width < 0 for pair in widths for width in pair):
        fail(ShapeError, "index can't contain negative values")
    if mode == "constant":
        return Tracer(_pad_constant(x, widths, options.pop("constant_values", 0), options))
    if mode == "empty":
        return Tracer(_pad_constant(x, widths, 0, options))
    if mode not in ("edge", "reflect", "symmetric", "wrap") or options.get("reflect_type", "even") != "even":
        fail(
            UnsupportedError,
            f"gradloom does not support np.pad with mode={mode!r} and {options}",
            "modes that it can: constant, edge, reflect, symmetric, wrap, empty",
        )
    for axis, width in enumerate(widths):
        if width != (0, 0):
            x = _pad_axis(x, axis, width, mode)
    return Tracer(x)


def _pad_constant(x: Value, widths: Sequence[tuple[int, int]], values: Any, options: dict[str, Any]) -> Value:
    if options:
        fail(UnsupportedError, f"unsupported keyword arguments for mode 'constant': {sorted(options)}")
    amounts = {
        "low": tuple(low for low, _ in widths),
        "high": tuple(high for _, high in widths),
        "interior": (0,) * x.type.rank,
    }
    if not isinstance(values, (tuple, list, np.ndarray, Tracer)):
        return _pad_with(
            x, amounts, bring(values if isinstance(values, (int, float)) else lift(values), x.type.element)
        )
    if values.__class__ is Tracer and not values.shape:  # type: ignore[union-attr]
        return _pad_with(x, amounts, convert(lift(values), x.type.element))
    if values.__class__ is Tracer:
        fail(UnsupportedError, "constant_values= of np.pad should be one traced number, or plain numbers")
    pairs = np.broadcast_to(np.asarray(values), (x.type.rank, 2))
    for axis, (low, high) in enumerate(widths):
        for side, width in enumerate((low, high)):
            one = {name: [0] * x.type.rank for name in ("low", "high", "interior")}
            one["high" if side else "low"][axis] = width
            number = bring(lift(pairs[axis, side]), x.type.element)
            x = _pad_with(x, {name: tuple(amount) for name, amount in one.items()}, number)
    return x


def _pad_with(x: Value, amounts: dict[str, Shape], number: Value) -> Value:
    result = nd.pad(x, **amounts)
    known = nd.splat_of(number)
    if (known is not None and known == 0) or result.type is x.type:
        return result
    inside = nd.pad(truth_everywhere(x), **amounts)
    return nd.select(inside, result, stretch(number, result.type.shape))


def truth_everywhere(x: Value) -> Value:
    """Return True in the shape of `x`."""
    return nd.splat(True, tensor(x.type.shape, i1))


def _pad_axis(x: Value, axis: int, width: tuple[int, int], mode: str) -> Value:
    low, high = width
    extent = x.type.shape[axis]
    if not extent:
        fail(ShapeError, f"can't extend empty axis {axis} using modes other than 'constant' or 'empty'")
    if mode == "edge":
        before, after = [
            nd.broadcast(
                edge, shape=(*x.type.shape[:axis], count, *x.type.shape[axis + 1 :]), dims=tuple(range(x.type.rank))
            )
            for edge, count in ((part_of(x, axis, 0, 1), low), (part_of(x, axis, extent - 1, extent), high))
        ]
        return nd.concatenate(before, x, after, axis=axis)
    reach = extent - 1 if mode == "reflect" else extent
    if low > reach or high > reach:  # repeated reflections: pick by the positions that NumPy itself would
        rows = np.pad(np.arange(extent), width, mode=mode)  # type: ignore[call-overload]
        return parse(x.type.shape, (slice(None),) * axis + (rows,)).read(x)
    if mode == "wrap":
        before, after = part_of(x, axis, extent - low, extent), part_of(x, axis, 0, high)
    else:
        skip = 1 if mode == "reflect" else 0
        before = nd.reverse(part_of(x, axis, skip, skip + low), axes=(axis,))
        after = nd.reverse(part_of(x, axis, extent - skip - high, extent - skip), axes=(axis,))
    return nd.concatenate(before, x, after, axis=axis)


@implements(np.delete)
def delete(arr: Any, obj: Any, axis: int | None = None) -> Tracer:
    """As numpy.delete for concrete positions."""
    x = lift(arr)
    if axis is None:
        x, axis = nd.reshape(x, shape=(x.type.size,)), 0
    axis = normalize_axis(axis, x.type.rank)
    rows = np.delete(np.arange(x.type.shape[axis]), obj)
    return Tracer(_take_runs(x, axis, rows))


def _take_runs(x: Value, axis: int, rows: Array) -> Value:
    """Pick increasing positions of an axis as few slices."""
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    runs = np.split(rows, breaks)
    if len(runs) > 8 or not rows.size:
        return parse(x.type.shape, (slice(None),) * axis + (rows,)).read(x)
    parts = [part_of(x, axis, int(run[0]), int(run[-1]) + 1) for run in runs]
    return nd.concatenate(*parts, axis=axis)


@implements(np.insert)
def insert(arr: Any, obj: Any, values: Any, axis: int | None = None) -> Tracer:
    """As numpy.insert at one position."""
    x = lift(arr)
    if axis is None:
        x, axis = nd.reshape(x, shape=(x.type.size,)), 0
    axis = normalize_axis(axis, x.type.rank)
    if not isinstance(obj, (int, np.integer)):
        fail(UnsupportedError, "np.insert is supported at one position, an int", "join the parts with np.concatenate")
    extent = x.type.shape[axis]
    position = int(obj) + (extent if obj < 0 else 0)
    if not 0 <= position <= extent:
        fail(ShapeError, f"index {obj} is out of bounds for axis {axis} with size {extent}")
    new = convert(lift(values), x.type.element)
    if new.type.rank < x.type.rank:
        new = nd.reshape(new, shape=(1,) * (x.type.rank - new.type.rank) + new.type.shape)
    wanted = (*x.type.shape[:axis], new.type.shape[axis], *x.type.shape[axis + 1 :])
    new = stretch(new, wanted)
    return Tracer(nd.concatenate(part_of(x, axis, 0, position), new, part_of(x, axis, position, extent), axis=axis))
