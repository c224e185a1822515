"""Elements picked by tensors of integers or by masks: gather, index_select, take, masked_select, nonzero.

All are the compiler's `gather` of rows, from an array seen so that the elements are its rows. Indexing with brackets is
in indexing.py. Start reading at `gather`.
"""

from typing import Any

import numpy as np

from gradloom.autograd.dtypes import dtype_of
from gradloom.autograd.elementwise import tensor_operand
from gradloom.autograd.errors import error
from gradloom.autograd.graph import Array, EagerOp
from gradloom.autograd.indexing import check_span
from gradloom.autograd.shaping import common_shape, expanded, view
from gradloom.autograd.tensor import Tensor, from_array, method, normalize_dim, operation, public
from gradloom.trace.indexing import Advanced
from gradloom.trace.promote import convert, stretch
from gradloomc.dialects import nd
from gradloomc.ir import types as ir_types
from gradloomc.ir.core import Value

Shape = tuple[int, ...]

# --- rules ------------------------------------------------------------------------------------------------------------


def linear_positions(index: Value, dim: int, shape: Shape) -> Value:
    """Return the row-major positions, in an array of `shape`, of the elements that `gather` and `scatter` speak of.

    An index at (i, j, k) stands for the element (i, index, k) if `dim` is 1.
    """
    index = convert(index, ir_types.i64)
    total: Value | None = None
    stride = 1
    for axis in range(len(shape) - 1, -1, -1):
        place = index if axis == dim else nd.iota(shape=index.type.shape, axis=axis, type=ir_types.i64)
        part = nd.mul(place, nd.splat(stride, place.type))
        total = part if total is None else nd.add(total, part)
        stride *= shape[axis]
    return index if total is None else total


def gathered(x: Any, index: Any, dim: int) -> Value:
    flat = nd.reshape(x.value, shape=(x.size,))
    return nd.gather(flat, linear_positions(index.value, dim, x.shape), axes=(0,))


def _rows(x: Any, index: Any, dim: int) -> Value:
    items: list[Any] = [slice(None)] * x.ndim
    items[dim] = nd.reshape(index.value, shape=(index.size,))
    return Advanced(x.shape, items).read(x.value)


def picked_flat(x: Any, positions: Any, shape: Shape | None = None) -> Value:
    value = x.value if shape is None else stretch(x.value, shape)
    return nd.gather(nd.reshape(value, shape=(value.type.size,)), positions.value, axes=(0,))


GATHER = EagerOp("GatherBackward0", gathered, lists=(0,))
INDEX_SELECT = EagerOp("IndexSelectBackward0", _rows, lists=(0,))
TAKE = EagerOp("TakeBackward0", picked_flat, lists=(0,))
MASKED_SELECT = EagerOp("MaskedSelectBackward0", picked_flat, lists=(0,))

# --- arguments --------------------------------------------------------------------------------------------------------


def index_operand(index: Any, function: str, message: str, position: int = 3) -> Tensor:
    """Return an argument that must be a tensor of int32 or int64.

    Raises:
        TypeError: it is no tensor.
        RuntimeError: it has another dtype: the message, in which {} stands for the dtype.
    """
    x = tensor_operand(index, function, "index", position)
    element = x._value.type.element
    if element.kind != "i" or element.itemsize < 4:
        raise error(RuntimeError, message.format(dtype_of(element).type_name), "convert it: index.long()")
    return x


def check_index_shape(index: Tensor, shape: Shape, dim: int, name: str = "input") -> None:
    """Raise if the index of a gather or scatter has another rank than the tensor."""
    if max(index._value.type.rank, 1) != max(len(shape), 1):
        raise error(RuntimeError, f"Index tensor must have the same number of dimensions as {name} tensor")


def mask_operand(mask: Any, function: str, message: str) -> Array:
    """Return the values of an argument that must be a tensor of bools.

    Raises:
        RuntimeError: it has another dtype: the message.
    """
    x = tensor_operand(mask, function, "mask", 2)
    if x._value.type.element.kind != "b":
        raise error(RuntimeError, message, "compare first: x > 0")
    return x._array()


# --- by integers ------------------------------------------------------------------------------------------------------


@method("gather")
@public("gather")
def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """Return the elements that integers name along a dimension: result[i][j] = input[index[i][j]][j] for `dim` 0.

    Raises:
        RuntimeError: the index has another rank, is larger than the input in another dimension, or out of bounds.
    """
    x = tensor_operand(input, "gather")
    shape = x._value.type.shape
    at = normalize_dim(dim, len(shape))
    where = index_operand(index, "gather", "gather(): Expected dtype int32/int64 for index")
    check_index_shape(where, shape, at)
    have = where._value.type.shape
    for k, (m, n) in enumerate(zip(have, shape, strict=False)):
        if k != at and m > n:
            raise error(
                RuntimeError,
                f"Size does not match at dimension {k} expected index {list(have)} to be no larger than self "
                f"{list(shape)} apart from dimension {at}",
            )
    check_span(where, shape[at] if shape else 1, RuntimeError, at, lowest=0)
    return operation(GATHER, (x, where), (("dim", at),))


@method("take_along_dim")
@public("take_along_dim")
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """Return the elements that integers name along a dimension, both tensors broadcast; without one, as if flattened.

    Raises:
        RuntimeError: the ranks differ, or an index is out of bounds.
    """
    x = tensor_operand(input, "take_along_dim")
    where = index_operand(
        indices, "take_along_dim", "gradloom.take_along_dim(): dtype of indices should be Long but got {}", 2
    )
    if dim is None:
        return gather(view(x.contiguous(), (-1,)), 0, view(where.contiguous(), (-1,)))
    rank, at = x._value.type.rank, normalize_dim(dim, x._value.type.rank)
    if where._value.type.rank != rank:
        raise error(
            RuntimeError,
            "gradloom.take_along_dim(): input and indices should have the same number of dimensions, but got "
            f"{rank} dimensions for input, and {where._value.type.rank} dimensions for indices",
        )
    shapes = [list(x._value.type.shape), list(where._value.type.shape)]
    extents = [shape[at] for shape in shapes]
    for shape in shapes:
        shape[at] = 1
    common = list(common_shape(*shapes))
    wide = []
    for each, extent in zip((x, where), extents, strict=True):
        common[at] = extent
        wide.append(expanded(each, tuple(common)))
    return gather(wide[0], at, wide[1])


@method("index_select")
@public("index_select")
def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """Return the parts at the indices of a dimension that a vector lists.

    Raises:
        IndexError, RuntimeError: the index is no vector, or one is out of bounds.
    """
    x = tensor_operand(input, "index_select")
    shape = x._value.type.shape
    at = normalize_dim(dim, len(shape))
    where = index_operand(index, "index_select", "index_select(): Expected dtype int32 or int64 for index")
    if where._value.type.rank > 1:
        raise error(IndexError, "index_select(): Index is supposed to be a vector")
    _check_rows(where, shape[at] if shape else 1, at)
    if not shape:
        return view(operation(INDEX_SELECT, (view(x, (1,)), where), (("dim", 0),)), ())
    return operation(INDEX_SELECT, (x, where), (("dim", at),))


def _check_rows(index: Tensor, extent: int, dim: int) -> None:
    """Raise PyTorch's error, which along dimension 1 is that of another kernel, if an index is out of bounds."""
    try:
        check_span(index, extent, RuntimeError, 0, lowest=0)
    except RuntimeError:
        if dim != 1:
            raise error(IndexError, "index out of range in self") from None
        array = index._array()
        wrong = int(array[(array < 0) | (array >= extent)].flat[0])
        raise error(RuntimeError, f"INDICES element is out of DATA bounds, id={wrong} axis_dim={extent}") from None


@method("take")
@public("take")
def take(input: Tensor, index: Tensor) -> Tensor:
    """Return the elements at positions in row-major order.

    Raises:
        RuntimeError: the index is not int64.
        IndexError: a position is out of bounds.
    """
    x = tensor_operand(input, "take")
    where = tensor_operand(index, "take", "index", 2)
    element = where._value.type.element
    if element.kind != "i" or element.itemsize != 8:
        raise error(RuntimeError, f"take(): Expected a long tensor for index, but got {dtype_of(element).type_name}")
    size = x._value.type.size
    try:
        check_span(where, size, IndexError, 0)
    except IndexError:
        array = where._array()
        wrong = int(array[(array < -size) | (array >= size)].flat[0])
        raise error(
            IndexError, f"out of range: tried to access index {wrong} on a tensor of {size} elements."
        ) from None
    return operation(TAKE, (x, where))


# --- by masks ---------------------------------------------------------------------------------------------------------


@method("masked_select")
@public("masked_select")
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """Return the elements where a mask holds, in one dimension; the two broadcast.

    Raises:
        RuntimeError: the mask is not of bools, or does not fit.
    """
    x = tensor_operand(input, "masked_select")
    array = mask_operand(mask, "masked_select", "masked_select: expected BoolTensor for mask")
    shape = common_shape(array.shape, x._value.type.shape)
    positions = np.flatnonzero(np.broadcast_to(array, shape))
    return operation(MASKED_SELECT, (x, from_array(positions)), (("shape", shape),))


@method("nonzero")
@public("nonzero")
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """Return the positions of the elements that are not zero: as rows, or as one int64 tensor for each dimension."""
    array = tensor_operand(input, "nonzero")._array()
    if as_tuple:
        return tuple([from_array(each) for each in np.nonzero(np.atleast_1d(array))])
    return from_array(np.asarray(np.argwhere(array), np.int64, order="C"))


@method("argwhere")
@public("argwhere")
def argwhere(input: Tensor) -> Tensor:
    """Return the positions of the elements that are not zero as rows."""
    return nonzero(input)
