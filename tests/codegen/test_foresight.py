"""What a program needs of the vector-math library is foreseen, and asked for before the program is lowered."""

import re
from typing import Any

import pytest

from gradloom.exec.executable import known_for_host, lower_for_host
from gradloomc import known
from gradloomc.codegen import cache, native, tiers
from gradloomc.codegen.cache import Store
from gradloomc.codegen.foresight import library_symbols
from gradloomc.codegen.native import host
from gradloomc.dialects import nd
from gradloomc.dialects.func import body_of, finish_function, make_function
from gradloomc.ir.builder import at
from gradloomc.ir.types import ScalarType, f32, f64, i64, tensor
from gradloomc.lowering.loops import LONG_NEST


def waves(shape: tuple[int, ...], element: ScalarType) -> Any:
    function = make_function("f", [tensor(shape, element)])
    with at(body_of(function)):
        (x,) = body_of(function).arguments
        y = nd.tanh(nd.mul(nd.sin(x), nd.exp(nd.mul(x, x))))
    return finish_function(function, [nd_sum(function, y)])


def nd_sum(function: Any, value: Any) -> Any:
    with at(body_of(function)):
        return nd.reduce_sum(value, axes=tuple(range(value.type.rank))) if value.type.rank else value


@pytest.mark.parametrize("element", [f64, f32], ids=str)
@pytest.mark.parametrize("shape", [(), (1,), (37,), (5, 7), (LONG_NEST,)], ids=str)
def test_what_is_called_was_foreseen(shape: tuple[int, ...], element: ScalarType) -> None:
    function = waves(shape, element)
    foreseen = library_symbols(function, host().vector_bits)
    called = re.findall(r"^declare [^@]*@(gradloom_math_\w+)", lower_for_host(function).text, re.MULTILINE)
    assert called and set(called) == set(foreseen)


@pytest.mark.parametrize("kind", [nd.remainder, nd.fmod, nd.power], ids=lambda kind: kind.name)
def test_the_library_has_nothing_for_integers(kind: Any) -> None:
    function = make_function("f", [tensor((37,), i64)] * 2)
    with at(body_of(function)):
        result = kind(*body_of(function).arguments)
    assert library_symbols(finish_function(function, [result]), host().vector_bits) == []


def test_the_library_is_asked_for_before_the_program_is_lowered(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(cache, "_store", Store(str(tmp_path / "store")))
    monkeypatch.setattr(native, "_modules", {})
    monkeypatch.setattr(native, "has_begun", lambda: True)
    monkeypatch.setattr(tiers, "has_begun", lambda: True)
    steps: list[str] = []
    monkeypatch.setattr(native, "expect", lambda make, level: steps.append(make()))
    lower = known.lower
    monkeypatch.setattr(known, "lower", lambda *a, **k: (steps.append("lower"), lower(*a, **k))[1])
    program = known_for_host(waves((37,), f64))
    *asked, last = steps
    assert last == "lower" and len(asked) == 3 and all("define" in text for text in asked)
    steps.clear()
    tiers.compile_program(program)
    known_for_host(waves((38,), f64))
    assert steps == ["lower"]  # the library is there now
