"""Element types, their promotion, and the small value types beside them: `Size`, `device`, `finfo`, `iinfo`.

Names, texts and rules are PyTorch's (2.13); where PyTorch's text says `torch`, this one says `gradloom`. Knows NumPy's
dtypes and the IR's scalar types, and no tensors. Start reading at `dtype`; `DTYPES` holds every public name of a dtype,
those that shadow builtins (`float`, `int`, `bool`) as well, so that this module keeps the builtins for itself.
"""

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, SupportsIndex, overload

import numpy as np

from gradloomc.ir import types
from gradloomc.ir.types import ScalarType


class dtype:
    """The type of a tensor's elements; there is one object for each, so dtypes are compared with `is`.

    Attributes:
        name: canonical name, "float32".
        numpy: NumPy's dtype.
        element: the IR's scalar type.
        type_name: the name in `gradloom.FloatTensor` and in texts such as "Got: Long".
        c_name: the name in texts such as "float != double"; it is that of the C++ type.
        itemsize: bytes of one element.
        is_floating_point, is_signed: whether it has fractions, and a sign.
        is_complex: False; gradloom has no complex elements.
    """

    __slots__ = (
        "c_name",
        "element",
        "is_complex",
        "is_floating_point",
        "is_signed",
        "itemsize",
        "name",
        "numpy",
        "type_name",
    )

    def __init__(self, name: str, element: ScalarType, type_name: str, c_name: str):
        self.name, self.element, self.type_name, self.c_name = name, element, type_name, c_name
        self.numpy: np.dtype[Any] = element.dtype
        self.itemsize = element.itemsize
        self.is_floating_point = element.is_float
        self.is_signed = element.kind in "fi"
        self.is_complex = False

    def __repr__(self) -> str:
        return f"gradloom.{self.name}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _named, (self.name,)


float16 = dtype("float16", types.f16, "Half", "c10::Half")
float32 = dtype("float32", types.f32, "Float", "float")
float64 = dtype("float64", types.f64, "Double", "double")
int8 = dtype("int8", types.i8, "Char", "signed char")
int16 = dtype("int16", types.i16, "Short", "short int")
int32 = dtype("int32", types.i32, "Int", "int")
int64 = dtype("int64", types.i64, "Long", "long int")
uint8 = dtype("uint8", types.ui8, "Byte", "unsigned char")
uint16 = dtype("uint16", types.ui16, "UInt16", "short unsigned int")
uint32 = dtype("uint32", types.ui32, "UInt32", "unsigned int")
uint64 = dtype("uint64", types.ui64, "UInt64", "long unsigned int")
bool_ = dtype("bool", types.i1, "Bool", "bool")

CANONICAL: dict[str, dtype] = {
    each.name: each
    for each in (float16, float32, float64, int8, int16, int32, int64, uint8, uint16, uint32, uint64, bool_)
}
ALIASES: dict[str, dtype] = {
    "half": float16,
    "float": float32,
    "double": float64,
    "short": int16,
    "int": int32,
    "long": int64,
}
DTYPES: dict[str, dtype] = CANONICAL | ALIASES

_BY_ELEMENT: dict[ScalarType, dtype] = {each.element: each for each in CANONICAL.values()}
_BY_PYTHON: dict[type, dtype] = {float: float64, int: int64, bool: bool_}


def _named(name: str) -> dtype:
    """Find a dtype by its canonical name; unpickling calls it."""
    return CANONICAL[name]


def dtype_of(what: Any, function: str = "") -> dtype:
    """Find the dtype that a dtype, NumPy dtype or scalar class, scalar type of the IR or Python class stands for.

    The Python classes are PyTorch's `dtype=` shorthands: `float` is float64, `int` is int64, `bool` is bool.

    Args:
        function: the public function whose argument it is, for the error's text.

    Raises:
        TypeError: it is none of these, or it is a NumPy dtype without a counterpart (complex, object, str).
    """
    if isinstance(what, dtype):
        return what
    if isinstance(what, ScalarType):
        if what in _BY_ELEMENT:
            return _BY_ELEMENT[what]
        raise TypeError(f"the IR's {what} is no element type of a tensor")
    if isinstance(what, np.dtype) or (isinstance(what, type) and issubclass(what, np.generic)):
        return _BY_ELEMENT[types.scalar_type(np.dtype(what))]
    if isinstance(what, type) and what in _BY_PYTHON:
        return _BY_PYTHON[what]
    where = f"{function}(): " if function else ""
    raise TypeError(f"{where}argument 'dtype' must be gradloom.dtype, not {type(what).__name__}")


_default = float32


default_listeners: list[Callable[[], None]] = []  # called when the default dtype has changed


def get_default_dtype() -> dtype:
    """Return the dtype of tensors made from Python floats, float32 unless `set_default_dtype` changed it."""
    return _default


@contextmanager
def default_dtype(d: dtype) -> Iterator[None]:
    """Let `d` be the default inside the `with`, for a computation that was recorded when it was."""
    global _default
    before, _default = _default, d
    try:
        yield
    finally:
        _default = before


def set_default_dtype(d: dtype) -> None:
    """Set the dtype of tensors made from Python floats.

    Raises:
        TypeError: `d` is no dtype, or no floating-point one.
    """
    global _default
    if not isinstance(d, dtype):
        raise TypeError("invalid dtype object: only floating-point types are supported as the default type")
    if not d.is_floating_point:
        raise TypeError("only floating-point types are supported as the default type")
    _default = d
    for listener in default_listeners:
        listener()


def promote_types(a: dtype, b: dtype) -> dtype:
    """Return the smallest dtype that both convert to: the order is bool, integers, floats.

    Raises:
        TypeError: an argument is no dtype.
        RuntimeError: uint16, uint32 or uint64 meets another integer or bool; PyTorch has no rule for it.
    """
    a, b = dtype_of(a, "promote_types"), dtype_of(b, "promote_types")
    if a is b:
        return a
    if a.is_floating_point or b.is_floating_point:
        floats = [each for each in (a, b) if each.is_floating_point]
        return max(floats, key=lambda each: each.itemsize)
    if {a, b} & {uint16, uint32, uint64}:
        raise RuntimeError(
            "Promotion for uint16, uint32, uint64 types is not supported, "
            f"attempted to promote {a.type_name} and {b.type_name}"
        )
    if bool_ in (a, b):
        return b if a is bool_ else a
    if uint8 in (a, b):  # the other is signed, and must hold 255
        signed = b if a is uint8 else a
        return int16 if signed is int8 else signed
    return max(a, b, key=lambda each: each.itemsize)


def result_type(*operands: Any) -> dtype:
    """Return the dtype of an operation on `operands`, each a pair `(dtype, ndim)`, a Python number or its class.

    Operands fall into three tiers: tensors with dimensions, zero-dimensional tensors, Python numbers. A lower tier
    counts only where it is of a higher kind (bool < integer < floating point) than the tiers above it; so
    `int8 tensor + 300` stays int8, and `int8 tensor + 1.5` has the default dtype. (PyTorch: `at::native::result_type`.)

    Raises:
        TypeError: an operand is none of these.
        RuntimeError: as of `promote_types`.
    """
    dimensioned: dtype | None = None
    scalars: dtype | None = None
    numbers: dtype | None = None
    for operand in operands:
        if isinstance(operand, tuple):
            each, ndim = dtype_of(operand[0]), operand[1]
            if ndim > 0:
                dimensioned = _promote(dimensioned, each)
            else:
                scalars = _promote(scalars, each)
        else:
            numbers = _promote(numbers, _dtype_of_number(operand))
    found = _combine(dimensioned, _combine(scalars, numbers))
    if found is None:
        raise TypeError("result_type() needs at least one operand")
    return found


def result_element(operands: Sequence[tuple[ScalarType, int] | type]) -> ScalarType:
    """Return the element type of an operation: `result_type` in the IR's terms.

    Args:
        operands: `(element, ndim)` for a tensor, or the class `float`, `int` or `bool` for a Python number.
    """
    return result_type(*operands).element


def _dtype_of_number(number: Any) -> dtype:
    """Return the dtype that a Python number, or the class of one, has in promotions."""
    kind = number if isinstance(number, type) else type(number)
    for known in (bool, int, float):  # bool first: it is a subclass of int
        if issubclass(kind, known):
            return _default if known is float else _BY_PYTHON[known]
    raise TypeError(f"result_type() takes pairs (dtype, ndim) and Python numbers, not {kind.__name__}")


def _promote(a: dtype | None, b: dtype | None) -> dtype | None:
    return promote_types(a, b) if a is not None and b is not None else a or b


def _combine(higher: dtype | None, lower: dtype | None) -> dtype | None:
    """Join two tiers: the lower one counts only where it is of a higher kind."""
    if higher is None or lower is None:
        return higher or lower
    if not higher.is_floating_point and (higher is bool_ or lower.is_floating_point):
        return promote_types(higher, lower)
    return higher


class Size(tuple[int, ...]):
    """The extents of a tensor: a tuple of whole numbers whose slices, sums and multiples are sizes again."""

    __slots__ = ()

    def __new__(cls, extents: Iterable[SupportsIndex] = ()) -> "Size":
        """Make a size of whole numbers.

        Raises:
            TypeError: an item is not a whole number.
        """
        return tuple.__new__(cls, [_extent(item, position) for position, item in enumerate(extents)])

    def numel(self) -> int:
        """Return the number of elements, the product of the extents: 1 for the empty size."""
        return math.prod(self)

    def __repr__(self) -> str:
        return f"gradloom.Size([{', '.join(map(str, self))}])"

    @overload
    def __getitem__(self, key: SupportsIndex, /) -> int: ...
    @overload
    def __getitem__(self, key: slice, /) -> "Size": ...
    def __getitem__(self, key: Any, /) -> Any:
        part = tuple.__getitem__(self, key)
        return tuple.__new__(Size, part) if isinstance(key, slice) else part

    def __add__(self, other: Any, /) -> "Size":  # pyright: ignore[reportIncompatibleMethodOverride]
        if hasattr(other, "__array_ufunc__"):
            return NotImplemented  # an array adds the extents as numbers
        if not isinstance(other, tuple):
            raise TypeError(f"can only concatenate tuple (not {type(other).__name__}) to gradloom.Size")
        return Size(tuple.__add__(self, other))

    def __radd__(self, other: Any, /) -> "Size":
        return Size(tuple.__add__(other, self)) if isinstance(other, tuple) else NotImplemented

    def __mul__(self, times: SupportsIndex, /) -> "Size":
        try:
            return tuple.__new__(Size, tuple.__mul__(self, times))
        except TypeError:  # not a whole number: Python asks the other operand, then says so
            return NotImplemented

    __rmul__ = __mul__

    def __reduce__(self) -> tuple[Any, ...]:
        return Size, (tuple(self),)


def _extent(item: Any, position: int) -> int:
    try:
        return operator.index(item)
    except TypeError:
        raise TypeError(
            f"gradloom.Size() takes an iterable of 'int' (item {position} is '{type(item).__name__}')"
        ) from None


# PyTorch's device types; a program that names another than "cpu" meant something, so it is told what is missing.
_FOREIGN_DEVICES = frozenset(
    "cuda ipu xpu mkldnn opengl opencl ideep hip ve fpga maia xla lazy vulkan mps meta hpu mtia privateuseone".split()
)


class device:
    """Where a tensor lives: `device("cpu")`, also `"cpu:0"` or `device("cpu", 0)`.

    It is a context manager, as PyTorch's is; there being one device, entering it changes nothing.

    Attributes:
        type: "cpu".
        index: the number in "cpu:0", None without one.
    """

    __slots__ = ("index", "type")

    def __init__(self, type: Any, index: int | None = None):
        """Take a device's text, with or without its index, or a device.

        Raises:
            RuntimeError: it is not the CPU, or the text is no device.
            TypeError: `type` is neither text nor a device.
        """
        if isinstance(type, int) and not isinstance(type, bool):
            raise RuntimeError(f"gradloom runs on CPUs: there is no accelerator number {type}; use device('cpu')")
        if isinstance(type, device):
            type, index = type.type, type.index
        elif not isinstance(type, str):
            raise TypeError(f"device(): argument 'type' must be str or gradloom.device, not {type.__class__.__name__}")
        name, colon, number = type.partition(":")
        if not type:
            raise RuntimeError("Device string must not be empty")
        if colon and not (number.isascii() and number.isdigit() and str(int(number)) == number):
            raise RuntimeError(f"Invalid device string: '{type}'")
        if name in _FOREIGN_DEVICES:
            raise RuntimeError(f"gradloom runs on CPUs: there is no device '{type}'; use device('cpu')")
        if name != "cpu":
            raise RuntimeError(f"Expected cpu device type at start of device string: {type}")
        if colon and index is not None:
            raise RuntimeError(
                f"type (string) must not include an index because index was passed explicitly: {type}"
            )
        if index is not None and index < 0:
            raise RuntimeError("Device index must not be negative")
        self.type = name
        self.index = int(number) if colon else index

    def __repr__(self) -> str:
        return f"device(type='{self.type}'{'' if self.index is None else f', index={self.index}'})"

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __reduce__(self) -> tuple[Any, ...]:
        return device, (self.type, self.index)

    def __enter__(self) -> "device":
        return self

    def __exit__(self, *exception: object) -> None:
        pass


class _Limits:
    """What `finfo` and `iinfo` share: the bits, the range, equality."""

    bits: int
    dtype: str
    min: Any
    max: Any

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, _Limits) and self.dtype == other.dtype

    __hash__ = None  # pyright: ignore[reportAssignmentType]  # PyTorch's are not hashable


class finfo(_Limits):
    """The limits of a floating-point dtype.

    Attributes:
        bits: bits of one number.
        eps: distance from 1 to the next number.
        min, max: the most negative and the largest finite number.
        tiny, smallest_normal: the smallest positive number of full precision.
        resolution: ten to the minus number of decimal digits that survive.
        dtype: the dtype's name.
    """

    def __init__(self, type: Any = None):
        """Look up a dtype, the default one without argument.

        Raises:
            TypeError: it is not floating-point.
        """
        of = _limits_argument("finfo", type if type is not None else _default)
        if not of.is_floating_point:
            raise TypeError(
                "gradloom.finfo() requires a floating point input type. Use gradloom.iinfo to handle 'gradloom.finfo'"
            )
        limits = np.finfo(of.numpy)
        self.dtype, self.bits = of.name, limits.bits
        self.eps, self.min, self.max = float(limits.eps), float(limits.min), float(limits.max)
        self.tiny = self.smallest_normal = float(limits.smallest_normal)
        self.resolution = float(f"1e-{limits.precision}")

    def __repr__(self) -> str:
        return (
            f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, eps={self.eps:g}, "
            f"smallest_normal={self.smallest_normal:g}, tiny={self.tiny:g}, dtype={self.dtype})"
        )


class iinfo(_Limits):
    """The limits of an integer dtype.

    Attributes:
        bits: bits of one number.
        min, max: the least and the greatest number.
        dtype: the dtype's name.
    """

    def __init__(self, type: Any):
        """Look up a dtype.

        Raises:
            TypeError: it is not an integer dtype.
        """
        of = _limits_argument("iinfo", type)
        if of.is_floating_point:
            raise TypeError(
                "gradloom.iinfo() requires an integer input type. Use gradloom.finfo to handle 'gradloom.iinfo'"
            )
        if of is bool_:
            raise TypeError("gradloom.bool is not supported by gradloom.iinfo")
        limits = np.iinfo(of.numpy)
        self.dtype, self.bits, self.min, self.max = of.name, limits.bits, int(limits.min), int(limits.max)

    def __repr__(self) -> str:
        return f"iinfo(min={float(self.min):g}, max={float(self.max):g}, dtype={self.dtype})"


def _limits_argument(function: str, what: Any) -> dtype:
    if isinstance(what, dtype):
        return what
    if isinstance(what, type) and what in _BY_PYTHON:
        return _BY_PYTHON[what]
    raise TypeError(
        f"{function}(): argument 'type' (position 1) must be gradloom.dtype, not {type(what).__name__}"
    )
