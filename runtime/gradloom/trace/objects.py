"""Objects of the user's classes in traced code: their methods run as clones, like functions do.

A method is found through the class of its object, so cloning the function that is traced does not reach it. An object
that the trace is free to make (an argument, which is rebuilt around tracers, or a stand-in for one that is read from
the outside) therefore gets a class of the same name with clones for the methods of its class. Knows nothing of how a
function is cloned.

The class of an object of `B(A)` is `B'(B, A')`: its resolution order is B', B, A', A, so that `super()` in a method of
B, whose cell says B, goes on with the clones of A. An object says of itself that its class is B; `type(x)` is answered
by `ShadowType`.
"""

import abc
import functools
import types
import weakref
from collections.abc import Callable
from typing import Any

Clone = Callable[[types.FunctionType], Any]  # returns the function itself where there is nothing to clone

_classes: "weakref.WeakKeyDictionary[type, tuple[list[tuple[type, dict[str, Any]]], type | None]]"
_classes = weakref.WeakKeyDictionary()  # what the classes held, and the class made of them
_stand_ins: dict[int, tuple[Any, Any]] = {}  # by identity: a reference to the object, and what stands for it
_originals: "weakref.WeakKeyDictionary[type, type]" = weakref.WeakKeyDictionary()


def forget_objects() -> None:
    """Make all classes anew when they are next asked for."""
    _classes.clear()
    _stand_ins.clear()


def original_class(cls: type) -> type:
    """Return the user's class for one of those made here; others as they are."""
    return _originals.get(cls, cls)


def shadow_class(cls: type, clone: Clone) -> type | None:
    """Return a class like `cls` whose methods are clones; None where nothing needs one or none can be made."""
    if cls in _originals:
        return cls
    found = _classes.get(cls)
    if found is not None and all(_same_items(vars(base), held) for base, held in found[0]):
        return found[1]
    held = [(base, dict(vars(base))) for base in cls.__mro__ if base is not object]
    made = _make(cls, clone) if _is_plain(cls) else None
    _classes[cls] = held, made
    return made


def _same_items(now: Any, before: dict[str, Any]) -> bool:
    return len(now) == len(before) and all(now.get(name, before) is value for name, value in before.items())


def _is_plain(cls: type) -> bool:
    """Tell whether making a subclass runs no code of the user."""
    return type(cls) in (type, abc.ABCMeta) and "__init_subclass__" not in {
        name for base in cls.__mro__[:-1] for name in vars(base)
    }


def _make(cls: type, clone: Clone) -> type | None:
    space = {name: made for name, value in vars(cls).items() if (made := _cloned(value, clone)) is not value}
    bases = [shadow_class(base, clone) for base in cls.__bases__ if base is not object]
    shadows = [base for base in bases if base is not None]
    if not space and not shadows:
        return None
    space |= {"__slots__": (), "__class__": property(lambda self: cls), "__module__": cls.__module__}
    space["__qualname__"] = cls.__qualname__
    try:
        made = type(cls)(cls.__name__, (cls, *shadows), space)
    except TypeError:  # bases without a common layout or order
        return None
    _originals[made] = cls
    return made


def _cloned(value: Any, clone: Clone) -> Any:
    """Return what stands for an attribute of a class: a method, a property, or anything else as it is."""
    kind = value.__class__
    if kind is types.FunctionType:
        return clone(value)
    if kind in (staticmethod, classmethod):
        function = value.__func__
        made = clone(function) if function.__class__ is types.FunctionType else function
        return value if made is function else kind(made)
    if kind is property:
        parts = [value.fget, value.fset, value.fdel]
        made = [clone(part) if part.__class__ is types.FunctionType else part for part in parts]
        return value if made == parts else property(*made)
    if kind is functools.cached_property:
        made = clone(value.func)
        return value if made is value.func else functools.cached_property(made)
    return value


def give_shadow_class(x: Any, clone: Clone) -> None:
    """Let an object that the trace has made run clones of its methods."""
    made = shadow_class(type(x), clone)
    if made is not None and made is not type(x):
        try:
            object.__setattr__(x, "__class__", made)
        except TypeError:  # instances of another layout: their methods run as they are
            pass


def stand_in(x: Any, clone: Clone, shadow_of: Callable[[Any], Any]) -> Any:
    """Return an object with the same attributes (the same dict of them) whose methods are clones, or x itself.

    What stands for the values of its attributes is `shadow_of` them.
    """
    cls = type(x)
    if cls in _originals:
        return x
    made = shadow_class(cls, clone)
    found = _stand_ins.get(id(x))
    if found is not None and found[0]() is x and made is type(found[1]).__base__:
        return found[1]
    attributes = getattr(x, "__dict__", None)
    if made is None or type(attributes) is not dict or made.__basicsize__ != _PLAIN_SIZE:
        return x
    try:
        other = object.__new__(_of_stand_ins(made, shadow_of))
        object.__setattr__(other, "__dict__", attributes)
        place = id(x)
        _stand_ins[place] = weakref.ref(x, lambda _: _stand_ins.pop(place, None)), other
    except TypeError:  # an object of a built-in kind, or one that cannot be referred to weakly
        return x
    return other


def _of_stand_ins(cls: type, shadow_of: Callable[[Any], Any]) -> type:
    """Return the class of stand-ins: attributes are read from the outside, so they need what stands for them."""

    def read(self: Any, name: str) -> Any:
        value = super(made, self).__getattribute__(name)  # type: ignore[misc]
        kind = value.__class__
        if name[:2] == "__":
            return value
        if kind is list or kind is tuple:
            parts = list(map(shadow_of, value))
            return value if all(a is b for a, b in zip(parts, value, strict=True)) else kind(parts)
        if kind is dict:
            items = {key: shadow_of(part) for key, part in value.items()}
            return value if all(items[key] is part for key, part in value.items()) else items
        return shadow_of(value)

    made = type(cls)(cls.__name__, (cls,), {"__slots__": (), "__getattribute__": read, "__module__": cls.__module__})
    _originals[made] = _originals[cls]
    return made


class _Plain:
    pass


_PLAIN_SIZE = _Plain.__basicsize__  # of instances that hold their attributes in a dict and nothing else


class _AskForClass(type):
    """What `type` is in traced code: called on an object, it answers with the user's class."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return original_class(type(args[0])) if len(args) == 1 and not kwargs else type(*args, **kwargs)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, type)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, type)


class ShadowType(type, metaclass=_AskForClass):
    """Stands for `type` in traced code."""
