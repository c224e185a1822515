"""Canonicalize: bring `nd` programs to one simple form by algebra that does not change results beyond a rounding.

Each rule is a function whose docstring is its law. Rules for floats only use laws that hold for nan, infinities and
signed zeros.
"""

from collections.abc import Sequence

import numpy as np

from gradloomc.dialects import nd
from gradloomc.ir import types as ir_types
from gradloomc.ir.core import Op, Value
from gradloomc.rewrite.simplify import Rule, simplify_function

# A product of more factors than this is not searched for one.
DEEPEST_FACTOR = 8

# Powers up to this one are products: each takes at most eight, and is off by fewer units than it has factors.
LARGEST_POWER = 16


def defined_by(value: Value, kind: object) -> Op | None:
    """Return the op of kind `kind` that defines `value`, or None."""
    op = value.owner
    return op if op.__class__ is Op and op.kind is kind else None


def add_negative(op: Op, operands: Sequence[Value]) -> Value | None:
    """x + (-y) = x - y."""
    x, y = operands
    negative = defined_by(y, nd.neg)
    if negative is not None:
        return nd.sub(x, negative.operands[0])
    negative = defined_by(x, nd.neg)
    if negative is not None:
        return nd.sub(y, negative.operands[0])
    return None


def add_same(op: Op, operands: Sequence[Value]) -> Value | None:
    """x + x = 2 x, exactly."""
    x, y = operands
    return nd.mul(x, 2.0) if x is y and x.type.element.kind == "f" else None


def sub_negative(op: Op, operands: Sequence[Value]) -> Value | None:
    """x - (-y) = x + y."""
    x, y = operands
    negative = defined_by(y, nd.neg)
    return None if negative is None else nd.add(x, negative.operands[0])


def mul_scaled(op: Op, operands: Sequence[Value]) -> Value | None:
    """(x c) d = x (c d), when c or d is a power of two: no rounding differs."""
    for x, scale in (operands, operands[::-1]):
        d = nd.splat_of(scale)
        if d is None:
            continue
        product = defined_by(x, nd.mul)
        if product is None or d.dtype.kind != "f":
            continue
        for y, inner in (product.operands, tuple(reversed(product.operands))):
            c = nd.splat_of(inner)
            if c is None or not (_power_of_two(c) or _power_of_two(d)):
                continue
            with np.errstate(all="ignore"):
                combined = c * d
            if np.isfinite(combined) and abs(combined) >= np.finfo(combined.dtype).tiny:
                return nd.mul(y, combined.item())
    return None


def mul_negative(op: Op, operands: Sequence[Value]) -> Value | None:
    """(-x) c = x (-c) for a constant c; (-x) (-y) = x y."""
    x, y = operands
    left, right = defined_by(x, nd.neg), defined_by(y, nd.neg)
    if left is None and right is None:
        return None
    if left is not None and right is not None:
        return nd.mul(left.operands[0], right.operands[0])
    for negative, other in ((left, y), (right, x)):
        number = nd.splat_of(other)
        if negative is not None and number is not None and number.dtype.kind == "f":
            return nd.mul(negative.operands[0], (-number).item())
    return None


def negative_of_scaled(op: Op, operands: Sequence[Value]) -> Value | None:
    """-(x c) = x (-c) for a constant c."""
    product = defined_by(operands[0], nd.mul)
    if product is None or operands[0].type.element.kind != "f":
        return None
    for x, scale in (product.operands, tuple(reversed(product.operands))):
        number = nd.splat_of(scale)
        if number is not None:
            return nd.mul(x, (-number).item())
    return None


def mul_unguarded(op: Op, operands: Sequence[Value]) -> Value | None:
    """mul_no_nan(x, y) = x y if x is a factor of y: where x is infinite or nan, so is y, and y is not 0."""
    x, y = operands
    for _ in range(DEEPEST_FACTOR):
        if y is x:
            return nd.mul(*operands)
        inner = y.op
        if inner is None:
            return None
        if inner.kind is nd.mul and inner.operands[1] is x:
            return nd.mul(*operands)
        if inner.kind is nd.mul_no_nan:  # its first factor is lost where the second one is 0
            y = inner.operands[1]
        elif inner.kind in (nd.mul, nd.neg, nd.div):
            y = inner.operands[0]
        else:
            return None
    return None


def power_by_products(op: Op, operands: Sequence[Value]) -> Value | None:
    """x^n by products, x^-n = 1 / x^n, and x^(n/2) by a root where x is not negative; within a few roundings."""
    x, y = operands
    number = nd.splat_of(y)
    if number is None or x.type.element not in (ir_types.f32, ir_types.f64) or not abs(number) <= LARGEST_POWER:
        return None
    exponent, halves = float(number), float(2 * number)
    if exponent.is_integer() and exponent != 0:
        result = _power(x, int(abs(exponent)))
        return result if exponent > 0 else nd.reciprocal(result)
    if not halves.is_integer() or not is_nonnegative(x):
        return None
    root = nd.sqrt(x)
    return _power(nd.reciprocal(root), int(-halves)) if halves < 0 else nd.mul(_power(x, int(exponent)), root)


def _power(x: Value, n: int) -> Value:
    """Build x^n for n > 0 from the binary digits of n."""
    result: Value | None = None
    while True:
        if n & 1:
            result = x if result is None else nd.mul(result, x)
        n >>= 1
        if not n:
            assert result is not None
            return result
        x = nd.square(x)


def is_nonnegative(value: Value, depth: int = 12) -> bool:
    """Tell whether an array is known to hold no number below zero and no -0.0 (nan is possible)."""
    number = nd.splat_of(value)
    if number is not None:
        return bool(number >= 0) and not np.signbit(number)
    op = value.op
    if op is None or not depth:
        return False
    if op.kind in (nd.square, nd.abs_, nd.exp, nd.cosh):
        return True
    if op.kind is nd.select:
        return all(is_nonnegative(operand, depth - 1) for operand in op.operands[1:])
    if op.kind in (nd.add, nd.mul, nd.sqrt, nd.reduce_sum, nd.broadcast, nd.reshape, nd.transpose, nd.slice_):
        return all(is_nonnegative(operand, depth - 1) for operand in op.operands)
    return False


def dot_of_transposed(op: Op, operands: Sequence[Value]) -> Value | None:
    """A product of a transposed array is a product over its other axes."""
    attributes = dict(op.attributes)
    operands = list(operands)
    changed = False
    for position, (contract, batch) in enumerate((("x_contract", "x_batch"), ("y_contract", "y_batch"))):
        moved = defined_by(operands[position], nd.transpose)
        if moved is None:
            continue
        permutation = moved.attributes["permutation"]
        rank = len(permutation)
        free = [a for a in range(rank) if a not in attributes[contract] and a not in attributes[batch]]
        if [permutation[a] for a in free] != sorted(permutation[a] for a in free):
            continue  # the result's axes would come in another order
        attributes[contract] = tuple(permutation[a] for a in attributes[contract])
        attributes[batch] = tuple(permutation[a] for a in attributes[batch])
        operands[position] = moved.operands[0]
        changed = True
    return nd.dot(*operands, **attributes) if changed else None


def _power_of_two(number: np.generic) -> bool:
    return bool(np.isfinite(number)) and abs(np.frexp(number)[0]) == 0.5


RULES: dict[object, tuple[Rule, ...]] = {
    nd.add: (add_negative, add_same),
    nd.sub: (sub_negative,),
    nd.mul: (mul_negative, mul_scaled),
    nd.mul_no_nan: (mul_unguarded,),
    nd.neg: (negative_of_scaled,),
    nd.power: (power_by_products,),
    nd.dot: (dot_of_transposed,),
}


def canonicalize_function(function: Op) -> int:
    """Bring `function` to canonical form in place; return how many ops were replaced."""
    return simplify_function(function, RULES)  # type: ignore[arg-type]
