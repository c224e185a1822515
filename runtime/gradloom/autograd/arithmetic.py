"""Arithmetic of tensors: sums, products, quotients and powers, their operators, functions and in-place methods.

Owns the operations from AddBackward0 to RemainderBackward1 and what PyTorch builds of them (addcmul, lerp, ...). Powers
are in powers.py, functions of one tensor in functions.py; how operands are promoted stands in elementwise.py.
"""

from typing import Any

import numpy as np

from gradloom.autograd.dtypes import dtype_of
from gradloom.autograd.elementwise import (
    NOTHING,
    RESULT,
    as_value,
    bring_to,
    check_broadcast,
    common_element,
    documented,
    fitted,
    not_implemented,
    number_argument,
    on_value,
    operand,
    operand_key,
    operators,
    operators_by,
    promoting,
    reflected,
    refuse_backward,
    tensor_operand,
    unary,
    write_into,
)
from gradloom.autograd.errors import error
from gradloom.autograd.graph import EagerOp
from gradloom.autograd.recording import Variable, record, wrap
from gradloom.autograd.tensor import Tensor, method, operation, public
from gradloom.trace.tracer import Tracer
from gradloomc.dialects import nd
from gradloomc.ir.types import ScalarType

# --- sums and differences ---------------------------------------------------------------------------------------------

_TWO_BOOLS = (
    "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or `logical_xor()` operator "
    "instead."
)
_A_BOOL = (
    "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to invert a mask, use the "
    "`~` or `logical_not()` operator instead."
)
_NEGATED_BOOL = (
    "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a mask, use the `~` or "
    "`logical_not()` operator instead."
)


def _is_bool(x: Any) -> bool:
    key = operand_key(x)
    return key is bool or (key.__class__ is tuple and key[0].kind == "b")


def _refuse_bools(x: Any, y: Any) -> None:
    bools = (_is_bool(x), _is_bool(y))
    if any(bools):
        raise error(RuntimeError, _TWO_BOOLS if all(bools) else _A_BOOL)


def _combining(combine: Any, subtracts: bool, scaled: int = 1) -> Any:
    """Return the rule of `x + alpha * y` or `x - alpha * y`; without alpha the factor is 1.

    Args:
        scaled: which of both is multiplied by alpha.
    """

    def rule(x: Any, y: Any, alpha: Any = None, into: ScalarType | None = None) -> Tracer:
        if subtracts:
            _refuse_bools(x, y)
        check_broadcast((x, y))
        element = common_element((x, y))
        pair = [bring_to(x, element), bring_to(y, element)]
        if alpha is not None:
            _check_alpha(alpha, element)
            pair[scaled] = pair[scaled] * bring_to(alpha, element)
        return fitted(combine(*pair), into)

    return rule


def _check_alpha(alpha: Any, element: ScalarType) -> None:
    kind = operand_key(alpha)
    if kind is bool and element.kind != "b":
        raise error(RuntimeError, "Boolean alpha only supported for Boolean results.")
    if kind is float and element.kind != "f":
        raise error(RuntimeError, "For integral input tensors, argument alpha must not be a floating point number.")


def _negated(x: Any) -> Tracer:
    if x.dtype.kind == "b":
        raise error(RuntimeError, _NEGATED_BOOL)
    return np.negative(x)


ADD = EagerOp("AddBackward0", _combining(np.add, False), lists=(0, 1))
SUB = EagerOp("SubBackward0", _combining(np.subtract, True), lists=(0, 1))
RSUB = EagerOp("RsubBackward0", _combining(lambda x, y: np.subtract(y, x), True, scaled=0), lists=(0, 1))
RSUB_NUMBER = EagerOp("RsubBackward1", _combining(lambda x, y: np.subtract(y, x), True, scaled=0), lists=(0,))
NEG = EagerOp("NegBackward0", promoting(_negated))


def _scaled_pair(op: EagerOp, name: str, input: Any, other: Any, alpha: Any) -> Tensor:
    x, y = operand(input, name, "input", 1), operand(other, name)
    if alpha.__class__ is int and alpha == 1:
        return wrap(Tensor, record(op, (x, y)))
    return operation(op, (x, y, number_argument(alpha, name, "alpha")))


@method("add")
@public("add")
def add(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """Return `input + alpha * other`."""
    return _scaled_pair(ADD, "add", input, other, alpha)


@method("sub", "subtract")
@public("sub", "subtract")
def sub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """Return `input - alpha * other`."""
    return _scaled_pair(SUB, "sub", input, other, alpha)


@public("rsub")
def rsub(input: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
    """Return `other - alpha * input`."""
    x, y = tensor_operand(input, "rsub"), operand(other, "rsub")
    return _scaled_pair(RSUB if isinstance(y, Variable) else RSUB_NUMBER, "rsub", x, y, alpha)


def _write_scaled(op: EagerOp, name: str) -> Any:
    def write(self: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
        y = operand(other, name, "other", 1)
        if alpha.__class__ is int and alpha == 1:
            return write_into(self, op, (self, y))
        return write_into(self, op, (self, y, number_argument(alpha, name, "alpha")))

    return documented(write, name, f"Apply `{name[:-1]}` in place, with alpha.")


method("add_")(_write_scaled(ADD, "add_"))
method("sub_", "subtract_")(_write_scaled(SUB, "sub_"))
neg = unary("neg", NEG, "negative", doc="Return the negative of each element.")
operators("add", ADD)
operators("sub", SUB)
method("__radd__")(Tensor.__add__)
method("__neg__")(neg)
operators("sub", SUB)
reflected("sub", lambda x, y: wrap(Tensor, record(RSUB if isinstance(y, Variable) else RSUB_NUMBER, (x, y))))


@method("positive", "__pos__")
@public("positive")
def positive(input: Tensor) -> Tensor:
    """Return the tensor itself."""
    if tensor_operand(input, "positive")._value.type.element.kind == "b":
        raise error(RuntimeError, "The `+` operator, on a bool tensor is not supported.")
    return input


# --- products and quotients -------------------------------------------------------------------------------------------


def _mul_saves(active: tuple[bool, ...]) -> tuple[frozenset[int], bool]:
    """Each factor is kept where the other has a gradient, a number as well."""
    return frozenset(({1} if active[0] else set()) | ({0} if active[1] else set())), False


def _div_saves(active: tuple[bool, ...]) -> tuple[frozenset[int], bool]:
    """The divisor is kept, and the dividend where the divisor has a gradient."""
    return (frozenset({0, 1}) if active[1] else frozenset({1})), False


def _floor(x: Any, y: Any) -> Any:
    return np.floor_divide(x, y)


def _truncated(x: Any, y: Any) -> Any:
    if x.dtype.kind == "f":
        return np.trunc(x / y)
    return np.floor_divide(x - np.fmod(x, y), y)


MUL = EagerOp("MulBackward0", promoting(np.multiply), saves=_mul_saves)
DIV = EagerOp("DivBackward0", promoting(np.divide, floats=True), saves=_div_saves)
DIV_FLOOR = EagerOp("DivBackward2", promoting(_floor, refused="b", kernel="div_floor_cpu"), saves=NOTHING)
DIV_TRUNC = EagerOp("DivBackward2", promoting(_truncated, refused="b", kernel="div_trunc_cpu"), saves=NOTHING)
FLOOR_DIVIDE = EagerOp("NotImplemented", promoting(_floor, refused="b", kernel="div_floor_cpu"), saves=NOTHING)
_REMAINDER = promoting(np.remainder, refused="b", kernel="remainder_cpu")
REMAINDER = EagerOp("RemainderBackward1", _REMAINDER)
REMAINDER_NUMBER = EagerOp("RemainderBackward0", _REMAINDER, lists=(0,))
REMAINDER_OF_NUMBER = EagerOp("NotImplemented", _REMAINDER, saves=NOTHING)
_FMOD = promoting(np.fmod, refused="b", kernel="fmod_cpu")
FMOD = EagerOp("FmodBackward1", _FMOD)
FMOD_NUMBER = EagerOp("FmodBackward0", _FMOD, lists=(0,))
RECIPROCAL = EagerOp("ReciprocalBackward0", promoting(on_value(nd.reciprocal), floats=True), saves=RESULT)

_ROUNDING = {None: DIV, "floor": DIV_FLOOR, "trunc": DIV_TRUNC}


@method("mul", "multiply")
@public("mul", "multiply")
def mul(input: Any, other: Any) -> Tensor:
    """Return the product, element by element."""
    return wrap(Tensor, record(MUL, (operand(input, "mul", "input", 1), operand(other, "mul"))))


@method("mul_", "multiply_")
def mul_(self: Tensor, other: Any) -> Tensor:
    """Multiply in place."""
    return write_into(self, MUL, (self, operand(other, "mul_", "other", 1)))


def _division(rounding_mode: Any, x: Any, y: Any) -> EagerOp:
    op = _ROUNDING.get(rounding_mode)
    if op is None:
        raise error(
            RuntimeError,
            f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{rounding_mode}'",
        )
    if op is not DIV:
        _check_divisor(x, y)
    return op


def _kind(x: Any) -> str:
    if isinstance(x, Variable):
        return x._value.type.element.kind
    return {float: "f", int: "i", bool: "b"}[x.__class__]


def _check_divisor(x: Any, y: Any) -> None:
    """Raise PyTorch's error if a whole number is divided by 0 without fractions."""
    kinds = _kind(x) + _kind(y)
    if "f" in kinds or kinds == "bb":
        return
    if not (y._array().all() if isinstance(y, Variable) else y):
        raise error(RuntimeError, "ZeroDivisionError", "a divisor of whole numbers is 0")


@method("div", "divide")
@public("div", "divide")
def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """Return the quotient; whole numbers give the default float dtype unless rounded.

    Args:
        rounding_mode: None; "trunc" rounds towards 0, "floor" down: then whole numbers stay whole and gradients are 0.

    Raises:
        RuntimeError: another rounding mode, or whole numbers are divided by 0 and rounded ("ZeroDivisionError").
    """
    x, y = operand(input, "div", "input", 1), operand(other, "div")
    return wrap(Tensor, record(DIV if rounding_mode is None else _division(rounding_mode, x, y), (x, y)))


@method("div_", "divide_")
def div_(self: Tensor, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """Divide in place."""
    y = operand(other, "div_", "other", 1)
    return write_into(self, _division(rounding_mode, self, y), (self, y))


@method("true_divide")
@public("true_divide")
def true_divide(input: Any, other: Any) -> Tensor:
    """Return the quotient."""
    return div(input, other)


method("true_divide_")(lambda self, other: div_(self, other))
reciprocal = unary("reciprocal", RECIPROCAL, doc="Return 1 / x of each element.")


@method("floor_divide")
@public("floor_divide")
def floor_divide(input: Any, other: Any) -> Tensor:
    """Return the floor of the quotient. It has no derivative in PyTorch: a backward through it raises."""
    x, y = operand(input, "floor_divide", "input", 1), operand(other, "floor_divide")
    _check_divisor(x, y)
    return refuse_backward(operation(FLOOR_DIVIDE, (x, y)), "floor_divide", (x, y))


@method("floor_divide_")
def floor_divide_(self: Tensor, other: Any) -> Tensor:
    """Apply `floor_divide` in place."""
    y = operand(other, "floor_divide_", "other", 1)
    _check_divisor(self, y)
    return refuse_backward(write_into(self, FLOOR_DIVIDE, (self, y)), "floor_divide", (self, y))


@method("remainder")
@public("remainder")
def remainder(input: Any, other: Any) -> Tensor:
    """Return the remainder of the floored quotient: it has the sign of the divisor."""
    x, y = operand(input, "remainder", "input", 1), operand(other, "remainder")
    _check_divisor(x, y)
    if not isinstance(x, Variable):
        return refuse_backward(operation(REMAINDER_OF_NUMBER, (x, y)), "remainder", (x, y))
    return wrap(Tensor, record(REMAINDER if isinstance(y, Variable) else REMAINDER_NUMBER, (x, y)))


@method("remainder_")
def remainder_(self: Tensor, other: Any) -> Tensor:
    """Apply `remainder` in place."""
    y = operand(other, "remainder_", "other", 1)
    _check_divisor(self, y)
    return write_into(self, REMAINDER if isinstance(y, Variable) else REMAINDER_NUMBER, (self, y))


@method("fmod")
@public("fmod")
def fmod(input: Tensor, other: Any) -> Tensor:
    """Return the remainder of the truncated quotient: it has the sign of the dividend."""
    x, y = tensor_operand(input, "fmod"), operand(other, "fmod")
    _check_divisor(x, y)
    return wrap(Tensor, record(FMOD if isinstance(y, Variable) else FMOD_NUMBER, (x, y)))


@method("fmod_")
def fmod_(self: Tensor, other: Any) -> Tensor:
    """Apply `fmod` in place."""
    y = operand(other, "fmod_", "other", 1)
    _check_divisor(self, y)
    return write_into(self, FMOD if isinstance(y, Variable) else FMOD_NUMBER, (self, y))


operators("mul", MUL)
method("__rmul__")(Tensor.__mul__)
operators("truediv", DIV)
reflected("truediv", lambda self, other: reciprocal(self) * other)
operators_by("floordiv", floor_divide, floor_divide_)
operators_by("mod", remainder, remainder_)

# --- three operands ---------------------------------------------------------------------------------------------------


def _adding_product(x: Any, a: Any, b: Any, value: Any, into: ScalarType | None = None) -> Tracer:
    check_broadcast((x, a, b))
    element = common_element((x, a, b))
    x, a, b = (bring_to(each, element) for each in (x, a, b))
    return fitted(x + bring_to(value, element) * a * b, into)


_WHOLE_ADDCDIV = (
    "Integer division with addcdiv is no longer supported, and in a future  release addcdiv will perform a true "
    "division of tensor1 and tensor2. The historic addcdiv behavior can be implemented as (input + value * "
    "gradloom.trunc(tensor1 / tensor2)).to(input.dtype) for integer inputs and as (input + value * tensor1 / tensor2) "
    "for float inputs. The future addcdiv behavior is just the latter implementation: (input + value * tensor1 / "
    "tensor2), for all dtypes."
)


def _adding_quotient(x: Any, a: Any, b: Any, value: Any, into: ScalarType | None = None) -> Tracer:
    check_broadcast((x, a, b))
    element = common_element((x, a, b))
    if common_element((a, b)).kind != "f":
        raise error(RuntimeError, _WHOLE_ADDCDIV)
    x, a, b = (bring_to(each, element) for each in (x, a, b))
    return fitted(x + bring_to(value, element) * a / b, into)


ADDCMUL = EagerOp("AddcmulBackward0", _adding_product, lists=(0, 1, 2))
ADDCDIV = EagerOp("AddcdivBackward0", _adding_quotient, lists=(0, 1, 2))


def _three(op: EagerOp, name: str, doc: str) -> None:
    def arguments(input: Any, tensor1: Any, tensor2: Any, value: Any) -> tuple[Any, ...]:
        return (
            tensor_operand(input, name),
            tensor_operand(tensor1, name, "tensor1", 2),
            tensor_operand(tensor2, name, "tensor2", 3),
            number_argument(value, name, "value"),
        )

    def function(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
        return operation(op, arguments(input, tensor1, tensor2, value))

    def write(self: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
        return write_into(self, op, arguments(self, tensor1, tensor2, value))

    method(name)(public(name)(documented(function, name, doc)))
    method(f"{name}_")(documented(write, f"{name}_", f"Apply `{name}` in place."))


_three(ADDCMUL, "addcmul", "Return `input + value * tensor1 * tensor2`.")
_three(ADDCDIV, "addcdiv", "Return `input + value * tensor1 / tensor2`.")


def _interpolated(start: Any, end: Any, weight: Any, into: ScalarType | None = None) -> Tracer:
    check_broadcast((start, end, weight))
    element = start.value.type.element
    if element.kind != "f":
        raise not_implemented("lerp_kernel_scalar", element)
    for name, x in (("end", end), ("weight", weight)):
        key = operand_key(x)
        if key.__class__ is tuple and key[0] is not element and (key[1] or name == "end"):
            have, want = dtype_of(key[0]).c_name, dtype_of(element).c_name
            raise error(RuntimeError, f"expected dtype {want} for `{name}` but got dtype {have}")
    a, b, w = (bring_to(each, element) for each in (start, end, weight))
    # As PyTorch: exact at both ends, whichever is nearer.
    near = np.abs(w) < 0.5
    return fitted(np.where(near, a + w * (b - a), b - (b - a) * (1 - w)), into)


def _lerp_saves(active: tuple[bool, ...]) -> tuple[frozenset[int], bool]:
    kept = ({2} if active[0] or active[1] else set()) | ({0, 1} if active[2] else set())
    return frozenset(kept), False


LERP = EagerOp("LerpBackward1", _interpolated, saves=_lerp_saves)
LERP_NUMBER = EagerOp("LerpBackward0", _interpolated, saves=NOTHING, lists=(0, 1))


@method("lerp")
@public("lerp")
def lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    """Return `input + weight * (end - input)`; all tensors have one float dtype."""
    op = LERP if isinstance(weight, Variable) else LERP_NUMBER
    return operation(
        op, (tensor_operand(input, "lerp"), tensor_operand(end, "lerp", "end", 2), operand(weight, "lerp", "weight", 3))
    )


@method("lerp_")
def lerp_(self: Tensor, end: Tensor, weight: Any) -> Tensor:
    """Apply `lerp` in place."""
    op = LERP if isinstance(weight, Variable) else LERP_NUMBER
    operands = (self, tensor_operand(end, "lerp_", "end", 1), operand(weight, "lerp_", "weight", 2))
    return write_into(self, op, operands)


def _times_power_of_two(x: Any, exponent: Any) -> Tracer:
    return x * as_value(np.exp2(exponent))


LDEXP = EagerOp("LdexpBackward0", promoting(_times_power_of_two, floats=True))


@method("ldexp")
@public("ldexp")
def ldexp(input: Tensor, other: Tensor) -> Tensor:
    """Return `input * 2 ** other`."""
    return operation(LDEXP, (tensor_operand(input, "ldexp"), tensor_operand(other, "ldexp", "other", 2)))
