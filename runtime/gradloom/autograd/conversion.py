"""Copies of a tensor: in another dtype, in memory of their own, in row-major order.

A conversion that changes nothing returns the tensor itself, as in PyTorch. Start reading at `to`.
"""

from typing import Any

from gradloom.autograd.dtypes import DTYPES, device, dtype, dtype_of
from gradloom.autograd.elementwise import NOTHING, tensor_operand, type_name
from gradloom.autograd.graph import EagerOp
from gradloom.autograd.recording import Variable, record, wrap
from gradloom.autograd.tensor import Tensor, method, operation, public
from gradloom.trace.tracer import Tracer
from gradloomc.dialects import nd
from gradloomc.ir.types import ScalarType


def _converted(x: Any, element: ScalarType) -> Tracer:
    have = x.value.type.element
    return x if have is element else Tracer(nd.convert(x.value, type=element))


TO_COPY = EagerOp("ToCopyBackward0", _converted, saves=NOTHING)
CLONE = EagerOp("CloneBackward0", lambda x: x, saves=NOTHING)

_ATTRIBUTES = {each: (("element", each.element),) for each in DTYPES.values()}


def convert_to(x: Tensor, wanted: dtype, copy: bool = False) -> Tensor:
    """Return a tensor with elements of a dtype: itself if it has them already and no copy is asked for."""
    if not copy and x._value.type.element is wanted.element:
        return x
    return wrap(Tensor, record(TO_COPY, (x,), _ATTRIBUTES[wanted]))


@method("to")
def to(self: Tensor, *args: Any, copy: bool = False, non_blocking: bool = False, **options: Any) -> Tensor:
    """Return the tensor in another dtype: `x.to(dtype)`, `x.to("cpu")`, `x.to("cpu", dtype)`, `x.to(other)`.

    Raises:
        RuntimeError: the device is not the CPU.
        TypeError: an argument is none of these.
    """
    wanted = self.dtype
    rest = list(args)
    if rest and isinstance(rest[0], Variable):
        wanted = dtype_of(rest.pop(0)._value.type.element)
    else:
        if rest and isinstance(rest[0], (str, device)):
            device(rest.pop(0))
        if rest and (isinstance(rest[0], dtype) or rest[0] in (float, int, bool)):
            wanted = dtype_of(rest.pop(0))
    if rest and isinstance(rest[0], bool):
        rest.pop(0)  # non_blocking
    if rest and isinstance(rest[0], bool):
        copy = rest.pop(0)
    if rest and rest[0] is not None:
        raise TypeError(f"to() received an invalid combination of arguments - got ({type_name(rest[0])})")
    if options.get("other") is not None:
        wanted = options["other"].dtype
    if options.get("dtype") is not None:
        wanted = dtype_of(options["dtype"], "to")
    if options.get("device") is not None:
        device(options["device"])
    return convert_to(self, wanted, copy)


def _conversion(name: str, wanted: dtype) -> None:
    def convert(self: Tensor, memory_format: Any = None) -> Tensor:
        return convert_to(self, wanted)

    convert.__name__ = convert.__qualname__ = name
    convert.__doc__ = f"Return the tensor with elements of {wanted.name}."
    method(name)(convert)


for _name in ("half", "float", "double", "short", "int", "long"):
    _conversion(_name, DTYPES[_name])
_conversion("bool", DTYPES["bool"])
_conversion("char", DTYPES["int8"])
_conversion("byte", DTYPES["uint8"])


@method("type_as")
def type_as(self: Tensor, other: Tensor) -> Tensor:
    """Return the tensor with the dtype of another."""
    return convert_to(self, tensor_operand(other, "type_as", "other").dtype)


@method("clone")
@public("clone")
def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """Return a copy with memory of its own; gradients flow through it."""
    return operation(CLONE, (tensor_operand(input, "clone"),))


@method("contiguous")
def contiguous(self: Tensor, memory_format: Any = None) -> Tensor:
    """Return the tensor itself if its elements lie in row-major order, else a copy."""
    return self if self._link is None or self.is_contiguous() else operation(CLONE, (self,))


def _unchanged(self: Tensor, *args: Any, **options: Any) -> Tensor:
    """Return the tensor itself: there is nothing to do on a CPU with real numbers."""
    return self


for _name in ("cpu", "resolve_conj", "resolve_neg", "conj", "pin_memory", "coalesce"):
    method(_name)(_unchanged)


@method("detach_copy")
@public("detach_copy")
def detach_copy(input: Tensor) -> Tensor:
    """Return a copy that no gradient flows through."""
    return tensor_operand(input, "detach_copy").detach().clone()


@public("detach")
def detach(input: Tensor) -> Tensor:
    """Return a tensor with the same memory that requires no grad."""
    return tensor_operand(input, "detach").detach()
