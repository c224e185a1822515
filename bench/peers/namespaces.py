"""A row's own NumPy source under another library's names.

An adapter gives `rebound` a namespace with the library's functions under NumPy's names. What it
lacks, or what the library's arrays cannot do, ends as `Inexpressible`, with the library's words.
Owns that translation; it knows no library.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench.peers.base import Inexpressible, rebind
from bench.peers.versions import VERSIONS
from bench.workload import Workload


class Names:
    """Functions under NumPy's names; an unknown one is `Inexpressible`."""

    newaxis = None
    inf = float("inf")
    pi = 3.141592653589793

    def __init__(self, owner: str, *sources: Any, **functions: Callable[..., Any]) -> None:
        """`functions` come first, then what the `sources` have under the same name."""
        self._owner, self._sources, self._functions = owner, sources, functions

    def __getattr__(self, name: str) -> Any:
        if name in self._functions:
            return self._functions[name]
        for source in self._sources:
            if hasattr(source, name):
                return getattr(source, name)
        raise Inexpressible(f"{self._owner} has nothing like '{name}'")


def rebound(workload: Workload, names: Names, column: str = "", module: Any = None) -> Callable[..., Any]:
    """Return the row's function under `names`, or the version that a column has of it, made from `module`.

    Whatever it raises while it is called is `Inexpressible`.
    """
    version = VERSIONS.get((column, workload.name))
    function = version(module) if version else rebind(workload.function, np=names, special=names)

    def call(*inputs: Any) -> Any:
        try:
            return function(*inputs)
        except Inexpressible:
            raise
        except Exception as error:
            said = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise Inexpressible(said[:200]) from error

    return call
