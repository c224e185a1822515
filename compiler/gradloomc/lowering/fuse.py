"""Fuse: turn an `nd` function into kernels, each one pass over memory.

What materialize.py did not keep is computed inside the loops that use it: slices, transposes and broadcasts become
index maps, pads and concatenations become selects on the point's position, elementwise ops become scalar ops. Roots
(what is stored or reduced) of one level whose iteration boxes agree, up to a few elements at the ends, share one nest:
this is where the forward and the backward program become one pass.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from gradloomc.dialects import kernel, nd
from gradloomc.dialects import scalar as s
from gradloomc.dialects.func import body_of, finish_function, function_like
from gradloomc.ir.builder import at, insertion
from gradloomc.ir.core import Block, Op, Region, Value
from gradloomc.ir.extents import hint_of, is_symbolic
from gradloomc.ir.inline import copy_op
from gradloomc.ir.types import tensor
from gradloomc.lowering import unroll
from gradloomc.lowering.bounds import Checks
from gradloomc.lowering.index_maps import IndexMap
from gradloomc.lowering.loop_order import Access, Write, choose_loop_order, is_read_often, runs_along
from gradloomc.lowering.materialize import (
    is_extern,
    is_scatter,
    plan_materialization,
)
from gradloomc.lowering.nest_builder import NestBuilder, is_neutral, scalar_step
from gradloomc.lowering.roots import Root, scatter_root

# Boxes whose extents differ by no more than this share a nest, and the ends are peeled.
PEEL_LIMIT = 16


class Group:
    """Roots that share a nest; `leaves` is what they load, found out when it is asked for."""

    __slots__ = ("leaves", "roots", "shape")

    def __init__(self, shape: tuple[int, ...]):
        self.shape = shape
        self.roots: list[Root] = []
        self.leaves: set[tuple[Value, IndexMap]] | None = None


def _is_table(op: Op) -> bool:
    """Tell whether an op is an array of numbers that are not all the same: code loads them."""
    return op.kind is nd.constant and not op.attributes["value"].is_splat


class Fuser:
    """Builds the kernels of one function."""

    def __init__(self, function: Op):
        self.function = function
        self.plan = plan_materialization(function)
        body = body_of(function)
        self.operations = body.ops[:-1]
        self.outputs = body.terminator.operands
        self.order = {op.results[0]: position for position, op in enumerate(self.operations)}
        self.new = function_like(function, [argument.type for argument in body.arguments])
        self.values: dict[Value, Value] = dict(zip(body.arguments, body_of(self.new).arguments, strict=True))
        self.copies: dict[int, Value] = {}
        # Results and copies by the order in which their axes are stored.
        self.layouts: dict[Value, dict[tuple[int, ...], Value]] = {}
        self.checks = Checks()
        self.fixed = set(self.outputs)  # what others than loops read: stored as its type says
        for op in self.operations:
            if is_extern(op) or op.results[0] in self.plan.views:
                self.fixed.update(op.operands)

    def run(self) -> Op:
        """Return the function on the kernels level."""
        levels = self.roots_by_level()
        externs: dict[int, list[Op]] = {}
        for op in self.operations:
            if is_extern(op):
                externs.setdefault(self.plan.executed[op], []).append(op)
        last = max([*levels, *externs, 0])
        with at(body_of(self.new)):
            for level in range(last + 1):
                for group in self.group(levels.get(level, ())):
                    self.emit_nest(group)
                for op in externs.get(level, ()):
                    for operand in op.operands:
                        self.view(operand)
                    copy_op(op, self.values, body_of(self.new))
            results = [self.result(position, value) for position, value in enumerate(self.outputs)]
            ends = [end for pair in self.checks.ranges.values() for end in pair]
            self.checks.emit({end: self.view(end) for end in ends})
        return finish_function(self.new, results)

    def roots_by_level(self) -> dict[int, list[Root]]:
        levels: dict[int, list[Root]] = {}
        checks: list[tuple[int, Root]] = []
        outputs = set(self.outputs)
        for op in self.operations:
            value = op.results[0]
            if is_scatter(op) or op.kind is nd.gather:
                for end, how, index in self.checks.add(op):
                    self.fixed.add(end)
                    checks.append((self.plan.executed[op], Root(end, how, index, ())))
            if op in self.plan.joined:
                root = scatter_root(op, self.plan.joined[op], self.plan.split.get(self.plan.joined[op][0], ()))
            elif is_scatter(op):
                if value not in self.plan.reasons:
                    continue  # a part of a sum
                root = scatter_root(op, [op], self.plan.split.get(op, ()))
            elif "elementwise" in op.kind.tags:
                if value not in self.plan.stored and value not in outputs:
                    continue
                root = Root(value, "store", value, range(value.type.rank), self.plan.split.get(op, ()))
            elif "reduction" in op.kind.tags and op not in self.plan.unrolled:
                (source,) = op.operands
                kept = nd.kept_axes(source.type.rank, op.attributes["axes"])
                root = Root(value, op.kind.scalar, source, kept, self.plan.split.get(op, ()))
            elif _is_table(op):
                continue  # it is in memory
            elif self.plan.is_inlined(op) and (value in self.plan.stored or value in outputs):
                root = Root(value, "store", value, range(value.type.rank), self.plan.split.get(op, ()))
            else:
                continue
            levels.setdefault(self.plan.executed[op], []).append(root)
        for level, root in checks:  # in a nest of the same points, if there is one
            near = [k for k in sorted(levels) if k >= level and any(root.shape == other.shape for other in levels[k])]
            levels.setdefault(near[0] if near else level, []).append(root)
        self.add_copies(levels)
        return levels

    def add_copies(self, levels: dict[int, list[Root]]) -> None:
        """Arguments, constants, views of them, and values returned twice are copied: results never share memory."""
        seen: set[Value] = set()
        for position, value in enumerate(self.outputs):
            base = value
            while base in self.plan.views and base.op is not None:
                base = base.op.operands[0]
            if base.op is None or _is_table(base.op) or base in seen:
                copy = Value(value.type, None, position)
                self.copies[position] = copy
                self.fixed.add(copy)
                root = Root(copy, "store", value, range(value.type.rank))
                levels.setdefault(self.plan.available.get(value, 0), []).append(root)
            seen.add(base)

    def result(self, position: int, value: Value) -> Value:
        copy = self.copies.get(position)
        return self.view(value if copy is None else copy)

    def view(self, value: Value) -> Value:
        """Return the new function's value for one that is in memory."""
        found = self.values.get(value)
        if found is None and self.layouts.get(value):
            straight = tuple(range(value.type.rank))
            layout, array = next(iter(self.layouts[value].items()))
            if straight in self.layouts[value]:
                found = self.layouts[value][straight]
            else:
                found = self.pack(array, [layout.index(axis) for axis in straight])
            self.values[value] = found
        elif found is None:
            op = value.op
            assert op is not None
            if op.kind is nd.constant:
                found = nd.constant(**op.attributes)
            elif op.kind is nd.reshape:
                found = nd.reshape.build([self.view(op.operands[0])], op.attributes).result
            else:
                raise AssertionError(f"{op.name} was not materialized")
            self.values[value] = found
        return found

    def group(self, roots: Iterable[Root]) -> list[Group]:
        """Put roots whose boxes nearly agree into one nest."""
        groups: list[Group] = []
        empty: list[Group] = []  # reductions of nothing, after the nests whose (empty) results they name
        for root in sorted(roots, key=lambda root: [-hint_of(n) for n in root.shape]):
            if 0 in root.shape and root.combine != "store":
                empty.append(Group(root.shape))
                empty[-1].roots.append(root)
                continue
            for group in groups:
                if self.fits(root, group):
                    break
            else:
                group = Group(root.shape)
                groups.append(group)
            group.roots.append(root)
            group.leaves = None
        return groups + empty

    def fits(self, root: Root, group: Group) -> bool:
        if len(root.shape) != len(group.shape) or 0 in group.shape:
            return False
        if root.shape == group.shape:
            return True
        differences = [n - m for n, m in zip(group.shape, root.shape, strict=True)]
        if any(map(is_symbolic, differences)):
            return False  # that they nearly agree is an accident of these lengths
        if any(not 0 <= d <= PEEL_LIMIT or 4 * d > m for d, m in zip(differences, root.shape, strict=True)):
            return False
        if group.leaves is None:
            group.leaves = set()
            for other in group.roots:
                group.leaves |= self.leaves(other, other.offset)
        best, best_score = None, 0
        for fraction in (0.0, 1.0, 0.5):
            offset = tuple(int(d * fraction) for d in differences)
            leaves = self.leaves(root, offset)
            score = len(leaves & group.leaves)
            if score > best_score:
                best, best_score = offset, score
        if best is None:
            return False
        root.offset = best
        return True

    def leaves(self, root: Root, offset: tuple[int, ...]) -> set[tuple[Value, IndexMap]]:
        """Return the loads that computing a root at `offset` takes."""
        builder = NestBuilder(self.plan, root.shape, self.order, [root])
        found: set[tuple[Value, IndexMap]] = set()
        for index_map, _ in root.parts(offset):
            found |= unroll.leaves_of(root.source, index_map, builder.is_loaded)
        return found

    def emit_nest(self, group: Group) -> None:
        builder = NestBuilder(self.plan, group.shape, self.order, group.roots)
        outputs: list[tuple[int, tuple[int, ...]]] = []  # (root, dims) for each yielded scalar
        yielded: list[Value] = []
        with at(builder.block):
            for position, root in enumerate(group.roots):
                found = len(yielded)
                parts = list(root.parts(root.offset))
                joined: dict[tuple[int, ...], int] = {}  # where parts stand that are reduced into one number
                for index_map, dims in parts:
                    if root.short and not root.scatters and unroll.is_masked_off(root.value, dims):
                        continue
                    if root.scatters:
                        for op in root.scatters:
                            scalar, places = builder.place(op, root, index_map, dims)
                            yielded.append(scalar)
                            outputs.append((position, places))
                        continue
                    scalar = builder.pull(root.source, index_map)
                    if root.short and is_neutral(scalar, root.combine):
                        continue  # a part that changes nothing
                    element = root.value.type.element
                    if (root.combine == "store" or root.value.op is None) and scalar.type is not element:
                        scalar = s.convert(scalar, type=element)
                    if dims in joined:
                        yielded[joined[dims]] = scalar_step(root.combine, yielded[joined[dims]], scalar)
                        continue
                    if root.combine != "store":
                        joined[dims] = len(yielded)
                    yielded.append(scalar)
                    outputs.append((position, dims))
                if len(yielded) == found:
                    yielded.append(builder.pull(root.source, parts[0][0]))
                    outputs.append((position, parts[0][1]))
            kernel.yield_.build(yielded, {})
        first = group.roots[0].value.op
        insertion.location = first.location if first else insertion.location
        accesses = [Access(value, index_map) for value, index_map in builder.inputs]
        accesses += [Access(value, index_map, varies) for _, value, index_map, varies in builder.picks]
        writes = [
            Write(root, dims, self.is_free(root), root.scattered_along())
            for root, dims in ((group.roots[position], dims) for position, dims in outputs)
        ]
        loop_order = choose_loop_order(group.shape, accesses, writes, len(builder.block.ops), self.layouts)
        self.build_nest(group, builder, outputs, loop_order)

    def build_nest(
        self, group: Group, builder: NestBuilder, outputs: list[tuple[int, tuple[int, ...]]], loop_order: Sequence[int]
    ) -> None:
        """Build the op of a nest whose region is written, with its dimensions in `loop_order`."""
        place = {dim: position for position, dim in enumerate(loop_order)}
        for op in builder.block.ops:
            if op.kind in (kernel.index, kernel.inside):
                op.attributes = {**op.attributes, "dim": place[op.attributes["dim"]]}
        extents = tuple(group.shape[dim] for dim in loop_order)
        renamed = [tuple(place[dim] if dim >= 0 else dim for dim in dims) for _, dims in outputs]
        layouts = [
            self.layout_of_result(
                root, next(dims for (k, _), dims in zip(outputs, renamed, strict=True) if k == position)
            )
            for position, root in enumerate(group.roots)
        ]
        described = []
        for (position, _), dims in zip(outputs, renamed, strict=True):
            root = group.roots[position]
            low = tuple(root.offset[dim] for dim in loop_order)
            high = tuple(root.offset[dim] + root.shape[dim] for dim in loop_order)
            described.append((root.combine, tuple(dims[axis] for axis in layouts[position]), low, high))
        places = Counter(value for value, _ in builder.inputs)
        sources = []
        tables: dict[Op, Value] = {}
        for value, index_map in builder.inputs:
            moved = tuple((place[dim], c, o) if dim >= 0 else (dim, c, o) for dim, c, o in index_map)
            sources.append(self.source(value, moved, extents, places[value]))
        for pick, value, index_map, _ in builder.picks:
            moved = tuple((place[dim], c, o) if dim >= 0 else (dim, c, o) for dim, c, o in index_map)
            tables[pick], moved = self.source(value, moved, extents, 1)
            pick.attributes = {**pick.attributes, "map": moved}
        operands = list(dict.fromkeys([*[value for value, _ in sources], *tables.values()]))
        for pick, value in tables.items():
            pick.attributes = {**pick.attributes, "operand": operands.index(value)}
        attributes = {
            "extents": extents,
            "inputs": tuple((operands.index(value), index_map) for value, index_map in sources),
            "outputs": tuple(described),
            "results": tuple(
                tensor(tuple(root.value.type.shape[axis] for axis in layout), root.value.type.element)
                for root, layout in zip(group.roots, layouts, strict=True)
            ),
        }
        targets = [position for position, _ in outputs]
        if targets != list(range(len(group.roots))):
            attributes["targets"] = tuple(targets)
        op = kernel.nest.build(operands, attributes, [Region(builder.block)])
        for root, layout, result in zip(group.roots, layouts, op.results, strict=True):
            self.layouts.setdefault(root.value, {})[tuple(layout)] = result

    def is_free(self, root: Root) -> bool:
        """Tell whether a root's result may be laid out in another order: only loops read it, or it is small."""
        if root.scatters:
            return False
        return root.combine != "store" or root.value not in self.fixed

    def layout_of_result(self, root: Root, dims: Sequence[int]) -> list[int]:
        """Return the order in which the axes of a result are stored: the one that vectors run along comes last."""
        straight = list(range(len(dims)))
        inner = len(root.shape) - 1
        if inner not in dims or not self.is_free(root) or dims.index(inner) == len(dims) - 1:
            return straight
        axis = dims.index(inner)
        if all(root.value.type.shape[k] == 1 for k in straight[axis + 1 :]):
            return straight
        return [k for k in straight if k != axis] + [axis]

    def source(
        self, value: Value, index_map: IndexMap, extents: tuple[int, ...], places: int
    ) -> tuple[Value, IndexMap]:
        """Return where a nest loads an element from: the array, or a copy that runs along the innermost dimension.

        An array that lies in memory across that dimension is copied if the copy is much smaller than the nest.
        """
        shape = value.type.shape
        along = [axis for axis, (dim, _, _) in enumerate(index_map) if dim == len(extents) - 1]
        layout = None
        if len(along) == 1:
            for known in self.layouts.get(value, ()):
                if runs_along(shape, known, along[0]):
                    layout = known
            if layout is None and not runs_along(shape, range(len(shape)), along[0]):
                if is_read_often(extents, value, places):
                    layout = (*[axis for axis in range(len(shape)) if axis != along[0]], along[0])
        if layout is None:
            layout = next(iter(self.layouts.get(value, ())), None) if value not in self.values else None
        if layout is None:
            return self.view(value), index_map
        return self.laid_out(value, layout), tuple(index_map[axis] for axis in layout)

    def laid_out(self, value: Value, layout: tuple[int, ...]) -> Value:
        """Return an array with its axes stored in the given order, copying it if it is not yet there."""
        known = self.layouts.setdefault(value, {})
        if layout not in known:
            known[layout] = self.pack(self.view(value), list(layout))
        return known[layout]

    def pack(self, array: Value, order: list[int]) -> Value:
        """Copy an array with its axes in another order."""
        type = array.type
        extents = tuple(type.shape[axis] for axis in order)
        block = Block()
        with at(block):
            kernel.yield_.build([block.add_argument(type.element)], {})
        attributes = {
            "extents": extents,
            "inputs": ((0, tuple((order.index(axis), 1, 0) for axis in range(len(order)))),),
            "outputs": (("store", tuple(range(len(order))), (0,) * len(order), extents),),
            "results": (tensor(extents, type.element),),
        }
        return kernel.nest.build([array], attributes, [Region(block)]).result


def fuse_function(function: Op) -> Op:
    """Return `function`, which is on the nd level, on the kernels level."""
    return Fuser(function).run()
