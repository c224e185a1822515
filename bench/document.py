"""Write the generated parts of docs/performance.md and its pictures: `python -m bench.document`.

The page is text with marked parts; each is made from the newest stored records, and so is each picture.
The tests render the page again and hold the pictures' fingerprints against the records. Owns what the
parts say; the figures are the records'.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from bench import analysis, call_overhead, compile_time, roofline, storage
from bench.report import seconds, size, times
from bench.results import Run, newest, stored

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = DOCS / "performance.md"
IMAGES = DOCS / "images"
PART = re.compile(r"(^<!-- bench: (\w[\w ]*) -->\n)(.*?)(^<!-- bench: end -->\n)", re.MULTILINE | re.DOTALL)
MISSING = {"unavailable": "absent", "inexpressible": "n/a", "failed": "failed", "wrong": "wrong", "timeout": "timeout"}


def table(lines: Sequence[Sequence[str]]) -> str:
    """Return lines of words as a Markdown table; the first is the heading."""
    header, *rows = lines
    body = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in [header, ["---"] * len(header), *body])


# --- the runs of the table --------------------------------------------------------------------------------------------


def _of_run(run: Run | None, command: str, make: Callable[[Run], str]) -> str:
    if run is None:
        return f"\nNot measured yet: `{command}`.\n\n"
    peers = "" if run.complete else " ".join(["", "--peers", *run.peers])
    return f"\n{make(run)}\n{_conditions(run.machine, run.created)}; made by `{command}{peers}`.\n\n"


def _conditions(machine: dict[str, Any], created: str) -> str:
    return f"{machine['processor']}, {created[:10]}, commit {machine['commit'] or 'unknown'}"


def _labels(run: Run) -> list[str]:
    return [peer["label"].replace("\n", " ") for peer in run.peers.values()]


def times_table(run: Run) -> str:
    """Return the median time per call of every pair, the fastest of a row in bold."""

    def cell(row: str, peer: str) -> str:
        one = run.find(row, peer)
        if one is None or one.status != "ok":
            return MISSING[one.status] if one else "-"
        text = seconds(one.median)
        return f"**{text}**" if one.median == analysis.fastest(run, row) else text

    return table([["", *_labels(run)], *[[row.title, *[cell(row.name, p) for p in run.peers]] for row in run.rows]])


def place_table(run: Run) -> str:
    """Return gradloom against the best library and the C++, with the geometric means."""
    compared = analysis.compare(run)
    lines = [["", "gradloom", "best library", "library / gradloom", "gradloom / C++"]]
    for row, one in zip(run.rows, compared, strict=True):
        best = f"{one.best_library} {seconds(one.best_time)}" if one.best_library else "-"
        lines.append([row.title, seconds(one.subject), best, times(one.speedup), times(one.to_bar)])
    means = [analysis.geometric_mean(getattr(one, name) for one in compared) for name in ("speedup", "to_bar")]
    lines.append(["geometric mean", "", "", *[f"{times(mean)} ({count} rows)" for mean, count in means]])
    return table(lines)


def first_call_table(run: Run) -> str:
    """Return the time to the first result of every pair, and the imports."""
    found = [[run.find(row.name, name) for name in run.peers] for row in run.rows]
    lines = [["", *_labels(run)]]
    lines += [
        [row.title, *[seconds(one.first_call if one else None) for one in of_row]]
        for row, of_row in zip(run.rows, found, strict=True)
    ]
    imports = [
        min((one.import_time for one in column if one and one.import_time is not None), default=None)
        for column in zip(*found, strict=True)
    ]
    lines.append(["import, after NumPy", *[seconds(one) for one in imports]])
    return table(lines)


def memory_table(run: Run) -> str:
    """Return the peak of the process of every pair, and in brackets what building and calling added."""

    def cell(row: str, peer: str) -> str:
        one = run.find(row, peer)
        if one is None or one.peak_memory is None:
            return "-"
        added = run.memory(row, peer)
        helpers = f", {size(one.helpers_memory)} elsewhere" if one.helpers_memory else ""
        return size(one.peak_memory) + ("" if added is None else f" (+{size(added)}{helpers})")

    return table([["", *_labels(run)], *[[row.title, *[cell(row.name, p) for p in run.peers]] for row in run.rows]])


def threads_table(run: Run) -> str:
    """Return how many times faster everybody is with two threads than with one, measured in the same turn."""
    ones = [one for one in stored() if one.created == run.created and one.size == run.size and one.threads == 1]
    if not ones:
        return "The run with one thread of the same turn is missing.\n"
    lines = [["", *_labels(run)]]
    for row in run.rows:
        ratios = [analysis.ratio(ones[0].median(row.name, p), run.median(row.name, p)) for p in run.peers]
        lines.append([row.title, *[times(one) for one in ratios]])
    return table(lines)


# --- the special measurements -----------------------------------------------------------------------------------------


def picture_name(kind: str) -> str:
    """Return the file name of a kind's picture."""
    return f"performance-{kind.replace('_', '-')}.png"


def _special(kind: str, alternative: str, tables: Callable[[dict[str, Any]], Iterable[str]]) -> str:
    record = storage.newest(kind)
    command = f"python -m bench.{kind}"
    if record is None:
        return f"\nNot measured yet: `{command}`.\n\n"
    picture = f"![{alternative}](images/{picture_name(kind)})"
    parts = [picture, *tables(record), f"{_conditions(record['machine'], record['created'])}; made by `{command}`."]
    return "\n" + "\n\n".join(part.strip("\n") for part in parts) + "\n\n"


def _compile_time_tables(record: dict[str, Any]) -> Iterable[str]:
    for family in dict.fromkeys(one["family"] for one in record["points"]):
        first, *others = compile_time.table(record, family)
        yield table([[f"{family}, {first[0]}", *first[1:]], *others])


TIMES, THREADS, KEPT = "python -m bench", "python -m bench --threads 1,2", "python -m bench --keep-heap"
PARTS: dict[str, Callable[[], str]] = {
    "times": lambda: _of_run(newest(), TIMES, times_table),
    "place": lambda: _of_run(newest(), TIMES, place_table),
    "first calls": lambda: _of_run(newest(), TIMES, first_call_table),
    "memory": lambda: _of_run(newest(), TIMES, memory_table),
    "kept heap": lambda: _of_run(newest(keep_heap=True, some_peers=True), KEPT, place_table),
    "threads": lambda: _of_run(newest(threads=2, some_peers=True), THREADS, threads_table),
    "roofline": lambda: _special(
        roofline.KIND,
        "The rows under the roof, and their times over the floor",
        lambda one: [table(roofline.table(one))],
    ),
    "compile time": lambda: _special(
        compile_time.KIND, "First calls over the size of the program", _compile_time_tables
    ),
    "call overhead": lambda: _special(
        call_overhead.KIND,
        "Time per call over the size of the array",
        lambda one: [table(call_overhead.table(one))],
    ),
}


def render(page: str) -> str:
    """Return the page with all its parts made anew.

    Raises:
        KeyError: the page marks a part that does not exist.
    """
    return PART.sub(lambda match: match[1] + PARTS[match[2]]() + match[4], page)


def draw() -> list[Path]:
    """Draw the picture of every record into docs/images; return the files."""
    from bench import figures

    artists = {
        roofline.KIND: figures.draw_roofline,
        compile_time.KIND: figures.draw_compile_time,
        call_overhead.KIND: figures.draw_call_overhead,
    }
    records = {kind: storage.newest(kind) for kind in artists}
    return [artists[kind](record, IMAGES / picture_name(kind)) for kind, record in records.items() if record]


def main() -> int:
    """Write the page and its pictures."""
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    for path in [PAGE, *draw()]:
        print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
