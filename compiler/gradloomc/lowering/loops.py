"""Assign buffers: turn kernels on arrays into loop nests over memory.

Arguments, results and temporaries become memrefs; region arguments become loads, yields become stores and reductions.
Adjacent dimensions that every buffer holds contiguously are merged and dimensions of one element dropped, so that an
elementwise kernel on any shape is one long loop.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradloomc.dialects import kernel, loops, nd
from gradloomc.dialects import scalar as s
from gradloomc.dialects.func import body_of, finish_function, function_like
from gradloomc.ir.builder import at, insertion
from gradloomc.ir.core import Block, Op, Region, Value
from gradloomc.ir.types import ScalarType, Type, memref
from gradloomc.lowering.matrices import gemm_attributes
from gradloomc.lowering.parallelize import loop_depths
from gradloomc.lowering.rows import term_role
from gradloomc.lowering.tile import Tiled, plan_tiles

# Points from which a nest is worth a longer compilation.
LONG_NEST = 1 << 15
# A nest that reads, writes and adds up more than this has enough to do at a time with single registers.
MOST_STREAMS = 24


def neutral_element(combine: str, type: ScalarType) -> Any:
    """Return the number that a reduction starts from."""
    if combine in ("maximum", "minimum"):
        sign = -1 if combine == "maximum" else 1
        if type.kind == "f":
            return sign * np.inf
        if type.kind == "b":
            return combine == "minimum"
        limits = np.iinfo(type.dtype)
        return int(limits.min if combine == "maximum" else limits.max)
    number = {"add": 0, "mul": 1, "or": False, "and": True}[combine]
    return float(number) if type.kind == "f" else number


class Shape:
    """How the dimensions of a nest are renamed when unit dimensions go and adjacent ones merge."""

    def __init__(self, extents: Sequence[int], merged: Sequence[Sequence[int]]):
        self.runs = merged  # each new dimension: the old ones that it stands for
        self.extents = tuple(math.prod(extents[d] for d in run) for run in merged)
        self.first = {run[0]: k for k, run in enumerate(merged)}
        self.inner = {d: run[0] for run in merged for d in run[1:]}


def collapse(op: Op, keep_rows: bool = False) -> Shape:
    """Return which dimensions of a kernel nest can be merged or dropped; `keep_rows` leaves the outermost one alone."""
    extents = op.attributes["extents"]
    kept = [d for d, extent in enumerate(extents) if extent != 1]
    pinned = {
        inner.attributes["dim"] for inner in op.regions[0].block.ops if inner.kind in (kernel.index, kernel.inside)
    }
    if keep_rows:
        pinned.add(0)
    runs: list[list[int]] = []
    for dim in kept:
        if runs and _mergeable(op, runs[-1][-1], dim, pinned):
            runs[-1].append(dim)
        else:
            runs.append([dim])
    return Shape(extents, runs)


def _mergeable(op: Op, outer: int, inner: int, pinned: set[int]) -> bool:
    extents = op.attributes["extents"]
    if outer in pinned or inner in pinned:
        return False
    for operand, index_map in kernel.reads_of(op):
        shape = op.operands[operand].type.shape
        uses = [axis for axis, (dim, _, _) in enumerate(index_map) if dim in (outer, inner)]
        if not uses:
            continue
        if len(uses) != 2 or any(shape[axis] != 1 for axis in range(uses[0] + 1, uses[1])):
            return False
        a, b = uses
        if index_map[a] != (outer, 1, 0) or index_map[b] != (inner, 1, 0):
            return False
        if shape[a] != extents[outer] or shape[b] != extents[inner]:
            return False
    for _, dims, low, high in op.attributes["outputs"]:
        for dim in (outer, inner):
            if low[dim] != 0 or high[dim] != extents[dim]:
                return False
        if (outer in dims) != (inner in dims):
            return False
        if outer in dims:
            start = dims.index(outer)
            between = dims[start + 1 : dims.index(inner)] if inner in dims[start:] else None
            if between is None or any(d < 0 or extents[d] != 1 for d in between):
                return False
    return True


class BufferAssignment:
    """Builds the loops-level function of one kernels-level function."""

    def __init__(self, function: Op, vector_bits: int):
        self.old = body_of(function)
        self.vector_bits = vector_bits
        types = [memref(a.type.shape, a.type.element) for a in self.old.arguments]
        self.new = function_like(function, types)
        self.values: dict[Value, Value] = dict(
            zip(self.old.arguments, body_of(self.new).arguments, strict=True)
        )
        self.views: dict[tuple[Value, Type], Value] = {}

    def run(self) -> Op:
        """Return the function on the loops level."""
        with at(body_of(self.new)):
            for op in plan_tiles(self.old.ops[:-1]):
                if isinstance(op, Tiled):
                    self.tiles(op)
                    continue
                insertion.location = op.location
                if op.kind is kernel.nest:
                    self.allocate(op)
                    self.nest(op)
                elif op.kind is nd.reshape:
                    self.values[op.results[0]] = self.view(self.values[op.operands[0]], op.results[0].type.shape)
                elif op.kind is kernel.product:
                    self.allocate(op)
                    self.multiply(op)
                elif op.kind is kernel.bounds:
                    loops.bounds(*[self.values[operand] for operand in op.operands], **op.attributes)
                elif op.kind is nd.constant:
                    self.values[op.results[0]] = loops.constant(value=op.attributes["value"])
                else:
                    self.extern(op)
            outputs = [self.values[value] for value in self.old.terminator.operands]
        return finish_function(self.new, outputs)

    def extern(self, op: Op) -> None:
        types = tuple(memref(r.type.shape, r.type.element) for r in op.results)
        attributes = tuple(sorted(op.attributes.items()))
        built = loops.extern.build(
            [self.values[operand] for operand in op.operands],
            {"callee": op.kind.name, "attributes": attributes, "results": types},
        )
        self.values.update(zip(op.results, built.results, strict=True))

    def multiply(self, op: Op, tiled: Tiled | None = None) -> None:
        """Call the BLAS for each term of a product, on all rows or a tile's; the first term may set the result."""
        result = op.results[0]
        adds = tiled is not None and term_role(op, 0) == "contracted"
        for position, term in enumerate(op.attributes["terms"]):
            x, y = op.operands[2 * position : 2 * position + 2]
            call = gemm_attributes(x.type.shape, y.type.shape, result.type.shape, kernel.term_attributes(term))
            call.update(alpha=term[0], beta=1.0 if position or adds else 0.0)
            if tiled is not None:
                call["rows"] = row_steps(call["shape"], x, y, result, adds)
            loops.gemm.build([self.values[x], self.values[y], self.values[result]], call)

    def view(self, buffer: Value, shape: tuple[int, ...]) -> Value:
        type = memref(shape, buffer.type.element)
        if type is buffer.type:
            return buffer
        key = (buffer, type)
        if key not in self.views:
            self.views[key] = loops.view(buffer, type=type)
        return self.views[key]

    def tiles(self, tiled: Tiled) -> None:
        """Put the nests of a group into one loop over tiles."""
        for op in tiled.ops:
            self.allocate(op, tiled)
        block = Block()
        for op in tiled.ops:
            insertion.location = op.location
            if op.kind is kernel.product:
                with at(block):
                    self.multiply(op, tiled)
            else:
                self.nest(op, block)
        with at(block):
            loops.end()
        loops.tiles.build([], {"extent": tiled.extent, "rows": tiled.rows}, [Region(block)])

    def allocate(self, op: Op, tiled: Tiled | None = None) -> None:
        """Make the buffers of a kernel's results; reductions start from the neutral element."""
        if op.kind is kernel.product:
            adds = tiled is not None and term_role(op, 0) == "contracted"
            combines = {op.results[0]: "add" if adds else "store"}
        else:
            combines = {result: combine for combine, _, _, _, result in kernel.outputs_of(op)}
        for result, combine in combines.items():
            type = memref(result.type.shape, result.type.element)
            if tiled is not None and result in tiled.scratch:
                self.values[result] = loops.scratch(type=type, rows=tiled.rows)
                continue
            buffer = loops.alloc(type=type)
            if combine != "store":
                how = combine.removeprefix(kernel.SCATTER)
                loops.fill(buffer, value=neutral_element(how, buffer.type.element))
            self.values[result] = buffer

    def nest(self, op: Op, tile: Block | None = None) -> None:
        """Build a nest in `tile` or at the insertion point; views stand at the insertion point, for later nests too."""
        shape = collapse(op, keep_rows=tile is not None)
        attributes = op.attributes
        block = Block()
        buffers: dict[Value, None] = {}
        outputs = kernel.outputs_of(op)
        region = op.regions[0].block
        inside: dict[Value, Value] = {}
        sources = []
        for operand, index_map in attributes["inputs"]:
            buffer = self.values[op.operands[operand]]
            sources.append(self.mapped(buffer, index_map, shape))
            buffers[sources[-1][0]] = None
        tables: dict[Op, tuple[Value, Any]] = {}
        for inner in region.ops:
            if inner.kind is kernel.gather:
                buffer = self.values[op.operands[inner.attributes["operand"]]]
                tables[inner] = self.mapped(buffer, inner.attributes["map"], shape)
                buffers[tables[inner][0]] = None
        targets = []
        for _, dims, low, high, result in outputs:
            targets.append(self.target(self.values[result], dims, low, high, shape))
            buffers[targets[-1][0]] = None
        with at(block):
            for argument, (buffer, index_map) in zip(region.arguments, sources, strict=True):
                inside[argument] = loops.load(buffer, map=index_map)
            places: dict[Value, tuple[Value, ...]] = {}
            for inner in region.ops[:-1]:
                operands = tuple(inside.get(operand, operand) for operand in inner.operands)
                if inner.kind is kernel.gather:
                    table, index_map = tables[inner]
                    inside[inner.result] = loops.load(table, *operands, map=index_map)
                    inner.drop_uses()
                elif inner.kind is kernel.place:
                    places[inner.result] = operands
                    inner.drop_uses()
                else:
                    self.move(inner, inside, shape, block)
            for (buffer, dims, low, high), (combine, *_), value in zip(
                targets, outputs, region.terminator.operands, strict=True
            ):
                if value in places:
                    how = combine.removeprefix(kernel.SCATTER)
                    scalar, *indices = places[value]
                    loops.scatter(scalar, buffer, *indices, combine=how, dims=dims, low=low, high=high)
                    continue
                scalar = inside.get(value, value)
                if combine == "store":
                    loops.store(scalar, buffer, dims=dims, low=low, high=high)
                else:
                    loops.reduce(scalar, buffer, combine=combine, dims=dims, low=low, high=high)
            loops.end()
        region.terminator.drop_uses()
        with at(insertion.block if tile is None else tile):
            loops.nest.build(
                list(buffers), {"extents": shape.extents, "width": self.width(block, shape)}, [Region(block)]
            )

    def move(self, op: Op, inside: dict[Value, Value], shape: Shape, block: Block) -> None:
        """Move a region op from the kernel to the loop body."""
        attributes = op.attributes
        if op.kind in (kernel.index, kernel.inside):
            dim = attributes["dim"]
            if dim not in shape.first:  # a dimension of one element: its point is 0
                number = 0 if op.kind is kernel.index else attributes["low"] <= 0 < attributes["high"]
                inside[op.results[0]] = s.number(number, op.results[0].type)
                return
            op.attributes = {**attributes, "dim": shape.first[dim]}
        for operand in op.operands:
            if operand in inside:
                op.set_operands([inside.get(operand, operand) for operand in op.operands])
                break
        block.append(op)

    def mapped(self, buffer: Value, index_map: Any, shape: Shape) -> tuple[Value, Any]:
        """Rename the dimensions of a load; merge the buffer's axes accordingly."""
        new_shape, new_map = [], []
        for extent, (dim, coefficient, offset) in zip(buffer.type.shape, index_map, strict=True):
            if dim in shape.inner:  # follows its outer neighbour: one longer axis
                position = max(k for k, entry in enumerate(new_map) if entry[0] == shape.first[shape.inner[dim]])
                new_shape[position] *= extent
                continue
            new_shape.append(extent)
            if dim < -1:
                new_map.append((dim, coefficient, offset))
            elif dim >= 0 and dim in shape.first:
                new_map.append((shape.first[dim], coefficient, offset))
            else:
                new_map.append((-1, 0, offset))
        kept = [k for k, extent in enumerate(new_shape) if extent != 1 or new_map[k][0] != -1]
        return (
            self.view(buffer, tuple(new_shape[k] for k in kept)),
            tuple(new_map[k] for k in kept),
        )

    def target(self, buffer: Value, dims: Any, low: Any, high: Any, shape: Shape) -> Any:
        """Rename the dimensions of a store or reduction."""
        new_dims, new_shape = [], []
        for dim, extent in zip(dims, buffer.type.shape, strict=True):
            if dim < 0:
                new_dims.append(dim)
                new_shape.append(extent)
            elif dim in shape.inner:
                position = new_dims.index(shape.first[shape.inner[dim]])
                new_shape[position] *= extent
            elif dim in shape.first:
                new_dims.append(shape.first[dim])
                new_shape.append(extent)
        runs = shape.runs
        new_low = tuple(low[run[0]] if len(run) == 1 else 0 for run in runs)
        new_high = tuple(
            high[run[0]] if len(run) == 1 else shape.extents[k] for k, run in enumerate(runs)
        )
        return self.view(buffer, tuple(new_shape)), tuple(new_dims), new_low, new_high

    def width(self, block: Block, shape: Shape) -> int:
        """Elements per vector: one full register of the widest type that is computed in vectors, two for long loops.

        Two registers in flight hide latencies (measured 1.2 to 1.35 times the speed of one on Black-Scholes), but take
        a third more compile time, so short loops do without.
        """
        if not shape.extents or shape.extents[-1] == 1:
            return 1
        inner, bits = len(shape.extents) - 1, 8
        for value, depth in loop_depths(block.ops).items():
            if depth == inner:  # all else is a scalar, like the extent that a mean divides by
                bits = max(bits, 8 if value.type.kind == "b" else value.type.bits)
        streams = sum(op.kind is loops.load or op.kind in loops.SINKS for op in block.ops)
        registers = 2 if math.prod(shape.extents) >= LONG_NEST and streams <= MOST_STREAMS else 1
        return max(2, registers * self.vector_bits // max(bits, 32))


def row_steps(shape: tuple[int, int, int], x: Value, y: Value, result: Value, contracted: bool) -> tuple[int, ...]:
    """Return what a row is to a product: (which extent it is part of, how much of it, steps in x, y, result)."""
    extent = x.type.shape[0]
    if contracted:
        return (2, shape[2] // extent, x.type.size // extent, y.type.size // extent, 0)
    return (0, shape[0] // extent, x.type.size // extent, 0, result.type.size // extent)


def lower_to_loops(function: Op, vector_bits: int = 512) -> Op:
    """Return a kernels-level function on the loops level (its kernels' regions are moved, not copied)."""
    return BufferAssignment(function, vector_bits).run()
