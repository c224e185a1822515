"""Elementary and special functions, element by element; formulas of derivatives as in DLMF chapters 4 and 7."""

import math
from typing import Any

import numpy as np

from gradloomc.dialects import scalar as s
from gradloomc.dialects.nd.arithmetic import add, div, mul, neg, reciprocal, square, sub
from gradloomc.dialects.nd.families import (
    NUMBERS,
    ElementwiseDef,
    elementwise,
    ones_like,
    reals,
    splat_of,
    zeros_like,
)
from gradloomc.dialects.nd.logic import eq, ge, logical_and, select
from gradloomc.ir.core import Value
from gradloomc.ir.opdef import Partials

ALL = (-6.0, 6.0)
POSITIVE = (0.1, 8.0)
UNIT = (-0.9, 0.9)


def _function(
    name: str,
    reference: Any,
    partial: Any,
    interval: tuple[float, float],
    doc: str,
    singular: bool = False,
    grad_fn: str = "",
) -> ElementwiseDef:
    return elementwise(
        name,
        doc,
        reference,
        Partials(lambda y, x: (partial(y, x),), singular),
        s.math[name],
        reals(interval),
        grad_fn=grad_fn,
    )


sqrt = _function("sqrt", np.sqrt, lambda y, x: div(0.5, y), POSITIVE, "Square root.", singular=True)
cbrt = _function(
    "cbrt", np.cbrt, lambda y, x: div(1 / 3, square(y)), POSITIVE, "Cube root.", singular=True
)
exp = _function("exp", np.exp, lambda y, x: y, ALL, "e to the power x.")
exp2 = _function("exp2", np.exp2, lambda y, x: mul(y, math.log(2)), ALL, "2 to the power x.")
expm1 = _function("expm1", np.expm1, lambda y, x: exp(x), ALL, "exp(x) - 1, accurate near 0.")
log = _function("log", np.log, lambda y, x: reciprocal(x), POSITIVE, "Natural logarithm.", singular=True)
log2 = _function(
    "log2", np.log2, lambda y, x: div(1 / math.log(2), x), POSITIVE, "Logarithm to base 2.", singular=True
)
log10 = _function(
    "log10", np.log10, lambda y, x: div(1 / math.log(10), x), POSITIVE, "Logarithm to base 10.", singular=True
)
log1p = _function(
    "log1p", np.log1p, lambda y, x: reciprocal(add(x, 1.0)), (-0.7, 6.0), "log(1 + x), accurate near 0.", singular=True
)
sin = _function("sin", np.sin, lambda y, x: cos(x), ALL, "Sine.")
cos = _function("cos", np.cos, lambda y, x: neg(sin(x)), ALL, "Cosine.")
tan = _function("tan", np.tan, lambda y, x: add(square(y), 1.0), (-1.3, 1.3), "Tangent.")
arcsin = elementwise(
    "asin",
    "Inverse sine.",
    np.arcsin,
    Partials(lambda y, x: (reciprocal(sqrt(mul(sub(1.0, x), add(x, 1.0)))),), singular=True),
    s.math["asin"],
    reals(UNIT),
)
arccos = elementwise(
    "acos",
    "Inverse cosine.",
    np.arccos,
    Partials(lambda y, x: (neg(reciprocal(sqrt(mul(sub(1.0, x), add(x, 1.0))))),), singular=True),
    s.math["acos"],
    reals(UNIT),
)
arctan = _function("atan", np.arctan, lambda y, x: reciprocal(add(square(x), 1.0)), ALL, "Inverse tangent.")
sinh = _function("sinh", np.sinh, lambda y, x: cosh(x), ALL, "Hyperbolic sine.")
cosh = _function("cosh", np.cosh, lambda y, x: sinh(x), ALL, "Hyperbolic cosine.")
tanh = _function("tanh", np.tanh, lambda y, x: sub(1.0, square(y)), (-3.0, 3.0), "Hyperbolic tangent.")
arcsinh = _function(
    "asinh", np.arcsinh, lambda y, x: reciprocal(cosh(y)), ALL, "Inverse hyperbolic sine."
)
arccosh = _function(
    "acosh",
    np.arccosh,
    lambda y, x: reciprocal(mul(sqrt(sub(x, 1.0)), sqrt(add(x, 1.0)))),
    (1.2, 6.0),
    "Inverse hyperbolic cosine.",
    singular=True,
)
arctanh = _function(
    "atanh",
    np.arctanh,
    lambda y, x: reciprocal(mul(sub(1.0, x), add(x, 1.0))),
    UNIT,
    "Inverse hyperbolic tangent.",
    singular=True,
)
sigmoid = elementwise(
    "sigmoid",
    "Logistic function 1 / (1 + exp(-x)) (scipy.special.expit).",
    s.math["sigmoid"].reference,  # type: ignore[arg-type]
    Partials(lambda y, x: (mul(y, sigmoid(neg(x))),)),
    s.math["sigmoid"],
    reals(ALL),
)
erf = elementwise(
    "erf",
    "Error function; its derivative is 2/sqrt(pi) exp(-x*x).",
    s.math["erf"].reference,  # type: ignore[arg-type]
    Partials(lambda y, x: (mul(exp(neg(square(x))), 2 / math.sqrt(math.pi)),)),
    s.math["erf"],
    reals((-3.0, 3.0)),
)
erfc = elementwise(
    "erfc",
    "Complementary error function 1 - erf(x), accurate for large x.",
    s.math["erfc"].reference,  # type: ignore[arg-type]
    Partials(lambda y, x: (mul(exp(neg(square(x))), -2 / math.sqrt(math.pi)),)),
    s.math["erfc"],
    reals((-3.0, 3.0)),
)


def _arctan2_partials(result: Value, y: Value, x: Value) -> tuple[Value, Value]:
    scale = add(square(x), square(y))
    at_origin = eq(scale, 0.0)
    inverse = select(at_origin, zeros_like(scale), reciprocal(scale))
    return mul(x, inverse), neg(mul(y, inverse))


arctan2 = elementwise(
    "atan2",
    "Angle of the point (x, y), first operand y; its derivative at the origin is 0.",
    np.arctan2,
    Partials(_arctan2_partials),
    s.math["atan2"],
    reals((0.5, 6.0)),
)


def _hypot_partials(result: Value, x: Value, y: Value) -> tuple[Value, Value]:
    at_origin = eq(result, 0.0)
    inverse = select(at_origin, zeros_like(result), reciprocal(result))
    return mul(x, inverse), mul(y, inverse)


hypot = elementwise(
    "hypot",
    "sqrt(x*x + y*y) without overflow; its derivative at the origin is 0.",
    np.hypot,
    Partials(_hypot_partials),
    s.math["hypot"],
    reals((0.5, 6.0)),
    commutative=True,
)


def _logaddexp_partials(result: Value, x: Value, y: Value) -> tuple[Value, Value]:
    tie = eq(x, y)  # also both -inf, where x - y is nan
    half = mul(ones_like(x), 0.5)
    return (
        select(tie, half, sigmoid(sub(x, y))),
        select(tie, half, sigmoid(sub(y, x))),
    )


logaddexp = elementwise(
    "logaddexp",
    "log(exp(x) + exp(y)) without overflow; at equal operands, -inf included, both partials are 1/2.",
    np.logaddexp,
    Partials(_logaddexp_partials),
    s.math["logaddexp"],
    reals(ALL),
    commutative=True,
)


def _logaddexp2_scalar(x: Value, y: Value) -> Value:
    # log2(2^x + 2^y) = max + log2(1 + 2^-(|x - y|)); equal operands (also infinities) give x + 1.
    one = s.number(1, x.type)
    difference = s.math["absf"](s.subf(x, y))
    larger = s.maximumf(x, y)
    correction = s.mulf(
        s.math["log1p"](s.math["exp2"](s.negf(difference))), s.number(1 / math.log(2), x.type)
    )
    return s.select(s.compare("eq", x, y), s.addf(x, one), s.addf(larger, correction))


def _logaddexp2_partials(result: Value, x: Value, y: Value) -> tuple[Value, Value]:
    tie = eq(x, y)
    half = mul(ones_like(x), 0.5)
    scale = math.log(2)
    return (
        select(tie, half, sigmoid(mul(sub(x, y), scale))),
        select(tie, half, sigmoid(mul(sub(y, x), scale))),
    )


logaddexp2 = elementwise(
    "logaddexp2",
    "log2(2**x + 2**y) without overflow.",
    np.logaddexp2,
    Partials(_logaddexp2_partials),
    _logaddexp2_scalar,
    reals(ALL),
    commutative=True,
    cost=60.0,
)


def _xlogy_reference(x: Any, y: Any) -> Any:
    x, y = np.asarray(x), np.asarray(y)
    with np.errstate(all="ignore"):
        product = x * np.log(y)
    return np.where((x == 0) & ~np.isnan(y), np.zeros_like(product), product)


def _xlogy_scalar(function: str) -> Any:
    def body(x: Value, y: Value) -> Value:
        zero = s.number(0, x.type)
        product = s.mulf(x, s.math[function](y))
        safe = s.andi(s.compare("eq", x, zero), s.compare("eq", y, y))
        return s.select(safe, zero, product)

    return body


def _xlogy_partials(result: Value, x: Value, y: Value) -> tuple[Value, Value]:
    both_zero = logical_and(eq(x, 0.0), eq(y, 0.0))
    by_x = select(both_zero, zeros_like(x), log(y))
    by_y = select(eq(x, 0.0), zeros_like(x), div(x, y))
    return by_x, by_y


xlogy = elementwise(
    "xlogy",
    "x * log(y), and 0 where x is 0 (scipy.special.xlogy).",
    _xlogy_reference,
    Partials(_xlogy_partials, singular=True),
    _xlogy_scalar("log"),
    reals((0.2, 3.0), (0.2, 3.0)),
    cost=27.0,
)


def _xlog1py_reference(x: Any, y: Any) -> Any:
    x, y = np.asarray(x), np.asarray(y)
    with np.errstate(all="ignore"):
        product = x * np.log1p(y)
    return np.where((x == 0) & ~np.isnan(y), np.zeros_like(product), product)


def _xlog1py_partials(result: Value, x: Value, y: Value) -> tuple[Value, Value]:
    both = logical_and(eq(x, 0.0), eq(y, -1.0))
    by_x = select(both, zeros_like(x), log1p(y))
    by_y = select(eq(x, 0.0), zeros_like(x), div(x, add(y, 1.0)))
    return by_x, by_y


xlog1py = elementwise(
    "xlog1py",
    "x * log1p(y), and 0 where x is 0 (scipy.special.xlog1py).",
    _xlog1py_reference,
    Partials(_xlog1py_partials, singular=True),
    _xlogy_scalar("log1p"),
    reals((0.2, 3.0), (-0.5, 3.0)),
    cost=32.0,
)


def _logit_reference(x: Any) -> Any:
    x = np.asarray(x)
    with np.errstate(all="ignore"):
        return np.log(x / (1 - x)).astype(x.dtype)


def _logit_scalar(x: Value) -> Value:
    one = s.number(1, x.type)
    plain = s.math["log"](s.divf(x, s.subf(one, x)))
    # near 1/2, log(x / (1 - x)) = 2 atanh(2x - 1) keeps full accuracy where the quotient is close to 1
    twice = s.subf(s.addf(x, x), one)
    near = s.mulf(s.number(2, x.type), s.math["atanh"](twice))
    close = s.compare("lt", s.math["absf"](twice), s.number(0.4, x.type))
    return s.select(close, near, plain)


logit = elementwise(
    "logit",
    "log(x / (1 - x)) (scipy.special.logit).",
    _logit_reference,
    Partials(lambda y, x: (reciprocal(mul(x, sub(1.0, x))),), singular=True),
    _logit_scalar,
    reals((0.1, 0.9)),
    cost=80.0,
)


def _fold_power(x: Value, y: Value) -> Value | None:
    """Turn a constant exponent into products, roots and reciprocals (as NumPy does for 2, 0.5, -1, 1 and 0)."""
    number = splat_of(y)
    if number is None or x.type.element.kind != "f":
        return None
    simple = {
        0.0: lambda: ones_like(x),
        1.0: lambda: x,
        2.0: lambda: square(x),
        0.5: lambda: sqrt(x),
        -1.0: lambda: reciprocal(x),
    }
    exponent = float(number)
    if exponent in simple:
        return simple[exponent]()
    if exponent in (3.0, 4.0):  # at most one rounding more than pow, and exact where pow is
        squared = square(x)
        return mul(squared, x) if exponent == 3.0 else square(squared)
    return None


def _power_partials(result: Value, x: Value, y: Value) -> tuple[Value, Value]:
    by_base = select(eq(y, 0.0), zeros_like(x), mul(y, power(x, sub(y, 1.0))))
    # 0 ** y for y > 0 is 0 in a neighbourhood of y; 0 ** 0 is documented as 0.
    at_zero = logical_and(eq(x, 0.0), ge(y, 0.0))
    by_exponent = select(at_zero, zeros_like(x), mul(result, log(select(at_zero, ones_like(x), x))))
    return by_base, by_exponent


power = elementwise(
    "power",
    "x to the power y.",
    np.power,
    Partials(_power_partials, singular=True),
    {"f": s.math["powf"], "i": s.powi, "u": s.powi},
    reals((0.2, 4.0), (-3.0, 3.0)),
    kinds=NUMBERS,
    fold_numbers=_fold_power,
    grad_fn="Pow",
)


