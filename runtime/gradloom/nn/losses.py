"""Losses: of distances (mse, l1, smooth l1, huber) and of probabilities (binary cross entropy, kl).

What PyTorch computes in one operation is one here; the rest is made of the operations that PyTorch makes it of. Losses
of classes are in classes.py.
"""

import warnings
from typing import Any

import numpy as np

from gradloom.autograd.elementwise import bring_to, check_broadcast, common_element, not_implemented, tensor_operand
from gradloom.autograd.errors import error
from gradloom.autograd.graph import Attributes, EagerOp
from gradloom.autograd.linalg import EXPAND, shaped
from gradloom.autograd.reducing import spread_number, working
from gradloom.autograd.tensor import FUNCTIONS, Tensor, operation
from gradloom.trace.promote import convert, stretch
from gradloomc.dialects import nd
from gradloomc.ir.core import Value

# --- reductions -------------------------------------------------------------------------------------------------------


def chosen_reduction(reduction: Any, size_average: Any = None, reduce: Any = None) -> str:
    """Return the reduction that the arguments name, the old ones `size_average` and `reduce` as well.

    Raises:
        ValueError: there is none of that name.
    """
    if size_average is not None or reduce is not None:
        found = "none" if reduce is False else "sum" if size_average is False else "mean"
        warnings.warn(
            f"size_average and reduce args will be deprecated, please use reduction='{found}' instead.", stacklevel=3
        )
        return found
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return reduction


def reduced(loss: Value, reduction: str) -> Value:
    """Return the elements of a loss, their sum or their mean."""
    if reduction == "none":
        return loss
    total = nd.reduce_sum(working(loss), axes=tuple(range(loss.type.rank)))
    if reduction == "mean":
        total = nd.div(total, spread_number(loss.type.size, total))
    return convert(total, loss.type.element)


def reduce_tensor(loss: Tensor, reduction: str) -> Tensor:
    """Return a loss, its sum or its mean, as an operation of its own."""
    return loss if reduction == "none" else loss.sum() if reduction == "sum" else loss.mean()


REDUCTIONS: dict[str, Attributes] = {name: (("reduction", name),) for name in ("none", "mean", "sum")}


def _pair(name: str, input: Any, target: Any) -> tuple[Tensor, Tensor]:
    """Return input and target, broadcast; warn if that changes something.

    Raises:
        RuntimeError: they do not broadcast.
    """
    x, y = tensor_operand(input, name), tensor_operand(target, name, "target", 2)
    a, b = x._value.type.shape, y._value.type.shape
    if a == b:
        return x, y
    warnings.warn(
        f"Using a target size ({y.shape}) that is different to the input size ({x.shape}). This will likely lead to "
        "incorrect results due to broadcasting. Please ensure they have the same size.",
        stacklevel=3,
    )
    return common_shape(x, y)


def common_shape(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return two tensors broadcast to one shape, by operations of their own.

    Raises:
        RuntimeError: they do not broadcast, in PyTorch's words.
    """
    check_shapes(x, y)
    shape = np.broadcast_shapes(x._value.type.shape, y._value.type.shape)
    return tuple([each if each._value.type.shape == shape else shaped(EXPAND, each, shape) for each in (x, y)])  # type: ignore[return-value]


def check_shapes(x: Tensor, y: Tensor) -> None:
    """Raise PyTorch's error if two tensors do not broadcast."""
    a, b = x._value.type.shape, y._value.type.shape
    for back in range(1, min(len(a), len(b)) + 1):
        if a[-back] != b[-back] and 1 not in (a[-back], b[-back]):
            raise error(
                RuntimeError,
                f"The size of tensor a ({a[-back]}) must match the size of tensor b ({b[-back]}) at non-singleton "
                f"dimension {max(len(a), len(b)) - back}",
            )


# --- distances --------------------------------------------------------------------------------------------------------


def _distance_rule(function: Any, kernel: str) -> Any:
    def rule(x: Any, y: Any, reduction: str, bend: float = 1.0) -> Value:
        check_broadcast((x, y))
        element = common_element((x, y))
        if element.kind != "f":
            raise not_implemented(kernel, element)
        distance = (bring_to(x, element) - bring_to(y, element)).value
        return reduced(function(distance, bend), reduction)

    return rule


def _smooth(d: Value, beta: float) -> Value:
    size, bend = nd.abs_(d), spread_number(beta, d)
    half = spread_number(0.5, d)
    near = nd.div(nd.mul(nd.mul(half, size), size), bend)
    return nd.select(nd.lt(size, bend), near, nd.sub(size, nd.mul(half, bend)))


def _huber(d: Value, delta: float) -> Value:
    size, bend = nd.abs_(d), spread_number(delta, d)
    half = spread_number(0.5, d)
    far = nd.mul(bend, nd.sub(size, nd.mul(half, bend)))
    return nd.select(nd.le(size, bend), nd.mul(nd.mul(half, size), size), far)


MSE = EagerOp("MseLossBackward0", _distance_rule(lambda d, _: nd.square(d), "mse_cpu"))
SMOOTH_L1 = EagerOp("SmoothL1LossBackward0", _distance_rule(_smooth, "smooth_l1_cpu"))
HUBER = EagerOp("HuberLossBackward0", _distance_rule(_huber, "huber_cpu"))


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Return the squared differences, their mean or their sum; with weights, weighted.

    Args:
        reduction: "mean", "sum" or "none".

    Raises:
        ValueError: there is no such reduction.
        RuntimeError: the shapes do not broadcast.
    """
    x, y = _pair("mse_loss", input, target)
    reduction = chosen_reduction(reduction, size_average, reduce)
    if weight is None:
        return operation(MSE, (x, y), REDUCTIONS[reduction])
    return _weighted((x - y).pow(2), weight, reduction)


def _weighted(loss: Tensor, weight: Tensor, reduction: str) -> Tensor:
    if weight.shape != loss.shape:
        raise ValueError("Inputs and weights must have the same size.")
    loss = loss * weight
    if reduction == "mean":
        return loss.sum() / weight.sum()
    return reduce_tensor(loss, reduction)


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Return the absolute differences, their mean or their sum; see `mse_loss`."""
    x, y = _pair("l1_loss", input, target)
    reduction = chosen_reduction(reduction, size_average, reduce)
    loss = (x - y).abs()
    return reduce_tensor(loss, reduction) if weight is None else _weighted(loss, weight, reduction)


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """Return the absolute differences d, those below `beta` replaced by d * d / (2 beta) + beta / 2, less beta / 2.

    Raises:
        RuntimeError: `beta` is negative.
    """
    x, y = _pair("smooth_l1_loss", input, target)
    reduction = chosen_reduction(reduction, size_average, reduce)
    if beta < 0:
        raise error(RuntimeError, "smooth_l1_loss does not support negative values for beta.")
    if beta == 0:
        return l1_loss(x, y, reduction=reduction)
    return operation(SMOOTH_L1, (x, y), (*REDUCTIONS[reduction], ("bend", float(beta))))


def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """Return half the squared differences, beyond `delta` continued by straight lines.

    Raises:
        RuntimeError: `delta` is not positive.
    """
    x, y = _pair("huber_loss", input, target)
    reduction = chosen_reduction(reduction)
    if delta <= 0:
        raise error(RuntimeError, "huber_loss does not support non-positive values for delta.")
    bend = ("bend", float(delta))
    if weight is None:
        return operation(HUBER, (x, y), (*REDUCTIONS[reduction], bend))
    return _weighted(operation(HUBER, (x, y), (*REDUCTIONS["none"], bend)), weight, reduction)


# --- probabilities ----------------------------------------------------------------------------------------------------

_LEAST_VARIANCE = float(np.float32(1e-12))  # below this p * (1 - p), PyTorch divides by it instead
_LEAST_LOGARITHM = -100.0


def _binary_rule(p: Any, target: Any, weight: Any, reduction: str, weighted: bool) -> Value:
    """At the edges 0 and 1 the value is that of logarithms limited to -100, the derivative (p - t) / 1e-12."""
    x, t = p.value, target.value
    one = spread_number(1, x)
    at_edge = nd.lt(nd.mul(x, nd.sub(one, x)), spread_number(_LEAST_VARIANCE, x))
    inside = nd.select(at_edge, spread_number(0.5, x), x)
    regular = _entropy(nd.log(inside), nd.log1p(nd.neg(inside)), t)
    least = spread_number(_LEAST_LOGARITHM, x)
    logs = [nd.maximum(nd.stop_gradient(each), least) for each in (nd.log(x), nd.log1p(nd.neg(x)))]
    slope = nd.stop_gradient(nd.div(nd.sub(x, t), spread_number(_LEAST_VARIANCE, x)))
    # The target's derivative takes the logarithms as they are, infinite ones as well.
    rise = nd.stop_gradient(nd.sub(nd.log1p(nd.neg(x)), nd.log(x)))
    edge = nd.add(_entropy(logs[0], logs[1], nd.stop_gradient(t)), nd.mul(_moved(x), slope))
    edge = nd.add(edge, nd.mul_no_nan(rise, _moved(t)))
    loss = nd.select(at_edge, edge, regular)
    if weighted:
        loss = nd.mul(loss, stretch(weight.value, loss.type.shape))
    return reduced(loss, reduction)


def _moved(x: Value) -> Value:
    """Return 0 with the derivative of x."""
    return nd.sub(x, nd.stop_gradient(x))


def _entropy(log_p: Value, log_q: Value, t: Value) -> Value:
    return nd.neg(nd.add(nd.mul(t, log_p), nd.mul(nd.sub(spread_number(1, t), t), log_q)))


BINARY = EagerOp("BinaryCrossEntropyBackward0", _binary_rule, lists=(0, 1), saves=(frozenset({0, 1, 2}), False))


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """Return -(t log p + (1 - t) log(1 - p)) of probabilities p and targets t of one shape: the mean, the sum, or all.

    Raises:
        ValueError: the shapes differ.
        RuntimeError: the dtypes differ, or a probability is not between 0 and 1.
    """
    reduction = chosen_reduction(reduction, size_average, reduce)
    x, y = tensor_operand(input, "binary_cross_entropy"), tensor_operand(target, "binary_cross_entropy", "target", 2)
    if x._value.type.shape != y._value.type.shape:
        raise ValueError(
            f"Using a target size ({y.shape}) that is different to the input size ({x.shape}) is deprecated. Please "
            "ensure they have the same size."
        )
    for each in (y, weight):
        if each is not None and each.dtype is not x.dtype:
            raise error(RuntimeError, f"Found dtype {each.dtype.type_name} but expected {x.dtype.type_name}")
    if x._value.type.element.kind != "f":
        raise not_implemented("binary_cross_entropy", x._value.type.element)
    array = x._array()
    if not ((array >= 0) & (array <= 1)).all():
        raise error(
            RuntimeError,
            "all elements of input should be between 0 and 1",
            "of any numbers, take the sigmoid: binary_cross_entropy_with_logits does both",
        )
    attributes = (*REDUCTIONS[reduction], ("weighted", weight is not None))
    return operation(BINARY, (x, y, 1.0 if weight is None else weight), attributes)


def _logits_rule(
    logits: Any, target: Any, weight: Any, pos_weight: Any, reduction: str, weighted: bool, positive: bool
) -> Value:
    """(1 - t) x + (1 + (w - 1) t) log(1 + exp(-x)), the logarithm without overflow."""
    x, t = logits.value, convert(target.value, logits.value.type.element)
    if x.type.element.kind != "f":
        raise not_implemented("binary_cross_entropy_with_logits", x.type.element)
    zero, one = nd.zeros_like(x), spread_number(1, x)
    softplus = nd.logaddexp(nd.neg(x), zero)
    if positive:
        check_broadcast((pos_weight, logits))
        excess = nd.sub(stretch(pos_weight.value, x.type.shape), one)
        softplus = nd.mul(nd.add(one, nd.mul(excess, t)), softplus)
    loss = nd.add(nd.mul(nd.sub(one, t), x), softplus)
    if weighted:
        check_broadcast((weight, logits))
        loss = nd.mul(loss, stretch(weight.value, loss.type.shape))
    return reduced(loss, reduction)


WITH_LOGITS = EagerOp("BinaryCrossEntropyWithLogitsBackward0", _logits_rule, lists=(0, 1))


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Return `binary_cross_entropy(sigmoid(input), target)`, without overflow.

    Args:
        weight: a factor for each element; broadcast.
        pos_weight: a factor for the part of the targets that is 1; broadcast.

    Raises:
        ValueError: the shapes of input and target differ.
        RuntimeError: weights do not broadcast, or the target is not of floats.
    """
    reduction = chosen_reduction(reduction, size_average, reduce)
    name = "binary_cross_entropy_with_logits"
    x, y = tensor_operand(input, name), tensor_operand(target, name, "target", 2)
    if x._value.type.shape != y._value.type.shape:
        raise ValueError(f"Target size ({y.shape}) must be the same as input size ({x.shape})")
    if y._value.type.element.kind != "f":
        names = x.dtype.type_name, y.dtype.type_name
        raise error(RuntimeError, f"result type {names[0]} can't be cast to the desired output type {names[1]}")
    operands = (x, y, 1.0 if weight is None else weight, 1.0 if pos_weight is None else pos_weight)
    attributes = (("weighted", weight is not None), ("positive", pos_weight is not None))
    return operation(WITH_LOGITS, operands, (*REDUCTIONS[reduction], *attributes))


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: Any = None,
    reduce: Any = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """Return target * (log(target) - input): the mean, the sum, all, or with "batchmean" the sum over the batch's size.

    Args:
        input: log-probabilities.
        target: probabilities, or with `log_target` their logarithms.
    """
    batch = reduction == "batchmean"
    if not batch:
        if reduction == "mean" and size_average is None and reduce is None:
            warnings.warn(
                "reduction: 'mean' divides the total loss by both the batch size and the support size.'batchmean' "
                "divides only by the batch size, and aligns with the KL div math definition.'mean' will be changed to "
                "behave the same as 'batchmean' in the next major release.",
                stacklevel=2,
            )
        reduction = chosen_reduction(reduction, size_average, reduce)
    x, y = tensor_operand(input, "kl_div"), tensor_operand(target, "kl_div", "target", 2)
    loss = y.exp() * (y - x) if log_target else FUNCTIONS["xlogy"](y, y) - y * x
    if batch:
        return loss.sum() / x.shape[0] if x.ndim else loss.sum()
    return reduce_tensor(loss, reduction)
