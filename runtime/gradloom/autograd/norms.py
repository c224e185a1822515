"""Norms and distances: `x.norm()`, `linalg.vector_norm`, `linalg.matrix_norm`, `dist`. Each is one recorded operation.

Where a norm has a kink, the gradient is PyTorch's: 0 at zeros, shared evenly between the largest elements.
"""

import math
from typing import Any

from gradloom.autograd.dtypes import dtype_of
from gradloom.autograd.elementwise import (
    bring_to,
    check_broadcast,
    common_element,
    is_number,
    tensor_operand,
    type_name,
)
from gradloom.autograd.errors import error
from gradloom.autograd.graph import EagerOp
from gradloom.autograd.reducing import Dims, axes_of, element_argument, kept, normalize_dims, numpy_names, over, working
from gradloom.autograd.tensor import Tensor, method, normalize_dim, operation, public
from gradloom.trace.promote import convert
from gradloom.trace.reductions import guarded_sqrt
from gradloomc.dialects import nd
from gradloomc.ir.core import Value
from gradloomc.ir.types import ScalarType


def norm_of(x: Value, order: float, axes: Dims) -> Value:
    """Return the norm of an order over axes: (sum of |x| ** order) ** (1 / order)."""
    if order == 2:
        return guarded_sqrt(nd.reduce_sum(nd.square(x), axes=axes))
    size = nd.abs_(x)
    if order == 1:
        return nd.reduce_sum(size, axes=axes)
    if order == 0:
        return nd.reduce_sum(convert(nd.ne(x, nd.zeros_like(x)), x.type.element), axes=axes)
    if math.isinf(order):
        return (nd.reduce_max if order > 0 else nd.reduce_min)(size, axes=axes)
    total = nd.reduce_sum(_power(size, order), axes=axes)
    return _power(total, 1 / order)


def _power(x: Value, exponent: float) -> Value:
    """Return a power of what is not negative, with derivative 0 at 0."""
    at_zero = nd.eq(x, nd.zeros_like(x))
    at = float("inf") if exponent < 0 else 0.0
    inner = nd.select(at_zero, nd.splat(1.0, x.type), x)
    return nd.select(at_zero, nd.splat(at, x.type), nd.power(inner, nd.splat(exponent, x.type)))


def _norm_rule(
    x: Any, order: float, function: str, dims: Dims | None, keepdim: bool, element: ScalarType | None = None
) -> Value:
    value = x.value
    have = value.type.element
    if have.kind != "f" and (element is None or element.kind != "f"):
        name = dtype_of(have).type_name
        raise error(RuntimeError, f"{function}: Expected a floating point or complex tensor as input. Got {name}")
    value = convert(value, element or have)
    axes = axes_of(value, dims)
    if 0 in [value.type.shape[axis] for axis in axes] and (order < 0 or math.isinf(order)):
        what = "the inf norm" if math.isinf(order) else f"the {order} norm"
        raise error(
            RuntimeError,
            f"{function} cannot compute {what} on an empty tensor because the operation does not have an identity",
        )
    return kept(convert(norm_of(working(value), order, axes), value.type.element), value, axes, keepdim)


NORM = EagerOp("LinalgVectorNormBackward0", _norm_rule, saves=(frozenset({0}), True))


def _record(x: Tensor, order: float, dim: Any, keepdim: Any, dtype: Any, function: str) -> Tensor:
    attributes = (
        ("order", order),
        ("function", function),
        *over(function, dim, x._value.type.rank, keepdim),
        *(() if dtype is None else (("element", element_argument(function, dtype)),)),
    )
    return operation(NORM, (x,), attributes)


_VECTOR = "linalg.vector_norm"


@method("norm")
@public("norm")
@numpy_names
def norm(
    input: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False, out: None = None, dtype: Any = None
) -> Any:
    """Return the norm of order `p` of all elements, or over dimensions.

    Args:
        p: a number (inf and -inf as well); "fro" and None are 2.
        dim: an int or a tuple of ints.
        dtype: convert to it first.

    Raises:
        RuntimeError: the dtype is not floating-point, or there is no such order.
        NotImplementedError: the nuclear norm, which needs singular values.
    """
    tensor_operand(input, "norm")
    if p is None or p == "fro":
        p = 2.0
    elif isinstance(p, str):
        raise _refused(p)
    return _record(input, float(p), dim, keepdim, dtype, _VECTOR)


def _refused(order: Any) -> Exception:
    if order in ("nuc", 2, -2):
        return error(
            NotImplementedError,
            f"gradloom has no singular values, which the matrix norm of order {order!r} needs",
            "the Frobenius norm needs none",
        )
    return error(RuntimeError, f"linalg.matrix_norm: Order {order} not supported.")


def vector_norm(x: Tensor, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Return the norm of order `ord` of all elements, or over dimensions; see `gradloom.norm`."""
    if not is_number(ord):
        raise TypeError(f"linalg_vector_norm(): argument 'ord' (position 2) must be Number, not {type_name(ord)}")
    return _record(tensor_operand(x, "linalg_vector_norm"), float(ord), dim, keepdim, dtype, _VECTOR)


def matrix_norm(
    A: Tensor, ord: Any = "fro", dim: Any = (-2, -1), keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """Return the norm of matrices: "fro", or the largest (inf, 1) or smallest (-inf, -1) sum of a row or column.

    Raises:
        RuntimeError: there are less than 2 dimensions, or no such order.
        NotImplementedError: orders 2, -2 and "nuc", which need singular values.
    """
    rank = tensor_operand(A, "linalg_matrix_norm", "A")._value.type.rank
    if rank < 2:
        raise error(RuntimeError, "linalg.matrix_norm: The input tensor A must have at least 2 dimensions.")
    dims = tuple(dim) if isinstance(dim, (tuple, list)) else (dim,)
    if len(dims) != 2:
        raise error(RuntimeError, f"linalg.matrix_norm: dim must be a 2-tuple. Got {list(dims)}")
    if ord == "fro":
        return _record(A, 2.0, dims, keepdim, dtype, "linalg.matrix_norm")
    if isinstance(ord, str) or abs(ord) not in (1, math.inf):
        raise _refused(ord)
    row, column = (normalize_dim(each, rank) for each in dims)
    if row == column:
        raise error(RuntimeError, f"linalg.matrix_norm: dims must be different. Got ({row}, {column})")
    summed, searched = (row, column) if abs(ord) == 1 else (column, row)
    sums = vector_norm(A, 1, summed, keepdim, dtype=dtype)
    if not keepdim and searched > summed:
        searched -= 1
    return (sums.amax if ord > 0 else sums.amin)(searched, keepdim)


@numpy_names
def linalg_norm(A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Return `vector_norm` or `matrix_norm`: the latter for a matrix, or two dimensions, if an order is given."""
    rank = tensor_operand(A, "linalg_norm", "A")._value.type.rank
    if ord is None:
        return vector_norm(A, 2, dim, keepdim, dtype=dtype)
    if dim is None:
        if rank not in (1, 2):
            raise error(
                RuntimeError,
                f"linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got {rank}D.",
            )
        dim = tuple(range(rank))
    dims = normalize_dims("linalg_norm", tuple(dim) if isinstance(dim, (tuple, list)) else dim, rank)
    if len(dims) == 2:
        return matrix_norm(A, ord, dim, keepdim, dtype=dtype)
    return vector_norm(A, ord, dims, keepdim, dtype=dtype)


def _distance_rule(x: Any, y: Any, order: float) -> Value:
    check_broadcast((x, y))
    element = common_element((x, y))
    difference = (bring_to(x, element) - bring_to(y, element)).value
    return norm_of(difference, order, tuple(range(difference.type.rank)))


DIST = EagerOp("DistBackward0", _distance_rule, saves=(frozenset({0, 1}), True))


@method("dist")
@public("dist")
def dist(input: Tensor, other: Tensor, p: Any = 2) -> Tensor:
    """Return the norm of order `p` of the difference of two tensors that broadcast."""
    operands = (tensor_operand(input, "dist"), tensor_operand(other, "dist", "other", 2))
    return operation(DIST, operands, (("order", float(p)),))
