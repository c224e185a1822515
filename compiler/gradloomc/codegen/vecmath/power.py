"""Powers and roots, and the exact remainders: pow, cbrt, hypot, sqrt, fmod, remainder.

pow in f64 takes the logarithm in double-double (about 68 bits), because the product with the
exponent magnifies its relative error up to 745 times; in f32 it goes through f64 lanes, where plain
polynomials do.
"""

from __future__ import annotations

import math

from gradloomc.codegen.lanes import Lanes
from gradloomc.codegen.vecmath.coefficients import COEFFICIENTS
from gradloomc.codegen.vecmath.exp import emit_exp, exp2_by_table
from gradloomc.codegen.vecmath.log import split
from gradloomc.codegen.vecmath.log_table import log2_by_short_table, log_double_by_table
from gradloomc.codegen.vecmath.primitives import (
    FORMATS,
    call_where,
    coefficients,
    fast_two_sum,
    polynomial,
    two_product,
)
from gradloomc.codegen.x86 import has_avx512

__all__ = [
    "emit_cbrt",
    "emit_fmod",
    "emit_hypot",
    "emit_pow",
    "emit_remainder",
    "emit_sqrt",
]

LN2 = (0.6931471805598903, 5.497923018708371e-14)
TWO_THIRDS = (0.6666666666666666, 3.700743415417188e-17)


def _log_double(lanes: Lanes, x: str) -> tuple[str, str]:
    """Return log(x) of a positive x as an unevaluated sum of two f64, good to about 68 bits.

    log(1+f) = 2s + 2/3 s^3 + s^5 Q(s^2), s = f/(2+f): the first two terms in double-double.
    """
    number = split(lanes, x)
    k, f = number.k, number.f
    denominator = lanes.add(f, 2.0)
    denominator_error = lanes.sub(f, lanes.sub(denominator, 2.0))
    inverse = lanes.div(1.0, denominator)
    s = lanes.mul(f, inverse)
    residual = lanes.fma(lanes.neg(s), denominator, f)
    residual = lanes.fma(lanes.neg(s), denominator_error, residual)
    s_low = lanes.mul(residual, inverse)
    z, z_low = two_product(lanes, s, s)
    z_low = lanes.fma(lanes.add(s, s), s_low, z_low)
    cube, cube_low = two_product(lanes, z, s)
    cube_low = lanes.add(cube_low, lanes.fma(z, s_low, lanes.mul(z_low, s)))
    cubic, cubic_low = two_product(lanes, cube, TWO_THIRDS[0])
    cubic_low = lanes.add(
        cubic_low, lanes.fma(cube, TWO_THIRDS[1], lanes.mul(cube_low, TWO_THIRDS[0]))
    )
    series = polynomial(lanes, z, coefficients(lanes, "log_double"))
    rest = lanes.fma(lanes.mul(cube, z), series, cubic_low)
    high, low = fast_two_sum(lanes, lanes.mul(k, LN2[0]), lanes.add(s, s))
    high, low_of_cubic = fast_two_sum(lanes, high, cubic)
    low = lanes.add(lanes.add(low, low_of_cubic), lanes.fma(s_low, 2.0, rest))
    return fast_two_sum(lanes, high, lanes.fma(k, LN2[1], low))


def _power_f64(lanes: Lanes, base: str, exponent: str) -> str:
    """Return base^exponent for positive finite base and finite exponent."""
    logarithm = log_double_by_table if has_avx512(lanes) else _log_double
    high, low = logarithm(lanes, base)
    product, error = two_product(lanes, exponent, high)
    return emit_exp(lanes, product, lanes.fma(exponent, low, error))


def _power_f32(lanes: Lanes, base: str, exponent: str) -> str:
    """Return base^exponent for positive finite base and finite exponent, by way of f64 lanes."""
    wide = lanes.with_dtype("f64")
    form = FORMATS["f64"]
    if has_avx512(lanes):
        product = wide.mul(lanes.to_f64(exponent), log2_by_short_table(wide, lanes.to_f64(base)))
        product = wide.clamp_below(wide.clamp_above(product, 130.0), -160.0)
        return lanes.to_f32(exp2_by_table(wide, product))
    number = split(wide, lanes.to_f64(base), subnormal=False)
    series = polynomial(wide, number.f, COEFFICIENTS["f64"]["pow_f32_log2"])
    product = wide.mul(lanes.to_f64(exponent), wide.fma(number.f, series, number.k))
    product = wide.clamp_below(wide.clamp_above(product, 130.0), -160.0)
    magic = form.magic + form.bias
    shifted = wide.add(product, magic)
    r = wide.sub(product, wide.sub(shifted, magic))
    power = wide.bits_to_float(wide.shl(wide.float_to_bits(shifted), form.mantissa))
    mantissa = polynomial(wide, r, COEFFICIENTS["f64"]["pow_f32_exp2"])
    return lanes.to_f32(wide.mul(mantissa, power))


def emit_pow(lanes: Lanes, x: str, y: str) -> str:
    """Return x^y with C99's (and NumPy's) special cases."""
    form = FORMATS[lanes.dtype]
    # 1^y is 1 for every y, nan too: as if y were 0. A huge exponent acts like an infinite one.
    y = lanes.select(lanes.fcmp("oeq", x, 1.0), 0.0, y)
    bound = 2.0**1000 if lanes.bits == 64 else 2.0**100
    exponent = lanes.clamp_below(lanes.clamp_above(y, bound), -bound)
    base = lanes.abs(x)
    power = (_power_f64 if lanes.bits == 64 else _power_f32)(lanes, base, exponent)
    # Base 0 or inf: the base itself or its reciprocal.
    is_zero = lanes.fcmp("oeq", base, 0.0)
    is_pole = lanes.or_(is_zero, lanes.fcmp("oeq", base, math.inf))
    grows = lanes.xor(is_zero, lanes.fcmp("ogt", y, 0.0))
    power = lanes.select(is_pole, lanes.select(grows, math.inf, 0.0), power)
    # Negative base: odd integer exponents keep the sign, others that are no integer have no value.
    whole = lanes.fcmp("oeq", lanes.trunc(y), y)
    half = lanes.mul(y, 0.5)
    odd = lanes.and_(whole, lanes.fcmp("one", lanes.trunc(half), half))
    sign = lanes.and_(lanes.float_to_bits(x), form.sign_bit)
    sign = lanes.iselect(odd, sign, 0)
    power = lanes.bits_to_float(lanes.xor(lanes.float_to_bits(power), sign))
    negative = lanes.and_(lanes.fcmp("olt", x, 0.0), lanes.fcmp("olt", base, math.inf))
    invalid = lanes.and_(negative, lanes.fcmp("one", lanes.trunc(y), y))
    power = lanes.select(lanes.or_(invalid, lanes.fcmp("uno", x, y)), math.nan, power)
    return lanes.select(lanes.fcmp("oeq", y, 0.0), 1.0, power)


def emit_cbrt(lanes: Lanes, x: str) -> str:
    """Return the cube root, by y = x^(-1/3) without division and one Newton step on x y^2.

    The first guess divides the bit pattern by -3, in floating point on its leading bits.
    """
    form = FORMATS[lanes.dtype]
    drop = 32 if lanes.bits == 64 else 12
    magnitude = lanes.abs(x)
    is_small = lanes.fcmp("olt", magnitude, form.smallest_normal)
    a = lanes.select(is_small, lanes.mul(magnitude, 2.0**54), magnitude)
    pattern = lanes.sitofp(lanes.lshr(lanes.float_to_bits(a), drop))
    # 4/3 of the bias, less what centres the error of this piecewise linear guess (3.3 %).
    origin = (4 * form.bias / 3 - 0.0972) * 2.0 ** (form.mantissa - drop)
    guess = lanes.fma(pattern, -1.0 / 3.0, form.magic + float(round(origin)))
    y = lanes.bits_to_float(lanes.shl(lanes.float_to_bits(guess), drop))
    # y (1 - e)^(-1/3) with e = 1 - a y^3, by its binomial series.
    binomial = (1 / 3, 2 / 9, 14 / 81, 35 / 243)
    for terms in (4, 3) if lanes.bits == 64 else (4,):
        e = lanes.fma(lanes.neg(lanes.mul(a, y)), lanes.mul(y, y), 1.0)
        y = lanes.fma(lanes.mul(y, e), polynomial(lanes, e, binomial[:terms]), y)
    square = lanes.mul(y, y)
    root = lanes.mul(a, square)
    root_square, root_square_low = two_product(lanes, root, root)
    residual = lanes.fma(lanes.neg(root_square), root, a)
    residual = lanes.fma(lanes.neg(root_square_low), root, residual)
    root = lanes.fma(lanes.mul(residual, 1 / 3), square, root)
    root = lanes.select(is_small, lanes.mul(root, 2.0**-18), root)
    return lanes.copysign(lanes.select(lanes.fcmp("olt", a, math.inf), root, a), x)


def emit_hypot(lanes: Lanes, x: str, y: str) -> str:
    """Return sqrt(x^2 + y^2), scaled by a power of two near the larger operand."""
    form = FORMATS[lanes.dtype]
    a, b = lanes.abs(x), lanes.abs(y)
    first = lanes.fcmp("ogt", a, b)
    large, small = lanes.select(first, a, b), lanes.select(first, b, a)
    field = lanes.and_(lanes.float_to_bits(large), form.exponent_mask)
    field = lanes.int_minmax("umin", field, (2 * form.bias - 2) << form.mantissa)
    down = lanes.bits_to_float(lanes.isub((2 * form.bias - 1) << form.mantissa, field))
    up = lanes.bits_to_float(lanes.iadd(field, 1 << form.mantissa))
    large, small = lanes.mul(large, down), lanes.mul(small, down)
    root = lanes.mul(lanes.sqrt(lanes.fma(large, large, lanes.mul(small, small))), up)
    infinite = lanes.or_(lanes.fcmp("oeq", a, math.inf), lanes.fcmp("oeq", b, math.inf))
    return lanes.select(infinite, math.inf, root)


def emit_sqrt(lanes: Lanes, x: str) -> str:
    """Return the correctly rounded square root."""
    return lanes.sqrt(x)


def emit_fmod(lanes: Lanes, x: str, y: str) -> str:
    """Return the exact remainder of x / y with the sign of x (C's fmod).

    A quotient below 2^mantissa gives the remainder in one fused step, at most one |y| too low;
    the rest (huge quotients, y infinite or zero, nan) goes to the C library.
    """
    form = FORMATS[lanes.dtype]
    a, b = lanes.abs(x), lanes.abs(y)
    quotient = lanes.trunc(lanes.div(a, b))
    rest = lanes.fma(lanes.neg(quotient), b, a)
    rest = lanes.select(lanes.fcmp("olt", rest, 0.0), lanes.add(rest, b), rest)
    rest = lanes.copysign(rest, x)
    hard = lanes.fcmp("uge", quotient, 2.0**form.mantissa)
    hard = lanes.or_(hard, lanes.fcmp("oeq", b, math.inf))
    lanes.body.declare("declare double @fmod(double, double)")
    return call_where(lanes, "fmod", hard, [x, y], rest)


def emit_remainder(lanes: Lanes, x: str, y: str) -> str:
    """Return the remainder with the sign of y (Python's %, NumPy's remainder)."""
    rest = emit_fmod(lanes, x, y)
    is_zero = lanes.fcmp("oeq", rest, 0.0)
    differs = lanes.xor(lanes.fcmp("olt", rest, 0.0), lanes.fcmp("olt", y, 0.0))
    shifted = lanes.select(differs, lanes.add(rest, y), rest)
    signed_zero = lanes.copysign(0.0, y)
    # A nan (y = 0, x infinite) is not zero and stays.
    return lanes.select(is_zero, signed_zero, shifted)
