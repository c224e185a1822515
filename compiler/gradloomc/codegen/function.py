"""Native functions over the tables `buffers` and `sizes`: their pointers, nests, tiles of rows and fills as text.

A `FunctionWriter` is one function of the module. It knows nothing of threads (`segment.py` does) and of the order of
steps (`program.py`).
"""

import math
from collections.abc import Sequence
from typing import Any

from gradloomc.codegen import gemm
from gradloomc.codegen.blocks import MOST_INSTRUCTIONS, short_blocks
from gradloomc.codegen.body import Body
from gradloomc.codegen.chunk import Chunk
from gradloomc.codegen.halved import HalvedNestWriter
from gradloomc.codegen.instructions import Vector, memory_scalar
from gradloomc.codegen.mathlib import LIBRARY
from gradloomc.codegen.nest import NestWriter, Text
from gradloomc.codegen.nest_context import Buffer, Sizes
from gradloomc.dialects import loops
from gradloomc.ir import types as ir_types
from gradloomc.ir.core import Op, Value
from gradloomc.ir.types import ScalarType
from gradloomc.lowering.jam import jammed
from gradloomc.lowering.parallelize import bytes_of
from gradloomc.lowering.rings import rings_of, rows_behind, storing_rings


class Places:
    """Where a program's memory is: run-time numbers, slots of buffers, and buffers of which only a tile exists."""

    __slots__ = ("convention", "features", "nest_functions", "pool_slot", "repeated", "scratch", "sizes", "slot_of")

    def __init__(self, features: frozenset[str], convention: gemm.Convention) -> None:
        """Start with no memory; `features` are what the target can do (see `Body`), `convention` how to call a BLAS."""
        self.features, self.convention = features, convention
        self.pool_slot: int | None = None  # of the worker pool's control block
        self.sizes = Sizes()
        self.slot_of: dict[Value, int] = {}
        self.scratch: dict[Value, Op] = {}  # the ops that make them
        self.repeated: dict[Op, bytes] = {}  # nests that there are several of, see repeated.py
        self.nest_functions: dict[bytes, str] = {}  # their functions that have been written, by name


class FunctionWriter:
    """Writes one function; nests come in the order in which they are asked for."""

    def __init__(self, places: Places, symbol: str, chunk: Chunk | None = None):
        """Start a function; `chunk` says which part of its nests it runs."""
        self.places, self.symbol, self.chunk = places, symbol, chunk
        self.entry = Body("e", features=places.features)
        self.lines: list[str | Body] = []
        self.allocas: list[str] = []
        self.buffers: dict[Value, Buffer] = {}
        self.pointers: dict[int, str] = {}
        self.number = 0

    # --- memory ---

    def buffer(self, value: Value) -> Buffer:
        """Return the native view of a memref, loading its pointer at the function's entry."""
        found = self.buffers.get(value)
        if found is None:
            made = self.places.scratch.get(value)
            name = self.slot_pointer(self.places.slot_of[value]) if made is None else self.scratch_name(made)
            ring = made.attributes["rows"] if made is not None and made.attributes.get("ring") else 0
            found = self.buffers[value] = Buffer(name, value.type.element, value.type.shape, ring)
        return found

    def slot_pointer(self, slot: int) -> str:
        """Return the address of a slot's memory."""
        if slot not in self.pointers:
            at = self.entry.emit(f"getelementptr ptr, ptr %buffers, i64 {slot}", "ptr")
            self.pointers[slot] = self.entry.emit(f"load ptr, ptr {at}, align 8", "ptr")
        return self.pointers[slot]

    def load_size(self, value: int) -> str:
        slot = self.places.sizes.slot(value)
        at = self.entry.emit(f"getelementptr i64, ptr %sizes, i64 {slot}", "ptr")
        return self.entry.emit(f"load i64, ptr {at}, align 8", "i64")

    def scratch_name(self, op: Op) -> str:
        return f"%scratch{list(dict.fromkeys(self.places.scratch.values())).index(op)}"

    def place_scratch(self, op: Op, low: str) -> list[str]:
        """Return the lines that let a tile's memory begin at row `low`, so that nests index it like a whole array."""
        name, row = self.scratch_name(op), bytes_of(op.results[0]) // op.results[0].type.shape[0]
        memory = self.entry.fresh(f"alloca i8, i64 {self.load_size(row * op.attributes['rows'])}, align 64", "ptr")
        return [
            f"  {name}o = mul i64 {low}, {self.load_size(-row)}",
            f"  {name} = getelementptr i8, ptr {memory}, i64 {name}o",
        ]

    # --- loops ---

    def place_rings(self, op: Op) -> None:
        """Let the memory of a nest's rings begin, where each row has its place."""
        for ring in rings_of(op):
            made = self.places.scratch[ring]
            row = bytes_of(ring) // ring.type.shape[0]
            size = self.load_size(row * made.attributes["rows"])
            memory = self.entry.fresh(f"alloca i8, i64 {size}, align 64", "ptr")
            self.lines.append(f"  {self.scratch_name(made)} = getelementptr i8, ptr {memory}, i64 0")

    def fill_rings(self, op: Op, low: str) -> None:
        """Write what a nest that begins at row `low` needs in its rings; it may be nothing."""
        behind = rows_behind(op)
        if behind == 0:
            return
        stem = f"early{self.number + 1}"
        first = f"%{stem}first"
        stores = storing_rings(op)
        text = self.write_nest(stores, (first, low))
        stores.drop_uses()
        self.lines += [
            f"  %{stem}from = sub i64 {low}, {behind}",
            f"  %{stem}below = icmp slt i64 %{stem}from, 0",
            f"  {first} = select i1 %{stem}below, i64 0, i64 %{stem}from",
            *text.before,
            f"  %{stem}any = icmp slt i64 {first}, {low}",
            f"  br i1 %{stem}any, label %{stem}.run, label %{stem}.done",
            f"{stem}.run:",
            *text.loops,
            f"  br label %{stem}.done",
            f"{stem}.done:",
            *text.after,
        ]

    def nest(self, op: Op, rows: tuple[str, str] | None = None) -> None:
        """Write a nest, or the rows [low, high) of it."""
        self.place_rings(op)
        if rows is not None:
            self.fill_rings(op, rows[0])
        text = self.write_nest(op, rows)
        self.lines += [*text.before, *text.loops, *text.after]

    def write_nest(self, op: Op, rows: tuple[str, str] | None) -> Text:
        if "jam" in op.attributes:
            return self.write_jammed(op, rows or ("0", self.load_size(op.attributes["extents"][0])))
        text = self.nest_writer(op, rows).write()
        self.allocas += text.allocas
        return text

    def write_jammed(self, op: Op, rows: tuple[str, str]) -> Text:
        """Write a nest for several rows at once, and for those of [low, high) that are left."""
        (low, high), text = rows, Text()
        several = jammed(op)
        self.number += 1
        stem = f"jam{self.number}"
        whole = f"%{stem}whole"
        text.loops += [
            f"  %{stem}rows = sub i64 {high}, {low}",
            f"  %{stem}rest = and i64 %{stem}rows, {op.attributes['jam'] - 1}",
            f"  {whole} = sub i64 {high}, %{stem}rest",
        ]
        for name, nest, first, last in (("most", several, low, whole), ("rest", op, whole, high)):
            part = self.nest_writer(nest, (first, last)).write()
            self.allocas += part.allocas
            run, done = f"{stem}.{name}", f"{stem}.{name}.done"
            text.before += part.before
            text.loops += [
                f"  %{stem}{name}c = icmp slt i64 {first}, {last}",
                f"  br i1 %{stem}{name}c, label %{run}, label %{done}",
                f"{run}:",
                *part.loops,
                f"  br label %{done}",
                f"{done}:",
            ]
            text.after += part.after
        several.drop_uses()
        return text

    def nest_writer(self, op: Op, rows: tuple[str, str] | None = None) -> NestWriter:
        self.number += 1
        buffers = {value: self.buffer(value) for value in op.operands}
        writer = HalvedNestWriter if "halved" in op.attributes else NestWriter
        return writer(op, buffers, self.number, self.entry, self.places.sizes, rows, self.chunk)

    def tiles(self, op: Op, within: tuple[str, str] | None = None) -> None:
        """Write nests that take turns on tiles of rows: of all rows, or of those in [low, high)."""
        self.number += 1
        stem = f"tile{self.number}"
        low, high = f"%{stem}lo", f"%{stem}hi"
        start, end = within or ("0", self.load_size(op.attributes["extent"]))
        rows = self.load_size(op.attributes["rows"])
        nests = op.regions[0].block.ops[:-1]
        texts = [
            self.write_gemm(nest, (low, high)) if nest.kind is loops.gemm else self.write_nest(nest, (low, high))
            for nest in nests
        ]
        for text in texts:
            self.lines += text.before
        self.lines += [
            f"  br label %{stem}.before",
            f"{stem}.before:",
            f"  br label %{stem}",
            f"{stem}:",
            f"  {low} = phi i64 [ {start}, %{stem}.before ], [ {high}, %{stem}.next ]",
            f"  %{stem}far = add nuw nsw i64 {low}, {rows}",
            f"  %{stem}near = icmp slt i64 %{stem}far, {end}",
            f"  {high} = select i1 %{stem}near, i64 %{stem}far, i64 {end}",
        ]
        scratch = [self.places.scratch.get(value) for nest in nests for value in nest.operands]
        for made in dict.fromkeys(scratch):
            if made is not None:
                self.lines += self.place_scratch(made, low)
        for text in texts:
            self.lines += text.loops
        self.lines += [
            f"  br label %{stem}.next",
            f"{stem}.next:",
            f"  %{stem}more = icmp slt i64 {high}, {end}",
            f"  br i1 %{stem}more, label %{stem}, label %{stem}.done",
            f"{stem}.done:",
        ]
        for text in texts:
            self.lines += text.after

    def gemm(self, op: Op) -> None:
        """Write a call of the BLAS."""
        self.lines += self.write_gemm(op, None).loops

    def write_gemm(self, op: Op, rows: tuple[str, str] | None) -> Text:
        """Return a call of the BLAS on whole matrices, or on the rows [low, high) of a tile."""
        self.number += 1
        element, convention = op.operands[2].type.element, self.places.convention
        large = gemm.is_large(op)
        symbol = (gemm.LARGE_SYMBOLS if large else gemm.SYMBOLS)[element]
        self.entry.declarations[gemm.declaration(symbol, element, convention)] = None
        self.entry.functions[gemm.adapter_name(symbol)] = gemm.adapter(symbol, element, convention)
        pointers = [self.buffer(value).pointer for value in op.operands]
        pool = None
        if large:
            assert self.places.pool_slot is not None
            pool = self.slot_pointer(self.places.pool_slot)
            self.entry.functions[gemm.sharing_name(element)] = gemm.sharing_adapter(element)
        text = Text()
        text.loops += gemm.write_gemm(op, pointers, self.load_size, self.number, rows, pool)
        return text

    def fill(self, op: Op) -> None:
        """Write a loop that sets a buffer's elements."""
        buffer = self.buffer(op.operands[0])
        size = math.prod(buffer.shape)
        if size == 0:
            return
        self.number += 1
        value = fill_literal(op.attributes["value"], buffer.element)
        if not buffer.shape:
            self.lines.append(f"  store {memory_scalar(buffer.element)} {value}, ptr {buffer.pointer}")
        else:
            self.fill_elements(buffer, value, self.load_size(size))

    def fill_elements(self, buffer: Buffer, value: str, count: str) -> None:
        """Write loops that set the first elements of a buffer: whole registers, then the rest."""
        memory, stem = memory_scalar(buffer.element), f"fill{self.number}"
        lanes = 64 // buffer.element.itemsize
        self.lines += [
            f"  %{stem}r = srem i64 {count}, {lanes}",
            f"  %{stem}w = sub i64 {count}, %{stem}r",
            f"  br label %{stem}.before",
            f"{stem}.before:",
            f"  br label %{stem}.wide",
            f"{stem}.wide:",
            f"  %{stem}i = phi i64 [ 0, %{stem}.before ], [ %{stem}n, %{stem}.store ]",
            f"  %{stem}c = icmp slt i64 %{stem}i, %{stem}w",
            f"  br i1 %{stem}c, label %{stem}.store, label %{stem}.single",
            f"{stem}.store:",
            f"  %{stem}p = getelementptr {memory}, ptr {buffer.pointer}, i64 %{stem}i",
            f"  store <{lanes} x {memory}> splat ({memory} {value}), ptr %{stem}p, align {buffer.element.itemsize}",
            f"  %{stem}n = add nuw nsw i64 %{stem}i, {lanes}",
            f"  br label %{stem}.wide",
            f"{stem}.single:",
            f"  %{stem}j = phi i64 [ %{stem}w, %{stem}.wide ], [ %{stem}m, %{stem}.one ]",
            f"  %{stem}d = icmp slt i64 %{stem}j, {count}",
            f"  br i1 %{stem}d, label %{stem}.one, label %{stem}.done",
            f"{stem}.one:",
            f"  %{stem}q = getelementptr {memory}, ptr {buffer.pointer}, i64 %{stem}j",
            f"  store {memory} {value}, ptr %{stem}q",
            f"  %{stem}m = add nuw nsw i64 %{stem}j, 1",
            f"  br label %{stem}.single",
            f"{stem}.done:",
        ]

    def bounds(self, checks: Sequence[Op], status: int) -> None:
        """Write what the slot `status` gets: the number of the first check that fails, from 1, the index, the extent.

        The number is 0 if none fails.
        """
        self.number += 1
        body, word = Body(f"check{self.number}_", parent=self.entry), "i64"
        found = ("0", "0", "0")
        for position, op in reversed(list(enumerate(checks, 1))):
            low, high = (body.fresh(f"load i64, ptr {self.buffer(value).pointer}", word) for value in op.operands)
            extent = self.load_size(op.attributes["extent"])
            above = body.fresh(f"icmp sge i64 {high}, {extent}", "i1")
            below = body.fresh(f"icmp slt i64 {low}, {body.fresh(f'sub i64 0, {extent}', word)}", "i1")
            bad = body.fresh(f"or i1 {above}, {below}", "i1")
            wrong = body.fresh(f"select i1 {above}, i64 {high}, i64 {low}", word)
            new = (str(position), wrong, extent)
            found = tuple(
                body.fresh(f"select i1 {bad}, i64 {x}, i64 {y}", word) for x, y in zip(new, found, strict=True)
            )
        pointer = self.slot_pointer(status)
        for position, value in enumerate(found):
            place = body.fresh(f"getelementptr i64, ptr {pointer}, i64 {position}", "ptr")
            body.effect(f"store i64 {value}, ptr {place}")
        self.lines.append(body)

    # --- text ---

    def head(self) -> list[str]:
        """Return the function's first line, and what it must do before anything else."""
        return [f"define void @{self.symbol}(ptr noalias %buffers, ptr noalias %sizes) #0 {{", "entry:"]

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
        start = ["  br label %start", "start:"]
        lines = [*self.head(), *self.allocas, *self.entry.lines, *start, *body, "  ret void"]
        if LIBRARY in self.places.features and len(lines) > MOST_INSTRUCTIONS:  # the first tier is to be compiled soon
            lines = short_blocks(lines)
        return "\n".join([*lines, "}"])


def fill_literal(value: Any, element: ScalarType) -> str:
    """Return the literal of a number in memory."""
    if element is ir_types.i1:
        return "1" if value else "0"
    return Vector(Body(), 1).literal(value, element)
