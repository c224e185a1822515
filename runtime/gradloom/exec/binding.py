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

from gradloom.exec.layout import DATA, DIMS, TUPLE_ITEMS, array_layout_is_known
from gradloom.exec.words import READABLE, field, same_header, same_words, word
from gradloomc.codegen.native import compile_module

# The expectations are i64 words: for each array its dtype's address, its number of dimensions, and its extents.
_TEXT = f"""
define i64 @gl_bind(ptr %arrays, i64 %count, ptr %expected, ptr %pointers, ptr %array) {{
entry:
  %items = getelementptr i8, ptr %arrays, i64 {TUPLE_ITEMS}
  %none = icmp eq i64 %count, 0
  br i1 %none, label %good, label %loop
loop:
  %k = phi i64 [ 0, %entry ], [ %k1, %next ]
  %want = phi ptr [ %expected, %entry ], [ %wantn, %next ]
{word("item", "items", "%k", "ptr")}
{word("descr", "want", 0, "ptr")}
{word("rank", "want", 1)}
{same_header("is", "item", "descr", "rank", READABLE, READABLE, "header", "bad")}
header:
{field("dims", "item", DIMS, "ptr")}
  %extents = getelementptr i64, ptr %want, i64 2
{same_words("extent", "dims", "extents", "rank", "header", "next", "bad")}
next:
{field("data", "item", DATA, "ptr")}
  %slot = getelementptr ptr, ptr %pointers, i64 %k
  store ptr %data, ptr %slot
  %words = add i64 %rank, 2
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
