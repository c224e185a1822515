"""Sine, cosine and tangent.

|x| = n pi/2 + r with |r| <= pi/4 by a three-part pi/2 whose parts are rounded towards zero (so that
+0 stays +0), then two polynomials in r^2 and a choice by the quadrant n. The sign of x is put on at
the end, which keeps the sign of zero. Arguments too large for the reduction go to the C library in
a cold branch. Sine and cosine of one argument write the same reduction and polynomials and share
them by value numbering.
"""

from __future__ import annotations

from dataclasses import dataclass

from gradloomc.codegen.lanes import Lanes
from gradloomc.codegen.vecmath.primitives import (
    FORMATS,
    coefficients,
    libm_where,
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


@dataclass
class Quadrant:
    """|x| = n pi/2 + r: n, also in the low bits of `bits`; r, |x| - n first(pi/2), z = r^2."""

    n: str
    first_step: str
    bits: str
    r: str
    z: str
    sin_tail: str
    cos_tail: str
    too_large: str


def reduce_trig(lanes: Lanes, x: str) -> Quadrant:
    """Reduce |x|; sin r = r + r z sin_tail, cos r = (1 - z/2) + z^2 cos_tail."""
    magic = FORMATS[lanes.dtype].magic
    magnitude = lanes.abs(x)
    shifted = lanes.fma(magnitude, TWO_OVER_PI, magic)
    n = lanes.sub(shifted, magic)
    first, second, third = HALF_PI[lanes.dtype]
    first_step = lanes.fma(n, -first, magnitude)
    r = lanes.fma(n, -third, lanes.fma(n, -second, first_step))
    z = lanes.mul(r, r)
    return Quadrant(
        n=n,
        first_step=first_step,
        bits=lanes.float_to_bits(shifted),
        r=r,
        z=z,
        sin_tail=polynomial(lanes, z, coefficients(lanes, "sin")),
        cos_tail=polynomial(lanes, z, coefficients(lanes, "cos")),
        too_large=lanes.fcmp("ogt", magnitude, LARGEST[lanes.dtype]),
    )


def _sin_cos(lanes: Lanes, reduced: Quadrant) -> tuple[str, str]:
    """Return sin r and cos r."""
    r, z = reduced.r, reduced.z
    sine = lanes.fma(lanes.mul(r, z), reduced.sin_tail, r)
    cosine = lanes.fma(lanes.mul(z, z), reduced.cos_tail, lanes.fma(z, -0.5, 1.0))
    return sine, cosine


def emit_sin(lanes: Lanes, x: str) -> str:
    """Return the sine."""
    lanes = lanes.exact()
    form = FORMATS[lanes.dtype]
    reduced = reduce_trig(lanes, x)
    sine, cosine = _sin_cos(lanes, reduced)
    odd = lanes.icmp("ne", lanes.and_(reduced.bits, 1), 0)
    y = lanes.select(odd, cosine, sine)
    sign = lanes.xor(lanes.shl(reduced.bits, lanes.bits - 2), lanes.float_to_bits(x))
    y = within_bits(lanes, sign, y, form.sign_bit)
    return libm_where(lanes, "sin", reduced.too_large, [x], y)


def emit_cos(lanes: Lanes, x: str) -> str:
    """Return the cosine."""
    lanes = lanes.exact()
    form = FORMATS[lanes.dtype]
    reduced = reduce_trig(lanes, x)
    sine, cosine = _sin_cos(lanes, reduced)
    odd = lanes.icmp("ne", lanes.and_(reduced.bits, 1), 0)
    y = lanes.select(odd, sine, cosine)
    sign = lanes.shl(lanes.iadd(reduced.bits, 1), lanes.bits - 2)
    y = within_bits(lanes, sign, y, form.sign_bit)
    return libm_where(lanes, "cos", reduced.too_large, [x], y)


def _reduction_error(lanes: Lanes, reduced: Quadrant) -> str:
    """Return what rounding left out of r, from the second product in double length."""
    _, second, third = HALF_PI[lanes.dtype]
    n, start = reduced.n, reduced.first_step
    product, product_low = two_product(lanes, n, second)
    high = lanes.sub(start, product)
    low = lanes.sub(lanes.sub(start, high), product)
    low = lanes.fma(n, -third, lanes.sub(low, product_low))
    return lanes.add(lanes.sub(high, reduced.r), low)


def emit_tan(lanes: Lanes, x: str) -> str:
    """Return the tangent: sin r / cos r or -cos r / sin r, the quotient corrected once.

    Both series are kept as head + tail, and the residual of the first quotient is taken against
    the unrounded pair, so neither rounding of numerator and denominator counts.
    """
    lanes = lanes.exact()
    form = FORMATS[lanes.dtype]
    reduced = reduce_trig(lanes, x)
    r, z = reduced.r, reduced.z
    sine, cosine = _sin_cos(lanes, reduced)
    sine_tail = lanes.fma(lanes.mul(r, z), reduced.sin_tail, _reduction_error(lanes, reduced))
    # cos r - 1
    cosine_tail = lanes.mul(z, lanes.fma(z, reduced.cos_tail, -0.5))
    odd = lanes.icmp("ne", lanes.and_(reduced.bits, 1), 0)
    numerator, denominator = lanes.select(odd, cosine, sine), lanes.select(odd, sine, cosine)
    inverse = lanes.div(1.0, denominator)
    quotient = lanes.mul(numerator, inverse)
    head = lanes.fma(
        lanes.neg(quotient), lanes.select(odd, r, 1.0), lanes.select(odd, 1.0, r)
    )
    tail = lanes.fma(
        lanes.neg(quotient),
        lanes.select(odd, sine_tail, cosine_tail),
        lanes.select(odd, cosine_tail, sine_tail),
    )
    y = lanes.fma(lanes.add(head, tail), inverse, quotient)
    sign = lanes.xor(lanes.shl(reduced.bits, lanes.bits - 1), lanes.float_to_bits(x))
    y = within_bits(lanes, sign, y, form.sign_bit)
    return libm_where(lanes, "tan", reduced.too_large, [x], y)
