"""A halved nest: of two points (i, j) and (j, i), whose terms are the same or negatives, one is visited.

Row i begins with the vector on the diagonal, at the last multiple of the width that is not behind i: there all points
are visited, for i alone, since those rows that share the vector do so too. Each point behind it also stands for its
mirror image: its term goes to the sum of i, in registers, and with its sign to the sum of j, in memory; in a sum of
everything it counts twice. The sum of a row joins what earlier rows have left there.
"""

from gradloomc.codegen.body import Body
from gradloomc.codegen.instructions import Vector
from gradloomc.codegen.nest import NestWriter
from gradloomc.codegen.nest_context import Accumulator, Piece, moving_dims, plus
from gradloomc.ir.core import Op

__all__ = ["HalvedNestWriter"]


class HalvedNestWriter(NestWriter):
    """Writes one halved nest; its extents are at least one vector."""

    def innermost(self, body: Body) -> None:
        """Write a row: the vector on the diagonal, then the points behind it, each for two."""
        emit, extent = body.emit, self.extents[self.inner]
        diagonal = emit(f"and i64 {self.counters[0]}, {-self.width}", "i64")
        behind = plus(body, diagonal, str(self.width))
        short = emit(f"icmp slt i64 {behind}, {extent}", "i1")
        behind = emit(f"select i1 {short}, i64 {behind}, i64 {extent}", "i64")
        stores = dict.fromkeys(self.sinks, True)
        self.lines += self.main_loop(body, Piece(self.width, diagonal, behind, {}, stores), behind)
        self.mirrored = True
        self.lines += self.main_loops(body, Piece(self.static[self.inner], behind, extent, {}, stores), extent)
        self.mirrored = False

    def add_total(self, body: Body, acc: Accumulator, vector: str) -> None:
        """Combine a vector of partial results into a total: twice into one of everything, where points are mirrored."""
        if self.mirrored and not moving_dims(acc.op) and len(acc.op.operands) == 2:
            kind = Vector(body, self.width).type(acc.element)
            vector = body.fresh(f"fadd {kind} {vector}, {vector}", kind)
        super().add_total(body, acc, vector)

    def store_scalar(self, v: Vector, op: Op, name: str) -> None:
        """Store a total; that of a row joins what the mirror images of earlier points have left."""
        if moving_dims(op):
            self.combine_scalar(v, op, name, self.target_address(v.body, op))
        else:
            super().store_scalar(v, op, name)
