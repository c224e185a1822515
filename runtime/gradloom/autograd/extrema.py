"""The largest and smallest elements and where they are; elements picked by rank: median, kthvalue, mode.

`max(dim)` and its kin give values and indices: two operations, the values picked by the indices, so that a gradient
goes to the element that was picked. Over all elements, equal extrema share the gradient. Sorting is not here.
"""

from typing import Any

import numpy as np

from gradloom.autograd.elementwise import documented, not_implemented, tensor_operand, type_name
from gradloom.autograd.errors import error
from gradloom.autograd.functions import maximum, minimum
from gradloom.autograd.graph import Array, EagerOp
from gradloom.autograd.recording import Variable
from gradloom.autograd.reducing import Dims, axes_of, kept, numpy_names, one_dim, over, structure
from gradloom.autograd.tensor import Tensor, from_array, method, operation, public
from gradloom.trace.promote import convert
from gradloomc.dialects import nd
from gradloomc.ir import types as ir_types
from gradloomc.ir.core import Value

# --- rules ------------------------------------------------------------------------------------------------------------


def picked(x: Value, indices: Value, axis: int) -> Value:
    """Return one element along an axis for each index; the axis leaves the shape."""
    chosen = nd.eq(nd.iota(shape=x.type.shape, axis=axis, type=ir_types.i64), nd.spread(indices, x, (axis,)))
    if x.type.element.kind == "b":
        return nd.reduce_any(nd.logical_and(chosen, x), axes=(axis,))
    return nd.reduce_sum(nd.select(chosen, x, nd.zeros_like(x)), axes=(axis,))


def _pick_rule(x: Any, indices: Any, dim: int, keepdim: bool) -> Value:
    value, positions = x.value, indices.value
    if not value.type.rank:
        return value
    if keepdim:
        shape = positions.type.shape
        positions = nd.reshape(positions, shape=shape[:dim] + shape[dim + 1 :])
    return kept(picked(value, positions, dim), value, (dim,), keepdim)


def _position_rule(build: Any) -> Any:
    def rule(x: Any, dim: int | None, keepdim: bool) -> Value:
        value = x.value
        rank = value.type.rank
        if dim is None or not rank:
            found = build(nd.reshape(value, shape=(value.type.size,)), axis=0)
            return nd.reshape(found, shape=(1,) * rank) if keepdim else found
        return kept(build(value, axis=dim), value, (dim,), keepdim)

    return rule


def shared_evenly(x: Value, extremum: Value, axes: Dims) -> Value:
    """Return an element of x, known to be `extremum`, whose gradient all elements equal to it share; nans are equal."""
    best = nd.stop_gradient(extremum)
    wide = nd.spread(best, x, axes)
    among = nd.logical_or(nd.eq(x, wide), nd.logical_and(nd.isnan(x), nd.isnan(wide)))
    count = nd.reduce_sum(convert(among, x.type.element), axes=axes)
    count = nd.maximum(count, nd.splat(1, count.type))
    total = nd.reduce_sum(nd.select(among, nd.div(x, nd.spread(count, x, axes)), nd.zeros_like(x)), axes=axes)
    # The value is `extremum` to the last digit: of the total only the derivative counts, where differences exist.
    moved = nd.add(best, nd.sub(total, nd.stop_gradient(total)))
    return nd.select(nd.isfinite(best), moved, total)


def _full_rule(reduce: Any) -> Any:
    def rule(x: Any) -> Value:
        value = x.value
        axes = tuple(range(value.type.rank))
        found = reduce(value, axes=axes)
        return shared_evenly(value, found, axes) if value.type.element.kind == "f" else found

    return rule


def _even_rule(reduce: Any) -> Any:
    def rule(x: Any, dims: Dims | None = None, keepdim: bool = False) -> Value:
        value = x.value
        axes = axes_of(value, dims)
        return kept(reduce(value, axes=axes), value, axes, keepdim)

    return rule


_BOTH = (frozenset({0}), True)
_INDEX = (frozenset({1}), False)
ARGMAX = EagerOp("ArgmaxBackward0", _position_rule(nd.argmax), differentiable=False)
ARGMIN = EagerOp("ArgminBackward0", _position_rule(nd.argmin), differentiable=False)
_FULL = {
    "max": EagerOp("MaxBackward1", _full_rule(nd.reduce_max), saves=_BOTH),
    "min": EagerOp("MinBackward1", _full_rule(nd.reduce_min), saves=_BOTH),
}
_OVER = {
    "amax": EagerOp("AmaxBackward0", _even_rule(nd.reduce_max), saves=_BOTH),
    "amin": EagerOp("AminBackward0", _even_rule(nd.reduce_min), saves=_BOTH),
}
_PAIR = {
    "min": EagerOp("AminmaxBackward0", _even_rule(nd.reduce_min), saves=_BOTH),
    "max": EagerOp("AminmaxBackward0", _even_rule(nd.reduce_max), saves=_BOTH),
}


def picking(node: str) -> EagerOp:
    """Return the operation `(x, indices)` that picks values and is called `node` in graphs."""
    return EagerOp(node, _pick_rule, saves=_INDEX, lists=(0,))


# --- maximum and minimum ----------------------------------------------------------------------------------------------


def check_extent(function: str, x: Tensor, dim: int) -> None:
    """Raise PyTorch's error if there is nothing to choose from along a dimension."""
    shape = x._value.type.shape
    if shape and not shape[dim]:
        raise error(IndexError, f"{function}(): Expected reduction dim {dim} to have non-zero size.")


def _extremum(name: str, position: EagerOp, pick: EagerOp, of_two: Any, doc: str) -> Any:
    result = structure(name, "values", "indices")
    full = _FULL[name]

    @numpy_names
    def function(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
        tensor_operand(input, name)
        if isinstance(dim, Variable):
            other = dim
        if other is not None:
            return of_two(input, other)
        if dim is None:
            if not input._value.type.size:
                raise error(
                    RuntimeError,
                    f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction "
                    "dim with the 'dim' argument.",
                )
            return operation(full, (input,))
        if isinstance(dim, (tuple, list)):
            raise TypeError(
                f"{name}() received an invalid combination of arguments - got ({type_name(dim)}): dim should be an int "
                f"(a{name} takes several)"
            )
        dim = one_dim(name, dim, input._value.type.rank)
        check_extent(name, input, dim)
        attributes = (("dim", dim), ("keepdim", bool(keepdim)))
        indices = operation(position, (input,), attributes)
        return result(operation(pick, (input, indices), attributes), indices)

    documented(function, name, doc)
    method(name)(function)
    public(name)(function)
    return function


_extremum(
    "max",
    ARGMAX,
    picking("MaxBackward0"),
    maximum,
    """Return the largest element; along a dimension, values and indices; of two tensors, `maximum(input, other)`.

    The gradient goes to the element that was picked; over all elements, equal ones share it.

    Raises:
        RuntimeError, IndexError: there are no elements to choose from, or the dimension is out of range.
    """,
)
_extremum(
    "min",
    ARGMIN,
    picking("MinBackward0"),
    minimum,
    """Return the smallest element; along a dimension, values and indices; of two tensors, `minimum(input, other)`.

    The gradient goes to the element that was picked; over all elements, equal ones share it.

    Raises:
        RuntimeError, IndexError: there are no elements to choose from, or the dimension is out of range.
    """,
)


def _several(name: str, doc: str) -> None:
    op = _OVER[name]

    @numpy_names
    def function(input: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
        type = tensor_operand(input, name)._value.type
        attributes = over(name, dim, type.rank, keepdim)
        if not type.size:
            if dim is None or dim == () or dim == []:
                raise error(
                    RuntimeError,
                    f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction "
                    "dim with the 'dim' argument.",
                )
            for each in attributes[0][1]:
                check_extent(name, input, each)
        return operation(op, (input,), attributes)

    method(name)(public(name)(documented(function, name, doc)))


_several("amax", "Return the largest elements over dimensions (an int, a tuple, all); equal ones share the gradient.")
_several("amin", "Return the smallest elements over dimensions (an int, a tuple, all); equal ones share the gradient.")
_aminmax = structure("aminmax", "min", "max")


@method("aminmax")
@public("aminmax")
def aminmax(input: Tensor, *, dim: Any = None, keepdim: bool = False) -> Any:
    """Return the smallest and the largest elements, of all or along a dimension."""
    attributes = over("aminmax", dim, tensor_operand(input, "aminmax")._value.type.rank, keepdim)
    if not input._value.type.size and dim is None:
        raise error(
            RuntimeError, "aminmax(): cannot compute aminmax over an empty dimension as the operation has no identity."
        )
    return _aminmax(operation(_PAIR["min"], (input,), attributes), operation(_PAIR["max"], (input,), attributes))


def _position(name: str, op: EagerOp) -> None:
    @numpy_names
    def function(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
        type = tensor_operand(input, name)._value.type
        if type.element.kind == "b":
            raise error(RuntimeError, f"{name}(): does not support bool input", "convert it first: x.int()")
        if dim is not None:
            dim = one_dim(name, dim, type.rank)
            check_extent(name, input, dim)
        elif not type.size:
            raise error(IndexError, f"{name}(): Expected reduction dim to be specified for input.numel() == 0.")
        return operation(op, (input,), (("dim", dim), ("keepdim", bool(keepdim))))

    doc = (
        f"Return the position of the first {'largest' if name == 'argmax' else 'smallest'} element, of the flattened "
        "tensor or along a dimension, as int64."
    )
    method(name)(public(name)(documented(function, name, doc)))


_position("argmax", ARGMAX)
_position("argmin", ARGMIN)

# --- by rank ----------------------------------------------------------------------------------------------------------


def pick_along(op: EagerOp, input: Tensor, indices: Array, dim: int, keepdim: bool, cls: Any) -> Any:
    """Return values and indices, given the indices (along `dim`, which is not in their shape)."""
    if keepdim and input._value.type.rank:
        indices = np.expand_dims(indices, dim)
    positions = from_array(np.array(indices, np.int64))
    return cls(operation(op, (input, positions), (("dim", dim), ("keepdim", keepdim))), positions)


def _even_value_rule(x: Any, found: Any) -> Value:
    return shared_evenly(x.value, found.value, tuple(range(x.ndim)))


def _by_rank(name: str, kernel: str, nodes: tuple[str, str], ignores_nan: bool, doc: str) -> None:
    whole = EagerOp(nodes[0], _even_value_rule, saves=_BOTH, lists=(0,))
    pick, result = picking(nodes[1]), structure(name, "values", "indices")

    def positions(array: Array, axis: int) -> Array:
        order = np.argsort(array, axis=axis, kind="stable")  # nans are last
        count = array.shape[axis]
        unknown = np.isnan(array).sum(axis=axis) if array.dtype.kind == "f" else np.zeros((), np.int64)
        middle = (count - 1 - unknown) // 2 if ignores_nan else np.where(unknown, count - unknown, (count - 1) // 2)
        middle = np.broadcast_to(np.maximum(middle, 0), np.delete(array.shape, axis))
        return np.take_along_axis(order, np.expand_dims(middle, axis), axis).squeeze(axis)

    @numpy_names
    def function(input: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
        element = tensor_operand(input, name)._value.type.element
        if element.kind == "b":
            raise not_implemented(kernel, element)
        array = input._array()
        if dim is not None:
            dim = one_dim(name, dim, array.ndim)
            check_extent(name, input, dim)
            indices = positions(array, dim) if array.ndim else np.zeros((), np.int64)
            return pick_along(pick, input, indices, dim, bool(keepdim), result)
        flat = array.reshape(-1)
        if not flat.size:
            return from_array(np.array(np.nan if element.kind == "f" else np.iinfo(flat.dtype).min, flat.dtype))
        value = from_array(np.array(flat[positions(flat, 0)]))
        return operation(whole, (input, value)) if element.kind == "f" else value

    method(name)(public(name)(documented(function, name, doc)))


_by_rank(
    "median",
    "median_cpu",
    ("MedianBackward0", "MedianBackward1"),
    False,
    "Return the median, the lower of two; nan if there is one. Along a dimension: values and indices.",
)
_by_rank(
    "nanmedian",
    "nanmedian_cpu",
    ("NanmedianBackward0", "NanmedianBackward1"),
    True,
    "Return the median of the elements that are not nan. Along a dimension: values and indices.",
)
_KTH, _kthvalue = picking("KthvalueBackward0"), structure("kthvalue", "values", "indices")


@method("kthvalue")
@public("kthvalue")
def kthvalue(input: Tensor, k: int, dim: Any = -1, keepdim: bool = False) -> Any:
    """Return the k-th smallest element along a dimension (from 1), and its index.

    Raises:
        RuntimeError: k is out of range.
    """
    array = tensor_operand(input, "kthvalue")._array()
    dim = one_dim("kthvalue", dim, array.ndim, 3)
    if not 1 <= k <= (array.shape[dim] if array.ndim else 1):
        raise error(RuntimeError, f"kthvalue(): selected number k out of range for dimension {dim}")
    if not array.ndim:
        return pick_along(_KTH, input, np.zeros((), np.int64), dim, bool(keepdim), _kthvalue)
    indices = np.take(np.argsort(array, axis=dim, kind="stable"), k - 1, axis=dim)
    return pick_along(_KTH, input, indices, dim, bool(keepdim), _kthvalue)


_MODE, _mode = picking("ModeBackward0"), structure("mode", "values", "indices")


@method("mode")
@public("mode")
def mode(input: Tensor, dim: Any = -1, keepdim: bool = False) -> Any:
    """Return the element that is most frequent along a dimension (the smallest of several) and where it is last."""
    array = tensor_operand(input, "mode")._array()
    dim = one_dim("mode", dim, array.ndim)
    check_extent("mode", input, dim)

    def most_frequent(row: Array) -> int:
        values, counts = np.unique(row, return_counts=True)
        return int(np.flatnonzero(row == values[np.argmax(counts)])[-1])

    indices = np.apply_along_axis(most_frequent, dim, array) if array.ndim else np.zeros((), np.int64)
    return pick_along(_MODE, input, indices, dim, bool(keepdim), _mode)
