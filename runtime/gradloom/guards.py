"""What a traced function read from outside its arguments, and whether that is still the same.

A compiled program holds the numbers, settings and helper functions that the trace found in
closures, globals, defaults and classes. When one of them is bound anew (a notebook cell run again,
`SCALE = 3.0`, `Model.scale = 3.0`, a function given other code by a reloader), the programs are out
of date; a guard notices. Of a class, what functions name is watched, and its special methods. Arrays
that meet a traced array are passed to the program with every call. Of others, from which the trace
computed constants, the elements are compared if they are few; writing into a large one in place is
not noticed (binding its name anew is).
"""

import gc
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial, partialmethod
from typing import Any

import numpy as np

from gradloom.exec.tables import Table, Watched
from gradloom.trace.context import LARGEST_CONSTANT
from gradloom.tree import container_of

_COMPARED_SIZE = 512  # elements; up to here an array that the program does not take is compared
_MOST_PARTS = 64  # of a container whose parts are compared
_MISSING = object()
_NUMBERS = (int, float, complex, str, bytes, np.generic, type(None))
_LIBRARIES = ("gradloom", "gradloomc", "numpy", "scipy")
# Special methods that a traced function does not call on an object that is there already.
_NOT_CALLED = frozenset({"__init__", "__new__", "__post_init__", "__repr__", "__str__", "__hash__"})


class Guards:
    """The state of everything that one function may read, for comparison with a later state.

    Args:
        fun: the function.
        passed: arrays that the program takes anew with every call.
        classes: of the objects among its arguments.
    """

    __slots__ = ("_cells", "_classes", "_contents", "_functions", "_names", "_passed", "_table", "_words")

    def __init__(self, fun: Any, passed: Sequence[Any] = (), classes: Iterable[type] = ()):
        self._passed = {id(array) for array in passed}
        self._cells: list[tuple[Any, str, Any]] = []
        self._names: list[_Name] = []
        self._contents: list[_Content] = []
        self._functions: list[tuple[types.FunctionType, types.CodeType, Any]] = []
        self._classes: dict[type, None] = dict.fromkeys(classes)
        self._words: dict[str, None] = {}  # all names in what is read
        self._table: Table | None = None
        self._read_all([fun])

    def _read_all(self, pending: list[Any]) -> None:
        """Note what functions read, those that they call, and the classes that these name."""
        seen: set[int] = set()
        noted: set[tuple[type, type, str]] = set()
        classes = -1  # how many there were in the last round
        while pending or len(self._classes) > classes:
            classes = len(self._classes)
            while pending:
                found = pending.pop()
                if id(found) not in seen:
                    seen.add(id(found))
                    pending += self._read(found)
            for cls in list(self._classes):
                pending += self._look_into_class(cls, noted)

    def hold(self) -> bool:
        """Tell whether nothing has changed."""
        for cell, _, value in self._cells:
            if _content(cell) is not value:
                return False
        return _unchanged(self._functions) and _hold(self._names, self._contents)

    def table(self) -> Table | None:
        """Return the same as records for native code; None if something has changed already.

        Native code compares identities in dicts and lists. Where it finds a difference that is none (an equal key that
        is another object), the call takes the general path, which asks `hold`.
        """
        if self._table is None:
            watched = Watched()
            for cell, _, value in self._cells:
                watched.cell(cell, value, empty=value is _MISSING)
            for space, name, value in self._names:
                if type(space) is dict:
                    watched.name(space, name, value, missing=value is _MISSING)
            others = [each for each in self._functions if not watched.function(*each)]
            if others:
                watched.ask(partial(_unchanged, others))
            names = [each for each in self._names if type(each[0]) is not dict]
            contents = [each for each in self._contents if not _watch_content(watched, each)]
            if names or contents:
                watched.ask(partial(_hold, names, contents))
            self._table = watched.finish()
        return self._table if self.hold() else None

    def changed(self) -> list[str]:
        """Return the names of the variables that have changed."""
        names = [name for cell, name, value in self._cells if _content(cell) is not value]
        names += [f"{each[0].__name__}()" for each in self._functions if not _unchanged([each])]
        names += [name for space, name, v in self._names if space.get(name, _MISSING) is not v]
        names += [name for read, name, v, state in self._contents if not _same(read(v), state)]
        return list(dict.fromkeys(names))

    def _read(self, fun: Any) -> list[Any]:
        """Note what `fun` reads; return the functions that it may call."""
        fun = getattr(
            getattr(fun, "user", fun), "fun", fun
        )  # a function behind a callable of gradloom
        if isinstance(fun, types.MethodType):
            fun = fun.__func__
        if not isinstance(fun, types.FunctionType) or _is_library(fun.__module__):
            return []
        self._functions.append((fun, fun.__code__, fun.__defaults__))
        calls: list[Any] = []
        for name, cell in zip(fun.__code__.co_freevars, fun.__closure__ or (), strict=True):
            value = _content(cell)
            self._cells.append((cell, name, value))
            calls += self._look_into(name, value)
        for value in (*(fun.__defaults__ or ()), *(fun.__kwdefaults__ or {}).values()):
            calls += self._look_into(f"a default of {fun.__name__}()", value)
        names = dict.fromkeys(_names(fun.__code__))
        self._words.update(names)
        return calls + self._look_into_space(fun.__globals__, names, set())

    def _look_into_space(self, space: dict[str, Any], names: dict[str, None], seen: set[int]) -> list[Any]:
        """Note what `names` mean in the globals of a function, and in the user's modules among them."""
        calls: list[Any] = []
        seen.add(id(space))
        for name in names:
            value = space.get(name, _MISSING)
            if value is _MISSING or (isinstance(value, type) and _is_library(value.__module__)):
                continue
            if isinstance(value, types.ModuleType):
                if not _is_library(value.__name__) and id(vars(value)) not in seen:
                    calls += self._look_into_space(vars(value), names, seen)
                continue
            self._names.append((space, name, value))
            calls += self._look_into(name, value)
        return calls

    def _look_into_class(self, cls: type, noted: set[tuple[type, type, str]]) -> list[Any]:
        """Note the attributes of a class and its bases that functions name, and its special methods."""
        calls: list[Any] = []
        watched: set[tuple[type, str]] = set()
        spaces: list[tuple[type, dict[str, Any]]] = []  # of the classes so far, which would be asked first
        for base in cls.__mro__:
            if _is_library(base.__module__):
                continue
            spaces.append((base, _attributes(base)))
            for name, value in list(spaces[-1][1].items()):
                special = name[:2] == "__" and isinstance(value, types.FunctionType) and name not in _NOT_CALLED
                if (cls, base, name) in noted or not (special or name in self._words):
                    continue
                noted.add((cls, base, name))
                for owner, space in spaces:
                    if (owner, name) not in watched:
                        watched.add((owner, name))
                        self._names.append((space, name, space.get(name, _MISSING)))
                for function in _behind(value):
                    calls += self._look_into(name, function)
        return calls

    def _look_into(self, name: str, value: Any) -> list[Any]:
        """Note the content of a value that can change while it stays the same object; return what it may call."""
        if isinstance(value, type):
            if not _is_library(value.__module__):
                self._classes[value] = None
                return [made for key in ("__init__", "__new__", "__post_init__") if (made := vars(value).get(key))]
            return []
        if isinstance(value, np.ndarray):
            limit = LARGEST_CONSTANT if id(value) in self._passed else _COMPARED_SIZE
            if value.size <= limit and value.flags.writeable and value.dtype.kind != "O":
                self._contents.append((_array_state, name, value, _array_state(value)))
            return []
        if callable(value) and not _is_bundle(value):
            return [value]
        if isinstance(value, _NUMBERS) or not _is_bundle(value):
            self._classes.update(dict.fromkeys(classes_of(None, [value])))
            return []
        state = _container_state(value)
        if state is not None:
            self._contents.append((_container_state, name, value, state))
            self._classes.update(dict.fromkeys(classes_of(state[1], state[0])))
        return [leaf for leaf in state[0] if callable(leaf)] if state is not None else []


# How the content of a value is read, the name of the variable, the value, and its state when the trace read it.
_Content = tuple[Callable[[Any], Any], str, Any, Any]


_Name = tuple[dict[str, Any], str, Any]


def classes_of(structure: Any, leaves: Iterable[Any]) -> Iterator[type]:
    """Yield the user's classes among those of a container's parts and leaves, and among its leaves."""
    found = [leaf if isinstance(leaf, type) else type(leaf) for leaf in leaves]
    for cls in dict.fromkeys([*_containers(structure), *found]):
        if not _is_library(cls.__module__):
            yield cls


def _containers(structure: Any) -> Iterator[type]:
    if isinstance(structure, tuple):
        yield structure[0].type
        for child in structure[2:]:
            yield from _containers(child)


def _attributes(cls: type) -> dict[str, Any]:
    """Return the dict behind the read-only view of a class's attributes, which native code can read; or the view."""
    view = vars(cls)
    found = gc.get_referents(view)
    return found[0] if len(found) == 1 and type(found[0]) is dict else view  # type: ignore[return-value]


def _behind(value: Any) -> list[Any]:
    """Return the functions of a method or property in a class, or another attribute itself."""
    if isinstance(value, (staticmethod, classmethod)):
        return [value.__func__]
    if isinstance(value, property):
        return [value.fget]
    if isinstance(value, (cached_property, partialmethod)):
        return [value.func]
    return [value]


def _unchanged(functions: Sequence[tuple[types.FunctionType, types.CodeType, Any]]) -> bool:
    """Tell whether functions still have this code and these defaults."""
    return all(fun.__code__ is code and fun.__defaults__ is defaults for fun, code, defaults in functions)


def _hold(names: Sequence[_Name], contents: Sequence[_Content]) -> bool:
    for space, name, value in names:
        if space.get(name, _MISSING) is not value:
            return False
    for read, _, value, state in contents:
        if not _same(read(value), state):
            return False
    return True


def _watch_content(watched: Watched, content: _Content) -> bool:
    """Add records of an array or of lists and dicts; return whether they say all."""
    read, _, value, state = content
    if read is _array_state:
        shape, dtype, data = state
        whole = type(value) is np.ndarray and value.flags.c_contiguous and value.flags.aligned and value.dtype is dtype
        if whole:
            watched.content(value, shape, dtype, data)
        return whole
    found: list[Any] = []
    if not _plain_containers(value, found):
        return False
    for each in found:
        watched.items(each)
    return True


def _plain_containers(value: Any, found: list[Any]) -> bool:
    """Collect the lists and dicts in a container; return whether there are no others but tuples."""
    if value is None or not _is_bundle(value):
        return True
    if type(value) not in (list, dict, tuple):
        return False
    if type(value) is not tuple:
        found.append(value)
    parts = value.values() if type(value) is dict else value
    return all(_plain_containers(part, found) for part in parts)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _MISSING


def _names(code: types.CodeType) -> Iterator[str]:
    """Yield the names of globals and attributes in a function and in those defined inside it."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _is_library(module: str | None) -> bool:
    """Tell whether a module is installed, not the user's own; those do not change under way."""
    name = module or ""
    root = name.partition(".")[0]
    if root in _LIBRARIES or root in sys.stdlib_module_names:
        return True
    file = getattr(sys.modules.get(name), "__file__", None) or ""
    return "site-packages" in file or "dist-packages" in file


def _is_bundle(value: Any) -> bool:
    return container_of(value.__class__) is not None


def _array_state(array: Any) -> Any:
    return array.shape, array.dtype, array.tobytes()


class _TooLarge(Exception):
    pass


def _container_state(value: Any) -> tuple[list[Any], Any] | None:
    """Return the leaves and the structure of a container of moderate size, else None."""
    leaves: list[Any] = []
    try:
        return leaves, _walk(value, leaves, [_MOST_PARTS])
    except _TooLarge:
        return None


def _walk(value: Any, leaves: list[Any], budget: list[int]) -> Any:
    budget[0] -= 1
    if budget[0] < 0:
        raise _TooLarge
    container = None if value is None else container_of(value.__class__)
    if container is None:
        leaves.append(value)
        return None
    if isinstance(value, (dict, list, tuple)) and len(value) > budget[0]:
        raise _TooLarge
    children, auxiliary = container.split(value)
    return (container, auxiliary, *[_walk(child, leaves, budget) for child in children])


def _same(now: Any, before: Any) -> bool:
    """Compare states: leaves by identity, all else by value."""
    if now is None or before is None or now.__class__ is not before.__class__:
        return now is before
    if isinstance(before[0], list):
        return (
            len(now[0]) == len(before[0])
            and all(a is b for a, b in zip(now[0], before[0], strict=True))
            and now[1] == before[1]
        )
    return now == before
