"""Whether a run got slower than the one stored before it: `python -m bench --compare`.

Between two runs the machine itself drifts. What the peers say whose code did not change is the
drift: of a row, by their median, and its uncertainty, by how far they scatter about it over all
rows. A row counts as slower only beyond both. Owns that arithmetic; knows nothing of tables.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median

from bench.analysis import SUBJECT
from bench.results import Measurement, Run

LEAST_MARGIN = 1.05  # what no run distinguishes from noise
Figures = dict[tuple[str, str], Measurement]


@dataclass(frozen=True)
class Change:
    """One row of gradloom then and now, in seconds, with the machine's drift on that row taken out.

    `drift` is the peers' median now / before. `factor` is gradloom's now / before over that drift,
    above 1: slower. `margin` is what it must exceed to count.
    """

    row: str
    before: float
    now: float
    drift: float
    margin: float

    @property
    def factor(self) -> float:
        return self.now / self.before / self.drift

    @property
    def slower(self) -> bool:
        return self.factor > self.margin

    @property
    def faster(self) -> bool:
        return self.factor < 1.0 / self.margin


def compare(run: Run, before: Figures) -> list[Change]:
    """Return the change of every row that has a figure of gradloom in both."""
    drifts = {row.name: _drifts(run, before, row.name) for row in run.rows}
    everywhere = [drift for of_row in drifts.values() for drift in of_row]
    changes = []
    for row in run.rows:
        old, now = before.get((row.name, SUBJECT)), run.median(row.name, SUBJECT)
        if old is None or old.median is None or now is None:
            continue
        # A row on which no peer was measured drifts like the others.
        drift = math.exp(median(drifts[row.name] or everywhere or [0.0]))
        changes.append(Change(row.name, old.median, now, drift, _margin(drifts)))
    return changes


def _drifts(run: Run, before: Figures, row: str) -> list[float]:
    """Return log(now / before) of each peer of the row that is the same code in both runs."""
    found = []
    for measurement in run.measurements:
        old = before.get((row, measurement.peer))
        if measurement.row != row or measurement.status != "ok" or old is None:
            continue
        # gradloom is what is judged, and the C++ kernels may have been rewritten: they stand in this repository.
        unchanged = run.peers[measurement.peer]["kind"] == "library" and old.version == measurement.version
        if unchanged and measurement.median and old.median:
            found.append(math.log(measurement.median / old.median))
    return found


def _margin(drifts: dict[str, list[float]]) -> float:
    """Return how far nine of ten peers at most are from the median of their row, as a factor."""
    scatter = sorted(abs(one - median(of_row)) for of_row in drifts.values() if len(of_row) > 1 for one in of_row)
    if not scatter:
        return LEAST_MARGIN
    return max(LEAST_MARGIN, math.exp(scatter[math.ceil(0.9 * len(scatter)) - 1]))
