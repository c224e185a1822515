"""Fuse: turn an `nd` function into kernels, each one pass over memory.

What materialize.py did not keep is computed inside the loops that use it: slices, transposes and broadcasts become
index maps, pads and concatenations become selects on the point's position, elementwise ops become scalar ops. Roots
(what is stored or reduced) of one level whose iteration boxes agree, up to a few elements at the ends, share one nest:
this is where the forward and the backward program become one pass.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from gradloomc.dialects import kernel, nd
from gradloomc.dialects import scalar as s
from gradloomc.dialects.func import body_of, finish_function, make_function
from gradloomc.ir import types as ir_types
from gradloomc.ir.builder import at, insertion
from gradloomc.ir.core import Block, Op, Region, Value
from gradloomc.ir.errors import UnsupportedError
from gradloomc.ir.extents import hint_of, is_symbolic
from gradloomc.ir.inline import copy_op
from gradloomc.ir.types import ScalarType, tensor
from gradloomc.lowering import unroll
from gradloomc.lowering.index_maps import IndexMap, identity_map, inside_range, operand_map, sources_of
from gradloomc.lowering.loops import neutral_element
from gradloomc.lowering.materialize import (
    Plan,
    is_extern,
    plan_materialization,
)

# Boxes whose extents differ by no more than this share a nest, and the ends are peeled.
PEEL_LIMIT = 16
# An array that a nest would read across its rows is copied first if each element is read so many times.
PACK_READS = 8


class Root:
    """A value that a nest stores or reduces, the box that it is computed over and where the box lies in the nest.

    `source` is computed at each point of the box `shape`, which starts at `offset`. The axes in `short` are no
    dimensions of the box: for each of their elements there is a part.
    """

    __slots__ = ("combine", "kept", "long", "offset", "shape", "short", "source", "value")

    def __init__(self, value: Value, combine: str, source: Value, kept: Sequence[int], short: Sequence[int] = ()):
        self.value, self.combine, self.source, self.kept, self.short = value, combine, source, kept, short
        extents = source.type.shape
        gone = [axis for axis in range(len(extents)) if axis in short or (short and extents[axis] == 1)]
        self.long = [axis for axis in range(len(extents)) if axis not in gone]
        self.shape = tuple(extents[axis] for axis in self.long)
        self.offset: tuple[int, ...] = (0,) * len(self.shape)

    def parts(self, offset: Sequence[int]) -> Iterator[tuple[IndexMap, tuple[int, ...]]]:
        """Yield the map of the source and the dimensions of the result for each part, for a box at `offset`."""
        extents = self.source.type.shape
        dim_of = {axis: dim for dim, axis in enumerate(self.long)}
        for point in itertools.product(*[range(extents[axis]) for axis in self.short]):
            fixed = dict(zip(self.short, point, strict=True))
            index_map = tuple(
                (dim_of[axis], 1, -offset[dim_of[axis]]) if axis in dim_of else (-1, 0, fixed.get(axis, 0))
                for axis in range(len(extents))
            )
            yield index_map, tuple(dim_of[axis] if axis in dim_of else ~fixed.get(axis, 0) for axis in self.kept)


class Group:
    """Roots that share a nest; `leaves` is what they load, found out when it is asked for."""

    __slots__ = ("leaves", "roots", "shape")

    def __init__(self, shape: tuple[int, ...]):
        self.shape = shape
        self.roots: list[Root] = []
        self.leaves: set[tuple[Value, IndexMap]] | None = None


class NestBuilder:
    """Builds the region of one nest: `pull` computes a value's element at the point, once for each index map."""

    def __init__(
        self, plan: Plan, extents: tuple[int, ...], order: dict[Value, int], roots: Iterable[Root] = ()
    ):
        self.plan = plan
        self.order = order  # where in the function a value is defined
        self.own = {root.value for root in roots}  # computed here, whoever else reads them from memory
        self.extents = extents
        self.block = Block()
        self.inputs: list[tuple[Value, IndexMap]] = []
        self.memo: dict[tuple[Value, IndexMap], Value] = {}
        self.scalars: dict[Any, Value] = {}

    def pull(self, value: Value, index_map: IndexMap) -> Value:
        """Return the scalar for `value` at the mapped point, emitting what it takes."""
        memo, order = self.memo, self.order
        root = (value, index_map)
        needed: dict[tuple[Value, IndexMap], list[tuple[Value, IndexMap]] | None] = {}
        stack = [root]
        while stack:
            key = stack.pop()
            if key in memo or key in needed:
                continue
            if self.is_loaded(key[0]):
                needed[key] = None
            else:
                found = needed[key] = sources_of(*key)
                stack += found
        for key in sorted(needed, key=lambda key: order.get(key[0], -1)):
            found = needed[key]
            memo[key] = self.load(*key) if found is None else self.compute(*key, found)
        return memo[root]

    def is_loaded(self, value: Value) -> bool:
        return self.plan.is_loaded(value) and value not in self.own

    def compute(self, value: Value, index_map: IndexMap, pairs: list[tuple[Value, IndexMap]]) -> Value:
        """Emit the scalar program of one value from its sources, which have been computed."""
        op: Op = value.owner
        memo = self.memo
        sources = [memo[pair] for pair in pairs]
        insertion.location = op.location
        kind = op.kind
        if kind is nd.constant:
            dense = op.attributes["value"]
            if dense.is_splat:
                return self.number(dense.array.item(), compute_type(value.type.element))
            if all(dim < 0 and 0 <= at < n for (dim, _, at), n in zip(index_map, dense.array.shape, strict=True)):
                element = dense.array[tuple(at for _, _, at in index_map)]
                return self.number(element.item(), compute_type(value.type.element))
            return self.load(value, index_map)
        if "elementwise" in kind.tags:
            return apply_scalar(op, sources)
        if "reduction" in kind.tags:
            return self.write_out(op, sources)
        if kind is nd.iota:
            return self.position(op, index_map)
        if kind is nd.extent:
            return self.length(op.attributes["value"], compute_type(op.attributes["type"]))
        if kind is nd.pad:
            zero = self.number(0, sources[0].type)
            return self.where_inside(op.operands[0], operand_map(op, index_map), sources[0], zero)
        if kind is nd.concatenate:
            result = sources[-1]
            for (operand, moved), source in zip(reversed(pairs[:-1]), reversed(sources[:-1]), strict=True):
                result = self.where_inside(operand, moved, source, result)
            return result
        return sources[0]

    def write_out(self, op: Op, terms: list[Value]) -> Value:
        """Emit a reduction of a few terms."""
        scalar: Any = unroll.STEPS[op.kind.scalar].scalar
        if isinstance(scalar, dict):
            scalar = scalar[terms[0].type.kind]
        total = terms[0]
        for term in terms[1:]:
            total = scalar(total, term)
        return total

    def load(self, value: Value, index_map: IndexMap) -> Value:
        self.inputs.append((value, index_map))
        loaded = self.block.add_argument(value.type.element, value.hint)
        computed = compute_type(value.type.element)
        return loaded if computed is value.type.element else s.convert(loaded, type=computed)

    def number(self, number: Any, type: ScalarType) -> Value:
        key = (repr(number), type)
        if key not in self.scalars:
            self.scalars[key] = s.number(number, type)
        return self.scalars[key]

    def length(self, value: Any, type: ScalarType) -> Value:
        """Return a length, which the kernel is given when it runs."""
        read = self.once(("length", value), lambda: kernel.extent(value=value))
        return read if type is ir_types.i64 else self.once(("length", value, type), lambda: s.convert(read, type=type))

    def integer(self, value: Any, type: ScalarType) -> Value:
        return self.length(value, type) if is_symbolic(value) else self.number(value, type)

    def position(self, op: Op, index_map: IndexMap) -> Value:
        dim, coefficient, offset = index_map[op.attributes["axis"]]
        if dim < 0:
            return self.integer(offset, compute_type(op.attributes["type"]))
        point = self.once(("index", dim), lambda: kernel.index(dim=dim))
        if coefficient != 1:
            point = s.muli(point, self.integer(coefficient, ir_types.i64))
        if offset:
            point = s.addi(point, self.integer(offset, ir_types.i64))
        target = compute_type(op.attributes["type"])
        return point if target is ir_types.i64 else s.convert(point, type=target)

    def once(self, key: Any, make: Any) -> Value:
        """Build a scalar once per nest."""
        if key not in self.scalars:
            self.scalars[key] = make()
        return self.scalars[key]

    def where_inside(self, operand: Value, index_map: IndexMap, inner: Value, outer: Value) -> Value:
        """Return `inner` where the mapped index lies inside `operand`, else `outer`."""
        condition = None
        for extent, (dim, coefficient, offset) in zip(operand.type.shape, index_map, strict=True):
            if dim < 0:
                if not 0 <= offset < extent:
                    return outer
                continue
            low, high = inside_range(extent, coefficient, offset)
            low, high = max(low, 0), min(high, self.extents[dim])
            if low == 0 and high == self.extents[dim]:
                continue
            if low >= high:
                return outer
            test = self.once(
                ("inside", dim, low, high),
                lambda dim=dim, low=low, high=high: kernel.inside(dim=dim, low=low, high=high),
            )
            condition = test if condition is None else s.andi(condition, test)
        return inner if condition is None else s.select(condition, inner, outer)


def compute_type(element: ScalarType) -> ScalarType:
    """Return the type in which an element is computed: half floats are computed in single precision."""
    return ir_types.f32 if element is ir_types.f16 else element


def is_neutral(scalar: Value, combine: str) -> bool:
    """Tell whether combining a scalar into what a reduction starts from leaves that as it is."""
    op = scalar.op
    if op is None or op.kind is not s.constant or combine == "store":
        return False
    return op.attributes["value"] == neutral_element(combine, scalar.type)


def apply_scalar(op: Op, operands: Sequence[Value]) -> Value:
    """Emit the scalar form of an elementwise op."""
    scalar: Any = op.kind.scalar
    if isinstance(scalar, dict):
        scalar = scalar.get(operands[0].type.kind)
        if scalar is None:
            raise UnsupportedError(f"'{op.name}' has no native code for {operands[0].type}", op.location)
    if op.kind is nd.convert:
        return convert_scalar(operands[0], op.operands[0].type.element, op.attributes["type"])
    if op.kind is nd.nextafter and op.operands[0].type.element is ir_types.f16:
        halves = [s.convert(operand, type=ir_types.f16) for operand in operands]
        return s.convert(scalar(*halves), type=ir_types.f32)  # the next half float, not the next single
    return scalar(*operands, **op.attributes)


def convert_scalar(x: Value, source: ScalarType, target: ScalarType) -> Value:
    """Convert an element; to f16 it is rounded to half precision and widened again."""
    if target is ir_types.f16:
        half = x if x.type is ir_types.f16 else s.convert(x, type=ir_types.f16)
        return s.convert(half, type=ir_types.f32)
    if x.type is target:
        return x
    return nd.convert.scalar(x, target)


class Fuser:
    """Builds the kernels of one function."""

    def __init__(self, function: Op):
        self.function = function
        self.plan = plan_materialization(function)
        body = body_of(function)
        self.operations = body.ops[:-1]
        self.outputs = body.terminator.operands
        self.order = {op.results[0]: position for position, op in enumerate(self.operations)}
        self.new = make_function(
            function.attributes["sym_name"],
            [argument.type for argument in body.arguments],
            [argument.hint for argument in body.arguments],
        )
        self.values: dict[Value, Value] = dict(zip(body.arguments, body_of(self.new).arguments, strict=True))
        self.copies: dict[int, Value] = {}
        self.packed: dict[tuple[Value, int], Value] = {}  # copies with another axis last

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
        return finish_function(self.new, results)

    def roots_by_level(self) -> dict[int, list[Root]]:
        levels: dict[int, list[Root]] = {}
        outputs = set(self.outputs)
        for op in self.operations:
            value = op.results[0]
            if "reduction" in op.kind.tags and op not in self.plan.unrolled:
                (source,) = op.operands
                kept = nd.kept_axes(source.type.rank, op.attributes["axes"])
                root = Root(value, op.kind.scalar, source, kept, self.plan.split.get(op, ()))
            elif self.plan.is_inlined(op) and (value in self.plan.stored or value in outputs):
                root = Root(value, "store", value, range(value.type.rank))
            else:
                continue
            levels.setdefault(self.plan.executed[op], []).append(root)
        self.add_copies(levels)
        return levels

    def add_copies(self, levels: dict[int, list[Root]]) -> None:
        """An argument, a view of one, or a value returned twice is copied, so that results never share memory."""
        seen: set[Value] = set()
        for position, value in enumerate(self.outputs):
            base = value
            while base in self.plan.views and base.op is not None:
                base = base.op.operands[0]
            if base.op is None or base in seen:
                copy = Value(value.type, None, position)
                self.copies[position] = copy
                root = Root(copy, "store", value, range(value.type.rank))
                levels.setdefault(self.plan.available.get(value, 0), []).append(root)
            seen.add(base)

    def result(self, position: int, value: Value) -> Value:
        copy = self.copies.get(position)
        return self.values[copy] if copy is not None else self.view(value)

    def view(self, value: Value) -> Value:
        """Return the new function's value for one that is in memory."""
        found = self.values.get(value)
        if found is None:
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
        outputs, targets, yielded = [], [], []
        orders = [self.order_of_result(root) for root in group.roots]
        with at(builder.block):
            for target, (root, order) in enumerate(zip(group.roots, orders, strict=True)):
                element = root.value.type.element
                high = tuple(a + b for a, b in zip(root.offset, root.shape, strict=True))
                parts = list(root.parts(root.offset))
                for number, (index_map, dims) in enumerate(parts):
                    scalar = builder.pull(root.source, index_map)
                    missing = number + 1 == len(parts) and target not in targets
                    if is_neutral(scalar, root.combine) and not missing:
                        continue  # a part that changes nothing; but no result goes without any
                    if root.combine == "store" and scalar.type is not element:
                        scalar = s.convert(scalar, type=element)
                    yielded.append(scalar)
                    outputs.append((root.combine, tuple(dims[axis] for axis in order), root.offset, high))
                    targets.append(target)
            kernel.yield_.build(yielded, {})
        first = group.roots[0].value.op
        insertion.location = first.location if first else insertion.location
        sources = [self.source(value, index_map, group.shape) for value, index_map in builder.inputs]
        operands = list(dict.fromkeys(value for value, _ in sources))
        attributes = {
            "extents": group.shape,
            "inputs": tuple((operands.index(value), index_map) for value, index_map in sources),
            "outputs": tuple(outputs),
            "results": tuple(
                tensor(tuple(root.value.type.shape[axis] for axis in order), root.value.type.element)
                for root, order in zip(group.roots, orders, strict=True)
            ),
        }
        if targets != list(range(len(group.roots))):
            attributes["targets"] = tuple(targets)
        op = kernel.nest.build(operands, attributes, [Region(builder.block)])
        for root, order, result in zip(group.roots, orders, op.results, strict=True):
            straight = order == list(range(len(order)))
            back = [order.index(axis) for axis in range(len(order))]
            self.values[root.value] = result if straight else self.pack(result, back)

    def order_of_result(self, root: Root) -> list[int]:
        """Return the order in which the axes of a root's result are written: the one that vectors run along last."""
        inner = len(root.shape) - 1
        dims = next(root.parts(root.offset))[1]
        moving = [axis for axis, dim in enumerate(dims) if dim >= 0]
        if root.short and moving and dims[moving[-1]] == inner:
            return [axis for axis, dim in enumerate(dims) if dim < 0] + moving
        return list(range(len(dims)))

    def source(self, value: Value, index_map: IndexMap, extents: tuple[int, ...]) -> tuple[Value, IndexMap]:
        """Return where a nest loads an element from: the array, or a copy that runs along the innermost dimension.

        An array that lies in memory across that dimension is copied if the copy is much smaller than the nest.
        """
        array, shape = self.view(value), value.type.shape
        along = [axis for axis, (dim, _, _) in enumerate(index_map) if dim == len(extents) - 1]
        if (
            len(along) != 1
            or all(extent == 1 for extent in shape[along[0] + 1 :])
            or math.prod(extents) < PACK_READS * value.type.size
        ):
            return array, index_map
        axis = along[0]
        order = [*range(axis), *range(axis + 1, len(shape)), axis]
        key = (value, axis)
        if key not in self.packed:
            self.packed[key] = self.pack(array, order)
        return self.packed[key], tuple(index_map[k] for k in order)

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
