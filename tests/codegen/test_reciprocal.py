"""Quotients and roots by multiplication, lifted weights: accuracy and special values, alone and in programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gradloom.exec.executable import Executable
from gradloomc.codegen.divider import relieve_divider
from gradloomc.codegen.lanes import Lanes
from gradloomc.codegen.vecmath import FUNCTIONS
from gradloomc.dialects import nd
from gradloomc.dialects.func import body_of, finish_function, make_function
from gradloomc.dialects.scalar import SMALL_WEIGHT
from gradloomc.interp.interpreter import interpret
from gradloomc.ir.builder import at
from gradloomc.ir.core import Op, Value
from gradloomc.ir.inline import copy_function
from gradloomc.ir.types import SCALARS, tensor
from gradloomc.lowering.loops import lower_to_loops
from gradloomc.pipelines import to_kernels

from .jit_harness import Kernel, host_features
from .vecmath_reference import TYPES

FEATURES = sorted({frozenset(), host_features()}, key=len)
Array = np.ndarray[Any, Any]


def root(lanes: Lanes, x: str) -> str:
    return FUNCTIONS["root"](lanes, x, FUNCTIONS["rsqrt"](lanes, x))


def quotient(lanes: Lanes, x: str, y: str) -> str:
    scale = FUNCTIONS["subnormal_scale"](lanes, y)
    scaled = lanes.mul(y, scale)
    return FUNCTIONS["quotient"](lanes, lanes.mul(x, scale), scaled, FUNCTIONS["reciprocal"](lanes, scaled))


def numbers(dtype: str, count: int, seed: int) -> Array:
    """Return numbers of all sizes, many near 1, and the special ones."""
    rng = np.random.default_rng(seed)
    kind, limits = TYPES[dtype], np.finfo(TYPES[dtype])
    sizes = np.exp2(rng.uniform(limits.minexp - limits.nmant, limits.maxexp, count).astype(np.longdouble))
    special = [0.0, 1.0, 3.0, np.inf, np.nan, limits.max, limits.tiny, limits.tiny / 4, limits.smallest_subnormal]
    values = np.concatenate([sizes, rng.uniform(1, 4, count), special, special]).astype(kind)
    return np.copysign(values, rng.choice([-1, 1], values.size)).astype(kind)


def check(computed: Array, expected: Array, exact: Array, units: float) -> None:
    """Compare with the exact value in units in the last place; special values and signs with NumPy's."""
    limits = np.finfo(computed.dtype)
    assert np.array_equal(np.isnan(computed), np.isnan(expected))
    assert np.array_equal(np.signbit(computed[~np.isnan(expected)]), np.signbit(expected[~np.isnan(expected)]))
    finite = np.isfinite(expected)
    assert np.array_equal(computed[np.isinf(expected)], expected[np.isinf(expected)])
    _, exponent = np.frexp(exact[finite])
    unit = np.ldexp(np.longdouble(1), np.maximum(exponent, limits.minexp + 1) - limits.nmant - 1)
    assert np.max(np.abs(computed[finite] - exact[finite]) / unit) <= units


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_functions_of_one_argument(dtype: str, features: frozenset[str]) -> None:
    x = numbers(dtype, 20000, seed=1)
    wide = x.astype(np.longdouble)
    cases: list[tuple[Callable[..., str], Array, Array, float]] = [
        (FUNCTIONS["reciprocal"], 1 / x, 1 / wide, 0.55),
        (FUNCTIONS["rsqrt"], 1 / np.sqrt(x), 1 / np.sqrt(wide), 1.5),
        (root, np.sqrt(x), np.sqrt(wide), 2),
    ]
    for emit, expected, exact, units in cases:
        check(Kernel(emit, dtype, features=features)(x), expected, exact, units)
    ordinary = np.abs(x[np.isfinite(x)])
    ordinary = ordinary[ordinary > np.sqrt(np.finfo(x.dtype).tiny)]
    assert np.array_equal(Kernel(root, dtype, features=features)(ordinary), np.sqrt(ordinary))


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_quotients(dtype: str, features: frozenset[str]) -> None:
    divide = Kernel(quotient, dtype, arity=2, features=features)
    x, y = numbers(dtype, 20000, seed=2), np.random.default_rng(4).permutation(numbers(dtype, 20000, seed=3))
    check(divide(x, y), x / y, x.astype(np.longdouble) / y.astype(np.longdouble), 1.5)
    special = numbers(dtype, 0, seed=5)
    a, b = (grid.ravel() for grid in np.meshgrid(special, special))
    check(divide(a, b), a / b, a.astype(np.longdouble) / b.astype(np.longdouble), 1)
    # Away from the subnormal numbers, exactly what a division gives: whole quotients stay whole.
    rng = np.random.default_rng(6)
    a, b = rng.uniform(-9, 9, 20000).astype(TYPES[dtype]), rng.uniform(-9, 9, 20000).astype(TYPES[dtype])
    assert np.array_equal(divide(a, b), a / b)
    whole = rng.integers(1, 1000, 20000).astype(TYPES[dtype])
    assert np.array_equal(divide(whole * b.round(), whole), b.round())


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("dtype", TYPES)
def test_lifted_weights(dtype: str, features: frozenset[str]) -> None:
    """Lifted numbers are normal, and exactly what they were once they are scaled back."""
    x = numbers(dtype, 20000, seed=8)
    lifted = Kernel(FUNCTIONS["lift"], dtype, features=features)(x)
    scale = Kernel(FUNCTIONS["lift_scale"], dtype, features=features)(x)
    assert np.array_equal(lifted.astype(np.longdouble) * scale, x.astype(np.longdouble), equal_nan=True)
    assert np.array_equal(np.signbit(lifted), np.signbit(x))
    below, by = SMALL_WEIGHT[dtype]
    assert np.array_equal(scale, np.where(np.abs(x) < below, 1 / by, 1))
    some = np.abs(lifted[(x != 0) & ~np.isnan(x)])
    assert some.min() >= np.finfo(x.dtype).tiny * 2.0**30
    assert np.abs(lifted[np.abs(x) < below]).max() <= 1


def build(dtype: str, size: int, arity: int, program: Callable[..., list[Value]]) -> Op:
    kind = tensor((size,), SCALARS[dtype])
    function = make_function("f", [kind] * arity, [f"x{k}" for k in range(arity)])
    with at(body_of(function)):
        results = program(*body_of(function).arguments)
    return finish_function(function, results)


def kinds_of(function: Op) -> list[str]:
    return [op.name for op in function.walk()]


def over_root(x: Any, y: Any, sqrt: Any, div: Any) -> list[Any]:
    length = sqrt(x)
    return [div(y, length), div(1.0, length), div(-3.0, length)]


def root_kept(x: Any, y: Any, sqrt: Any, div: Any) -> list[Any]:
    length = sqrt(x)
    return [length, div(y, length), div(0.5, length)]


def shared(x: Any, y: Any, sqrt: Any, div: Any) -> list[Any]:
    return [div(y, x), div(1.0, x), div(x, x)]


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("program", [over_root, root_kept, shared])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_rewritten_programs(program: Callable[..., list[Any]], dtype: str, features: frozenset[str]) -> None:
    """Rewritten nests, interpreted and native, give NumPy's special values and at most two units of error."""
    special = numbers(dtype, 40, seed=7)
    x, y = (grid.ravel() for grid in np.meshgrid(special, special))
    function = build(dtype, x.size, 2, lambda x, y: program(x, y, nd.sqrt, nd.div))
    expected = program(x, y, np.sqrt, np.divide)
    exact = program(x.astype(np.longdouble), y.astype(np.longdouble), np.sqrt, np.divide)
    loops = relieve_divider(lower_to_loops(to_kernels(copy_function(function)), 512), features)
    assert "arith.divf" not in kinds_of(loops) or (not features and program is root_kept)
    for results in (interpret(loops, [x, y]), Executable(function).run([x, y])):
        for computed, right, true in zip(results, expected, exact, strict=True):
            # What is out of range in one precision and not in the other is compared for its special value.
            check(computed, right, np.where(np.isfinite(right), true, right), 2.5)
