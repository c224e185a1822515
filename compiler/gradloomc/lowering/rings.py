"""Rings: scratch in which a nest keeps the last rows of what it computes, to read them a few rows further on.

A nest runs its rows in order, so it may read from a ring what it stored at an earlier row. Knows what such a nest needs
where it does not begin at the first row; which values are kept is decided in shifted.py.
"""

from gradloomc.dialects import loops
from gradloomc.ir.builder import at
from gradloomc.ir.core import Block, Op, Region, Value
from gradloomc.ir.inline import copy_op


def is_ring(buffer: Value) -> bool:
    """Tell whether a buffer is a ring."""
    made = buffer.op
    return made is not None and made.kind is loops.scratch and made.attributes.get("ring", False)


def rings_of(nest: Op) -> list[Value]:
    """Return the rings of a nest."""
    return [value for value in nest.operands if is_ring(value)]


def rows_behind(nest: Op) -> int:
    """Return how many rows a nest must have stored into its rings before the first one that is run in full."""
    ops = nest.regions[0].block.ops
    stores = {op.operands[1]: op for op in ops if op.kind is loops.store and is_ring(op.operands[1])}
    needs: dict[Value, int] = {}  # of a ring, for what is stored there to be right

    def need(values: list[Value]) -> int:
        found, seen, stack = 0, set(values), list(values)
        while stack:
            op = stack.pop().op
            assert op is not None
            if op.kind is loops.load:
                buffer = op.operands[0]
                if is_ring(buffer):
                    if buffer not in needs:
                        needs[buffer] = need([stores[buffer].operands[0]])
                    row = op.attributes["map"][0][2] + stores[buffer].attributes["low"][0]
                    found = max(found, needs[buffer] - row)
                continue
            for operand in op.operands:
                if operand not in seen:
                    seen.add(operand)
                    stack.append(operand)
        return found

    return need([op.operands[0] for op in ops if op.kind in loops.SINKS]) if stores else 0


def storing_rings(nest: Op) -> Op:
    """Return the nest that does of `nest` only what fills its rings; drop its uses when it has been written."""
    block, values, kept = Block(), {}, set()
    stack: list[Value] = []
    for op in nest.regions[0].block.ops:
        if op.kind is loops.store and is_ring(op.operands[1]):
            kept.add(op)
            stack.append(op.operands[0])
    while stack:
        op = stack.pop().op
        assert op is not None
        if op not in kept:
            kept.add(op)
            stack += op.operands if op.kind is not loops.load else ()
    for op in nest.regions[0].block.ops:
        if op in kept:
            copy_op(op, values, block)
    with at(block, nest.location):
        loops.end()
    attributes = {name: nest.attributes[name] for name in ("extents", "width")}
    return Op(loops.nest, buffers_of(block), attributes, (), nest.location, (Region(block),))


def buffers_of(block: Block) -> list[Value]:
    """Return the buffers that the ops of a nest's region use, each once."""
    found: dict[Value, None] = {}
    for op in block.ops:
        if op.kind is loops.load:
            found[op.operands[0]] = None
        elif op.kind in loops.SINKS:
            found[op.operands[1]] = None
    return list(found)
