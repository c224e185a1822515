"""Parallelize: mark nests that are work enough for several threads with the chunks that they may be cut into.

A mark is the attribute `chunk = [dim, unit, count]`: dimension `dim` falls into so many chunks of nearly equal length,
whole multiples of `unit` points but for the last; each may run on any thread, and what chunks reduce is combined in
their order. Where one ends follows from extents and costs alone, never from the number of threads, so results have the
same bits on every machine and with any number of threads. The meaning of the nest is the same with or without.

The unit of cost is the op records': one addition. Nests below `LEAST_WORK` stay as they are, to the last bit.
"""

import itertools
import math
from collections.abc import Sequence

from gradloomc.dialects import kernel, loops
from gradloomc.dialects.func import body_of
from gradloomc.ir.core import Op, Value
from gradloomc.lowering.rings import rows_behind

# One cycle adds one register of 64 bytes, so an addition takes its type's size / 64 cycles. A chunk should take some 10
# microseconds: long beside the handshake of threads (0.3), short beside what is waited for in the end.
BYTES_PER_CYCLE = 64
CHUNK_WORK = 30_000
LEAST_WORK = 2 * CHUNK_WORK
# Work is counted in whole parts of a cycle, because extents (which need not be fixed) are whole numbers.
PARTS = 1024
# Bytes that one core reads or writes per cycle from memory, and from its cache.
MEMORY_BYTES_PER_CYCLE = 4
CACHE_BYTES_PER_CYCLE = 32
CACHE_BYTES = 1 << 20
GATHER_COST = 8.0
MOST_CHUNKS = 128
# A chunk of an innermost dimension is a multiple of the vectors between two flushes of a sum.
CHUNK_VECTORS = 16
# Where each of a few chunks would have fewer such units than this, it may end at any vector, so that all take as long.
EVEN_UNITS, EVEN_CHUNKS = 8, 64
# A chunk's own copies of results that all chunks add to: no more than this for all chunks together, and the time to set
# and to combine them a small share of the chunk's work.
COPIES_BYTES = 1 << 22
COPY_BYTES_PER_CYCLE = 8
COPIES_SHARE = 80
# A dimension with fewer chunks than this is cut only where the other one has no more.
FEW_CHUNKS = 8
# In a halved nest the first chunk has fewer rows than others, because they are longer: with so many for each chunk, on
# average, it has two.
HALVED_ROWS = 4
# A chunk has so many rows for each one that it computes again because it needs what the chunk before has.
ROWS_FOR_ONE_AGAIN = 32
# From so many tiles on a chunk has whole ones.
MANY_TILES = 16
# Of fewer, one with matrix products has a multiple of so many rows: a call for less is slow.
PRODUCT_ROWS = 64


def loop_depths(ops: Sequence[Op]) -> dict[Value, int]:
    """Return the deepest dimension that each scalar of a nest varies with; -1 for none."""
    depths: dict[Value, int] = {}
    for op in ops:
        if not op.results:
            continue
        if op.kind is loops.load:
            depth = max([dim for dim, coefficient, _ in op.attributes["map"] if coefficient and dim >= 0], default=-1)
            depth = max([depth, *[depths.get(index, -1) for index in op.operands[1:]]])
        elif op.kind in (kernel.index, kernel.inside):
            depth = op.attributes["dim"]
        else:
            depth = -1
            for operand in op.operands:
                found = depths.get(operand, -1)
                if found > depth:
                    depth = found
        depths[op.results[0]] = depth
    return depths


def work_of(nests: Sequence[Op]) -> int | None:
    """Return the parts of cycles that nests take on one core: of each its arithmetic, or its traffic if that is longer.

    None if that is too little for several threads (found out, for most nests, without comparing the two: which one is
    longer is of no account then).
    """
    works = [nest_work(nest) for nest in nests]
    if sum(arithmetic + traffic for arithmetic, traffic in works) < LEAST_WORK * PARTS:
        return None
    work = sum(max(arithmetic, traffic) for arithmetic, traffic in works)
    return None if work < LEAST_WORK * PARTS else work


def nest_work(op: Op) -> tuple[int, int]:
    """Return the parts of cycles that the arithmetic of a nest or a product takes on one core, and its traffic."""
    if op.kind is loops.gemm:
        # About one register of multiply-adds per cycle, in cache: what it reads and writes is of no account.
        points = math.prod((*op.attributes["shape"], *[extent for extent, *_ in op.attributes["batch"]]))
        return points * op.operands[2].type.element.itemsize * (PARTS // BYTES_PER_CYCLE), 0
    extents: tuple[int, ...] = op.attributes["extents"]
    inner = len(extents) - 1
    ops = op.regions[0].block.ops[:-1]
    depths = loop_depths(ops)
    traffic = 0
    at_depth = [0] * (inner + 2)  # parts of cycles for each point of so many dimensions
    wide = op.attributes["width"] > 1
    for inside in ops:
        if inside.kind is loops.prefetch:
            continue
        element = (inside.results or inside.operands)[0].type
        depth = depths[inside.results[0]] if inside.results else inner
        share = max(4, element.itemsize) / BYTES_PER_CYCLE if depth == inner and wide else 0.5
        at_depth[depth + 1] += round(_cost(inside, inner) * share * PARTS)
    arithmetic = sum([math.prod(extents[:dims]) * parts for dims, parts in enumerate(at_depth) if parts])
    if "halved" in op.attributes:
        arithmetic //= 2
    for value in dict.fromkeys(op.operands):
        size = bytes_of(value)
        traffic += size * PARTS // (MEMORY_BYTES_PER_CYCLE if size >= CACHE_BYTES else CACHE_BYTES_PER_CYCLE)
    return arithmetic, traffic


def _cost(op: Op, inner: int) -> float:
    if op.kind is loops.load:
        index_map = op.attributes["map"]
        if len(op.operands) > 1:
            return GATHER_COST
        uses = [k for k, (dim, _, _) in enumerate(index_map) if dim == inner]
        if uses and (uses != [len(index_map) - 1] or index_map[-1][1] != 1):
            return GATHER_COST
    return op.kind.cost


def bytes_of(buffer: Value) -> int:
    """Return the bytes of a buffer's elements."""
    size = buffer.type.element.itemsize
    for extent in buffer.type.shape:
        size *= extent
    return size


def parallelize_function(function: Op) -> Op:
    """Mark the nests of a loops-level function, in place, that are worth several threads; return it."""
    for op in body_of(function).ops:
        if op.kind is loops.nest:
            chunk = _nest_chunk(op)
        elif op.kind is loops.tiles:
            chunk = _tiles_chunk(op)
        else:
            continue
        if chunk is not None:
            op.attributes = {**op.attributes, "chunk": chunk}
    return function


def _nest_chunk(op: Op) -> tuple[int, int, int] | None:
    extents: tuple[int, ...] = op.attributes["extents"]
    if not extents or 0 in extents or op.attributes["width"] == 1:
        return None
    work = work_of([op])
    if work is None:
        return None
    inner = len(extents) - 1
    found: list[tuple[int, int, int, int]] = []
    halved, again = "halved" in op.attributes, rows_behind(op)  # what the chunk before has computed
    for dim in [0] if halved or again else sorted({0, inner}):
        copies = copies_bytes([op], dim)
        if dim == inner and not halved:
            unit, count = _inner_chunks(op, work, copies)
        else:
            unit = max(1, again * ROWS_FOR_ONE_AGAIN)
            count = chunk_count(extents[0] // (HALVED_ROWS if halved else unit), work, copies)
        if count > 1:
            found.append((copies or 0, dim, unit, count))
    if len(found) > 1:  # compared only where there is a choice: what is asked of an extent narrows where programs fit
        found.sort(key=lambda each: (each[3] < FEW_CHUNKS, each[0]))
    return found[0][1:] if found else None


def _inner_chunks(op: Op, work: int, copies: int | None) -> tuple[int, int]:
    """Return the unit and the number of chunks of a nest's innermost dimension."""
    extent, width = op.attributes["extents"][-1], op.attributes["width"]
    length = longest_piece(op)
    if length is not extent and 8 * length < 7 * extent:
        return 1, 1  # the first chunk would run all that lies beside the longest piece
    unit = CHUNK_VECTORS * width
    count = chunk_count(length // unit, work, copies)
    finer = chunk_count(length // width, work, copies)
    return (width, finer) if length // unit < EVEN_UNITS * min(finer, EVEN_CHUNKS) else (unit, count)


def _tiles_chunk(op: Op) -> tuple[int, int, int] | None:
    steps = op.regions[0].block.ops[:-1]
    nests = [step for step in steps if step.kind is loops.nest]
    work = work_of(steps)
    if work is None or any(0 in nest.attributes["extents"] for nest in nests):
        return None
    extent, unit = op.attributes["extent"], op.attributes["rows"]
    if len(nests) < len(steps):
        if extent // unit < MANY_TILES:
            unit = min(unit, PRODUCT_ROWS)
    elif extent // unit < MANY_TILES:
        # Of nests along the rows, a last vector may reach back before its tile, but not before the chunk.
        along = [nest.attributes["width"] for nest in nests if len(nest.attributes["extents"]) == 1]
        unit = min(unit, max(along, default=1))
    count = chunk_count(extent // unit, work, copies_bytes(steps, 0))
    return (0, unit, count) if count > 1 else None


def chunk_count(units: int, work: int, copies: int | None) -> int:
    """Return into how many chunks a dimension is cut; 1 if it should not be.

    Args:
        units: the pieces that it can be cut into.
        work: parts of cycles in all.
        copies: bytes of the results of which each chunk needs its own copy; None if that is not possible.
    """
    if copies is None:
        return 1
    count = min(MOST_CHUNKS, work // (CHUNK_WORK * PARTS), units)
    if copies:
        worth = work * COPY_BYTES_PER_CYCLE // (copies * COPIES_SHARE * PARTS)
        count = min(count, 1 + COPIES_BYTES // copies, worth)
    if count > 1:
        count = -(-units // -(-units // count))  # of few units, each chunk gets as many
    for divisor in (4, 2):  # what two or four threads share evenly
        if count >= divisor:
            return count // divisor * divisor
    return 1


def copies_bytes(steps: Sequence[Op], dim: int) -> int | None:
    """Return the bytes of results that all chunks of `dim` would write; None if one cannot be combined afterwards."""
    for step in steps:
        if step.kind is loops.nest and any(
            op.kind is loops.store and dim not in op.attributes["dims"] for op in step.regions[0].block.ops
        ):
            return None
    return sum(bytes_of(buffer) for buffer in copied(steps, dim))


def copied(steps: Sequence[Op], dim: int) -> dict[Value, tuple[str, Op]]:
    """Return the buffers that all chunks of `dim` reduce into along other dimensions: how, and which step does."""
    found: dict[Value, tuple[str, Op]] = {}
    for step in steps:
        if step.kind is loops.gemm:
            if step.attributes["rows"][0] == 2:  # rows are contracted: the product adds to all of its result
                found[step.operands[2]] = "add", step
            continue
        for op in step.regions[0].block.ops:
            if op.kind in (loops.reduce, loops.scatter):
                dims = op.attributes["dims"]
                everywhere = dim not in dims or "mirror" in op.attributes
                if everywhere and (op.kind is loops.scatter or max(dims, default=-1) >= 0):
                    found[op.operands[1]] = op.attributes["combine"], step
    return found


def longest_piece(op: Op) -> int:
    """Return the points of the longest piece of the innermost dimension between positions where a test changes."""
    dim = len(op.attributes["extents"]) - 1
    cuts = piece_cuts(op.regions[0].block.ops, dim, op.attributes["extents"][dim])
    return max(high - low for low, high in itertools.pairwise(cuts))


def piece_cuts(ops: Sequence[Op], dim: int, extent: int) -> list[int]:
    """Return the positions of a dimension at which a test or the box of a sink begins or ends, in order."""
    cuts = {0, extent}
    for op in ops:
        if op.kind is kernel.inside and op.attributes["dim"] == dim:
            cuts.update((op.attributes["low"], op.attributes["high"]))
        elif op.kind in loops.SINKS:
            cuts.update((op.attributes["low"][dim], op.attributes["high"][dim]))
    return sorted(cuts)
