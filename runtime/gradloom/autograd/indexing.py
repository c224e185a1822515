"""Indexing with brackets: `x[key]`. Writing is in assignment.py.

A key is worked off item by item, as in PyTorch: integers, slices and new axes make one view each, then integer arrays
and masks pick elements. `plan` spells a key out for a shape; it is carried out on tensors (recorded) or, where no
gradient can flow, on arrays. Start reading at `plan`.
"""

import operator
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from gradloom.autograd.creation import array_of
from gradloom.autograd.elementwise import type_name
from gradloom.autograd.errors import error
from gradloom.autograd.graph import Array, EagerOp
from gradloom.autograd.parts import select_of, slice_of
from gradloom.autograd.recording import Variable
from gradloom.autograd.shaping import unsqueeze, view_operation
from gradloom.autograd.steps import reshape_step
from gradloom.autograd.tensor import Tensor, from_array, method, operation, view_of
from gradloom.trace.indexing import Advanced
from gradloomc.ir.core import Value

Shape = tuple[int, ...]

ALIAS = view_operation("AliasBackward0")
WHOLE = slice(None)
_NOT_AN_INDEX = "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices"

# --- spelling a key out -----------------------------------------------------------------------------------------------


class Plan:
    """A key for a shape.

    Attributes:
        moves: views to take one after the other: ("select", dim, index), ("slice", dim, start, stop, step) or
            ("new", dim).
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


def items_of(key: Any) -> Sequence[Any]:
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
    if key.__class__ is tuple:
        plain = _plain_key(key)
        if plain is not None:
            return _remembered(shape, plain, for_writing)
    return _planned(shape, items_of(key), for_writing)


def _plain_key(key: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """Return a key of integers, slices of integers, None and an ellipsis as what can be hashed; None for others."""
    plain = []
    for item in key:
        cls = item.__class__
        if cls is slice:
            bounds = (item.start, item.stop, item.step)
            for bound in bounds:
                if bound is not None and bound.__class__ is not int:
                    return None
            plain.append(bounds)
        elif cls is int or item is None or item is Ellipsis:
            plain.append(item)
        else:
            return None
    return tuple(plain)


@lru_cache(4096)
def _remembered(shape: Shape, plain: tuple[Any, ...], for_writing: bool) -> Plan:
    items = [slice(*item) if item.__class__ is tuple else item for item in plain]
    return _planned(shape, items, for_writing)


def _planned(shape: Shape, items: Sequence[Any], for_writing: bool) -> Plan:
    used = sum([_dims_used(item) for item in items])
    rank = len(shape)
    if used > rank:
        if not rank and items[0].__class__ is int:
            raise error(
                IndexError,
                "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to "
                "convert a 0-dim tensor to a number",
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
            check_mask(item, shape, place)
            result.picks += [(dim + k, positions) for k, positions in enumerate(np.nonzero(item))]
            dim, place = dim + item.ndim, place + item.ndim
        else:
            result.picks.append((dim, item))
            dim, place = dim + 1, place + 1
    if result.picks:
        _check_picks(result)
    return result


def check_mask(mask: Array, shape: Shape, place: int) -> None:
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


def moved(x: Tensor, moves: Sequence[tuple[Any, ...]]) -> Tensor:
    for move in moves:
        kind = move[0]
        if kind == "select":
            x = select_of(x, move[1], move[2])
        elif kind == "slice":
            x = slice_of(x, move[1], move[2], move[3], move[4])
        else:
            x = unsqueeze(x, move[1])
    return x


def moved_array(array: Array, moves: Sequence[tuple[Any, ...]]) -> Array:
    for move in moves:
        kind, dim = move[0], move[1]
        item: Any = move[2] if kind == "select" else slice(*move[2:]) if kind == "slice" else None
        array = array[(*(WHOLE,) * dim, item, ...)]
    return array


def index_items(rank: int, picks: Sequence[tuple[int, Any]]) -> tuple[Any, ...]:
    items: list[Any] = [WHOLE] * rank
    for dim, index in picks:
        items[dim] = index
    return tuple(items)


def _picked(x: Any, *indices: Any, dims: Shape) -> Value:
    values = [each.value for each in indices]
    step = Advanced(x.shape, index_items(x.ndim, list(zip(dims, values, strict=True))))
    return step.read(x.value)


INDEX = EagerOp("IndexBackward0", _picked, lists=(0,))


def _as_tensor(index: Any) -> Tensor:
    if isinstance(index, Variable):
        return index  # type: ignore[return-value]
    return from_array(np.asarray(index, order="C"))


def as_array(index: Any) -> Array:
    return index._array() if isinstance(index, Variable) else index


def pick(x: Tensor, picks: Sequence[tuple[int, Any]]) -> Tensor:
    """Return the elements that integers for some dimensions name together."""
    node = x._node()
    if not x._requires_grad and node.array is not None:
        key = index_items(node.array.ndim, [(dim, as_array(index)) for dim, index in picks])
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
    elif isinstance(key, Variable) and shape and key._value.type.element.kind == "i" and key._value.type.rank:
        check_span(key, shape[0], IndexError, 0)
        return pick(self, ((0, key),))
    planned = plan(shape, key)
    result = moved(self, planned.moves)
    if planned.picks:
        return pick(result, planned.picks)
    return view_of(self, ALIAS, reshape_step(shape)) if result is self else result
