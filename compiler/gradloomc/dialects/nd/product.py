"""Products that contract axes: one op for dot, matmul, outer, tensordot and einsum."""

import math
from typing import Any

import numpy as np

from gradloomc.dialects.nd.arithmetic import mul
from gradloomc.dialects.nd.movement import broadcast, transpose
from gradloomc.dialects.nd.reduction import reduce_sum
from gradloomc.ir.core import Value
from gradloomc.ir.errors import DTypeError, ShapeError
from gradloomc.ir.opdef import Multilinear, OpDef, Sample
from gradloomc.ir.types import TensorType, tensor

Ints = tuple[int, ...]


def free_axes(rank: int, batch: Ints, contract: Ints) -> Ints:
    """Return the axes of an operand that are neither batch nor contracted."""
    return tuple(axis for axis in range(rank) if axis not in batch and axis not in contract)


def _dot_type(
    x: TensorType, y: TensorType, x_contract: Ints, y_contract: Ints, x_batch: Ints, y_batch: Ints
) -> TensorType:
    if x.element is not y.element:
        raise DTypeError(f"'nd.dot' op expects operands of one dtype, got {x.element} and {y.element}")
    if x.element.kind not in "fiu":
        raise DTypeError(f"'nd.dot' does not take {x.element} operands")
    sizes_x, sizes_y = [x.shape[a] for a in x_contract], [y.shape[a] for a in y_contract]
    if sizes_x != sizes_y:
        got = " and ".join(str(s[0]) if len(s) == 1 else str(s) for s in (sizes_x, sizes_y))
        raise ShapeError(f"'nd.dot' op expects contracted sizes to match, got {got}")
    if [x.shape[a] for a in x_batch] != [y.shape[a] for a in y_batch]:
        raise ShapeError("'nd.dot' op expects batch sizes to match")
    shape = (
        *[x.shape[a] for a in x_batch],
        *[x.shape[a] for a in free_axes(x.rank, x_batch, x_contract)],
        *[y.shape[a] for a in free_axes(y.rank, y_batch, y_contract)],
    )
    return tensor(shape, x.element)


def matrix_form(x: Any, batch: Ints, rows: Ints, columns: Ints) -> Any:
    """Permute and reshape an array to (*batch, rows, columns), a view where NumPy can."""
    shape = x.shape
    moved = np.transpose(x, (*batch, *rows, *columns))
    return moved.reshape(
        [
            *[shape[a] for a in batch],
            math.prod(shape[a] for a in rows),
            math.prod(shape[a] for a in columns),
        ]
    )


def _dot_reference(x: Any, y: Any, x_contract: Ints, y_contract: Ints, x_batch: Ints, y_batch: Ints) -> Any:
    x, y = np.asarray(x), np.asarray(y)
    x_free, y_free = free_axes(x.ndim, x_batch, x_contract), free_axes(y.ndim, y_batch, y_contract)
    product = np.matmul(
        matrix_form(x, x_batch, x_free, x_contract), matrix_form(y, y_batch, y_contract, y_free)
    )
    shape = (
        *[x.shape[a] for a in x_batch],
        *[x.shape[a] for a in x_free],
        *[y.shape[a] for a in y_free],
    )
    return product.reshape(shape)


def _dot_transpose_x(g: Value, x: Value, y: Value, **a: Any) -> Value:
    x_contract, y_contract, x_batch, y_batch = a["x_contract"], a["y_contract"], a["x_batch"], a["y_batch"]
    x_free = free_axes(x.type.rank, x_batch, x_contract)
    y_free = free_axes(y.type.rank, y_batch, y_contract)
    n_batch, n_free = len(x_batch), len(x_free)
    product = dot(
        g,
        y,
        x_contract=tuple(range(n_batch + n_free, g.type.rank)),
        y_contract=y_free,
        x_batch=tuple(range(n_batch)),
        y_batch=y_batch,
    )
    # axes of `product`: batch, free axes of x, then y's contracted axes in y's order
    left = sorted(y_contract)
    position = {x_contract[y_contract.index(axis)]: n_batch + n_free + k for k, axis in enumerate(left)}
    position.update({axis: k for k, axis in enumerate(x_batch)})
    position.update({axis: n_batch + k for k, axis in enumerate(x_free)})
    return transpose(product, permutation=tuple(position[axis] for axis in range(x.type.rank)))


def _dot_transpose_y(g: Value, x: Value, y: Value, **a: Any) -> Value:
    x_contract, y_contract, x_batch, y_batch = a["x_contract"], a["y_contract"], a["x_batch"], a["y_batch"]
    x_free = free_axes(x.type.rank, x_batch, x_contract)
    y_free = free_axes(y.type.rank, y_batch, y_contract)
    n_batch, n_free = len(x_batch), len(x_free)
    product = dot(
        x,
        g,
        x_contract=x_free,
        y_contract=tuple(range(n_batch, n_batch + n_free)),
        x_batch=x_batch,
        y_batch=tuple(range(n_batch)),
    )
    # axes of `product`: batch, x's contracted axes in x's order, then the free axes of y
    left = sorted(x_contract)
    position = {y_contract[x_contract.index(axis)]: n_batch + k for k, axis in enumerate(left)}
    position.update({axis: k for k, axis in enumerate(y_batch)})
    position.update({axis: n_batch + len(left) + k for k, axis in enumerate(y_free)})
    return transpose(product, permutation=tuple(position[axis] for axis in range(y.type.rank)))


def expand_dot(x: Value, y: Value, x_contract: Ints, y_contract: Ints, x_batch: Ints, y_batch: Ints) -> Value:
    """Return a dot as elementwise products that are added up, for nests."""
    x_free = free_axes(x.type.rank, x_batch, x_contract)
    y_free = free_axes(y.type.rank, y_batch, y_contract)
    # axes of the common iteration space: batch, free x, free y, contracted
    n_batch, n_x, n_y = len(x_batch), len(x_free), len(y_free)
    shape = tuple(
        [x.type.shape[a] for a in x_batch]
        + [x.type.shape[a] for a in x_free]
        + [y.type.shape[a] for a in y_free]
        + [x.type.shape[a] for a in x_contract]
    )
    start = n_batch + n_x + n_y

    def place(value: Value, batch: Ints, free: Ints, contract: Ints, at: int) -> Value:
        order = (*batch, *free, *contract)
        dims = (
            *range(n_batch),
            *range(at, at + len(free)),
            *range(start, start + len(contract)),
        )
        return broadcast(transpose(value, permutation=order), shape=shape, dims=dims)

    product = mul(
        place(x, x_batch, x_free, x_contract, n_batch),
        place(y, y_batch, y_free, y_contract, n_batch + n_x),
    )
    return reduce_sum(product, axes=tuple(range(start, len(shape))))


def _fold_dot(
    x: Value, y: Value, x_contract: Ints, y_contract: Ints, x_batch: Ints, y_batch: Ints
) -> Value | None:
    """A dot that contracts nothing, or a dot of vectors along shared axes, is plain elementwise arithmetic."""
    x_free = free_axes(x.type.rank, x_batch, x_contract)
    y_free = free_axes(y.type.rank, y_batch, y_contract)
    if x_contract and (x_free and y_free):
        return None
    return expand_dot(x, y, x_contract, y_contract, x_batch, y_batch)


def _dot_samples(x: Any) -> list[Sample]:
    def attributes(xc: Ints, yc: Ints, xb: Ints = (), yb: Ints = ()) -> dict[str, Ints]:
        return {"x_contract": xc, "y_contract": yc, "x_batch": xb, "y_batch": yb}

    return [
        Sample((x(3, 4), x(4, 2)), attributes((1,), (0,))),
        Sample((x(4, 3), x(2, 4)), attributes((0,), (1,))),
        Sample((x(2, 3, 4), x(2, 4, 2)), attributes((2,), (1,), (0,), (0,))),
        Sample((x(2, 3, 4), x(4, 3, 2)), attributes((1, 2), (1, 0))),
        Sample((x(3, 0), x(0, 2)), attributes((1,), (0,))),
        Sample((x(3, 4), x(4)), attributes((1,), (0,))),
        Sample((x(5), x(5)), attributes((0,), (0,))),
    ]


dot = OpDef(
    "nd.dot",
    "Sum of products over contracted axes; result axes: batch, the rest of x, the rest of y.",
    type_rule=_dot_type,
    reference=_dot_reference,
    derivative=Multilinear((_dot_transpose_x, _dot_transpose_y)),
    fold=_fold_dot,
    samples=_dot_samples,
    attributes=("x_contract", "y_contract", "x_batch", "y_batch"),
    grad_fn="Mm",
    tags=frozenset({"extern", "product"}),
)

