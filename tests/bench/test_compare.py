"""Whether a run got slower, from two made-up runs whose answer can be worked out in one's head."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench import __main__ as command
from bench import compare
from bench.results import Measurement, Row, Run

ROWS = ("a", "b", "c")
LIBRARIES = ("jax", "torch", "autograd")


def measured(row: str, peer: str, median: float, version: str = "1") -> Measurement:
    one = Measurement(row, peer, "failed", reason="not run", version=version)
    return replace(one, status="ok", import_time=0.1, first_call=0.2, median=median, minimum=median)


def run(factors: dict[tuple[str, str], float], version: str = "1") -> Run:
    """A run in which every pair takes a second times its factor."""
    kinds = {"gradloom": "gradloom", "cpp": "hand", **dict.fromkeys(LIBRARIES, "library")}
    return Run(
        created="2026-11-21T09:00:00+00:00",
        size="full",
        machine={"processor": "made up", "system": "none", "python": "3", "commit": "0"},
        settings={"seconds": 1.0, "rounds": 1, "processor": 0, "keep_heap": False, "threads": 1},
        rows=[Row(name, name, "float64", [[4]], [0], 64) for name in ROWS],
        peers={name: {"label": name, "kind": kind, "version": version} for name, kind in kinds.items()},
        measurements=[
            measured(row, peer, factors.get((row, peer), 1.0), version) for row in ROWS for peer in kinds
        ],
    )


def figures(run: Run) -> compare.Figures:
    return {(m.row, m.peer): m for m in run.measurements}


def judged(now: dict[tuple[str, str], float], version: str = "1") -> dict[str, compare.Change]:
    return {change.row: change for change in compare.compare(run(now, version), figures(run({})))}


def test_a_row_that_alone_got_slower_is_found() -> None:
    changes = judged({("a", "gradloom"): 1.2, ("b", "gradloom"): 0.8})
    assert [changes[row].slower for row in ROWS] == [True, False, False]
    assert [changes[row].faster for row in ROWS] == [False, True, False]
    assert changes["a"].factor == pytest.approx(1.2) and changes["a"].margin == compare.LEAST_MARGIN


def test_a_slower_machine_is_no_slower_row() -> None:
    slow = {("a", peer): 1.5 for peer in ("gradloom", *LIBRARIES)}
    changes = judged(slow)
    assert changes["a"].drift == pytest.approx(1.5) and not changes["a"].slower
    # The machine got slower, gradloom did not: that is faster.
    assert judged({**slow, ("a", "gradloom"): 1.0})["a"].faster


def test_the_margin_is_how_far_the_libraries_scatter() -> None:
    noisy = {(row, "jax"): 1.4 for row in ROWS}
    changes = judged({**noisy, ("a", "gradloom"): 1.3, ("b", "gradloom"): 1.5})
    assert changes["a"].margin == pytest.approx(1.4)
    assert not changes["a"].slower and changes["b"].slower


def test_what_may_have_changed_itself_is_no_measure_of_drift() -> None:
    # The C++ kernels stand in this repository, and another release of a library is other code.
    assert judged({("a", "cpp"): 2.0})["a"].drift == 1.0
    assert judged({("a", peer): 2.0 for peer in LIBRARIES}, version="2")["a"].drift == 1.0


def test_a_row_without_peers_drifts_like_the_others() -> None:
    now = run({(row, peer): 1.5 for row in ("b", "c") for peer in LIBRARIES})
    kept = [m for m in now.measurements if m.row != "a" or m.peer == "gradloom"]
    now = Run(now.created, now.size, now.machine, now.settings, now.rows, now.peers, kept)
    (first, *_) = compare.compare(now, figures(run({})))
    assert first.row == "a" and first.drift == pytest.approx(1.5)
    assert compare.compare(now, {}) == []


@pytest.mark.parametrize(
    ("now", "status"),
    [
        ({("a", "gradloom"): 1.2}, 3),
        ({("a", "gradloom"): 1.02}, 0),  # within the noise
        ({("a", "gradloom"): 0.5, ("b", "gradloom"): 0.9}, 0),
        ({(row, peer): 1.5 for row in ROWS for peer in ("gradloom", *LIBRARIES)}, 0),  # the machine
        ({("c", "gradloom"): 1.5, **{("c", peer): 1.2 for peer in LIBRARIES}}, 3),
    ],
)
def test_the_exit_status_of_two_stored_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], now: dict[tuple[str, str], float], status: int
) -> None:
    first = run({})
    second = replace(run(now), created="2026-11-21T10:00:00+00:00")
    for name, one in (("full-1.json", first), ("full-2.json", second)):
        (tmp_path / name).write_text(json.dumps(one.to_json()))
    shown = ["--show", str(tmp_path / "full-2.json")]
    assert command.main([*shown, "--compare"]) == status
    assert ("slower" in _verdicts(capsys.readouterr().out)) == (status == 3)
    assert command.main(shown) == 0  # nobody asked
    # The earlier one has none before it.
    assert command.main(["--show", str(tmp_path / "full-1.json"), "--compare"]) == 0
    # What failed outweighs what is slower.
    failed = [replace(one, status="failed", reason="broken", median=None) if one.row == "b" and one.peer == "gradloom"
              else one for one in second.measurements]  # fmt: skip
    (tmp_path / "full-2.json").write_text(json.dumps(replace(second, measurements=failed).to_json()))
    assert command.main([*shown, "--compare"]) == 1


def _verdicts(text: str) -> str:
    """Return what stands in the last column of the table of changes."""
    lines = text[text.index("since the last stored run") :].splitlines()
    return " ".join(line.rstrip(" │").rpartition("│")[2] for line in lines if line.startswith("│"))
