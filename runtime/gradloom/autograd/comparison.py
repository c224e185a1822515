"""Comparisons of tensors, logical and bitwise operations, tests of floats, equality of whole tensors.

Their results are bools (or whole numbers) and have no gradient; only what an in-place comparison writes into a float
tensor has one, and it is 0.
"""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from gradloom.autograd.dtypes import dtype_of, result_type
from gradloom.autograd.elementwise import (
    KIND_RANK,
    NOTHING,
    bring_to,
    check_broadcast,
    documented,
    fitted,
    foreign,
    install,
    is_number,
    not_implemented,
    operand,
    operators_by,
    plain_number,
    promoting,
    tensor_operand,
    type_name,
    unary,
    write_into,
)
from gradloom.autograd.errors import error
from gradloom.autograd.graph import EagerOp
from gradloom.autograd.recording import Variable, record, wrap
from gradloom.autograd.tensor import Tensor, method, operation, public
from gradloomc.dialects import nd
from gradloomc.ir import types as ir_types
from gradloomc.ir.types import ScalarType, tensor

# --- comparisons ------------------------------------------------------------------------------------------------------


def _invalid_comparison(name: str, *arguments: Any) -> TypeError:
    given = ", ".join("Tensor" if isinstance(x, Variable) else type_name(x) for x in arguments)
    return TypeError(
        f"{name}() received an invalid combination of arguments - got ({given}), but expected one of:\n"
        " * (Tensor input, Tensor other, *, Tensor out = None)\n"
        " * (Tensor input, Number other, *, Tensor out = None)\n"
    )


def _comparison(name: str, function: Any, alias: str, doc: str) -> EagerOp:
    """Define a comparison: `x < y`, `gradloom.lt`, `x.lt`, `x.lt_` and its long name."""
    rule = promoting(function)
    node = name.capitalize()
    number = EagerOp(f"{node}Backward0", rule, saves=NOTHING, lists=(0,))
    tensor = EagerOp(f"{node}Backward1", rule, saves=NOTHING)

    def compare(input: Tensor, other: Any) -> Tensor:
        if not isinstance(input, Variable) or not (isinstance(other, Variable) or is_number(other)):
            raise _invalid_comparison(name, input, other)
        other = other if isinstance(other, Variable) else plain_number(other)
        return wrap(Tensor, record(tensor, (input, other)))

    def write(self: Tensor, other: Any) -> Tensor:
        if isinstance(other, Variable):
            return write_into(self, tensor, (self, other))
        if not is_number(other):
            raise _invalid_comparison(f"{name}_", other)
        return write_into(self, number, (self, plain_number(other)))

    def symbol(self: Tensor, other: Any) -> Any:
        if other.__class__ is not Tensor:
            other = foreign(other)
            if other is NotImplemented:
                return other
        return wrap(Tensor, record(tensor, (self, other)))

    documented(compare, name, doc)
    documented(write, f"{name}_", f"Apply `{name}` in place: 1 where it holds, else 0.")
    for each in filter(None, (name, alias)):
        method(each)(public(each)(compare))
        method(f"{each}_")(write)
    install(name, symbol)
    return tensor


_comparison("eq", np.equal, "", "Return where input == other.")
_comparison("ne", np.not_equal, "not_equal", "Return where input != other.")
_comparison("lt", np.less, "less", "Return where input < other.")
_comparison("le", np.less_equal, "less_equal", "Return where input <= other.")
_comparison("gt", np.greater, "greater", "Return where input > other.")
_comparison("ge", np.greater_equal, "greater_equal", "Return where input >= other.")

# --- closeness and equality -------------------------------------------------------------------------------------------


def _close(x: Any, y: Any, rtol: Any, atol: Any, equal_nan: bool) -> Any:
    if x.value.type.element is not y.value.type.element:
        a, b = (dtype_of(each.value.type.element).type_name for each in (x, y))
        raise error(RuntimeError, f"{a} did not match {b}", "convert one of them")
    check_broadcast((x, y))
    element = x.value.type.element
    close = x == y
    if element.kind == "b":
        return close
    if element.kind != "f":
        element = ir_types.f64
    a, b = bring_to(x, element), bring_to(y, element)
    if equal_nan:
        close = close | (np.isnan(a) & np.isnan(b))
    distance = np.abs(a - b)
    allowed = bring_to(atol, element) + np.abs(bring_to(rtol, element) * b)
    return close | (np.isfinite(distance) & (distance <= allowed))


ISCLOSE = EagerOp("IscloseBackward0", _close, differentiable=False)


@method("isclose")
@public("isclose")
def isclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Tensor:
    """Return where `|input - other| <= atol + rtol * |other|`, or both are the same infinity.

    Args:
        equal_nan: two nans are close.

    Raises:
        RuntimeError: the dtypes differ, or a tolerance is negative.
    """
    tensor_operand(input, "isclose")
    tensor_operand(other, "isclose", "other", 2)
    for name, value in (("rtol", rtol), ("atol", atol)):
        if value < 0:
            raise error(RuntimeError, f"{name} must be greater than or equal to zero, but got {value}")
    return operation(ISCLOSE, (input, other, float(rtol), float(atol)), (("equal_nan", bool(equal_nan)),))


@method("allclose")
@public("allclose")
def allclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """Tell whether all elements are close, as `isclose` says."""
    return bool(isclose(input, other, rtol, atol, equal_nan)._array().all())


@method("equal")
@public("equal")
def equal(input: Tensor, other: Tensor) -> bool:
    """Tell whether two tensors have the same shape and equal elements; nan equals nothing."""
    x, y = tensor_operand(input, "equal"), tensor_operand(other, "equal", "other", 2)
    return x._value.type.shape == y._value.type.shape and bool(np.array_equal(x._array(), y._array()))


@method("is_nonzero")
@public("is_nonzero")
def is_nonzero(input: Tensor) -> bool:
    """Tell whether the one element of a tensor is not 0."""
    return bool(tensor_operand(input, "is_nonzero"))


@public("result_type")
def result_type_of(tensor1: Any, tensor2: Any) -> Any:
    """Return the dtype that an operation on two tensors or numbers computes in."""
    keys = [
        (x._value.type.element, x._value.type.rank) if isinstance(x, Variable) else operand(x, "result_type")
        for x in (tensor1, tensor2)
    ]
    return result_type(*keys)


@public("can_cast")
def can_cast(from_: Any, to: Any) -> bool:
    """Tell whether a dtype may be written into another: of no higher kind (bool < integer < float)."""
    return KIND_RANK[dtype_of(from_).element.kind] <= KIND_RANK[dtype_of(to).element.kind]


# --- logical operations -----------------------------------------------------------------------------------------------


def _truth(x: Any) -> Any:
    return x.astype(bool)


def _logical(name: str, function: Any, doc: str) -> None:
    def rule(x: Any, y: Any, into: ScalarType | None = None) -> Any:
        check_broadcast((x, y))
        return fitted(function(_truth(x), _truth(y)), into)

    op = EagerOp(f"{name.title().replace('_', '')}Backward0", rule, differentiable=False)

    def combine(input: Tensor, other: Tensor) -> Tensor:
        return operation(op, (tensor_operand(input, name), tensor_operand(other, name, "other", 2)))

    def write(self: Tensor, other: Tensor) -> Tensor:
        return write_into(self, op, (self, tensor_operand(other, f"{name}_", "other", 1)))

    method(name)(public(name)(documented(combine, name, doc)))
    method(f"{name}_")(documented(write, f"{name}_", f"Apply `{name}` in place."))


_logical("logical_and", np.logical_and, "Return where both elements are not 0.")
_logical("logical_or", np.logical_or, "Return where an element is not 0.")
_logical("logical_xor", np.logical_xor, "Return where one of two elements is not 0.")


def _negation(x: Any, into: ScalarType | None = None) -> Any:
    return fitted(np.logical_not(_truth(x)), into)


logical_not = unary(
    "logical_not", EagerOp("LogicalNotBackward0", _negation, differentiable=False), doc="Return where elements are 0."
)

# --- bits -------------------------------------------------------------------------------------------------------------


def _bitwise(name: str, symbol: str, function: Any, kernel: str, doc: str, refused: str = "f") -> None:
    """Define an operation on bits: its function, its in-place method, its operator on either side."""
    op = EagerOp(
        f"{name.title().replace('_', '')}Backward0",
        promoting(function, refused=refused, kernel=kernel),
        differentiable=False,
    )

    def combine(input: Any, other: Any) -> Tensor:
        return operation(op, (operand(input, name, "input", 1), operand(other, name)))

    def write(self: Tensor, other: Any) -> Tensor:
        return write_into(self, op, (self, operand(other, f"{name}_", "other", 1)))

    method(name)(public(name)(documented(combine, name, doc)))
    method(f"{name}_")(documented(write, f"{name}_", f"Apply `{name}` in place."))
    operators_by(symbol, combine, write)


def _shift(shift: Callable[[Any, Any], Any], beyond: Callable[[Any, int], Any]) -> Any:
    """Shifts by less than 0, or by the width or more, move all bits out; C leaves them undefined."""

    def rule(x: Any, y: Any) -> Any:
        width = x.dtype.itemsize * 8
        valid = (y >= 0) & (y < width) if y.dtype.kind == "i" else y < width
        amount = np.where(valid, y, y.dtype.type(0))
        return np.where(valid, shift(x, amount), beyond(x, width))

    return rule


_bitwise("bitwise_and", "and", np.bitwise_and, "bitwise_and_cpu", "Return the bits set in both.")
_bitwise("bitwise_or", "or", np.bitwise_or, "bitwise_or_cpu", "Return the bits set in either.")
_bitwise("bitwise_xor", "xor", np.bitwise_xor, "bitwise_xor_cpu", "Return the bits set in one of both.")
_bitwise(
    "bitwise_left_shift",
    "lshift",
    _shift(operator.lshift, lambda x, width: x.dtype.type(0)),
    "lshift_cpu",
    "Return the bits moved up.",
    "fb",
)
_bitwise(
    "bitwise_right_shift",
    "rshift",
    _shift(operator.rshift, lambda x, width: x >> x.dtype.type(width - 1)),
    "rshift_cpu",
    "Return the bits moved down.",
    "fb",
)


def _inverted(x: Any, into: ScalarType | None = None) -> Any:
    if x.dtype.kind == "f":
        raise not_implemented("bitwise_not_cpu", x.value.type.element)
    return fitted(np.invert(x), into)


bitwise_not = unary(
    "bitwise_not", EagerOp("BitwiseNotBackward0", _inverted, differentiable=False), doc="Return all bits flipped."
)


def _tilde(self: Tensor) -> Tensor:
    if self._value.type.element.kind == "f":
        raise TypeError("~ (operator.invert) is only implemented on integer and Boolean-type tensors")
    return bitwise_not(self)


install("invert", _tilde)

# --- tests of floats --------------------------------------------------------------------------------------------------


def _test(name: str, function: Any, otherwise: bool, doc: str) -> Any:
    """Define a test of floats; whole numbers have one answer."""

    def rule(x: Any) -> Any:
        if x.dtype.kind == "f":
            return function(x)
        return nd.splat(otherwise, tensor(x.shape, ir_types.i1))

    return unary(name, EagerOp(f"{name.capitalize()}Backward0", rule, differentiable=False), writes=False, doc=doc)


isnan = _test("isnan", np.isnan, False, "Return where elements are nan.")
isinf = _test("isinf", np.isinf, False, "Return where elements are infinite.")
isfinite = _test("isfinite", np.isfinite, True, "Return where elements are neither infinite nor nan.")
isposinf = _test("isposinf", lambda x: x == np.inf, False, "Return where elements are +infinity.")
isneginf = _test("isneginf", lambda x: x == -np.inf, False, "Return where elements are -infinity.")
isreal = _test("isreal", lambda x: x == x, True, "Return where elements are real: everywhere.")


def _sign_bit(x: Any) -> Any:
    return np.signbit(x) if x.dtype.kind == "f" else x.astype(np.int64) < 0


signbit = unary(
    "signbit",
    EagerOp("SignbitBackward0", _sign_bit, differentiable=False),
    writes=False,
    doc="Return where the sign bit is set.",
)
