"""Tile: let kernels that walk the same rows take turns on a few rows at a time, so that a row is read from memory once.

A softmax needs three walks over a row and a logistic regression two over its matrix. Kernels in a row of the program
whose outermost dimension is the same, and of which each reads from the others only the row that it is at, form a group;
lowering runs the whole group on a tile of rows that fits the cache, then on the next. Sums over all rows go on across
tiles and are ready after the group.

Matrix products join in: a batch of samples goes through a network, forward and backward, a few rows at a time, and its
activations never leave the cache. Gradients of weights are products that add up over the tiles.
"""

from gradloomc.dialects import kernel, nd
from gradloomc.ir.core import Op, Value
from gradloomc.lowering.rows import Walk, walk_of

# A tile's rows, with all buffers of the group, should fit in half of a second-level cache.
TILE_BYTES = 1 << 18
# Where the least tile fits the first-level cache, tiles stay in that.
SMALL_TILE_BYTES = 1 << 15
# Below this a whole array stays in the cache anyway.
MEMORY_BYTES = 1 << 17
LEAST_ROWS = 32
# What only the kernels of a tile see lives on the stack, if all of it is no larger than this.
SCRATCH_BYTES = 1 << 18
# Where a group has matrix products, a tile needs more rows to be worth their calls, and may take a whole such cache.
PRODUCT_ROWS = (64, 128, 256)
CACHE_BYTES = 1 << 20
# Reading again what lies in that cache costs so much less than a trip to memory.
CACHE_SPEED = 4


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
        self.group: Group = []
        self.later: list[Op] = []
        self.rows: set[Value] = set()  # results that hold one entry per row
        self.totals: set[Value] = set()  # results that are complete only after the group

    def add(self, op: Op) -> None:
        if op.kind is nd.constant:
            self.items.append(op)
        elif not any(value in self.rows or value in self.totals for value in op.operands):
            if self.may_join(op):
                self.join(op)
            elif op.kind in (kernel.nest, kernel.product, nd.reshape):
                self.items.append(op)  # independent of the group: it may come before it
            else:
                self.close()
                self.items.append(op)
        elif self.may_join(op):
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
        walk = walk_of(op)
        if walk is None or walk.extent < LEAST_ROWS:
            return False
        if self.group and self.group[0][1].extent != walk.extent:
            return False
        if any(value in self.totals for value in op.operands):
            return False
        return not any(value in self.rows for value in walk.whole)

    def join(self, op: Op) -> None:
        walk = walk_of(op)
        assert walk is not None
        self.group.append((op, walk))
        self.rows |= walk.rows
        self.totals |= walk.totals

    def close(self) -> None:
        """End the group: emit it tiled if that saves memory traffic, else kernel by kernel."""
        group, later = self.group, self.later
        self.group, self.later = [], []
        self.rows, self.totals = set(), set()
        rows = _tile_rows(group) if len(group) > 1 else 0
        if rows:
            self.items.append(Tiled([op for op, _ in group], group[0][1].extent, rows, _scratch(group, rows)))
        else:
            self.items += [op for op, _ in group]
        for op in later:
            self.add(op)


Group = list[tuple[Op, Walk]]


def _bytes(value: Value) -> int:
    return value.type.size * value.type.element.itemsize


def _scratch(group: Group, rows: int) -> set[Value]:
    """Return the results that no one outside the group reads, and that its kernels read row by row."""
    wide = {
        op
        for op, _ in group
        if op.kind is kernel.product or any(extent > 1 for extent in op.attributes["extents"][1:])
    }
    found = [
        result
        for op, walk in group
        if op in wide
        for result in op.results
        if result in walk.rows and _is_stored(op, result) and all(user in wide for user in result.uses)
    ]
    taken = sum(_bytes(value) // value.type.shape[0] for value in found) * rows
    most = CACHE_BYTES if any(op.kind is kernel.product for op, _ in group) else SCRATCH_BYTES
    return set(found) if taken <= most else set()


def _is_stored(op: Op, result: Value) -> bool:
    """Tell whether a kernel writes each element of a result once, in rows of several elements."""
    if op.kind is kernel.product:
        return True
    parts = [(combine, dims) for combine, dims, _, _, value in kernel.outputs_of(op) if value is result]
    return all(combine == "store" and len(dims) > 1 and dims[0] == 0 for combine, dims in parts)


def _tile_rows(group: Group) -> int:
    """Return how many rows a tile has, so that they fit the cache; 0 if tiles would save no memory traffic.

    Matrix products read their right operands, and add to their totals, once more for each tile; where that is more
    than the tiles save, larger ones may still do.
    """
    walkers: dict[Value, int] = {}
    for _, walk in group:
        for value in walk.buffers:
            walkers[value] = walkers.get(value, 0) + 1
    extent = group[0][1].extent
    row_bytes = max(1, sum(_bytes(value) // extent for value in walkers))
    products = [walk for op, walk in group if op.kind is kernel.product]
    rows = max(1, TILE_BYTES // row_bytes // LEAST_ROWS) * LEAST_ROWS
    if not products:
        if not any(n > 1 and _bytes(value) >= MEMORY_BYTES for value, n in walkers.items()):
            return 0
        if row_bytes * LEAST_ROWS <= SMALL_TILE_BYTES:
            return SMALL_TILE_BYTES // row_bytes // LEAST_ROWS * LEAST_ROWS
        return rows
    if row_bytes * extent < 2 * CACHE_BYTES:
        return 0
    saved = sum((count - 1) * _bytes(value) for value, count in walkers.items())
    repeated = [value for walk in products for value in (*walk.whole, *walk.totals, *walk.totals)]
    again = sum(map(_bytes, repeated))
    if sum(map(_bytes, set(repeated))) <= CACHE_BYTES:
        again //= CACHE_SPEED
    for rows in sorted({max(rows, least) for least in PRODUCT_ROWS}):
        if extent >= 2 * rows and again * (extent // rows) < saved:
            return rows
    return 0
