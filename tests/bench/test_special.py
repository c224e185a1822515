"""Limits, counts, floors, generated programs and the records and pictures of the special measurements.

Nothing here depends on how long anything takes: made-up limits have answers that can be worked out in
one's head, and the processes that measure are asked for what they record.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import call_overhead, compile_time, counts, harness, limits, programs, roofline, storage
from bench.counts import OPERATIONS, count
from bench.curves import call_times
from bench.limits import Limits
from bench.results import Measurement, Row, Run
from bench.workload import Workload
from bench.workloads import WORKLOADS, find

# --- counts -----------------------------------------------------------------------------------------------------------


def counted(by_hand: Any, *inputs: np.ndarray) -> dict[str, int]:
    """Return what `by_hand` takes on `inputs`."""
    sizes = {"full": (), "quick": (), "test": ()}
    some = replace(find("rosenbrock_10"), by_hand=by_hand, sizes=sizes, make_inputs=lambda rng: inputs)
    return count(some, "test")


def test_functions_operations_and_products_are_counted() -> None:
    x, matrix = np.ones(5), np.ones((4, 5))
    assert counted(lambda a: np.exp(a) + 1.0, x) == {"exp": 5, OPERATIONS: 5}
    assert counted(lambda a: np.log(a).sum(), x) == {"log": 5, OPERATIONS: 5}
    assert counted(lambda a, m: m @ a, x, matrix) == {OPERATIONS: 2 * 20}
    assert counted(lambda a, m: np.vdot(a, a), x, matrix) == {OPERATIONS: 2 * 5}
    assert counted(lambda m: np.einsum("ij,kj->ik", m, m), matrix) == {OPERATIONS: 2 * 4 * 4 * 5}
    assert counted(lambda a: np.logaddexp(0.0, a), x) == {"exp": 5, "log1p": 5}


def test_division_by_a_root_or_a_number_is_a_product() -> None:
    x = np.ones(5)
    assert counted(lambda a: 1.0 / np.sqrt(a), x) == {"sqrt": 5, OPERATIONS: 5}
    assert counted(lambda a: a / 3.0, x) == {OPERATIONS: 5}
    assert counted(lambda a: 1.0 / a, x) == {"div": 5}


def test_powers_are_products_and_roots() -> None:
    x = np.full(5, 2.0)
    assert counted(lambda a: a**3, x) == {OPERATIONS: 10}
    assert counted(lambda a: a**-1.5, x)["sqrt"] == 5
    assert counted(lambda a: a**0.3, x) == {"log": 5, "exp": 5, OPERATIONS: 5}


def test_results_in_place_and_in_fresh_arrays_count_as_well() -> None:
    def by_hand(a: np.ndarray) -> np.ndarray:
        total = np.zeros(5)
        total += a
        return np.tanh(total)

    assert counted(by_hand, np.ones(5)) == {OPERATIONS: 5, "tanh": 5}


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda w: w.name)
def test_every_row_counts_without_changing_its_results(workload: Workload) -> None:
    found = count(workload, "test")
    assert found[OPERATIONS] > 0 and set(found) <= {OPERATIONS, *limits.FUNCTIONS}


def test_counts_of_rows_worked_out_by_hand() -> None:
    options = find("black_scholes_f64").inputs("test")[0].size
    found = count(find("black_scholes_f64"), "test")
    assert {name: number for name, number in found.items() if name != OPERATIONS} == {
        "sqrt": options, "log": options, "exp": 2 * options, "erf": 2 * options, "div": 2 * options
    }  # fmt: skip
    assert isinstance(np.ones(2).view(counts.Counted)[:1], counts.Counted)


# --- limits and floors ------------------------------------------------------------------------------------------------


def made_up_limits() -> Limits:
    """Reading 8 GB/s up to 1 kB and 2 GB/s from 16 kB on, copies half of it; a function a nanosecond."""
    rates: dict[str, dict[str, tuple[float, str]]] = {
        kind: {name: (1e9, "C++") for name in limits.FUNCTIONS} for kind in limits.KINDS
    }
    read = [(2**10, 8e9), (2**14, 2e9)]
    return Limits(
        bandwidth={"read": read, "write": read, "copy": [(size, rate / 2) for size, rate in read]},
        flops={"float64": 4e9, "float32": 8e9},
        rates=rates,
        call=50e-9,
    )


def test_bandwidth_between_and_beyond_the_measured_footprints() -> None:
    found = made_up_limits()
    assert found.bandwidth_at(1, "read") == pytest.approx(8e9)
    assert found.bandwidth_at(2**12, "read") == pytest.approx(4e9)  # halfway on both logarithmic scales
    assert found.bandwidth_at(2**30, "copy") == pytest.approx(1e9)


def test_limits_round_trip() -> None:
    found = made_up_limits()
    assert limits.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert "4.0 Gflop/s" in limits.table(found) and "50 ns" in limits.table(found)


def test_floors_of_a_row() -> None:
    workload, found = find("chain_20"), made_up_limits()
    n = workload.inputs("test")[0].size
    floor = roofline.floors(workload, "test", found)
    assert floor["bytes"] == 2 * 8 * n and floor["memory"] == pytest.approx(16 * n / 4e9)  # half of it written: a copy
    took = count(workload, "test")
    functions = sum(number for name, number in took.items() if name != OPERATIONS)
    assert floor["arithmetic"] == pytest.approx(functions * 1e-9 + took[OPERATIONS] / 4e9)
    reading = roofline.floors(find("logistic"), "test", found)
    x, inputs = reading["bytes"], find("logistic").inputs("test")
    assert x == sum(array.nbytes for array in inputs) + inputs[0].nbytes
    assert reading["memory"] == pytest.approx(x / 8e9)  # next to nothing is written


def made_up_run() -> Run:
    workload = find("chain_20")
    row = Row(workload.name, "chain", "float64", [[9]], [0], 144)
    gone = replace(row, name="row_of_an_earlier_day")
    kinds = {"gradloom": "gradloom", "cpp": "hand", "jax": "library"}
    one = Measurement(row.name, "cpp", "failed", reason="not run", import_time=0.1, first_call=0.1)
    measured = [
        replace(one, peer=name, status="ok", median=time, minimum=time)
        for name, time in (("gradloom", 2e-7), ("cpp", 1e-7), ("jax", 4e-7))
    ]
    peers = {name: {"label": name, "kind": kind, "version": "1"} for name, kind in kinds.items()}
    return Run("2026-11-21T09:00:00+00:00", "quick", {}, {}, [row, gone], peers, measured)


def test_roofline_rows_and_table(monkeypatch: pytest.MonkeyPatch) -> None:
    workload = replace(find("chain_20"), sizes={**find("chain_20").sizes, "quick": (9,)})
    monkeypatch.setattr(roofline, "WORKLOADS", (workload,))
    (row,) = roofline.rows(made_up_run(), made_up_limits())
    assert row["floor"] == max(row["memory"], row["arithmetic"], row["call"]) and row["bound"] == "arithmetic"
    assert row["times"] == {"gradloom": 2e-7, "cpp": 1e-7, "library": 4e-7} and row["library"] == "jax"
    heading, line = roofline.table({"rows": [row]})
    assert len(heading) == len(line) and line[0] == "chain" and "(jax)" in line[-1]


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++")
def test_limits_are_measured() -> None:
    found = limits.measure(0.0005, sizes=(2**12, 2**13))
    assert [size for size, _ in found.bandwidth["copy"]] == [2**12, 2**13]
    assert set(found.rates["float32"]) == set(limits.FUNCTIONS) and found.call > 0
    assert all(rate > 0 for rate, _ in found.rates["float64"].values()) and min(found.flops.values()) > 0


# --- generated programs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", programs.FAMILIES)
@pytest.mark.parametrize("length", [10, 57])
def test_programs_have_so_many_operations_and_right_gradients(family: str, length: int) -> None:
    import gradloom

    workload = programs.workload(length, family)
    inputs = workload.inputs("test")
    text = gradloom.compile_grad(workload.function).ir("nd", *inputs)
    operations = [line for line in text.splitlines() if " = nd." in line and "nd.constant" not in line]
    named = [line for line in operations if not any(name in line for name in ("broadcast", "reshape", "convert"))]
    assert len(named) >= length - 1  # a mean is a sum and a division
    value, gradients = workload.by_hand(*inputs)
    assert float(value) == pytest.approx(float(workload.function(*inputs)), rel=1e-13)
    found, derived = gradloom.value_and_grad(workload.function, argnums=(0, 1))(*inputs)
    assert found == pytest.approx(value, rel=1e-12)
    for one, other in zip(derived, gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12 * np.abs(other).max())


def test_the_generated_loop_agrees_with_the_generated_program() -> None:
    workload = programs.workload(40, "elementwise")
    inputs = workload.inputs("test")
    namespace: dict[str, Any] = {"np": np}
    exec(programs.loop_source(40), namespace)
    value, gradients = namespace["value_and_grad"](*inputs)
    expected, exact = workload.by_hand(*inputs)
    assert value == pytest.approx(expected, rel=1e-12)
    for one, other in zip(gradients, exact, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-14)


# --- first calls and small calls --------------------------------------------------------------------------------------


def test_a_first_call_of_gradloom_is_split_into_its_phases() -> None:
    settings = harness.Settings(processor=harness.last_processor(), timeout=60)
    found = compile_time.point("gradloom", "reductions", 10, settings, 1)
    assert [one["peer"] for one in found] == list(compile_time.LABELS)
    for one in found:
        assert tuple(one["phases"]) == compile_time.PHASES and one["phases"]["trace"] > 0
        assert sum(one["phases"].values()) == pytest.approx(one["first"])


def test_a_peer_without_phases_has_one_curve() -> None:
    found = compile_time.measure("numpy", "elementwise", 10, later=False)
    assert found["phases"] == {} and found["first"] > 0 and found["second"] > 0


def first_calls() -> dict[str, Any]:
    parts = dict.fromkeys(compile_time.PHASES, 0.01)
    points = [
        {"peer": peer, "family": family, "count": size, "first": size / 1e3, "phases": parts if "grad" in peer else {}}
        for family in programs.FAMILIES
        for peer in (*compile_time.LABELS, "jax")
        for size in (10, 100)
    ]
    points.append({"peer": "torch", "family": "elementwise", "count": 10, "failed": "no result after 30 s"})
    return {"created": "2026-11-21T09:00:00+00:00", "machine": {"processor": "P"}, "points": points}


def test_first_calls_as_a_table() -> None:
    heading, *lines = compile_time.table(first_calls(), "elementwise")
    assert heading == ["operations", "10", "100"]
    assert [line[0] for line in lines] == [*compile_time.LABELS, "jax"] and lines[-1] == ["jax", "10.0 ms", "100 ms"]


def test_calls_over_the_size_are_checked_and_timed() -> None:
    points = call_overhead.measure("numpy", (2, 5), 0.002)
    assert [one["size"] for one in points] == [2, 5] and all(one["median"] > 0 for one in points)
    record = {"peers": {"numpy": {"points": [*points, {"size": 10, "failed": "wrong"}]}, "jax": {"points": []}}}
    assert [size for size, _ in call_times(record)["numpy"]] == [2, 5]
    assert call_overhead.table(record)[0] == ["numbers", "2"]


def test_slow_compilers_are_measured_at_fewer_sizes() -> None:
    assert set(call_overhead.sizes_of("pytensor", False)) < set(call_overhead.sizes_of("gradloom", False))
    assert len(call_overhead.sizes_of("torch_compile", True)) == 1


# --- records and pictures ---------------------------------------------------------------------------------------------


def test_the_newest_record_is_the_last_that_is_no_quick_one(tmp_path: Path) -> None:
    assert storage.newest("kind", tmp_path) is None
    old, new = {"created": "2026-11-20T09:00:00+00:00"}, {"created": "2026-11-21T09:00:00+00:00"}
    storage.store(new, "kind", folder=tmp_path)
    storage.store(old, "kind", folder=tmp_path)
    storage.store({"created": "2026-11-22T09:00:00+00:00"}, "kind", quick=True, folder=tmp_path)
    assert storage.newest("kind", tmp_path) == new
    assert storage.digest(new) == storage.digest(dict(new)) != storage.digest(old)


def test_pictures_carry_their_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib import image
    from PIL import Image

    from bench import figures

    workload = replace(find("chain_20"), sizes={**find("chain_20").sizes, "quick": (9,)})
    monkeypatch.setattr(roofline, "WORKLOADS", (workload,))
    about = {"created": "2026-11-21T09:00:00+00:00", "machine": {"processor": "P"}}
    curve = {"points": [{"size": 2, "median": 1e-6}, {"size": 100, "median": 2e-6}]}
    drawn = {
        figures.draw_roofline: {**about, "rows": roofline.rows(made_up_run(), made_up_limits())},
        figures.draw_compile_time: first_calls(),
        figures.draw_call_overhead: {**about, "peers": {"gradloom": curve, "jax": {"points": []}}},
    }
    colour = np.array([int(figures.COLOURS["gradloom"][i : i + 2], 16) for i in (1, 3, 5)]) / 255
    for draw, record in drawn.items():
        path = draw(record, tmp_path / f"{draw.__name__}.png")
        with Image.open(path) as picture:
            assert picture.info[figures.RECORD] == storage.digest(record)
        pixels = image.imread(path)[..., :3]
        assert (np.abs(pixels - colour).max(axis=-1) < 0.02).sum() > 20, draw.__name__


def test_labels_are_moved_apart_in_order() -> None:
    from bench.figures import _spread

    moved = _spread([1.0, 1.0, 0.0, 5.0], 0.5)
    assert sorted(range(4), key=moved.__getitem__) in ([2, 0, 1, 3], [2, 1, 0, 3])
    ordered = sorted(moved)
    assert all(after - before > 0.49 for before, after in pairwise(ordered))
    assert moved[3] == 5.0
