"""Nests that differ in their memory alone are written once, as a function; what is computed stays the same."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gradloom.exec.executable import Executable, lower_for_host
from gradloomc.codegen import repeated
from gradloomc.codegen.program import Program
from gradloomc.dialects import nd
from gradloomc.dialects.func import body_of, finish_function, make_function
from gradloomc.ir.attributes import Dense
from gradloomc.ir.builder import at
from gradloomc.ir.types import f64, tensor


def steps(count: int, scale: Callable[[int], float] = lambda k: 0.5, length: int = 53) -> Any:
    """Return x <- tanh(scale * x) - sum(...), so many times: as many nests, one after the other."""
    type = tensor((length,), f64)
    function = make_function("f", [type])
    with at(body_of(function)):
        (x,) = body_of(function).arguments
        for k in range(count):
            y = nd.tanh(nd.mul(x, nd.constant(value=Dense(type, np.array(scale(k))))))
            x = nd.sub(y, nd.broadcast(nd.reduce_sum(y, axes=(0,)), shape=(length,), dims=()))
    return finish_function(function, [x])


def called(text: str) -> list[str]:
    return re.findall(r"call void @(nest\d+)\(", text)


def defined(text: str) -> list[str]:
    return re.findall(r"^define internal void @(nest\d+)\(", text, re.MULTILINE)


def test_each_is_written_once() -> None:
    few, many = lower_for_host(steps(8)), lower_for_host(steps(40))
    assert len(set(called(many.text))) == len(defined(many.text)) <= 3
    assert len(called(many.text)) >= 37 and many.nests == few.nests + 32
    # What is left of each is a call, and the addresses of its memory.
    assert (len(many.text) - len(few.text)) / 32 < 0.1 * len(few.text)
    second = many.written_out
    assert second is not None and called(second().text) == called(many.text)


def test_a_nest_that_there_are_few_of_stays_in_place() -> None:
    assert not called(lower_for_host(steps(3)).text)  # of which the first and the last are other nests


def test_what_differs_in_more_than_memory_is_not_shared() -> None:
    assert not called(lower_for_host(steps(12, lambda k: 0.5 + k / 100)).text)  # a number
    alternating = lower_for_host(steps(24, lambda k: 0.5 + k % 4)).text
    alike = lower_for_host(steps(24)).text
    assert len(defined(alternating)) == 2 * len(defined(alike))
    first, second = called(alternating)[:2], called(alternating)[2:4]
    assert first != second and called(alternating)[4:8] == [*first, *second]  # they take turns


def results(program: Program, x: Any) -> list[bytes]:
    return [np.asarray(result).tobytes() for result in Executable(program).run([x])]


@pytest.mark.parametrize("length", [1, 53, 4000])
def test_results_have_the_same_bits(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.linspace(-0.9, 0.9, length)
    shared = lower_for_host(steps(12, length=length))
    monkeypatch.setattr(repeated, "_REPEATED_FROM", 1000)
    in_place = lower_for_host(steps(12, length=length))
    assert called(shared.text) and not called(in_place.text)
    assert results(shared, x) == results(in_place, x)
    for program in (shared, in_place):
        assert program.written_out is not None
    seconds = [program.written_out()._replace(written_out=None) for program in (shared, in_place)]  # type: ignore[misc]
    assert results(seconds[0], x) == results(seconds[1], x) == results(shared, x)


def test_gradients_of_unrolled_loops_share_their_nests() -> None:
    from gradloom import value_and_grad

    def f(x: Any) -> Any:
        for _ in range(20):
            x = np.sin(x) - np.mean(x)
        return np.sum(x * x)

    function = value_and_grad(f)
    x = np.linspace(0.1, 1.0, 30)
    value, gradient = function(x)
    last = function.user.last  # type: ignore[attr-defined]
    assert last is not None
    text = last.executable.program.text
    assert len(defined(text)) <= 6 and len(called(text)) >= 30
    numeric = [(f(x + h) - f(x - h)) / 2e-6 for h in 1e-6 * np.eye(30)]
    assert np.allclose(gradient, numeric, rtol=1e-6, atol=1e-8) and np.isclose(value, f(x))
