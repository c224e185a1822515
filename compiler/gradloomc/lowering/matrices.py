"""Which matrices of a BLAS lie in an array: axes put together to rows and columns, with the steps between them.

Arrays are C-contiguous. This file knows shapes and axes, and nothing of values or kernels.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from gradloomc.dialects.nd.product import free_axes

Ints = tuple[int, ...]


class Matrix(NamedTuple):
    """A matrix in memory: its extents; whether it is stored by columns; the step between stored rows (or columns)."""

    rows: int
    columns: int
    transposed: bool
    leading: int


def strides_of(shape: Sequence[int]) -> Ints:
    """Return the steps, in elements, between neighbours along each axis of a contiguous array."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def merged(shape: Sequence[int], axes: Sequence[int]) -> tuple[int, int] | None:
    """Return extent and step of the one axis that walks `axes` in order, or None where no single step does."""
    strides = strides_of(shape)
    extent, step = 1, 1
    for axis in reversed(axes):
        if shape[axis] == 1:
            continue
        if extent == 1:
            step = strides[axis]
        elif strides[axis] != step * extent:
            return None
        extent *= shape[axis]
    return extent, step


def matrix_of(shape: Sequence[int], rows: Sequence[int], columns: Sequence[int]) -> Matrix | None:
    """Return the matrix whose rows and columns run along these axes, or None if a BLAS cannot read it in place."""
    down, across = merged(shape, rows), merged(shape, columns)
    if down is None or across is None:
        return None
    (m, row_step), (n, column_step) = down, across
    if n == 1 or column_step == 1:
        return Matrix(m, n, False, n if m == 1 else row_step)
    if m == 1 or row_step == 1:
        return Matrix(m, n, True, column_step)
    return None


def batch_steps(shapes: Sequence[Sequence[int]], axes: Sequence[Ints]) -> tuple[Ints, ...]:
    """Return (extent, step in each array) for every batch axis, neighbours put together where all arrays allow it.

    Args:
        shapes: one for each array.
        axes: each array's batch axes, in one order for all.
    """
    strides = [strides_of(shape) for shape in shapes]
    found: list[Ints] = []
    for position in range(len(axes[0])):
        extent = shapes[0][axes[0][position]]
        if extent == 1:
            continue
        steps = tuple(strides[k][axes[k][position]] for k in range(len(shapes)))
        if found and found[-1][1:] == tuple(step * extent for step in steps):
            found[-1] = (found[-1][0] * extent, *steps)
        else:
            found.append((extent, *steps))
    return tuple(found)


def gemm_attributes(x: Ints, y: Ints, result: Ints, axes: dict[str, Ints]) -> dict[str, Any]:
    """Return the attributes, but for the factors, of the `loops.gemm` that computes an `nd.dot` of these shapes."""
    x_free = free_axes(len(x), axes["x_batch"], axes["x_contract"])
    y_free = free_axes(len(y), axes["y_batch"], axes["y_contract"])
    left, right = matrix_of(x, x_free, axes["x_contract"]), matrix_of(y, axes["y_contract"], y_free)
    assert left is not None and right is not None
    batch = batch_steps((x, y, result), (axes["x_batch"], axes["y_batch"], tuple(range(len(axes["x_batch"])))))
    return {
        "shape": (left.rows, right.columns, left.columns),
        "transposed": (left.transposed, right.transposed),
        "leading": (left.leading, right.leading, right.columns),
        "batch": batch,
    }
