"""Inverse trigonometric functions: asin, acos, atan, atan2.

asin and acos use asin(x) = pi/2 - 2 asin(sqrt((1 - x)/2)) beyond 1/2, atan uses
atan(x) = pi/2 - atan(1/x) beyond 1; one odd polynomial each. pi/2 is added in two parts.
"""

from __future__ import annotations

from gradloomc.codegen.lanes import Lanes
from gradloomc.codegen.vecmath.primitives import coefficients, polynomial

__all__ = ["emit_acos", "emit_asin", "emit_atan", "emit_atan2"]

# pi/2 rounded to nearest, and what is left; twice these is pi.
HALF_PI = {
    "f64": (1.5707963267948966, 6.123233995736766e-17),
    "f32": (1.5707963705062866, -4.371138828673793e-08),
}


def _odd_series(lanes: Lanes, name: str, x: str, z: str) -> str:
    """Return x^3 P(x^2), the part beyond x, for z = x^2."""
    return lanes.mul(lanes.mul(x, z), polynomial(lanes, z, coefficients(lanes, name)))


def _reduced_asin(lanes: Lanes, x: str) -> tuple[str, str, str]:
    """Return (mask |x| > 1/2, s, tail): asin s = s + tail for s = |x| or sqrt((1 - |x|)/2)."""
    magnitude = lanes.abs(x)
    upper = lanes.fcmp("ogt", magnitude, 0.5)
    z = lanes.select(upper, lanes.fma(magnitude, -0.5, 0.5), lanes.mul(x, x))
    s = lanes.select(upper, lanes.sqrt(z), magnitude)
    return upper, s, _odd_series(lanes, "asin", s, z)


def emit_asin(lanes: Lanes, x: str) -> str:
    """Return the inverse sine; nan beyond 1."""
    high, low = HALF_PI[lanes.dtype]
    upper, s, tail = _reduced_asin(lanes, x)
    # By way of pi/4, because pi/2 - 2s can lie in a coarser binade than the result.
    rest = lanes.add(lanes.fma(s, -2.0, high / 2), lanes.fma(tail, -2.0, low))
    complement = lanes.add(rest, high / 2)
    return lanes.copysign(lanes.select(upper, complement, lanes.add(s, tail)), x)


def emit_acos(lanes: Lanes, x: str) -> str:
    """Return the inverse cosine: pi/2 - asin x, 2 asin(s) or pi - 2 asin(s); nan beyond 1."""
    high, low = HALF_PI[lanes.dtype]
    upper, s, tail = _reduced_asin(lanes, x)
    angle = lanes.add(s, tail)
    negative = lanes.fcmp("olt", x, 0.0)
    end_high = lanes.select(negative, 2 * high, 0.0)
    end_low = lanes.select(negative, 2 * low, 0.0)
    base_high, base_low = lanes.select(upper, end_high, high), lanes.select(upper, end_low, low)
    signed = lanes.copysign(angle, x)
    term = lanes.select(upper, lanes.mul(signed, 2.0), lanes.neg(signed))
    return lanes.add(base_high, lanes.add(term, base_low))


def emit_atan(lanes: Lanes, x: str) -> str:
    """Return the inverse tangent."""
    high, low = HALF_PI[lanes.dtype]
    magnitude = lanes.abs(x)
    upper = lanes.fcmp("ogt", magnitude, 1.0)
    t = lanes.select(upper, lanes.div(-1.0, magnitude), magnitude)
    z = lanes.mul(t, t)
    angle = lanes.fma(lanes.mul(t, z), polynomial(lanes, z, coefficients(lanes, "atan")), t)
    complement = lanes.add(lanes.add(angle, low), high)
    return lanes.copysign(lanes.select(upper, complement, angle), x)


def emit_atan2(lanes: Lanes, y: str, x: str) -> str:
    """Return the angle of the point (x, y) in [-pi, pi], with C99's signed zeros and infinities."""
    high, low = HALF_PI[lanes.dtype]
    across, along = lanes.abs(y), lanes.abs(x)
    steep = lanes.fcmp("ogt", across, along)
    small = lanes.select(steep, along, across)
    large = lanes.select(steep, across, along)
    t = lanes.div(small, large)
    # 0/0 counts as 0, inf/inf as 1.
    equal = lanes.select(lanes.fcmp("oeq", small, 0.0), 0.0, 1.0)
    t = lanes.select(lanes.fcmp("oeq", small, large), equal, t)
    z = lanes.mul(t, t)
    angle = lanes.fma(lanes.mul(t, z), polynomial(lanes, z, coefficients(lanes, "atan")), t)
    left = lanes.icmp("slt", lanes.float_to_bits(x), 0)
    base_high = lanes.select(steep, high, lanes.select(left, 2 * high, 0.0))
    base_low = lanes.select(steep, low, lanes.select(left, 2 * low, 0.0))
    signed = lanes.select(lanes.xor(steep, left), lanes.neg(angle), angle)
    result = lanes.add(base_high, lanes.add(signed, base_low))
    return lanes.copysign(result, y)
