"""NumPy's functions that return views (reshape, transpose, flip, split, broadcast, ...), as steps from a root."""

import itertools
import math
import operator
from typing import Any

import numpy as np

from gradloom.trace.context import Array, fail
from gradloom.trace.diagonals import diagonal_of
from gradloom.trace.indexing import Basic, parse
from gradloom.trace.memory import lift
from gradloom.trace.promote import (
    broadcast_shapes,
    normalize_axes,
    normalize_axis,
    show,
    stretch,
)
from gradloom.trace.tracer import Tracer, implements
from gradloomc.dialects import nd
from gradloomc.ir.core import Value
from gradloomc.ir.errors import ShapeError, UnsupportedError
from gradloomc.ir.extents import index_of

Shape = tuple[int, ...]


def tracer_of(x: Any) -> Any:
    """Return a tracer for anything array-like."""
    return x if x.__class__ is Tracer else Tracer(lift(x))


# --- steps of views ---------------------------------------------------------------------------------------------------


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


# --- views ------------------------------------------------------------------------------------------------------------


def _target_shape(size: int, shape: Any) -> Shape:
    if not isinstance(shape, (tuple, list)):
        shape = (shape,)
    extents = [index_of(extent) for extent in shape]
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
def reshape(
    a: Any, /, shape: Any = None, order: str = "C", *, newshape: Any = None, copy: bool | None = None
) -> Tracer:
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


def part_of(value: Value, axis: int, start: int, stop: int) -> Value:
    """Return elements start..stop of one axis."""
    low, high = [0] * value.type.rank, list(value.type.shape)
    low[axis], high[axis] = start, stop
    return nd.slice_(value, start=tuple(low), limit=tuple(high), stride=(1,) * value.type.rank)
