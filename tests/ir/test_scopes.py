"""Scopes of lengths that are not fixed: bounds hold for every value that the guards allow."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gradloomc.ir.extents import Extent, evaluated
from gradloomc.ir.scopes import LEAST, Scope

NUMBERS = st.integers(-40, 40)
STEPS = st.lists(
    st.tuples(st.sampled_from(["n0", "n1", "half", "third", "+", "-", "*", "//"]), NUMBERS), min_size=1, max_size=8
)


def expression(scope: Scope, steps: list[tuple[str, int]]) -> Any:
    """Return an expression in two symbols and floor quotients."""
    x: Any = scope.symbol(0)
    for kind, number in steps:
        if kind in ("n0", "n1"):
            x = x + number * scope.symbol(int(kind[1]))
        elif kind in ("half", "third"):
            x = x - number * (scope.symbol(0) // (2 if kind == "half" else 3))
        elif kind == "+":
            x = x + number
        elif kind == "-":
            x = number - x
        elif kind == "*":
            x = x * (number // 8)
        elif number:
            x = x // number
    return x


@settings(max_examples=300, deadline=None)
@given(STEPS, st.integers(LEAST, 60), st.integers(LEAST, 60), st.integers(0, 30))
def test_bounds_hold_for_all_lengths_that_guards_allow(
    steps: list[tuple[str, int]], first: int, second: int, width: int
) -> None:
    scope = Scope([first, second])
    x = expression(scope, steps)
    if type(x) is not Extent:
        return
    before = scope.bounds(x)
    values = scope.filled((first, second))
    assert values is not None and before[0] <= evaluated(x, values) <= before[1]
    scope.note_guard(scope.symbol(0) - max(LEAST, first - width))  # lower and upper ends of the symbols
    scope.note_guard(first + width - scope.symbol(0))
    scope.note_guard(second + width - scope.symbol(1))
    low, high = scope.bounds(x)
    assert before[0] <= low and high <= before[1]  # what was remembered before is not used any more
    for one in (max(LEAST, first - width), first, first + width):
        for other in (LEAST, second, second + width):
            values = scope.environment((one, other))
            assert values is not None
            assert low <= evaluated(x, values) <= high


def test_bounds_of_quotients_are_as_narrow_as_the_quotients() -> None:
    scope = Scope([100])
    n: Any = scope.symbol(0)
    scope.note_guard(200 - n)
    assert scope.bounds(n - n // 2 * 2) == (0, 1)
    assert scope.bounds(n // 3) == (0, 66)
    assert scope.bounds(n * (n // 4)) == (0, 10000)


def test_what_was_noted_goes_on_having_that_alone() -> None:
    scope = Scope([100])
    n: Any = scope.symbol(0)
    assert n > 50
    noted = scope.noted()
    assert n > 80
    assert noted.environment((70,)) is not None and scope.environment((70,)) is None
    assert noted.environment((40,)) is None
    assert noted.frozen and not scope.frozen
