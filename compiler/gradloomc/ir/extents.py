"""Extents that are not fixed yet: whole numbers with an expression in symbols and the value that they have for now.

An `Extent` stands where a plain int would: in shapes, bounds of slices, offsets of index maps. It is a polynomial in
symbols (`n0`) and floor quotients (`n0//2`), so equal lengths have equal expressions, and its arithmetic gives plain
ints where the symbols cancel. It acts on the value that it has in the shapes at hand, its *hint*, and what was found
out that way becomes a condition of the `Scope`, a guard: other lengths for which all guards hold would have led to the
same program. What cannot be followed, because C code or a printed text needs the number itself, is noted as an
*escape*: the program made is then good for the hints only, and nobody uses it for anything else.

The file knows nothing of shapes, types and ops. Start reading at `Scope`.
"""

import math
import operator
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

Monomial = tuple[str, ...]  # names of atoms, in order
Terms = dict[Monomial, int]

FAR = 1 << 62  # no extent is as large
LEAST = 2  # a symbol is at least this: extents of 0 and 1 mean other programs (nothing to do, broadcasts)


class Scope:
    """Symbols, what is assumed of them, and the guards that were found out.

    Attributes:
        hints: the value of each symbol for now.
        low, high: the range of each symbol that the guards allow.
        guards: further conditions, as (relation, expression): '>=' and '!=' compare with 0.
        assumed: atoms that stand for another expression, because two lengths turned out to be used as one.
        divided: atoms that are a part of another one, because that turned out to be a multiple.
        merged: something was assumed anew, so that what was built so far does not know it.
        pinned: why the program fits the hints alone; '' if it does not.
        escape: the same, where any other length would end the same way.
        lift: makes a traced number of an extent that meets floats; None where nothing is traced.
        locate: says where the user's code stands.
    """

    __slots__ = (
        "_atoms",
        "_extents",
        "assumed",
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
        "pinned",
        "types",
    )

    def __init__(self, hints: Iterable[int], known: "Scope | None" = None):
        """Make symbols with these hints, with the assumptions of the scope `known`."""
        self.hints = {f"n{k}": hint for k, hint in enumerate(hints)}
        self.low = dict.fromkeys(self.hints, LEAST)
        self.high = dict.fromkeys(self.hints, FAR)
        self.guards: dict[tuple[str, Extent], None] = {}
        self.assumed: dict[str, tuple[tuple[Monomial, int], ...]] = {} if known is None else dict(known.assumed)
        self.divided: dict[str, tuple[str, int]] = {} if known is None else dict(known.divided)
        self.merged = self.frozen = False
        self.pinned = self.escape = ""
        self.lift: Callable[[Extent], Any] | None = None
        self.locate: Callable[[], str] = str
        self.is_users: Callable[[str], bool] = lambda filename: False
        self.types: dict[Any, Any] = {}  # interned types with extents of this scope
        self._atoms: dict[str, tuple[Extent, Extent | int]] = {}  # floor quotients: numerator and divisor, in order
        self._extents: dict[tuple[Any, ...], Extent] = {}
        for name, (whole, divisor) in self.divided.items():
            terms = (((whole,), 1),)
            self._atoms[name] = (Extent(self, terms, self._value(terms)), divisor)

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
        return self.make({(name,): 1}) if name in self._atoms else self._missing(name)

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
        key = tuple(sorted(terms.items()))
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
                    numerator, divisor = self._atoms[name]
                    coefficient *= numerator.hint // hint_of(divisor)
            total += coefficient
        return total

    def quotient(self, x: "Extent", divisor: Any) -> Any:
        """Return x // divisor: exactly where the division is exact, else with a floor quotient of the rest."""
        if divisor == 0:
            raise ZeroDivisionError("integer division or modulo by zero")
        if type(divisor) is Extent:
            exact = _exact_quotient(dict(x.terms), dict(divisor.terms))
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
        if name not in self._atoms:
            self._atoms[name] = (x, divisor)
        return self._atom(name, x.hint // hint_of(divisor))

    # --- what is known ------------------------------------------------------------------------------------------------

    def bounds(self, x: "Extent") -> tuple[int, int]:
        """Return numbers that `x` is never below and never above."""
        return math.ceil(self._bound(x, -1)), math.floor(self._bound(x, 1))

    def _bound(self, x: "Extent", side: int) -> Fraction:
        """Return the lower (-1) or upper (1) bound; floor quotients that stand alone give way to plain quotients."""
        terms: dict[Monomial, Fraction] = {}

        def add(monomial: Monomial, coefficient: Fraction) -> None:
            terms[monomial] = terms.get(monomial, Fraction(0)) + coefficient

        pending = [(factors, Fraction(coefficient)) for factors, coefficient in x.terms]
        while pending:
            factors, coefficient = pending.pop()
            atom = self._atoms.get(factors[0]) if len(factors) == 1 else None
            if atom is None or type(atom[1]) is Extent:
                add(factors, coefficient)
                continue
            numerator, divisor = atom
            share = coefficient / divisor
            pending += [(inner, share * factor) for inner, factor in numerator.terms]
            if (coefficient > 0) != (side > 0):  # the quotient may be as much as (divisor - 1) / divisor smaller
                add((), -share * (divisor - 1))
        total = Fraction(0)
        for factors, coefficient in terms.items():
            ends = (Fraction(1), Fraction(1))
            for name in factors:
                a, b = ends
                c, d = self._range(name)
                products = (a * c, a * d, b * c, b * d)
                ends = (min(products), max(products))
            total += coefficient * (ends[1] if (coefficient > 0) == (side > 0) else ends[0])
        return total

    def _range(self, name: str) -> tuple[int, int]:
        if name in self.low:
            return self.low[name], self.high[name]
        numerator, divisor = self._atoms[name]
        low, high = self.bounds(numerator)
        least, most = self.bounds(divisor) if type(divisor) is Extent else (divisor, divisor)
        if least <= 0:
            return -FAR, FAR
        ends = (low // least, low // most, high // least, high // most)
        return min(ends), max(ends)

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
            numerator, divisor = self._atoms[name]
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
        candidates = [
            (factors[0] in self._atoms, factors[0], coefficient)
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
        for name, (numerator, divisor) in self._atoms.items():  # x = y - d (y // d): y is a multiple of d
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

    def note_escape(self, what: str) -> None:
        """Note that the number itself was needed."""
        if not self.frozen and not self.escape:
            self.escape = f"{what}{self.locate()}"

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
        self._fill(values)
        for name, solution in self.assumed.items():
            if name not in values:
                continue
            if values[name] != sum(math.prod([values[f] for f in factors]) * c for factors, c in solution):
                return None
        for relation, x in self.guards:
            value = evaluated(x, values)
            if (value < 0) if relation == ">=" else (value == 0):
                return None
        return values

    def _fill(self, values: dict[str, Any]) -> None:
        for name, (numerator, divisor) in self._atoms.items():
            below = evaluated(divisor, values) if type(divisor) is Extent else divisor
            values[name] = evaluated(numerator, values) // below

    def moved(self, hints: Iterable[int]) -> "tuple[Scope, dict[str, Any]]":
        """Return a scope with the same guards and other hints, and what this scope's atoms are there."""
        scope = Scope(hints, self)
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
        lines += [f"{name} == {_text(solution)}" for name, solution in self.assumed.items()]
        return [*lines, *[f"{x.text} {relation} 0" for relation, x in self.guards]]


def _single(x: "Extent") -> tuple[str, int, int] | None:
    """Return (atom, coefficient, constant) of an expression in one atom; None for any other."""
    factors, coefficient = x.terms[-1]
    if len(factors) != 1 or len(x.terms) > 2 or (len(x.terms) == 2 and x.terms[0][0]):
        return None
    return factors[0], coefficient, x.terms[0][1] if len(x.terms) == 2 else 0


def _mentions(atom: str, name: str) -> bool:
    return name != atom and name in atom


class Extent:
    """A whole number that may differ from run to run; see the file's description.

    For Python code its class is int; C code sees an object with `__index__`, and using that is an escape.
    """

    __slots__ = ("_hash", "hint", "scope", "terms")

    def __init__(self, scope: Scope, terms: tuple[tuple[Monomial, int], ...], hint: int):
        self.scope, self.terms, self.hint = scope, terms, hint
        self._hash = hash(terms)

    __class__ = property(lambda self: int)  # type: ignore[assignment]

    @property
    def text(self) -> str:
        """The expression."""
        return _text(self.terms)

    # --- whole-number arithmetic --------------------------------------------------------------------------------------

    def __add__(self, other: Any) -> Any:
        return _whole(self, other, _sum, operator.add)

    def __sub__(self, other: Any) -> Any:
        return _whole(self, other, _difference, operator.sub)

    def __rsub__(self, other: Any) -> Any:
        return _whole(self, other, lambda x, y: _difference(y, x), _swapped(operator.sub))

    def __mul__(self, other: Any) -> Any:
        return _whole(self, other, _product, operator.mul)

    __radd__ = __add__
    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Any:
        return _whole(self, other, self.scope.quotient, operator.floordiv)

    def __rfloordiv__(self, other: Any) -> Any:
        return _whole(self, other, lambda x, y: _constant_over(y, x), _swapped(operator.floordiv))

    def __mod__(self, other: Any) -> Any:
        return _whole(self, other, lambda x, y: x - (x // y) * y, operator.mod)

    def __rmod__(self, other: Any) -> Any:
        return _whole(self, other, lambda x, y: y - (y // x) * x, _swapped(operator.mod))

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __pow__(self, other: Any) -> Any:
        if type(other) is int and 0 <= other <= 8:
            return math.prod([self] * other)
        return self._number(operator.pow, other)

    def __rpow__(self, other: Any) -> Any:
        return self._number(_swapped(operator.pow), other)

    def __truediv__(self, other: Any) -> Any:
        return self._number(operator.truediv, other)

    def __rtruediv__(self, other: Any) -> Any:
        return self._number(_swapped(operator.truediv), other)

    def __neg__(self) -> Any:
        return self.scope.make({monomial: -coefficient for monomial, coefficient in self.terms})

    def __pos__(self) -> "Extent":
        return self

    def __abs__(self) -> Any:
        return -self if self < 0 else self

    # --- comparisons --------------------------------------------------------------------------------------------------

    def __eq__(self, other: Any) -> Any:
        if self is other:
            return True
        return _compared(self, other, lambda difference: self.scope.is_zero(difference))

    def __ne__(self, other: Any) -> Any:
        same = self.__eq__(other)
        return same if same is NotImplemented else not same

    def __lt__(self, other: Any) -> Any:
        return _compared(self, other, lambda difference: self.scope.is_positive(-difference))

    def __gt__(self, other: Any) -> Any:
        return _compared(self, other, self.scope.is_positive)

    def __le__(self, other: Any) -> Any:
        return _compared(self, other, lambda difference: not self.scope.is_positive(difference))

    def __ge__(self, other: Any) -> Any:
        return _compared(self, other, lambda difference: not self.scope.is_positive(-difference))

    def __bool__(self) -> bool:
        return not self.scope.is_zero(self)

    def __hash__(self) -> int:
        import sys

        scope = self.scope
        if not scope.frozen and scope.is_users(sys._getframe(1).f_code.co_filename):
            return hash(self._escape("the use of a length as a key"))
        return self._hash

    # --- the number itself --------------------------------------------------------------------------------------------

    def _escape(self, what: str) -> int:
        self.scope.note_escape(what)
        return self.hint

    def _number(self, compute: Callable[[Any, Any], Any], other: Any) -> Any:
        """Compute with a number that is no whole one: as a traced number, if something is being traced."""
        if type(other) is not Extent and not isinstance(other, (int, float)):
            return NotImplemented
        lift = self.scope.lift
        traced = None if lift is None else lift(self)
        if traced is None:
            return compute(self._escape("arithmetic with a length"), other)
        return compute(traced, other)

    def __index__(self) -> int:
        return self._escape("the use of a length as a plain int")

    def __int__(self) -> int:
        return self._escape("int() of a length")

    def __float__(self) -> float:
        return float(self._escape("float() of a length"))

    def __str__(self) -> str:
        return str(self._escape("the text of a length"))

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return format(self._escape("the text of a length"), spec)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        """NumPy calls this for a ufunc with an extent among its operands (NEP 13)."""
        lift = self.scope.lift

        def plain(x: Any) -> Any:
            if type(x) is not Extent:
                return x
            traced = None if lift is None else lift(x)
            return x._escape(f"np.{ufunc.__name__} of a length") if traced is None else traced

        return getattr(ufunc, method)(*map(plain, inputs), **kwargs)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        import numpy as np

        return np.array(self._escape("an array of lengths"), dtype)


def _text(terms: Iterable[tuple[Monomial, int]]) -> str:
    parts = []
    for factors, coefficient in terms:
        names = "*".join(factors)
        parts.append(str(coefficient) if not factors else names if coefficient == 1 else f"{coefficient}*{names}")
    return " + ".join(reversed(parts))


def _swapped(compute: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda x, y: compute(y, x)


def _whole(x: Extent, other: Any, whole: Callable[[Any, Any], Any], compute: Callable[[Any, Any], Any]) -> Any:
    """Compute with another whole number exactly, with any other number as a traced one."""
    kind = type(other)
    if kind is int or (kind is Extent and other.scope is x.scope):
        return whole(x, other)
    if kind is bool:
        return whole(x, int(other))
    return x._number(compute, other)


def _sum(x: Extent, y: Any) -> Any:
    terms = dict(x.terms)
    for monomial, coefficient in y.terms if type(y) is Extent else (((), y),):
        terms[monomial] = terms.get(monomial, 0) + coefficient
    return x.scope.make(terms)


def _difference(x: Any, y: Any) -> Any:
    return x + -y


def _product(x: Extent, y: Any) -> Any:
    if type(y) is not Extent:
        return x.scope.make({monomial: coefficient * y for monomial, coefficient in x.terms})
    terms: Terms = {}
    for left, a in x.terms:
        for right, b in y.terms:
            monomial = tuple(sorted((*left, *right)))
            terms[monomial] = terms.get(monomial, 0) + a * b
    return x.scope.make(terms)


def _constant_over(number: int, x: Extent) -> Any:
    if number == 0:
        return 0
    constant = Extent(x.scope, (((), number),), number)
    return x.scope._floor(constant, x)


def _exact_quotient(terms: Terms, divisor: Terms) -> Terms | None:
    """Return the polynomial by which a one-term divisor has to be multiplied; None if there is none."""
    if len(divisor) > 1:
        return {(): 1} if terms == divisor else None
    ((factors, number),) = divisor.items()
    result: Terms = {}
    for monomial, coefficient in terms.items():
        left = list(monomial)
        for factor in factors:
            if factor not in left:
                return None
            left.remove(factor)
        if coefficient % number:
            return None
        result[tuple(left)] = coefficient // number
    return result


def _compared(x: Extent, other: Any, decide: Callable[[Any], bool]) -> Any:
    kind = type(other)
    if kind is int or kind is bool or (kind is Extent and other.scope is x.scope):
        return decide(x - other)
    if isinstance(other, float):
        return decide(x - math.floor(other)) if other == math.floor(other) else x._number(operator.eq, other)
    index = getattr(other, "__index__", None)
    if index is None or hasattr(other, "__gradloom_tracer__"):
        return NotImplemented
    return decide(x - int(index()))


# --- any number ---------------------------------------------------------------------------------------------------


def hint_of(x: Any) -> Any:
    """Return the value for now, without a guard: for choices that are right for any length."""
    return x.hint if type(x) is Extent else x


def is_symbolic(x: Any) -> bool:
    """Tell whether a number may differ from run to run."""
    return type(x) is Extent


def index_of(x: Any) -> Any:
    """Return a whole number as `operator.index` does, extents as they are."""
    return x if type(x) is Extent else operator.index(x)


def dim_text(x: Any) -> Any:
    """Return how an extent is spelled in a type."""
    return f"[{x.text}]" if type(x) is Extent else x


def evaluated(x: Extent, values: dict[str, Any]) -> Any:
    """Return the value of an extent for given values of its scope's atoms (numbers, or extents of another scope)."""
    total: Any = 0
    for factors, coefficient in x.terms:
        for name in factors:
            coefficient = coefficient * values[name]
        total = total + coefficient
    return total


def slice_range(item: slice, extent: Any) -> tuple[Any, Any, Any, Any]:
    """Return first, last, step and count of a slice of an axis: what `slice.indices` and `range` say of it."""
    parts = (item.start, item.stop, item.step)
    if not any(type(each) is Extent for each in (extent, *parts)):
        first, last, step = item.indices(extent)
        return first, last, step, len(range(first, last, step))
    step = 1 if item.step is None else index_of(item.step)
    if step == 0:
        raise ValueError("slice step cannot be zero")
    least, most = (0, extent) if step > 0 else (-1, extent - 1)

    def place(bound: Any, default: Any) -> Any:
        if bound is None:
            return default
        bound = index_of(bound)
        if bound < 0:
            return max(bound + extent, least)
        return min(bound, most)

    first = place(item.start, least if step > 0 else most)
    last = place(item.stop, most if step > 0 else least)
    if step > 0:
        count = (last - first + step - 1) // step if first < last else 0
    else:
        count = (first - last - step - 1) // -step if last < first else 0
    return first, last, step, count
