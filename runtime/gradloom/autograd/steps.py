"""The steps from a tensor to its views: what each reads, what a write through it leaves, the array in shared memory.

A step works on IR values (`read`, `write`) and on NumPy arrays (`array`). Equal steps are one object, because the
signatures of operations are found by them: make steps by the functions in lower case here, which remember what they
have made. Those that NumPy has as well come from the tracer's modules. Knows no tensors.
"""

from functools import lru_cache
from typing import Any

import numpy as np

from gradloom.autograd.errors import error
from gradloom.autograd.graph import Array
from gradloom.trace.diagonals import diagonal_of
from gradloom.trace.indexing import Basic
from gradloom.trace.promote import stretch
from gradloom.trace.views import Reshape, Transpose
from gradloomc.dialects import nd
from gradloomc.ir import types as ir_types
from gradloomc.ir.core import Value

Shape = tuple[int, ...]
REMEMBERED = 16384  # steps of each kind; a forgotten one is made anew and means another compilation

_WHOLE = slice(None)


def _refuse_shared_write() -> Exception:
    return error(
        RuntimeError,
        "unsupported operation: more than one element of the written-to tensor refers to a single memory location. "
        "Please clone() the tensor before performing the operation.",
    )


@lru_cache(REMEMBERED)
def reshape_step(shape: Shape) -> Reshape:
    """Return the step to the same elements under another shape, where that needs no copy."""
    return Reshape(shape, True)


@lru_cache(REMEMBERED)
def transpose_step(shape: Shape, order: Shape) -> Transpose:
    """Return the step that permutes the dimensions of a shape."""
    return Transpose(shape, order)


@lru_cache(REMEMBERED)
def select_step(shape: Shape, dim: int, index: int) -> Basic:
    """Return the step to the part of a shape at one index (not negative) along a dimension."""
    return Basic(shape, (*(_WHOLE,) * dim, index, *(_WHOLE,) * (len(shape) - dim - 1)))


@lru_cache(REMEMBERED)
def slice_step(shape: Shape, dim: int, start: int, stop: int, step: int = 1) -> Basic:
    """Return the step to a slice of one dimension of a shape; the bounds lie within it."""
    return Basic(shape, (*(_WHOLE,) * dim, slice(start, stop, step), *(_WHOLE,) * (len(shape) - dim - 1)))


def basic_step(shape: Shape, items: tuple[Any, ...]) -> Basic:
    """Return the step of a whole index: integers (not negative), slices and None, for all dimensions of a shape."""
    return _basic(shape, tuple([(i.start, i.stop, i.step) if i.__class__ is slice else i for i in items]))


@lru_cache(REMEMBERED)
def _basic(shape: Shape, items: tuple[Any, ...]) -> Basic:
    return Basic(shape, [slice(*item) if item.__class__ is tuple else item for item in items])


@lru_cache(REMEMBERED)
def expand_step(shape: Shape, target: Shape) -> "Expand":
    """Return the step that repeats a shape to a larger one."""
    return Expand(shape, target)


@lru_cache(REMEMBERED)
def diagonal_step(shape: Shape, offset: int, dim1: int, dim2: int) -> "Diagonal":
    """Return the step to the diagonal of two dimensions of a shape; it becomes the last dimension."""
    return Diagonal(shape, offset, dim1, dim2)


@lru_cache(REMEMBERED)
def unfold_step(shape: Shape, dim: int, size: int, step: int) -> "Unfold":
    """Return the step to windows of `size` elements along a dimension; they become the last dimension."""
    return Unfold(shape, dim, size, step)


class Expand:
    """A repetition without copies; where something is really repeated, it cannot be written."""

    __slots__ = ("repeats", "shape")

    def __init__(self, source: Shape, shape: Shape):
        self.shape = shape
        lead = len(shape) - len(source)
        self.repeats = any(extent > 1 for extent in shape[:lead]) or shape[lead:] != source

    def array(self, array: Array) -> Array:
        """Return the repeated array, with strides of 0."""
        lead = len(self.shape) - array.ndim
        strides = [0 if have != want else stride for have, want, stride in zip(
            array.shape, self.shape[lead:], array.strides, strict=True)]  # fmt: skip
        return np.lib.stride_tricks.as_strided(array, self.shape, (0,) * lead + tuple(strides))

    def read(self, value: Value) -> Value:
        """Return the repeated value."""
        return stretch(value, self.shape)

    def write(self, value: Value, part: Value) -> Value:
        """Return the value that was repeated.

        Raises:
            RuntimeError: elements share memory.
        """
        if self.repeats:
            raise _refuse_shared_write()
        return nd.reshape(part, shape=value.type.shape)


class Diagonal:
    """The diagonal of two dimensions."""

    __slots__ = ("dims", "offset")

    def __init__(self, shape: Shape, offset: int, dim1: int, dim2: int):
        self.offset, self.dims = offset, (dim1, dim2)

    def array(self, array: Array) -> Array:
        """Return the diagonal of an array, in its memory."""
        line = array.diagonal(self.offset, *self.dims)
        return np.lib.stride_tricks.as_strided(self._start(array), line.shape, line.strides) if line.size else line

    def _start(self, array: Array) -> Array:
        """Return the part of an array that starts with the first element of the diagonal; NumPy's own is read-only."""
        items: list[Any] = [_WHOLE] * array.ndim
        items[self.dims[0] if self.offset < 0 else self.dims[1]] = slice(abs(self.offset), None)
        return array[tuple(items)]

    def read(self, value: Value) -> Value:
        """Return the diagonal of a value."""
        return diagonal_of(value, self.offset, *self.dims)

    def write(self, value: Value, part: Value) -> Value:
        """Return `value` with the diagonal replaced."""
        first, second = self.dims
        shape = value.type.shape
        count = part.type.shape[-1]
        before = max(-self.offset, 0)
        after = shape[first] - count - before
        rank = part.type.rank
        zeros = (0,) * (rank - 1)
        # The diagonal laid along the first of its dimensions, repeated along the second, and chosen where they meet.
        column = nd.pad(part, low=(*zeros, before), high=(*zeros, after), interior=(0,) * rank)
        rest = [dim for dim in range(len(shape)) if dim not in self.dims]
        order = tuple(sorted(range(rank), key=[*rest, first].__getitem__))
        column = nd.transpose(column, permutation=order)
        spread = nd.broadcast(column, shape=shape, dims=tuple(sorted([*rest, first])))
        row = nd.iota(shape=shape, axis=first, type=ir_types.i64)
        there = nd.iota(shape=shape, axis=second, type=ir_types.i64)
        meets = nd.eq(nd.add(row, nd.splat(self.offset, row.type)), there)
        return nd.select(meets, spread, value)


class Unfold:
    """Windows along a dimension, one after the other or overlapping."""

    __slots__ = ("_parts", "dim", "shape", "size", "step")

    def __init__(self, shape: Shape, dim: int, size: int, step: int):
        self.dim, self.size, self.step = dim, size, step
        count = (shape[dim] - size) // step + 1
        self.shape = (*shape[:dim], count, *shape[dim + 1 :], size)
        self._parts = [slice_step(shape, dim, k, k + (count - 1) * step + 1, step) for k in range(size)]

    def array(self, array: Array) -> Array:
        """Return the windows of an array."""
        stride = array.strides[self.dim]
        strides = (*array.strides[: self.dim], stride * self.step, *array.strides[self.dim + 1 :], stride)
        return np.lib.stride_tricks.as_strided(array, self.shape, strides)

    def read(self, value: Value) -> Value:
        """Return the windows of a value: the first elements of all, the second ones, ..."""
        parts = [part.read(value) for part in self._parts]
        if not parts:
            return nd.slice_(
                nd.reshape(value, shape=(*value.type.shape, 1)),
                start=(0,) * len(self.shape), limit=self.shape, stride=(1,) * len(self.shape),
            )  # fmt: skip
        columns = [nd.reshape(part, shape=(*part.type.shape, 1)) for part in parts]
        return nd.concatenate(*columns, axis=len(self.shape) - 1)

    def write(self, value: Value, part: Value) -> Value:
        """Return `value` with the windows replaced.

        Raises:
            RuntimeError: they overlap.
        """
        if self.step < self.size and self.shape[self.dim] > 1:
            raise _refuse_shared_write()
        rank = len(self.shape)
        for k, column in enumerate(self._parts):
            each = nd.slice_(
                part,
                start=(*(0,) * (rank - 1), k), limit=(*self.shape[:-1], k + 1), stride=(1,) * rank,
            )  # fmt: skip
            value = column.write(value, nd.reshape(each, shape=self.shape[:-1]))
        return value


def viewed_strides(shape: Shape, strides: Shape, target: Shape) -> Shape | None:
    """Return the strides with which memory shows the same elements under another shape; None if it needs a copy.

    (PyTorch: `at::detail::computeStride`.)
    """
    if 0 in shape:
        return (0,) * len(target)
    result = [0] * len(target)
    at = len(target) - 1
    base = strides[-1] if strides else 1
    held = taken = 1  # elements in the chunk of memory without gaps, and of the target's dimensions put into it
    for dim in range(len(shape) - 1, -1, -1):
        held *= shape[dim]
        # A chunk ends where the next dimension to the left does not go on where this one ends.
        if dim == 0 or (shape[dim - 1] != 1 and strides[dim - 1] != held * base):
            while at >= 0 and (taken < held or target[at] == 1):
                result[at] = taken * base
                taken *= target[at]
                at -= 1
            if taken != held:
                return None
            if dim:
                base = strides[dim - 1]
                held = taken = 1
    while not shape and at >= 0:  # a single element
        result[at] = 1
        at -= 1
    return tuple(result) if at < 0 else None
