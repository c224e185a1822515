"""Programs that native code runs by itself, and the plans by which it answers calls.

A `NativeProgram` is shared by all that call one compiled program: the program itself, which returns its arrays as a
tuple, and callables of the user's functions, which take containers and numbers and return what the function returns.
Each kind of call of a callable has a plan.
"""

import ctypes
import math
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from gradloom.exec.callable import NativeCallable
from gradloom.exec.entry import entry_address
from gradloom.exec.memory import POOL_FROM_BYTES, pool
from gradloom.exec.tables import Arguments, Building, State, Table, Type, interfaces, own_table, table
from gradloom.exec.words import DONATED, FRAME_WORDS, IN_FRAME, OWN, PLAN_WORDS, POOLED, PROGRAM_WORDS, RESULT


class Frames:
    """Makes the frames of a program: a pointer table with constants and temporaries filled in.

    Frames whose temporaries take up to `KEPT_BYTES` are used again, so there come to be as many as calls that were ever
    in progress at the same time; larger ones are given up after each call, and their memory goes back to the pool.
    """

    KEPT_BYTES = 1 << 24

    def __init__(
        self, slots: int, cells: int, constants: Sequence[tuple[int, Any]], temporaries: dict[int, int], size: int
    ):
        self.count, self.cells, self.constants, self.temporaries = slots, cells, constants, temporaries
        self.bytes = size
        self.kept = self.bytes <= self.KEPT_BYTES
        self.frames: list[Table] = []

    def __call__(self) -> Table:
        """Return a new frame."""
        frame = own_table([0] * (FRAME_WORDS.slots - 1 + self.count + self.cells))
        frame[FRAME_WORDS.owner], frame[FRAME_WORDS.following] = id(frame), 0
        block = pool.empty((self.bytes,), np.dtype(np.uint8))
        address = block.ctypes.data
        for slot, constant in self.constants:
            frame[FRAME_WORDS.slots + slot] = constant.ctypes.data
        for slot, offset in self.temporaries.items():
            frame[FRAME_WORDS.slots + slot] = address + offset
        frame.kept = (block,)
        if self.kept:
            self.frames.append(frame)
        return frame


def bytes_of(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    return math.prod(shape) * dtype.itemsize


def _raise_from(fail: Callable[[int], None], word: int, frame: Table) -> None:
    """Raise the error of a run whose status slot stands at `word` of its frame."""
    fail(int(frame[word]))
    raise AssertionError("a run went wrong for no reason")


class NativeProgram:
    """A compiled program whose steps are all native functions `void (pointers, sizes)`.

    Args:
        types: shape and dtype of each argument; their slots come first.
        slots: the number of slots.
        constants: slot and array.
        results: for each result its slot, shape and dtype, in the order in which they are returned.
        temporaries: offset by slot, in a block of memory.
        size: bytes of that block.
        steps: addresses.
        sizes: what the steps get as their second argument.
        release: whether a run takes so long that other threads should run meanwhile.
        donations: slots of arguments, and the positions of the results that take their memory.
        status: the slot that holds a number other than 0 after a run that went wrong, if there is one.
        fail: raises the error, given that slot's address.
        kept: what else has to live as long: the owner of the native code.
    """

    def __init__(
        self,
        types: Sequence[Type],
        slots: int,
        constants: Sequence[tuple[int, Any]],
        results: Sequence[tuple[int, Type]],
        temporaries: dict[int, int],
        size: int,
        steps: Sequence[int],
        sizes: Any,
        release: bool,
        donations: Sequence[tuple[int, int]] = (),
        status: int | None = None,
        fail: Callable[[int], None] | None = None,
        kept: Any = None,
    ):
        self.types, self.results, self.donations = types, results, donations
        self.frames = Frames(slots, len(results), constants, temporaries, size)
        self.release = release
        addresses = table(steps)
        failure = None
        if status is not None and fail is not None:
            failure = partial(_raise_from, fail, FRAME_WORDS.slots + status)
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
                status=status or 0,
                failure=0 if failure is None else id(failure),
            ),
            self.frames,
            addresses,
            sizes,
            failure,
            kept,
        )

    def plan(
        self,
        arguments: Arguments,
        count: int,
        building: Building,
        state: State,
        captured: Sequence[Any] = (),
        captured_slot: int | None = None,
        bound: "tuple[Arguments, Sequence[Any]] | None" = None,
        keywords: Sequence[str] = (),
        serial: int = 0,
        tracing: Any = None,
        finish: Callable[[Any], Any] | None = None,
        kept: Any = None,
    ) -> Table:
        """Return the table of one kind of call.

        Args:
            arguments: records of what is passed, `count` objects (with those passed by keyword).
            building: what is made of the results.
            state: of the user's function.
            captured: arrays that the program takes besides, the same ones in each call.
            captured_slot: the slot of the first of them; the last slots if left out.
            bound: records of objects that every call passes without saying so, and these objects.
            keywords: the names of the last arguments, if they are passed by keyword.
            serial: noted in the state when the call was answered.
            tracing: a ctypes counter; while it is not 0 calls take the general path.
            finish: applied to what was built.
            kept: what else has to live as long.
        """
        taken, objects = bound if bound is not None else (Arguments(self.types), ())
        first = len(self.types) - len(captured) if captured_slot is None else captured_slot
        for slot in range(first, first + len(captured)):
            taken.array(slot)
        records, captured_records, built = arguments.finish(), taken.finish(), building.finish()
        captured = [*objects, *captured]
        captured_items = table([id(item) for item in captured], *captured)
        results = self._results(building.scalars)
        names = table([id(name) for name in keywords], keywords)
        donations = table([slot for slot, _ in self.donations])
        sizes = table([bytes_of(*type) for type in self.types])
        never = tracing if tracing is not None else _NEVER
        made = table([0] * len(PLAN_WORDS.names))
        made[:] = PLAN_WORDS.pack(
            following=0,
            owner=id(made),
            count=count - len(keywords),
            keywords_count=len(keywords),
            keywords=names.address,
            arguments_count=count,
            arguments=records.address,
            captured_count=len(captured),
            captured=captured_items.address,
            captured_records=captured_records.address,
            arity=len(self.types),
            nested=int(arguments.nested or taken.nested),
            state=state.words.address,
            generation=state.generation,
            serial=serial,
            tracing=ctypes.addressof(never),
            program=self.table.address,
            results_count=len(self.results),
            results=results.address,
            building_count=building.count,
            building=built.address,
            depth=max(1, building.depth),
            finish=0 if finish is None else id(finish),
            donations_count=len(self.donations),
            donations=donations.address,
            sizes=sizes.address,
        )
        made.kept = (
            records, captured_records, captured_items, names, donations, sizes, results, built, self.table,
            state.words, never, finish, kept,
        )  # fmt: skip
        return made

    def _results(self, scalars: bool) -> Table:
        """Return the records of the results."""
        words: list[int] = []
        kept: list[Any] = []
        given = {position: slot for slot, position in self.donations}
        for position, (slot, (shape, dtype)) in enumerate(self.results):
            size = bytes_of(shape, dtype)
            kind, spare, make = OWN, list[Any](), None
            if scalars and not shape:
                kind = IN_FRAME
            elif position in given:
                kind = DONATED
            elif size >= POOL_FROM_BYTES:
                kind, spare, make = POOLED, pool.buffers_for(size), partial(pool.empty, shape, dtype)
            kept += [dtype, spare, make]
            record = RESULT.pack(
                kind=kind,
                slot=slot,
                descr=id(dtype),
                rank=len(shape),
                spare=given.get(position, id(spare)),
                make=0 if make is None else id(make),
                extents=0,
            )
            words += [*record[:-1], *shape]
        return table(words, *kept)


_NEVER = ctypes.c_int64()


class Plans:
    """The plans of one callable object. Native code tries those that answered last, in order."""

    LINKED = 8

    def __init__(self) -> None:
        self.made: dict[Any, Table | None] = {}
        self.linked: list[Any] = []
        self.lock = threading.RLock()  # a finalizer may come in between, in the same thread

    def clear(self, callable: NativeCallable) -> None:
        """Take all plans away."""
        with self.lock:
            callable._follow_no_plan()
            self.made, self.linked = {}, []

    def use(self, callable: NativeCallable, key: Any, make: Callable[[], Table | None]) -> None:
        """Let native code try the plan of `key`; it is made when it is new, and may be None."""
        with self.lock:
            if key not in self.made:
                self.made[key] = make()
            if self.made[key] is None or key in self.linked:
                return
            self.linked = [*self.linked[-(self.LINKED - 1) :], key]
            following = 0
            for each in self.linked:
                plan: Any = self.made[each]
                plan[PLAN_WORDS.following] = following
                following = plan.address
            callable._enter_natively(entry_address(), following, interfaces().address)
