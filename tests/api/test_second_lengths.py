"""What the first trace says of other lengths: the second length takes one trace where that was guessed right, and gives
right results where it was not. Counted: traces, lowered programs, compiled texts."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import gradloom.exec.executable as executable
import gradloom.program as program
import gradloomc.codegen.native as native
import gradloomc.known as known
from gradloom import compile_grad, value_and_grad
from gradloom.any_length import Traces

Make = Callable[[Any, int], tuple[Any, ...]]


class Work:
    """How often functions were traced, lowered, compiled, since it was last asked."""

    def __init__(self) -> None:
        self.counts = [0, 0, 0]

    def take(self) -> tuple[int, ...]:
        counts, self.counts = tuple(self.counts), [0, 0, 0]
        return counts


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    counted = Work()

    def count(module: Any, function: str, position: int) -> None:
        real = getattr(module, function)

        def counting(*args: Any, **kwargs: Any) -> Any:
            result = real(*args, **kwargs)
            if not isinstance(result, native.Module) or result.source != "memory":
                counted.counts[position] += 1
            return result

        monkeypatch.setattr(module, function, counting)

    count(program, "trace_flat", 0)
    count(executable, "lower", 1)
    count(known, "lower", 1)
    count(executable, "compile_program", 2)
    monkeypatch.setattr(native, "_modules", {})
    monkeypatch.setattr(known, "fingerprint", lambda: "")  # nothing was lowered in another process
    yield counted


def check(fun: Callable[..., Any], args: tuple[Any, ...], found: Any, argnums: Any) -> None:
    """Compare a value and a gradient with NumPy and with a program for these lengths alone."""
    value, gradient = value_and_grad(lambda *each: fun(*each), argnums=argnums)(*args)
    np.testing.assert_allclose(found[0], fun(*args), rtol=1e-10)
    np.testing.assert_allclose(found[0], value, rtol=1e-12)
    pairs = zip(found[1], gradient, strict=True) if isinstance(argnums, tuple) else [(found[1], gradient)]
    for mine, other in pairs:
        assert mine.shape == other.shape and mine.dtype == other.dtype
        np.testing.assert_allclose(mine, other, rtol=1e-11, atol=1e-12)


def chain(x: Any) -> Any:
    y = x
    for _ in range(5):
        y = np.tanh(np.sin(y) * 0.9 + np.cos(x) * 0.1)
    return np.sum(y * y)


def layer_norm(x: Any, scale: Any, shift: Any) -> Any:
    centred = x - np.mean(x, axis=-1, keepdims=True)
    variance = np.mean(centred**2, axis=-1, keepdims=True)
    return np.sum(np.tanh(centred / np.sqrt(variance + 1e-5) * scale + shift))


def lstm_cell(x: Any, hidden: Any, cell: Any, w: Any, u: Any, b: Any) -> Any:
    gates, size = x @ w + hidden @ u + b, hidden.shape[1]
    i, f, o, g = (gates[:, k * size : (k + 1) * size] for k in range(4))
    sigmoid = lambda z: 1 / (1 + np.exp(-z))  # noqa: E731
    cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
    return np.sum(sigmoid(o) * np.tanh(cell))


def mixture(weights: Any, means: Any, logs: Any, x: Any) -> Any:
    distances = np.sum((np.exp(logs) * (x[:, None, :] - means)) ** 2, axis=2)
    inner = weights + np.sum(logs, axis=1) - 0.5 * distances
    largest = np.max(inner, axis=1, keepdims=True)
    return np.sum(np.log(np.sum(np.exp(inner - largest), axis=1)) + largest[:, 0])


def stencil(x: Any) -> Any:
    inner = 4 * x[1:-1, 1:-1] - x[:-2, 1:-1] - x[2:, 1:-1] - x[1:-1, :-2] - x[1:-1, 2:]
    return np.mean(inner**2)


def _arrays(*shapes: Any) -> Make:
    """Return what makes arrays of these shapes, 'n' being the length."""
    return lambda rng, n: tuple(rng.normal(size=[n if each == "n" else each for each in shape]) for shape in shapes)


# Functions, arguments, what is differentiated, and lengths of one class (of a cost model's decisions).
GUESSED: dict[str, tuple[Callable[..., Any], Make, Any, tuple[int, ...]]] = {
    "chain": (chain, _arrays("n"), 0, (100, 120, 150, 97)),
    "short": (chain, _arrays("n"), 0, (10, 11, 12, 9)),
    "layer norm": (layer_norm, _arrays(("n", 48), (48,), (48,)), (0, 1, 2), (100, 120, 90)),
    "mixture": (mixture, _arrays((25,), (25, 10), (25, 10), ("n", 10)), (0, 1, 2), (100, 120, 110)),
    "lstm cell": (
        lstm_cell,
        _arrays(("n", 20), ("n", 32), ("n", 32), (20, 128), (32, 128), (128,)),
        (3, 4, 5),
        (70, 75, 80),
    ),
    "two lengths": (
        lambda x, y: np.sum(x * x) * np.mean(np.sin(y)),
        lambda rng, n: (rng.normal(size=n), rng.normal(size=2 * n + n % 7)),
        (0, 1),
        (100, 120, 111),
    ),
    "squared": (lambda x: np.sum((x[:, None] - x[None, :]) ** 2), _arrays("n"), 0, (100, 120, 110)),
    "square": (lambda a, x: np.sum(np.tanh(a @ x)), _arrays(("n", "n"), "n"), (0, 1), (100, 120, 110)),
    "stencil": (stencil, lambda rng, n: (rng.normal(size=(n, n + 9)),), 0, (100, 104, 108)),
    "ends": (lambda x: np.sum(np.concatenate([x[:1], x, x[-1:]]) ** 2), _arrays("n"), 0, (100, 120, 97)),
    "differences": (lambda x: np.sum(np.diff(x, 2) ** 2), _arrays("n"), 0, (100, 120, 97)),
    "variance": (lambda x: np.var(x), _arrays("n"), 0, (100, 120, 97)),
    "of others": (lambda x: np.sum(x.reshape(-1) ** 3), _arrays(("n", 40)), 0, (100, 120, 97)),
}


@pytest.mark.parametrize("name", GUESSED)
def test_the_second_length_takes_one_trace(name: str, work: Work) -> None:
    fun, make, argnums, lengths = GUESSED[name]
    rng, derived = np.random.default_rng(0), value_and_grad(lambda *args: fun(*args), argnums=argnums)
    results = []
    for position, length in enumerate(lengths):
        args = make(rng, length)
        work.take()
        found = derived(*args)
        counts = work.take()
        if position == 0:
            assert counts[0] == 1
        else:
            assert counts == (position == 1, 0, 0), length
        results.append((args, found))
    for args, found in results:
        check(fun, args, found, argnums)


def _half(x: Any) -> Any:
    return np.sum(np.sin(x.reshape(x.shape[0] // 2, 2))[:, 0])


def _branches(x: Any) -> Any:
    return np.sum(x * x) if x.shape[0] > 110 else np.sum(np.sin(x))


class Asked:
    """Looks at the class of a length, which nothing notes."""

    def __call__(self, x: Any) -> Any:
        return np.sum(np.sin(x)) if type(x.shape[0]) is int else np.sum(x)


# Numbers that are lengths by accident, and lengths that are numbers in the program.
WRONG: dict[str, Callable[..., Any]] = {
    "a number that is the length": lambda x: np.sum(x[:100] ** 3),
    "a number beside the length": lambda x: np.sum(x[:99] ** 3) + np.sum(x[98:]),
    "a number that is half the length": lambda x: np.sum(np.sin(x[:50])) + np.sum(x),
    "an array as long": lambda x: np.sum(x[:100] * np.ones(100)),
    "a table as long": lambda x: np.sum(x[:100] * np.arange(100.0)),
    "a matrix as wide": lambda x: np.sum(np.tanh(np.outer(x, np.ones(100)))),
    "a range": lambda x: np.sum(x * np.arange(len(x))),
    "a divisor": lambda x: np.sum(x * x) / len(x),
    "a factor": lambda x: np.sum(x * x) * x.shape[0] + (1 / x.shape[0]) * np.sum(x),
    "rows of two": _half,
    "a branch": _branches,
    "a class": Asked(),
    "a loop": lambda x: sum(x[i] * i for i in range(x.shape[0] // 10)) + np.sum(x),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("lengths", [(100, 120, 150, 104), (100, 200, 112, 100), (128, 100, 256, 110)])
def test_what_was_guessed_wrong_is_not_used(name: str, lengths: tuple[int, ...]) -> None:
    fun, rng = WRONG[name], np.random.default_rng(1)
    derived = value_and_grad(lambda x: fun(x))
    for length in lengths:
        x = rng.uniform(0.5, 1.5, length)
        check(fun, (x,), derived(x), 0)


def test_transforms_share_the_traces(work: Work) -> None:
    f = compile_grad(lambda x: np.sum(np.sin(x) * x))
    for n, traces in ((100, 1), (120, 1), (90, 0)):
        x = np.linspace(0.0, 1.0, n)
        work.take()
        value, slope, pair = f(x), f.grad(x), f.value_and_grad(x)
        assert work.take()[0] == traces
        np.testing.assert_allclose(slope, np.sin(x) + x * np.cos(x), rtol=1e-12)
        np.testing.assert_array_equal(slope, pair[1])
        assert value == pair[0]


def test_the_function_runs_once_for_each_trace() -> None:
    ticks = iter(range(10))

    def f(x: Any) -> Any:
        next(ticks)
        return np.sum(x * x)

    derived = value_and_grad(f)
    for n in (30, 40, 50, 60):
        assert derived(np.ones(n))[0] == n
    assert next(ticks) == 2


def test_the_first_shapes_are_traced_as_they_are() -> None:
    """What a function keeps from its first call are numbers, and the next lengths see them."""
    kept: dict[str, Any] = {}

    def f(x: Any) -> Any:
        if "scale" not in kept:
            kept["scale"], kept["shape"] = 1 / np.sqrt(x.shape[1]), x.shape
        return np.sum(np.tanh(x * kept["scale"]))

    derived, rng = value_and_grad(f), np.random.default_rng(2)
    for n in (50, 60, 70):
        x = rng.normal(size=(n, 36))
        value, slope = derived(x)
        np.testing.assert_allclose(value, np.sum(np.tanh(x / 6)), rtol=1e-12)
        np.testing.assert_allclose(slope, (1 - np.tanh(x / 6) ** 2) / 6, rtol=1e-12)
    assert kept["shape"] == (50, 36) and type(kept["scale"]) is not object and float(kept["scale"]) == 1 / 6


@pytest.mark.parametrize("lengths", [(1, 2, 3, 40, 17, 0), (0, 1, 50, 2), (3, 2, 1, 30, 31), (2, 200, 100, 1)])
def test_short_lengths_may_come_first(lengths: tuple[int, ...]) -> None:
    fun = lambda x, y: np.sum((x + y) ** 2) + np.sum(x[1:] * x[:-1]) + np.mean(np.append(y, 1.0))  # noqa: E731
    derived, rng = value_and_grad(lambda x, y: fun(x, y), argnums=(0, 1)), np.random.default_rng(3)
    for n in lengths:
        for m in (n, 1):
            args = rng.normal(size=n), rng.normal(size=m)
            check(fun, args, derived(*args), (0, 1))


def test_what_has_to_be_a_number_is_no_symbol() -> None:
    """A table as long as one of the lengths: that one stays a number, the others are lowered for any."""
    f = value_and_grad(lambda x: np.sum(np.sin(x) * np.arange(40.0)))
    rng = np.random.default_rng(4)
    for n in (100, 120, 150):
        x = rng.normal(size=(n, 40))
        np.testing.assert_allclose(f(x)[1], np.cos(x) * np.arange(40.0), rtol=1e-12)
    (traces,) = f.user.traces.values()  # type: ignore[attr-defined]
    assert isinstance(traces, Traces) and traces.guessed is not None
    assert list(traces.guessed.positions) == [0]
    assert traces.found[0].confirmed is traces.guessed
