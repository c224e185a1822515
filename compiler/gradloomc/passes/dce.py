"""Removes ops whose results nobody uses."""

from gradloomc.ir.core import Block, Op


def eliminate_dead_code(function: Op) -> int:
    """Remove the dead ops of a function; return how many (ops nested in a dead op not counted)."""
    return sum([_sweep(block) for region in function.regions for block in region.blocks])


def _sweep(block: Block) -> int:
    """Go backwards once: erasing an op takes away uses only of ops that are still to come."""
    kept: list[Op] = []
    nested = 0
    for op in reversed(block.ops):
        if _is_dead(op):
            op.erase()
            continue
        kept.append(op)
        if op.regions:
            nested += eliminate_dead_code(op)
    count = len(block.ops) - len(kept)
    if count:
        kept.reverse()
        block.ops = kept
    return count + nested


def _is_dead(op: Op) -> bool:
    if op.kind.effects:
        return False
    for result in op.results:
        if result.uses:
            return False
    # An op that only holds others has the effects of those (their terminators are no effect).
    return not op.regions or not any(
        inner.kind.effects and "terminator" not in inner.kind.tags for inner in op.walk()
    )
