"""Powers: a tensor to a number (PowBackward0), to a tensor (PowBackward1), a number to a tensor (PowBackward2)."""

from typing import Any

import numpy as np

from gradloom.autograd.dtypes import float64
from gradloom.autograd.elementwise import (
    FIRST,
    bring_to,
    common_element,
    fitted,
    foreign,
    is_number,
    not_implemented,
    operand,
    operators_by,
    promoting,
    type_name,
    write_into,
)
from gradloom.autograd.errors import error
from gradloom.autograd.graph import Attributes, EagerOp
from gradloom.autograd.recording import Variable, record, wrap
from gradloom.autograd.tensor import Tensor, method, public
from gradloom.trace.tracer import Tracer
from gradloomc.ir.types import ScalarType


def _power_of_number(x: Any, exponent: Any, kind: type, into: ScalarType | None = None) -> Tracer:
    """`x ** 2`: the exponent is part of the program, so that small ones become products."""
    exponent = kind(exponent)
    element = common_element((x, exponent))
    if element.kind != "f" and exponent < 0:
        raise error(
            RuntimeError, "Integers to negative integer powers are not allowed.", "convert the tensor to floats"
        )
    if element.kind == "b":
        raise not_implemented("pow", element)
    return fitted(bring_to(x, element) ** (float(exponent) if element.kind == "f" else int(exponent)), into)


def _powers(x: Any, y: Any) -> Any:
    if x.dtype.kind == "f":
        return x**y
    # Whole numbers to negative powers are rounded towards 0: only 1 and -1 leave something.
    negative = y < 0
    power = x ** np.where(negative, 0, y)
    of_minus_one = np.where(x == -1, np.where(y % 2 == 0, 1, -1), 0)
    return np.where(negative, np.where(x == 1, 1, of_minus_one), power).astype(x.dtype)


_POWERS = promoting(_powers, refused="b", kernel="pow")


def _power_saves(active: tuple[bool, ...]) -> tuple[frozenset[int], bool]:
    return frozenset({0, 1}), active[1]


POW_NUMBER = EagerOp("PowBackward0", _power_of_number, saves=FIRST)
POW = EagerOp("PowBackward1", _POWERS, saves=_power_saves)
POW_OF_NUMBER = EagerOp(
    "PowBackward2",
    lambda exponent, base, **options: _POWERS(base, exponent, **options),
    saves=(frozenset({0}), True),
    lists=(0,),
)


def _exponent(exponent: Any) -> Attributes:
    # The class tells 2 from 2.0: it decides on the result's dtype.
    return (("exponent", exponent), ("kind", exponent.__class__))


def _invalid_power(name: str, *arguments: Any) -> TypeError:
    given = ", ".join("Tensor" if isinstance(x, Variable) else type_name(x) for x in arguments)
    return TypeError(
        f"{name}() received an invalid combination of arguments - got ({given}), but expected one of:\n"
        " * (Tensor input, Tensor exponent, *, Tensor out = None)\n"
        " * (Number self, Tensor exponent, *, Tensor out = None)\n"
        " * (Tensor input, Number exponent, *, Tensor out = None)\n"
    )


@method("pow")
@public("pow")
def pow(input: Any = None, exponent: Any = None, *, self: Any = None) -> Tensor:
    """Return `input ** exponent`: a tensor to a number, a tensor to a tensor, or a number (also as self=) to a tensor.

    Raises:
        RuntimeError: whole numbers to a negative number.
    """
    input = self if input is None else input
    if isinstance(input, Variable):
        if isinstance(exponent, Variable):
            return wrap(Tensor, record(POW, (input, exponent)))
        if is_number(exponent):
            return wrap(Tensor, record(POW_NUMBER, (input,), _exponent(plain_exponent(exponent))))
    elif is_number(input) and isinstance(exponent, Variable):
        return wrap(Tensor, record(POW_OF_NUMBER, (exponent, operand(input, "pow"))))
    raise _invalid_power("pow", input, exponent)


def plain_exponent(exponent: Any) -> Any:
    """Return a number that may be a NumPy scalar as a Python number."""
    return operand(exponent, "pow", "exponent", 2)


@method("pow_")
def pow_(self: Tensor, exponent: Any) -> Tensor:
    """Apply `pow` in place."""
    if isinstance(exponent, Variable):
        return write_into(self, POW, (self, exponent))
    if not is_number(exponent):
        raise _invalid_power("pow_", exponent)
    return write_into(self, POW_NUMBER, (self,), _exponent(plain_exponent(exponent)))


operators_by("pow", pow, pow_)


def _power(self: Tensor, other: Any) -> Any:
    """Python's operator method `pow`."""
    kind = other.__class__
    if kind is int or kind is float:
        return wrap(Tensor, record(POW_NUMBER, (self,), (("exponent", other), ("kind", kind))))
    other = foreign(other)
    return other if other is NotImplemented else pow(self, other)


method("__pow__")(_power)


def _double(x: Any) -> Any:
    if not isinstance(x, Variable):
        return float(x)
    return x if x._value.type.element is float64.element else x.to(float64)  # type: ignore[attr-defined]


@method("float_power")
@public("float_power")
def float_power(input: Any, exponent: Any) -> Tensor:
    """Return `input ** exponent` computed in float64."""
    if not (isinstance(input, Variable) or isinstance(exponent, Variable)):
        raise _invalid_power("float_power", input, exponent)
    return pow(
        _double(operand(input, "float_power", "input", 1)), _double(operand(exponent, "float_power", "exponent"))
    )


@method("float_power_")
def float_power_(self: Tensor, exponent: Any) -> Tensor:
    """Apply `float_power` in place, to a float64 tensor."""
    if self._value.type.element is not float64.element:
        raise error(
            RuntimeError,
            f"the base given to float_power_ has dtype {self.dtype.type_name} but the operation's result requires "
            "dtype Double",
        )
    return pow_(self, _double(operand(exponent, "float_power_", "exponent", 1)))
