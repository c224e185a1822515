"""Start one fresh, pinned process per (row, peer, number of threads) and collect what they measure.

Owns the processes and their environment. What happens inside one is `measure.py`'s business.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import peers
from bench.results import Measurement, Row, Run, read_measurement
from bench.workload import Size, Workload
from bench.workloads import WORKLOADS

ROOT = Path(__file__).resolve().parents[1]

# What says how many threads a library starts. An adapter may need more: its `environment`, its `load`.
THREADS = (
    "BENCH_THREADS",  # read by the adapters
    "GRADLOOM_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

# A heap that is never given back: glibc then serves every array from memory it already holds, and
# no call pays for first touches of fresh pages.
KEEP_HEAP = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**62),
    "MALLOC_ARENA_MAX": "1",
}


@dataclass(frozen=True)
class Settings:
    """How a run is made: its size, how long each pair is timed, where, how often, on how many threads.

    `processor` is where one thread is pinned; more of them get as many processors, from there on
    downwards.
    """

    size: Size = "full"
    seconds: float = 1.0
    rounds: int = 1
    processor: int = 0
    timeout: float = 600.0
    keep_heap: bool = False
    threads: tuple[int, ...] = (1,)


def run(
    workloads: list[Workload],
    names: list[str],
    settings: Settings,
    progress: Callable[[Measurement], None] = lambda measurement: None,
) -> list[Run]:
    """Measure every pair, round by round; return a run for each number of threads.

    `progress` hears of each measurement as it ends. Of several rounds a pair keeps the one with the
    lowest median: other work on the machine can only make a round slower.
    """
    best: dict[tuple[str, str, int], Measurement] = {}
    for workload, name, threads in _pairs(workloads, names, settings):
        measurement = measure(workload.name, name, settings, threads)
        progress(measurement)
        pair = workload.name, name, threads
        best[pair] = _better(best.get(pair), measurement)
    created = datetime.now(UTC).isoformat(timespec="seconds")
    machine = describe_machine()
    return [
        Run(
            created=created,
            size=settings.size,
            machine=machine,
            settings={
                "seconds": settings.seconds,
                "rounds": settings.rounds,
                "processor": settings.processor,
                "keep_heap": settings.keep_heap,
                "threads": threads,
                "every_row": len(workloads) == len(WORKLOADS),
                "complete": len(workloads) == len(WORKLOADS) and len(names) == len(peers.PEERS),
            },
            rows=[describe(workload, settings.size) for workload in workloads],
            peers={name: _describe_peer(name, best.values()) for name in names},
            measurements=[one for (_, _, count), one in best.items() if count == threads],
        )
        for threads in settings.threads
    ]


def _pairs(
    workloads: list[Workload], names: list[str], settings: Settings
) -> Iterator[tuple[Workload, str, int]]:
    """What is measured, in order: a pair's numbers of threads right after one another."""
    for _ in range(settings.rounds):
        for workload in workloads:
            for name in names:
                for threads in settings.threads:
                    yield workload, name, threads


def _better(old: Measurement | None, new: Measurement) -> Measurement:
    if old is None or old.median is None:
        return new
    return new if new.median is not None and new.median < old.median else old


def measure(row: str, name: str, settings: Settings, threads: int = 1) -> Measurement:
    """Return the measurement of one pair, from a process of its own."""
    arguments = [row, name, settings.size, str(settings.seconds)]
    try:
        found = child("bench.measure", arguments, name, settings, threads)
    except TimeoutError as error:
        return Measurement(row, name, "timeout", reason=str(error))
    except ChildProcessError as error:
        return Measurement(row, name, "failed", reason=str(error))
    return read_measurement(found)


def child(
    module: str, arguments: list[str], peer: str, settings: Settings, threads: int = 1, **variables: str
) -> Any:
    """Run `python -m module arguments --output FILE` pinned and with fresh caches; return FILE's JSON.

    `variables` are added to the environment that the column `peer` gets.

    Raises:
        TimeoutError: it took longer than the settings allow.
        ChildProcessError: it wrote no result; the message has the last line it printed.
    """
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        output = Path(folder, "result.json")
        log = Path(folder, "log.txt")
        with log.open("w") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments, "--output", str(output)],
                cwd=ROOT,
                env=environment(peer, folder, settings.keep_heap, threads) | variables,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # Pinned before Python starts, so that every thread pool sees its processors only.
                preexec_fn=lambda: _pin(settings.processor, threads),
            )
            try:
                code = process.wait(settings.timeout)
            except subprocess.TimeoutExpired:
                _stop(process)
                raise TimeoutError(f"no result after {settings.timeout:.0f} s") from None
            except BaseException:
                _stop(process)
                raise
        if output.exists():
            return json.loads(output.read_text())
        last = (log.read_text(errors="replace").strip().splitlines() or ["no output"])[-1]
        raise ChildProcessError(f"exit status {code}: {last[:300]}")


def _pin(processor: int, threads: int) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, processors(processor, threads, os.sched_getaffinity(0)))


def processors(first: int, threads: int, usable: Iterable[int]) -> set[int]:
    """Return `first` and the ones below it, then those above: one for each thread, as far as there are."""
    below = sorted((one for one in usable if one < first), reverse=True)
    above = sorted(one for one in usable if one > first)
    return {first, *[*below, *above][: threads - 1]}


def last_processor() -> int:
    """The highest processor that we may use: the first one serves most interrupts."""
    if hasattr(os, "sched_getaffinity"):
        return max(os.sched_getaffinity(0))
    return 0


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the process together with the compilers it may have started: its own session."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def environment(name: str, folder: str, keep_heap: bool, threads: int = 1) -> dict[str, str]:
    """Return the environment of a measuring process: so many threads, and caches that start empty."""
    own = ("MALLOC_", "GRADLOOM_")  # what the user set for other programs must not show up in figures
    variables = {key: os.environ[key] for key in os.environ if not key.startswith(own)}
    # gradloom need not be installed: the source roots stand next to this folder.
    roots = [str(ROOT / "runtime"), str(ROOT / "compiler"), os.environ.get("PYTHONPATH", "")]
    variables |= {
        **dict.fromkeys(THREADS, str(threads)),
        "PYTHONPATH": os.pathsep.join(root for root in roots if root),
        "XDG_CACHE_HOME": folder,
        "TORCHINDUCTOR_CACHE_DIR": folder,
        "TMPDIR": folder,
    }
    if keep_heap:
        variables |= KEEP_HEAP
    try:
        for key, value in peers.find(name).environment.items():
            variables[key] = value.format(threads=threads, parallel=str(threads > 1).lower(), folder=folder)
    except ImportError:
        pass  # the process itself reports why the adapter cannot be had
    return variables


def describe(workload: Workload, size: Size) -> Row:
    """Return what a result needs to know of a workload."""
    inputs = workload.inputs(size)
    return Row(
        name=workload.name,
        title=workload.heading(size),
        dtype=workload.dtype,
        shapes=[list(array.shape) for array in inputs],
        argnums=list(workload.argnums),
        ideal_bytes=workload.ideal_bytes(inputs),
    )


def _describe_peer(name: str, found: Iterable[Measurement]) -> dict[str, str]:
    peer = peers.find(name)
    versions = (m.version for m in found if m.peer == name and m.version)
    return {"label": peer.label, "kind": peer.kind, "version": next(versions, "")}


def describe_machine() -> dict[str, Any]:
    """Return what the figures depend on besides the code: processor, system, Python, commit."""
    return {
        "processor": _processor(),
        "processors": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "commit": _commit(),
    }


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    with suppress(OSError):
        done = subprocess.run(command, capture_output=True, text=True)
        return done.stdout.strip()
    return ""
