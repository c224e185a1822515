"""Roots: what a nest stores, reduces or places, and the box of points at which it is computed."""

import itertools
from collections.abc import Iterator, Sequence

from gradloomc.dialects import kernel, nd
from gradloomc.ir import types as ir_types
from gradloomc.ir.builder import at
from gradloomc.ir.core import Block, Op, Value
from gradloomc.lowering.index_maps import IndexMap


class Root:
    """A value that a nest stores or reduces, the box that it is computed over and where the box lies in the nest.

    `source` is computed at each point of the box `shape`, which starts at `offset`. The axes in `short` are no
    dimensions of the box: for each of their elements there is a part. The ops in `scatters` place what they
    compute by indices; of the result's axes `kept` says which axis of a source runs along them, or ~k for index k.
    """

    __slots__ = ("combine", "kept", "long", "offset", "scatters", "shape", "short", "source", "value")

    def __init__(self, value: Value, combine: str, source: Value, kept: Sequence[int], short: Sequence[int] = ()):
        self.value, self.combine, self.source, self.kept, self.short = value, combine, source, kept, short
        self.scatters: Sequence[Op] = ()
        extents = source.type.shape
        gone = [axis for axis in range(len(extents)) if axis in short or (short and extents[axis] == 1)]
        self.long = [axis for axis in range(len(extents)) if axis not in gone]
        self.shape = tuple(extents[axis] for axis in self.long)
        self.offset: tuple[int, ...] = (0,) * len(self.shape)

    def scattered_along(self) -> frozenset[int]:
        """Return the dimensions that the indices of a scatter vary with."""
        return frozenset(range(self.scatters[0].operands[-1].type.rank)) if self.scatters else frozenset()

    def parts(self, offset: Sequence[int]) -> Iterator[tuple[IndexMap, tuple[int, ...]]]:
        """Yield the map of the source and the dimensions of the result for each part, for a box at `offset`."""
        extents = self.source.type.shape
        dim_of = {axis: dim for dim, axis in enumerate(self.long)}
        for point in itertools.product(*[range(extents[axis]) for axis in self.short]):
            fixed = dict(zip(self.short, point, strict=True))
            index_map = tuple(
                (dim_of[axis], 1, -offset[dim_of[axis]]) if axis in dim_of else (-1, 0, fixed.get(axis, 0))
                for axis in range(len(extents))
            )
            yield index_map, tuple(
                axis if axis < 0 else dim_of[axis] if axis in dim_of else ~fixed.get(axis, 0) for axis in self.kept
            )


def scatter_root(op: Op, parts: Sequence[Op], short: Sequence[int]) -> Root:
    """Return the root of an op that places elements by indices, or of a sum of such parts."""
    result, shape = op.results[0], op.results[0].type.shape
    axes = parts[0].attributes.get("axes", tuple(range(len(shape))))
    indexed = parts[0].operands[-1].type.rank
    others = iter(range(indexed, indexed + len(shape)))
    kept = [~axes.index(axis) if axis in axes else next(others) for axis in range(len(shape))]
    how = "maximum" if op.kind is nd.last_writer else "or" if result.type.element is ir_types.i1 else "add"
    if any(shape[axis] == 0 for axis in axes):  # nothing can be placed; the check says so
        with at(Block()):
            return Root(result, "store", nd.zeros_like(result), range(len(shape)))
    root = Root(result, kernel.SCATTER + how, parts[0].operands[0], kept, short)
    root.scatters = parts
    return root
