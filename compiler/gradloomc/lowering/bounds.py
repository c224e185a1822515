"""Which indices are known to be in bounds, and what has to be checked of the others.

An index that may be out of bounds makes two roots: the least and the largest element of its array. They are reduced
over the array itself, in the nest that uses it where that has the same points, so that no point of a nest that counts
for nothing (the end of a vector, what a pad covers) can cause an error. What they find is compared with the axis once,
when the program ends; until then loads and scatters keep every index in bounds.
"""

from collections.abc import Callable
from typing import NamedTuple

from gradloomc.dialects import kernel, nd
from gradloomc.dialects import scalar as s
from gradloomc.ir import types as ir_types
from gradloomc.ir.builder import insertion
from gradloomc.ir.core import Op, Value
from gradloomc.ir.extents import is_symbolic
from gradloomc.ir.location import Location
from gradloomc.ir.types import tensor

Range = tuple[int, int]
# Values that are looked at, and how deep, to find the range of an index.
_DEPTH = 12
_MOVES = frozenset({nd.broadcast, nd.transpose, nd.slice_, nd.reverse, nd.reshape, nd.gather})


class Check(NamedTuple):
    """What is compared when a program ends: the least and the largest index with an axis."""

    low: Value
    high: Value
    extent: int
    axis: int
    location: Location


def range_of(value: Value, anywhere: bool = False, depth: int = _DEPTH) -> Range | None:
    """Return numbers between which all elements of an array of integers are known to be, or None.

    Args:
        anywhere: also what a loop computes beside the array, where loads give 0 or another element.
    """
    op = value.op
    if op is None or depth == 0 or value.type.element.kind not in "iu":
        return None
    kind, operands = op.kind, op.operands
    if kind is nd.constant:
        array = op.attributes["value"].array
        if not array.size:
            return (0, 0)
        low, high = int(array.min()), int(array.max())
        return (min(low, 0), max(high, 0)) if anywhere and low != high else (low, high)
    if kind is nd.iota and not anywhere:
        extent = op.attributes["shape"][op.attributes["axis"]]
        return None if is_symbolic(extent) else (0, max(int(extent) - 1, 0))
    if kind in _MOVES:
        return range_of(operands[0], anywhere, depth - 1)
    if kind is nd.convert:
        found = range_of(operands[0], anywhere, depth - 1)
        limits = _limits(value)
        return found if found and limits[0] <= found[0] and found[1] <= limits[1] else None
    if kind is nd.clip:
        x, low, high = (range_of(operand, anywhere, depth - 1) or _limits(operand) for operand in operands)
        return (min(max(x[0], low[0]), high[0]), min(max(x[1], low[1]), high[1]))
    if kind not in (nd.add, nd.sub, nd.maximum, nd.minimum, nd.select):
        return None
    first, second = (range_of(operand, anywhere, depth - 1) for operand in operands[-2:])
    if kind is nd.maximum or kind is nd.minimum:
        (a, b), (c, d) = first or _limits(operands[0]), second or _limits(operands[1])
        return (max(a, c), max(b, d)) if kind is nd.maximum else (min(a, c), min(b, d))
    if first is None or second is None:
        return None
    (a, b), (c, d) = first, second
    if kind is nd.select:
        return (min(a, c), max(b, d))
    found = (a + c, b + d) if kind is nd.add else (a - d, b - c)
    limits = _limits(value)
    return found if limits[0] <= found[0] and found[1] <= limits[1] else None


def _limits(value: Value) -> Range:
    """Return the range of an integer type."""
    element = value.type.element
    bits = element.bits
    return (0, 2**bits - 1) if element.kind == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def is_checked_before(value: Value) -> bool:
    """Tell whether an index is a constant, whose bounds were checked when the program was traced."""
    op = value.op
    while op is not None and op.kind in _MOVES and op.kind is not nd.gather:
        op = op.operands[0].op
    return op is not None and op.kind is nd.constant


def is_inside(value: Value, extent: int, anywhere: bool = False) -> bool:
    """Tell whether all elements of an index array are known to be from -extent to extent - 1 (see `range_of`)."""
    found = range_of(value, anywhere)
    if found is None:
        return False
    if is_symbolic(extent):
        return is_checked_before(value)
    return -extent <= found[0] and found[1] < extent


def into_bounds(
    index: Value, value: Value, extent: int, length: Callable[[], Value], number: Callable[..., Value]
) -> Value:
    """Emit what turns an element of an index array into a position of an axis: counted from the front, and inside.

    Args:
        index: the element.
        value: the array.
        extent: of the axis, which is not empty; `length` makes a scalar of it.
        number: makes a constant of a number and a type.
    """
    if index.type is not ir_types.i64:
        index = s.convert(index, type=ir_types.i64)
    found = range_of(value, anywhere=True) or _limits(value)
    if found[0] < 0 or found[1] > 2**63 - 1:
        negative = s.cmpi(index, number(0, ir_types.i64), predicate="slt")
        index = s.select(negative, s.addi(index, length()), index)
    if is_inside(value, extent, anywhere=True):
        return index
    return s.minui(index, s.subi(length(), number(1, ir_types.i64)))  # what is negative still is a large number


class Checks:
    """The checks that a function needs, each array and axis once."""

    def __init__(self) -> None:
        self.ranges: dict[Value, tuple[Value, Value]] = {}
        self.found: dict[tuple[Value, int], Check] = {}

    def add(self, op: Op) -> list[tuple[Value, str, Value]]:
        """Note what an indexing op needs; return new roots: (value, how it is reduced, index array)."""
        if op.kind is nd.gather:
            indices, shape, axes = op.operands[1:], op.operands[0].type.shape, op.attributes["axes"]
        else:
            shape = op.attributes["shape"]
            indices = op.operands[1:] if op.kind is nd.scatter_add else op.operands
            axes = op.attributes.get("axes", range(len(shape)))
        roots = []
        for index, axis in zip(indices, axes, strict=True):
            key = (index, shape[axis])
            if key in self.found or 0 in index.type.shape or is_inside(index, shape[axis]):
                continue
            if index not in self.ranges:
                ends = [Value(tensor((), ir_types.i64), None, k) for k in range(2)]
                self.ranges[index] = (ends[0], ends[1])
                roots += [(ends[0], "minimum", index), (ends[1], "maximum", index)]
            self.found[key] = Check(*self.ranges[index], shape[axis], axis, op.location)
        return roots

    def emit(self, value_of: "dict[Value, Value]") -> None:
        """Emit the comparisons, of what the roots became."""
        for check in self.found.values():
            insertion.location = check.location
            kernel.bounds(value_of[check.low], value_of[check.high], extent=check.extent, axis=check.axis)
