"""grad, value_and_grad, jvp, hvp, stop_gradient, with jax's signatures.

On arrays each traces the function once for a signature, derives a program on IR and runs it
natively. Inside a trace it derives the same function on IR and inlines it, so they nest to any
depth and nothing is ever differentiated in Python. vjp and linearize stand in linear_maps.py, Jacobians and
Hessians in jacobians.py.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gradloom.derived import Bound, Derived, derive, user_function
from gradloom.function import UserFunction
from gradloom.signature import Argnums, Argument, Call, Leaf, caller_location
from gradloom.tree import NOTHING, flatten, flatten_like, leaf_paths, unflatten
from gradloomc.ir.builder import insertion
from gradloomc.ir.errors import (
    DifferentiationError,
    DTypeError,
    GradloomError,
    ShapeError,
    UnsupportedError,
)

if TYPE_CHECKING:
    from gradloom.program import Primal, Program

ABSENT = object()  # a tangent or cotangent that the user left out: zero


class Gradient(Derived, native=True):
    """The gradient of a scalar function, with or without its value.

    Called with `out=`, it writes the gradient into the arrays given there and returns these: one array, or containers
    of arrays like the gradient. (A function with a parameter of that name gets it instead.) An argument may be given.
    """

    def __init__(self, fun: Any, argnums: Any, has_aux: bool, with_value: bool, donate: Any = ()):
        self.with_value = with_value
        super().__init__(
            fun, "value_and_grad" if with_value else "grad", argnums, has_aux, with_value, donate=donate
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if "out" in kwargs and "out" not in self.user.parameters.names:
            keywords = tuple(kwargs)
            return self._into(kwargs.pop("out"), args, kwargs, keywords)
        return super().__call__(*args, **kwargs)

    def _into(self, out: Any, args: tuple[Any, ...], kwargs: dict[str, Any], keywords: tuple[str, ...]) -> Any:
        """Write the gradient into `out`, which came among `keywords`."""
        from gradloom.exec.into import check_out, run_into
        from gradloom.program import parts_of

        if self.has_aux or insertion.block is not None:
            raise UnsupportedError(
                f"{self.name}: out= cannot be used {'with has_aux' if self.has_aux else 'in a traced function'}",
                caller_location(),
                fix="leave it out",
            )
        call = self.bind(args, kwargs)
        program = self.program(call)
        structure, slots = program.result.structure, list(program.result.slots)
        given = flatten_like(structure, (None, out) if self.with_value else out, "out")
        outs: list[Any] = [None] * len(program.executable.returned)
        for slot, place in zip(slots, given, strict=True):
            if place is not None and isinstance(slot, int):
                type = program.types[slot]
                check_out(place, type.shape, type.element.dtype, "out")
                outs[slot] = place
        answer = program.finish(run_into(program.executable, program.gather(call.leaves), outs))
        gradient = parts_of(program.result)[1] if self.with_value else program.result
        self._enter(program, call.leaves, len(args), keywords, (out, gradient))
        return answer

    def make(self, primal: "Primal") -> "Program":
        from gradloom.derivatives import gradient_program

        arguments = primal.parameters.find(self.selected, primal.structure)
        return gradient_program(primal, arguments, self.single, self.with_value, self.name)


class BoundGradient(Bound, Gradient):
    """The gradient of a function with arguments bound to it, such as a method."""

    _whole = Gradient


Gradient.bound = BoundGradient


def grad(
    fun: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False, donate_argnums: Argnums = ()
) -> Gradient:
    """Return a function that computes the gradient of `fun`, a function that returns one float.

    Args:
        fun: the function, written in NumPy. Its arguments may be nested containers of arrays.
        argnums: the position or name of the argument to differentiate with respect to, or a tuple
            of them.
        has_aux: `fun` returns (value, aux); then the gradient function returns (gradient, aux).
        donate_argnums: position or name of an argument, or a tuple of them, whose memory the caller gives away: a
            gradient of the same shape and dtype is written there where that is possible (`.explain()` says it), so
            that the array holds the result afterwards. See docs/memory.md.

    Returns:
        A function of the same arguments. The gradient has the structure, shapes and dtypes of the
        argument; for a tuple of argnums it is a tuple. Leaves that have no derivative (strings,
        None, settings of a dataclass) are None.

    Raises:
        DifferentiationError: the result is not one float, an argument holds integers, or an op has
            no derivative.
    """
    return derive(Gradient, fun, argnums, has_aux, False, donate=donate_argnums)


def value_and_grad(
    fun: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False, donate_argnums: Argnums = ()
) -> Gradient:
    """Return a function that computes (value, gradient) in one native call; see `grad`.

    With `has_aux` it returns ((value, aux), gradient).
    """
    return derive(Gradient, fun, argnums, has_aux, True, donate=donate_argnums)


# --- forward and reverse products -----------------------------------------------------------------


class Point:
    """A function at a point: the call taken apart, and one argument per primal."""

    def __init__(self, fun: Any, primals: Any, has_aux: bool, what: str):
        if not isinstance(primals, (tuple, list)):
            raise TypeError(
                f"{what}: primals should be a tuple of arguments, not {type(primals).__name__}"
            )
        self.user: UserFunction
        self.user, prefix, keywords = user_function(fun)
        self.what, self.has_aux = what, has_aux
        parameters = self.user.parameters
        self.call: Call = parameters.bind((*prefix, *primals), keywords)
        self.bound = len(prefix), tuple(keywords)
        positions = range(len(prefix), len(prefix) + len(primals))
        self.arguments: list[Argument] = parameters.find(positions, self.call.structure)
        self.leaves: list[Leaf] = parameters.read(self.call)

    @cached_property
    def primal(self) -> "Primal":
        """The traced function."""
        return self.user.primal(self.call, self.has_aux)

    def floats(self) -> list[int]:
        """Return the leaves of the primals that have tangents."""
        return [
            i for argument in self.arguments for i in argument.leaves if self.leaves[i].is_float
        ]

    def tangents(self, tangents: Any, what: str = "tangents") -> dict[int, Any]:
        """Return the given tangents by leaf; None stands for zero, at any level.

        Raises:
            ShapeError, DTypeError, DifferentiationError: a tangent does not fit its primal.
        """
        if not isinstance(tangents, (tuple, list)):
            raise TypeError(
                f"{self.what}: {what} should be a tuple, one per primal, not "
                f"{type(tangents).__name__}"
            )
        if len(tangents) != len(self.arguments):
            raise ShapeError(
                f"{self.what}: expected one of {what} for each of the {len(self.arguments)} "
                f"primals, got {len(tangents)}",
                caller_location(),
                fix="give None for a primal that does not move",
            )
        seeds: dict[int, Any] = {}
        for k, (argument, tree) in enumerate(zip(self.arguments, tangents, strict=True)):
            label = f"{what}[{k}]"
            parts = self._located(
                lambda a=argument, t=tree, n=label: flatten_like(a.structure, t, n, absent=ABSENT)
            )
            paths = leaf_paths(argument.structure, label)
            names = leaf_paths(argument.structure, argument.label)
            for i, part, path, name in zip(argument.leaves, parts, paths, names, strict=True):
                if part is ABSENT:
                    continue
                if not self.leaves[i].is_float:
                    raise self.user.parameters.not_differentiable(name, self.leaves[i])
                seeds[i] = self._located(
                    lambda i=i, x=part, n=path: as_seed(x, self.leaves[i].type, n)
                )
        return seeds

    def cotangents(self, tree: Any) -> list[Any]:
        """Return the cotangents of the float leaves of the result."""
        result, types = self.primal.result, self.primal.types
        what = "the cotangent"
        parts = self._located(lambda: flatten_like(result.structure, tree, what, absent=ABSENT))
        seeds = []
        for slot, part, path in zip(
            result.slots, parts, leaf_paths(result.structure, what), strict=True
        ):
            type = types[slot] if isinstance(slot, int) else None
            if type is None or not type.element.is_float:
                if part is not ABSENT:
                    raise self._error(
                        DTypeError(f"{path} belongs to a result that is no float; give None for it")
                    )
            elif part is ABSENT:
                seeds.append(np.zeros(type.shape, type.element.dtype))
            else:
                seeds.append(self._located(lambda x=part, t=type, n=path: as_seed(x, t, n)))
        return seeds

    def _located(self, check: Callable[[], Any]) -> Any:
        try:
            return check()
        except GradloomError as error:
            raise self._error(error) from None

    def _error(self, error: GradloomError) -> GradloomError:
        return type(error)(
            f"{self.what}: {error.message}", caller_location(), error.notes, error.fix
        )

    def pushforward(self, active: Sequence[int], with_value: bool) -> "Program":
        """Return the program from tangents of the active leaves to that of the result."""
        from gradloom.derivatives import pushforward_program

        def make(primal: "Primal") -> "Program":
            return pushforward_program(primal, active, with_value)

        return self._program(("jvp", tuple(active), with_value), make)

    def pullback(self, active: Sequence[int]) -> "Program":
        """Return the program from cotangents of the result to those of the primals."""
        from gradloom.derivatives import pullback_program

        def make(primal: "Primal") -> "Program":
            return pullback_program(primal, active, self.arguments)

        return self._program(("vjp", tuple(active), len(self.arguments)), make)

    def value(self) -> "Program":
        """Return the program of the function itself."""
        from gradloom.derivatives import value_program

        return self._program(("value",), value_program)

    def value_and_arguments(self) -> "Program":
        """Return the program of the function itself that also returns what it takes, copied."""
        from gradloom.derivatives import echo_program

        # What is made of its results depends on more than other programs do.
        return self._program(("value and arguments", self.what, self.bound), echo_program)

    def without_arrays(self) -> "Point":
        """Return the same point without what was passed: enough to find programs."""
        other = Point.__new__(Point)
        other.__dict__.update({name: part for name, part in self.__dict__.items() if name != "primal"})
        other.call = Call([], self.call.structure, self.call.key[1])
        return other

    def _program(self, key: tuple[Any, ...], make: "Callable[[Primal], Program]") -> "Program":
        if insertion.block is not None:
            return make(self.primal)
        return self.user.program(key, self.call, self.has_aux, make)


def as_seed(x: Any, type: Any, what: str) -> Any:
    """Return a tangent or cotangent as an array of `type` (a tracer as it is).

    Raises:
        ShapeError, DTypeError: it has another shape or dtype. Python numbers take the dtype.
    """
    element = type.element.dtype
    if x.__class__ in (float, int):
        x = np.asarray(x, element)
    shape, dtype = getattr(x, "shape", None), getattr(x, "dtype", None)
    if shape is None or dtype is None:
        raise DTypeError(f"{what} should be an array of {element}, not {x.__class__.__name__}")
    if tuple(shape) != type.shape:
        raise ShapeError(f"{what} should have shape {type.shape}, not {tuple(shape)}")
    if dtype != element:
        raise DTypeError(
            f"{what} should have dtype {element}, not {dtype}",
            fix=f"convert it with .astype(np.{element})",
        )
    return np.asarray(x, element) if isinstance(x, (np.ndarray, np.generic)) else x


def jvp(
    fun: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool = False
) -> tuple[Any, ...]:
    """Return (result, tangent): the value at `primals` and the derivative along `tangents`.

    Args:
        fun: the function.
        primals: its positional arguments.
        tangents: one per primal, of the same structure, shapes and dtypes; None, at any level,
            stands for zero.
        has_aux: `fun` returns (result, aux); then (result, tangent, aux) is returned.

    Raises:
        ShapeError, DTypeError, DifferentiationError: a tangent does not fit its primal, or an op
        has no derivative.
    """
    return derive(Product, fun, None, has_aux, False)(primals, tangents)


class Product(Derived):
    """A derivative along tangents, as a function of (primals, tangents).

    That of the function itself, with the value (`jvp`), or, where `second` says so, that of its gradient (`hvp`).
    """

    def __init__(self, fun: Any, argnums: Any, has_aux: bool, second: bool):
        super().__init__(fun, "hvp" if second else "jvp", argnums, has_aux, second)
        self.second = second
        self._generations: dict[UserFunction, int] = {}

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        primals, tangents = args
        fun, moving = self.__wrapped__, ()
        if self.second:
            moving = _moving(primals, tangents)
            fun = derive(Gradient, fun, moving, self.has_aux, False)
        point = Point(fun, primals, self.has_aux, self.name)
        seeds = point.tangents(tangents)
        program = point.pushforward(list(seeds), with_value=not self.second)
        if insertion.block is not None:
            found = program.inline(point.call.leaves, list(seeds.values()))
        else:
            found = program(point.call.leaves, list(seeds.values()))
            self._enter_product(program, point, primals, tangents, moving)
        return self._of_primals(found, moving, len(primals), None, tuple) if self.second else found

    def _of_primals(self, found: Any, moving: Sequence[int], count: int, nothing: Any, join: Any) -> Any:
        """Return the part that the user gets of the gradient's tangent: one entry per primal, `nothing` for others."""
        products = dict(zip(moving, found[0] if self.has_aux else found, strict=True))
        if count == 1:
            return products[0]
        return join([products.get(k, nothing) for k in range(count)])

    def _enter_product(
        self, program: "Program", point: Point, primals: Any, tangents: Any, moving: Sequence[int]
    ) -> None:
        """Let native code answer calls like the one that the program answered just now, if it can."""
        if program.executable.native is None or self.bound_args or self.bound_kwargs:
            return
        state = point.user.state
        if self._generations.get(point.user) != state.generation:
            self._plans.clear(self)
            self._generations[point.user] = state.generation

        def make() -> Any:
            from gradloom.plans import make_product_plan
            from gradloom.program import Result, parts_of, tuple_of

            result = program.result
            if self.second:
                parts = parts_of(parts_of(result)[0]) if self.has_aux else parts_of(result)
                found = [parts] if self.has_aux else parts
                result = self._of_primals(found, moving, len(primals), Result(NOTHING, ()), tuple_of)
            return make_product_plan(program, primals, point.call.leaves, tangents, result, state)

        kinds = tuple([type(seed) for seed in flatten(tangents)[0]])
        absent = tuple([tangent is None for tangent in tangents])
        self._plans.use(self, (program, type(primals), type(tangents), absent, kinds), make)
        point.user.enter(program)


def _moving(primals: Any, tangents: Any) -> tuple[int, ...]:
    """Return the positions of the primals that have a tangent."""
    if not isinstance(primals, (tuple, list)) or not isinstance(tangents, (tuple, list)):
        raise TypeError("hvp: primals and tangents should be tuples, one entry per argument")
    moving = tuple([k for k, tangent in enumerate(tangents) if tangent is not None])
    if not moving:
        raise DifferentiationError(
            "hvp: every tangent is None, so there is nothing to differentiate", caller_location()
        )
    return moving


def hvp(fun: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """Return the product of the Hessian of a scalar function with a vector, forward over reverse.

    Args:
        fun: a function that returns one float.
        primals: its positional arguments.
        tangents: the vector, one part per primal; None for a primal that is not differentiated.

    Returns:
        The product, like the primal if there is one primal, else a tuple like the primals, with
        None where the tangent is None.

    Raises:
        ShapeError, DTypeError, DifferentiationError: as for `grad` and `jvp`.
    """
    return hessian_product(fun, primals, tangents, False)


def hessian_product(fun: Any, primals: Any, tangents: Any, has_aux: bool) -> Any:
    """Return `hvp` of a function that may return (value, aux); the aux is left out."""
    return derive(Product, fun, None, has_aux, True)(primals, tangents)


def stop_gradient(x: Any) -> Any:
    """Return `x` as a constant: it keeps its value, and derivatives do not pass.

    Containers are taken leaf by leaf.
    """
    if insertion.block is None:
        return x
    from gradloom.derivatives import stop_tracer

    leaves, structure = flatten(x)
    return unflatten(structure, [stop_tracer(leaf) for leaf in leaves])
