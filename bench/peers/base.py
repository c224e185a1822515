"""What an adapter is: one column of the benchmark.

Owns the protocol and what several adapters share. It knows no peer library; an adapter's module
imports its library in `load`, whose time is the column's import time.
"""

from __future__ import annotations

import os
import types
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from bench.workload import Workload, number

Call = Callable[..., tuple[Any, Any]]
Kind = Literal["gradloom", "library", "hand"]


class Unavailable(Exception):
    """The peer is not installed or cannot run on this machine; the message says why."""


class Inexpressible(Exception):
    """The peer has no way to say this row; the message names what is missing."""


def threads() -> int:
    """Return how many threads this process may compute with, as the harness said."""
    return int(os.environ.get("BENCH_THREADS", "1"))


class Peer(Protocol):
    """How one peer computes a workload's quantity: a value and its gradients, or a product.

    `kind` separates what the user writes: "library" derives the derivative from the function,
    "hand" runs one that somebody derived and wrote for this very workload.
    An adapter that chose among several ways may have a `note` that says which, and `uncounted`: the
    seconds of the build that the choice took.
    One whose code becomes faster while it is used has a `settle(call, arguments)`, which waits for that; the first call
    and what it costs are measured before.
    `environment` is set before Python starts; `{threads}`, `{parallel}` (true for more than one) and
    `{folder}` (temporary, empty) in its values are filled in.
    """

    label: ClassVar[str]
    kind: ClassVar[Kind]
    environment: ClassVar[Mapping[str, str]]

    def load(self) -> str:
        """Import the library and return its version; raise `ImportError` or `Unavailable`."""
        ...

    def build(self, workload: Workload) -> Call:
        """Return a callable from the peer's own arrays to `(value, derivatives)`, all finished.

        The value is None where the workload's quantity has none. Raises `Inexpressible` if
        the peer cannot say the function or compute that quantity.

        Compiling may happen here or in the first call: both count as the first call.
        """
        ...

    def put(self, inputs: tuple[np.ndarray, ...], workload: Workload) -> tuple[Any, ...]:
        """Convert the inputs to the peer's own array type; not timed."""
        ...

    def get(self, result: tuple[Any, Any]) -> tuple[float | None, tuple[np.ndarray, ...]]:
        """Convert a result of the callable back to a number and NumPy arrays; not timed."""
        ...


class OnNumpy:
    """The conversions of every peer that works on NumPy arrays in place: none."""

    environment: ClassVar[Mapping[str, str]] = {}

    def put(self, inputs: tuple[np.ndarray, ...], workload: Workload) -> tuple[Any, ...]:
        return inputs

    def get(self, result: tuple[Any, Any]) -> tuple[float | None, tuple[np.ndarray, ...]]:
        value, derivatives = result
        return number(value), tuple(np.asarray(derivative) for derivative in derivatives)


def rebind(function: Callable[..., Any], **names: Any) -> Callable[..., Any]:
    """Return a copy of `function` whose global `names`, and its helpers' ones, mean something else.

    This is how jax and autograd run the very source that gradloom compiles, `np` being theirs.
    Helpers are the functions of the same module that it refers to.
    """
    assert isinstance(function, types.FunctionType)
    scope = {**function.__globals__, **names}
    for name in function.__code__.co_names:
        helper = scope.get(name)
        if isinstance(helper, types.FunctionType) and helper.__module__ == function.__module__:
            scope[name] = rebind(helper, **names)
    return types.FunctionType(
        function.__code__, scope, function.__name__, function.__defaults__, function.__closure__
    )
