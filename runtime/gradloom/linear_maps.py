"""vjp and linearize: the value at a point, and the derivative there as a linear function.

Both are two calls: one that computes the value and copies the primals, and later ones of what the first returned, which
take cotangents or tangents. Each is one native call after some. Programs come from `Point` (transforms.py).
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradloom.derived import Derived, derive
from gradloom.exec.callable import NativeCallable
from gradloom.exec.programs import Plans
from gradloom.signature import caller_location
from gradloom.transforms import Point
from gradloom.tree import flatten
from gradloomc.ir.builder import insertion
from gradloomc.ir.errors import TracerError

if TYPE_CHECKING:
    from gradloom.program import Program


def vjp(fun: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """Return (result, vjp_fun): the value at `primals`, and what pulls cotangents back to them.

    `vjp_fun(cotangent)` takes the structure of the result (None stands for zero) and returns a
    tuple with one entry per primal; leaves that are no floats have None. It computes the forward
    part again, fused with the backward one; the primals are copied here, so that writing into them
    in between changes nothing. With `has_aux` the triple (result, vjp_fun, aux).
    """
    return derive(Forward, fun, None, has_aux, Pullback)(*primals)


def linearize(fun: Callable[..., Any], *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """Return (result, jvp_fun): the value at `primals` and the derivative as a linear function.

    `jvp_fun(*tangents)` takes one tangent per primal (None stands for zero) and returns the
    result's tangent. The primals are copied here. With `has_aux` the triple (result, jvp_fun, aux).
    """
    return derive(Forward, fun, None, has_aux, Pushforward)(*primals)


class Forward(Derived):
    """From primals to the value there and the linear map of a kind."""

    def __init__(self, fun: Any, argnums: Any, has_aux: bool, kind: "type[LinearMap]"):
        super().__init__(fun, kind.name, None, has_aux, kind)
        self.kind_of_map = kind

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        point = Point(self.__wrapped__, args, self.has_aux, self.name)
        if insertion.block is not None:
            return self._with_map(point.value().inline(point.call.leaves), self.kind_of_map(NestedPoint(point), ()))
        program = point.value_and_arguments()
        if self._generation != self.user.state.generation:
            self._generation = self.user.state.generation
            self.forget()
        if program.after is None:
            program.after = self._after(point.without_arrays())
        found = program.after(program(point.call.leaves))
        self._enter(program, point.call.leaves, len(args), tuple(kwargs))
        return found

    def _after(self, point: Point) -> Callable[[Any], Any]:
        """Return what makes the user's result of (result, copies of the arrays)."""
        derivative = Derivative(self.kind_of_map, point)

        def finish(found: Any) -> Any:
            value, arrays = found
            return self._with_map(value, self.kind_of_map(derivative, arrays))

        return finish

    def _with_map(self, value: Any, linear: "LinearMap") -> tuple[Any, ...]:
        return (value[0], linear, value[1]) if self.has_aux else (value, linear)


class Derivative(NativeCallable, native=True):
    """The linear maps of one function at points of the same kind, as a function of (arrays, seeds)."""

    def __init__(self, kind: "type[LinearMap]", point: Point):
        self.kind, self.point = kind, point
        self.active = point.floats()
        self.plans = Plans()
        self.generation = point.user.state.generation

    def __call__(self, arrays: Any, given: Any) -> Any:
        """Apply the map at the point of these arrays; calls that a plan describes go into native code."""
        seeds, program = self.kind.seeds_and_program(self.point, self.active, given)
        if insertion.block is not None:
            return program.inline_arrays([*arrays, *seeds])
        found = program.run([*arrays, *seeds])
        if program.executable.native is not None:
            self._enter(program, arrays, given)
        return found

    def _enter(self, program: "Program", arrays: Any, given: Any) -> None:
        """Let native code answer calls like this one, if it can."""
        from gradloom.plans import make_map_plan

        user = self.point.user
        if self.generation != user.state.generation:
            self.generation = user.state.generation
            self.plans.clear(self)
        seeds, structure = flatten(given)
        key = (program, structure, tuple([type(seed) for seed in seeds]))
        expected = self.kind.structure(self.point)
        self.plans.use(self, key, lambda: make_map_plan(program, len(arrays), given, expected, user.state))
        user.enter(program)


class NestedPoint:
    """The linear maps of a function at a point in the function that is being traced."""

    def __init__(self, point: Point):
        self.point, self.active = point, point.floats()


class LinearMap:
    """A derivative at a point, with the arrays that it needs."""

    name = ""
    __slots__ = ("arrays", "derivative")

    def __init__(self, derivative: Derivative | NestedPoint, arrays: Sequence[Any]):
        self.derivative, self.arrays = derivative, arrays

    def __repr__(self) -> str:
        return f"<gradloom {self.name} of {self.derivative.point.user.parameters.name} at a point>"

    @staticmethod
    def seeds_and_program(point: Point, active: list[int], given: Any) -> "tuple[list[Any], Program]":
        """Return the seeds that were given, checked, and the program that takes them."""
        raise NotImplementedError

    @staticmethod
    def structure(point: Point) -> Any:
        """Return the structure that seeds have."""
        raise NotImplementedError

    def _apply(self, given: Any) -> Any:
        derivative = self.derivative
        if isinstance(derivative, Derivative):
            return derivative(self.arrays, given)
        point = derivative.point
        if insertion.block is None:
            raise TracerError(
                f"this function of {point.what} belongs to a trace that is finished",
                caller_location(),
                fix=f"call it in the function in which {point.what} was called",
            )
        seeds, program = self.seeds_and_program(point, derivative.active, given)
        return program.inline(point.call.leaves, seeds)


class Pullback(LinearMap):
    """From a cotangent of the result to cotangents of the primals."""

    name = "vjp"
    __slots__ = ()

    def __call__(self, cotangent: Any) -> Any:
        return self._apply(cotangent)

    @staticmethod
    def seeds_and_program(point: Point, active: list[int], given: Any) -> "tuple[list[Any], Program]":
        return point.cotangents(given), point.pullback(active)

    @staticmethod
    def structure(point: Point) -> Any:
        return point.primal.result.structure


class Pushforward(LinearMap):
    """From tangents of the primals to the tangent of the result."""

    name = "linearize"
    __slots__ = ()

    def __call__(self, *tangents: Any) -> Any:
        found = self._apply(tangents)
        return found[0] if self.derivative.point.has_aux else found

    @staticmethod
    def seeds_and_program(point: Point, active: list[int], given: Any) -> "tuple[list[Any], Program]":
        tangents = point.tangents(given)
        seeds = []
        for i in active:
            type: Any = point.leaves[i].type
            seeds.append(tangents[i] if i in tangents else np.zeros(type.shape, type.element.dtype))
        return seeds, point.pushforward(active, with_value=False)

    @staticmethod
    def structure(point: Point) -> Any:
        from gradloom.tree import TUPLE

        return (TUPLE, None, *[argument.structure for argument in point.arguments])
