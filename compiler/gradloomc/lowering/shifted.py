"""Shifted: what a nest computes at several places around its point is computed once, and kept for a few rows.

The gradient of a stencil needs the same flow at each neighbour of a point, so fusion makes a nest that computes it five
times. Hand-written code walks down the rows and keeps the flow of the last three. So does the nest that is made here:
at row i it computes the flow of row i, stores it in a ring (`rings.py`), and then does the rest for row i - 1, whose
neighbours' flows are all in the ring or have just been computed. The nest has as many rows more as it lags behind.

Scalars are numbered so that those which compute the same at other places have the same number and another shift.
Results that need such a value at one place only do not lag. A nest may be rewritten several times.
"""

from collections import Counter
from collections.abc import Container
from typing import Any

from gradloomc.dialects import kernel, loops
from gradloomc.dialects import scalar as s
from gradloomc.dialects.func import body_of
from gradloomc.ir import types as ir_types
from gradloomc.ir.attributes import attribute_key
from gradloomc.ir.builder import at
from gradloomc.ir.core import Block, Op, Region, Value
from gradloomc.ir.extents import is_symbolic
from gradloomc.ir.inline import copy_op
from gradloomc.ir.types import f32, f64, memref
from gradloomc.lowering.index_maps import inside_range
from gradloomc.lowering.parallelize import bytes_of
from gradloomc.lowering.rings import buffers_of, is_ring, rings_of

# In additions for each point: what a store and the loads cost.
KEEP_COST = 16.0
# What is needed at one place, by results that lag and by others, is kept if it takes more than this.
SHARE_COST = 6.0
# Rows are so long, and so many, that what is done for each row, and for the rows that lag, does not show.
LEAST_VECTORS, LEAST_ROWS = 2, 32
# A nest is rewritten if a point then takes no more than this share of what it took; what a store costs in that.
MOST_SHARE, STORE_COST = 0.75, 3.0
# The places of rows stay in the second-level cache.
MOST_RING_BYTES = 1 << 19
MOST_REWRITES = 8

Shift = tuple[Any, ...]  # for each dimension how far from the point, or None if it does not matter


def reuse_shifted(function: Op) -> Op:
    """Rewrite the nests of a loops-level function, in place, that compute the same around their points; return it."""
    block = body_of(function)
    operations, block.ops = block.ops, []
    for op in operations:
        if op.kind is loops.nest and _may_rewrite(op):
            op = _rewrite(op)
            for ring in rings_of(op):
                assert ring.op is not None
                block.append(ring.op)
        block.append(op)
    return function


def _may_rewrite(nest: Op) -> bool:
    extents, width = nest.attributes["extents"], nest.attributes["width"]
    if "halved" in nest.attributes or len(extents) < 2 or width == 1:
        return False
    if extents[0] < LEAST_ROWS or extents[-1] < LEAST_VECTORS * width:
        return False
    ops = nest.regions[0].block.ops
    return not any(op.kind is loops.scatter or (op.kind is loops.load and len(op.operands) > 1) for op in ops)


def _rewrite(nest: Op) -> Op:
    """Return what a nest becomes, or itself."""
    for _ in range(MOST_REWRITES):
        made = _Rewriter(nest).run()
        if made is None:
            break
        _size_rings(made)
        taken = sum(_row_bytes(ring) * ring.op.attributes["rows"] for ring in rings_of(made) if ring.op)
        if _cost(made) > MOST_SHARE * _cost(nest) or taken > MOST_RING_BYTES:
            made.drop_uses()
            _size_rings(nest)
            break
        nest.drop_uses()
        nest = made
    return nest


def _size_rings(nest: Op) -> None:
    """Give rings as many places as there are rows from the furthest one that is read to the one that is stored."""
    ops = nest.regions[0].block.ops
    for ring in rings_of(nest):
        stored = next(op.attributes["low"][0] for op in ops if op.kind is loops.store and op.operands[1] is ring)
        read = [op.attributes["map"][0][2] for op in ops if op.kind is loops.load and op.operands[0] is ring]
        behind = max(-stored - row for row in read)
        assert ring.op is not None
        ring.op.attributes = {**ring.op.attributes, "rows": 1 << behind.bit_length()}


def _cost(nest: Op) -> float:
    """Return what a point of a nest takes, in additions; main loops do not ask where they are."""
    total = 0.0
    for op in nest.regions[0].block.ops[:-1]:
        if op.kind in loops.SINKS:
            total += STORE_COST
        elif op.kind not in (kernel.inside, s.andi, s.select, s.constant):
            total += op.kind.cost
    return total


def _row_bytes(buffer: Value) -> int:
    return bytes_of(buffer) // buffer.type.shape[0]


class _Rewriter:
    """One nest, whose scalars are numbered so that those which are alike at other places have equal numbers."""

    def __init__(self, nest: Op):
        self.nest = nest
        self.extents: tuple[int, ...] = nest.attributes["extents"]
        self.ops = nest.regions[0].block.ops[:-1]
        self.sinks = [op for op in self.ops if op.kind in loops.SINKS]
        self.numbers: dict[Any, int] = {}
        self.number: dict[Value, int] = {}
        self.shift: dict[Value, Shift] = {}
        self.members: dict[int, dict[Shift, Value]] = {}
        self.tested: set[Value] = set()  # what depends on the point's position: a test may stand for bounds

    def run(self) -> Op | None:
        """Return the nest that computes less, or None if there is nothing worth it."""
        for op in self.ops:
            if op.results:
                self.visit(op)
        if all(len(members) == 1 for members in self.members.values()):
            return None
        chosen = self.choose()
        if not chosen:
            return None
        home, early = self.homes(chosen)
        lag = self.lag(chosen, home, early)
        if lag:
            self.hand_over(chosen, home, early)
        return self.build(chosen, home, early, lag)

    # --- numbers ---

    def visit(self, op: Op) -> None:
        """Number the result of an op."""
        value, rank = op.result, len(self.extents)
        shift: list[Any] = [None] * rank
        attributes: Any = attribute_key(op.attributes) if op.attributes else ()
        inputs: list[Any] = []
        if op.kind is loops.load:
            attributes = []
            for dim, factor, offset in op.attributes["map"]:
                if dim >= 0 and factor and not is_symbolic(offset):
                    if shift[dim] is None:
                        shift[dim] = offset // factor
                    offset -= factor * shift[dim]
                elif dim >= 0:
                    shift[dim] = 0
                attributes.append((dim, factor, offset))
            attributes = tuple(attributes)
            inputs.append(op.operands[0])
        elif op.kind in (kernel.index, kernel.inside):
            shift[op.attributes["dim"]] = 0
        for operand in op.operands if op.kind is not loops.load else ():
            other = self.shift[operand]
            shift = [have if have is not None else there for have, there in zip(shift, other, strict=True)]
        for operand in op.operands if op.kind is not loops.load else ():
            apart = tuple(
                None if there is None else there - have
                for have, there in zip(shift, self.shift[operand], strict=True)
            )
            inputs.append((self.number[operand], apart))
        if op.kind in (kernel.index, kernel.inside) or any(operand in self.tested for operand in self.inputs(op)):
            self.tested.add(value)
        number = self.numbers.setdefault((op.kind, attributes, tuple(inputs)), len(self.numbers))
        self.number[value], self.shift[value] = number, tuple(shift)
        self.members.setdefault(number, {}).setdefault(tuple(shift), value)

    # --- choices ---

    def choose(self) -> dict[int, dict[Shift, Value]]:
        """Return the numbers, from the sinks on, whose values are needed at several places and dear enough."""
        same: dict[int, list[Value]] = {}
        for value, number in self.number.items():
            same.setdefault(number, []).append(value)
        chosen: dict[int, dict[Shift, Value]] = {}
        needed: set[Value] = set()
        for number in sorted(self.members, reverse=True):
            for value in same[number]:
                if any(
                    not user.results or (user.result in needed and self.number[user.result] not in chosen)
                    for user in value.uses
                    if user.parent is self.nest.regions[0].block
                ):
                    needed.add(value)
            places = {self.shift[value] for value in same[number] if value in needed}
            first = same[number][0]
            if len(places) > 1 and first not in self.tested and self.is_worth(first, KEEP_COST / (len(places) - 1)):
                chosen[number] = {self.shift[value]: value for value in same[number]}
        return chosen

    def lag(self, chosen: dict[int, dict[Shift, Value]], home: dict[int, Shift], early: set[Op]) -> int:
        """Return by how many rows what reads the chosen values stays behind what computes them.

        What has just been computed at the point needs no memory; its neighbours in the same row are not there yet.
        """
        lag = 0
        for value in self.read(chosen, early):
            row, *columns = self.apart(value, home)
            lag = max(lag, row + any(columns))
        return lag

    def apart(self, value: Value, home: dict[int, Shift]) -> list[int]:
        """Return how far from the point a chosen value is, in each dimension."""
        own = home[self.number[value]]
        return [there - here for there, here in zip(self.shift[value], own, strict=True)]

    def read(self, chosen: Container[int], early: set[Op]) -> list[Value]:
        """Return the chosen values that the rest needs."""
        late = [sink for sink in self.sinks if sink not in early]
        kept = self.cone([sink.operands[0] for sink in late], chosen)
        wanted = {operand for op in (*kept, *late) for operand in self.inputs(op)}
        return [value for value in self.number if value in wanted and self.number[value] in chosen]

    def hand_over(self, chosen: dict[int, dict[Shift, Value]], home: dict[int, Shift], early: set[Op]) -> None:
        """Choose also what early results and others need at the point itself, if it is dear enough."""
        first = self.early_cone(chosen, home, early)
        late = [sink for sink in self.sinks if sink not in early]
        second = self.cone([sink.operands[0] for sink in late], chosen)
        for op in list(second):
            if op not in first or self.number[op.result] in chosen:
                continue
            if any((user in second and user not in first) or user in late for user in op.result.uses):
                if self.is_worth(op.result, SHARE_COST):
                    number, shift = self.number[op.result], self.shift[op.result]
                    chosen[number], home[number] = {shift: op.result}, shift

    def early_cone(
        self, chosen: dict[int, dict[Shift, Value]], home: dict[int, Shift], early: set[Op]
    ) -> dict[Op, None]:
        """Return the ops that compute the chosen values at home and the early results.

        What fills the rings that these read becomes early, too.
        """
        while True:
            stored = [members[home[number]] for number, members in chosen.items()]
            cone = self.cone([*stored, *[sink.operands[0] for sink in early]])
            rings = {op.operands[0] for op in cone if op.kind is loops.load and is_ring(op.operands[0])}
            filling = {sink for sink in self.sinks if sink.operands[1] in rings} - early
            if not filling:
                return cone
            early |= filling

    def is_worth(self, value: Value, limit: float) -> bool:
        """Tell whether a value may be kept for some rows, and takes more than `limit` to compute."""
        if value.type not in (f32, f64) or None in self.shift[value]:
            return False
        if value.op is None or value.op.kind in (loops.load, s.constant):
            return False
        total = 0.0
        seen, stack = {value}, [value]
        while stack and total <= limit:
            op = stack.pop().op
            assert op is not None
            total += op.kind.cost
            for operand in op.operands if op.kind is not loops.load else ():
                if operand not in seen:
                    seen.add(operand)
                    stack.append(operand)
        return total > limit

    def homes(self, chosen: dict[int, dict[Shift, Value]]) -> tuple[dict[int, Shift], set[Op]]:
        """Return at which place the first nest computes each number, and the sinks that it takes over.

        Sinks that need nothing around the point can go along: the place is one that suits most of them.
        """
        reached = {sink: self.reached(sink, chosen) for sink in self.sinks}
        home: dict[int, Shift] = {}
        for number, members in chosen.items():
            alone: Counter[Shift] = Counter()
            for found in reached.values():
                places = {shift for other, shift in found if other == number}
                if len(places) == 1:
                    alone.update(places)
            ordered = sorted(members)
            home[number] = alone.most_common(1)[0][0] if alone else ordered[len(ordered) // 2]
        early = {
            sink
            for sink, found in reached.items()
            if found and all(home[number] == shift for number, shift in found)
        }
        return home, early

    def reached(self, sink: Op, chosen: dict[int, dict[Shift, Value]]) -> set[tuple[int, Shift]]:
        """Return the chosen values that a sink needs, not looking behind them; and, with them, those it shares."""
        found: set[tuple[int, Shift]] = set()
        seen, stack = {sink.operands[0]}, [sink.operands[0]]
        below = self.below(chosen)
        while stack:
            value = stack.pop()
            if self.number[value] in chosen:
                found.add((self.number[value], self.shift[value]))
                continue
            found |= below.get(value, set())
            for operand in self.scalars(value):
                if operand not in seen:
                    seen.add(operand)
                    stack.append(operand)
        return found

    def below(self, chosen: dict[int, dict[Shift, Value]]) -> dict[Value, set[tuple[int, Shift]]]:
        """Return the values, dearer than a load, that chosen ones are computed from, each at one place only."""
        found: dict[Value, set[tuple[int, Shift]]] = {}
        for number, members in chosen.items():
            for shift, value in members.items():
                stack = [value]
                seen = {value}
                while stack:
                    for operand in self.scalars(stack.pop()):
                        if operand in seen or operand.op is None or operand.op.kind in (loops.load, s.constant):
                            continue
                        seen.add(operand)
                        stack.append(operand)
                        found.setdefault(operand, set()).add((number, shift))
        return {value: pairs for value, pairs in found.items() if len({number for number, _ in pairs}) == len(pairs)}

    def scalars(self, value: Value) -> tuple[Value, ...]:
        assert value.op is not None
        return self.inputs(value.op)

    def inputs(self, op: Op) -> tuple[Value, ...]:
        """Return the scalars that an op takes."""
        return op.operands[:1] if op.kind in loops.SINKS else () if op.kind is loops.load else op.operands

    # --- the nests ---

    def box(self, value: Value, places: list[list[int]]) -> tuple[list[int], list[int]]:
        """Return the box of points at which a value, computed at home, is needed so far from points of the nest."""
        low: list[Any] = [None] * len(self.extents)
        high: list[Any] = [None] * len(self.extents)
        for op in () if value in self.tested else self.cone([value]):  # where what it is computed from exists
            if op.kind is not loops.load:
                continue
            for extent, (dim, factor, offset) in zip(op.operands[0].type.shape, op.attributes["map"], strict=True):
                if dim >= 0 and factor:
                    first, end = inside_range(extent, factor, offset)
                    low[dim] = first if low[dim] is None else max(low[dim], first)
                    high[dim] = end if high[dim] is None else min(high[dim], end)
        for dim, extent in enumerate(self.extents):
            first, end = min(place[dim] for place in places), extent + max(place[dim] for place in places)
            low[dim] = first if low[dim] is None else max(low[dim], first)
            high[dim] = end if high[dim] is None else min(high[dim], end)
        return low, high

    def cone(self, values: list[Value], chosen: Container[int] = ()) -> dict[Op, None]:
        """Return the ops that compute values, but for those that are read because their numbers are `chosen`."""
        found: dict[Op, None] = {}
        stack = list(values)
        while stack:
            op = stack.pop().op
            assert op is not None
            if op not in found and self.number[op.result] not in chosen:
                found[op] = None
                stack += op.operands if op.kind is not loops.load else ()
        return found

    def build(
        self, chosen: dict[int, dict[Shift, Value]], home: dict[int, Shift], early: set[Op], lag: int
    ) -> Op | None:
        """Build the nest: what is early at its row, then the rest `lag` rows behind.

        Where chosen values are needed beyond the points of the nest it gets more of them, on either side.
        """
        rank = len(self.extents)
        behind = [lag] + [0] * (rank - 1)
        places = {value: self.apart(value, home) for value in self.read(chosen, early)}
        kept = dict.fromkeys(self.number[value] for value, place in places.items() if place != behind)
        boxes = {
            number: self.box(
                chosen[number][home[number]],
                [place for value, place in places.items() if self.number[value] == number],
            )
            for number in kept
        }
        if any(is_symbolic(a) for low, _ in boxes.values() for a in low):
            return None  # a ring has as many places for any length
        if not kept or any(a >= b for low, high in boxes.values() for a, b in zip(low, high, strict=True)):
            return None
        before = [max([0, *[-low[dim] for low, _ in boxes.values()]]) for dim in range(rank)]
        after = [
            max([behind[dim], *[high[dim] - self.extents[dim] for _, high in boxes.values()]]) for dim in range(rank)
        ]
        block, known = Block(), {}
        self.append(block, known, self.early_cone(chosen, home, early), early, before)
        late = dict(known) if not any(behind) else {}
        with at(block, self.nest.location):
            for number in kept:
                shape = tuple(b - a for a, b in zip(*boxes[number], strict=True))
                value = known[chosen[number][home[number]]]
                ring = loops.scratch(type=memref(shape, value.type), rows=1, ring=True)
                block.ops.pop()
                low, high = (tuple(x + y for x, y in zip(end, before, strict=True)) for end in boxes[number])
                loops.store(value, ring, dims=tuple(range(rank)), low=low, high=high)
                for other, place in places.items():
                    if self.number[other] == number and place != behind:
                        rows = tuple(
                            (dim, 1, place[dim] - behind[dim] - low[dim]) for dim in range(rank)
                        )
                        late[other] = loops.load(ring, map=rows)
            for value, place in places.items():
                if place == behind:
                    late[value] = known[chosen[self.number[value]][home[self.number[value]]]]
        sinks = [sink for sink in self.sinks if sink not in early]
        kept_ops = self.cone([sink.operands[0] for sink in sinks], chosen)
        self.append(block, late, kept_ops, sinks, [x + y for x, y in zip(before, behind, strict=True)])
        with at(block, self.nest.location):
            loops.end()
        extents = tuple(n + x + y for n, x, y in zip(self.extents, before, after, strict=True))
        attributes = {"extents": extents, "width": self.nest.attributes["width"]}
        return Op(loops.nest, buffers_of(block), attributes, (), self.nest.location, (Region(block),))

    def append(
        self, block: Block, values: dict[Value, Value], scalars: Container[Op], sinks: Container[Op], by: list[int]
    ) -> None:
        """Append to `block` ops of the nest, moved to points so much further on."""
        for op in self.ops:
            if (op not in scalars and op not in sinks) or (op.results and op.result in values):
                continue
            copy = copy_op(op, values, block)
            if not any(by):
                continue
            attributes = op.attributes
            if op.kind is loops.load:
                moved = tuple((dim, k, at_ - k * by[dim] if dim >= 0 else at_) for dim, k, at_ in attributes["map"])
                copy.attributes = {**attributes, "map": moved}
            elif op.kind in loops.SINKS:
                ends = {
                    end: tuple(x + y for x, y in zip(attributes[end], by, strict=True)) for end in ("low", "high")
                }
                copy.attributes = {**attributes, **ends}
            elif op.kind is kernel.inside:
                distance = by[attributes["dim"]]
                ends = {end: attributes[end] + distance for end in ("low", "high")}
                copy.attributes = {**attributes, **ends}
            elif op.kind is kernel.index and by[attributes["dim"]]:
                with at(block, op.location):
                    values[op.result] = s.addi(copy.result, s.number(-by[attributes["dim"]], ir_types.i64))
