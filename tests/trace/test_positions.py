"""Masks that follow from positions are compared, not read: identity matrices, triangles, filled diagonals."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gradloom import compile_grad
from gradloom.trace.context import element_of
from gradloom.trace.positions import LEAST_EXTENT, pattern_of, table_of
from gradloomc.dialects.func import body_of, finish_function, make_function
from gradloomc.interp.interpreter import interpret
from gradloomc.ir.builder import at
from gradloomc.ir.errors import ShapeError
from gradloomc.ir.printer import print_op
from gradloomc.ir.types import tensor
from harness.tracing import check, trace

N = LEAST_EXTENT + 6

TABLES = [
    np.eye(N),
    np.eye(N, N + 9, k=5, dtype=np.float32),
    np.eye(N + 9, N, k=-7) * -2.5 + 1,
    ~np.eye(N, dtype=bool),
    np.eye(N, k=N - 1),
    np.eye(N, k=1 - N, dtype=np.int32),
    np.tri(N),
    np.tri(N, N + 9, k=3, dtype=np.int8),
    np.tri(N + 9, N, k=-20) > 0,
    np.triu(np.full((N, N), np.nan, np.float32), 1),
    np.where(np.tri(N) > 0, -0.0, 0.0),
    np.eye(N)[:, None, :, None] + 3,
]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: f"{table.dtype}{list(table.shape)}")
def test_tables_are_made_again_from_positions(table: np.ndarray) -> None:
    pattern = pattern_of(table)
    assert pattern is not None
    function = make_function("f", [])
    with at(body_of(function)):
        made = table_of(pattern, tensor(table.shape, element_of(table.dtype)))
    (result,) = interpret(finish_function(function, [made]), [])
    assert result.dtype == table.dtype
    assert result.tobytes() == np.ascontiguousarray(table).tobytes()


def test_a_mask_of_the_function_itself_is_no_constant() -> None:
    x = np.random.default_rng(0).normal(size=(N, N))
    outside = np.eye(N)

    def program(mask: Any) -> str:
        return print_op(trace(lambda x: np.sum(x * mask()), x).function)

    assert "dense<[" not in program(lambda: np.eye(N) - np.tri(N)) and "nd.iota" in program(lambda: 1 - np.eye(N))
    assert "captured0" in program(lambda: outside)  # which somebody may write
    check(lambda x: x * (1 - np.eye(N)) + np.where(np.tri(N, k=-1) > 0, x, 2.0), x)


@pytest.mark.parametrize("place", [(0, 0), (0, N - 1), (N - 1, 0), (40, 41), (41, 40), (30, 30)])
@pytest.mark.parametrize("table", [np.eye(N), np.tri(N), np.tri(N, k=7)], ids=["eye", "tri", "band"])
def test_tables_that_differ_in_one_place_are_kept(table: np.ndarray, place: tuple[int, int]) -> None:
    table = table.copy()
    table[place] = 7
    assert pattern_of(table) is None


def test_tables_without_a_pattern() -> None:
    rng = np.random.default_rng(0)
    assert pattern_of(rng.normal(size=(N, N))) is None
    assert pattern_of(np.zeros((N, N))) is None
    assert pattern_of(np.eye(N)[:, :5]) is None  # short axes ask for the numbers
    assert pattern_of(np.ones((N, N, N))) is None


def _filled(value: Any) -> Callable[..., Any]:
    def function(x: Any, v: Any) -> Any:
        a = np.sin(x)
        np.fill_diagonal(a, v if value is None else value)
        return np.cos(a)

    return function


@pytest.mark.parametrize("shape", [(5, 5), (5, 9), (9, 5), (4, 4, 4)])
@pytest.mark.parametrize("value", [2.5, None], ids=["number", "traced"])
def test_fill_diagonal(shape: tuple[int, ...], value: Any) -> None:
    x, v = np.random.default_rng(1).normal(size=shape), np.float64(0.75)
    function = _filled(value)
    check(function, x, np.array(v))
    assert "scatter" not in print_op(trace(function, x, np.array(v)).function)
    gradient: Any = compile_grad(lambda x, v: np.sum(function(x, v)), argnums=(0, 1))
    _, (to_x, to_v) = gradient.value_and_grad(x, v)
    slope = -np.sin(np.sin(x)) * np.cos(x)
    index = np.arange(min(shape))
    diagonal = (index,) * len(shape)
    slope[diagonal] = 0
    np.testing.assert_allclose(to_x, slope, rtol=1e-13)
    expected = -np.sin(v) * min(shape) if value is None else 0.0
    np.testing.assert_allclose(to_v, expected, rtol=1e-13)


def test_fill_diagonal_with_numbers_for_each_place() -> None:
    x = np.random.default_rng(1).normal(size=(6, 6))

    def function(x: Any) -> Any:
        a = x * 2
        np.fill_diagonal(a, np.arange(6.0))
        return a

    check(function, x)


def test_fill_diagonal_refuses_uneven_cubes() -> None:
    def function(x: Any) -> Any:
        a = x * 2
        np.fill_diagonal(a, 1.0)
        return a

    with pytest.raises(ShapeError, match="equal length"):
        trace(function, np.zeros((3, 3, 4)))
