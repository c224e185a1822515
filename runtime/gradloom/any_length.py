"""Traces of a user's function for arrays of any length: extents of its arguments are expressions in symbols.

The first shapes are traced as they are. What that says of other lengths is guessed (`Traces.guess`), so that what is
lowered first may serve them. When others come, the extents that differ become symbols and the function is traced once
more: what it did with a length is a guard of the trace's scope. The trace counts only if it says, for shapes that were
traced as they are, exactly what was traced (`agreement.py`), and the guess only if it says what the trace says. Knows
nothing of transforms and of lowering; `resizing.py` makes programs of traces.
"""

import copy
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from gradloom.agreement import is_copy, same_primal
from gradloom.program import Primal
from gradloom.signature import Call, Leaf
from gradloom.trace.lengths import open_scope
from gradloom.trace.shadow import is_users_file
from gradloomc.dialects.func import body_of
from gradloomc.ir.core import Op
from gradloomc.ir.extents import is_symbolic
from gradloomc.ir.resize import Resizer
from gradloomc.ir.scopes import LEAST, Scope
from gradloomc.ir.types import tensor
from gradloomc.passes.generalize import Generalizer, has_table

if TYPE_CHECKING:
    from gradloom.function import UserFunction

TRACES = 4  # traces of one function for any length, before each length is compiled by itself
SHORT = 16  # axes of at most so many elements are written out in loops: see `first_positions`
LARGE = 1000  # operations of a function whose first shapes are lowered as they are: a trace takes longer than guards
ROUNDS = 5  # traces, and lowerings, until all lengths that turn out to be equal are one
_SEEN = 12  # shapes traced as they are that are remembered


def sizes_of(call: Call) -> tuple[int, ...]:
    """Return the extents of all arrays of a call, in order."""
    sizes: list[int] = []
    for key in call.key[1]:
        if key.__class__ is tuple and key[1].__class__ is tuple:
            sizes += key[1]
    return tuple(sizes)


class Trace:
    """A function for any length, as it was traced, or as it was guessed from one for given lengths.

    Attributes:
        primal: with expressions in its types and attributes.
        scope: the symbols and the guards of the trace.
        live: the scope of the extents in `primal`, until what is done to that adds guards of its own; then None.
        positions: from the sizes of a call that are symbols to the number of the symbol.
        sizes: of the call that it was made for.
        guessed: it says what other lengths give only where a trace has confirmed that.
        confirmed: the guess that this trace was found to confirm.
    """

    __slots__ = ("confirmed", "guessed", "live", "positions", "primal", "scope", "sizes")

    def __init__(
        self,
        primal: Primal,
        scope: Scope,
        positions: dict[int, int],
        sizes: tuple[int, ...],
        guessed: bool = False,
    ):
        self.primal, self.scope, self.positions, self.sizes = primal, scope.noted(), positions, sizes
        self.live: Scope | None = scope
        self.guessed = guessed
        self.confirmed: Trace | None = None

    def opened(self, symbols: Sequence[int], known: Scope | None) -> tuple[Scope, Op | None]:
        """Return a scope for what is done for a class of lengths, and the traced function with its extents.

        None stands for the function of `primal`, which can be had once, for the lengths of the trace.

        Args:
            known: such a scope, in which more lengths turned out to be equal.
        """
        scope, self.live = self.live, None
        if scope is not None and known is None and tuple(scope.hints.values()) == tuple(symbols):
            return scope, None
        scope, atoms = self.scope.moved(symbols, known)
        return scope, Resizer(atoms).function(self.primal.function)

    def symbols(self, sizes: Sequence[Any]) -> tuple[Any, ...] | None:
        """Return the values of the symbols; None if sizes that should be equal are not, or fixed ones are others."""
        found: dict[int, Any] = {}
        for position, size in enumerate(sizes):
            number = self.positions.get(position)
            if not _is_same_length(size, self.sizes[position] if number is None else found.setdefault(number, size)):
                return None
        return tuple(found.values())

    def values(self, sizes: Sequence[int]) -> dict[str, int] | None:
        """Return the atoms' values for the sizes of a call, if all guards hold for them."""
        symbols = self.symbols(sizes)
        return None if symbols is None else self.scope.environment(symbols)

    def primal_for(self, values: dict[str, int]) -> Primal:
        """Return the traced function with these values of the atoms put in."""
        resize = Resizer(values)
        return _with(self.primal, resize.function(self.primal.function), resize)

    def confirms(self, guess: "Trace") -> bool:
        """Tell whether a guess says what this trace says, where its lengths are those of this trace."""
        if self.confirmed is guess:
            return True
        sizes = [extent for leaf in self.primal.leaves if leaf.type is not None for extent in leaf.type.shape]
        symbols = guess.symbols(sizes)
        if symbols is None:
            return False
        values = guess.scope.filled(symbols)
        if values is None or not is_copy(guess.primal, Resizer(values), self.primal):
            return False
        self.confirmed = guess
        return True


def _is_same_length(one: Any, other: Any) -> bool:
    """Tell whether two sizes are the same number or the same expression."""
    return one is other or (not is_symbolic(one) and not is_symbolic(other) and one == other)


def _with(primal: Primal, function: Op, resize: Resizer) -> Primal:
    changed = copy.copy(primal)
    changed.function = function
    changed.leaves = [Leaf(resize(leaf.type), leaf.weak, leaf.value, leaf.convert) for leaf in primal.leaves]
    return changed


class Traces:
    """The traces for any length of one function, for arguments of the same kinds.

    Attributes:
        found: the traces, the latest first.
        seen: sizes that were traced as they are, with the traced function.
        guessed: from the first of these.
        refused: why there will be no more traces; '' as long as there may be.
    """

    __slots__ = ("_captured", "attempts", "found", "guessed", "refused", "seen")

    def __init__(self) -> None:
        self.found: list[Trace] = []
        self.seen: list[tuple[tuple[int, ...], Primal]] = []
        self.guessed: Trace | None = None
        self._captured: list[tuple[Any, tuple[int, ...]]] = []  # arrays with the shapes that they had
        self.refused = ""
        self.attempts = 0

    def forget_stale(self) -> bool:
        """Forget everything if an array that the function captured has another shape now; tell whether that is so."""
        stale = any(array.shape != shape for array, shape in self._captured)
        if stale:
            self.found, self.seen, self._captured, self.guessed = [], [], [], None
        return stale

    def note(self, sizes: tuple[int, ...], primal: Primal) -> None:
        """Remember what was traced for these sizes as they are."""
        if len(self.seen) < _SEEN and all(primal is not known for _, known in self.seen):
            self.seen.append((sizes, primal))
            self._captured += [(array, array.shape) for array in primal.captured]

    def guess(self, without: Collection[str] = ()) -> Trace | None:
        """Return what the function that was traced for the first shapes seems to say for any; None if for no other.

        Args:
            without: symbols of the last guess that have to be numbers.
        """
        if self.guessed is not None and not without:
            return self.guessed if self.guessed.positions else None
        sizes, primal = self.seen[0]
        if len(body_of(primal.function).ops) > LARGE:
            return None
        old = first_positions(primal) if self.guessed is None else self.guessed.positions
        positions = _numbered(
            {
                position: sizes[position]
                for position, number in old.items()
                if f"n{number}" not in without and not has_table(primal.function, sizes[position])
            }
        )
        scope = Scope({number: sizes[position] for position, number in positions.items()}.values())
        resize = Generalizer(scope)
        guessed = _with(primal, resize.function(primal.function), resize) if positions else primal
        self.guessed = Trace(guessed, scope, positions, sizes, guessed=True)
        return self.guessed if positions else None

    def find(self, user: "UserFunction", call: Call, has_aux: bool) -> Trace | None:
        """Return a trace that serves the shapes of a call; None if they have to be traced as they are."""
        if self.refused:
            return None
        sizes = sizes_of(call)
        for trace in self.found:
            if trace.values(sizes) is not None:
                return trace
        positions = self.positions(sizes)
        if not positions or any(sizes[k] < LEAST for k in positions):
            return None
        if self.attempts == TRACES:
            self.refused = f"{TRACES} programs for any length did not cover the lengths that came"
            return None
        self.attempts += 1
        trace = self.trace(user, call, has_aux, positions)
        if trace is not None:
            self.found.insert(0, trace)
        return trace

    def positions(self, sizes: tuple[int, ...]) -> dict[int, int]:
        """Return which sizes become symbols: those that differ; sizes that always were equal share a symbol."""
        columns = enumerate(zip(*[seen for seen, _ in self.seen], sizes, strict=True))
        return _numbered({position: column for position, column in columns if min(column) != max(column)})

    def trace(self, user: "UserFunction", call: Call, has_aux: bool, positions: dict[int, int]) -> Trace | None:
        """Trace the function with symbols; None, with the reason in `refused`, if the result fits no other length."""
        sizes = sizes_of(call)
        hints = {number: sizes[position] for position, number in positions.items()}
        scope: Scope | None = None
        for _ in range(ROUNDS):
            scope = open_scope(Scope(hints.values(), scope), is_users_file)
            primal, error = None, ""
            try:
                primal = Primal(user.parameters, call, _leaves(user, call, scope, positions), has_aux)
            except Exception as raised:
                error = f"{type(raised).__name__}: {raised}".splitlines()[0]
            scope.lift = None
            if scope.escape or (error and not scope.merged):
                self.refused = scope.escape or scope.pinned or error
                return None
            if scope.pinned:  # these lengths are a case of their own; others may not be
                return None
            if not scope.merged and primal is not None:
                trace = Trace(primal, scope, positions, sizes)
                return trace if self.agrees(trace, user, call, has_aux) else None
        self.refused = "too many lengths turn out to be equal"
        return None

    def agrees(self, trace: Trace, user: "UserFunction", call: Call, has_aux: bool) -> bool:
        """Tell whether a trace says for shapes that were traced as they are what was traced for them."""
        guess = self.guess() if self.seen else None  # which says for the first shapes what was traced for them
        if guess is not None and trace.confirms(guess):
            return True
        for sizes, primal in self.seen:
            values = trace.values(sizes)
            if values is not None:
                return self._accepted(same_primal(trace.primal, values, primal))
        values = trace.values(sizes_of(call))
        if values is None:
            return self._accepted(False)
        plain = Primal(user.parameters, call, user.parameters.read(call), has_aux)
        return self._accepted(same_primal(trace.primal, values, plain))

    def _accepted(self, agrees: bool) -> bool:
        if not agrees:
            self.refused = "for a length that was compiled by itself the program for any length says something else"
        return agrees


def first_positions(primal: Primal) -> dict[int, int]:
    """Return which sizes of the first call may vary; equal ones share a symbol.

    Short axes are better known to lowering, unless there is but one length, of vectors.
    """
    shapes = [leaf.type.shape for leaf in primal.leaves if leaf.type is not None]
    one_length = all(len(shape) <= 1 for shape in shapes) and len(set(shapes) - {()}) == 1
    least = LEAST + 2 if one_length else SHORT + 1
    sizes = enumerate([extent for shape in shapes for extent in shape])
    return _numbered({position: size for position, size in sizes if size >= least})


def _numbered(groups: dict[int, Any]) -> dict[int, int]:
    """Return the number of each position's group, in the order in which they come."""
    numbers: dict[Any, int] = {}
    return {position: numbers.setdefault(group, len(numbers)) for position, group in groups.items()}


def _leaves(user: "UserFunction", call: Call, scope: Scope, positions: dict[int, int]) -> list[Leaf]:
    leaves, position = user.parameters.read(call), 0
    for leaf in leaves:
        if leaf.type is None:
            continue
        shape: list[Any] = []
        for extent in leaf.type.shape:
            number = positions.get(position)
            shape.append(extent if number is None else scope.symbol(number))
            position += 1
        leaf.type = tensor(tuple(shape), leaf.type.element)
    return leaves
