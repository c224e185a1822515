"""Merges ops that compute the same: equal kind, operands and attributes.

Ops with effects and ops with regions stay as they are; so do ops tagged `reads-memory`, since what
they give may change between two of them.
"""

from typing import Any

from gradloomc.ir.attributes import attribute_key
from gradloomc.ir.core import Block, Op, Value

_Table = dict[tuple[Any, ...], Op]


def eliminate_common_subexpressions(function: Op) -> int:
    """Merge equal ops of a function, keeping the first of each; return how many went."""
    count = 0
    for region in function.regions:
        for block in region.blocks:
            count += _merge(block, {}, {})
    return count


def _merge(block: Block, available: _Table, replaced: dict[Value, Value]) -> int:
    """Walk a block once. `available` holds what encloses it too; what the block adds is undone.

    Uses follow definitions, so operands are replaced when their user is reached, and an op that
    only became equal through earlier merges is found in the same walk.
    """
    kept: list[Op] = []
    added: list[tuple[Any, ...]] = []
    nested = 0
    for op in block.ops:
        operands = op.operands
        for operand in operands:
            if operand in replaced:
                operands = tuple([replaced.get(value, value) for value in operands])
                op.set_operands(operands)
                break
        kind = op.kind
        if op.regions:
            for region in op.regions:
                for inner in region.blocks:
                    nested += _merge(inner, available, replaced)
        elif not kind.effects and "reads-memory" not in kind.tags:
            if kind.commutative and id(operands[0]) > id(operands[-1]):  # (all of these have two)
                operands = operands[::-1]
            key = (kind, operands, attribute_key(op.attributes) if op.attributes else ())
            first = available.get(key)
            if first is not None:
                for old, new in zip(op.results, first.results, strict=True):
                    replaced[old] = new
                    if new.hint is None:
                        new.hint = old.hint
                op.erase()
                continue
            available[key] = op
            added.append(key)
        kept.append(op)
    for key in added:
        del available[key]
    count = len(block.ops) - len(kept)
    if count:
        block.ops = kept
    return count + nested
