"""What operations over dimensions share: their arguments, kept dimensions, and results with several fields.

Rules get `dims` (counted from the front, in order; None: all) and `keepdim` as attributes. No operation is defined
here: reductions.py, extrema.py, norms.py, scans.py and softmax.py do that.
"""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any

import numpy as np

from gradloom.autograd.dtypes import dtype_of, get_default_dtype
from gradloom.autograd.elementwise import type_name
from gradloom.autograd.errors import error
from gradloom.autograd.graph import Attributes
from gradloom.autograd.tensor import normalize_dim
from gradloom.trace.promote import convert
from gradloomc.dialects import nd
from gradloomc.ir import types as ir_types
from gradloomc.ir.core import Value
from gradloomc.ir.types import ScalarType

Dims = tuple[int, ...]

# --- arguments --------------------------------------------------------------------------------------------------------


def numpy_names(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function of `dim` and `keepdim` also take NumPy's names for them, `axis` and `keepdims`."""

    @wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        if "axis" in options:
            options["dim"] = options.pop("axis")
        if "keepdims" in options:
            options["keepdim"] = options.pop("keepdims")
        return function(*args, **options)

    return call


def normalize_dims(function: str, dim: Any, rank: int) -> Dims:
    """Return dimensions counted from the front, in order; None and () stand for all.

    Raises:
        IndexError: one is out of range.
        RuntimeError: one is named twice.
        TypeError: they are neither an int nor a sequence of ints.
    """
    if dim is None:
        return tuple(range(rank))
    if isinstance(dim, tuple):
        if not dim:
            return tuple(range(rank))
        found = [_one(function, each, rank) for each in dim]
        for each in found:
            if found.count(each) > 1:
                raise error(RuntimeError, f"dim {each} appears multiple times in the list of dims")
        return tuple(sorted(found)) if rank else ()
    one = _one(function, dim, rank)
    return (one,) if rank else ()


def _one(function: str, dim: Any, rank: int) -> int:
    if isinstance(dim, bool) or not hasattr(dim, "__index__"):
        raise TypeError(
            f"{function}() received an invalid combination of arguments - got ({type_name(dim)}): dim should be an int "
            "or a tuple of ints"
        )
    return normalize_dim(dim, rank)


@lru_cache(maxsize=4096)
def _reduced_over(function: str, dim: Any, rank: int, keepdim: bool) -> Attributes:
    return (("dims", normalize_dims(function, dim, rank)), ("keepdim", keepdim))


def over(function: str, dim: Any, rank: int, keepdim: Any) -> Attributes:
    """Return the attributes of a reduction over dimensions, the same object for the same arguments."""
    if dim.__class__ not in _HASHED:
        dim = tuple(dim) if isinstance(dim, (list, tuple)) else dim.__index__() if hasattr(dim, "__index__") else dim
    return _reduced_over(function, dim, rank, bool(keepdim))


_HASHED = frozenset((int, tuple, type(None)))


def one_dim(function: str, dim: Any, rank: int, position: int = 2) -> int:
    """Return one dimension counted from the front.

    Raises:
        TypeError, IndexError: it is no int, or out of range.
    """
    if dim.__class__ is not int and (isinstance(dim, bool) or not hasattr(dim, "__index__")):
        raise TypeError(f"{function}(): argument 'dim' (position {position}) must be int, not {type_name(dim)}")
    return normalize_dim(dim, rank)


# --- rules ------------------------------------------------------------------------------------------------------------


def axes_of(x: Value, dims: Dims | None) -> Dims:
    """Return the axes to reduce; an array without dimensions has none."""
    return tuple(range(x.type.rank)) if dims is None or not x.type.rank else dims


def extent_over(x: Value, axes: Dims) -> int:
    """Return how many elements are reduced to one."""
    count = 1
    for axis in axes:
        count *= x.type.shape[axis]
    return count


def kept(reduced: Value, x: Value, axes: Dims, keepdim: bool) -> Value:
    """Put the reduced axes of `x` back with extent 1 if `keepdim`."""
    if not keepdim or not axes:
        return reduced
    return nd.reshape(reduced, shape=tuple([1 if k in axes else extent for k, extent in enumerate(x.type.shape)]))


def working(x: Value) -> Value:
    """Return float16 as float32, in which PyTorch accumulates it; all else as it is."""
    return convert(x, ir_types.f32) if x.type.element is ir_types.f16 else x


def as_floats(x: Value) -> Value:
    """Return integers and bools in the default float dtype."""
    return x if x.type.element.kind == "f" else convert(x, get_default_dtype().element)


def element_argument(function: str, dtype: Any) -> ScalarType | None:
    """Return the element type of a `dtype=` argument."""
    return None if dtype is None else dtype_of(dtype, function).element


def spread_number(number: Any, like: Value) -> Value:
    """Return a number as an array of the type of another one."""
    return nd.splat(np.asarray(number, like.type.element.dtype)[()], like.type)


# --- results with several fields --------------------------------------------------------------------------------------


def structure(name: str, *fields: str) -> Any:
    """Return a class of named tuples that are printed as PyTorch's: `gradloom.return_types.max(...)`."""

    def make(cls: type, *values: Any) -> Any:
        return tuple.__new__(cls, values[0] if len(values) == 1 and len(fields) > 1 else values)

    def show(self: Any) -> str:
        lines = ",\n".join(f"{field}={value!r}" for field, value in zip(fields, self, strict=True))
        return f"gradloom.return_types.{name}(\n{lines})"

    def reduce(self: Any) -> Any:
        return _rebuild, (name, tuple(self))

    body: dict[str, Any] = {
        "__slots__": (),
        "__new__": make,
        "__repr__": show,
        "__reduce__": reduce,
        "__module__": "gradloom.return_types",
        "n_fields": len(fields),
        "n_sequence_fields": len(fields),
        "n_unnamed_fields": 0,
    }
    body.update({field: property(lambda self, k=k: self[k]) for k, field in enumerate(fields)})
    cls = STRUCTURES[name] = type(name, (tuple,), body)
    return cls


STRUCTURES: dict[str, Any] = {}  # by name: what `gradloom.return_types` holds


def _rebuild(name: str, values: tuple[Any, ...]) -> Any:
    return STRUCTURES[name](*values)
