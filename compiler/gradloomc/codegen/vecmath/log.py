"""Logarithms: log, log2, log10, log1p and logaddexp.

x = 2^k (1 + f) with 1 + f in [sqrt(1/2), sqrt(2)]. In f64, log(1+f) comes from s = f / (2 + f) as
in FreeBSD's e_log.c; in f32 from a polynomial in f, which spares the division. The exponent's part
k ln 2 is added in two pieces.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from gradloomc.codegen.lanes import Lanes
from gradloomc.codegen.vecmath.exp import emit_exp
from gradloomc.codegen.vecmath.log_table import log_by_table, log_in_base_by_table
from gradloomc.codegen.vecmath.primitives import (
    FORMATS,
    coefficients,
    polynomial,
)
from gradloomc.codegen.x86 import has_avx512

__all__ = [
    "Mantissa",
    "emit_log",
    "emit_log1p",
    "emit_log2",
    "emit_log10",
    "emit_logaddexp",
    "log_corrected",
    "log_of",
    "one_plus",
    "split",
]

# Bit patterns of sqrt(1/2), rounded down.
_SQRT_HALF = {"f64": 0x3FE6A09E667F3BCD, "f32": 0x3F3504F3}


class Mantissa(NamedTuple):
    """A positive number as 2^k (1 + f): k as a float, f, and k shifted to the exponent field."""

    k: str
    f: str
    field: str


def split(lanes: Lanes, x: str, subnormal: bool = True) -> Mantissa:
    """Split positive x into exponent and mantissa; anything for x <= 0, inf and nan.

    Args:
        lanes: where to write.
        x: the argument.
        subnormal: whether x can be subnormal (it is then scaled up first).
    """
    form = FORMATS[lanes.dtype]
    shift = form.mantissa + 2
    is_small = None
    if subnormal:
        is_small = lanes.fcmp("olt", x, form.smallest_normal)
        x = lanes.select(is_small, lanes.mul(x, 2.0**shift), x)
    bits = lanes.float_to_bits(x)
    exponent = lanes.ashr(lanes.isub(bits, _SQRT_HALF[lanes.dtype]), form.mantissa)
    field = lanes.shl(exponent, form.mantissa)
    f = lanes.sub(lanes.bits_to_float(lanes.isub(bits, field)), 1.0)
    if is_small is not None:
        exponent = lanes.iselect(is_small, lanes.isub(exponent, shift), exponent)
    return Mantissa(lanes.sitofp(exponent), f, field)


def half_square(lanes: Lanes, f: str) -> str:
    """Return f^2 / 2."""
    return lanes.mul(lanes.mul(f, 0.5), f)


def log1p_tail(lanes: Lanes, f: str, half: str, addend: str | None) -> str:
    """Return t (+ addend) with log(1 + f) = f - half + t and half = f^2/2."""
    if lanes.bits == 64:
        s = lanes.div(f, lanes.add(f, 2.0))
        z = lanes.mul(s, s)
        rest = lanes.fma(z, atanh_series(lanes, z), half)
        return lanes.mul(s, rest) if addend is None else lanes.fma(s, rest, addend)
    cubed = lanes.mul(lanes.mul(f, f), f)
    q = polynomial(lanes, f, coefficients(lanes, "log_f"))
    return lanes.mul(cubed, q) if addend is None else lanes.fma(cubed, q, addend)


def atanh_series(lanes: Lanes, z: str) -> str:
    """Return R(s^2) of log((1+s)/(1-s)) = 2s + s^3 R(s^2)."""
    return polynomial(lanes, z, coefficients(lanes, "log_s"))


def log_of(lanes: Lanes, number: Mantissa) -> str:
    """Return the natural logarithm of 2^k (1 + f)."""
    form = FORMATS[lanes.dtype]
    k, f = number.k, number.f
    half = half_square(lanes, f)
    tail = log1p_tail(lanes, f, half, lanes.mul(k, form.ln2_low))
    return lanes.fma(k, form.ln2_high, lanes.add(f, lanes.sub(tail, half)))


def with_poles(lanes: Lanes, x: str, y: str) -> str:
    """Give a logarithm y of x its values outside the positive numbers."""
    y = lanes.select(lanes.fcmp("olt", x, math.inf), y, x)
    y = lanes.select(lanes.fcmp("olt", x, 0.0), math.nan, y)
    return lanes.select(lanes.fcmp("oeq", x, 0.0), -math.inf, y)


def emit_log(lanes: Lanes, x: str) -> str:
    """Return the natural logarithm."""
    if has_avx512(lanes):
        return log_by_table(lanes, x)
    return with_poles(lanes, x, log_of(lanes, split(lanes, x)))


def _log_in_base(
    lanes: Lanes, x: str, base: str, inverse: tuple[float, float], unit: tuple[float, float]
) -> str:
    """Return log(x) / log(base) = k * unit + log(1+f) * inverse, both constants in two parts.

    f * inverse is rounded only together with what log(1+f) adds to f, and |k * unit| is at least
    twice that sum unless k = 0.
    """
    if has_avx512(lanes):
        return log_in_base_by_table(lanes, x, base, inverse, unit)
    number = split(lanes, x)
    k, f = number.k, number.f
    half = half_square(lanes, f)
    bend = lanes.sub(log1p_tail(lanes, f, half, None), half)
    low = lanes.mul(f, inverse[1])
    if unit[1]:
        low = lanes.fma(k, unit[1], low)
    fraction = lanes.fma(f, inverse[0], lanes.fma(bend, inverse[0], low))
    return with_poles(lanes, x, lanes.add(k, fraction) if unit[0] == 1.0 else lanes.fma(k, unit[0], fraction))


def emit_log2(lanes: Lanes, x: str) -> str:
    """Return the logarithm to base 2, exact for powers of two."""
    inverse = {
        "f64": (1.4426950408889634, 2.0355273740931033e-17),
        "f32": (1.4426950216293335, 1.925963033500011e-08),
    }[lanes.dtype]
    return _log_in_base(lanes, x, "log2", inverse, (1.0, 0.0))


def emit_log10(lanes: Lanes, x: str) -> str:
    """Return the logarithm to base 10."""
    inverse = {
        "f64": (0.4342944819032518, 1.098319650216765e-17),
        "f32": (0.4342944920063019, -1.0103049952192578e-08),
    }[lanes.dtype]
    # log10(2); the high parts have 12 (f64) and 9 (f32) trailing zeros.
    unit = {
        "f64": (0.30102999566383914, 1.42050232272661e-13),
        "f32": (0.301025390625, 4.605039066518657e-06),
    }[lanes.dtype]
    return _log_in_base(lanes, x, "log10", inverse, unit)


def log_corrected(lanes: Lanes, total: str, error: str, doubled: str | None = None) -> str:
    """Return log(total + error) for a normal total > 0 and a far smaller error.

    The error, scaled by the exponent of the total, joins f, so that no second division is needed.
    Where the mask `doubled` holds, the result is log(2 total), which total itself may not reach.
    """
    if has_avx512(lanes):
        return log_by_table(lanes, total, error, doubled)
    form = FORMATS[lanes.dtype]
    number = split(lanes, total, subnormal=False)
    # From 2^mantissa on the error is below the last place, and 2^-k may leave the format.
    inverse_power = lanes.bits_to_float(lanes.isub(form.one_bits, number.field))
    moderate = lanes.fcmp("olt", total, 2.0 ** (form.mantissa + 2))
    number = number._replace(f=lanes.select(moderate, lanes.fma(error, inverse_power, number.f), number.f))
    if doubled is not None:
        number = number._replace(k=lanes.select(doubled, lanes.add(number.k, 1.0), number.k))
    return log_of(lanes, number)


def one_plus(lanes: Lanes, x: str) -> tuple[str, str]:
    """Return (t, e) with t + e = 1 + x exactly, for any x."""
    total = lanes.add(x, 1.0)
    large = lanes.fcmp("ogt", lanes.abs(x), 1.0)
    error = lanes.select(
        large, lanes.sub(1.0, lanes.sub(total, x)), lanes.sub(x, lanes.sub(total, 1.0))
    )
    return total, error


def emit_log1p(lanes: Lanes, x: str) -> str:
    """Return log(1 + x), accurate near zero."""
    y = lanes.copysign(log_corrected(lanes, *one_plus(lanes, x)), x)
    y = lanes.select(lanes.fcmp("olt", x, math.inf), y, x)
    y = lanes.select(lanes.fcmp("olt", x, -1.0), math.nan, y)
    return lanes.select(lanes.fcmp("oeq", x, -1.0), -math.inf, y)


def emit_logaddexp(lanes: Lanes, a: str, b: str) -> str:
    """Return log(e^a + e^b) = max + log1p(e^-|a - b|).

    The error is measured in units of the larger of |max| and log 2 (as NumPy's): where the result
    itself cancels to nearly zero, no formula in working precision keeps its relative accuracy.
    """
    first_larger = lanes.fcmp("ogt", a, b)
    high = lanes.select(first_larger, a, b)
    low = lanes.select(first_larger, b, a)
    gap = lanes.sub(low, high)
    # Two equal infinities: their difference is no number, and it counts as zero.
    gap = lanes.select(lanes.fcmp("oeq", low, high), 0.0, gap)
    e = emit_exp(lanes, gap)
    total = lanes.add(e, 1.0)
    error = lanes.sub(e, lanes.sub(total, 1.0))
    y = lanes.add(high, log_corrected(lanes, total, error))
    return lanes.select(lanes.fcmp("ord", gap, 0.0), y, gap)
