"""Linear systems, solved by LAPACK between kernels."""

from typing import Any

import numpy as np

from gradloomc.dialects.nd.arithmetic import neg, sub
from gradloomc.dialects.nd.movement import transpose
from gradloomc.dialects.nd.product import dot
from gradloomc.ir.core import Value
from gradloomc.ir.errors import DTypeError, ShapeError
from gradloomc.ir.opdef import Linearize, OpDef, Sample
from gradloomc.ir.types import TensorType


def _solve_type(a: TensorType, b: TensorType) -> TensorType:
    if a.element is not b.element or a.element.kind != "f":
        raise DTypeError(f"'nd.solve' op expects floats of one dtype, got {a.element} and {b.element}")
    if a.rank < 2 or a.shape[-1] != a.shape[-2]:
        raise ShapeError(f"'nd.solve' op expects square matrices, got shape {list(a.shape)}")
    if a.rank != b.rank or a.shape[:-2] != b.shape[:-2] or a.shape[-1] != b.shape[-2]:
        raise ShapeError(f"'nd.solve' cannot solve systems of shape {list(a.shape)} for {list(b.shape)}")
    return b


def _solve_reference(a: Any, b: Any) -> Any:
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype in (np.float32, np.float64):
        return np.linalg.solve(a, b)
    if a.dtype == np.float16:
        return np.linalg.solve(a.astype(np.float32), b.astype(np.float32)).astype(np.float16)
    return _eliminate(np.array(a), np.array(b))


def _eliminate(a: Any, b: Any) -> Any:
    """Solve by Gauss-Jordan elimination with partial pivoting, in dtypes that LAPACK does not know (long double)."""
    count = a.shape[-1]
    for k in range(count):
        pivot = k + np.argmax(np.abs(a[..., k:, k]), axis=-1)[..., None, None]
        rows = np.arange(count)[:, None]
        order = np.where(rows == k, pivot, np.where(rows == pivot, k, rows))
        a, b = np.take_along_axis(a, order, -2), np.take_along_axis(b, order, -2)
        factors = a[..., :, k : k + 1] / a[..., k : k + 1, k : k + 1]
        factors = np.where(rows == k, 0, factors)
        a, b = a - factors * a[..., k : k + 1, :], b - factors * b[..., k : k + 1, :]
    return b / np.diagonal(a, axis1=-2, axis2=-1)[..., None]


def _matmul(x: Value, y: Value) -> Value:
    rank = x.type.rank
    batch = tuple(range(rank - 2))
    return dot(x, y, x_contract=(rank - 1,), y_contract=(rank - 2,), x_batch=batch, y_batch=batch)


def _transposed(x: Value) -> Value:
    rank = x.type.rank
    return transpose(x, permutation=(*range(rank - 2), rank - 1, rank - 2))


def _solve_tangent(x: Value, operands: Any, tangents: Any, attributes: Any) -> Value:
    """From a·x = b: a·dx = db - da·x."""
    a = operands[0]
    da, db = tangents
    if da is None:
        return solve(a, db)
    moved = _matmul(da, x)
    return solve(a, neg(moved) if db is None else sub(db, moved))


def _solve_transpose(g: Value, a: Value, b: Value) -> tuple[None, Value]:
    return None, solve(_transposed(a), g)


def _solve_samples(x: Any) -> list[Sample]:
    def regular(*shape: int) -> Any:
        return x(*shape) + (4 * np.eye(shape[-1])).astype(x(1).dtype)

    return [
        Sample((regular(3, 3), x(3, 2))),
        Sample((regular(2, 3, 3), x(2, 3, 1))),
        Sample((regular(1, 1), x(1, 4))),
    ]


solve = OpDef(
    "nd.solve",
    "The solutions x of a·x = b: square matrices a, stacked, and columns of b (LAPACK's gesv).",
    type_rule=_solve_type,
    reference=_solve_reference,
    derivative=Linearize(_solve_tangent, transpose=_solve_transpose),
    samples=_solve_samples,
    grad_fn="LinalgSolveEx",
    tags=frozenset({"extern", "product"}),
)
