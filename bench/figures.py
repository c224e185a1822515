"""The pictures of the special measurements: roofline, compile time, call overhead.

Owns colours, axes and labels; each function draws one record into one PNG file, and the file says in
its metadata which record that is. All arithmetic is in the records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bench import storage
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
    figure.suptitle(
        f"What the machine can do, and how close the rows come: {record['machine']['processor']}, one thread, "
        f"{record['created'][:10]}",
        fontsize=11,
    )
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
    axis.annotate(
        "memory at its measured bandwidth",
        (low**0.72, low**0.72),
        xytext=(-3, 5),
        textcoords="offset points",
        rotation=45,
        rotation_mode="anchor",
        transform_rotates_text=True,
        fontsize=8,
    )
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
    axis.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.xaxis.set_minor_locator(ticker.NullLocator())
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}x")
    axis.set_xlabel("time per call / floor (log scale; 1: the machine's limit)")
    axis.set_title("Times over the floor", loc="left", fontsize=10, fontweight="bold")
    _clean(axis)
    axis.tick_params(axis="y", length=0)


# --- curves over a size -----------------------------------------------------------------------------------------------


def _curves(axis: Any, curves: dict[str, list[tuple[float, float]]], label: Callable[[str], str]) -> None:
    """Draw one curve per peer on logarithmic axes, with its name at its end instead of a legend."""
    import math

    axis.set_xscale("log")
    axis.set_yscale("log")
    found = {name: points for name, points in curves.items() if points}
    for name, points in found.items():
        ours = name.startswith("gradloom")
        colour = PEER_COLOURS.get(name.partition(",")[0], "#374151")
        style = "--" if "," in name else "-"
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
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    _clean(axis)


def _round_time(value: float) -> str:
    number, unit = seconds(value).split()
    return f"{float(number.replace(',', '')):g} {unit}"
