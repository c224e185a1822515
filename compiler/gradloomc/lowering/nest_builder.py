"""The scalar program of one nest: the element of a value at a point, and all that it is computed from in the loop.

Knows index maps and scalars. Which values share a nest, and in which order its loops run, is fuse.py's business.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from gradloomc.dialects import kernel, nd
from gradloomc.dialects import scalar as s
from gradloomc.ir import types as ir_types
from gradloomc.ir.builder import insertion
from gradloomc.ir.core import Block, Op, Value
from gradloomc.ir.errors import UnsupportedError
from gradloomc.ir.extents import is_symbolic
from gradloomc.ir.types import ScalarType
from gradloomc.lowering import unroll
from gradloomc.lowering.bounds import into_bounds
from gradloomc.lowering.index_maps import IndexMap, index_maps, inside_range, operand_map, sources_of, table_of
from gradloomc.lowering.loops import neutral_element
from gradloomc.lowering.materialize import Plan
from gradloomc.lowering.roots import Root


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
        self.picks: list[tuple[Op, Value, IndexMap, frozenset[int]]] = []  # each with the dimensions it varies with
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
            if kind is nd.mul and any(map(is_zero, sources)):
                return self.once((kind, *sources), lambda: apply_scalar(op, sources))
            return apply_scalar(op, sources)
        if kind is nd.gather:
            return self.pick(op, index_map, sources)
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

    def pick(self, op: Op, index_map: IndexMap, indices: list[Value]) -> Value:
        """Emit the load of an element that integers name."""
        x, element = op.operands[0], op.operands[0].type.element
        if any(x.type.shape[axis] == 0 for axis in op.attributes["axes"]):
            return self.number(0, compute_type(element))  # there is none; the check says so
        table, moved = table_of(op, index_map, self.plan.is_loaded)
        places = self.positions(op.operands[1:], indices, [x.type.shape[axis] for axis in op.attributes["axes"]])
        picked = kernel.gather.build(places, {"operand": -1, "map": moved, "type": element})
        varies = frozenset(
            dim for _, index_map in index_maps(op, index_map) for dim, coefficient, _ in index_map if coefficient
        )
        self.picks.append((picked, table, moved, varies))
        computed = compute_type(element)
        return picked.result if computed is element else s.convert(picked.result, type=computed)

    def positions(self, arrays: Sequence[Value], elements: Sequence[Value], extents: Sequence[int]) -> list[Value]:
        """Return the positions on axes that elements of index arrays name."""
        return [
            self.once(
                ("position", element, array, extent),
                lambda element=element, array=array, extent=extent: into_bounds(
                    element, array, extent, lambda: self.length(extent, ir_types.i64), self.number
                ),
            )
            for array, element, extent in zip(arrays, elements, extents, strict=True)
        ]

    def place(
        self, op: Op, root: Root, index_map: IndexMap, dims: tuple[int, ...]
    ) -> tuple[Value, tuple[int, ...]]:
        """Emit what a scatter places; return that, and the dimensions of the result.

        Where an axis of the result stands at a fixed position, that is one more integer.

        Args:
            dims: of a part of the root, ~k where an axis is indexed or at position k.
        """
        pairs = index_maps(op, index_map)
        elements = [self.pull(*pair) for pair in pairs]
        shape = op.attributes["shape"]
        axes = op.attributes.get("axes", range(len(shape)))
        if op.kind is nd.last_writer:
            value = self.number(0, ir_types.i64)
            for dim, (extent, entry) in enumerate(zip(root.shape, index_map, strict=True)):
                at = self.once(("index", dim), lambda dim=dim: kernel.index(dim=dim))
                at = s.addi(at, self.integer(entry[2], ir_types.i64)) if entry[2] else at
                value = s.addi(s.muli(value, self.length(extent, ir_types.i64)), at)
        else:
            value = self.pull(op.operands[0], index_map)
        places = self.positions([array for array, _ in pairs], elements, [shape[axis] for axis in axes])
        found: list[int] = []
        for axis, dim in zip(root.kept, dims, strict=True):
            if axis >= 0 and dim < 0:
                places.append(self.number(~dim, ir_types.i64))
                dim = -len(places)
            found.append(dim)
        return kernel.place(value, *places), tuple(found)

    def write_out(self, op: Op, terms: list[Value]) -> Value:
        """Emit a reduction of a few terms.

        Terms with a factor that is 0 (where a constant mask dropped it, as in half of a matrix) are added up first,
        from the end at which they stand: so rows of a triangle share what they add up, and nan and infinities stay.
        """
        zeros = [term for term in terms if is_multiple_of_zero(term)] if op.kind is nd.reduce_sum else []
        if zeros:
            rest = [term for term in terms if term not in zeros]
            terms = [*(zeros[::-1] if terms[-1] in zeros else zeros), *rest]
        total = terms[0]
        for position, term in enumerate(terms[1:], 1):
            if position < len(zeros):
                total = self.once((op.kind, total, term), lambda x=total, y=term: scalar_step(op.kind.scalar, x, y))
            else:
                total = scalar_step(op.kind.scalar, total, term)
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


def scalar_step(combine: str, x: Value, y: Value) -> Value:
    """Emit one step of a reduction."""
    scalar: Any = unroll.STEPS[combine].scalar
    return (scalar[x.type.kind] if isinstance(scalar, dict) else scalar)(x, y)


def compute_type(element: ScalarType) -> ScalarType:
    """Return the type in which an element is computed: half floats are computed in single precision."""
    return ir_types.f32 if element is ir_types.f16 else element


def is_zero(scalar: Value) -> bool:
    """Tell whether a scalar is the float 0, of either sign."""
    op = scalar.op
    return op is not None and op.kind is s.constant and scalar.type.kind == "f" and op.attributes["value"] == 0


def is_multiple_of_zero(scalar: Value) -> bool:
    """Tell whether a scalar is 0, or nan, whatever the point."""
    op = scalar.op
    return op is not None and op.kind is s.mulf and any(map(is_zero, op.operands))


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
