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
from gradloom.exec.frames import FIRST, Frame, Frames
from gradloom.exec.memory import POOL_FROM_BYTES, pool
from gradloom.exec.tables import Arguments, Building, Built, State, Table, Type, interfaces, own_table, table
from gradloom.exec.words import DONATED, IN_FRAME, PLAN_WORDS, POOLED, PROGRAM_WORDS, RESULT, SET, SPARE


def bytes_of(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    return math.prod(shape) * dtype.itemsize


def _raise_from(fail: Callable[[int], None], word: int, frame: Frame) -> None:
    """Raise the error of a run whose status slot stands at `word` of its frame."""
    fail(int(frame[word]))
    raise AssertionError("a run went wrong for no reason")


class NativeProgram:
    """A compiled program whose steps are all native functions `void (pointers, sizes)`.

    Args:
        types: shape and dtype of each argument; their slots come first.
        results: for each result its slot, shape and dtype, in the order in which they are returned.
        frames: what calls work on.
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
        results: Sequence[tuple[int, Type]],
        frames: Frames,
        steps: Sequence[int],
        sizes: Any,
        release: bool,
        donations: Sequence[tuple[int, int]] = (),
        status: int | None = None,
        fail: Callable[[int], None] | None = None,
        kept: Any = None,
    ):
        self.types, self.results, self.donations = types, results, donations
        self.frames = frames
        self.release = release
        addresses, fill, drain = table(steps), frames.fill, frames.drain
        failure = None
        if status is not None and fail is not None:
            failure = partial(_raise_from, fail, FIRST + status)
        self.table = table(
            PROGRAM_WORDS.pack(
                idle=0,
                new_frame=id(frames),
                fill=id(fill),
                drain=id(drain),
                kept=int(frames.kept),
                held=frames.held,
                cells=frames.cells,
                steps_count=len(steps),
                steps=addresses.address,
                sizes=ctypes.addressof(sizes),
                release=int(release),
                status=status or 0,
                failure=0 if failure is None else id(failure),
            ),
            frames,
            fill,
            drain,
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
        records, captured_records = arguments.finish(), taken.finish()
        captured = [*objects, *captured]
        captured_items = table([id(item) for item in captured], *captured)
        given = {position: slot for slot, position in self.donations}
        given |= {position: slot for position, (slot, _) in enumerate(self.results) if slot in arguments.written}
        built = building.finish(lambda k: k not in given and bytes_of(*self.results[k][1]) < POOL_FROM_BYTES)
        results = self._results(built, given)
        sets = [built.new_set() for _ in range(SPARE)]
        set_words = table([word for each in sets for word in SET.pack(owner=0, list=id(each), taken=0)], sets)
        new_set = partial(_set_for_one_call, built)
        names = table([id(name) for name in keywords], keywords)
        passed = {slot: type for slot, type in enumerate(self.types)}
        passed |= {slot: type for slot, type in self.results if slot in arguments.written}
        order = list(passed)
        donations = table([order.index(slot) for slot in given.values()])
        slots, sizes = table(order), table([bytes_of(*type) for type in passed.values()])
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
            nested=int(arguments.nested or taken.nested),
            state=state.words.address,
            generation=state.generation,
            serial=serial,
            tracing=ctypes.addressof(never),
            program=self.table.address,
            parts_count=built.parts_count,
            parts=built.parts.address,
            sets=set_words.address,
            turn=0,
            new_set=id(new_set),
            root=built.root,
            results_count=len(built.others),
            results=results.address,
            building_count=built.count,
            building=built.building.address,
            depth=max(1, built.depth),
            finish=0 if finish is None else id(finish),
            taken_count=len(order),
            taken=slots.address,
            sizes=sizes.address,
            donations_count=len(given),
            donations=donations.address,
        )
        made.kept = (
            records, captured_records, captured_items, names, donations, slots, sizes, results, built.parts,
            built.building, set_words, new_set, self.table, state.words, never, finish, kept,
        )  # fmt: skip
        return made

    def _results(self, built: Built, given: dict[int, int]) -> Table:
        """Return the records of the results that are not given again."""
        words: list[int] = []
        kept: list[Any] = []
        for position in built.others:
            slot, (shape, dtype) = self.results[position]
            size = bytes_of(shape, dtype)
            kind, spare, make = IN_FRAME, list[Any](), None
            if position in given:
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


def _set_for_one_call(built: Built) -> Table:
    parts = built.new_set()
    return own_table([id(parts), 0], parts)


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
