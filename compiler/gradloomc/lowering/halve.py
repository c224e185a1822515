"""Halve: nests over all pairs (i, j) of the same points whose terms are symmetric visit each pair once.

What is added up over j for each i is the same from (j, i) as from (i, j), or its negative (`reflect.py` proves it, term
by term). So a point of one half of the pairs may give its term to the sum of i and, with its sign, to that of j, and
counts twice in a sum of everything. Half of the arithmetic is spared; what is paid is that sums of j lie in memory,
where each row comes back to them.

A nest is marked `halved`, and its reductions get `mirror`, the sign of the term at (j, i). The marks are promises, not
orders: the nest means the same without them, so it is left to code generation (`codegen/halved.py`) which points it
visits. Sums that would not lie side by side in memory are first gathered in an array where they do.
"""

from collections.abc import Sequence

from gradloomc.dialects import kernel, loops
from gradloomc.dialects import scalar as s
from gradloomc.dialects.func import body_of
from gradloomc.ir.builder import at
from gradloomc.ir.core import Block, Op, Region, Value
from gradloomc.ir.types import f32, f64, memref
from gradloomc.lowering.parallelize import loop_depths
from gradloomc.lowering.reflect import Copies, Reflection

# Shorter rows, in vectors, gain nothing: each has a vector on the diagonal and a last one that are partly for nothing.
LEAST_VECTORS = 16
# Additions that a pair has to take, and more of them for each sum that comes back to memory.
LEAST_COST, SUM_COST = 8.0, 2.0


def halve_pairs(function: Op) -> Op:
    """Mark the nests of a loops-level function, in place, that need to visit half of their points; return it."""
    body = body_of(function)
    copies: Copies | None = None
    for nest in [op for op in body.ops if op.kind is loops.nest and _is_over_pairs(op)]:
        copies = copies or Copies(body.ops)
        signs = _signs(nest, copies)
        if signs is not None and _has_sums_to_itself(nest, body):
            _Halving(body, nest).run(signs)
    return function


def _is_over_pairs(nest: Op) -> bool:
    """Tell whether a nest adds up heavy terms over pairs, and does nothing else."""
    extents, ops = nest.attributes["extents"], nest.regions[0].block.ops[:-1]
    if len(extents) != 2 or nest.attributes["width"] == 1:
        return False
    sums = [op for op in ops if op.kind in loops.SINKS]
    if not all(_is_sum(op) for op in sums) or any(op.kind in (kernel.inside, loops.prefetch) for op in ops):
        return False
    if {len(_moving(op)) for op in sums} - {0, 1}:
        return False
    depths = loop_depths(ops)
    if any(depths.get(op.operands[0]) != 1 for op in sums):
        return False
    cost = sum(op.kind.cost for op in ops if op.results and depths[op.result] == 1)
    if cost < LEAST_COST + SUM_COST * sum(len(_moving(op)) for op in sums):
        return False
    if extents[0] != extents[1] or extents[0] < LEAST_VECTORS * nest.attributes["width"]:
        return False
    return all(not any(op.attributes["low"]) and op.attributes["high"] == extents for op in sums)


def reason_for_halves(nest: Op) -> str:
    """Return why a nest is halved."""
    ops = nest.regions[0].block.ops[:-1]
    depths = loop_depths(ops)
    cost = sum(op.kind.cost for op in ops if op.results and depths[op.result] == 1)
    sums = sum(len(_moving(op)) for op in ops if op.kind is loops.reduce)
    return f"terms are symmetric, and {cost:.0f} additions cost more than {sums} more sums in memory"


def _is_sum(op: Op) -> bool:
    if op.kind is not loops.reduce or op.attributes["combine"] != "add":
        return False
    value, buffer = op.operands
    return value.type in (f32, f64) and buffer.type.element is value.type


def _moving(op: Op) -> list[int]:
    return [dim for dim in op.attributes["dims"] if dim >= 0]


def _signs(nest: Op, copies: Copies) -> list[int] | None:
    """Return for each sum the sign by which its terms change where both points are exchanged; None if unknown."""
    reflection, signs = Reflection(copies), []
    for op in nest.regions[0].block.ops[:-1]:
        if op.kind is loops.reduce:
            relation = reflection.of(op.operands[0], op.operands[0])
            if relation is None or (relation.sign < 0 and not _moving(op)):
                return None
            signs.append(relation.sign)
    return signs


def _has_sums_to_itself(nest: Op, body: Block) -> bool:
    """Tell whether nobody else writes where a nest adds up, and each array takes sums along one axis."""
    axes: dict[Value, set[int]] = {}
    for op in nest.regions[0].block.ops:
        if op.kind is loops.reduce:
            places = [axis for axis, dim in enumerate(op.attributes["dims"]) if dim >= 0]
            axes.setdefault(_root(op.operands[1]), set()).add(places[0] if places else -1)
    others = [op for op in loops.untiled(body.ops) if op.kind is loops.nest and op is not nest]
    written = {_root(sink.operands[1]) for op in others for sink in op.regions[0].block.ops if sink.kind in loops.SINKS}
    return all(len(found) == 1 for found in axes.values()) and not written & set(axes)


class _Halving:
    """Marks one nest, and gives its sums memory in which those of neighbours are neighbours."""

    def __init__(self, body: Block, nest: Op):
        self.body, self.nest = body, nest
        self.gathered: dict[Value, Value] = {}

    def run(self, signs: Sequence[int]) -> None:
        """Mark the nest; `signs` are those of its sums, in order."""
        block = self.nest.regions[0].block
        sums = [op for op in block.ops if op.kind is loops.reduce]
        before, after = Block(), Block()
        for op, sign in zip(sums, signs, strict=True):
            if _moving(op) == [1]:  # a sum over i of terms at (i, j) is one over j, of those at (j, i)
                self.turn(op, sign)
            op.attributes = {**op.attributes, "mirror": sign}
            dims = op.attributes["dims"]
            if _moving(op) and dims[-1] != 0:
                axis = dims.index(0)
                self.retarget(op, axis, before, after)
        self.nest.attributes = {**self.nest.attributes, "halved": True}
        self.nest.set_operands([self.gathered.get(operand, operand) for operand in self.nest.operands])
        self.insert(before.ops, after.ops)

    def turn(self, op: Op, sign: int) -> None:
        """Let a sum over the first dimension run over the second one."""
        block = self.nest.regions[0].block
        dims = tuple([0 if dim == 1 else dim for dim in op.attributes["dims"]])
        op.attributes = {**op.attributes, "dims": dims}
        if sign < 0:
            negative = Op(s.negf, (op.operands[0],), {}, (op.operands[0].type,), op.location)
            negative.parent = block
            block.ops.insert(block.ops.index(op), negative)
            op.set_operands((negative.result, op.operands[1]))

    def retarget(self, op: Op, axis: int, before: Block, after: Block) -> None:
        """Let a sum go to an array whose last axis is `axis` of its buffer, from which it is copied afterwards."""
        value, buffer = op.operands
        order = [*[k for k in range(len(buffer.type.shape)) if k != axis], axis]
        if buffer not in self.gathered:
            type = memref(tuple([buffer.type.shape[k] for k in order]), buffer.type.element)
            with at(before, op.location):
                self.gathered[buffer] = loops.alloc(type=type)
                loops.fill(self.gathered[buffer], value=0.0)
            self.copy(buffer, order, after)
        op.attributes = {**op.attributes, "dims": tuple([op.attributes["dims"][k] for k in order])}
        op.set_operands((value, self.gathered[buffer]))

    def copy(self, buffer: Value, order: Sequence[int], after: Block) -> None:
        """Append the nest that brings gathered sums to their buffer."""
        source = self.gathered[buffer]
        extents, block = source.type.shape, Block()
        with at(block, self.nest.location):
            loaded = loops.load(source, map=tuple([(dim, 1, 0) for dim in range(len(extents))]))
            dims = tuple([order.index(axis) for axis in range(len(order))])
            loops.store(loaded, buffer, dims=dims, low=(0,) * len(extents), high=extents)
            loops.end()
        with at(after, self.nest.location):
            attributes = {"extents": extents, "width": self.nest.attributes["width"]}
            loops.nest.build([source, buffer], attributes, [Region(block)])

    def insert(self, before: Sequence[Op], after: Sequence[Op]) -> None:
        """Put ops around the nest, and drop the fills of what is now stored as a whole."""
        ops: list[Op] = []
        roots = {_root(buffer) for buffer in self.gathered}
        for op in self.body.ops:
            if op.kind is loops.fill and _root(op.operands[0]) in roots and op not in before:
                op.drop_uses()
                continue
            ops += [*before, op, *after] if op is self.nest else [op]
        for op in (*before, *after):
            op.parent = self.body
        self.body.ops = ops


def _root(buffer: Value) -> Value:
    while buffer.op is not None and buffer.op.kind is loops.view:
        buffer = buffer.op.operands[0]
    return buffer
