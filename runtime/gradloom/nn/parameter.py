"""`Parameter`: a tensor that is there to be optimised, so it requires grad and says what it is when printed."""

import sys
from typing import Any

from gradloom.autograd.errors import error
from gradloom.autograd.recording import alias
from gradloom.autograd.tensor import Tensor, from_array


class Parameter(Tensor):
    """A tensor that requires grad, with the memory of the one it is made of.

    Args:
        data: a tensor; what it was computed from is no part of the parameter.
        requires_grad: False for a parameter that is not trained.

    Raises:
        RuntimeError: it is to require grad and is not of floats.
    """

    __slots__ = ()
    __module__ = "gradloom.nn.parameter"
    _is_parameter = True

    def __new__(cls, data: Any = None, requires_grad: bool = True) -> "Parameter":
        """Make a parameter of a tensor; without one, of no elements."""
        if data is None:
            data = Tensor(0)
        if requires_grad and data.detach()._value.type.element.kind != "f":
            raise error(
                RuntimeError,
                "Only Tensors of floating point and complex dtype can require gradients",
                "convert it first: Parameter(x.float())",
            )
        parameter = _take_over(data) if sys.getrefcount(data) <= _UNHELD else alias(data, Tensor, True)
        parameter.__class__ = cls
        parameter._requires_grad = bool(requires_grad)
        return parameter

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()


def _take_over(data: Tensor) -> Any:
    """Return a tensor with memory of its own if `data`, which nobody else will see again, has such."""
    if data._link is not None or data._value.array is None or data._value.counter is not None:
        return alias(data, Tensor, True)
    return from_array(data._array())


def _count_of_unheld() -> int:
    """Return the reference count that `Parameter.__new__` sees of an argument that only the call holds."""

    class Probe:
        def __new__(cls, data: Any = None) -> Any:
            if data is None:
                data = 0
            return sys.getrefcount(data)

    return Probe(Tensor(1))  # pyright: ignore[reportReturnType]


_UNHELD = _count_of_unheld()
