"""Guesses of what a function says for other lengths: with the lengths at hand put in, they say what it says."""

from typing import Any

import numpy as np
import pytest

from gradloomc.dialects import nd
from gradloomc.dialects.func import body_of, finish_function, make_function
from gradloomc.ir.attributes import Dense
from gradloomc.ir.builder import at
from gradloomc.ir.core import Op
from gradloomc.ir.printer import print_op
from gradloomc.ir.resize import Resizer
from gradloomc.ir.scopes import Scope
from gradloomc.ir.types import f64, tensor
from gradloomc.passes.generalize import Generalizer, has_table


def differences(n: int, m: int) -> Op:
    """Return the mean of (x[1:] - x[:-1])² for x of shape (n, m), and x in one row."""
    function = make_function("f", [tensor((n, m), f64)])
    with at(body_of(function)):
        x: Any = body_of(function).arguments[0]
        later = nd.slice_(x, start=(1, 0), limit=(n, m), stride=(1, 1))
        earlier = nd.slice_(x, start=(0, 0), limit=(n - 1, m), stride=(1, 1))
        total = nd.reduce_sum(nd.square(nd.sub(later, earlier)), axes=(0, 1))
        mean = nd.div(total, nd.extent(value=(n - 1) * m, type=f64))
        row = nd.reshape(x, shape=(n * m,))
    return finish_function(function, [mean, row])


def guess(function: Op, lengths: list[int]) -> tuple[Op, Scope]:
    scope = Scope(lengths)
    return Generalizer(scope).function(function), scope


@pytest.mark.parametrize(("n", "m"), [(100, 40), (40, 40), (100, 3), (7, 100), (100, 50), (99, 100)])
def test_the_lengths_at_hand_give_the_function_itself(n: int, m: int) -> None:
    original = differences(n, m)
    for lengths in ([n], [m], [n, m] if n != m else [n]):
        guessed, scope = guess(original, lengths)
        values = scope.environment(lengths)
        assert values is not None
        assert print_op(Resizer(values).function(guessed)) == print_op(original)


def test_other_lengths_give_what_they_are_built_from() -> None:
    guessed, scope = guess(differences(100, 40), [100, 40])
    for lengths in ((120, 70), (1000, 30), (17, 99)):
        values = scope.environment(lengths)
        assert values is not None
        assert print_op(Resizer(values).function(guessed)) == print_op(differences(*lengths))


def test_axes_and_short_lengths_stay() -> None:
    """A length of 2 is no axis, and a number that is neither a length nor beside one stays what it is."""
    guessed, _ = guess(differences(100, 3), [100])
    ops = body_of(guessed).ops
    assert [op.attributes["axes"] for op in ops if op.kind is nd.reduce_sum] == [(0, 1)]
    assert ops[0].attributes["start"] == (1, 0) and ops[0].attributes["limit"][1] == 3
    text = print_op(guessed)
    assert "tensor<[n0]x3xf64>" in text and "tensor<[n0 + -1]x3xf64>" in text and "tensor<[3*n0]xf64>" in text


@pytest.mark.parametrize(("table", "found"), [(np.arange(40.0), True), (np.ones(40), True), (np.array(2.0), False)])
def test_tables_are_found(table: Any, found: bool) -> None:
    function = make_function("f", [tensor((40,), f64)])
    with at(body_of(function)):
        x: Any = body_of(function).arguments[0]
        result = nd.mul(x, nd.constant(value=Dense(tensor((40,), f64), table)))
    finish_function(function, [result])
    assert has_table(function, 40) is found
    assert not has_table(function, 41)
