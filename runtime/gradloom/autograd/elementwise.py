"""What the elementwise operations of the eager face share: PyTorch's promotion of dtypes and its errors.

A rule of an operation is NumPy code on traced arrays; `promoting` brings the operands to the dtype in which PyTorch
computes before the code runs, and `unary`, `binary` make functions and methods of it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradloom.autograd.dtypes import get_default_dtype, result_element
from gradloom.autograd.errors import error
from gradloom.autograd.graph import EagerOp, Node
from gradloom.autograd.recording import Variable, record, wrap
from gradloom.autograd.tensor import Tensor, from_array, in_place, method, operation, public
from gradloom.trace.promote import bring
from gradloom.trace.tracer import Tracer
from gradloomc.ir.types import ScalarType

Rule = Callable[..., Any]


def operand_key(x: Any) -> Any:
    """Return what promotion looks at: (element type, rank) of an array, the class of a Python number."""
    if x.__class__ is Tracer:
        if x.weak:
            return {"f": float, "i": int, "b": bool}[x.value.type.element.kind]
        return (x.value.type.element, x.value.type.rank)
    return x.__class__


def bring_to(x: Any, element: ScalarType) -> Tracer:
    """Return an operand, array or number, as a traced array of an element type."""
    return Tracer(bring(x.value if x.__class__ is Tracer else x, element))


def check_broadcast(operands: Sequence[Any]) -> None:
    """Raise PyTorch's error if the shapes of traced arrays do not broadcast."""
    arrays = [x for x in operands if x.__class__ is Tracer]
    for a, b in zip(arrays, arrays[1:], strict=False):
        for back in range(1, min(a.ndim, b.ndim) + 1):
            m, n = a.shape[-back], b.shape[-back]
            if m != n and 1 not in (m, n):
                axis = max(a.ndim, b.ndim) - back
                raise error(
                    RuntimeError,
                    f"The size of tensor a ({m}) must match the size of tensor b ({n}) at non-singleton dimension {axis}",
                    f"the shapes are {a.shape} and {b.shape}: the extents of each dimension, counted from the last, "
                    "should be equal or 1",
                )


def promoting(function: Callable[..., Any], floats: bool = False) -> Rule:
    """Return the rule that brings all operands to their common dtype and then computes `function`.

    Args:
        function: NumPy code on arrays of one dtype.
        floats: integers and bools are brought to the default float dtype.
    """

    def rule(*operands: Any, **attributes: Any) -> Any:
        check_broadcast(operands)
        element = result_element([operand_key(x) for x in operands])
        if floats and element.kind != "f":
            element = get_default_dtype().element
        return function(*[bring_to(x, element) for x in operands], **attributes)

    return rule


def as_tensor_operand(x: Any) -> Any:
    """Return an operand as a tensor or a Python number.

    Raises:
        TypeError: it is neither, nor a NumPy number or array.
    """
    if isinstance(x, (Variable, float, int)):
        return x
    if isinstance(x, np.generic):
        return x.item()
    if isinstance(x, np.ndarray):
        return from_array(np.array(x))
    raise TypeError(f"unsupported operand type(s): 'Tensor' and '{type(x).__name__}'")


def unary(name: str, op: EagerOp, *aliases: str, writes: bool = True) -> Callable[[Tensor], Tensor]:
    """Define a function of one tensor: `gradloom.name(x)`, `x.name()` and `x.name_()`."""

    def function(input: Tensor) -> Tensor:
        node = record(op, (input,))
        return wrap(Tensor, node)

    def write(self: Tensor) -> Tensor:
        return in_place(self, op, (self,))

    function.__name__ = function.__qualname__ = name
    for each in (name, *aliases):
        method(each)(function)
        public(each)(function)
        if writes:
            method(each + "_")(write)
    return function


def binary_operation(op: EagerOp, x: Any, y: Any) -> Tensor:
    """Record an operation on two operands, at least one of them a tensor."""
    return wrap(Tensor, record(op, (x, y)))


def operators(name: str, op: EagerOp) -> None:
    """Define `x + y`, `y + x` and `x += y` by one operation; `name` is that of the method without underscores."""

    def forward(self: Tensor, other: Any) -> Any:
        if not isinstance(other, (Variable, float, int)):
            other = _foreign(other)
            if other is NotImplemented:
                return other
        return wrap(Tensor, record(op, (self, other)))

    def reflected(self: Tensor, other: Any) -> Any:
        if not isinstance(other, (Variable, float, int)):
            other = _foreign(other)
            if other is NotImplemented:
                return other
        return wrap(Tensor, record(op, (other, self)))

    def write(self: Tensor, other: Any) -> Any:
        return in_place(self, op, (self, as_tensor_operand(other)))

    for installed, prefix in ((forward, ""), (reflected, "r"), (write, "i")):
        installed.__name__ = f"__{prefix}{name}__"
        method(installed.__name__)(installed)


def _foreign(x: Any) -> Any:
    try:
        return as_tensor_operand(x)
    except TypeError:
        return NotImplemented


__all__ = ["Node", "Rule", "operation"]
