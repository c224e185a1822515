"""A native entry into a program: one compiled function that checks the arrays, makes the results and runs the segments.

It is the body of a builtin function object, so that Python calls it directly; what a program is comes from a table of
words. It serves programs that consist of native segments alone and whose results are small enough for NumPy's own
allocator. Where an array is not as expected it returns None, and the general path takes the call. Where NumPy's or
Python's objects do not lie in memory as expected, there is no entry at all.
"""

import ctypes
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradloom.exec.binding import DATA, TUPLE_ITEMS, bind_text, layout_is_known
from gradloomc.codegen.native import compile_module

# Words of the table; the names stand for their positions.
_WORDS = (
    "PyArray_New",
    "PyTuple_New",
    "Py_IncRef",
    "Py_DecRef",
    "array_type",
    "none",
    "arguments",
    "results",
    "segments",
    "returned",
    "pointers",  # address of the pointer table that segments get
    "sizes",
    "expected",  # what binding compares the arguments with
    "specifications",  # for each result: type number, rank, extents
    "functions",  # the segments' addresses
    "order",  # for each returned array: which result it is
    "made",  # place for the results' objects
    "first_result",  # slot of the first result
)


_OF_ITS_OWN = "ptr null, ptr null, i32 0, i32 0, ptr null"  # strides, data, item size, flags, base


def _load(name: str, kind: str = "i64") -> str:
    """Return IR that loads a word of the table under its name."""
    at = _WORDS.index(name)
    return f"  %p_{name} = getelementptr i64, ptr %table, i64 {at}\n  %{name} = load {kind}, ptr %p_{name}\n"


def _entry_text() -> str:
    pointers = ("PyArray_New", "PyTuple_New", "Py_IncRef", "Py_DecRef", "none", "pointers", "sizes", "expected")
    pointers += ("specifications", "functions", "order", "made", "array_type")
    loads = "".join(_load(name, "ptr" if name in pointers else "i64") for name in _WORDS)
    return f"""
define ptr @gl_entry(ptr %self, ptr %items, i64 %count) {{
entry:
  %ptable = getelementptr i8, ptr %self, i64 {DATA}
  %table = load ptr, ptr %ptable
{loads}
  %fits = icmp eq i64 %count, %arguments
  br i1 %fits, label %bind, label %miss
bind:
  %type_word = ptrtoint ptr %array_type to i64
  %bound = call i64 @gl_bind_items(ptr %items, i64 %count, ptr %expected, ptr %pointers, i64 %type_word)
  %good = icmp eq i64 %bound, 1
  br i1 %good, label %make, label %miss
make:
  %k = phi i64 [ 0, %bind ], [ %k1, %made_one ]
  %spec = phi ptr [ %specifications, %bind ], [ %specn, %made_one ]
  %all = icmp eq i64 %k, %results
  br i1 %all, label %run, label %one
one:
  %number64 = load i64, ptr %spec
  %number = trunc i64 %number64 to i32
  %prank = getelementptr i64, ptr %spec, i64 1
  %rank64 = load i64, ptr %prank
  %rank = trunc i64 %rank64 to i32
  %dims = getelementptr i64, ptr %spec, i64 2
  %array = call ptr %PyArray_New(ptr %array_type, i32 %rank, ptr %dims, i32 %number, {_OF_ITS_OWN})
  %failed = icmp eq ptr %array, null
  br i1 %failed, label %give_up, label %made_one
made_one:
  %pmade = getelementptr ptr, ptr %made, i64 %k
  store ptr %array, ptr %pmade
  %pdata = getelementptr i8, ptr %array, i64 {DATA}
  %data = load ptr, ptr %pdata
  %slot = add i64 %first_result, %k
  %pslot = getelementptr ptr, ptr %pointers, i64 %slot
  store ptr %data, ptr %pslot
  %words = add i64 %rank64, 2
  %specn = getelementptr i64, ptr %spec, i64 %words
  %k1 = add i64 %k, 1
  br label %make
run:
  %s = phi i64 [ 0, %make ], [ %s1, %segment ]
  %ran = icmp eq i64 %s, %segments
  br i1 %ran, label %collect, label %segment
segment:
  %pfunction = getelementptr ptr, ptr %functions, i64 %s
  %function = load ptr, ptr %pfunction
  call void %function(ptr %pointers, ptr %sizes)
  %s1 = add i64 %s, 1
  br label %run
collect:
  %tuple = call ptr %PyTuple_New(i64 %returned)
  %no_tuple = icmp eq ptr %tuple, null
  br i1 %no_tuple, label %give_up, label %fill
fill:
  %r = phi i64 [ 0, %collect ], [ %r1, %filled ]
  %full = icmp eq i64 %r, %returned
  br i1 %full, label %let_go, label %filled
filled:
  %porder = getelementptr i64, ptr %order, i64 %r
  %which = load i64, ptr %porder
  %pwhich = getelementptr ptr, ptr %made, i64 %which
  %result = load ptr, ptr %pwhich
  call void %Py_IncRef(ptr %result)
  %first_item = getelementptr i8, ptr %tuple, i64 {TUPLE_ITEMS}
  %pitem = getelementptr ptr, ptr %first_item, i64 %r
  store ptr %result, ptr %pitem
  %r1 = add i64 %r, 1
  br label %fill
give_up:
  %given = phi i64 [ %k, %one ], [ %results, %collect ]
  br label %drop
let_go:
  br label %drop
drop:
  %answer = phi ptr [ null, %give_up ], [ %tuple, %let_go ]
  %limit = phi i64 [ %given, %give_up ], [ %results, %let_go ]
  br label %next_drop
next_drop:
  %d = phi i64 [ 0, %drop ], [ %d1, %drop_one ]
  %dropped = icmp eq i64 %d, %limit
  br i1 %dropped, label %done, label %drop_one
drop_one:
  %pdrop = getelementptr ptr, ptr %made, i64 %d
  %object = load ptr, ptr %pdrop
  call void %Py_DecRef(ptr %object)
  %d1 = add i64 %d, 1
  br label %next_drop
done:
  ret ptr %answer
miss:
  call void %Py_IncRef(ptr %none)
  ret ptr %none
}}
"""


class _MethodDefinition(ctypes.Structure):
    """CPython's PyMethodDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


_METH_FASTCALL = 0x80
_definition: Any = None


def _numpy_function(index: int) -> int:
    """Return the address of a function of NumPy's C interface."""
    capsule = np._core._multiarray_umath._ARRAY_API  # type: ignore[attr-defined]
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    table = get_pointer(capsule, None)
    return ctypes.c_void_p.from_address(table + 8 * index).value or 0


_PYARRAY_TYPE, _PYARRAY_NEW = 2, 93


def _method_definition() -> Any:
    """Return the definition of the builtin, compiled once; False where the layout is not known."""
    global _definition
    if _definition is None:
        # Its memory for pointers is shared by all calls, which the interpreter's lock keeps apart.
        locked = getattr(sys, "_is_gil_enabled", lambda: True)()
        try:
            known = locked and layout_is_known() and _numpy_function(_PYARRAY_TYPE) == id(np.ndarray)
        except (AttributeError, ValueError):
            known = False
        if not known:
            _definition = False
        else:
            address = compile_module(bind_text() + _entry_text(), ["gl_entry"]).addresses["gl_entry"]
            _definition = _MethodDefinition(b"run", address, _METH_FASTCALL, None)
    return _definition


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def make_entry(
    expected: Any,
    arguments: int,
    results: Sequence[tuple[tuple[int, ...], np.dtype[Any]]],
    first_result: int,
    order: Sequence[int],
    segments: Sequence[Any],
    pointers: Any,
    sizes: Any,
) -> Callable[..., Any] | None:
    """Return a function of the argument arrays that runs the segments and returns a tuple of new arrays.

    It returns None where an argument is not as expected. It keeps everything alive that it points to.

    Args:
        expected: see `binding.expectations`.
        results: shape and dtype of each result slot.
        order: for each array that is returned: which result it is.
        segments: the native functions, as ctypes objects.
        pointers: the pointer table, with the addresses of constants and temporaries filled in.
        sizes: what segments get as their second argument.
    """
    definition = _method_definition()
    if not definition:
        return None
    specifications: list[int] = []
    for shape, dtype in results:
        specifications += [dtype.num, len(shape), *shape]
    specification_words = np.array(specifications or [0], np.int64)
    functions = np.array([_address(segment) for segment in segments] or [0], np.int64)
    order_words = np.array([*order] or [0], np.int64)
    made = np.zeros(max(1, len(results)), np.int64)
    words = {
        "PyArray_New": _numpy_function(_PYARRAY_NEW),
        "PyTuple_New": _address(ctypes.pythonapi.PyTuple_New),
        "Py_IncRef": _address(ctypes.pythonapi.Py_IncRef),
        "Py_DecRef": _address(ctypes.pythonapi.Py_DecRef),
        "array_type": id(np.ndarray),
        "none": id(None),
        "arguments": arguments,
        "results": len(results),
        "segments": len(segments),
        "returned": len(order),
        "pointers": ctypes.addressof(pointers),
        "sizes": ctypes.addressof(sizes),
        "expected": ctypes.addressof(expected),
        "specifications": specification_words.ctypes.data,
        "functions": functions.ctypes.data,
        "order": order_words.ctypes.data,
        "made": made.ctypes.data,
        "first_result": first_result,
    }
    table = np.array([words[name] for name in _WORDS], np.int64)
    # The builtin keeps its table alive, and the table, as an array with a dictionary, all that it points to.
    holder = _Table(table.shape, np.int64, table)
    holder.kept = (table, specification_words, functions, order_words, made, pointers, sizes, expected, segments)
    create = ctypes.pythonapi.PyCFunction_NewEx
    create.restype, create.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)
    return create(ctypes.addressof(definition), holder, None)


class _Table(np.ndarray[Any, Any]):
    """The words of a program, and what they point to."""

    kept: tuple[Any, ...]
