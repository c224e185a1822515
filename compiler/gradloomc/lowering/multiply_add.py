"""Products that are only added or subtracted become fused multiply-adds, on the loops level.

Processors compute x*y + z in one instruction with one rounding. Which products take part is decided here and not by
LLVM, whose choice depends on what else stands in a basic block: so a number has the same bits whether a function is
inlined or called, in the main loop and in the masked one. A product with a second use keeps its own rounding: the two
uses see the same number.

A number that is added to a sum of products (the softening of a distance, a bias) is what the sum starts from: the first
product is fused as well then. Partial sums round to about the same, and one addition less rounds.

Where a pad stands between product and sum, `select(inside, x*y, 0) + z`, the sum moves into both branches: which of
them is taken is known in a main loop.
"""

from gradloomc.dialects import kernel, loops
from gradloomc.dialects import scalar as s
from gradloomc.dialects.func import body_of
from gradloomc.ir.core import Block, Op, Value
from gradloomc.ir.opdef import OpDef
from gradloomc.ir.types import f32, f64

_FUSED_TYPES = (f32, f64)


def fuse_multiply_adds(function: Op) -> Op:
    """Use fused multiply-adds in the nests of a function of the loops level, in place; return it."""
    for op in loops.untiled(body_of(function).ops):
        if op.kind is loops.nest:
            _fuse_block(op.regions[0].block)
    return function


def _fuse_block(block: Block) -> None:
    ops, block.ops = block.ops, []
    dead: set[Op] = set()
    for op in ops:
        _write(op, block, dead)
    if dead:
        block.remove(lambda op: op in dead)


def _write(op: Op, block: Block, dead: set[Op]) -> None:
    """Append an op to its block, changed if it is a sum or difference that takes in a product."""
    if op.kind in (s.addf, s.subf) and op.result.type in _FUSED_TYPES and not _fuse(op, block, dead):
        if _start_from_number(op, block, dead):
            return
        _sink(op, block, dead)
    block.append(op)


def _start_from_number(op: Op, block: Block, dead: set[Op]) -> bool:
    """Turn `fma(a, b, c d) + number` into `fma(a, b, fma(c, d, number))`; tell if it was one."""
    if op.kind is not s.addf:
        return False
    for value, other in (op.operands, op.operands[::-1]):
        number = other.op
        first = _first_product(value, op, block)
        if first is None or number is None or number.kind is not s.constant:
            continue
        place = next(k for k in range(len(block.ops) - 1, -1, -1) if block.ops[k] is first)
        start = Op(s.constant, (), dict(number.attributes), (op.result.type,), op.location)
        start.parent = block
        block.ops.insert(place, start)
        first.kind = s.math["fma"]
        first.set_operands((*first.operands, start.result))
        op.result.replace_all_uses_with(value)
        _drop([op], dead)
        return True
    return False


def _first_product(value: Value, user: Op, block: Block) -> Op | None:
    """Return the product that a sum of fused products starts from, if only `user` uses that sum."""
    fused = False
    while True:
        op = value.op
        if op is None or op.parent is not block or value.uses != {user: 1}:
            return None
        if op.kind is s.mulf:
            return op if fused else None
        if op.kind is not s.math["fma"]:
            return None
        fused, value, user = True, op.operands[2], op


def _fuse(op: Op, block: Block, dead: set[Op]) -> bool:
    """Turn a sum or difference of a product, the first one if both operands are, into a fused multiply-add."""
    x, y = op.operands
    minus = op.kind is s.subf
    product = _product(x, op, block)
    if product is not None:
        chain, negative = product
        addend, negative_addend = y, minus
    else:
        product = _product(y, op, block)
        if product is None:
            return False
        chain, negative = product
        negative, addend, negative_addend = negative != minus, x, False
    first, second = chain[-1].operands
    if negative:
        first = _append(s.negf, (first,), op, block).result
    if negative_addend:
        addend = _append(s.negf, (addend,), op, block).result
    op.kind = s.math["fma"]
    op.set_operands((first, second, addend))
    _drop(chain, dead)
    return True


def _product(value: Value, user: Op, block: Block) -> tuple[list[Op], bool] | None:
    """Return the ops that make a product that only `user` uses, the product last, and whether they negate it."""
    chain: list[Op] = []
    negative = False
    while True:
        op = value.op
        if op is None or op.parent is not block or value.uses != {user: 1}:
            return None
        chain.append(op)
        if op.kind is s.mulf:
            return chain, negative
        if op.kind is not s.negf:
            return None
        negative, user, value = not negative, op, op.operands[0]


def _sink(op: Op, block: Block, dead: set[Op]) -> None:
    """Turn `select(inside, product, k) + z` into `select(inside, product + z, k + z)`, and so on."""
    choices = [_padded(value, op, block) for value in op.operands]
    chosen = next((choice for choice in choices if choice and _product(choice.operands[1], choice, block)), None)
    if chosen is None:
        return
    condition = chosen.operands[0]
    same = [choice for choice in choices if choice and choice.operands[0] is condition]
    branches = []
    for branch in (1, 2):
        operands = [
            choice.operands[branch] if choice in same else value
            for choice, value in zip(choices, op.operands, strict=True)
        ]
        branches.append(Op(op.kind, operands, {}, (op.result.type,), op.location))
    op.kind = s.select
    op.set_operands((condition, *[branch.result for branch in branches]))
    _drop(same, dead)
    for branch in branches:
        _write(branch, block, dead)


def _padded(value: Value, user: Op, block: Block) -> Op | None:
    """Return the op that chooses a value by whether the point is inside a box, if only `user` uses it."""
    op = value.op
    if op is None or op.kind is not s.select or op.parent is not block or value.uses != {user: 1}:
        return None
    test = op.operands[0].op
    return op if test is not None and test.kind is kernel.inside else None


def _append(kind: OpDef, operands: tuple[Value, ...], like: Op, block: Block) -> Op:
    return block.append(Op(kind, operands, {}, (like.result.type,), like.location))


def _drop(ops: list[Op], dead: set[Op]) -> None:
    """Mark ops as dead: their operands are used once less from now on."""
    for op in ops:
        op.drop_uses()
    dead.update(ops)
