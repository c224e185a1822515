"""Tensors made from data: from Python numbers and nested lists, from NumPy arrays (copied or shared).

Dtypes are inferred as PyTorch does it: whole numbers give int64, floats the default dtype, arrays their own. Filled
tensors are in filled.py, ranges in ranges.py, random tensors in random.py. Knows no operation that is recorded. Start
reading at `tensor`.
"""

import operator
import warnings
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from gradloom.autograd.dtypes import bool_, device, dtype, dtype_of, get_default_dtype, int64, promote_types
from gradloom.autograd.elementwise import is_number, tensor_operand, type_name
from gradloom.autograd.errors import error
from gradloom.autograd.graph import Array
from gradloom.autograd.recording import Variable
from gradloom.autograd.tensor import Tensor, from_array, public, share_array

NO_INTEGER_GRADIENTS = "Only Tensors of floating point and complex dtype can require gradients"
_SUPPORTED = (
    "The only supported types are: float64, float32, float16, int64, int32, int16, int8, uint64, uint32, uint16, "
    "uint8, and bool."
)
_NEGATIVE_STRIDES = (
    "At least one stride in the given numpy array is negative, and tensors with negative strides are not currently "
    "supported. (You can probably work around this by making a copy of your array  with array.copy().) "
)
_READ_ONLY = (
    "The given NumPy array is not writable, and gradloom does not support non-writable tensors. This means writing to "
    "this tensor will result in undefined behavior. You may want to copy the array to protect its data or make it "
    "writable before converting it to a tensor."
)


# --- arguments --------------------------------------------------------------------------------------------------------


def finished(array: Array, requires_grad: bool = False) -> Tensor:
    """Return the leaf tensor that owns an array.

    Raises:
        RuntimeError: gradients are asked for, and the elements are no floats.
    """
    result = from_array(array)
    if requires_grad:
        if array.dtype.kind != "f":
            raise error(
                RuntimeError, NO_INTEGER_GRADIENTS, "pass dtype=gradloom.float32, or write the numbers as floats"
            )
        result._requires_grad = True
    return result


def numpy_dtype(function: str, wanted: Any, otherwise: "dtype | None" = None, where: Any = None) -> np.dtype[Any]:
    """Return NumPy's dtype for the arguments `dtype=` and `device=` of a function that makes a tensor.

    Raises:
        TypeError: `wanted` is no dtype.
        RuntimeError: the device is not the CPU.
    """
    if where is not None:
        device(where)
    if wanted is None:
        return (otherwise or get_default_dtype()).numpy
    if not isinstance(wanted, dtype) and wanted not in (float, int, bool):
        raise TypeError(f"{function}(): argument 'dtype' must be gradloom.dtype, not {type_name(wanted)}")
    return dtype_of(wanted).numpy


def size_argument(function: str, size: Sequence[Any]) -> tuple[int, ...]:
    """Return the extents given as `(2, 3)` or as `((2, 3),)`.

    Raises:
        TypeError: an extent is no whole number.
        RuntimeError: an extent is negative.
    """
    if len(size) == 1 and isinstance(size[0], (tuple, list)):
        size = size[0]
        try:
            extents = tuple([operator.index(extent) for extent in size])
        except TypeError:
            at = next(k for k, extent in enumerate(size) if not hasattr(extent, "__index__"))
            raise TypeError(
                f"{function}(): argument 'size' failed to unpack the object at pos {at + 1} with error \"type must be "
                f'tuple of ints,but got {type_name(size[at])}"'
            ) from None
    else:
        try:
            extents = tuple([operator.index(extent) for extent in size])
        except TypeError:
            wrong = next(extent for extent in size if not hasattr(extent, "__index__"))
            raise TypeError(
                f"{function}(): argument 'size' (position 1) must be tuple of ints, not {type_name(wrong)}"
            ) from None
    if min(extents, default=0) < 0:
        raise error(RuntimeError, f"{function}: Dimension size must be non-negative.")
    return extents


# --- from data --------------------------------------------------------------------------------------------------------


def _shape_of(data: Any) -> tuple[int, ...]:
    """Return the shape of nested sequences, found at the first element of each."""
    shape: list[int] = []
    while not isinstance(data, (str, bytes)):
        if isinstance(data, np.ndarray):
            return (*shape, *data.shape)
        if not isinstance(data, (list, tuple)):
            break
        shape.append(len(data))
        if not data:
            break
        data = data[0]
    return tuple(shape)


def _flattened(data: Any, shape: tuple[int, ...]) -> list[Any]:
    """Return the elements of nested sequences in order.

    Raises:
        ValueError: two sequences at one depth are not equally long.
        TypeError: there is a number where a sequence should be, or the other way round.
    """
    if 0 in shape:
        return []
    level: list[Any] = [data]
    for depth, extent in enumerate(shape):
        rows: list[Any] = []
        for each in level:
            try:
                length = len(each)
            except TypeError:
                raise TypeError("not a sequence") from None
            if length != extent:
                raise error(ValueError, f"expected sequence of length {extent} at dim {depth} (got {length})")
            rows.append(each)
        level = list(chain.from_iterable(rows))
    for each in level:
        if isinstance(each, (list, tuple)):
            raise TypeError(f"'{type(each).__name__}' object cannot be interpreted as an integer")
    return level


def dtype_of_item(item: Any) -> dtype:
    """Return the dtype that one item of data has by itself.

    Raises:
        ValueError, RuntimeError, TypeError: it is no number.
    """
    if isinstance(item, bool):
        return bool_
    if isinstance(item, (np.generic, np.ndarray)):
        return _known_dtype(item.dtype)
    if isinstance(item, Variable):
        return dtype_of(item._value.type.element)
    if isinstance(item, float):
        return get_default_dtype()
    if isinstance(item, int):
        return int64
    if isinstance(item, str):
        raise error(ValueError, "too many dimensions 'str'")
    if hasattr(item, "__index__"):
        return int64
    if hasattr(item, "__float__"):
        return get_default_dtype()
    raise error(RuntimeError, f"Could not infer dtype of {type(item).__name__}")


def _inferred(items: Iterable[Any]) -> dtype:
    """Return the dtype that holds all items: of Python numbers, NumPy's, tensors."""
    found: dtype | None = None
    seen: set[Any] = set()
    for item in items:
        key = (type(item), getattr(item, "dtype", None))
        if key not in seen:
            seen.add(key)
            each = dtype_of_item(item)
            found = each if found is None else promote_types(found, each)
    return found or get_default_dtype()


def _known_dtype(of: np.dtype[Any]) -> dtype:
    """Return the dtype of an array.

    Raises:
        TypeError: tensors have no such elements.
    """
    if of.kind not in "fiub" or of.itemsize > 8:
        raise error(TypeError, f"can't convert np.ndarray of type numpy.{of.type.__name__}. {_SUPPORTED}")
    return dtype_of(np.dtype(of.type))


def _check_array(array: Array) -> None:
    _known_dtype(array.dtype)
    if not array.dtype.isnative:
        raise error(
            ValueError,
            "given numpy array has byte order different from the native byte order. Conversion between byte orders is "
            "currently not supported.",
            "convert it first: array.astype(array.dtype.newbyteorder('='))",
        )
    if any(stride < 0 for stride in array.strides):
        raise error(ValueError, _NEGATIVE_STRIDES)


def _from_items(data: Any, wanted: "dtype | None") -> Array:
    """Return the array of nested sequences, or of a number."""
    shape = _shape_of(data)
    items = _flattened(data, shape)
    if any([isinstance(item, Variable) and item._value.type.size != 1 for item in items]):
        raise ValueError("only one element tensors can be converted to Python scalars")
    inferred = _inferred(items)
    target = (wanted or inferred).numpy
    plain = [item._array().item() if isinstance(item, Variable) else item for item in items]
    if target.kind != "f" and inferred.is_floating_point:
        plain = [_truncated(item, target) for item in plain]
    try:
        values = np.array(plain, np.int64) if target.kind in "iu" and target.itemsize < 8 else np.array(plain, target)
    except OverflowError:
        raise error(ValueError, "Overflow when unpacking long long") from None
    if values.dtype != target:
        values = _narrowed(values, target)
    return values.reshape(shape)


def _truncated(item: Any, target: np.dtype[Any], suffix: str = "") -> Any:
    """Return a float cut to a whole number, or its truth."""
    if target.kind == "b":
        return bool(item)
    if item != item or item in (float("inf"), float("-inf")):
        raise _overflow(target, suffix)
    return int(item)


def _overflow(target: np.dtype[Any], suffix: str = "") -> Exception:
    return error(RuntimeError, f"value cannot be converted to type {target.name}{suffix} without overflow")


def _narrowed(values: Array, target: np.dtype[Any]) -> Array:
    """Return whole numbers in a narrower dtype; negative ones wrap around in an unsigned dtype, as in PyTorch."""
    if values.size and not (_lowest(target) <= values.min() and values.max() <= np.iinfo(target).max):
        raise _overflow(target)
    return values.astype(target)


def fitting(value: Any, target: np.dtype[Any]) -> Any:
    """Return a number as a NumPy scalar of a dtype that has no fractions: the truth, or cut to a whole number.

    Raises:
        RuntimeError: it does not fit.
    """
    if target.kind == "b":
        return np.bool_(value)
    whole, limits = _truncated(value, target, "_t"), np.iinfo(target)
    if not _lowest(target) <= whole <= limits.max:
        raise _overflow(target, "_t")
    return np.array(whole).astype(target)[()]


def _lowest(target: np.dtype[Any]) -> int:
    """Return the least number that PyTorch converts to an integer dtype: unsigned ones wrap around."""
    limits = np.iinfo(target)
    return -int(limits.max) - 1 if target.kind == "u" else int(limits.min)


def array_of(data: Any, wanted: "dtype | None" = None) -> Array:
    """Return a new array of what `tensor` takes.

    Raises:
        ValueError: nested sequences are not equally long, or an array has another byte order or negative strides.
        TypeError, RuntimeError: there is something in it that is no number.
    """
    if isinstance(data, Variable):
        return np.array(data._array(), None if wanted is None else wanted.numpy)
    if isinstance(data, np.ndarray):
        _check_array(data)
        return np.array(data, None if wanted is None else wanted.numpy, order="C")
    if isinstance(data, np.generic):
        return array_of(np.asarray(data), wanted)
    if isinstance(data, str):
        raise TypeError("new(): invalid data type 'str'")
    if not isinstance(data, (list, tuple, int, float)) and not is_number(data):
        if hasattr(data, "__array__"):
            return array_of(np.asarray(data), wanted)
        if hasattr(data, "__len__") and hasattr(data, "__getitem__") and not isinstance(data, dict):
            data = list(data)
    return _from_items(data, wanted)


def wanted_dtype(function: str, wanted: Any, where: Any) -> "dtype | None":
    """Return the dtype asked for, None if it is to be inferred."""
    if wanted is None:
        if where is not None:
            device(where)
        return None
    return dtype_of(numpy_dtype(function, wanted, None, where))


def warn_of_copy(function: str) -> None:
    """Warn that a tensor is better cloned."""
    warnings.warn(
        "To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or "
        f"sourceTensor.detach().clone().requires_grad_(True), rather than {function}(sourceTensor).",
        UserWarning,
        stacklevel=3,
    )


@public("tensor")
def tensor(
    data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False
) -> Tensor:
    """Return a leaf tensor with a copy of data.

    Args:
        data: a number, nested lists or tuples of numbers, a NumPy array, a tensor (with a warning: clone it instead).
        dtype: of the result; inferred if None: bool, int64, the default dtype, or that of the array.
        requires_grad: gradients are wanted.

    Raises:
        ValueError: nested lists are not equally long.
        TypeError, RuntimeError: something is no number; integers with `requires_grad`.
    """
    if isinstance(data, Variable):
        warn_of_copy("gradloom.tensor")
    return finished(array_of(data, wanted_dtype("tensor", dtype, device)), requires_grad)


@public("from_numpy")
def from_numpy(ndarray: Array) -> Tensor:
    """Return a tensor that shares its memory with an array: writes go both ways.

    Raises:
        TypeError: it is no array, or tensors have no such elements.
        ValueError: it has negative strides, or another byte order.
    """
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    _check_array(ndarray)
    if not ndarray.flags.writeable:
        warnings.warn(_READ_ONLY, UserWarning, stacklevel=2)
        return from_array(ndarray.copy())
    return share_array(ndarray)


@public("as_tensor")
def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """Return data as a tensor: the tensor itself or shared memory where no conversion is needed, else a copy."""
    wanted = wanted_dtype("as_tensor", dtype, device)
    if isinstance(data, Variable):
        return data if wanted is None else data.to(wanted)  # type: ignore[return-value]
    if isinstance(data, np.ndarray) and (wanted is None or wanted.numpy == data.dtype):
        return from_numpy(data)
    return from_array(array_of(data, wanted))


@public("asarray")
def asarray(
    obj: Any, *, dtype: Any = None, device: Any = None, copy: "bool | None" = None, requires_grad: bool = False
) -> Tensor:
    """Return an object as a tensor; memory is shared where it can be, unless `copy` is True.

    Raises:
        ValueError: `copy` is False and memory cannot be shared.
    """
    wanted = wanted_dtype("asarray", dtype, device)
    if not isinstance(obj, (Variable, np.ndarray)):
        if copy is False:
            raise ValueError("can't alias arbitrary sequence into a tensor.")
        return finished(array_of(obj, wanted), requires_grad)
    have = dtype_of(obj._value.type.element) if isinstance(obj, Variable) else _known_dtype(obj.dtype)
    if copy is False and wanted is not None and wanted is not have:
        raise error(ValueError, f"can't alias tensor with dtype '{have.type_name}' into dtype '{wanted.type_name}'.")
    result = as_tensor(obj, wanted)
    if copy and (wanted is None or wanted is have):
        result = result.clone()
    if not requires_grad:
        return result.detach() if result.requires_grad else result
    return result.requires_grad_()


@public("scalar_tensor")
def scalar_tensor(s: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Return a tensor without dimensions, of the default dtype unless told otherwise."""
    return finished(np.array(s, numpy_dtype("scalar_tensor", dtype, None, device)), requires_grad)


@public("is_tensor")
def is_tensor(obj: Any) -> bool:
    """Tell whether an object is a tensor."""
    return isinstance(obj, Tensor)


@public("numel")
def numel(input: Tensor) -> int:
    """Return the number of elements."""
    return tensor_operand(input, "numel").numel()


@public("is_floating_point")
def is_floating_point(input: Tensor) -> bool:
    """Tell whether the elements are floats."""
    return tensor_operand(input, "is_floating_point").is_floating_point()


@public("is_complex")
def is_complex(input: Tensor) -> bool:
    """Tell whether the elements are complex: never."""
    return tensor_operand(input, "is_complex").is_complex()
