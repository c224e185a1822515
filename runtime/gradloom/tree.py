"""Containers of arrays: nested dicts, lists, dataclasses, ... taken apart and built up again.

A structure is a hashable nested tuple, so that it can be part of a cache key: `LEAF`, `NOTHING`
(for None) or `(container, auxiliary, *children)`. Nothing here knows arrays, tracers or
derivatives; what a leaf means stands in signature.py. Start reading at `flatten`.
"""

import collections
import copyreg
import functools
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from gradloomc.ir.errors import ShapeError, UnsupportedError

Structure = Any  # LEAF | NOTHING | tuple[Container, auxiliary, *structures]

LEAF = "*"
NOTHING = "-"


class Container:
    """How one type is taken apart.

    Attributes:
        type: the type.
        split: `(instance) -> (children, auxiliary)`; the auxiliary is hashable.
        join: `(auxiliary, children) -> instance`.
        paths: `(auxiliary, count) -> ` one text per child, as in `['w']`, `[0]`, `.bias`.
        record: the fields are named by the class (dataclasses, objects), so whole numbers among
            them are settings.
        registered: by the user, not derived from the class.
    """

    __slots__ = ("join", "paths", "record", "registered", "split", "type")

    def __init__(
        self,
        type: Any,
        split: Callable[[Any], tuple[Sequence[Any], Any]],
        join: Callable[[Any, Sequence[Any]], Any],
        paths: Callable[[Any, int], Sequence[str]],
        record: bool = False,
        registered: bool = False,
    ):
        self.type, self.split, self.join, self.paths = type, split, join, paths
        self.record, self.registered = record, registered


_CONTAINERS: dict[Any, Container | None] = {}  # None: instances are leaves


def register_container(
    type: Any,
    split: Callable[[Any], tuple[Sequence[Any], Any]],
    join: Callable[[Any, Sequence[Any]], Any],
    paths: Callable[[Any, int], Sequence[str]] | None = None,
) -> None:
    """Make instances of `type` containers of arrays, as arguments and as results.

    Args:
        type: the class itself (subclasses are registered on their own).
        split: `(instance) -> (children, auxiliary)`: the parts, which may be containers again, and
            the rest, hashable.
        join: `(auxiliary, children) -> instance`; children may be tracers or None, so it must not
            compute with them.
        paths: `(auxiliary, count) -> texts`, how each child is called in messages; `[0]`, `[1]`,
            ... if left out.

    Raises:
        ValueError: the type is registered already.
    """
    before = _CONTAINERS.get(type)
    if type in _BUILT_IN or (before is not None and before.registered):
        raise ValueError(f"{type.__name__} is registered already")
    _CONTAINERS[type] = Container(type, split, join, paths or _positions, registered=True)


def _positions(auxiliary: Any, count: int) -> list[str]:
    return [f"[{i}]" for i in range(count)]


def _key_paths(auxiliary: Any, count: int) -> list[str]:
    return [f"[{key!r}]" for key in auxiliary]


def _attribute_paths(auxiliary: Any, count: int) -> list[str]:
    return [f".{name}" for name in auxiliary]


def _split_partial(call: Any) -> tuple[Sequence[Any], Any]:
    return (call.func, call.args, call.keywords), None


DICT = Container(
    dict,
    lambda d: (tuple(d.values()), tuple(d)),
    lambda keys, children: dict(zip(keys, children, strict=True)),
    _key_paths,
)
LIST = Container(list, lambda x: (x, None), lambda _, children: list(children), _positions)
TUPLE = Container(tuple, lambda x: (x, None), lambda _, children: tuple(children), _positions)

_CONTAINERS.update(
    {
        dict: DICT,
        list: LIST,
        tuple: TUPLE,
        collections.OrderedDict: Container(
            collections.OrderedDict,
            lambda d: (tuple(d.values()), tuple(d)),
            lambda keys, children: collections.OrderedDict(zip(keys, children, strict=True)),
            _key_paths,
        ),
        collections.defaultdict: Container(
            collections.defaultdict,
            lambda d: (tuple(d.values()), (d.default_factory, *d)),
            lambda aux, children: collections.defaultdict(
                aux[0], zip(aux[1:], children, strict=True)
            ),
            lambda aux, count: _key_paths(aux[1:], count),
        ),
        functools.partial: Container(
            functools.partial,
            _split_partial,
            lambda _, children: functools.partial(children[0], *children[1], **children[2]),
            lambda _, count: (".func", ".args", ".keywords"),
        ),
        types.SimpleNamespace: Container(
            types.SimpleNamespace,
            lambda x: (tuple(vars(x).values()), tuple(vars(x))),
            lambda names, children: types.SimpleNamespace(
                **dict(zip(names, children, strict=True))
            ),
            _attribute_paths,
            record=True,
        ),
        np.ndarray: None,
        float: None,
        int: None,
        bool: None,
        str: None,
        types.FunctionType: None,
    }
)
_BUILT_IN = frozenset(_CONTAINERS)


def container_of(cls: Any) -> Container | None:
    """Return how instances of `cls` are taken apart, or None when they are leaves."""
    try:
        return _CONTAINERS[cls]
    except KeyError:
        found = _CONTAINERS[cls] = _derive(cls)
        return found


def _derive(cls: Any) -> Container | None:
    """Find the container for a class that nobody registered."""
    if hasattr(cls, "__array_ufunc__") or hasattr(cls, "__array__") or issubclass(cls, type):
        return None
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        fields: tuple[str, ...] = cls._fields  # pyright: ignore[reportAttributeAccessIssue]
        return Container(
            cls,
            lambda x: (x, None),
            lambda _, children: cls._make(children),  # pyright: ignore[reportAttributeAccessIssue]
            lambda _, count: [f".{name}" for name in fields],
        )
    if hasattr(cls, "__dataclass_fields__"):
        return _object_container(cls)
    if issubclass(cls, (list, tuple)):
        return Container(cls, lambda x: (x, None), lambda _, children: cls(children), _positions)
    if issubclass(cls, dict):
        return Container(
            cls,
            lambda d: (tuple(d.values()), tuple(d)),
            lambda keys, children: cls(zip(keys, children, strict=True)),
            _key_paths,
        )
    return _object_container(cls) if _is_plain_class(cls) else None


def _is_plain_class(cls: Any) -> bool:
    """Tell whether instances are bundles of attributes, compared by identity.

    Such an object counts as the container of its attributes: a change of one is then seen. Classes
    of the standard library and of gradloom, and classes that define their own hash (so: equal by
    value), are leaves.
    """
    heap_type = cls.__flags__ & (1 << 9)  # defined by Python code
    root = cls.__module__.partition(".")[0]
    return bool(
        heap_type
        and root not in sys.stdlib_module_names
        and root not in ("numpy", "gradloom", "gradloomc")
        and (cls.__hash__ is object.__hash__ or cls.__hash__ is None)
        and not issubclass(cls, BaseException)
    )


def _object_container(cls: Any) -> Container:
    """The attributes of an instance are its children; it is rebuilt without calling its class."""
    if hasattr(cls, "__dataclass_fields__"):
        import dataclasses  # loaded already by whoever made the class

        names = tuple(field.name for field in dataclasses.fields(cls))
    else:
        names = tuple(copyreg._slotnames(cls))  # type: ignore[attr-defined]
    known = frozenset(names)
    missing = object()

    def split(x: Any) -> tuple[Sequence[Any], Any]:
        found = [(name, getattr(x, name, missing)) for name in names]
        found = [pair for pair in found if pair[1] is not missing]
        found += [pair for pair in getattr(x, "__dict__", {}).items() if pair[0] not in known]
        return [value for _, value in found], tuple([name for name, _ in found])

    def join(auxiliary: Any, children: Sequence[Any]) -> Any:
        x = cls.__new__(cls)
        for name, child in zip(auxiliary, children, strict=True):
            object.__setattr__(x, name, child)  # a frozen dataclass refuses setattr
        return x

    return Container(cls, split, join, _attribute_paths, record=True)


def flatten(tree: Any) -> tuple[list[Any], Structure]:
    """Return the leaves of `tree`, in order, and its structure.

    Raises:
        UnsupportedError: a container contains itself.
    """
    leaves: list[Any] = []
    try:
        return leaves, _flatten(tree, leaves)
    except RecursionError:
        raise UnsupportedError(
            "an argument contains itself, so it has no finite list of arrays",
            fix="pass the arrays alone; settings alone may be a class with __hash__ and __eq__",
        ) from None


def _flatten(tree: Any, leaves: list[Any]) -> Structure:
    cls = tree.__class__
    if cls is tuple or cls is list:
        container = TUPLE if cls is tuple else LIST
        return (container, None, *[_flatten(child, leaves) for child in tree])
    if cls is dict:
        return (DICT, tuple(tree), *[_flatten(child, leaves) for child in tree.values()])
    if tree is None:
        return NOTHING
    container = container_of(cls)
    if container is None:
        leaves.append(tree)
        return LEAF
    children, auxiliary = container.split(tree)
    return (container, auxiliary, *[_flatten(child, leaves) for child in children])


def unflatten(structure: Structure, leaves: Sequence[Any]) -> Any:
    """Build the tree of `structure` from its leaves."""
    return _unflatten(structure, iter(leaves))


def _unflatten(structure: Structure, leaves: Iterator[Any]) -> Any:
    if structure is LEAF:
        return next(leaves)
    if structure is NOTHING:
        return None
    container, auxiliary, *children = structure
    return container.join(auxiliary, [_unflatten(child, leaves) for child in children])


def flatten_like(structure: Structure, tree: Any, what: str, *, absent: Any = None) -> list[Any]:
    """Return the leaves of `tree`, which must have `structure`.

    Dicts may have another order of keys.

    A leaf of the structure may be None in `tree`; then it is `absent`.

    Raises:
        ShapeError: the structures differ; the message names the place, as in `tangents[0]['w']`.
    """
    leaves: list[Any] = []
    _flatten_like(structure, tree, what, leaves, absent)
    return leaves


def _flatten_like(
    structure: Structure, tree: Any, what: str, leaves: list[Any], absent: Any
) -> None:
    if structure is NOTHING:
        if tree is not None:
            raise ShapeError(f"{what} should be None, as its primal is, not {type(tree).__name__}")
        return
    if tree is None:
        leaves.extend([absent] * count_leaves(structure))
        return
    container = container_of(tree.__class__)
    if structure is LEAF:
        if container is not None:
            raise ShapeError(f"{what} should be an array, not {describe_type(tree)}")
        leaves.append(tree)
        return
    expected: Container = structure[0]
    if container is None or container is not expected:
        raise ShapeError(f"{what} should be a {expected.type.__name__}, not {describe_type(tree)}")
    children, auxiliary = container.split(tree)
    children = _in_order(structure, children, auxiliary, what)
    names = expected.paths(structure[1], len(structure) - 2)
    for child, part, name in zip(structure[2:], children, names, strict=True):
        _flatten_like(child, part, what + name, leaves, absent)


def _in_order(
    structure: Structure, children: Sequence[Any], auxiliary: Any, what: str
) -> Sequence[Any]:
    """Return the children in the order of `structure`."""
    expected: Container = structure[0]
    count = len(structure) - 2
    if auxiliary != structure[1]:
        own = expected.paths(auxiliary, len(children))
        wanted = expected.paths(structure[1], count)
        if sorted(own) != sorted(wanted):
            raise ShapeError(
                f"{what} should have the parts {', '.join(wanted) or '(none)'}, not "
                f"{', '.join(own) or '(none)'}"
            )
        by_name = dict(zip(own, children, strict=True))
        return [by_name[name] for name in wanted]
    if len(children) != count:
        raise ShapeError(f"{what} should have {count} parts, not {len(children)}")
    return children


def describe_type(value: Any) -> str:
    """Return a value's type with its article, for messages."""
    if value is None:
        return "None"
    name = type(value).__name__
    vowel = name[0].lower() in "aeiou" or name == "ndarray"
    return f"an {name}" if vowel else f"a {name}"


def count_leaves(structure: Structure) -> int:
    """Return the number of leaves of a structure."""
    if structure is LEAF:
        return 1
    if structure is NOTHING:
        return 0
    return sum(map(count_leaves, structure[2:]))


def leaf_paths(structure: Structure, prefix: str = "") -> list[str]:
    """Return for each leaf how one gets to it from the root, as in `['layers'][0].bias`."""
    if structure is LEAF:
        return [prefix]
    if structure is NOTHING:
        return []
    names = structure[0].paths(structure[1], len(structure) - 2)
    return [
        path
        for child, name in zip(structure[2:], names, strict=True)
        for path in leaf_paths(child, prefix + name)
    ]


def cached_properties(structure: Structure) -> set[str]:
    """Return the names under which objects of a structure may keep what a `functools.cached_property` computed."""
    if structure.__class__ is not tuple:
        return set()
    container, _, *children = structure
    names = {name for child in children for name in cached_properties(child)}
    if container.record:
        parts = [vars(base).items() for base in container.type.__mro__]
        names |= {name for items in parts for name, value in items if isinstance(value, functools.cached_property)}
    return names


def settings_leaves(structure: Structure, inside_record: bool = False) -> list[bool]:
    """Tell for each leaf whether it is a field of a dataclass or an attribute of an object."""
    if structure is LEAF:
        return [inside_record]
    if structure is NOTHING:
        return []
    record = structure[0].record
    return [flag for child in structure[2:] for flag in settings_leaves(child, record)]
