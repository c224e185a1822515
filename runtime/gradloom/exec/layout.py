"""Where Python and NumPy keep the parts of their objects, for native code that reads them; and whether that is so here.

Everything that compiled code assumes about objects stands in this file and is compared with known objects when it is
first asked for. Where anything differs (another interpreter, no interpreter lock, a later NumPy), or the environment
variable `GRADLOOM_NATIVE_ENTRY` is 0, native code does not touch objects and all calls take the general path.
Knows nothing of programs.
"""

import ctypes
import os
import sys
import sysconfig
import weakref
from typing import Any

import numpy as np

HEADER = object.__basicsize__
REFERENCES, TYPE = 0, HEADER - 8
# ndarray
DATA, NDIM, DIMS, BASE, DESCR, FLAGS, WEAK_REFERENCES = [HEADER + offset for offset in (0, 8, 16, 32, 40, 48, 56)]
C_CONTIGUOUS, OWNS_DATA, ALIGNED, WRITEABLE = 0x1, 0x4, 0x100, 0x400
# NumPy's scalars and Python's float keep the number behind the header, cells their content.
NUMBER = CELL_CONTENT = HEADER
# Functions: their code and defaults.
FUNCTION_PARTS = (HEADER + 32, HEADER + 40)
# Lists and tuples: the length, then the items, which a list keeps elsewhere.
LENGTH = HEADER
TUPLE_ITEMS = LIST_ITEMS = HEADER + 8
# Types: flags, one of which says that instances have an entry for calls of their own.
TYPE_FLAGS = HEADER + 8 + 18 * 8
HAVE_VECTORCALL = 1 << 11

# Descriptors of slots point to what they describe.
DESCRIBED = HEADER + 24
# Dicts: the table of keys; that of a dict of names holds what its first word says, counts, indices, and then entries.
DICT_KEYS = HEADER + 16
KEYS_KIND, KEYS_COUNT, KEYS_INDICES, KEYS_OF_NAMES, KEYS_MASK = 8, 24, 32, 1, 0xFFFFFF
# Since CPython 3.12 references to some objects are not counted.
IMMORTALS = sys.version_info >= (3, 12)

# Positions in the table of NumPy's C interface.
PYARRAY_TYPE, PYARRAY_SCALAR, PYARRAY_NEW_COPY, PYARRAY_NEW_FROM_DESCR, PYARRAY_SET_BASE_OBJECT = 2, 60, 85, 94, 282

SWITCH = "GRADLOOM_NATIVE_ENTRY"


def word(place: int, kind: Any = ctypes.c_void_p) -> Any:
    """Return what stands at an address."""
    return kind.from_address(place).value


def array_layout_is_known() -> bool:
    """Tell whether this NumPy keeps an array's header where compiled code reads it."""
    array = np.arange(6.0).reshape(2, 3)
    items = (array, array)
    at, owner = id(array), id(array.base)
    referred = weakref.ref(array)
    try:
        dims = word(at + DIMS) or 0
        return (
            word(at + TYPE) == id(np.ndarray)
            and word(at + DATA) == array.ctypes.data
            and word(at + NDIM, ctypes.c_int) == 2
            and word(at + DESCR) == id(array.dtype)
            and word(at + DIMS + 8) == dims + 16  # the strides follow; so this is an address that may be read
            and [word(dims, ctypes.c_ssize_t), word(dims + 8, ctypes.c_ssize_t)] == [2, 3]
            and word(at + FLAGS, ctypes.c_int) & (C_CONTIGUOUS | ALIGNED | WRITEABLE) == 0x501
            and [word(each + FLAGS, ctypes.c_int) & OWNS_DATA for each in (at, owner)] == [0, OWNS_DATA]
            and [word(at + BASE), word(owner + BASE)] == [owner, None]
            and [word(at + WEAK_REFERENCES), word(owner + WEAK_REFERENCES)] == [id(referred), None]
            and word(id(items) + TUPLE_ITEMS) == at
        )
    except (ValueError, TypeError):
        return False


def _numbers_are_known() -> bool:
    value = 1.5
    kinds = [(np.float64, ctypes.c_double), (np.float32, ctypes.c_float), (np.int64, ctypes.c_int64)]
    kinds += [(np.int32, ctypes.c_int32), (np.bool_, ctypes.c_bool)]
    scalars = [(kind(3), place) for kind, place in kinds]
    return word(id(value) + NUMBER, ctypes.c_double) == value and all(
        word(id(scalar) + TYPE) == id(type(scalar)) and word(id(scalar) + NUMBER, place) == scalar
        for scalar, place in scalars
    )


def _containers_are_known() -> bool:
    content = object()
    cell = (lambda: content).__closure__[0]  # type: ignore[index]
    items = [content, cell, content]
    first = word(id(items) + LIST_ITEMS) or 1
    held = [np.empty(1)]
    if list.__basicsize__ != HEADER + 24 or first % 8:
        return False  # then this may be no address
    return (
        word(id(cell) + CELL_CONTENT) == id(content)
        and word(id(items) + LENGTH) == word(id((1, 2, 3)) + LENGTH) == 3
        and [word(first + 8 * k) for k in range(3)] == [id(item) for item in items]
        and word(id(held[0]) + REFERENCES, ctypes.c_uint32) == 1
    )


def member_offset(descriptor: Any) -> int:
    """Return where instances keep what a slot's descriptor stands for."""
    definition = word(id(descriptor) + DESCRIBED)
    return word(definition + 16, ctypes.c_ssize_t)


def _members_are_known() -> bool:
    class Slotted:
        __slots__ = ("first", "second")

    one = Slotted()
    one.first, one.second = object(), object()  # type: ignore[attr-defined]
    pairs = [(Slotted.first, one.first), (Slotted.second, one.second)]  # type: ignore[attr-defined]
    for descriptor, value in pairs:
        definition = word(id(descriptor) + DESCRIBED) or 1
        if type(descriptor).__basicsize__ != DESCRIBED + 8 or definition % 8:
            return False  # then this may be no address
        offset = member_offset(descriptor)
        if not HEADER <= offset < HEADER + 64 or word(id(one) + offset) != id(value):
            return False
    return True


def _counts_are_known() -> bool:
    """Tell whether a reference more and one less are counted where native code does."""
    counted = np.empty(1)
    held = [counted]
    before = word(id(counted) + REFERENCES, ctypes.c_uint32)
    held.append(counted)
    after = word(id(counted) + REFERENCES, ctypes.c_uint32)
    held.clear()
    at_last = word(id(counted) + REFERENCES, ctypes.c_uint32)
    none = word(id(None) + REFERENCES, ctypes.c_int32)
    return (before, after, at_last) == (2, 3, 1) and IMMORTALS == (none < 0)


def _dicts_are_known() -> bool:
    names = [f"name {k}" for k in range(50)]
    for count in (1, 5, 6, 50):
        space = {name: object() for name in names[:count]}
        if count > 1:
            del space[names[1]]
        keys = word(id(space) + DICT_KEYS) or 1
        if keys % 8 or dict.__basicsize__ != DICT_KEYS + 16:
            return False  # then this may be no address
        kind = word(keys + KEYS_KIND, ctypes.c_uint64) & KEYS_MASK
        if kind >> 16 != KEYS_OF_NAMES or word(keys + KEYS_COUNT, ctypes.c_int64) != count:
            return False
        entries = keys + KEYS_INDICES + (1 << (kind >> 8 & 0xFF))
        for k, name in enumerate(names[:count]):
            if name in space and [word(entries + 16 * k), word(entries + 16 * k + 8)] != [id(name), id(space[name])]:
                return False
    return True


def _types_are_known() -> bool:
    kinds: tuple[type, ...] = (object, int, dict, np.ndarray, type("Plain", (), {}))
    return all(word(id(kind) + TYPE_FLAGS, ctypes.c_ulong) == kind.__flags__ for kind in kinds)


def numpy_function(index: int) -> int:
    """Return the address at a position of the table of NumPy's C interface."""
    capsule = np._core._multiarray_umath._ARRAY_API  # type: ignore[attr-defined]
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    table = get_pointer(capsule, None)
    return word(table + 8 * index) or 0


def python_function(name: str) -> int:
    """Return the address of a function of Python's C interface."""
    return ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0


def _examine() -> bool:
    if os.environ.get(SWITCH, "1") in ("0", "false", "off", "no"):
        return False
    counted = hasattr(sys, "gettotalrefcount") or sysconfig.get_config_var("Py_GIL_DISABLED")  # otherwise than here
    locked = getattr(sys, "_is_gil_enabled", lambda: True)() and not counted
    machine = sys.maxsize == (1 << 63) - 1 and sys.byteorder == "little"
    if not (locked and machine and sys.implementation.name == "cpython"):
        return False
    try:
        return (
            array_layout_is_known()
            and _types_are_known()
            and _counts_are_known()
            and _members_are_known()
            and _containers_are_known()
            and _numbers_are_known()
            and numpy_function(PYARRAY_TYPE) == id(np.ndarray)
        )
    except (AttributeError, TypeError, ValueError):
        return False


_known: bool | None = None


def objects_are_known() -> bool:
    """Tell whether native code may read and make objects in this process."""
    global _known
    if _known is None:
        _known = _examine()
    return _known


_dicts_known: bool | None = None


def dicts_are_known() -> bool:
    """Tell whether a dict of names has its entries where native code looks for them."""
    global _dicts_known
    if _dicts_known is None:
        _dicts_known = _dicts_are_known()
    return _dicts_known
