"""Unroll short axes: coordinates of points, the few features of a model, the gates of a small cell.

A nest whose innermost dimension has three elements cannot fill a vector, and an array of (N, N, 3) differences is three
times as large as anything that is worth keeping. So reductions over a short axis are written out inside the loops that
use them, and reductions that keep a short axis (the gradient of such coordinates) become one reduction for each of its
elements: all of them share one nest over the long axes, and the differences never exist in memory.

This file only decides; fuse.py builds.
"""

import itertools
import math
from collections.abc import Callable, Sequence

from gradloomc.dialects import nd
from gradloomc.ir.core import Op, Value
from gradloomc.lowering.index_maps import IndexMap, identity_map, reduced_maps, sources_of

Ints = tuple[int, ...]

# A reduction over at most so many elements may be written out,
MOST_TERMS = 16
# ... if no more than so many scalar ops come of it.
MOST_OPS = 2048
# Of a reduction that keeps short axes, at most so many parts are made.
MOST_PARTS = 128
# Of arrays of tiny matrices: elements of one that are written out, of an axis, and scalar ops for all of them.
TINY_PARTS, TINY_EXTENT, TINY_OPS = 36, 8, 2048
# Rows of more elements fill vectors well enough, where they share no reduction.
ROW_PARTS = 4
# Fewer points than this are not worth a nest of another shape.
LEAST_POINTS = 64


def is_reduction(op: Op) -> bool:
    """Tell whether an op reduces axes."""
    return "reduction" in op.kind.tags


def reduced_extent(op: Op) -> int:
    """Return how many elements one result of a reduction is made of."""
    shape = op.operands[0].type.shape
    return math.prod(shape[axis] for axis in op.attributes["axes"])


def may_unroll(op: Op, is_loaded: Callable[[Value], bool]) -> bool:
    """Tell whether a reduction is to be written out."""
    terms, points = reduced_extent(op), op.results[0].type.size
    if not 0 < terms <= MOST_TERMS or points < max(LEAST_POINTS, terms):
        return False
    maps = reduced_maps(op, identity_map([0] * op.results[0].type.rank))
    return count_ops(op.operands[0], maps, is_loaded, MOST_OPS) <= MOST_OPS


def count_ops(value: Value, maps: Sequence[IndexMap], is_loaded: Callable[[Value], bool], limit: int) -> int:
    """Return how many scalar ops it takes to compute `value` at these places; counting stops beyond `limit`."""
    seen: set[tuple[Value, IndexMap]] = set()
    stack = [(value, index_map) for index_map in maps]
    while stack and len(seen) <= limit:
        key = stack.pop()
        if key not in seen and not is_loaded(key[0]):
            seen.add(key)
            stack.extend(sources_of(*key))
    return len(seen)


def split_axes(op: Op, is_loaded: Callable[[Value], bool]) -> tuple[int, ...]:
    """Return the short axes that a reduction keeps and that should become reductions of their own.

    That pays if the arrays in memory are each smaller than the points of the nest: pairs of points, points and centres.
    Then each element is read many times, and reading it from a packed copy costs nothing. An array that has all axes is
    read once, best in the order in which it lies in memory.
    """
    operand = op.operands[0]
    shape, axes = operand.type.shape, op.attributes["axes"]
    kept = [axis for axis in range(len(shape)) if axis not in axes and shape[axis] > 1]
    short = [axis for axis in kept if shape[axis] <= MOST_TERMS]
    long = [axis for axis, extent in enumerate(shape) if extent > 1 and axis not in short]
    while short and math.prod(shape[axis] for axis in short) > MOST_PARTS:
        long.append(short.pop(0))
    if not short or len(long) < 2 or math.prod(shape[axis] for axis in long) < LEAST_POINTS**2:
        return ()
    for _, index_map in leaves_of(operand, identity_map([0] * len(shape)), is_loaded):
        used = {dim for dim, coefficient, _ in index_map if coefficient}
        if used.issuperset(long) and not used.isdisjoint(short):
            return ()
    return tuple(short)


def tiny_axes(value: Value, reduced: Ints, most: int, is_loaded: Callable[[Value], bool]) -> Ints:
    """Return the short axes of an array of tiny matrices, each of which is to be computed as a whole; () if it is none.

    The loop then runs along the long axes alone, and its vectors hold the same element of neighbouring matrices: what
    the elements of a matrix share (a norm, the products of another matrix) is computed once, and none of the lanes is
    idle as they are in rows of three. Elements of neighbouring matrices are not neighbours in memory, but loading them
    one by one takes a cycle each.

    Args:
        reduced: the axes that are added up, and need no registers of their own.
        most: how many elements of a matrix may be kept.
    """
    shape = value.type.shape
    short = [axis for axis, extent in enumerate(shape) if 1 < extent <= TINY_EXTENT]
    while math.prod(shape[axis] for axis in short if axis not in reduced) > most:
        short.pop(0)
    parts = math.prod(shape[axis] for axis in short)
    if not short or parts > MOST_PARTS or value.type.size < LEAST_POINTS * parts:
        return ()
    maps = [
        tuple((-1, 0, at[short.index(axis)]) if axis in short else (axis, 1, 0) for axis in range(len(shape)))
        for at in itertools.product(*[range(shape[axis]) for axis in short])
    ]
    return tuple(short) if count_ops(value, maps, is_loaded, TINY_OPS) <= TINY_OPS else ()
def short_axes_placed(op: Op) -> tuple[int, ...]:
    """Return the short axes of what a scatter places, for each of whose elements it becomes a part of its own."""
    shape, indexed = op.operands[0].type.shape, op.operands[-1].type.rank
    short = [axis for axis in range(indexed, len(shape)) if 1 < shape[axis] <= MOST_TERMS]
    long = [axis for axis in range(len(shape)) if shape[axis] > 1 and axis not in short]
    points, parts = (math.prod(shape[axis] for axis in axes) for axes in (long, short))
    return tuple(short) if short and parts <= MOST_TERMS and points >= LEAST_POINTS else ()


def leaves_of(
    value: Value, index_map: IndexMap, is_loaded: Callable[[Value], bool]
) -> set[tuple[Value, IndexMap]]:
    """Return the loads that an element of `value` takes, with their maps."""
    seen: set[tuple[Value, IndexMap]] = set()
    stack, found = [(value, index_map)], set()
    while stack:
        key = stack.pop()
        if key in seen:
            continue
        seen.add(key)
        if is_loaded(key[0]):
            found.add(key)
        else:
            stack.extend(sources_of(*key))
    return found


def computed_below(
    operations: Sequence[Op], starts: Sequence[Value], is_loaded: Callable[[Value], bool]
) -> set[Value]:
    """Return the values that computing `starts` takes, up to what is loaded."""
    found = {value for value in starts if not is_loaded(value)}
    for op in reversed(operations):
        if op.results[0] in found:
            found.update(operand for operand in op.operands if not is_loaded(operand))
    return found


def is_masked_off(value: Value, dims: Sequence[int]) -> bool:
    """Tell whether all users of a part, at the fixed positions ~dims, drop it for another value (half of a matrix)."""
    if not value.uses:
        return False
    return all(
        user.kind is nd.select
        and user.operands[1] is value
        and user.operands[2] is not value
        and user.operands[0] is not value
        and _is_false(user.operands[0], dims)
        for user in value.uses
    )


def _is_false(condition: Value, dims: Sequence[int]) -> bool:
    """Tell whether a condition is known to be false wherever the fixed axes are at their positions."""
    op = condition.op
    if op is not None and op.kind is nd.broadcast:
        return _is_false(op.operands[0], [dims[axis] for axis in op.attributes["dims"]])
    if op is None or op.kind is not nd.constant:
        return False
    mask = op.attributes["value"].to_array()
    return not mask[tuple(~dim if dim < 0 else slice(None) for dim in dims)].any()


STEPS = {
    "add": nd.add,
    "mul": nd.mul,
    "maximum": nd.maximum,
    "minimum": nd.minimum,
    "or": nd.logical_or,
    "and": nd.logical_and,
}
