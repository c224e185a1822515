"""A whole loops-level function as one LLVM module and a list of steps.

Between library calls (externs) the nests form segments; each segment is one native function `void (ptr buffers, ptr
sizes)`, where `buffers` is an array of pointers, one for each slot, and `sizes` the run-time extents and strides. The
text holds no addresses and no extents, so the same program on other lengths has the same text and the same native code.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from gradloomc.codegen import gemm
from gradloomc.codegen.blocks import is_divided
from gradloomc.codegen.function import Places
from gradloomc.codegen.mathlib import LIBRARY, uses_library
from gradloomc.codegen.repeated import repeated_nests
from gradloomc.codegen.segment import Segment
from gradloomc.codegen.source import Source
from gradloomc.codegen.x86 import features_of
from gradloomc.dialects import loops
from gradloomc.dialects.func import body_of
from gradloomc.ir import types as ir_types
from gradloomc.ir.core import Op, Value
from gradloomc.ir.extents import hint_of
from gradloomc.ir.location import Location
from gradloomc.ir.types import MemRefType, ScalarType
from gradloomc.lowering.parallelize import PARTS, bytes_of, work_of

# Two units start a simple instruction in each cycle, for 8 elements of 64 bits.
_CYCLES_PER_COST, _LANES = 0.5, 8


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


class Check(NamedTuple):
    """An axis, in the user's line, beyond which an index may have been."""

    axis: int
    location: Location


class Program(NamedTuple):
    """What a run-time needs: the source of what is compiled, memory slots, and steps in order.

    Slots come in the order arguments, constants, `pool`, results, temporaries. The slot `pool`, if there is one, stands
    for the control block of the worker pool (`workers.py`), of which the program has nests for. `returned` says which
    slot, in which shape, each value of the function is. `lifetimes` holds for each temporary the first and the last
    moment at which it is in use: temporaries whose lifetimes do not overlap may share memory. Where the text calls the
    vector-math library, `written_out` returns the same program with everything in place. `work` says how many cycles a
    run takes. If indices were to be checked, `checks` tells of what, and the slot `status` holds three integers after a
    run: the number of the first check that failed, from 1, or 0, then the index and the length of the axis.
    """

    source: Source
    sizes: list[int]
    slots: list[Slot]
    arguments: list[int]
    constants: list[tuple[int, Any]]
    pool: int | None
    results: list[int]
    temporaries: list[int]
    returned: list[tuple[int, tuple[int, ...]]]
    steps: list[NativeStep | ExternStep]
    bytes_moved: int = 0
    bytes_ideal: int = 0
    nests: int = 0
    externs: int = 0
    products: int = 0
    lifetimes: tuple[tuple[int, int], ...] = ()
    chunked: int = 0  # nests that run in chunks, and their work in cycles
    chunked_work: int = 0
    large_products: tuple[str, ...] = ()  # the element types of products that several threads may share
    donations: tuple[tuple[int, int, str], ...] = ()  # of arguments' memory to results, see lowering/donate.py
    work: float = 0.0
    checks: Callable[[], tuple[Check, ...]] = tuple
    status: int | None = None
    written_out: "Callable[[], Program] | None" = None

    @property
    def text(self) -> str:
        """The LLVM text."""
        return self.source.read()


class ProgramWriter:
    """Builds the Program of one function."""

    def __init__(self, function: Op, attributes: str, convention: gemm.Convention, library: bool):
        self.body = body_of(function)
        self.donations = function.attributes.get("donations", ())
        self.attributes = attributes
        self.places = Places(features_of(attributes) | ({LIBRARY} if library else set()), convention)
        self.slot_of, self.scratch = self.places.slot_of, self.places.scratch
        self.slots: list[Slot] = []
        self.partials_slot: int | None = None
        self.partials_bytes = 0
        self.steps: list[NativeStep | ExternStep] = []
        self.functions: list[str] = []
        self.declarations: dict[str, None] = {}
        self.helpers: dict[str, str] = {}
        self.segment: Segment | None = None
        self.bytes_moved = self.nests = self.externs = self.products = self.chunked = self.chunked_work = 0
        self.spans: dict[int, tuple[int, int]] = {}  # the first and the last op that touch a slot

    def write(self) -> Program:
        """Return the program."""
        arguments = [self.new_slot(argument) for argument in self.body.arguments]
        constants = [
            (self.new_slot(op.results[0]), op.attributes["value"].to_array())
            for op in self.body.ops
            if op.kind is loops.constant
        ]
        in_chunks = any("chunk" in op.attributes for op in self.body.ops)
        products = [op for op in loops.untiled(self.body.ops) if op.kind is loops.gemm]
        large = {str(op.operands[2].type.element) for op in products if gemm.is_large(op)}
        if in_chunks or large:
            self.places.pool_slot = self.add_slot((), ir_types.i64)
        results = [self.new_slot(value) for value in self.result_buffers()]
        self.places.repeated = repeated_nests(self.body.ops)
        temporaries: list[int] = []
        checks: list[Op] = []
        status = None
        if in_chunks:
            self.partials_slot = self.add_slot((), ir_types.i8)  # its size is known at the end
            temporaries.append(self.partials_slot)
        for moment, op in enumerate(self.body.ops[:-1]):
            if op.kind is loops.constant:
                continue
            if op.kind is loops.bounds:
                checks.append(op)
            else:
                temporaries += self.add(op)
            self.touch(op, moment)
        if checks:
            status = self.add_slot((3,), ir_types.i64)
            temporaries.append(status)
            self.open_segment().bounds(checks, status)
        checked = tuple([Check(op.attributes["axis"], op.location) for op in checks])
        self.close_segment()
        if self.partials_slot is not None:
            self.slots[self.partials_slot] = Slot((self.partials_bytes,), ir_types.i8)
        returned = [(self.slot_of[v], v.type.shape) for v in self.body.terminator.operands]
        attributes = f"attributes #0 = {{ {self.attributes} }}"
        parts = [*self.declarations, *self.helpers.values(), *self.functions, attributes]
        program = Program(
            Source("\n".join(parts) + "\n"),
            self.places.sizes.values,
            self.slots,
            arguments,
            constants,
            self.places.pool_slot,
            results,
            temporaries,
            returned,
            self.steps,
            bytes_moved=self.bytes_moved,
            bytes_ideal=self.ideal_bytes(),
            nests=self.nests,
            externs=self.externs,
            products=self.products,
            lifetimes=tuple(self.spans.get(slot, (0, len(self.body.ops))) for slot in temporaries),
            chunked=self.chunked,
            chunked_work=self.chunked_work,
            large_products=tuple(sorted(large)),
            donations=self.donations,
            checks=lambda: checked,
            status=status,
        )
        return program

    def add(self, op: Op) -> list[int]:
        """Add an op of the function's body; return the slots of the temporaries that it brings."""
        if op.kind is loops.alloc:
            return [] if op.results[0] in self.slot_of else [self.new_slot(op.results[0])]
        if op.kind is loops.scratch:
            self.scratch[op.results[0]] = op
        elif op.kind is loops.view:
            table = self.scratch if op.operands[0] in self.scratch else self.slot_of
            table[op.results[0]] = table[op.operands[0]]  # type: ignore[index]
        elif op.kind is loops.extern:
            return list(self.extern(op))
        elif op.kind is loops.fill:
            self.open_segment().fill(op)
        elif op.kind is loops.gemm:
            self.products += 1
            self.count_bytes([op])
            self.open_segment().gemm(op)
        elif op.kind is loops.tiles:
            self.run(op, op.regions[0].block.ops[:-1])
        else:
            self.run(op, [op])
        return []

    def run(self, op: Op, nests: Sequence[Op]) -> None:
        """Add a nest, or a group of nests and products, to the segment."""
        calls = sum(nest.kind is loops.gemm for nest in nests)
        self.nests += len(nests) - calls
        self.products += calls
        self.count_bytes(nests)
        if "chunk" in op.attributes:
            self.chunked += len(nests)
            self.chunked_work += (work_of(nests) or 0) // PARTS
        self.open_segment().run(op)

    def touch(self, op: Op, moment: int) -> None:
        """Note that the slots of an op's buffers are in use at this moment."""
        if op.kind in (loops.alloc, loops.view):
            return
        nests = op.regions[0].block.ops[:-1] if op.kind is loops.tiles else [op]
        for value in {value for nest in nests for value in (*nest.operands, *nest.results)}:
            slot = self.slot_of.get(value)
            if slot is not None:
                first, _ = self.spans.get(slot, (moment, moment))
                self.spans[slot] = (first, moment)

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
        self.slot_of[value] = self.add_slot(type.shape, type.element)  # type: ignore[arg-type]
        return self.slot_of[value]

    def add_slot(self, shape: tuple[int, ...], element: ScalarType) -> int:
        self.slots.append(Slot(shape, element))
        return len(self.slots) - 1

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
        self.bytes_moved += sum(bytes_of(v) for v in (*op.operands, *op.results))
        return made

    def count_bytes(self, nests: Sequence[Op]) -> None:
        """Add what nests that run together move: every buffer once, because what comes again is in the cache."""
        seen: dict[int, int] = {}
        for nest in nests:
            for value in nest.operands:
                if value not in self.scratch:
                    seen[self.slot_of[value]] = bytes_of(value)
        self.bytes_moved += sum(seen.values())

    def ideal_bytes(self) -> int:
        """Arguments once, results once."""
        slots = {self.slot_of[v]: bytes_of(v) for v in (*self.body.arguments, *self.body.terminator.operands)}
        return sum(slots.values())

    def open_segment(self) -> "Segment":
        if self.segment is None:
            symbol = f"segment{len(self.functions)}"
            self.segment = Segment(self.places, symbol, self.partials_slot)
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
            self.partials_bytes = max(self.partials_bytes, segment.partials_bytes)
            self.steps.append(NativeStep(segment.symbol))



def _cycles(nest: Op) -> float:
    """Return about how many cycles a nest computes; where its extents are not fixed, at the lengths at hand."""
    points = math.prod(hint_of(extent) for extent in nest.attributes["extents"])
    cost = sum(op.kind.cost for op in nest.regions[0].block.ops[:-1])
    return points * cost * _CYCLES_PER_COST / min(nest.attributes["width"], _LANES)


def write_program(
    function: Op, attributes: str, convention: gemm.Convention | None = None, library: bool = False
) -> Program:
    """Return the program of a loops-level function.

    Args:
        attributes: the LLVM function attributes of the target.
        convention: how the BLAS is called.
        library: whether to call elementary functions (mathlib.py) rather than to write them out.
    """
    convention = convention or gemm.Convention()
    program = ProgramWriter(function, attributes, convention, library).write()
    work = sum([_cycles(op) for op in loops.untiled(body_of(function).ops) if op.kind is loops.nest])
    if not library or not (uses_library(program.text) or is_divided(program.text)):
        return program._replace(work=work)
    return program._replace(work=work, written_out=lambda: write_program(function, attributes, convention))
