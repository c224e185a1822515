"""Library routines that run between native segments: products by NumPy's BLAS, the rest by the ops' references.

What does not depend on the arrays (axis orders, shapes) is worked out once, when the program is loaded.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradloomc.codegen.program import ExternStep
from gradloomc.dialects.nd.product import free_axes
from gradloomc.ir.opdef import REGISTRY

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]


def prepare_extern(step: ExternStep, slot_shapes: Sequence[Shape]) -> Callable[[list[Any]], None]:
    """Return the function that runs `step` on the arrays of a call, listed by slot."""
    operands = [(slot, shape, slot_shapes[slot] == shape) for slot, shape in step.operands]
    if step.callee == "nd.dot":
        return _prepare_dot(step, operands)
    reference = REGISTRY[step.callee].reference
    results = [slot for slot, _ in step.results]
    attributes = step.attributes

    def run(memory: list[Any]) -> None:
        arrays = [memory[slot] if same else memory[slot].reshape(shape) for slot, shape, same in operands]
        values = reference(*arrays, **attributes)  # type: ignore[misc]
        if len(results) == 1:
            values = (values,)
        for slot, value in zip(results, values, strict=True):
            memory[slot][...] = value

    return run


def _prepare_dot(step: ExternStep, operands: Sequence[tuple[int, Shape, bool]]) -> Callable[[list[Any]], None]:
    """Return a matrix product into the result, which lies in the order batch, rows, columns."""
    a = step.attributes
    (x_slot, x_shape, _), (y_slot, y_shape, _) = operands
    x_free = free_axes(len(x_shape), a["x_batch"], a["x_contract"])
    y_free = free_axes(len(y_shape), a["y_batch"], a["y_contract"])
    left = _as_matrix(x_shape, operands[0][2], a["x_batch"], x_free, a["x_contract"])
    right = _as_matrix(y_shape, operands[1][2], a["y_batch"], a["y_contract"], y_free)
    ((out_slot, out_shape),) = step.results
    batch = [x_shape[axis] for axis in a["x_batch"]]
    matrix = (*batch, math.prod(x_shape[k] for k in x_free), math.prod(y_shape[k] for k in y_free))
    matmul = np.matmul

    def run(memory: list[Any]) -> None:
        out = memory[out_slot]
        if matrix != out_shape:
            out = out.reshape(matrix)
        x, y = memory[x_slot], memory[y_slot]
        matmul(left(x) if left else x, right(y) if right else y, out=out)

    return run


def _as_matrix(
    shape: Shape, same: bool, batch: Shape, rows: Shape, columns: Shape
) -> Callable[[Array], Array] | None:
    """Return what turns an array into (*batch, rows, columns), a view where NumPy can; None if it is that already."""
    order = (*batch, *rows, *columns)
    matrix = (
        *[shape[axis] for axis in batch],
        math.prod(shape[axis] for axis in rows),
        math.prod(shape[axis] for axis in columns),
    )
    identity = order == tuple(range(len(shape)))
    if same and matrix == tuple(shape[axis] for axis in order):
        if identity:
            return None
        if order == (1, 0):
            return lambda array: array.T
    return lambda array: array.reshape(shape).transpose(order).reshape(matrix)
