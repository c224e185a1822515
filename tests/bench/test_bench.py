"""The benchmark's own correctness: references, the record of a run, and how it is shown.

Times nothing but one trivial call: that the clock works is a test, how fast it runs is not.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from bench import analysis, harness, plot, report, results, timing
from bench.measure import check, measure_pair
from bench.peers import PEERS, base
from bench.peers import find as find_peer
from bench.results import Measurement, Row, Run
from bench.workload import CPP_SOURCES, Workload
from bench.workloads import WORKLOADS, black_scholes, find, select

every_workload = pytest.mark.parametrize("workload", WORKLOADS, ids=lambda w: w.name)


def doubles(workload: Workload) -> list[np.ndarray]:
    return [array.astype(np.float64) for array in workload.inputs("test")]


def derivative(function: Callable[[float], float], step: float) -> float:
    """Return the derivative at 0 by fourth-order central differences."""
    near, far = function(step) - function(-step), function(2.0 * step) - function(-2.0 * step)
    return (8.0 * near - far) / (12.0 * step)


def moved(array: np.ndarray, index: tuple[int, ...], shift: float) -> np.ndarray:
    copy = array.copy()
    copy[index] += shift
    return copy


rows_with_gradients = pytest.mark.parametrize(
    "workload", [w for w in WORKLOADS if w.quantity == "value_and_grad"], ids=lambda w: w.name
)
rows_with_products = pytest.mark.parametrize(
    "workload", [w for w in WORKLOADS if w.quantity == "hvp"], ids=lambda w: w.name
)


@rows_with_products
def test_reference_product_agrees_with_finite_differences(workload: Workload) -> None:
    x, v = doubles(workload)
    value, (product,) = workload.by_hand(x, v)
    assert value is None and product.shape == x.shape

    def gradient_entry(index: tuple[int, ...], shift: float) -> float:
        point = x + shift * v
        return derivative(lambda s: float(workload.function(moved(point, index, s))), 1e-2)

    expected = np.empty_like(x)
    for index in np.ndindex(x.shape):
        expected[index] = derivative(lambda t, index=index: gradient_entry(index, t), 1e-2)
    np.testing.assert_allclose(product, expected, rtol=0, atol=1e-7 * np.abs(expected).max())


@rows_with_gradients
def test_reference_gradient_agrees_with_finite_differences(workload: Workload) -> None:
    inputs = doubles(workload)
    value, gradients = workload.by_hand(*inputs)
    assert float(value) == pytest.approx(float(workload.function(*inputs)), rel=1e-13)
    assert len(gradients) == len(workload.argnums)
    for argnum, gradient in zip(workload.argnums, gradients, strict=True):
        array = inputs[argnum]
        assert gradient.shape == array.shape
        expected = np.empty_like(array)
        for index in np.ndindex(array.shape):
            step = float(1e-4 * max(1.0, abs(array[index])))

            def at(shift: float, index=index, array=array, argnum=argnum) -> float:
                changed = moved(array, index, shift)
                return float(
                    workload.function(*inputs[:argnum], changed, *inputs[argnum + 1 :])
                )

            expected[index] = derivative(at, step)
        np.testing.assert_allclose(
            gradient, expected, rtol=0, atol=1e-8 * np.abs(expected).max(initial=0.0)
        )


@every_workload
def test_inputs_are_the_same_every_time_and_of_the_row_s_type(workload: Workload) -> None:
    first, second = workload.inputs("test"), workload.inputs("test")
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == workload.dtype and one.flags.c_contiguous


@every_workload
def test_plain_source_and_hand_gradient_stay_in_the_row_s_type(workload: Workload) -> None:
    inputs = workload.inputs("test")
    arguments = inputs if workload.quantity == "value_and_grad" else inputs[:1]
    assert np.asarray(workload.function(*arguments)).dtype == workload.dtype
    assert all(gradient.dtype == workload.dtype for gradient in workload.by_hand(*inputs)[1])


@every_workload
def test_row_has_its_kernel_and_says_its_size(workload: Workload) -> None:
    assert (CPP_SOURCES / workload.cpp_source).exists()
    assert f"{workload.sizes['full'][0]:,}".split(",")[0] in workload.heading("full")
    assert set(workload.sizes) == {"full", "quick", "test"}


@every_workload
def test_check_accepts_the_reference_and_nothing_else(workload: Workload) -> None:
    pair = Measurement(workload.name, "numpy", "failed", reason="not checked yet")
    inputs = workload.inputs("test")
    value, exact = workload.reference(inputs)
    gradients = [gradient.astype(workload.dtype) for gradient in exact]

    def judge(found: list[np.ndarray], result: float | None = value) -> str:
        return check(pair, workload, inputs, result, found).status

    assert judge(gradients) == "failed"  # untouched: still to be timed
    if value is None:
        assert judge(gradients, 1.0) == "wrong"
    else:
        assert judge(gradients, value * (1.0 + 2.0 * workload.tolerance)) == "wrong"
        assert judge(gradients, None) == "wrong"
    off = [gradient.copy() for gradient in gradients]
    largest = np.argmax(np.abs(off[-1]))
    off[-1].flat[largest] *= 1.0 + 3.0 * workload.tolerance
    assert judge(off) == "wrong"
    off[-1].flat[largest] = np.nan
    assert judge(off) == "wrong"
    assert judge([gradient.astype(np.float16) for gradient in gradients]) == "wrong"
    assert judge([gradient[:-1] for gradient in gradients]) == "wrong"


def test_rebind_reaches_helpers_and_leaves_the_original_alone() -> None:
    class Special:
        @staticmethod
        def erf(x):
            return 0.0 * x

    bound = base.rebind(black_scholes.black_scholes, special=Special)
    one = [np.ones(1)] * 5
    assert bound(*one) == pytest.approx(0.5 * (1.0 - np.exp(-1.0)))
    assert black_scholes.black_scholes(*one) != pytest.approx(bound(*one))


def test_select_takes_starts_and_shell_patterns_in_table_order() -> None:
    assert [w.name for w in select(["softmax", "rosen"])] == [
        "rosenbrock_10",
        "rosenbrock_1e6",
        "rosenbrock_hvp",
        "softmax_xent",
    ]
    assert [w.name for w in select(["*_f32"])] == ["black_scholes_f32"]
    assert select(["*"]) == list(WORKLOADS)
    with pytest.raises(ValueError, match="no row is called 'nothing'"):
        select(["nothing"])


@pytest.mark.parametrize("name", PEERS)
def test_adapters_are_found_without_their_libraries(name: str) -> None:
    peer = find_peer(name)
    assert peer.kind in ("gradloom", "library", "hand")
    assert peer.label and isinstance(dict(peer.environment), dict)


def test_measuring_a_pair_fills_every_figure() -> None:
    pair = measure_pair("rosenbrock_10", "numpy", "test", seconds=0.002)
    assert pair.status == "ok" and pair.reason == ""
    assert pair.median is not None and 0 < (pair.minimum or 0) <= pair.median
    assert pair.first_call and pair.import_time is not None
    assert pair.gradient_errors == [0.0]
    assert pair.peak_memory and pair.memory_before and pair.peak_memory >= pair.memory_before > 1_000_000


@every_workload
def test_gradloom_passes_the_check_of_every_row(workload: Workload) -> None:
    pair = measure_pair(workload.name, "gradloom", "test", seconds=0.001)
    assert (pair.status, pair.reason) == ("ok", "")


def test_a_product_has_no_value_to_be_wrong() -> None:
    pair = measure_pair("rosenbrock_hvp", "numpy", "test", seconds=0.001)
    assert (pair.status, pair.value_error, pair.gradient_errors) == ("ok", None, [0.0])


def test_a_missing_library_is_reported_as_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(self: object) -> str:
        raise ModuleNotFoundError("No module named 'numba'")

    monkeypatch.setattr(type(find_peer("numba")), "load", absent)
    pair = measure_pair("rosenbrock_10", "numba", "test", seconds=0.002)
    assert pair.status == "unavailable" and "No module named 'numba'" in pair.reason


def test_an_exception_in_the_peer_is_a_failure_with_its_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def explode(self: object, workload: Workload) -> None:
        raise NotImplementedError("no such op\nand more")

    monkeypatch.setattr(type(find_peer("numpy")), "build", explode)
    pair = measure_pair("rosenbrock_10", "numpy", "test", seconds=0.002)
    assert (pair.status, pair.reason) == ("failed", "NotImplementedError: no such op")


def test_the_harness_measures_in_a_process_of_its_own() -> None:
    settings = harness.Settings(size="test", seconds=0.002, processor=min(_processors()))
    seen: list[Measurement] = []
    (run,) = harness.run([find("rosenbrock_10")], ["numpy"], settings, seen.append)
    assert [one.status for one in seen] == ["ok"]
    assert run.median("rosenbrock_10", "numpy") == seen[0].median
    assert run.peers["numpy"]["version"] == np.__version__
    assert results.from_json(json.loads(json.dumps(run.to_json()))) == run


def _processors() -> set[int]:
    import os

    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else {0}


def test_a_pair_that_takes_too_long_is_stopped() -> None:
    settings = harness.Settings(size="test", timeout=0.05, processor=min(_processors()))
    assert harness.measure("rosenbrock_10", "numpy", settings).status == "timeout"


def test_measuring_processes_have_one_thread_and_fresh_caches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    monkeypatch.setenv("MALLOC_ARENA_MAX", "3")
    plain = harness.environment("jax", "/somewhere", keep_heap=False)
    assert plain["OMP_NUM_THREADS"] == plain["OPENBLAS_NUM_THREADS"] == "1"
    assert plain["XDG_CACHE_HOME"] == "/somewhere" and "MALLOC_ARENA_MAX" not in plain
    assert "intra_op_parallelism_threads=1" in plain["XLA_FLAGS"]
    assert harness.environment("numpy", "/somewhere", keep_heap=True)["MALLOC_MMAP_MAX_"] == "0"
    two = harness.environment("jax", "/somewhere", keep_heap=False, threads=2)
    assert two["GRADLOOM_NUM_THREADS"] == two["OMP_NUM_THREADS"] == two["BENCH_THREADS"] == "2"
    assert "multi_thread_eigen=true intra_op_parallelism_threads=2" in two["XLA_FLAGS"]
    assert harness.environment("drjit", "/somewhere", keep_heap=False)["HOME"] == "/somewhere"
    assert harness.environment("torch", "/somewhere", keep_heap=False, threads=2)["MKL_NUM_THREADS"] == "2"


def test_threads_get_processors_from_the_last_one_down() -> None:
    assert harness.processors(3, 1, {0, 1, 2, 3}) == {3}
    assert harness.processors(3, 2, {0, 1, 2, 3}) == {3, 2}
    assert harness.processors(0, 2, {0, 1}) == {0, 1}
    assert harness.processors(1, 5, {0, 1}) == {0, 1}


def test_each_number_of_threads_is_a_run_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[tuple[str, int]] = []

    def measured(row: str, name: str, settings: harness.Settings, threads: int) -> Measurement:
        order.append((row, threads))
        return ok(row, name, 1e-3 / threads)

    monkeypatch.setattr(harness, "measure", measured)
    rows = [find("rosenbrock_10"), find("chain_20")]
    one, two = harness.run(rows, ["numpy"], harness.Settings(size="test", threads=(1, 2)))
    assert order == [("rosenbrock_10", 1), ("rosenbrock_10", 2), ("chain_20", 1), ("chain_20", 2)]
    assert (one.threads, two.threads) == (1, 2) and one.created == two.created
    assert two.median("chain_20", "numpy") == 0.5e-3
    text = io.StringIO()
    Console(file=text, width=report.WIDTH).print(report.scaling([one, two]))
    assert text.getvalue().count("2.00x") == 2 and "2 threads" in text.getvalue()


def test_timing_sees_a_call_that_waits_as_preempted() -> None:
    waiting = timing.sample(time.sleep, (0.002,), 1)
    assert not waiting.undisturbed and waiting.wall >= 0.002
    timed = timing.measure(time.sleep, (0.001,), 0.004)
    assert timed.noisy and timed.median >= 0.001


# ---------------------------------------------------------------------------------------------
# a made-up run, whose ratios can be worked out in one's head


def row(name: str) -> Row:
    return Row(name, f"{name}, 4", "float64", [[4]], [0], 64)


def ok(name: str, peer: str, median: float) -> Measurement:
    return Measurement(
        name,
        peer,
        "ok",
        import_time=0.1,
        first_call=0.2,
        median=median,
        minimum=median / 2,
        samples=9,
        calls_per_sample=1,
        peak_memory=50_000_000,
        gradient_errors=[0.0],
    )


def made_up_run() -> Run:
    kinds = {"gradloom": "gradloom", "cpp": "hand", "numpy": "hand", "jax": "library"}
    kinds["torch"] = "library"
    measurements = [
        ok("a", "gradloom", 2e-3), ok("a", "cpp", 1e-3), ok("a", "numpy", 16e-3),
        ok("a", "jax", 8e-3), ok("a", "torch", 4e-3),
        ok("b", "gradloom", 1e-6), ok("b", "cpp", 2e-6),
        replace(ok("b", "jax", 8e-6), page_faults_per_call=1953.2),
        Measurement("b", "numpy", "wrong", reason="off by 2.0e-01 where 1e-09 is allowed"),
        Measurement("b", "torch", "unavailable", reason="No module named 'torch'"),
    ]  # fmt: skip
    return Run(
        created="2026-11-21T09:00:00+00:00",
        size="full",
        machine={"processor": "P", "system": "S", "python": "3.11", "commit": "c"},
        settings={"seconds": 1.0, "keep_heap": False},
        rows=[row("a"), row("b")],
        peers={name: {"label": name, "kind": kind, "version": "1"} for name, kind in kinds.items()},
        measurements=measurements,
    )


def test_comparison_with_the_best_library_and_the_bar() -> None:
    first, second = analysis.compare(made_up_run())
    assert (first.best_library, second.best_library) == ("torch", "jax")
    assert (first.speedup, first.to_bar, first.library_to_bar) == pytest.approx((2, 2, 4))
    assert (second.speedup, second.to_bar) == pytest.approx((8, 0.5))
    assert second.speedup_of_arrays is None
    assert analysis.geometric_mean([first.speedup, second.speedup]) == (pytest.approx(4), 2)
    assert analysis.geometric_mean([None]) == (None, 0)
    assert analysis.slowdowns(made_up_run(), "cpp") == (pytest.approx(2**0.5), 2)


def test_json_round_trip_and_what_it_refuses() -> None:
    data = json.loads(json.dumps(made_up_run().to_json()))
    assert results.from_json(data) == made_up_run()

    def refused(match: str, **change: object) -> None:
        with pytest.raises(ValueError, match=match):
            results.from_json({**data, **change})

    refused("schema", schema=0)
    refused("no field surprise", surprise=1)
    refused("in no row and column", rows=data["rows"][:1])
    refused("none of ok", measurements=[{**data["measurements"][0], "status": "fine"}])
    refused("a time is missing", measurements=[{**data["measurements"][0], "median": None}])
    refused("without a reason", measurements=[{"row": "a", "peer": "cpp", "status": "wrong"}])
    refused("missing", measurements=[{"row": "a", "peer": "cpp"}])


def test_comparison_with_what_is_stored(tmp_path: Path) -> None:
    run = made_up_run()
    old = replace(
        run,
        created="2026-11-20T09:00:00+00:00",
        measurements=[ok("a", "gradloom", 1e-3), ok("a", "cpp", 4e-3)],
    )
    newer = replace(old, created="2026-11-20T10:00:00+00:00", measurements=[ok("a", "cpp", 2e-3)])
    elsewhere = replace(newer, created="2026-11-20T11:00:00+00:00", machine={"processor": "Q"})
    quick = replace(newer, created="2026-11-20T12:00:00+00:00", size="quick")
    threaded = replace(newer, created="2026-11-20T13:00:00+00:00", settings={"threads": 2, "keep_heap": False})
    for one in (old, newer, elsewhere, quick, threaded, run):
        results.store(one, tmp_path)
    (tmp_path / "broken.json").write_text("{")
    assert [one.created for one in results.stored(tmp_path)][-1] == run.created
    changes = analysis.changes(run, results.previous(run, tmp_path))
    assert changes == {("a", "gradloom"): pytest.approx(2.0), ("a", "cpp"): pytest.approx(0.5)}


def test_a_run_that_left_out_peers_stands_in_for_special_conditions_only(tmp_path: Path) -> None:
    run = made_up_run()
    some = {**run.settings, "every_row": True, "complete": False}
    kept = replace(run, created="2026-11-21T10:00:00+00:00", settings={**some, "keep_heap": True})
    plain = replace(run, created="2026-11-21T11:00:00+00:00", settings=some)
    one_row = replace(kept, created="2026-11-21T12:00:00+00:00", settings={**kept.settings, "every_row": False})
    for one in (run, kept, plain, one_row):
        results.store(one, tmp_path)
    assert results.newest(tmp_path, run.size) == run
    assert results.newest(tmp_path, run.size, keep_heap=True) is None
    assert results.newest(tmp_path, run.size, keep_heap=True, some_peers=True) == kept


def rendered(run: Run, before: dict[tuple[str, str], Measurement]) -> str:
    stream = io.StringIO()
    Console(file=stream, width=report.WIDTH).print(report.report(run, before))
    return stream.getvalue()


def test_report_shows_times_ratios_failures_and_changes() -> None:
    text = rendered(made_up_run(), {("a", "cpp"): ok("a", "cpp", 2e-3)})
    assert "4.00 ms" in text and "2.00 µs" in text
    assert "wrong" in text and "absent" in text
    assert "torch 4.00 ms" in text and "4.00x (2)" in text
    assert "b / numpy: wrong: off by 2.0e-01 where 1e-09 is allowed" in text
    assert "b (jax 1,953)" in text
    assert "0.50x" in text and "stored last" in text
    assert "stored last" not in rendered(made_up_run(), {})


def test_report_of_the_widest_run_fits_its_width() -> None:
    names = list(PEERS)
    run = replace(
        made_up_run(),
        rows=[row(workload.name) for workload in WORKLOADS],
        peers={n: {"label": find_peer(n).label, "kind": find_peer(n).kind} for n in names},
        measurements=[ok(w.name, n, 0.1234) for w in WORKLOADS for n in names],
    )
    run = replace(run, peers={n: {**peer, "version": "1"} for n, peer in run.peers.items()})
    text = rendered(run, {})
    assert max(map(len, text.splitlines())) <= report.WIDTH
    assert text.count("123 ms") >= len(names) * len(WORKLOADS)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"), (1.5e-9, "1.50 ns"), (172e-9, "172 ns"), (0.9994e-6, "999 ns"),
        (0.9996e-6, "1.00 µs"), (9.994e-6, "9.99 µs"), (9.996e-6, "10.0 µs"),
        (99.96e-3, "100 ms"), (12.0, "12.0 s"), (1234.0, "1,234 s"),
    ],
)  # fmt: skip
def test_seconds_have_three_digits_and_a_unit(value: float | None, text: str) -> None:
    assert report.seconds(value) == text


def test_plot_is_a_picture_with_something_on_it(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib import image

    path = plot.save(made_up_run(), tmp_path / "run.png")
    pixels = image.imread(path)[..., :3]
    assert pixels.shape[0] > 200 and pixels.shape[1] > 400
    for kind in ("gradloom", "library", "hand"):
        colour = np.array([int(plot.COLOURS[kind][i : i + 2], 16) for i in (1, 3, 5)]) / 255
        assert (np.abs(pixels - colour).max(axis=-1) < 0.02).sum() > 20, kind
