"""Lowered programs that were met before, in this process or another: they are neither derived nor lowered again.

A program is found by the traced function, the steps that derive from it what is computed, and all else that its text
depends on: the machine and its BLAS, this compiler's own sources, NumPy, which folds constants. What is kept says which
native code belongs to it; the text itself is made again only where somebody reads it, or where that code has gone.
"""

from collections.abc import Callable

from gradloomc.ad.derivation import Derivation
from gradloomc.codegen.cache import digest, store
from gradloomc.codegen.fingerprint import fingerprint
from gradloomc.codegen.gemm import Convention
from gradloomc.codegen.host import Host
from gradloomc.codegen.program import Program
from gradloomc.codegen.saved import decode, encode
from gradloomc.ir.core import Op
from gradloomc.ir.inline import dissolve
from gradloomc.pipelines import LOWER, lower

__all__ = ["counts", "lowered", "program_key"]

# Goes up when what is kept changes its form.
_GENERATION = "program 1"


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

    def make(function: Op) -> Program:
        counts.lowered += 1
        return lower(function, host.vector_bits, host.function_attributes, convention, library=True)

    key = program_key(derivation, host)
    content = store().get(key) if key else None
    if content is not None:
        called, _, program = content.partition(b"\n")
        if not called or called == _text_of(convention()):
            try:
                found = decode(program, lambda: make(derivation.copy()))
            except ValueError:
                pass  # kept by something else than what reads it
            else:
                counts.found += 1
                return found
    function = take() if take else derivation.copy()
    made = make(function)
    if take is None:
        dissolve(function)  # what was derived is as large as all that was made of it
    content = encode(made) if key else None
    if content is not None:
        store().put(key, (_text_of(convention()) if made.products else b"") + b"\n" + content)
    return made


def _text_of(convention: Convention) -> bytes:
    return repr(tuple(convention)).encode()


def program_key(derivation: Derivation, host: Host) -> str:
    """Return the key under which a program is kept; '' if it cannot be."""
    if store().directory is None or not fingerprint():
        return ""
    identity = derivation.identity()
    if identity is None:
        return ""
    machine = f"{host.signature} {host.vector_bits} {host.function_attributes}"
    return digest(_GENERATION, fingerprint(), LOWER, machine, identity)
