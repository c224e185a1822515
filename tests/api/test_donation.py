"""Donated arguments: results take their memory where that is possible, and are right everywhere."""

import os
import pickle
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradloom
from gradloom import compile_grad, grad, value_and_grad
from gradloom.exec.memory import pool
from gradloomc.ir.errors import DifferentiationError, ExecutionError

rng = np.random.default_rng(7)


def shift(x):
    return np.concatenate([x[1:], x[:1]])


# A function of the donated w and another array of its shape; whether a result may take the memory of w.
STEPS: dict[str, tuple[Callable[..., Any], bool]] = {
    "update": (lambda w, g: w - 0.1 * g, True),
    "update of both": (lambda w, g: (np.sin(w) * g, np.cos(w) + g), True),
    "with its sum": (lambda w, g: (w - g, np.sum(w * g)), True),
    "with its mean": (lambda w, g: (np.exp(w * 0.1), np.mean(w), np.max(g)), True),
    "sum first": (lambda w, g: w / np.sum(w * w) - g, True),
    "rows": (lambda w, g: w - np.max(w * g, axis=-1, keepdims=True) + g, True),
    "columns": (lambda w, g: w - np.max(w * g, axis=0, keepdims=True) + g, True),
    "piece": (lambda w, g: np.where(np.arange(w.size).reshape(w.shape) < w.size // 2, w, w * g), True),
    "neighbours": (lambda w, g: w - shift(w) * g, False),
    "backwards": (lambda w, g: w + w[::-1] * g, False),
    "the first": (lambda w, g: w * w.reshape(-1)[0] + g, False),
    "unchanged": (lambda w, g: (w, w + g), True),
    "one number": (lambda w, g: np.sum(w * g), False),
    "picked before": (lambda w, g: w * np.sum(w[np.arange(w.size) // 2]) - g, True),
    "picked": (lambda w, g: w[np.arange(w.size) // 2 + np.argmax(g) * 0] - g, False),
    "other dtype": (lambda w, g: (w > g), False),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 17, 31, 100, 1003])
@pytest.mark.parametrize("name", STEPS)
def test_results_are_those_without_donation(name: str, size: int, dtype: Any) -> None:
    step, takes = STEPS[name]
    plain, donating = compile_grad(step), compile_grad(step, donate_argnums=0)
    shape = (size, 5) if name in ("rows", "columns") else (size,)
    w, g = (rng.normal(size=shape).astype(dtype) for _ in range(2))
    for _ in range(5):  # by the general path and natively
        given, other = w.copy(), g.copy()
        expected = plain(w, g)
        found = donating(given, other)
        parts, wanted = (x if isinstance(x, tuple) else (x,) for x in (found, expected))
        for part, want in zip(parts, wanted, strict=True):
            assert np.asarray(part).tobytes() == np.asarray(want).tobytes()
        assert np.array_equal(other, g)
        shared = any(part is given and want is not w for part, want in zip(parts, wanted, strict=True))
        if takes:
            assert shared and donating.stats.bytes_donated == given.nbytes
        elif size > 2:  # a few elements may lie on top of one another
            assert not shared and np.array_equal(given, w)
            assert donating.stats.bytes_donated == 0 and "not used: " in donating.explain()


def test_stencils_say_why_not() -> None:
    step = compile_grad(lambda w: w[1:-1] * 1.0 + w[2:] - w[:-2], donate_argnums=0)
    step(np.arange(9.0))
    assert "no result has its shape and dtype" in step.explain()
    step = compile_grad(lambda w: w + shift(w), donate_argnums=0)
    step(np.arange(9.0))
    assert "reads other elements of it than the one it writes" in step.explain()
    step = compile_grad(lambda w: (np.sin(w), np.sum(np.sin(w)) * w), donate_argnums=0)
    found = step(np.arange(9.0))
    assert np.allclose(found[1], np.sum(np.sin(np.arange(9.0))) * np.arange(9.0))


def test_a_training_step_allocates_nothing() -> None:
    def loss(w, x, y):
        return np.mean((x @ w - y) ** 2)

    step = compile_grad(lambda w, x, y: w - 0.01 * grad(loss)(w, x, y), donate_argnums=0)
    plain = compile_grad(lambda w, x, y: w - 0.01 * grad(loss)(w, x, y))
    w, x, y = rng.normal(size=4000), rng.normal(size=(20, 4000)), rng.normal(size=20)
    first, expected = w, w.copy()
    for _ in range(6):
        w, expected = step(w, x, y), plain(expected, x, y)
    assert w is first and np.array_equal(w, expected)
    tracemalloc.start()
    try:
        for _ in range(20):
            w = step(w, x, y)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert w is first and peak < 1000  # bytes; the weights take 32,000
    assert step.stats.bytes_results == 0 and plain.stats.bytes_results == w.nbytes


def test_large_results_draw_nothing_from_the_pool() -> None:
    step = compile_grad(lambda w, v, g: (w - 0.1 * (0.9 * v + g), 0.9 * v + g), donate_argnums=(0, 1))
    w, v, g = (rng.normal(size=1 << 16) for _ in range(3))
    pool.clear()
    state = w, v
    for _ in range(6):
        state = step(*state, g)
    assert state[0] is w and state[1] is v
    assert pool.total_bytes == 0


def test_gradients_take_memory_too() -> None:
    def f(w, x):
        return np.sum(np.sin(w) * x)

    x = rng.normal(size=33)
    for transform in (grad, value_and_grad):
        donating, plain = transform(f, donate_argnums=(0,)), transform(f)
        assert donating is transform(f, donate_argnums=[0]) and donating is not plain
        for _ in range(5):
            w = rng.normal(size=33)
            expected = plain(w.copy(), x)
            found = donating(w, x)
            gradient, wanted = (pair[1] if transform is value_and_grad else pair for pair in (found, expected))
            assert gradient is w and np.array_equal(gradient, wanted)


def test_containers_and_names() -> None:
    def step(params, gradients):
        return {name: params[name] - gradients[name] for name in params}

    donating = compile_grad(step, donate_argnums="params")
    for _ in range(5):
        params = {"w": rng.normal(size=(3, 4)), "b": rng.normal(size=4)}
        before = {name: array.copy() for name, array in params.items()}
        found = donating(params, before)
        assert all(found[name] is params[name] and not found[name].any() for name in found)


def test_what_shares_memory_is_not_written() -> None:
    step = compile_grad(lambda w, g: w - g, donate_argnums=0)
    for _ in range(6):
        buffer = np.arange(12.0)
        kept = buffer.copy()
        assert np.array_equal(step(buffer[:8], buffer[4:]), np.full(8, -4.0))
        assert np.array_equal(buffer, kept)
        w = np.arange(8.0)
        assert np.array_equal(step(w, w), np.zeros(8)) and np.array_equal(w, np.arange(8.0))
        far = np.arange(16.0)
        found = step(far[:8], far[8:])  # neighbours share nothing
        assert np.shares_memory(found, far) and np.array_equal(far[:8], np.full(8, -8.0))


def test_a_captured_array_is_not_written() -> None:
    table = np.arange(50.0)
    step = compile_grad(lambda w: w + table, donate_argnums=0)
    for _ in range(6):
        assert np.array_equal(step(table), 2 * np.arange(50.0)) and np.array_equal(table, np.arange(50.0))
        w = np.ones(50)
        assert step(w) is w and np.array_equal(w, 1 + np.arange(50.0))


def test_read_only_arrays_are_an_error() -> None:
    step = compile_grad(lambda w, g: w - g, donate_argnums=0)
    g = np.ones(4)
    for _ in range(5):
        w = np.arange(4.0)
        w.flags.writeable = False
        with pytest.raises(ExecutionError, match="argument 0 is donated, but it is read-only"):
            step(w, g)
        assert np.array_equal(step(np.arange(4.0), g), np.arange(4.0) - 1)


def test_other_strides_and_byte_orders_stay_as_they_are() -> None:
    step = compile_grad(lambda w, g: w - g, donate_argnums=0)
    for _ in range(5):
        w = np.arange(8.0)
        assert np.array_equal(step(w[::2], np.ones(4)), [-1.0, 1.0, 3.0, 5.0]) and np.array_equal(w, np.arange(8.0))
        swapped = np.arange(4.0).astype(">f8")
        assert np.array_equal(step(swapped, np.ones(4)), np.arange(4.0) - 1)
        assert np.array_equal(swapped, np.arange(4.0))


def test_other_lengths_donate_as_well() -> None:
    step = compile_grad(lambda w, g: (w - g, np.sum(w)), donate_argnums=0)
    for size in (5, 9, 31, 64, 1000, 12, 100_000):
        for _ in range(5):
            w, g = rng.normal(size=size), rng.normal(size=size)
            expected = w - g
            found = step(w, g)[0]
            assert found is w and np.array_equal(w, expected)


def test_in_chunks_and_in_tiles() -> None:
    def update(w, g):
        return w - np.exp(np.sin(g)) * np.cos(w)

    def normal(w, g):
        top = np.max(w, axis=1, keepdims=True)
        return np.exp(w - top) / np.sum(np.exp(w - top), axis=1, keepdims=True) + g

    for step, shape in ((update, (300_001,)), (update, (2000, 77)), (normal, (2001, 133))):
        donating, plain = compile_grad(step, donate_argnums=0), compile_grad(step)
        g = rng.normal(size=shape)
        before = gradloom.get_num_threads()
        try:
            for threads in (1, 2):
                gradloom.set_num_threads(threads)
                for _ in range(4):
                    w = rng.normal(size=shape)
                    expected = plain(w.copy(), g)
                    found = donating(w, g)
                    assert np.array_equal(found, expected)
                    assert found is w
        finally:
            gradloom.set_num_threads(before)
        assert donating.stats.chunked or shape == (2000, 77)


def test_arguments_that_do_not_exist() -> None:
    for wrong in (3, "v"):
        with pytest.raises(DifferentiationError):
            compile_grad(lambda w: w + 1.0, donate_argnums=wrong)


class Model:
    def __init__(self) -> None:
        self.rate = 0.5

    @compile_grad(donate_argnums=0)
    def step(self, w, g):
        return w - self.rate * g


def test_methods_do_not_count_self() -> None:
    model = Model()
    for _ in range(5):
        w = np.arange(6.0)
        assert model.step(w, np.ones(6)) is w and np.array_equal(w, np.arange(6.0) - 0.5)


def squared(w):
    return w * w


def test_pickled_it_still_donates() -> None:
    step = pickle.loads(pickle.dumps(compile_grad(squared, donate_argnums=0)))
    w = np.arange(4.0)
    assert step(w) is w and np.array_equal(w, [0.0, 1.0, 4.0, 9.0])


def test_inside_a_trace_nothing_is_donated() -> None:
    step = compile_grad(squared, donate_argnums=0)
    outer = compile_grad(lambda w: step(w) + w)
    w = np.arange(4.0)
    assert np.array_equal(outer(w), w * w + w) and np.array_equal(w, np.arange(4.0))


_PROGRAM = """
import numpy as np
from gradloom import compile_grad
from gradloomc.known import counts

def f(w, g):
    return w - 0.5 * g

step, plain = compile_grad(f, donate_argnums=0), compile_grad(f)
donates, keeps = [], []
for size in 5, 6, 7:  # the later ones by a program for any length
    w = np.arange(float(size))
    keeps.append(plain(w, np.ones(size)) is not w)
    donates.append(step(w, np.ones(size)) is w)
print(all(donates), all(keeps), counts.lowered > 0)
"""


def test_a_program_that_is_found_on_disk_donates(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "GRADLOOM_CACHE_DIR": str(tmp_path)}
    for lowered in "True", "False":
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM], env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.stdout.split() == ["True", "True", lowered], done.stderr
