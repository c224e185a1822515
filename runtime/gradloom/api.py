"""`compile_grad`: the decorator, and the object that a decorated function becomes.

The object keeps the function's meaning and carries its derivatives. All work is done by
transforms.py and jacobians.py; this file owns how they hang on one object, how that object binds to
instances, and how it is pickled.
"""

import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from types import MethodType
from typing import TYPE_CHECKING, Any, overload

from gradloom.derived import Bound, Derived, user_function
from gradloom.jacobians import Jacobian, hessian
from gradloom.linear_maps import vjp
from gradloom.signature import Argnums, caller_location
from gradloom.transforms import BoundGradient, Gradient, hessian_product, jvp
from gradloomc.ir.builder import insertion
from gradloomc.ir.errors import DifferentiationError, ShapeError

if TYPE_CHECKING:
    from gradloom.program import Primal, Program


class CompiledGrad(Derived):
    """A NumPy function, compiled, with its derivatives.

    Calling it gives what the function gives. In the methods, `argnums` and `has_aux` are those of
    `compile_grad`.
    """

    stands_for_function = True

    def __init__(self, fun: Any, argnums: Any = 0, has_aux: bool = False, donate: Any = ()):
        super().__init__(fun, "value", argnums if _has_parameters(fun) else None, has_aux, donate=donate)
        # The value needs none of the arguments to be there, and is one program for all argnums.
        self.differentiated, self.selected = self.selected, ()
        self.key = ("value", "donate", self.donated) if self.donated else ("value",)
        # For methods: gradients of the function, and the function with its donated arguments counted otherwise.
        self._of_methods: dict[bool, Gradient] = {}
        self._donating: CompiledGrad | None = None

    def __repr__(self) -> str:
        return f"<gradloom compiled {self.user.parameters.name}>"

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """Bind to an instance, as a method; positions in `argnums` do not count `self`."""
        if instance is None:
            return self

        base, recipe = self, (MethodType(self, instance), self.argnums, self.has_aux, self.donate_argnums)
        if self.donated:
            base = self._donating
            if base is None:  # the same with positions that count the instance
                whole = CompiledGrad(*recipe)
                base = self._donating = CompiledGrad(self.user.fun, self.argnums, self.has_aux, whole.donated)
        return BoundGrad.of(base, recipe, (instance,))

    @cached_property
    def grad(self) -> Gradient:
        """`grad(*args)` is the gradient of the scalar result, in the structure of the argument."""
        self._check_parameters()
        return Gradient(self, self.argnums, self.has_aux, False)

    @cached_property
    def value_and_grad(self) -> Gradient:
        """`value_and_grad(*args)` is (value, gradient), from one native call."""
        self._check_parameters()
        return Gradient(self, self.argnums, self.has_aux, True)

    @cached_property
    def jacobian(self) -> Jacobian:
        """`jacobian(*args)` holds all first derivatives; see `gradloom.jacobian`."""
        self._check_parameters()
        return Jacobian(self, self.argnums, self.has_aux, "auto")

    @cached_property
    def hessian(self) -> Jacobian:
        """`hessian(*args)` holds all second derivatives; see `gradloom.hessian`."""
        self._check_parameters()
        return hessian(self, self.argnums, self.has_aux)

    def _check_parameters(self) -> None:
        if not self.differentiated:
            raise DifferentiationError(
                f"{self.user.parameters.name}() has no parameters, so it has no derivative",
                caller_location(),
            )

    def make(self, primal: "Primal") -> "Program":
        from gradloom.derivatives import value_program

        return value_program(primal)

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if insertion.block is None:
            if "gradloom.autograd.recording" in sys.modules:  # otherwise there are no tensors
                from gradloom.autograd import compiled

                if compiled.holds_tensor(args, kwargs):
                    return compiled.call(self, args, kwargs)
            return super()._call(args, kwargs)
        # Inside a trace the function is simply part of it.
        from gradloom.trace.shadow import shadow_function

        return shadow_function(self.user.fun)(
            *self.bound_args, *args, **{**self.bound_kwargs, **kwargs}
        )

    # --- products ---------------------------------------------------------------------------------

    def vjp(self, *primals: Any) -> tuple[Any, ...]:
        """Return (result, vjp_fun) at `primals`; see `gradloom.vjp`."""
        return vjp(self, *primals, has_aux=self.has_aux)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, ...]:
        """Return (result, tangent) at `primals` in the direction `tangents`; see `gradloom.jvp`.

        `tangents` has one entry per primal, or, where that is fewer, one per argument of `argnums`.
        """
        return jvp(
            self, primals, self._directions(primals, tangents, "tangents"), has_aux=self.has_aux
        )

    def hvp(self, primals: Sequence[Any], vectors: Any) -> Any:
        """Return the product of the Hessian with `vectors`, in the structure of the argument.

        Args:
            primals: all arguments.
            vectors: one entry per primal (None for those not differentiated) or one per argument of
                `argnums`.
        """
        directions = self._directions(primals, vectors, "vectors")
        product = hessian_product(self, primals, directions, self.has_aux)
        if len(primals) == 1:
            return product
        moving = [k for k, direction in enumerate(directions) if direction is not None]
        return (
            product[moving[0]]
            if self.single and len(moving) == 1
            else tuple([product[k] for k in moving])
        )

    def _directions(self, primals: Sequence[Any], given: Any, what: str) -> tuple[Any, ...]:
        """Return one direction per primal."""
        if not isinstance(given, (tuple, list)) or not isinstance(primals, (tuple, list)):
            raise TypeError(f"primals and {what} should be tuples, one entry per argument")
        if len(given) == len(primals):
            return tuple(given)
        positions = [k - len(self.bound_args) for k in self.differentiated if isinstance(k, int)]
        if len(given) != len(positions) or any(k >= len(primals) for k in positions):
            raise ShapeError(
                f"expected one of {what} for each of the {len(primals)} primals (or of the "
                f"{len(positions)} arguments in "
                f"argnums), got {len(given)}",
                caller_location(),
            )
        directions: list[Any] = [None] * len(primals)
        for k, direction in zip(positions, given, strict=True):
            directions[k] = direction
        return tuple(directions)

    # --- what was compiled ------------------------------------------------------------------------

    def last_program(self) -> "Program | None":
        """Return the program of the function, its value or a derivative, that ran last."""
        return self.user.last

    def program_for(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> "Program":
        """Return the program of value_and_grad for given arguments, or of the value where there is no gradient."""
        if self.differentiated:
            derived: Any = self.value_and_grad
            try:
                return derived.program_for(args, kwargs)
            except DifferentiationError:  # no gradient: show the value
                pass
        return super().program_for(args, kwargs)

    def __reduce__(self) -> Any:
        found: Any = sys.modules.get(self.__module__)
        for name in self.__qualname__.split("."):
            found = getattr(found, name, None)
        if found is self:
            return self.__qualname__
        return super().__reduce__()


class BoundGrad(Bound, CompiledGrad):
    """A compiled function as a method of an instance. Its gradients are those of the function, with the instance."""

    _whole = CompiledGrad

    @property
    def grad(self) -> Gradient:  # type: ignore[override]
        """As that of any compiled function."""
        return self._gradient(False)

    @property
    def value_and_grad(self) -> Gradient:  # type: ignore[override]
        """As that of any compiled function."""
        return self._gradient(True)

    def _gradient(self, with_value: bool) -> Gradient:
        base = self._base
        recipe = (self, base.argnums, base.has_aux, with_value)
        known = base._of_methods.get(with_value)
        if known is None:
            self._check_parameters()
            recipe = (self, self.argnums, self.has_aux, with_value)
            known = base._of_methods[with_value] = Gradient(*recipe).unbound
        return BoundGradient.of(known, recipe, self._arguments)


def _has_parameters(fun: Any) -> bool:
    user, bound, _ = user_function(fun)
    parameters = user.parameters
    return len(parameters.names) > len(bound) or any(parameters.variadic)


@overload
def compile_grad(
    fun: Callable[..., Any], *, argnums: Argnums = 0, has_aux: bool = False, donate_argnums: Argnums = ()
) -> CompiledGrad: ...


@overload
def compile_grad(
    fun: None = None, *, argnums: Argnums = 0, has_aux: bool = False, donate_argnums: Argnums = ()
) -> Callable[[Callable[..., Any]], CompiledGrad]: ...


def compile_grad(
    fun: Any = None, *, argnums: Argnums = 0, has_aux: bool = False, donate_argnums: Argnums = ()
) -> Any:
    """Compile a NumPy function and give it derivatives; a decorator, with or without arguments.

    Args:
        fun: the function. It is traced when it is first called with arguments of new shapes, dtypes
            or static values.
        argnums: position or name of the argument to differentiate with respect to, or a tuple of
            them.
        has_aux: the function returns (value, aux); aux is passed through.
        donate_argnums: position or name of an argument, or a tuple of them, whose memory the caller gives away in calls
            of the function itself: a result of the same shape and dtype is written there where that is possible
            (`.explain()` says it), so that the array holds the result afterwards. See docs/memory.md.

    Returns:
        A CompiledGrad: call it like the function; `.grad`, `.value_and_grad`, `.vjp`, `.jvp`,
        `.hvp`, `.jacobian`, `.hessian` differentiate it; `.ir`, `.explain`, `.stats` show what was
        compiled.

    Raises:
        UnsupportedError: `fun` is no function.
        DifferentiationError: the function has no such argument.
    """
    if fun is None:
        return lambda function: CompiledGrad(function, argnums, has_aux, donate_argnums)
    return CompiledGrad(fun, argnums, has_aux, donate_argnums)
