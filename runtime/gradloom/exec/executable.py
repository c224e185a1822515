"""A compiled function that runs on NumPy arrays: binds memory slots, runs native segments and library calls in order.

Programs of native steps alone have a native entry after some calls (entry.py); this file owns the general path, which
serves everything: the first calls, arrays that have to be copied, library calls in between, other interpreters.
Compiled text is shared: two programs with the same text (the same function on another length) use the same native code.
"""

import ctypes
import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gradloom.exec import blas, shared_products, threads
from gradloom.exec.arena import arena_of
from gradloom.exec.binding import binder, expectations
from gradloom.exec.callable import NativeCallable
from gradloom.exec.entry import expect_entry
from gradloom.exec.externs import prepare_extern
from gradloom.exec.frames import FIRST, Frame, Frames
from gradloom.exec.memory import pool
from gradloom.exec.programs import NativeProgram, Plans, bytes_of
from gradloom.exec.tables import Arguments, Building, State, Watched
from gradloomc.ad.derivation import Derivation
from gradloomc.codegen.cache import digest
from gradloomc.codegen.native import host
from gradloomc.codegen.program import ExternStep
from gradloomc.codegen.program import Program as LoweredProgram
from gradloomc.codegen.tiers import compile_program
from gradloomc.ir.core import Op
from gradloomc.ir.errors import ExecutionError, OutOfBoundsError
from gradloomc.ir.scopes import Scope
from gradloomc.known import Classes, keep, lowered, lowered_now, program_key, stored
from gradloomc.pipelines import lower

Array = np.ndarray[Any, Any]

_ARRAY_TYPE = id(np.ndarray)
# The first calls should not wait for the native entry, or for the compiled binder, which pay off by the tenth.
BINDER_FROM_CALL = 3
# Programs that took longer than this let other threads go on while they run natively.
RELEASE_FROM_SECONDS = 10e-6
empty = pool.empty
_SIGNATURE = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)


class Stats(NamedTuple):
    """What one call does and what it took to build: counts, bytes and seconds.

    `bytes_results` and `bytes_temporary` add up to the memory that a call takes beside its arguments, at its peak;
    `bytes_separate` is what its temporaries would take if none shared memory with another.
    """

    kernels: int
    externs: int
    products: int
    bytes_moved: int
    bytes_ideal: int
    lower_seconds: float
    native_seconds: float
    reused_native_code: bool
    bytes_results: int = 0
    bytes_temporary: int = 0
    bytes_separate: int = 0
    chunked: int = 0  # kernels that several threads may share
    bytes_donated: int = 0  # of results in the memory of donated arguments

    @property
    def compile_seconds(self) -> float:
        return self.lower_seconds + self.native_seconds


def native_functions(program: LoweredProgram) -> tuple[dict[str, Any], bool]:
    """Return the callables of a program's segments, and whether they were there without compiling."""
    code = compile_program(program)
    if code.source == "llvm":
        expect_entry()
    return {symbol: _SIGNATURE(address) for symbol, address in code.addresses.items()}, code.source != "llvm"


def lower_for_host(function: Op) -> LoweredProgram:
    """Return an nd function, which is changed in place, lowered to a program for this machine."""
    native = host()
    return lower(function, native.vector_bits, native.function_attributes, blas.convention, library=True)


def known_for_host(function: Op | Derivation) -> LoweredProgram:
    """Return a function lowered to a program for this machine, from the store if it was lowered before."""
    if isinstance(function, Derivation):
        return lowered(function, host(), blas.convention)
    return lowered(Derivation(function), host(), blas.convention, lambda: function)


class Kept:
    """What the store has, or shall have, of a function that is lowered for this machine by way of another one.

    That is kept under a key of its own: its text may say the same in other words than that of the function itself.

    Args:
        make: lowers it again, for its text.
    """

    __slots__ = ("_derivation", "_key", "_make", "_own_key")

    def __init__(self, derivation: Derivation, way: str, make: Callable[[], LoweredProgram]):
        self._derivation, self._own_key = derivation, program_key(derivation, host())
        self._key, self._make = self._own_key and digest(self._own_key, way), make

    def get(self) -> LoweredProgram | None:
        """Return the program, if it is there, or what the function itself was lowered to."""
        found = stored(self._key, blas.convention, self._make)
        if found is not None:
            return found
        make = lambda: lowered_now(self._derivation.copy(), host(), blas.convention)  # noqa: E731
        return stored(self._own_key, blas.convention, make)

    def put(self, program: LoweredProgram) -> None:
        """Keep a program."""
        keep(self._key, blas.convention, program)


def known_classes(
    derivation: Derivation, scope: Scope, make: Callable[[Sequence[int]], tuple[Scope, LoweredProgram]]
) -> Classes:
    """Return the programs of a function for any length, for this machine."""
    return Classes(derivation, scope, host(), blas.convention, make)


class Executable(NativeCallable, native=True):
    """A function of the `nd` level, compiled for the host.

    Call it with one array for each argument, of exactly its shape and dtype, with any strides, alignment and byte
    order. It returns a sequence of new arrays that share memory with nothing.

    Args:
        function: a func.func on the nd level, which lowering changes, so nobody else may use it afterwards; or how one
            is made; or what it was lowered to.
        seconds: that lowering took already.

    Attributes:
        native: what the native entry runs; None as long as there is none.
    """

    def __init__(self, function: Op | Derivation | LoweredProgram, seconds: float = 0.0):
        start = time.perf_counter() - seconds
        self.program = program = function if isinstance(function, LoweredProgram) else known_for_host(function)
        lowered = time.perf_counter()
        functions, reused = native_functions(program)
        self.slot_types = [(slot.shape, slot.element.dtype) for slot in program.slots]
        shapes = [shape for shape, _ in self.slot_types]
        self.steps: list[tuple[bool, Any]] = [
            (False, prepare_extern(step, shapes)) if isinstance(step, ExternStep) else (True, functions[step.symbol])
            for step in program.steps
        ]
        self.types = [self.slot_types[slot] for slot in program.arguments]
        self.result_types = [self.slot_types[slot] for slot in program.results]
        self.constants = [np.ascontiguousarray(array).reshape(array.shape) for _, array in program.constants]
        if program.pool is not None:
            self.constants.append(threads.pool.block)
            shared_products.share(threads.pool, program.large_products)
        self.first_result = len(program.arguments) + len(self.constants)
        self.returned = [(slot, shape, self.slot_types[slot][0] == shape) for slot, shape in program.returned]
        self.sizes = (ctypes.c_int64 * max(1, len(program.sizes)))(*program.sizes)
        temporaries = self.slot_types[self.first_result + len(self.result_types) :]
        self.arena = arena_of(temporaries, program.lifetimes)
        self.frames = Frames(
            self.slot_types,
            len(self.types),
            self.constants,
            len(self.result_types),
            self.arena.offsets,
            self.arena.size,
        )
        self.bind: Any = None  # compiled once the function turns out to be called again
        self.native: NativeProgram | None = None  # likewise
        # Which argument's memory which of the returned arrays takes.
        self.donations = [(position, result) for position, result, _ in program.donations if result >= 0]
        self.lock = threading.RLock()  # a finalizer may come in between, in the same thread
        self._plans = Plans()
        self.calls = 0
        self.seconds = math.inf  # that the steps took, at best
        self.expected = expectations(self.types)
        self.results_expected = expectations(self.result_types)
        self.stats = Stats(
            program.nests,
            program.externs,
            program.products,
            program.bytes_moved,
            program.bytes_ideal,
            lowered - start,
            time.perf_counter() - lowered,
            reused,
            sum(bytes_of(*type) for type in self.result_types) - self.bytes_donated,
            self.arena.size,
            self.arena.separate,
            program.chunked,
            self.bytes_donated,
        )

    @property
    def bytes_donated(self) -> int:
        return sum(bytes_of(*self.types[slot]) for slot, _ in self.donations)

    def _enter(self) -> None:
        """Take the native entry if objects are laid out as it expects and all steps are native."""
        slots = [slot for slot, _, _ in self.returned]
        first, count = self.first_result, len(self.result_types)
        fresh = sorted(slots) == list(range(first, first + count))  # each result once, and nothing else
        if not (self.has_place and fresh and all(native for native, _ in self.steps)):
            return
        native = NativeProgram(
            self.types,
            [(slot, (shape, self.slot_types[slot][1])) for slot, shape, _ in self.returned],
            self.frames,
            [ctypes.cast(step, ctypes.c_void_p).value or 0 for _, step in self.steps],
            self.sizes,
            self.program.pool is not None or self.seconds >= RELEASE_FROM_SECONDS,
            self.donations,
            self.program.status,
            self.fail,
            self.steps,
        )
        arguments, building = Arguments(self.types), Building(native.results, scalars=False)
        for slot in range(len(self.types)):
            arguments.array(slot)
        for position in range(count):
            building.result(position)
        building.sequence(tuple, count)
        state = State()
        state.watch(Watched().finish())
        plan = native.plan(arguments, len(self.types), building, state, kept=state)
        with self.lock:
            if self.native is None:
                self._plans.use(self, None, lambda: plan)
                self.native = native

    def run(self, arrays: Sequence[Any]) -> Sequence[Array]:
        """Call it with a sequence of arrays."""
        return self(*arrays)

    def __call__(self, *arrays: Any) -> Sequence[Array]:
        """Run by the general path; calls that the native entry takes do not come here.

        Raises:
            ExecutionError: the number, a shape or a dtype does not fit.
        """
        if self.native is not None:
            arrays = self.prepare(arrays)
            if self.may_donate(arrays):
                return self(*arrays)  # in their copies they are what the entry expects
        if self.note_call() and self.native is not None:
            return self(*arrays)
        count = len(self.types)
        frame = self.frames.take()
        pointers, memory, bind = frame.pointers, frame.memory, self.bind
        if bind is None or len(arrays) != count or not bind(arrays, count, self.expected, pointers, _ARRAY_TYPE):
            arrays = self.prepare(arrays)
            for slot, array in enumerate(arrays):
                frame.set_slot(slot, array)
        given = self.given_memory(arrays) if self.donations else {}
        made = tuple(
            [
                given[slot] if slot in given else empty(shape, dtype)
                for slot, (shape, dtype) in enumerate(self.result_types, self.first_result)
            ]
        )
        places = pointers + 8 * self.first_result
        if bind is None or not bind(made, len(made), self.results_expected, places, _ARRAY_TYPE):
            for slot, array in enumerate(made, self.first_result):
                frame.set_slot(slot, array)
        memory[:count] = arrays
        memory[self.first_result : self.first_result + len(made)] = made
        return self._run(frame)

    def run_into(self, arrays: Sequence[Array], made: Sequence[Array]) -> list[Array]:
        """Run on arrays as `prepare` returns them; the results go into arrays like those of `result_types`."""
        self.note_call()
        frame = self.frames.take()
        for slot, array in [*enumerate(arrays), *enumerate(made, self.first_result)]:
            frame.set_slot(slot, array)
        return self._run(frame)

    def note_call(self) -> bool:
        """Count a call by the general path; after the first few, look for a faster way; tell whether that was now."""
        if self.program.chunked:
            threads.pool.meet(self.program.chunked_work)
        if self.calls >= BINDER_FROM_CALL:
            return False
        self.calls += 1
        if self.calls < BINDER_FROM_CALL:
            return False
        self._enter()
        if self.native is None:
            self.bind = binder()
        return True

    def _time_steps(self, frame: Frame) -> None:
        start = time.thread_time()  # others may take the processor meanwhile
        self.run_steps(frame)
        self.seconds = min(self.seconds, time.thread_time() - start)

    def _run(self, frame: Frame) -> list[Array]:
        """Run on a frame that is filled in, and give it back; return the results."""
        memory = frame.memory
        self._time_steps(frame)
        cold = RELEASE_FROM_SECONDS <= self.seconds < 10 * RELEASE_FROM_SECONDS and self.calls < BINDER_FROM_CALL
        if cold and not self.donations:  # the results are the same each time
            self._time_steps(frame)
            self._time_steps(frame)
        results = [memory[slot] if same else memory[slot].reshape(shape) for slot, shape, same in self.returned]
        self.frames.give_back(frame)
        return results

    def given_memory(self, arrays: Sequence[Array]) -> dict[int, Array]:
        """Return the donated arguments by the slots of the results that take their memory; none if they must not."""
        if not self.may_donate(arrays):
            return {}
        return {self.returned[result][0]: arrays[slot] for slot, result in self.donations}

    def may_donate(self, arrays: Sequence[Array]) -> bool:
        """Tell whether the donated arguments share no memory with another one.

        Raises:
            ExecutionError: one of them is read-only.
        """
        for slot, _ in self.donations:
            array = arrays[slot]
            if not array.flags.writeable:
                raise ExecutionError(
                    f"argument {slot} is donated, but it is read-only",
                    fix="donate an array that may be written, or a copy of this one",
                )
            if any(np.may_share_memory(array, other) for k, other in enumerate(arrays) if k != slot):
                return False
        return True

    def run_steps(self, frame: Frame) -> None:
        """Run native code and library calls in order, on a frame that is filled in."""
        for native, step in self.steps:
            if native:
                step(frame.pointers, self.sizes)
            else:
                step(frame.memory)
        if self.program.status is not None:
            self.fail(int(frame[FIRST + self.program.status]))

    def fail(self, status: int | None) -> None:
        """Raise the error that a run has left at an address, if any.

        Raises:
            OutOfBoundsError: an index was out of bounds.
        """
        number, index, extent = (ctypes.c_int64 * 3).from_address(status or 0)
        if number:
            check = self.program.checks()[number - 1]
            message = f"index {index} is out of bounds for axis {check.axis} with size {extent}"
            raise OutOfBoundsError(message, check.location)

    def prepare(self, arrays: Sequence[Any]) -> tuple[Array, ...]:
        """Return arrays that native code can read, copying those with other strides, alignment or byte order.

        The dtype of each is the very object that the program was compiled for.
        """
        if len(arrays) != len(self.types):
            raise ExecutionError(f"expected {len(self.types)} arrays, got {len(arrays)}")
        prepared = []
        for position, (array, (shape, dtype)) in enumerate(zip(arrays, self.types, strict=True)):
            array = np.asarray(array)
            if array.shape != shape or (array.dtype != dtype and array.dtype.newbyteorder("=") != dtype):
                raise ExecutionError(
                    f"argument {position} was compiled for shape {shape} and dtype {dtype}, "
                    f"got {array.shape} and {array.dtype}"
                )
            if not (array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative):
                array = np.array(array, dtype=dtype, order="C", copy=True).reshape(shape)
            elif array.dtype is not dtype:
                array = array.view(dtype)  # an equal one, with metadata
            prepared.append(array)
        return tuple(prepared)
