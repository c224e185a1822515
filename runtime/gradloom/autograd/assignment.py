"""Writing into the parts of a tensor that a key names: `x[key] = value`, and `index_put`.

A write through integers and slices is a copy into a view; one by integer arrays or masks chooses, element by element,
between the old value and the new one. Plain data is written at once. Start reading at `setitem`.
"""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradloom.autograd.dtypes import dtype_of
from gradloom.autograd.elementwise import is_number, plain_number, type_name
from gradloom.autograd.errors import error
from gradloom.autograd.filled import filled
from gradloom.autograd.graph import Array, EagerOp, counter_of, data_node
from gradloom.autograd.indexing import (
    WHOLE,
    Plan,
    as_array,
    check_mask,
    check_span,
    index_items,
    items_of,
    moved,
    moved_array,
    plan,
)
from gradloom.autograd.modes import inference_used, state
from gradloom.autograd.recording import Variable, assign, check_writable
from gradloom.autograd.selection import COPY, FILL
from gradloom.autograd.shaping import expanded, reshaped
from gradloom.autograd.tensor import Tensor, from_array, in_place, method, operation, public
from gradloom.trace.promote import stretch
from gradloomc.dialects import nd
from gradloomc.ir.core import Value

Shape = tuple[int, ...]

# --- writing ----------------------------------------------------------------------------------------------------------


def _put(x: Any, value: Any, written: Any, source: Any) -> Value:
    """Replace the elements where `written` holds by those of `value` that `source` names."""
    shape = x.shape
    updates = nd.reshape(value.value, shape=(value.size,))
    return nd.select(written.value, nd.reshape(nd.gather(updates, source.value, axes=(0,)), shape=shape), x.value)


def _put_one(x: Any, value: Any, written: Any) -> Value:
    one = nd.reshape(value.value, shape=())
    return nd.select(written.value, stretch(one, x.shape), x.value)


def _put_added(x: Any, value: Any, positions: Any) -> Value:
    updates = nd.reshape(value.value, shape=(value.size,))
    added = nd.scatter_add(updates, positions.value, shape=(x.size,), axes=(0,))
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
            f"Index put requires the source and destination dtypes match, got {dtype_of(have.element).type_name} for "
            f"the destination and {dtype_of(want.element).type_name} for the source.",
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
    if len(have) > len(shape) or any(m not in (1, n) for m, n in zip(reversed(have), reversed(shape), strict=False)):
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
    return everywhere[index_items(len(shape), [(dim, as_array(index)) for dim, index in picks])]


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
            TypeError,
            f"can't assign a {type_name(value)} to a gradloom.{name}Tensor",
            "gradloom.tensor(value) makes one",
        )
    number = plain_number(value)
    if x._value.type.element.kind == "f" and number.__class__ is float:
        return from_array(np.array(number, x._value.type.element.dtype))
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
    part = moved_array(array, planned.moves)
    if planned.picks:
        key = index_items(part.ndim, [(dim, as_array(index)) for dim, index in planned.picks])
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
    part = moved(self, planned.moves)
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
    part = moved(x, planned.moves)
    op, operands = put_operands(part, value, positions, False)
    in_place(part, op, operands)


# --- the same as functions --------------------------------------------------------------------------------------------


def _indices_key(indices: Any) -> tuple[Any, ...]:
    if not isinstance(indices, (tuple, list)):
        raise TypeError(f"index_put(): argument 'indices' must be tuple of Tensors, not {type_name(indices)}")
    return tuple([WHOLE if index is None else index for index in indices])


def _put_arguments(x: Tensor, indices: Any, values: Tensor, accumulate: bool) -> tuple[EagerOp, tuple[Any, ...]]:
    shape = x._value.type.shape
    picks = []
    dim = 0
    for item in items_of(_indices_key(indices)):
        if isinstance(item, np.ndarray) and item.dtype.kind == "b":
            check_mask(item, shape, dim)
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
