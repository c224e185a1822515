"""Ahead: while a group of nests computes on one tile of rows, let it ask for the memory that comes next.

The nests of a group take turns on a tile. The first one waits for memory, the heaviest leaves memory idle, and the last
one waits again, for the lines that it writes to. So the heaviest nest asks for the next tile's rows of what the group
reads, and for this tile's rows of what nests after it store: a few instructions for each line.
"""

from gradloomc.dialects import loops
from gradloomc.dialects.func import body_of
from gradloomc.ir.builder import at
from gradloomc.ir.core import Op, Value
from gradloomc.lowering.parallelize import bytes_of, loop_depths

# Smaller arrays stay in a core's own caches from call to call.
AHEAD_BYTES = 1 << 21


def ask_ahead(function: Op) -> Op:
    """Add prefetches to the tiles of a loops-level function, in place; return it."""
    for op in body_of(function).ops:
        if op.kind is loops.tiles:
            _ask(op)
    return function


def _ask(tiles: Op) -> None:
    nests = [op for op in tiles.regions[0].block.ops if op.kind is loops.nest and len(op.attributes["extents"]) > 1]
    wide = [nest for nest in nests if nest.attributes["width"] > 1]
    if not wide:
        return
    heaviest = max(wide, key=_work)  # the first of equals
    stored = {op.operands[1] for nest in nests for op in nest.regions[0].block.ops if op.kind is loops.store}
    wanted: dict[Value, bool] = {}  # buffer -> whether it is going to be written
    for nest in nests:
        for op in nest.regions[0].block.ops:
            if op.kind is loops.load and op.operands[0] not in stored:
                if op.attributes["map"] == _point(nest) and _is_far(op.operands[0], heaviest):
                    wanted[op.operands[0]] = False
    for nest in nests[nests.index(heaviest) + 1 :]:
        for op in nest.regions[0].block.ops:
            if op.kind is loops.store and op.attributes["dims"] == tuple(range(len(nest.attributes["extents"]))):
                if _is_far(op.operands[1], heaviest):
                    wanted.setdefault(op.operands[1], True)
    block = heaviest.regions[0].block
    end = block.ops.pop()
    with at(block, heaviest.location):
        for buffer, write in wanted.items():
            first, *rest = _point(heaviest)
            row = first if write else (0, 1, tiles.attributes["rows"])
            loops.prefetch(buffer, map=(row, *rest), write=write)
    block.ops.append(end)
    heaviest.set_operands(list(dict.fromkeys([*heaviest.operands, *wanted])))


def _work(nest: Op) -> float:
    """Return what a point of a nest costs, in additions."""
    ops = nest.regions[0].block.ops[:-1]
    depths, inner = loop_depths(ops), len(nest.attributes["extents"]) - 1
    return sum(op.kind.cost for op in ops if not op.results or depths[op.results[0]] == inner)


def _point(nest: Op) -> tuple[tuple[int, int, int], ...]:
    """Return the map of a buffer that is read at the point itself."""
    return tuple((dim, 1, 0) for dim in range(len(nest.attributes["extents"])))


def _is_far(buffer: Value, nest: Op) -> bool:
    """Tell whether a nest's points are the elements of a buffer, and the buffer too large for the caches."""
    if buffer.type.shape != nest.attributes["extents"] or (buffer.op is not None and buffer.op.kind is loops.scratch):
        return False
    return bytes_of(buffer) >= AHEAD_BYTES
