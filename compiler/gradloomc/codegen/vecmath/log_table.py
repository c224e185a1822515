"""Logarithms on AVX-512: the processor splits x = 2^k m, and a table turns m into a factor near 1.

With 1 <= m < 2 and r about 1/m for the sixteenth of that interval in which m lies, log x = k log 2 - log r + log(1+f)
for f = m r - 1, |f| < 1/16. r is 1 in the first sixteenth and 1/2 in the last, so around x = 1 all but log(1+f)
vanishes exactly. Zeros, infinities, nan, negative and subnormal numbers need no code: exponent (-inf for 0) and
mantissa (nan for x < 0) carry them.
"""

from __future__ import annotations

from typing import NamedTuple

from gradloomc.codegen.lanes import Lanes
from gradloomc.codegen.vecmath.coefficients import TABLES
from gradloomc.codegen.vecmath.primitives import FORMATS, coefficients, fast_two_sum, polynomial, two_product
from gradloomc.codegen.x86 import exponent_of, mantissa_of, scale_by_power, table_lookup

__all__ = ["log2_by_short_table", "log_by_table", "log_double_by_table", "log_in_base_by_table"]


class _Split(NamedTuple):
    """log x = k log 2 + an entry of a table, found by the low bits of `place`, + log(1 + f)."""

    k: str
    place: str
    f: str


def _split(lanes: Lanes, x: str, error: str | None = None) -> _Split:
    """Split x + error, for an error far smaller than x."""
    k, m = exponent_of(lanes, x), mantissa_of(lanes, x)
    index = lanes.lshr(lanes.float_to_bits(m), FORMATS[lanes.dtype].mantissa - 4)
    r = _entry(lanes, index, "inverse")
    f = lanes.fma(m, r, -1.0)
    if error is not None:
        f = lanes.fma(scale_by_power(lanes, error, lanes.neg(k)), r, f)
    return _Split(k, index, f)


def _entry(lanes: Lanes, index: str, table: str) -> str:
    return table_lookup(lanes, index, TABLES[lanes.dtype][table])


def _bend(lanes: Lanes, f: str, addend: str) -> str:
    """Return log(1 + f) - f + addend."""
    return lanes.fma(lanes.mul(f, f), polynomial(lanes, f, coefficients(lanes, "log_table")), addend)


def log_by_table(lanes: Lanes, x: str, error: str | None = None, doubled: str | None = None) -> str:
    """Return the natural logarithm of x + error, for an error far smaller than x; of twice that where `doubled`."""
    form = FORMATS[lanes.dtype]
    k, index, f = _split(lanes, x, error)
    if doubled is not None:
        k = lanes.select(doubled, lanes.add(k, 1.0), k)
    # The high parts are multiples of one power of two: their sum is exact.
    high = lanes.fma(k, form.ln2_high, _entry(lanes, index, "log_high"))
    low = lanes.fma(k, form.ln2_low, _entry(lanes, index, "log_low"))
    return lanes.add(high, lanes.add(f, _bend(lanes, f, low)))


def log_in_base_by_table(
    lanes: Lanes, x: str, base: str, inverse: tuple[float, float], unit: tuple[float, float]
) -> str:
    """Return log(x) / log(base) = k * unit + the table's entry + log(1 + f) * inverse, all constants in two parts."""
    k, index, f = _split(lanes, x)
    high = _entry(lanes, index, f"{base}_high")
    high = lanes.add(k, high) if unit[0] == 1.0 else lanes.fma(k, unit[0], high)
    low = lanes.fma(f, inverse[1], _entry(lanes, index, f"{base}_low"))
    if unit[1]:
        low = lanes.fma(k, unit[1], low)
    bend = lanes.mul(lanes.mul(f, f), polynomial(lanes, f, coefficients(lanes, "log_table")))
    return lanes.add(high, lanes.fma(f, inverse[0], lanes.fma(bend, inverse[0], low)))


def log_double_by_table(lanes: Lanes, x: str) -> tuple[str, str]:
    """Return the natural logarithm of x > 0 as an unevaluated sum of two f64, good to about 64 bits.

    log(1 + f + e) = f - f^2/2 + f^3 Q(f) + e (1 - f), where f is exact and e the rounding error of m r. The first two
    terms and the entry of the table, which is larger than f or zero, are added up exactly.
    """
    form = FORMATS["f64"]
    k, m = exponent_of(lanes, x), mantissa_of(lanes, x)
    index = lanes.lshr(lanes.float_to_bits(m), form.mantissa - 4)
    product, e = two_product(lanes, m, _entry(lanes, index, "inverse"))
    f = lanes.sub(product, 1.0)
    square, square_low = two_product(lanes, f, f)
    high = lanes.fma(k, form.ln2_high, _entry(lanes, index, "log_high"))
    high, first = fast_two_sum(lanes, high, f)
    high, second = fast_two_sum(lanes, high, lanes.mul(square, -0.5))
    low = lanes.fma(k, form.ln2_low, _entry(lanes, index, "log_low"))
    cubic = polynomial(lanes, f, coefficients(lanes, "log_table_cubic"))
    low = lanes.fma(lanes.mul(square, f), cubic, low)
    rest = lanes.fma(square_low, -0.5, lanes.fma(lanes.neg(e), f, e))
    return fast_two_sum(lanes, high, lanes.add(low, lanes.add(rest, lanes.add(first, second))))


def log2_by_short_table(lanes: Lanes, x: str) -> str:
    """Return log2 x of x > 0 in f64 to 36 bits."""
    k, index, f = _split(lanes, x)
    tables = TABLES["f64"]
    entries = tuple(high + low for high, low in zip(tables["log2_high"], tables["log2_low"], strict=True))
    whole = lanes.add(k, table_lookup(lanes, index, entries))
    return lanes.fma(f, polynomial(lanes, f, coefficients(lanes, "pow_f32_log2_table")), whole)
