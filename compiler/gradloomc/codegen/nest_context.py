"""What all code of one nest shares: buffers with strides, run-time sizes, counters, scopes, addresses of elements."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from gradloomc.codegen.body import Body
from gradloomc.codegen.chunk import Chunk
from gradloomc.codegen.instructions import Vector, convert, memory_scalar
from gradloomc.codegen.reduction import combine
from gradloomc.dialects import loops
from gradloomc.ir import types as ir_types
from gradloomc.ir.core import Op, Value
from gradloomc.ir.extents import is_symbolic
from gradloomc.ir.types import ScalarType
from gradloomc.lowering.index_maps import index_dim

# Offsets beyond this are likely to depend on a length, as that of the last element in a reversed array.
LARGEST_LITERAL = 16


class Sizes:
    """The run-time numbers of a function: extents and strides, passed in one array of i64."""

    def __init__(self) -> None:
        self.values: list[int] = []

    def slot(self, value: int) -> int:
        self.values.append(value)
        return len(self.values) - 1


class Buffer:
    """A memref in native code: its pointer's name and its strides in elements (names or literals).

    Where there is a `ring`, a power of two, row i has the place i modulo ring.
    """

    __slots__ = ("element", "pointer", "ring", "shape", "strides")

    def __init__(self, pointer: str, element: ScalarType, shape: tuple[int, ...], ring: int = 0):
        self.pointer, self.element, self.shape, self.ring = pointer, element, shape, ring
        self.strides: list[str] = []


class Accumulator(NamedTuple):
    """A reduction whose partial result lives in registers."""

    op: Op
    element: ScalarType
    combine: str
    depth: int  # the loop in whose scope the total starts and ends
    total: str  # alloca of the running total
    error: str  # alloca of its compensation
    blocked: bool  # a float sum of more terms than may be added plainly: blocks join a total for each lane
    compensated: bool  # and of more blocks than may be added plainly


class Piece(NamedTuple):
    """Points [low, high) of the innermost dimension, what the tests on it say there, and which sinks take effect."""

    points: int
    low: str
    high: str
    tests: dict[Value, bool]
    stores: dict[Op, bool]


class NestContext:
    """The state of a nest that is being written."""

    def __init__(
        self,
        op: Op,
        buffers: dict[Value, Buffer],
        number: int,
        entry: Body,
        sizes: Sizes,
        rows: tuple[str, str] | None = None,
        chunk: Chunk | None = None,
    ):
        """Prepare to write `op`, or a part of it.

        Args:
            rows: limit of its outermost dimension to [low, high), by name.
            chunk: where totals of the whole nest go, and whether the innermost dimension is limited too.
        """
        self.rows, self.chunk = rows, chunk
        self.op, self.buffers, self.number = op, buffers, number
        self.entry, self.sizes = entry, sizes
        self.static: tuple[int, ...] = op.attributes["extents"]
        self.width: int = op.attributes["width"]
        self.in_place: bool = op.attributes.get("in_place", False)  # no point may be stored twice
        self.halved: bool = op.attributes.get("halved", False)
        self.mirrored = False  # the code at hand visits points for their mirror images too
        self.ops = list(op.regions[0].block.ops[:-1])
        self.inner = len(self.static) - 1
        self.sinks = [op for op in self.ops if op.kind in loops.SINKS]
        self.counters = [f"%n{number}d{dim}" for dim in range(len(self.static))]
        self.extents: list[str] = []  # loaded where the nest begins
        self.accumulators: dict[Op, Accumulator] = {}
        self.partial: dict[Op, str] = {}  # the vector of partial results in the loop that is being written
        self.depths: dict[Value, int] = {}
        self.lines: list[str | Body] = []
        self.scopes: list[Body] = []
        self.allocas: list[str] = []
        self.labels = 0
        self.axis_extents: dict[str, str] = {}
        self.words: dict[Any, str] = {}  # offsets that are read from the table of sizes
        self.names: dict[Value, str] = {}  # scalars written in outer scopes

    def label(self, stem: str) -> str:
        self.labels += 1
        return f"n{self.number}.{stem}{self.labels}"

    def scope(self, parent: Body | None) -> Body:
        self.labels += 1
        return Body(f"n{self.number}s{self.labels}_", "?", parent or self.entry)

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

    def inside(self, body: Body, point: str, low: str, high: str) -> str:
        above = body.emit(f"icmp sge i64 {point}, {low}", "i1")
        below = body.emit(f"icmp slt i64 {point}, {high}", "i1")
        return body.emit(f"and i1 {above}, {below}", "i1")

    def bound(self, dim: int, position: int) -> str:
        """Return a position of a dimension: counted from the end if it is in the second half, so it fits any extent."""
        extent = self.static[dim]
        if is_symbolic(position):
            rest = extent - position
            if is_symbolic(rest):
                return self.integer(position)
        elif is_symbolic(extent) or position <= extent // 2:
            return str(position)
        else:
            rest = extent - position
        if rest == 0:
            return self.extents[dim]
        return self.scopes[0].emit(f"sub i64 {self.extents[dim]}, {rest}", "i64")

    def integer(self, value: int) -> str:
        """Return a number of a map: as a literal, or, where it may depend on a length, from the table of sizes."""
        if not is_symbolic(value) and abs(value) <= LARGEST_LITERAL:
            return str(value)
        found = self.words.get(value)
        if found is None:
            found = self.words[value] = self.load_size(value)
        return found

    def from_memory(self, v: Vector, name: str, element: ScalarType) -> str:
        if element is ir_types.i1:
            zero = "0" if v.width == 1 else "zeroinitializer"
            return v.body.emit(f"icmp ne {v.of('i8')} {name}, {zero}", v.of("i1"))
        v.body.types[name] = v.type(element)
        return name

    def to_memory(self, v: Vector, name: str, element: ScalarType, computed: ScalarType) -> str:
        """Turn a value into what a buffer holds: bytes for bools; half floats are reduced in single precision."""
        name = convert(v, name, computed, element)
        return v.cast("zext", name, "i1", "i8") if element is ir_types.i1 else name

    def address(self, body: Body, buffer: Buffer, index_map: Any, integers: Sequence[Value] = ()) -> str:
        """Return the address of the element at the mapped point (only dimensions whose counters exist)."""
        offset = self.offset(body, buffer, index_map, None, integers)
        return self.element_pointer(body, buffer, offset)

    def element_pointer(self, body: Body, buffer: Buffer, offset: str) -> str:
        if offset == "0":
            return buffer.pointer
        return body.emit(f"getelementptr {memory_scalar(buffer.element)}, ptr {buffer.pointer}, i64 {offset}", "ptr")

    def offset(
        self, body: Body, buffer: Buffer, index_map: Any, skip: int | None, integers: Sequence[Value] = ()
    ) -> str:
        """Return the offset in elements of the mapped point; dimension `skip` counts as 0.

        Args:
            integers: what the dimensions -2, -3, ... of the map stand for; those that vary with the innermost
                dimension count as 0 where it is skipped.
        """
        total = "0"
        for axis, (dim, coefficient, constant) in enumerate(index_map):
            if dim < -1 and not (skip is not None and self.varies(integers[-2 - dim])):
                number = product(body, self.names[integers[-2 - dim]], self.integer(coefficient))
                position = plus(body, number, self.integer(constant))
            elif dim < 0 or dim == skip:
                position = self.integer(constant)
            else:
                position = self.position(body, buffer, axis, dim, coefficient, constant)
            total = plus(body, total, product(body, position, buffer.strides[axis]))
        return total

    def varies(self, value: Value) -> bool:
        """Tell whether a scalar varies with the innermost dimension."""
        return bool(self.static) and self.depths[value] == self.inner

    def position(self, body: Body, buffer: Buffer, axis: int, dim: int, coefficient: int, constant: int) -> str:
        point = self.counters[dim]
        position = plus(body, product(body, point, self.integer(coefficient)), self.integer(constant))
        ends = (constant, coefficient * (self.static[dim] - 1) + constant)
        if min(ends) < 0:  # rows that a pad adds are never used, but must not be read out of bounds
            below = body.emit(f"icmp slt i64 {position}, 0", "i1")
            position = body.emit(f"select i1 {below}, i64 0, i64 {position}", "i64")
        if max(ends) >= buffer.shape[axis]:
            last = body.emit(f"sub i64 {self.axis_extent(buffer, axis)}, 1", "i64")
            beyond = body.emit(f"icmp sgt i64 {position}, {last}", "i1")
            position = body.emit(f"select i1 {beyond}, i64 {last}, i64 {position}", "i64")
        if axis == 0 and buffer.ring:
            position = body.emit(f"and i64 {position}, {buffer.ring - 1}", "i64")
        return position

    def axis_extent(self, buffer: Buffer, axis: int) -> str:
        key = f"{buffer.pointer}:{axis}"
        if key not in self.axis_extents:
            self.axis_extents[key] = self.load_size(buffer.shape[axis])
        return self.axis_extents[key]

    def target_map(self, op: Op) -> list[tuple[int, int, int]]:
        low = op.attributes["low"]
        if op.kind is loops.scatter:
            return [(dim, 1, -low[dim]) if dim >= 0 else (index_dim(~dim), 1, 0) for dim in op.attributes["dims"]]
        return [(dim, 1, -low[dim]) if dim >= 0 else (-1, 0, ~dim) for dim in op.attributes["dims"]]

    def target_address(self, body: Body, op: Op) -> str:
        buffer = self.buffers[op.operands[1]]
        return self.element_pointer(body, buffer, self.offset(body, buffer, self.target_map(op), None, op.operands[2:]))

    def combine_scalar(self, v: Vector, op: Op, name: str, address: str) -> None:
        """Combine a scalar into the element at an address."""
        buffer, element, how = self.buffers[op.operands[1]], op.operands[0].type, op.attributes["combine"]
        memory = memory_scalar(buffer.element)
        old = self.from_memory(v, v.body.fresh(f"load {memory}, ptr {address}"), buffer.element)
        new = combine(v, how, element, convert(v, old, buffer.element, element), name)
        v.body.effect(f"store {memory} {self.to_memory(v, new, buffer.element, element)}, ptr {address}")

    def outer_box(self, body: Body, op: Op, depth: int | None = None) -> list[str]:
        """Return the tests that a sink's box puts on the outer dimensions, or on the first `depth` of them."""
        tests = []
        for dim in range(self.inner if depth is None else depth):
            low, high = op.attributes["low"][dim], op.attributes["high"][dim]
            if low > 0 or high < self.static[dim]:
                tests.append(self.inside(body, self.counters[dim], self.bound(dim, low), self.bound(dim, high)))
        return tests


def moving_dims(op: Op) -> list[int]:
    """Return the dimensions along which a sink's target runs."""
    return [dim for dim in op.attributes["dims"] if dim >= 0]


def product(body: Body, x: str, y: str) -> str:
    if "0" in (x, y):
        return "0"
    if x == "1" or y == "1":
        return y if x == "1" else x
    if is_literal(x) and is_literal(y):
        return str(int(x) * int(y))
    return body.emit(f"mul i64 {x}, {y}", "i64")


def plus(body: Body, x: str, y: str) -> str:
    if x == "0" or y == "0":
        return y if x == "0" else x
    if is_literal(x) and is_literal(y):
        return str(int(x) + int(y))
    return body.emit(f"add i64 {x}, {y}", "i64")


def is_literal(x: str) -> bool:
    return x[0] != "%"
