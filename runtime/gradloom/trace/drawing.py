"""Random numbers in traced code: a generator from the outside would draw once, while the function is being traced, and
every later call would compute with the same numbers. That is an error, at the user's line.

A generator that the function makes itself, with a fixed seed, draws the same numbers in each call, as it does in NumPy.
"""

import functools
import random
from collections.abc import Callable
from typing import Any

import numpy as np

from gradloom.trace.context import fail, state
from gradloomc.ir.errors import UnsupportedError

GENERATORS = (np.random.Generator, np.random.RandomState, random.Random)
_DRAW_NOTHING = frozenset({"seed", "get_state", "set_state", "getstate", "setstate", "bit_generator", "spawn"})


def refusing(method: Any) -> Any:
    """Return what stands for a bound method of a generator of the outside."""
    name = method.__name__
    if name in _DRAW_NOTHING or name[:1] == "_":
        return method
    return _refuse(method, f"{name}() of a generator from outside of the traced function")


def _refuse(function: Callable[..., Any], what: str) -> Callable[..., Any]:
    @functools.wraps(function, assigned=("__name__", "__doc__"))
    def draw(*args: Any, **kwargs: Any) -> Any:
        if state.trace is None:
            return function(*args, **kwargs)
        fail(
            UnsupportedError,
            f"{what} would draw once, while the function is being traced, and all calls would use the same numbers",
            "draw outside and pass the numbers as an argument; numbers that are the same in each call come from a "
            "generator with a seed that the function makes: np.random.default_rng(0)",
        )

    return draw


class Refusing:
    """Stands for a generator of the outside."""

    __slots__ = ("_real",)

    def __init__(self, real: Any):
        self._real = real

    @property
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]  (for isinstance)
        return type(self._real)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._real, name)
        return refusing(value) if callable(value) else value


def default_rng(seed: Any = None) -> Any:
    """As numpy.random.default_rng, which without a seed would give each call other numbers."""
    if seed is None:
        return _refuse(np.random.default_rng, "a generator without a seed")()
    return np.random.default_rng(seed)
