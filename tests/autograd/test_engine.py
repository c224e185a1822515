"""The engine of the eager face: what is computed when, how often, by how many programs, and what it holds on to."""

import gc
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.autograd import programs
from gradloom.autograd.graph import Node
from gradloom.autograd.programs import counters


@pytest.fixture(autouse=True)
def _fresh_counters() -> Iterator[None]:
    programs.forget_programs()
    counters.reset()
    yield
    counters.reset()


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Run without the cyclic garbage collector: what is freed is freed by counting references."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def leaf(values: Any, dtype: Any = np.float64) -> Any:
    return gl.tensor(np.asarray(values, dtype), requires_grad=True)


def runs() -> int:
    return counters.interpreted_runs + counters.native_runs


# --- laziness ---------------------------------------------------------------------------------------------------------


def test_recording_computes_nothing() -> None:
    x = leaf([1.0, 2.0])
    y = (x * 2 + 1).exp().sum()
    assert runs() == 0 and y.shape == () and y.dtype is gl.float64
    assert y.item() == pytest.approx(np.exp([3.0, 5.0]).sum())
    assert runs() == 1
    y.item()
    assert runs() == 1


def test_a_backward_is_one_run_that_also_gives_values_to_what_is_held() -> None:
    x = leaf([1.0, 2.0])
    h = x * 3
    y = (h * h).sum()
    y.backward()
    assert runs() == 1
    assert h.tolist() == [3.0, 6.0] and y.item() == 45.0 and x.grad.tolist() == [18.0, 36.0]
    assert runs() == 1


def test_only_what_is_held_is_stored() -> None:
    """The results of the program are the loss, the values that a variable holds, and the gradients."""

    def results(hold: bool) -> int:
        programs.forget_programs()
        x, y = leaf(np.ones((3, 2))), gl.tensor(np.ones((3, 2)))
        for _ in range(2):
            x.grad = None
            h = x * 2
            kept = h if hold else None
            loss = (h - y).exp().pow(2).sum()
            del h
            loss.backward()
            del kept
        (structure,) = programs.structures.values()
        assert structure.executable is not None
        return len(structure.executable.result_types)

    assert results(hold=False) == 2  # loss, gradient
    assert results(hold=True) == 3


def test_a_long_chain_that_nobody_looks_at_is_computed_now_and_then() -> None:
    total = gl.tensor(np.zeros(3))
    for _ in range(2000):
        total = total + 1.0
    assert 1 <= runs() <= 20
    assert total.tolist() == [2000.0] * 3


def test_a_deep_graph_does_not_recurse() -> None:
    x = leaf([1.0])
    y = x
    for _ in range(3000):
        y = y * 1.0001
    y.sum().backward()
    assert x.grad.item() == pytest.approx(1.0001**3000)


# --- structures -------------------------------------------------------------------------------------------------------


def step(x: Any, w: Any, factor: float = 2.0) -> Any:
    loss = ((x @ w) * factor).tanh().sum()
    loss.backward()
    return loss


def test_the_second_step_compiles_and_later_ones_only_run() -> None:
    x, w = gl.tensor(np.ones((3, 2))), leaf([0.1, 0.2])
    compiled = []
    for _ in range(6):
        w.grad = None
        step(x, w)
        compiled.append(counters.compiled)
    assert compiled == [0, 1, 1, 1, 1, 1]
    assert counters.structures == 1 and counters.interpreted_runs == 1 and counters.native_runs == 5


def test_a_number_that_changes_becomes_an_argument() -> None:
    x, w = gl.tensor(np.ones((3, 2))), leaf([0.1, 0.2])
    for i in range(20):
        w.grad = None
        step(x, w, 1.0 + i)
        expected = 3 * (1.0 + i) / np.cosh(0.3 * (1.0 + i)) ** 2
        np.testing.assert_allclose(w.grad.numpy(), [expected] * 2, rtol=1e-9)  # pyright: ignore
    assert counters.structures == 1 and counters.compiled <= 2


@pytest.mark.parametrize("numbers", [(0.0, -0.0), (1.0, float("nan")), (float("nan"), float("nan"), 2.0), (1, 2, 3)])
def test_numbers_are_told_apart(numbers: tuple[float, ...]) -> None:
    for number in numbers:
        x = leaf([1.0, -2.0])
        y = x / (x * number)
        with np.errstate(all="ignore"):
            expected = np.array([1, -2]) / (np.array([1, -2]) * float(number))
        np.testing.assert_array_equal(y.detach().numpy(), expected)


def test_an_update_under_no_grad_joins_the_next_step() -> None:
    w = leaf([1.0, 2.0])
    expected = np.array([1.0, 2.0])
    for _ in range(8):
        loss = (w * w).sum()
        loss.backward()
        with gl.no_grad():
            w -= 0.1 * w.grad  # pyright: ignore
            w.grad = None
        expected = expected - 0.1 * 2 * expected
    assert counters.native_runs + counters.interpreted_runs == 8
    np.testing.assert_allclose(w.detach().numpy(), expected)
    assert w.is_leaf and w.requires_grad


def test_graphs_that_look_alike_are_told_apart() -> None:
    """The same operations on the same types, with other ties between them."""

    def gradient(build: Any) -> list[float]:
        x, y = leaf([2.0]), leaf([3.0])
        build(x, y).sum().backward()
        return [0.0 if t.grad is None else t.grad.item() for t in (x, y)]

    builds = {
        "xy": (lambda x, y: x * y, [3.0, 2.0]),
        "xx": (lambda x, y: x * x, [4.0, 0.0]),
        "detached": (lambda x, y: x * y.detach(), [3.0, 0.0]),
        "detached self": (lambda x, y: x * x.detach(), [2.0, 0.0]),
        "yx": (lambda x, y: y * x, [3.0, 2.0]),
    }
    for _ in range(4):  # interpreted, compiled, recognised
        for build, expected in builds.values():
            assert gradient(build) == expected


def test_shared_and_separate_nodes_are_told_apart() -> None:
    def shared(x: Any) -> Any:
        h = x.sin()
        return h * h

    def separate(x: Any) -> Any:
        return x.sin() * x.sin()

    for _ in range(4):
        for build in (shared, separate):
            x = leaf([0.3])
            build(x).sum().backward()
            assert x.grad.item() == pytest.approx(2 * np.sin(0.3) * np.cos(0.3))


def test_patterns_and_descriptions_agree() -> None:
    """The same program with a held intermediate, without, with a constant input, with frozen leaves."""
    rng = np.random.default_rng(0)

    def program(hold: bool, freeze: bool) -> tuple[np.ndarray, ...]:
        a, b = leaf(rng.standard_normal(4)), leaf(rng.standard_normal(4))
        b.requires_grad_(not freeze)
        h = a * b
        kept = h if hold else None
        z = (h.exp() + b).sum()
        del h
        z.backward()
        values = [a.grad.numpy()] + ([] if freeze else [b.grad.numpy()])
        x, y = a.detach().numpy(), b.detach().numpy()
        np.testing.assert_allclose(values[0], y * np.exp(x * y))
        if not freeze:
            np.testing.assert_allclose(values[1], x * np.exp(x * y) + 1)
        if kept is not None:
            np.testing.assert_allclose(kept.detach().numpy(), x * y)
        return tuple(values)

    for _ in range(4):
        for hold in (False, True):
            for freeze in (False, True):
                program(hold, freeze)


def test_patterns_know_which_gradients_are_wanted() -> None:
    def program(wanted: str) -> list[float]:
        a, b = leaf([2.0]), leaf([3.0])
        h = a * b
        z = (h.exp() * b).sum()
        inputs = [{"a": a, "b": b, "h": h}[name] for name in wanted]
        return [g.item() for g in gl.autograd.grad(z, inputs)]

    e = np.exp(6.0)
    expected = {"a": [9 * e], "b": [7 * e], "ab": [9 * e, 7 * e], "h": [3 * e], "ah": [9 * e, 3 * e]}
    for _ in range(4):
        for wanted, values in expected.items():
            np.testing.assert_allclose(program(wanted), values, rtol=1e-12, err_msg=wanted)


def test_the_number_of_structures_kept_is_bounded() -> None:
    before = len(programs.structures)
    for n in range(1, 30):
        leaf(np.ones(n)).sum().backward()
    assert len(programs.structures) <= min(before + 29, programs.MOST_STRUCTURES)


# --- writes and memory ------------------------------------------------------------------------------------------------


def test_what_was_recorded_before_a_write_keeps_the_old_value() -> None:
    x = gl.tensor(np.array([1.0, 2.0]))
    before = x * 10
    x += 1
    after = x * 10
    assert before.tolist() == [10.0, 20.0] and after.tolist() == [20.0, 30.0]


def test_what_was_recorded_before_a_write_by_numpy_keeps_the_old_value() -> None:
    array = np.array([1.0, 2.0])
    x = gl.from_numpy(array)
    before = x * 10
    array[0] = 5.0
    assert before.tolist() == [10.0, 20.0] and (x * 10).tolist() == [50.0, 20.0]


def test_an_export_after_recording_keeps_the_old_value() -> None:
    x = gl.tensor(np.array([1.0, 2.0]))
    before = x * 10
    x.numpy()[0] = 7.0
    assert before.tolist() == [10.0, 20.0] and x.tolist() == [7.0, 2.0]


def test_accumulation_does_not_disturb_who_read_the_gradient() -> None:
    x = leaf([1.0, 2.0])
    (x * x).sum().backward()
    doubled = x.grad * 2
    alias = x.grad
    (x * x).sum().backward()
    assert doubled.tolist() == [4.0, 8.0] and x.grad.tolist() == [4.0, 8.0]
    assert alias is x.grad


def test_numpy_sees_updates_of_shared_memory() -> None:
    array = np.array([1.0, 2.0])
    w = gl.from_numpy(array).requires_grad_()
    (w * w).sum().backward()
    with gl.no_grad():
        w -= 0.5 * w.grad
    assert array.tolist() == [0.0, 0.0]


def test_gradients_do_not_share_memory() -> None:
    x, y = leaf([1.0]), leaf([2.0])
    (x + y).sum().backward()
    with gl.no_grad():
        x.grad += 5
    assert y.grad.item() == 1.0


# --- holding on -------------------------------------------------------------------------------------------------------


def test_a_graph_is_freed_without_the_collector(no_collector: None) -> None:
    x = leaf(np.ones(1000))
    h = x * 2
    y = (h.exp() + x).sum()
    nodes = [weakref.ref(y.grad_fn), weakref.ref(h.grad_fn)]
    del h, y
    assert [node() for node in nodes] == [None, None]


def test_leaf_and_graph_are_freed_without_the_collector(no_collector: None) -> None:
    x = leaf(np.ones(1000))
    y = (x * x).sum()
    y.backward()
    view = x[2:]
    reference = weakref.ref(x)
    del x, y, view
    assert reference() is None


def test_a_released_graph_holds_no_values(no_collector: None) -> None:
    x = leaf(np.ones(1000))
    h = x * 2
    y = (h * h).sum()
    node = weakref.ref(h.grad_fn)
    y.backward()
    del h
    assert node() is not None and node().inputs == ()  # type: ignore[union-attr]
    del y
    assert node() is None


def live_nodes() -> int:
    gc.collect()
    return sum(isinstance(each, Node) for each in gc.get_objects())


@pytest.mark.parametrize("look", [False, True])
def test_memory_of_a_training_loop_stays_flat(look: bool) -> None:
    """Over 10,000 steps: the same number of nodes, programs and results after 100 steps as at the end."""
    x, y = gl.tensor(np.ones((4, 3))), gl.tensor(np.ones(4))
    w = leaf([0.1, 0.2, 0.3])
    running = gl.tensor(np.zeros(()))
    marks = []
    for i in range(10_000):
        loss = ((x @ w - y) ** 2).sum()
        loss.backward()
        running = 0.9 * running + 0.1 * loss.detach()
        with gl.no_grad():
            w -= 0.01 * w.grad
        w.grad.zero_()
        if look and i % 50 == 0:
            loss.item()
        if i % 2500 == 100 or i == 9_999:
            _ = running.item(), w.tolist()
            marks.append((live_nodes(), len(programs.structures)))
    assert all(nodes <= marks[0][0] + 5 for nodes, _ in marks), marks
    assert marks[-1][1] <= marks[1][1] + 5, marks  # what is computed together varies at first
    np.testing.assert_allclose((x @ w).tolist(), np.ones(4), rtol=1e-6)


# --- threads ----------------------------------------------------------------------------------------------------------


def test_threads_record_and_differentiate_at_the_same_time() -> None:
    failures: list[str] = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(30):
            values = rng.standard_normal(5)
            x = leaf(values)
            (x.sin() * x).sum().backward()
            if not np.allclose(x.grad.numpy(), np.sin(values) + values * np.cos(values)):
                failures.append(f"{seed}: {values}")

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


# --- the same by other means ------------------------------------------------------------------------------------------


def test_recording_an_operation_makes_few_calls() -> None:
    """What recording costs, counted: calls of Python functions (their time is measured in bench)."""
    import sys

    x, y = leaf([1.0]), leaf([2.0])
    _ = x + y
    calls = []
    sys.setprofile(lambda frame, event, argument: calls.append(frame.f_code.co_name) if event == "call" else None)
    _ = x + y
    sys.setprofile(None)
    assert len(calls) <= 5, calls
