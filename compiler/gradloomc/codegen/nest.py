"""One `loops.nest` as LLVM IR text: outer loops on scalars, the innermost dimension in explicit vectors.

Code is written scope by scope, one scope for each loop depth; what does not vary with a loop is written in the scope around it.
The innermost dimension is cut where a pad begins or ends. A piece of at least one vector gets a main loop in which those tests
are decided; its last vector ends where the piece ends and so may repeat some points, which stores do not mind and reductions
mask. Short pieces, and rows in which a test on an outer dimension fails, go through one masked loop that can handle any position.
Float sums run in blocks whose totals are added with compensation, in a fixed order.

Start reading at `NestWriter.write`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from gradloomc.codegen.body import Body
from gradloomc.codegen.instructions import Vector, emit_op, llvm_scalar, memory_scalar
from gradloomc.dialects import kernel, loops
from gradloomc.dialects import scalar as s
from gradloomc.ir import types as ir_types
from gradloomc.ir.core import Op, Value
from gradloomc.ir.types import ScalarType
from gradloomc.lowering.loops import neutral_element

# Vectors between two flushes of a float sum: 256 keeps the plain part of a sum short, and a flush costs nothing beside it.
BLOCK_VECTORS = 256


class Sizes:
    """The run-time numbers of a function: extents and strides, passed in one array of i64."""

    def __init__(self) -> None:
        self.values: list[int] = []

    def slot(self, value: int) -> int:
        self.values.append(value)
        return len(self.values) - 1


class Buffer:
    """A memref in native code: its pointer's name and its strides in elements (names or literals)."""

    __slots__ = ("element", "pointer", "shape", "strides")

    def __init__(self, pointer: str, element: ScalarType, shape: tuple[int, ...]):
        self.pointer, self.element, self.shape = pointer, element, shape
        self.strides: list[str] = []


class Accumulator(NamedTuple):
    """A reduction whose partial result lives in registers."""

    op: Op
    element: ScalarType
    combine: str
    depth: int  # the loop in whose scope the total starts and ends
    total: str  # alloca of the running total
    error: str  # alloca of its compensation, for float sums


class Piece(NamedTuple):
    """Points [low, high) of the innermost dimension, what the tests on it say there, and which sinks take effect."""

    low: str
    high: str
    tests: dict[Value, bool]
    stores: dict[Op, bool]


class Text:
    """A nest in three parts, so that a loop over tiles can go around the middle one."""

    __slots__ = ("after", "allocas", "before", "loops")

    def __init__(self) -> None:
        self.allocas: list[str] = []
        self.before: list[str | Body] = []  # totals start
        self.loops: list[str | Body] = []
        self.after: list[str | Body] = []  # totals are stored


class NestWriter:
    """Writes one nest into `lines`; pointers, extents and strides are loaded where the nest begins."""

    def __init__(
        self,
        op: Op,
        buffers: dict[Value, Buffer],
        number: int,
        entry: Body,
        sizes: Sizes,
        rows: tuple[str, str] | None = None,
    ):
        """Prepare to write `op`; `rows` limits its outermost dimension to [low, high), the names of a tile's ends."""
        self.rows = rows
        self.op, self.buffers, self.number = op, buffers, number
        self.entry, self.sizes = entry, sizes
        self.static: tuple[int, ...] = op.attributes["extents"]
        self.width: int = op.attributes["width"]
        self.ops = list(op.regions[0].block.ops[:-1])
        self.inner = len(self.static) - 1
        self.depths: dict[Value, int] = {}
        self.lines: list[str | Body] = []
        self.scopes: list[Body] = []
        self.allocas: list[str] = []
        self.labels = 0
        self.names: dict[Value, str] = {}  # scalars written in outer scopes

    # --- the plan of the nest ---

    def write(self) -> "Text":
        """Return the nest's text; each part starts and ends in the middle of a block.

        A Body in the text stands for its lines at the very end, because inner loops still add what does not vary with them.
        """
        text = Text()
        if 0 in self.static:
            return text
        self.extents = [self.load_size(extent) for extent in self.static]
        for value in dict.fromkeys(self.op.operands):
            self.load_strides(self.buffers[value])
        for op in self.ops:
            if op.results:
                self.depths[op.results[0]] = self.depth_of(op)
        self.sinks = [op for op in self.ops if op.kind in (loops.store, loops.reduce)]
        self.counters = [f"%n{self.number}d{dim}" for dim in range(len(self.static))]
        self.accumulators = {op: self.accumulator(op) for op in self.sinks if self.in_registers(op)}
        scope = self.open_scope(None)
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
        text.after = self.lines
        text.allocas = self.allocas
        return text

    def depth_of(self, op: Op) -> int:
        """Return the deepest dimension that a scalar varies with; -1 for none."""
        if op.kind is loops.load:
            return max([dim for dim, coefficient, _ in op.attributes["map"] if coefficient], default=-1)
        if op.kind in (kernel.index, kernel.inside):
            return op.attributes["dim"]
        return max([self.depths.get(operand, -1) for operand in op.operands], default=-1)

    def in_registers(self, op: Op) -> bool:
        """Tell whether a reduction's result is complete inside a prefix of the loops (and so can stay in registers)."""
        if op.kind is not loops.reduce:
            return False
        dims = op.attributes["dims"]
        return sorted(dims) == list(range(len(dims))) and (self.inner not in dims or not self.static)

    def accumulator(self, op: Op) -> Accumulator:
        element = op.operands[0].type
        stem = f"%n{self.number}r{self.sinks.index(op)}"
        scalar = llvm_scalar(element)
        self.allocas.append(f"  {stem} = alloca {scalar}")
        self.allocas.append(f"  {stem}e = alloca {scalar}")
        return Accumulator(op, element, op.attributes["combine"], len(op.attributes["dims"]), stem, stem + "e")

    # --- scopes and scalars ---

    def label(self, stem: str) -> str:
        self.labels += 1
        return f"n{self.number}.{stem}{self.labels}"

    def scope(self, parent: Body | None) -> Body:
        self.labels += 1
        return Body(f"n{self.number}s{self.labels}_", "?", parent or self.entry)

    def open_scope(self, parent: Body | None) -> Body:
        """Start the scope of a loop's body (or of the whole nest) at this place of the text."""
        body = self.scope(parent)
        self.lines.append(body)
        self.scopes.append(body)
        return body

    def load_size(self, value: int) -> str:
        slot = self.sizes.slot(value)
        pointer = self.entry.emit(f"getelementptr i64, ptr %sizes, i64 {slot}")
        return self.entry.emit(f"load i64, ptr {pointer}, align 8", "i64")

    def load_strides(self, buffer: Buffer) -> None:
        if len(buffer.strides) == len(buffer.shape):
            return
        stride, strides = 1, []
        for axis in reversed(range(len(buffer.shape))):
            strides.append("1" if axis == len(buffer.shape) - 1 else self.load_size(stride))
            stride *= buffer.shape[axis]
        buffer.strides = strides[::-1]

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
            address = self.address(body, buffer, op.attributes["map"])
            return self.from_memory(v, body.emit(f"load {memory_scalar(buffer.element)}, ptr {address}"), buffer.element)
        if op.kind is kernel.index:
            return self.counters[op.attributes["dim"]]
        if op.kind is kernel.inside:
            dim = op.attributes["dim"]
            low, high = self.bound(dim, op.attributes["low"]), self.bound(dim, op.attributes["high"])
            return self.inside(body, self.counters[dim], low, high)
        return emit_op(v, op, [self.names[operand] for operand in op.operands])

    def inside(self, body: Body, point: str, low: str, high: str) -> str:
        above = body.emit(f"icmp sge i64 {point}, {low}", "i1")
        below = body.emit(f"icmp slt i64 {point}, {high}", "i1")
        return body.emit(f"and i1 {above}, {below}", "i1")

    def bound(self, dim: int, position: int) -> str:
        """Return a position of a dimension: counted from the end if it is in the second half, so it fits any extent."""
        extent = self.static[dim]
        if position <= extent // 2:
            return str(position)
        if position == extent:
            return self.extents[dim]
        return self.scopes[0].emit(f"sub i64 {self.extents[dim]}, {extent - position}", "i64")

    def from_memory(self, v: Vector, name: str, element: ScalarType) -> str:
        if element is ir_types.i1:
            zero = "0" if v.width == 1 else "zeroinitializer"
            return v.body.emit(f"icmp ne {v.of('i8')} {name}, {zero}", v.of("i1"))
        v.body.types[name] = v.type(element)
        return name

    def to_memory(self, v: Vector, name: str, element: ScalarType) -> str:
        return v.cast("zext", name, "i1", "i8") if element is ir_types.i1 else name

    # --- addresses ---

    def address(self, body: Body, buffer: Buffer, index_map: Any) -> str:
        """Return the address of the element at the mapped point (only dimensions whose counters exist)."""
        offset = self.offset(body, buffer, index_map, None)
        return self.element_pointer(body, buffer, offset)

    def element_pointer(self, body: Body, buffer: Buffer, offset: str) -> str:
        if offset == "0":
            return buffer.pointer
        return body.emit(f"getelementptr {memory_scalar(buffer.element)}, ptr {buffer.pointer}, i64 {offset}", "ptr")

    def offset(self, body: Body, buffer: Buffer, index_map: Any, skip: int | None) -> str:
        """Return the offset in elements of the mapped point; dimension `skip` counts as 0."""
        total = "0"
        for axis, (dim, coefficient, constant) in enumerate(index_map):
            if dim < 0 or dim == skip:
                position = str(constant)
            else:
                position = self.position(body, buffer, axis, dim, coefficient, constant)
            total = _sum(body, total, _product(body, position, buffer.strides[axis]))
        return total

    def position(self, body: Body, buffer: Buffer, axis: int, dim: int, coefficient: int, constant: int) -> str:
        point = self.counters[dim]
        position = _sum(body, _product(body, point, str(coefficient)), str(constant))
        ends = (constant, coefficient * (self.static[dim] - 1) + constant)
        if min(ends) < 0:  # rows that a pad adds are never used, but must not be read out of bounds
            below = body.emit(f"icmp slt i64 {position}, 0", "i1")
            position = body.emit(f"select i1 {below}, i64 0, i64 {position}", "i64")
        if max(ends) >= buffer.shape[axis]:
            last = body.emit(f"sub i64 {self.axis_extent(buffer, axis)}, 1", "i64")
            beyond = body.emit(f"icmp sgt i64 {position}, {last}", "i1")
            position = body.emit(f"select i1 {beyond}, i64 {last}, i64 {position}", "i64")
        return position

    def axis_extent(self, buffer: Buffer, axis: int) -> str:
        key = f"{buffer.pointer}:{axis}"
        if not hasattr(self, "_axis_extents"):
            self._axis_extents: dict[str, str] = {}
        if key not in self._axis_extents:
            self._axis_extents[key] = self.load_size(buffer.shape[axis])
        return self._axis_extents[key]

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
            f"  {counter}n = add nuw nsw i64 {counter}, 1",
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
                scalar = llvm_scalar(acc.element)
                neutral = Vector(body, 1).literal(neutral_element(acc.combine, acc.element), acc.element)
                zero = Vector(body, 1).literal(0, acc.element)
                body.effect(f"store {scalar} {neutral}, ptr {acc.total}")
                body.effect(f"store {scalar} {zero}, ptr {acc.error}")

    def finish_accumulators(self, depth: int) -> None:
        body = self.scope(self.scopes[-1])
        self.lines.append(body)
        for acc in self.accumulators.values():
            if acc.depth != depth:
                continue
            v, scalar = Vector(body, 1), llvm_scalar(acc.element)
            total = body.fresh(f"load {scalar}, ptr {acc.total}", scalar)
            if _compensated(acc):
                error = body.fresh(f"load {scalar}, ptr {acc.error}", scalar)
                # an infinite or nan total has a nan compensation: leave it out
                finite = body.emit(f"fcmp ord {scalar} {error}, {error}", "i1")
                both = body.emit(f"fadd {scalar} {total}, {error}", scalar)
                total = body.emit(f"select i1 {finite}, {scalar} {both}, {scalar} {total}", scalar)
            self.store_scalar(v, acc.op, total)

    def store_scalar(self, v: Vector, op: Op, name: str) -> None:
        buffer = self.buffers[op.operands[1]]
        address = self.target_address(v.body, op)
        stored = self.to_memory(v, name, buffer.element)
        v.body.effect(f"store {memory_scalar(buffer.element)} {stored}, ptr {address}")

    def target_map(self, op: Op) -> list[tuple[int, int, int]]:
        low = op.attributes["low"]
        return [(dim, 1, -low[dim]) for dim in op.attributes["dims"]]

    def target_address(self, body: Body, op: Op) -> str:
        buffer = self.buffers[op.operands[1]]
        return self.element_pointer(body, buffer, self.offset(body, buffer, self.target_map(op), None))

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
            piece = Piece(*self.rows, {}, dict.fromkeys(self.sinks, True))
            self.lines += self.main_loop(body, piece, self.rows[1])
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
        for piece in pieces:
            self.lines += self.main_loop(body, piece, self.either(body, row_ok, piece.high, piece.low))
        if not left and row_ok is None:
            return
        left = left or [("0", "0")]
        ranges, range_count = self.range_table(len(left))
        for k, (low, high) in enumerate(left):
            if k == 0:
                low, high = self.either(body, row_ok, low, "0"), self.either(body, row_ok, high, extent)
            self.set_range(body, ranges, k, low, high)
        body.effect(f"store i64 {self.either(body, row_ok, str(len(left)), '1')}, ptr {range_count}")
        self.lines += self.masked_loops(body, ranges, range_count)

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

    def outer_box(self, body: Body, op: Op) -> list[str]:
        """Return the tests that a sink's box puts on the outer dimensions."""
        tests = []
        for dim in range(self.inner):
            low, high = op.attributes["low"][dim], op.attributes["high"][dim]
            if low != 0 or high != self.static[dim]:
                tests.append(self.inside(body, self.counters[dim], self.bound(dim, low), self.bound(dim, high)))
        return tests

    def pieces(self, dim: int) -> list[Piece]:
        """Return the long pieces between the positions where a test on `dim` changes."""
        extent = self.static[dim]
        tests = [op for op in self.ops if op.kind is kernel.inside and op.attributes["dim"] == dim]
        cuts = {0, extent}
        for op in [*tests, *self.sinks]:
            low, high = op.attributes["low"], op.attributes["high"]
            cuts.update((low, high) if op.kind is kernel.inside else (low[dim], high[dim]))
        ordered = sorted(cuts)
        found = []
        for low, high in zip(ordered, ordered[1:], strict=False):
            if high - low < self.width:
                continue
            found.append(
                Piece(
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

    def main_loop(self, row: Body, piece: Piece, end: str) -> list[str]:
        """Return the text of the loop over [piece.low, end), which is empty or at least one vector long.

        `point` is where a vector starts, `fresh` the first point that no vector has covered; they differ in the last vector.
        """
        compensated = any(_compensated(acc) for acc in self.accumulators.values())
        block, enter, loop, flush, done = (self.label(x) for x in ("block", "enter", "vector", "flush", "done"))
        before, latch = self.label("before"), self.label("latch")
        stem = f"%{loop.replace('.', '_')}"
        body = self.scope(row)
        body.current_block = loop
        point, fresh = f"{stem}i", f"{stem}f"
        state = self.open_accumulators(body, point)
        updates = Lane(self, body, row, self.width, point, None, piece, fresh).run()
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
            f"  {stem}short = icmp slt i64 {stem}b, {stem}last",
            f"  {stem}s = select i1 {stem}short, i64 {stem}b, i64 {stem}last",
        ]
        if compensated:
            lines += [
                f"  {stem}far = add nuw nsw i64 {stem}b, {BLOCK_VECTORS * self.width}",
                f"  {stem}near = icmp slt i64 {stem}far, {end}",
                f"  {stem}l = select i1 {stem}near, i64 {stem}far, i64 {end}",
            ]
        else:
            lines += [f"  {stem}l = add i64 {end}, 0"]
        lines += [
            f"  br label %{loop}",
            f"{loop}:",
            f"  {point} = phi i64 [ {stem}s, %{enter} ], [ {point}n, %{latch} ]",
            f"  {fresh} = phi i64 [ {stem}b, %{enter} ], [ {fresh}n, %{latch} ]",
        ]
        for name, kind, neutral, acc in state:
            lines.append(
                f"  {name} = phi {kind} [ {neutral}, %{enter} ], [ {updates.get(acc.op, name)}, %{latch} ]"
            )
        lines += [
            *body.lines,
            f"  br label %{latch}",
            f"{latch}:",
            f"  {fresh}n = add nuw nsw i64 {point}, {self.width}",
            f"  {point}c = icmp slt i64 {fresh}n, {stem}last",
            f"  {point}n = select i1 {point}c, i64 {fresh}n, i64 {stem}last",
            f"  {fresh}c = icmp slt i64 {fresh}n, {stem}l",
            f"  br i1 {fresh}c, label %{loop}, label %{flush}",
        ]
        tail = self.scope(row)
        tail.label(flush)
        for _name, _kind, _neutral, acc in state:
            if acc.op in updates:
                self.add_total(tail, acc, updates[acc.op])
        tail.effect(f"br label %{block}")
        return [*lines, *tail.lines, f"{done}:"]

    def open_accumulators(self, body: Body, point: str) -> list[Any]:
        """Return (phi name, type, neutral literal, accumulator) for each reduction kept in registers."""
        state = []
        v = Vector(body, self.width)
        self.partial: dict[Op, str] = {}
        for k, acc in enumerate(self.accumulators.values()):
            name = f"{point}a{k}"
            neutral = v.literal(neutral_element(acc.combine, acc.element), acc.element)
            state.append((name, v.type(acc.element), neutral, acc))
            self.partial[acc.op] = name
        return state

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
        for name, kind, neutral, acc in state:
            lines.append(
                f"  {name} = phi {kind} [ {neutral}, %{enter} ], [ {updates.get(acc.op, name)}, %{latch} ]"
            )
        flush = self.label("flush")
        lines += [
            *body.lines,
            f"  br label %{latch}",
            f"{latch}:",
            f"  {point}n = add nuw nsw i64 {point}, {self.width}",
            f"  {point}c = icmp slt i64 {point}n, {stem}hi",
            f"  br i1 {point}c, label %{loop}, label %{flush}",
        ]
        tail = self.scope(row)
        tail.label(flush)
        for _name, _kind, _neutral, acc in state:
            if acc.op in updates:
                self.add_total(tail, acc, updates[acc.op])
        tail.effect(f"br label %{rest}")
        lines += tail.lines
        lines += [
            f"{rest}:",
            f"  {stem}rn = add nuw nsw i64 {stem}r, 1",
            f"  {stem}rc = icmp slt i64 {stem}rn, {stem}count",
            f"  br i1 {stem}rc, label %{head}, label %{done}",
            f"{done}:",
        ]
        return lines

    def add_total(self, body: Body, acc: Accumulator, vector: str) -> None:
        """Combine a vector of partial results into the running total."""
        v, scalar = Vector(body, 1), llvm_scalar(acc.element)
        value = self.horizontal(body, acc, vector)
        total = body.fresh(f"load {scalar}, ptr {acc.total}", scalar)
        if not _compensated(acc):
            body.effect(f"store {scalar} {combine(v, acc.combine, acc.element, total, value)}, ptr {acc.total}")
            return
        # Neumaier's compensated sum (Higham, Accuracy and Stability of Numerical Algorithms, 4.3)
        new = body.fresh(f"fadd {scalar} {total}, {value}", scalar)
        lanes = v.lanes(acc.element)
        larger = body.fresh(f"fcmp oge {scalar} {lanes.abs(total)}, {lanes.abs(value)}", "i1")
        big = body.fresh(f"select i1 {larger}, {scalar} {total}, {scalar} {value}", scalar)
        small = body.fresh(f"select i1 {larger}, {scalar} {value}, {scalar} {total}", scalar)
        lost = body.fresh(f"fsub {scalar} {big}, {new}", scalar)
        lost = body.fresh(f"fadd {scalar} {lost}, {small}", scalar)
        error = body.fresh(f"load {scalar}, ptr {acc.error}", scalar)
        error = body.fresh(f"fadd {scalar} {error}, {lost}", scalar)
        body.effect(f"store {scalar} {new}, ptr {acc.total}")
        body.effect(f"store {scalar} {error}, ptr {acc.error}")

    def horizontal(self, body: Body, acc: Accumulator, vector: str) -> str:
        """Reduce a vector to one scalar by halves."""
        return horizontal(body, vector, acc.combine, acc.element, self.width)


def horizontal(body: Body, vector: str, how: str, element: ScalarType, width: int) -> str:
    """Combine the elements of a vector pairwise, halves first, in a fixed order."""
    scalar = llvm_scalar(element)
    while width > 1:
        half, kind = width // 2, f"<{width} x {scalar}>"
        v = Vector(body, half)
        parts = []
        for start in (0, half):
            mask = ", ".join(f"i32 {start + k}" for k in range(half))
            if half == 1:
                parts.append(body.fresh(f"extractelement {kind} {vector}, i64 {start}", scalar))
            else:
                parts.append(
                    body.fresh(f"shufflevector {kind} {vector}, {kind} poison, <{half} x i32> <{mask}>", v.type(element))
                )
        vector = combine(v, how, element, *parts)
        width = half
    return vector


def combine(v: Vector, how: str, element: ScalarType, x: str, y: str) -> str:
    """Write one step of a reduction."""
    kind = v.type(element)
    if how in ("or", "and"):
        return v.binary(how, element, x, y)
    if element.kind == "b":
        return v.binary("or" if how == "maximum" else "and", element, x, y)
    if how in ("add", "mul"):
        opcode = {"add": "fadd", "mul": "fmul"}[how] if element.kind == "f" else how
        return v.body.fresh(f"{opcode} {kind} {x}, {y}", kind)
    if element.kind == "f":
        predicate = "oge" if how == "maximum" else "ole"
        better = v.binary("or", ir_types.i1, v.compare(predicate, element, x, y), v.compare("uno", element, x, x))
        return v.select(better, element, x, y)
    prefix = "u" if element.kind == "u" else "s"
    return v.intrinsic(prefix + how[:3], element, x, y)


def _compensated(acc: Accumulator) -> bool:
    return acc.combine == "add" and acc.element.kind == "f"


def _product(body: Body, x: str, y: str) -> str:
    if "0" in (x, y):
        return "0"
    if x == "1" or y == "1":
        return y if x == "1" else x
    if _literal(x) and _literal(y):
        return str(int(x) * int(y))
    return body.emit(f"mul i64 {x}, {y}", "i64")


def _sum(body: Body, x: str, y: str) -> str:
    if x == "0" or y == "0":
        return y if x == "0" else x
    if _literal(x) and _literal(y):
        return str(int(x) + int(y))
    return body.emit(f"add i64 {x}, {y}", "i64")


def _literal(x: str) -> bool:
    return x[0] != "%"


class Lane:
    """Writes the body of one innermost loop: in full (a main loop's piece) or under a mask (`limit` is the range's end)."""

    def __init__(
        self,
        nest: NestWriter,
        body: Body,
        row: Body,
        width: int,
        point: str,
        limit: str | None,
        piece: Piece | None,
        fresh: str | None,
    ):
        self.nest, self.body, self.row, self.width = nest, body, row, width
        self.point, self.limit, self.piece, self.fresh = point, limit, piece, fresh
        self.v = Vector(body, width)
        self.names: dict[Value, str] = {}
        self.decided: dict[Value, bool] = dict(piece.tests) if piece else {}
        if piece:  # main loops only run in rows where the outer tests hold
            for op in nest.ops:
                if op.kind is kernel.inside and op.attributes["dim"] != nest.inner:
                    self.decided[op.results[0]] = True

    def run(self) -> dict[Op, str]:
        """Write everything; return the new value of each reduction kept in registers."""
        nest = self.nest
        active = [op for op in nest.sinks if self.piece is None or self.piece.stores[op]]
        self.decide()
        needed = self.needed(active)
        if self.limit is not None:
            self.start_mask()
        for op in nest.ops:
            if op.results and op.results[0] in needed:
                self.write(op)
        updates = {}
        for op in active:
            value = self.value(op.operands[0])
            if op.kind is loops.store:
                self.store(op, value)
            elif op in nest.accumulators:
                updates[op] = self.accumulate(op, value)
            else:
                self.combine_in_memory(op, value)
        return updates

    def decide(self) -> None:
        """Fold the logic of tests whose answers are known in this piece."""
        for op in self.nest.ops:
            if op.kind in (s.andi, s.ori) and op.results[0].type is ir_types.i1:
                known = [self.decided.get(operand) for operand in op.operands]
                absorbing = op.kind is s.ori
                if absorbing in known:
                    self.decided[op.results[0]] = absorbing
                elif None not in known:
                    self.decided[op.results[0]] = not absorbing

    def chosen(self, op: Op) -> Value | None:
        """Return the operand that a select is known to take, if it is known."""
        if op.kind is not s.select:
            return None
        answer = self.decided.get(op.operands[0])
        return None if answer is None else op.operands[1 if answer else 2]

    def needed(self, sinks: Sequence[Op]) -> set[Value]:
        """Return the values of this depth that the sinks depend on."""
        nest = self.nest
        wanted = {op.operands[0] for op in sinks}
        for op in reversed(nest.ops):
            if not op.results or op.results[0] not in wanted:
                continue
            if op.results[0] in self.decided:
                continue
            taken = self.chosen(op)
            wanted.update(op.operands if taken is None else (taken,))
        return {value for value in wanted if nest.depths.get(value) == nest.inner}

    def value(self, value: Value) -> str:
        """Return the vector for a scalar of the region: computed here, or a splat of an outer scalar."""
        name = self.names.get(value)
        if name is not None:
            return name
        if value in self.decided:
            return self.v.literal(self.decided[value], ir_types.i1)
        op = value.op
        assert op is not None
        if op.kind is s.constant:
            return self.v.literal(op.attributes["value"], op.attributes["type"])
        return Vector(self.row, self.width).splat(self.nest.names[value], value.type)

    def write(self, op: Op) -> None:
        result = op.results[0]
        if result in self.decided:
            return
        taken = self.chosen(op)
        if taken is not None:
            self.names[result] = self.value(taken)
        elif op.kind is loops.load:
            self.names[result] = self.load(op)
        elif op.kind is kernel.index:
            self.names[result] = self.lane_points()
        elif op.kind is kernel.inside:
            dim = op.attributes["dim"]
            self.names[result] = self.between(
                self.nest.bound(dim, op.attributes["low"]), self.nest.bound(dim, op.attributes["high"])
            )
        else:
            self.names[result] = emit_op(self.v, op, [self.value(operand) for operand in op.operands])

    # --- points and masks ---

    def lane_points(self) -> str:
        """Return the vector of coordinates: point, point + 1, ..."""
        kind = f"<{self.width} x i64>"
        iota = ", ".join(f"i64 {k}" for k in range(self.width))
        start = self.v.splat(self.point, ir_types.i64)
        return self.body.emit(f"add {kind} {start}, <{iota}>", kind)

    def compare_points(self, predicate: str, bound: str) -> str:
        kind = f"<{self.width} x i64>"
        if _literal(bound):
            other = f"splat (i64 {bound})"
        else:
            home = self.body if bound in (self.limit, self.fresh) else self.row
            other = Vector(home, self.width).splat(bound, ir_types.i64)
        return self.body.emit(f"icmp {predicate} {kind} {self.lane_points()}, {other}", self.v.of("i1"))

    def between(self, low: str, high: str) -> str:
        mask = None
        if low != "0":
            mask = self.compare_points("sge", low)
        if high != self.nest.extents[self.nest.inner]:
            below = self.compare_points("slt", high)
            mask = below if mask is None else self.v.binary("and", ir_types.i1, mask, below)
        return mask if mask is not None else self.v.literal(True, ir_types.i1)

    def start_mask(self) -> None:
        assert self.limit is not None
        self.mask = self.compare_points("slt", self.limit)

    def both(self, x: str, y: str) -> str:
        return self.v.binary("and", ir_types.i1, x, y)

    # --- memory ---

    def inner_axis(self, index_map: Any) -> tuple[int, int, int]:
        """Return (axis, coefficient, offset) of the innermost dimension in a map."""
        found = [
            (axis, coefficient, offset)
            for axis, (dim, coefficient, offset) in enumerate(index_map)
            if dim == self.nest.inner
        ]
        return found[0]

    def load(self, op: Op) -> str:
        buffer, index_map = self.nest.buffers[op.operands[0]], op.attributes["map"]
        inner = [k for k, entry in enumerate(index_map) if entry[0] == self.nest.inner]
        base = self.nest.element_pointer(
            self.row, buffer, self.nest.offset(self.row, buffer, index_map, self.nest.inner)
        )
        axis, coefficient, offset = self.inner_axis(index_map)
        memory = memory_scalar(buffer.element)
        mask = None
        if self.limit is not None:
            mask = self.load_mask(buffer, axis, coefficient, offset)
        if len(inner) == 1 and coefficient == 1 and buffer.strides[axis] == "1":
            pointer = self.body.emit(f"getelementptr {memory}, ptr {base}, i64 {self.point}", "ptr")
            name = self.load_vector(memory, pointer, mask, buffer)
        else:
            name = self.gather(buffer, index_map, base, mask)
        return self.nest.from_memory(self.v, name, buffer.element)

    def load_mask(self, buffer: Buffer, axis: int, coefficient: int, offset: int) -> str:
        """Return the mask of lanes whose element exists."""
        extent = self.nest.static[self.nest.inner]
        ends = (offset, coefficient * (extent - 1) + offset)
        mask = self.mask
        if min(ends) >= 0 and max(ends) < buffer.shape[axis]:
            return mask
        from gradloomc.lowering.fuse import inside_range

        low, high = inside_range(buffer.shape[axis], coefficient, offset)
        low, high = max(low, 0), min(high, extent)
        return self.both(
            mask, self.between(self.nest.bound(self.nest.inner, low), self.nest.bound(self.nest.inner, high))
        )

    def load_vector(self, memory: str, pointer: str, mask: str | None, buffer: Buffer) -> str:
        kind, align = self.v.of(memory), max(1, buffer.element.itemsize)
        if mask is None:
            return self.body.emit(f"load {kind}, ptr {pointer}, align {align}", kind)
        suffix = f"v{self.width}{_suffix(memory)}"
        mask_type = self.v.of("i1")
        self.body.declare(f"declare {kind} @llvm.masked.load.{suffix}.p0(ptr, i32, {mask_type}, {kind})")
        return self.body.emit(
            f"call {kind} @llvm.masked.load.{suffix}.p0(ptr {pointer}, i32 {align}, {mask_type} {mask}, "
            f"{kind} zeroinitializer)",
            kind,
        )

    def lane_pointers(self, buffer: Buffer, index_map: Any, base: str) -> str:
        """Return one address per lane for an access that is not a run of neighbours."""
        kind = f"<{self.width} x i64>"
        stride = "0"
        for axis, (dim, coefficient, _) in enumerate(index_map):
            if dim == self.nest.inner:
                stride = _sum(self.row, stride, _product(self.row, str(coefficient), buffer.strides[axis]))
        if _literal(stride):
            steps = f"splat (i64 {stride})"
        else:
            steps = Vector(self.row, self.width).splat(stride, ir_types.i64)
        offsets = self.body.emit(f"mul {kind} {self.lane_points()}, {steps}", kind)
        return self.body.emit(
            f"getelementptr {memory_scalar(buffer.element)}, ptr {base}, {kind} {offsets}", f"<{self.width} x ptr>"
        )

    def gather(self, buffer: Buffer, index_map: Any, base: str, mask: str | None) -> str:
        memory = memory_scalar(buffer.element)
        kind, mask_type = self.v.of(memory), self.v.of("i1")
        pointers = self.lane_pointers(buffer, index_map, base)
        suffix = f"v{self.width}{_suffix(memory)}.v{self.width}p0"
        lanes = f"<{self.width} x ptr>"
        self.body.declare(f"declare {kind} @llvm.masked.gather.{suffix}({lanes}, i32, {mask_type}, {kind})")
        mask = mask or self.v.literal(True, ir_types.i1)
        align = max(1, buffer.element.itemsize)
        return self.body.emit(
            f"call {kind} @llvm.masked.gather.{suffix}({lanes} {pointers}, i32 {align}, {mask_type} {mask}, "
            f"{kind} zeroinitializer)",
            kind,
        )

    def sink_mask(self, op: Op) -> str | None:
        """Return the mask under which a sink takes effect; None when it always does."""
        if self.limit is None:
            return None
        nest, dim = self.nest, self.nest.inner
        mask = self.mask
        low, high = op.attributes["low"][dim], op.attributes["high"][dim]
        if low != 0 or high != nest.static[dim]:
            mask = self.both(mask, self.between(nest.bound(dim, low), nest.bound(dim, high)))
        for test in nest.outer_box(self.row, op):
            mask = self.both(mask, Vector(self.row, self.width).splat(test, ir_types.i1))
        return mask

    def target(self, op: Op) -> tuple[Buffer, Any, str]:
        nest = self.nest
        buffer, index_map = nest.buffers[op.operands[1]], nest.target_map(op)
        base = nest.element_pointer(self.row, buffer, nest.offset(self.row, buffer, index_map, nest.inner))
        return buffer, index_map, base

    def store(self, op: Op, value: str) -> None:
        buffer, index_map, base = self.target(op)
        name = self.nest.to_memory(self.v, value, buffer.element)
        self.write_vector(buffer, index_map, base, name, self.sink_mask(op))

    def write_vector(self, buffer: Buffer, index_map: Any, base: str, name: str, mask: str | None) -> None:
        memory = memory_scalar(buffer.element)
        kind, mask_type = self.v.of(memory), self.v.of("i1")
        align = max(1, buffer.element.itemsize)
        axis, _, _ = self.inner_axis(index_map)
        if buffer.strides[axis] == "1":
            pointer = self.body.emit(f"getelementptr {memory}, ptr {base}, i64 {self.point}", "ptr")
            if mask is None:
                self.body.effect(f"store {kind} {name}, ptr {pointer}, align {align}")
                return
            suffix = f"v{self.width}{_suffix(memory)}"
            self.body.declare(f"declare void @llvm.masked.store.{suffix}.p0({kind}, ptr, i32, {mask_type})")
            self.body.effect(
                f"call void @llvm.masked.store.{suffix}.p0({kind} {name}, ptr {pointer}, i32 {align}, {mask_type} {mask})"
            )
            return
        pointers, lanes = self.lane_pointers(buffer, index_map, base), f"<{self.width} x ptr>"
        suffix = f"v{self.width}{_suffix(memory)}.v{self.width}p0"
        self.body.declare(f"declare void @llvm.masked.scatter.{suffix}({kind}, {lanes}, i32, {mask_type})")
        mask = mask or self.v.literal(True, ir_types.i1)
        self.body.effect(
            f"call void @llvm.masked.scatter.{suffix}({kind} {name}, {lanes} {pointers}, i32 {align}, {mask_type} {mask})"
        )

    # --- reductions ---

    def neutral(self, op: Op) -> str:
        element, how = op.operands[0].type, op.attributes["combine"]
        if how == "add" and element.kind == "f":
            return self.v.literal(-0.0, element)  # x + -0.0 is x, for -0.0 too
        return self.v.literal(neutral_element(how, element), element)

    def masked_value(self, op: Op, value: str) -> str:
        """Return the value, neutral in lanes that do not count (outside the mask, or covered by the vector before)."""
        mask = self.sink_mask(op)
        if mask is None:
            assert self.fresh is not None
            mask = self.compare_points("sge", self.fresh)
        return self.v.select(mask, op.operands[0].type, value, self.neutral(op))

    def accumulate(self, op: Op, value: str) -> str:
        acc = self.nest.accumulators[op]
        return combine(self.v, acc.combine, acc.element, self.nest.partial[op], self.masked_value(op, value))

    def combine_in_memory(self, op: Op, value: str) -> None:
        """Combine into a result that keeps the innermost dimension, or that outer loops come back to."""
        how = op.attributes["combine"]
        buffer, index_map, base = self.target(op)
        element, memory = buffer.element, memory_scalar(buffer.element)
        if self.nest.inner in op.attributes["dims"]:
            mask = self.sink_mask(op)
            axis, _, _ = self.inner_axis(index_map)
            if buffer.strides[axis] == "1":
                pointer = self.body.emit(f"getelementptr {memory}, ptr {base}, i64 {self.point}", "ptr")
                old = self.fresh_vector(memory, pointer, mask, buffer)
            else:
                old = self.gather(buffer, index_map, base, mask)
            old = self.nest.from_memory(self.v, old, element)
            new = combine(self.v, how, element, old, self.masked_value(op, value))
            self.write_vector(buffer, index_map, base, self.nest.to_memory(self.v, new, element), mask)
            return
        total = horizontal(self.body, self.masked_value(op, value), how, element, self.width)
        v = Vector(self.body, 1)
        old = self.nest.from_memory(v, self.body.fresh(f"load {memory}, ptr {base}"), element)
        new = combine(v, how, element, old, total)
        self.body.effect(f"store {memory} {self.nest.to_memory(v, new, element)}, ptr {base}")

    def fresh_vector(self, memory: str, pointer: str, mask: str | None, buffer: Buffer) -> str:
        """Load memory that this loop also writes."""
        kind, align = self.v.of(memory), max(1, buffer.element.itemsize)
        if mask is None:
            return self.body.fresh(f"load {kind}, ptr {pointer}, align {align}", kind)
        suffix, mask_type = f"v{self.width}{_suffix(memory)}", self.v.of("i1")
        self.body.declare(f"declare {kind} @llvm.masked.load.{suffix}.p0(ptr, i32, {mask_type}, {kind})")
        return self.body.fresh(
            f"call {kind} @llvm.masked.load.{suffix}.p0(ptr {pointer}, i32 {align}, {mask_type} {mask}, "
            f"{kind} zeroinitializer)",
            kind,
        )


def _suffix(memory: str) -> str:
    return {"double": "f64", "float": "f32", "half": "f16"}.get(memory, memory)
