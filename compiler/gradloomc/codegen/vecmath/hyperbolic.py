"""Hyperbolic functions and their inverses.

|x| = n ln 2 + r, and with A = (2^n + 2^-n)/2, B = (2^n - 2^-n)/2 the addition theorem gives
sinh |x| = B cosh r + A sinh r and cosh |x| = A cosh r + B sinh r from two short polynomials in r^2:
no cancellation near zero (where B = 0), and sinh and cosh of one argument share nearly everything.
The inverses are logarithms whose argument is kept in two parts.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from gradloomc.codegen.lanes import Lanes
from gradloomc.codegen.vecmath.exp import LOG2_E, reduce_exp, sinh_cosh_tails
from gradloomc.codegen.vecmath.log import atanh_series, log_corrected, one_plus
from gradloomc.codegen.vecmath.primitives import (
    FORMATS,
    coefficients,
    fast_two_sum,
    polynomial,
)

__all__ = ["emit_acosh", "emit_asinh", "emit_atanh", "emit_cosh", "emit_sinh", "emit_tanh"]

# Past these, sinh and cosh overflow.
OVERFLOW = {"f64": 710.5, "f32": 89.5}
# Past these, tanh is 1 to the last place.
SATURATION = {"f64": 22.0, "f32": 10.0}
# Past these, asinh x and acosh x are log(2x) to the last place.
LOGARITHMIC = {"f64": 2.0**28, "f32": 2.0**14}


class _Sum(NamedTuple):
    """The addition theorem for a = |x|, halved to stay finite longer.

    r and its series (sinh r = r + r zs, cosh r = 1 + zc); plus = A/2 and minus = B/2, and what
    rounding took from plus.
    """

    a: str
    r: str
    zs: str
    zc: str
    plus: str
    minus: str
    lost: str


def _addition_theorem(lanes: Lanes, x: str) -> _Sum:
    """Reduce |x| and write the parts that sinh and cosh share."""
    form = FORMATS[lanes.dtype]
    a = lanes.abs(x)
    bits, _, r = reduce_exp(lanes, lanes.clamp_above(a, OVERFLOW[lanes.dtype]), form.bias - 2)
    z, s, c = sinh_cosh_tails(lanes, r)
    up = lanes.shl(bits, form.mantissa)
    down = lanes.isub(2 * (form.bias - 2) << form.mantissa, up)
    # 2^-n may have left the format, and the sum long before.
    down = lanes.int_minmax("smax", down, 0)
    power, inverse = lanes.bits_to_float(up), lanes.bits_to_float(down)
    plus, lost = fast_two_sum(lanes, power, inverse)
    minus = lanes.sub(power, inverse)
    return _Sum(a, r, lanes.mul(z, s), lanes.mul(z, c), plus, minus, lost)


def emit_sinh(lanes: Lanes, x: str) -> str:
    """Return the hyperbolic sine."""
    a, r, zs, zc, plus, minus, _ = _addition_theorem(lanes, x)
    head = lanes.fma(plus, r, minus)
    error = lanes.fma(plus, r, lanes.sub(minus, head))
    tail = lanes.fma(plus, lanes.mul(r, zs), lanes.fma(minus, zc, error))
    half = lanes.add(head, tail)
    small = lanes.fcmp("olt", a, FORMATS[lanes.dtype].tiny)
    return lanes.copysign(lanes.select(small, a, lanes.add(half, half)), x)


def emit_cosh(lanes: Lanes, x: str) -> str:
    """Return the hyperbolic cosine."""
    _, r, zs, zc, plus, minus, lost = _addition_theorem(lanes, x)
    tail = lanes.fma(minus, lanes.fma(r, zs, r), lanes.fma(plus, zc, lost))
    half = lanes.add(plus, tail)
    return lanes.add(half, half)


def emit_tanh(lanes: Lanes, x: str) -> str:
    """Return the hyperbolic tangent, (1 - e) / (1 + e) with e = e^-2a = 2^-n (1 - 2p), a = |x|.

    Numerator and denominator have one rounding each. In f64 both roundings correct the quotient,
    whose derivative needs 1/(1 + e) = (1 + y)/2; in f32 all arguments stay below 2 units without.
    The doubling of a and of the series is in the constants, by exact powers of two.
    """
    form = FORMATS[lanes.dtype]
    a = lanes.clamp_above(lanes.abs(x), SATURATION[lanes.dtype])
    magic = form.magic + form.bias + 1
    shifted = lanes.fma(a, -2 * LOG2_E, magic)
    n = lanes.sub(shifted, magic)
    r = lanes.fma(n, form.ln2_low / 2, lanes.fma(n, form.ln2_high / 2, a))
    z = lanes.mul(r, r)
    s, c = (
        polynomial(lanes, z, tuple(v * k * 4**i for i, v in enumerate(coefficients(lanes, name))))
        for name, k in (("sinh", 4), ("cosh", 2))
    )
    p = lanes.fma(lanes.neg(z), lanes.fma(lanes.neg(r), s, c), r)
    twice = lanes.bits_to_float(lanes.shl(lanes.float_to_bits(shifted), form.mantissa))
    less, more = lanes.fma(twice, -0.5, 1.0), lanes.fma(twice, 0.5, 1.0)
    numerator = lanes.fma(twice, p, less)
    denominator = lanes.fma(lanes.neg(twice), p, more)
    y = lanes.div(numerator, denominator)
    if lanes.bits == 64:
        top = lanes.fma(twice, p, lanes.sub(less, numerator))
        bottom = lanes.fma(lanes.neg(twice), p, lanes.sub(more, denominator))
        residual = lanes.fma(lanes.neg(y), bottom, top)
        y = lanes.fma(residual, lanes.fma(y, 0.5, 0.5), y)
    return lanes.copysign(y, x)


def emit_asinh(lanes: Lanes, x: str) -> str:
    """Return the inverse hyperbolic sine, sign(x) log1p(a + a^2 / (1 + sqrt(1 + a^2))), a = |x|."""
    a = lanes.abs(x)
    square = lanes.mul(a, a)
    root = lanes.sqrt(lanes.fma(a, a, 1.0))
    t, rounding = fast_two_sum(lanes, a, lanes.div(square, lanes.add(root, 1.0)))
    y = _log1p_or_log_of_double(lanes, t, rounding, a)
    return lanes.copysign(lanes.select(lanes.fcmp("olt", a, math.inf), y, a), x)


def emit_acosh(lanes: Lanes, x: str) -> str:
    """Return the inverse hyperbolic cosine, log1p(d + sqrt(d^2 + 2d)) with d = x - 1."""
    d = lanes.sub(x, 1.0)
    root = lanes.sqrt(lanes.fma(d, d, lanes.add(d, d)))
    t, rounding = fast_two_sum(lanes, root, d)
    y = _log1p_or_log_of_double(lanes, t, rounding, x)
    y = lanes.select(lanes.fcmp("olt", x, math.inf), y, x)
    return lanes.select(lanes.fcmp("olt", x, 1.0), math.nan, y)


def _log1p_or_log_of_double(lanes: Lanes, t: str, rounding: str, large: str) -> str:
    """Return log(1 + t + rounding), but log(2 large) where `large` is beyond squaring."""
    total, error = one_plus(lanes, t)
    huge = lanes.fcmp("ogt", large, LOGARITHMIC[lanes.dtype])
    total = lanes.select(huge, large, total)
    error = lanes.select(huge, 0.0, lanes.add(error, rounding))
    return log_corrected(lanes, total, error, doubled=huge)


def emit_atanh(lanes: Lanes, x: str) -> str:
    """Return the inverse hyperbolic tangent, log((1 + a)/(1 - a)) / 2 with one division.

    With 2^k near the quotient, log(q) = k ln 2 + 2 atanh(s) for s = (q - 2^k) / (q + 2^k), whose
    numerator and denominator are formed directly, each with one rounding. For k = 0, s = a.
    """
    form = FORMATS[lanes.dtype]
    a = lanes.abs(x)
    above, below = lanes.add(a, 1.0), lanes.sub(1.0, a)
    ratio = lanes.isub(lanes.float_to_bits(above), lanes.float_to_bits(below))
    rounded = lanes.iadd(ratio, 1 << (form.mantissa - 1))
    exponent = lanes.ashr(rounded, form.mantissa)
    k = lanes.sitofp(exponent)
    power = lanes.bits_to_float(lanes.iadd(lanes.shl(exponent, form.mantissa), form.one_bits))
    plus, minus = lanes.add(power, 1.0), lanes.sub(1.0, power)
    # 1 - a is exact from 1/2 on; below, a itself is the better unknown.
    upper = lanes.fcmp("oge", a, 0.5)
    unknown = lanes.select(upper, lanes.sub(a, 1.0), a)
    numerator = lanes.fma(unknown, plus, lanes.select(upper, 2.0, minus))
    denominator = lanes.fma(unknown, minus, lanes.select(upper, 2.0, plus))
    s = lanes.div(numerator, denominator)
    z = lanes.mul(s, s)
    tail = lanes.fma(lanes.mul(s, z), atanh_series(lanes, z), lanes.mul(k, form.ln2_low))
    twice = lanes.fma(k, form.ln2_high, lanes.add(lanes.add(s, s), tail))
    y = lanes.select(lanes.fcmp("oeq", a, 1.0), math.inf, lanes.mul(twice, 0.5))
    return lanes.copysign(lanes.select(lanes.fcmp("ule", a, 1.0), y, math.nan), x)
