"""Callables made from a user's function: `Derived`, which finds or makes the program that a call needs.

Methods, `functools.partial` objects and other callables of gradloom are taken apart down to the function
(`user_function`): what they bind are leading arguments like any others.
"""

import functools
import threading
import types
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from gradloom.exec.callable import NativeCallable
from gradloom.exec.programs import Plans
from gradloom.function import UserFunction
from gradloom.inspection import Inspectable
from gradloom.signature import Call
from gradloom.tree import flatten
from gradloom.tree_code import picker_of
from gradloomc.ir.builder import insertion
from gradloomc.ir.errors import UnsupportedError

if TYPE_CHECKING:
    from gradloom.program import Primal, Program, Result

_ATTRIBUTE = "__gradloom__"
_creation = threading.Lock()
_completion = threading.RLock()


def _known(fun: Any) -> UserFunction | None:
    """Return what was made for a Python function before."""
    if type(fun) is types.FunctionType:
        found = fun.__dict__.get(_ATTRIBUTE)
        if found is not None and found.fun is fun:  # functools.wraps copies attributes to other functions
            return found
    return None


def user_function(fun: Any) -> tuple[UserFunction, tuple[Any, ...], dict[str, Any]]:
    """Return the function behind a callable, and the arguments that the callable binds."""
    if type(fun) is types.FunctionType:
        known = _known(fun)
        if known is not None:
            return known, (), {}
    elif type(fun) is types.MethodType:
        known = _known(fun.__func__)
        if known is not None:
            return known, (fun.__self__,), {}
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    while True:
        if isinstance(fun, types.MethodType):
            args, fun = (fun.__self__, *args), fun.__func__
        elif isinstance(fun, functools.partial):
            args, kwargs, fun = (*fun.args, *args), {**fun.keywords, **kwargs}, fun.func
        elif isinstance(fun, Bound):
            args, kwargs, fun = (*fun._arguments, *args), {**(fun._keywords or {}), **kwargs}, fun._base
        elif isinstance(fun, Derived):
            args, kwargs = (*fun.bound_args, *args), {**fun.bound_kwargs, **kwargs}
            if fun.stands_for_function:
                return fun.user, args, kwargs
            fun = fun.unbound
            break
        elif (
            callable(fun)
            and not isinstance(fun, (type, types.FunctionType))
            and isinstance(type(fun).__call__, types.FunctionType)
        ):
            args, fun = (fun, *args), type(fun).__call__  # an object: its attributes are arguments
        else:
            break
    if isinstance(fun, (staticmethod, classmethod)):
        raise UnsupportedError(
            f"expected a function, got {fun!r}",
            fix=f"write @{type(fun).__name__} above @compile_grad",
        )
    if not callable(fun):
        raise UnsupportedError(f"expected a function, got {fun!r}")
    found = getattr(fun, _ATTRIBUTE, None)
    if (
        found is None or found.fun is not fun
    ):  # functools.wraps copies attributes to other functions
        with _creation:
            found = getattr(fun, _ATTRIBUTE, None)
            if found is None or found.fun is not fun:
                found = UserFunction(fun)
                try:
                    setattr(fun, _ATTRIBUTE, found)
                except (AttributeError, TypeError):  # builtins and ufuncs take no attributes
                    pass
    return found, args, kwargs


# A function that takes arguments apart, and programs by the key that it gives.
_ShortCut = tuple[Callable[..., Any], dict[Any, "Program"]]

_ARRAY_KEY = "{0}.__class__, {0}.dtype, {0}.shape"
_VALUE_KEY = "{0}.__class__, {0}"
_KEY_TEXT: dict[Any, str] = {
    np.ndarray: _ARRAY_KEY,
    np.float64: _ARRAY_KEY,
    np.float32: _ARRAY_KEY,
    np.int64: _ARRAY_KEY,
    np.int32: _ARRAY_KEY,
    np.bool_: _ARRAY_KEY,
    float: "{0}.__class__",
    int: _VALUE_KEY,
    bool: _VALUE_KEY,
    str: _VALUE_KEY,
    types.FunctionType: _VALUE_KEY,
}


class Derived(NativeCallable, Inspectable, native=True):
    """A callable made from a user's function by one transform.

    Subclasses say which program they need (`make`) and how they behave inside a trace (`inline`).

    Args:
        fun: the user's function, a method, a partial, or another callable of gradloom.
        name: the transform's name.
        argnums: the arguments to differentiate with respect to, as the user wrote them; None if
            there are no parameters.
        has_aux: the function returns (value, aux).
        options: what else the subclass takes after has_aux.
        donate: the arguments whose memory results may take, as the user wrote them.
    """

    # Of the function, set by functools.update_wrapper.
    __name__: str
    __qualname__: str
    __wrapped__: Any

    bound: "ClassVar[type[Bound] | None]" = None  # what such a callable is with arguments bound to it
    stands_for_function = False  # a transform of this object is one of the user's function

    def __init__(self, fun: Any, name: str, argnums: Any, has_aux: bool, *options: Any, donate: Any = ()):
        self.user, self.bound_args, self.bound_kwargs = user_function(fun)
        functools.update_wrapper(self, fun, updated=())
        self.name, self.argnums, self.has_aux, self.options = name, argnums, has_aux, options
        self.selected: tuple[int | str, ...] = ()
        if argnums is not None:
            self.selected = self.user.parameters.check_argnums(argnums, len(self.bound_args))
        self.single = not isinstance(argnums, (tuple, list))
        self.key = (name, *options, self.selected, self.single)
        self.donate_argnums = donate
        self.donated: tuple[int | str, ...] = ()
        if donate not in ((), []):
            self.donated = self.user.parameters.check_argnums(donate, len(self.bound_args))
            self.key = (*self.key, "donate", self.donated)
        self._short_cuts: dict[Any, _ShortCut | None] = {}
        self._short_cut: _ShortCut | None = None  # the one used last
        self._plans = Plans()  # for native code
        self._met = False
        self._generation = self.user.state.generation
        self.user.callables.add(self)

    @property
    def kind(self) -> Any:
        """The class that makes such a callable."""
        return type(self)

    @property
    def unbound(self) -> "Derived":
        """The same transform of the function itself; what is bound here is passed to that."""
        if not self.bound_args and not self.bound_kwargs:
            return self
        argnums = self.selected[0] if self.single else self.selected
        return derive(self.kind, self.user.fun, argnums, self.has_aux, *self.options, donate=self.donated)

    def __reduce__(self) -> Any:
        make = functools.partial(derive, donate=self.donate_argnums) if self.donated else derive
        return make, (self.kind, self.__wrapped__, self.argnums, self.has_aux, *self.options)

    def __repr__(self) -> str:
        return f"<gradloom {self.name} of {self.user.parameters.name}>"

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the transformed function; calls that a plan describes do not come here but go into native code."""
        short_cut = self._short_cut
        if short_cut is not None and insertion.block is None:
            pick, programs = short_cut
            try:
                leaves, key = pick((*self.bound_args, *args) if self.bound_args else args, kwargs)
                program = programs[key]
            except (KeyError, AttributeError, TypeError, ValueError):
                return self._call(args, kwargs)
            user = self.user
            if user.current() and self._generation == user.state.generation and not program.stale:
                user.last = program
                user.state.hits += 1
                answer = program(leaves)
                self._enter(program, leaves, len(args), tuple(kwargs))
                return answer
        return self._call(args, kwargs)

    def last_program(self) -> "Program | None":
        """Return the program of this transform that ran last, or was made last if another one of the function ran."""
        mine = [found for key, found in self.user.programs.items() if key[:2] == (self.key, self.has_aux)]
        last = self.user.last
        return last if last in mine else mine[-1] if mine else None

    def program_for(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> "Program":
        """Return the program that answers a call with these arguments."""
        return self.program(self.bind(args, kwargs))

    def forget(self) -> None:
        """Forget which programs answered; the next call finds or makes one."""
        self._short_cuts, self._short_cut = {}, None
        self._plans.clear(self)

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """Take the arguments of a call apart."""
        if self.bound_args:
            args = self.bound_args + args
        if self.bound_kwargs:
            kwargs = {**self.bound_kwargs, **kwargs}
        return self.user.parameters.bind(args, kwargs, self.selected)

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call = self.bind(args, kwargs)
        if insertion.block is not None:
            return self.inline(call)
        program = self.program(call)
        self._remember(args, kwargs, call, program)
        answer = program(call.leaves)
        self._enter(program, call.leaves, len(args), tuple(kwargs))
        return answer

    def _remember(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], call: Call, program: "Program"
    ) -> None:
        """Note the program for the next call with arguments of the same structure and types."""
        self._follow_changes()
        if self.bound_kwargs:
            return
        kinds = tuple([_KEY_TEXT.get(type(leaf), "") for leaf in call.leaves])
        signature = (call.structure, kinds)
        found = self._short_cuts.get(signature)
        if found is None and all(kinds):
            pick = picker_of(call.structure, kinds)
            found = self._short_cuts[signature] = None if pick is None else (pick, {})
        self._short_cut = found
        if found is not None:
            try:
                _, key = found[0]((*self.bound_args, *args), kwargs)
            except (KeyError, AttributeError, TypeError, ValueError):
                return  # keyword arguments that took positions: the order of the leaves differs
            found[1][key] = program

    def _follow_changes(self) -> None:
        """Forget what answered before something changed that the function reads."""
        if self._generation != self.user.state.generation:
            self._generation = self.user.state.generation
            self.forget()

    def _enter(
        self,
        program: "Program",
        leaves: Sequence[Any],
        count: int,
        keywords: tuple[str, ...],
        into: "tuple[Any, Result] | None" = None,
    ) -> None:
        """Let native code answer calls like the one that the program answered just now, if it can.

        Args:
            leaves: the leaves of the arguments, as `bind` orders them.
            count, keywords: how many arguments came by position, and the names of the others.
            into: if one of the keywords is `out`, what was passed, and the part of the result that goes there.
        """
        if program.executable.native is None:
            return
        if (self.bound_args or self.bound_kwargs) and not self._met:
            self._met = True  # one that is made for a single call is not worth a plan
            return
        self._follow_changes()

        def make() -> Any:
            from gradloom.plans import INTO, make_plan

            if not self.bound_kwargs.keys().isdisjoint(keywords):
                return None
            first, names = len(self.bound_args), tuple(self.bound_kwargs)
            passed = [name for name in keywords if into is None or name != "out"]
            order = self.user.parameters.order(first + count, (*names, *passed))
            if order is None:
                return None
            bound = [*self.bound_args, *self.bound_kwargs.values()]
            last = first + count
            bound_order = [*order[:first], *order[last : last + len(names)]]
            own = [*order[first:last], *order[last + len(names) :]]
            if into is not None:
                own.insert(count + keywords.index("out"), INTO)
            for which, value in self.user.parameters.defaults(program.form.structure, order):
                bound.append(value)
                bound_order.append(which)
            return make_plan(program, leaves, own, keywords, self.user.state, bound, bound_order, into)

        where = None if into is None else flatten(into[0])[1]
        self._plans.use(self, (program, count, keywords, where), make)
        self.user.enter(program)

    def check(self, call: Call) -> None:
        """Raise if the arguments of `call` cannot be differentiated as asked for."""
        parameters = self.user.parameters
        parameters.active_leaves(
            parameters.find(self.selected, call.structure), parameters.read(call)
        )

    def make(self, primal: "Primal") -> "Program":
        """Derive the program from the traced function."""
        raise NotImplementedError

    def make_donating(self, primal: "Primal") -> "Program":
        """Derive the program; let its results take the memory of the donated arguments."""
        program = self.make(primal)
        if self.donated:
            arguments = primal.parameters.find(self.donated, primal.structure)
            program.donate([primal.position[i] for each in arguments for i in each.leaves if i in primal.position])
        return program

    def program(self, call: Call) -> "Program":
        """Return the compiled program for the signature of `call`."""
        return self.user.program(self.key, call, self.has_aux, self.make_donating, self.check)

    def inline(self, call: Call) -> Any:
        """Do the same to tracers, in the function that is being traced."""
        self.check(call)
        primal = self.user.primal(call, self.has_aux)
        return self.make(primal).inline(call.leaves)


class Bound(Derived):
    """A callable with arguments bound to it, as cheap as a method: calls go to that of the function.

    It is a mixin of the class that it is otherwise like. All else about it is made when it is asked for, once; after
    some calls it becomes one of that class, with native code of its own.
    """

    MANY = 8  # calls
    _whole: ClassVar[type[Derived]]  # the class that it is otherwise like
    _calls = 0
    _base: Any
    _arguments: tuple[Any, ...]
    _keywords: dict[str, Any] | None
    _recipe: tuple[Any, ...]  # what that class makes the same of

    @classmethod
    def of(
        cls, base: Derived, recipe: tuple[Any, ...], arguments: tuple[Any, ...], keywords: dict[str, Any] | None = None
    ) -> Any:
        """Return `base` with its first arguments bound, and some by name."""
        bound = cls.__new__(cls)  # attributes are set one by one: a dict would take longer than all else
        bound._base, bound._arguments, bound._keywords, bound._recipe = base, arguments, keywords, recipe
        bound.__doc__, bound.__module__ = base.__doc__, base.__module__
        return bound

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._calls += 1
        if self._calls > self.MANY:
            self._be_whole()
            self.__class__ = self._whole
        if self._keywords:
            kwargs = {**self._keywords, **kwargs}
        return self._base(*self._arguments, *args, **kwargs)

    @property
    def kind(self) -> Any:
        return type(self._base)

    def __getattr__(self, name: str) -> Any:
        self._be_whole()
        return object.__getattribute__(self, name)

    def _be_whole(self) -> None:
        with _completion:
            if "user" not in self.__dict__:
                self._whole.__init__(self, *self._recipe)


def derive(cls: Any, fun: Any, argnums: Any, has_aux: bool, *options: Any, donate: Any = ()) -> Any:
    """Return `cls(fun, argnums, has_aux, *options)`, the same object for the same arguments."""
    more: dict[str, Any] = {}
    if donate != () and donate != []:
        more["donate"] = tuple(donate) if isinstance(donate, list) else donate
    user, args, kwargs = user_function(fun)
    key = (cls, tuple(argnums) if isinstance(argnums, list) else argnums, has_aux, *options, *more.values())
    if args or kwargs:
        if cls.bound is None or more:
            return cls(fun, argnums, has_aux, *options, **more)
        key = (*key, len(args))
        found = user.derived.get(key)
        if found is None:
            found = user.derived[key] = cls(fun, argnums, has_aux, *options).unbound
        return cls.bound.of(found, (fun, argnums, has_aux, *options), args, kwargs)
    if not isinstance(fun, (types.FunctionType, Derived)):
        return cls(fun, argnums, has_aux, *options, **more)
    found = user.derived.get(key)
    if found is None:
        found = user.derived[key] = cls(fun, argnums, has_aux, *options, **more)
    return found
