"""Programs for any length: one lowered program with symbols for extents serves all arrays of its kinds.

What the first trace says of other lengths is guessed (`any_length.py`) and lowered once for each class of lengths that
lowering tells apart (`Lowering`); for the first shapes it is right whatever was guessed. When others come, a trace with
symbols says for which lengths the guess is right; if it is wrong, the trace itself is lowered. From then on new lengths
take checking guards and evaluating expressions: no trace, no passes, no compilation. Whatever cannot be done for any
length is compiled for each, and `Family.refused` says why.
"""

import time
from collections.abc import Callable, Collection, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

from gradloom.any_length import ROUNDS, Trace, Traces, sizes_of
from gradloom.exec.executable import Executable, Kept, known_classes, lower_for_host
from gradloom.program import Primal, Program
from gradloom.signature import Call
from gradloomc.ad.derivation import Derivation
from gradloomc.codegen.program import Program as NativeProgram
from gradloomc.ir.inline import dissolve
from gradloomc.ir.resize import Resizer
from gradloomc.ir.scopes import Scope
from gradloomc.known import Classes

if TYPE_CHECKING:
    from gradloom.function import UserFunction

Make = Callable[[Primal], Program]

KEPT = 1024  # programs made for other lengths that a family keeps (some kilobytes each)
CLASSES = 12  # classes of lengths for which one template is lowered


def kinds_of(call: Call) -> tuple[Any, ...]:
    """Return a call's key with ranks in place of shapes."""
    return tuple(
        [
            (key[0], len(key[1]), *key[2:]) if key.__class__ is tuple and key[1].__class__ is tuple else key
            for key in call.key[1]
        ]
    )


class _RefusedError(Exception):
    """Something cannot be done for lengths that are not fixed; `needed` are symbols that have to be numbers."""

    def __init__(self, reason: str, needed: Collection[str] = ()):
        super().__init__(reason)
        self.needed = needed


class Family:
    """The programs of one transform of one function for arguments of the same kinds.

    Attributes:
        traces: of the function, for any length; other transforms share them.
        templates: for any length, the latest first.
        lowering: of what was guessed from the first shapes, if they were lowered that way.
        resized: how many programs were made from a lowering for any length.
    """

    __slots__ = ("_refused", "lowering", "resized", "templates", "traces")

    def __init__(self, traces: Traces) -> None:
        self.traces = traces
        self.templates: list[Template] = []
        self.lowering: Lowering | None = None
        self._refused = ""
        self.resized = 0

    @property
    def refused(self) -> str:
        """Why there are no (more) templates; '' as long as there may be."""
        return self._refused or self.traces.refused

    @property
    def is_full(self) -> bool:
        """So many programs were made for other lengths that they should not all be kept."""
        return bool(self.resized) and self.resized % KEPT == 0

    def forget(self, user: "UserFunction") -> None:
        """Let a function's programs that were made for other lengths go."""
        user.programs = {key: each for key, each in user.programs.items() if not isinstance(each, Resized)}
        user.state.retire_plans()

    def find(self, user: "UserFunction", call: Call, has_aux: bool, make: Make) -> Program | None:
        """Return a program for the shapes of a call that may serve others; None if they have to be compiled alone."""
        if self.traces.forget_stale():
            self.templates, self.lowering = [], None
        sizes, traces = sizes_of(call), self.traces
        if not traces.found and all(seen == sizes for seen, _ in traces.seen):
            return self.first(call, user.primal(call, has_aux), make)
        if self.refused:
            return None
        trace = traces.find(user, call, has_aux)
        if trace is None:
            return None
        template = next((each for each in self.templates if each.trace is trace), None)
        if template is None:
            template = Template(trace, self.confirmed(trace, make) or Lowering(trace, make(trace.primal)))
            self.templates.insert(0, template)
        found = template.program_for(sizes)
        if found is None and template.lowering.trace.guessed:
            template.lowering = Lowering(trace, make(trace.primal))
            found = template.program_for(sizes)
        if found is None:
            self._refused = template.lowering.refused
            return None
        self.resized += 1
        return found

    def first(self, call: Call, primal: Primal, make: Make) -> Program | None:
        """Return the program for the first shapes: as it is kept, or else lowered in a way that may serve others."""
        sizes = sizes_of(call)
        self.traces.note(sizes, primal)
        alone = make(primal)
        bare, derivation = primal.bare(), alone.derivation  # which keep no user's function alive
        kept = Kept(derivation, "for any length", lambda: lowered_by_guess(bare, sizes, derivation))
        stored = kept.get()
        if stored is not None:
            return alone.load(Executable(stored), primal, alone.types)
        self.lowering, native = _by_guess(self.traces, sizes, make)
        if self.lowering is None or native is None:
            return None
        kept.put(native.program)
        return Resized(self.lowering, *native)

    def confirmed(self, trace: Trace, make: Make) -> "Lowering | None":
        """Return the lowering of what was guessed from the first shapes, if a trace confirms that."""
        guess = self.traces.guess() if self.lowering is None else self.lowering.trace
        if guess is None or not trace.confirms(guess):
            return None
        return self.lowering or Lowering(guess, make(guess.primal))

    def explain(self) -> list[str]:
        """Return what `explain()` says of lengths."""
        if self.refused:
            return [f"  compiled for each length: {self.refused}"]
        return [line for template in self.templates for line in template.explain()]


def _by_guess(traces: Traces, sizes: tuple[int, ...], make: Make) -> "tuple[Lowering | None, Lowered | None]":
    """Lower what is guessed from the first shapes, with as many symbols as can be; return that, and it for these."""
    needed: Collection[str] = ()
    for _ in range(ROUNDS):
        guess = traces.guess(needed)
        if guess is None:
            break
        lowering = Lowering(guess, make(guess.primal))
        found = lowering.lowered_for(sizes)
        if found is not None:
            return lowering, found
        needed = lowering.needed
        if not needed:
            break
    return None, None


def lowered_by_guess(primal: Primal, sizes: tuple[int, ...], derivation: Derivation) -> NativeProgram:
    """Return what `_by_guess` lowers for the first shapes, made again by itself; in any thread."""
    traces = Traces()
    traces.note(sizes, primal)
    make: Any = lambda guess: SimpleNamespace(derivation=derivation.of(guess.function))  # noqa: E731
    _, found = _by_guess(traces, sizes, make)
    assert found is not None, "it was lowered before"
    return found.program


class Lowered(NamedTuple):
    """A program for given values of the symbols, and the seconds that it took to lower."""

    symbols: tuple[int, ...]
    program: NativeProgram
    seconds: float


class Template:
    """A trace for any length, and a lowering that does what it says."""

    __slots__ = ("lowering", "trace")

    def __init__(self, trace: Trace, lowering: "Lowering"):
        self.trace, self.lowering = trace, lowering

    def program_for(self, sizes: tuple[int, ...]) -> Program | None:
        """Return the program for the sizes of a call, which the trace serves; None if the lowering says why not."""
        return self.lowering.program_for(sizes)

    def explain(self) -> list[str]:
        """Return the conditions under which the program serves other lengths."""
        scopes = [self.trace.scope, *[scope for scope, _ in self.lowering.classes]]
        conditions = [" and ".join(scope.conditions()) for scope in scopes]
        return ["  serves other lengths:", *[f"    {each}" for each in dict.fromkeys(conditions)]]


class Lowering:
    """A program whose extents are expressions in symbols, lowered once for each class of lengths.

    Attributes:
        trace: of the user's function, or what was guessed of it.
        program: derived from it, not compiled.
        classes: for each class of lengths its scope, with the guards of lowering, and the native program.
        refused: why it serves no (more) lengths.
        needed: symbols that had better been numbers, if that is why.
    """

    __slots__ = ("classes", "known", "needed", "program", "refused", "trace")

    def __init__(self, trace: Trace, program: Program):
        self.trace, self.program = trace, program
        self.classes: list[tuple[Scope, NativeProgram]] = []
        self.known: Classes | None = None  # those of earlier processes too
        self.refused = ""
        self.needed: Collection[str] = ()

    def program_for(self, sizes: tuple[int, ...]) -> Program | None:
        """Return the program for the sizes of a call; None if `refused` says why."""
        found = self.lowered_for(sizes)
        return None if found is None else Resized(self, *found)

    def lowered_for(self, sizes: tuple[int, ...]) -> Lowered | None:
        """Return what native code is made of for the sizes of a call; None if `refused` says why."""
        symbols = self.trace.symbols(sizes)
        if symbols is None:
            self.refused = "other lengths vary"
            return None
        for scope, native in self.classes:
            inner = scope.environment(symbols)
            if inner is not None:
                return Lowered(symbols, Resizer(inner)(native), 0.0)
        if len(self.classes) == CLASSES:
            self.refused = f"the lengths that came fall into more than {CLASSES} classes"
            return None
        return self.lower(symbols)

    def lower(self, symbols: tuple[int, ...]) -> Lowered | None:
        """Lower the function for the class of some lengths."""
        start = time.perf_counter()
        if self.known is None:
            self.known = known_classes(self.program.derivation, self.trace.scope, self.lowered)
        try:
            scope, native = self.known.program_for(symbols)
        except _RefusedError as error:
            self.refused, self.needed = str(error), error.needed
            return None
        inner = scope.environment(symbols)
        if inner is None:
            self.refused = "the program for any length does not fit the lengths it was made of"
            return None
        self.classes.append((scope, native))
        return Lowered(symbols, Resizer(inner)(native), time.perf_counter() - start)

    def lowered(self, symbols: Sequence[int]) -> tuple[Scope, NativeProgram]:
        """Derive and lower the function for the class of some lengths; return the scope with its conditions as well.

        What was guessed had better be right than good for more lengths: it ends where a symbol has to be a number.

        Raises:
            _RefusedError: that cannot be done for lengths that are not fixed.
        """
        known: Scope | None = None
        for _ in range(ROUNDS):
            scope, origin = self.trace.opened(symbols, known)
            scope.strict = self.trace.guessed
            derivation = self.program.derivation if origin is None else self.program.derivation.of(origin)
            native, error = None, ""
            try:
                function = derivation.copy()
                native = lower_for_host(function)
                dissolve(function)
            except Exception as raised:  # the program for these lengths alone says what is wrong, if that is the reason
                error = f"{type(raised).__name__}: {raised}".splitlines()[0]
            scope.frozen = True
            if origin is not None:
                dissolve(origin)
            if scope.failed or scope.needed or (native is None and not scope.merged):
                raise _RefusedError(f"lowering: {scope.escape or scope.pinned or error}", scope.needed)
            if native is not None and not scope.merged:
                return scope, native
            known = scope  # lengths turned out to be equal: once more, with that knowledge
        raise _RefusedError("lowering: too many lengths turn out to be equal")


class Resized(Program):
    """A lowering's program for one set of lengths. What only people look at is made when they do."""

    __slots__ = ("_derivation", "_lowering", "_primal", "_symbols")

    def __init__(self, lowering: Lowering, symbols: tuple[int, ...], native: NativeProgram, seconds: float):
        self._lowering, self._symbols = lowering, symbols
        self._derivation: Derivation | None = None
        self._primal: Primal | None = None
        self.result = lowering.program.result
        self.family = None
        program = lowering.program
        self.load(Executable(native, seconds), program.primal, program.types)

    @property
    def derivation(self) -> Derivation:  # type: ignore[override]
        """The function on IR, for these lengths."""
        if self._derivation is None:
            self._derivation = self._lowering.program.derivation.of(self.primal.function)
        return self._derivation

    @property
    def primal(self) -> Primal:  # type: ignore[override]
        """The traced function, for these lengths."""
        if self._primal is None:
            trace = self._lowering.trace
            values = trace.scope.environment(self._symbols)
            assert values is not None
            self._primal = trace.primal_for(values)
        return self._primal
