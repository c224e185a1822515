"""What compiling costs: Python calls for each traced operation, and walks over the function. Counted, not timed."""

import gc
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gradloom import value_and_grad
from gradloom.exec import executable
from gradloomc import known, pipelines
from gradloomc.codegen import cache
from gradloomc.codegen.cache import Store
from gradloomc.codegen.native import Module

# Of a chain with a tanh in each fourth operation. Generators count for each item.
MOST_CALLS = 300
MOST_CALLS_WHEN_FOUND = 30


def chain(count: int) -> Callable[[Any], Any]:
    """Return a function of about `count` operations."""

    def f(x: Any) -> Any:
        y = x
        for _ in range(count // 4):
            y = np.tanh(y * 0.9 + 0.1) * x
        return np.sum(y)

    return f


def calls_of(run: Callable[[], Any]) -> int:
    """Return how many Python functions are called."""
    count = 0

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
    return count


@pytest.fixture
def without_native_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Compile nothing by LLVM: what is counted are our own passes."""
    monkeypatch.setattr(cache, "_store", Store(str(tmp_path / "store")))

    def none(program: Any) -> Module:
        symbols = [step.symbol for step in program.steps if hasattr(step, "symbol")]
        return Module(dict.fromkeys(symbols, 0), "memory")

    monkeypatch.setattr(executable, "compile_program", none)


def first_call(count: int) -> int:
    """Return how many Python functions making the gradient's program takes."""
    function = value_and_grad(chain(count))
    x = np.ones(50)
    call = function.bind((x,), {})  # type: ignore[attr-defined]
    make = lambda: function.user.program(function.key, call, False, function.make, function.check)  # type: ignore[attr-defined]  # noqa: E731
    return calls_of(make)


def test_calls_for_each_operation(without_native_code: None) -> None:
    first_call(8)
    few, many = first_call(400), first_call(1200)
    assert (many - few) / 800 < MOST_CALLS
    assert many < 3.1 * few  # linear


def test_calls_for_each_operation_of_a_program_that_is_found(without_native_code: None) -> None:
    for count in (8, 400, 1200):
        first_call(count)
    before = known.counts.lowered
    few, many = first_call(400), first_call(1200)
    assert known.counts.lowered == before
    assert (many - few) / 800 < MOST_CALLS_WHEN_FOUND


def test_each_pass_walks_the_function_once(without_native_code: None, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = Counter[str]()

    def counted(name: str, real: Any) -> Any:
        def run(*arguments: Any, **options: Any) -> Any:
            passes[name] += 1
            return real(*arguments, **options)

        return run

    for name in ("eliminate_dead_code", "canonicalize_function", "eliminate_common_subexpressions", "write_program"):
        monkeypatch.setattr(pipelines, name, counted(name, getattr(pipelines, name)))
    for stages in (pipelines._PREPARE, pipelines._KERNELS, pipelines._LOOPS):
        for name, stage in list(stages.items()):
            monkeypatch.setitem(stages, name, counted(name, stage))
    names = ["canonicalize_function", "eliminate_common_subexpressions", "write_program", *pipelines.LOWER.split(",")]
    first_call(40)
    assert passes == dict.fromkeys(names, 1) | {"eliminate_dead_code": 2}


def test_nothing_is_collected_while_a_program_is_made(without_native_code: None) -> None:
    seen: list[str] = []
    gc.callbacks.append(lambda phase, info: seen.append(phase))
    try:
        first_call(400)
        assert gc.isenabled()
        assert len(seen) <= 4  # before and after
    finally:
        gc.callbacks.pop()
