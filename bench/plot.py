"""The run as one picture: a panel per row, the peers in it from fastest to slowest.

Owns colours and layout. All arithmetic is in `analysis.py`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from bench.report import seconds, threads, times
from bench.results import Row, Run

COLOURS = {"gradloom": "#c2410c", "library": "#2563a8", "hand": "#6b7280"}
MEANING = {
    "gradloom": "gradloom (plain NumPy source)",
    "library": "library that derives the gradient",
    "hand": "gradient derived and written by hand",
}


def save(run: Run, path: Path) -> Path:
    """Draw `run` into the PNG file `path`; return the path."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.lines import Line2D

    columns = min(2, len(run.rows))
    lines = math.ceil(len(run.rows) / columns)
    height = 0.9 + lines * (0.75 + 0.27 * len(run.peers))
    figure, axes = pyplot.subplots(
        lines, columns, figsize=(5.8 * columns, height), squeeze=False, layout="constrained"
    )
    for axis, row in zip(axes.flat, run.rows, strict=False):
        _panel(axis, run, row)
    for axis in axes.flat[len(run.rows) :]:
        axis.remove()
    handles = [
        Line2D([], [], color=colour, marker="o", linewidth=2, label=MEANING[kind])
        for kind, colour in COLOURS.items()
        if any(peer["kind"] == kind for peer in run.peers.values())
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    figure.suptitle(
        f"value_and_grad per call, {threads(run)} (log scale, left is faster)\n"
        f"{run.machine['processor']}, {run.size} sizes, {run.created[:10]}",
        fontsize=11,
    )
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
    return path


def _tick(value: float) -> str:
    """Return a round time as a label: `10 ms`."""
    number, unit = seconds(value).split()
    return f"{float(number.replace(',', '')):g} {unit}"


def _panel(axis: Any, run: Run, row: Row) -> None:
    """One row: a dot per peer at its median time, on a logarithmic axis of its own."""
    from matplotlib import ticker

    found = [(time, name) for name in run.peers if (time := run.median(row.name, name))]
    found.sort(reverse=True)
    missing = [name for name in run.peers if not run.median(row.name, name)]
    labels = missing + [name for _, name in found]
    axis.set_title(row.title, loc="left", fontsize=10, fontweight="bold")
    axis.set_yticks(range(len(labels)), labels, fontsize=9)
    for tick, name in zip(axis.get_yticklabels(), labels, strict=True):
        tick.set_color(COLOURS[run.peers[name]["kind"]])
        tick.set_fontweight("bold" if run.peers[name]["kind"] == "gradloom" else "normal")
    axis.set_ylim(-0.6, len(labels) - 0.4)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
    if not found:
        axis.text(0.5, 0.5, "no figures", transform=axis.transAxes, ha="center")
        return
    best, worst = found[-1][0], found[0][0]
    # Room on the right for the labels of the slowest.
    left, right = best / 1.4, max(worst, 4 * best) * (max(worst, 4 * best) / best) ** 0.55
    axis.set_xscale("log")
    axis.set_xlim(left, right)
    for height, (time, name) in enumerate(found, start=len(missing)):
        colour = COLOURS[run.peers[name]["kind"]]
        axis.hlines(height, left, time, color=colour, linewidth=2, alpha=0.45)
        axis.plot(time, height, "o", color=colour, markersize=6)
        text = f"  {seconds(time)}" + (f"  ({times(time / best)})" if time > best else "")
        weight = "bold" if run.peers[name]["kind"] == "gradloom" else "normal"
        axis.text(time, height, text, va="center", fontsize=8, color="#222", fontweight=weight)
    for height, name in enumerate(missing):
        measurement = run.find(row.name, name)
        status = measurement.status if measurement else "not run"
        axis.text(left, height, f"  {status}", va="center", fontsize=8, color="#777")
    decades = math.log10(right / left)
    subs = (1.0, 2.0, 5.0) if decades < 2 else (1.0,)
    axis.xaxis.set_major_locator(ticker.LogLocator(subs=subs))
    axis.xaxis.set_minor_locator(ticker.NullLocator())
    axis.xaxis.set_major_formatter(lambda value, _: _tick(value))
    axis.tick_params(axis="x", labelsize=8)
