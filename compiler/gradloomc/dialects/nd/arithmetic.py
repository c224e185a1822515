"""Arithmetic on arrays, element by element: sums, products, powers, rounding, extrema, integer and bit operations."""

from typing import Any

import numpy as np

from gradloomc.dialects import scalar as s
from gradloomc.dialects.nd.families import (
    ANY,
    NUMBERS,
    elementwise,
    is_splat,
    ones_like,
    reals,
    splat_of,
    zeros_like,
)
from gradloomc.dialects.nd.logic import eq, gt, lt, ne, select
from gradloomc.ir.core import Value
from gradloomc.ir.opdef import Constant, Linearize, Multilinear, OpDef, Partials

WIDE = (-6.0, 6.0)
POSITIVE = (0.1, 8.0)


def _fold_add(x: Value, y: Value) -> Value | None:
    # x + 0.0 turns -0.0 into 0.0, so for floats only -0.0 is neutral.
    for value, other in ((x, y), (y, x)):
        number = splat_of(value)
        if number is not None and number == 0 and (x.type.element.kind != "f" or np.signbit(number)):
            return other
    return None


add = elementwise(
    "add",
    "Sum.",
    np.add,
    Partials(lambda result, x, y: (1, 1)),
    {"f": s.addf, "i": s.addi, "u": s.addi, "b": s.ori},
    reals(WIDE),
    kinds=ANY,
    fold_numbers=_fold_add,
    commutative=True,
)


def _fold_sub(x: Value, y: Value) -> Value | None:
    number = splat_of(y)
    if number is not None and number == 0 and not np.signbit(number):
        return x
    return None


sub = elementwise(
    "sub",
    "Difference.",
    np.subtract,
    Partials(lambda result, x, y: (1, -1)),
    {"f": s.subf, "i": s.subi, "u": s.subi},
    reals(WIDE),
    kinds=NUMBERS,
    fold_numbers=_fold_sub,
)


def _fold_neg(x: Value) -> Value | None:
    op = x.op
    return op.operands[0] if op is not None and op.kind is neg else None


def _neg_integer(x: Value) -> Value:
    return s.subi(s.number(0, x.type), x)


neg = elementwise(
    "neg",
    "Negative.",
    np.negative,
    Partials(lambda result, x: (-1,)),
    {"f": s.negf, "i": _neg_integer, "u": _neg_integer},
    reals(WIDE),
    kinds=NUMBERS,
    fold=_fold_neg,
)


def _fold_mul(x: Value, y: Value) -> Value | None:
    for value, other in ((x, y), (y, x)):
        number = splat_of(other)
        if number is not None:
            if number == 1:
                return value
            if number == -1 and x.type.element.kind == "f":
                return neg(value)
    return None


mul = elementwise(
    "mul",
    "Product.",
    np.multiply,
    Multilinear((lambda g, x, y: mul(g, y), lambda g, x, y: mul(x, g))),
    {"f": s.mulf, "i": s.muli, "u": s.muli, "b": s.andi},
    reals(WIDE),
    kinds=ANY,
    fold=lambda x, y: None if x is not y else x if x.type.element.kind == "b" else square(x),
    fold_numbers=_fold_mul,
    commutative=True,
)


def _square_scalar(multiply: OpDef) -> Any:
    return lambda x: multiply(x, x)


square = elementwise(
    "square",
    "Product of each element with itself.",
    np.square,
    Partials(lambda result, x: (mul(x, 2.0),)),
    {
        "f": _square_scalar(s.mulf),
        "i": _square_scalar(s.muli),
        "u": _square_scalar(s.muli),
    },
    reals(WIDE),
    kinds=NUMBERS,
    grad_fn="Pow",
    cost=1.0,
)


def _mul_no_nan_reference(coefficient: Any, tangent: Any) -> Any:
    with np.errstate(all="ignore"):
        product = np.multiply(coefficient, tangent)
    return np.where(np.equal(tangent, 0), np.zeros_like(product), product)


def _mul_no_nan_scalar(coefficient: Value, tangent: Value) -> Value:
    zero = s.number(0, tangent.type)
    return s.select(s.compare("eq", tangent, zero), zero, s.mulf(coefficient, tangent))


def _fold_mul_no_nan(coefficient: Value, tangent: Value) -> Value | None:
    number = splat_of(coefficient)
    if number is not None and np.isfinite(number):
        return mul(coefficient, tangent)
    number = splat_of(tangent)
    if number is not None:
        return zeros_like(tangent) if number == 0 else mul(coefficient, tangent)
    return None


mul_no_nan = elementwise(
    "mul_no_nan",
    "Product that is exactly 0 where the second operand is, even if the first is nan or inf (tf.math.multiply_no_nan).",
    _mul_no_nan_reference,
    Multilinear(
        (
            lambda g, coefficient, tangent: mul_no_nan(g, tangent),
            lambda g, coefficient, tangent: mul_no_nan(coefficient, g),
        )
    ),
    _mul_no_nan_scalar,
    reals(WIDE),
    fold_numbers=_fold_mul_no_nan,
    grad_fn="Mul",
)


def _fold_div(x: Value, y: Value) -> Value | None:
    if is_splat(y, 1):
        return x
    number = splat_of(y)
    if number is not None and number != 0 and np.isfinite(number):
        mantissa, _ = np.frexp(number)
        with np.errstate(all="ignore"):
            inverse = y.type.element.dtype.type(1) / number
        if abs(mantissa) == 0.5 and np.isfinite(inverse) and abs(inverse) >= np.finfo(inverse.dtype).tiny:
            return mul(x, float(inverse))  # a power of two: the product is the same number
    return None


div = elementwise(
    "div",
    "Quotient (NumPy's true division).",
    np.true_divide,
    Partials(lambda result, x, y: (reciprocal(y), neg(mul(result, reciprocal(y)))), singular=True),
    s.divf,
    reals(WIDE, (0.5, 6.0)),
    fold_numbers=_fold_div,
)

reciprocal = elementwise(
    "reciprocal",
    "1 / x.",
    lambda x: np.true_divide(1, x, dtype=np.asarray(x).dtype),
    Partials(lambda result, x: (neg(square(result)),), singular=True),
    lambda x: s.divf(s.number(1, x.type), x),
    reals((0.5, 6.0)),
    cost=8.0,
)


def _abs_partials(result: Value, x: Value) -> tuple[Value]:
    return (sign(x),)


abs_ = elementwise(
    "abs",
    "Absolute value; its derivative at 0 is 0.",
    np.abs,
    Partials(_abs_partials),
    {"f": s.math["absf"], "i": s.absi, "u": lambda x: x},
    reals(WIDE),
    kinds=NUMBERS,
)


def _sign_scalar(x: Value) -> Value:
    zero, one = s.number(0, x.type), s.number(1, x.type)
    if x.type.kind == "u":
        return s.select(s.compare("gt", x, zero), one, zero)
    minus = s.number(-1, x.type)
    # nan keeps its place: it is neither above nor below 0, so x itself (nan or a zero) is the answer.
    neither = s.select(s.compare("eq", x, zero), zero, x)
    below = s.select(s.compare("lt", x, zero), minus, neither)
    return s.select(s.compare("gt", x, zero), one, below)


sign = elementwise(
    "sign",
    "-1, 0 or 1; nan for nan.",
    np.sign,
    Constant(),
    _sign_scalar,
    reals(WIDE),
    kinds=NUMBERS,
    grad_fn="Sgn",
)


def _extremum_tangent(better: Any) -> Any:
    def rule(result: Value, operands: Any, tangents: Any, attributes: Any) -> Value:
        x, y = operands
        x_dot, y_dot = [zeros_like(result) if t is None else t for t in tangents]
        if tangents[0] is None:
            tie = mul(y_dot, 0.5)
        elif tangents[1] is None:
            tie = mul(x_dot, 0.5)
        else:
            tie = mul(add(x_dot, y_dot), 0.5)
        return select(better(x, y), x_dot, select(better(y, x), y_dot, tie))

    return rule


maximum = elementwise(
    "maximum",
    "The larger of two elements; nan if either is. At a tie the derivative is shared in halves.",
    np.maximum,
    Linearize(_extremum_tangent(lambda x, y: gt(x, y))),
    {"f": s.maximumf, "i": s.maxsi, "u": s.maxui, "b": s.ori},
    reals(WIDE),
    kinds=ANY,
    commutative=True,
)
minimum = elementwise(
    "minimum",
    "The smaller of two elements; nan if either is. At a tie the derivative is shared in halves.",
    np.minimum,
    Linearize(_extremum_tangent(lambda x, y: lt(x, y))),
    {"f": s.minimumf, "i": s.minsi, "u": s.minui, "b": s.andi},
    reals(WIDE),
    kinds=ANY,
    commutative=True,
)


def _number_extremum_tangent(better: Any) -> Any:
    def rule(result: Value, operands: Any, tangents: Any, attributes: Any) -> Value:
        x, y = operands
        x_dot, y_dot = [zeros_like(result) if t is None else t for t in tangents]
        tie = mul(add(x_dot, y_dot), 0.5)
        split = select(better(x, y), x_dot, select(better(y, x), y_dot, tie))
        return select(ne(x, x), y_dot, select(ne(y, y), x_dot, split))

    return rule


fmax = elementwise(
    "fmax",
    "The larger of two elements; a nan loses.",
    np.fmax,
    Linearize(_number_extremum_tangent(lambda x, y: gt(x, y))),
    {"f": s.maxnumf, "i": s.maxsi, "u": s.maxui, "b": s.ori},
    reals(WIDE),
    kinds=ANY,
    commutative=True,
)
fmin = elementwise(
    "fmin",
    "The smaller of two elements; a nan loses.",
    np.fmin,
    Linearize(_number_extremum_tangent(lambda x, y: lt(x, y))),
    {"f": s.minnumf, "i": s.minsi, "u": s.minui, "b": s.andi},
    reals(WIDE),
    kinds=ANY,
    commutative=True,
)


def _clip_scalar(x: Value, low: Value, high: Value) -> Value:
    kind = x.type.kind
    lower = {"f": s.maximumf, "i": s.maxsi, "u": s.maxui}[kind]
    upper = {"f": s.minimumf, "i": s.minsi, "u": s.minui}[kind]
    return upper(lower(x, low), high)


def _clip_tangent(result: Value, operands: Any, tangents: Any, attributes: Any) -> Value:
    x, low, high = operands
    x_dot, low_dot, high_dot = [zeros_like(result) if t is None else t for t in tangents]
    return select(gt(x, high), high_dot, select(lt(x, low), low_dot, x_dot))


clip = elementwise(
    "clip",
    "x limited to [low, high]; the derivative at the limits is 1 (as torch.clamp).",
    np.clip,
    Linearize(_clip_tangent),
    _clip_scalar,
    reals((-6.0, 6.0), (-2.0, -1.0), (1.0, 2.0)),
    kinds=NUMBERS,
    grad_fn="Clamp",
)

floor = elementwise("floor", "Largest integer not above.", np.floor, Constant(), s.math["floor"], reals(WIDE))
ceil = elementwise("ceil", "Smallest integer not below.", np.ceil, Constant(), s.math["ceil"], reals(WIDE))
trunc = elementwise("trunc", "Nearest integer towards 0.", np.trunc, Constant(), s.math["trunc"], reals(WIDE))
rint = elementwise(
    "rint", "Nearest integer, ties to even.", np.rint, Constant(), s.math["roundeven"], reals(WIDE)
)


def _floor_divide_scalar(x: Value, y: Value) -> Value:
    # As NumPy's npy_divmod: from the exact remainder, so that floor(x / y) cannot be one off by rounding.
    zero, one = s.number(0, x.type), s.number(1, x.type)
    modulus = s.math["fmod"](x, y)
    towards_zero = s.divf(s.subf(x, modulus), y)
    signs_differ = s.xori(s.compare("lt", modulus, zero), s.compare("lt", y, zero))
    below = s.andi(s.compare("ne", modulus, zero), signs_differ)
    quotient = s.select(below, s.subf(towards_zero, one), towards_zero)
    rounded = s.math["floor"](quotient)
    rounded = s.select(s.compare("gt", s.subf(quotient, rounded), s.number(0.5, x.type)), s.addf(rounded, one), rounded)
    signed_zero = s.math["copysign"](zero, s.divf(x, y))
    result = s.select(s.compare("eq", quotient, zero), signed_zero, rounded)
    return s.select(s.compare("eq", y, zero), s.divf(x, y), result)


floor_divide = elementwise(
    "floor_divide",
    "Floor of the quotient.",
    np.floor_divide,
    Constant(),
    {"f": _floor_divide_scalar, "i": s.floordivsi, "u": s.divui},
    reals(WIDE, (0.5, 6.0)),
    kinds=NUMBERS,
    cost=80.0,
)
remainder = elementwise(
    "remainder",
    "x - floor(x / y) * y: the remainder with the sign of the divisor.",
    np.remainder,
    Partials(lambda result, x, y: (1, neg(floor_divide(x, y)))),
    {"f": s.math["remainder"], "i": s.floormodsi, "u": s.remui},
    reals(WIDE, (0.5, 6.0)),
    kinds=NUMBERS,
)
fmod = elementwise(
    "fmod",
    "x - trunc(x / y) * y: the remainder with the sign of the dividend.",
    np.fmod,
    Partials(lambda result, x, y: (1, neg(rint(div(sub(x, result), y))))),
    {"f": s.math["fmod"], "i": s.remsi, "u": s.remui},
    reals(WIDE, (0.5, 6.0)),
    kinds=NUMBERS,
)
copysign = elementwise(
    "copysign",
    "The magnitude of x with the sign of y.",
    np.copysign,
    Partials(lambda result, x, y: (mul(sign(x), copysign(ones_like(x), y)), 0)),
    s.math["copysign"],
    reals(WIDE),
)
nextafter = elementwise(
    "nextafter",
    "The next number after x towards y; its derivative is that of x.",
    np.nextafter,
    Partials(lambda result, x, y: (1, 0)),
    s.math["nextafter"],
    reals(WIDE),
)


def _heaviside_scalar(x: Value, y: Value) -> Value:
    zero, one = s.number(0, x.type), s.number(1, x.type)
    neither = s.select(s.compare("eq", x, zero), y, x)
    return s.select(s.compare("gt", x, zero), one, s.select(s.compare("lt", x, zero), zero, neither))


heaviside = elementwise(
    "heaviside",
    "0 below zero, 1 above, y at zero.",
    np.heaviside,
    Partials(lambda result, x, y: (0, select(eq(x, 0.0), ones_like(x), zeros_like(x)))),
    _heaviside_scalar,
    reals(WIDE),
)

BITS = (-9, 9)
bitwise_and = elementwise(
    "bitwise_and", "Bits set in both.", np.bitwise_and, Constant(), s.andi, reals(BITS), kinds="iub", commutative=True
)
bitwise_or = elementwise(
    "bitwise_or", "Bits set in either.", np.bitwise_or, Constant(), s.ori, reals(BITS), kinds="iub", commutative=True
)
bitwise_xor = elementwise(
    "bitwise_xor", "Bits set in one.", np.bitwise_xor, Constant(), s.xori, reals(BITS), kinds="iub", commutative=True
)


def _invert_scalar(x: Value) -> Value:
    ones = {"b": True, "i": -1, "u": 2**x.type.bits - 1}[x.type.kind]
    return s.xori(x, s.number(ones, x.type))


invert = elementwise("invert", "All bits flipped.", np.invert, Constant(), _invert_scalar, reals(BITS), kinds="iub")
left_shift = elementwise(
    "left_shift", "Bits moved up.", np.left_shift, Constant(), s.shli, reals((0, 9), (0, 5)), kinds="iu"
)
right_shift = elementwise(
    "right_shift",
    "Bits moved down.",
    np.right_shift,
    Constant(),
    {"i": s.shrsi, "u": s.shrui},
    reals(BITS, (0, 5)),
    kinds="iu",
)
