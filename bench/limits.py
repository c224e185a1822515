"""What this machine can do at most, measured: bandwidth, multiply-adds, vector math, one call.

`python -m bench.limits` prints it; `bench.roofline` holds the rows against it. Every rate is the best
of the sources at hand: C++ loops with glibc's vector math (cpp/limits.cpp), and NumPy. Owns the
measuring and the record; knows nothing of rows.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bench.peers.cpp import compile_library
from bench.workload import CPP_SOURCES

Kind = Literal["float64", "float32"]
KINDS: tuple[Kind, ...] = ("float64", "float32")
FLOWS = ("read", "write", "copy")
FUNCTIONS = ("exp", "expm1", "log", "log1p", "sin", "cos", "tanh", "erf", "sqrt", "div")
SIZES = tuple(2**power for power in (14, 15, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28))
QUICK_SIZES = (2**14, 2**18, 2**22, 2**25)
MATH_LENGTH = 2048  # input and output of doubles fill 32 kB: the first cache
CHAINS, VECTOR_BYTES = 12, 64  # of the multiply-adds in limits.cpp


@dataclass(frozen=True)
class Limits:
    """Rates per second on one processor.

    Attributes:
        bandwidth: for each flow, pairs (footprint in bytes, bytes per second); a copy's bytes are
            those read and those written.
        flops: floating-point operations per second of fused multiply-adds, by dtype.
        rates: results per second by dtype and function, and which source reached it.
        call: seconds of a call from Python into C that returns two fresh objects.
    """

    bandwidth: dict[str, list[tuple[int, float]]]
    flops: dict[str, float]
    rates: dict[str, dict[str, tuple[float, str]]]
    call: float

    def bandwidth_at(self, footprint: int, flow: str) -> float:
        """Return the bytes per second at a footprint, between the measured ones on logarithmic scales."""
        points = self.bandwidth[flow]
        logarithms = [math.log(size) for size, _ in points], [math.log(rate) for _, rate in points]
        return math.exp(float(np.interp(math.log(max(footprint, 1)), *logarithms)))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def from_json(data: dict[str, Any]) -> Limits:
    """Return the limits that `to_json` wrote."""
    return Limits(
        bandwidth={flow: [(int(size), rate) for size, rate in points] for flow, points in data["bandwidth"].items()},
        flops=data["flops"],
        rates={
            kind: {name: (rate, source) for name, (rate, source) in found.items()}
            for kind, found in data["rates"].items()
        },
        call=data["call"],
    )


def measure(seconds: float, sizes: tuple[int, ...] = SIZES) -> Limits:
    """Measure everything, each figure for about `seconds`; the best of the samples counts."""
    with tempfile.TemporaryDirectory(prefix="bench-limits-") as folder:
        path = Path(folder, "limits.so")
        compile_library(CPP_SOURCES / "limits.cpp", path)
        library = ctypes.CDLL(str(path))
    return Limits(
        bandwidth=_bandwidth(library, seconds, sizes),
        flops={kind: _flops(library, kind, seconds) for kind in KINDS},
        rates={kind: _rates(library, kind, seconds) for kind in KINDS},
        call=_call(seconds),
    )


def _best(run: Callable[[int], Any], seconds: float) -> float:
    """Return the least seconds per repetition; `run(n)` makes n of them."""
    repeat, spent = 1, 0.0
    while spent < 200e-6 and repeat < 2**30:  # long enough for the clock and the call to be nothing
        repeat *= 2
        start = time.perf_counter()
        run(repeat)
        spent = time.perf_counter() - start
    best, end = math.inf, time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        run(repeat)
        best = min(best, (time.perf_counter() - start) / repeat)
    return best


def _pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _function(library: ctypes.CDLL, name: str, *arguments: Any) -> Callable[[int], Any]:
    function = getattr(library, name)
    return lambda repeat: function(*arguments, ctypes.c_ssize_t(repeat))


def _bandwidth(library: ctypes.CDLL, seconds: float, sizes: tuple[int, ...]) -> dict[str, list[tuple[int, float]]]:
    memory = np.ones(max(sizes) // 8)  # touched: no page is fresh
    found: dict[str, list[tuple[int, float]]] = {flow: [] for flow in FLOWS}
    for size in sizes:
        count = size // 8
        length, half = ctypes.c_ssize_t(count), ctypes.c_ssize_t(count // 2)
        start, middle = _pointer(memory), _pointer(memory[count // 2 :])
        runs = {
            "read": _function(library, "read_bytes", start, length),
            "write": _function(library, "write_bytes", start, length),
            "copy": _function(library, "copy_bytes", start, middle, half),
        }
        for flow, run in runs.items():
            found[flow].append((size, size / _best(run, seconds)))
    return found


def _flops(library: ctypes.CDLL, kind: Kind, seconds: float) -> float:
    per_repetition = 2 * CHAINS * VECTOR_BYTES // np.dtype(kind).itemsize
    return per_repetition / _best(_function(library, f"multiply_adds_{kind}"), seconds)


def _rates(library: ctypes.CDLL, kind: Kind, seconds: float) -> dict[str, tuple[float, str]]:
    """Results per second of each function, on positive arguments that all of them take."""
    from scipy import special

    values = np.random.default_rng(0).uniform(0.1, 3.0, MATH_LENGTH).astype(kind)
    result = np.empty_like(values)
    one = values.dtype.type(1)
    of_numpy: dict[str, Callable[[], Any]] = {
        "erf": lambda: special.erf(values, out=result),
        "div": lambda: np.divide(one, values, out=result),
    }
    rates = {}
    for name in FUNCTIONS:
        arguments = (_pointer(values), _pointer(result), ctypes.c_ssize_t(MATH_LENGTH))
        call = of_numpy.get(name) or (lambda name=name: getattr(np, name)(values, out=result))

        def on_numpy(repeat: int, call: Callable[[], Any] = call) -> None:
            for _ in range(repeat):
                call()

        sources = {"C++": _function(library, f"{name}_{kind}", *arguments), "NumPy": on_numpy}
        if hasattr(library, f"estimated_{name}_{kind}"):
            sources["estimate"] = _function(library, f"estimated_{name}_{kind}", *arguments)
        rates[name] = max((MATH_LENGTH / _best(run, seconds), source) for source, run in sources.items())
    return rates


def _call(seconds: float) -> float:
    """A call from Python into C that makes three objects: a pair of numbers."""

    def run(repeat: int) -> None:
        for _ in range(repeat):
            divmod(7.5, 2.5)

    return _best(run, seconds)


def table(limits: Limits) -> str:
    """Return the limits as text."""
    lines = ["GB/s        " + "".join(f"{flow:>9}" for flow in FLOWS)]
    for i, (size, _) in enumerate(limits.bandwidth["read"]):
        rates = "".join(f"{limits.bandwidth[flow][i][1] * 1e-9:9.1f}" for flow in FLOWS)
        lines.append(f"{footprint(size):>10}  {rates}")
    for kind in KINDS:
        lines.append(f"{kind}: {limits.flops[kind] * 1e-9:.1f} Gflop/s of multiply-adds; million results per second:")
        found = (f"{name} {rate * 1e-6:,.0f} ({source})" for name, (rate, source) in limits.rates[kind].items())
        lines.append("  " + ", ".join(found))
    lines.append(f"a call from Python into C that returns two objects: {limits.call * 1e9:.0f} ns")
    return "\n".join(lines)


def footprint(size: int) -> str:
    """Return a power of two in bytes: `256 kB`."""
    return f"{size // 2**20} MB" if size >= 2**20 else f"{size // 2**10} kB"


def main() -> None:
    """Measure, print, and write JSON where `--output` says."""
    parser = argparse.ArgumentParser(prog="python -m bench.limits", description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.25, help="for each figure")
    parser.add_argument("--quick", action="store_true", help="few footprints, short timing")
    parser.add_argument("--processor", type=int, help="where to pin")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if options.processor is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {options.processor})
    limits = measure(0.02, QUICK_SIZES) if options.quick else measure(options.seconds)
    print(table(limits))
    if options.output is not None:
        options.output.write_text(json.dumps(limits.to_json()))


if __name__ == "__main__":
    main()
