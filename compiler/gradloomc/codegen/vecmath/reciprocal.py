"""Division and square root by multiplication: 1/x, 1/sqrt(x), and quotients and roots that are given them.

A divider takes 16 (f32: 10) cycles for a 512-bit vector of quotients and 24 (12) for one of roots, and does nothing
else meanwhile; multiplications and additions start twice a cycle. On AVX-512 the reciprocals come from an estimate of
14 bits and one step that multiplies the digits by four (f32: by two); elsewhere they are a division and a root.
"""

from __future__ import annotations

from gradloomc.codegen.lanes import Lanes
from gradloomc.codegen.vecmath.primitives import FORMATS
from gradloomc.codegen.x86 import (
    INFINITY,
    NAN,
    SUBNORMAL,
    ZERO,
    has_avx512,
    is_class,
    reciprocal_estimate,
    rsqrt_estimate,
    unless_special,
)
from gradloomc.dialects.scalar import SMALL_WEIGHT

__all__ = [
    "emit_lift",
    "emit_lift_scale",
    "emit_quotient",
    "emit_reciprocal",
    "emit_root",
    "emit_rsqrt",
    "emit_subnormal_scale",
]


def emit_reciprocal(lanes: Lanes, x: str) -> str:
    """Return 1/x, within a unit in the last place."""
    if not has_avx512(lanes):
        return lanes.div(1.0, x)
    estimate = reciprocal_estimate(lanes, x)
    e = lanes.fma(lanes.neg(x), estimate, 1.0)
    # 1/(1 - e) = 1 + e + e^2 + e^3; in f32 the first power does.
    if lanes.bits == 64:
        e = lanes.fma(e, lanes.fma(e, e, e), e)
    y = lanes.fma(estimate, e, estimate)
    return unless_special(lanes, y, estimate)


def emit_rsqrt(lanes: Lanes, x: str) -> str:
    """Return 1/sqrt(x), within 1.5 units in the last place: infinite at zeros with their sign, nan below."""
    if not has_avx512(lanes):
        return lanes.div(1.0, lanes.sqrt(x))
    estimate = rsqrt_estimate(lanes, x)
    # x * estimate neither overflows nor underflows, unlike the square of the estimate.
    e = lanes.fma(lanes.neg(lanes.mul(x, estimate)), estimate, 1.0)
    # (1 - e)^(-1/2) = 1 + e/2 + 3/8 e^2 + 5/16 e^3
    if lanes.bits == 64:
        series = lanes.fma(lanes.fma(e, 5 / 16, 3 / 8), e, 0.5)
    else:
        series = lanes.fma(e, 3 / 8, 0.5)
    y = lanes.fma(lanes.mul(estimate, e), series, estimate)
    return unless_special(lanes, y, estimate)


def emit_root(lanes: Lanes, x: str, rsqrt: str) -> str:
    """Return sqrt(x) given 1/sqrt(x): x * rsqrt and one step that rounds it as the root itself would be.

    That is the correctly rounded root but for some arguments below the square root of the smallest numbers, which can
    be off by a unit (Markstein, IA-64 and Elementary Functions, 2000).
    """
    root = lanes.mul(x, rsqrt)
    residual = lanes.fma(lanes.neg(root), root, x)
    corrected = lanes.fma(residual, lanes.mul(rsqrt, 0.5), root)
    return lanes.select(_ordinary(lanes, rsqrt), corrected, _root_of_extremes(lanes, x, rsqrt))


def _root_of_extremes(lanes: Lanes, x: str, rsqrt: str) -> str:
    """Return sqrt(x) where 1/sqrt(x) is zero, infinite or nan: x, but nan below zero."""
    return lanes.select(lanes.fcmp("uno", rsqrt, rsqrt), rsqrt, x)


def emit_subnormal_scale(lanes: Lanes, x: str) -> str:
    """Return a power of two that makes a subnormal x normal; 1 for all others."""
    form = FORMATS[lanes.dtype]
    if has_avx512(lanes):
        subnormal = is_class(lanes, x, SUBNORMAL)
    else:
        # Zero counts as subnormal here, which does no harm.
        subnormal = lanes.fcmp("olt", lanes.abs(x), form.smallest_normal)
    return lanes.select(subnormal, 2.0 ** (form.mantissa + 2), 1.0)


def _is_small_weight(lanes: Lanes, x: str) -> str:
    return lanes.fcmp("olt", lanes.abs(x), SMALL_WEIGHT[lanes.dtype][0])


def emit_lift(lanes: Lanes, x: str) -> str:
    """Return x, but 2^512 x where |x| < 2^-512 (2^64 and 2^-64 in f32)."""
    return lanes.select(_is_small_weight(lanes, x), lanes.mul(x, SMALL_WEIGHT[lanes.dtype][1]), x)


def emit_lift_scale(lanes: Lanes, x: str) -> str:
    """Return what `emit_lift` has to be multiplied by to be x again."""
    return lanes.select(_is_small_weight(lanes, x), 1 / SMALL_WEIGHT[lanes.dtype][1], 1.0)


def emit_quotient(lanes: Lanes, x: str, y: str, reciprocal: str) -> str:
    """Return x / y given 1/y for any y that is not subnormal: x * (1/y), corrected by its residual.

    Correctly rounded (Markstein 2000) but for results next to the subnormal numbers, which can be off by a unit.
    """
    quotient = lanes.mul(x, reciprocal)
    residual = lanes.fma(lanes.neg(quotient), y, x)
    corrected = lanes.fma(residual, reciprocal, quotient)
    # A zero would lose its sign; infinities would become nan.
    if has_avx512(lanes):
        return unless_special(lanes, corrected, quotient)
    return lanes.select(_ordinary(lanes, quotient), corrected, quotient)


def _ordinary(lanes: Lanes, x: str) -> str:
    """Return the mask of the finite numbers but zero."""
    if has_avx512(lanes):
        return lanes.not_(is_class(lanes, x, ZERO | INFINITY | NAN))
    form = FORMATS[lanes.dtype]
    magnitude = lanes.and_(lanes.float_to_bits(x), form.sign_bit - 1)
    return lanes.icmp("ult", lanes.isub(magnitude, 1), form.exponent_mask - 1)
