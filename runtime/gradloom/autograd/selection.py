"""Choosing between elements, and overwriting them: where, masked_fill, heaviside, fill_, zero_, copy_."""

from typing import Any

import numpy as np

from gradloom.autograd.dtypes import dtype_of
from gradloom.autograd.elementwise import (
    NOTHING,
    as_value,
    bring_to,
    check_broadcast,
    common_element,
    fitted,
    is_number,
    number_argument,
    plain_number,
    refuse_backward,
    tensor_operand,
    type_name,
    write_into,
)
from gradloom.autograd.errors import error
from gradloom.autograd.functions import check_fits
from gradloom.autograd.graph import EagerOp
from gradloom.autograd.recording import Variable, record, wrap
from gradloom.autograd.tensor import Tensor, from_array, in_place, method, operation, public
from gradloom.trace.promote import convert, stretch
from gradloom.trace.tracer import Tracer
from gradloomc.dialects import nd
from gradloomc.ir.types import ScalarType

# --- where ------------------------------------------------------------------------------------------------------------


def _chosen(condition: Any, x: Any, y: Any, into: ScalarType | None = None) -> Tracer:
    if condition.value.type.element.kind != "b" and condition.dtype != np.uint8:
        name = dtype_of(condition.value.type.element).type_name
        raise error(
            RuntimeError,
            f"where expected condition to be a boolean tensor, but got a tensor with dtype {name}",
            "compare first: where(x > 0, x, y)",
        )
    check_broadcast((condition, x, y))
    element = common_element((x, y))
    return fitted(np.where(condition.astype(bool), bring_to(x, element), bring_to(y, element)), into)


WHERE = EagerOp("WhereBackward0", _chosen, saves=(frozenset({0}), False), lists=(1, 2))
_MISSING = object()


def _choice(x: Any) -> Any:
    if x.__class__ is Tensor or isinstance(x, Variable):
        return x
    if is_number(x):
        return plain_number(x)
    raise TypeError(
        "where() received an invalid combination of arguments: input and other should be tensors or numbers, not "
        f"{type_name(x)}"
    )


@public("where")
def where(condition: Tensor, input: Any = _MISSING, other: Any = _MISSING, *, self: Any = _MISSING) -> Any:
    """Return the elements of `input` where the condition holds, else those of `other`; tensors or numbers, broadcast.

    With the condition alone: the positions where it holds, as a tuple of int64 tensors, one for each dimension.

    Raises:
        RuntimeError: the condition is not of bools.
    """
    tensor_operand(condition, "where", "condition", 1)
    if input is _MISSING:
        input = self
    if input is _MISSING and other is _MISSING:
        return tuple([from_array(each) for each in np.nonzero(np.atleast_1d(condition._array()))])
    if input is _MISSING or other is _MISSING:
        raise TypeError("where() takes the condition alone, or the condition, input and other")
    return wrap(Tensor, record(WHERE, (condition, _choice(input), _choice(other))))


@method("where")
def _where_method(self: Tensor, condition: Tensor, other: Any) -> Tensor:
    """Return this tensor's elements where the condition holds, else those of `other`."""
    return where(condition, self, other)


# --- masks ------------------------------------------------------------------------------------------------------------


def _masked(x: Any, mask: Any, value: Any) -> Tracer:
    element = x.value.type.element
    check_broadcast((x, mask))
    return as_value(np.where(mask, bring_to(value, element), x))


_MASK = (frozenset({1}), False)
MASKED_FILL = EagerOp("MaskedFillBackward1", _masked, saves=_MASK, lists=(0, 2))
MASKED_FILL_NUMBER = EagerOp("MaskedFillBackward0", _masked, saves=_MASK, lists=(0,))


def _mask_arguments(x: Tensor, mask: Any, value: Any) -> tuple[EagerOp, tuple[Any, ...]]:
    tensor_operand(x, "masked_fill")
    tensor_operand(mask, "masked_fill", "mask", 2)
    if mask._value.type.element.kind != "b":
        name = dtype_of(mask._value.type.element).c_name
        raise error(RuntimeError, f"masked_fill_ only supports boolean masks, but got mask with dtype {name}")
    if not isinstance(value, Variable):
        return MASKED_FILL_NUMBER, (x, mask, number_argument(value, "masked_fill", "value"))
    if value._value.type.rank:
        raise error(
            RuntimeError,
            "masked_fill_ only supports a 0-dimensional value tensor, but got tensor with "
            f"{value._value.type.rank} dimension(s).",
            "gradloom.where(mask, value, x) takes values of any shape",
        )
    return MASKED_FILL, (x, mask, value)


@method("masked_fill")
@public("masked_fill")
def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """Return the elements with those where the mask holds replaced by a number, or a tensor without dimensions."""
    op, operands = _mask_arguments(input, mask, value)
    return operation(op, operands)


@method("masked_fill_")
def masked_fill_(self: Tensor, mask: Tensor, value: Any) -> Tensor:
    """Apply `masked_fill` in place."""
    op, operands = _mask_arguments(self, mask, value)
    return in_place(self, op, operands)


def _step(x: Any, values: Any) -> Any:
    if x.value.type.element is not values.value.type.element:
        raise error(RuntimeError, "heaviside is not yet implemented for tensors with different dtypes.")
    check_broadcast((x, values))
    zero = x.dtype.type(0)
    return np.where(x == zero, values, (x > zero).astype(x.dtype))


HEAVISIDE = EagerOp("NotImplemented", _step, saves=NOTHING)


@method("heaviside")
@public("heaviside")
def heaviside(input: Tensor, values: Tensor) -> Tensor:
    """Return 0 below zero, 1 above, `values` at zero. PyTorch has no derivative of it: a backward through it raises."""
    operands = (tensor_operand(input, "heaviside"), tensor_operand(values, "heaviside", "values", 2))
    return refuse_backward(operation(HEAVISIDE, operands), "heaviside", operands)


@method("heaviside_")
def heaviside_(self: Tensor, values: Tensor) -> Tensor:
    """Apply `heaviside` in place."""
    operands = (self, tensor_operand(values, "heaviside_", "values", 1))
    return refuse_backward(write_into(self, HEAVISIDE, operands), "heaviside", operands)


# --- overwriting ------------------------------------------------------------------------------------------------------


def _filled(x: Any, value: Any) -> Tracer:
    element = x.value.type.element
    return Tracer(stretch(bring_to(value, element).value, x.shape))


def _copied(x: Any, source: Any) -> Tracer:
    check_broadcast((x, source))
    shape = np.broadcast_shapes(x.shape, source.shape)
    return Tracer(stretch(convert(source.value, x.value.type.element), shape))


FILL = EagerOp("FillBackward3", _filled, saves=NOTHING)
FILL_NUMBER = EagerOp("FillBackward2", _filled, saves=NOTHING, lists=(0,))
ZERO = EagerOp("ZeroBackward0", lambda x: nd.zeros_like(x.value), saves=NOTHING, fill=0.0)
COPY = EagerOp("CopyBackwards", _copied, saves=NOTHING)


@method("fill_")
def fill_(self: Tensor, value: Any) -> Tensor:
    """Set all elements to a number, or to the one of a tensor without dimensions."""
    if not isinstance(value, Variable):
        value = number_argument(value, "fill_", "value")
        if self._value.type.element.kind != "f" and value == value:
            check_fits(int(value), self._value.type.element)
        return in_place(self, FILL_NUMBER, (self, value))
    if value._value.type.rank:
        raise error(
            RuntimeError,
            f"fill_ only supports 0-dimension value tensor but got tensor with {value._value.type.rank} dimensions.",
            "x.copy_(values) takes values of any shape",
        )
    return in_place(self, FILL, (self, value))


@public("fill")
def fill(input: Tensor, value: Any) -> Tensor:
    """Return a tensor like `input` with all elements set to a number, or to the one of a tensor without dimensions."""
    op = FILL if isinstance(value, Variable) else FILL_NUMBER
    return operation(op, (tensor_operand(input, "fill"), value))


@method("zero_")
def zero_(self: Tensor) -> Tensor:
    """Set all elements to 0."""
    return in_place(self, ZERO, (self,))


@method("copy_")
def copy_(self: Tensor, src: Any, non_blocking: bool = False) -> Tensor:
    """Set the elements to those of another tensor, broadcast and converted; gradients flow on to it."""
    if is_number(src):
        return in_place(self, FILL_NUMBER, (self, plain_number(src)))
    return in_place(self, COPY, (self, tensor_operand(src, "copy_", "other", 1)))
