"""Exponentials: exp, exp2, expm1 and the logistic function.

exp(x) = 2^n exp(r) with n = round(x / ln 2), |r| <= ln(2)/2 (Cody & Waite's two-part reduction),
and exp(r) = cosh(r) + sinh(r) from two short polynomials in r^2. The scaling by 2^n is a product of
two powers of two, which overflows and rounds to subnormal numbers by itself, as it should.
"""

from __future__ import annotations

from gradloomc.codegen.lanes import Lanes
from gradloomc.codegen.vecmath.primitives import FORMATS, coefficients, polynomial
from gradloomc.codegen.x86 import has_avx512, scale_by_power

__all__ = [
    "LOG2_E",
    "emit_exp",
    "emit_exp2",
    "emit_expm1",
    "emit_sigmoid",
    "exp_rounding_error",
    "expm1_reduced",
    "reduce_exp",
    "scale",
    "sinh_cosh_tails",
]

LOG2_E = 1.4426950408889634


def reduce_exp(lanes: Lanes, x: str, bias: int) -> tuple[str, str, str]:
    """Return (bits, n, r): x = n ln 2 + r, and n + bias in the low bits of the integer `bits`."""
    form = FORMATS[lanes.dtype]
    magic = form.magic + bias
    shifted = lanes.fma(x, LOG2_E, magic)
    n = lanes.sub(shifted, magic)
    r = lanes.fma(n, -form.ln2_low, lanes.fma(n, -form.ln2_high, x))
    return lanes.float_to_bits(shifted), n, r


def sinh_cosh_tails(lanes: Lanes, r: str) -> tuple[str, str, str]:
    """Return (z, s, c) for |r| <= ln(2)/2: z = r^2, sinh r = r + r z s, cosh r = 1 + z c."""
    z = lanes.mul(r, r)
    s = polynomial(lanes, z, coefficients(lanes, "sinh"))
    c = polynomial(lanes, z, coefficients(lanes, "cosh"))
    return z, s, c


def expm1_reduced(lanes: Lanes, r: str) -> str:
    """Return exp(r) - 1 for |r| <= ln(2)/2."""
    z, s, c = sinh_cosh_tails(lanes, r)
    return lanes.fma(z, lanes.fma(r, s, c), r)


def power_factors(lanes: Lanes, bits: str) -> tuple[str, str]:
    """Return two powers of two whose product is 2^n, for n + 2 * bias in the low bits of `bits`.

    Both stay in range for n from twice the smallest exponent to twice the largest.
    """
    mantissa = FORMATS[lanes.dtype].mantissa
    half = lanes.lshr(bits, 1)
    first = lanes.bits_to_float(lanes.shl(half, mantissa))
    return first, lanes.bits_to_float(lanes.shl(lanes.isub(bits, half), mantissa))


def scale(lanes: Lanes, value: str, bits: str, n: str) -> str:
    """Return value * 2^n, rounded once, for n + 2 * bias in the low bits of `bits`.

    Multiplying (rather than adding to the exponent field) leaves a nan a nan.
    """
    if has_avx512(lanes):
        return scale_by_power(lanes, value, n)
    first, second = power_factors(lanes, bits)
    return lanes.mul(lanes.mul(value, first), second)


def _exp_factors(lanes: Lanes, x: str) -> tuple[str, str, str]:
    """Return (e^r - 1, bits, n) with e^x = 2^n e^r and n + 2 * bias in the low bits of `bits`."""
    form = FORMATS[lanes.dtype]
    x = lanes.clamp_below(lanes.clamp_above(x, form.exp_high), form.exp_low)
    bits, n, r = reduce_exp(lanes, x, 2 * form.bias)
    return expm1_reduced(lanes, r), bits, n


def emit_exp(lanes: Lanes, x: str) -> str:
    """Return e^x."""
    lanes = lanes.exact()
    p, bits, n = _exp_factors(lanes, x)
    return scale(lanes, lanes.add(p, 1.0), bits, n)


def exp_rounding_error(lanes: Lanes, x: str) -> str:
    """Return what `emit_exp` loses in its last addition, the larger part of its error."""
    p, bits, n = _exp_factors(lanes, x)
    total = lanes.add(p, 1.0)
    return scale(lanes, lanes.add(lanes.sub(1.0, total), p), bits, n)


def emit_exp2(lanes: Lanes, x: str) -> str:
    """Return 2^x."""
    lanes = lanes.exact()
    form = FORMATS[lanes.dtype]
    high, low = float(form.bias + 2), float(-form.bias - form.mantissa - 2)
    x = lanes.clamp_below(lanes.clamp_above(x, high), low)
    magic = form.magic + 2 * form.bias
    shifted = lanes.add(x, magic)
    n = lanes.sub(shifted, magic)
    r = lanes.sub(x, n)
    power = lanes.fma(r, polynomial(lanes, r, coefficients(lanes, "exp2")), 1.0)
    return scale(lanes, power, lanes.float_to_bits(shifted), n)


def emit_expm1(lanes: Lanes, x: str) -> str:
    """Return e^x - 1 without cancellation: 2 (2^(n-1) (e^r - 1) + (2^(n-1) - 1/2))."""
    lanes = lanes.exact()
    form = FORMATS[lanes.dtype]
    low = -40.0 if lanes.bits == 64 else -20.0
    clamped = lanes.clamp_below(lanes.clamp_above(x, form.exp_high), low)
    bits, _, r = reduce_exp(lanes, clamped, form.bias - 1)
    half_power = lanes.bits_to_float(lanes.shl(bits, form.mantissa))
    half = lanes.fma(half_power, expm1_reduced(lanes, r), lanes.sub(half_power, 0.5))
    # Halving would lose the last bit of a subnormal number, and adding the sign of a zero.
    small = lanes.fcmp("olt", lanes.abs(x), form.tiny)
    return lanes.select(small, x, lanes.add(half, half))


def emit_sigmoid(lanes: Lanes, x: str) -> str:
    """Return 1 / (1 + e^-x) as 2^n / (2^n + e^r) with x = n ln 2 - r.

    The power of two in the numerator lets neither side overflow, and the scaling of the quotient
    rounds subnormal results once.
    """
    lanes = lanes.exact()
    form = FORMATS[lanes.dtype]
    x = lanes.clamp_above(x, 40.0 if lanes.bits == 64 else 20.0)
    x = lanes.clamp_below(x, form.exp_low)
    magic = form.magic + 2 * form.bias
    shifted = lanes.fma(x, LOG2_E, magic)
    n = lanes.sub(shifted, magic)
    r = lanes.fma(n, form.ln2_low, lanes.fma(n, form.ln2_high, lanes.neg(x)))
    bits = lanes.float_to_bits(shifted)
    power = scale(lanes, lanes.c(1.0), bits, n)
    # 1 + 2^n loses a small power; what it lost joins e^r - 1.
    base = lanes.add(power, 1.0)
    lost = lanes.sub(power, lanes.sub(base, 1.0))
    denominator = lanes.add(base, lanes.add(expm1_reduced(lanes, r), lost))
    return scale(lanes, lanes.div(1.0, denominator), bits, n)
