"""Nests that a program has several of, but for the memory that they work on: each is written, and compiled, once.

Loops of the user's program are unrolled when it is traced, so a large program mostly does the same again and again.
"""

from collections import Counter
from collections.abc import Iterable

from gradloomc.codegen.function import FunctionWriter, Places
from gradloomc.codegen.nest_context import Buffer
from gradloomc.dialects import loops
from gradloomc.ir.core import Op
from gradloomc.ir.identity import identity_of_nest
from gradloomc.lowering.rings import rings_of

__all__ = ["NestFunction", "repeated_nests"]

# A call takes a few nanoseconds more than code in place, and code that is there twice is compiled soon enough.
_REPEATED_FROM = 3


def repeated_nests(ops: Iterable[Op]) -> dict[Op, bytes]:
    """Return the nests that are there several times, each with what tells those that are alike from the others."""
    nests = [op for op in ops if op.kind is loops.nest and "chunk" not in op.attributes and not rings_of(op)]
    likely = Counter(map(_size, nests))
    found = {op: identity_of_nest(op) for op in nests if likely[_size(op)] >= _REPEATED_FROM}
    counts = Counter(found.values())
    return {op: key for op, key in found.items() if key is not None and counts[key] >= _REPEATED_FROM}


def _size(op: Op) -> tuple[int, int]:
    return len(op.regions[0].block.ops), len(op.operands)


class NestFunction(FunctionWriter):
    """A nest as a function of the addresses of its operands."""

    def __init__(self, places: Places, symbol: str, op: Op):
        super().__init__(places, symbol)
        self.op = op
        for number, value in enumerate(dict.fromkeys(op.operands)):
            self.buffers[value] = Buffer(f"%p{number}", value.type.element, value.type.shape)

    def write(self) -> str:
        """Return the text of the function, or '' if nothing is to be done."""
        self.nest(self.op)
        return self.finish()

    def head(self) -> list[str]:
        pointers = ", ".join(f"ptr {buffer.pointer}" for buffer in self.buffers.values())
        return [f"define internal void @{self.symbol}(ptr noalias %sizes, {pointers}) #0 {{", "entry:"]
