"""How many threads work, and the pool of workers that native segments hand their chunks to.

Nothing starts at import. The pool's code is compiled when there has been enough work in chunks, and its workers start
with the first job (`gradloomc.codegen.workers`). They are POSIX threads that never touch Python and
sleep while nobody calls. Where there are none, Python threads do the same through a callback. Results do not depend on
any of this: see `gradloomc.lowering.parallelize`.
"""

import atexit
import ctypes
import itertools
import os
import queue
import sys
import threading
import time
import warnings
from typing import Any

import numpy as np

from gradloomc.codegen.native import compile_module, host
from gradloomc.codegen.workers import BLOCK_BYTES, MOST_WORKERS, WORDS, pool_text

Array = np.ndarray[Any, Any]

# How long a worker stays awake after a job: a loop of calls finds it awake, and others soon get its processor.
SPIN_SECONDS = 100e-6
# Compiling the pool takes a millisecond from the store and some ten from scratch: it is worth that from the third call
# with chunks on, or sooner, when this much work has been met.
START_FROM_CALL, START_FROM_CYCLES = 3, 60_000_000
VARIABLES = ("GRADLOOM_NUM_THREADS", "OMP_NUM_THREADS")
_CHUNK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)
_RUN = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)


def available_processors() -> int:
    """Return how many processors this process may use."""
    try:
        return max(1, len(os.sched_getaffinity(0)))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def default_threads() -> int:
    """Return the number of threads that the environment asks for, else that of the available processors.

    The first of `VARIABLES` that is set counts; of a list, as OpenMP allows for nested levels, its first entry.
    """
    for name in VARIABLES:
        text = os.environ.get(name, "").strip()
        if not text:
            continue
        try:
            number = int(text.split(",")[0])
        except ValueError:
            number = 0
        if number >= 1:
            return min(number, MOST_WORKERS + 1)
        warnings.warn(f"{name} should be a positive number, not {text!r}", RuntimeWarning, stacklevel=3)
    return min(available_processors(), MOST_WORKERS + 1)


class WorkerPool:
    """The control block that native code sees, and who stands behind it.

    Args:
        native: whether workers are POSIX threads; else they are Python's. None: where the system has them.
    """

    def __init__(self, native: bool | None = None):
        self.native = sys.platform != "win32" if native is None else native
        memory = np.zeros(BLOCK_BYTES + 64, np.uint8)
        offset = -memory.ctypes.data % 64
        self.block = memory[offset : offset + BLOCK_BYTES]
        self.lock = threading.Lock()
        self.threads = 0  # not yet known
        self.calls = self.cycles = 0  # met before it started
        self.stop_native: Any = None
        self.helpers: _Helpers | None = None

    def word(self, name: str) -> int:
        """Return a word of the control block; `jobs`, `alone` and `helped` count what has happened so far."""
        return int(self.block[WORDS[name] :][:8].view(np.int64)[0])

    def set_word(self, name: str, value: int) -> None:
        self.block[WORDS[name] :][:8].view(np.int64)[0] = value

    def get_threads(self) -> int:
        """Return how many threads may work on a job, the caller's included."""
        if not self.threads:
            self.threads = default_threads()
        return self.threads

    def set_threads(self, number: int) -> None:
        """Let so many threads work from now on; waits for the job in progress."""
        with self.lock:
            self.threads = number
            if self.started:
                self._stop()
                self._configure()

    @property
    def started(self) -> bool:
        """Whether segments may hand their chunks to the pool."""
        return self.word("run") != 0

    def meet(self, cycles: int) -> None:
        """Note a call that has so much work for the pool, and start it if that is worth it."""
        if self.started:
            return
        self.calls, self.cycles = self.calls + 1, self.cycles + cycles
        if self.calls >= START_FROM_CALL or self.cycles >= START_FROM_CYCLES:
            self.start()

    def start(self) -> None:
        """Let segments find the pool; its workers start with the first job."""
        if self.started:
            return
        with self.lock:
            if self.started:
                return
            address = self._native_address() if self.native else 0
            if not address:
                self.native = False
                self.helpers = _Helpers(self)
                address = self.helpers.address
            self._configure()
            atexit.register(self.close)
            if hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=self._forget_workers)
            self.set_word("run", address)

    def close(self) -> None:
        """End all workers: from now on callers do all the work."""
        with self.lock:
            if self.started:
                self._stop()
                self.set_word("threads", 1)

    def _native_address(self) -> int:
        """Return the address of `gl_run`, 0 where the system lacks what it needs."""
        try:
            found = compile_module(pool_text(host().triple), ["gl_run", "gl_stop", "gl_pause"], level=0).addresses
        except RuntimeError:  # a symbol is not there
            return 0
        self.stop_native = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(found["gl_stop"])
        pause = ctypes.CFUNCTYPE(None, ctypes.c_int64)(found["gl_pause"])
        pauses, seconds = 1000, []
        for _ in range(3):
            start = time.perf_counter()
            pause(pauses)
            seconds.append(time.perf_counter() - start)
        self.spins = max(1, int(SPIN_SECONDS * pauses / min(seconds)))
        return found["gl_run"]

    def _configure(self) -> None:
        number = self.get_threads()
        crowded = number > available_processors()  # whoever waits keeps others from working
        self.set_word("spin", 1 if crowded or not self.native else self.spins)
        self.set_word("threads", number)

    def _stop(self) -> None:
        if self.helpers is not None:
            self.helpers.stop()
        elif self.stop_native is not None:
            self.stop_native(self.block.ctypes.data)

    def _forget_workers(self) -> None:
        """In a forked child: there are no workers, and whoever held a lock does not exist either."""
        self.lock = threading.Lock()
        for name in ("started", "process", "lock", "epoch", "sleepers", "finished", "stop"):
            self.set_word(name, 0)
        self.block[WORDS["tickets"] :] = 0
        self.set_word("blas_lock", 0)
        self.set_word("blas_users", 0)
        if self.helpers is not None:
            self.helpers.forget()


class _Helpers:
    """The workers as Python threads, for systems without POSIX threads; native code calls back for every job."""

    def __init__(self, pool: WorkerPool):
        self.pool = pool
        self.callback = _RUN(self.run)
        self.address: int = ctypes.cast(self.callback, ctypes.c_void_p).value or 0
        self.forget()

    def forget(self) -> None:
        """Start with no threads."""
        self.busy = threading.Lock()
        self.jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self.members: list[threading.Thread] = []

    def run(self, _block: int, function: int, context: int, count: int) -> None:
        """Run all chunks of a job; alone if another one's job runs."""
        job = _Job(function, context, count)
        wanted = self.pool.word("threads") - 1
        if wanted < 1 or count < 2:
            job.take()
        elif not self.busy.acquire(blocking=False):
            self.pool.set_word("alone", self.pool.word("alone") + 1)
            job.take()
        else:
            try:
                self.hire(wanted)
                self.pool.set_word("jobs", self.pool.word("jobs") + 1)
                for _ in range(min(wanted, count - 1)):
                    self.jobs.put(job)
                job.take()
                job.finished.wait()
            finally:
                self.busy.release()

    def hire(self, wanted: int) -> None:
        """Start threads until there are as many as wanted."""
        while len(self.members) < wanted:
            thread = threading.Thread(target=self.work, name="gradloom-worker", daemon=True)
            self.members.append(thread)
            thread.start()

    def work(self) -> None:
        """Take chunks of one job after the other."""
        while (job := self.jobs.get()) is not None:
            helped = job.take()
            self.pool.set_word("helped", self.pool.word("helped") + helped)

    def stop(self) -> None:
        """Wait for the job in progress, then end all threads."""
        with self.busy:
            for _ in self.members:
                self.jobs.put(None)
            for thread in self.members:
                thread.join()
            self.members = []


class _Job:
    """The chunks of one call."""

    def __init__(self, function: int, context: int, count: int):
        self.chunk, self.context, self.count = _CHUNK(function), context, count
        self.next = itertools.count()
        self.lock = threading.Lock()
        self.done = 0
        self.finished = threading.Event()

    def take(self) -> int:
        """Run chunks until there are none left; return how many."""
        taken = 0
        while (k := next(self.next)) < self.count:
            self.chunk(self.context, k)
            taken += 1
        with self.lock:
            self.done += taken
            if self.done == self.count:
                self.finished.set()
        return taken


pool = WorkerPool()


def get_num_threads() -> int:
    """Return how many threads compiled functions may use.

    Unless `set_num_threads` said otherwise: the environment's GRADLOOM_NUM_THREADS or OMP_NUM_THREADS, else the number
    of processors that this process may run on.
    """
    return pool.get_threads()


def set_num_threads(number: int) -> None:
    """Let compiled functions use so many threads, the caller's own included.

    Results have the same bits with any number of threads. NumPy's own products are not affected.

    Args:
        number: 1 or more. With 1, everything runs in the thread that calls.

    Raises:
        TypeError: `number` is no integer.
        ValueError: `number` is less than 1.
    """
    if isinstance(number, bool) or not hasattr(number, "__index__"):
        raise TypeError(f"the number of threads should be an integer, not {number!r}")
    number = number.__index__()
    if number < 1:
        raise ValueError(f"the number of threads should be 1 or more, not {number}")
    pool.set_threads(min(number, MOST_WORKERS + 1))
