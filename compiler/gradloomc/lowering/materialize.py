"""Decide which values of an `nd` function exist as arrays in memory; all others are computed inside the loops that use
them.

A value is materialized for a reason that can be printed: it is a result, an operand of an extern (gemm, gather), a
reduction, a reshaped array, or recomputing it would cost more than writing and reading it. This file only decides;
fuse.py builds.
"""

from collections.abc import Sequence

from gradloomc.dialects import kernel, nd
from gradloomc.dialects.func import body_of
from gradloomc.ir.core import Op, Value
from gradloomc.ir.extents import hint_of
from gradloomc.lowering import unroll
from gradloomc.lowering.index_maps import IndexMap, identity_map, index_maps, sources_of, table_of

# In additions per element: what writing an element to memory and reading it back is worth.
STORE_COST = 60.0
# At more places than this an element is not recomputed even if that is cheap, to keep loops small.
MOST_PLACES = 16
# Above this, a value is not recomputed for every element that it is broadcast to.
BROADCAST_COST = 8.0

# Below this, what an element takes is mostly reading and writing it.
LITTLE_COST = 16.0

# Moves that let a loop need an array's elements at other places than its point.
SHIFTING = frozenset({nd.slice_, nd.pad, nd.reverse, nd.concatenate, nd.transpose})


class Plan:
    """The decisions.

    `reasons` says why a value is materialized; `stored` ones are read from memory by their users; `views` are another
    shape of what is in memory; `unrolled` reductions are written out in the loops that use them, and `split` ones
    become a reduction for each element of the axes given there (see unroll.py). Sums of what is placed by indices are
    `joined`: their parts, which exist nowhere else, are placed in one array. `executed` is the level at which an
    op's result is computed, `available` the one from which on it can be read, `cost` what an element takes to compute.
    """

    __slots__ = ("available", "cost", "executed", "joined", "reasons", "split", "stored", "unrolled", "views")

    def __init__(self) -> None:
        self.reasons: dict[Value, str] = {}
        self.stored: set[Value] = set()
        self.views: set[Value] = set()
        self.available: dict[Value, int] = {}
        self.executed: dict[Op, int] = {}
        self.cost: dict[Value, float] = {}
        self.unrolled: set[Op] = set()
        self.split: dict[Op, tuple[int, ...]] = {}
        self.joined: dict[Op, list[Op]] = {}

    def is_inlined(self, op: Op) -> bool:
        """Tell whether an op can be computed inside a loop."""
        return (is_inlined(op) and op not in self.joined) or op in self.unrolled

    def is_loaded(self, value: Value) -> bool:
        """Tell whether loops read `value` from memory."""
        return value.owner.__class__ is not Op or value in self.stored or value in self.views

    def store(self, value: Value, reason: str) -> None:
        """Materialize `value`, so that its users read it from memory."""
        self.stored.add(value)
        self.reasons[value] = reason


def is_unit_reshape(op: Op) -> bool:
    """Tell whether a reshape only adds or drops dimensions of extent 1."""
    old, new = op.operands[0].type.shape, op.attributes["shape"]
    return [n for n in old if n != 1] == [n for n in new if n != 1]


def is_inlined(op: Op) -> bool:
    """Tell whether an op can be computed inside a loop: elementwise ops and moves that are index maps."""
    tags = op.kind.tags
    if "elementwise" in tags or op.kind is nd.gather:
        return True
    if "movement" not in tags:
        return op.kind is nd.constant
    if op.kind is nd.reshape:
        return is_unit_reshape(op)
    return op.kind is not nd.pad or not any(op.attributes["interior"])


def join_scatters(plan: Plan, op: Op, outputs: Sequence[Value]) -> None:
    """Let two scatters of the same shape whose sum is all that is used of them place into one array."""
    parts: list[Op] = []
    for operand in op.operands:
        owner = operand.op
        if owner is None or len(operand.uses) != 1 or operand.uses != {op: 1} or operand in outputs:
            return
        if owner.kind is not nd.scatter_add and owner not in plan.joined:
            return
        parts += plan.joined.get(owner, [owner])
    first = parts[0]
    if first.results[0].type.element.kind != "f" or any(
        part.operands[0].type.shape != first.operands[0].type.shape
        or part.operands[1].type.rank != first.operands[1].type.rank
        or part.attributes["axes"] != first.attributes["axes"]
        for part in parts
    ):
        return
    for operand in op.operands:
        del plan.reasons[operand]
        plan.joined.pop(operand.owner, None)
    plan.joined[op] = parts
    plan.store(op.results[0], "placed by indices")


def is_scatter(op: Op) -> bool:
    """Tell whether an op places elements by indices: it is a root of a nest, as a reduction is."""
    return "scatter" in op.kind.tags


def is_extern(op: Op) -> bool:
    """Tell whether an op is executed by a library call between kernels."""
    return "extern" in op.kind.tags or (op.kind is nd.pad and any(op.attributes["interior"]))


def plan_materialization(function: Op) -> Plan:
    """Return which values of `function` to materialize."""
    plan = Plan()
    body = body_of(function)
    operations = body.ops[:-1]
    for value in body.terminator.operands:
        plan.reasons.setdefault(value, "a result")
    for op in operations:
        if "elementwise" in op.kind.tags:
            if op.kind is nd.add:
                join_scatters(plan, op, body.terminator.operands)
            continue
        if is_extern(op):
            for operand in op.operands:
                _materialize(plan, operand, f"operand of {op.name}")
            for result in op.results:
                plan.store(result, f"computed by {op.name}")
        elif "reduction" in op.kind.tags:
            _plan_reduction(plan, op)
        elif op.kind is nd.gather:
            table, _ = table_of(op, identity_map([0] * op.results[0].type.rank), plan.is_loaded)
            _materialize(plan, table, "picked from by indices")
        elif is_scatter(op):
            plan.store(op.results[0], "placed by indices")
            short = unroll.short_axes_placed(op)
            if short:
                plan.split[op] = short
        elif op.kind is nd.reshape and not is_unit_reshape(op):
            _materialize(plan, op.operands[0], "reshaped")
            plan.views.add(op.results[0])
    _split_matrices(plan, operations, body.terminator.operands)
    _keep_shifted(plan, operations)
    _keep_broadcast_operands(plan, operations, body.terminator.operands)
    _set_levels(plan, operations)
    if max(plan.executed.values(), default=0) > 0 and _keep_expensive(plan, operations):
        _set_levels(plan, operations)
    return plan


def _plan_reduction(plan: Plan, op: Op) -> None:
    """Decide whether a reduction is written out where it is used, and else which parts it is made of."""
    if unroll.may_unroll(op, plan.is_loaded):
        plan.unrolled.add(op)
        return
    plan.store(op.results[0], "a reduction")
    axes = unroll.split_axes(op, plan.is_loaded)
    if axes:
        plan.split[op] = axes


def _split_matrices(plan: Plan, operations: list[Op], outputs: Sequence[Value]) -> None:
    """Let what is stored or reduced be computed for a tiny matrix at a time if its elements share something.

    They share reductions that are written out; or, in rows so short that they hardly fill a vector, arrays that are
    broadcast, so that the nest cannot be one long loop over all elements. That pays where little is computed, and
    beside the products of a batch, with which a walk along its rows can take turns.
    """
    if not plan.unrolled and not any(op.kind is nd.broadcast and op.operands[0].type.size > 1 for op in operations):
        return
    sharing: set[Value] = set(op.results[0] for op in plan.unrolled)
    mixed: set[Value] = set()
    multiplied: set[Value] = set()
    for op in operations:
        if op.kind is kernel.product:
            multiplied.update((*op.operands, *op.results))
    results = set(outputs)
    for op in operations:
        value = op.results[0]
        if plan.is_inlined(op):
            sources = [operand for operand in op.operands if not plan.is_loaded(operand)]
            if any(source in sharing for source in sources):
                sharing.add(value)
            if (op.kind is nd.broadcast and op.operands[0].type.size > 1) or any(source in mixed for source in sources):
                mixed.add(value)
            if any(operand in multiplied for operand in op.operands):
                multiplied.add(value)
        if op in plan.split:
            continue
        if "reduction" in op.kind.tags and op not in plan.unrolled:
            source, reduced = op.operands[0], op.attributes["axes"]
        elif plan.is_inlined(op) and (value in plan.stored or value in results):
            source, reduced = value, ()
        else:
            continue
        if source in sharing or (
            source in mixed and (source in multiplied or not _exceeds(plan, source, LITTLE_COST))
        ):
            most = unroll.TINY_PARTS if source in sharing else unroll.ROW_PARTS
            axes = unroll.tiny_axes(
                source, reduced, most, lambda leaf, own=value: leaf is not own and plan.is_loaded(leaf)
            )
            if axes:
                plan.split[op] = axes


def _materialize(plan: Plan, value: Value, reason: str) -> None:
    op = value.op
    if op is None or value in plan.views:
        return
    if op.kind is nd.reshape and not is_unit_reshape(op):
        plan.views.add(value)
        return
    if value not in plan.stored:
        plan.store(value, reason)


def _keep_shifted(plan: Plan, operations: list[Op]) -> None:
    """Materialize what a loop would compute at several places of an array, where reading it there is cheaper.

    A difference of neighbours needs two elements of its operand, a difference of those three, and so on: without this a
    program of many such steps (time stepping, a tree of halves) would become one loop that recomputes everything.
    """
    if sum(op.kind in SHIFTING for op in operations) < 2:
        return
    places: dict[Value, set[IndexMap]] = {}  # where an element is asked for, relative to the point
    for op in reversed(operations):
        value = op.results[0]
        maps = places.pop(value, set())
        if "reduction" in op.kind.tags and op not in plan.unrolled:
            source = op.operands[0]
            places.setdefault(source, set()).add(identity_map([0] * source.type.rank))
        if is_scatter(op):
            for source, index_map in placed_sources(op):
                places.setdefault(source, set()).add(index_map)
        if not plan.is_inlined(op):
            continue
        count = _places(maps) if len(maps) > 1 else 1
        if not plan.is_loaded(value) and count > 1:
            worth = STORE_COST / (count - 1)
            if count > MOST_PLACES or _exceeds(plan, value, worth):
                plan.store(value, f"needed at {count} places and dearer to recompute than to read")
        if value in plan.reasons:
            point = identity_map([0] * value.type.rank)
            maps = {point} if value in plan.stored else maps | {point}
        for index_map in maps:
            if op in plan.unrolled:
                pairs = [(op.operands[0], _with_all(op, index_map))]
            else:
                pairs = sources_of(value, index_map)
            for source, moved in pairs:
                if not plan.is_loaded(source):
                    places.setdefault(source, set()).add(moved)


def placed_sources(op: Op) -> list[tuple[Value, IndexMap]]:
    """Return the (value, map) pairs of what a scatter places, and of its indices."""
    point = identity_map([0] * op.operands[0].type.rank)
    pairs = index_maps(op, point)
    return [(op.operands[0], point), *pairs] if op.kind is nd.scatter_add else pairs


# In a map of places: the axis is read from end to end, by a reduction that is written out.
_ALL = (-2, 0, 0)


def _with_all(op: Op, index_map: IndexMap) -> IndexMap:
    """Return the places that one element of a reduction is made of."""
    kept = iter(index_map)
    return tuple(_ALL if axis in op.attributes["axes"] else next(kept) for axis in range(op.operands[0].type.rank))


def _places(maps: set[IndexMap]) -> int:
    """Count places that differ other than along axes which are read as a whole: each element there is needed once.

    Users that walk other boxes number their dimensions differently; what counts is their order.
    """
    whole = {axis for index_map in maps for axis, (dim, _, _) in enumerate(index_map) if dim == _ALL[0]}
    found = set()
    for index_map in maps:
        rest = [m for axis, m in enumerate(index_map) if axis not in whole]
        dims = sorted({dim for dim, _, _ in rest if dim >= 0})
        found.add(tuple((dims.index(m[0]), *m[1:]) if m[0] >= 0 else m for m in rest))
    return len(found)


def _exceeds(plan: Plan, value: Value, limit: float) -> bool:
    """Tell whether an element costs more than `limit` to compute from what is in memory."""
    seen, stack, total = {value}, [value], 0.0
    while stack:
        op: Op = stack.pop().owner
        total += op.kind.cost
        if total > limit:
            return True
        for operand in op.operands:
            if operand not in seen and not plan.is_loaded(operand):
                seen.add(operand)
                stack.append(operand)
    return False


def _inline_cost(plan: Plan, op: Op) -> float:
    """Additions per element to compute a value inside a loop, up to the values that are loaded."""
    total = op.kind.cost
    operands = op.operands
    for position, operand in enumerate(operands):
        cost = plan.cost.get(operand)
        if cost and not plan.is_loaded(operand) and operand not in operands[:position]:
            total += cost
    if op.kind is nd.broadcast:  # what does not vary with a loop stands outside of it
        return total * hint_of(operands[0].type.size) / max(1, hint_of(op.results[0].type.size))
    return total * unroll.reduced_extent(op) if op in plan.unrolled else total


def _keep_broadcast_operands(plan: Plan, operations: list[Op], outputs: Sequence[Value]) -> None:
    shared = _computed_once_for_all_parts(plan, operations, outputs)
    for op in operations:
        value = op.results[0]
        if not plan.is_inlined(op):
            continue
        plan.cost[value] = _inline_cost(plan, op)
        if op.kind is not nd.broadcast:
            continue
        operand = op.operands[0]
        if plan.is_loaded(operand) or operand.type.rank == 0 or operand.type.size <= 1:
            continue
        if value in shared and all(
            extent <= unroll.MOST_TERMS
            for axis, extent in enumerate(value.type.shape)
            if axis not in op.attributes["dims"]
        ):
            continue
        if value.type.size > operand.type.size and plan.cost.get(operand, 0.0) > BROADCAST_COST:
            plan.store(operand, "broadcast: computed once instead of for every copy")
            plan.cost[value] = 0.0


def _computed_once_for_all_parts(plan: Plan, operations: list[Op], outputs: Sequence[Value]) -> set[Value]:
    """Return the values that only unrolled and split reductions need: broadcast along their axes, they are one."""
    if not plan.unrolled and not plan.split:
        return set()
    parts: list[Value] = []
    rest: list[Value] = []
    for value in outputs:
        (parts if value.op in plan.split else rest).append(value)
    for op in operations:
        if op in plan.unrolled or op in plan.split:
            parts += op.operands
        elif not plan.is_inlined(op):
            rest += op.operands
    of_parts = unroll.computed_below(operations, parts, plan.is_loaded)
    return of_parts - unroll.computed_below(operations, rest, plan.is_loaded)


def _set_levels(plan: Plan, operations: list[Op]) -> None:
    """Order the passes over memory: level n can run once everything of levels below n is in memory.

    A stored value is in memory from the next level on, but a root of the same shape can take it, point by point, from
    the nest that computes it, if the same axes are split off both: that is its `near` level, for each choice of axes.
    """
    available: dict[Value, int] = {}
    near: dict[tuple[int, ...], dict[Value, int]] = {axes: {} for axes in ((), *plan.split.values())}
    plain, alone = near[()], len(near) == 1
    executed: dict[Op, int] = {}
    for op in operations:
        tags = op.kind.tags
        if alone and "elementwise" in tags and op not in plan.joined:  # most ops of most functions
            level = ready = 0
            for operand in op.operands:
                level = max(level, plain.get(operand, 0))
                ready = max(ready, available.get(operand, 0))
            executed[op] = level
            (value,) = op.results
            plain[value] = level
            available[value] = level + 1 if value in plan.stored else ready
            continue
        on_same_points = op not in plan.unrolled and ("elementwise" in tags or "reduction" in tags)
        if is_scatter(op):  # what has an element for each point of its nest
            placed = op.operands[0].type.shape
            same = [operand.type.shape == placed for operand in op.operands]
        else:
            same = [on_same_points] * len(op.operands)
        own = plan.split.get(op, ())
        levels = {
            axes: max(
                [(table if here else available).get(x, 0) for x, here in zip(op.operands, same, strict=True)], default=0
            )
            for axes, table in near.items()
        }
        if op in plan.joined:  # the nest that places the parts adds them
            levels = dict.fromkeys(levels, max(executed[part] for part in plan.joined[op]))
        executed[op] = level = levels[own]
        for result in op.results:
            stored = result in plan.stored
            if stored or (not plan.is_inlined(op) and result not in plan.views):
                available[result] = level + 1
                for axes, table in near.items():
                    table[result] = level if stored and plan.is_inlined(op) and axes == own else level + 1
            else:
                for axes, table in near.items():
                    table[result] = levels[axes]
                available[result] = max([available.get(operand, 0) for operand in op.operands], default=0)
    plan.available, plan.executed = available, executed


def _keep_expensive(plan: Plan, operations: list[Op]) -> bool:
    """Materialize what several levels would recompute, where a trip through memory is cheaper; tell if anything is.

    Of a chain of values that the same passes need, the last one is kept.
    """
    before = len(plan.stored)
    passes = passes_that_need(plan, operations)
    for op in operations:
        value = op.results[0]
        if not plan.is_inlined(op) or plan.is_loaded(value):
            continue
        plan.cost[value] = _inline_cost(plan, op)
        levels = passes[value]
        if levels.bit_count() < 2 or plan.cost[value] <= STORE_COST or value.type.rank == 0:
            continue
        if len(value.uses) == 1:
            (user,) = value.uses
            if plan.is_inlined(user) and passes.get(user.results[0]) == levels and value not in plan.reasons:
                continue
        plan.store(value, f"needed by {levels.bit_count()} passes and dearer to recompute than to read")
    return len(plan.stored) > before


def passes_that_need(plan: Plan, operations: list[Op]) -> dict[Value, int]:
    """Return the levels at which each value is computed, as an integer with a bit for each of them.

    A program of many reductions has thousands of levels, and each value may be needed at all of them.
    """
    used_at: dict[Value, int] = {}
    needed: dict[Value, int] = {}
    for op in reversed(operations):
        value = op.results[0]
        levels = used_at.get(value, 0)
        if plan.is_loaded(value) or not plan.is_inlined(op):
            levels = 1 << plan.executed[op]
        elif value in plan.reasons:  # a result that its users recompute in their own pass
            levels |= 1 << plan.executed[op]
        needed[value] = levels
        for operand in op.operands:
            used_at[operand] = used_at.get(operand, 0) | levels
    return needed
