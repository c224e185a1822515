"""What a first call costs over the size of the program: `python -m bench.compile_time`.

Every point is a fresh process: import, then value_and_grad of a generated program (programs.py) built,
called once and checked. gradloom is measured as the first function of its process, start-up included,
and as a later one, whose time is split into tracing, deriving, its passes and native code; and both
once more in a process that finds the native code on disk ("warm"). Peers stop at the size that takes
them too long. Stores `results/compile_time/` and draws. Owns the
measurement; knows nothing of what the programs are.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench import harness, peers, programs, storage
from bench.analysis import SUBJECT
from bench.curves import first_calls
from bench.figures import draw_compile_time
from bench.report import seconds

KIND = "compile_time"
COUNTS = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
QUICK_COUNTS = (10, 50, 200)
PEERS = {
    "elementwise": (SUBJECT, "jax", "torch_compile", "numba", "autograd", "casadi", "drjit"),
    "reductions": (SUBJECT, "jax", "torch_compile", "autograd"),
}
LARGEST = {"torch_compile": 100, "numba": 500}  # the next sizes take them a minute and more
TOO_LONG = 8.0  # seconds of a first call, after which a peer stops
SHORT = 1.0  # seconds of a first call, up to which the best of several processes counts
PHASES = ("trace", "derive", "passes", "native code", "rest")
# gradloom's curves: whether another function came before in the process, whether native code is found on disk. The
# warm ones come after a cold one of the same kind, which fills the store for them.
LABELS = {
    "gradloom": (False, False),
    "gradloom, warm": (False, True),
    "gradloom, later": (True, False),
    "gradloom, later, warm": (True, True),
}


# --- in the measuring process -----------------------------------------------------------------------------------------


@contextmanager
def _tracing() -> Iterator[list[float]]:
    """Note the seconds that gradloom spends on tracing."""
    from gradloom.program import Primal

    spent: list[float] = []
    make = Primal.__init__

    def timed(self: Any, *arguments: Any, **options: Any) -> None:
        start = time.perf_counter()
        make(self, *arguments, **options)
        spent.append(time.perf_counter() - start)

    Primal.__init__ = timed
    try:
        yield spent
    finally:
        Primal.__init__ = make


def phases(call: Any, trace: float, first: float) -> dict[str, float]:
    """Return what gradloom's first call was spent on; `call` is the compiled function."""
    user = call.user
    stats = user.last.executable.stats
    derive = max(user.seconds - trace - stats.lower_seconds - stats.native_seconds, 0.0)
    found = {"trace": trace, "derive": derive, "passes": stats.lower_seconds, "native code": stats.native_seconds}
    return {**found, "rest": max(first - sum(found.values()), 0.0)}


def measure(name: str, family: str, count: int, later: bool) -> dict[str, Any]:
    """Return import time, first and second call of one peer on one program, in seconds, checked.

    With `later`, another small function is differentiated and called before.
    """
    from bench.measure import check
    from bench.results import Measurement

    peer = peers.find(name)
    start = time.perf_counter()
    peer.load()
    imported = time.perf_counter() - start
    workload = programs.workload(count, family)
    inputs = workload.inputs("full")
    arguments = peer.put(inputs, workload)
    if later:
        small = programs.workload(5, family)
        peer.build(small)(*arguments)
    if name == SUBJECT:
        with _tracing() as traced:
            first, call, result = _first(peer, workload, arguments)
        parts = phases(call, sum(traced), first)
    else:
        first, call, result = _first(peer, workload, arguments)
        parts = {}
    start = time.perf_counter()
    call(*arguments)
    second = time.perf_counter() - start
    pair = check(Measurement(workload.name, name, "failed", reason="unchecked"), workload, inputs, *peer.get(result))
    if pair.status == "wrong":
        raise ArithmeticError(pair.reason)
    return {"import": imported, "first": first, "second": second, "phases": parts}


def _first(peer: Any, workload: Any, arguments: tuple[Any, ...]) -> tuple[float, Any, Any]:
    start = time.perf_counter()
    call = peer.build(workload)
    result = call(*arguments)
    return time.perf_counter() - start - getattr(peer, "uncounted", 0.0), call, result


# --- in the process that starts them ----------------------------------------------------------------------------------


def point(name: str, family: str, count: int, settings: harness.Settings, rounds: int) -> list[dict[str, Any]]:
    """Measure a peer on a program; return its record, for gradloom those of all its `LABELS`."""
    best: dict[str, dict[str, Any]] = {}
    for _ in range(rounds):
        for later in (False, True) if name == SUBJECT else (False,):
            with tempfile.TemporaryDirectory(prefix="bench-store-") as folder:
                for label in [label for label, (after, _) in LABELS.items() if after is later]:
                    label = label if name == SUBJECT else name
                    found = _child(name, family, count, later, settings, folder)
                    if label not in best or found.get("first", 1e9) < best[label].get("first", 1e9):
                        best[label] = {"peer": label, "family": family, "count": count, **found}
                    if name != SUBJECT:
                        break
        if best[name].get("first", TOO_LONG) > SHORT:
            break
    return list(best.values())


def _child(
    name: str, family: str, count: int, later: bool, settings: harness.Settings, folder: str
) -> dict[str, Any]:
    arguments = ["--child", name, family, str(count), *(["--later"] if later else [])]
    try:
        return harness.child("bench.compile_time", arguments, name, settings, 1, XDG_CACHE_HOME=folder)
    except (TimeoutError, ChildProcessError) as error:
        return {"failed": str(error)}


def run(counts: tuple[int, ...], names: list[str] | None, settings: harness.Settings, rounds: int) -> dict[str, Any]:
    """Measure all families, peers and counts; return the record."""
    points = []
    for family, columns in PEERS.items():
        for name in columns:
            if names is not None and name not in names:
                continue
            for count in counts:
                if count > LARGEST.get(name, count):
                    break
                found = point(name, family, count, settings, rounds)
                points += found
                for one in found:
                    print(f"{family:12} {count:6,} {one['peer']:22} {_said(one)}", flush=True)
                if found[0].get("first", settings.timeout) > TOO_LONG:
                    break
    return {"created": storage.now(), "machine": harness.describe_machine(), "points": points}


def _said(one: dict[str, Any]) -> str:
    if "failed" in one:
        return one["failed"]
    split = ", ".join(f"{phase} {seconds(spent)}" for phase, spent in one["phases"].items())
    return f"{seconds(one['first']):>8}" + (f" ({split})" if split else "")


def table(record: dict[str, Any], family: str) -> list[list[str]]:
    """Return the heading and a line per peer: its first call by number of operations."""
    found = first_calls(record, family)
    counts = sorted({count for points in found.values() for count, _ in points})
    lines = [["operations", *[f"{count:,}" for count in counts]]]
    for peer, points in found.items():
        lines.append([peer, *[seconds(dict(points).get(count)) for count in counts]])
    return lines


def main(arguments: list[str]) -> None:
    """Measure, print, store and draw; or be the measuring process."""
    parser = argparse.ArgumentParser(prog="python -m bench.compile_time", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three sizes, one process each")
    parser.add_argument("--counts", type=int, nargs="+", default=None, help="numbers of operations")
    parser.add_argument("--peers", nargs="+", default=None, choices=list(peers.PEERS))
    parser.add_argument("--rounds", type=int, default=2, help="of short first calls the best of so many counts")
    parser.add_argument("--processor", type=int, default=harness.last_processor(), help="where to pin")
    parser.add_argument("--timeout", type=float, default=60.0, help="seconds for one process")
    parser.add_argument("--no-store", action="store_true", help="write nothing")
    parser.add_argument("--child", nargs=3, metavar=("PEER", "FAMILY", "COUNT"), help=argparse.SUPPRESS)
    parser.add_argument("--later", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        name, family, count = options.child
        options.output.write_text(json.dumps(measure(name, family, int(count), options.later)))
        sys.stdout.flush()
        os._exit(0)  # some libraries take seconds to take their threads down

    settings = harness.Settings(processor=options.processor, timeout=options.timeout)
    counts = tuple(options.counts or (QUICK_COUNTS if options.quick else COUNTS))
    record = run(counts, options.peers, settings, 1 if options.quick else options.rounds)
    if not options.no_store:
        path = storage.store(record, KIND, options.quick)
        print(f"stored {path} and {draw_compile_time(record, path.with_suffix('.png')).name}")


if __name__ == "__main__":
    main(sys.argv[1:])
