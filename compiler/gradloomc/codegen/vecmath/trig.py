"""Sine, cosine and tangent.

|x| = n pi/2 + r with |r| <= pi/4 by a three-part pi/2 whose parts are rounded towards zero (so that
+0 stays +0), then two polynomials in r^2 and a choice by the quadrant n. The sign of x is put on at
the end, which keeps the sign of zero. Arguments too large for the reduction take a cold branch.
Sine and cosine of one argument write the same reduction and polynomials and share them by value
numbering.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from gradloomc.codegen.body import Body
from gradloomc.codegen.lanes import Lanes
from gradloomc.codegen.vecmath.huge_angles import REDUCE_HUGE, define_reduce_huge
from gradloomc.codegen.vecmath.primitives import (
    FORMATS,
    call_where,
    coefficients,
    polynomial,
    two_product,
    within_bits,
)

__all__ = ["emit_cos", "emit_sin", "emit_tan"]

TWO_OVER_PI = 0.6366197723675814
HALF_PI = {
    "f64": (1.5707963267948966, 6.123233995736765e-17, 1.0828566739219139e-32),
    "f32": (1.570796251296997, 7.549789415861596e-08, 5.390302529957765e-15),
}
# Beyond these the rounded quotient x / (pi/2) could leave |r| <= pi/4 noticeably.
LARGEST = {"f64": 2.0**30, "f32": 2.0**17}


class Angle(NamedTuple):
    """|x| = n pi/2 + r (+ low): n in the low bits of `quadrant`, the sign of x in `sign`."""

    sign: str
    quadrant: str
    r: str
    low: Callable[[], str]


def _reduce(lanes: Lanes, x: str) -> Angle:
    """Reduce a moderate |x|; `low` writes what rounding left out of r, for those who need it."""
    magic = FORMATS[lanes.dtype].magic
    first, second, third = HALF_PI[lanes.dtype]
    magnitude = lanes.abs(x)
    shifted = lanes.fma(magnitude, TWO_OVER_PI, magic)
    n = lanes.sub(shifted, magic)
    start = lanes.fma(n, -first, magnitude)
    r = lanes.fma(n, -third, lanes.fma(n, -second, start))

    def low() -> str:
        product, product_low = two_product(lanes, n, second)
        high = lanes.sub(start, product)
        rest = lanes.sub(lanes.sub(start, high), product)
        rest = lanes.fma(n, -third, lanes.sub(rest, product_low))
        return lanes.add(lanes.sub(high, r), rest)

    return Angle(lanes.float_to_bits(x), lanes.float_to_bits(shifted), r, low)


def _tails(lanes: Lanes, angle: Angle) -> tuple[str, str, str]:
    """Return (z, s, c): z = r^2, sin r = r + r z s, cos r = 1 + z c."""
    z = lanes.mul(angle.r, angle.r)
    s = polynomial(lanes, z, coefficients(lanes, "sin"))
    return z, s, polynomial(lanes, z, (-0.5, *coefficients(lanes, "cos")))


def _sin_cos(lanes: Lanes, angle: Angle) -> tuple[str, str]:
    """Return sin r and cos r."""
    z, s, c = _tails(lanes, angle)
    sine = lanes.fma(lanes.mul(angle.r, z), s, angle.r)
    return sine, lanes.fma(z, c, 1.0)


def _is_odd(lanes: Lanes, angle: Angle) -> str:
    return lanes.icmp("ne", lanes.and_(angle.quadrant, 1), 0)


def _sine(lanes: Lanes, angle: Angle) -> str:
    sine, cosine = _sin_cos(lanes, angle)
    y = lanes.select(_is_odd(lanes, angle), cosine, sine)
    sign = lanes.xor(lanes.shl(angle.quadrant, lanes.bits - 2), angle.sign)
    return within_bits(lanes, sign, y, FORMATS[lanes.dtype].sign_bit)


def _cosine(lanes: Lanes, angle: Angle) -> str:
    sine, cosine = _sin_cos(lanes, angle)
    y = lanes.select(_is_odd(lanes, angle), sine, cosine)
    sign = lanes.shl(lanes.iadd(angle.quadrant, 1), lanes.bits - 2)
    return within_bits(lanes, sign, y, FORMATS[lanes.dtype].sign_bit)


def _tangent(lanes: Lanes, angle: Angle) -> str:
    """Return sin r / cos r or -cos r / sin r, the quotient corrected once.

    Both series are kept as head + tail, and the residual of the first quotient is taken against
    the unrounded pair, so neither rounding of numerator and denominator counts.
    """
    r = angle.r
    z, s, c = _tails(lanes, angle)
    sine, cosine = _sin_cos(lanes, angle)
    sine_tail = lanes.fma(lanes.mul(r, z), s, angle.low())
    cosine_tail = lanes.mul(z, c)
    odd = _is_odd(lanes, angle)
    numerator, denominator = lanes.select(odd, cosine, sine), lanes.select(odd, sine, cosine)
    inverse = lanes.div(1.0, denominator)
    quotient = lanes.mul(numerator, inverse)
    negated = lanes.neg(quotient)
    head = lanes.fma(negated, lanes.select(odd, r, 1.0), lanes.select(odd, 1.0, r))
    tail = lanes.fma(
        negated,
        lanes.select(odd, sine_tail, cosine_tail),
        lanes.select(odd, cosine_tail, sine_tail),
    )
    y = lanes.fma(lanes.add(head, tail), inverse, quotient)
    sign = lanes.xor(lanes.shl(angle.quadrant, lanes.bits - 1), angle.sign)
    return within_bits(lanes, sign, y, FORMATS[lanes.dtype].sign_bit)


def _define_huge(body: Body, name: str, of_angle: Callable[[Lanes, Angle], str]) -> None:
    """Put the scalar f64 function `name` for huge arguments into the module."""
    if name in body.functions:
        return
    define_reduce_huge(body)
    inner = Body()
    lanes = Lanes(inner, "f64", 1)
    kind = "{ double, double, i64 }"
    reduced = inner.emit(f"call {kind} @{REDUCE_HUGE}(double %x)", kind)
    r = inner.emit(f"extractvalue {kind} {reduced}, 0", "double")
    low = inner.emit(f"extractvalue {kind} {reduced}, 1", "double")
    quadrant = inner.emit(f"extractvalue {kind} {reduced}, 2", "i64")
    y = of_angle(lanes, Angle(lanes.float_to_bits("%x"), quadrant, r, lambda: low))
    # x - x is nan for infinities, else zero.
    y = lanes.add(y, lanes.sub("%x", "%x"))
    head = f"define internal double @{name}(double %x) noinline optnone cold nounwind {{"
    body.define(name, "\n".join([head, *inner.lines, f"  ret double {y}", "}"]))
    body.declarations.update(inner.declarations)


def _emit(lanes: Lanes, x: str, name: str, of_angle: Callable[[Lanes, Angle], str]) -> str:
    y = of_angle(lanes, _reduce(lanes, x))
    huge = lanes.fcmp("ogt", lanes.abs(x), LARGEST[lanes.dtype])
    symbol = f"gradloom_{name}_huge"
    _define_huge(lanes.body, symbol, of_angle)
    return call_where(lanes, symbol, huge, [x], y)


def emit_sin(lanes: Lanes, x: str) -> str:
    """Return the sine."""
    return _emit(lanes, x, "sin", _sine)


def emit_cos(lanes: Lanes, x: str) -> str:
    """Return the cosine."""
    return _emit(lanes, x, "cos", _cosine)


def emit_tan(lanes: Lanes, x: str) -> str:
    """Return the tangent."""
    return _emit(lanes, x, "tan", _tangent)
