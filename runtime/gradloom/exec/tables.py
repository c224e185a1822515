"""Tables of words that tell the native entry what a call takes and gives; words.py has the names of their fields.

A `Table` is an array of words that also keeps alive what its words point to. Here are those that describe arguments,
results and what a function reads; programs.py puts them together. Knows nothing of tracing.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from gradloom.exec import layout
from gradloom.exec.layout import CELL_CONTENT, FUNCTION_PARTS, word
from gradloom.exec.words import (
    ARGUMENT,
    ARRAY,
    ASK,
    BUILD,
    BUILD_DICT,
    BUILD_LIST,
    BUILD_TUPLE,
    CELL,
    CONTENT,
    DICT,
    DICT_CONTENT,
    END,
    FIXED,
    INSTANCE,
    INTERFACES,
    KEPT_ARRAY,
    KEPT_NUMBER,
    KEPT_TUPLE,
    LIST,
    LIST_CONTENT,
    MEMBERS,
    NAME,
    NAME_ENTRY,
    NUMBER_OBJECT,
    PART,
    PLACED_NAME,
    PUSH_ARRAY,
    PUSH_KEPT,
    PUSH_OBJECT,
    PUSH_SCALAR,
    STATE_WORDS,
    TUPLE,
    WATCHED,
    WRITTEN,
)

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
                Dealloc=python("_Py_Dealloc"),
                NewFromDescr=layout.numpy_function(layout.PYARRAY_NEW_FROM_DESCR),
                NewCopy=layout.numpy_function(layout.PYARRAY_NEW_COPY),
                SetBaseObject=layout.numpy_function(layout.PYARRAY_SET_BASE_OBJECT),
                Scalar=layout.numpy_function(layout.PYARRAY_SCALAR),
                TupleNew=python("PyTuple_New"),
                ListNew=python("PyList_New"),
                DictNew=python("PyDict_New"),
                DictSetItem=python("PyDict_SetItem"),
                DictGetItem=python("PyDict_GetItemWithError"),
                DictNext=python("PyDict_Next"),
                GenericGetDict=python("PyObject_GenericGetDict"),
                ErrClear=python("PyErr_Clear"),
                ErrFetch=python("PyErr_Fetch"),
                ErrRestore=python("PyErr_Restore"),
                RichCompareBool=python("PyObject_RichCompareBool"),
                CallNoArgs=python("PyObject_CallNoArgs"),
                CallOneArg=python("PyObject_CallOneArg"),
                GetAttr=python("PyObject_GetAttr"),
                Vectorcall=python("PyObject_Vectorcall"),
                SaveThread=python("PyEval_SaveThread"),
                RestoreThread=python("PyEval_RestoreThread"),
                array=id(np.ndarray),
                list=id(list),
                dict=id(dict),
                true=id(True),
                none=id(None),
                call_name=id(call_name),
            ),
            call_name,
        )
    return _interfaces


class Watched:
    """Records of what a function reads besides its arguments, for native code to compare before each call."""

    def __init__(self) -> None:
        self.words: list[int] = []
        self.kept: list[Any] = []

    def cell(self, cell: Any, value: Any, empty: bool = False) -> None:
        """A closure's variable is bound to the same object (or to none)."""
        self._record(CELL, cell, None, 0 if empty else id(value), (), value)

    def function(self, fun: Any, code: Any, defaults: Any) -> bool:
        """A function has this code and these defaults; return whether native code can see that."""
        for place, part in zip(FUNCTION_PARTS, (code, defaults), strict=True):
            if word(id(fun) + place) != (None if part is None else id(part)):
                return False
        self.kept.append(fun)
        for place, part in zip(FUNCTION_PARTS, (code, defaults), strict=True):
            if part is not None:  # (a part of an object is compared as a cell's content is)
                at = id(fun) + place - CELL_CONTENT
                self._record(CELL, part, None, id(part), place=at)
        return True

    def name(self, space: dict[str, Any], name: str, value: Any, missing: bool = False) -> None:
        """A global, or a class's attribute, is bound to the same object (or to none)."""
        if layout.dicts_are_known() and not missing:
            self._record(PLACED_NAME, space, name, id(value), [0] * len(NAME_ENTRY.names), value)
        else:
            self._record(NAME, space, name, 0 if missing else id(value), (), value)

    def content(self, array: Any, shape: tuple[int, ...], dtype: np.dtype[Any], data: bytes) -> None:
        """An array has this shape and dtype and holds these bytes."""
        copy = np.frombuffer(data, np.uint8)
        self._record(CONTENT, array, dtype, copy.ctypes.data if data else 0, (len(data), *shape), copy)

    def items(self, container: Any) -> None:
        """A list or a dict holds the same objects."""
        if type(container) is list:
            items = list(container)
            self._record(LIST_CONTENT, container, None, 0, [id(item) for item in items], items)
        else:
            items = [part for pair in container.items() for part in pair]
            self._record(DICT_CONTENT, container, None, 0, [id(item) for item in items], items)

    def ask(self, hold: Callable[[], bool]) -> None:
        """A Python function returns True; this comes last, because it may run anything."""
        self._record(ASK, hold, None, 0)

    def _record(
        self,
        kind: int,
        owner: Any,
        object: Any,
        expected: int,
        payload: Sequence[int] = (),
        held: Any = None,
        place: int | None = None,
    ) -> None:
        self.kept += [owner, object, held]
        words = WATCHED.pack(
            kind=kind,
            place=id(owner) if place is None else place,
            object=0 if object is None else id(object),
            expected=expected,
            extra=len(payload),
            payload=0,
        )
        self.words += [*words[:-1], *payload]

    def finish(self) -> Table:
        end = WATCHED.pack(kind=END, place=0, object=0, expected=0, extra=0, payload=0)
        return own_table([*self.words, *end[:-1]], *self.kept)


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

    @property
    def hits(self) -> int:
        """How often a program was found."""
        return int(self.words[STATE_WORDS.hits])

    @hits.setter
    def hits(self, count: int) -> None:
        self.words[STATE_WORDS.hits] = count

    @property
    def last(self) -> int:
        """The serial of the plan that was followed last; 0 if another way was taken since."""
        return int(self.words[STATE_WORDS.last])

    @last.setter
    def last(self, serial: int) -> None:
        self.words[STATE_WORDS.last] = serial

    def retire_plans(self) -> None:
        """Let all plans made so far be followed no more."""
        self.words[STATE_WORDS.generation] += 1
        self.words[STATE_WORDS.last] = 0

    def forget(self) -> None:
        """Let all plans made so far be followed no more; count calls anew."""
        self.retire_plans()
        self.words[STATE_WORDS.hits] = 0
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
        self.written: list[int] = []  # the slots of results that go into arrays that are passed

    def array(self, slot: int) -> None:
        """An array, or where it has no dimension, also a NumPy scalar."""
        shape, dtype = self.types[slot]
        scalar = dtype.type if not shape else None
        self._record(ARRAY, slot, dtype, id(scalar) if scalar is not None else 0, shape)

    def written_array(self, slot: int, type: Type) -> None:
        """An array into which the result in this slot is written."""
        shape, dtype = type
        self.written.append(slot)
        self._record(WRITTEN, slot, dtype, 0, shape)

    def number(self, slot: int, kind: type) -> None:
        """An object of exactly this type that holds a number as NumPy's scalars do: a Python float."""
        self._record(NUMBER_OBJECT, slot, kind)

    def fixed(self, value: Any) -> None:
        """The same object, or an equal one of a type whose comparison runs no code of the user's."""
        self._record(FIXED, 0, value, int(type(value) in (int, bool, str, bytes)))

    def sequence(self, kind: type, count: int) -> None:
        """A list, or a tuple of exactly this type, of so many parts, whose records follow."""
        self.nested = True
        self._record(LIST if kind is list else TUPLE, 0, kind, count)

    def dict(self, keys: Sequence[Any]) -> None:
        """A dict with these keys in this order; records of the values follow."""
        self.nested = True
        self.kept.append(keys)
        self._record(DICT, 0, None, len(keys), [id(key) for key in keys])

    def instance(self, kind: type, names: Sequence[str]) -> None:
        """An instance of exactly this class with these attributes in its dict; records of the values follow."""
        self.nested = True
        self.kept.append(names)
        self._record(INSTANCE, 0, kind, len(names), [id(name) for name in names])

    def members(self, kind: type, offsets: Sequence[int]) -> None:
        """An instance of exactly this class with slots at these offsets; records of the values follow."""
        self.nested = True
        self._record(MEMBERS, 0, kind, len(offsets), offsets)

    def _record(self, kind: int, slot: int, object: Any, other: int = 0, payload: Sequence[int] = ()) -> None:
        self.kept.append(object)
        words = {"kind": kind, "slot": slot, "object": id(object), "other": other, "extra": len(payload), "payload": 0}
        self.words += [*ARGUMENT.pack(**words)[:-1], *payload]

    def finish(self) -> Table:
        return table(self.words, *self.kept)


class _Node(NamedTuple):
    """A part of what is returned: a result (its position), a constant (the object) or a container (its keys)."""

    kind: int
    value: Any
    children: "tuple[_Node, ...]" = ()


class Building:
    """What a call returns: a tree that is written in postfix order, and then as tables.

    Args:
        results: slot, shape and dtype of each result; they are named by their position.
        scalars: results without dimensions become NumPy scalars.
    """

    def __init__(self, results: "Sequence[tuple[int, Type]]", scalars: bool):
        self.results, self.scalars = results, scalars
        self._nodes: list[_Node] = []

    def result(self, position: int) -> None:
        self._nodes.append(_Node(PUSH_ARRAY, position))

    def constant(self, value: Any) -> None:
        self._nodes.append(_Node(PUSH_OBJECT, value))

    def sequence(self, kind: type, count: int) -> None:
        """Put the last parts into a tuple or a list."""
        if kind is tuple and not count:
            self.constant(())
        else:
            self._contain(BUILD_TUPLE if kind is tuple else BUILD_LIST, None, count)

    def dict(self, keys: Sequence[Any]) -> None:
        """Put the last parts into a dict under these keys."""
        self._contain(BUILD_DICT, keys, len(keys))

    def _contain(self, kind: int, value: Any, count: int) -> None:
        first = len(self._nodes) - count
        self._nodes[first:] = [_Node(kind, value, tuple(self._nodes[first:]))]

    def finish(self, keeps: Callable[[int], bool]) -> "Built":
        """Return the tables; `keeps` tells which results, by position, are in small objects of their own."""
        assert len(self._nodes) == 1
        return Built(self, self._nodes[0], keeps)


class Built:
    """The tables of what a call returns.

    Attributes:
        parts: records of what is given again, and how many there are; `root` is 1 if the first of them is all.
        building: instructions that build the rest, how many there are, and how many objects wait at most.
        others: the positions of the results that are no parts.
    """

    def __init__(self, building: Building, tree: _Node, keeps: Callable[[int], bool]):
        self.results, self.scalars = building.results, building.scalars
        self._records: list[list[int]] = []
        self._kept: list[Any] = []
        self._words: list[int] = []
        self._found: dict[int, int] = {}  # parts by position of the result
        self.count = self.depth = self._top = 0
        positions = Counter(_positions(tree))
        self._single = {position for position, count in positions.items() if count == 1}
        self._small = {k for k in range(len(self.results)) if keeps(k) and self._can_be_kept(k)}
        whole = self._is_kept(tree)
        self._build(tree)
        self.root = int(whole and tree.kind != PUSH_OBJECT)
        for position in sorted(self._small - self._found.keys()):
            self._part(_Node(PUSH_ARRAY, position), -1)  # it is returned nowhere, and still needs memory
        self.others = [k for k in range(len(self.results)) if k not in self._found]
        self.parts_count = len(self._records)
        self.parts = table([word for record in self._records for word in record], *self._kept)
        self.building = table(self._words, *self._kept)

    def new_set(self) -> list[Any]:
        """Return a list for the parts, which native code fills."""
        return [None] * self.parts_count

    def _is_number(self, position: int) -> bool:
        return self.scalars and not self.results[position][1][0]

    def _can_be_kept(self, position: int) -> bool:
        dtype = self.results[position][1][1]
        return not self._is_number(position) or (dtype.itemsize in (4, 8) and dtype.kind in "fiu")

    def _is_kept(self, node: _Node) -> bool:
        """Tell whether a part of the tree is given again: it consists of tuples of small results and constants."""
        if node.kind == PUSH_ARRAY:
            return node.value in self._small
        if node.kind == PUSH_OBJECT:
            return True
        once = all(child.value in self._single for child in node.children if child.kind == PUSH_ARRAY)
        return node.kind == BUILD_TUPLE and once and all(map(self._is_kept, node.children))

    def _part(self, node: _Node, parent: int) -> int:
        """Write the records of a part of the tree that is given again; return the position of its first one."""
        if node.kind == PUSH_ARRAY and node.value in self._found:
            return self._found[node.value]
        at = len(self._records)
        self._records.append([])
        words = {"wanted": 1 if parent < 0 else 2, "parent": parent, "slot": 0, "object": 0, "payload": 0}
        if node.kind == PUSH_ARRAY:
            slot, (shape, dtype) = self.results[node.value]
            self._found[node.value] = at
            self._kept.append(dtype)
            kind = KEPT_NUMBER if self._is_number(node.value) else KEPT_ARRAY
            words |= {"kind": kind, "slot": slot, "object": id(dtype), "bytes": dtype.itemsize}
            payload = list(shape)
        else:
            payload = []
            for child in node.children:
                if child.kind == PUSH_OBJECT:
                    self._kept.append(child.value)
                    payload += [-1, id(child.value)]
                else:
                    payload += [self._part(child, at), 0]
            words |= {"kind": KEPT_TUPLE, "bytes": len(node.children)}
        self._records[at] = [*PART.pack(**words, extra=len(payload))[:-1], *payload]
        return at

    def _build(self, node: _Node) -> None:
        """Write the instructions that build a part of the tree."""
        if node.kind == PUSH_OBJECT:
            self._kept.append(node.value)
            self._add(PUSH_OBJECT, id(node.value))
        elif self._is_kept(node):
            self._add(PUSH_KEPT, self._part(node, -1))
        elif node.kind == PUSH_ARRAY:
            slot, (_, dtype) = self.results[node.value]
            number = self._is_number(node.value)
            self._add(PUSH_SCALAR if number else PUSH_ARRAY, slot, id(dtype) if number else 0)
        else:
            for child in node.children:
                self._build(child)
            keys = 0
            if node.kind == BUILD_DICT:
                keyed = table([id(key) for key in node.value], node.value)
                self._kept.append(keyed)
                keys = keyed.address
            self._add(node.kind, len(node.children), keys, len(node.children))

    def _add(self, kind: int, operand: int, other: int = 0, taken: int = 0) -> None:
        self._words += BUILD.pack(kind=kind, operand=operand, other=other, size=0)[:-1]
        self.count += 1
        self._top += 1 - taken
        self.depth = max(self.depth, self._top)


def _positions(node: _Node) -> Iterator[int]:
    """Yield the results that a tree holds."""
    if node.kind == PUSH_ARRAY:
        yield node.value
    for child in node.children:
        yield from _positions(child)
