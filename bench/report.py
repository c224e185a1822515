"""The run as tables on the terminal.

Owns the wording and the layout. All arithmetic is in `analysis.py`.
"""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from bench import analysis
from bench.compare import Change
from bench.results import Measurement, Run

WIDTH = 150
SHORT = {"unavailable": "absent", "inexpressible": "n/a", "failed": "failed", "wrong": "wrong", "timeout": "timeout"}


def seconds(value: float | None) -> str:
    """Return a time with three significant digits and its unit."""
    if value is None:
        return "-"
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        if value * scale >= 0.9995:
            return f"{_three_digits(value * scale)} {unit}"
    return f"{_three_digits(value * 1e9)} ns"


def _three_digits(value: float) -> str:
    if value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def times(value: float | None) -> str:
    """Return a ratio: `1.20x`."""
    return "-" if value is None else f"{_three_digits(value)}x"


def console() -> Console:
    """Return a console that is wide enough for the tables when the output is a file."""
    screen = Console()
    return screen if screen.is_terminal else Console(width=WIDTH)


def report(run: Run, before: dict[tuple[str, str], Measurement]) -> RenderableType:
    """Return everything that a run has to say, given the last stored figures of its pairs."""
    parts: list[RenderableType] = [per_call(run), ratios(run), starting(run), memory(run)]
    if changed := analysis.changes(run, before):
        parts.append(since_before(run, changed))
    parts.append(Text("\n".join(notes(run))))
    return Group(*parts)


def _table(title: str, run: Run) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", padding=(0, 1))
    table.add_column("", no_wrap=True)
    for peer in run.peers.values():
        style = "bold green" if peer["kind"] == "gradloom" else ""
        table.add_column(peer["label"], justify="right", header_style=style)
    return table


def per_call(run: Run) -> Table:
    """The main table: median time per call, and its ratio to the best of the row."""
    table = _table(
        f"{run.size} sizes, {threads(run)}: median time per call, and times the row's best", run
    )
    for row in run.rows:
        best = analysis.fastest(run, row.name)
        cells = [_call_cell(run.find(row.name, name), best) for name in run.peers]
        table.add_row(row.name, *cells)
    table.add_section()
    means = [analysis.slowdowns(run, name) for name in run.peers]
    table.add_row("geometric mean", *[f"{times(mean)} ({count})" for mean, count in means])
    return table


def _call_cell(measurement: Measurement | None, best: float | None) -> Text:
    if measurement is None:
        return Text("-")
    if measurement.status != "ok":
        return Text(SHORT[measurement.status], style="yellow")
    share = analysis.ratio(measurement.median, best)
    style = "bold" if share is not None and share < 1.0005 else ""
    mark = "~" if measurement.noisy else ""
    cell = Text(mark + seconds(measurement.median), style=style)
    return cell.append("\n" + times(share), style="dim")


def ratios(run: Run) -> Table:
    """gradloom against the best library, against NumPy by hand, and against the expert's C++."""
    table = Table(title="gradloom's place", title_justify="left", title_style="bold")
    table.add_column("", no_wrap=True)
    table.add_column("\ngradloom", justify="right", no_wrap=True)
    table.add_column("ideal bytes\nper second", justify="right")
    table.add_column("\nbest library", justify="right", no_wrap=True)
    table.add_column("library /\ngradloom", justify="right", style="bold")
    table.add_column("numpy /\ngradloom", justify="right")
    table.add_column("gradloom /\nC++", justify="right", style="bold")
    table.add_column("library /\nC++", justify="right")
    rows = analysis.compare(run)
    for row, one in zip(run.rows, rows, strict=True):
        rate = analysis.ratio(row.ideal_bytes * 1e-9, one.subject)
        table.add_row(
            row.name,
            seconds(one.subject),
            "-" if rate is None else f"{rate:.1f} GB",
            f"{one.best_library or ''} {seconds(one.best_time)}",
            times(one.speedup),
            times(one.speedup_of_arrays),
            times(one.to_bar),
            times(one.library_to_bar),
        )
    table.add_section()
    means = [
        analysis.geometric_mean(getattr(one, name) for one in rows)
        for name in ("speedup", "speedup_of_arrays", "to_bar", "library_to_bar")
    ]
    cells = [f"{times(mean)} ({count})" for mean, count in means]
    table.add_row("geometric mean", "", "", "", *cells)
    return table


def starting(run: Run) -> Table:
    """First calls (trace, compile, run), with the import time and the memory at the foot."""
    table = _table("first call: build, compile and run once", run)
    for row in run.rows:
        found = [run.find(row.name, name) for name in run.peers]
        table.add_row(row.name, *[seconds(one.first_call) if one else "-" for one in found])
    table.add_section()
    of_peer = {name: [m for m in run.measurements if m.peer == name] for name in run.peers}
    imports = {
        name: sorted(m.import_time for m in found if m.import_time is not None)
        for name, found in of_peer.items()
    }
    table.add_row(
        "import, after numpy",
        *[seconds(found[len(found) // 2] if found else None) for found in imports.values()],
    )
    return table


def memory(run: Run) -> Table:
    """The process at its largest, and what of it came on top of the library and the inputs."""
    table = _table("peak memory: the whole process, and what building and calling added to it", run)
    for row in run.rows:
        cells = []
        for name in run.peers:
            one = run.find(row.name, name)
            cell = Text(size(one.peak_memory if one else None))
            added = run.memory(row.name, name)
            if one is not None and added is not None:
                cell.append(f"\n+{size(added)}", style="dim")
                if one.helpers_memory:
                    cell.append(f"\nelsewhere {size(one.helpers_memory)}", style="dim")
            cells.append(cell)
        table.add_row(row.name, *cells)
    return table


def size(bytes: int | None) -> str:
    """Return bytes as megabytes."""
    return "-" if bytes is None else f"{bytes / 1e6:,.1f} MB"


def threads(run: Run) -> str:
    """Return `1 thread` or `2 threads`."""
    return "1 thread" if run.threads == 1 else f"{run.threads} threads"


def scaling(runs: list[Run]) -> RenderableType:
    """How many times faster each pair is with more threads than with the fewest."""
    first = min(runs, key=lambda run: run.threads)
    tables = []
    for run in runs:
        if run is first:
            continue
        table = _table(f"{threads(run)}: time with {threads(first)} over it", run)
        for row in run.rows:
            pairs = [(first.median(row.name, name), run.median(row.name, name)) for name in run.peers]
            table.add_row(row.name, *[times(analysis.ratio(one, many)) for one, many in pairs])
        tables.append(table)
    return Group(*tables)


def changes(run: Run, found: list[Change]) -> RenderableType:
    """What got slower or faster since the last stored run, the machine's own drift taken out."""
    if not found:
        return Text(f"{threads(run)}: no stored run to compare with")
    table = Table(title=f"gradloom since the last stored run, {threads(run)}", title_justify="left", title_style="bold")
    for heading in ("", "before", "now", "drift of\nthe peers", "change\nwithout it", "margin", ""):
        table.add_column(heading, justify="left" if heading == "" else "right")
    for one in sorted(found, key=lambda change: -change.factor):
        verdict = Text("slower", "bold red") if one.slower else Text("faster" if one.faster else "", "green")
        figures = [times(one.drift), times(one.factor), times(one.margin)]
        table.add_row(one.row, seconds(one.before), seconds(one.now), *figures, verdict)
    return table


def since_before(run: Run, changed: dict[tuple[str, str], float]) -> Table:
    """Time now over the time stored last; changes above ten per cent stand out."""
    table = _table("time per call over the one stored last (above 1: slower now)", run)
    for row in run.rows:
        cells = []
        for name in run.peers:
            change = changed.get((row.name, name))
            style = "" if change is None or 0.9 <= change <= 1.1 else "bold red"
            style = "bold green" if change is not None and change < 0.9 else style
            cells.append(Text(times(change), style=style))
        table.add_row(row.name, *cells)
    return table


def page_faults(run: Run) -> list[str]:
    """Return the pairs whose calls pay for memory that the C library gave back and fetched anew."""
    found = []
    for row in run.rows:
        of_row = [
            f"{m.peer} {m.page_faults_per_call:,.0f}"
            for m in run.measurements
            if m.row == row.name and (m.page_faults_per_call or 0.0) >= 100.0
        ]
        if of_row:
            found.append(f"{row.name} ({', '.join(of_row)})")
    return found


def notes(run: Run) -> list[str]:
    """Return what the tables leave out: conditions, and the reason of every missing figure."""
    machine = run.machine
    lines = [
        f"{machine['processor']}, {threads(run)}; {machine['system']}, Python {machine['python']}; "
        f"commit {machine['commit'] or 'unknown'}; {run.size} sizes, {run.created}",
        "versions: "
        + ", ".join(f"{name} {peer['version'] or '?'}" for name, peer in run.peers.items()),
        "Every figure: fresh pinned process, gradients checked first; inputs in the peer's own arrays.",
    ]
    if run.settings.get("keep_heap"):
        lines.append("The heap is never given back (--keep-heap): no first touches of pages.")
    if faults := page_faults(run):
        lines.append("fresh pages touched per call (part of those times): " + ", ".join(faults))
    if any(measurement.noisy for measurement in run.measurements):
        lines.append("~ the machine was busy: even the least disturbed samples were preempted.")
    for peer in run.peers:
        ways: dict[str, list[str]] = {}
        for m in run.measurements:
            if m.peer == peer and m.note:
                ways.setdefault(m.note, []).append(m.row)
        lines += [f"{peer}, {way}: {', '.join(rows)}" for way, rows in ways.items()]
    absent = {m.peer: m.reason for m in run.measurements if m.status == "unavailable"}
    lines += [f"{peer}: absent: {reason}" for peer, reason in absent.items()]
    shown = ("ok", "unavailable")
    lines += [f"{m.row} / {m.peer}: {m.status}: {m.reason}" for m in run.measurements if m.status not in shown]
    return lines
