"""Amounts: what cost models compute of extents that are not fixed, in floats.

An `Amount` remembers how it was computed, so that it can be computed again for other lengths: a comparison of amounts
gives the answer for the hints, and the scope notes it as a choice. Lengths for which all choices come out the same
belong to the same program, to the last bit.
"""

import math
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

from gradloomc.ir.extents import Extent, evaluated, hint_of, swapped


class Choice(NamedTuple):
    """A comparison and how it came out."""

    compare: Callable[[Any, Any], bool]
    x: Any
    y: Any
    outcome: bool

    def holds(self, values: dict[str, Any]) -> bool:
        """Tell whether it comes out the same for other lengths."""
        return self.compare(amount_of(self.x, values), amount_of(self.y, values)) == self.outcome


class Amount:
    """A number computed of extents: `compute(x, y)`."""

    __slots__ = ("compute", "hint", "scope", "x", "y")

    def __init__(self, scope: Any, compute: Callable[[Any, Any], Any], x: Any, y: Any):
        self.scope, self.compute, self.x, self.y = scope, compute, x, y
        self.hint = compute(_plain(x), _plain(y))

    def _with(self, compute: Callable[[Any, Any], Any], other: Any) -> Any:
        if isinstance(other, (Amount, Extent, int, float)):
            return Amount(self.scope, compute, self, other)
        return NotImplemented

    def _compared(self, compare: Callable[[Any, Any], bool], other: Any) -> Any:
        if not isinstance(other, (Amount, Extent, int, float)):
            return NotImplemented
        outcome = compare(self.hint, _plain(other))
        self.scope.note_choice(Choice(compare, self, other, outcome))
        return outcome

    def __ceil__(self) -> "Amount":
        return Amount(self.scope, _ceiling, self, 0)

    def __floor__(self) -> "Amount":
        return Amount(self.scope, operator.floordiv, self, 1)

    def __neg__(self) -> "Amount":
        return Amount(self.scope, operator.sub, 0, self)

    def __bool__(self) -> bool:
        return self._compared(operator.ne, 0)

    __hash__ = None  # type: ignore[assignment]

    def __float__(self) -> float:
        self.scope.note_escape("float() of an amount")
        return float(self.hint)

    def __int__(self) -> int:
        self.scope.note_escape("int() of an amount")
        return int(self.hint)

    def __str__(self) -> str:
        self.scope.note_escape("the text of an amount")
        return str(self.hint)

    __repr__ = __str__


def _ceiling(x: Any, _: Any) -> Any:
    return math.ceil(x)


def _arithmetic(compute: Callable[[Any, Any], Any]) -> tuple[Any, Any]:
    turned = swapped(compute)
    return (lambda self, other: self._with(compute, other)), (lambda self, other: self._with(turned, other))


def _comparison(compare: Callable[[Any, Any], bool]) -> Any:
    return lambda self, other: self._compared(compare, other)


_ARITHMETIC = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow")
_COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")
for _name in _ARITHMETIC:
    _forward, _reflected = _arithmetic(getattr(operator, _name))
    setattr(Amount, f"__{_name}__", _forward)
    setattr(Amount, f"__r{_name}__", _reflected)
for _name in _COMPARISONS:
    setattr(Amount, f"__{_name}__", _comparison(getattr(operator, _name)))


# What amounts and choices are computed by, under names that mean the same in every process.
COMPUTED: dict[str, Callable[[Any, Any], Any]] = {"ceil": _ceiling}
COMPUTED |= {name: getattr(operator, name) for name in (*_ARITHMETIC, *_COMPARISONS)}
COMPUTED |= {f"swapped {name}": swapped(getattr(operator, name)) for name in _ARITHMETIC}
NAMES: dict[Any, str] = {compute: name for name, compute in COMPUTED.items()}


def _plain(x: Any) -> Any:
    return x.hint if isinstance(x, Amount) else hint_of(x)


def amount_of(x: Any, values: dict[str, Any]) -> Any:
    """Return what an amount, an extent or a number is for given values of its scope's atoms."""
    if isinstance(x, Amount):
        return x.compute(amount_of(x.x, values), amount_of(x.y, values))
    return evaluated(x, values) if isinstance(x, Extent) else x
