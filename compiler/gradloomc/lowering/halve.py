"""Halve: nests over all pairs (i, j) of the same points visit each pair once, where its terms are hardly two things.

What is added up over j for each i is the same from (j, i) as from (i, j), or its negative (`reflect.py` proves it, term
by term), or follows from what is there at (i, j) for less than it took to compute (`exchange.py` builds it). So a point
of one half of the pairs may give its term to the sum of i and what the other point has to that of j; in a sum of
everything it counts twice. Half of the arithmetic is spared; what is paid is that sums of j lie in memory, where each
row comes back to them.

A nest is marked `halved`, and its reductions get `mirror`, the sign of the term at (j, i), and that term itself where
it is not the one at (i, j). The marks are promises, not orders: the nest means the same without them, so it is left to
code generation (`codegen/halved.py`) which points it visits. Sums that would not lie side by side in memory are first
gathered in an array where they do.
"""

import math
from collections.abc import Sequence

from gradloomc.dialects import kernel, loops
from gradloomc.dialects import scalar as s
from gradloomc.dialects.func import body_of
from gradloomc.ir.builder import at
from gradloomc.ir.core import Block, Op, Value
from gradloomc.ir.types import f32, f64, memref
from gradloomc.lowering.exchange import Exchange, copy_moved, order_with_last
from gradloomc.lowering.parallelize import loop_depths
from gradloomc.lowering.reflect import Copies, Reflection

# Shorter rows, in vectors, gain nothing: each has a vector on the diagonal and a last one that are partly for nothing.
LEAST_VECTORS = 16
# Additions that a pair has to take, and more of them for each sum that comes back to memory.
LEAST_COST, SUM_COST = 8.0, 2.0
# What has so many times fewer points than there are pairs may do without its tiles.
FEW = 16


def halve_pairs(function: Op) -> Op:
    """Mark the nests of a loops-level function, in place, that need to visit half of their points; return it."""
    body = body_of(function)
    copies: Copies | None = None
    for op in list(body.ops):
        steps = op.regions[0].block.ops[:-1] if op.kind is loops.tiles else [op]
        for nest in [step for step in steps if step.kind is loops.nest and _is_over_pairs(step)]:
            if not _has_sums_to_itself(nest, body) or (op.kind is loops.tiles and not _may_leave(op, nest)):
                continue
            copies = copies or Copies(body.ops)
            halving = _Halving(body, nest, Exchange(nest, Reflection(copies)))
            if halving.is_worth_it():
                if op.kind is loops.tiles and op in body.ops:
                    _dissolve(op, body)
                halving.run()
    return function


def _may_leave(tiles: Op, nest: Op) -> bool:
    """Tell whether nests need no tiles beside one over pairs, whose rows are finished only after all rows."""
    points = nest.attributes["extents"][0]
    for step in tiles.regions[0].block.ops[:-1]:
        if step.kind is not loops.nest or any(_is_scratch(value) for value in step.operands):
            return False
        if step is not nest and math.prod(step.attributes["extents"]) * FEW > points * points:
            return False
    return True


def _is_scratch(buffer: Value) -> bool:
    root = _root(buffer)
    return root.op is not None and root.op.kind is loops.scratch


def _dissolve(tiles: Op, body: Block) -> None:
    """Let the nests of tiles run one after the other."""
    steps = tiles.regions[0].block.ops[:-1]
    for step in steps:
        step.parent = body
    place = body.ops.index(tiles)
    body.ops[place : place + 1] = steps


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
    if _cost(ops) < _least_cost(sums):
        return False
    if extents[0] != extents[1] or extents[0] < LEAST_VECTORS * nest.attributes["width"]:
        return False
    return all(not any(op.attributes["low"]) and op.attributes["high"] == extents for op in sums)


def _cost(ops: Sequence[Op]) -> float:
    """Return the additions that a nest takes for a pair."""
    depths = loop_depths(ops)
    return sum(op.kind.cost for op in ops if op.results and depths[op.result] == 1)


def _least_cost(sums: Sequence[Op]) -> float:
    return LEAST_COST + SUM_COST * sum(len(_moving(op)) for op in sums)


def reason_for_halves(nest: Op) -> str:
    """Return why a nest is halved."""
    ops = nest.regions[0].block.ops[:-1]
    sums = [op for op in ops if op.kind is loops.reduce and _moving(op)]
    built = any(op.operands[2:] for op in sums)
    symmetric = "terms of both points have most in common" if built else "terms are symmetric"
    return f"{symmetric}, and {_cost(ops):.0f} additions are more than {len(sums)} more sums in memory"


def _is_sum(op: Op) -> bool:
    if op.kind is not loops.reduce or op.attributes["combine"] != "add":
        return False
    value, buffer = op.operands
    return value.type in (f32, f64) and buffer.type.element is value.type


def _moving(op: Op) -> list[int]:
    return [dim for dim in op.attributes["dims"] if dim >= 0]


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

    def __init__(self, body: Block, nest: Op, exchange: Exchange):
        self.body, self.nest, self.exchange = body, nest, exchange
        self.sums = [op for op in nest.regions[0].block.ops if op.kind is loops.reduce]
        self.exchanged: list[tuple[Value, int]] = []
        self.gathered: dict[Value, Value] = {}

    def is_worth_it(self) -> bool:
        """Tell whether it is known what the sums add up for the other point, and does not cost too much."""
        ops = self.nest.regions[0].block.ops[:-1]
        for op in self.sums:
            found = self.exchange.of(op.operands[0])
            if found is None:
                break
            self.exchanged.append(found)
        if len(self.exchanged) == len(self.sums) and _cost(ops) >= _least_cost(self.sums) + self.exchange.cost:
            return True
        self.exchange.drop()
        return False

    def run(self) -> None:
        """Mark the nest."""
        block, sums = self.nest.regions[0].block, self.sums
        before, after = self.exchange.before, Block()
        for op, (other, sign) in zip(sums, self.exchanged, strict=True):
            self.mirror(op, other, sign)
            dims = op.attributes["dims"]
            if _moving(op) and dims[-1] != 0:
                self.retarget(op, dims.index(0), before, after)
        first = block.ops.index(sums[0])
        block.ops[first:first] = self.exchange.added.ops
        for op in self.exchange.added.ops:
            op.parent = block
        self.nest.attributes = {**self.nest.attributes, "halved": True}
        operands = [self.gathered.get(operand, operand) for operand in self.nest.operands]
        self.nest.set_operands([*operands, *self.exchange.read])
        self.insert(before.ops, after.ops)

    def mirror(self, op: Op, other: Value, sign: int) -> None:
        """Let a sum have what its term is at (j, i): `sign` times `other`."""
        value, buffer = op.operands
        dims = op.attributes["dims"]
        if _moving(op) == [1]:  # a sum over i of terms at (i, j) is one over j, of those at (j, i)
            dims = tuple(0 if dim == 1 else dim for dim in dims)
            if sign < 0:
                other, sign = self.exchange.append(s.negf, [other], {}), 1 if other is not value else sign
                value, other = (other, other) if sign < 0 else (other, value)
            else:
                value, other = other, value
        plain = other is value and (_moving(op) or sign > 0)
        op.attributes = {**op.attributes, "dims": dims, "mirror": sign}
        op.set_operands((value, buffer) if plain else (value, buffer, other))

    def retarget(self, op: Op, axis: int, before: Block, after: Block) -> None:
        """Let a sum go to an array whose last axis is `axis` of its buffer, from which it is copied afterwards."""
        value, buffer, *others = op.operands
        order = order_with_last(buffer, axis)
        if buffer not in self.gathered:
            type = memref(tuple(buffer.type.shape[k] for k in order), buffer.type.element)
            with at(before, op.location):
                self.gathered[buffer] = loops.alloc(type=type)
                loops.fill(self.gathered[buffer], value=0.0)
            with at(after, op.location):
                copy_moved(self.gathered[buffer], buffer, order, self.nest.attributes["width"], forth=False)
        op.attributes = {**op.attributes, "dims": tuple(op.attributes["dims"][k] for k in order)}
        op.set_operands((value, self.gathered[buffer], *others))

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
