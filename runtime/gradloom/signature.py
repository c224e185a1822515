"""The arguments of one call: parameters, leaves, and the key under which programs are kept.

Arrays, NumPy scalars and Python floats are dynamic: the compiled program takes them when it runs.
Everything else (whole numbers, strings, functions, None) is static: part of the program, by value.
Knows no tracing and no compiler.
"""

import inspect
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradloom.tree import (
    Structure,
    count_leaves,
    describe_type,
    flatten,
    leaf_paths,
    settings_leaves,
)
from gradloomc.ir.builder import insertion
from gradloomc.ir.errors import (
    DifferentiationError,
    DTypeError,
    GradloomError,
    TracerError,
    UnsupportedError,
)
from gradloomc.ir.location import UNKNOWN, CodeLocation, Location

if TYPE_CHECKING:
    from gradloomc.ir.types import ScalarType, TensorType

Argnums = int | str | Sequence[int | str]

_TRACED = "traced"
_OWN_FOLDERS = tuple(
    os.path.dirname(sys.modules[name].__file__ or "") + os.sep for name in ("gradloom", "gradloomc")
)


def caller_location() -> Location:
    """Return where the user's program called into gradloom."""
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_OWN_FOLDERS):
        frame = frame.f_back
    return UNKNOWN if frame is None else CodeLocation(frame.f_code, frame.f_lasti)


def warn(message: str) -> None:
    """Warn at the line in which the user's program called gradloom."""
    name, line, _, _ = caller_location().resolve()
    warnings.warn_explicit(message, RuntimeWarning, name or "<unknown>", line)


def definition_location(fun: Any) -> Location:
    """Return where a function is defined (unknown for builtins)."""
    code = getattr(inspect.unwrap(fun), "__code__", None)
    return UNKNOWN if code is None else CodeLocation(code, 0)


class Leaf:
    """What is known of one leaf when a program is made.

    Attributes:
        type: the tensor type of an array; None for a static leaf.
        weak: a Python float: its dtype gives way to that of arrays, as in NumPy.
        value: the static value.
        convert: the leaf may be no plain array of this machine's byte order, so it goes through
            np.asarray.
    """

    __slots__ = ("convert", "type", "value", "weak")

    def __init__(
        self,
        type: "TensorType | None",
        weak: bool = False,
        value: Any = None,
        convert: bool = False,
    ):
        self.type, self.weak, self.value, self.convert = type, weak, value, convert

    @property
    def is_float(self) -> bool:
        return self.type is not None and self.type.element.is_float


class Static:
    """A static value as part of a key: equal in type and value (1, 1.0 and True differ)."""

    __slots__ = ("hash", "value")

    def __init__(self, value: Any):
        self.value = value
        self.hash = hash(value)

    def __hash__(self) -> int:
        return self.hash

    def __eq__(self, other: Any) -> bool:
        return (
            other.__class__ is Static
            and self.value.__class__ is other.value.__class__
            and (self.value is other.value or bool(self.value == other.value))
        )


def leaf_key(leaf: Any) -> Any:
    """Return the part of the key that stands for `leaf`.

    Raises:
        DTypeError, UnsupportedError: the leaf can be no argument.
    """
    cls = leaf.__class__
    if cls is np.ndarray:
        return (leaf.dtype, leaf.shape)
    if cls is float:
        return float
    if issubclass(cls, np.generic) and leaf.dtype.kind in "fiub":
        return (leaf.dtype, ())
    if cls is slice:
        return (slice, leaf.start, leaf.stop, leaf.step)
    if issubclass(cls, np.ndarray):
        return _subclass_key(leaf)
    if isinstance(leaf, (np.random.Generator, np.random.RandomState)):
        raise UnsupportedError(
            "a random generator changes with each call, and a compiled function would not see that",
            fix="draw the numbers outside and pass them as an array",
        )
    if hasattr(cls, "__array_ufunc__") and _is_tracer(leaf):
        return _tracer_key(leaf)
    if hasattr(cls, "__array__"):
        raise UnsupportedError(
            f"{describe_type(leaf)} is no NumPy array", fix="pass np.asarray(...) of it"
        )
    try:
        return Static(leaf)
    except TypeError:
        raise UnsupportedError(
            f"{describe_type(leaf)} cannot be hashed, so a compiled function could not tell when "
            "it changes",
            fix="pass arrays, numbers, strings or containers of them (a tuple for a set), or make "
            "the type known with gradloom.register_container",
        ) from None


def _is_tracer(leaf: Any) -> bool:
    module = sys.modules.get("gradloom.trace.tracer")
    return module is not None and isinstance(leaf, module.Tracer)


def _tracer_key(tracer: Any) -> Any:
    if insertion.block is None:
        raise TracerError(
            "a traced array was kept after its function had been traced; it stands for no value",
            fix="return the array from the function instead of storing it outside",
        )
    return (_TRACED, tracer.value.type, getattr(tracer, "weak", False))


def _subclass_key(leaf: Any) -> Any:
    if isinstance(leaf, np.memmap):
        return (leaf.dtype, leaf.shape, np.memmap)
    if isinstance(leaf, np.ma.MaskedArray):
        raise UnsupportedError(
            "a masked array would lose its mask",
            fix="pass x.filled(...) and use np.where with the mask as an array of its own",
        )
    raise UnsupportedError(
        f"{describe_type(leaf)} would lose its meaning (arithmetic of {type(leaf).__name__} is not "
        "that of ndarray)",
        fix="pass np.asarray(x)",
    )


def read_leaf(key: Any) -> Leaf:
    """Return what a key says of its leaf.

    Raises:
        DTypeError: an array of a dtype that gradloom does not know.
    """
    from gradloomc.ir.types import f64, tensor

    if key is float:
        return Leaf(tensor((), f64), weak=True, convert=True)
    if key.__class__ is Static:
        return Leaf(None, value=key.value)
    if key[0] is _TRACED:
        return Leaf(key[1], weak=key[2])
    if key[0] is slice:
        return Leaf(None, value=slice(*key[1:]))
    dtype, shape, *other = key
    convert = not (shape and dtype.isnative) or bool(other)
    return Leaf(tensor(shape, _element(dtype)), convert=convert)


def _element(dtype: Any) -> "ScalarType":
    from gradloomc.ir.types import scalar_type

    try:
        return scalar_type(dtype)
    except TypeError:
        pass
    if dtype.kind == "O":
        raise DTypeError(
            "an array of dtype object holds Python objects, not numbers",
            fix="convert it with x.astype(float); make ragged rows a list of arrays",
        )
    if dtype.kind == "c":
        raise DTypeError(
            "complex arrays are not supported",
            fix="pass the real and imaginary parts as two arrays",
        )
    raise DTypeError(
        f"an array of dtype {dtype} cannot be computed with", fix="convert it with x.astype(float)"
    )


class Argument:
    """One selected argument: its name, its range of the leaves, its structure."""

    __slots__ = ("label", "leaves", "structure")

    def __init__(self, label: str, leaves: range, structure: Structure):
        self.label, self.leaves, self.structure = label, leaves, structure


class Call:
    """Arguments taken apart. `key` is equal for two calls that can share one program."""

    __slots__ = ("key", "leaves", "structure")

    def __init__(self, leaves: list[Any], structure: Structure, keys: tuple[Any, ...]):
        self.leaves, self.structure = leaves, structure
        self.key = (structure, keys)

    def read(self) -> list[Leaf]:
        """Return what is known of each leaf."""
        return [read_leaf(key) for key in self.key[1]]


class Parameters:
    """The parameters of a function, by position and by name."""

    __slots__ = ("fun", "name", "names", "positional", "signature", "variadic")

    def __init__(self, fun: Callable[..., Any]):
        self.fun = fun
        self.name: str = getattr(fun, "__name__", None) or type(fun).__name__
        if self.name == "__call__":
            self.name = fun.__qualname__
        self.signature: inspect.Signature | None
        try:
            self.signature = inspect.signature(fun)
        except (TypeError, ValueError):
            self.signature = None
        parameters = list(self.signature.parameters.values()) if self.signature is not None else []
        self.names = tuple(
            p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        )
        self.positional = tuple(
            p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        )
        kinds = {p.kind for p in parameters}
        unknown = self.signature is None
        self.variadic = (
            unknown or inspect.Parameter.VAR_POSITIONAL in kinds,
            unknown or inspect.Parameter.VAR_KEYWORD in kinds,
        )

    # --- argnums ----------------------------------------------------------------------------------

    def check_argnums(self, argnums: Any, skip: int = 0) -> tuple[int | str, ...]:
        """Return `argnums` as a tuple of positions from 0 and names.

        The first `skip` parameters are bound already.

        Raises:
            DifferentiationError: a position or name that the function does not have, or two that
                are the same.
        """
        given = argnums if isinstance(argnums, (tuple, list)) else (argnums,)
        if not given:
            raise self._bad_argnums("argnums is empty")
        found = tuple([self._check_argnum(argnum, skip) for argnum in given])
        if len(set(found)) != len(found):
            raise self._bad_argnums(f"argnums {argnums!r} names an argument twice")
        return found

    def _check_argnum(self, argnum: Any, skip: int) -> int | str:
        if isinstance(argnum, str):
            if argnum in self.positional:
                return self.positional.index(argnum)
            if argnum in self.names or self.variadic[1]:
                return argnum
            raise self._bad_argnums(f"{self.name}() has no parameter {argnum!r}")
        try:
            position = argnum.__index__()
        except AttributeError:
            raise self._bad_argnums(
                f"argnums should be a position, a name or a tuple of them, not {argnum!r}"
            ) from None
        count = len(self.positional)
        if position < 0 and not self.variadic[0]:
            position += count - skip
        if (position + skip >= count and not self.variadic[0]) or position < 0:
            raise self._bad_argnums(f"{self.name}() has no positional parameter {argnum}")
        return position + skip

    def _bad_argnums(self, message: str) -> DifferentiationError:
        listing = ", ".join(f"{i}: {name}" for i, name in enumerate(self.positional))
        return DifferentiationError(
            message,
            caller_location(),
            notes=(
                (
                    f"the parameters of {self.name}() are {listing or '(none)'}",
                    definition_location(self.fun),
                ),
            ),
        )

    # --- one call ---------------------------------------------------------------------------------

    def bind(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], needed: Sequence[int | str] = ()
    ) -> Call:
        """Take the arguments of a call apart.

        Keyword arguments take their positions where they have one.

        Args:
            needed: positions and names that must be there; defaults are filled in for them.

        Raises:
            TypeError: the arguments do not fit the function's signature.
            DTypeError, UnsupportedError: a leaf can be no argument.
        """
        if self.signature is not None and (kwargs or not _present(needed, args, kwargs)):
            try:
                bound = self.signature.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{self.name}() call: {error}") from None
            if not _present(needed, bound.args, bound.kwargs):
                bound.apply_defaults()
            args, kwargs = bound.args, bound.kwargs
        leaves, structure = flatten((args, kwargs))
        try:
            keys = tuple([leaf_key(leaf) for leaf in leaves])
        except (DTypeError, TracerError, UnsupportedError) as error:
            raise self._name_the_leaf(leaves, structure, leaf_key, error) from None
        return Call(leaves, structure, keys)

    def order(self, positional: int, keywords: Sequence[str]) -> list[int | str] | None:
        """Return where `bind` puts the arguments of a call: for each its position or its name.

        None if that cannot be told.
        """
        if not keywords:
            return list(range(positional))
        if self.signature is None:
            return None
        places = list(range(positional + len(keywords)))
        named = dict(zip(keywords, places[positional:], strict=True))
        bound = self.signature.bind(*places[:positional], **named)
        found: dict[int, int | str] = {place: position for position, place in enumerate(bound.args)}
        found.update({place: name for name, place in bound.kwargs.items()})
        return [found[place] for place in places]

    def defaults(self, structure: Structure, given: Sequence[int | str]) -> list[tuple[int | str, Any]]:
        """Return the defaults in a call of this structure: where they went, and what they are.

        Args:
            given: where the arguments that were passed went.
        """
        _, _, args, kwargs = structure
        missing = [which for which in (*range(len(args) - 2), *kwargs[1]) if which not in given]
        parameters = self.signature.parameters if self.signature is not None else {}
        names = [self.positional[which] if isinstance(which, int) else which for which in missing]
        return [(which, parameters[name].default) for which, name in zip(missing, names, strict=True)]

    def read(self, call: Call) -> list[Leaf]:
        """Return what is known of each leaf of the call.

        Raises:
            DTypeError: an array of a dtype that gradloom does not know; the message names the
                argument.
        """
        try:
            return call.read()
        except DTypeError as error:
            raise self._name_the_leaf(call.key[1], call.structure, read_leaf, error) from None

    def _name_the_leaf(
        self,
        leaves: Sequence[Any],
        structure: Structure,
        check: Callable[[Any], Any],
        error: GradloomError,
    ) -> GradloomError:
        """Return the error with the name of the argument that `check` does not pass."""

        def fails(leaf: Any) -> bool:
            try:
                check(leaf)
            except GradloomError:
                return True
            return False

        label = next(
            label for leaf, label in zip(leaves, self.labels(structure), strict=True) if fails(leaf)
        )
        return type(error)(
            f"argument {label!r} of {self.name}(): {error.message}",
            caller_location(),
            notes=((f"{self.name}() is defined here", definition_location(self.fun)),),
            fix=error.fix,
        )

    def labels(self, structure: Structure) -> list[str]:
        """Return how each leaf of a call is called: `w`, `params['b']`, `args[3]`."""
        _, _, args, kwargs = structure
        labels = []
        for position, child in enumerate(args[2:]):
            labels += leaf_paths(child, self._label(position))
        for name, child in zip(kwargs[1], kwargs[2:], strict=True):
            labels += leaf_paths(child, name)
        return labels

    def _label(self, position: int) -> str:
        return self.positional[position] if position < len(self.positional) else f"args[{position}]"

    def find(self, selected: Sequence[int | str], structure: Structure) -> list[Argument]:
        """Return the selected arguments of a call of this structure."""
        return [self._find(which, structure) for which in selected]

    def _find(self, which: int | str, structure: Structure) -> Argument:
        _, _, args, kwargs = structure
        start = 0
        if isinstance(which, int):
            for child in args[2 : which + 2]:
                start += count_leaves(child)
            if which < len(args) - 2:
                found = args[which + 2]
                return Argument(
                    self._label(which), range(start, start + count_leaves(found)), found
                )
            which = self._label(which)
        start = count_leaves(args)
        for name, child in zip(kwargs[1], kwargs[2:], strict=True):
            if name == which:
                return Argument(name, range(start, start + count_leaves(child)), child)
            start += count_leaves(child)
        raise self._bad_argnums(
            f"{self.name}() was called without the argument {which!r} to differentiate"
        )

    # --- which leaves are differentiated ----------------------------------------------------------

    def active_leaves(self, arguments: Sequence[Argument], leaves: Sequence[Leaf]) -> list[int]:
        """Return the leaves of the selected arguments that have derivatives.

        Settings (strings, functions, None; whole numbers in dataclasses and objects) have none and
        are left out.

        Raises:
            DifferentiationError: a whole number or an array of them is to be differentiated, or
                nothing is left.
        """
        active: list[int] = []
        for argument in arguments:
            settings = settings_leaves(argument.structure)
            paths = leaf_paths(argument.structure, argument.label)
            found = []
            for i, setting, path in zip(argument.leaves, settings, paths, strict=True):
                leaf = leaves[i]
                if leaf.is_float:
                    found.append(i)
                elif leaf.type is not None or (
                    isinstance(leaf.value, (int, complex)) and not setting
                ):
                    raise self.not_differentiable(path, leaf)
            if not found:
                raise self._nothing_to_differentiate(argument)
            active += found
        return active

    def not_differentiable(self, path: str, leaf: Leaf) -> DifferentiationError:
        if leaf.type is None:
            what, fix = (
                f"the {type(leaf.value).__name__} {leaf.value!r}",
                f"pass a float: {path} = {leaf.value}.0",
            )
            if isinstance(leaf.value, (bool, complex)):
                fix = f"leave {path} out of argnums"
            elif not path.isidentifier():
                fix = f"pass a float ({leaf.value}.0)"
        else:
            what = f"an array of {leaf.type.element.dtype}, shape {leaf.type.shape}"
            fix = f"pass {path}.astype(float), or leave {path} out of argnums"
            if not leaf.type.shape:
                what, fix = f"a number of type {leaf.type.element.dtype}", f"pass float({path})"
        return DifferentiationError(
            f"cannot differentiate {self.name}() with respect to '{path}': it is {what}, and only "
            "floats have derivatives",
            caller_location(),
            notes=((f"{self.name}() is defined here", definition_location(self.fun)),),
            fix=fix,
        )

    def _nothing_to_differentiate(self, argument: Argument) -> DifferentiationError:
        return DifferentiationError(
            f"cannot differentiate {self.name}() with respect to '{argument.label}': it holds no "
            "array of floats",
            caller_location(),
            notes=((f"{self.name}() is defined here", definition_location(self.fun)),),
            fix=f"choose other argnums; the parameters are {', '.join(self.names) or '(none)'}",
        )


def _present(needed: Sequence[int | str], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    for which in needed:
        if which.__class__ is int:
            if which >= len(args):  # type: ignore[operator]
                return False
        elif which not in kwargs:
            return False
    return True
