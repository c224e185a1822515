"""Programs for other lengths: one traced program with symbols for extents serves all arrays of its kinds.

The first shapes of a function's arguments are compiled as they are. When other shapes of the same structure come, the
extents that differ become symbols and the function is traced once more, as a `Template`: extents are expressions, and
what was decided by their values is a guard. The template counts only if it says, for shapes that were compiled as they
are, exactly what was compiled (`agreement.py`). It is lowered once for each class of lengths that lowering tells apart;
from then on new lengths take checking the guards and evaluating the expressions: no trace, no passes, no compilation.
Whatever cannot be done for any length is compiled for each, and `Family.refused` says why.
"""

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from gradloom.agreement import same_program
from gradloom.exec.executable import Executable, known_classes, lower_for_host
from gradloom.program import Primal, Program
from gradloom.signature import Call, Leaf
from gradloom.trace.lengths import open_scope
from gradloom.trace.shadow import is_users_file
from gradloomc.ad.derivation import Derivation
from gradloomc.codegen.program import Program as NativeProgram
from gradloomc.ir.core import Op
from gradloomc.ir.inline import copy_function
from gradloomc.ir.resize import Resizer
from gradloomc.ir.scopes import LEAST, Scope
from gradloomc.ir.types import tensor
from gradloomc.known import Classes
from gradloomc.pipelines import clean

if TYPE_CHECKING:
    from gradloom.function import UserFunction

Make = Callable[[Primal], Program]

TEMPLATES = 4  # traces of one function for any length, before each length is compiled by itself
KEPT = 1024  # programs made for other lengths that a family keeps (some kilobytes each)
CLASSES = 12  # classes of lengths for which one template is lowered
_ROUNDS = 5  # traces until all lengths that turn out to be equal are one


def kinds_of(call: Call) -> tuple[Any, ...]:
    """Return a call's key with ranks in place of shapes."""
    return tuple(
        [
            (key[0], len(key[1]), *key[2:]) if key.__class__ is tuple and key[1].__class__ is tuple else key
            for key in call.key[1]
        ]
    )


def sizes_of(call: Call) -> tuple[int, ...]:
    """Return the extents of all arrays of a call, in order."""
    sizes: list[int] = []
    for key in call.key[1]:
        if key.__class__ is tuple and key[1].__class__ is tuple:
            sizes += key[1]
    return tuple(sizes)


class Family:
    """The programs of one transform of one function for arguments of the same kinds.

    Attributes:
        seen: sizes that were compiled as they are, with the programs.
        templates: for any length, the latest first.
        refused: why there are no (more) templates; '' as long as there may be.
        resized: how many programs were made from a template for other lengths.
    """

    __slots__ = ("attempts", "refused", "resized", "seen", "templates")

    def __init__(self) -> None:
        self.seen: list[tuple[tuple[int, ...], Program]] = []
        self.templates: list[Template] = []
        self.refused = ""
        self.attempts = self.resized = 0

    @property
    def is_full(self) -> bool:
        """So many programs were made for other lengths that they should not all be kept."""
        return bool(self.resized) and self.resized % KEPT == 0

    def forget(self, user: "UserFunction") -> None:
        """Let a function's programs that were made for other lengths go."""
        user.programs = {key: each for key, each in user.programs.items() if not isinstance(each, Resized)}
        user.state.retire_plans()

    def note(self, call: Call, program: Program) -> None:
        """Remember what was compiled for the shapes of a call."""
        if len(self.seen) < CLASSES:
            self.seen.append((sizes_of(call), program))

    def find(self, user: "UserFunction", call: Call, has_aux: bool, make: Make) -> Program | None:
        """Return a program for the shapes of a call, made from a template; None if it has to be compiled by itself."""
        if not self.seen or self.refused:
            return None
        sizes = sizes_of(call)
        if self.seen[0][1].stale:  # an array that the function captured has another shape now
            self.seen.clear()
            self.templates.clear()
            return None
        for template in self.templates:
            found = template.program_for(sizes)
            if found is not None:
                self.resized += 1
                return found
            if template.refused:
                self.refused = template.refused
                return None
        positions = self.positions(sizes)
        if not positions or any(sizes[k] < LEAST for k in positions):
            return None
        if self.attempts == TEMPLATES:
            self.refused = f"{TEMPLATES} programs for any length did not cover the lengths that came"
            return None
        self.attempts += 1
        template = self.trace(user, call, has_aux, make, positions)
        if template is None:
            return None
        found = template.program_for(sizes)
        if found is None:
            self.refused = template.refused or "the program for any length does not fit the lengths it was made of"
            return None
        self.templates.insert(0, template)
        self.resized += 1
        return found

    def positions(self, sizes: tuple[int, ...]) -> dict[int, int]:
        """Return which sizes become symbols: those that differ; sizes that always were equal share a symbol."""
        columns = list(zip(*[seen for seen, _ in self.seen], sizes, strict=True))
        numbers: dict[tuple[int, ...], int] = {}
        found = {}
        for position, column in enumerate(columns):
            if min(column) != max(column):
                found[position] = numbers.setdefault(column, len(numbers))
        return found

    def trace(
        self, user: "UserFunction", call: Call, has_aux: bool, make: Make, positions: dict[int, int]
    ) -> "Template | None":
        """Trace the function with symbols; None, with the reason in `refused`, if the result fits no other length."""
        sizes = sizes_of(call)
        hints = {number: sizes[position] for position, number in positions.items()}
        scope: Scope | None = None
        template: Template | None = None
        for _ in range(_ROUNDS):
            scope = open_scope(Scope(hints.values(), scope), is_users_file)
            template, error = None, ""
            try:
                primal = Primal(user.parameters, call, _leaves(user, call, scope, positions), has_aux)
                program = make(primal)
                scope.lift = None
                template = Template(scope, program, clean(copy_function(program.function)), positions)
            except Exception as raised:
                error = f"{type(raised).__name__}: {raised}".splitlines()[0]
            if scope.escape or (error and not scope.merged):
                self.refused = scope.escape or scope.pinned or error
                return None
            if scope.pinned:  # these lengths are a case of their own; others may not be
                return None
            if not scope.merged:
                break
        if template is None or scope is None or scope.merged:
            self.refused = "too many lengths turn out to be equal"
            return None
        scope.frozen = True
        if not self.agrees(template, user, call, has_aux, make):
            self.refused = "for a length that was compiled by itself the program for any length says something else"
            return None
        return template

    def agrees(self, template: "Template", user: "UserFunction", call: Call, has_aux: bool, make: Make) -> bool:
        """Tell whether the template says for known shapes what was traced for them."""
        for sizes, program in self.seen:
            values = template.values(sizes)
            if values is not None:
                return self.is_same(template, values, program)
        values = template.values(sizes_of(call))
        if values is None:
            return False
        plain = make(Primal(user.parameters, call, user.parameters.read(call), has_aux))
        return self.is_same(template, values, plain)

    def is_same(self, template: "Template", values: dict[str, int], other: Program) -> bool:
        """Tell whether the template says, with these values put in, what another program says."""
        program = template.program
        return same_program(Resizer(values).function(program.primal.function), program, other)

    def explain(self) -> list[str]:
        """Return what `explain()` says of lengths."""
        if self.refused:
            return [f"  compiled for each length: {self.refused}"]
        return [line for template in self.templates for line in template.explain()]


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


class Template:
    """A program whose extents are expressions in symbols.

    Attributes:
        scope: the symbols and the guards of the trace.
        program: with its function on the nd level, not compiled; `function` is the same in its simplest form.
        positions: from the sizes of a call that are symbols to the number of the symbol.
        classes: for each class of lengths its scope, with the guards of lowering, and the native program.
    """

    __slots__ = ("classes", "function", "known", "positions", "program", "refused", "scope")

    def __init__(self, scope: Scope, program: Program, function: Op, positions: dict[int, int]):
        self.scope, self.program, self.function, self.positions = scope, program, function, positions
        self.classes: list[tuple[Scope, NativeProgram]] = []
        self.known: Classes | None = None  # those of earlier processes too
        self.refused = ""

    def symbols(self, sizes: Sequence[int]) -> tuple[int, ...] | None:
        """Return the values of the symbols; None if sizes that should be equal are not."""
        found: dict[int, int] = {}
        for position, number in self.positions.items():
            if found.setdefault(number, sizes[position]) != sizes[position]:
                return None
        return tuple(found.values())

    def values(self, sizes: Sequence[int]) -> dict[str, int] | None:
        """Return the atoms' values for the sizes of a call, if all guards hold for them."""
        symbols = self.symbols(sizes)
        return None if symbols is None else self.scope.environment(symbols)

    def program_for(self, sizes: tuple[int, ...]) -> Program | None:
        """Return the program for the sizes of a call; None if a guard fails, or if `refused` says why."""
        values = self.values(sizes)
        if values is None or not self.fixed_sizes_hold(sizes):
            return None
        symbols = self.symbols(sizes)
        assert symbols is not None
        for scope, native in self.classes:
            inner = scope.environment(symbols)
            if inner is not None:
                return Resized(self, values, Resizer(inner)(native))
        if len(self.classes) == CLASSES:
            self.refused = f"the lengths that came fall into more than {CLASSES} classes"
            return None
        return self.lower(symbols, values)

    def fixed_sizes_hold(self, sizes: Sequence[int]) -> bool:
        """Tell whether the extents that are no symbols are those of the trace."""
        position = 0
        for leaf in self.program.primal.leaves:
            for extent in leaf.type.shape if leaf.type is not None else ():
                if position not in self.positions and extent != sizes[position]:
                    return False
                position += 1
        return True

    def lower(self, symbols: tuple[int, ...], values: dict[str, int]) -> Program | None:
        if self.known is None:
            self.known = known_classes(Derivation(self.function), self.scope, self.lowered)
        scope, native = self.known.program_for(symbols)
        inner = scope.environment(symbols)
        if scope.failed or scope.merged or inner is None:
            self.refused = f"lowering: {scope.escape or scope.pinned or 'lengths that are equal'}"
            return None
        self.classes.append((scope, native))
        return Resized(self, values, Resizer(inner)(native))

    def lowered(self, symbols: Sequence[int]) -> tuple[Scope, NativeProgram]:
        """Lower the function for the class of some lengths; return the scope with its conditions as well."""
        scope, atoms = self.scope.moved(symbols)
        native = lower_for_host(Resizer(atoms).function(self.function))
        scope.frozen = True
        return scope, native

    def explain(self) -> list[str]:
        """Return the conditions under which the program serves other lengths."""
        conditions = [" and ".join(scope.conditions()) for scope, _ in self.classes]
        return ["  serves other lengths:", *[f"    {each}" for each in conditions]]


class Resized(Program):
    """A template's program for one set of lengths. What only people look at is made when they do."""

    __slots__ = ("_derivation", "_primal", "_resize", "_template")

    def __init__(self, template: Template, values: dict[str, int], native: NativeProgram):
        self._template, self._resize = template, Resizer(values)
        self._derivation: Derivation | None = None
        self._primal: Primal | None = None
        self.result = template.program.result
        self.family = None
        program = template.program
        self.load(Executable(native), program.primal, program.types)

    @property
    def derivation(self) -> Derivation:  # type: ignore[override]
        """The function on IR, for these lengths."""
        if self._derivation is None:
            self._derivation = Derivation(self._resize.function(self._template.program.function))
        return self._derivation

    @property
    def primal(self) -> Primal:  # type: ignore[override]
        """The traced function, for these lengths."""
        if self._primal is None:
            original = self._template.program.primal
            self._primal = primal = copy.copy(original)
            primal.function = self._resize.function(original.function)
            primal.leaves = [
                Leaf(self._resize(leaf.type), leaf.weak, leaf.value, leaf.convert) for leaf in original.leaves
            ]
        return self._primal
