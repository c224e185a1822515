"""Tensors filled with one value (zeros, ones, full and their kin), and PyTorch's constructors from before `tensor`.

All come in three forms: of a shape, like another tensor, and as a method that takes over a tensor's dtype.
"""

from typing import Any

import numpy as np

from gradloom.autograd.creation import (
    array_of,
    dtype_of_item,
    finished,
    fitting,
    numpy_dtype,
    size_argument,
    warn_of_copy,
)
from gradloom.autograd.dtypes import Size, dtype_of
from gradloom.autograd.dtypes import dtype as Dtype
from gradloom.autograd.elementwise import is_number, tensor_operand, type_name
from gradloom.autograd.graph import Array
from gradloom.autograd.recording import Variable
from gradloom.autograd.tensor import Tensor, from_array, method, public


def _sizes(function: str, size: tuple[Any, ...], keyword: Any) -> tuple[int, ...]:
    if keyword is not None:
        return size_argument(function, (keyword,))
    if not size:
        raise TypeError(f'{function}() missing 1 required positional arguments: "size"')
    return size_argument(function, size)


# --- filled -----------------------------------------------------------------------------------------------------------


def _maker(name: str, make: Any, doc: str) -> None:
    """Define `name(size)`, `name_like(x)` and `x.new_name(size)` by `make(shape, dtype)`."""

    def of_size(
        *size: Any,
        dtype: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        layout: Any = None,
        pin_memory: bool = False,
        **keyword: Any,
    ) -> Tensor:
        shape = _sizes(name, size, keyword.pop("size", None))
        keyword.pop("memory_format", None)
        if keyword:
            raise TypeError(f"{name}() got an unexpected keyword argument '{next(iter(keyword))}'")
        return finished(make(shape, numpy_dtype(name, dtype, None, device)), requires_grad)

    def like(
        input: Tensor,
        *,
        dtype: Any = None,
        layout: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        pin_memory: bool = False,
        memory_format: Any = None,
    ) -> Tensor:
        x = tensor_operand(input, f"{name}_like")
        return finished(make(x._value.type.shape, numpy_dtype(name, dtype, x.dtype, device)), requires_grad)

    def new(
        self: Tensor,
        *size: Any,
        dtype: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        layout: Any = None,
        pin_memory: bool = False,
        **keyword: Any,
    ) -> Tensor:
        shape = _sizes(f"new_{name}", size, keyword.pop("size", None))
        return finished(make(shape, numpy_dtype(f"new_{name}", dtype, self.dtype, device)), requires_grad)

    for function, called in ((of_size, name), (like, f"{name}_like"), (new, f"new_{name}")):
        function.__name__ = function.__qualname__ = called
        (method if function is new else public)(called)(function)
    of_size.__doc__ = f"Return a tensor {doc}; its extents are given as numbers or as one tuple."
    like.__doc__ = f"Return a tensor {doc}, of the shape and dtype of another."
    new.__doc__ = f"Return a tensor {doc}, of this tensor's dtype."


_maker("zeros", np.zeros, "of zeros")
_maker("ones", np.ones, "of ones")
_maker("empty", np.empty, "whose elements may be anything")


def filled(shape: tuple[int, ...], value: Any, target: np.dtype[Any]) -> Array:
    """Return an array full of one number.

    Raises:
        RuntimeError: a whole number does not fit into the dtype.
    """
    if target.kind == "f":
        with np.errstate(over="ignore"):
            return np.full(shape, value, target)
    return np.full(shape, fitting(value, target))


def _fill_value(function: str, value: Any) -> Any:
    if isinstance(value, Variable):
        return value.item()  # pyright: ignore[reportAttributeAccessIssue]
    if not is_number(value):
        raise TypeError(f"{function}(): argument 'fill_value' (position 2) must be Number, not {type_name(value)}")
    return value.item() if isinstance(value, np.generic) else value


@public("full")
def full(
    size: Any,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """Return a tensor full of one number; its dtype is that of the number unless given."""
    if not isinstance(size, (tuple, list)):
        raise TypeError(f"full(): argument 'size' (position 1) must be tuple of ints, not {type_name(size)}")
    value = _fill_value("full", fill_value)
    target = numpy_dtype("full", dtype, dtype_of_item(value), device)
    return finished(filled(size_argument("full", (size,)), value, target), requires_grad)


@public("full_like")
def full_like(
    input: Tensor,
    fill_value: Any,
    *,
    dtype: Any = None,
    layout: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """Return a tensor full of one number, of the shape and dtype of another."""
    x = tensor_operand(input, "full_like")
    target = numpy_dtype("full_like", dtype, x.dtype, device)
    return finished(filled(x._value.type.shape, _fill_value("full_like", fill_value), target), requires_grad)


@method("new_full")
def new_full(
    self: Tensor, size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Return a tensor full of one number, of this tensor's dtype."""
    target = numpy_dtype("new_full", dtype, self.dtype, device)
    value = _fill_value("new_full", fill_value)
    return finished(filled(size_argument("new_full", (size,)), value, target), requires_grad)


@method("new_tensor")
def new_tensor(
    self: Tensor, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Return a leaf tensor with a copy of data, of this tensor's dtype."""
    if isinstance(data, Variable):
        warn_of_copy("tensor.new_tensor")
    target = numpy_dtype("new_tensor", dtype, self.dtype, device)
    return finished(array_of(data, dtype_of(target)), requires_grad)


# --- as PyTorch did it before there was `tensor` ----------------------------------------------------------------------


def _typed(data: tuple[Any, ...], of: Dtype) -> Tensor:
    """Return `FloatTensor(data)`: extents, or a sequence of numbers, in one dtype whatever the data."""
    if not data:
        return from_array(np.zeros(0, of.numpy))
    first = data[0]
    if isinstance(first, Size) or (hasattr(first, "__index__") and not isinstance(first, (Variable, np.ndarray))):
        return from_array(np.zeros(size_argument("new", data), of.numpy))
    if isinstance(first, Variable):
        have = dtype_of(first._value.type.element)
        if have is not of:
            raise TypeError(f"expected a tensor of dtype {of.c_name} (got {have.c_name})")
        return first.detach()  # pyright: ignore[reportAttributeAccessIssue]
    if isinstance(first, (float, str)):
        raise TypeError(f"new(): data must be a sequence (got {type(first).__name__})")
    return from_array(array_of(first, of))


@method("new")
def new(self: Tensor, *data: Any) -> Tensor:
    """Return a tensor of this dtype: of zeros if extents are given, else of a sequence's numbers."""
    return _typed(data, self.dtype)


class TypedTensor:
    """`FloatTensor`: makes tensors of one dtype; tensors of that dtype are its instances."""

    __slots__ = ("dtype",)

    def __init__(self, of: Dtype):
        self.dtype = of

    def __call__(self, *data: Any) -> Tensor:
        """Make a tensor from a sequence of numbers, or zeros of given extents."""
        return _typed(data, self.dtype)

    def __instancecheck__(self, instance: Any) -> bool:
        return isinstance(instance, Tensor) and instance.dtype is self.dtype

    def __repr__(self) -> str:
        return f"<class 'gradloom.{self.dtype.type_name}Tensor'>"


for _name in ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"):
    _dtype = dtype_of(np.dtype(_name))
    public(f"{_dtype.type_name}Tensor")(TypedTensor(_dtype))
