"""Copying ops: a whole function, or a function's body at the insertion point."""

from collections.abc import Sequence

from gradloomc.ir.builder import insertion
from gradloomc.ir.core import Block, Op, Region, Value


def copy_op(op: Op, values: dict[Value, Value], block: Block) -> Op:
    """Append a copy of `op` to `block`, its operands mapped by `values` (a value not in the map stands for itself)."""
    operands = [values.get(operand, operand) for operand in op.operands]
    regions = [_copy_region(region, values) for region in op.regions] if op.regions else ()
    results = op.results
    types = (results[0].type,) if len(results) == 1 else [result.type for result in results]
    new_op = Op(op.kind, operands, op.attributes, types, op.location, regions)
    for result, copy in zip(results, new_op.results):  # noqa: B905  (equal by construction, and hot)
        copy.hint = result.hint
        values[result] = copy
    new_op.parent = block
    block.ops.append(new_op)
    return new_op


def _copy_region(region: Region, values: dict[Value, Value]) -> Region:
    copied = []
    for old in region.blocks:
        new = Block([argument.type for argument in old.arguments], [a.hint for a in old.arguments])
        values.update(zip(old.arguments, new.arguments, strict=True))
        for inner in old.ops:
            copy_op(inner, values, new)
        copied.append(new)
    return Region(*copied)


def copy_function(function: Op) -> Op:
    """Return a copy of a function; values of an enclosing function that it uses stay shared."""
    old = function.regions[0].block
    new = Block([argument.type for argument in old.arguments], [a.hint for a in old.arguments])
    values = dict(zip(old.arguments, new.arguments, strict=True))
    for op in old.ops:
        copy_op(op, values, new)
    return Op(function.kind, (), dict(function.attributes), (), function.location, (Region(new),))


def inline_function(function: Op, operands: Sequence[Value]) -> list[Value]:
    """Copy the body of `function`, with `operands` for its arguments, at the insertion point; return its results."""
    body = function.regions[0].block
    if len(operands) != len(body.arguments):
        raise ValueError(f"expected {len(body.arguments)} operands, got {len(operands)}")
    values = dict(zip(body.arguments, operands, strict=True))
    block = insertion.block
    for op in body.ops[:-1]:
        copy_op(op, values, block)
    return [values.get(value, value) for value in body.terminator.operands]


def dissolve(function: Op) -> None:
    """Free a function that nobody needs any more; see `Op.erase`."""
    for region in function.regions:
        for block in region.blocks:
            operations, block.ops = block.ops, []
            for op in operations:
                op.operands = ()
                op.results = []
            for argument in block.arguments:
                argument.uses = {}
