"""Index maps: which element of an array stands at a point of a nest, and how movement ops change that.

A map has one (dim, coefficient, offset) for each axis of the array: its index is coefficient * point[dim] + offset, or
the offset alone where dim is -1. Where an array is indexed by arrays, dim is -2 - k and stands for the element of index
array k. This file knows the movement and indexing ops of the nd level, and nothing of plans or kernels.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from gradloomc.dialects import nd
from gradloomc.ir.core import Op, Value
from gradloomc.ir.errors import UnsupportedError

IndexMap = tuple[tuple[int, int, int], ...]


def identity_map(offset: Sequence[int]) -> IndexMap:
    """Return the map of an array that lies at `offset` in the nest."""
    return tuple((dim, 1, -start) for dim, start in enumerate(offset))


def inside_range(extent: int, coefficient: int, offset: int) -> tuple[int, int]:
    """Return the points p, as [low, high), with 0 <= coefficient * p + offset < extent."""
    if coefficient > 0:
        return -(offset // coefficient), (extent - 1 - offset) // coefficient + 1
    return -((extent - 1 - offset) // -coefficient), offset // -coefficient + 1


def operand_map(op: Op, index_map: IndexMap) -> IndexMap:
    """Return where the element of a moved array is in its operand."""
    kind, a = op.kind, op.attributes
    operand_shape = op.operands[0].type.shape
    if kind is nd.broadcast:
        return tuple(
            (-1, 0, 0) if extent == 1 else index_map[dim] for extent, dim in zip(operand_shape, a["dims"], strict=True)
        )
    if kind is nd.transpose:
        moved: list[Any] = [None] * len(index_map)
        for position, axis in enumerate(a["permutation"]):
            moved[axis] = index_map[position]
        return tuple(moved)
    if kind is nd.slice_:
        return tuple(
            (dim, coefficient * stride, offset * stride + start)
            for (dim, coefficient, offset), start, stride in zip(index_map, a["start"], a["stride"], strict=True)
        )
    if kind is nd.pad:
        return tuple(
            (dim, coefficient, offset - low)
            for (dim, coefficient, offset), low in zip(index_map, a["low"], strict=True)
        )
    if kind is nd.reverse:
        return tuple(
            (dim, -coefficient, extent - 1 - offset) if axis in a["axes"] else (dim, coefficient, offset)
            for axis, (extent, (dim, coefficient, offset)) in enumerate(zip(operand_shape, index_map, strict=True))
        )
    if kind is nd.reshape:
        kept = iter([m for m, n in zip(index_map, a["shape"], strict=True) if n != 1])
        return tuple((-1, 0, 0) if extent == 1 else next(kept) for extent in operand_shape)
    raise UnsupportedError(f"'{op.name}' is no index map", op.location)


# Moves through which the element at an index is found in the operand, at every point of an array.
_TRANSPARENT = frozenset({nd.broadcast, nd.transpose, nd.slice_, nd.reverse, nd.reshape})


def index_dim(position: int) -> int:
    """Return what stands in a map for the element of an index array."""
    return -2 - position


def index_maps(op: Op, index_map: IndexMap) -> list[tuple[Value, IndexMap]]:
    """Return the (value, map) pairs of the index arrays of an op, given where an element is that they pick or place."""
    indices = op.operands[1:] if op.kind is nd.gather or op.kind is nd.scatter_add else op.operands
    return [(index, index_map[: index.type.rank]) for index in indices]


def table_of(op: Op, index_map: IndexMap, is_loaded: Callable[[Value], bool]) -> tuple[Value, IndexMap]:
    """Return where a gather finds its element: in the array in memory below slices, transposes and the like."""
    value, axes = op.operands[0], op.attributes["axes"]
    others = iter(index_map[op.operands[1].type.rank :])
    moved = tuple(
        (index_dim(axes.index(axis)), 1, 0) if axis in axes else next(others) for axis in range(value.type.rank)
    )
    while not is_loaded(value) and value.owner.kind in _TRANSPARENT:
        inner: Op = value.owner
        value, moved = inner.operands[0], operand_map(inner, moved)
    return value, moved


def reduced_maps(op: Op, index_map: IndexMap) -> list[IndexMap]:
    """Return where the elements are that a reduction makes one of, in order."""
    shape, axes = op.operands[0].type.shape, op.attributes["axes"]
    maps = []
    for point in itertools.product(*[range(shape[axis]) for axis in sorted(axes)]):
        kept, fixed = iter(index_map), iter(point)
        maps.append(tuple((-1, 0, next(fixed)) if axis in axes else next(kept) for axis in range(len(shape))))
    return maps


def sources_of(value: Value, index_map: IndexMap) -> list[tuple[Value, IndexMap]]:
    """Return the (value, map) pairs that the element of a value that is computed in a loop is computed from.

    Of a reduction these are its terms, in order.
    """
    op: Op = value.owner
    kind = op.kind
    if "elementwise" in kind.tags:
        return [(operand, index_map) for operand in op.operands]
    if "reduction" in kind.tags:
        return [(op.operands[0], moved) for moved in reduced_maps(op, index_map)]
    if kind is nd.constant or kind is nd.iota or kind is nd.extent:
        return []
    if kind is nd.gather:  # the array that it picks from is in memory
        return index_maps(op, index_map)
    if kind is nd.concatenate:
        pairs, start, axis = [], 0, op.attributes["axis"]
        for operand in op.operands:
            dim, coefficient, offset = index_map[axis]
            moved = (dim, coefficient, offset - start)
            pairs.append((operand, (*index_map[:axis], moved, *index_map[axis + 1 :])))
            start += operand.type.shape[axis]
        return pairs
    return [(op.operands[0], operand_map(op, index_map))]
