"""The error function and its complement.

Both are built on E = exp(-x*x), written exactly as user code writes `exp(-(x * x))`, so that an error
function shares its exponential with its own derivative.
"""

from __future__ import annotations

from gradloomc.codegen.lanes import Lanes
from gradloomc.codegen.vecmath.exp import emit_exp
from gradloomc.codegen.vecmath.primitives import coefficients, polynomial

__all__ = ["emit_erf", "emit_erfc"]


def _gaussian(lanes: Lanes, x: str) -> tuple[str, str]:
    """Return (x*x, exp(-(x*x))) in the user's arithmetic."""
    square = lanes.mul(x, x)
    return square, emit_exp(lanes, lanes.neg(square))


def emit_erf(lanes: Lanes, x: str) -> str:
    """Return erf x: x + x P(x^2) up to 1, then 1 - E Q with Q = exp(x^2) erfc(x)."""
    square, gaussian = _gaussian(lanes, x)
    lanes = lanes.exact()
    magnitude = lanes.abs(x)
    z = lanes.clamp_above(square, 1.0)
    near = lanes.fma(x, polynomial(lanes, z, coefficients(lanes, "erf")), x)
    if lanes.bits == 64:
        t = lanes.div(1.0, lanes.add(lanes.clamp_above(magnitude, 6.0), 2.0))
        scaled = polynomial(lanes, t, coefficients(lanes, "erf_tail"))
    else:
        t = lanes.clamp_above(magnitude, 4.0)
        scaled = polynomial(lanes, t, coefficients(lanes, "erf_tail_direct"))
    far = lanes.copysign(lanes.fma(lanes.neg(gaussian), scaled, 1.0), x)
    return lanes.select(lanes.fcmp("ogt", magnitude, 1.0), far, near)


def emit_erfc(lanes: Lanes, x: str) -> str:
    """Return erfc x = E (1 - e) P(t) / (1 + 2a), a = |x|, t = (a - 4)/(a + 4); 2 minus it for x < 0.

    P (after Shepherd & Laframboise 1981) is nearly constant, so t may be rough. e is the rounding
    error of x*x; with those of the denominator and of the quotient it enters one correction.
    """
    square, gaussian = _gaussian(lanes, x)
    lanes = lanes.exact()
    a = lanes.clamp_above(lanes.abs(x), 28.0 if lanes.bits == 64 else 10.5)
    square_error = lanes.fma(x, x, lanes.neg(square))
    denominator = lanes.fma(a, 2.0, 1.0)
    denominator_error = lanes.fma(a, 2.0, lanes.sub(1.0, denominator))
    shifted = lanes.add(a, 4.0)
    inverse = lanes.div(1.0, lanes.mul(shifted, denominator))
    t = lanes.mul(lanes.mul(lanes.sub(a, 4.0), denominator), inverse)
    reciprocal = lanes.mul(shifted, inverse)
    numerator = lanes.mul(gaussian, polynomial(lanes, t, coefficients(lanes, "erfc")))
    quotient = lanes.mul(numerator, reciprocal)
    residual = lanes.fma(lanes.neg(quotient), denominator, numerator)
    residual = lanes.fma(lanes.neg(quotient), denominator_error, residual)
    # Far out the square's error is infinite or meaningless, and the numerator is zero.
    finite = lanes.fcmp("olt", lanes.abs(x), 28.0)
    corrected = lanes.fma(lanes.neg(square_error), numerator, residual)
    residual = lanes.select(finite, corrected, residual)
    y = lanes.fma(residual, reciprocal, quotient)
    return lanes.select(lanes.fcmp("olt", x, 0.0), lanes.sub(2.0, y), y)
