"""The body of an innermost loop: one vector of points, in full (long pieces) or under a mask (ends and failed rows)."""

from collections.abc import Sequence
from typing import Any

from gradloomc.codegen.body import Body
from gradloomc.codegen.instructions import Vector, convert, emit_op, llvm_scalar, memory_scalar
from gradloomc.codegen.nest_context import (
    Buffer,
    NestContext,
    Piece,
    is_literal,
    moving_dims,
    plus,
    product,
)
from gradloomc.codegen.reduction import combine, horizontal
from gradloomc.codegen.x86 import AVX512
from gradloomc.dialects import kernel, loops
from gradloomc.dialects import scalar as s
from gradloomc.ir import types as ir_types
from gradloomc.ir.core import Op, Value
from gradloomc.lowering.index_maps import inside_range
from gradloomc.lowering.loops import neutral_element

# The bytes that a prefetch brings, and where LLVM's brings what will be read.
_LINE, _SECOND_LEVEL = 64, 2


class Lane:
    """Writes the body of one innermost loop: in full (a piece of a main loop) or under a mask (up to `limit`)."""

    def __init__(
        self,
        nest: NestContext,
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
        if self.limit is None:
            for op in nest.ops:
                if op.kind is loops.prefetch:
                    self.prefetch(op)
        updates = {}
        for op in active:
            value = self.value(op.operands[0])
            if op.kind is loops.store:
                self.store(op, value)
            elif op.kind is loops.scatter and any(nest.varies(index) for index in op.operands[2:]):
                self.scatter(op, value)
            elif op in nest.accumulators:
                updates[op] = self.accumulate(op)
                if nest.mirrored:
                    updates[op] = self.mirror(op, updates[op])
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
        further = [op for op in sinks if op.kind is loops.scatter or nest.mirrored]
        wanted = {op.operands[0] for op in sinks} | {operand for op in further for operand in op.operands[2:]}
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
            name = self.names[value] = self.v.literal(op.attributes["value"], op.attributes["type"])
            return name
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
        if is_literal(bound):
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
        integers = op.operands[1:]
        inner = [k for k, entry in enumerate(index_map) if entry[0] == self.nest.inner]
        base = self.nest.element_pointer(
            self.row, buffer, self.nest.offset(self.row, buffer, index_map, self.nest.inner, integers)
        )
        if any(self.nest.varies(index) for index in integers):
            mask = None
            if self.limit is not None:
                mask = self.load_mask(buffer, *self.inner_axis(index_map)) if inner else self.mask
            if mask is None:
                name = self.load_lanes(buffer, index_map, integers)
            else:
                name = self.gather(buffer, index_map, base, mask, integers)
            return self.nest.from_memory(self.v, name, buffer.element)
        axis, coefficient, offset = self.inner_axis(index_map)
        memory = memory_scalar(buffer.element)
        mask = None
        if self.limit is not None:
            mask = self.load_mask(buffer, axis, coefficient, offset)
        if len(inner) == 1 and coefficient == 1 and buffer.strides[axis] == "1":
            pointer = self.body.emit(f"getelementptr {memory}, ptr {base}, i64 {self.point}", "ptr")
            name = self.load_vector(memory, pointer, mask, buffer)
        elif mask is None:
            name = self.load_lanes(buffer, index_map, integers)
        else:
            name = self.gather(buffer, index_map, base, mask, integers)
        return self.nest.from_memory(self.v, name, buffer.element)

    def prefetch(self, op: Op) -> None:
        """Ask for the lines of a vector of neighbours."""
        nest, buffer = self.nest, self.nest.buffers[op.operands[0]]
        memory, index_map = memory_scalar(buffer.element), op.attributes["map"]
        base = nest.element_pointer(self.row, buffer, nest.offset(self.row, buffer, index_map, nest.inner))
        self.body.declare("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        for first in range(0, self.width, _LINE // buffer.element.itemsize):
            start = self.row.emit(f"getelementptr {memory}, ptr {base}, i64 {first}", "ptr")
            line = self.body.emit(f"getelementptr {memory}, ptr {start}, i64 {self.point}", "ptr")
            how = f"i32 {int(op.attributes['write'])}, i32 {_SECOND_LEVEL}, i32 1"
            self.body.effect(f"call void @llvm.prefetch.p0(ptr {line}, {how})")

    def load_mask(self, buffer: Buffer, axis: int, coefficient: int, offset: int) -> str:
        """Return the mask of lanes whose element exists."""
        extent = self.nest.static[self.nest.inner]
        ends = (offset, coefficient * (extent - 1) + offset)
        mask = self.mask
        if min(ends) >= 0 and max(ends) < buffer.shape[axis]:
            return mask
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

    def stride(self, buffer: Buffer, index_map: Any) -> str:
        """Return how many elements lie between the accesses of neighbouring lanes."""
        stride = "0"
        for axis, (dim, coefficient, _) in enumerate(index_map):
            if dim == self.nest.inner:
                stride = plus(self.row, stride, product(self.row, str(coefficient), buffer.strides[axis]))
        return stride

    def lane_addresses(self, buffer: Buffer, index_map: Any, integers: Sequence[Value] = ()) -> list[str]:
        """Return the address of each lane's element by itself.

        What does not vary with the lanes is added last, so that accesses to several places of the same rows share the
        addresses of the rows.
        """
        memory, emit = memory_scalar(buffer.element), self.body.emit
        offset = self.nest.offset(self.row, buffer, index_map, self.nest.inner, integers)
        picked = any(self.nest.varies(index) for index in integers)
        stride, offsets, first = self.stride(buffer, index_map), "", buffer.pointer
        if picked:
            offsets = self.lane_offsets(buffer, index_map, integers)
        else:
            first = emit(f"getelementptr {memory}, ptr {first}, i64 {product(self.body, self.point, stride)}", "ptr")
        found = []
        for lane in range(self.width):
            if picked:
                step = emit(f"extractelement <{self.width} x i64> {offsets}, i64 {lane}", "i64")
            else:
                step = product(self.row, str(lane), stride)
            row = first if step == "0" else emit(f"getelementptr {memory}, ptr {first}, i64 {step}", "ptr")
            found.append(row if offset == "0" else emit(f"getelementptr {memory}, ptr {row}, i64 {offset}", "ptr"))
        return found

    def load_lanes(self, buffer: Buffer, index_map: Any, integers: Sequence[Value] = ()) -> str:
        """Load the elements of a vector one by one: gather instructions take three times as long (23 cycles for 8)."""
        memory = memory_scalar(buffer.element)
        kind, align = self.v.of(memory), max(1, buffer.element.itemsize)
        name = "poison"
        for lane, address in enumerate(self.lane_addresses(buffer, index_map, integers)):
            element = self.body.emit(f"load {memory}, ptr {address}, align {align}", memory)
            name = self.body.emit(f"insertelement {kind} {name}, {memory} {element}, i64 {lane}", kind)
        return name

    def store_lanes(self, buffer: Buffer, index_map: Any, name: str, integers: Sequence[Value] = ()) -> None:
        """Store the elements of a vector one by one."""
        memory = memory_scalar(buffer.element)
        kind, align = self.v.of(memory), max(1, buffer.element.itemsize)
        for lane, address in enumerate(self.lane_addresses(buffer, index_map, integers)):
            element = self.body.emit(f"extractelement {kind} {name}, i64 {lane}", memory)
            self.body.effect(f"store {memory} {element}, ptr {address}, align {align}")

    def lane_pointers(self, buffer: Buffer, index_map: Any, base: str, integers: Sequence[Value] = ()) -> str:
        """Return one address per lane for an access that is not a run of neighbours."""
        offsets = self.lane_offsets(buffer, index_map, integers)
        return self.body.emit(
            f"getelementptr {memory_scalar(buffer.element)}, ptr {base}, <{self.width} x i64> {offsets}",
            f"<{self.width} x ptr>",
        )

    def lane_offsets(self, buffer: Buffer, index_map: Any, integers: Sequence[Value]) -> str:
        """Return how far each lane's element is from that of the innermost dimension's first point, in elements."""
        kind = f"<{self.width} x i64>"
        stride = self.stride(buffer, index_map)
        if is_literal(stride):
            steps = f"splat (i64 {stride})"
        else:
            steps = Vector(self.row, self.width).splat(stride, ir_types.i64)
        total = None if stride == "0" else self.body.emit(f"mul {kind} {self.lane_points()}, {steps}", kind)
        for axis, (dim, coefficient, _) in enumerate(index_map):
            if dim >= -1 or not self.nest.varies(integers[-2 - dim]):
                continue
            step = product(self.row, self.nest.integer(coefficient), buffer.strides[axis])
            offsets = self.value(integers[-2 - dim])
            if step != "1":
                literal = f"splat (i64 {step})" if is_literal(step) else None
                steps = literal or Vector(self.row, self.width).splat(step, ir_types.i64)
                offsets = self.body.emit(f"mul {kind} {offsets}, {steps}", kind)
            total = offsets if total is None else self.body.emit(f"add {kind} {total}, {offsets}", kind)
        return total or self.v.literal(0, ir_types.i64)

    def gather(
        self,
        buffer: Buffer,
        index_map: Any,
        base: str,
        mask: str | None,
        integers: Sequence[Value] = (),
        mutable: bool = False,
    ) -> str:
        """Load an element for each lane; memory that is `mutable` is written in the same loop."""
        memory = memory_scalar(buffer.element)
        kind, mask_type = self.v.of(memory), self.v.of("i1")
        pointers = self.lane_pointers(buffer, index_map, base, integers)
        suffix = f"v{self.width}{_suffix(memory)}.v{self.width}p0"
        lanes = f"<{self.width} x ptr>"
        self.body.declare(f"declare {kind} @llvm.masked.gather.{suffix}({lanes}, i32, {mask_type}, {kind})")
        mask = mask or self.v.literal(True, ir_types.i1)
        align = max(1, buffer.element.itemsize)
        write = self.body.fresh if mutable else self.body.emit
        return write(
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
        offset = nest.offset(self.row, buffer, index_map, nest.inner, op.operands[2:])
        return buffer, index_map, nest.element_pointer(self.row, buffer, offset)

    def store(self, op: Op, value: str) -> None:
        buffer, index_map, base = self.target(op)
        name = self.nest.to_memory(self.v, value, buffer.element, op.operands[0].type)
        mask = self.counted(op) if self.nest.in_place else self.sink_mask(op)
        self.write_vector(buffer, index_map, base, name, mask)

    def write_vector(
        self, buffer: Buffer, index_map: Any, base: str, name: str, mask: str | None, integers: Sequence[Value] = ()
    ) -> None:
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
            arguments = f"{kind} {name}, ptr {pointer}, i32 {align}, {mask_type} {mask}"
            self.body.effect(f"call void @llvm.masked.store.{suffix}.p0({arguments})")
            return
        if mask is None and not any(self.nest.varies(index) for index in integers):
            self.store_lanes(buffer, index_map, name, integers)
            return
        pointers, lanes = self.lane_pointers(buffer, index_map, base, integers), f"<{self.width} x ptr>"
        suffix = f"v{self.width}{_suffix(memory)}.v{self.width}p0"
        self.body.declare(f"declare void @llvm.masked.scatter.{suffix}({kind}, {lanes}, i32, {mask_type})")
        mask = mask or self.v.literal(True, ir_types.i1)
        arguments = f"{kind} {name}, {lanes} {pointers}, i32 {align}, {mask_type} {mask}"
        self.body.effect(f"call void @llvm.masked.scatter.{suffix}({arguments})")

    # --- reductions ---

    def neutral(self, op: Op) -> str:
        element, how = op.operands[0].type, op.attributes["combine"]
        if how == "add" and element.kind == "f":
            return self.v.literal(-0.0, element)  # x + -0.0 is x, for -0.0 too
        return self.v.literal(neutral_element(how, element), element)

    def counted(self, op: Op) -> str | None:
        """Return the mask of lanes that count: inside the mask, not covered by the vector before; None for all."""
        mask = self.sink_mask(op)
        if mask is not None or self.fresh is None:
            return mask
        covered = self.body.emit(f"sub i64 {self.fresh}, {self.point}", "i64")
        if AVX512 in self.body.features and self.width >= 8:  # masks are bits there: fewer than `width` are covered
            bits = f"i{self.width}"
            count = self.body.emit(f"trunc i64 {covered} to {bits}", bits) if self.width < 64 else covered
            mask = self.body.emit(f"shl {bits} -1, {count}", bits)
            return self.body.emit(f"bitcast {bits} {mask} to {self.v.of('i1')}", self.v.of("i1"))
        kind = f"<{self.width} x i64>"
        iota = ", ".join(f"i64 {k}" for k in range(self.width))
        return self.body.emit(f"icmp sge {kind} <{iota}>, {self.v.splat(covered, ir_types.i64)}", self.v.of("i1"))

    def combined(self, op: Op, old: str, value: Value, negative: bool = False) -> str:
        """Return one step of a reduction; lanes that do not count keep what they had (masked: one instruction).

        What is added is subtracted if it is `negative`.
        """
        how, element = op.attributes["combine"], op.operands[0].type
        kind, factors = self.v.type(element), added_product(op, value)
        if factors is not None:
            first = self.value(factors[0])
            if negative:
                first = self.body.emit(f"fneg {kind} {first}", kind)
            new = self.v.intrinsic("fma", element, first, self.value(factors[1]), old)
        elif negative:
            new = self.body.fresh(f"fsub {kind} {old}, {self.value(value)}", kind)
        else:
            new = combine(self.v, how, element, old, self.value(value))
        counted = self.counted(op)
        return new if counted is None else self.v.select(counted, element, new, old)

    def accumulate(self, op: Op) -> str:
        return self.combined(op, self.nest.partial[op], op.operands[0])

    def mirror(self, op: Op, partial: str) -> str:
        """Combine what the mirror images of the points have into the elements of the innermost dimension.

        In a sum of everything it is combined into the vector of partial results, the new one of which is returned; what
        has no value of its own there counts twice when the vector joins the total.
        """
        nest, buffer, negative = self.nest, self.nest.buffers[op.operands[1]], op.attributes["mirror"] < 0
        if not moving_dims(op):
            return partial if len(op.operands) == 2 else self.combined(op, partial, op.operands[2], negative)
        index_map = [(nest.inner - dim if dim >= 0 else dim, *rest) for dim, *rest in nest.target_map(op)]
        base = nest.element_pointer(self.row, buffer, nest.offset(self.row, buffer, index_map, nest.inner))
        memory = memory_scalar(buffer.element)
        pointer = self.body.emit(f"getelementptr {memory}, ptr {base}, i64 {self.point}", "ptr")
        old = self.fresh_vector(memory, pointer, None, buffer)
        new = self.combined(op, old, op.operands[2 if op.operands[2:] else 0], negative)
        self.write_vector(buffer, index_map, base, new, None)
        return partial

    def combine_in_memory(self, op: Op, value: str) -> None:
        """Combine into a result that keeps the innermost dimension, or that outer loops come back to."""
        how, integers = op.attributes["combine"], op.operands[2:]
        buffer, index_map, base = self.target(op)
        memory, element = memory_scalar(buffer.element), op.operands[0].type
        if self.nest.inner in op.attributes["dims"]:
            mask = self.sink_mask(op)
            axis, _, _ = self.inner_axis(index_map)
            if buffer.strides[axis] == "1":
                pointer = self.body.emit(f"getelementptr {memory}, ptr {base}, i64 {self.point}", "ptr")
                old = self.fresh_vector(memory, pointer, mask, buffer)
            else:
                old = self.gather(buffer, index_map, base, mask, integers, mutable=True)
            old = convert(self.v, self.nest.from_memory(self.v, old, buffer.element), buffer.element, element)
            new = self.combined(op, old, op.operands[0])
            name = self.nest.to_memory(self.v, new, buffer.element, element)
            self.write_vector(buffer, index_map, base, name, mask, integers)
            return
        counted = self.counted(op)
        if counted is not None:
            value = self.v.select(counted, element, value, self.neutral(op))
        total = horizontal(self.body, value, how, element, self.width)
        self.nest.combine_scalar(Vector(self.body, 1), op, total, base)

    def scatter(self, op: Op, value: str) -> None:
        """Combine the lanes one after the other into elements that integers of theirs name.

        Under a mask, lanes that do not count are passed over; in a main loop, where there are some in the last vector
        only, they have a neutral element. Their integers are in bounds.
        """
        buffer, index_map, element = self.nest.buffers[op.operands[1]], self.nest.target_map(op), op.operands[0].type
        mask = self.counted(op)
        if self.limit is None and mask is not None:
            value = self.v.select(mask, element, value, self.neutral(op))
        body, kind = self.body, self.v.type(element)
        for lane, address in enumerate(self.lane_addresses(buffer, index_map, op.operands[2:])):
            scalar = body.emit(f"extractelement {kind} {value}, i64 {lane}", llvm_scalar(element))
            if self.limit is None:
                self.nest.combine_scalar(Vector(body, 1), op, scalar, address)
                continue
            counts = body.emit(f"extractelement {self.v.of('i1')} {mask}, i64 {lane}", "i1")
            place, rest = self.nest.label("place"), self.nest.label("placed")
            body.effect(f"br i1 {counts}, label %{place}, label %{rest}")
            body.label(place)
            self.nest.combine_scalar(Vector(body, 1), op, scalar, address)
            body.effect(f"br label %{rest}")
            body.label(rest)

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


def added_product(op: Op, value: Value) -> tuple[Value, Value] | None:
    """Return the factors if what a sink adds up is a product that nobody else uses: one instruction, one rounding."""
    product = value.op
    if op.attributes["combine"] != "add" or product is None or product.kind is not s.mulf:
        return None
    if product.result.type not in (ir_types.f32, ir_types.f64) or product.result.uses != {op: 1}:
        return None
    return product.operands[0], product.operands[1]


def _suffix(memory: str) -> str:
    return {"double": "f64", "float": "f32", "half": "f16"}.get(memory, memory)
