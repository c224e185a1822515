"""Choose the order of a nest's loops: which dimension is the innermost one, along which vectors run.

The order in which the program names its axes is kept unless the innermost one is short, or an array lies across it, and
another does clearly better. What counts is how many vectors there are, what each has to compute, and how it reaches
memory: a run of neighbours is one instruction, anything else is one access for each element. Arrays that are small
beside the nest do not count: they are copied into the order that suits it.
"""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from gradloomc.ir.core import Value
from gradloomc.lowering.index_maps import IndexMap

# An array that a nest would read across its rows is copied first if each element is read so many times.
READ_OFTEN = 8
# An innermost dimension of so many elements fills vectors well enough.
LONG_ENOUGH = 64
# Elements of a vector, for counting; what starting and ending a row costs, in instructions.
LANES = 8
ROW_COST = 20.0
# Instructions to access the elements of a vector one by one, and to reduce a vector to a number.
SCATTERED, HORIZONTAL = 10.0, 10.0
# Another order must be so much cheaper.
GAIN = 0.8


class Access(NamedTuple):
    """An array that a nest reads, where, and the dimensions that integers in the map vary with."""

    value: Value
    index_map: IndexMap
    picked_along: frozenset[int] = frozenset()


class Root(Protocol):
    """What is stored or reduced."""

    combine: str
    value: Value


class Write(NamedTuple):
    """What a nest stores or reduces, along which dimensions, and whether its layout may be chosen.

    Where it is placed by integers, `placed_along` holds the dimensions that these vary with.
    """

    root: Root
    dims: tuple[int, ...]
    is_free: bool
    placed_along: frozenset[int] = frozenset()


Layouts = Mapping[Value, Collection[tuple[int, ...]]]


def runs_along(shape: Sequence[int], layout: Sequence[int], axis: int) -> bool:
    """Tell whether neighbours along an axis are neighbours in memory, with the axes stored in the order `layout`."""
    position = list(layout).index(axis)
    return all(shape[other] == 1 for other in layout[position + 1 :])


def is_read_often(extents: Sequence[int], value: Value, places: int) -> bool:
    """Tell whether a nest that reads an array at so many places of each point does so often enough to copy it first."""
    return math.prod(extents) * places >= READ_OFTEN * value.type.size


def choose_loop_order(
    extents: Sequence[int], accesses: Sequence[Access], writes: Sequence[Write], ops: int, layouts: Layouts
) -> Sequence[int]:
    """Return the dimensions of a nest from the outermost to the innermost loop.

    Args:
        ops: how many scalar ops a point takes.
        layouts: orders in which the axes of arrays are stored, where they are not stored as their types say.
    """
    straight = range(len(extents))
    dims = [dim for dim in straight if extents[dim] != 1]
    if len(dims) < 2 or 0 in extents:
        return straight
    last = dims[-1]
    well_filled = extents[last] >= LONG_ENOUGH or max(extents) < 4 * extents[last]
    if well_filled and not _reads_across(last, extents, accesses, layouts):
        return straight
    if _merge(dims[-2:], accesses, writes):
        return straight
    costs = {dim: _cost(dim, extents, accesses, writes, ops, layouts) for dim in dims}
    inner = min(costs, key=lambda dim: costs[dim])
    if costs[inner] > GAIN * costs[last]:
        return straight
    return [dim for dim in straight if dim != inner] + [inner]


def _reads_across(inner: int, extents: Sequence[int], accesses: Sequence[Access], layouts: Layouts) -> bool:
    """Tell whether vectors along a dimension would pick the elements of an array one by one."""
    places = Counter(access.value for access in accesses)
    return any(_is_scattered(access, inner, extents, places, layouts) for access in accesses)


def _is_scattered(
    access: Access, inner: int, extents: Sequence[int], places: Mapping[Value, int], layouts: Layouts
) -> bool:
    """Tell whether neighbours along `inner` are no neighbours in memory, and no copy will change that."""
    value, index_map, picked_along = access
    if inner in picked_along:
        return True
    along = [axis for axis, (dim, _, _) in enumerate(index_map) if dim == inner]
    if len(along) != 1:
        return len(along) > 1
    stored = layouts.get(value) or [range(len(index_map))]
    near = any(runs_along(value.type.shape, layout, along[0]) for layout in stored)
    near = near or is_read_often(extents, value, places[value])
    return not near or abs(index_map[along[0]][1]) != 1


def _merge(dims: Sequence[int], accesses: Sequence[Access], writes: Sequence[Write]) -> bool:
    """Tell whether the two innermost loops will be one: everything runs along both of them or along none."""
    last = set(dims)
    used = [({dim for dim, _, _ in access.index_map} | access.picked_along) & last for access in accesses]
    used += [(set(write.dims) | write.placed_along) & last for write in writes]
    return all(len(dims) != 1 for dims in used)


def _cost(
    inner: int,
    extents: Sequence[int],
    accesses: Sequence[Access],
    writes: Sequence[Write],
    ops: int,
    layouts: Layouts,
) -> float:
    """Return roughly how many instructions a nest takes if vectors run along `inner`."""
    rows = math.prod(extents) / extents[inner]
    places = Counter(access.value for access in accesses)
    per_vector = float(ops)
    for access in accesses:
        if _is_scattered(access, inner, extents, places, layouts):
            per_vector += SCATTERED
        elif any(dim == inner for dim, _, _ in access.index_map):
            per_vector += 1
    for root, dims, is_free, placed_along in writes:
        if inner in placed_along:
            per_vector += 3 * SCATTERED
        elif inner in dims:
            near = is_free or runs_along(root.value.type.shape, range(len(dims)), dims.index(inner))
            per_vector += (1 if root.combine == "store" else 2) if near else 2 * SCATTERED
        else:
            outer = [dim for dim in range(len(extents)) if dim != inner]
            kept = sorted(dim for dim in dims if dim >= 0)
            complete = kept == outer[: len(kept)]  # the total of a row stays in registers
            per_vector += 1 if complete else HORIZONTAL
    return rows * (math.ceil(extents[inner] / LANES) * per_vector + ROW_COST)
