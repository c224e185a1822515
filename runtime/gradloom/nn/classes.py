"""Losses of classes: the negative log-likelihood and the cross entropy.

What PyTorch computes in one operation is one here; the rest is made of the operations that PyTorch makes it of. A
target is looked at when the loss is called, so that a class that is out of bounds is reported there.
"""

from typing import Any

from gradloom.autograd.arithmetic import ADD, DIV, MUL
from gradloom.autograd.dtypes import dtype_of
from gradloom.autograd.elementwise import not_implemented, tensor_operand
from gradloom.autograd.errors import error
from gradloom.autograd.extrema import picked
from gradloom.autograd.graph import EagerOp
from gradloom.autograd.linalg import VIEW, shaped
from gradloom.autograd.reducing import spread_number
from gradloom.autograd.softmax import LOG_SOFTMAX
from gradloom.autograd.tensor import Tensor, operation
from gradloom.nn.losses import REDUCTIONS, chosen_reduction, reduce_tensor
from gradloom.trace.promote import convert
from gradloomc.dialects import nd
from gradloomc.ir import types as ir_types
from gradloomc.ir.core import Value


def _nll_rule(x: Any, target: Any, weight: Any, reduction: str, ignore_index: int, weighted: bool) -> Value:
    value, classes = x.value, convert(target.value, ir_types.i64)
    element = value.type.element
    if element.kind != "f":
        raise not_implemented("nll_loss_out_frame", element)
    axis = 0 if value.type.rank == 1 else 1
    if value.type.rank == 1:
        classes = nd.reshape(classes, shape=())
    ignored = nd.eq(classes, spread_number(ignore_index, classes))
    classes = nd.select(ignored, nd.zeros_like(classes), classes)
    if weighted:
        factors = nd.gather(weight.value, classes, axes=(0,))
    else:
        factors = nd.splat(element.dtype.type(1), nd.zeros_like(picked(value, classes, axis)).type)
    factors = nd.select(ignored, nd.zeros_like(factors), factors)
    # What is ignored is left out, not multiplied by 0: it may be infinite.
    chosen = nd.select(ignored, nd.zeros_like(factors), picked(value, classes, axis))
    loss = nd.neg(nd.mul(factors, chosen))
    if reduction == "none":
        return loss
    axes = tuple(range(loss.type.rank))
    total = nd.reduce_sum(loss, axes=axes)
    return nd.div(total, nd.reduce_sum(factors, axes=axes)) if reduction == "mean" else total


_NLL_SAVES = (frozenset({1, 2}), False)
NLL = EagerOp("NllLossBackward0", _nll_rule, saves=_NLL_SAVES, lists=(0,))
NLL_2D = EagerOp("NllLoss2DBackward0", _nll_rule, saves=_NLL_SAVES, lists=(0,))


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
) -> Tensor:
    """Return minus the elements of `input` that the classes in `target` name: their (weighted) mean, their sum, or all.

    Args:
        input: log-probabilities (C), (N, C) or (N, C, d1, ...).
        target: classes, int64 or uint8: (), (N) or (N, d1, ...).
        weight: a factor for each class; a mean is divided by the sum of the factors.
        ignore_index: the class of targets that do not count.

    Raises:
        IndexError: a class is out of bounds.
        ValueError, RuntimeError: shapes or dtypes do not fit.
    """
    reduction = chosen_reduction(reduction, size_average, reduce)
    x, y = tensor_operand(input, "nll_loss"), tensor_operand(target, "nll_loss", "target", 2)
    a, b = x._value.type.shape, y._value.type.shape
    if not a:
        raise ValueError(f"Expected 1 or more dimensions (got {len(a)})")
    if len(a) != 1 and len(b) and a[0] != b[0]:
        raise ValueError(f"Expected input batch_size ({a[0]}) to match target batch_size ({b[0]}).")
    return _nll(x, y, weight, reduction, ignore_index)


def _nll(x: Tensor, y: Tensor, weight: Tensor | None, reduction: str, ignore_index: int) -> Tensor:
    a = x._value.type.shape
    classes = a[0] if len(a) == 1 else a[1]
    _check_classes(x, y, weight, classes, ignore_index)
    attributes = (*REDUCTIONS[reduction], ("ignore_index", ignore_index), ("weighted", weight is not None))
    factors = 1.0 if weight is None else weight
    if len(a) < 3:
        return operation(NLL, (x, y, factors), attributes)
    # PyTorch brings all but pictures to their shape.
    x = x if len(a) == 4 else shaped(VIEW, x, a)
    loss = operation(NLL_2D, (x, y, factors), attributes)
    return loss if len(a) == 4 or reduction != "none" else shaped(VIEW, loss, loss._value.type.shape)


def _check_classes(x: Tensor, y: Tensor, weight: Tensor | None, classes: int, ignore_index: int) -> None:
    a, b = x._value.type.shape, y._value.type.shape
    if len(a) <= 2 and len(b) > 1:
        raise error(RuntimeError, "0D or 1D target tensor expected, multi-target not supported")
    name = dtype_of(y._value.type.element)
    if name.name not in ("int64", "uint8"):
        raise error(
            RuntimeError,
            f"expected target dtype to be Long or Byte, but got {name.type_name}",
            "classes are whole numbers: target.long()",
        )
    if len(a) == 2 and len(b) == 1 and a[0] != b[0]:
        raise error(RuntimeError, f"size mismatch (got input: {list(a)}, target: {list(b)})")
    if len(a) > 2 and b != (a[0], *a[2:]):
        raise error(RuntimeError, f"Expected target size {[a[0], *a[2:]]}, got {list(b)}")
    if weight is not None:
        _check_weight(x, weight, classes)
    array = y._array()
    if array.size and not (0 <= int(array.min()) and int(array.max()) < classes):
        wrong = array[((array < 0) | (array >= classes)) & (array != ignore_index)]
        if wrong.size:
            raise error(IndexError, f"Target {int(wrong.ravel()[0])} is out of bounds.", f"there are {classes} classes")


def _check_weight(x: Tensor, weight: Tensor, classes: int, function: str = "") -> None:
    if weight.requires_grad and not function:
        raise error(
            RuntimeError,
            "The function 'nll_loss_forward' is not differentiable with respect to argument 'weight'. This input "
            "cannot have requires_grad True.",
        )
    if weight.shape != (classes,):
        raise error(
            RuntimeError,
            f"{function}weight tensor should be defined either for all {classes} classes or no classes but got weight "
            f"tensor of shape: {list(weight.shape)}",
        )
    if weight.dtype is not x.dtype:
        names = x.dtype.type_name, weight.dtype.type_name
        raise error(RuntimeError, f"expected scalar type {names[0]} but found {names[1]}")


DIV_BY_NUMBER = EagerOp("DivBackward1", DIV.rule, lists=(0,))
ADD_NUMBER = EagerOp("AddBackward1", ADD.rule, lists=(0,))
MUL_BY_NUMBER = EagerOp("MulBackward1", MUL.rule, lists=(0,))


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return the cross entropy between the softmax of `input` and the target.

    Args:
        input: logits (C), (N, C) or (N, C, d1, ...).
        target: classes, as of `nll_loss`; or probabilities, of the shape of the input.
        weight: a factor for each class.
        ignore_index: the class of targets that do not count.
        label_smoothing: the part of the target's weight that is spread over all classes.

    Raises:
        IndexError: a class is out of bounds.
        ValueError, RuntimeError: shapes or dtypes do not fit.
    """
    reduction = chosen_reduction(reduction, size_average, reduce)
    x, y = tensor_operand(input, "cross_entropy_loss"), tensor_operand(target, "cross_entropy_loss", "target", 2)
    a, b = x._value.type.shape, y._value.type.shape
    if not 0 <= label_smoothing <= 1:
        raise error(RuntimeError, f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing:g}")
    if not a:
        raise ValueError(f"Expected 1 or more dimensions (got {len(a)})")
    axis = 0 if len(a) == 1 else 1
    if a == b:
        return _entropy_of_probabilities(x, y, weight, reduction, ignore_index, label_smoothing, axis)
    logs = operation(LOG_SOFTMAX, (x,), (("dim", axis),))
    if len(a) != 1 and len(b) and a[0] != b[0]:
        raise ValueError(f"Expected input batch_size ({a[0]}) to match target batch_size ({b[0]}).")
    loss = _nll(logs, y, weight, reduction, ignore_index)
    if not label_smoothing:
        return loss
    smooth = _smooth_part(logs, y, weight, reduction, ignore_index, axis)
    first = operation(MUL_BY_NUMBER, (loss, 1 - label_smoothing))
    return first + operation(MUL_BY_NUMBER, (smooth, label_smoothing / a[axis]))


def _weights_along(weight: Tensor, shape: tuple[int, ...], axis: int) -> Tensor:
    """Return the weights of the classes in a shape that broadcasts along the dimension of the classes."""
    return shaped(VIEW, weight, tuple([shape[axis] if k == axis else 1 for k in range(len(shape))]))


def _smooth_part(
    logs: Tensor, y: Tensor, weight: Tensor | None, reduction: str, ignore_index: int, axis: int
) -> Tensor:
    """Return the cross entropy for a target that is the same for all classes, times the number of classes."""
    weighted = logs if weight is None else logs * _weights_along(weight, logs._value.type.shape, axis)
    ignored = y.eq(ignore_index)
    smooth = (-weighted.sum(axis)).masked_fill(ignored, 0)
    if reduction != "mean":
        return reduce_tensor(smooth, reduction)
    if weight is None:
        return smooth.sum() / (~ignored).sum()
    return smooth.sum() / operation(WEIGHT_OF_CLASSES, (weight, y), (("ignore_index", ignore_index),))


def _class_weights_rule(weight: Any, target: Any, ignore_index: int) -> Value:
    """The sum of the weights of the targets that count."""
    classes = convert(target.value, ir_types.i64)
    ignored = nd.eq(classes, spread_number(ignore_index, classes))
    factors = nd.gather(weight.value, nd.select(ignored, nd.zeros_like(classes), classes), axes=(0,))
    factors = nd.select(ignored, nd.zeros_like(factors), factors)
    return nd.reduce_sum(factors, axes=tuple(range(factors.type.rank)))


WEIGHT_OF_CLASSES = EagerOp("SumBackward0", _class_weights_rule)


def _entropy_of_probabilities(
    x: Tensor, y: Tensor, weight: Tensor | None, reduction: str, ignore_index: int, smoothing: float, axis: int
) -> Tensor:
    name = dtype_of(y._value.type.element)
    if not name.is_floating_point:
        raise error(
            RuntimeError,
            f"Expected floating point type for target with class probabilities, got {name.type_name}",
            "a target of the shape of the input holds probabilities; classes have one dimension less",
        )
    if ignore_index >= 0:
        raise error(RuntimeError, "ignore_index is not supported for floating point target")
    shape = x._value.type.shape
    if weight is not None:
        _check_weight(x, weight, shape[axis], "cross_entropy: ")
    logs = operation(LOG_SOFTMAX, (x,), (("dim", axis),))
    if smoothing:
        y = operation(ADD_NUMBER, (operation(MUL_BY_NUMBER, (y, 1 - smoothing)), smoothing / shape[axis]))
    products = logs * y
    if weight is not None:
        products = products * _weights_along(weight, shape, axis)
    if reduction == "none":
        return -products.sum(axis)
    total = -products.sum()
    if reduction == "sum":
        return total
    return operation(DIV_BY_NUMBER, (total, x.numel() / shape[axis] if shape[axis] else 0.0))
