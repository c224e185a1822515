"""The pictures of the special measurements: roofline, compile time, call overhead.

Owns colours, axes and labels; each function draws one record into one PNG file, and the file says in
its metadata which record that is. All arithmetic is in the records.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import storage
from bench.curves import call_times, first_calls
from bench.plot import COLOURS
from bench.report import seconds

RECORD = "Record"  # the key of the metadata that holds the record's digest
PEER_COLOURS = {
    "gradloom": COLOURS["gradloom"],
    "cpp": "#111827",
    "numba": "#6b7280",
    "numpy": "#9ca3af",
    "jax": "#2563a8",
    "torch_compile": "#7c3aed",
    "torch": "#c084fc",
    "autograd": "#15803d",
    "drjit": "#0891b2",
    "pytensor": "#b45309",
    "casadi": "#be185d",
}
STYLES = {"gradloom, later": "-.", "gradloom, warm": "--", "gradloom, later, warm": ":"}
MARKS = {"gradloom": "o", "cpp": "s", "library": "^"}
MEANING = {"gradloom": "gradloom", "cpp": "C++ by hand", "library": "best library"}


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot


def _save(figure: Any, record: dict[str, Any], path: Path) -> Path:
    figure.savefig(path, dpi=110, metadata={RECORD: storage.digest(record)})
    _pyplot().close(figure)
    return path


def _heading(text: str, record: dict[str, Any]) -> str:
    return f"{text}: {record['machine']['processor']}, one thread, {record['created'][:10]}"


def _clean(axis: Any) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(True, which="major", color="#e5e7eb", linewidth=0.7)
    axis.set_axisbelow(True)


def _spread(heights: Iterable[float], least: float) -> list[float]:
    """Move heights apart until neighbours are `least` away from one another; keep their order."""
    order = sorted(enumerate(heights), key=lambda pair: pair[1])
    moved = [height for _, height in order]
    for _ in range(200):
        for i in range(1, len(moved)):
            gap = least - (moved[i] - moved[i - 1])
            if gap > 1e-9:
                moved[i] += gap / 2
                moved[i - 1] -= gap / 2
    result = [0.0] * len(moved)
    for (i, _), height in zip(order, moved, strict=True):
        result[i] = height
    return result


# --- roofline ---------------------------------------------------------------------------------------------------------


def draw_roofline(record: dict[str, Any], path: Path) -> Path:
    """Left: the rows under the roof of memory and arithmetic. Right: each row's times over its floor."""
    pyplot = _pyplot()
    rows = record["rows"]
    height = max(5.0, 1.6 + 0.36 * len(rows))
    figure, (left, right) = pyplot.subplots(
        1, 2, figsize=(14, height), width_ratios=(1, 1.05), layout="constrained"
    )
    _roof(left, rows)
    _multiples(right, rows)
    figure.suptitle(_heading("What the machine can do, and how close the rows come", record), fontsize=11)
    return _save(figure, record, path)


def _roof(axis: Any, rows: list[dict[str, Any]]) -> None:
    """Share of the machine's arithmetic that a row uses, over its arithmetic per byte; both measured."""
    shown = [row for row in rows if row["times"]["gradloom"] and row["bound"] != "call"]
    balance = [row["arithmetic"] / row["memory"] for row in shown]
    low, high = min([*balance, 0.1]) / 2, max([*balance, 10.0]) * 2
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.plot([low, 1, high], [low, 1, 1], color="#111827", linewidth=1.6)
    axis.text(high, 1.06, "arithmetic at its measured rates", ha="right", va="bottom", fontsize=8)
    # Above the line and along it: a direction (dx, dy) of the data shows as (dx / x, dy / y) on these axes.
    along = {"rotation": math.degrees(math.atan(1.5)), "rotation_mode": "anchor", "transform_rotates_text": True}
    axis.text(low, 1.5 * low, "memory at its measured bandwidth", fontsize=8, **along)
    for row, x in zip(shown, balance, strict=True):
        shares = {kind: row["arithmetic"] / time for kind, time in row["times"].items() if time}
        axis.plot([x, x], [min(shares.values()), max(shares.values())], color="#d1d5db", linewidth=1, zorder=1)
        for kind, share in shares.items():
            colour = COLOURS["gradloom"] if kind == "gradloom" else COLOURS["library" if kind == "library" else "hand"]
            axis.plot(x, share, MARKS[kind], color=colour, markersize=6, zorder=3 if kind == "gradloom" else 2)
        place = {"textcoords": "offset points", "xytext": (6, -3), "fontsize": 7.5}
        axis.annotate(row["name"], (x, shares["gradloom"]), color=COLOURS["gradloom"], **place)
    for kind, mark in MARKS.items():
        colour = COLOURS["gradloom"] if kind == "gradloom" else COLOURS["library" if kind == "library" else "hand"]
        axis.plot([], [], mark, color=colour, label=MEANING[kind])
    axis.legend(loc="lower right", fontsize=8, frameon=False)
    for each in (axis.xaxis, axis.yaxis):
        each.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_xlabel("time of the arithmetic / time of the memory traffic (left of 1: memory binds)")
    axis.set_ylabel("share of the measured arithmetic rate that is used")
    axis.set_title("Roofline", loc="left", fontsize=10, fontweight="bold")
    _clean(axis)


def _multiples(axis: Any, rows: list[dict[str, Any]]) -> None:
    """One line per row: its times as multiples of its floor."""
    from matplotlib import ticker

    axis.set_xscale("log")
    axis.axvline(1, color="#111827", linewidth=1.6)
    for height, row in enumerate(reversed(rows)):
        multiples = {kind: time / row["floor"] for kind, time in row["times"].items() if time}
        if not multiples:
            continue
        axis.hlines(height, min(multiples.values()), max(multiples.values()), color="#d1d5db", linewidth=1, zorder=1)
        for kind, multiple in multiples.items():
            colour = COLOURS["gradloom"] if kind == "gradloom" else COLOURS["library" if kind == "library" else "hand"]
            axis.plot(multiple, height, MARKS[kind], color=colour, markersize=6, zorder=3 if kind == "gradloom" else 2)
    labels = [f"{row['title']}\n{row['bound']}: {seconds(row['floor'])}" for row in reversed(rows)]
    axis.set_yticks(range(len(rows)), labels, fontsize=7.5)
    axis.set_ylim(-0.6, len(rows) - 0.4)
    axis.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0), numticks=20))
    axis.xaxis.set_minor_locator(ticker.NullLocator())
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}x")
    axis.set_xlabel("time per call / floor (log scale; 1: the machine's limit)")
    axis.set_title("Times over the floor", loc="left", fontsize=10, fontweight="bold")
    _clean(axis)
    axis.tick_params(axis="y", length=0)


# --- curves over a size -----------------------------------------------------------------------------------------------


def _curves(axis: Any, curves: Mapping[str, Sequence[tuple[float, float]]], label: Callable[[str], str]) -> None:
    """Draw one curve per peer on logarithmic axes, with its name at its end instead of a legend."""
    from matplotlib import ticker

    axis.set_xscale("log")
    axis.set_yscale("log")
    found = {name: points for name, points in curves.items() if points}
    for name, points in found.items():
        ours = name.startswith("gradloom")
        colour = PEER_COLOURS.get(name.partition(",")[0], "#374151")
        style = STYLES.get(name, "-")
        xs, ys = zip(*points, strict=True)
        width = 2.4 if ours else 1.2
        axis.plot(xs, ys, style, marker="o", markersize=1.5 + width, color=colour, linewidth=width)
    low, high = axis.get_ylim()
    decades = math.log10(high / low)
    ends = {name: points[-1] for name, points in found.items()}
    spread = _spread([math.log10(y) for _, y in ends.values()], 0.034 * decades)
    right = max(x for x, _ in ends.values())
    for (name, (x, y)), height in zip(ends.items(), spread, strict=True):
        ours = name.startswith("gradloom")
        colour = PEER_COLOURS.get(name.partition(",")[0], "#374151")
        axis.annotate(
            label(name),
            (x, y),
            xytext=(right * 1.25, 10**height),
            color=colour,
            fontsize=8.5,
            fontweight="bold" if ours else "normal",
            va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "alpha": 0.6, "shrinkA": 0, "shrinkB": 2},
            annotation_clip=False,
        )
    axis.yaxis.set_major_formatter(lambda value, _: _round_time(value))
    axis.xaxis.set_major_locator(ticker.LogLocator(numticks=12))
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    _clean(axis)


def _round_time(value: float) -> str:
    number, unit = seconds(value).split()
    return f"{float(number.replace(',', '')):g} {unit}"


# --- compile time -----------------------------------------------------------------------------------------------------

PHASE_COLOURS = {
    "trace": "#1d4ed8",
    "derive": "#60a5fa",
    "passes": "#c2410c",
    "native code": "#fbbf24",
    "rest": "#9ca3af",
}


def draw_compile_time(record: dict[str, Any], path: Path) -> Path:
    """First calls over the size of the program, by family; and what gradloom's are spent on."""
    pyplot = _pyplot()
    families = list(dict.fromkeys(one["family"] for one in record["points"]))
    figure, axes = pyplot.subplots(2, max(len(families), 1), figsize=(14, 9), squeeze=False, layout="constrained")
    for family, axis, below in zip(families, axes[0], axes[1], strict=True):
        _curves(axis, first_calls(record, family), str)
        axis.set_title(f"{family} programs: first call in a fresh process", loc="left", fontsize=10, fontweight="bold")
        axis.set_xlabel("operations in the function (log scale)")
        _split(below, [one for one in record["points"] if one["family"] == family and "later" in one["peer"]])
    figure.suptitle(_heading("First call of value_and_grad", record), fontsize=11)
    return _save(figure, record, path)


def _split(axis: Any, points: list[dict[str, Any]]) -> None:
    """Stacked shares of a later first call of gradloom: for each size a bar without and one with a store on disk."""
    points = [one for one in points if one.get("phases")]
    counts = sorted({one["count"] for one in points})
    for one in points:
        warm = "warm" in one["peer"]
        x = counts.index(one["count"]) + (0.21 if warm else -0.21)
        bottom, total = 0.0, sum(one["phases"].values())
        for phase, colour in PHASE_COLOURS.items():
            share = one["phases"].get(phase, 0.0) / total
            axis.bar(x, share, 0.38, bottom=bottom, color=colour, alpha=0.55 if warm else 1.0)
            bottom += share
        axis.text(x, 1.015, seconds(total), rotation=55, fontsize=7.5, ha="left", va="bottom", rotation_mode="anchor")
    for phase, colour in PHASE_COLOURS.items():
        axis.bar(0, 0, color=colour, label=phase)
    axis.set_xticks(range(len(counts)), [f"{count:,}" for count in counts])
    axis.set_ylim(0, 1.0)
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_xlabel("operations; left bar: nothing on disk, pale right bar: native code found on disk")
    title = "what the first call of a later function of the process is spent on"
    axis.set_title(title, loc="left", pad=44, fontsize=10, fontweight="bold")
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=len(PHASE_COLOURS), frameon=False, fontsize=8)


# --- call overhead ----------------------------------------------------------------------------------------------------


def draw_call_overhead(record: dict[str, Any], path: Path) -> Path:
    """Left: time per call over the size of the array. Right: the same per number."""
    pyplot = _pyplot()
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(14, 6), layout="constrained")
    found = call_times(record)
    _curves(left, found, str)
    left.set_title("time per call", loc="left", fontsize=10, fontweight="bold")
    _curves(right, {name: [(n, time / n) for n, time in points] for name, points in found.items()}, str)
    right.set_title("time per number", loc="left", fontsize=10, fontweight="bold")
    for axis in (left, right):
        axis.set_xlabel("numbers in the array (log scale)")
    figure.suptitle(_heading("value_and_grad of the Rosenbrock function", record), fontsize=11)
    return _save(figure, record, path)
