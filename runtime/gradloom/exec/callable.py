"""Objects whose calls go straight into native code, and into their Python `__call__` as long as there is none.

CPython looks for the address of a function inside a callable object (PEP 590). `NativeCallable` has the place for it;
while that is empty the interpreter calls `__call__` as for any other class. The type with that place is made without a
compiler, by PyType_FromSpec. Where objects are not laid out as expected (layout.py), it is an ordinary class and its
instances never get an entry.
"""

import ctypes
from typing import Any, ClassVar

from gradloom.exec import layout

ENTRY, PLAN, INTERFACE = layout.HEADER, layout.HEADER + 8, layout.HEADER + 16  # fields behind an object's header
_SIZE = layout.HEADER + 24

_TP_MEMBERS, _T_PYSSIZET, _T_ULONGLONG, _READ_ONLY = 72, 19, 18, 1
_DEFAULT, _BASETYPE = 1 << 18, 1 << 10


class _Slot(ctypes.Structure):
    """CPython's PyType_Slot."""

    _fields_ = (("number", ctypes.c_int), ("pointer", ctypes.c_void_p))


class _Spec(ctypes.Structure):
    """CPython's PyType_Spec."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("size", ctypes.c_int),
        ("item_size", ctypes.c_int),
        ("flags", ctypes.c_uint),
        ("slots", ctypes.POINTER(_Slot)),
    )


class _Member(ctypes.Structure):
    """CPython's PyMemberDef."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("kind", ctypes.c_int),
        ("offset", ctypes.c_ssize_t),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


_kept: list[Any] = []  # what the type's definition points to


def _type_with_entry() -> Any:
    """Return a type whose instances hold an entry, the table that it reads, and that of the C interfaces."""
    members = (_Member * 5)(
        _Member(b"__vectorcalloffset__", _T_PYSSIZET, ENTRY, _READ_ONLY, None),
        _Member(b"_entry", _T_ULONGLONG, ENTRY, 0, None),
        _Member(b"_plan", _T_ULONGLONG, PLAN, 0, None),
        _Member(b"_interface", _T_ULONGLONG, INTERFACE, 0, None),
        _Member(None, 0, 0, 0, None),
    )
    slots = (_Slot * 2)(_Slot(_TP_MEMBERS, ctypes.addressof(members)), _Slot(0, None))
    spec = _Spec(b"gradloom.exec.callable.WithEntry", _SIZE, 0, _DEFAULT | _BASETYPE, slots)
    _kept.extend((members, slots, spec))
    make = ctypes.pythonapi.PyType_FromSpec
    make.restype, make.argtypes = ctypes.py_object, (ctypes.c_void_p,)
    return make(ctypes.addressof(spec))


_Base: Any = _type_with_entry() if layout.objects_are_known() else object


class NativeCallable(_Base):
    """Base of callables that may have a native entry.

    A class that says `native=True` defines the `__call__` that native code falls back to. In classes derived from it
    that define another one, instances are called as those of any other class.
    """

    __slots__ = ()
    _general_call: ClassVar[Any] = None
    has_place = _Base is not object  # for an entry

    def __init_subclass__(cls, native: bool = False, **others: Any):
        super().__init_subclass__(**others)
        if native:
            cls._general_call = cls.__call__
        if cls.has_place:
            flags = ctypes.c_ulong.from_address(id(cls) + layout.TYPE_FLAGS)
            if cls._general_call is not None and cls.__call__ is cls._general_call:
                flags.value |= layout.HAVE_VECTORCALL
            else:
                flags.value &= ~layout.HAVE_VECTORCALL

    def _enter_natively(self, entry: int, plan: int, interface: int) -> None:
        """Let calls go to the function at `entry`, which finds the address of its tables in the object.

        The caller keeps the tables alive as long as the object follows them. Other threads may call it all the time, so
        what the entry reads is there before it.
        """
        self._interface = interface
        self._plan = plan
        self._entry = entry

    def _follow_no_plan(self) -> None:
        """Let all calls go the general way."""
        if self.has_place:
            self._plan = 0
