"""NumPy indexing on IR values: what `x[key]` reads, and what `x[key] = v` leaves.

A key is parsed once, for a shape, into a `Basic` step (integers, slices, new axes: a view) or an `Advanced` one
(integer arrays: a copy). Both read from a value and write into one; writing makes a new value. Traced indices arrive
here as values.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradloom.trace.context import Array, constant_array, fail
from gradloom.trace.promote import convert, show, stretch
from gradloomc.dialects import nd
from gradloomc.ir import types as ir_types
from gradloomc.ir.core import Value
from gradloomc.ir.errors import OutOfBoundsError, ShapeError, TracerError, UnsupportedError
from gradloomc.ir.extents import is_symbolic, slice_range
from gradloomc.ir.types import tensor

Shape = tuple[int, ...]


class Basic:
    """A view by integers, slices, new axes and an ellipsis.

    Attributes:
        key: the same index with every axis and bound spelled out; equal keys mean equal steps.
        shape: of the result.
        scalar: every axis is fixed by an integer, so that NumPy returns a number and no view.
        row: the leading integers, if whole axes follow and nothing else; otherwise None.
    """

    __slots__ = ("_counts", "_limit", "_reversed", "_start", "_stride", "key", "row", "scalar", "shape", "source")
    writable = True

    def __init__(self, source: Shape, items: Sequence[Any]):
        start, limit, stride, turned, counts, shape = [], [], [], [], [], []
        key: list[Any] = []
        axis = 0
        for item in items:
            if item is None:
                shape.append(1)
                key.append(None)
                continue
            extent = source[axis]
            if item.__class__ is slice:
                first, last, step, count = slice_range(item, extent)
                key.append((first, last, step))
                if step < 0:
                    first, step = first + (count - 1) * step, -step
                    if count > 1:
                        turned.append(axis)
                if not count:
                    first = 0
                shape.append(count)
            else:
                first, step, count = item, 1, 1
                key.append(item)
            start.append(first)
            limit.append(first + (count - 1) * step + 1 if count else first)
            stride.append(step if count > 1 else 1)
            counts.append(count)
            axis += 1
        self.source, self.shape, self.key = source, tuple(shape), tuple(key)
        self._start, self._limit, self._stride = tuple(start), tuple(limit), tuple(stride)
        self._reversed, self._counts = tuple(turned), tuple(counts)
        leading = 0
        while leading < len(key) and key[leading].__class__ is int:
            leading += 1
        whole = not turned and None not in key and self.shape == source[leading:]
        self.row = self.key[:leading] if whole else None
        self.scalar = leading == len(key)

    def array(self, array: Array) -> Array:
        """Return the view of a concrete array."""
        items = [slice(*_bounds(item)) if item.__class__ is tuple else item for item in self.key]
        return array[(*items, Ellipsis)]

    def read(self, value: Value) -> Value:
        """Return the part that the index selects."""
        value = nd.slice_(value, start=self._start, limit=self._limit, stride=self._stride)
        value = nd.reverse(value, axes=self._reversed)
        return nd.reshape(value, shape=self.shape)

    def write(self, value: Value, part: Value) -> Value:
        """Return `value` with the selected part replaced by `part`, which has its shape."""
        part = nd.reverse(nd.reshape(part, shape=self._counts), axes=self._reversed)
        if self._counts == self.source:
            return part
        if 0 in self._counts:
            return value
        high = tuple(extent - limit for extent, limit in zip(self.source, self._limit, strict=True))
        around = {"low": self._start, "high": high, "interior": tuple(step - 1 for step in self._stride)}
        inside = nd.pad(nd.splat(True, tensor(self._counts, ir_types.i1)), **around)
        return nd.select(inside, nd.pad(part, **around), value)


def _bounds(item: tuple[int, int, int]) -> tuple[int, int | None, int]:
    first, last, step = item
    return (first, None if step < 0 and last < 0 else last, step)


class Advanced:
    """A copy picked by integer arrays (and integers) on some axes, slices on the others."""

    __slots__ = ("_basic", "_group", "_indices", "_layout", "_new_axes", "_picked", "_rest", "shape")

    def __init__(self, source: Shape, items: Sequence[Any]):
        slices = [item if item.__class__ is slice else slice(None) for item in items if item is not None]
        self._basic = Basic(source, slices)
        inner = self._basic.shape
        picked, indices, rest = [], [], []
        axis, groups, pending = 0, [], True
        order: list[Any] = []  # result axes in the order of the key: 'new', an axis of `rest`, or the picked group
        for item in items:
            if item is None:
                order.append("new")
                pending = True
                continue
            if item.__class__ is slice:
                order.append(axis)
                rest.append(axis)
                pending = True
            else:
                if pending:
                    groups.append(len(order))
                    order.append("group")
                    pending = False
                picked.append(axis)
                indices.append(_check_bounds(item, axis, inner[axis]))
            axis += 1
        self._picked, self._rest = tuple(picked), tuple(rest)
        self._indices, self._group = _of_one_shape(indices)
        if len(groups) > 1:
            order = ["group", *[each for each in order if each != "group"]]
        # the gathered value has the group's axes first, then `rest`
        width = len(self._group)
        layout, shape, new_axes = [], [], []
        for each in order:
            if each == "new":
                new_axes.append(len(shape))
                shape.append(1)
            elif each == "group":
                layout += range(width)
                shape += self._group
            else:
                layout.append(width + rest.index(each))
                shape.append(inner[each])
        self._layout, self._new_axes, self.shape = tuple(layout), tuple(new_axes), tuple(shape)

    def _flat_index(self) -> Array | None:
        """Return the row-major position that known indices of neighbouring axes name together, if they are that."""
        first, extents = self._picked[0], [self._basic.shape[axis] for axis in self._picked]
        if self._picked != tuple(range(first, first + len(extents))):
            return None
        if any(index.__class__ is Value for index in self._indices) or any(map(is_symbolic, extents)):
            return None
        flat = np.broadcast_to(self._indices[0], self._group)
        for index, extent in zip(self._indices[1:], extents[1:], strict=True):
            flat = flat * extent + index
        return flat

    def _values(self) -> list[Value]:
        """Return the index arrays, one for each picked axis."""
        return [
            stretch(index if index.__class__ is Value else constant_array(index), self._group)
            for index in self._indices
        ]

    def read(self, value: Value) -> Value:
        """Return the picked elements."""
        value = self._basic.read(value)
        flat = self._flat_index()
        if flat is None:
            picked = nd.gather(value, *self._values(), axes=self._picked)
        else:  # neighbouring axes are seen as one
            first, shape = self._picked[0], value.type.shape
            count = math.prod(shape[axis] for axis in self._picked)
            value = nd.reshape(value, shape=(*shape[:first], count, *shape[first + len(self._picked) :]))
            picked = nd.gather(value, constant_array(flat), axes=(first,))
        return nd.reshape(nd.transpose(picked, permutation=self._layout), shape=self.shape)

    def _updates(self, part: Value) -> Value:
        """Bring what is to be written into the order of the gathered elements."""
        kept = tuple(e for axis, e in enumerate(self.shape) if axis not in self._new_axes)
        part = nd.reshape(part, shape=kept)
        back = tuple(sorted(range(len(self._layout)), key=self._layout.__getitem__))
        return nd.transpose(part, permutation=back)

    def write(self, value: Value, part: Value) -> Value:
        """Return `value` with the picked elements replaced; of equal indices the last one counts, as in NumPy."""
        updates = self._updates(part)
        if 0 in updates.type.shape:
            return value
        inner = self._basic.shape
        count, rest = math.prod(self._group), [inner[axis] for axis in self._rest]
        last = self._last_writer(tuple(inner[axis] for axis in self._picked))
        if last.__class__ is Value:
            written = nd.ge(last, 0)
            source = nd.maximum(last, nd.zeros_like(last))
        else:
            written, source = constant_array(last >= 0), constant_array(np.maximum(last, 0))
        new = nd.gather(nd.reshape(updates, shape=(count, *rest)), source, axes=(0,))
        order = self._picked + self._rest
        back = tuple(sorted(range(len(order)), key=order.__getitem__))
        new = nd.transpose(new, permutation=back)
        mask = nd.broadcast(written, shape=inner, dims=self._picked)
        return self._basic.write(value, nd.select(mask, new, self._basic.read(value)))

    def _last_writer(self, extents: Shape) -> Any:
        """Return for each place of the picked axes the position of the last index that names it, or a negative one.

        The picked axes come in order; indices that are known make an array that is known.
        """
        if any(index.__class__ is Value for index in self._indices) or any(map(is_symbolic, extents)):
            return nd.last_writer(*self._values(), shape=extents)
        last = np.full(extents, -1)
        places = np.broadcast_arrays(*self._indices)
        last[tuple(index.reshape(-1) for index in places)] = np.arange(places[0].size)
        return last

    def add(self, value: Value, part: Value) -> Value:
        """Return `value` with `part` added to the picked elements; equal indices add up (np.add.at)."""
        updates = self._updates(part)
        if 0 in updates.type.shape:
            return value
        inner = self._basic.shape
        added = nd.scatter_add(updates, *self._values(), shape=inner, axes=self._picked)
        return self._basic.write(value, nd.add(self._basic.read(value), added))


def _check_bounds(index: Any, axis: int, extent: int) -> Any:
    """Return an index array; one that is known is counted from the front, others are checked when the function runs."""
    if index.__class__ is Value:
        return convert(index, ir_types.i64)
    index = np.asarray(index)
    if is_symbolic(extent) and index.size and int(index.min()) >= 0 and int(index.max()) < extent:
        return index.astype(np.int64)
    bad = (index < -extent) | (index >= extent)
    if bad.any():
        fail(
            OutOfBoundsError,
            f"index {index[bad].flat[0]} is out of bounds for axis {axis} with size {extent}",
        )
    return np.where(index < 0, index + extent, index).astype(np.int64)


def _of_one_shape(indices: Sequence[Any]) -> tuple[list[Any], Shape]:
    """Return index arrays (one an axis, of shapes that broadcast) and their common shape."""
    shapes = [index.type.shape if index.__class__ is Value else index.shape for index in indices]
    try:
        return list(indices), np.broadcast_shapes(*shapes)
    except ValueError:
        fail(
            OutOfBoundsError,
            "shape mismatch: indexing arrays could not be broadcast together with shapes "
            + " ".join(map(show, shapes)),
        )


# --- parsing ----------------------------------------------------------------------------------------------------------


def parse(shape: Shape, key: Any) -> Basic | Advanced:
    """Return the step for `x[key]` of an array of `shape`; traced indices in `key` are Values.

    Raises:
        OutOfBoundsError: an index, or the number of indices, does not fit (in NumPy's words).
        TracerError: a traced boolean mask.
    """
    if key.__class__ is int and shape:
        extent = shape[0]
        if not -extent <= key < extent:
            fail(OutOfBoundsError, f"index {key} is out of bounds for axis 0 with size {extent}")
        return Basic(shape, (key + extent if key < 0 else key, *[_ALL] * (len(shape) - 1)))
    items = _items(key if key.__class__ is tuple else (key,))
    items, advanced = _expand(items, shape)
    if advanced:
        return Advanced(shape, items)
    checked = []
    axis = 0
    for item in items:
        if item.__class__ is int:
            extent = shape[axis]
            if not -extent <= item < extent:
                fail(OutOfBoundsError, f"index {item} is out of bounds for axis {axis} with size {extent}")
            item += extent if item < 0 else 0
        axis += item is not None
        checked.append(item)
    return Basic(shape, checked)


_ALL = slice(None)


def _items(key: tuple[Any, ...]) -> list[Any]:
    """Replace masks by the positions of their true elements, lists by arrays, NumPy integers by int."""
    items: list[Any] = []
    for item in key:
        cls = item.__class__
        if cls is int or item is None or item is Ellipsis:
            items.append(item)
        elif cls is slice:
            items.append(_concrete_slice(item))
        elif cls is Value:
            if item.type.element.kind == "b":
                fail(
                    TracerError,
                    "a traced boolean mask selects a number of elements that is not known before the function runs",
                    "keep the shape: np.where(mask, x, 0), or pass the mask as something that is not traced",
                )
            if item.type.element.kind == "f":
                _not_an_index()
            items.append(item)
        elif cls is bool or cls is np.bool_:
            fail(
                UnsupportedError,
                "a single True or False as an index adds an axis of length 1 or 0",
                "write x[None] for a new axis; to choose between arrays use np.where",
            )
        else:
            items += _array_items(item)
    return items


def _array_items(item: Any) -> list[Any]:
    array = np.asarray(item)
    if array.dtype.kind == "b":
        return [_Mask(array)]
    if not array.size and not isinstance(item, np.ndarray):
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu":
        _not_an_index()
    if not array.shape and not isinstance(item, np.ndarray):
        return [int(array)]
    return [array]


class _Mask:
    """A concrete boolean mask, which uses up as many axes as it has."""

    __slots__ = ("array",)

    def __init__(self, array: Array):
        self.array = array


def _not_an_index() -> None:
    fail(
        OutOfBoundsError,
        "only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) and integer or boolean arrays are "
        "valid indices",
    )


def _concrete_slice(item: slice) -> slice:
    try:
        slice_range(item, 1)
    except TracerError:
        raise
    except TypeError:
        fail(OutOfBoundsError, "slice indices must be integers or None or have an __index__ method")
    except ValueError:
        fail(ShapeError, "slice step cannot be zero")
    return item


def _expand(items: list[Any], shape: Shape) -> tuple[list[Any], bool]:
    """Spell out the ellipsis and the axes left over, and masks as integer arrays; tell whether arrays take part."""
    rank = len(shape)
    used = sum(
        item.array.ndim if item.__class__ is _Mask else item is not None for item in items if item is not Ellipsis
    )
    dots = sum(item is Ellipsis for item in items)
    if dots > 1:
        fail(OutOfBoundsError, "an index can only have a single ellipsis ('...')")
    if used > rank:
        fail(
            OutOfBoundsError,
            f"too many indices for array: array is {rank}-dimensional, but {used} were indexed",
        )
    if not dots:
        items = [*items, Ellipsis]
    result: list[Any] = []
    advanced, axis = False, 0
    for item in items:
        if item is Ellipsis:
            result += [_ALL] * (rank - used)
            axis += rank - used
        elif item.__class__ is _Mask:
            mask = item.array
            for k, extent in enumerate(mask.shape):
                if extent != shape[axis + k]:
                    fail(
                        OutOfBoundsError,
                        "boolean index did not match indexed array along axis "
                        f"{axis + k}; size of axis is {shape[axis + k]} "
                        f"but size of corresponding boolean axis is {extent}",
                    )
            result += np.nonzero(mask)
            axis += mask.ndim
            advanced = True
        else:
            advanced = advanced or item.__class__ is Value or isinstance(item, np.ndarray)
            result.append(item)
            axis += item is not None
    return result, advanced
