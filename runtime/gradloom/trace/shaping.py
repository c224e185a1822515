"""NumPy's functions that move elements: views (reshape, transpose, flip, split, ...), joins, padding, repetition."""

import itertools
import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradloom.trace.context import Array, fail
from gradloom.trace.indexing import Basic, parse
from gradloom.trace.memory import lift
from gradloom.trace.products import diagonal_of
from gradloom.trace.promote import (
    bring,
    broadcast_shapes,
    common_element,
    convert,
    normalize_axes,
    normalize_axis,
    show,
    stretch,
)
from gradloom.trace.reductions import finish
from gradloom.trace.tracer import Tracer, implements
from gradloomc.dialects import nd
from gradloomc.ir.core import Value
from gradloomc.ir.errors import ShapeError, UnsupportedError
from gradloomc.ir.types import i1, tensor

Shape = tuple[int, ...]


def tracer_of(x: Any) -> Tracer:
    """Return a tracer for anything array-like."""
    return x if x.__class__ is Tracer else Tracer(lift(x))


# --- steps of views --------------------------------------------------------------------------------------------------------------


class Reshape:
    """The same elements under another shape. Whether NumPy makes a view depends on the memory layout, so unless that is
    certain, later writes on either side are refused."""

    __slots__ = ("certain", "shape", "why")

    def __init__(self, shape: Shape, certain: bool):
        self.shape, self.certain = shape, certain
        self.why = "whether NumPy's reshape is a view or a copy depends on the memory layout: reshape a .copy() instead"

    @property
    def writable(self) -> bool:
        return self.certain

    def array(self, array: Array) -> Array:
        """Return the reshaped array."""
        return array.reshape(self.shape)

    def read(self, value: Value) -> Value:
        """Return the reshaped value."""
        if not self.certain:
            fail(UnsupportedError, "an array was written after it had been reshaped", self.why)
        return nd.reshape(value, shape=self.shape)

    def write(self, value: Value, part: Value) -> Value:
        """Return the value whose reshape is `part`."""
        return nd.reshape(part, shape=value.type.shape)


class Transpose:
    """Permuted axes."""

    __slots__ = ("order", "shape")
    writable = True

    def __init__(self, shape: Shape, order: Shape):
        self.order, self.shape = order, tuple(shape[axis] for axis in order)

    def array(self, array: Array) -> Array:
        """Return the permuted array."""
        return array.transpose(self.order)

    def read(self, value: Value) -> Value:
        """Return the permuted value."""
        return nd.transpose(value, permutation=self.order)

    def write(self, value: Value, part: Value) -> Value:
        """Return the value whose permutation is `part`."""
        back = tuple(sorted(range(len(self.order)), key=self.order.__getitem__))
        return nd.transpose(part, permutation=back)


class Stretch:
    """A broadcast, which cannot be written."""

    __slots__ = ("shape",)
    writable = False
    why = "np.broadcast_to returns an array whose elements share memory; write into a .copy() of it"

    def __init__(self, shape: Shape):
        self.shape = shape

    def array(self, array: Array) -> Array:
        """Return the broadcast array."""
        return np.broadcast_to(array, self.shape)

    def read(self, value: Value) -> Value:
        """Return the broadcast value."""
        return stretch(value, self.shape)


class Diagonal:
    """The diagonal of two axes, which cannot be written."""

    __slots__ = ("axes", "offset", "shape")
    writable = False
    why = "np.diagonal returns a read-only view; use np.fill_diagonal, or write into a .copy() of it"

    def __init__(self, shape: Shape, offset: int, axes: tuple[int, int]):
        self.offset, self.axes = offset, axes
        self.shape = np.broadcast_to(False, shape).diagonal(offset, *axes).shape

    def array(self, array: Array) -> Array:
        """Return the diagonal of an array."""
        return array.diagonal(self.offset, *self.axes)

    def read(self, value: Value) -> Value:
        """Return the diagonal of a value."""
        return diagonal_of(value, self.offset, *self.axes)


# --- views -----------------------------------------------------------------------------------------------------------------------


def _target_shape(size: int, shape: Any) -> Shape:
    if not isinstance(shape, (tuple, list)):
        shape = (shape,)
    extents = [operator.index(extent) for extent in shape]
    if extents.count(-1) > 1:
        fail(ShapeError, "can only specify one unknown dimension")
    if -1 in extents:
        known = math.prod(extent for extent in extents if extent != -1)
        if not known or size % known:
            fail(ShapeError, f"cannot reshape array of size {size} into shape {show(tuple(extents))}")
        extents[extents.index(-1)] = size // known
    if math.prod(extents) != size or min(extents, default=0) < 0:
        fail(ShapeError, f"cannot reshape array of size {size} into shape {show(tuple(extents))}")
    return tuple(extents)


def reshaped(x: Tracer, shape: Shape) -> Tracer:
    """Return a view under another shape."""
    without_ones = [extent for extent in x.shape if extent != 1]
    same_axes = without_ones == [extent for extent in shape if extent != 1]
    array = x.concrete
    if array is None:
        row_major = x.root._contiguous and all(step.__class__ is Reshape for step in x.steps)
        certain = same_axes or len(without_ones) <= 1 or 0 in shape or row_major
        return x._through(Reshape(shape, certain), nd.reshape(x.value, shape=shape))
    result = array.reshape(shape)
    if not np.may_share_memory(array, result):
        return Tracer(result)
    return x._through(Reshape(shape, True), result)


@implements(np.reshape, always=True)
def reshape(a: Any, /, shape: Any = None, order: str = "C", *, newshape: Any = None, copy: bool | None = None) -> Tracer:
    """As numpy.reshape."""
    x = tracer_of(a)
    wanted = _target_shape(x.size, newshape if shape is None else shape)
    if order == "F":
        turned = reshaped(transpose(x), tuple(reversed(wanted)))
        return transpose(turned)
    if order not in ("C", "A"):
        fail(UnsupportedError, f"gradloom does not support order={order!r} of reshape")
    return reshaped(x, wanted) if not copy else reshaped(x.copy(), wanted)


@implements(np.ravel, always=True)
def ravel(a: Any, order: str = "C") -> Tracer:
    """As numpy.ravel."""
    x = tracer_of(a)
    if order == "F":
        x = transpose(x)
    elif order not in ("C", "A", "K"):
        fail(UnsupportedError, f"gradloom does not support order={order!r} of ravel")
    return reshaped(x, (x.size,))


@implements(np.transpose, always=True)
def transpose(a: Any, axes: Any = None) -> Tracer:
    """As numpy.transpose."""
    x = tracer_of(a)
    if axes is None:
        order = tuple(range(x.ndim - 1, -1, -1))
    else:
        order = tuple(normalize_axis(axis, x.ndim) for axis in axes)
        if sorted(order) != list(range(x.ndim)):
            fail(ShapeError, "axes don't match array" if len(order) != x.ndim else "repeated axis in transpose")
    return x._through(Transpose(x.shape, order))


@implements(np.matrix_transpose, np.linalg.matrix_transpose, always=True)
def matrix_transpose(x: Any, /) -> Tracer:
    """As numpy.matrix_transpose."""
    return swapaxes(x, -1, -2)


@implements(np.swapaxes, always=True)
def swapaxes(a: Any, axis1: int, axis2: int) -> Tracer:
    """As numpy.swapaxes."""
    x = tracer_of(a)
    first, second = normalize_axis(axis1, x.ndim), normalize_axis(axis2, x.ndim)
    order = list(range(x.ndim))
    order[first], order[second] = second, first
    return transpose(x, order)


@implements(np.moveaxis, always=True)
def moveaxis(a: Any, source: Any, destination: Any) -> Tracer:
    """As numpy.moveaxis."""
    x = tracer_of(a)
    sources, targets = [
        [normalize_axis(axis, x.ndim) for axis in (axes if isinstance(axes, (tuple, list)) else (axes,))]
        for axes in (source, destination)
    ]
    if len(sources) != len(targets):
        fail(ShapeError, "`source` and `destination` arguments must have the same number of elements")
    order = [axis for axis in range(x.ndim) if axis not in sources]
    for target, axis in sorted(zip(targets, sources, strict=True)):
        order.insert(target, axis)
    return transpose(x, order)


@implements(np.rollaxis, always=True)
def rollaxis(a: Any, axis: int, start: int = 0) -> Tracer:
    """As numpy.rollaxis."""
    x = tracer_of(a)
    axis = normalize_axis(axis, x.ndim)
    start = start + x.ndim if start < 0 else start
    order = [k for k in range(x.ndim) if k != axis]
    order.insert(start - (axis < start), axis)
    return transpose(x, order)


@implements(np.expand_dims, always=True)
def expand_dims(a: Any, axis: Any) -> Tracer:
    """As numpy.expand_dims."""
    x = tracer_of(a)
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    rank = x.ndim + len(axes)
    new = normalize_axes(tuple(axes), rank)
    extents = iter(x.shape)
    return reshaped(x, tuple(1 if k in new else next(extents) for k in range(rank)))


@implements(np.squeeze, always=True)
def squeeze(a: Any, axis: Any = None) -> Tracer:
    """As numpy.squeeze."""
    x = tracer_of(a)
    gone = [k for k, extent in enumerate(x.shape) if extent == 1] if axis is None else normalize_axes(axis, x.ndim)
    if any(x.shape[k] != 1 for k in gone):
        fail(ShapeError, "cannot select an axis to squeeze out which has size not equal to one")
    return reshaped(x, tuple(extent for k, extent in enumerate(x.shape) if k not in gone))


def select(x: Tracer, key: Any) -> Any:
    """Return `x[key]`."""
    return x._through(parse(x.shape, key))


@implements(np.flip, always=True)
def flip(m: Any, axis: Any = None) -> Tracer:
    """As numpy.flip."""
    x = tracer_of(m)
    axes = normalize_axes(axis, x.ndim)
    return x._through(Basic(x.shape, [slice(None, None, -1 if k in axes else 1) for k in range(x.ndim)]))


@implements(np.flipud, always=True)
def flipud(m: Any) -> Tracer:
    """As numpy.flipud."""
    return flip(m, 0)


@implements(np.fliplr, always=True)
def fliplr(m: Any) -> Tracer:
    """As numpy.fliplr."""
    return flip(m, 1)


@implements(np.rot90, always=True)
def rot90(m: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Tracer:
    """As numpy.rot90."""
    x = tracer_of(m)
    first, second = normalize_axis(axes[0], x.ndim), normalize_axis(axes[1], x.ndim)
    if first == second:
        fail(ShapeError, f"Axes={axes} must be different.")
    k %= 4
    if k == 0:
        return select(x, ...)
    if k == 2:
        return flip(x, (first, second))
    return swapaxes(flip(x, second), first, second) if k == 1 else flip(swapaxes(x, first, second), second)


def _at_least(rank: int) -> Any:
    def one(a: Any) -> Tracer:
        x = tracer_of(a)
        shape = x.shape
        if len(shape) >= rank:
            return x
        if rank == 3 and len(shape) == 2:
            return reshaped(x, (*shape, 1))
        if rank == 3 and len(shape) == 1:
            return reshaped(x, (1, *shape, 1))
        return reshaped(x, (1,) * (rank - len(shape)) + shape)

    def convert_all(*arrays: Any) -> Any:
        results = tuple([one(each) for each in arrays])
        return results[0] if len(results) == 1 else results

    convert_all.__doc__ = f"As numpy.atleast_{rank}d."
    return convert_all


atleast_1d = implements(np.atleast_1d, always=True)(_at_least(1))
atleast_2d = implements(np.atleast_2d, always=True)(_at_least(2))
atleast_3d = implements(np.atleast_3d, always=True)(_at_least(3))


@implements(np.broadcast_to, always=True)
def broadcast_to(array: Any, shape: Any, subok: bool = False) -> Tracer:
    """As numpy.broadcast_to."""
    x = tracer_of(array)
    wanted = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    fits = len(x.shape) <= len(wanted) and all(
        a in (1, b) for a, b in zip(reversed(x.shape), reversed(wanted), strict=False)
    )
    if not fits:
        fail(
            ShapeError,
            "operands could not be broadcast together with remapped shapes [original->remapped]: "
            f"{show(x.shape)} and requested shape {show(wanted)}",
        )
    return x._through(Stretch(wanted))


@implements(np.broadcast_arrays, always=True)
def broadcast_arrays(*args: Any, subok: bool = False) -> tuple[Tracer, ...]:
    """As numpy.broadcast_arrays."""
    arrays = [tracer_of(each) for each in args]
    shape = broadcast_shapes([x.shape for x in arrays])
    return tuple([broadcast_to(x, shape) for x in arrays])


@implements(np.diagonal, always=True)
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tracer:
    """As numpy.diagonal."""
    x = tracer_of(a)
    if x.ndim < 2:
        fail(ShapeError, "diag requires an array of at least two dimensions")
    axes = normalize_axis(axis1, x.ndim), normalize_axis(axis2, x.ndim)
    if axes[0] == axes[1]:
        fail(ShapeError, "axis1 and axis2 cannot be the same")
    return x._through(Diagonal(x.shape, offset, axes))


@implements(np.array_split, always=True)
def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Tracer]:
    """As numpy.array_split."""
    x = tracer_of(ary)
    axis = normalize_axis(axis, x.ndim)
    extent = x.shape[axis]
    if isinstance(indices_or_sections, (int, np.integer)):
        count = int(indices_or_sections)
        if count <= 0:
            fail(ShapeError, "number sections must be larger than 0.")
        size, rest = divmod(extent, count)
        sizes = [size + 1] * rest + [size] * (count - rest)
        bounds = [0, *itertools.accumulate(sizes)]
    else:
        bounds = [0, *[operator.index(each) for each in indices_or_sections], extent]
    parts = []
    for start, stop in itertools.pairwise(bounds):
        parts.append(select(x, (slice(None),) * axis + (slice(start, stop),)))
    return parts


@implements(np.split, always=True)
def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> list[Tracer]:
    """As numpy.split."""
    x = tracer_of(ary)
    if isinstance(indices_or_sections, (int, np.integer)):
        if x.shape[normalize_axis(axis, x.ndim)] % indices_or_sections:
            fail(ShapeError, "array split does not result in an equal division")
    return array_split(x, indices_or_sections, axis)


@implements(np.hsplit, always=True)
def hsplit(ary: Any, indices_or_sections: Any) -> list[Tracer]:
    """As numpy.hsplit."""
    return split(ary, indices_or_sections, 1 if tracer_of(ary).ndim > 1 else 0)


@implements(np.vsplit, always=True)
def vsplit(ary: Any, indices_or_sections: Any) -> list[Tracer]:
    """As numpy.vsplit."""
    return split(ary, indices_or_sections, 0)


@implements(np.dsplit, always=True)
def dsplit(ary: Any, indices_or_sections: Any) -> list[Tracer]:
    """As numpy.dsplit."""
    return split(ary, indices_or_sections, 2)


if hasattr(np, "unstack"):  # NumPy 2.1 and later

    @implements(np.unstack, always=True)
    def unstack(x: Any, /, *, axis: int = 0) -> tuple[Tracer, ...]:
        """As numpy.unstack."""
        moved = moveaxis(x, axis, 0)
        return tuple([select(moved, (k, ...)) for k in range(moved.shape[0])])


# --- joins -----------------------------------------------------------------------------------------------------------------------


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
def concatenate(arrays: Any, /, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind") -> Any:
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
            "all input arrays must have the same shape, got "
            + ", ".join(show(value.type.shape) for value in values),
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


# --- repetition, shifts, padding -----------------------------------------------------------------------------------------------------


def part_of(value: Value, axis: int, start: int, stop: int) -> Value:
    """Return elements start..stop of one axis."""
    low, high = [0] * value.type.rank, list(value.type.shape)
    low[axis], high[axis] = start, stop
    return nd.slice_(value, start=tuple(low), limit=tuple(high), stride=(1,) * value.type.rank)


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
            x = nd.concatenate(
                part_of(x, along, extent - by, extent), part_of(x, along, 0, extent - by), axis=along
            )
    return Tracer(x)


@implements(np.tile)
def tile(A: Any, reps: Any) -> Tracer:
    """As numpy.tile."""
    x = lift(A)
    counts = [operator.index(each) for each in reps] if isinstance(reps, (tuple, list, np.ndarray)) else [operator.index(reps)]
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
        return _pad_with(x, amounts, bring(values if isinstance(values, (int, float)) else lift(values), x.type.element))
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
            nd.broadcast(edge, shape=(*x.type.shape[:axis], count, *x.type.shape[axis + 1 :]), dims=tuple(range(x.type.rank)))
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
    position = obj + extent if obj < 0 else obj
    if not 0 <= position <= extent:
        fail(ShapeError, f"index {obj} is out of bounds for axis {axis} with size {extent}")
    new = convert(lift(values), x.type.element)
    if new.type.rank < x.type.rank:
        new = nd.reshape(new, shape=(1,) * (x.type.rank - new.type.rank) + new.type.shape)
    wanted = (*x.type.shape[:axis], new.type.shape[axis], *x.type.shape[axis + 1 :])
    new = stretch(new, wanted)
    return Tracer(nd.concatenate(part_of(x, axis, 0, position), new, part_of(x, axis, position, extent), axis=axis))

