"""Binding arguments natively: check arrays and read their data pointers from the ndarray headers in one compiled call.

NumPy keeps type, dtype, shape and flags of an array at fixed places of its object. A small compiled function compares
them with what the program was compiled for and fills the pointer table; any difference sends the call to the general
path. The layout is tested on a known array when this file is first used, and the compiled path is left out if it does
not fit.
"""

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradloom.exec.layout import (
    ALIGNED,
    C_CONTIGUOUS,
    DATA,
    DESCR,
    DIMS,
    FLAGS,
    NDIM,
    TUPLE_ITEMS,
    TYPE,
    array_layout_is_known,
)
from gradloomc.codegen.native import compile_module

# The expectations are i64 words: for each array its dtype's address, its number of dimensions, and its extents.
_TEXT = f"""
define i64 @gl_bind(ptr %arrays, i64 %count, ptr %expected, ptr %pointers, i64 %array_type) {{
entry:
  %items = getelementptr i8, ptr %arrays, i64 {TUPLE_ITEMS}
  %none = icmp eq i64 %count, 0
  br i1 %none, label %good, label %loop
loop:
  %k = phi i64 [ 0, %entry ], [ %k1, %next ]
  %want = phi ptr [ %expected, %entry ], [ %wantn, %next ]
  %pitem = getelementptr ptr, ptr %items, i64 %k
  %array = load ptr, ptr %pitem
  %ptype = getelementptr i8, ptr %array, i64 {TYPE}
  %type = load i64, ptr %ptype
  %istype = icmp eq i64 %type, %array_type
  br i1 %istype, label %isarray, label %bad
isarray:
  %pdescr = getelementptr i8, ptr %array, i64 {DESCR}
  %descr = load i64, ptr %pdescr
  %wdescr = load i64, ptr %want
  %c1 = icmp eq i64 %descr, %wdescr
  %pflags = getelementptr i8, ptr %array, i64 {FLAGS}
  %flags = load i32, ptr %pflags
  %masked = and i32 %flags, {C_CONTIGUOUS | ALIGNED}
  %c2 = icmp eq i32 %masked, {C_CONTIGUOUS | ALIGNED}
  %pnd = getelementptr i8, ptr %array, i64 {NDIM}
  %nd32 = load i32, ptr %pnd
  %nd = sext i32 %nd32 to i64
  %pwnd = getelementptr i64, ptr %want, i64 1
  %wnd = load i64, ptr %pwnd
  %c3 = icmp eq i64 %nd, %wnd
  %c12 = and i1 %c1, %c2
  %c123 = and i1 %c12, %c3
  br i1 %c123, label %dims, label %bad
dims:
  %pdims = getelementptr i8, ptr %array, i64 {DIMS}
  %dim0 = load ptr, ptr %pdims
  %wdim0 = getelementptr i64, ptr %want, i64 2
  %scalar = icmp eq i64 %nd, 0
  br i1 %scalar, label %next, label %dim
dim:
  %d = phi i64 [ 0, %dims ], [ %d1, %same ]
  %pd = getelementptr i64, ptr %dim0, i64 %d
  %extent = load i64, ptr %pd
  %pw = getelementptr i64, ptr %wdim0, i64 %d
  %wextent = load i64, ptr %pw
  %equal = icmp eq i64 %extent, %wextent
  br i1 %equal, label %same, label %bad
same:
  %d1 = add i64 %d, 1
  %more = icmp slt i64 %d1, %nd
  br i1 %more, label %dim, label %next
next:
  %pdata = getelementptr i8, ptr %array, i64 {DATA}
  %data = load ptr, ptr %pdata
  %slot = getelementptr ptr, ptr %pointers, i64 %k
  store ptr %data, ptr %slot
  %words = add i64 %nd, 2
  %wantn = getelementptr i64, ptr %want, i64 %words
  %k1 = add i64 %k, 1
  %again = icmp slt i64 %k1, %count
  br i1 %again, label %loop, label %good
good:
  ret i64 1
bad:
  ret i64 0
}}
"""

_binder: Any = None


def binder() -> Any:
    """Return the compiled `bind(arrays, count, expected, pointers, type) -> 1 or 0`; None where it cannot be used."""
    global _binder
    if _binder is None:
        if not array_layout_is_known():
            _binder = False
        else:
            address = compile_module(_TEXT, ["gl_bind"]).addresses["gl_bind"]
            signature = ctypes.PYFUNCTYPE(
                ctypes.c_int64, ctypes.py_object, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64
            )
            _binder = signature(address)
    return _binder or None


def expectations(types: Sequence[tuple[tuple[int, ...], np.dtype[Any]]]) -> Any:
    """Return the words that `bind` compares arrays of these shapes and dtypes with."""
    words: list[int] = []
    for shape, dtype in types:
        words += [id(dtype), len(shape), *shape]
    return (ctypes.c_int64 * max(1, len(words)))(*words)
