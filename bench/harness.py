"""Start one fresh, pinned, single-threaded process per (row, peer) and collect what they measure.

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
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import peers
from bench.results import Measurement, Row, Run, read_measurement
from bench.workload import Size, Workload

ROOT = Path(__file__).resolve().parents[1]

ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "BLIS_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
    ),
    "1",
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
    """How a run is made: its size, how long each pair is timed, where, and how often."""

    size: Size = "full"
    seconds: float = 1.0
    rounds: int = 1
    processor: int = 0
    timeout: float = 600.0
    keep_heap: bool = False


def run(
    workloads: list[Workload],
    names: list[str],
    settings: Settings,
    progress: Callable[[Measurement], None] = lambda measurement: None,
) -> Run:
    """Measure every pair, round by round; `progress` hears of each as it ends.

    Of several rounds a pair keeps the one with the lowest median: other work on the machine can
    only make a round slower.
    """
    best: dict[tuple[str, str], Measurement] = {}
    for workload, name in _pairs(workloads, names, settings.rounds):
        measurement = measure(workload.name, name, settings)
        progress(measurement)
        pair = workload.name, name
        best[pair] = _better(best.get(pair), measurement)
    return Run(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        size=settings.size,
        machine=describe_machine(),
        settings={
            "seconds": settings.seconds,
            "rounds": settings.rounds,
            "processor": settings.processor,
            "keep_heap": settings.keep_heap,
        },
        rows=[describe(workload, settings.size) for workload in workloads],
        peers={name: _describe_peer(name, best) for name in names},
        measurements=list(best.values()),
    )


def _pairs(
    workloads: list[Workload], names: list[str], rounds: int
) -> Iterator[tuple[Workload, str]]:
    for _ in range(rounds):
        for workload in workloads:
            for name in names:
                yield workload, name


def _better(old: Measurement | None, new: Measurement) -> Measurement:
    if old is None or old.median is None:
        return new
    return new if new.median is not None and new.median < old.median else old


def measure(row: str, name: str, settings: Settings) -> Measurement:
    """Return the measurement of one pair, from a process of its own."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        output = Path(folder, "measurement.json")
        command = [sys.executable, "-m", "bench.measure", row, name, settings.size]
        command += [str(settings.seconds), "--output", str(output)]
        log = Path(folder, "log.txt")
        with log.open("w") as stream:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment(name, folder, settings.keep_heap),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # Pinned before Python starts, so that every thread pool sees one processor.
                preexec_fn=lambda: _pin(settings.processor),
            )
            try:
                code = process.wait(settings.timeout)
            except subprocess.TimeoutExpired:
                _stop(process)
                reason = f"no result after {settings.timeout:.0f} s"
                return Measurement(row, name, "timeout", reason=reason)
            except BaseException:
                _stop(process)
                raise
        if output.exists():
            return read_measurement(json.loads(output.read_text()))
        last = (log.read_text(errors="replace").strip().splitlines() or ["no output"])[-1]
        return Measurement(row, name, "failed", reason=f"exit status {code}: {last[:300]}")


def _pin(processor: int) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {processor})


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the process together with the compilers it may have started: its own session."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def environment(name: str, folder: str, keep_heap: bool) -> dict[str, str]:
    """Return the environment of a measuring process: one thread, and caches that start empty."""
    variables = {key: os.environ[key] for key in os.environ if not key.startswith("MALLOC_")}
    # gradloom need not be installed: the source roots stand next to this folder.
    roots = [str(ROOT / "runtime"), str(ROOT / "compiler"), os.environ.get("PYTHONPATH", "")]
    variables |= {
        **ONE_THREAD,
        "PYTHONPATH": os.pathsep.join(root for root in roots if root),
        "XDG_CACHE_HOME": folder,
        "TORCHINDUCTOR_CACHE_DIR": folder,
        "TMPDIR": folder,
    }
    if keep_heap:
        variables |= KEEP_HEAP
    try:
        variables |= peers.find(name).environment
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


def _describe_peer(name: str, found: dict[tuple[str, str], Measurement]) -> dict[str, str]:
    peer = peers.find(name)
    versions = (m.version for (_, other), m in found.items() if other == name and m.version)
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
