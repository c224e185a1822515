"""Normalisation: of vectors (normalize, cosine_similarity), of layers, batches and groups; distances of vectors."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradloom.autograd.elementwise import NOTHING, not_implemented, tensor_operand
from gradloom.autograd.errors import error
from gradloom.autograd.graph import EagerOp
from gradloom.autograd.linalg import EXPAND, shaped
from gradloom.autograd.modes import no_grad
from gradloom.autograd.norms import norm_of, vector_norm
from gradloom.autograd.reducing import kept, spread_number, working
from gradloom.autograd.reductions import averaged
from gradloom.autograd.tensor import FUNCTIONS, Tensor, normalize_dim, operation
from gradloom.nn.classes import ADD_NUMBER
from gradloom.nn.losses import check_shapes
from gradloom.trace.promote import convert
from gradloomc.dialects import nd
from gradloomc.ir.core import Value

Shape = tuple[int, ...]

# --- layers, batches, groups ------------------------------------------------------------------------------------------


def _standardized(x: Value, axes: Shape, eps: float) -> Value:
    """Return x less its mean over axes, divided by the root of its variance + eps."""
    distance = nd.sub(x, nd.spread(averaged(x, axes), x, axes))
    variance = averaged(nd.square(distance), axes)
    scale = nd.reciprocal(nd.sqrt(nd.add(variance, spread_number(eps, variance))))
    return nd.mul(distance, nd.spread(scale, x, axes))


def _scaled(x: Value, weight: Any, bias: Any, dims: Shape, affine: tuple[bool, bool]) -> Value:
    """Return x * weight + bias, each spread from the dimensions `dims`, where it is given."""
    if affine[0]:
        x = nd.mul(x, nd.broadcast(convert(weight.value, x.type.element), shape=x.type.shape, dims=dims))
    if affine[1]:
        x = nd.add(x, nd.broadcast(convert(bias.value, x.type.element), shape=x.type.shape, dims=dims))
    return x


def _affine(weight: Any, bias: Any) -> tuple[Any, Any, tuple[bool, bool]]:
    """Return the operands that stand for weight and bias (numbers if not given), and which are given."""
    return 1.0 if weight is None else weight, 0.0 if bias is None else bias, (weight is not None, bias is not None)


def _layer_rule(x: Any, weight: Any, bias: Any, count: int, eps: float, affine: tuple[bool, bool]) -> Value:
    value = x.value
    if value.type.element.kind != "f":
        raise not_implemented("LayerNormKernelImpl", value.type.element)
    axes = tuple(range(value.type.rank - count, value.type.rank))
    result = _standardized(working(value), axes, eps)
    return convert(_scaled(result, weight, bias, axes, affine), value.type.element)


LAYER_NORM = EagerOp("NativeLayerNormBackward0", _layer_rule, saves=(frozenset({0, 1}), False))


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Return the elements less their mean, divided by their standard deviation, over the last dimensions.

    Args:
        normalized_shape: the extents of these dimensions.
        weight, bias: of that shape: a factor and a summand of each element.
        eps: is added to the variance.

    Raises:
        RuntimeError: shapes do not fit.
    """
    if not isinstance(normalized_shape, (tuple, list)):
        kind = type(normalized_shape).__name__
        raise TypeError(f"layer_norm(): argument 'normalized_shape' (position 2) must be tuple of ints, not {kind}")
    shape = tuple(normalized_shape)
    have = tensor_operand(input, "layer_norm")._value.type.shape
    if not shape:
        raise error(
            RuntimeError,
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, but got "
            "normalized_shape = []",
        )
    for name, each in (("weight", weight), ("bias", bias)):
        if each is not None and each.shape != shape:
            raise error(
                RuntimeError,
                f"Expected {name} to be of same shape as normalized_shape, but got {name} of shape {list(each.shape)} "
                f"and normalized_shape = {list(shape)}",
            )
    if have[len(have) - len(shape) :] != shape or len(have) < len(shape):
        wanted = ", ".join(map(str, shape))
        raise error(
            RuntimeError,
            f"Given normalized_shape={list(shape)}, expected input with shape [*, {wanted}], but got input of "
            f"size{list(have)}",
        )
    factor, summand, affine = _affine(weight, bias)
    attributes = (("count", len(shape)), ("eps", float(eps)), ("affine", affine))
    return operation(LAYER_NORM, (input, factor, summand), attributes)


def _batch_rule(x: Any, weight: Any, bias: Any, mean: Any, var: Any, eps: float, affine: Any, training: bool) -> Value:
    value = x.value
    if value.type.element.kind != "f":
        raise not_implemented("batch_norm", value.type.element)
    axes = (0, *range(2, value.type.rank))
    wide = working(value)
    if training:
        result = _standardized(wide, axes, eps)
    else:
        average, variance = (convert(each.value, wide.type.element) for each in (mean, var))
        scale = nd.reciprocal(nd.sqrt(nd.add(variance, spread_number(eps, variance))))
        result = nd.mul(nd.sub(wide, nd.spread(average, wide, axes)), nd.spread(scale, wide, axes))
    return convert(_scaled(result, weight, bias, (1,), affine), value.type.element)


BATCH_NORM = EagerOp("NativeBatchNormBackward0", _batch_rule, saves=(frozenset({0, 1, 3, 4}), False), lists=(0, 1, 2))


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Return the elements (N, C, ...) less the mean of their channel, divided by its standard deviation.

    In training, the mean and the variance are those of the batch, and the running ones follow them: they move by
    `momentum` of the way, in place. Else they are the running ones.

    Raises:
        RuntimeError, ValueError: the running ones are missing, sizes do not fit, or there is one element per channel.
    """
    shape = tensor_operand(input, "batch_norm")._value.type.shape
    channels = shape[1] if len(shape) > 1 else 1
    if training and len(shape) > 1 and math.prod(shape) == channels:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {input.shape}")
    named = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    for name, each in named.items():
        if each is None and not training and name.startswith("running"):
            raise error(RuntimeError, f"{name} must be defined in evaluation mode")
        if each is not None and each.numel() != channels:
            raise error(RuntimeError, f"{name} should contain {channels} elements not {each.numel()}")
    factor, summand, affine = _affine(weight, bias)
    statistics = (0.0, 1.0) if training else (running_mean, running_var)
    attributes = (("eps", float(eps)), ("affine", affine), ("training", bool(training)))
    result = operation(BATCH_NORM, (input, factor, summand, *statistics), attributes)
    if training:
        _follow(input, running_mean, running_var, momentum)
    return result


def _follow(input: Tensor, running_mean: Tensor | None, running_var: Tensor | None, momentum: float) -> None:
    dims = (0, *range(2, input.ndim))
    with no_grad():
        if running_mean is not None:
            running_mean.lerp_(input.mean(dims), momentum)
        if running_var is not None:
            running_var.lerp_(input.var(dims), momentum)


def _group_rule(x: Any, weight: Any, bias: Any, groups: int, eps: float, affine: tuple[bool, bool]) -> Value:
    value = x.value
    if value.type.element.kind != "f":
        raise not_implemented("GroupNormKernelImpl", value.type.element)
    shape = value.type.shape
    parts = nd.reshape(working(value), shape=(shape[0], groups, math.prod(shape[1:]) // groups))
    result = nd.reshape(_standardized(parts, (2,), eps), shape=shape)
    return convert(_scaled(result, weight, bias, (1,), affine), value.type.element)


GROUP_NORM = EagerOp("NativeGroupNormBackward0", _group_rule, saves=(frozenset({0, 1}), False))


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Return the elements (N, C, ...) less their mean, divided by their standard deviation, over groups of channels.

    Raises:
        RuntimeError, ValueError: the number of channels is no multiple of the number of groups; or sizes do not fit.
    """
    shape = tensor_operand(input, "group_norm")._value.type.shape
    if len(shape) < 2:
        raise error(RuntimeError, f"Expected at least 2 dimensions for input tensor but received {len(shape)}")
    if num_groups <= 0:
        raise error(RuntimeError, f"Expected num groups to be greater than 0, got {num_groups}")
    if shape[1] % num_groups:
        raise error(
            RuntimeError,
            "Expected number of channels in input to be divisible by num_groups, but got input of shape "
            f"{list(shape)} and num_groups={num_groups}",
        )
    factor, summand, affine = _affine(weight, bias)
    attributes = (("groups", num_groups), ("eps", float(eps)), ("affine", affine))
    return operation(GROUP_NORM, (input, factor, summand), attributes)


def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """Return the elements divided by the root of their mean square over the last dimensions.

    Args:
        normalized_shape: the extents of these dimensions.
        weight: of that shape: a factor of each element.
        eps: is added to the mean square; by default the dtype's `finfo.eps`.
    """
    shape = tuple(normalized_shape)
    have = tensor_operand(input, "rms_norm")._value.type.shape
    if not shape or have[len(have) - len(shape) :] != shape:
        wanted = ", ".join(map(str, shape))
        raise error(
            RuntimeError,
            f"Given normalized_shape={list(shape)}, expected input with shape [*, {wanted}], but got input of "
            f"size{list(have)}",
        )
    if eps is None:
        eps = float(np.finfo(input.dtype.numpy).eps)
    mean = input.pow(2).mean(tuple(range(-len(shape), 0)), keepdim=True)
    result = input * operation(ADD_NUMBER, (mean, float(eps))).rsqrt()
    return result if weight is None else result * weight


# --- vectors ----------------------------------------------------------------------------------------------------------


def normalize(input: Tensor, p: float = 2.0, dim: Any = 1, eps: float = 1e-12, out: None = None) -> Tensor:
    """Return the vectors along a dimension divided by their norms of order `p`, which count as `eps` at least."""
    length = FUNCTIONS["clamp_min"](vector_norm(tensor_operand(input, "normalize"), p, dim, True), eps)
    return input / shaped(EXPAND, length, input._value.type.shape)


def _limited_rule(x: Any, eps: float) -> Value:
    """The larger of x and eps, with the derivative of x: PyTorch limits the number, and not what is differentiated."""
    value = x.value
    larger = nd.maximum(value, spread_number(eps, value))
    return nd.add(value, nd.stop_gradient(nd.sub(larger, value)))


_LIMITED = EagerOp("CloneBackward0", _limited_rule, saves=NOTHING)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Return the cosines of the angles between vectors along a dimension; lengths count as `eps` at least."""
    x, y = tensor_operand(x1, "cosine_similarity", "x1"), tensor_operand(x2, "cosine_similarity", "x2", 2)
    if x._value.type.shape != y._value.type.shape:
        check_shapes(x, y)
        shape = np.broadcast_shapes(x.shape, y.shape)
        x, y = shaped(EXPAND, x, shape), shaped(EXPAND, y, shape)
    dim = normalize_dim(dim, x._value.type.rank)
    limit = (("eps", float(eps)),)
    lengths = [operation(_LIMITED, (vector_norm(each, 2, dim, True),), limit) for each in (x, y)]
    return ((x / lengths[0]) * (y / lengths[1])).sum(dim)


def _norm_rule(x: Any, order: float, dim: int, keepdim: bool) -> Value:
    value = x.value
    return kept(norm_of(value, order, (dim,)), value, (dim,), keepdim)


_NORM = EagerOp("NormBackward1", _norm_rule, saves=(frozenset({0}), True))


def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """Return the norms of order `p` of x1 - x2 + eps over the last dimension; the others broadcast."""
    difference = tensor_operand(x1, "pairwise_distance", "x1") - tensor_operand(x2, "pairwise_distance", "x2", 2)
    moved = operation(ADD_NUMBER, (difference, float(eps)))
    rank = moved._value.type.rank
    return operation(_NORM, (moved,), (("order", float(p)), ("dim", rank - 1), ("keepdim", bool(keepdim))))
