"""How one call is timed on a machine that others use too, and how memory is read.

Owns the clocks. It knows nothing of workloads and peers.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

# One sample lasts at least this long: short calls are timed in batches.
SAMPLE_SECONDS = 300e-6
MOST_CALLS = 10_000
FEWEST_SAMPLES = 7


@dataclass(frozen=True)
class Timing:
    """Seconds per call over the samples in which the process was not preempted."""

    median: float
    minimum: float
    samples: int
    preempted: int
    noisy: bool
    calls_per_sample: int
    page_faults_per_call: float


@dataclass(frozen=True)
class Sample:
    """Wall and processor seconds of one batch of calls."""

    wall: float
    processor: float

    @property
    def undisturbed(self) -> bool:
        """Whether the process had the processor for (nearly) all of the sample."""
        return self.wall <= 1.03 * self.processor + 20e-6


def sample(call: Callable[..., Any], arguments: tuple[Any, ...], calls: int) -> Sample:
    """Run `call` `calls` times; each result is dropped before the next call."""
    repeat = range(calls)
    processor = time.process_time_ns()
    wall = time.perf_counter_ns()
    for _ in repeat:
        call(*arguments)
    wall = time.perf_counter_ns() - wall
    processor = time.process_time_ns() - processor
    return Sample(wall * 1e-9, processor * 1e-9)


def measure(call: Callable[..., Any], arguments: tuple[Any, ...], seconds: float) -> Timing:
    """Time `call(*arguments)` for about `seconds`, after a warm-up a quarter as long.

    Goes on for up to four times as long when samples are preempted. If too few are left even so,
    those with the least waiting are used and the timing is marked noisy.
    """
    calls = _warm_up(call, arguments, seconds / 4)
    kept: list[Sample] = []
    disturbed: list[Sample] = []
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    start = time.perf_counter()
    while True:
        one = sample(call, arguments, calls)
        (kept if one.undisturbed else disturbed).append(one)
        elapsed = time.perf_counter() - start
        if elapsed > seconds and len(kept) >= FEWEST_SAMPLES:
            break
        if elapsed > 4 * seconds and len(kept) + len(disturbed) >= FEWEST_SAMPLES:
            break
    total = calls * (len(kept) + len(disturbed))
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
    noisy = len(kept) < 3
    if noisy:
        waiting = sorted(kept + disturbed, key=lambda one: one.wall - one.processor)
        kept = waiting[: max(3, len(waiting) // 4)]
    walls = [one.wall / calls for one in kept]
    return Timing(
        median=median(walls),
        minimum=min(walls),
        samples=len(kept),
        preempted=total // calls - len(kept),
        noisy=noisy,
        calls_per_sample=calls,
        page_faults_per_call=faults / total,
    )


def _warm_up(call: Callable[..., Any], arguments: tuple[Any, ...], seconds: float) -> int:
    """Call for `seconds`, at least twice; return the number of calls that makes a sample."""
    start = time.perf_counter()
    calls = 1
    per_call = min(sample(call, arguments, 1).wall for _ in range(2))
    while time.perf_counter() - start < seconds:
        calls = min(max(1, round(SAMPLE_SECONDS / max(per_call, 1e-9))), MOST_CALLS)
        per_call = min(per_call, sample(call, arguments, calls).wall / calls)
    return calls


def reset_peak_memory() -> int:
    """Forget the highest resident size so far, where Linux lets us; return the size now, in bytes."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass
    return _status("VmRSS")


def peak_memory() -> int:
    """Return the highest resident size in bytes since `reset_peak_memory`, or since the start."""
    return _status("VmHWM")


def helpers_memory() -> int:
    """Return what the other processes of this session have taken at most, as far as they still run, in bytes.

    They are those that a library started to compile, as nothing else runs in the session of a measuring process.
    """
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(state[3]) != os.getsid(0) or int(folder.name) == os.getpid():
                continue
            lines = (folder / "status").read_text().splitlines()
        except OSError:  # it has ended
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    return total


def _status(field: str) -> int:
    """Return a field of /proc/self/status in bytes; elsewhere the highest resident size of all."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
