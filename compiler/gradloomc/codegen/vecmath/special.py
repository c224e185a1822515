"""The error function and its complement.

Both are built on E = exp(-x*x), written exactly as user code writes `exp(-(x * x))`, so that an
error function shares its exponential with its own derivative.
"""

from __future__ import annotations

from gradloomc.codegen.lanes import Lanes
from gradloomc.codegen.vecmath.exp import emit_exp, exp_rounding_error
from gradloomc.codegen.vecmath.primitives import coefficients, polynomial

__all__ = ["emit_erf", "emit_erfc"]


def _gaussian(lanes: Lanes, x: str) -> tuple[str, str]:
    """Return (x*x, exp(-(x*x))) in the user's arithmetic."""
    square = lanes.mul(x, x)
    return square, emit_exp(lanes, lanes.neg(square))


def _near_erf(lanes: Lanes, x: str, square: str) -> str:
    """Return erf x = x + x P(x^2) for |x| <= 1; something finite beyond."""
    z = lanes.clamp_above(square, 1.0)
    return lanes.fma(x, polynomial(lanes, z, coefficients(lanes, "erf")), x)


def emit_erf(lanes: Lanes, x: str) -> str:
    """Return erf x: x + x P(x^2) up to 1, then 1 - E Q with Q = exp(x^2) erfc(x)."""
    square, gaussian = _gaussian(lanes, x)
    magnitude = lanes.abs(x)
    near = _near_erf(lanes, x, square)
    if lanes.bits == 64:
        t = lanes.div(1.0, lanes.add(lanes.clamp_above(magnitude, 6.0), 2.0))
        scaled = polynomial(lanes, t, coefficients(lanes, "erf_tail"))
    else:
        t = lanes.clamp_above(magnitude, 4.0)
        scaled = polynomial(lanes, t, coefficients(lanes, "erf_tail_direct"))
    far = lanes.copysign(lanes.fma(lanes.neg(gaussian), scaled, 1.0), x)
    return lanes.select(lanes.fcmp("ogt", magnitude, 1.0), far, near)


def emit_erfc(lanes: Lanes, x: str) -> str:
    """Return erfc x: 1 - erf x up to 1/2, then E (1 - e) (1 + p) / (1 + 2a), 2 minus it for x < 0.

    p (after Shepherd & Laframboise 1981) is a polynomial in t = (a - 4)/(a + 4), a = |x|, and stays
    small. e is the rounding error of x*x; with those of E, of both sides of the quotient and of
    itself it enters one correction.
    """
    square, gaussian = _gaussian(lanes, x)
    magnitude = lanes.abs(x)
    a = lanes.clamp_above(magnitude, 28.0 if lanes.bits == 64 else 10.5)
    denominator = lanes.fma(a, 2.0, 1.0)
    denominator_error = lanes.fma(a, 2.0, lanes.sub(1.0, denominator))
    inverse = lanes.div(1.0, lanes.mul(lanes.add(a, 4.0), denominator))
    reciprocal = lanes.mul(lanes.add(a, 4.0), inverse)
    scaled = _scaled_erfc(lanes, a, lanes.mul(denominator, inverse))
    numerator = lanes.fma(gaussian, scaled, gaussian)
    numerator_error = lanes.fma(gaussian, scaled, lanes.sub(gaussian, numerator))
    gaussian_error = exp_rounding_error(lanes, lanes.neg(square))
    quotient = lanes.mul(numerator, reciprocal)
    residual = lanes.fma(lanes.neg(quotient), denominator, numerator)
    residual = lanes.fma(lanes.neg(quotient), denominator_error, residual)
    residual = lanes.add(residual, lanes.fma(gaussian_error, scaled, gaussian_error))
    residual = lanes.add(residual, numerator_error)
    # Far out the square's error is infinite or meaningless, and the numerator is zero.
    square_error = lanes.fma(x, x, lanes.neg(square))
    corrected = lanes.fma(lanes.neg(square_error), numerator, residual)
    residual = lanes.select(lanes.fcmp("olt", magnitude, 28.0), corrected, residual)
    far = lanes.fma(residual, reciprocal, quotient)
    far = lanes.select(lanes.fcmp("olt", x, 0.0), lanes.sub(2.0, far), far)
    near = lanes.sub(1.0, _near_erf(lanes, x, square))
    return lanes.select(lanes.fcmp("olt", magnitude, 0.5), near, far)


def _scaled_erfc(lanes: Lanes, a: str, inverse: str) -> str:
    """Return (1 + 2a) exp(a^2) erfc(a) - 1 for inverse = 1/(a + 4) roughly.

    t is refined against a itself, because a - 4 and a + 4 are rounded.
    """
    t = lanes.mul(lanes.sub(a, 4.0), inverse)
    residual = lanes.fma(lanes.neg(t), a, lanes.fma(lanes.add(t, 1.0), -4.0, a))
    t = lanes.fma(residual, inverse, t)
    return polynomial(lanes, t, coefficients(lanes, "erfc"))
