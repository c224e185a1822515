"""Extents that are not fixed yet: whole numbers with an expression in symbols and the value that they have for now.

An `Extent` stands where a plain int would: in shapes, bounds of slices, offsets of index maps. It is a polynomial in
symbols (`n0`) and floor quotients (`n0//2`), so equal lengths have equal expressions, and its arithmetic gives plain
ints where the symbols cancel. It acts on the value that it has in the shapes at hand, its *hint*; what was found out
that way is noted by its scope (`scopes.py`) as a condition. What cannot be followed, because C code or a printed text
needs the number itself, is noted as an *escape*: the program made is then good for the hints only.

The file knows nothing of shapes, types and ops.
"""

import functools
import math
import operator
import sys
from collections.abc import Callable, Iterable
from typing import Any

Monomial = tuple[str, ...]  # names of atoms, in order
Terms = dict[Monomial, int]


class Extent:
    """A whole number that may differ from run to run; see the file's description.

    For Python code its class is int; C code sees an object with `__index__`, and using that is an escape.
    """

    __slots__ = ("_hash", "hint", "scope", "terms")

    def __init__(self, scope: Any, terms: tuple[tuple[Monomial, int], ...], hint: int):
        self.scope, self.terms, self.hint = scope, terms, hint
        self._hash = hash(terms)

    __class__ = property(lambda self: int)  # type: ignore[assignment]

    @property
    def text(self) -> str:
        """The expression."""
        return text_of(self.terms)

    # --- whole-number arithmetic --------------------------------------------------------------------------------------

    def __add__(self, other: Any) -> Any:
        return _whole(self, other, _sum, operator.add)

    def __sub__(self, other: Any) -> Any:
        return _whole(self, other, _difference, operator.sub)

    def __rsub__(self, other: Any) -> Any:
        return _whole(self, other, lambda x, y: _difference(y, x), swapped(operator.sub))

    def __mul__(self, other: Any) -> Any:
        return _whole(self, other, _product, operator.mul)

    __radd__ = __add__
    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Any:
        return _whole(self, other, self.scope.quotient, operator.floordiv)

    def __rfloordiv__(self, other: Any) -> Any:
        return _whole(self, other, lambda x, y: _constant_over(y, x), swapped(operator.floordiv))

    def __mod__(self, other: Any) -> Any:
        return _whole(self, other, lambda x, y: x - (x // y) * y, operator.mod)

    def __rmod__(self, other: Any) -> Any:
        return _whole(self, other, lambda x, y: y - (y // x) * x, swapped(operator.mod))

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other

    def __pow__(self, other: Any) -> Any:
        if type(other) is int and 0 <= other <= 8:
            return math.prod([self] * other)
        return self._number(operator.pow, other)

    def __rpow__(self, other: Any) -> Any:
        return self._number(swapped(operator.pow), other)

    def __truediv__(self, other: Any) -> Any:
        return self._number(operator.truediv, other)

    def __rtruediv__(self, other: Any) -> Any:
        return self._number(swapped(operator.truediv), other)

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
        if type(other) is int:  # most often what is compared with is 0 or 1, and known to be less
            low, high = self.scope.bounds(self)
            if low > other or high < other:
                return False
        return _compared(self, other, lambda difference: self.scope.is_zero(difference))

    def __ne__(self, other: Any) -> Any:
        same = self.__eq__(other)
        return same if same is NotImplemented else not same

    def __lt__(self, other: Any) -> Any:
        return _ordered(self, other, 0, True)

    def __gt__(self, other: Any) -> Any:
        return _ordered(self, other, 1, False)

    def __le__(self, other: Any) -> Any:
        return _ordered(self, other, 1, True)

    def __ge__(self, other: Any) -> Any:
        return _ordered(self, other, 0, False)

    def __bool__(self) -> bool:
        return not self.scope.is_zero(self)

    def __hash__(self) -> int:
        scope = self.scope
        if not scope.frozen and scope.is_users(sys._getframe(1).f_code.co_filename):
            return hash(self._escape("the use of a length as a key"))
        return self._hash

    # --- the number itself --------------------------------------------------------------------------------------------

    def _escape(self, what: str) -> int:
        self.scope.note_escape(what, self)
        return self.hint

    def _number(self, compute: Callable[[Any, Any], Any], other: Any) -> Any:
        """Compute with a number that is no whole one: as a traced number while a function is being traced."""
        if type(other) is not Extent and not isinstance(other, (int, float)):
            return NotImplemented
        lift = self.scope.lift
        if lift is None:
            return self.scope.amount(compute, self, other)
        traced = lift(self)
        return compute(self._escape("arithmetic with a length") if traced is None else traced, other)

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


def text_of(terms: Iterable[tuple[Monomial, int]]) -> str:
    parts = []
    for factors, coefficient in terms:
        names = "*".join(factors)
        parts.append(str(coefficient) if not factors else names if coefficient == 1 else f"{coefficient}*{names}")
    return " + ".join(reversed(parts))


@functools.cache
def swapped(compute: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return a function of two arguments with these exchanged."""

    def turned(x: Any, y: Any) -> Any:
        return compute(y, x)

    return turned


def _whole(x: Extent, other: Any, whole: Callable[[Any, Any], Any], compute: Callable[[Any, Any], Any]) -> Any:
    """Compute with another whole number exactly, with any other number as a traced one."""
    kind = type(other)
    if kind is int or (kind is Extent and other.scope is x.scope):
        return whole(x, other)
    if kind is bool:
        return whole(x, int(other))
    return x._number(compute, other)


def _sum(x: Extent, y: Any) -> Any:
    if type(y) is int:
        return x.scope.shifted(x, y)
    terms = dict(x.terms)
    for monomial, coefficient in y.terms:
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


def exact_quotient(terms: Terms, divisor: Terms) -> Terms | None:
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


def _ordered(x: Extent, other: Any, shift: int, below: bool) -> Any:
    """Tell whether x is less than other + shift, for a shift of 0 or 1; the opposite where `below` does not hold."""
    if type(other) is int:  # most often it is known, and needs neither a difference nor a guard
        low, high = x.scope.bounds(x)
        if high < other + shift:
            return below
        if low >= other + shift:
            return not below
    is_positive = x.scope.is_positive
    found = _compared(x, other, is_positive if shift else lambda difference: is_positive(-difference))
    return found if found is NotImplemented else found != (below == bool(shift))


def _compared(x: Extent, other: Any, decide: Callable[[Any], bool]) -> Any:
    kind = type(other)
    if kind is int or kind is bool or (kind is Extent and other.scope is x.scope):
        return decide(x - other)
    if isinstance(other, float) and other == math.floor(other):
        return decide(x - math.floor(other))
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
