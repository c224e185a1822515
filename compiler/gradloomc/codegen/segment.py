"""A segment: the native function of consecutive nests; those that are marked run in chunks, maybe on several threads.

The function of a chunk is written apart (`ChunkWriter`); the segment hands it to the worker pool, or calls it for one
chunk after the other, and then combines what the chunks have reduced, in their order. A scalar total is kept in a
record of each chunk, with its compensation. Of an array that all chunks reduce into, each chunk but the first has a
copy of its own. Records and copies lie in one buffer of the program.
"""

from gradloomc.codegen.chunk import ALIGNMENT, Chunk, aligned
from gradloomc.codegen.function import FunctionWriter, Places, fill_literal
from gradloomc.codegen.nest_context import Buffer
from gradloomc.codegen.repeated import NestFunction
from gradloomc.dialects import loops
from gradloomc.dialects.scalar import convert
from gradloomc.ir import types as ir_types
from gradloomc.ir.builder import at
from gradloomc.ir.core import Block, Op, Region, Value
from gradloomc.ir.types import memref
from gradloomc.lowering.loops import neutral_element
from gradloomc.lowering.parallelize import bytes_of, copied, longest_piece

_RUN_CHUNKS = """define internal void @gl_run_chunks(ptr %pool, ptr %function, ptr %context, i64 %count) #0 {
entry:
  %run = load atomic ptr, ptr %pool monotonic, align 8
  %alone = icmp eq ptr %run, null
  br i1 %alone, label %chunk, label %pooled
pooled:
  call void %run(ptr %pool, ptr %function, ptr %context, i64 %count)
  ret void
chunk:
  %k = phi i64 [ 0, %entry ], [ %next, %chunk ]
  call void %function(ptr %context, i64 %k)
  %next = add nuw nsw i64 %k, 1
  %more = icmp slt i64 %next, %count
  br i1 %more, label %chunk, label %done
done:
  ret void
}"""


class Copies:
    """A result that all chunks reduce into: `size` elements, copies of which begin at `offset` of the partials."""

    __slots__ = ("combine", "offset", "size", "value", "width")

    def __init__(self, value: Value, combine: str, step: Op, offset: int):
        self.value, self.combine, self.offset = value, combine, offset
        itemsize = value.type.element.itemsize
        self.size = bytes_of(value) // itemsize
        self.width: int = step.attributes["width"] if step.kind is loops.nest else 64 // itemsize


class ChunkWriter(FunctionWriter):
    """The function of one chunk of a marked nest, or of a group of nests and products."""

    def __init__(self, places: Places, symbol: str, op: Op):
        super().__init__(places, symbol)
        self.op = op
        steps = op.regions[0].block.ops[:-1] if op.kind is loops.tiles else [op]
        self.nests = [step for step in steps if step.kind is loops.nest]
        dim, unit, self.count = op.attributes["chunk"]
        self.copies: list[Copies] = []
        self.records = 0  # where the records begin
        for buffer, (combine, step) in copied(steps, dim).items():
            self.copies.append(Copies(buffer, combine, step, self.records))
            self.records += aligned((self.count - 1) * bytes_of(buffer))
        self.extent = op.attributes["extent"] if op.kind is loops.tiles else op.attributes["extents"][0]
        self.chunk: Chunk = self.open_chunk(dim, unit)

    def open_chunk(self, dim: int, unit: int) -> Chunk:
        """Compute where the chunk begins and ends: units are dealt out evenly, rows that get shorter by points."""
        over_pieces = self.op.kind is loops.nest and dim == len(self.op.attributes["extents"]) - 1
        length = longest_piece(self.op) if over_pieces else self.extent
        emit = self.entry.emit
        count, units, points = self.load_size(self.count), self.load_size(length // unit), self.load_size(unit)
        after = emit("add i64 %k, 1", "i64")

        def beginning(k: str) -> str:
            if "halved" in self.op.attributes:
                return self.rows_before(k, count, units)
            share = emit(f"udiv i64 {emit(f'mul i64 {k}, {units}', 'i64')}, {count}", "i64")
            return emit(f"mul i64 {share}, {points}", "i64")

        first, last = emit("icmp eq i64 %k, 0", "i1"), emit(f"icmp eq i64 {after}, {count}", "i1")
        return Chunk(over_pieces, beginning("%k"), beginning(after), first, last)

    def rows_before(self, k: str, count: str, rows: str) -> str:
        """Return how many rows of a triangle, the longest ones, hold k of `count` equal parts of its points."""
        emit = self.entry.emit
        self.entry.declare("declare double @llvm.sqrt.f64(double)")
        left, parts, all_rows = (
            emit(f"sitofp i64 {number} to double", "double")
            for number in (emit(f"sub i64 {count}, {k}", "i64"), count, rows)
        )
        share = emit(f"fdiv double {left}, {parts}", "double")
        side = emit(f"call double @llvm.sqrt.f64(double {share})", "double")
        before = emit(f"fmul double {all_rows}, {emit(f'fsub double 1.0, {side}', 'double')}", "double")
        return emit(f"fptosi double {before} to i64", "i64")

    def write(self) -> str:
        """Return the text of the function."""
        for copies in self.copies:
            self.open_copy(copies)
        rows = None
        if not self.chunk.over_pieces:
            extent = self.load_size(self.extent)
            high = self.entry.emit(f"select i1 {self.chunk.last}, i64 {extent}, i64 {self.chunk.high}", "i64")
            rows = (self.chunk.low, high)
        if self.op.kind is loops.tiles:
            self.tiles(self.op, rows)
        else:
            self.nest(self.op, rows)
        return self.finish()

    def open_copy(self, copies: Copies) -> None:
        """Let a nest reduce into this chunk's copy, which starts from the neutral element; the first has the result."""
        emit, type, first = self.entry.emit, copies.value.type, self.chunk.first
        result = self.slot_pointer(self.places.slot_of[copies.value])
        before = emit("sub i64 %k, 1", "i64")
        offset = emit(f"mul i64 {before}, {self.load_size(bytes_of(copies.value))}", "i64")
        offset = emit(f"add i64 {offset}, {self.load_size(copies.offset)}", "i64")
        pointer = emit(f"getelementptr i8, ptr %partials, i64 {offset}", "ptr")
        pointer = emit(f"select i1 {first}, ptr {result}, ptr {pointer}", "ptr")
        buffer = self.buffers[copies.value] = Buffer(pointer, type.element, type.shape)
        neutral = fill_literal(neutral_element(copies.combine, type.element), type.element)
        # The first chunk's memory has been filled before.
        count = emit(f"select i1 {first}, i64 0, i64 {self.load_size(copies.size)}", "i64")
        self.number += 1
        self.fill_elements(buffer, neutral, count)

    def record_stride(self) -> int:
        return aligned(self.chunk.record_bytes)

    def head(self) -> list[str]:
        slot = self.places.sizes.slot(self.records)
        return [
            f"define internal void @{self.symbol}(ptr %context, i64 %k) #0 {{",
            "entry:",
            "  %buffers = load ptr, ptr %context, align 8",
            "  %psizes = getelementptr ptr, ptr %context, i64 1",
            "  %sizes = load ptr, ptr %psizes, align 8",
            "  %ppartials = getelementptr ptr, ptr %context, i64 2",
            "  %partials = load ptr, ptr %ppartials, align 8",
            f"  %precords = getelementptr i64, ptr %sizes, i64 {slot}",
            "  %records = load i64, ptr %precords, align 8",
            f"  %own = mul i64 %k, {self.record_stride()}",
            "  %at = add i64 %own, %records",
            "  %record = getelementptr i8, ptr %partials, i64 %at",
        ]


class Segment(FunctionWriter):
    """Consecutive nests as one native function.

    Attributes:
        chunk_functions: the functions of chunks that it calls.
        partials_bytes: what its chunks need in the buffer for partial results.
    """

    def __init__(self, places: Places, symbol: str, partials_slot: int | None):
        """Start a segment; the slot holds the partial results of chunks."""
        super().__init__(places, symbol)
        self.partials_slot = partials_slot
        self.chunk_functions: list[ChunkWriter] = []
        self.partials_bytes = 0

    def run(self, op: Op) -> None:
        """Write a nest, or nests that take turns, in chunks if they are marked."""
        if "chunk" in op.attributes:
            self.in_chunks(op)
        elif op.kind is loops.tiles:
            self.tiles(op)
        elif op in self.places.repeated:
            self.by_function(op)
        else:
            self.nest(op)

    def by_function(self, op: Op) -> None:
        """Write the call of a nest that is there several times; its function, when it is the first."""
        functions, key = self.places.nest_functions, self.places.repeated[op]
        if key not in functions:
            writer = NestFunction(self.places, f"nest{len(functions)}", op)
            text = writer.write()
            functions[key] = writer.symbol if text else ""
            self.entry.declarations.update(writer.entry.declarations)
            self.entry.functions.update(writer.entry.functions)
            self.entry.functions[writer.symbol] = text
        if functions[key]:
            pointers = ", ".join(f"ptr {self.buffer(value).pointer}" for value in dict.fromkeys(op.operands))
            self.lines.append(f"  call void @{functions[key]}(ptr %sizes, {pointers})")

    def in_chunks(self, op: Op) -> None:
        symbol = f"{self.symbol}_chunk{len(self.chunk_functions)}"
        writer = ChunkWriter(self.places, symbol, op)
        text = writer.write()
        self.chunk_functions.append(writer)
        self.entry.declarations.update(writer.entry.declarations)
        self.entry.functions.update(writer.entry.functions)
        self.entry.functions[symbol] = text
        needed = writer.records + writer.count * writer.record_stride() + ALIGNMENT
        self.partials_bytes = max(self.partials_bytes, needed)
        number = self.load_size(writer.count)
        partials = self.call(symbol, number)
        self.combine_records(writer, partials, number)
        for copies in writer.copies:
            self.combine_copies(copies, partials, writer.count)

    def call(self, symbol: str, count: str) -> str:
        """Write the call of all chunks; return the address of the partial results."""
        assert self.places.pool_slot is not None and self.partials_slot is not None
        self.entry.define("gl_run_chunks", _RUN_CHUNKS)
        address = self.entry.emit(f"ptrtoint ptr {self.slot_pointer(self.partials_slot)} to i64", "i64")
        address = self.entry.emit(f"add i64 {address}, {ALIGNMENT - 1}", "i64")
        address = self.entry.emit(f"and i64 {address}, {-ALIGNMENT}", "i64")
        partials = self.entry.emit(f"inttoptr i64 {address} to ptr", "ptr")
        context = f"%context{len(self.chunk_functions)}"
        self.allocas.append(f"  {context} = alloca [3 x ptr]")
        for position, pointer in enumerate(("%buffers", "%sizes", partials)):
            self.lines += [
                f"  {context}p{position} = getelementptr ptr, ptr {context}, i64 {position}",
                f"  store ptr {pointer}, ptr {context}p{position}",
            ]
        pool = self.slot_pointer(self.places.pool_slot)
        self.lines.append(f"  call void @gl_run_chunks(ptr {pool}, ptr @{symbol}, ptr {context}, i64 {count})")
        return partials

    def combine_records(self, writer: ChunkWriter, partials: str, count: str) -> None:
        """Let the scalar totals of the chunks join, in the order of the chunks."""
        records = self.entry.emit(f"getelementptr i8, ptr {partials}, i64 {self.load_size(writer.records)}", "ptr")
        for nest in writer.nests:
            text = self.nest_writer(nest).write_combination(writer.chunk, records, writer.record_stride(), count)
            self.allocas += text.allocas
            self.lines += text.loops

    def combine_copies(self, copies: Copies, partials: str, count: int) -> None:
        """Write the nest that reduces the copies into the result, one after the other."""
        element, how = copies.value.type.element, copies.combine
        computed = ir_types.f32 if element is ir_types.f16 else element
        rows, size = count - 1, copies.size
        outside, block = Block(), Block()
        with at(outside):
            source = loops.alloc(type=memref((rows, size), element))
            target = loops.alloc(type=memref((size,), element))
        with at(block):
            loaded = loops.load(source, map=((0, 1, 0), (1, 1, 0)))
            if loaded.type is not computed:  # half floats are reduced in single precision
                loaded = convert(loaded, type=computed)
            loops.reduce(loaded, target, combine=how, dims=(1,), low=(0, 0), high=(rows, size))
            loops.end()
        with at(outside):
            attributes = {"extents": (rows, size), "width": copies.width}
            nest = loops.nest.build([source, target], attributes, [Region(block)])
        pointer = self.entry.emit(f"getelementptr i8, ptr {partials}, i64 {self.load_size(copies.offset)}", "ptr")
        self.buffers[source] = Buffer(pointer, element, (rows, size))
        self.buffers[target] = Buffer(self.slot_pointer(self.places.slot_of[copies.value]), element, (size,))
        self.nest(nest)
