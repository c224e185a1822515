"""NumPy's diagonals, traces and triangles on tracers; a diagonal is a strided slice of the flattened matrix."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradloom.trace.context import fail
from gradloom.trace.memory import lift
from gradloom.trace.promote import (
    accumulator,
    convert,
    normalize_axis,
)
from gradloom.trace.reductions import finish
from gradloom.trace.tracer import Tracer, implements
from gradloomc.dialects import nd
from gradloomc.ir import types as ir_types
from gradloomc.ir.core import Value
from gradloomc.ir.errors import ShapeError
from gradloomc.ir.types import tensor


def diagonal_of(x: Value, offset: int, axis1: int, axis2: int) -> Value:
    """Return the diagonal of two axes as a last axis: every (columns + 1)-th element of the flattened matrix."""
    rank = x.type.rank
    order = (*[k for k in range(rank) if k not in (axis1, axis2)], axis1, axis2)
    x = nd.transpose(x, permutation=order)
    *lead, rows, columns = x.type.shape
    start = offset if offset >= 0 else -offset * columns
    count = max(0, min(rows, columns - offset) if offset >= 0 else min(rows + offset, columns))
    flat = nd.reshape(x, shape=(*lead, rows * columns))
    step = columns + 1
    low = start if count else 0
    limit = low + (count - 1) * step + 1 if count else low
    return nd.slice_(
        flat,
        start=(0,) * len(lead) + (low,),
        limit=(*lead, limit),
        stride=(1,) * len(lead) + (step if count > 1 else 1,),
    )


def _diagonal(a: Any, offset: int, axis1: int, axis2: int) -> Value:
    x = lift(a)
    if x.type.rank < 2:
        fail(ShapeError, "diag requires an array of at least two dimensions")
    axis1, axis2 = normalize_axis(axis1, x.type.rank), normalize_axis(axis2, x.type.rank)
    if axis1 == axis2:
        fail(ShapeError, "axis1 and axis2 cannot be the same")
    return diagonal_of(x, offset, axis1, axis2)


@implements(np.linalg.diagonal)
def linalg_diagonal(x: Any, /, *, offset: int = 0) -> Any:
    """As numpy.linalg.diagonal."""
    return Tracer(_diagonal(x, offset, -2, -1))


@implements(np.trace)
def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None) -> Any:
    """As numpy.trace."""
    line = _diagonal(a, offset, axis1, axis2)
    element = accumulator(line.type.element) if dtype is None else lift(np.zeros((), dtype)).type.element
    return finish(nd.reduce_sum(convert(line, element), axes=(line.type.rank - 1,)), out)


@implements(np.linalg.trace)
def linalg_trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    """As numpy.linalg.trace."""
    return trace(x, offset, -2, -1, dtype)


@implements(np.diag)
def diag(v: Any, k: int = 0) -> Any:
    """As numpy.diag."""
    x = lift(v)
    if x.type.rank == 2:
        return Tracer(diagonal_of(x, k, 0, 1))
    if x.type.rank != 1:
        fail(ShapeError, "Input must be 1- or 2-d.")
    return diagflat(v, k)


@implements(np.diagflat)
def diagflat(v: Any, k: int = 0) -> Any:
    """As numpy.diagflat: the elements with n zeros between each, read in rows of n."""
    x = lift(v)
    count = x.type.size
    n = count + abs(k)
    start = k if k >= 0 else -k * n
    x = nd.reshape(x, shape=(count,))
    covered = count + max(count - 1, 0) * n
    flat = nd.pad(x, low=(start,), high=(n * n - start - covered,), interior=(n,)) if count else None
    if flat is None:
        return Tracer(nd.splat(0, tensor((n, n), x.type.element)))
    return Tracer(nd.reshape(flat, shape=(n, n)))


def diagonal_mask(shape: Sequence[int]) -> Value:
    """Return where all positions of an element of an array are the same number."""
    first, *others = (nd.iota(shape=tuple(shape), axis=axis, type=ir_types.i64) for axis in range(len(shape)))
    mask = nd.eq(first, others[0])
    for other in others[1:]:
        mask = nd.logical_and(mask, nd.eq(first, other))
    return mask


def _triangle(name: str) -> Any:
    def cut(m: Any, k: int = 0) -> Any:
        x = lift(m)
        if x.type.rank == 1:
            x = nd.broadcast(x, shape=x.type.shape * 2, dims=(1,))
        if not x.type.rank:
            fail(ShapeError, f"np.{name} needs an array with at least one axis")
        rank, shape = x.type.rank, x.type.shape
        row = nd.iota(shape=shape, axis=rank - 2, type=ir_types.i64)
        column = nd.iota(shape=shape, axis=rank - 1, type=ir_types.i64)
        edge = nd.add(row, nd.splat(k, row.type))
        inside = nd.le(column, edge) if name == "tril" else nd.ge(column, edge)
        return Tracer(nd.select(inside, x, nd.zeros_like(x)))

    cut.__doc__ = f"As numpy.{name}."
    return cut


implements(np.tril)(_triangle("tril"))
implements(np.triu)(_triangle("triu"))
