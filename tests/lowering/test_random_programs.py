"""The same program at all levels agrees: random programs, interpreted on nd, kernels and loops, and run natively.

Whole numbers must come out equal. The constants that decide between plans (vectors, blocks of sums, tiles) are tried
small as well, because the programs are.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies

from gradloom.exec.executable import Executable
from gradloomc.ad.transform import jvp_of, vjp_of
from gradloomc.codegen.native import host
from gradloomc.dialects.func import body_of
from gradloomc.interp.interpreter import interpret
from gradloomc.ir.core import Op
from gradloomc.ir.inline import copy_function
from gradloomc.ir.printer import print_op
from gradloomc.ir.types import SCALARS, f64
from gradloomc.ir.verifier import verify
from gradloomc.pipelines import clean, to_kernels, to_loops

from .programs import Seeded, draw_arguments, draw_program

ELEMENTS = ("f64", "i64", "f32", "i32")
LEVELS: dict[str, Callable[[Op], Op]] = {
    "nd": lambda function: function,
    "clean": clean,
    "kernels": to_kernels,
    "loops": lambda function: to_loops(function, host().vector_bits),
}


def run_at(level: str, function: Op, arrays: Sequence[Any]) -> list[Any]:
    """Run a copy of an nd function, interpreted at a level or natively."""
    function = copy_function(function)
    if level == "native":
        return list(Executable(function).run(arrays))
    lowered = LEVELS[level](function)
    verify(lowered)
    return interpret(lowered, arrays)


def assert_levels_agree(function: Op, arrays: Sequence[Any], tolerance: float = 0.0) -> None:
    """Check results, their types, and that they share memory neither with each other nor with the arguments."""
    expected = interpret(function, arrays)
    for level in (*LEVELS, "native"):
        results = run_at(level, function, arrays)
        assert len(results) == len(expected)
        for actual, right in zip(results, expected, strict=True):
            same = actual.dtype == right.dtype and actual.shape == right.shape
            if tolerance:
                same = same and bool(np.all(np.abs(actual - right) <= tolerance * (1 + np.abs(right))))
            else:
                same = same and np.array_equal(actual, right)
            assert same, f"{level} differs\n{print_op(function)}"
        for k, result in enumerate(results):
            assert not any(np.shares_memory(result, other) for other in [*results[:k], *arrays])


@pytest.mark.parametrize("batch", range(12))
def test_programs(batch: int) -> None:
    for seed in range(25 * batch, 25 * batch + 25):
        function = draw_program(Seeded(seed), SCALARS[ELEMENTS[seed % 4]])
        assert_levels_agree(function, draw_arguments(function, seed))


@pytest.mark.parametrize("batch", range(8))
def test_programs_with_small_plans(batch: int, small_plans: None) -> None:
    for seed in range(5000 + 25 * batch, 5000 + 25 * batch + 25):
        function = draw_program(Seeded(seed), SCALARS[ELEMENTS[seed % 4]])
        assert_levels_agree(function, draw_arguments(function, seed))


class Drawn:
    """Choices made by hypothesis, which makes a failing program short."""

    def __init__(self, data: strategies.DataObject):
        self.data = data

    def integer(self, low: int, high: int) -> int:
        return self.data.draw(strategies.integers(low, high))


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    derandomize=True,
)
@given(strategies.data(), strategies.sampled_from(ELEMENTS))
def test_programs_of_hypothesis(data: strategies.DataObject, element: str) -> None:
    function = draw_program(Drawn(data), SCALARS[element])
    assert_levels_agree(function, draw_arguments(function, 0))


def arrays_like(function: Op, first: int, rng: np.random.Generator) -> list[Any]:
    """Return numbers for the arguments from position `first` on."""
    arguments = body_of(function).arguments[first:]
    return [np.asarray(rng.uniform(-1, 1, argument.type.shape)) for argument in arguments]


def inner(xs: Sequence[Any], ys: Sequence[Any]) -> float:
    return sum(float(np.vdot(x, y)) for x, y in zip(xs, ys, strict=True))


@pytest.mark.parametrize("batch", range(10))
def test_derivatives_of_programs(batch: int) -> None:
    """<Jv, u> = <v, J'u>, to second order too; and the derivatives are the same at all levels."""
    for seed in range(8 * batch, 8 * batch + 8):
        function = draw_program(Seeded(seed), f64, smooth=True)
        arrays = draw_arguments(function, seed, smooth=True)
        rng = np.random.default_rng(seed)
        for _ in range(2):
            check_derivatives(function, arrays, rng)
            pulled = vjp_of(copy_function(function), range(len(arrays)))
            arrays = arrays + arrays_like(pulled, len(arrays), rng)
            function = pulled


def check_derivatives(function: Op, arrays: list[Any], rng: np.random.Generator) -> None:
    active = range(len(arrays))
    count = len(body_of(function).terminator.operands)
    pushed, pulled = jvp_of(copy_function(function), active), vjp_of(copy_function(function), active)
    v, u = arrays_like(pushed, len(arrays), rng), arrays_like(pulled, len(arrays), rng)
    tangents = interpret(pushed, [*arrays, *v])[count:]
    cotangents = interpret(pulled, [*arrays, *u])[count:]
    scale = inner(map_abs(tangents), map_abs(u)) + inner(map_abs(v), map_abs(cotangents))
    assert abs(inner(tangents, u) - inner(v, cotangents)) <= 1e-12 * (1 + scale)
    assert_levels_agree(pushed, [*arrays, *v], tolerance=1e-9)
    assert_levels_agree(pulled, [*arrays, *u], tolerance=1e-9)


def map_abs(arrays: Sequence[Any]) -> list[Any]:
    return [np.abs(x) for x in arrays]


def test_programs_are_various() -> None:
    """The generator reaches the ops that move, reduce, join and multiply, empty arrays and scalars."""
    names: dict[str, int] = {}
    shapes: set[tuple[int, ...]] = set()
    for seed in range(300):
        function = draw_program(Seeded(seed), SCALARS[ELEMENTS[seed % 4]])
        for op in body_of(function).ops[:-1]:
            names[op.name] = names.get(op.name, 0) + 1
            shapes.add(op.results[0].type.shape)
    wanted = (
        "broadcast reshape transpose slice pad reverse concatenate reduce_sum reduce_prod reduce_max reduce_min "
        "reduce_any reduce_all iota dot gather select maximum convert constant"
    )
    assert all(names.get(f"nd.{name}", 0) >= 5 for name in wanted.split()), names
    assert () in shapes and any(0 in shape for shape in shapes) and max(map(len, shapes)) >= 4
