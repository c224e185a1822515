"""Exponentials: exp, exp2, expm1 and the logistic function.

exp(x) = 2^n exp(r) with n = round(x / ln 2), |r| <= ln(2)/2 (Cody & Waite's two-part reduction). In f32, exp(r) is a
polynomial; in f64, and where the 1 must not be added yet, cosh(r) - 1 + sinh(r) from two short ones in r^2. AVX-512 has
a table of 2^(j/16) in f64, so n counts sixteenths. The scaling by 2^n is one instruction there, elsewhere a product of
two powers of two, which overflows and rounds to subnormal numbers by itself, as it should.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from gradloomc.codegen.lanes import Lanes
from gradloomc.codegen.vecmath.coefficients import TABLES
from gradloomc.codegen.vecmath.primitives import FORMATS, coefficients, polynomial
from gradloomc.codegen.x86 import has_avx512, scale_by_power, table_lookup

__all__ = [
    "LOG2_E",
    "emit_exp",
    "emit_exp2",
    "emit_expm1",
    "emit_sigmoid",
    "exp2_by_table",
    "exp_rounding_error",
    "expm1_reduced",
    "reduce_exp",
    "scale",
    "sinh_cosh_tails",
    "underflow_below",
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


def underflow_below(lanes: Lanes, x: str, low: float) -> str:
    """Return x, or, where x < low and so its exponential is 0, something whose exponential is 0 without delay.

    vscalef takes 60 ns where its result is subnormal or nearly so, but not with exponents below -4098 (-511 in f32).
    """
    if has_avx512(lanes):
        return lanes.select(lanes.fcmp("olt", x, low), 8 * low, x)
    return lanes.clamp_below(x, low)


def scale(lanes: Lanes, value: str, bits: str, n: str) -> str:
    """Return value * 2^n, rounded once, for n + 2 * bias in the low bits of `bits`.

    Multiplying (rather than adding to the exponent field) leaves a nan a nan.
    """
    if has_avx512(lanes):
        return scale_by_power(lanes, value, n)
    first, second = power_factors(lanes, bits)
    return lanes.mul(lanes.mul(value, first), second)


class _Product(NamedTuple):
    """e^x = 2^n (one + rest): n + 2 * bias in the low bits of `bits`; n may have a fraction (see `scale_by_power`)."""

    one: str | float
    rest: Callable[[str | float], str]  # adds `rest` to a number, with one rounding
    bits: str
    n: str


def _exp_product(lanes: Lanes, x: str, error: str | None = None) -> _Product:
    """Reduce x + error, for an error far smaller than x, and write the factors of its exponential."""
    form = FORMATS[lanes.dtype]
    clamped = underflow_below(lanes, lanes.clamp_above(x, form.exp_high), form.exp_low)
    if error is not None:
        # A clamped x may be infinite, its error then nan; the outcome is 0 or inf either way.
        error = lanes.select(lanes.fcmp("oeq", clamped, x), error, 0.0)
    if lanes.bits == 64 and has_avx512(lanes):
        return _exp_product_by_table(lanes, clamped, error)
    bits, n, r = reduce_exp(lanes, clamped, 2 * form.bias)
    if error is not None:
        r = lanes.add(r, error)
    if lanes.bits == 32:
        q = polynomial(lanes, r, coefficients(lanes, "exp"))
        return _Product(1.0, lambda number: lanes.fma(r, q, number), bits, n)
    p = expm1_reduced(lanes, r)
    return _Product(1.0, lambda number: lanes.add(p, number), bits, n)


def _exp_product_by_table(lanes: Lanes, x: str, error: str | None) -> _Product:
    """Reduce x + error by sixteenths of ln 2: 2^n has the fraction of n, 2^(j/16), in a table."""
    form, tables = FORMATS[lanes.dtype], TABLES[lanes.dtype]
    magic = form.magic / 16
    shifted = lanes.fma(x, LOG2_E, magic)
    n = lanes.sub(shifted, magic)
    r = lanes.fma(n, -form.ln2_low, lanes.fma(n, -form.ln2_high, x))
    if error is not None:
        r = lanes.add(r, error)
    bits = lanes.float_to_bits(shifted)
    power = table_lookup(lanes, bits, tables["exp_high"])
    q = polynomial(lanes, r, coefficients(lanes, "exp_table"))
    rest = lanes.fma(lanes.mul(power, r), q, table_lookup(lanes, bits, tables["exp_low"]))
    return _Product(power, lambda number: lanes.add(rest, number), bits, n)


def emit_exp(lanes: Lanes, x: str, error: str | None = None) -> str:
    """Return e^x, or e^(x + error) for an error far smaller than x."""
    product = _exp_product(lanes, x, error)
    return scale(lanes, product.rest(product.one), product.bits, product.n)


def exp2_by_table(lanes: Lanes, x: str) -> str:
    """Return 2^x in f64 to 29 bits, for |x| < 2^40."""
    magic = FORMATS["f64"].magic / 16
    shifted = lanes.add(x, magic)
    n = lanes.sub(shifted, magic)
    mantissa = polynomial(lanes, lanes.sub(x, n), coefficients(lanes, "pow_f32_exp2_table"))
    power = table_lookup(lanes, lanes.float_to_bits(shifted), TABLES["f64"]["exp_high"])
    return scale_by_power(lanes, lanes.mul(mantissa, power), n)


def exp_rounding_error(lanes: Lanes, x: str) -> str:
    """Return what `emit_exp` loses in its last rounding, the larger part of its error."""
    product = _exp_product(lanes, x)
    lost = product.rest(lanes.sub(product.one, product.rest(product.one)))
    return scale(lanes, lost, product.bits, product.n)


def emit_exp2(lanes: Lanes, x: str) -> str:
    """Return 2^x."""
    form = FORMATS[lanes.dtype]
    high, low = float(form.bias + 2), float(-form.bias - form.mantissa - 2)
    x = underflow_below(lanes, lanes.clamp_above(x, high), low)
    magic = form.magic + 2 * form.bias
    shifted = lanes.add(x, magic)
    n = lanes.sub(shifted, magic)
    r = lanes.sub(x, n)
    power = lanes.fma(r, polynomial(lanes, r, coefficients(lanes, "exp2")), 1.0)
    return scale(lanes, power, lanes.float_to_bits(shifted), n)


def emit_expm1(lanes: Lanes, x: str) -> str:
    """Return e^x - 1 without cancellation: 2 (2^(n-1) (e^r - 1) + (2^(n-1) - 1/2))."""
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
    form = FORMATS[lanes.dtype]
    x = lanes.clamp_above(x, 40.0 if lanes.bits == 64 else 20.0)
    x = underflow_below(lanes, x, form.exp_low)
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
