"""What a run leaves behind: its record, the JSON form of it, and the folder that keeps them.

Owns the schema. It knows nothing of how figures are measured or shown.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

SCHEMA = 1
FOLDER = Path(__file__).parent / "results"
STATUSES = ("ok", "unavailable", "inexpressible", "failed", "wrong", "timeout")


@dataclass(frozen=True)
class Row:
    """One workload as it was run: its shapes, and the bytes that cannot be avoided."""

    name: str
    title: str
    dtype: str
    shapes: list[list[int]]
    argnums: list[int]
    ideal_bytes: int


@dataclass(frozen=True)
class Measurement:
    """One (row, peer) pair. Times in seconds; figures are absent unless `status` is "ok".

    `note` says which of several ways of the peer it is, where there are. `gradient_errors` holds
    max|g - reference| / max|reference| for each gradient. `samples` counts those that were kept and
    `preempted` those that were not; a `noisy` median had to use samples in which the process did not
    have the processor for itself. `peak_memory` is the highest resident size from the build on,
    `memory_before` the size when library and inputs were there and nothing was built yet, and
    `helpers_memory` what processes that the library started for compiling have taken besides.
    """

    row: str
    peer: str
    status: str
    reason: str = ""
    note: str = ""
    version: str = ""
    import_time: float | None = None
    first_call: float | None = None
    median: float | None = None
    minimum: float | None = None
    samples: int = 0
    preempted: int = 0
    noisy: bool = False
    calls_per_sample: int = 0
    page_faults_per_call: float | None = None
    peak_memory: int | None = None
    memory_before: int | None = None
    helpers_memory: int | None = None
    value_error: float | None = None
    gradient_errors: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"status '{self.status}' is none of {', '.join(STATUSES)}")
        needed = (self.import_time, self.first_call, self.median, self.minimum)
        if self.status == "ok" and any(figure is None or figure < 0 for figure in needed):
            raise ValueError(f"{self.row} / {self.peer} is ok, but a time is missing")
        if self.status != "ok" and not self.reason:
            raise ValueError(f"{self.row} / {self.peer} is {self.status} without a reason")


@dataclass(frozen=True)
class Run:
    """All measurements of one invocation, with what is needed to judge them."""

    created: str
    size: str
    machine: dict[str, Any]
    settings: dict[str, Any]
    rows: list[Row]
    peers: dict[str, dict[str, str]]
    measurements: list[Measurement]

    def find(self, row: str, peer: str) -> Measurement | None:
        """Return the measurement of a pair, whatever its status."""
        for measurement in self.measurements:
            if (measurement.row, measurement.peer) == (row, peer):
                return measurement
        return None

    def median(self, row: str, peer: str) -> float | None:
        """Return the median time per call of a pair, None if it has none."""
        measurement = self.find(row, peer)
        return measurement.median if measurement and measurement.status == "ok" else None

    @property
    def threads(self) -> int:
        """How many threads everybody could use."""
        return self.settings.get("threads", 1)

    @property
    def complete(self) -> bool:
        """Whether no rows and no peers were left out of those that there were."""
        return self.settings.get("complete", True)

    @property
    def every_row(self) -> bool:
        """Whether no rows were left out, whatever the peers."""
        return self.settings.get("every_row", self.complete)

    def memory(self, row: str, peer: str) -> int | None:
        """Return the bytes that building and calling took at most, None if not known."""
        one = self.find(row, peer)
        if one is None or one.status != "ok" or one.peak_memory is None or one.memory_before is None:
            return None
        return max(one.peak_memory - one.memory_before, 0)

    def to_json(self) -> dict[str, Any]:
        """Return the run as JSON data."""
        return {"schema": SCHEMA, **asdict(self)}


def _record(kind: type[Any], data: Any) -> Any:
    """Return a `kind` from JSON data; unknown and missing keys are errors."""
    if not isinstance(data, dict):
        raise ValueError(f"expected an object for {kind.__name__}, got {type(data).__name__}")
    known = {f.name for f in fields(kind)}
    if unknown := set(data) - known:
        raise ValueError(f"{kind.__name__} has no field {', '.join(sorted(unknown))}")
    try:
        return kind(**data)
    except TypeError as error:
        raise ValueError(f"{kind.__name__}: {error}") from None


def read_measurement(data: Any) -> Measurement:
    """Return the measurement that `data` describes; raise `ValueError` if it is none."""
    return _record(Measurement, data)


def from_json(data: Any) -> Run:
    """Return the run that `Run.to_json` wrote; raise `ValueError` if `data` is not one."""
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise ValueError(f"not a benchmark result of schema {SCHEMA}")
    body = {key: value for key, value in data.items() if key != "schema"}
    run = _record(Run, body)
    rows = [_record(Row, row) for row in run.rows]
    measurements = [read_measurement(measurement) for measurement in run.measurements]
    names = {row.name for row in rows}
    for measurement in measurements:
        if measurement.row not in names or measurement.peer not in run.peers:
            raise ValueError(f"{measurement.row} / {measurement.peer} is in no row and column")
    return Run(**{**body, "rows": rows, "measurements": measurements})


def store(run: Run, folder: Path = FOLDER) -> Path:
    """Write the run into `folder` under its size and time of creation; return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp = run.created.replace(":", "").replace("-", "")[:15]
    threads = "" if run.threads == 1 else f"-{run.threads}-threads"
    heap = "-kept-heap" if run.settings.get("keep_heap") else ""
    path = folder / f"{run.size}-{stamp}{threads}{heap}.json"
    path.write_text(json.dumps(run.to_json(), indent=1) + "\n")
    return path


def stored(folder: Path = FOLDER) -> list[Run]:
    """Return the runs in `folder`, oldest first; files of another schema are left out."""
    runs = []
    for path in folder.glob("*.json"):
        try:
            runs.append(from_json(json.loads(path.read_text())))
        except (ValueError, OSError):
            continue
    return sorted(runs, key=lambda run: run.created)


def newest(
    folder: Path = FOLDER,
    size: str = "full",
    threads: int = 1,
    keep_heap: bool = False,
    some_peers: bool = False,
) -> Run | None:
    """Return the newest run of its kind with every row and gradloom in it, None if there is none.

    `some_peers`: a run that left out peers counts too.
    """
    fitting = [
        run
        for run in stored(folder)
        if (run.every_row if some_peers else run.complete)
        and (run.size, run.threads, bool(run.settings.get("keep_heap"))) == (size, threads, keep_heap)
        and any(peer["kind"] == "gradloom" for peer in run.peers.values())
    ]
    return fitting[-1] if fitting else None


def previous(run: Run, folder: Path = FOLDER) -> dict[tuple[str, str], Measurement]:
    """Return the last stored figure of every pair that is comparable with `run`."""
    last = {}
    for earlier in stored(folder):
        if comparable(earlier, run):
            for measurement in earlier.measurements:
                if measurement.status == "ok":
                    last[measurement.row, measurement.peer] = measurement
    return last


def comparable(earlier: Run, run: Run) -> bool:
    """Whether `earlier` is an earlier run of the same sizes, processor, heap setting and threads."""
    return (
        earlier.created < run.created
        and earlier.size == run.size
        and earlier.threads == run.threads
        and earlier.machine.get("processor") == run.machine.get("processor")
        and earlier.settings.get("keep_heap") == run.settings.get("keep_heap")
    )
