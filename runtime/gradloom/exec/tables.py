"""Tables of words that tell the native entry what a program takes, does and gives; see entry.py for their fields.

A `Table` is an array of words that also keeps alive what its words point to. A `NativeProgram` is shared by all that
call one compiled program: the program itself, which returns its arrays as a tuple, and callables of the user's functions,
which take containers and numbers and return what the function returns (`plan`). Knows nothing of tracing.
"""

import ctypes
import math
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from gradloom.exec import layout
from gradloom.exec.callable import NativeCallable
from gradloom.exec.entry import (
    ARGUMENT,
    ARRAY,
    BUILD_DICT,
    BUILD_LIST,
    BUILD_TUPLE,
    DICT,
    FIXED,
    FRAME_WORDS,
    IN_FRAME,
    INTERFACES,
    LIST,
    NUMBER_OBJECT,
    OWN,
    PLAN_WORDS,
    POOLED,
    PROGRAM_WORDS,
    PUSH_ARRAY,
    PUSH_OBJECT,
    PUSH_SCALAR,
    RESULT,
    STATE_WORDS,
    TUPLE,
    entry_address,
)
from gradloom.exec.memory import POOL_FROM_BYTES, pool

Type = tuple[tuple[int, ...], np.dtype[Any]]  # shape and dtype


class Table(np.ndarray[Any, Any]):
    """Words at a fixed address, and what they point to."""

    kept: tuple[Any, ...]

    @property
    def address(self) -> int:
        return self.ctypes.data


def table(words: Sequence[int], *kept: Any) -> Table:
    """Return the words as an array that keeps `kept` alive."""
    made = np.array(words or [0], np.int64).view(Table)
    made.kept = kept
    return made


def own_table(words: Sequence[int], *kept: Any) -> Table:
    """Return a table whose first word is the address of the array object itself, so that native code can hold it."""
    made = table([0, *words], *kept)
    made[0] = id(made)
    return made


_interfaces: Table | None = None


def interfaces() -> Table:
    """Return the addresses of what the entry calls."""
    global _interfaces
    if _interfaces is None:
        python = layout.python_function
        call_name = "__call__"
        _interfaces = table(
            INTERFACES.pack(
                IncRef=python("Py_IncRef"),
                DecRef=python("Py_DecRef"),
                NewFromDescr=layout.numpy_function(layout.PYARRAY_NEW_FROM_DESCR),
                SetBaseObject=layout.numpy_function(layout.PYARRAY_SET_BASE_OBJECT),
                Scalar=layout.numpy_function(layout.PYARRAY_SCALAR),
                TupleNew=python("PyTuple_New"),
                ListNew=python("PyList_New"),
                DictNew=python("PyDict_New"),
                DictSetItem=python("PyDict_SetItem"),
                DictGetItem=python("PyDict_GetItemWithError"),
                DictNext=python("PyDict_Next"),
                ErrClear=python("PyErr_Clear"),
                RichCompareBool=python("PyObject_RichCompareBool"),
                CallNoArgs=python("PyObject_CallNoArgs"),
                CallOneArg=python("PyObject_CallOneArg"),
                GetAttr=python("PyObject_GetAttr"),
                Vectorcall=python("PyObject_Vectorcall"),
                SaveThread=python("PyEval_SaveThread"),
                RestoreThread=python("PyEval_RestoreThread"),
                array=id(np.ndarray),
                tuple=id(tuple),
                list=id(list),
                dict=id(dict),
                true=id(True),
                call_name=id(call_name),
            ),
            call_name,
        )
    return _interfaces


class State:
    """What native code reads and counts of one user's function.

    A plan is only followed while `generation` is what it was when the plan was made, and as long as what the function
    reads is known (`watch`) and has not changed.
    """

    def __init__(self) -> None:
        self.words = table([0] * len(STATE_WORDS.names))
        self._watched: Table | None = None

    def watch(self, watched: Table | None) -> None:
        """Have these records (an `own_table`) compared before each call; None keeps calls out until there are some."""
        self.words[STATE_WORDS.watched] = 0 if watched is None else watched.address
        self._watched = watched

    @property
    def is_watched(self) -> bool:
        return self._watched is not None

    @property
    def generation(self) -> int:
        return int(self.words[STATE_WORDS.generation])

    def forget(self) -> None:
        """Let all plans made so far be followed no more."""
        self.words[STATE_WORDS.generation] += 1
        self.watch(None)


class Arguments:
    """Records of a call's arguments, written in the order of the call.

    Args:
        types: shape and dtype of each array that the program takes.
    """

    def __init__(self, types: Sequence[Type]):
        self.types = types
        self.words: list[int] = []
        self.kept: list[Any] = []
        self.nested = False

    def array(self, slot: int) -> None:
        """An array, or where it has no dimension, also a NumPy scalar."""
        shape, dtype = self.types[slot]
        scalar = dtype.type if not shape else None
        self._record(ARRAY, slot, dtype, id(scalar) if scalar is not None else 0, shape)

    def number(self, slot: int, kind: type) -> None:
        """An object of exactly this type that holds a number as NumPy's scalars do: a Python float."""
        self._record(NUMBER_OBJECT, slot, kind)

    def fixed(self, value: Any) -> None:
        """The same object, or an equal one of a type whose comparison runs no code of the user's."""
        self._record(FIXED, 0, value, int(type(value) in (int, bool, str, bytes)))

    def sequence(self, kind: type, count: int) -> None:
        """A tuple or list of so many parts, whose records follow."""
        self.nested = True
        self._record(TUPLE if kind is tuple else LIST, 0, None, count)

    def dict(self, keys: Sequence[Any]) -> None:
        """A dict with these keys in this order; records of the values follow."""
        self.nested = True
        self.kept.append(keys)
        self._record(DICT, 0, None, len(keys), [id(key) for key in keys])

    def _record(self, kind: int, slot: int, object: Any, other: int = 0, payload: Sequence[int] = ()) -> None:
        self.kept.append(object)
        words = {"kind": kind, "slot": slot, "object": id(object), "other": other, "extra": len(payload), "payload": 0}
        self.words += [*ARGUMENT.pack(**words)[:-1], *payload]

    def finish(self) -> Table:
        return table(self.words, *self.kept)


class Building:
    """Instructions that build what a call returns, in postfix order; results are named by their position."""

    def __init__(self, types: Sequence[Type], scalars: bool):
        self.types, self.scalars = types, scalars
        self.words: list[int] = []
        self.kept: list[Any] = []
        self.depth = self._top = 0

    def result(self, position: int) -> None:
        """An array; where it has no dimension and `scalars` are wanted, a NumPy scalar."""
        shape, dtype = self.types[position]
        if self.scalars and not shape:
            self._add(PUSH_SCALAR, position, id(dtype))
        else:
            self._add(PUSH_ARRAY, position)

    def constant(self, value: Any) -> None:
        self.kept.append(value)
        self._add(PUSH_OBJECT, id(value))

    def sequence(self, kind: type, count: int) -> None:
        """Put the last parts into a tuple or a list."""
        self._add(BUILD_TUPLE if kind is tuple else BUILD_LIST, count, 0, count)

    def dict(self, keys: Sequence[Any]) -> None:
        """Put the last parts into a dict under these keys."""
        keyed = table([id(key) for key in keys], keys)
        self.kept.append(keyed)
        self._add(BUILD_DICT, len(keys), keyed.address, len(keys))

    def _add(self, kind: int, operand: int, other: int = 0, taken: int = 0) -> None:
        self.words += [kind, operand, other]
        self._top += 1 - taken
        self.depth = max(self.depth, self._top)

    def finish(self) -> Table:
        return table(self.words, *self.kept)


class Frames:
    """Makes the frames of a program: a pointer table with constants and temporaries filled in.

    Frames whose temporaries take up to `KEPT_BYTES` are used again, so there come to be as many as calls that were ever
    in progress at the same time; larger ones are given up after each call, and their memory goes back to the pool.
    """

    KEPT_BYTES = 1 << 24

    def __init__(self, slots: int, cells: int, constants: Sequence[tuple[int, Any]], temporaries: dict[int, Type]):
        self.count, self.cells, self.constants, self.temporaries = slots, cells, constants, temporaries
        self.bytes = sum(_bytes_of(*type) for type in temporaries.values())
        self.kept = self.bytes <= self.KEPT_BYTES
        self.frames: list[Table] = []

    def __call__(self) -> Table:
        """Return a new frame."""
        frame = own_table([0] * (FRAME_WORDS.slots - 1 + self.count + self.cells))
        frame[FRAME_WORDS.owner], frame[FRAME_WORDS.following] = id(frame), 0
        held: list[Any] = []
        for slot, constant in self.constants:
            frame[FRAME_WORDS.slots + slot] = constant.ctypes.data
        for slot, (shape, dtype) in self.temporaries.items():
            array = pool.empty(shape, dtype)
            held.append(array)
            frame[FRAME_WORDS.slots + slot] = array.ctypes.data
        frame.kept = tuple(held)
        if self.kept:
            self.frames.append(frame)
        return frame


def _bytes_of(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    return math.prod(shape) * dtype.itemsize


class NativeProgram:
    """A compiled program whose steps are all native functions `void (pointers, sizes)`.

    Args:
        types: shape and dtype of each argument; their slots come first.
        slots: the number of slots.
        constants: slot and array.
        results: for each result its slot, shape and dtype, in the order in which they are returned.
        temporaries: shape and dtype by slot.
        steps: addresses.
        sizes: what the steps get as their second argument.
        release: whether a run takes so long that other threads should run meanwhile.
        kept: what else has to live as long: the owner of the native code.
    """

    def __init__(
        self,
        types: Sequence[Type],
        slots: int,
        constants: Sequence[tuple[int, Any]],
        results: Sequence[tuple[int, Type]],
        temporaries: dict[int, Type],
        steps: Sequence[int],
        sizes: Any,
        release: bool,
        *kept: Any,
    ):
        self.types, self.results = types, results
        self.frames = Frames(slots, len(results), constants, temporaries)
        self.release = release
        addresses = table(steps)
        self.table = table(
            PROGRAM_WORDS.pack(
                idle=0,
                new_frame=id(self.frames),
                kept=int(self.frames.kept),
                cells=FRAME_WORDS.slots + slots,
                steps_count=len(steps),
                steps=addresses.address,
                sizes=ctypes.addressof(sizes),
                release=int(release),
            ),
            self.frames,
            addresses,
            sizes,
            kept,
        )

    def plan(
        self,
        arguments: Arguments,
        count: int,
        building: Building,
        state: State,
        captured: Sequence[Any] = (),
        keywords: Any = None,
        serial: int = 0,
        tracing: Any = None,
        finish: Callable[[Any], Any] | None = None,
        *kept: Any,
    ) -> Table:
        """Return the table of one kind of call.

        Args:
            arguments: records of what is passed, `count` objects (with those passed by keyword).
            building: what is made of the results.
            state: of the user's function.
            captured: arrays that the program takes after the arguments, the same ones in each call.
            keywords: the tuple of names that the interpreter passes; None if all arguments are positional.
            serial: noted in the state when the call was answered.
            tracing: a ctypes counter; while it is not 0 calls take the general path.
            finish: applied to what was built.
        """
        taken = Arguments(self.types)
        first = len(self.types) - len(captured)
        for slot in range(first, len(self.types)):
            taken.array(slot)
        records, captured_records, built = arguments.finish(), taken.finish(), building.finish()
        captured_items = table([id(array) for array in captured], *captured)
        results = self._results(building.scalars)
        never = tracing if tracing is not None else _NEVER
        made = table([0] * len(PLAN_WORDS.names))
        made[:] = PLAN_WORDS.pack(
            following=0,
            owner=id(made),
            count=count - (len(keywords) if keywords else 0),
            keywords=id(keywords) if keywords else 0,
            arguments_count=count,
            arguments=records.address,
            captured_count=len(captured),
            captured=captured_items.address,
            captured_records=captured_records.address,
            arity=len(self.types),
            nested=int(arguments.nested),
            state=state.words.address,
            generation=state.generation,
            serial=serial,
            tracing=ctypes.addressof(never),
            program=self.table.address,
            results_count=len(self.results),
            results=results.address,
            building_count=len(built) // 3 if building.words else 0,
            building=built.address,
            depth=max(1, building.depth),
            finish=0 if finish is None else id(finish),
        )
        made.kept = (
            records, captured_records, captured_items, keywords, results, built, self.table, state.words, never, finish,
            kept,
        )  # fmt: skip
        return made

    def _results(self, scalars: bool) -> Table:
        """Return the records of the results."""
        words: list[int] = []
        kept: list[Any] = []
        for slot, (shape, dtype) in self.results:
            size = _bytes_of(shape, dtype)
            kind, buffers, make = OWN, None, None
            if scalars and not shape:
                kind = IN_FRAME
            elif size >= POOL_FROM_BYTES:
                kind, buffers, make = POOLED, pool.buffers_for(size), partial(pool.empty, shape, dtype)
            kept += [dtype, buffers, make]
            record = RESULT.pack(
                kind=kind,
                slot=slot,
                descr=id(dtype),
                rank=len(shape),
                buffers=0 if buffers is None else id(buffers),
                make=0 if make is None else id(make),
                extents=0,
            )
            words += [*record[:-1], *shape]
        return table(words, *kept)


_NEVER = ctypes.c_int64()


class Plans:
    """The plans of one callable object, which are tried in order."""

    MOST = 4

    def __init__(self) -> None:
        self.tables: dict[Any, Table] = {}
        self.lock = threading.Lock()

    def clear(self, callable: NativeCallable) -> None:
        """Take all plans away."""
        with self.lock:
            callable._enter_natively(0, 0, 0)
            self.tables = {}

    def add(self, callable: NativeCallable, key: Any, plan: Table) -> None:
        """Put a plan in front; the one added first goes if there are too many."""
        with self.lock:
            tables = {k: each for k, each in self.tables.items() if k != key}
            kept = list(tables.items())[-(self.MOST - 1) :]
            tables = {**dict(kept), key: plan}
            before = 0
            for each in tables.values():
                each[PLAN_WORDS.following] = before
                before = each.address
            callable._enter_natively(entry_address(), plan.address, interfaces().address)
            self.tables = tables
