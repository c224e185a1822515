"""Measure one (row, peer) pair in this process: `python -m bench.measure ROW PEER SIZE SECONDS`.

The harness starts one such process per pair; the result goes to the file named by `--output`, as
the libraries write what they like to stdout. The order of imports is the point here: NumPy first
and untimed, then the peer's library, timed, and only then the workload, whose SciPy would
otherwise pay for part of the library's import.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from bench import peers, timing
from bench.peers.base import Inexpressible, Peer, Unavailable
from bench.results import Measurement
from bench.workload import Size, Workload


def measure_pair(row: str, name: str, size: Size, seconds: float) -> Measurement:
    """Return the measurement of a pair; whatever goes wrong becomes its status and reason."""
    pair = Measurement(row, name, "failed", reason="did not start")
    try:
        peer = peers.find(name)
        start = time.perf_counter()
        version = peer.load()
        pair = replace(pair, version=version, import_time=time.perf_counter() - start)
    except (ImportError, Unavailable) as error:
        return replace(pair, status="unavailable", reason=_say(error))
    except Exception as error:
        return replace(pair, reason=_say(error))
    try:
        from bench.workloads import find

        return _measure(pair, peer, find(row), size, seconds)
    except Inexpressible as error:
        return replace(pair, status="inexpressible", reason=str(error))
    except Exception as error:
        traceback.print_exc()
        return replace(pair, status="failed", reason=_say(error))


def _measure(
    pair: Measurement, peer: Peer, workload: Workload, size: Size, seconds: float
) -> Measurement:
    inputs = workload.inputs(size)
    arguments = peer.put(inputs, workload)
    before = timing.reset_peak_memory()

    start = time.perf_counter()
    call = peer.build(workload)
    result = call(*arguments)
    first = time.perf_counter() - start - getattr(peer, "uncounted", 0.0)
    pair = replace(pair, first_call=first, note=getattr(peer, "note", ""))

    peak, helpers = timing.peak_memory(), timing.helpers_memory()
    pair = check(pair, workload, inputs, *peer.get(result))
    if pair.status == "wrong":
        return pair
    del result
    gc.collect()
    settle = getattr(peer, "settle", None)
    if settle is not None:
        settle(call, arguments)
    timing.reset_peak_memory()
    figures = asdict(timing.measure(call, arguments, seconds))
    memory = {
        "peak_memory": max(peak, timing.peak_memory()),
        "helpers_memory": max(helpers, timing.helpers_memory()),
        "memory_before": before,
    }
    return replace(pair, status="ok", reason="", **memory, **figures)


def check(
    pair: Measurement,
    workload: Workload,
    inputs: tuple[np.ndarray, ...],
    value: float | None,
    gradients: Sequence[np.ndarray],
) -> Measurement:
    """Hold a result against the reference: value, shapes, dtypes and every derivative."""
    expected_value, expected = workload.reference(inputs)
    if (value is None) != (expected_value is None):
        reason = f"the value is {value}, expected {expected_value}"
        return replace(pair, status="wrong", reason=reason)
    if value is not None and expected_value is not None:
        pair = replace(pair, value_error=abs(value - expected_value) / abs(expected_value))
    kinds = [(inputs[argnum].shape, workload.dtype) for argnum in workload.argnums]
    found = [(gradient.shape, str(gradient.dtype)) for gradient in gradients]
    if found != kinds:
        return replace(pair, status="wrong", reason=f"derivatives are {found}, expected {kinds}")
    errors = [
        float(np.max(np.abs(gradient - exact)) / np.max(np.abs(exact)))
        for gradient, exact in zip(gradients, expected, strict=True)
    ]
    pair = replace(pair, gradient_errors=errors)
    # Written so that a nan, for which no comparison holds, is wrong as well.
    worst = max([*errors, pair.value_error or 0.0], key=lambda error: (error != error, error))
    if not worst <= workload.tolerance:
        reason = f"off by {worst:.1e} where {workload.tolerance:.0e} is allowed"
        return replace(pair, status="wrong", reason=reason)
    return pair


def _say(error: BaseException) -> str:
    """Return an exception on one line: its type and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def main(arguments: list[str]) -> None:
    """Measure the pair that the command line names and write it as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.measure")
    parser.add_argument("row")
    parser.add_argument("peer", choices=list(peers.PEERS))
    parser.add_argument("size", choices=["full", "quick", "test"])
    parser.add_argument("seconds", type=float)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    pair = measure_pair(options.row, options.peer, options.size, options.seconds)
    options.output.write_text(json.dumps(asdict(pair)))
    sys.stdout.flush()
    # Some libraries take seconds to take their threads down; nothing here needs that.
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
