"""Tables that follow from positions: an identity matrix or a triangle becomes a comparison of two indices.

NumPy's masks (`np.eye(n)`, `np.tri(n)`, `~np.eye(n, dtype=bool)`, and what is computed of them) are arrays of n x n
numbers. Reading one costs more memory traffic than most programs on pairs need in all; comparing positions costs an
instruction for a vector. This file knows arrays and how the comparison is built, not why an array is a constant.
"""

from typing import Any, NamedTuple

import numpy as np

from gradloomc.dialects import nd
from gradloomc.ir import types as ir_types
from gradloomc.ir.attributes import Dense
from gradloomc.ir.core import Value
from gradloomc.ir.types import TensorType

# Smaller tables stay what they are: loops over short axes are written out, which asks for the numbers.
LEAST_EXTENT = 64


class Pattern(NamedTuple):
    """A table that holds `number` where its relation holds, and `other` elsewhere.

    Attributes:
        relation: "eq" for a diagonal: column - row is `edge`; "ge" for a triangle: it is `edge` or more.
    """

    relation: str
    edge: int
    number: Any
    other: Any


def pattern_of(array: np.ndarray) -> Pattern | None:
    """Return the pattern of an array with two long axes (and any of length 1), or None if there is none."""
    extents = [extent for extent in array.shape if extent != 1]
    if len(extents) != 2 or min(extents) < LEAST_EXTENT or array.dtype.kind not in "fiub":
        return None
    table = np.ascontiguousarray(array.reshape(extents))
    bits = table.view(f"u{table.itemsize}")
    rows, columns = extents
    below, above = bits[-1, 0], bits[0, -1]
    relation = "eq" if below == above else "ge"
    in_row, in_column = np.flatnonzero(bits[0] != below), np.flatnonzero(bits[:, 0] != below)
    if not in_row.size and not in_column.size:
        return None
    edge = -int(in_column[-1]) if in_column.size else int(in_row[0])
    number, other = table[max(-edge, 0), max(edge, 0)], table[-1, 0]
    distance = np.arange(columns)[None, :] - np.arange(rows)[:, None]
    chosen = distance == edge if relation == "eq" else distance >= edge
    same = (bits == np.where(chosen, number, other).view(bits.dtype)).all()
    return Pattern(relation, edge, number, other) if same else None


def table_of(pattern: Pattern, type: TensorType) -> Value:
    """Build the table of a pattern."""
    axes = [axis for axis, extent in enumerate(type.shape) if extent != 1]
    row, column = (nd.iota(shape=type.shape, axis=axis, type=ir_types.i64) for axis in axes)
    if pattern.edge:
        row = nd.add(row, nd.splat(pattern.edge, row.type))
    mask = nd.eq(row, column) if pattern.relation == "eq" else nd.ge(column, row)
    if type.element is ir_types.i1:
        return mask if pattern.number else nd.logical_not(mask)
    numbers = [nd.constant(value=Dense(type, number)) for number in (pattern.number, pattern.other)]
    return nd.select(mask, *numbers)
