"""Indexing with brackets: `x[key]` and `x[key] = value`.

A key is worked off item by item, as in PyTorch: integers, slices and new axes make one view each, then integer arrays
and masks pick elements. `plan` spells a key out for a shape; it is carried out on tensors (recorded) or, where no
gradient can flow, on arrays. Start reading at `plan`.
"""

import operator
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradloom.autograd.creation import array_of, filled
from gradloom.autograd.dtypes import dtype_of
from gradloom.autograd.elementwise import is_number, plain_number, type_name
from gradloom.autograd.errors import error
from gradloom.autograd.graph import Array, EagerOp, counter_of, data_node
from gradloom.autograd.modes import inference_used, state
from gradloom.autograd.parts import select_of, slice_of
from gradloom.autograd.recording import Variable, assign, check_writable
from gradloom.autograd.selection import COPY, FILL
from gradloom.autograd.shaping import expanded, reshaped, unsqueeze, view_operation
from gradloom.autograd.steps import reshape_step
from gradloom.autograd.tensor import Tensor, from_array, in_place, method, operation, public, view_of
from gradloom.trace.indexing import Advanced
from gradloom.trace.promote import stretch
from gradloomc.dialects import nd
from gradloomc.ir.core import Value

Shape = tuple[int, ...]

ALIAS = view_operation("AliasBackward0")
_WHOLE = slice(None)
_NOT_AN_INDEX = "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices"

# --- spelling a key out -----------------------------------------------------------------------------------------------


class Plan:
    """A key for a shape.

    Attributes:
        moves: views to take one after the other: ("select", dim, index), ("slice", dim, start, stop, step), ("new", dim).
        picks: then (dim, integers): an array or a tensor of integers for a dimension, which are looked up together.
        shape: after the moves.
    """

    __slots__ = ("moves", "picks", "shape")

    def __init__(self, shape: Shape):
        self.moves: list[tuple[Any, ...]] = []
        self.picks: list[tuple[int, Any]] = []
        self.shape = list(shape)

    def select(self, dim: int, index: int, place: int) -> None:
        """Fix a dimension; `place` is its number in the tensor, for the error."""
        extent = self.shape[dim]
        if not -extent <= index < extent:
            raise error(IndexError, f"index {index} is out of bounds for dimension {place} with size {extent}")
        self.moves.append(("select", dim, index + extent if index < 0 else index))
        del self.shape[dim]

    def slice(self, dim: int, item: slice, whole: bool) -> None:
        """Take a slice of a dimension; one that takes all of it counts only if `whole`."""
        extent = self.shape[dim]
        start, stop, step = item.indices(extent)
        if step < 0:
            raise error(ValueError, "step must be greater than zero", "x.flip(dim) turns a dimension around")
        stop = max(start, stop)
        if whole or (start, stop, step) != (0, extent, 1):
            self.moves.append(("slice", dim, start, stop, step))
            self.shape[dim] = -(-(stop - start) // step)

    def new(self, dim: int) -> None:
        """Insert a dimension of extent 1."""
        self.moves.append(("new", dim))
        self.shape.insert(dim, 1)


def _items(key: Any) -> Sequence[Any]:
    """Return the items of a key; lists and arrays become arrays or tensors."""
    if not isinstance(key, tuple):
        legacy = isinstance(key, list) and any(isinstance(e, (slice, Variable)) or e is None or e is ... for e in key)
        key = tuple(key) if legacy else (key,)
    return [_item(item) for item in key]


def _item(item: Any) -> Any:
    cls = item.__class__
    if cls is int or cls is slice or item is None or item is Ellipsis or cls is bool:
        return item
    if isinstance(item, Variable):
        type = item._value.type
        kind = type.element.kind
        if kind == "f":
            raise error(IndexError, "tensors used as indices must be long, int, byte or bool tensors", "x[i.long()]")
        if type.rank:
            return item._array() != 0 if _is_mask(type.element) else item
        value = item.item()  # pyright: ignore[reportAttributeAccessIssue]
        return bool(value) if _is_mask(type.element) else value
    if isinstance(item, (bool, np.bool_)):
        return bool(item)
    if isinstance(item, str):
        raise TypeError("new(): invalid data type 'str'")
    if isinstance(item, (list, tuple, range, np.ndarray)):
        array = item if isinstance(item, np.ndarray) else array_of(list(item))
        if not array.size and not isinstance(item, np.ndarray):
            array = array.astype(np.int64)
        if array.dtype.kind not in "iub":
            raise error(IndexError, "tensors used as indices must be long, int, byte or bool tensors")
        return _item(array.item()) if not array.ndim else array
    try:
        return operator.index(item)
    except TypeError:
        raise error(IndexError, f"{_NOT_AN_INDEX} (got {type_name(item)})") from None


def _is_mask(element: Any) -> bool:
    return element.kind == "b" or (element.kind == "u" and element.itemsize == 1)


def _dims_used(item: Any) -> int:
    if item is None or item is Ellipsis or item.__class__ is bool:
        return 0
    if isinstance(item, np.ndarray) and item.dtype.kind == "b":
        return item.ndim
    return 1


def plan(shape: Shape, key: Any, for_writing: bool = False) -> Plan:
    """Spell out a key for a shape.

    Raises:
        IndexError: an index, a mask or the number of items does not fit.
        ValueError: the step of a slice is not positive.
    """
    items = _items(key)
    used = sum([_dims_used(item) for item in items])
    rank = len(shape)
    if used > rank:
        if not rank and items[0].__class__ is int:
            raise error(
                IndexError,
                "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to convert a "
                "0-dim tensor to a number",
            )
        raise error(IndexError, f"too many indices for tensor of dimension {rank}")
    result = Plan(shape)
    alone = len(items) == 1 and not for_writing
    dim = place = 0
    for item in items:
        cls = item.__class__
        if cls is int:
            result.select(dim, item, place)
            place += 1
        elif cls is slice:
            result.slice(dim, item, alone)
            dim, place = dim + 1, place + 1
        elif item is None:
            result.new(dim)
            dim += 1
        elif item is Ellipsis:
            dim, place = dim + rank - used, place + rank - used
        elif cls is bool:
            result.new(dim)
            result.picks.append((dim, np.zeros(int(item), np.int64)))
            dim += 1
        elif cls is np.ndarray and item.dtype.kind == "b":
            _check_mask(item, shape, place)
            result.picks += [(dim + k, positions) for k, positions in enumerate(np.nonzero(item))]
            dim, place = dim + item.ndim, place + item.ndim
        else:
            result.picks.append((dim, item))
            dim, place = dim + 1, place + 1
    if result.picks:
        _check_picks(result)
    return result


def _check_mask(mask: Array, shape: Shape, place: int) -> None:
    for k, extent in enumerate(mask.shape):
        if extent != shape[place + k]:
            raise error(
                IndexError,
                f"The shape of the mask {list(mask.shape)} at index {k} does not match the shape of the indexed tensor "
                f"{list(shape)} at index {place + k}",
            )


def _check_picks(result: Plan) -> None:
    """Check that integers lie within their dimensions, and that their shapes broadcast."""
    shapes = []
    for number, (dim, index) in enumerate(result.picks):
        check_span(index, result.shape[dim], IndexError, number)
        shapes.append(tuple(index.shape))
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        listed = ", ".join([str(list(each)) for each in shapes])
        raise error(
            IndexError, f"shape mismatch: indexing tensors could not be broadcast together with shapes {listed}"
        ) from None


def check_span(index: Any, extent: int, kind: type[Exception], dim: int, lowest: int | None = None) -> None:
    """Raise if integers (a tensor or an array) do not lie within an extent, counted from either end.

    The smallest and the largest integer of a tensor are remembered with its value.
    """
    if isinstance(index, Variable):
        node = index._node()
        span = None if node.shared else node.__dict__.get("span")
        if span is None:
            array = index._array()
            span = (int(array.min()), int(array.max())) if array.size else (0, -1)
            if not node.shared:
                node.__dict__["span"] = span
    else:
        span = (int(index.min()), int(index.max())) if index.size else (0, -1)
    low, high = span
    if low > high:
        return
    if low < (-extent if lowest is None else lowest) or high >= extent:
        wrong = high if high >= extent else low
        raise error(kind, f"index {wrong} is out of bounds for dimension {dim} with size {extent}")


# --- reading ----------------------------------------------------------------------------------------------------------


def _moved(x: Tensor, moves: Sequence[tuple[Any, ...]]) -> Tensor:
    for move in moves:
        kind = move[0]
        if kind == "select":
            x = select_of(x, move[1], move[2])
        elif kind == "slice":
            x = slice_of(x, move[1], move[2], move[3], move[4])
        else:
            x = unsqueeze(x, move[1])
    return x


def _moved_array(array: Array, moves: Sequence[tuple[Any, ...]]) -> Array:
    for move in moves:
        kind, dim = move[0], move[1]
        item: Any = move[2] if kind == "select" else slice(*move[2:]) if kind == "slice" else None
        array = array[(*(_WHOLE,) * dim, item, ...)]
    return array


def _index_items(rank: int, picks: Sequence[tuple[int, Any]]) -> tuple[Any, ...]:
    items: list[Any] = [_WHOLE] * rank
    for dim, index in picks:
        items[dim] = index
    return tuple(items)


def _picked(x: Any, *indices: Any, dims: Shape) -> Value:
    values = [each.value for each in indices]
    step = Advanced(x.shape, _index_items(x.ndim, list(zip(dims, values, strict=True))))
    return step.read(x.value)


INDEX = EagerOp("IndexBackward0", _picked, lists=(0,))


def _as_tensor(index: Any) -> Tensor:
    return index if isinstance(index, Variable) else from_array(np.asarray(index, order="C"))  # type: ignore[return-value]


def _as_array(index: Any) -> Array:
    return index._array() if isinstance(index, Variable) else index


def pick(x: Tensor, picks: Sequence[tuple[int, Any]]) -> Tensor:
    """Return the elements that integers for some dimensions name together."""
    node = x._node()
    if not x._requires_grad and node.array is not None:
        key = _index_items(node.array.ndim, [(dim, _as_array(index)) for dim, index in picks])
        return from_array(np.asarray(node.array[key], order="C"))
    dims = tuple([dim for dim, _ in picks])
    return operation(INDEX, (x, *[_as_tensor(index) for _, index in picks]), (("dims", dims),))


@method("__getitem__")
def getitem(self: Tensor, key: Any) -> Tensor:
    """Return the part of the tensor that a key names.

    Integers, slices and None give views; tensors, arrays and lists of integers or bools pick elements into a copy.

    Raises:
        IndexError: the key does not fit the shape.
    """
    shape = self._value.type.shape
    if key.__class__ is int and shape:
        extent = shape[0]
        if -extent <= key < extent:
            return select_of(self, 0, key + extent if key < 0 else key)
    planned = plan(shape, key)
    result = _moved(self, planned.moves)
    if planned.picks:
        return pick(result, planned.picks)
    return view_of(self, ALIAS, reshape_step(shape)) if result is self else result


# --- writing ----------------------------------------------------------------------------------------------------------


def _put(x: Any, value: Any, written: Any, source: Any) -> Value:
    """Replace the elements where `written` holds by those of `value` that `source` names."""
    shape = x.shape
    updates = nd.reshape(value.value, shape=(value.size,))
    return nd.select(written.value, nd.reshape(nd.gather(updates, source.value), shape=shape), x.value)


def _put_one(x: Any, value: Any, written: Any) -> Value:
    one = nd.reshape(value.value, shape=())
    return nd.select(written.value, stretch(one, x.shape), x.value)


def _put_added(x: Any, value: Any, positions: Any) -> Value:
    updates = nd.reshape(value.value, shape=(value.size,))
    added = nd.scatter_add(updates, positions.value, extent=x.size)
    return nd.add(x.value, nd.reshape(added, shape=x.shape))


PUT = EagerOp("IndexPutBackward0", _put, lists=(0, 1))
PUT_ONE = EagerOp("IndexPutBackward0", _put_one, lists=(0, 1))
PUT_ADDED = EagerOp("IndexPutBackward0", _put_added, lists=(0, 1))


def put_operands(x: Tensor, value: Tensor, positions: Array, accumulate: bool) -> tuple[EagerOp, tuple[Any, ...]]:
    """Return the operation and the operands for writing into the elements at positions in row-major order.

    Of equal positions the last one counts, unless values are accumulated.

    Args:
        value: broadcasts to the shape of the positions.

    Raises:
        RuntimeError: it does not, or it has another dtype.
    """
    have, want = x._value.type, value._value.type
    if have.element is not want.element:
        raise error(
            RuntimeError,
            f"Index put requires the source and destination dtypes match, got {dtype_of(have.element).type_name} for the "
            f"destination and {dtype_of(want.element).type_name} for the source.",
            "convert the source: value.to(x.dtype)",
        )
    if not accumulate and want.size == 1:
        written = np.zeros(have.size, bool)
        written[positions] = True
        return PUT_ONE, (x, value, from_array(written.reshape(have.shape)))
    if want.shape != positions.shape:
        value = _broadcast_value(value, positions.shape)
    flat = positions.reshape(-1)
    if accumulate:
        return PUT_ADDED, (x, value, from_array(flat))
    last = np.full(have.size, -1)
    last[flat] = np.arange(flat.size)
    written = (last >= 0).reshape(have.shape)
    return PUT, (x, value, from_array(written), from_array(np.maximum(last, 0)))


def _broadcast_value(value: Tensor, shape: Shape) -> Tensor:
    value = _without_leading_ones(value, len(shape))
    have = value._value.type.shape
    if len(have) > len(shape) or any(
        m not in (1, n) for m, n in zip(reversed(have), reversed(shape), strict=False)
    ):
        raise error(
            RuntimeError,
            f"shape mismatch: value tensor of shape {list(have)} cannot be broadcast to indexing result of shape "
            f"{list(shape)}",
        )
    return value if have == shape else expanded(value, shape)


def _without_leading_ones(value: Tensor, rank: int) -> Tensor:
    shape = value._value.type.shape
    extra = len(shape) - rank
    if extra > 0 and shape[:extra] == (1,) * extra:
        return reshaped(value, shape[extra:])
    return value


def positions_of(shape: Shape, picks: Sequence[tuple[int, Any]]) -> Array:
    """Return the positions in row-major order of the elements that integers for some dimensions name together."""
    everywhere = np.arange(int(np.prod(shape, dtype=np.int64))).reshape(shape)
    return everywhere[_index_items(len(shape), [(dim, _as_array(index)) for dim, index in picks])]


def value_for(x: Tensor, value: Any) -> Tensor:
    """Return what is assigned to a part of `x` as a tensor; a number takes the dtype of x.

    Raises:
        TypeError: it is neither a number nor a tensor.
    """
    if isinstance(value, Variable):
        return value  # type: ignore[return-value]
    if not is_number(value):
        name = dtype_of(x._value.type.element).type_name
        raise error(
            TypeError, f"can't assign a {type_name(value)} to a gradloom.{name}Tensor", "gradloom.tensor(value) makes one"
        )
    number = plain_number(value)
    if number.__class__ is int and not -(2**63) <= number < 2**63:
        raise error(ValueError, "Overflow when unpacking long long")
    return from_array(filled((), number, x._value.type.element.dtype))


def _written_at_once(x: Tensor, planned: Plan, value: Tensor) -> bool:
    """Write plain data into plain data, if that is what both are; otherwise the write has to be recorded."""
    link = x._link
    tracked = state.grad and (x.requires_grad or value._requires_grad)
    if tracked or link is not None or x._value.array is None or inference_used:
        return False
    node = x._value
    data = value._array()
    array: Array = node.array
    # Nobody else holds the value: neither a recorded operation, nor a view of the array, nor a caller.
    unread = sys.getrefcount(node) <= _NODE_REFERENCES and sys.getrefcount(array) <= _ARRAY_REFERENCES
    fresh = not (unread and array.base is None and array.flags.writeable)
    if fresh:
        array = array.copy()
    part = _moved_array(array, planned.moves)
    if planned.picks:
        key = _index_items(part.ndim, [(dim, _as_array(index)) for dim, index in planned.picks])
    else:
        key = ...
    part[key] = data.reshape(data.shape[max(data.ndim - _rank_of(part, key), 0) :])
    if fresh:
        assign(x, data_node(array))
    else:
        counter = counter_of(node)
        counter[0] += 1
        node.version = counter[0]
        node.__dict__.pop("span", None)
        x._writes += 1
    return True


_NODE_REFERENCES = 3  # the tensor's, a variable, the argument
_ARRAY_REFERENCES = 3  # the node's, a variable, the argument


def _rank_of(part: Array, key: Any) -> int:
    """Return the rank of `part[key]` without picking anything."""
    return part.ndim if key is ... else np.broadcast_to(np.empty((), bool), part.shape)[key].ndim


@method("__setitem__")
def setitem(self: Tensor, key: Any, value: Any) -> None:
    """Write a number or a tensor, which broadcasts, into the part of the tensor that a key names.

    Raises:
        IndexError: the key does not fit the shape.
        RuntimeError: the value does not fit the part, or a leaf that requires grad would be written.
    """
    if key is False:
        return
    planned = plan(self._value.type.shape, key, for_writing=True)
    new = value_for(self, value)
    if planned.picks:
        _set_picked(self, planned, new)
        return
    _check_fits(new, tuple(planned.shape))
    if _written_at_once(self, planned, new):
        return
    part = _moved(self, planned.moves)
    op = COPY if new._value.type.rank else FILL
    in_place(part, op, (part, _without_leading_ones(new, part._value.type.rank)))


def _check_fits(value: Tensor, shape: Shape) -> None:
    """Raise what PyTorch raises if a value does not broadcast to a shape; ones in front of its own do not count."""
    have = value._value.type.shape
    first = next((k for k, extent in enumerate(have) if extent != 1), len(have))
    stripped = have[first:] if len(have) > len(shape) else have
    fits = len(stripped) <= len(shape) and all(
        m in (1, n) for m, n in zip(reversed(stripped), reversed(shape), strict=False)
    )
    if not fits:
        expanded(reshaped(value, have[first:]), shape)


def _set_picked(x: Tensor, planned: Plan, value: Tensor) -> None:
    have = tuple(planned.shape)
    same_dtype = x._value.type.element is value._value.type.element
    positions = positions_of(have, planned.picks)
    if same_dtype or not value._value.type.rank:
        _broadcast_value(value, positions.shape)
    if not value._value.type.rank and not same_dtype:
        value = value.to(x.dtype)
        same_dtype = True
    if same_dtype and _written_at_once(x, planned, value):
        return
    part = _moved(x, planned.moves)
    op, operands = put_operands(part, value, positions, False)
    in_place(part, op, operands)


# --- the same as functions --------------------------------------------------------------------------------------------


def _indices_key(indices: Any) -> tuple[Any, ...]:
    if not isinstance(indices, (tuple, list)):
        raise TypeError(f"index_put(): argument 'indices' must be tuple of Tensors, not {type_name(indices)}")
    return tuple([_WHOLE if index is None else index for index in indices])


def _put_arguments(x: Tensor, indices: Any, values: Tensor, accumulate: bool) -> tuple[EagerOp, tuple[Any, ...]]:
    shape = x._value.type.shape
    picks = []
    dim = 0
    for item in _items(_indices_key(indices)):
        if isinstance(item, np.ndarray) and item.dtype.kind == "b":
            _check_mask(item, shape, dim)
            picks += [(dim + k, positions) for k, positions in enumerate(np.nonzero(item))]
            dim += item.ndim
            continue
        if item.__class__ is int:
            item = np.array(item)
        if item.__class__ is not slice:
            check_span(item, shape[dim], IndexError, len(picks))
            picks.append((dim, item))
        dim += 1
    return put_operands(x, values, positions_of(shape, picks), accumulate)


@method("index_put")
@public("index_put")
def index_put(input: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    """Return the tensor with the elements that tensors of integers name together replaced, or added to."""
    op, operands = _put_arguments(input, indices, values, accumulate)
    return operation(op, operands)


@method("index_put_")
@public("index_put_")
def index_put_(input: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    """Apply `index_put` in place."""
    check_writable(input)
    op, operands = _put_arguments(input, indices, values, accumulate)
    return in_place(input, op, operands)
