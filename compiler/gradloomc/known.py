"""Lowered programs that were met before, in this process or another: they are neither derived nor lowered again.

A program is found by the traced function, the steps that derive from it what is computed, and all else that its text
depends on: the machine and its BLAS, this compiler's own sources, NumPy, which folds constants. What is kept says which
native code belongs to it; the text itself is made again only where somebody reads it, or where that code has gone.
"""

import marshal
from collections.abc import Callable, Sequence
from typing import Any

from gradloomc.ad.derivation import Derivation
from gradloomc.codegen.cache import digest, store
from gradloomc.codegen.fingerprint import fingerprint
from gradloomc.codegen.gemm import Convention
from gradloomc.codegen.host import Host
from gradloomc.codegen.program import Program
from gradloomc.codegen.saved import decode, encode
from gradloomc.codegen.tiers import expect_library
from gradloomc.ir.core import Op
from gradloomc.ir.identity import plain_bytes
from gradloomc.ir.inline import dissolve
from gradloomc.ir.saved_scopes import plain_scope, restored_scope
from gradloomc.ir.scopes import Scope
from gradloomc.pipelines import LOWER, lower

__all__ = ["Classes", "counts", "keep", "lowered", "lowered_now", "program_key", "stored"]

# Goes up when what is kept changes its form.
_GENERATION = "program 2"


class Counts:
    """How lowered programs came about in this process."""

    __slots__ = ("found", "lowered")

    def __init__(self) -> None:
        self.found = self.lowered = 0


counts = Counts()


def lowered(
    derivation: Derivation, host: Host, convention: Callable[[], Convention], take: Callable[[], Op] | None = None
) -> Program:
    """Return the program of a function for a machine.

    Args:
        convention: returns how the BLAS is called; it is asked if the program has products.
        take: returns the function as one that lowering may change, if not a copy of it.
    """

    key = program_key(derivation, host)
    found = stored(key, convention, lambda: lowered_now(derivation.copy(), host, convention))
    if found is not None:
        return found
    expect_library(derivation.origin, host)
    function = take() if take else derivation.copy()
    made = lowered_now(function, host, convention)
    if take is None:
        dissolve(function)  # what was derived is as large as all that was made of it
    keep(key, convention, made)
    return made


def lowered_now(function: Op, host: Host, convention: Callable[[], Convention]) -> Program:
    """Lower a function, which is changed in place, for a machine, without a look at what is kept."""
    counts.lowered += 1
    return lower(function, host.vector_bits, host.function_attributes, convention, library=True)


def stored(key: str, convention: Callable[[], Convention], make: Callable[[], Program]) -> Program | None:
    """Return the program that is kept under a key, if there is one; `make` lowers it again, for its text."""
    content = store().get(key) if key else None
    if content is None:
        return None
    try:
        found = _read(content, convention, make)
    except ValueError:  # kept by something else than what reads it
        return None
    counts.found += found is not None
    return found


def keep(key: str, convention: Callable[[], Convention], program: Program) -> None:
    """Keep a program under a key; '' stands for none."""
    content = _written(program, convention) if key else None
    if content is not None:
        store().put(key, content)


def _written(program: Program, convention: Callable[[], Convention]) -> bytes | None:
    content = encode(program)
    return None if content is None else (_text_of(convention()) if program.products else b"") + b"\n" + content


def _read(
    content: bytes, convention: Callable[[], Convention], make: Callable[[], Program], scope: Scope | None = None
) -> Program | None:
    called, _, program = content.partition(b"\n")
    return decode(program, make, scope) if not called or called == _text_of(convention()) else None


def _text_of(convention: Convention) -> bytes:
    return repr(tuple(convention)).encode()


def program_key(derivation: Derivation, host: Host, scope: Scope | None = None) -> str:
    """Return the key under which a program is kept, `scope` being that of its lengths; '' if it cannot be."""
    if store().directory is None or not fingerprint():
        return ""
    identity = derivation.identity()
    if identity is None:
        return ""
    machine = f"{host.signature} {host.vector_bits} {host.function_attributes}"
    known = b"" if scope is None else plain_bytes(plain_scope(scope))
    return digest(_GENERATION, fingerprint(), LOWER, machine, known, identity)


class Classes:
    """The programs of one function for any length, a program for each class of lengths, as far as they are kept.

    Args:
        derivation: the function, whose lengths are expressions.
        scope: what is known of them.
        make: lowers the function for given lengths.
    """

    __slots__ = ("_contents", "_convention", "_host", "_key", "_make", "_origin")

    def __init__(
        self,
        derivation: Derivation,
        scope: Scope,
        host: Host,
        convention: Callable[[], Convention],
        make: Callable[[Sequence[int]], tuple[Scope, Program]],
    ):
        self._convention, self._make, self._host, self._origin = convention, make, host, derivation.origin
        self._key = program_key(derivation, host, scope)
        content = store().get(self._key) if self._key else None
        self._contents: list[tuple[Any, bytes]] = []
        if content is not None:
            try:
                self._contents = [(scope, program) for scope, program in marshal.loads(content)]
            except (ValueError, TypeError, EOFError):
                pass

    def program_for(self, symbols: Sequence[int]) -> tuple[Scope, Program]:
        """Return the program of the class that some lengths belong to, with the scope that has its conditions."""
        for plain, content in self._contents:
            try:
                scope = restored_scope(plain, symbols)
                if scope.environment(symbols) is None:
                    continue
                found = _read(content, self._convention, lambda: self._make(symbols)[1], scope)
            except (ValueError, TypeError, KeyError, ZeroDivisionError):  # also: a class of other lengths
                continue
            if found is not None:
                counts.found += 1
                return scope, found
        expect_library(self._origin, self._host)
        counts.lowered += 1
        scope, made = self._make(symbols)
        content = None
        if self._key and not (scope.failed or scope.merged) and scope.environment(symbols) is not None:
            content = _written(made, self._convention)
        if content is not None:
            self._contents.append((plain_scope(scope), content))
            store().put(self._key, marshal.dumps(self._contents, 2))
        return scope, made
