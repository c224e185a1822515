"""What the figures of a run say: best of a row, ratios, geometric means, changes since before.

Owns the arithmetic on results. It knows nothing of tables and plots.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from bench.results import Measurement, Run

SUBJECT = "gradloom"
BAR = "cpp"
ARRAYS = "numpy"


@dataclass(frozen=True)
class Comparison:
    """One row seen from gradloom: its time, and how many times that the others take.

    `speedup` over the best library is best / gradloom (above 1: gradloom is faster); `to_bar` is
    gradloom / C++ (below 1: gradloom is faster). None where a side has no figure.
    """

    row: str
    subject: float | None
    best_library: str | None
    best_time: float | None
    bar: float | None
    arrays: float | None

    @property
    def speedup(self) -> float | None:
        return ratio(self.best_time, self.subject)

    @property
    def speedup_of_arrays(self) -> float | None:
        return ratio(self.arrays, self.subject)

    @property
    def to_bar(self) -> float | None:
        return ratio(self.subject, self.bar)

    @property
    def library_to_bar(self) -> float | None:
        return ratio(self.best_time, self.bar)


def ratio(numerator: float | None, denominator: float | None) -> float | None:
    """Return the quotient, None if a side is missing."""
    if numerator is None or denominator is None:
        return None
    return numerator / denominator


def geometric_mean(ratios: Iterable[float | None]) -> tuple[float | None, int]:
    """Return the geometric mean of the ratios that exist, and their number."""
    logarithms = [math.log(one) for one in ratios if one is not None]
    if not logarithms:
        return None, 0
    return math.exp(sum(logarithms) / len(logarithms)), len(logarithms)


def fastest(run: Run, row: str) -> float | None:
    """Return the lowest median of a row."""
    times = (run.median(row, name) for name in run.peers)
    return min((time for time in times if time is not None), default=None)


def best_library(run: Run, row: str) -> tuple[str | None, float | None]:
    """Return the fastest peer that derives the gradient itself, and its median."""
    libraries = [name for name, peer in run.peers.items() if peer["kind"] == "library"]
    times = [(time, name) for name in libraries if (time := run.median(row, name)) is not None]
    return (min(times)[1], min(times)[0]) if times else (None, None)


def compare(run: Run) -> list[Comparison]:
    """Return every row as gradloom sees it."""
    rows = []
    for row in run.rows:
        name, time = best_library(run, row.name)
        rows.append(
            Comparison(
                row=row.name,
                subject=run.median(row.name, SUBJECT),
                best_library=name,
                best_time=time,
                bar=run.median(row.name, BAR),
                arrays=run.median(row.name, ARRAYS),
            )
        )
    return rows


def slowdowns(run: Run, name: str) -> tuple[float | None, int]:
    """Return the geometric mean of a peer's time over the row's best, and the number of rows."""
    return geometric_mean(
        ratio(run.median(row.name, name), fastest(run, row.name)) for row in run.rows
    )


def changes(run: Run, before: dict[tuple[str, str], Measurement]) -> dict[tuple[str, str], float]:
    """Return now / before for every pair that has both figures (above 1: slower now)."""
    found = {}
    for measurement in run.measurements:
        pair = measurement.row, measurement.peer
        change = ratio(measurement.median, before[pair].median if pair in before else None)
        if change is not None:
            found[pair] = change
    return found
