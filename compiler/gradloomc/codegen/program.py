"""A whole loops-level function as one LLVM module and a list of steps.

Between library calls (externs) the nests form segments; each segment is one native function `void (ptr buffers, ptr
sizes)`, where `buffers` is an array of pointers, one for each slot, and `sizes` the run-time extents and strides. The
text holds no addresses and no extents, so the same program on other lengths has the same text and the same native code.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from gradloomc.codegen import gemm
from gradloomc.codegen.body import Body
from gradloomc.codegen.instructions import memory_scalar
from gradloomc.codegen.nest import NestWriter, Text
from gradloomc.codegen.nest_context import Buffer, Sizes
from gradloomc.codegen.x86 import features_of
from gradloomc.dialects import loops
from gradloomc.dialects.func import body_of
from gradloomc.ir import types as ir_types
from gradloomc.ir.core import Op, Value
from gradloomc.ir.types import MemRefType, ScalarType


class Slot(NamedTuple):
    """A piece of memory of a program: an argument, a constant, or something to allocate."""

    shape: tuple[int, ...]
    element: ScalarType


class NativeStep(NamedTuple):
    """Run the segment function `symbol`."""

    symbol: str


class ExternStep(NamedTuple):
    """Run the nd op `callee` on slots; operands and results are (slot, shape) pairs."""

    callee: str
    attributes: dict[str, Any]
    operands: tuple[tuple[int, tuple[int, ...]], ...]
    results: tuple[tuple[int, tuple[int, ...]], ...]


class Program(NamedTuple):
    """What a run-time needs: the text to compile, memory slots, and steps in order.

    Slots come in the order arguments, constants, results, temporaries; `returned` says which slot, in which shape, each
    value of the function is.
    """

    text: str
    sizes: list[int]
    slots: list[Slot]
    arguments: list[int]
    constants: list[tuple[int, Any]]
    results: list[int]
    temporaries: list[int]
    returned: list[tuple[int, tuple[int, ...]]]
    steps: list[NativeStep | ExternStep]
    bytes_moved: int = 0
    bytes_ideal: int = 0
    nests: int = 0
    externs: int = 0
    products: int = 0


class ProgramWriter:
    """Builds the Program of one function."""

    def __init__(self, function: Op, attributes: str, convention: gemm.Convention):
        self.body = body_of(function)
        self.attributes, self.convention = attributes, convention
        self.sizes = Sizes()
        self.slots: list[Slot] = []
        self.slot_of: dict[Value, int] = {}
        self.scratch: dict[Value, Op] = {}  # buffers of which only a tile exists, and the ops that make them
        self.steps: list[NativeStep | ExternStep] = []
        self.functions: list[str] = []
        self.declarations: dict[str, None] = {}
        self.helpers: dict[str, str] = {}
        self.segment: Segment | None = None
        self.bytes_moved = self.nests = self.externs = self.products = 0

    def write(self) -> Program:
        """Return the program."""
        arguments = [self.new_slot(argument) for argument in self.body.arguments]
        constants = [
            (self.new_slot(op.results[0]), op.attributes["value"].to_array())
            for op in self.body.ops
            if op.kind is loops.constant
        ]
        results = [self.new_slot(value) for value in self.result_buffers()]
        temporaries: list[int] = []
        for op in self.body.ops[:-1]:
            if op.kind is loops.alloc:
                if op.results[0] not in self.slot_of:
                    temporaries.append(self.new_slot(op.results[0]))
            elif op.kind is loops.scratch:
                self.scratch[op.results[0]] = op
            elif op.kind is loops.view:
                table = self.scratch if op.operands[0] in self.scratch else self.slot_of
                table[op.results[0]] = table[op.operands[0]]  # type: ignore[index]
            elif op.kind is loops.constant:
                continue
            elif op.kind is loops.extern:
                temporaries += self.extern(op)
            elif op.kind is loops.fill:
                self.open_segment().fill(op)
            elif op.kind is loops.gemm:
                self.products += 1
                self.count_bytes([op])
                self.open_segment().gemm(op)
            elif op.kind is loops.tiles:
                nests = op.regions[0].block.ops[:-1]
                self.nests += len(nests)
                self.count_bytes(nests)
                self.open_segment().tiles(op)
            else:
                self.nests += 1
                self.count_bytes([op])
                self.open_segment().nest(op)
        self.close_segment()
        returned = [(self.slot_of[v], v.type.shape) for v in self.body.terminator.operands]
        attributes = f"attributes #0 = {{ {self.attributes} }}"
        parts = [*self.declarations, *self.helpers.values(), *self.functions, attributes]
        program = Program(
            "\n".join(parts) + "\n",
            self.sizes.values,
            self.slots,
            arguments,
            constants,
            results,
            temporaries,
            returned,
            self.steps,
            bytes_moved=self.bytes_moved,
            bytes_ideal=self.ideal_bytes(),
            nests=self.nests,
            externs=self.externs,
            products=self.products,
        )
        return program

    def result_buffers(self) -> list[Value]:
        """Return the buffers that the function hands out, each once."""
        found: dict[Value, None] = {}
        for value in self.body.terminator.operands:
            while value.op is not None and value.op.kind is loops.view:
                value = value.op.operands[0]
            if value.op is not None and value.op.kind is not loops.constant:
                found[value] = None
        return list(found)

    def new_slot(self, value: Value) -> int:
        type: MemRefType = value.type
        self.slots.append(Slot(type.shape, type.element))  # type: ignore[arg-type]
        self.slot_of[value] = len(self.slots) - 1
        return self.slot_of[value]

    def extern(self, op: Op) -> list[int]:
        self.close_segment()
        self.externs += 1
        operands = tuple((self.slot_of[v], v.type.shape) for v in op.operands)
        fresh = [v for v in op.results if v not in self.slot_of]
        made = [self.new_slot(v) for v in fresh]
        slots = [self.slot_of[v] for v in op.results]
        results = tuple((slot, v.type.shape) for slot, v in zip(slots, op.results, strict=True))
        self.steps.append(
            ExternStep(op.attributes["callee"], dict(op.attributes["attributes"]), operands, results)
        )
        self.bytes_moved += sum(_bytes(v.type) for v in (*op.operands, *op.results))
        return made

    def count_bytes(self, nests: Sequence[Op]) -> None:
        """Add what nests that run together move: every buffer once, because what comes again is in the cache."""
        seen: dict[int, int] = {}
        for nest in nests:
            for value in nest.operands:
                if value not in self.scratch:
                    seen[self.slot_of[value]] = _bytes(value.type)
        self.bytes_moved += sum(seen.values())

    def ideal_bytes(self) -> int:
        """Arguments once, results once."""
        slots = {self.slot_of[v]: _bytes(v.type) for v in (*self.body.arguments, *self.body.terminator.operands)}
        return sum(slots.values())

    def open_segment(self) -> "Segment":
        if self.segment is None:
            self.segment = Segment(self, f"segment{len(self.functions)}")
        return self.segment

    def close_segment(self) -> None:
        segment, self.segment = self.segment, None
        if segment is None:
            return
        text = segment.finish()
        if text:
            self.functions.append(text)
            self.declarations.update(segment.entry.declarations)
            self.helpers.update(segment.entry.functions)
            self.steps.append(NativeStep(segment.symbol))


class Segment:
    """Consecutive nests as one native function."""

    def __init__(self, program: ProgramWriter, symbol: str):
        self.program, self.symbol = program, symbol
        self.entry = Body("e", features=features_of(program.attributes))
        self.lines: list[str | Body] = []
        self.allocas: list[str] = []
        self.buffers: dict[Value, Buffer] = {}
        self.pointers: dict[int, str] = {}
        self.number = 0

    def buffer(self, value: Value) -> Buffer:
        """Return the native view of a memref, loading its pointer at the function's entry."""
        found = self.buffers.get(value)
        if found is None and value in self.program.scratch:
            name = self.scratch_name(self.program.scratch[value])
            found = self.buffers[value] = Buffer(name, value.type.element, value.type.shape)
        elif found is None:
            slot = self.program.slot_of[value]
            pointer = self.pointers.get(slot)
            if pointer is None:
                at = self.entry.emit(f"getelementptr ptr, ptr %buffers, i64 {slot}", "ptr")
                pointer = self.pointers[slot] = self.entry.emit(f"load ptr, ptr {at}, align 8", "ptr")
            found = self.buffers[value] = Buffer(pointer, value.type.element, value.type.shape)
        return found

    def nest(self, op: Op) -> None:
        text = self.write_nest(op, None)
        self.lines += [*text.before, *text.loops, *text.after]

    def write_nest(self, op: Op, rows: tuple[str, str] | None) -> Text:
        self.number += 1
        buffers = {value: self.buffer(value) for value in op.operands}
        text = NestWriter(op, buffers, self.number, self.entry, self.program.sizes, rows).write()
        self.allocas += text.allocas
        return text

    def tiles(self, op: Op) -> None:
        """Write nests that take turns on tiles of rows."""
        self.number += 1
        stem = f"tile{self.number}"
        low, high = f"%{stem}lo", f"%{stem}hi"
        extent = self.load_size(op.attributes["extent"])
        rows = self.load_size(op.attributes["rows"])
        nests = op.regions[0].block.ops[:-1]
        texts = [self.write_nest(nest, (low, high)) for nest in nests]
        for text in texts:
            self.lines += text.before
        self.lines += [
            f"  br label %{stem}.before",
            f"{stem}.before:",
            f"  br label %{stem}",
            f"{stem}:",
            f"  {low} = phi i64 [ 0, %{stem}.before ], [ {high}, %{stem}.next ]",
            f"  %{stem}far = add nuw nsw i64 {low}, {rows}",
            f"  %{stem}near = icmp slt i64 %{stem}far, {extent}",
            f"  {high} = select i1 %{stem}near, i64 %{stem}far, i64 {extent}",
        ]
        scratch = [self.program.scratch.get(value) for nest in nests for value in nest.operands]
        for made in dict.fromkeys(scratch):
            if made is not None:
                self.lines += self.place_scratch(made, low)
        for text in texts:
            self.lines += text.loops
        self.lines += [
            f"  br label %{stem}.next",
            f"{stem}.next:",
            f"  %{stem}more = icmp slt i64 {high}, {extent}",
            f"  br i1 %{stem}more, label %{stem}, label %{stem}.done",
            f"{stem}.done:",
        ]
        for text in texts:
            self.lines += text.after

    def scratch_name(self, op: Op) -> str:
        return f"%scratch{list(dict.fromkeys(self.program.scratch.values())).index(op)}"

    def place_scratch(self, op: Op, low: str) -> list[str]:
        """Return the lines that let a tile's memory begin at row `low`, so that nests index it like a whole array."""
        type: MemRefType = op.results[0].type
        name, row = self.scratch_name(op), _bytes(type) // type.shape[0]
        memory = self.entry.fresh(f"alloca i8, i64 {self.load_size(row * op.attributes['rows'])}, align 64", "ptr")
        return [
            f"  {name}o = mul i64 {low}, {self.load_size(-row)}",
            f"  {name} = getelementptr i8, ptr {memory}, i64 {name}o",
        ]

    def gemm(self, op: Op) -> None:
        """Write a call of the BLAS."""
        self.number += 1
        element, convention = op.operands[2].type.element, self.program.convention
        self.entry.declarations[gemm.declaration(element, convention)] = None
        self.entry.functions[gemm.adapter_name(element)] = gemm.adapter(element, convention)
        pointers = [self.buffer(value).pointer for value in op.operands]
        self.lines += gemm.write_gemm(op, pointers, self.load_size, self.number)

    def load_size(self, value: int) -> str:
        slot = self.program.sizes.slot(value)
        at = self.entry.emit(f"getelementptr i64, ptr %sizes, i64 {slot}", "ptr")
        return self.entry.emit(f"load i64, ptr {at}, align 8", "i64")

    def fill(self, op: Op) -> None:
        """Write a loop that sets a buffer's elements."""
        buffer = self.buffer(op.operands[0])
        size = 1
        for extent in buffer.shape:
            size *= extent
        if size == 0:
            return
        self.number += 1
        memory = memory_scalar(buffer.element)
        value = fill_literal(op.attributes["value"], buffer.element)
        if not buffer.shape:
            self.lines.append(f"  store {memory} {value}, ptr {buffer.pointer}")
            return
        count = self.load_size(size)
        stem = f"fill{self.number}"
        self.lines += [
            f"  br label %{stem}.before",
            f"{stem}.before:",
            f"  br label %{stem}",
            f"{stem}:",
            f"  %{stem}i = phi i64 [ 0, %{stem}.before ], [ %{stem}n, %{stem} ]",
            f"  %{stem}p = getelementptr {memory}, ptr {buffer.pointer}, i64 %{stem}i",
            f"  store {memory} {value}, ptr %{stem}p",
            f"  %{stem}n = add nuw nsw i64 %{stem}i, 1",
            f"  %{stem}c = icmp slt i64 %{stem}n, {count}",
            f"  br i1 %{stem}c, label %{stem}, label %{stem}.done",
            f"{stem}.done:",
        ]

    def finish(self) -> str:
        """Return the text of the function, or '' if nothing is to be done."""
        body = []
        for line in self.lines:
            if isinstance(line, Body):
                body.extend(line.lines)
            else:
                body.append(line)
        if not body:
            return ""
        head = f"define void @{self.symbol}(ptr noalias %buffers, ptr noalias %sizes) #0 {{\nentry:"
        start = ["  br label %start", "start:"]
        return "\n".join([head, *self.allocas, *self.entry.lines, *start, *body, "  ret void", "}"])


def fill_literal(value: Any, element: ScalarType) -> str:
    """Return the literal of a number in memory."""
    from gradloomc.codegen.instructions import Vector

    if element is ir_types.i1:
        return "1" if value else "0"
    return Vector(Body(), 1).literal(value, element)


def _bytes(type: MemRefType) -> int:
    size = type.element.itemsize
    for extent in type.shape:
        size *= extent  # type: ignore[operator]
    return size


def write_program(function: Op, attributes: str, convention: gemm.Convention | None = None) -> Program:
    """Return the program of a loops-level function.

    Args:
        attributes: the LLVM function attributes of the target.
        convention: how the BLAS is called.
    """
    return ProgramWriter(function, attributes, convention or gemm.Convention()).write()
