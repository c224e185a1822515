"""Order: sort, argsort, topk, unique, searchsorted, bincount, histc.

The order is found by NumPy; values are then picked by it, so that gradients go back to where they came from. nan counts
as the largest number, and equal elements keep their order.
"""

from typing import Any

import numpy as np

from gradloom.autograd.dtypes import dtype_of
from gradloom.autograd.elementwise import is_number, tensor_operand
from gradloom.autograd.errors import error
from gradloom.autograd.graph import Array, EagerOp, extra_of
from gradloom.autograd.picking import gathered, picked_flat
from gradloom.autograd.recording import Variable
from gradloom.autograd.reducing import structure
from gradloom.autograd.tensor import Tensor, from_array, method, normalize_dim, operation, public

SORT, SORT_STABLY = [EagerOp(f"SortBackward{k}", gathered, lists=(0,)) for k in (0, 1)]
TOPK = EagerOp("TopkBackward0", gathered, lists=(0,))
UNIQUE = EagerOp("Unique2Backward0", picked_flat, lists=(0,))
UNIQUE_DIM = EagerOp("UniqueDimBackward0", gathered, lists=(0,))
UNIQUE_CONSECUTIVE = EagerOp("UniqueConsecutiveBackward0", picked_flat, lists=(0,))

_sort = structure("sort", "values", "indices")
_topk = structure("topk", "values", "indices")

# --- sorting ----------------------------------------------------------------------------------------------------------


def _order(array: Array, dim: int, descending: bool) -> Array:
    """Return the indices that sort an array along a dimension; equal elements keep their order."""
    if not array.ndim:
        return np.zeros((), np.int64)
    if not descending:
        return np.argsort(array, axis=dim, kind="stable")
    back = np.flip(np.argsort(np.flip(array, dim), axis=dim, kind="stable"), dim)
    return np.asarray(array.shape[dim] - 1 - back, order="C")


@method("sort")
@public("sort")
def sort(input: Tensor, dim: int = -1, descending: bool = False, *, stable: bool | None = None) -> Any:
    """Return the elements sorted along a dimension, and the indices at which they were.

    Equal elements always keep their order, whatever `stable` is.
    """
    x = tensor_operand(input, "sort")
    at = normalize_dim(dim, x._value.type.rank)
    indices = from_array(_order(x._array(), at, descending))
    op = SORT if stable is None else SORT_STABLY
    return _sort(operation(op, (x, indices), (("dim", at),)), indices)


@method("argsort")
@public("argsort")
def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """Return the indices that sort the elements along a dimension."""
    x = tensor_operand(input, "argsort")
    return from_array(_order(x._array(), normalize_dim(dim, x._value.type.rank), descending))


@method("msort")
@public("msort")
def msort(input: Tensor) -> Tensor:
    """Return the elements sorted along the first dimension."""
    return sort(input, 0).values


@method("topk")
@public("topk")
def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """Return the k largest elements along a dimension, the largest first, and their indices; or the smallest ones.

    Raises:
        RuntimeError: k is negative or larger than the extent.
    """
    x = tensor_operand(input, "topk")
    at = normalize_dim(dim, x._value.type.rank)
    extent = x._value.type.shape[at] if x._value.type.rank else 1
    if not 0 <= k <= extent:
        raise error(RuntimeError, "selected index k out of range")
    order = _order(x._array(), at, largest)
    chosen = np.take(order, np.arange(k), axis=at) if order.ndim else order
    indices = from_array(np.asarray(chosen, order="C"))
    return _topk(operation(TOPK, (x, indices), (("dim", at),)), indices)


# --- sets -------------------------------------------------------------------------------------------------------------


class _NoDerivative:
    """A hook that raises what PyTorch raises in a backward through a function without derivative."""

    __slots__ = ("name",)

    def __init__(self, name: str):
        self.name = name

    def __call__(self, gradient: Any) -> Any:
        raise error(
            NotImplementedError,
            f"the derivative for '{self.name}' is not implemented.",
            "pick the elements by sort() or by an index: gradients flow through those",
        )


def _without_derivative(x: Tensor, name: str) -> Tensor:
    if x._grad_fn is not None:
        extra_of(x._grad_fn).setdefault("hooks", {})[-1] = _NoDerivative(name)
    return x


def _results(values: Tensor, inverse: Array | None, counts: Array | None) -> Any:
    found = [values, *[from_array(np.asarray(each, np.int64)) for each in (inverse, counts) if each is not None]]
    return found[0] if len(found) == 1 else tuple(found)


@method("unique")
@public("unique")
def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """Return the different elements, or the different parts along a dimension, in order.

    Args:
        return_inverse: also where in the result each element is.
        return_counts: also how often each occurs.
    """
    x = tensor_operand(input, "unique")
    array = x._array()
    if dim is None:
        _, first, inverse, counts = np.unique(array, return_index=True, return_inverse=True, return_counts=True)
        values = _without_derivative(operation(UNIQUE, (x, from_array(first))), "_unique2")
        inverse = inverse.reshape(array.shape)
    else:
        at = normalize_dim(dim, array.ndim)
        _, first, inverse, counts = np.unique(
            array, return_index=True, return_inverse=True, return_counts=True, axis=at
        )
        shape = [len(first) if k == at else extent for k, extent in enumerate(array.shape)]
        rows = first.reshape([-1 if k == at else 1 for k in range(array.ndim)])
        indices = from_array(np.array(np.broadcast_to(rows, shape)))
        values = _without_derivative(operation(UNIQUE_DIM, (x, indices), (("dim", at),)), "unique_dim")
        inverse = inverse.reshape(-1)
    return _results(values, inverse if return_inverse else None, counts if return_counts else None)


@method("unique_consecutive")
@public("unique_consecutive")
def unique_consecutive(
    input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None
) -> Any:
    """Return the elements, flattened, with only the first of each run of equal ones.

    Raises:
        RuntimeError: a dimension is given; only the flattened form exists.
    """
    x = tensor_operand(input, "unique_consecutive")
    if dim is not None and x._value.type.rank != 1:
        raise error(RuntimeError, "gradloom has no unique_consecutive along a dimension", "leave dim out")
    flat = x._array().reshape(-1)
    starts = np.flatnonzero(np.concatenate([np.ones(min(flat.size, 1), bool), flat[1:] != flat[:-1]]))
    run = np.zeros(flat.size, np.int64)
    run[starts] = 1
    inverse = (np.cumsum(run) - 1).reshape(x._value.type.shape)
    counts = np.diff(np.append(starts, flat.size))
    values = _without_derivative(operation(UNIQUE_CONSECUTIVE, (x, from_array(starts))), "unique_consecutive")
    return _results(values, inverse if return_inverse else None, counts if return_counts else None)


@public("isin")
def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Tell of each element whether it is among the others."""
    arrays = [x._array() if isinstance(x, Variable) else np.asarray(x) for x in (elements, test_elements)]
    return from_array(np.asarray(np.isin(arrays[0], arrays[1], invert=invert)))


# --- places and counts ------------------------------------------------------------------------------------------------


@public("searchsorted")
def searchsorted(
    sorted_sequence: Tensor,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """Return where elements would be inserted into sorted ones, in the last dimension, so that the order is kept.

    Args:
        right: behind equal elements rather than in front of them; so does `side="right"`.

    Raises:
        RuntimeError: the sequences and the elements do not agree in the other dimensions.
    """
    if side not in (None, "left", "right"):
        raise error(RuntimeError, f"gradloom.searchsorted(): side can only be 'left' or 'right' but got {side}")
    where = "right" if right or side == "right" else "left"
    sequence = tensor_operand(sorted_sequence, "searchsorted", "sorted_sequence")._array()
    if sorter is not None:
        sequence = np.take_along_axis(sequence, sorter._array(), -1)
    values = input._array() if isinstance(input, Variable) else np.asarray(input)
    if sequence.ndim == 1:
        found = np.searchsorted(sequence, values, where)
    else:
        if sequence.shape[:-1] != values.shape[:-1]:
            raise error(
                RuntimeError,
                "gradloom.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions of "
                f"boundaries tensor and input value tensor must match, but we got boundaries tensor "
                f"{list(sequence.shape)} and input value tensor {list(values.shape)}",
            )
        rows = zip(sequence.reshape(-1, sequence.shape[-1]), values.reshape(-1, values.shape[-1]), strict=True)
        found = np.array([np.searchsorted(row, each, where) for row, each in rows]).reshape(values.shape)
    return from_array(np.asarray(found, np.int32 if out_int32 else np.int64))


@public("bucketize")
def bucketize(input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False) -> Tensor:
    """Return the number of the interval between boundaries in which each element lies."""
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


@method("bincount")
@public("bincount")
def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """Return how often each whole number from 0 on occurs in a vector, or the sum of its weights.

    Raises:
        RuntimeError: it is no vector of whole numbers that are not negative, or the weights do not fit.
    """
    x = tensor_operand(input, "bincount")
    array = x._array()
    if array.dtype.kind in "fb":
        name = dtype_of(x._value.type.element).type_name
        raise error(NotImplementedError, f"\"bincount_cpu\" not implemented for '{name}'")
    if minlength < 0:
        raise error(RuntimeError, "minlength should be >= 0")
    if array.ndim != 1 or (array.size and array.min() < 0):
        raise error(RuntimeError, "bincount only supports 1-d non-negative integral inputs.")
    if weights is None:
        return from_array(np.bincount(array, minlength=minlength).astype(np.int64))
    weight = weights._array()
    if weight.shape != array.shape:
        raise error(RuntimeError, "weights should be 1-d and have the same length as input")
    total = np.bincount(array, weight, minlength)
    return from_array(total.astype(np.float32) if weight.dtype == np.float32 else total)


@method("histc")
@public("histc")
def histc(input: Tensor, bins: int = 100, min: Any = 0, max: Any = 0) -> Tensor:
    """Return how many elements lie in each of equal intervals from `min` to `max`, by default those of the elements.

    Raises:
        RuntimeError: there is no interval, or the bounds are not in order.
    """
    x = tensor_operand(input, "histc")
    array = x._array()
    if array.dtype.kind != "f":
        name = dtype_of(x._value.type.element).type_name
        raise error(NotImplementedError, f"\"histogram_cpu\" not implemented for '{name}'")
    if bins <= 0:
        raise error(RuntimeError, "bins must be > 0")
    if not (is_number(min) and is_number(max)):
        raise TypeError("histc(): min and max must be numbers")
    low, high = float(min), float(max)
    if low == high and array.size:
        low, high = float(array.min()), float(array.max())
    if low == high:
        low, high = low - 1, high + 1
    if low > high:
        raise error(RuntimeError, "max must be larger than min")
    counts, _ = np.histogram(array, bins, (low, high))
    return from_array(counts.astype(array.dtype))
