"""Share: what several nests of a tile compute for the same points is computed once and kept for the tile.

Fusion computes a value again in every pass over memory that needs it, unless that costs more than a trip to memory and
back. Nests that take turns on a tile do not pay for that trip: what one of them computed lies in the second-level
cache when the next one comes. So an exponential is worth keeping there, while a difference is not.

What no nest of the tile reads is not stored either.
"""

from collections.abc import Container
from typing import Any

from gradloomc.dialects import loops
from gradloomc.dialects.func import body_of
from gradloomc.ir.attributes import attribute_key
from gradloomc.ir.builder import at
from gradloomc.ir.core import Block, Op, Value
from gradloomc.ir.types import f32, f64, memref
from gradloomc.lowering.parallelize import bytes_of, loop_depths
from gradloomc.lowering.tile import CACHE_BYTES
from gradloomc.passes.dce import eliminate_dead_code

# In additions per element: what writing an element to the second-level cache and reading it back is worth.
SHARE_COST = 10.0
# All scratch of a group, and its other rows, are to stay in that cache.
SHARE_BYTES = CACHE_BYTES // 2


def share_in_tiles(function: Op) -> Op:
    """Rewrite the tiles of a loops-level function in place; return it."""
    block = body_of(function)
    operations = block.ops
    if not any(op.kind is loops.tiles for op in operations):
        return function
    block.ops = []
    for op in operations:
        if op.kind is loops.tiles:
            for scratch in _Group(op, operations).share():
                block.append(scratch)
        block.append(op)
    _drop_unread(block)
    eliminate_dead_code(function)
    return function


def _drop_unread(block: Block) -> None:
    """Remove the scratch that is only stored to."""
    unread = {op: op.result for op in block.ops if op.kind is loops.scratch and _is_unread(op.result)}
    for op in unread:
        for user in list(op.result.uses):
            if user.kind is loops.nest:
                user.set_operands([value for value in user.operands if value is not op.result])
            else:
                user.drop_uses()
                assert user.parent is not None
                user.parent.remove(lambda inner, user=user: inner is user)
    if unread:
        block.remove(lambda op: op in unread)


def _is_unread(buffer: Value) -> bool:
    return all(
        user.kind is loops.nest or (user.kind is loops.store and user.operands[1] is buffer) for user in buffer.uses
    )


class _Group:
    """The nests of a tile, whose scalars are numbered so that equal ones have equal numbers."""

    def __init__(self, tiles: Op, operations: list[Op]):
        """Prepare to number the nests of `tiles`, which is one of the function's `operations`."""
        self.tiles = tiles
        self.nests = [nest for nest in tiles.regions[0].block.ops if nest.kind is loops.nest]
        self.numbers: dict[Any, int] = {}
        self.first: dict[int, tuple[Op, Value]] = {}  # where a number is computed first
        self.versions: dict[Value, int] = {}  # how many nests have written a buffer
        self.taken = sum(
            bytes_of(op.result) // op.result.type.shape[0] * op.attributes["rows"]
            for op in operations
            if op.kind is loops.scratch
        )
        self.kept: dict[int, Value] = {}  # scratch by number
        self.made: list[Op] = []

    def share(self) -> list[Op]:
        """Rewrite the nests; return the ops that make new scratch."""
        for nest in self.nests:
            if len(nest.attributes["extents"]) > 1 and nest.attributes["width"] > 1:
                self.visit(nest)
            for op in nest.regions[0].block.ops:
                if op.kind in loops.SINKS:
                    buffer = op.operands[1]
                    self.versions[buffer] = self.versions.get(buffer, 0) + 1
        return self.made

    def visit(self, nest: Op) -> None:
        """Number the scalars of a nest, and read from scratch what is worth it and was computed before."""
        ops, inner = nest.regions[0].block.ops[:-1], len(nest.attributes["extents"]) - 1
        depths = loop_depths(ops)
        number_of: dict[Value, int] = {}
        known: dict[Value, None] = {}
        for op in ops:
            if not op.results:
                continue
            value = op.results[0]
            number = number_of[value] = self.number(nest, op, number_of)
            if number not in self.first:
                self.first[number] = (nest, value)
            elif self.first[number][0] is not nest and depths[value] == inner and op.kind is not loops.load:
                known[value] = None
        for value in known:
            needed = any(not user.results or user.results[0] not in known for user in value.uses)
            if needed and value.type in (f32, f64) and _cost(value, known) > SHARE_COST:
                self.read(nest, value, number_of[value])

    def number(self, nest: Op, op: Op, number_of: dict[Value, int]) -> int:
        """Return the number of an op's result: the same for the same op on the same numbers, or the same memory."""
        if op.kind is loops.load:
            buffer, *integers = op.operands
            inputs: tuple[Any, ...] = (buffer, self.versions.get(buffer, 0), *[number_of[each] for each in integers])
        else:
            inputs = tuple(number_of[operand] for operand in op.operands)
        attributes = attribute_key(op.attributes) if op.attributes else ()
        key = (nest.attributes["extents"], op.kind, attributes, inputs)
        return self.numbers.setdefault(key, len(self.numbers))

    def read(self, nest: Op, value: Value, number: int) -> None:
        """Let a nest read a value that an earlier one computes."""
        if number not in self.kept:
            kept = self.keep(*self.first[number])
            if kept is None:
                return
            self.kept[number] = kept
        scratch = self.kept[number]
        block, rest = nest.regions[0].block, Block()
        extents = nest.attributes["extents"]
        with at(rest, nest.location):
            loaded = loops.load(scratch, map=tuple((dim, 1, 0) for dim in range(len(extents))))
        loaded.op.parent = block
        block.ops.insert(0, loaded.op)
        value.replace_all_uses_with(loaded)
        nest.set_operands(list(dict.fromkeys([*nest.operands, scratch])))

    def keep(self, nest: Op, value: Value) -> Value | None:
        """Let a nest store a value in scratch that is made for it, if there is room."""
        extents, rows = nest.attributes["extents"], self.tiles.attributes["rows"]
        size = value.type.itemsize * rows
        for extent in extents[1:]:
            size *= extent
        if self.taken + size > SHARE_BYTES:
            return None
        self.taken += size
        block, outside = nest.regions[0].block, Block()
        with at(outside, nest.location):
            scratch = loops.scratch(type=memref(extents, value.type), rows=rows)
        self.made.append(scratch.op)
        end = block.ops.pop()
        with at(block, nest.location):
            loops.store(value, scratch, dims=tuple(range(len(extents))), low=(0,) * len(extents), high=extents)
        block.ops.append(end)
        nest.set_operands([*nest.operands, scratch])
        return scratch


def _cost(value: Value, known: Container[Value]) -> float:
    """Return the additions that computing a value takes, of what was computed before."""
    seen, stack, total = {value}, [value], 0.0
    while stack:
        op = stack.pop().op
        assert op is not None
        total += op.kind.cost
        for operand in op.operands:
            if operand in known and operand not in seen:
                seen.add(operand)
                stack.append(operand)
    return total
