"""Where each row stands against what the machine can do: `python -m bench.roofline`.

Measures the limits (limits.py), counts what each row's gradient takes (counts.py), and takes the times
from the newest stored full run, or from `--run FILE`. The floor of a row is the longest of: moving its
inputs and gradients once at the measured bandwidth of that footprint; its functions and operations at
the measured rates, one after the other; a call from Python. It is an estimate, not a bound: the formula by
hand may not be the leanest. Stores `results/roofline/` and draws. Owns floors and their table.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from bench import analysis, harness, limits, results, storage
from bench.counts import OPERATIONS, count
from bench.figures import draw_roofline
from bench.limits import Limits
from bench.report import seconds, times
from bench.results import Run
from bench.workload import Size, Workload
from bench.workloads import WORKLOADS

KIND = "roofline"
WRITTEN_SHARE = 0.2  # from here on a row's traffic is held against a copy, below against a read
BOUNDS = ("memory", "arithmetic", "call")


def floors(workload: Workload, size: Size, found: Limits) -> dict[str, Any]:
    """Return a row's floors in seconds, by memory, arithmetic and call, and what they are made of."""
    inputs = workload.inputs(size)
    ideal = workload.ideal_bytes(inputs)
    written = sum(inputs[argnum].nbytes for argnum in workload.argnums)
    flow = "copy" if written >= WRITTEN_SHARE * ideal else "read"
    rates = {name: rate for name, (rate, _) in found.rates[workload.dtype].items()}
    rates[OPERATIONS] = found.flops[workload.dtype]
    parts = {name: number / rates[name] for name, number in count(workload, size).items()}
    return {
        "memory": ideal / found.bandwidth_at(ideal, flow),
        "arithmetic": sum(parts.values()),
        "call": found.call,
        "bytes": ideal,
        "parts": parts,
    }


def rows(run: Run, found: Limits) -> list[dict[str, Any]]:
    """Return the floors of every row of `run` next to the times of gradloom, C++ and the best library."""
    workloads = {workload.name: workload for workload in WORKLOADS}
    records = []
    for row, one in zip(run.rows, analysis.compare(run), strict=True):
        if row.name not in workloads:  # a row of an earlier day
            continue
        floor = floors(workloads[row.name], "full" if run.size == "full" else "quick", found)
        bound = max(BOUNDS, key=lambda name: floor[name])
        figures = {"gradloom": one.subject, "cpp": one.bar, "library": one.best_time}
        records.append(
            {
                "name": row.name,
                "title": row.title,
                "dtype": row.dtype,
                **floor,
                "floor": floor[bound],
                "bound": bound,
                "times": figures,
                "library": one.best_library,
            }
        )
    return records


def table(record: dict[str, Any]) -> list[list[str]]:
    """Return the heading and a line for each row: floor, what binds, and multiples of the floor."""
    lines = [["", "memory", "arithmetic", "most of it", "floor", "bound by", "gradloom", "C++", "best library"]]
    for row in record["rows"]:
        heaviest = max(row["parts"], key=lambda name: row["parts"][name])
        over = {name: times(analysis.ratio(time, row["floor"])) for name, time in row["times"].items()}
        library = f"{over['library']} ({row['library']})" if row["library"] else "-"
        floor = [seconds(row["memory"]), seconds(row["arithmetic"]), heaviest, seconds(row["floor"]), row["bound"]]
        lines.append([row["title"], *floor, over["gradloom"], over["cpp"], library])
    return lines


def text(lines: list[list[str]]) -> str:
    """Return a table of words in columns, the first to the left, the others to the right."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]

    def line_of(words: list[str]) -> str:
        first, *others = zip(words, widths, strict=True)
        return "  ".join([f"{first[0]:<{first[1]}}", *[f"{word:>{width}}" for word, width in others]])

    return "\n".join(line_of(words) for words in lines)


def main(arguments: list[str]) -> int:
    """Return the exit status: 2 without a stored run."""
    parser = argparse.ArgumentParser(prog="python -m bench.roofline", description=__doc__)
    parser.add_argument("--run", type=Path, metavar="FILE", help="a stored run instead of the newest")
    parser.add_argument("--quick", action="store_true", help="limits in a second, times of the newest quick run")
    parser.add_argument("--processor", type=int, default=harness.last_processor(), help="where to pin")
    parser.add_argument("--no-store", action="store_true", help="write nothing")
    options = parser.parse_args(arguments)
    if options.run:
        run = results.from_json(json.loads(options.run.read_text()))
    else:
        run = results.newest(size="quick" if options.quick else "full")
    if run is None:
        print("there is no stored run; start with `python -m bench`", file=sys.stderr)
        return 2
    machine = harness.describe_machine()
    if run.machine.get("processor") != machine["processor"]:
        print(f"the run of {run.created} was made on another machine: {run.machine.get('processor')}", file=sys.stderr)
    settings = harness.Settings(processor=options.processor)
    found = limits.from_json(harness.child("bench.limits", ["--quick"] if options.quick else [], "cpp", settings))
    record = {
        "created": storage.now(),
        "machine": machine,
        "run": run.created,
        "limits": found.to_json(),
        "rows": rows(run, found),
    }
    print(limits.table(found), text(table(record)), sep="\n\n")
    if not options.no_store:
        path = storage.store(record, KIND, options.quick)
        picture = draw_roofline(record, path.with_suffix(".png"))
        print(f"stored {path} and {picture.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
