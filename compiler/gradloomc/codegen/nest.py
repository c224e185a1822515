"""One `loops.nest` as LLVM IR text: outer loops on scalars, the innermost dimension in explicit vectors.

Code is written scope by scope, one scope for each loop depth; what does not vary with a loop is written in the scope
around it. The innermost dimension is cut where a pad begins or ends. A piece of at least one vector gets a main loop in
which those tests are decided; its last vector ends where the piece ends and so may repeat some points, which stores do
not mind and reductions mask. Short pieces, and rows in which a test on an outer dimension fails, go through one masked
loop that can handle any position. Float sums run in blocks whose totals are added with compensation, in a fixed order.

Start reading at `NestWriter.write`.
"""

import itertools
import math
from typing import Any

from gradloomc.codegen.body import Body
from gradloomc.codegen.chunk import Chunk
from gradloomc.codegen.instructions import Vector, emit_op, llvm_scalar, memory_scalar
from gradloomc.codegen.lane import Lane
from gradloomc.codegen.nest_context import Accumulator, NestContext, Piece, moving_dims, plus
from gradloomc.codegen.reduction import combine, horizontal
from gradloomc.dialects import kernel, loops
from gradloomc.ir.core import Op
from gradloomc.ir.errors import UnsupportedError
from gradloomc.lowering.loops import neutral_element
from gradloomc.lowering.parallelize import CHUNK_VECTORS, loop_depths, piece_cuts
from gradloomc.lowering.tile import LEAST_ROWS

# Vectors between two flushes of a float sum: NumPy's pairwise sum also makes 16 plain additions in a row, and the few
# instructions of a flush are lost beside them. Chunks are whole blocks.
BLOCK_VECTORS = CHUNK_VECTORS
# Sums that do not fit the registers are flushed more rarely: all of them together take longer than a walk over a block.
MANY_SUMS, RARER = 24, 4
# In long nests that reduce, the last vector of a long row is written by itself, if a point takes few additions: the
# others then save a few instructions each, which are lost beside an exponential, whose text takes long to compile.
PEELED_POINTS, PEELED_VECTORS, PEELED_COST = 1 << 15, 8, 48.0


class Text:
    """A nest in three parts, so that a loop over tiles can go around the middle one."""

    __slots__ = ("after", "allocas", "before", "loops")

    def __init__(self) -> None:
        self.allocas: list[str] = []
        self.before: list[str | Body] = []  # totals start
        self.loops: list[str | Body] = []
        self.after: list[str | Body] = []  # totals are stored


class NestWriter(NestContext):
    """Writes one nest into `lines`; pointers, extents and strides are loaded where the nest begins."""

    # --- the plan of the nest ---

    def write(self) -> "Text":
        """Return the nest's text; each part starts and ends in the middle of a block.

        A Body in the text stands for its lines at the very end, because inner loops still add what does not vary with
        them.
        """
        text = Text()
        if 0 in self.static:
            return text
        self.extents = [self.load_size(extent) for extent in self.static]
        for value in dict.fromkeys(self.op.operands):
            self.load_strides(self.buffers[value])
        self.depths = loop_depths(self.ops)
        self.accumulators = {op: self.accumulator(op) for op in self.sinks if self.in_registers(op)}
        # A block of its own: a cold path in the outermost scope needs the label that it comes from.
        start = self.label("start")
        self.lines += [f"  br label %{start}", f"{start}:"]
        scope = self.open_scope(None)
        scope.current_block = start
        self.start_accumulators(scope, 0)
        text.before, self.lines = self.lines, []
        self.outer_scalars(scope, -1)
        if self.width == 1:
            self.straight(scope)
        elif self.inner == 0:
            self.innermost(scope)
        else:
            self.loop(0)
        text.loops, self.lines = self.lines, []
        self.finish_accumulators(0)
        if self.chunk is None:
            text.after = self.lines
        text.allocas = self.allocas
        return text

    def write_combination(self, chunk: Chunk, records: str, stride: int, count: str) -> Text:
        """Return the text that stores the totals of the whole nest, from the records of all chunks.

        Args:
            chunk: the layout of a record.
            records: address of the first record.
            stride: bytes from one record to the next.
            count: how many there are, by name.
        """
        text = Text()
        shared = [op for op in self.sinks if op in chunk.totals]
        if not shared:
            return text
        for op in shared:
            self.load_strides(self.buffers[op.operands[1]])
        self.accumulators = {op: self.accumulator(op) for op in shared}
        start, head, done = (self.label(stem) for stem in ("start", "records", "done"))
        self.lines += [f"  br label %{start}", f"{start}:"]
        scope = self.open_scope(None)
        self.start_accumulators(scope, 0)
        k = f"%n{self.number}k"
        self.lines += [f"  br label %{head}", f"{head}:", f"  {k} = phi i64 [ 0, %{start} ], [ {k}n, %{head} ]"]
        body = self.open_scope(scope)
        record = body.emit(f"getelementptr i8, ptr {records}, i64 {body.emit(f'mul i64 {k}, {stride}', 'i64')}", "ptr")
        for op, acc in self.accumulators.items():
            self.join_record(body, acc, record, chunk.totals[op], chunk.errors.get(op))
        self.lines += [
            f"  {k}n = add nuw nsw i64 {k}, 1",
            f"  {k}c = icmp slt i64 {k}n, {count}",
            f"  br i1 {k}c, label %{head}, label %{done}",
            f"{done}:",
        ]
        self.scopes.pop()
        self.finish_accumulators(0)
        text.loops, text.allocas = self.lines, self.allocas
        return text

    def join_record(self, body: Body, acc: Accumulator, record: str, total: int, error: int | None) -> None:
        """Combine a chunk's total, and its compensation, into the running total."""
        v = self.total_lanes(body, acc)
        kind = v.type(acc.element)
        address = body.emit(f"getelementptr i8, ptr {record}, i64 {total}", "ptr")
        value = body.fresh(f"load {kind}, ptr {address}", kind)
        if error is None:
            old = body.fresh(f"load {kind}, ptr {acc.total}", kind)
            body.effect(f"store {kind} {combine(v, acc.combine, acc.element, old, value)}, ptr {acc.total}")
            return
        self.add_total(body, acc, value)
        address = body.emit(f"getelementptr i8, ptr {record}, i64 {error}", "ptr")
        value = body.fresh(f"load {kind}, ptr {address}", kind)
        old = body.fresh(f"load {kind}, ptr {acc.error}", kind)
        body.effect(f"store {kind} {body.fresh(f'fadd {kind} {old}, {value}', kind)}, ptr {acc.error}")

    def in_registers(self, op: Op) -> bool:
        """Tell whether a reduction's result is complete inside a prefix of the loops (and so can stay in registers)."""
        if op.kind is not loops.reduce:
            return False
        dims = moving_dims(op)
        return sorted(dims) == list(range(len(dims))) and (self.inner not in dims or not self.static)

    def block_vectors(self) -> int:
        """Return how many vectors are added up plainly between two flushes."""
        many = sum(acc.blocked for acc in self.accumulators.values()) > MANY_SUMS
        return BLOCK_VECTORS * RARER if many else BLOCK_VECTORS

    def accumulator(self, op: Op) -> Accumulator:
        element = op.operands[0].type
        stem = f"%n{self.number}r{self.sinks.index(op)}"
        how, depth = op.attributes["combine"], len(moving_dims(op))
        is_sum, by_row = how == "add" and element.kind == "f", depth == self.inner
        short = by_row and not self.halved and self.static[self.inner] <= 2 * BLOCK_VECTORS * self.width
        blocked = is_sum and not short
        compensated = blocked and not (by_row and self.inner and self.static[-1] <= BLOCK_VECTORS**2 * self.width)
        acc = Accumulator(op, element, how, depth, stem, stem + "e", blocked, compensated)
        lanes = self.total_lanes(Body(), acc)
        kind, size = lanes.type(element), max(1, element.itemsize) * lanes.width
        if self.chunk is not None and depth == 0:  # a total of the whole nest: the chunk's share outlives its function
            self.allocas.append(self.chunk.place(self.chunk.totals, op, acc.total, size))
            if acc.compensated:
                self.allocas.append(self.chunk.place(self.chunk.errors, op, acc.error, size))
            return acc
        self.allocas.append(f"  {acc.total} = alloca {kind}")
        if acc.compensated:
            self.allocas.append(f"  {acc.error} = alloca {kind}")
        return acc

    def total_lanes(self, body: Body, acc: Accumulator) -> Vector:
        """Return the arithmetic of a reduction's running total: float sums keep one for every lane."""
        return Vector(body, self.width if acc.blocked else 1)

    # --- scopes and scalars ---

    def open_scope(self, parent: Body | None) -> Body:
        """Start the scope of a loop's body (or of the whole nest) at this place of the text."""
        body = self.scope(parent)
        self.lines.append(body)
        self.scopes.append(body)
        return body



    def outer_scalars(self, body: Body, depth: int) -> None:
        """Write the ops that vary with dimension `depth` and no deeper one."""
        if depth == self.inner and self.width != 1:
            return
        vector = Vector(body, 1)
        for op in self.ops:
            if op.results and self.depths[op.results[0]] == depth:
                self.names[op.results[0]] = self.write_scalar(vector, op)

    def write_scalar(self, v: Vector, op: Op) -> str:
        body = v.body
        if op.kind is loops.load:
            buffer = self.buffers[op.operands[0]]
            address = self.address(body, buffer, op.attributes["map"], op.operands[1:])
            loaded = body.emit(f"load {memory_scalar(buffer.element)}, ptr {address}")
            return self.from_memory(v, loaded, buffer.element)
        if op.kind is kernel.index:
            return self.counters[op.attributes["dim"]]
        if op.kind is kernel.extent:
            return self.load_size(op.attributes["value"])
        if op.kind is kernel.inside:
            dim = op.attributes["dim"]
            low, high = self.bound(dim, op.attributes["low"]), self.bound(dim, op.attributes["high"])
            return self.inside(body, self.counters[dim], low, high)
        return emit_op(v, op, [self.names[operand] for operand in op.operands])





    # --- addresses ---






    # --- outer loops ---

    def loop(self, dim: int) -> None:
        """Write the loop over an outer dimension and what it contains."""
        head, latch, done, before = (self.label(stem) for stem in ("loop", "next", "done", "before"))
        counter = self.counters[dim]
        self.lines += [
            f"  br label %{before}",
            f"{before}:",
            f"  br label %{head}",
            f"{head}:",
            f"  {counter} = phi i64 [ {self.first(dim)}, %{before} ], [ {counter}n, %{latch} ]",
        ]
        body = self.open_scope(self.scopes[-1])
        body.current_block = head
        self.start_accumulators(body, dim + 1)
        self.outer_scalars(body, dim)
        if dim + 1 == self.inner:
            self.innermost(body)
        else:
            self.loop(dim + 1)
        self.finish_accumulators(dim + 1)
        self.scopes.pop()
        self.lines += [
            f"  br label %{latch}",
            f"{latch}:",
            f"  {counter}n = add nuw nsw i64 {counter}, {self.op.attributes.get('step', 1) if dim == 0 else 1}",
            f"  {counter}c = icmp slt i64 {counter}n, {self.rows[1] if self.rows and dim == 0 else self.extents[dim]}",
            f"  br i1 {counter}c, label %{head}, label %{done}",
            f"{done}:",
        ]

    def first(self, dim: int) -> str:
        """Return where the loop over a dimension starts."""
        return self.rows[0] if self.rows and dim == 0 else "0"

    def start_accumulators(self, body: Body, depth: int) -> None:
        for acc in self.accumulators.values():
            if acc.depth == depth:
                v = self.total_lanes(body, acc)
                kind = v.type(acc.element)
                neutral = v.literal(neutral_element(acc.combine, acc.element), acc.element)
                body.effect(f"store {kind} {neutral}, ptr {acc.total}")
                if acc.compensated:
                    body.effect(f"store {kind} {v.literal(0, acc.element)}, ptr {acc.error}")

    def finish_accumulators(self, depth: int) -> None:
        body = self.scope(self.scopes[-1])
        self.lines.append(body)
        for acc in self.accumulators.values():
            if acc.depth != depth:
                continue
            v = self.total_lanes(body, acc)
            kind = v.type(acc.element)
            total = body.fresh(f"load {kind}, ptr {acc.total}", kind)
            if acc.compensated:
                error = body.fresh(f"load {kind}, ptr {acc.error}", kind)
                # an infinite or nan total has a nan compensation: leave it out
                finite = v.compare("ord", acc.element, error, error)
                both = body.emit(f"fadd {kind} {total}, {error}", kind)
                total = v.select(finite, acc.element, both, total)
            if acc.blocked:
                total = self.horizontal(body, acc, total)
            self.store_total(body, acc.op, total, self.outer_box(body, acc.op, depth))

    def store_total(self, body: Body, op: Op, total: str, tests: list[str]) -> None:
        """Store a total if all tests hold: one of a row beside the box of a sink has no place."""
        if not tests:
            self.store_scalar(Vector(body, 1), op, total)
            return
        inside = tests[0]
        for test in tests[1:]:
            inside = body.emit(f"and i1 {inside}, {test}", "i1")
        place, rest = self.label("place"), self.label("placed")
        body.effect(f"br i1 {inside}, label %{place}, label %{rest}")
        body.label(place)
        guarded = self.scope(body)  # nothing after it may use its addresses
        self.store_scalar(Vector(guarded, 1), op, total)
        body.lines += guarded.lines
        body.effect(f"br label %{rest}")
        body.label(rest)

    def store_scalar(self, v: Vector, op: Op, name: str) -> None:
        buffer = self.buffers[op.operands[1]]
        address = self.target_address(v.body, op)
        stored = self.to_memory(v, name, buffer.element, op.operands[0].type)
        v.body.effect(f"store {memory_scalar(buffer.element)} {stored}, ptr {address}")



    # --- a nest of one point ---

    def straight(self, body: Body) -> None:
        """Write a nest without a loop: scalars in, scalars out."""
        if self.inner == 0:
            self.counters[0] = "0"
        v = Vector(body, 1)
        for op in self.ops:
            if op.results and self.depths[op.results[0]] == 0:
                self.names[op.results[0]] = self.write_scalar(v, op)
        for op in self.sinks:
            name = self.names[op.operands[0]]
            acc = self.accumulators.get(op)
            if acc is not None:
                body.effect(f"store {llvm_scalar(acc.element)} {name}, ptr {acc.total}")
            elif op.kind is loops.scatter:
                self.combine_scalar(v, op, name, self.target_address(body, op))
            else:
                self.store_scalar(v, op, name)

    # --- the innermost dimension ---

    def innermost(self, body: Body) -> None:
        """Write the innermost dimension of one row: main loops over the long pieces, then the masked loop.

        In a row where a test on an outer dimension fails, the main loops are empty and the masked loop takes all.
        """
        extent = self.extents[self.inner]
        row_ok = self.row_test(body)
        if self.rows and self.inner == 0:  # a tile of rows: one piece, whose last vector may reach back before it
            if self.width > LEAST_ROWS:  # it would reach back before the first row
                message = f"'loops.tiles' needs vectors of at most {LEAST_ROWS} elements"
                raise UnsupportedError(message, self.op.location)
            piece = Piece(0, *self.rows, {}, dict.fromkeys(self.sinks, True))
            self.lines += self.main_loops(body, piece, self.rows[1])
            return
        left: list[tuple[str, str]] = []
        position = "0"
        pieces = self.pieces(self.inner)
        for piece in pieces:
            if position != piece.low:
                left.append((position, piece.low))
            position = piece.high
        if position != extent:
            left.append((position, extent))
        # Of a chunk that is a part of the longest piece, the first one also runs all that lies beside that piece.
        shared = self.chunk is not None and self.chunk.over_pieces
        cut = max(pieces, key=lambda piece: piece.points) if shared else None
        beside = self.chunk.first if self.chunk is not None and shared else None
        left = [(low, self.either(body, beside, high, low)) for low, high in left]
        for piece in pieces:
            if piece is cut:
                piece = self.chunk_of(body, piece)
                end = piece.high
            else:
                end = self.either(body, beside, piece.high, piece.low)
            self.lines += self.main_loops(body, piece, self.either(body, row_ok, end, piece.low))
            if shared and row_ok is not None:  # in a row that fails, too, a chunk keeps to its own part
                left.append((piece.low, self.either(body, row_ok, piece.low, end)))
        if not left and row_ok is None:
            return
        left = left or [("0", "0")]
        ranges, range_count = self.range_table(len(left))
        for k, (low, high) in enumerate(left):
            if k == 0 and not shared:
                low, high = self.either(body, row_ok, low, "0"), self.either(body, row_ok, high, extent)
            self.set_range(body, ranges, k, low, high)
        count = str(len(left)) if shared else self.either(body, row_ok, str(len(left)), "1")
        body.effect(f"store i64 {count}, ptr {range_count}")
        self.lines += self.masked_loops(body, ranges, range_count)

    def chunk_of(self, body: Body, piece: Piece) -> Piece:
        """Return the part of a piece that is this chunk's."""
        assert self.chunk is not None
        low, far = plus(body, piece.low, self.chunk.low), plus(body, piece.low, self.chunk.high)
        return piece._replace(low=low, high=self.either(body, self.chunk.last, piece.high, far))

    def either(self, body: Body, condition: str | None, x: str, y: str) -> str:
        """Return x where the condition holds (or there is none), else y."""
        if condition is None or x == y:
            return x
        return body.emit(f"select i1 {condition}, i64 {x}, i64 {y}", "i64")

    def row_test(self, body: Body) -> str | None:
        """Return an i1: every test on an outer dimension holds in this row; None when there is none."""
        tests = []
        for op in self.ops:
            if op.kind is kernel.inside and op.attributes["dim"] != self.inner:
                tests.append(self.names[op.results[0]])
        for op in self.sinks:
            tests += self.outer_box(body, op)
        result = None
        for test in dict.fromkeys(tests):
            result = test if result is None else body.emit(f"and i1 {result}, {test}", "i1")
        return result


    def pieces(self, dim: int) -> list[Piece]:
        """Return the long pieces between the positions where a test on `dim` changes."""
        tests = [op for op in self.ops if op.kind is kernel.inside and op.attributes["dim"] == dim]
        found = []
        for low, high in itertools.pairwise(piece_cuts(self.ops, dim, self.static[dim])):
            if high - low < self.width:
                continue
            found.append(
                Piece(
                    high - low,
                    self.bound(dim, low),
                    self.bound(dim, high),
                    {op.results[0]: op.attributes["low"] <= low < op.attributes["high"] for op in tests},
                    {op: op.attributes["low"][dim] <= low < op.attributes["high"][dim] for op in self.sinks},
                )
            )
        return found

    def range_table(self, count: int) -> tuple[str, str]:
        stem = f"%n{self.number}ranges"
        self.allocas += [f"  {stem} = alloca [{2 * count} x i64]", f"  {stem}c = alloca i64"]
        return stem, stem + "c"

    def set_range(self, body: Body, ranges: str, k: int, low: str, high: str) -> None:
        for position, value in ((2 * k, low), (2 * k + 1, high)):
            pointer = body.emit(f"getelementptr i64, ptr {ranges}, i64 {position}", "ptr")
            body.effect(f"store i64 {value}, ptr {pointer}")

    def main_loops(self, row: Body, piece: Piece, end: str) -> list[str]:
        """Return the text of the loop over [piece.low, end), with the last vector by itself where that is worth it."""
        if not self.peels():
            return self.main_loop(row, piece, end)
        stem = f"%{self.label('whole').replace('.', '_')}"
        lines = [  # not in `row`: where a tile ends is known only inside it
            f"  {stem}l = sub i64 {end}, {piece.low}",
            f"  {stem}r = and i64 {stem}l, {self.width - 1}",
            f"  {stem} = sub i64 {end}, {stem}r",
        ]
        lines += self.main_loop(row, piece, stem, whole=True)
        return lines + self.main_loop(row, piece._replace(low=stem), end)

    def peels(self) -> bool:
        """Tell whether the last vector gets a text of its own, so that no other one has to ask which lanes count."""
        return (
            any(op.kind is loops.reduce for op in self.sinks)
            and sum(op.kind.cost for op in self.ops) <= PEELED_COST
            and math.prod(self.static) >= PEELED_POINTS
            and self.static[self.inner] >= PEELED_VECTORS * self.width
        )

    def main_loop(self, row: Body, piece: Piece, end: str, whole: bool = False) -> list[str]:
        """Return the text of the loop over [piece.low, end), which is empty or at least one vector long.

        `point` is where a vector starts, `fresh` the first point that no vector has covered; they differ in the last
        vector, and nowhere if the piece is `whole` vectors.
        """
        blocked = any(acc.blocked for acc in self.accumulators.values())
        block, enter, loop, flush, done = (self.label(x) for x in ("block", "enter", "vector", "flush", "done"))
        before, latch = self.label("before"), self.label("latch")
        stem = f"%{loop.replace('.', '_')}"
        body = self.scope(row)
        body.current_block = loop
        point, fresh = f"{stem}i", f"{stem}f"
        state = self.open_accumulators(body, point)
        updates = Lane(self, body, row, self.width, point, None, piece, None if whole else fresh).run()
        lines = [
            f"  {stem}last = sub i64 {end}, {self.width}",
            f"  br label %{before}",
            f"{before}:",
            f"  br label %{block}",
            f"{block}:",
            f"  {stem}b = phi i64 [ {piece.low}, %{before} ], [ {stem}l, %{flush} ]",
            f"  {stem}more = icmp slt i64 {stem}b, {end}",
            f"  br i1 {stem}more, label %{enter}, label %{done}",
            f"{enter}:",
        ]
        if not whole:
            lines += [
                f"  {stem}short = icmp slt i64 {stem}b, {stem}last",
                f"  {stem}s = select i1 {stem}short, i64 {stem}b, i64 {stem}last",
            ]
        if blocked:
            lines += [
                f"  {stem}far = add nuw nsw i64 {stem}b, {self.block_vectors() * self.width}",
                f"  {stem}near = icmp slt i64 {stem}far, {end}",
                f"  {stem}l = select i1 {stem}near, i64 {stem}far, i64 {end}",
            ]
        else:
            lines += [f"  {stem}l = add i64 {end}, 0"]
        lines += [
            f"  br label %{loop}",
            f"{loop}:",
            f"  {point} = phi i64 [ {stem}{'b' if whole else 's'}, %{enter} ], [ {point}n, %{latch} ]",
        ]
        if not whole:
            lines.append(f"  {fresh} = phi i64 [ {stem}b, %{enter} ], [ {fresh}n, %{latch} ]")
        lines += [
            f"  {name} = phi {kind} [ {neutral}, %{enter} ], [ {updates.get(acc.op, name)}, %{latch} ]"
            for name, kind, neutral, acc in state
        ]
        lines += [*body.lines, f"  br label %{latch}", f"{latch}:"]
        lines.append(f"  {fresh}n = add nuw nsw i64 {point}, {self.width}")
        if whole:
            lines.append(f"  {point}n = add i64 {fresh}n, 0")
        else:
            lines += [
                f"  {point}c = icmp slt i64 {fresh}n, {stem}last",
                f"  {point}n = select i1 {point}c, i64 {fresh}n, i64 {stem}last",
            ]
        lines += [
            f"  {fresh}c = icmp slt i64 {fresh}n, {stem}l",
            f"  br i1 {fresh}c, label %{loop}, label %{flush}",
        ]
        return [*lines, *self.flush_block(row, flush, updates, block), f"{done}:"]

    def open_accumulators(self, body: Body, point: str) -> list[Any]:
        """Return (phi name, type, neutral literal, accumulator) for each reduction kept in registers."""
        state = []
        v = Vector(body, self.width)
        self.partial = {}
        for k, acc in enumerate(self.accumulators.values()):
            name = f"{point}a{k}"
            neutral = v.literal(neutral_element(acc.combine, acc.element), acc.element)
            state.append((name, v.type(acc.element), neutral, acc))
            self.partial[acc.op] = name
        return state

    def flush_block(self, row: Body, label: str, updates: dict[Op, str], then: str) -> list[str]:
        """Return the text of the block in which a loop's partial results join the totals."""
        body = self.scope(row)
        body.label(label)
        for op, vector in updates.items():
            self.add_total(body, self.accumulators[op], vector)
        body.effect(f"br label %{then}")
        return body.lines

    def masked_loops(self, row: Body, ranges: str, range_count: str) -> list[str]:
        """Return the text of the loop over the ranges that the main loops left, in vectors under a mask."""
        head, enter, loop, rest, done = (self.label(x) for x in ("range", "open", "lanes", "close", "end"))
        stem = f"%{loop.replace('.', '_')}"
        before = self.label("before")
        body = self.scope(row)
        body.current_block = loop
        point, latch = f"{stem}i", self.label("latch")
        state = self.open_accumulators(body, point)
        updates = Lane(self, body, row, self.width, point, f"{stem}hi", None, None).run()
        lines = [
            f"  br label %{before}",
            f"{before}:",
            f"  {stem}count = load i64, ptr {range_count}",
            f"  br label %{head}",
            f"{head}:",
            f"  {stem}r = phi i64 [ 0, %{before} ], [ {stem}rn, %{rest} ]",
            f"  {stem}plo = getelementptr [2 x i64], ptr {ranges}, i64 {stem}r, i64 0",
            f"  {stem}phi = getelementptr [2 x i64], ptr {ranges}, i64 {stem}r, i64 1",
            f"  {stem}lo = load i64, ptr {stem}plo",
            f"  {stem}hi = load i64, ptr {stem}phi",
            f"  {stem}any = icmp slt i64 {stem}lo, {stem}hi",
            f"  br i1 {stem}any, label %{enter}, label %{rest}",
            f"{enter}:",
            f"  br label %{loop}",
            f"{loop}:",
            f"  {point} = phi i64 [ {stem}lo, %{enter} ], [ {point}n, %{latch} ]",
        ]
        lines += [
            f"  {name} = phi {kind} [ {neutral}, %{enter} ], [ {updates.get(acc.op, name)}, %{latch} ]"
            for name, kind, neutral, acc in state
        ]
        flush = self.label("flush")
        lines += [
            *body.lines,
            f"  br label %{latch}",
            f"{latch}:",
            f"  {point}n = add nuw nsw i64 {point}, {self.width}",
            f"  {point}c = icmp slt i64 {point}n, {stem}hi",
            f"  br i1 {point}c, label %{loop}, label %{flush}",
        ]
        lines += [
            *self.flush_block(row, flush, updates, rest),
            f"{rest}:",
            f"  {stem}rn = add nuw nsw i64 {stem}r, 1",
            f"  {stem}rc = icmp slt i64 {stem}rn, {stem}count",
            f"  br i1 {stem}rc, label %{head}, label %{done}",
            f"{done}:",
        ]
        return lines

    def add_total(self, body: Body, acc: Accumulator, vector: str) -> None:
        """Combine a vector of partial results into the running total."""
        v = self.total_lanes(body, acc)
        kind = v.type(acc.element)
        total = body.fresh(f"load {kind}, ptr {acc.total}", kind)
        if not acc.compensated:
            value = vector if acc.blocked else self.horizontal(body, acc, vector)
            body.effect(f"store {kind} {combine(v, acc.combine, acc.element, total, value)}, ptr {acc.total}")
            return
        # Knuth's two-sum, lane by lane: what the addition rounds away is kept
        # (Higham, Accuracy and Stability of Numerical Algorithms, 4.3)
        new = body.fresh(f"fadd {kind} {total}, {vector}", kind)
        taken = body.fresh(f"fsub {kind} {new}, {total}", kind)
        kept = body.fresh(f"fsub {kind} {new}, {taken}", kind)
        lost = body.fresh(f"fsub {kind} {total}, {kept}", kind)
        rest = body.fresh(f"fsub {kind} {vector}, {taken}", kind)
        lost = body.fresh(f"fadd {kind} {lost}, {rest}", kind)
        error = body.fresh(f"load {kind}, ptr {acc.error}", kind)
        error = body.fresh(f"fadd {kind} {error}, {lost}", kind)
        body.effect(f"store {kind} {new}, ptr {acc.total}")
        body.effect(f"store {kind} {error}, ptr {acc.error}")

    def horizontal(self, body: Body, acc: Accumulator, vector: str) -> str:
        """Reduce a vector to one scalar by halves."""
        return horizontal(body, vector, acc.combine, acc.element, self.width)
