"""Fit the polynomials of `gradloomc.codegen.vecmath` with mpmath; prints `coefficients.py`.

Run `python tests/codegen/fit_coefficients.py > compiler/gradloomc/codegen/vecmath/coefficients.py`.
Each polynomial is the minimax one (Remez' exchange on a Chebyshev grid, 60 digits) for the error
weighted as it enters the final result. Where the weight vanishes with the argument, the leading
coefficients are rounded to the format one after the other and the rest is fitted again around them,
so that their rounding costs nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

import mpmath as mp

mp.mp.dps = 60
Real = Callable[[mp.mpf], mp.mpf]
GRID = 256
SMALL = mp.mpf("1e-20")


@dataclass(frozen=True)
class Polynomial:
    """What to fit: `weight * (function - polynomial)` on [low, high], by degree for f64 and f32."""

    name: str
    doc: str
    function: Real
    weight: Real
    low: mp.mpf | float
    high: mp.mpf | float
    f64: int | None
    f32: int | None
    high32: mp.mpf | float | None = None


def minimax(
    function: Real, weight: Real, first: int, last: int, low: mp.mpf, high: mp.mpf
) -> tuple[list[mp.mpf], mp.mpf]:
    """Return coefficients of x^first .. x^last that minimise the weighted error, and that error."""
    size = last - first + 2
    centre, radius = (low + high) / 2, (high - low) / 2
    grid = [centre - radius * mp.cos(mp.pi * i / GRID) for i in range(GRID + 1)]
    grid = [x if abs(x) > SMALL else SMALL for x in grid]
    values, weights = [function(x) for x in grid], [weight(x) for x in grid]
    nodes = [round(GRID * i / (size - 1)) for i in range(size)]
    best: tuple[list[mp.mpf], mp.mpf] | None = None
    for _ in range(10):
        matrix, right = mp.matrix(size, size), mp.matrix(size, 1)
        for row, i in enumerate(nodes):
            for column in range(size - 1):
                matrix[row, column] = weights[i] * grid[i] ** (first + column)
            matrix[row, size - 1] = (-1) ** row
            right[row] = weights[i] * values[i]
        solution = list(mp.lu_solve(matrix, right))[:-1]
        errors = [
            w * (v - x**first * mp.polyval(solution, x, asc=True))
            for x, v, w in zip(grid, values, weights, strict=True)
        ]
        largest = max(abs(e) for e in errors)
        if best is None or largest < best[1]:
            best = solution, largest
        extrema: list[int] = []
        for i, error in enumerate(errors):
            if not extrema or (error > 0) != (errors[extrema[-1]] > 0):
                extrema.append(i)
            elif abs(error) > abs(errors[extrema[-1]]):
                extrema[-1] = i
        while len(extrema) > size:
            extrema.pop(0 if abs(errors[extrema[0]]) < abs(errors[extrema[-1]]) else -1)
        if len(extrema) < size or extrema == nodes:
            break
        nodes = extrema
    assert best is not None
    return best


def rounded(value: mp.mpf, dtype: str) -> float:
    """Round to the nearest float of the format."""
    number = float(mp.nstr(value, 40))
    return struct.unpack("<f", struct.pack("<f", number))[0] if dtype == "f32" else number


def fit(spec: Polynomial, dtype: str) -> tuple[list[float], mp.mpf]:
    """Fit one polynomial for one format and return its coefficients, low order first, and error."""
    degree = spec.f64 if dtype == "f64" else spec.f32
    assert degree is not None
    high = spec.high32 if dtype == "f32" and spec.high32 is not None else spec.high
    low, high = mp.mpf(spec.low), mp.mpf(high)
    fixed: list[float] = []
    for first in range(min(3, degree) if low == 0 and spec.weight(low) == 0 else 0):
        solution, _ = minimax(
            lambda x: spec.function(x) - mp.polyval(fixed, x, asc=True),
            spec.weight,
            first,
            degree,
            low,
            high,
        )
        fixed.append(rounded(solution[0], dtype))
    first = len(fixed)
    solution, error = minimax(
        lambda x: spec.function(x) - mp.polyval(fixed, x, asc=True),
        spec.weight,
        first,
        degree,
        low,
        high,
    )
    return fixed + [rounded(c, dtype) for c in solution], error


def weighted_error(spec: Polynomial, dtype: str, terms: tuple[float, ...]) -> float:
    """Return the largest weighted error of given coefficients on a grid of 60 points."""
    high = spec.high32 if dtype == "f32" and spec.high32 is not None else spec.high
    low, high = mp.mpf(spec.low), mp.mpf(high)
    grid = [low + (high - low) * (i + mp.mpf("0.5")) / 60 for i in range(60)]
    errors = (
        spec.weight(x) * (spec.function(x) - mp.polyval(list(terms), x, asc=True)) for x in grid
    )
    return float(max(abs(e) for e in errors))


def series(exact: Real, limit: mp.mpf) -> Real:
    """Guard a quotient that cancels at zero by its limit there."""
    return lambda x: exact(x) if abs(x) > mp.mpf("1e-21") else limit


def scaled_erfcx(x: mp.mpf) -> mp.mpf:
    """Return (1 + 2 x) exp(x^2) erfc(x), which is nearly constant."""
    return (1 + 2 * x) * mp.exp(x * x) * mp.erfc(x)


def from_mapped(t: mp.mpf) -> mp.mpf:
    """Invert t = (x - 4) / (x + 4)."""
    return mp.mpf(4 * (1 + t) / (1 - t))


ONE = mp.mpf(1)
SQRT = mp.sqrt
HALF_LN2 = mp.log(2) / 2 * mp.mpf("1.0005")
QUARTER_PI = mp.pi / 4 * mp.mpf("1.0005")
LOG_F = (mp.sqrt(ONE / 2) - 1, mp.sqrt(mp.mpf(2)) - 1)
LOG_S2 = ((SQRT(2) - 1) / (SQRT(2) + 1)) ** 2 * mp.mpf("1.0002")

POLYNOMIALS = [
    Polynomial(
        "sinh",
        "(sinh(r)/r - 1)/r^2 by r^2, |r| <= ln(2)/2",
        series(lambda z: (mp.sinh(SQRT(z)) / SQRT(z) - 1) / z, ONE / 6),
        lambda z: z,
        0,
        HALF_LN2**2,
        4,
        1,
    ),
    Polynomial(
        "cosh",
        "(cosh(r) - 1)/r^2 by r^2, |r| <= ln(2)/2",
        series(lambda z: (mp.cosh(SQRT(z)) - 1) / z, ONE / 2),
        lambda z: z,
        0,
        HALF_LN2**2,
        4,
        2,
    ),
    Polynomial(
        "exp",
        "(e^r - 1)/r by r, |r| <= ln(2)/2",
        series(lambda r: mp.expm1(r) / r, ONE),
        abs,
        -HALF_LN2,
        HALF_LN2,
        None,
        5,
    ),
    Polynomial(
        "exp_table",
        "(e^r - 1)/r by r, |r| <= ln(2)/32",
        series(lambda r: mp.expm1(r) / r, ONE),
        abs,
        -HALF_LN2 / 16,
        HALF_LN2 / 16,
        5,
        None,
    ),
    Polynomial(
        "exp2",
        "(2^r - 1)/r by r, |r| <= 1/2",
        series(lambda r: mp.expm1(r * mp.log(2)) / r, mp.log(2)),
        abs,
        -0.5005,
        0.5005,
        10,
        5,
    ),
    Polynomial(
        "log_s",
        "(2 atanh(s)/s - 2)/s^2 by s^2, |s| <= 0.2",
        series(lambda z: (2 * mp.atanh(SQRT(z)) / SQRT(z) - 2) / z, mp.mpf(2) / 3),
        lambda z: z,
        0,
        mp.mpf("0.0402"),
        6,
        3,
    ),
    Polynomial(
        "log_f",
        "(log(1+f) - f + f^2/2)/f^3 by f, 1+f in [sqrt(1/2), sqrt(2)]",
        series(lambda f: (mp.log1p(f) - f + f * f / 2) / f**3, ONE / 3),
        lambda f: f**2,
        *LOG_F,
        None,
        7,
    ),
    Polynomial(
        "log_table",
        "(log(1+f) - f)/f^2 by f, -0.0385 <= f <= 0.0626",
        series(lambda f: (mp.log1p(f) - f) / f**2, -ONE / 2),
        abs,
        mp.mpf("-0.0385"),
        mp.mpf("0.0626"),
        8,
        3,
    ),
    Polynomial(
        "log_table_cubic",
        "(log(1+f) - f + f^2/2)/f^3 by f, -0.0385 <= f <= 0.0626",
        series(lambda f: (mp.log1p(f) - f + f * f / 2) / f**3, ONE / 3),
        lambda f: f**2,
        mp.mpf("-0.0385"),
        mp.mpf("0.0626"),
        9,
        None,
    ),
    Polynomial(
        "log_double",
        "((2 atanh(s)/s - 2)/s^2 - 2/3)/s^2 by s^2, |s| <= 0.1716",
        lambda z: (
            ((2 * mp.atanh(SQRT(z)) / SQRT(z) - 2) / z - mp.mpf(2) / 3) / z
            if z > mp.mpf("1e-10")
            else mp.mpf(2) / 5 + z * 2 / 7
        ),
        lambda z: z * z,
        0,
        LOG_S2,
        6,
        None,
    ),
    Polynomial(
        "sin",
        "(sin(r)/r - 1)/r^2 by r^2, |r| <= pi/4",
        series(lambda z: (mp.sin(SQRT(z)) / SQRT(z) - 1) / z, -ONE / 6),
        lambda z: z,
        0,
        QUARTER_PI**2,
        5,
        2,
        (mp.pi / 4 * mp.mpf("1.01")) ** 2,
    ),
    Polynomial(
        "cos",
        "(cos(r) - 1 + r^2/2)/r^4 by r^2, |r| <= pi/4",
        lambda z: (
            (mp.cos(SQRT(z)) - 1 + z / 2) / z**2 if z > mp.mpf("1e-10") else ONE / 24 - z / 720
        ),
        lambda z: z**2,
        0,
        QUARTER_PI**2,
        5,
        2,
        (mp.pi / 4 * mp.mpf("1.01")) ** 2,
    ),
    Polynomial(
        "asin",
        "(asin(x)/x - 1)/x^2 by x^2, |x| <= 1/2",
        series(lambda z: (mp.asin(SQRT(z)) / SQRT(z) - 1) / z, ONE / 6),
        lambda z: z,
        0,
        0.25,
        11,
        4,
    ),
    Polynomial(
        "atan",
        "(atan(x)/x - 1)/x^2 by x^2, |x| <= 1",
        series(lambda z: (mp.atan(SQRT(z)) / SQRT(z) - 1) / z, -ONE / 3),
        lambda z: z,
        0,
        1,
        19,
        8,
    ),
    Polynomial(
        "erf",
        "erf(x)/x - 1 by x^2, |x| <= 1",
        series(lambda z: mp.erf(SQRT(z)) / SQRT(z) - 1, 2 / mp.sqrt(mp.pi) - 1),
        lambda z: ONE,
        0,
        1,
        11,
        6,
    ),
    Polynomial(
        "erf_tail",
        "exp(x^2) erfc(x) by 1/(x + 2), 1 <= x <= 6",
        lambda t: mp.exp((1 / t - 2) ** 2) * mp.erfc(1 / t - 2),
        lambda t: mp.exp(-((1 / t - 2) ** 2)),
        ONE / 8,
        ONE / 3,
        11,
        None,
    ),
    Polynomial(
        "erf_tail_direct",
        "exp(x^2) erfc(x) by x, 1 <= x <= 4",
        lambda x: mp.exp(x * x) * mp.erfc(x),
        lambda x: mp.exp(-x * x),
        1,
        4,
        None,
        7,
    ),
    Polynomial(
        "erfc",
        "(1 + 2x) exp(x^2) erfc(x) - 1 by (x - 4)/(x + 4), 0 <= x <= 28 (f32: 10.5)",
        lambda t: scaled_erfcx(from_mapped(t)) - 1,
        lambda t: 1 / scaled_erfcx(from_mapped(t)),
        -1,
        mp.mpf(24) / 32,
        22,
        11,
        mp.mpf("6.5") / mp.mpf("14.5"),
    ),
]

# f32 pow runs in f64, whose polynomials need 36 bits only.
POWER_F32 = [
    Polynomial(
        "pow_f32_log2",
        "log2(1+f)/f by f, 1+f in [sqrt(1/2), sqrt(2)]",
        series(lambda f: mp.log1p(f) / f / mp.log(2), 1 / mp.log(2)),
        lambda f: ONE,
        *LOG_F,
        12,
        None,
    ),
    Polynomial(
        "pow_f32_exp2",
        "2^r by r, |r| <= 1/2",
        lambda r: mp.mpf(2) ** r,
        lambda r: ONE,
        -0.5005,
        0.5005,
        6,
        None,
    ),
    Polynomial(
        "pow_f32_log2_table",
        "log2(1+f)/f by f, -0.0385 <= f <= 0.0626",
        series(lambda f: mp.log1p(f) / f / mp.log(2), 1 / mp.log(2)),
        lambda f: ONE,
        mp.mpf("-0.0385"),
        mp.mpf("0.0626"),
        6,
        None,
    ),
    Polynomial(
        "pow_f32_exp2_table",
        "2^r by r, |r| <= 1/32",
        lambda r: mp.mpf(2) ** r,
        lambda r: ONE,
        -ONE / 32,
        ONE / 32,
        3,
        None,
    ),
]


# The high parts of log 2, log2 2 and log10 2 in the vector math. Those of a table are multiples of the last bit of
# such a part, so they stay exact when that is added some times.
HIGH_PARTS = {
    "f64": {"log": 6.93147180369123816490e-01, "log2": 2.0**-32, "log10": 0.30102999566383914},
    "f32": {"log": 0.693145751953125, "log2": 2.0**-15, "log10": 0.301025390625},
}


def inverse_entry(index: int) -> float:
    """Return 1/m for the sixteenth `index` of 1 <= m < 2, in 8 bits; 1 and 1/2 at its ends."""
    if index in (0, 15):
        return 1.0 if index == 0 else 0.5
    return float(mp.nint(128 / (1 + (index + mp.mpf("0.5")) / 16)) / 128)


def tables(dtype: str) -> dict[str, list[float]]:
    """Return the tables of 16 entries, in two parts: factors and their negative logarithms, powers of two."""
    inverses = [inverse_entry(index) for index in range(16)]
    found = {"inverse": inverses}
    if dtype == "f64":
        powers = [mp.mpf(2) ** (mp.mpf(j) / 16) for j in range(16)]
        found["exp_high"] = [rounded(power, dtype) for power in powers]
        found["exp_low"] = [rounded(t - mp.mpf(high), dtype) for t, high in zip(powers, found["exp_high"], strict=True)]
    for name, base in (("log", mp.e), ("log2", 2), ("log10", 10)):
        exact = [-mp.log(mp.mpf(r)) / mp.log(base) for r in inverses]
        part = HIGH_PARTS[dtype][name]
        grid = part.as_integer_ratio()[1]
        high = [float(mp.nint(value * grid) / grid) for value in exact]
        if name != "log2":
            high[-1] = part
        found[f"{name}_high"] = high
        found[f"{name}_low"] = [rounded(value - part, dtype) for value, part in zip(exact, high, strict=True)]
    return found


def main() -> None:
    """Fit everything and print the module."""
    print('"""Polynomial coefficients of the vector math, low order first.')
    print()
    print("Written by `tests/codegen/fit_coefficients.py`, which says how they are fitted: do not")
    print('edit. The comments give the weighted minimax error.\n"""')
    print("\nCOEFFICIENTS: dict[str, dict[str, tuple[float, ...]]] = {")
    for dtype in ("f64", "f32"):
        print(f'    "{dtype}": {{')
        for spec in POLYNOMIALS + (POWER_F32 if dtype == "f64" else []):
            if (spec.f64 if dtype == "f64" else spec.f32) is None:
                continue
            coefficients, error = fit(spec, dtype)
            print(f"        # {spec.doc}; error 2^{mp.nstr(mp.log(error, 2), 4)}")
            print(f'        "{spec.name}": (')
            for value in coefficients:
                print(f"            {value!r},")
            print("        ),", flush=True)
        print("    },")
    print("}")
    print("\n# By the sixteenth of [1, 2) in which a mantissa lies; for exp, 2^(j/16) by j.")
    print("TABLES: dict[str, dict[str, tuple[float, ...]]] = {")
    for dtype in ("f64", "f32"):
        print(f'    "{dtype}": {{')
        for name, entries in tables(dtype).items():
            print(f'        "{name}": (')
            for value in entries:
                print(f"            {value!r},")
            print("        ),")
        print("    },")
    print("}")


if __name__ == "__main__":
    main()
