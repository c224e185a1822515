"""Scopes as plain values: what is known of lengths that are not fixed, for another process.

An extent is written as a set with its terms alone, an amount as a list; both are read in a scope. What lengths are for
now is not written.
"""

from collections.abc import Iterable
from typing import Any

from gradloomc.ir.amounts import COMPUTED, NAMES, Amount, Choice
from gradloomc.ir.extents import Extent
from gradloomc.ir.scopes import Scope

__all__ = ["plain_scope", "restored_scope"]


def plain_scope(scope: Scope) -> tuple[Any, ...]:
    """Return all that decides for which lengths a scope's program is good, and what its atoms are."""
    return (
        len(scope.hints),
        list(scope.low.items()),
        list(scope.high.items()),
        list(scope.assumed.items()),
        list(scope.divided.items()),
        [(name, _written(numerator), _written(divisor)) for name, (numerator, divisor) in scope.atoms.items()],
        [(relation, _written(x)) for relation, x in scope.guards],
        [(NAMES[each.compare], _written(each.x), _written(each.y), bool(each.outcome)) for each in scope.choices],
    )


def restored_scope(plain: tuple[Any, ...], hints: Iterable[int]) -> Scope:
    """Return the scope that was written, frozen, with these hints.

    Raises:
        ValueError, KeyError, TypeError: it is something else.
        ZeroDivisionError: it divides by what is 0 for these hints, which then do not satisfy its guards.
    """
    count, low, high, assumed, divided, atoms, guards, choices = plain
    scope = Scope(hints)
    if len(scope.hints) != count:
        raise ValueError("a scope of other symbols")
    scope.low, scope.high = dict(low), dict(high)
    for name, numerator, divisor in atoms:
        (terms,) = numerator
        scope.atoms[name] = (scope.interned(terms), _read(divisor, scope))  # a numerator may be a plain number
    scope.guards = {(relation, _read(x, scope)): None for relation, x in guards}
    scope.choices = [
        Choice(COMPUTED[compare], _read(x, scope), _read(y, scope), outcome) for compare, x, y, outcome in choices
    ]
    scope.assumed, scope.divided = dict(assumed), dict(divided)
    scope.frozen = True
    return scope


def _written(x: Any) -> Any:
    if type(x) is Extent:
        return {x.terms}
    if type(x) is Amount:
        return [NAMES[x.compute], _written(x.x), _written(x.y)]
    return x


def _read(x: Any, scope: Scope) -> Any:
    if type(x) is set:
        return extent_of(x, scope)
    if type(x) is list:
        compute, left, right = x
        return Amount(scope, COMPUTED[compute], _read(left, scope), _read(right, scope))
    return x


def extent_of(written: set[Any], scope: Scope) -> Any:
    """Return the extent that is written as a set, in a scope."""
    (terms,) = written
    return scope.make(dict(terms))
