"""What a call costs over the size of its array: `python -m bench.call_overhead`.

value_and_grad of the Rosenbrock function on 2 to 10,000,000 numbers: for few, a call is all there is;
for many, the memory. One process per peer; every size is checked before it is timed. Peers that
compile for many seconds are measured at fewer sizes. Stores `results/call_overhead/` and draws. Owns
the measurement; the function is the row's.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import harness, peers, storage
from bench.curves import call_times
from bench.figures import draw_call_overhead
from bench.report import seconds

KIND = "call_overhead"
SIZES = (2, 4, 10, 32, 100, 316, 1_000, 3_162, 10_000, 31_623, 100_000, 316_228, 1_000_000, 3_162_278, 10_000_000)
FEW_SIZES = (10, 1_000, 100_000, 10_000_000)
QUICK_SIZES = (2, 100, 10_000)
SLOW_COMPILERS = ("torch_compile", "pytensor")


def sizes_of(name: str, quick: bool) -> tuple[int, ...]:
    """Return the sizes at which a peer is measured."""
    if quick:
        return QUICK_SIZES[:1] if name in SLOW_COMPILERS else QUICK_SIZES
    return FEW_SIZES if name in SLOW_COMPILERS else SIZES


def measure(name: str, sizes: tuple[int, ...], duration: float) -> list[dict[str, Any]]:
    """Return the time per call in seconds at every size, in this process; a failed size says why."""
    from bench import timing
    from bench.measure import check
    from bench.results import Measurement
    from bench.workloads import find

    peer = peers.find(name)
    peer.load()
    points = []
    for size in sizes:
        workload = replace(find("rosenbrock_10"), sizes={"full": (size,), "quick": (size,), "test": (size,)})
        inputs = workload.inputs("full")
        arguments = peer.put(inputs, workload)
        call = peer.build(workload)
        result = peer.get(call(*arguments))
        pair = check(Measurement(workload.name, name, "failed", reason="unchecked"), workload, inputs, *result)
        if pair.status == "wrong":
            points.append({"size": size, "failed": pair.reason})
            continue
        del result
        timed = timing.measure(call, arguments, duration)
        figures = {"median": timed.median, "minimum": timed.minimum, "noisy": timed.noisy}
        points.append({"size": size, "note": getattr(peer, "note", ""), **figures})
    return points


def run(names: list[str], quick: bool, duration: float, settings: harness.Settings) -> dict[str, Any]:
    """Measure all peers; return the record."""
    found: dict[str, Any] = {}
    for name in names:
        sizes = [str(size) for size in sizes_of(name, quick)]
        arguments = ["--child", name, "--seconds", str(duration), "--sizes", *sizes]
        try:
            found[name] = {"points": harness.child("bench.call_overhead", arguments, name, settings)}
        except (TimeoutError, ChildProcessError) as error:
            found[name] = {"points": [], "failed": str(error)}
        said = [f"{one['size']:,}: {seconds(one.get('median'))}" for one in found[name]["points"]]
        print(f"{name:14}", found[name].get("failed") or ", ".join(said), flush=True)
    return {"created": storage.now(), "machine": harness.describe_machine(), "peers": found}


def table(record: dict[str, Any]) -> list[list[str]]:
    """Return the heading and a line per peer, at every other size."""
    found = call_times(record)
    sizes = sorted({size for points in found.values() for size, _ in points})
    shown = [size for size in sizes if size in (2, 10, 100, *[10**power for power in range(3, 8)])]
    lines = [["numbers", *[f"{size:,}" for size in shown]]]
    lines += [[name, *[seconds(dict(points).get(size)) for size in shown]] for name, points in found.items()]
    return lines


def main(arguments: list[str]) -> None:
    """Measure, print, store and draw; or be the measuring process."""
    parser = argparse.ArgumentParser(prog="python -m bench.call_overhead", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few sizes, short timing")
    parser.add_argument("--peers", nargs="+", default=list(peers.PEERS), choices=list(peers.PEERS))
    parser.add_argument("--seconds", type=float, help="for each size (0.1, quick 0.02)")
    parser.add_argument("--processor", type=int, default=harness.last_processor(), help="where to pin")
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds for one peer")
    parser.add_argument("--no-store", action="store_true", help="write nothing")
    parser.add_argument("--child", metavar="PEER", help=argparse.SUPPRESS)
    parser.add_argument("--sizes", type=int, nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    duration = options.seconds or (0.02 if options.quick else 0.1)
    if options.child:
        options.output.write_text(json.dumps(measure(options.child, tuple(options.sizes), duration)))
        sys.stdout.flush()
        os._exit(0)  # some libraries take seconds to take their threads down

    settings = harness.Settings(processor=options.processor, timeout=options.timeout)
    record = run(options.peers, options.quick, duration, settings)
    if not options.no_store:
        path = storage.store(record, KIND, options.quick)
        print(f"stored {path} and {draw_call_overhead(record, path.with_suffix('.png')).name}")


if __name__ == "__main__":
    main(sys.argv[1:])
