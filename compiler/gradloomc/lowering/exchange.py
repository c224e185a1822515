"""Exchange: what the scalars of a nest over pairs (i, j) are at (j, i), computed at (i, j) from what is there anyway.

The kernel of two points times the weight of the second one is, at (j, i), the same kernel times the weight of the
first: one multiplication more, not another kernel. `Exchange` builds such values from those that `Reflection` knows to
be symmetric, and says what that costs. It knows scalars, loads and index maps; what for, it does not.
"""

from collections.abc import Sequence
from typing import Any

from gradloomc.dialects import kernel, loops
from gradloomc.dialects import scalar as s
from gradloomc.ir.builder import at
from gradloomc.ir.core import Block, Op, Region, Value
from gradloomc.ir.opdef import OpDef
from gradloomc.ir.types import memref
from gradloomc.lowering.index_maps import IndexMap
from gradloomc.lowering.parallelize import loop_depths
from gradloomc.lowering.reflect import COMPARISONS, EVEN, ODD, Reflection

__all__ = ["Exchange", "copy_moved", "order_with_last"]

Signed = tuple[Value, int]  # a value, and the sign by which it is to be multiplied


# To these the sign of a zero is all the same, or at most passed on; in a quotient only above.
INDIFFERENT = EVEN | ODD | COMPARISONS | {s.addf, s.subf, s.mulf, s.divf, s.negf, s.select}


class Exchange:
    """Builds values at exchanged points, and the arrays that they are read from.

    Attributes:
        added: the new ops of the nest.
        before: ops that make arrays for it to read.
        read: these arrays.
        cost: additions that the new ops take for a pair.
    """

    def __init__(self, nest: Op, reflection: Reflection):
        """Prepare to build for a nest with two dimensions."""
        self.nest, self.reflection = nest, reflection
        self.added, self.before = Block(), Block()
        self.read: list[Value] = []
        self.cost = 0.0
        ops = nest.regions[0].block.ops[:-1]
        self.depths = loop_depths(ops)
        self.alike: dict[OpDef, list[Value]] = {}
        for op in ops:
            if op.results:
                self.alike.setdefault(op.kind, []).append(op.result)
        self.known: dict[tuple[Value, bool], Signed | None] = {}
        self.copies: dict[tuple[Value, int], Value] = {}

    def of(self, value: Value, exact: bool = False) -> Signed | None:
        """Return what a value is at (j, i), for sums up to the sign of zeros or `exact`; None if it takes too much."""
        if (value, exact) not in self.known:
            self.known[value, exact] = self.found(value, exact) or self.built(value, exact)
        return self.known[value, exact]

    def found(self, value: Value, exact: bool) -> Signed | None:
        """Return a value of the nest that is, up to its sign, what is asked for."""
        assert value.op is not None
        for other in (value, *self.alike[value.op.kind]):
            relation = self.reflection.of(value, other)
            if relation is not None and (relation.exact or not exact):
                return other, relation.sign
        return None

    def built(self, value: Value, exact: bool) -> Signed | None:
        """Return a new value."""
        op = value.op
        assert op is not None
        if op.kind is loops.load:
            return None if op.operands[1:] else self.loaded(op)
        attributes = dict(op.attributes)
        if op.kind is kernel.index:
            attributes["dim"] = 1 - attributes["dim"]
        exact = exact or op.kind not in INDIFFERENT
        needs = [exact or (op.kind is s.divf and position == 1) for position in range(len(op.operands))]
        exchanged = [self.of(operand, need) for operand, need in zip(op.operands, needs, strict=True)]
        operands = [found for found in exchanged if found is not None]
        if len(operands) < len(exchanged) or "scalar" not in op.kind.tags or op.kind is kernel.inside:
            return None
        sign = 1
        if op.kind in (s.mulf, s.divf, s.negf):
            for _, factor in operands:
                sign *= factor
            values = [found for found, _ in operands]
        else:
            values = [self.append(s.negf, [found], {}) if factor < 0 else found for found, factor in operands]
        return self.append(op.kind, values, attributes), sign

    def append(self, kind: OpDef, operands: list[Value], attributes: dict[str, Any]) -> Value:
        """Return the result of a new op."""
        with at(self.added, self.nest.location):
            result = kind.build(operands, attributes).result
        depth = max([self.depths[operand] for operand in operands], default=attributes.get("dim", -1))
        self.depths[result] = depth
        if depth == 1:
            self.cost += kind.cost
        return result

    def loaded(self, op: Op) -> Signed | None:
        """Return the element that a load has at (j, i), from a copy where neighbours do not lie side by side."""
        index_map: IndexMap = tuple((1 - dim if dim >= 0 else dim, *rest) for dim, *rest in op.attributes["map"])
        along = [axis for axis, (dim, _, _) in enumerate(index_map) if dim == 1]
        buffer = op.operands[0]
        if any(index_map[axis][1] != 1 for axis in along) or (along and any(dim == 0 for dim, _, _ in index_map)):
            return None
        if along and along != [len(index_map) - 1]:
            if len(along) > 1:
                return None
            (axis,) = along
            buffer = self.copied(buffer, axis)
            index_map = (*index_map[:axis], *index_map[axis + 1 :], index_map[axis])
        with at(self.added, self.nest.location):
            result = loops.load(buffer, map=index_map)
        self.depths[result] = 1 if along else max([dim for dim, _, _ in index_map], default=-1)
        self.cost += loops.load.cost if along else 0.0
        return result, 1

    def copied(self, buffer: Value, axis: int) -> Value:
        """Return a copy of an array whose last axis is `axis`."""
        found = self.copies.get((buffer, axis))
        if found is None:
            order = order_with_last(buffer, axis)
            type = memref(tuple(buffer.type.shape[k] for k in order), buffer.type.element)
            with at(self.before, self.nest.location):
                found = self.copies[buffer, axis] = loops.alloc(type=type)
                copy_moved(buffer, found, order, self.nest.attributes["width"], forth=True)
            self.read.append(found)
        return found

    def drop(self) -> None:
        """Forget all that has been built."""
        for op in (*self.added.ops, *self.before.ops):
            op.drop_uses()


def order_with_last(buffer: Value, axis: int) -> list[int]:
    """Return the axes of an array, `axis` the last one."""
    return [*[k for k in range(len(buffer.type.shape)) if k != axis], axis]


def copy_moved(source: Value, target: Value, order: Sequence[int], width: int, forth: bool) -> None:
    """Append the nest that copies an array to one of its axes in `order`, or back from there."""
    moved, block = target if forth else source, Block()
    extents = moved.type.shape
    straight = tuple(range(len(extents)))
    back = tuple(order.index(axis) for axis in straight)
    with at(block):
        loaded = loops.load(source, map=tuple((dim, 1, 0) for dim in (back if forth else straight)))
        loops.store(loaded, target, dims=straight if forth else back, low=(0,) * len(extents), high=extents)
        loops.end()
    loops.nest.build([source, target], {"extents": extents, "width": width}, [Region(block)])
