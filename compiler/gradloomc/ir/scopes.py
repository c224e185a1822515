"""The scope of extents that are not fixed: symbols, what is assumed of them, and the guards that were found out.

Whoever compares an extent gets the answer for the hints, and the scope notes it. Lengths for which all notes hold would
have led to the same program; `environment` tells, and gives the values of all that expressions are made of. Start
reading at `Scope`.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

from gradloomc.ir.amounts import Amount, Choice
from gradloomc.ir.extents import Extent, Monomial, Terms, evaluated, exact_quotient, hint_of, text_of

FAR = 1 << 62  # no extent is as large
_CONSTANT: Monomial = ()
LEAST = 2  # a symbol is at least this: extents of 0 and 1 mean other programs (nothing to do, broadcasts)


class LengthNeededError(Exception):
    """The number itself was needed, in a strict scope."""


class Scope:
    """Symbols, what is assumed of them, and the guards that were found out.

    Attributes:
        hints: the value of each symbol for now.
        low, high: the range of each symbol that the guards allow.
        guards: further conditions, as (relation, expression): '>=' and '!=' compare with 0.
        choices: how comparisons of amounts came out.
        assumed: atoms that stand for another expression, because two lengths turned out to be used as one.
        divided: atoms that are a part of another one, because that turned out to be a multiple.
        merged: something was assumed anew, so that what was built so far does not know it.
        pinned: why the program fits the hints alone; '' if it does not.
        escape: the same, where any other length would end the same way.
        strict: symbols that are needed as numbers end what goes on, by `LengthNeededError`.
        needed: these symbols.
        lift: makes a traced number of an extent that meets floats; None where nothing is traced.
        locate: says where the user's code stands.
    """

    __slots__ = (
        "_bounds",
        "_extents",
        "assumed",
        "atoms",
        "choices",
        "divided",
        "escape",
        "frozen",
        "guards",
        "high",
        "hints",
        "is_users",
        "lift",
        "locate",
        "low",
        "merged",
        "needed",
        "pinned",
        "strict",
        "types",
    )

    def __init__(self, hints: Iterable[int], known: "Scope | None" = None):
        """Make symbols with these hints, with the assumptions of the scope `known`."""
        self.hints = {f"n{k}": hint for k, hint in enumerate(hints)}
        self.low = dict.fromkeys(self.hints, LEAST)
        self.high = dict.fromkeys(self.hints, FAR)
        self.guards: dict[tuple[str, Extent], None] = {}
        self.choices: list[Choice] = []
        self.assumed: dict[str, tuple[tuple[Monomial, int], ...]] = {} if known is None else dict(known.assumed)
        self.divided: dict[str, tuple[str, int]] = {} if known is None else dict(known.divided)
        self.merged = self.frozen = False
        self.pinned = self.escape = ""
        self.strict = False
        self.needed: set[str] = set()
        self.lift: Callable[[Extent], Any] | None = None
        self.locate: Callable[[], str] = str
        self.is_users: Callable[[str], bool] = lambda filename: False
        self.types: dict[Any, Any] = {}  # interned types with extents of this scope
        self.atoms: dict[str, tuple[Extent, Extent | int]] = {}  # floor quotients: numerator and divisor, in order
        self._extents: dict[tuple[Any, ...], Extent] = {}
        self._bounds: dict[Any, tuple[int, int]] = {}  # of expressions, as long as no range of a symbol changes
        for name, (whole, divisor) in self.divided.items():
            terms = (((whole,), 1),)
            self.atoms[name] = (Extent(self, terms, self._value(terms)), divisor)

    # --- making extents -----------------------------------------------------------------------------------------------

    def symbol(self, position: int) -> "Extent | int":
        """Return the symbol `n<position>`."""
        return self._atom(f"n{position}", self.hints[f"n{position}"])

    def _atom(self, name: str, value: int) -> "Extent | int":
        known = self.assumed.get(name)
        if known is not None:
            total: Any = 0
            for factors, coefficient in known:
                for factor in factors:
                    coefficient = coefficient * self._named(factor)
                total = total + coefficient
            return total
        return self.make({(name,): 1})

    def _named(self, name: str) -> "Extent | int":
        if name in self.hints:
            return self._atom(name, self.hints[name])
        return self.make({(name,): 1}) if name in self.atoms else self._missing(name)

    def _missing(self, name: str) -> "Extent | int":
        self.note_escape(f"an assumption about {name}, which is not known yet")
        return 1

    def make(self, terms: Terms) -> "Extent | int":
        """Return the extent with these terms, a plain int if they are constant."""
        terms = {monomial: coefficient for monomial, coefficient in terms.items() if coefficient}
        if not terms:
            return 0
        if len(terms) == 1 and () in terms:
            return terms[()]
        return self.interned(tuple(sorted(terms.items())))

    def shifted(self, x: "Extent", by: int) -> "Extent":
        """Return x + by for a plain number."""
        if by == 0:
            return x
        terms = x.terms
        if not terms[0][0]:  # the constant comes first
            by += terms[0][1]
            terms = terms[1:]
        return self.interned(((_CONSTANT, by), *terms) if by else terms)

    def interned(self, key: tuple[tuple[Monomial, int], ...]) -> "Extent":
        """Return the extent with these terms, in order and none of them 0."""
        found = self._extents.get(key)
        if found is None:
            found = self._extents[key] = Extent(self, key, self._value(key))
        return found

    def _value(self, key: tuple[Any, ...]) -> int:
        total = 0
        for factors, coefficient in key:
            for name in factors:
                if name in self.hints:
                    coefficient *= self.hints[name]
                else:
                    numerator, divisor = self.atoms[name]
                    coefficient *= numerator.hint // hint_of(divisor)
            total += coefficient
        return total

    def quotient(self, x: "Extent", divisor: Any) -> Any:
        """Return x // divisor: exactly where the division is exact, else with a floor quotient of the rest."""
        if divisor == 0:
            raise ZeroDivisionError("integer division or modulo by zero")
        if type(divisor) is Extent:
            exact = exact_quotient(dict(x.terms), dict(divisor.terms))
            return self.make(exact) if exact is not None else self._floor(x, divisor)
        if divisor < 0:
            return -x // -divisor
        whole: Terms = {}
        rest: Terms = {}
        for monomial, coefficient in x.terms:
            whole[monomial], remainder = divmod(coefficient, divisor)
            if remainder:
                rest[monomial] = remainder
        result, remainder = self.make(whole), self.make(rest)
        if not isinstance(remainder, Extent):  # of a divisor's multiple: smaller than it
            return result
        leading = remainder.terms[-1][1]
        if divisor == 2 and rest.get((), 0):  # one form for the upper half: floor((x + 1) / 2) = x - floor(x / 2)
            lower = remainder - 1
            return result + lower - lower // 2
        if 2 * leading > divisor:  # one form for x and -x: floor(r / d) = -floor((d - 1 - r) / d)
            return result - (divisor - 1 - remainder) // divisor
        return result + self._floor(remainder, divisor)

    def _floor(self, x: "Extent", divisor: "Extent | int") -> "Extent | int":
        name = f"({x.text})//{divisor.text if type(divisor) is Extent else divisor}"
        if name not in self.atoms:
            self.atoms[name] = (x, divisor)
        return self._atom(name, x.hint // hint_of(divisor))

    # --- what is known ------------------------------------------------------------------------------------------------

    def bounds(self, x: "Extent") -> tuple[int, int]:
        """Return numbers that `x` is never below and never above."""
        low = high = 0
        for factors, coefficient in x.terms:
            if not factors:
                least = most = 1
            elif len(factors) == 1 and factors[0] in self.low:
                least, most = self.low[factors[0]], self.high[factors[0]]
            else:
                break
            low += coefficient * (least if coefficient > 0 else most)
            high += coefficient * (most if coefficient > 0 else least)
        else:  # linear in symbols
            return low, high
        found = self._bounds.get(x.terms)
        if found is None:
            found = self._bounds[x.terms] = (-self._most(x.terms, -1), self._most(x.terms, 1))
        return found

    def _most(self, x: tuple[tuple[Monomial, int], ...], sign: int) -> int:
        """Return what sign * x is never above; floor quotients that stand alone give way to plain quotients."""
        scale = 1  # of all coefficients, so that they are whole
        terms: Terms = {}
        pending = [(factors, sign * coefficient) for factors, coefficient in x]
        while pending:
            factors, coefficient = pending.pop()
            atom = self.atoms.get(factors[0]) if len(factors) == 1 else None
            if atom is None or type(atom[1]) is Extent:
                terms[factors] = terms.get(factors, 0) + coefficient
                continue
            numerator, divisor = atom
            assert type(divisor) is int
            share, rest = divmod(coefficient, divisor)
            if rest:
                share, scale = coefficient, scale * divisor
                terms = {monomial: each * divisor for monomial, each in terms.items()}
                pending = [(monomial, each * divisor) for monomial, each in pending]
            pending += [(inner, share * factor) for inner, factor in numerator.terms]
            if share < 0:  # the quotient may be as much as (divisor - 1) / divisor smaller
                terms[()] = terms.get((), 0) - share * (divisor - 1)
        total = 0
        for factors, coefficient in terms.items():
            least = most = 1
            for name in factors:
                low, high = self._range(name)
                products = (least * low, least * high, most * low, most * high)
                least, most = min(products), max(products)
            total += coefficient * (most if coefficient > 0 else least)
        return total // scale

    def _range(self, name: str) -> tuple[int, int]:
        if name in self.low:
            return self.low[name], self.high[name]
        found = self._bounds.get(name)
        if found is None:
            numerator, divisor = self.atoms[name]
            low, high = self.bounds(numerator)
            least, most = self.bounds(divisor) if type(divisor) is Extent else (divisor, divisor)
            ends = (-FAR, FAR) if least <= 0 else (low // least, low // most, high // least, high // most)
            found = self._bounds[name] = (min(ends), max(ends))
        return found

    # --- conditions ---------------------------------------------------------------------------------------------------

    def is_positive(self, x: "Extent | int") -> bool:
        """Tell whether x > 0, and note that as a guard where it is not known already."""
        if type(x) is not Extent:
            return x > 0
        low, high = self.bounds(x)
        if low > 0 or high <= 0:
            return low > 0
        if x.hint > 0:
            self.note_guard(x - 1)
            return True
        self.note_guard(-x)
        return False

    def note_guard(self, x: "Extent | int") -> None:
        """Note that x >= 0."""
        if self.frozen or type(x) is not Extent:
            return
        single = _single(x)
        while single is not None and single[0] not in self.low:  # of a quotient: the same of what is divided
            name, coefficient, constant = single
            numerator, divisor = self.atoms[name]
            inner = _single(numerator) if type(divisor) is int else None
            if inner is None or inner[1] != 1:
                break
            name, _, shift = inner
            if coefficient > 0:
                single = (name, 1, shift + divisor * (constant // coefficient))
            else:
                single = (name, -1, divisor * (constant // -coefficient) + divisor - 1 - shift)
        if single is None or single[0] not in self.low:
            self.guards[">=", x] = None
            return
        name, coefficient, constant = single
        if coefficient > 0:
            self.low[name] = max(self.low[name], -(constant // coefficient))
        else:
            self.high[name] = min(self.high[name], constant // -coefficient)
        self._bounds.clear()

    def is_zero(self, x: "Extent | int") -> bool:
        """Tell whether x == 0, and note that as a guard, or as an assumption, where it is not known already."""
        if type(x) is not Extent:
            return x == 0
        low, high = self.bounds(x)
        if low > 0 or high < 0:
            return False
        if x.hint == 0:
            if not self.frozen:
                self._assume_zero(x)
            return True
        if low == 0:
            self.note_guard(x - 1)
        elif high == 0:
            self.note_guard(-x - 1)
        elif not self.frozen:
            self.guards["!=", x] = None
        return False

    def _assume_zero(self, x: "Extent") -> None:
        """Solve x == 0 for an atom; all that is built from now on (in a scope with these assumptions) has one form."""
        self._need(x)
        candidates = [
            (factors[0] in self.atoms, factors[0], coefficient)
            for factors, coefficient in x.terms
            if len(factors) == 1 and abs(coefficient) == 1
        ]
        for _, name, sign in sorted(candidates, reverse=True):
            rest = [(factors, -sign * coefficient) for factors, coefficient in x.terms if factors != (name,)]
            if any(name in factors or _mentions(factor, name) for factors, _ in rest for factor in factors):
                continue
            if not any(factors for factors, _ in rest):
                break  # it would be a number
            self.assumed[name] = tuple(rest)
            self.merged = True
            return
        for name, (numerator, divisor) in self.atoms.items():  # x = y - d (y // d): y is a multiple of d
            whole = _single(numerator)
            if whole is None or isinstance(divisor, Extent) or whole[1:] != (1, 0):
                continue
            if dict(x.terms) in ({(whole[0],): 1, (name,): -divisor}, {(whole[0],): -1, (name,): divisor}):
                self.divided[name] = (whole[0], divisor)
                self.assumed[whole[0]] = (((name,), divisor),)
                self.merged = True
                return
        if not self.pinned:
            self.pinned = f"{x.text} == 0 was asked for{self.locate()}"

    def amount(self, compute: Callable[[Any, Any], Any], x: Any, y: Any) -> Amount:
        """Return what a cost model computes of extents."""
        return Amount(self, compute, x, y)

    def note_choice(self, choice: Choice) -> None:
        """Note how a comparison of amounts came out."""
        if not self.frozen:
            self.choices.append(choice)

    def note_escape(self, what: str, x: "Extent | None" = None) -> None:
        """Note that the number itself was needed, of an extent if that is known."""
        if self.frozen:
            return
        if not self.escape:
            self.escape = f"{what}{self.locate()}"
        if x is not None:
            self._need(x)

    def _need(self, x: "Extent") -> None:
        if self.strict:
            self.needed |= self._symbols_in(x)
            raise LengthNeededError(x.text)

    def _symbols_in(self, x: Any) -> set[str]:
        """Return the symbols that an extent is made of."""
        found: set[str] = set()
        for name in {name for factors, _ in x.terms for name in factors} if type(x) is Extent else ():
            found |= {name} if name in self.hints else set().union(*map(self._symbols_in, self.atoms[name]))
        return found

    @property
    def failed(self) -> bool:
        """The program made fits the hints alone."""
        return bool(self.escape or self.pinned)

    # --- other values -------------------------------------------------------------------------------------------------

    def environment(self, symbols: Iterable[int]) -> "dict[str, int] | None":
        """Return the atoms' values for lengths that satisfy all guards; None if one is not satisfied."""
        values: dict[str, Any] = {}
        for name, value in zip(self.hints, symbols, strict=True):
            if not self.low[name] <= value <= self.high[name]:
                return None
            values[name] = value
        try:
            self._fill(values)
        except ZeroDivisionError:  # where a guard that is looked at below does not hold
            return None
        for name, solution in self.assumed.items():
            if name not in values:
                continue
            if values[name] != sum(math.prod([values[f] for f in factors]) * c for factors, c in solution):
                return None
        for relation, x in self.guards:
            value = evaluated(x, values)
            if (value < 0) if relation == ">=" else (value == 0):
                return None
        return values if all(choice.holds(values) for choice in self.choices) else None

    def filled(self, symbols: Iterable[Any]) -> "dict[str, Any] | None":
        """Return the atoms' values for symbols that are numbers or extents of another scope; no guard is looked at."""
        values: dict[str, Any] = dict(zip(self.hints, symbols, strict=True))
        try:
            self._fill(values)
        except ZeroDivisionError:
            return None
        return values

    def _fill(self, values: dict[str, Any]) -> None:
        for name, (numerator, divisor) in self.atoms.items():
            below = evaluated(divisor, values) if type(divisor) is Extent else divisor
            values[name] = evaluated(numerator, values) // below

    def noted(self) -> "Scope":
        """Return a frozen scope that has what was found out so far, and goes on having that alone."""
        scope = Scope(self.hints.values(), self)
        scope.low, scope.high, scope.atoms = dict(self.low), dict(self.high), dict(self.atoms)
        scope.guards, scope.choices = dict(self.guards), list(self.choices)
        scope.frozen = True
        return scope

    def moved(self, hints: Iterable[int], known: "Scope | None" = None) -> "tuple[Scope, dict[str, Any]]":
        """Return a scope with the same guards and other hints, and what this scope's atoms are there.

        Args:
            known: such a scope, in which more lengths turned out to be equal.
        """
        scope = Scope(hints, known or self)
        scope.low, scope.high = dict(self.low), dict(self.high)
        values: dict[str, Any] = {name: scope.symbol(k) for k, name in enumerate(self.hints)}
        self._fill(values)
        moved = [(relation, evaluated(x, values)) for relation, x in self.guards]
        scope.guards = {(relation, x): None for relation, x in moved if type(x) is Extent}
        return scope, values

    def conditions(self) -> list[str]:
        """Return the guards as text."""
        lines = []
        for name in self.hints:
            low, high = self.low[name], self.high[name]
            if name not in self.assumed or (low, high) != (LEAST, FAR):
                lines.append(f"{low} <= {name}" + ("" if high == FAR else f" <= {high}"))
        lines += [f"{name} == {text_of(solution)}" for name, solution in self.assumed.items()]
        lines += [f"{x.text} {relation} 0" for relation, x in self.guards]
        return [*lines, f"{len(self.choices)} choices by cost"] if self.choices else lines


def _single(x: "Extent") -> tuple[str, int, int] | None:
    """Return (atom, coefficient, constant) of an expression in one atom; None for any other."""
    factors, coefficient = x.terms[-1]
    if len(factors) != 1 or len(x.terms) > 2 or (len(x.terms) == 2 and x.terms[0][0]):
        return None
    return factors[0], coefficient, x.terms[0][1] if len(x.terms) == 2 else 0


def _mentions(atom: str, name: str) -> bool:
    return name != atom and name in atom
