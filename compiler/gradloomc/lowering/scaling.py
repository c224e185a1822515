"""Numbers taken out of sums: `sum_j c a_j = c sum_j a_j`, so that the loop over j does not multiply by c.

Derivatives are full of such numbers: the 2 of a square, the 1/2 of a root, signs. Those in the factors of one term meet
in front of the sum, where most of them cancel. A sum rounds as often or less than before; with powers of two nothing
changes at all, unless something overflows or underflows.
"""

from collections.abc import Sequence

import numpy as np

from gradloomc.dialects import nd
from gradloomc.dialects.func import body_of
from gradloomc.ir import types as ir_types
from gradloomc.ir.builder import insertion
from gradloomc.ir.core import Block, Op, Value
from gradloomc.ir.extents import hint_of
from gradloomc.lowering.sums import rewrite_sums
from gradloomc.passes.canonicalize import canonicalize_function
from gradloomc.passes.cse import eliminate_common_subexpressions
from gradloomc.passes.dce import eliminate_dead_code

# Numbers beyond 2^±20 stay where they are: they may be there to keep a sum from overflowing.
LARGEST_FACTOR = 2.0**20

# Sums of fewer terms stay as they are: the multiplication behind the sum is mostly a loop of its own.
LEAST_POINTS, LEAST_TERMS = 4096, 16

MOVES = frozenset({nd.broadcast, nd.transpose, nd.slice_, nd.reverse, nd.reshape})


def move_numbers_out_of_sums(function: Op) -> Op:
    """Take constant factors out of the large sums of an nd function, in place; return the function."""
    body = body_of(function)
    if not any(op.kind is nd.reduce_sum for op in body.ops):
        return function
    if rewrite_sums(function, lambda op: _scaled_sum(op) if _is_large(op) else None):
        eliminate_dead_code(function)
        eliminate_common_subexpressions(function)
        canonicalize_function(function)
        eliminate_dead_code(function)
    return function


def _is_large(op: Op) -> bool:
    source, result = op.operands[0].type, op.results[0].type
    points = hint_of(source.size)
    enough = points >= LEAST_POINTS and points >= LEAST_TERMS * hint_of(result.size)
    return enough and source.element in (ir_types.f32, ir_types.f64)


def _scaled_sum(op: Op) -> Value | None:
    """Return c times the sum of what is left without c, or None if there is no number to take out."""
    value, block = op.operands[0], insertion.block
    built = len(block.ops) if block else 0
    factor, core = _split(value)
    if core is value or not 1 / LARGEST_FACTOR <= abs(factor) <= LARGEST_FACTOR:
        _discard(block, built)
        return None
    return nd.mul(nd.reduce_sum(core, **op.attributes), factor)


def _discard(block: Block | None, built: int) -> None:
    """Take back the ops of a block from the `built`-th on."""
    if block is not None:
        for op in reversed(block.ops[built:]):
            op.drop_uses()
        del block.ops[built:]


def _split(value: Value) -> tuple[float, Value]:
    """Return (c, x) with c x = value, where x takes fewer operations than `value`; x is `value` if there is no c.

    Only what nobody else needs is taken apart: else it would be computed twice.
    """
    op = value.op
    if op is None or sum(value.uses.values()) != 1:
        return 1.0, value
    kind = op.kind
    if kind is nd.neg:
        factor, core = _split(op.operands[0])
        return -factor, core
    if kind in (nd.mul, nd.mul_no_nan):
        return _split_product(op)
    if kind is nd.div:
        return _split_quotient(op)
    if kind is nd.select:
        return _split_masked(op)
    if kind in MOVES:
        factor, core = _split(op.operands[0])
        return (1.0, value) if core is op.operands[0] else (factor, kind(core, **op.attributes))
    if kind in (nd.add, nd.sub):
        (c, x), (d, y) = (_split(operand) for operand in op.operands)
        if c == d and x is not op.operands[0] and y is not op.operands[1]:
            return c, kind(x, y)
    return 1.0, value


def _split_product(op: Op) -> tuple[float, Value]:
    for x, other in (op.operands, op.operands[::-1]):
        number = _number(x)
        if number is not None:
            factor, core = _split(other)
            return number * factor, core
    return _rebuilt(op, [_split(operand) for operand in op.operands])


def _split_quotient(op: Op) -> tuple[float, Value]:
    x, y = op.operands
    number = _number(x)
    if number == 1.0:
        return 1.0, op.results[0]
    if number is not None:
        return number, nd.reciprocal(y)
    return _rebuilt(op, [_split(x), (1.0, y)])


def _split_masked(op: Op) -> tuple[float, Value]:
    """Split a choice between a value and zero."""
    condition, x, y = op.operands
    if nd.splat_of(y) == 0:
        return _rebuilt(op, [(1.0, condition), _split(x), (1.0, y)])
    if nd.splat_of(x) == 0:
        return _rebuilt(op, [(1.0, condition), (1.0, x), _split(y)])
    return 1.0, op.results[0]


def _rebuilt(op: Op, parts: Sequence[tuple[float, Value]]) -> tuple[float, Value]:
    """Return the op on what is left of its operands, and the product of their factors."""
    cores = [core for _, core in parts]
    if all(core is operand for core, operand in zip(cores, op.operands, strict=True)):
        return 1.0, op.results[0]
    factor = float(np.prod([factor for factor, _ in parts]))
    return factor, op.kind(*cores, **op.attributes)


def _number(value: Value) -> float | None:
    """Return the number that a value is everywhere, if it may be taken out: not zero, and finite."""
    found = nd.splat_of(value)
    return float(found) if found is not None and np.isfinite(found) and found != 0 else None
