"""Elements written or added where tensors of integers or masks say: scatter, index_add, index_copy, put and others.

Each function has its form in place, with an underscore. Where several values go to one element and do not add up, the
last one counts. Start reading at `scatter`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from gradloom.autograd.dtypes import dtype_of
from gradloom.autograd.elementwise import bring_to, number_argument, refuse_backward, tensor_operand
from gradloom.autograd.errors import error
from gradloom.autograd.graph import Array, EagerOp
from gradloom.autograd.indexing import check_span
from gradloom.autograd.moving import scattered
from gradloom.autograd.picking import check_index_shape, index_operand, linear_positions, mask_operand
from gradloom.autograd.recording import Variable, check_writable
from gradloom.autograd.shaping import common_shape
from gradloom.autograd.steps import select_step, slice_step
from gradloom.autograd.tensor import Tensor, from_array, in_place, method, normalize_dim, operation, public
from gradloom.trace.promote import convert, stretch
from gradloomc.dialects import nd
from gradloomc.ir import types as ir_types
from gradloomc.ir.core import Value

Shape = tuple[int, ...]
Recorded = tuple[EagerOp, tuple[Any, ...], tuple[tuple[str, Any], ...]]


def _both(name: str, prepare: Callable[..., Recorded], doc: str, finish: Any = None) -> None:
    """Define `name(x, ...)` and `x.name_(...)` by what both record: an operation, operands and attributes."""

    def function(input: Tensor, *args: Any, **options: Any) -> Tensor:
        recorded = prepare(tensor_operand(input, name), *args, **options)
        result = operation(*recorded)
        return result if finish is None else finish(result, recorded[1], options.get("reduce"))

    def write(self: Tensor, *args: Any, **options: Any) -> Tensor:
        check_writable(self)
        return in_place(self, *prepare(tensor_operand(self, f"{name}_"), *args, **options))

    function.__name__, write.__name__ = name, f"{name}_"
    function.__doc__, write.__doc__ = doc, f"Apply `{name}` in place."
    method(name)(public(name)(function))
    method(f"{name}_")(write)


# --- rules ------------------------------------------------------------------------------------------------------------


def _cut(value: Value, shape: Shape) -> Value:
    """Return the first part of a value, of a shape that is not larger."""
    return nd.slice_(value, start=(0,) * len(shape), limit=shape, stride=(1,) * len(shape))


def _replaced(x: Any, src: Any, written: Any, source: Any) -> Value:
    """Replace the elements where `written` holds by those of `src`, flattened, that `source` names."""
    picked = nd.gather(nd.reshape(src.value, shape=(src.size,)), source.value, axes=(0,))
    return nd.select(written.value, nd.reshape(picked, shape=x.shape), x.value)


def _filled(x: Any, value: Any, written: Any) -> Value:
    element = x.value.type.element
    one = nd.reshape(bring_to(value, element).value, shape=())
    return nd.select(stretch(written.value, x.shape), stretch(one, x.shape), x.value)


def _added(x: Any, src: Any, index: Any, dim: int) -> Value:
    shape = index.shape
    count = index.size
    updates = nd.reshape(_cut(src.value, shape), shape=(count,))
    positions = nd.reshape(linear_positions(index.value, dim, x.shape), shape=(count,))
    added = nd.scatter_add(updates, positions, shape=(x.size,), axes=(0,))
    return nd.add(x.value, nd.reshape(added, shape=x.shape))


def _averaged(x: Any, src: Any, index: Any, counts: Any, dim: int) -> Value:
    total = _added(x, src, index, dim)
    return nd.div(total, convert(counts.value, total.type.element))


def _rows_first(value: Value, dim: int) -> Value:
    rank = value.type.rank
    return nd.transpose(value, permutation=(dim, *[k for k in range(rank) if k != dim]))


def _rows_back(value: Value, dim: int) -> Value:
    order = [*range(1, dim + 1), 0, *range(dim + 1, value.type.rank)]
    return nd.transpose(value, permutation=tuple(order))


def _rows_added(x: Any, source: Any, index: Any, alpha: Any, dim: int) -> Value:
    rows = _rows_first(source.value, dim)
    if not (alpha.__class__ is int and alpha == 1):
        rows = nd.mul(rows, stretch(bring_to(alpha, x.value.type.element).value, rows.type.shape))
    positions = convert(nd.reshape(index.value, shape=(index.size,)), ir_types.i64)
    added = nd.scatter_add(rows, positions, shape=(x.shape[dim], *rows.type.shape[1:]), axes=(0,))
    return nd.add(x.value, _rows_back(added, dim))


def _rows_replaced(x: Any, src: Any, written: Any, source: Any, dim: int) -> Value:
    rows = nd.gather(_rows_first(src.value, dim), source.value, axes=(0,))
    return nd.select(stretch(written.value, x.shape), _rows_back(rows, dim), x.value)


SCATTER = EagerOp("ScatterBackward0", _replaced, lists=(0, 1))
SCATTER_NUMBER = EagerOp("ScatterBackward1", _filled, lists=(0,))
SCATTER_ADD = EagerOp("ScatterAddBackward0", _added, lists=(0, 1))
SCATTER_SUM = EagerOp("ScatterReduceBackward0", _added, lists=(0, 1))
SCATTER_MEAN = EagerOp("ScatterReduceBackward0", _averaged, lists=(0, 1))
SCATTER_REDUCED = EagerOp("NotImplemented", _added)
INDEX_ADD = EagerOp("IndexAddBackward0", _rows_added, lists=(0, 1))
INDEX_COPY = EagerOp("IndexCopyBackward0", _rows_replaced, lists=(0, 1))
INDEX_FILL = EagerOp("IndexFillBackward0", _filled, lists=(0,))
INDEX_FILL_TENSOR = EagerOp("IndexFillBackward1", _filled, lists=(0, 1))
MASKED_SCATTER = EagerOp("MaskedScatterBackward0", _replaced, lists=(0, 1))
PUT = EagerOp("PutBackward0", _replaced, lists=(0, 1))


def _put_added(x: Any, source: Any, index: Any) -> Value:
    updates = nd.reshape(source.value, shape=(source.size,))
    added = nd.scatter_add(updates, index.value, shape=(x.size,), axes=(0,))
    return nd.add(x.value, nd.reshape(added, shape=x.shape))


PUT_ADDED = EagerOp("PutBackward0", _put_added, lists=(0, 1))


def _last_writers(positions: Array, shape: Shape, sources: Array) -> tuple[Tensor, Tensor]:
    """Return which elements of an array of `shape` are written, and by which source each."""
    size = int(np.prod(shape, dtype=np.int64))
    last = np.full(size, -1)
    last[positions.reshape(-1)] = sources.reshape(-1)
    return from_array((last >= 0).reshape(shape)), from_array(np.maximum(last, 0))


# --- scatter ----------------------------------------------------------------------------------------------------------


def _scatter_index(x: Tensor, dim: int, index: Any, src: Any) -> tuple[int, Tensor]:
    shape = x._value.type.shape
    at = normalize_dim(dim, len(shape))
    where = index_operand(index, "scatter", "scatter(): Expected dtype int32/int64 for index")
    check_index_shape(where, shape, at, "self")
    have = where._value.type.shape
    from_shape = src._value.type.shape if isinstance(src, Variable) else have
    if isinstance(src, Variable):
        if src._value.type.element is not x._value.type.element:
            raise error(RuntimeError, "scatter(): Expected self.dtype to be equal to src.dtype", "src.to(x.dtype)")
        check_index_shape(where, from_shape, at, "src")
    fits = all(m <= n for k, (m, n) in enumerate(zip(have, shape, strict=False)) if k != at)
    if not fits or any(m > n for m, n in zip(have, from_shape, strict=False)):
        source = f" and to be no larger size than src {list(from_shape)}" if isinstance(src, Variable) else ""
        raise error(
            RuntimeError,
            f"Expected index {list(have)} to be no larger than self {list(shape)} apart from dimension {at}{source}",
        )
    check_span(where, shape[at] if shape else 1, RuntimeError, at, lowest=0)
    return at, where


def _positions(where: Tensor, dim: int, shape: Shape) -> Array:
    """Return the row-major positions that the index of a scatter names."""
    index = where._array()
    if not shape:
        return np.zeros(index.shape, np.int64)
    places: list[Any] = list(np.indices(index.shape, sparse=True))
    places[dim] = index
    return np.ravel_multi_index(np.broadcast_arrays(*places), shape)


def _scatter(
    x: Tensor, dim: int, index: Any, src: Any = None, *, value: Any = None, reduce: str | None = None
) -> Recorded:
    src = value if src is None else src
    shape = x._value.type.shape
    at, where = _scatter_index(x, dim, index, src)
    if reduce is not None:
        if reduce != "add":
            raise error(RuntimeError, f"gradloom has no scatter with reduce='{reduce}'", "reduce='add' is there")
        if not isinstance(src, Variable):
            src = from_array(np.full(where._value.type.shape, src, x._value.type.element.dtype))
        return SCATTER_REDUCED, (x, src, where), (("dim", at),)
    positions = _positions(where, at, shape)
    if not isinstance(src, Variable):
        written, _ = _last_writers(positions, shape, np.zeros(positions.shape, np.int64))
        return SCATTER_NUMBER, (x, number_argument(src, "scatter", "value"), written), ()
    used = tuple([slice(extent) for extent in positions.shape])
    sources = np.arange(src._value.type.size).reshape(src._value.type.shape)[used]
    return SCATTER, (x, src, *_last_writers(positions, shape, sources)), ()


def _refused(result: Tensor, operands: Any, reduce: str | None = None) -> Tensor:
    return result if reduce is None else refuse_backward(result, "scatter", operands)


_both(
    "scatter",
    _scatter,
    "Return a copy with the elements that integers name along a dimension replaced: "
    "x[index[i][j]][j] = src[i][j] for `dim` 0. Arguments: dim, index, src (a tensor or a number).",
    _refused,
)


def _scatter_add(x: Tensor, dim: int, index: Any, src: Any) -> Recorded:
    at, where = _scatter_index(x, dim, index, tensor_operand(src, "scatter_add", "src", 4))
    return SCATTER_ADD, (x, src, where), (("dim", at),)


_both(
    "scatter_add",
    _scatter_add,
    "Return a copy with values added to the elements that integers name along a dimension. Arguments: dim, index, src.",
)


def _scatter_reduce(x: Tensor, dim: int, index: Any, src: Any, reduce: str, *, include_self: bool = True) -> Recorded:
    at, where = _scatter_index(x, dim, index, tensor_operand(src, "scatter_reduce", "src", 4))
    if reduce not in ("sum", "mean"):
        raise error(
            RuntimeError, f"gradloom has no scatter_reduce with reduce='{reduce}'", "reduce= 'sum' and 'mean' are there"
        )
    shape = x._value.type.shape
    counts = np.zeros(int(np.prod(shape, dtype=np.int64)), np.int64)
    np.add.at(counts, _positions(where, at, shape).reshape(-1), 1)
    counts = counts.reshape(shape)
    if not include_self:
        x = x.masked_fill(from_array(counts > 0), 0)
        counts = np.maximum(counts, 1)
    else:
        counts = counts + 1
    if reduce == "sum":
        return SCATTER_SUM, (x, src, where), (("dim", at),)
    return SCATTER_MEAN, (x, src, where, from_array(counts)), (("dim", at),)


_both(
    "scatter_reduce",
    _scatter_reduce,
    "Return a copy with the sum or the mean of values, and of what was there, at the elements that integers name along "
    "a dimension. Arguments: dim, index, src, reduce ('sum' or 'mean'), include_self.",
)


# --- rows -------------------------------------------------------------------------------------------------------------


def _vector(index: Any, function: str, kind: type[Exception] = RuntimeError) -> Tensor:
    where = index_operand(index, function, f"{function}(): Expected dtype int32/int64 for index but got: {{}}", 2)
    if where._value.type.rank > 1:
        raise error(IndexError, f"{function}(): Index should have dimension 1 or 0 (got {where._value.type.rank})")
    return where


def _check_source(x: Tensor, source: Tensor, at: int) -> None:
    have, want = list(x.shape), list(source.shape)
    if len(have) != len(want) or have[:at] + have[at + 1 :] != want[:at] + want[at + 1 :]:
        raise error(
            RuntimeError,
            "source tensor shape must match self tensor shape, excluding the specified dimension. Got self.shape = "
            f"{have} source.shape = {want}",
        )


def _index_add(x: Tensor, dim: int, index: Any, source: Any, *, alpha: Any = 1) -> Recorded:
    where, rows = _vector(index, "index_add_"), tensor_operand(source, "index_add", "source", 4)
    at = normalize_dim(dim, x._value.type.rank)
    if rows._value.type.element is not x._value.type.element:
        raise error(
            RuntimeError,
            f"index_add_(): self ({x.dtype.type_name}) and source ({rows.dtype.type_name}) must have the same scalar "
            "type",
        )
    count = where._value.type.size
    if rows._value.type.rank and rows._value.type.shape[at] != count:
        raise error(
            RuntimeError,
            f"index_add_(): Number of indices ({count}) should be equal to source.size(dim): "
            f"({rows._value.type.shape[at]}), for dim: {at}",
        )
    _check_source(x, rows, at)
    check_span(where, x._value.type.shape[at], RuntimeError, at, lowest=0)
    return INDEX_ADD, (x, rows, where, number_argument(alpha, "index_add", "alpha")), (("dim", at),)


_both(
    "index_add",
    _index_add,
    "Return a copy with the parts of a source added at the indices of a dimension that a vector lists. "
    "Arguments: dim, index, source, alpha (a factor of the source).",
)


def _index_copy(x: Tensor, dim: int, index: Any, source: Any) -> Recorded:
    where, rows = _vector(index, "index_copy_"), tensor_operand(source, "index_copy", "source", 4)
    at = normalize_dim(dim, x._value.type.rank)
    if rows._value.type.element is not x._value.type.element:
        raise error(
            RuntimeError,
            "index_copy_(): self and source expected to have the same dtype, but got (self) "
            f"{x.dtype.type_name} and (source) {rows.dtype.type_name}",
        )
    count, extent = where._value.type.size, x._value.type.shape[at]
    if rows._value.type.rank and rows._value.type.shape[at] != count:
        raise error(
            IndexError,
            f"index_copy_(): Number of indices ({count}) should be equal to source.size(dim) "
            f"({rows._value.type.shape[at]})",
        )
    _check_source(x, rows, at)
    array = where._array().reshape(-1)
    wrong = array[(array < 0) | (array >= extent)]
    if wrong.size:
        raise error(
            IndexError, f"index_copy_(): index {wrong[0]} is out of bounds for dimension {at} with size {extent}"
        )
    written, source_rows = _last_writers(array, (extent,), np.arange(count))
    return INDEX_COPY, (x, rows, _along(written, at, x), source_rows), (("dim", at),)


def _along(mask: Tensor, dim: int, x: Tensor) -> Tensor:
    """Return a mask of the indices of one dimension under the rank of `x`."""
    shape = [1] * x._value.type.rank
    shape[dim] = mask._value.type.size
    return from_array(mask._array().reshape(shape))


_both(
    "index_copy",
    _index_copy,
    "Return a copy with the parts at the indices of a dimension that a vector lists replaced by those of a source. "
    "Arguments: dim, index, source.",
)


def _index_fill(x: Tensor, dim: int, index: Any, value: Any) -> Recorded:
    where = _vector(index, "index_fill_")
    at = normalize_dim(dim, x._value.type.rank)
    extent = x._value.type.shape[at]
    check_span(where, extent, IndexError, at)
    mask = np.zeros(extent, bool)
    mask[where._array()] = True
    written = _along(from_array(mask), at, x)
    if not isinstance(value, Variable):
        return INDEX_FILL, (x, number_argument(value, "index_fill", "value"), written), ()
    if value._value.type.rank:
        raise error(
            RuntimeError,
            "index_fill_ only supports a 0-dimensional value tensor, but got tensor with "
            f"{value._value.type.rank} dimension(s).",
        )
    return INDEX_FILL_TENSOR, (x, value, written), ()


_both(
    "index_fill",
    _index_fill,
    "Return a copy with a number at the indices of a dimension that a vector lists. Arguments: dim, index, value.",
)


# --- single elements --------------------------------------------------------------------------------------------------


def _put(x: Tensor, index: Any, source: Any, accumulate: bool = False) -> Recorded:
    where = tensor_operand(index, "put", "index", 2)
    values = tensor_operand(source, "put", "source", 3)
    element = where._value.type.element
    if element.kind != "i" or element.itemsize != 8:
        raise error(RuntimeError, f"put_(): Expected a long tensor for index, but got {dtype_of(element).type_name}")
    if values._value.type.element is not x._value.type.element:
        raise error(
            RuntimeError,
            "put_(): self and source expected to have the same dtype, but got self.dtype = "
            f"{x.dtype.type_name} and source.dtype = {values.dtype.type_name}",
        )
    if values._value.type.size != where._value.type.size:
        raise error(
            IndexError,
            "put_(): Expected source and index to have the same number of elements, but got source.numel() = "
            f"{values._value.type.size}, index.numel() = {where._value.type.size}",
        )
    size = x._value.type.size
    check_span(where, size, IndexError, 0)
    positions = where._array().reshape(-1) % max(size, 1)
    if accumulate:
        return PUT_ADDED, (x, values, from_array(positions)), ()
    sources = np.arange(positions.size)
    return PUT, (x, values, *_last_writers(positions, x._value.type.shape, sources)), ()


_both(
    "put",
    _put,
    "Return a copy with the elements at positions in row-major order replaced, or added to with `accumulate`. "
    "Arguments: index, source, accumulate.",
)


def _masked_scatter(x: Tensor, mask: Any, source: Any) -> Recorded:
    where = mask_operand(mask, "masked_scatter", "masked_scatter_ only supports boolean masks, but got another dtype")
    values = tensor_operand(source, "masked_scatter", "source", 3)
    if values._value.type.element is not x._value.type.element:
        raise error(
            RuntimeError,
            f"masked_scatter: expected self and source to have same dtypes but got {x.dtype.type_name} and "
            f"{values.dtype.type_name}",
        )
    shape = x._value.type.shape
    if common_shape(where.shape, shape) != shape:
        raise error(RuntimeError, "masked_scatter_: the mask has more elements than the tensor that is written")
    positions = np.flatnonzero(np.broadcast_to(where, shape))
    if positions.size > values._value.type.size:
        raise error(RuntimeError, "Number of elements of source < number of ones in mask")
    return MASKED_SCATTER, (x, values, *_last_writers(positions, shape, np.arange(positions.size))), ()


_both(
    "masked_scatter",
    _masked_scatter,
    "Return a copy with the elements where a mask holds replaced by those of a source, one after the other. "
    "Arguments: mask, source.",
)


# --- parts ------------------------------------------------------------------------------------------------------------


def _part_written(x: Any, src: Any, step: Any) -> Value:
    return step.write(x.value, src.value)


SELECT_SCATTER = EagerOp("SelectScatterBackward0", _part_written)
SLICE_SCATTER = EagerOp("SliceScatterBackward0", _part_written)


@method("select_scatter")
@public("select_scatter")
def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """Return a copy with the part at one index of a dimension replaced."""
    x = tensor_operand(input, "select_scatter")
    shape = x._value.type.shape
    at = normalize_dim(dim, len(shape))
    return scattered(SELECT_SCATTER, x, src, select_step(shape, at, index % shape[at]), "select")


@method("slice_scatter")
@public("slice_scatter")
def slice_scatter(
    input: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """Return a copy with a slice of a dimension replaced."""
    x = tensor_operand(input, "slice_scatter")
    shape = x._value.type.shape
    at = normalize_dim(dim, len(shape))
    first, last, by = slice(start, end, step).indices(shape[at])
    return scattered(SLICE_SCATTER, x, src, slice_step(shape, at, first, max(first, last), by), "slice")
