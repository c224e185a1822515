"""CSE and DCE on ops of every trait, and that both are linear."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

from gradloomc.dialects.func import body_of, finish_function, make_function
from gradloomc.ir import types
from gradloomc.ir.builder import at
from gradloomc.ir.core import Module, Op
from gradloomc.ir.parser import parse_module
from gradloomc.ir.printer import print_module
from gradloomc.ir.verifier import verify
from gradloomc.passes.cse import eliminate_common_subexpressions
from gradloomc.passes.dce import eliminate_dead_code
from harness import dialect


def _apply(transform: Callable[[Op], int], body: str, expected: str, count: int) -> None:
    module = parse_module(dialect.function_text(body))
    verify(module)
    assert transform(module.functions["f"]) == count
    verify(module)
    assert print_module(module) == print_module(parse_module(dialect.function_text(expected)))
    assert transform(module.functions["f"]) == 0


CSE_CASES = {
    "equal ops": (
        "%0 = test.unary %x : f64\n%1 = test.unary %x : f64\ntest.store %0, %1 : f64\nfunc.return",
        "%0 = test.unary %x : f64\ntest.store %0, %0 : f64\nfunc.return",
        1,
    ),
    "chains": (
        "%0 = test.unary %x : f64\n%1 = test.unary %0 : f64\n%2 = test.unary %x : f64\n"
        "%3 = test.unary %2 : f64\n%4 = test.sub %1, %3 : f64\ntest.store %4 : f64\nfunc.return",
        "%0 = test.unary %x : f64\n%1 = test.unary %0 : f64\n%2 = test.sub %1, %1 : f64\n"
        "test.store %2 : f64\nfunc.return",
        2,
    ),
    "commutative ops, either order": (
        "%0 = test.add %x, %y : f64\n%1 = test.add %y, %x : f64\ntest.store %0, %1 : f64\n"
        "func.return",
        "%0 = test.add %x, %y : f64\ntest.store %0, %0 : f64\nfunc.return",
        1,
    ),
    "other ops, one order": (
        "%0 = test.sub %x, %y : f64\n%1 = test.sub %y, %x : f64\n%2 = test.sub %x, %y : f64\n"
        "test.store %0, %1, %2 : f64\nfunc.return",
        "%0 = test.sub %x, %y : f64\n%1 = test.sub %y, %x : f64\ntest.store %0, %1, %0 : f64\n"
        "func.return",
        1,
    ),
    "attributes by value and type": (
        "%0 = test.unary %x {a = 1.0 : f64} : f64\n%1 = test.unary %x {a = 1 : i64} : f64\n"
        "%2 = test.unary %x {a = true} : f64\n%3 = test.unary %x {a = -0.0 : f64} : f64\n"
        "%4 = test.unary %x {a = 0.0 : f64} : f64\n"
        "%5 = test.unary %x {a = 0x7FF8000000000000 : f64} : f64\n"
        "%6 = test.unary %x {a = 0x7FF8000000000000 : f64} : f64\n"
        "test.store %0, %1, %2, %3, %4, %5, %6 : f64\nfunc.return",
        "%0 = test.unary %x {a = 1.0 : f64} : f64\n%1 = test.unary %x {a = 1 : i64} : f64\n"
        "%2 = test.unary %x {a = true} : f64\n%3 = test.unary %x {a = -0.0 : f64} : f64\n"
        "%4 = test.unary %x {a = 0.0 : f64} : f64\n"
        "%5 = test.unary %x {a = 0x7FF8000000000000 : f64} : f64\n"
        "test.store %0, %1, %2, %3, %4, %5, %5 : f64\nfunc.return",
        1,
    ),
    "several results": (
        "%0, %1 = test.pair %x : f64\n%2, %3 = test.pair %x : f64\n"
        "test.store %0, %1, %2, %3 : f64\nfunc.return",
        "%0, %1 = test.pair %x : f64\ntest.store %0, %1, %0, %1 : f64\nfunc.return",
        1,
    ),
    "effects and reads of memory stay": (
        "test.store %x : f64\ntest.store %x : f64\n%0 = test.load %x : f64\n"
        "%1 = test.load %x : f64\ntest.store %0, %1 : f64\nfunc.return",
        "test.store %x : f64\ntest.store %x : f64\n%0 = test.load %x : f64\n"
        "%1 = test.load %x : f64\ntest.store %0, %1 : f64\nfunc.return",
        0,
    ),
    "a region sees what encloses it, not its sibling": (
        "%0 = test.unary %x : f64\n"
        "test.loop : () -> () {\n%1 = test.unary %x : f64\n%2 = test.unary %y : f64\n"
        "test.store %1, %2 : f64\ntest.yield\n}\n"
        "test.loop : () -> () {\n%1 = test.unary %y : f64\ntest.store %1 : f64\ntest.yield\n}\n"
        "%3 = test.unary %y : f64\ntest.store %3 : f64\nfunc.return",
        "%0 = test.unary %x : f64\n"
        "test.loop : () -> () {\n%1 = test.unary %y : f64\ntest.store %0, %1 : f64\ntest.yield\n}\n"
        "test.loop : () -> () {\n%1 = test.unary %y : f64\ntest.store %1 : f64\ntest.yield\n}\n"
        "%3 = test.unary %y : f64\ntest.store %3 : f64\nfunc.return",
        1,
    ),
    "ops with regions stay": (
        "%0 = test.loop %x : f64 {\ntest.yield %x : f64\n}\n"
        "%1 = test.loop %x : f64 {\ntest.yield %x : f64\n}\ntest.store %0, %1 : f64\nfunc.return",
        "%0 = test.loop %x : f64 {\ntest.yield %x : f64\n}\n"
        "%1 = test.loop %x : f64 {\ntest.yield %x : f64\n}\ntest.store %0, %1 : f64\nfunc.return",
        0,
    ),
    "operands inside regions follow": (
        "%0 = test.unary %x : f64\n%1 = test.unary %x : f64\n"
        "test.loop : () -> () {\ntest.store %1 : f64\ntest.yield\n}\nfunc.return",
        "%0 = test.unary %x : f64\n"
        "test.loop : () -> () {\ntest.store %0 : f64\ntest.yield\n}\nfunc.return",
        1,
    ),
    "a name is not lost": (
        "%0 = test.unary %x : f64\n%loss = test.unary %x : f64\ntest.store %loss : f64\n"
        "func.return",
        "%loss = test.unary %x : f64\ntest.store %loss : f64\nfunc.return",
        1,
    ),
}

DCE_CASES = {
    "chains": (
        "%0 = test.unary %x : f64\n%1 = test.unary %0 : f64\n%2 = test.add %1, %0 : f64\n"
        "func.return",
        "func.return",
        3,
    ),
    "what is used stays": (
        "%0 = test.unary %x : f64\n%1 = test.unary %0 : f64\ntest.store %0 : f64\nfunc.return",
        "%0 = test.unary %x : f64\ntest.store %0 : f64\nfunc.return",
        1,
    ),
    "one used result is enough": (
        "%0, %1 = test.pair %x : f64\ntest.store %1 : f64\nfunc.return",
        "%0, %1 = test.pair %x : f64\ntest.store %1 : f64\nfunc.return",
        0,
    ),
    "an unread load goes": ("%0 = test.load %x : f64\nfunc.return", "func.return", 1),
    "a region without effects goes with its op": (
        "%0 = test.unary %x : f64\n%1 = test.loop %x : f64 {\n%2 = test.unary %0 : f64\n"
        "test.yield %2 : f64\n}\nfunc.return",
        "func.return",
        2,
    ),
    "a region with effects keeps its op": (
        "%0 = test.loop %x : f64 {\n%1 = test.unary %x : f64\ntest.store %x : f64\n"
        "test.yield %x : f64\n}\nfunc.return",
        "%0 = test.loop %x : f64 {\ntest.store %x : f64\ntest.yield %x : f64\n}\nfunc.return",
        1,
    ),
    "dead ops in a region free those outside": (
        "%0 = test.unary %x : f64\n%1 = test.loop %x : f64 {\n%2 = test.unary %0 : f64\n"
        "test.yield %x : f64\n}\ntest.store %1 : f64\nfunc.return",
        "%0 = test.loop %x : f64 {\ntest.yield %x : f64\n}\ntest.store %0 : f64\nfunc.return",
        2,
    ),
}


@pytest.mark.parametrize("name", CSE_CASES)
def test_cse(name: str) -> None:
    _apply(eliminate_common_subexpressions, *CSE_CASES[name])


@pytest.mark.parametrize("name", DCE_CASES)
def test_dce(name: str) -> None:
    _apply(eliminate_dead_code, *DCE_CASES[name])


def _repeated(count: int) -> Op:
    """A function of `count` ops that come to nothing: half are merged, all are dead."""
    function = make_function("f", [types.f64] * 2)
    block = body_of(function)
    x, y = block.arguments
    with at(block):
        for _ in range(count // 4):
            a, b = dialect.add(x, y), dialect.add(y, x)
            x, y = dialect.unary(a), dialect.unary(b)
    return finish_function(function, [])


@pytest.mark.parametrize(
    ("transform", "removed"),
    [(eliminate_common_subexpressions, 0.5), (eliminate_dead_code, 1.0)],
)
def test_both_are_linear(transform: Callable[[Op], int], removed: float) -> None:
    def calls(count: int) -> int:
        """Return how many functions are called: unlike seconds, the same on every machine."""
        function = _repeated(count)
        seen = 0

        def note(frame: Any, event: str, argument: Any) -> None:
            nonlocal seen
            seen += event in ("call", "c_call")

        sys.setprofile(note)
        try:
            made = transform(function)
        finally:
            sys.setprofile(None)
        assert made == removed * count
        verify(Module([function]))
        return seen

    assert calls(10_000) < 11 * calls(1000)
