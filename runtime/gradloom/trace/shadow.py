"""Clones of user functions whose `np`, `math` and `scipy` are shadow modules, so that what does not dispatch is traced
as well.

`np.array([t, 1.0])`, `out = np.zeros(n); out[i] = t` and `math.sin(t)` never ask their arguments what they mean. A
clone has the user's own code object (so lines and columns stay the user's) over globals that answer with shadows: for
modules, for the functions in creation.py, and for helper functions of the user, which are cloned when they are first
looked up. Nothing of the user's module is copied: its globals are read at each use. Start reading at `shadow_function`.
"""

import abc
import builtins
import functools
import os
import types
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from gradloom.trace import special
from gradloom.trace.calling import call_function
from gradloom.trace.context import fail, is_own_file, mark
from gradloom.trace.creation import GRIDS, SHADOWED
from gradloom.trace.drawing import GENERATORS, Refusing, default_rng, refusing
from gradloom.trace.memory import is_traced
from gradloom.trace.objects import ShadowType, forget_objects, give_shadow_class, stand_in
from gradloom.trace.tracer import Tracer
from gradloom.trace.views import tracer_of
from gradloomc.ir.errors import TracerError

_SHADOWED_PACKAGES = ("numpy", "numpy.linalg", "numpy.random", "math", "random", "scipy", "scipy.special")


class ShadowArray(abc.ABC):  # noqa: B024  (an ABC for its register(), which teaches isinstance)
    """Stands for `np.ndarray` in traced code: a traced array is an instance of it."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Return a real ndarray."""
        return np.ndarray(*args, **kwargs)


ShadowArray.register(np.ndarray)
ShadowArray.register(Tracer)


class ShadowModule(types.ModuleType):
    """A module whose attributes are looked up in the real one, and replaced by their shadows."""

    def __init__(self, real: types.ModuleType):
        super().__init__(real.__name__, real.__doc__)
        self.__dict__["_real"] = real

    def __getattr__(self, name: str) -> Any:
        value = shadow_of(getattr(self.__dict__["_real"], name))
        if value.__class__ is np.ufunc:
            self.__dict__[name] = value  # nothing else is asked for as often
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.__dict__["_real"], name, value)

    def __dir__(self) -> list[str]:
        return dir(self.__dict__["_real"])


@functools.cache
def _shadow_module(module: types.ModuleType) -> types.ModuleType:
    """Return the shadow of NumPy, math, SciPy and the user's own modules; others stay as they are."""
    filename = getattr(module, "__file__", None)
    if module.__name__ in _SHADOWED_PACKAGES or (filename is not None and is_users_file(filename)):
        return ShadowModule(module)
    return module


class ShadowGlobals(dict[str, Any]):
    """The globals of a clone: empty, so that each look-up asks the real globals. Python itself puts what `global`
    statements assign into this dict, where later look-ups find it first."""

    __slots__ = ("__weakref__", "real")

    def __init__(self, real: dict[str, Any]):
        super().__init__(__builtins__=_BUILTINS, __name__=real.get("__name__", "?"))
        self.real = real

    def __missing__(self, name: str) -> Any:
        return shadow_of(self.real[name])


def _extremum(function: Callable[..., Any], ufunc: str) -> Callable[..., Any]:
    """Return max or min with an error for traced arguments."""
    name = function.__name__

    def choose(*args: Any, **kwargs: Any) -> Any:
        if is_traced(args) or is_traced(kwargs):
            fail(
                TracerError,
                f"{name}() compares traced arrays, and which one is chosen is not known while the function is traced",
                f"use np.{ufunc}(a, b) for two, np.{name}(x) for the elements of an array",
            )
        return function(*args, **kwargs)

    choose.__name__ = choose.__qualname__ = name
    choose.__doc__ = function.__doc__
    return choose


def _length(x: Any, /) -> Any:
    """As the builtin len, which cannot return a length that is not fixed."""
    return x.shape[0] if x.__class__ is Tracer and x.shape else len(x)


def _import(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> Any:
    """The import statement of traced code."""
    real = globals.real if globals.__class__ is ShadowGlobals else globals
    return shadow_of(builtins.__import__(name, real, locals, fromlist, level))


_BUILTINS: dict[str, Any] = {
    **vars(builtins),
    "__import__": _import,
    "len": _length,
    "max": _extremum(max, "maximum"),
    "min": _extremum(min, "minimum"),
    "type": ShadowType,
}


# --- what stands for a value ------------------------------------------------------------------------------------------

_DISPATCHER = type(np.sum)  # of functions that ask their arguments what they mean, but not the items of lists
# Those that do ask the items, because they take several arrays.
_OF_SEQUENCES = frozenset(
    {np.block, np.broadcast_arrays, np.choose, np.column_stack, np.concatenate, np.dstack, np.einsum, np.hstack}
    | {np.linalg.multi_dot, np.meshgrid, np.piecewise, np.select, np.stack, np.vstack}
)


@functools.cache
def _seeing_lists(function: Any) -> Any:
    """Return a NumPy function that takes lists with traced parts, as in np.sum([a, b]), for arrays."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        traced = [x for x in (*args, *kwargs.values()) if x.__class__ in (list, tuple) and is_traced(x)]
        if not traced:
            return function(*args, **kwargs)
        mark()
        if function in _OF_SEQUENCES:
            return call_function(function, args, kwargs)
        stacked = {id(x): tracer_of(x) for x in traced}
        kwargs = {name: stacked.get(id(x), x) for name, x in kwargs.items()}
        return function(*[stacked.get(id(x), x) for x in args], **kwargs)

    return call


_PLAIN_TYPES = frozenset({int, float, bool, str, tuple, list, dict, type(None), np.ndarray})
_CALLABLES = (types.FunctionType, types.MethodType, functools.partial)
_FUNCTION_TYPES = (types.BuiltinFunctionType, type(np.zeros_like), type(np.sum))


def shadow_of(value: Any) -> Any:
    """Return what stands for a value of the user's globals or closure in traced code."""
    cls = value.__class__
    if cls in _PLAIN_TYPES:
        return value
    if cls is types.FunctionType:
        found = SHADOWED.get(value)
        return found if found is not None else _clone_if_own(value)
    if cls is types.ModuleType:
        return _shadow_module(value)
    if cls is type:
        if value is np.ndarray:
            return ShadowArray
        return SHADOWED.get(value, value)
    if value is np.random.default_rng:
        return default_rng
    if isinstance(value, _FUNCTION_TYPES):
        if isinstance(getattr(value, "__self__", None), GENERATORS):
            return refusing(value)
        found = SHADOWED.get(value)
        return found if found is not None else _seeing_lists(value) if cls is _DISPATCHER else value
    if id(value) in GRIDS:
        return GRIDS[id(value)]
    if cls is types.MethodType:
        return _shadow_method(value)
    if cls is functools.partial:
        return _shadow_partial(value)
    if isinstance(value, GENERATORS):
        return Refusing(value)
    if _is_users_class(cls):
        return stand_in(value, _clone_if_own, shadow_of)
    return value


@functools.cache
def _is_users_class(cls: type) -> bool:
    """Tell whether a class is the user's own, of objects that are no arrays and no callables of gradloom."""
    heap_type = bool(cls.__flags__ & (1 << 9))  # made by Python code
    functions = [value for value in vars(cls).values() if isinstance(value, types.FunctionType)]
    arrays = hasattr(cls, "__array__") or hasattr(cls, "__array_ufunc__")
    return heap_type and not arrays and any(map(_is_users, functions))


def shadow_callable(value: Any) -> Any:
    """Return what stands for a function, method or partial among the arguments; all else as it is."""
    return shadow_of(value) if value.__class__ in _CALLABLES else value


def shadow_made(x: Any) -> None:
    """Let an object that the trace has built, around the parts of an argument, run clones of its methods."""
    if _is_users_class(type(x)):
        give_shadow_class(x, _clone_if_own)


def original_of(value: Any) -> Any:
    """Return the user's function for its clone; all else as it is."""
    source = _sources.get(value) if value.__class__ is types.FunctionType else None
    return value if source is None else source() or value


def _shadow_method(method: types.MethodType) -> Any:
    if isinstance(method.__self__, GENERATORS):
        return refusing(method)
    function = method.__func__
    if function.__class__ is not types.FunctionType:
        return method
    clone = _clone_if_own(function)
    return method if clone is function else types.MethodType(clone, shadow_of(method.__self__))


def _shadow_partial(partial: Any) -> Any:
    function = shadow_of(partial.func)
    return partial if function is partial.func else functools.partial(function, *partial.args, **partial.keywords)


@functools.cache
def _standard_folders() -> tuple[str, ...]:
    """Return where the standard library and installed packages live."""
    import site  # with sysconfig: milliseconds that `import gradloom` does without
    import sysconfig

    paths = sysconfig.get_paths()
    folders = [paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    folders += [*site.getsitepackages(), site.getusersitepackages()]
    return tuple({os.path.realpath(folder) + os.sep for folder in folders})


@functools.cache
def is_users_file(filename: str) -> bool:
    """Tell whether a source file is the user's own."""
    if is_own_file(filename) or filename.startswith("<frozen"):
        return False
    return not os.path.isabs(filename) or not os.path.realpath(filename).startswith(_standard_folders())


def _is_users(function: types.FunctionType) -> bool:
    """Tell whether a function is the user's own: not from the standard library, an installed package or gradloom."""
    return is_users_file(function.__code__.co_filename)


def _clone_if_own(function: types.FunctionType) -> types.FunctionType:
    special_meaning = special.MEANINGS.get((function.__module__, function.__name__))
    if special_meaning is not None:
        return special.dispatching(function, special_meaning)
    if function.__globals__.__class__ is ShadowGlobals or not _is_users(function):
        return function
    return _clone(function)


class _Clone:
    """The clone of a function, as an attribute of it: what both refer to lives no longer than the function."""

    __slots__ = ("clone",)

    def __init__(self, clone: types.FunctionType):
        self.clone = clone

    def __reduce__(self) -> Any:  # for libraries that pickle functions with their attributes
        return type(None), ()


_ATTRIBUTE = "__gradloom_clone__"
_cloned: "weakref.WeakSet[types.FunctionType]" = weakref.WeakSet()
_sources: "weakref.WeakKeyDictionary[types.FunctionType, Any]" = weakref.WeakKeyDictionary()  # of clones
_globals_of: "weakref.WeakValueDictionary[int, ShadowGlobals]" = weakref.WeakValueDictionary()


def _clone(function: types.FunctionType) -> types.FunctionType:
    """Return the clone of a Python function; the same one each time."""
    known = function.__dict__.get(_ATTRIBUTE)
    if known is not None and _sources[known.clone]() is function:  # functools.wraps copies attributes
        return known.clone
    real = function.__globals__
    shadowed = _globals_of.get(id(real))
    if shadowed is None or shadowed.real is not real:
        shadowed = _globals_of[id(real)] = ShadowGlobals(real)
    cells = function.__closure__
    new_cells = None if cells is None else tuple([types.CellType() if _is_shadowed(cell) else cell for cell in cells])
    defaults = function.__defaults__ and tuple(map(shadow_of, function.__defaults__))
    clone = types.FunctionType(function.__code__, shadowed, function.__name__, defaults, new_cells)
    if function.__kwdefaults__ is not None:
        clone.__kwdefaults__ = {name: shadow_of(value) for name, value in function.__kwdefaults__.items()}
    clone.__qualname__, clone.__module__, clone.__doc__ = function.__qualname__, function.__module__, function.__doc__
    own = ("__gradloom__", _ATTRIBUTE)  # what gradloom knows of the function itself
    clone.__dict__.update({name: value for name, value in vars(function).items() if name not in own})
    _sources[clone] = weakref.ref(function)
    function.__dict__[_ATTRIBUTE] = _Clone(clone)  # before the cells are filled: a function may close over itself
    _cloned.add(function)
    for cell, new in zip(cells or (), new_cells or (), strict=True):
        if new is not cell:
            new.cell_contents = shadow_of(cell.cell_contents)
    return clone


def forget_clones() -> None:
    """Make all clones anew when they are next asked for: what functions close over has been bound anew."""
    for function in list(_cloned):
        function.__dict__.pop(_ATTRIBUTE, None)
    _cloned.clear()
    forget_objects()


def _is_shadowed(cell: types.CellType) -> bool:
    try:
        value = cell.cell_contents
    except ValueError:  # empty: it is filled later, by the function that owns it
        return False
    cls = value.__class__
    if cls is types.FunctionType:
        return value in SHADOWED or (
            value.__globals__.__class__ is not ShadowGlobals
            and (_is_users(value) or (value.__module__, value.__name__) in special.MEANINGS)
        )
    if cls in _PLAIN_TYPES:
        return False
    if cls in (types.MethodType, functools.partial):
        return True
    return shadow_of(value) is not value


def shadow_function(fun: Any) -> Any:
    """Return a callable that does what `fun` does, and that can be traced where `fun` alone could not.

    Python functions (with their helpers and closures), bound methods, partials and objects with a `__call__` written in
    Python are cloned; everything else is returned as it is. The clone of a function is the same one each time.
    """
    cls = fun.__class__
    if cls is types.FunctionType:
        found = SHADOWED.get(fun)
        if found is not None:
            return found
        if fun.__globals__.__class__ is ShadowGlobals or is_own_file(fun.__code__.co_filename):
            return fun
        return _clone(fun)
    if cls is types.MethodType and fun.__func__.__class__ is types.FunctionType:
        return types.MethodType(shadow_function(fun.__func__), fun.__self__)
    if cls is functools.partial:
        return functools.partial(shadow_function(fun.func), *fun.args, **fun.keywords)
    if not isinstance(fun, type) and callable(fun):
        call = cls.__call__
        if isinstance(call, types.FunctionType) and not is_own_file(call.__code__.co_filename):
            return types.MethodType(_clone(call), fun)
    return shadow_of(fun)
