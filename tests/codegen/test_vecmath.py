"""Vector math: accuracy over the whole range, special values as NumPy's, widths, shared work."""

from __future__ import annotations

import functools
import itertools
import re
from typing import Any

import numpy as np
import pytest
import scipy.special

from gradloomc.codegen.body import Body
from gradloomc.codegen.lanes import Lanes
from gradloomc.codegen.vecmath import FUNCTIONS
from gradloomc.codegen.vecmath.coefficients import COEFFICIENTS
from gradloomc.codegen.x86 import AVX512

from .fit_coefficients import POLYNOMIALS, POWER_F32, fit, weighted_error
from .jit_harness import Kernel, host_features, kernel_text
from .vecmath_reference import TYPES, pairs, points, worst_units

DTYPES = ["f64", "f32"]
NUMPY: dict[str, Any] = {
    "acos": np.arccos,
    "acosh": np.arccosh,
    "asin": np.arcsin,
    "asinh": np.arcsinh,
    "atan": np.arctan,
    "atan2": np.arctan2,
    "atanh": np.arctanh,
    "cbrt": np.cbrt,
    "cos": np.cos,
    "cosh": np.cosh,
    "erf": scipy.special.erf,
    "erfc": scipy.special.erfc,
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "fmod": np.fmod,
    "hypot": np.hypot,
    "log": np.log,
    "log10": np.log10,
    "log1p": np.log1p,
    "log2": np.log2,
    "logaddexp": np.logaddexp,
    "logistic": scipy.special.expit,
    "pow": np.power,
    "reciprocal": np.reciprocal,
    "remainder": np.remainder,
    "rsqrt": lambda x: np.reciprocal(np.sqrt(x)),
    "sigmoid": scipy.special.expit,
    "sin": np.sin,
    "sinh": np.sinh,
    "sqrt": np.sqrt,
    "tan": np.tan,
    "tanh": np.tanh,
}
BINARY = ["atan2", "fmod", "hypot", "logaddexp", "pow", "remainder"]
EXACT = ["fmod", "remainder"]
# Parts of a division, a root or a product: tested in test_reciprocal.py.
PARTS = {"lift", "lift_scale", "quotient", "root", "subnormal_scale"}
UNARY = sorted(set(FUNCTIONS) - set(BINARY) - PARTS)


@functools.cache
def kernel(name: str, dtype: str, width: int | None = None, portable: bool = False) -> Kernel:
    return Kernel(FUNCTIONS[name], dtype, width, 2 if name in BINARY else 1, frozenset() if portable else None)


def depends_on_features(name: str, dtype: str) -> bool:
    """Tell whether the host has code of its own for a function."""
    arity = 2 if name in BINARY else 1
    return len({kernel_text(FUNCTIONS[name], dtype, 8, arity, f) for f in (frozenset(), host_features())}) == 2


def variants(names: list[str]) -> list[Any]:
    """Return (name, dtype, portable) for all code of the functions: the host's and, where it differs, the portable."""
    cases = [(name, dtype, False) for name in names for dtype in DTYPES]
    cases += [(name, dtype, True) for name, dtype, _ in cases if depends_on_features(name, dtype)]
    return [pytest.param(*case, id=f"{case[0]}-{case[1]}{'-portable' * case[2]}") for case in cases]


def same(
    computed: np.ndarray, expected: np.ndarray, units: int = 0, scale: np.ndarray | None = None
) -> np.ndarray:
    """Tell where values agree: nan with nan, signs of zeros, finite ones within `units` (of the larger `scale`)."""
    with np.errstate(all="ignore"):
        size = np.abs(expected) if scale is None else np.fmax(np.abs(expected), scale)
        close = np.abs(computed - expected) <= units * np.spacing(size)
    signs = np.signbit(computed) == np.signbit(expected)
    equal = (computed == expected) | (np.isfinite(expected) & close)
    return (np.isnan(computed) & np.isnan(expected)) | (equal & signs)


def special_values(dtype: str) -> np.ndarray:
    kind = TYPES[dtype]
    limits = np.finfo(kind)
    magnitudes = [0, 0.5, 1, 1.5, 2, 3, 4, 7, 1e3, 1024, 16777215, 2.0**52, 2.0**53 - 1, 1e18]
    magnitudes += [limits.max, limits.smallest_normal, limits.smallest_subnormal, limits.eps]
    magnitudes += [limits.smallest_normal / 4, 1 - limits.epsneg, 1 + limits.eps, np.inf]
    values = np.array(magnitudes, kind)
    return np.concatenate([values, -values, np.array([np.nan], kind)])


def test_every_function_has_a_numpy_counterpart():
    assert set(NUMPY) == set(FUNCTIONS) - PARTS


@pytest.mark.parametrize(("name", "dtype", "portable"), variants(UNARY))
def test_accuracy_against_mpmath(name, dtype, portable):
    x = points(name, dtype, 700, seed=1)
    error, where = worst_units(name, dtype, kernel(name, dtype, portable=portable)(x), x)
    assert error <= 2, where


@pytest.mark.parametrize(("name", "dtype", "portable"), variants(sorted(set(BINARY) - set(EXACT))))
def test_accuracy_of_two_arguments(name, dtype, portable):
    x, y = pairs(name, dtype, 350, seed=2)
    error, where = worst_units(name, dtype, kernel(name, dtype, portable=portable)(x, y), x, y)
    assert error <= 2, where


@pytest.mark.parametrize(("name", "dtype", "portable"), [v for v in variants(UNARY) if v.values[1] == "f32"])
def test_single_precision_over_all_bit_patterns(name, dtype, portable):
    # A prime stride walks every exponent, both signs, infinities and nans.
    x = np.arange(0, 2**32, 8191, dtype=np.uint64).astype(np.uint32).view(np.float32)
    computed = kernel(name, dtype, portable=portable)(x)
    with np.errstate(all="ignore"):
        exact = NUMPY[name](x.astype(np.float64))
        expected = exact.astype(np.float32)
    assert np.array_equal(np.isnan(computed), np.isnan(expected))
    finite = np.isfinite(expected) & np.isfinite(computed)
    differs = ~finite & ~np.isnan(expected) & (computed != expected)
    # Next to overflow the neighbour of infinity is within a unit.
    assert np.all(np.abs(exact[differs]) >= np.finfo(np.float32).max * (1 - 2.0**-23))
    _, exponent = np.frexp(exact[finite])
    unit = np.ldexp(1.0, np.maximum(exponent, -125) - 24)
    error = np.abs(computed[finite] - exact[finite]) / unit
    assert error.max() <= 2, x[finite][error.argmax()]


@pytest.mark.parametrize(("name", "dtype", "portable"), variants(UNARY))
def test_special_values(name, dtype, portable):
    x = special_values(dtype)
    with np.errstate(all="ignore"):
        expected = NUMPY[name](x)
    computed = kernel(name, dtype, portable=portable)(x)
    right = same(computed, expected, units=4)
    assert right.all(), (x[~right], computed[~right], expected[~right])


@pytest.mark.parametrize(("name", "dtype", "portable"), variants(BINARY))
def test_special_values_of_two_arguments(name, dtype, portable):
    values = special_values(dtype)
    x, y = (a.ravel() for a in np.meshgrid(values, values))
    with np.errstate(all="ignore"):
        expected = NUMPY[name](x, y)
    computed = kernel(name, dtype, portable=portable)(x, y)
    # Where log(e^x + e^y) is nearly zero, its operands' last places are what counts.
    finite = np.isfinite(x) & np.isfinite(y)
    scale = np.where(finite, np.maximum(np.abs(x), np.abs(y)), 0) if name == "logaddexp" else None
    right = same(computed, expected, units=0 if name in EXACT else 4, scale=scale)
    assert right.all(), (x[~right], y[~right], computed[~right], expected[~right])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EXACT)
def test_remainders_are_exact(name, dtype):
    rng = np.random.default_rng(3)
    kind = TYPES[dtype]
    x = np.concatenate([rng.normal(size=4000) * 100, np.exp2(rng.uniform(-90, 90, 4000))])
    y = np.concatenate([rng.normal(size=4000), -np.exp2(rng.uniform(-90, 90, 4000))])
    x = np.concatenate([x, np.round(x[:4000]), np.arange(-200, 200) * 0.1]).astype(kind)
    y = np.concatenate([y, np.round(y[:4000]), np.full(400, 0.1)]).astype(kind)
    with np.errstate(all="ignore"):
        expected = NUMPY[name](x, y)
    assert same(kernel(name, dtype)(x, y), expected).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - PARTS))
def test_lanes_do_not_depend_on_width_or_neighbours(name, dtype):
    # Huge arguments stand beside ordinary ones, so cold lanes sit among common ones.
    rng = np.random.default_rng(4)
    kind = TYPES[dtype]
    x = np.where(rng.random(320) < 0.3, np.exp2(rng.uniform(-99, 99, 320)), rng.normal(size=320))
    operands = [x.astype(kind), rng.permutation(x).astype(kind)][: 2 if name in BINARY else 1]
    scalar = kernel(name, dtype, 1)(*operands)
    for width in (4, 8, 16):
        vector = kernel(name, dtype, width)(*operands)
        assert same(vector, scalar).all(), width


@pytest.mark.parametrize("name", ["exp", "sinh", "sigmoid", "sin", "log", "pow", "tanh"])
def test_nan_with_any_payload_stays_nan(name):
    patterns = np.array([0x7FF8000000000001, 0xFFF8000000000000, 0x7FFFFFFFFFFFFFFF], np.uint64)
    nans = patterns.view(np.float64)
    operands = [nans] if name not in BINARY else [nans, np.full(3, 2.5)]
    assert np.isnan(kernel(name, "f64")(*operands)).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_polynomial_is_accurate_enough(dtype):
    specs = {spec.name: spec for spec in POLYNOMIALS + POWER_F32}
    bound = {"f64": 2.0**-54.5, "f32": 2.0**-25.3}[dtype]
    for name, terms in COEFFICIENTS[dtype].items():
        error = weighted_error(specs[name], dtype, terms)
        # f32 pow rounds once more, to f32.
        assert error <= (2.0**-28.5 if name.startswith("pow_f32") else bound), name


@pytest.mark.parametrize("dtype", DTYPES)
def test_coefficients_are_those_of_the_fit(dtype):
    (spec,) = (spec for spec in POLYNOMIALS if spec.name == "sin")
    fitted, _ = fit(spec, dtype)
    assert fitted == list(COEFFICIENTS[dtype]["sin"])


def instructions(emit, dtype: str = "f64", width: int = 8) -> int:
    body = Body()
    emit(Lanes(body, dtype, width), "%x")
    return sum(" = " in line for line in body.lines)


def both(first: str, second: str):
    return lambda lanes, x: (FUNCTIONS[first](lanes, x), FUNCTIONS[second](lanes, x))


@pytest.mark.parametrize(
    ("first", "second", "extra"),
    [("sin", "cos", 10), ("sinh", "cosh", 6), ("cos", "sin", 10), ("exp", "exp", 0)],
)
def test_related_functions_share_their_reduction(first, second, extra):
    alone = instructions(FUNCTIONS[first])
    assert instructions(both(first, second)) <= alone + extra
    assert instructions(FUNCTIONS[second]) > 3 * extra


def test_error_function_shares_the_gaussian_of_its_derivative():
    def emit(lanes: Lanes, x: str) -> tuple[str, str]:
        value = FUNCTIONS["erf"](lanes, x)
        return value, FUNCTIONS["exp"](lanes, lanes.neg(lanes.mul(x, x)))

    assert instructions(emit) == instructions(FUNCTIONS["erf"])


def test_huge_arguments_take_one_cold_branch_each():
    body = Body()
    lanes = Lanes(body, "f64", 8)
    first = FUNCTIONS["sin"](lanes, "%x")
    assert FUNCTIONS["sin"](lanes, "%x") == first
    assert len([line for line in body.lines if line.startswith("  br i1")]) == 1
    assert body.current_block == body.lines[-2].removesuffix(":")
    FUNCTIONS["cos"](lanes, "%x")
    assert sorted(body.functions) == [
        "gradloom_cos_huge",
        "gradloom_cos_huge_v8f64",
        "gradloom_reduce_huge",
        "gradloom_sin_huge",
        "gradloom_sin_huge_v8f64",
    ]
    assert all("noinline optnone cold" in text for text in body.functions.values())


def test_no_fast_math_flag_inside_the_functions():
    for name, features in itertools.product(FUNCTIONS, (frozenset(), frozenset({AVX512}))):
        arity = 3 if name == "quotient" else 2 if name in BINARY or name == "root" else 1
        body = Body(features=features)
        FUNCTIONS[name](Lanes(body, "f64", 8), *["%x", "%y", "%z"][:arity])
        flagged = [line for line in body.lines if re.search(r"= f\w+ (contract|fast|n\w+)", line)]
        assert not flagged, (name, flagged)
