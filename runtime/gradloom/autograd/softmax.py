"""Softmax, log_softmax and logsumexp. None of them overflows: the largest element is taken out first."""

from typing import Any

from gradloom.autograd.elementwise import RESULT, not_implemented, tensor_operand
from gradloom.autograd.errors import error
from gradloom.autograd.graph import EagerOp
from gradloom.autograd.reducing import Dims, as_floats, axes_of, element_argument, kept, numpy_names, over, working
from gradloom.autograd.tensor import Tensor, method, normalize_dim, operation, public
from gradloom.trace.promote import convert
from gradloomc.dialects import nd
from gradloomc.ir.core import Value


def _shifted(x: Value, axes: Dims) -> Value:
    """Return x less its largest element over axes, a constant of the derivative."""
    return nd.sub(x, nd.spread(nd.stop_gradient(nd.reduce_max(x, axes=axes)), x, axes))


def softmax_of(x: Value, axis: int) -> Value:
    """Return exp(x) over its sum along an axis."""
    powers = nd.exp(_shifted(x, (axis,)))
    return nd.div(powers, nd.spread(nd.reduce_sum(powers, axes=(axis,)), x, (axis,)))


def log_softmax_of(x: Value, axis: int) -> Value:
    """Return the logarithm of softmax along an axis."""
    shifted = _shifted(x, (axis,))
    total = nd.log(nd.reduce_sum(nd.exp(shifted), axes=(axis,)))
    return nd.sub(shifted, nd.spread(total, x, (axis,)))


def _along(function: Any, kernel: str, kernel_of_last: str) -> Any:
    def rule(x: Any, dim: int) -> Value:
        value = x.value
        element, rank = value.type.element, value.type.rank
        if element.kind != "f":
            raise not_implemented(kernel_of_last if dim == rank - 1 else kernel, element)
        if not value.type.size:
            return value
        flat = working(value if rank else nd.reshape(value, shape=(1,)))
        return nd.reshape(convert(function(flat, dim), element), shape=value.type.shape)

    return rule


SOFTMAX = EagerOp(
    "SoftmaxBackward0", _along(softmax_of, "softmax_kernel_impl", "softmax_lastdim_kernel_impl"), saves=RESULT
)
LOG_SOFTMAX = EagerOp(
    "LogSoftmaxBackward0",
    _along(log_softmax_of, "log_softmax_kernel_impl", "log_softmax_lastdim_kernel_impl"),
    saves=RESULT,
)


def _apply(name: str, op: EagerOp, input: Tensor, dim: Any, dtype: Any) -> Tensor:
    rank = tensor_operand(input, name)._value.type.rank
    if dim.__class__ is not int and not hasattr(dim, "__index__"):
        raise TypeError(f"{name}(): argument 'dim' (position 2) must be int, not {dim.__class__.__name__}")
    if dtype is not None and element_argument(name, dtype) is not input._value.type.element:
        input = input.to(dtype)
    return operation(op, (input,), (("dim", normalize_dim(dim, rank)),))


@method("softmax")
@public("softmax")
def softmax(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """Return exp(x) over its sum along a dimension.

    Args:
        dtype: convert to it first.

    Raises:
        IndexError: the dimension is out of range.
        NotImplementedError: the dtype is not floating-point.
    """
    return _apply("softmax", SOFTMAX, input, dim, dtype)


@method("log_softmax")
@public("log_softmax")
def log_softmax(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """Return the logarithm of `softmax`, without underflow."""
    return _apply("log_softmax", LOG_SOFTMAX, input, dim, dtype)


def _logsumexp_rule(x: Any, dims: Dims, keepdim: bool) -> Value:
    value = as_floats(x.value)
    axes = axes_of(value, dims)
    wide = working(value)
    if 0 in [value.type.shape[axis] for axis in axes]:
        total = nd.log(nd.reduce_sum(nd.exp(wide), axes=axes))  # of nothing: -inf
    else:
        largest = nd.stop_gradient(nd.reduce_max(wide, axes=axes))
        largest = nd.select(nd.isinf(largest), nd.zeros_like(largest), largest)
        powers = nd.exp(nd.sub(wide, nd.spread(largest, wide, axes)))
        total = nd.add(nd.log(nd.reduce_sum(powers, axes=axes)), largest)
    return kept(convert(total, value.type.element), value, axes, keepdim)


LOGSUMEXP = EagerOp("LogsumexpBackward0", _logsumexp_rule, saves=(frozenset({0}), True))


@method("logsumexp")
@public("logsumexp")
@numpy_names
def logsumexp(input: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    """Return the logarithm of the sum of exp(x) over dimensions (an int or a tuple), without overflow.

    Raises:
        IndexError: a dimension is out of range.
    """
    if dim is None:
        raise error(TypeError, "logsumexp(): argument 'dim' (position 2) must be tuple of ints, not NoneType")
    rank = tensor_operand(input, "logsumexp")._value.type.rank
    return operation(LOGSUMEXP, (input,), over("logsumexp", dim, rank, keepdim))
