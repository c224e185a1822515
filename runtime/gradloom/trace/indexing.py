"""NumPy indexing on IR values: what `x[key]` reads, and what `x[key] = v` leaves.

A key is parsed once, for a shape, into a `Basic` step (integers, slices, new axes: a view) or an `Advanced` one
(integer arrays: a copy). Both read from a value and write into one; writing makes a new value. Traced indices arrive
here as values.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradloom.trace.context import Array, OutOfBoundsError, constant_array, fail
from gradloom.trace.promote import convert, show, stretch
from gradloomc.dialects import nd
from gradloomc.ir import types as ir_types
from gradloomc.ir.core import Value
from gradloomc.ir.errors import ShapeError, TracerError, UnsupportedError
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
        self._indices, self._group = _flat_index(indices, [inner[axis] for axis in picked])
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

    def _rows(self, value: Value) -> Value:
        """Bring the picked axes to the front, as one."""
        value = self._basic.read(value)
        shape = value.type.shape
        value = nd.transpose(value, permutation=self._picked + self._rest)
        count = math.prod(shape[axis] for axis in self._picked)
        return nd.reshape(value, shape=(count, *[shape[axis] for axis in self._rest]))

    def _from_rows(self, rows: Value, value: Value) -> Value:
        """Undo `_rows`, and put the result into the place of `value` that the slices select."""
        inner = self._basic.shape
        order = self._picked + self._rest
        moved = nd.reshape(rows, shape=tuple(inner[axis] for axis in order))
        back = tuple(sorted(range(len(order)), key=order.__getitem__))
        return self._basic.write(value, nd.transpose(moved, permutation=back))

    def read(self, value: Value) -> Value:
        """Return the picked elements."""
        picked = nd.gather(self._rows(value), self._index_value())
        return nd.reshape(nd.transpose(picked, permutation=self._layout), shape=self.shape)

    def _index_value(self) -> Value:
        return self._indices if self._indices.__class__ is Value else constant_array(self._indices)

    def _updates(self, part: Value) -> Value:
        """Bring what is to be written into the order of the gathered elements, one row per index."""
        kept = tuple(e for axis, e in enumerate(self.shape) if axis not in self._new_axes)
        part = nd.reshape(part, shape=kept)
        back = tuple(sorted(range(len(self._layout)), key=self._layout.__getitem__))
        part = nd.transpose(part, permutation=back)
        count = math.prod(self._group)
        return nd.reshape(part, shape=(count, *part.type.shape[len(self._group) :]))

    def _flat(self) -> Any:
        count = (math.prod(self._group),)
        if self._indices.__class__ is Value:
            return nd.reshape(self._indices, shape=count)
        return self._indices.reshape(count)

    def write(self, value: Value, part: Value) -> Value:
        """Return `value` with the picked elements replaced; of equal indices the last one counts, as in NumPy."""
        rows, updates, flat = self._rows(value), self._updates(part), self._flat()
        extent = rows.type.shape[0]
        if not extent or not updates.type.shape[0]:
            return value
        if flat.__class__ is Value:
            source = _last_writer(flat, extent)
            written = nd.ge(source, 0)
            source = nd.maximum(source, nd.zeros_like(source))
        else:
            last = np.full(extent, -1)
            last[flat] = np.arange(flat.size)
            written, source = constant_array(last >= 0), constant_array(np.maximum(last, 0))
        mask = nd.broadcast(written, shape=rows.type.shape, dims=(0,))
        return self._from_rows(nd.select(mask, nd.gather(updates, source), rows), value)

    def add(self, value: Value, part: Value) -> Value:
        """Return `value` with `part` added to the picked elements; equal indices add up (np.add.at)."""
        rows, updates, flat = self._rows(value), self._updates(part), self._flat()
        if flat.__class__ is not Value:
            flat = constant_array(flat)
        added = nd.add(rows, nd.scatter_add(updates, flat, extent=rows.type.shape[0]))
        return self._from_rows(added, value)


def _last_writer(flat: Value, extent: int) -> Value:
    """Return for each row the position of the last index that names it, or -1."""
    count = flat.type.shape[0]
    shape = (extent, count)
    names = nd.eq(nd.broadcast(flat, shape=shape, dims=(1,)), nd.iota(shape=shape, axis=0, type=ir_types.i64))
    position = nd.iota(shape=shape, axis=1, type=ir_types.i64)
    return nd.reduce_max(nd.select(names, position, nd.splat(-1, position.type)), axes=(1,))


def _check_bounds(index: Any, axis: int, extent: int) -> Any:
    """Return an index array counted from the front; a traced one is clamped by the run time's rules."""
    if index.__class__ is Value:
        index = convert(index, ir_types.i64)
        zero = nd.zeros_like(index)
        return nd.select(nd.lt(index, zero), nd.add(index, nd.splat(extent, index.type)), index)
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


def _flat_index(indices: Sequence[Any], extents: Sequence[int]) -> tuple[Any, Shape]:
    """Return the row-major position that index arrays (one per axis) name together, and their common shape."""
    shapes = [index.type.shape if index.__class__ is Value else index.shape for index in indices]
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError:
        fail(
            OutOfBoundsError,
            "shape mismatch: indexing arrays could not be broadcast together with shapes "
            + " ".join(map(show, shapes)),
        )
    if not any(index.__class__ is Value for index in indices):
        flat = np.broadcast_to(indices[0], shape).astype(np.int64)
        for index, extent in zip(indices[1:], extents[1:], strict=True):
            flat = flat * extent + index
        return flat, shape
    total: Value | None = None
    for index, extent in zip(indices, extents, strict=True):
        value = index if index.__class__ is Value else constant_array(index)
        value = stretch(value, shape)
        total = value if total is None else nd.add(nd.mul(total, nd.splat(extent, total.type)), value)
    return total, shape


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
