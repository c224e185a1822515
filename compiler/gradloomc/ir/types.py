"""Interned types of the IR: scalars, tensors, memory references, functions.

Two types are equal exactly when they are the same object, so a pass compares them with `is` and a type rule costs one
dictionary look-up. Types know their MLIR spelling and their NumPy dtype; they know nothing of values or ops.
"""

import math
from typing import Any

import numpy as np

from gradloomc.ir.extents import dim_text, is_symbolic


class Type:
    """Any type; `str(type)` is its MLIR spelling."""

    __slots__ = ("text",)
    text: str

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.text

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("types are interned; pickle the printed module instead")


class ScalarType(Type):
    """A number: `kind` is one of 'f' (float), 'i' (signed), 'u' (unsigned), 'b' (bool), 'x' (index)."""

    __slots__ = ("bits", "dtype", "kind")

    def __init__(self, text: str, kind: str, bits: int, dtype: np.dtype[Any]):
        self.text, self.kind, self.bits, self.dtype = text, kind, bits, dtype

    @property
    def is_float(self) -> bool:
        return self.kind == "f"

    @property
    def is_integer(self) -> bool:
        return self.kind in "iux"

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize


f16 = ScalarType("f16", "f", 16, np.dtype(np.float16))
f32 = ScalarType("f32", "f", 32, np.dtype(np.float32))
f64 = ScalarType("f64", "f", 64, np.dtype(np.float64))
i1 = ScalarType("i1", "b", 1, np.dtype(np.bool_))
i8 = ScalarType("i8", "i", 8, np.dtype(np.int8))
i16 = ScalarType("i16", "i", 16, np.dtype(np.int16))
i32 = ScalarType("i32", "i", 32, np.dtype(np.int32))
i64 = ScalarType("i64", "i", 64, np.dtype(np.int64))
ui8 = ScalarType("ui8", "u", 8, np.dtype(np.uint8))
ui16 = ScalarType("ui16", "u", 16, np.dtype(np.uint16))
ui32 = ScalarType("ui32", "u", 32, np.dtype(np.uint32))
ui64 = ScalarType("ui64", "u", 64, np.dtype(np.uint64))
index = ScalarType("index", "x", 64, np.dtype(np.int64))

SCALARS: dict[str, ScalarType] = {
    scalar.text: scalar
    for scalar in (f16, f32, f64, i1, i8, i16, i32, i64, ui8, ui16, ui32, ui64, index)
}
_BY_DTYPE: dict[Any, ScalarType] = {
    scalar.dtype: scalar for scalar in SCALARS.values() if scalar is not index
}


def scalar_type(dtype: Any) -> ScalarType:
    """Return the scalar type of a NumPy dtype of native byte order.

    Raises:
        TypeError: the dtype has no counterpart (object, complex, str, datetime, structured, longdouble).
    """
    found = _BY_DTYPE.get(dtype)
    if found is None:
        dtype = np.dtype(dtype).newbyteorder("=")
        found = _BY_DTYPE.get(dtype)
    if found is None:  # np.longlong and friends: equal in kind and size, distinct as keys
        for scalar in SCALARS.values():
            if scalar is not index and dtype.kind == scalar.dtype.kind and dtype == scalar.dtype:
                return scalar
        raise TypeError(f"dtype {dtype} has no gradloom type")
    return found


class TensorType(Type):
    """A whole array as a value: `tensor<3x4xf64>`."""

    __slots__ = ("element", "rank", "shape", "size")
    shape: tuple[int, ...]
    element: ScalarType


class MemRefType(Type):
    """A buffer with a layout: `memref<3x4xf64>`; `?` extents are run-time values."""

    __slots__ = ("element", "shape")
    shape: tuple[int | None, ...]
    element: ScalarType


class FunctionType(Type):
    """Types of the arguments and of the results: `(f64, f64) -> f64`."""

    __slots__ = ("inputs", "results")
    inputs: tuple[Type, ...]
    results: tuple[Type, ...]


_TENSORS: dict[tuple[tuple[int, ...], ScalarType], TensorType] = {}
_MEMREFS: dict[tuple[tuple[int | None, ...], ScalarType], MemRefType] = {}
_FUNCTIONS: dict[tuple[tuple[Type, ...], tuple[Type, ...]], FunctionType] = {}


def tensor(shape: tuple[int, ...], element: ScalarType) -> TensorType:
    """Return the interned `tensor<shape x element>`."""
    key = (shape, element)
    found = _TENSORS.get(key)
    if found is None:
        table = _table_of(shape, _TENSORS)
        found = table.get(key)
        if found is None:
            found = TensorType()
            found.shape, found.element = shape, element
            found.rank, found.size = len(shape), math.prod(shape)
            found.text = f"tensor<{''.join(f'{dim_text(extent)}x' for extent in shape)}{element.text}>"
            found = table.setdefault(key, found)  # another thread may have been faster
    return found


def _table_of(shape: tuple[Any, ...], table: dict[Any, Any]) -> dict[Any, Any]:
    """Return where a type of this shape is interned: types whose extents may vary live with the scope of these."""
    for extent in shape:
        if is_symbolic(extent):
            return extent.scope.types
    return table


def memref(shape: tuple[int | None, ...], element: ScalarType) -> MemRefType:
    """Return the interned `memref<shape x element>`; None is a run-time extent."""
    key = (shape, element)
    found = _MEMREFS.get(key)
    if found is None:
        table = _table_of(shape, _MEMREFS)
        if table is not _MEMREFS:
            key = (memref, *key)
        found = table.get(key)
        if found is None:
            found = MemRefType()
            found.shape, found.element = shape, element
            dims = "".join("?x" if extent is None else f"{dim_text(extent)}x" for extent in shape)
            found.text = f"memref<{dims}{element.text}>"
            found = table.setdefault(key, found)
    return found


def function(inputs: tuple[Type, ...], results: tuple[Type, ...]) -> FunctionType:
    """Return the interned function type."""
    key = (inputs, results)
    found = _FUNCTIONS.get(key)
    if found is None:
        table = _FUNCTIONS
        for type in (*inputs, *results):
            if isinstance(type, (TensorType, MemRefType)) and table is _FUNCTIONS:
                table = _table_of(type.shape, table)
        found = table.get(key)
        if found is not None:
            return found
        found = FunctionType()
        found.inputs, found.results = inputs, results
        outs = ", ".join(map(str, results))
        if len(results) != 1 or isinstance(results[0], FunctionType):
            outs = f"({outs})"
        found.text = f"({', '.join(map(str, inputs))}) -> {outs}"
        found = table.setdefault(key, found)
    return found
