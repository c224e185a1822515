"""Elements picked and placed by arrays of integers: gather, its transpose scatter_add, and which write comes last.

All three take one index array for each indexed axis; the index arrays have one shape. An array that is indexed along
`axes` has the positions of the index arrays first and its other axes, in order, behind. Negative indices count from the
end; an index out of bounds is an error when the program runs.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradloomc.ir import types as ir_types
from gradloomc.ir.errors import DTypeError, OutOfBoundsError, ShapeError
from gradloomc.ir.opdef import Constant, Linear, OpDef, Sample
from gradloomc.ir.types import TensorType, tensor

Ints = tuple[int, ...]


def other_axes(rank: int, axes: Sequence[int]) -> Ints:
    """Return the axes of an array that are not indexed."""
    return tuple(axis for axis in range(rank) if axis not in axes)


def _check(name: str, rank: int, indices: Sequence[TensorType], axes: Ints) -> None:
    if not axes or len(indices) != len(axes) or len(set(axes)) != len(axes) or not all(0 <= a < rank for a in axes):
        raise ShapeError(f"'{name}' needs an index array for each of the axes {list(axes)} of an array of rank {rank}")
    for index in indices:
        if index.element.kind not in "iu":
            raise DTypeError(f"'{name}' expects integer indices, got {index.element}")
        if index.shape != indices[0].shape:
            raise ShapeError(f"'{name}' expects index arrays of one shape")


def _gather_type(x: TensorType, *indices: TensorType, axes: Ints) -> TensorType:
    _check("nd.gather", x.rank, indices, axes)
    return tensor(indices[0].shape + tuple(x.shape[axis] for axis in other_axes(x.rank, axes)), x.element)


def _scatter_type(updates: TensorType, *indices: TensorType, shape: Ints, axes: Ints) -> TensorType:
    _check("nd.scatter_add", len(shape), indices, axes)
    placed = indices[0].shape + tuple(shape[axis] for axis in other_axes(len(shape), axes))
    if updates.shape != placed:
        raise ShapeError(f"'nd.scatter_add' cannot place {list(updates.shape)} by indices {list(indices[0].shape)}")
    return tensor(shape, updates.element)


def _last_type(*indices: TensorType, shape: Ints) -> TensorType:
    _check("nd.last_writer", len(shape), indices, tuple(range(len(shape))))
    return tensor(shape, ir_types.i64)


def counted_from_front(indices: Sequence[Any], shape: Sequence[int], axes: Sequence[int]) -> tuple[Any, ...]:
    """Return index arrays with their negative elements counted from the front.

    Raises:
        OutOfBoundsError: an index is out of bounds, in NumPy's words.
    """
    found = []
    for index, axis in zip(indices, axes, strict=True):
        index, extent = np.asarray(index).astype(np.int64), shape[axis]
        bad = (index < -extent) | (index >= extent)
        if bad.any():
            raise OutOfBoundsError(f"index {index[bad].flat[0]} is out of bounds for axis {axis} with size {extent}")
        found.append(np.where(index < 0, index + extent, index))
    return tuple(found)


def _moved(x: Any, axes: Ints) -> Any:
    return np.transpose(x, (*axes, *other_axes(x.ndim, axes)))


def _gather_reference(x: Any, *indices: Any, axes: Ints) -> Any:
    x = np.asarray(x)
    return _moved(x, axes)[counted_from_front(indices, x.shape, axes)]


def _scatter_reference(updates: Any, *indices: Any, shape: Ints, axes: Ints) -> Any:
    updates = np.asarray(updates)
    result = np.zeros(shape, updates.dtype)
    np.add.at(_moved(result, axes), counted_from_front(indices, shape, axes), updates)
    return result


def _last_reference(*indices: Any, shape: Ints) -> Any:
    places = counted_from_front(indices, shape, range(len(shape)))
    result = np.full(shape, np.iinfo(np.int64).min)
    np.maximum.at(result, places, np.arange(places[0].size).reshape(places[0].shape))
    return result


gather = OpDef(
    "nd.gather",
    "Elements of x picked by integers along `axes` (negative ones count from the end): result[i, j] = x[indices[i], j] "
    "for axes = [0].",
    type_rule=_gather_type,
    reference=_gather_reference,
    derivative=Linear(lambda g, x, *indices, axes: (scatter_add(g, *indices, shape=x.type.shape, axes=axes),)),
    samples=lambda x: [
        Sample((x(4), np.array([0, 3, 3, 1])), {"axes": (0,)}),
        Sample((x(4, 2), np.array([[0, 3], [1, 1]])), {"axes": (0,)}),
        Sample((x(4, 2), np.array([-1, 2])), {"axes": (0,)}),
        Sample((x(2, 3, 2), np.array([2, -1, 0, 0], np.int32)), {"axes": (1,)}),
        Sample((x(2, 3, 2), np.array([1, 0, -2]), np.array([-1, 1, 0])), {"axes": (2, 0)}),
        Sample((x(3, 2), np.array(-3)), {"axes": (0,)}, "one"),
        Sample((x(3, 2), np.zeros((0, 2), np.uint8)), {"axes": (0,)}, "none"),
    ],
    grad_fn="Index",
    attributes=("axes",),
    cost=6.0,
    tags=frozenset({"indexing"}),
)
scatter_add = OpDef(
    "nd.scatter_add",
    "Zeros of `shape` to which the updates are added at the indices along `axes`, in order (transpose of gather).",
    type_rule=_scatter_type,
    reference=_scatter_reference,
    derivative=Linear(lambda g, updates, *indices, shape, axes: (gather(g, *indices, axes=axes),)),
    samples=lambda x: [
        Sample((x(4), np.array([0, 2, 2, 1])), {"shape": (3,), "axes": (0,)}),
        Sample((x(2, 2, 3), np.array([[0, 4], [1, 1]])), {"shape": (5, 3), "axes": (0,)}),
        Sample((x(4, 2), np.array([0, -1, 2, 2], np.int8)), {"shape": (2, 3), "axes": (1,)}),
        Sample((x(3, 2), np.array([1, 1, -2]), np.array([0, 0, 1])), {"shape": (2, 2, 2), "axes": (0, 2)}),
        Sample((x(2), np.array(-1)), {"shape": (3, 2), "axes": (0,)}, "one"),
        Sample((x(0, 2), np.zeros((0,), np.int64)), {"shape": (3, 2), "axes": (0,)}, "none"),
    ],
    attributes=("shape", "axes"),
    grad_fn="IndexAdd",
    cost=6.0,
    tags=frozenset({"indexing", "scatter"}),
)
last_writer = OpDef(
    "nd.last_writer",
    "For each element of an array of `shape` the row-major position of the last index (one index array an axis) that "
    "names it, or the least integer: who writes it in x[i, j] = v.",
    type_rule=_last_type,
    reference=_last_reference,
    derivative=Constant(),
    samples=lambda x: [
        Sample((np.array([0, 2, 2, -1]),), {"shape": (4,)}),
        Sample((np.array([[0, 1], [1, 1]]), np.array([[2, 0], [0, -3]])), {"shape": (2, 3)}),
    ],
    attributes=("shape",),
    cost=6.0,
    tags=frozenset({"indexing", "scatter"}),
)
