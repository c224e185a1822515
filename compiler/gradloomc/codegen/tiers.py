"""Native code in two tiers: quick to compile first, quick to run once it turns out to be worth it.

The first tier calls the vector-math library and is compiled at LLVM's level 0: 3 to 10 times faster to compile, 1.1 to
1.8 times slower to run. The second has everything written out and is compiled at level 1, on a thread in the
background, when the first has run for about as long as that takes; a program that is that much work in its first call
gets it at once. Both give the same bits: there is nothing in the text that would let LLVM round differently.

What callers get is the address of a trampoline, three instructions that count down and jump on. When the count is
zero they post a semaphore, and the thread compiles the second tier and changes the address to jump to. So nobody who
has the address needs to know. Counts depend on the program alone. The second tier is kept in the store on disk under
the key of the first: another process starts with it.

A child after a fork has no such thread until it compiles something itself; what runs keeps running. At the end of the
interpreter the thread finishes the module at hand. Where there are no semaphores, there is one tier.

Environment:
    GRADLOOM_TIERS: "0" or "off" compiles everything for speed at once.
"""

import atexit
import ctypes
import os
import threading
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from gradloomc.codegen.cache import digest
from gradloomc.codegen.fingerprint import fingerprint
from gradloomc.codegen.foresight import library_symbols
from gradloomc.codegen.host import Host
from gradloomc.codegen.image import process_symbol
from gradloomc.codegen.llvm_process import has_begun
from gradloomc.codegen.mathlib import is_library_symbol, library_text
from gradloomc.codegen.native import (
    Given,
    Module,
    compile_module,
    counts,
    expect_compilation,
    expect_module,
    find_module,
    host,
    module_key,
)
from gradloomc.codegen.program import NativeStep, Program
from gradloomc.codegen.source import Source
from gradloomc.ir.core import Op

__all__ = ["Tiers", "compile_program", "expect_library", "expect_program", "library_addresses", "tiers"]

# From the estimate of `nest_work`, which is for the second tier, to the seconds that the first takes.
_CYCLES_PER_SECOND = 1.5e9
# What LLVM takes for a byte of text at level 1, beside what it takes for any text.
_SECONDS_PER_BYTE, _SECONDS_AT_LEAST = 0.7e-6, 2e-3
# A call of a small program costs more than its work.
_SECONDS_PER_CALL = 0.3e-6
# Programs whose first call takes longer than compiling for speed do not start with the first tier. Compiling takes this
# many times longer than the difference to the first tier.
_AT_ONCE = 1.5
_SLOTS = 4  # trampolines in one image: LLVM takes a millisecond for each, once on a machine
_WORDS = 2  # of each: calls left, address
_SEMAPHORE_BYTES = 64
# The modules of the library that were asked for, by symbol, attributes and machine.
_library: dict[tuple[str, str, str], tuple[Source, str | None]] = {}


def _trampolines_text() -> str:
    """Return a module of trampolines that work on the words at @gradloom_tiers, and post @gradloom_hot."""
    lines = [
        "@gradloom_tiers = external global i64",
        "@gradloom_hot = external global i8",
        "declare i32 @sem_post(ptr)",
    ]
    for slot in range(_SLOTS):
        lines += [
            f"define void @trampoline{slot}(ptr %buffers, ptr %sizes) nounwind {{",
            "entry:",
            f"  %count = getelementptr i64, ptr @gradloom_tiers, i64 {_WORDS * slot}",
            f"  %place = getelementptr i64, ptr @gradloom_tiers, i64 {_WORDS * slot + 1}",
            "  %before = load atomic i64, ptr %count monotonic, align 8",
            "  %left = sub i64 %before, 1",
            "  store atomic i64 %left, ptr %count monotonic, align 8",
            "  %hot = icmp eq i64 %left, 0",
            "  br i1 %hot, label %post, label %run, !prof !0",
            "post:",
            "  %posted = call i32 @sem_post(ptr @gradloom_hot)",
            "  br label %run",
            "run:",
            "  %target = load atomic ptr, ptr %place acquire, align 8",
            "  musttail call void %target(ptr %buffers, ptr %sizes)",
            "  ret void",
            "}",
        ]
    return "\n".join([*lines, '!0 = !{!"branch_weights", i32 1, i32 1000000}']) + "\n"


class _Trampoline(NamedTuple):
    """A trampoline's own address, and the address of its words."""

    address: int
    words: int

    def start(self, calls: int, target: int) -> None:
        self.retarget(target)
        ctypes.c_int64.from_address(self.words).value = calls

    def retarget(self, target: int) -> None:
        """Let it jump elsewhere from now on: one aligned word is stored at once."""
        ctypes.c_uint64.from_address(self.words + 8).value = target

    @property
    def left(self) -> int:
        return ctypes.c_int64.from_address(self.words).value


class _Waiting:
    """A program in its first tier."""

    __slots__ = ("given", "key", "program", "trampolines")

    def __init__(self, key: str, program: Program, given: Given, trampolines: dict[str, _Trampoline]):
        self.key, self.program, self.given, self.trampolines = key, program, given, trampolines

    @property
    def hot(self) -> bool:
        return any(trampoline.left <= 0 for trampoline in self.trampolines.values())


class Tiers:
    """The programs in their first tier, and the thread that compiles their second.

    Attributes:
        promoted: how many programs have changed to their second tier in this process.
        at_once: how many started with it because they are much work.
        failures: what went wrong on the thread; the programs concerned stay in their first tier.
    """

    def __init__(self) -> None:
        self.code: dict[str, Module] = {}
        self.waiting: list[_Waiting] = []
        self.free: list[_Trampoline] = []
        self.promoted = self.at_once = 0
        self.failures: list[BaseException] = []
        self._kept: list[Any] = []
        self._semaphore: Any = None
        self._thread: threading.Thread | None = None
        self._busy = self._stopping = self._expected = False

    def compile(self, program: Program, attributes: str) -> Module:
        """Return the code of a program; `attributes` are the function attributes that its text carries."""
        symbols = [step.symbol for step in program.steps if isinstance(step, NativeStep)]
        if not symbols:
            return Module({}, "memory")

        given = library_addresses(attributes)
        key = module_key(program.source, 0)
        known = self.code.get(key)
        if known is not None:
            counts.in_memory += 1
            return known
        found = find_module(_second_key(key), symbols, given) or self._make(key, program, symbols, given)
        self.code[key] = found._replace(source="memory")
        return found

    def _make(self, key: str, program: Program, symbols: Sequence[str], given: Given) -> Module:
        seconds = _seconds(program)
        compiling = _SECONDS_AT_LEAST + _SECONDS_PER_BYTE * program.source.size
        if not self._available() or seconds > _AT_ONCE * compiling:
            self.at_once += 1
            return _compile_second(key, program, symbols, given)
        first = compile_module(program.source, symbols, given, level=0, key=key)
        calls = max(1, round(compiling / (seconds + _SECONDS_PER_CALL)))
        trampolines = {symbol: self._trampoline() for symbol in symbols}
        for symbol, trampoline in trampolines.items():
            trampoline.start(calls, first.addresses[symbol])
        self.waiting.append(_Waiting(key, program, given, trampolines))
        self._start()
        addresses = {symbol: trampoline.address for symbol, trampoline in trampolines.items()}
        return Module(addresses, first.source)

    # --- trampolines ---

    def _available(self) -> bool:
        """Tell whether there is a first tier here; make what it needs."""
        if self._semaphore is None:
            self._semaphore = _make_semaphore() if enabled() else False
        return bool(self._semaphore)

    def _trampoline(self) -> _Trampoline:
        if not self.free:
            words = (ctypes.c_int64 * (_WORDS * _SLOTS))()
            self._kept.append(words)
            start, semaphore = ctypes.addressof(words), self._semaphore.address
            given = {"gradloom_tiers": start, "gradloom_hot": semaphore, "sem_post": process_symbol("sem_post")}
            self.free = _load_trampolines(given, start)
        return self.free.pop()

    def expect(self) -> None:
        """Have the trampolines compiled before the first program asks for them, if LLVM is there; looks once."""
        if not self._expected and has_begun() and enabled():
            self._expected = True
            expect_module(_trampolines_text())

    # --- the thread ---

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="gradloom compiler", daemon=True)
            self._thread.start()

    def _serve(self) -> None:
        while not self._stopping:
            self._busy = True
            for entry in [entry for entry in self.waiting if entry.hot]:
                if not self._stopping:
                    self._promote(entry)
            self._busy = False
            self._semaphore.wait()

    def _promote(self, entry: _Waiting) -> None:
        try:
            second = _compile_second(entry.key, entry.program, list(entry.trampolines), entry.given)
            for symbol, trampoline in entry.trampolines.items():
                trampoline.retarget(second.addresses[symbol])
            self.promoted += 1
        except Exception as error:
            self.failures.append(error)
        self.waiting.remove(entry)

    def settle(self, timeout: float = 60.0) -> bool:
        """Wait until no hot program waits for its second tier; return whether that is so."""
        end = time.monotonic() + timeout
        while self._thread is not None and (self._busy or any(entry.hot for entry in self.waiting)):
            if time.monotonic() > end:
                return False
            time.sleep(1e-3)
        return True

    def stop(self) -> None:
        """Let the thread end; wait for the module that it is compiling."""
        self._stopping = True
        if self._thread is not None:
            self._semaphore.post()
            self._thread.join()

    def forget_thread(self) -> None:
        """In a child after a fork there is no thread; the next program starts one."""
        self._thread, self._busy = None, False


class _Semaphore:
    """A POSIX semaphore, which native code can post without the interpreter."""

    def __init__(self, library: Any):
        self.memory = ctypes.create_string_buffer(_SEMAPHORE_BYTES)
        self.address = ctypes.addressof(self.memory)
        self._wait, self._post = library.sem_wait, library.sem_post
        for function in (self._wait, self._post, library.sem_init):
            function.restype = ctypes.c_int
        self._wait.argtypes = self._post.argtypes = (ctypes.c_void_p,)
        library.sem_init.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_uint)
        if library.sem_init(self.address, 0, 0):
            raise OSError("sem_init")

    def wait(self) -> None:
        """Wait until it is posted; may return without reason."""
        self._wait(self.address)

    def post(self) -> None:
        self._post(self.address)


def library_addresses(attributes: str) -> Given:
    """Return what gives the addresses of the vector-math library, for functions with these attributes."""

    def given(name: str) -> int:
        if not is_library_symbol(name):
            return 0
        source, key = _library_module(name, attributes)
        return compile_module(source, [name], key=key).addresses[name]

    return given


def _library_module(name: str, attributes: str) -> tuple[Source, str | None]:
    """Return the module of a function of the library, and the key under which it is found without its text."""
    machine = host().signature
    found = _library.get((name, attributes, machine))
    if found is None:
        source = Source(make=lambda: library_text(name, attributes))  # long, and not needed where its code is on disk
        key = digest("library", fingerprint(), machine, name, attributes) if fingerprint() else None
        found = _library[name, attributes, machine] = source, key
    return found


def expect_library(function: Op, host: Host) -> None:
    """Have what an nd function will probably need of the library compiled meanwhile, if LLVM is there."""
    if has_begun() and enabled():
        for name in library_symbols(function, host.vector_bits):
            source, key = _library_module(name, host.function_attributes)
            expect_module(source, key=key)


def _make_semaphore() -> _Semaphore | bool:
    try:
        return _Semaphore(ctypes.CDLL(None))
    except (OSError, AttributeError, TypeError):
        return False


def _load_trampolines(given: dict[str, int], start: int) -> list[_Trampoline]:
    names = [f"trampoline{slot}" for slot in range(_SLOTS)]
    addresses = compile_module(_trampolines_text(), names, lambda name: given.get(name, 0), again=True).addresses
    return [_Trampoline(addresses[name], start + 8 * _WORDS * slot) for slot, name in enumerate(names)]


def _seconds(program: Program) -> float:
    """Return about how long a call takes in the first tier."""
    try:
        return float(program.work) / _CYCLES_PER_SECOND
    except (TypeError, ValueError):
        return 0.0


def _second_key(key: str) -> str:
    return digest("second tier", key)


def _compile_second(key: str, program: Program, symbols: Sequence[str], given: Given) -> Module:
    """Compile a program for speed; the code is found again under the key of its first tier."""
    source = program.source
    if program.written_out is not None:
        other = program.written_out()
        if _form(other) != _form(program):
            raise AssertionError("the tiers of a program differ in more than their text")
        source = other.source
    return compile_module(source, symbols, given, key=_second_key(key))


def _form(program: Program) -> Any:
    """Return what has to agree where one text takes the place of another; lengths may be numbers or not."""
    segments = [step.symbol for step in program.steps if isinstance(step, NativeStep)]
    return segments, len(program.sizes), [slot.element for slot in program.slots]


def enabled() -> bool:
    """Tell whether the environment lets programs start with the first tier."""
    return os.environ.get("GRADLOOM_TIERS", "").lower() not in ("0", "off", "no", "false")


tiers = Tiers()
atexit.register(tiers.stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=tiers.forget_thread)


def compile_program(program: Program) -> Module:
    """Return the code of a program that was written for this machine."""
    return tiers.compile(program, host().function_attributes)


def expect_program(source: bytes, called: bool = True) -> None:
    """Have LLVM started, and what all programs need compiled, if nothing of this source was seen on this machine."""
    expect_compilation(source, called)
    tiers.expect()
