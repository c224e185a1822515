"""A user's function traced for one signature, and programs made from it: compiled, or inlined.

`Primal` is the traced function. A `Program` is a function on IR made from it (by derivatives.py),
with how its results are built up into the user's containers. It runs natively on arrays, or is
inlined into the function that is being traced. Knows nothing of caches; function.py has those.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import CoroutineType, GeneratorType
from typing import Any

import numpy as np

from gradloom.exec.executable import Executable
from gradloom.signature import Call, Leaf, Parameters, definition_location, warn
from gradloom.trace.capture import lift, trace_flat
from gradloom.trace.shadow import original_of, shadow_callable, shadow_function, shadow_made
from gradloom.trace.tracer import Tracer
from gradloom.tree import (
    LEAF,
    TUPLE,
    Structure,
    cached_properties,
    count_leaves,
    describe_type,
    flatten,
    unflatten,
)
from gradloom.tree_code import builder_of
from gradloomc.ad.derivation import Derivation
from gradloomc.dialects.func import body_of
from gradloomc.ir.core import Op, Value
from gradloomc.ir.errors import DifferentiationError
from gradloomc.ir.inline import inline_function
from gradloomc.ir.location import Location
from gradloomc.ir.types import TensorType


@dataclass(frozen=True, slots=True)
class Fixed:
    """A leaf of a result that is no array: the value itself, the same for every run."""

    value: Any


Flat = tuple[list[Any], Structure]
Slot = int | Fixed  # which result of the function a leaf is, or a fixed value


@dataclass(frozen=True, slots=True)
class Result:
    """How results of a function on IR are built up into what the user gets."""

    structure: Structure
    slots: tuple[Slot, ...]

    def builder(self, types: Sequence[TensorType]) -> Callable[[list[Any]], Any]:
        """Return the function from result arrays to the tree; 0-d arrays become NumPy scalars."""
        sources, constants = [], []
        for slot in self.slots:
            if isinstance(slot, Fixed):
                sources.append(f"k{len(constants)}")
                constants.append(slot.value)
            else:
                sources.append(f"v[{slot}]" if types[slot].shape else f"v[{slot}][()]")
        return builder_of(self.structure, sources, constants)

    def build(self, leaves: Sequence[Any]) -> Any:
        """Build the tree from `leaves`, one per result of the function."""
        parts = [slot.value if isinstance(slot, Fixed) else leaves[slot] for slot in self.slots]
        return unflatten(self.structure, parts)


def tuple_of(results: Sequence[Result]) -> Result:
    """Return the tuple of several results."""
    structure = (TUPLE, None, *[result.structure for result in results])
    return Result(structure, tuple([slot for result in results for slot in result.slots]))


def parts_of(result: Result) -> list[Result]:
    """Return the results that make up a container."""
    found, first = [], 0
    for child in result.structure[2:]:
        count = count_leaves(child)
        found.append(Result(child, result.slots[first : first + count]))
        first += count
    return found


class Primal:
    """A user's function, traced for one signature.

    Attributes:
        function: `(arrays of the dynamic leaves..., captured arrays...) -> (arrays of the
            result...)`.
        captured: arrays that the function found in its closure or its globals.
        leaves: what is known of each leaf of the arguments.
        position: from a dynamic leaf to the function's argument.
        result: how the user's result is built up; with has_aux that of the value alone, and `aux`
            that of the rest.
        operations: for each result, its operation in the eager face, once a tensor was an argument.
    """

    __slots__ = (
        "arguments",
        "aux",
        "captured",
        "function",
        "leaves",
        "operations",
        "parameters",
        "position",
        "result",
        "structure",
    )

    def __init__(self, parameters: Parameters, call: Call, leaves: list[Leaf], has_aux: bool):
        self.parameters, self.leaves, self.structure = parameters, leaves, call.structure
        typed = [(i, leaf.type) for i, leaf in enumerate(leaves) if leaf.type is not None]
        dynamic = [i for i, _ in typed]
        self.position = {leaf: position for position, leaf in enumerate(dynamic)}
        labels = parameters.labels(call.structure)
        fun = shadow_function(parameters.fun)
        outputs: list[tuple[Structure, list[Slot]]] = []

        def run(tracers: Sequence[Any]) -> list[Any]:
            values = [shadow_callable(leaf.value) for leaf in leaves]
            for i, tracer in zip(dynamic, tracers, strict=True):
                tracer.weak = leaves[i].weak
                values[i] = tracer
            args, kwargs = unflatten(call.structure, values)
            _shadow_objects(call.structure, (args, kwargs))
            before = flatten((args, kwargs))
            output = fun(*args, **kwargs)
            self._warn_of_writes(before, flatten((args, kwargs)))
            if has_aux and not (isinstance(output, (tuple, list)) and len(output) == 2):
                raise self.error(
                    f"with has_aux, {parameters.name}() should return a pair (value, aux), not "
                    f"{describe_type(output)}"
                )
            if isinstance(output, (GeneratorType, CoroutineType)):
                raise self.error(
                    f"{parameters.name}() yields or awaits; only plain functions compile"
                )
            kept: list[Any] = []
            for tree in output if has_aux else (output,):
                parts, structure = flatten(tree)
                outputs.append((structure, [_slot(original_of(part), kept) for part in parts]))
            return kept

        traced = trace_flat(
            run,
            [type for _, type in typed],
            [_identifier(labels[i]) for i in dynamic],
            parameters.name,
        )
        self.function: Op = traced.function
        self.captured = list(traced.captured)
        self.result, *aux = [Result(structure, tuple(slots)) for structure, slots in outputs]
        self.aux: Result | None = aux[0] if aux else None
        self.operations: Any = None

    def _warn_of_writes(self, before: Flat, after: Flat) -> None:
        """Warn if the function rebinds parts of its arguments: those of the trace's copies, not the caller's."""
        (old, _), (new, structure) = before, after
        if before[1] == structure and all(a is b for a, b in zip(old, new, strict=True)):
            return
        were = dict(zip(self.parameters.labels(before[1]), old, strict=True))
        are = dict(zip(self.parameters.labels(structure), new, strict=True))
        written = [label for label in {**are, **were} if label not in were or are.get(label) is not were[label]]
        cached = [f".{name}" for name in cached_properties(structure)]
        written = [label for label in written if not any(name in label for name in cached)]
        if written:
            warn(
                f"{self.parameters.name}() writes {written[0]}, which the compiled function does not do to the "
                "caller's object; return the new value, with has_aux=True next to the function's own"
            )

    def error(
        self, message: str, fix: str = "", location: Location | None = None
    ) -> DifferentiationError:
        """Return an error about the function, with its definition as a note."""
        here = definition_location(self.parameters.fun)
        if location is None:
            return DifferentiationError(message, here, fix=fix)
        note = (f"{self.parameters.name}() is defined here", here)
        return DifferentiationError(message, location, notes=(note,), fix=fix)

    def bare(self) -> "Primal":
        """Return the function on IR with the types of its arguments, and nothing of the user's."""
        bare = copy.copy(self)
        bare.parameters = bare.structure = bare.result = bare.aux = bare.operations = None  # type: ignore[assignment]
        bare.captured = []
        bare.leaves = [Leaf(leaf.type, leaf.weak, None, leaf.convert) for leaf in self.leaves]
        return bare

    @property
    def types(self) -> list[TensorType]:
        """The types of the function's results."""
        return [value.type for value in body_of(self.function).terminator.operands]

    def check_scalar(self, what: str) -> None:
        """Raise unless the result is one float number.

        Raises:
            DifferentiationError: it is something else; the message shows the line that computed it.
        """
        name = self.parameters.name
        if len(self.result.slots) != 1:
            raise self.error(
                f"{what} needs a function that returns one number, and {name}() returns "
                f"{_describe(self.result)}",
                "return one number; further results go into (value, aux) with has_aux=True",
            )
        slot = self.result.slots[0]
        if isinstance(slot, Fixed):
            forgot = "; is a `return` missing?" if slot.value is None else ""
            raise self.error(
                f"{what} needs a function that returns a float, and {name}() returns "
                f"{slot.value!r}{forgot}"
            )
        value: Value = body_of(self.function).terminator.operands[slot]
        where = value.op.location if value.op is not None else None
        if not value.type.element.is_float:
            raise self.error(
                f"{what} needs a function that returns a float, and {name}() returns "
                f"{value.type.element.dtype}",
                "compute the result in floats",
                where,
            )
        if value.type.shape:
            raise self.error(
                f"{what} needs a function that returns one number, and {name}() returns an array "
                "of shape "
                f"{value.type.shape}",
                "return np.sum(...) or np.mean(...) of it; for all derivatives use jacobian, for a "
                "weighted sum of "
                "them vjp",
                where,
            )

    def check_float_results(self, what: str) -> list[int]:
        """Return the results of the function that make up the user's result.

        Raises:
            DifferentiationError: one of them is no array of floats.
        """
        types = self.types
        for slot in self.result.slots:
            if isinstance(slot, Fixed):
                raise self.error(
                    f"{what} needs arrays of floats, and {self.parameters.name}() returns "
                    f"{slot.value!r}"
                )
            if not types[slot].element.is_float:
                value: Value = body_of(self.function).terminator.operands[slot]
                raise self.error(
                    f"{what} needs arrays of floats, and {self.parameters.name}() returns "
                    f"{types[slot].element.dtype}",
                    "compute the result in floats, or return it as aux with has_aux=True",
                    value.op.location if value.op is not None else None,
                )
        return [slot for slot in self.result.slots if isinstance(slot, int)]

    def float_results(self) -> list[int]:
        """Return which results of the function are floats."""
        return [i for i, type in enumerate(self.types) if type.element.is_float]


def _shadow_objects(structure: Structure, value: Any) -> None:
    """Let the objects that were built for a structure run their methods as traced code."""
    if structure.__class__ is tuple:
        container, _, *children = structure
        parts = container.split(value)[0]
        if len(parts) == len(children):  # otherwise the class keeps to itself what it was built of
            for child, part in zip(children, parts, strict=True):
                _shadow_objects(child, part)
        if not container.registered:
            shadow_made(value)


def _slot(part: Any, kept: list[Any]) -> Slot:
    if isinstance(part, (Tracer, np.ndarray, float)) or (
        isinstance(part, np.generic) and part.dtype.kind in "fiub"
    ):
        if isinstance(part, np.ndarray) and part.dtype.kind not in "fiub":
            return Fixed(part)
        kept.append(part)
        return len(kept) - 1
    return Fixed(part)


def _describe(result: Result) -> str:
    if result.structure is LEAF:
        return "an array"
    if not isinstance(result.structure, tuple):
        return "None (is a `return` missing?)"
    kind = result.structure[0].type.__name__
    return f"a {kind} of {count_leaves(result.structure)} arrays"


def _identifier(label: str) -> str:
    """Return a label such as `params['w'][0]` as a name for printed values: `params_w_0`."""
    word = "".join(letter if letter.isalnum() and letter.isascii() else " " for letter in label)
    return "_".join(word.split()) or "arg"


class Program:
    """A function on IR, with what it takes and how its results are built up.

    It takes the arrays of the dynamic leaves, the captured arrays, and then seeds (tangents or
    cotangents).
    """

    __slots__ = (
        "_captured",
        "_conversions",
        "_picks",
        "_shapes",
        "after",
        "derivation",
        "executable",
        "family",
        "finish",
        "form",
        "primal",
        "result",
        "takes_leaves_as_they_are",
    )

    def __init__(self, primal: Primal, derivation: Derivation, result: Result):
        self.primal = primal
        self.derivation, self.result = _prune(derivation, result)
        self.executable: Any = None
        self.family: Any = None  # what serves other lengths

    @property
    def function(self) -> Op:
        """The function on IR, which is made when somebody reads it: running it may not need it."""
        return self.derivation.function

    @property
    def types(self) -> list[TensorType]:
        """The types of the function's results."""
        return self.derivation.types

    def donate(self, positions: Sequence[int]) -> None:
        """Let results take the memory of these arguments, where that is possible; before it is compiled."""
        self.derivation = self.derivation.donate(positions)

    # --- natively ---------------------------------------------------------------------------------

    def compile(self) -> "Program":
        """Make native code; afterwards the program can be called."""
        return self.load(Executable(self.derivation), self.primal, self.types)

    def load(self, executable: Executable, primal: Primal, types: Sequence[TensorType]) -> "Program":
        """Take an executable; of the primal and the types of the results, the extents do not matter here."""
        leaves, position = primal.leaves, primal.position
        self.after: Callable[[Any], Any] | None = None  # applied by the caller to what `finish` builds
        self.finish = self.result.builder(types)
        self._picks = None if len(position) == len(leaves) else list(position)
        self._conversions = [
            (position[i], leaf.type.element.dtype)
            for i, leaf in enumerate(leaves)
            if leaf.type is not None and leaf.convert
        ]
        self._captured = primal.captured
        self._shapes = [(array, array.shape) for array in self._captured]
        self.takes_leaves_as_they_are = self._picks is None and not (self._conversions or self._captured)
        self.form = primal  # says of what kind the arguments are
        self.executable = executable
        return self

    def finish_all(self, found: Any) -> Any:
        """Build the tree from flat results, and apply what the caller applies to it."""
        built = self.finish(found)
        return built if self.after is None else self.after(built)

    def gather(self, leaves: Sequence[Any]) -> list[Any]:
        """Return the arrays that the function takes, without seeds."""
        arrays = [*leaves] if self._picks is None else [leaves[i] for i in self._picks]
        for i, dtype in self._conversions:
            arrays[i] = np.asarray(arrays[i], dtype)
        if self._captured:
            arrays += self._captured
        return arrays

    def __call__(self, leaves: Sequence[Any], seeds: Sequence[Any] = ()) -> Any:
        """Run on the leaves of a call."""
        if self.takes_leaves_as_they_are and not seeds:
            return self.finish(self.executable.run(leaves))
        arrays = self.gather(leaves)
        if seeds:
            arrays += seeds
        return self.finish(self.executable.run(arrays))

    def run(self, arrays: Sequence[Any]) -> Any:
        """Run on all arrays that the function takes."""
        return self.finish(self.executable.run(arrays))

    @property
    def stale(self) -> bool:
        """A captured array has another shape than when the function was traced."""
        return bool(self._shapes) and any(array.shape != shape for array, shape in self._shapes)

    # --- inside a trace ---------------------------------------------------------------------------

    def inline(self, leaves: Sequence[Any], seeds: Sequence[Any] = ()) -> Any:
        """Copy the function into the one being traced, on the leaves of a call; return tracers."""
        arrays = [leaves[i] for i in self.primal.position] + self.primal.captured
        return self.inline_arrays([*arrays, *seeds])

    def inline_arrays(self, arrays: Sequence[Any]) -> Any:
        """Copy the function into the one being traced, on all arrays and tracers that it takes."""
        values = self.inline_values([lift(array) for array in arrays])
        return self.result.build([Tracer(value) for value in values])

    def inline_values(self, operands: Sequence[Value]) -> list[Value]:
        """Copy the function into the one being traced; return the values of its results."""
        return inline_function(self.function, operands)


def _prune(derivation: Derivation, result: Result) -> tuple[Derivation, Result]:
    """Leave only those results that are used, once each."""
    used = sorted({slot for slot in result.slots if isinstance(slot, int)})
    number = {slot: i for i, slot in enumerate(used)}
    slots = tuple([slot if isinstance(slot, Fixed) else number[slot] for slot in result.slots])
    return derivation.keep(used), Result(result.structure, slots)
