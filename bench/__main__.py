"""`python -m bench`: measure, print the tables, store JSON and plot.

Usage::

    python -m bench                     everything, full sizes
    python -m bench --quick             small sizes, short timing: does it all work?
    python -m bench --rows black chain --peers gradloom cpp jax
    python -m bench --rounds 3          the best of three, for a busy machine
    python -m bench --threads 1,2       everything with one thread and with two
    python -m bench --compare           exit status 3 if a row got slower than when last stored
    python -m bench --show FILE         print and draw a stored result; with --compare judge it
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench import compare, harness, plot, report, results
from bench.analysis import SUBJECT
from bench.peers import PEERS
from bench.results import Measurement
from bench.workloads import select


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure value_and_grad of gradloom against its peers, one process per pair.",
    )
    parser.add_argument("--rows", nargs="+", default=["*"], help="names, starts, shell patterns")
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--quick", action="store_true", help="small sizes and short timing")
    parser.add_argument("--seconds", type=float, help="time spent on each pair (1, quick 0.2)")
    parser.add_argument("--rounds", type=int, default=1, help="keep each pair's best round")
    parser.add_argument("--processor", type=int, default=harness.last_processor(), help="where to pin")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds for one pair")
    parser.add_argument("--threads", type=_counts, default=(1,), help="such as 1,2")
    parser.add_argument("--compare", action="store_true", help="say what got slower since the last stored run")
    parser.add_argument("--keep-heap", action="store_true", help="never return memory (glibc)")
    parser.add_argument("--no-store", action="store_true", help="write neither JSON nor plot")
    parser.add_argument("--show", type=Path, metavar="FILE", help="print and draw a stored one")
    return parser.parse_args(arguments)


def _counts(text: str) -> tuple[int, ...]:
    """Read `1,2`; raise `ValueError` for anything that is no list of positive numbers."""
    counts = tuple(int(part) for part in text.split(","))
    if not counts or min(counts) < 1 or len(set(counts)) < len(counts):
        raise ValueError
    return counts


def measure(options: argparse.Namespace) -> list[results.Run]:
    """Run what the options ask for, with a progress bar."""
    workloads = select(options.rows)
    names = [name for name in PEERS if name in options.peers]
    settings = harness.Settings(
        size="quick" if options.quick else "full",
        seconds=options.seconds or (0.2 if options.quick else 1.0),
        rounds=options.rounds,
        processor=options.processor,
        timeout=options.timeout,
        keep_heap=options.keep_heap,
        threads=options.threads,
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=report.console()) as bar:
        task = bar.add_task("starting", total=len(workloads) * len(names) * settings.rounds * len(settings.threads))

        def progress(one: Measurement) -> None:
            figure = report.seconds(one.median) if one.status == "ok" else one.status
            bar.update(task, advance=1, description=f"{one.row} / {one.peer}: {figure}")

        return harness.run(workloads, names, settings, progress)


def main(arguments: list[str]) -> int:
    """Return the exit status.

    1 if gradloom failed or was wrong on a row, else 3 if `--compare` found a row that got slower,
    else 0; 2 for options that make no sense.
    """
    options = parse(arguments)
    screen = report.console()
    if options.show is not None:
        run = results.from_json(json.loads(options.show.read_text()))
        runs, before = [run], [results.previous(run, options.show.parent)]
    else:
        try:
            runs = measure(options)
        except ValueError as error:
            print(error, file=sys.stderr)
            return 2
        before = [results.previous(run) for run in runs]
    for run, earlier in zip(runs, before, strict=True):
        screen.print(report.report(run, earlier))
        if options.show is not None:
            screen.print(f"drew {plot.save(run, options.show.with_suffix('.png'))}")
        elif not options.no_store:
            path = results.store(run)
            screen.print(f"stored {path} and {plot.save(run, path.with_suffix('.png')).name}")
    if len(runs) > 1:
        screen.print(report.scaling(runs))
    slower = False
    if options.compare:
        changes = [compare.compare(run, earlier) for run, earlier in zip(runs, before, strict=True)]
        slower = any(change.slower for found in changes for change in found)
        for run, found in zip(runs, changes, strict=True):
            screen.print(report.changes(run, found))
    failed = ("failed", "wrong", "timeout")
    if any(m.peer == SUBJECT and m.status in failed for run in runs for m in run.measurements):
        return 1
    return 3 if slower else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
