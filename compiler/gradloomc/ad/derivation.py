"""Functions that are made from others by named steps, when somebody asks for them.

What a program computes is a traced function and what was done to it: its gradient taken, some of its results kept. The
steps say so without doing it, so a program that was compiled in an earlier process is recognised by the traced function
alone. Knows nothing of traces and of lowering.
"""

from collections.abc import Callable, Sequence
from typing import Any

from gradloomc.ad.transform import jvp_of, vjp_of
from gradloomc.dialects.func import body_of
from gradloomc.ir.core import Op
from gradloomc.ir.identity import identity_of, plain_bytes
from gradloomc.ir.inline import copy_function
from gradloomc.ir.types import TensorType, function

Types = list[TensorType]


class Derivation:
    """A function on IR, made when it is asked for.

    Attributes:
        origin: the function that the first step is done to; it is left as it is.
        steps: what is done to it, in order: a step's name and its arguments.
        types: of the results.
    """

    __slots__ = ("_function", "origin", "steps", "types")

    def __init__(self, origin: Op, steps: tuple[tuple[Any, ...], ...] = (), types: Types | None = None):
        self.origin, self.steps = origin, steps
        self.types = [value.type for value in body_of(origin).terminator.operands] if types is None else types
        self._function: Op | None = None if steps else origin

    def keep(self, positions: Sequence[int]) -> "Derivation":
        """Return the function that returns only the results at `positions`."""
        if list(positions) == list(range(len(self.types))):
            return self
        return self._then([self.types[i] for i in positions], "keep", tuple(positions))

    def vjp(self, active: Sequence[int], unit_seed: bool = False) -> "Derivation":
        """Return (arguments..., cotangents of float results...) -> (results..., cotangents of the active arguments...).

        With `unit_seed` the first result has the cotangent 1 and there are no cotangent arguments; see `vjp_of`.
        """
        arguments = body_of(self.origin).arguments
        return self._then(self.types + [arguments[i].type for i in active], "vjp", tuple(active), unit_seed)

    def jvp(self, active: Sequence[int]) -> "Derivation":
        """Return (arguments..., tangents of the active ones...) -> (results..., tangents of float results...)."""
        tangents = [type for type in self.types if type.element.is_float]
        return self._then(self.types + tangents, "jvp", tuple(active))

    def echo(self) -> "Derivation":
        """Return the function that also returns its arguments, after its results."""
        return self._then(self.types + [argument.type for argument in body_of(self.origin).arguments], "echo")

    def donate(self, positions: Sequence[int]) -> "Derivation":
        """Return the same function, results of which may take the memory of the arguments at `positions`."""
        return self._then(self.types, "donate", tuple(positions))

    def of(self, origin: Op) -> "Derivation":
        """Return the same steps from another function, of the same arguments and results but for their extents."""
        derived = Derivation(origin)
        for name, *arguments in self.steps:
            derived = getattr(derived, name)(*arguments)
        return derived

    def _then(self, types: Types, *step: Any) -> "Derivation":
        return Derivation(self.origin, (*self.steps, step), types)

    @property
    def function(self) -> Op:
        """The function, for reading: made once."""
        if self._function is None:
            self._function = self._made()
        return self._function

    def copy(self) -> Op:
        """Return the function as its reader's own."""
        return self._made() if self._function is None else copy_function(self._function)

    def _made(self) -> Op:
        made = self.origin
        for name, *arguments in self.steps:
            made = _STEPS[name](made, made is not self.origin, *arguments)
        return made

    def identity(self) -> bytes | None:
        """Return bytes that are equal where the same is computed, also in other processes; None if there are none."""
        origin = identity_of(self.origin)
        return None if origin is None else plain_bytes([origin, self.steps])


def keep_results(original: Op, positions: Sequence[int], in_place: bool = False) -> Op:
    """Return a function, or a copy of it, that returns only the results at `positions`."""
    kept = original if in_place else copy_function(original)
    end = body_of(kept).terminator
    end.set_operands([end.operands[i] for i in positions])
    types = original.attributes["function_type"]
    kept.attributes["function_type"] = function(types.inputs, tuple([types.results[i] for i in positions]))
    return kept


def give_away(original: Op, positions: Sequence[int], in_place: bool = False) -> Op:
    """Return a function, or a copy of it, that gives away the memory of the arguments at `positions`."""
    giving = original if in_place else copy_function(original)
    giving.attributes["donated"] = tuple(positions)
    return giving


def return_arguments(original: Op, in_place: bool = False) -> Op:
    """Return a function, or a copy of it, that also returns its arguments."""
    echoing = original if in_place else copy_function(original)
    body = body_of(echoing)
    body.terminator.set_operands([*body.terminator.operands, *body.arguments])
    types = original.attributes["function_type"]
    echoing.attributes["function_type"] = function(types.inputs, (*types.results, *types.inputs))
    return echoing


_STEPS: dict[str, Callable[..., Op]] = {
    "keep": lambda made, own, positions: keep_results(made, positions, in_place=own),
    "vjp": lambda made, own, active, unit_seed: vjp_of(made, active, unit_seed),
    "donate": lambda made, own, positions: give_away(made, positions, in_place=own),
    "echo": lambda made, own: return_arguments(made, in_place=own),
    "jvp": lambda made, own, active: jvp_of(made, active),
}
