"""Tile: let kernels that walk the same rows take turns on a few rows at a time, so that a row is read from memory once.

A softmax needs three walks over a row and a logistic regression two over its matrix. Kernels in a row of the program
whose outermost dimension is the same, and of which each reads from the others only the row that it is at, form a group;
lowering runs the whole group on a tile of rows that fits the cache, then on the next. Sums over all rows go on across
tiles and are ready after the group.
"""

from gradloomc.dialects import kernel, nd
from gradloomc.ir.core import Op, Value

# A tile's rows, with all buffers of the group, should fit in half of a second-level cache.
TILE_BYTES = 1 << 18
# Below this a whole array stays in the cache anyway.
MEMORY_BYTES = 1 << 17
LEAST_ROWS = 32
# What only the kernels of a tile see lives on the stack, if all of it is no larger than this.
SCRATCH_BYTES = 1 << 18


class Tiled:
    """Kernels that run together, `rows` of `extent` rows at a time; of `scratch` only a tile's rows ever exist."""

    __slots__ = ("extent", "ops", "rows", "scratch")

    def __init__(self, ops: list[Op], extent: int, rows: int, scratch: set[Value]):
        self.ops, self.extent, self.rows, self.scratch = ops, extent, rows, scratch


def plan_tiles(operations: list[Op]) -> list[Op | Tiled]:
    """Return the operations of a kernels-level function in order, groups of nests put together."""
    planner = _Planner()
    for op in operations:
        planner.add(op)
    planner.close()
    return planner.items


class _Planner:
    """Collects a group until something cannot join; what only needs its totals is put off until after it."""

    def __init__(self) -> None:
        self.items: list[Op | Tiled] = []
        self.group: list[Op] = []
        self.later: list[Op] = []
        self.rows: set[Value] = set()  # results that hold one entry per row
        self.totals: set[Value] = set()  # results that are complete only after the group

    def add(self, op: Op) -> None:
        if op.kind is nd.constant:
            self.items.append(op)
        elif not any(value in self.rows or value in self.totals for value in op.operands):
            if op.kind is kernel.nest and self.may_join(op):
                self.join(op)
            elif op.kind is kernel.nest or op.kind is nd.reshape:
                self.items.append(op)  # independent of the group: it may come before it
            else:
                self.close()
                self.items.append(op)
        elif op.kind is kernel.nest and self.may_join(op):
            self.join(op)
        elif op.kind is kernel.nest and not self.group_reads(op):
            self.put_off(op)
        else:
            self.close()
            self.add(op)

    def put_off(self, op: Op) -> None:
        self.later.append(op)
        self.totals.update(op.results)

    def group_reads(self, op: Op) -> bool:
        """Tell whether putting an op off would keep it from a group of its own."""
        return len(op.attributes["extents"]) > 0 and op.attributes["extents"][0] >= LEAST_ROWS

    def may_join(self, op: Op) -> bool:
        extents = op.attributes["extents"]
        if not extents or extents[0] < LEAST_ROWS or 0 in extents:
            return False
        if self.group and self.group[0].attributes["extents"][0] != extents[0]:
            return False
        if any(inner.kind is kernel.inside and inner.attributes["dim"] == 0 for inner in op.regions[0].block.ops):
            return False
        for operand, index_map in op.attributes["inputs"]:
            value = op.operands[operand]
            if value in self.totals:
                return False
            if value in self.rows and not _reads_own_row(value, index_map):
                return False
        return all(
            low[0] == 0 and high[0] == extents[0] and (0 not in dims or dims[0] == 0)
            for _, dims, low, high in op.attributes["outputs"]
        )

    def join(self, op: Op) -> None:
        self.group.append(op)
        for _, dims, _, _, result in kernel.outputs_of(op):
            (self.rows if 0 in dims else self.totals).add(result)

    def close(self) -> None:
        """End the group: emit it tiled if that saves memory traffic, else kernel by kernel."""
        group, later = self.group, self.later
        self.group, self.later = [], []
        self.rows, self.totals = set(), set()
        if len(group) > 1 and _shares_memory(group):
            rows = _tile_rows(group)
            self.items.append(Tiled(group, group[0].attributes["extents"][0], rows, _scratch(group, rows)))
        else:
            self.items += group
        for op in later:
            self.add(op)


def _reads_own_row(value: Value, index_map: tuple[tuple[int, int, int], ...]) -> bool:
    return (
        len(index_map) > 0
        and index_map[0] == (0, 1, 0)
        and all(dim != 0 for dim, _, _ in index_map[1:])
    )


def _row_buffers(op: Op) -> set[Value]:
    """Return the arrays that a nest walks row by row."""
    found = {
        op.operands[operand]
        for operand, index_map in op.attributes["inputs"]
        if index_map and index_map[0] == (0, 1, 0)
    }
    for _, dims, _, _, result in kernel.outputs_of(op):
        if 0 in dims:
            found.add(result)
    return found


def _bytes(value: Value) -> int:
    return value.type.size * value.type.element.itemsize


def _scratch(group: list[Op], rows: int) -> set[Value]:
    """Return the results that no one outside the group reads, and that its kernels read row by row."""
    wide = {op for op in group if any(extent > 1 for extent in op.attributes["extents"][1:])}
    found = [
        result
        for op in group
        if op in wide
        for combine, dims, _, _, result in kernel.outputs_of(op)
        if combine == "store" and len(dims) > 1 and dims[0] == 0 and all(user in wide for user in result.uses)
    ]
    taken = sum(_bytes(value) // value.type.shape[0] for value in found) * rows
    return set(found) if taken <= SCRATCH_BYTES else set()


def _shares_memory(group: list[Op]) -> bool:
    """Tell whether two kernels of the group walk the same array that is too large for the cache."""
    seen: set[Value] = set()
    for op in group:
        buffers = {value for value in _row_buffers(op) if _bytes(value) >= MEMORY_BYTES}
        if buffers & seen:
            return True
        seen |= buffers
    return False


def _tile_rows(group: list[Op]) -> int:
    """Return how many rows fit the cache: a multiple of 64, so that vectors along the rows are whole."""
    extent = group[0].attributes["extents"][0]
    buffers = set().union(*[_row_buffers(op) for op in group])
    row_bytes = max(1, sum(_bytes(value) // extent for value in buffers))
    return max(1, TILE_BYTES // row_bytes // LEAST_ROWS) * LEAST_ROWS
