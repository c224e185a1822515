"""A new length costs nothing but guards: what is traced, lowered and compiled is counted; results are compared with
NumPy and with what is compiled for the length alone."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

import gradloom.exec.executable as executable
import gradloom.program as program
import gradloom.resizing as resizing
import gradloomc.codegen.native as native
import gradloomc.known as known
from gradloom import compile_grad, hessian, value_and_grad, vjp
from gradloom.derived import user_function
from gradloom.function import UserFunction

Make = Callable[..., tuple[Any, ...]]


class Work:
    """How often functions were traced, lowered, compiled."""

    def __init__(self) -> None:
        self.traces = self.lowered = self.compiled = 0

    def take(self) -> tuple[int, int, int]:
        """Return the counts since the last time."""
        counts = (self.traces, self.lowered, self.compiled)
        self.traces = self.lowered = self.compiled = 0
        return counts


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    counted = Work()

    def count(module: Any, function: str, name: str) -> None:
        real = getattr(module, function)

        def counting(*args: Any, **kwargs: Any) -> Any:
            result = real(*args, **kwargs)
            if not isinstance(result, native.Module) or result.source != "memory":
                setattr(counted, name, getattr(counted, name) + 1)
            return result

        monkeypatch.setattr(module, function, counting)

    count(program, "trace_flat", "traces")
    count(executable, "lower", "lowered")
    count(known, "lower", "lowered")
    count(executable, "compile_program", "compiled")
    monkeypatch.setattr(native, "_modules", {})
    monkeypatch.setattr(known, "fingerprint", lambda: "")  # nothing was lowered in another process
    yield counted


def family_of(fun: Any) -> Any:
    """Return the only family of programs of a user's function."""
    user: UserFunction = user_function(fun)[0]
    (family,) = user.families.values()
    return family


def check_alone(fun: Callable[..., Any], args: tuple[Any, ...], found: Any, argnums: Any) -> None:
    """Compare value and gradient with a program that was compiled for these lengths alone."""
    alone = value_and_grad(lambda *each: fun(*each), argnums=argnums)(*args)
    np.testing.assert_allclose(found[0], fun(*args), rtol=1e-10, atol=1e-12)
    for mine, other in zip(_tuple(found[1]), _tuple(alone[1]), strict=True):
        assert mine.shape == other.shape and mine.dtype == other.dtype
        np.testing.assert_allclose(mine, other, rtol=1e-12, atol=1e-13)


def _tuple(x: Any) -> tuple[Any, ...]:
    return x if isinstance(x, tuple) else (x,)


def rosenbrock(x: Any) -> Any:
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def black_scholes(spot: Any, strike: Any, time: Any) -> Any:
    d1 = (np.log(spot / strike) + 0.065 * time) / (0.3 * np.sqrt(time))
    d2 = d1 - 0.3 * np.sqrt(time)
    return np.mean(spot / (1 + np.exp(-1.702 * d1)) - strike * np.exp(-0.02 * time) / (1 + np.exp(-1.702 * d2)))


def logistic(w: Any, x: Any, y: Any) -> Any:
    p = 1 / (1 + np.exp(-(x @ w)))
    return -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p))


def softmax(x: Any) -> Any:
    e = np.exp(x - np.max(x, axis=1, keepdims=True))
    return np.sum((e / np.sum(e, axis=1, keepdims=True)) ** 2)


def net(w1: Any, b1: Any, w2: Any, x: Any, y: Any) -> Any:
    return np.mean((np.tanh(x @ w1 + b1) @ w2 - y) ** 2)


class Case(NamedTuple):
    fun: Callable[..., Any]
    make: Make
    argnums: Any
    lengths: tuple[Any, ...]


def _one(rng: Any, n: int) -> tuple[Any, ...]:
    return (rng.uniform(0.5, 1.5, n),)


CASES = {
    "rosenbrock": Case(rosenbrock, _one, 0, (100, 120, 150, 97, 250, 249)),
    "black-scholes": Case(
        black_scholes,
        lambda rng, n: tuple(rng.uniform(0.5, 1.5, n) for _ in range(3)),
        (0, 1, 2),
        (100, 120, 150, 97, 251, 130),
    ),
    "logistic": Case(
        logistic,
        lambda rng, n: (rng.normal(size=7), rng.normal(size=(n, 7)), rng.integers(0, 2, n).astype(float)),
        0,
        (100, 120, 150, 97, 200),
    ),
    "softmax": Case(softmax, lambda rng, n: (rng.normal(size=n),), 0, ((70, 30), (80, 33), (90, 41), (71, 60))),
    "net": Case(
        net,
        lambda rng, n: (
            rng.normal(size=(5, 16)),
            rng.normal(size=16),
            rng.normal(size=16),
            rng.normal(size=(n, 5)),
            rng.normal(size=n),
        ),
        (0, 1, 2),
        (100, 120, 150, 97, 200),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_later_lengths_are_neither_traced_nor_lowered_nor_compiled(name: str, work: Work) -> None:
    fun, make, argnums, lengths = CASES[name]
    rng = np.random.default_rng(0)
    derived = value_and_grad(lambda *args: fun(*args), argnums=argnums)
    results = []
    for position, length in enumerate(lengths):
        args = make(rng, length)
        work.take()
        found = derived(*args)
        results.append((args, found))
        counts = work.take()
        if position == 0:
            assert counts[:2] == (1, 1)
        elif position == 1:
            assert counts == (1, 0, 0), "the second length: one trace, as a check"
        elif position > 1:
            assert counts == (0, 0, 0)
    for args, found in results:
        check_alone(fun, args, found, argnums)


LONG = {"rosenbrock": (300_000, 310_001, 500_003), "net": (30_000, 31_001, 32_500)}


@pytest.mark.parametrize(("name", "lengths"), LONG.items())
def test_lengths_worth_several_threads_give_the_same_bits(name: str, lengths: tuple[int, ...], work: Work) -> None:
    fun, make, argnums, _ = CASES[name]
    rng = np.random.default_rng(6)
    derived = value_and_grad(lambda *args: fun(*args), argnums=argnums)
    for position, length in enumerate(lengths):
        args = make(rng, length)
        work.take()
        value, gradients = derived(*args)
        assert position < 2 or work.take() == (0, 0, 0)
        other, slopes = value_and_grad(lambda *each: fun(*each), argnums=argnums)(*args)
        assert value == other
        for mine, alone in zip(_tuple(gradients), _tuple(slopes), strict=True):
            np.testing.assert_array_equal(mine, alone)


LENGTHS = (20, 30, 2, 3, 7, 8, 9, 15, 16, 17, 40, 300, 1, 0, 1000, 41, 33000, 33001)


def _branches(x: Any) -> Any:
    return np.sum(x * x) if x.shape[0] > 16 else np.sum(np.sin(x))


def _special(x: Any) -> Any:
    return np.sum(x) if len(x) == 17 else np.sum(x**3)


def _filled(x: Any) -> Any:
    out = np.zeros(len(x) + 2)
    out[1:-1] = x * x
    return np.sum(out[2:] * out[:-2])


def _pairs(x: Any) -> Any:
    d = x[:, None] - x[None, :]
    return np.sum(d * d * np.eye(len(x), k=1))


ODD: dict[str, Callable[..., Any]] = {
    "mean": lambda x: np.mean(x * x),
    "var": lambda x: np.var(x),
    "std": lambda x: np.std(x, ddof=1),
    "arange": lambda x: np.sum(x * np.arange(len(x))),
    "arange of floats": lambda x: np.sum(np.sin(x * np.arange(1.0, x.shape[0] + 1.0))),
    "linspace": lambda x: np.sum(x * np.linspace(0.0, 2.0, x.shape[0])),
    "ones": lambda x: np.sum(x @ np.ones((len(x), 3))),
    "zeros": _filled,
    "arithmetic": lambda x: np.sum(x) / x.shape[0] + 0.5 * x.size * np.log(2.0) - np.sqrt(len(x)) * np.sum(x * x),
    "integers": lambda x: np.sum(x * (x.shape[0] // 3)) + np.sum(x[: len(x) // 2]),
    "branch": _branches,
    "special": _special,
    "reversed": lambda x: np.sum(x[::-1] * x**2),
    "every second": lambda x: np.sum(x[::2] ** 3) + np.sum(np.sin(x[1::2])),
    "inner": lambda x: np.sum(x[1:-1] ** 3),
    "last": lambda x: np.sum(x * x) * (x[-1] if x.shape[0] else 1.0),
    "roll": lambda x: np.sum(np.roll(x, 1) * np.sin(x)),
    "concatenate": lambda x: np.sum(np.concatenate([x * x, x[:1], 2 * x]) ** 2),
    "reshape": lambda x: np.sum(np.sin(x).reshape(-1, 1) * np.ones(3)),
    "cumsum": lambda x: np.sum(np.cumsum(x) ** 2),
    "loop": lambda x: sum(x[i] * i for i in range(min(x.shape[0], 40))) + np.sum(x),
    "extrema": lambda x: np.max(x) * np.min(x * x) if x.size else np.sum(x),
    "outer": _pairs,
    "gather": lambda x: np.sum(x[np.array([0, 1, 1])] * np.sum(x * x)) if x.shape[0] > 1 else np.sum(x),
    "diff": lambda x: np.sum(np.diff(x, 2) ** 2) if len(x) > 2 else np.sum(x),
    "list": lambda x: np.sum(np.stack([x, x * x])[:, 0:1]) if len(x) else np.sum(x),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ODD)
def test_every_length_gives_what_it_gives_alone(name: str) -> None:
    fun = ODD[name]
    rng = np.random.default_rng(1)
    derived = value_and_grad(lambda x: fun(x))
    for length in LENGTHS:
        if name == "outer" and length > 1000:
            continue
        x = rng.uniform(0.5, 1.5, length)
        alone = value_and_grad(lambda x: fun(x))
        try:
            value, gradient = alone(x)
        except Exception as error:  # the length is too small for the function: it says so in either way
            with pytest.raises(type(error)):
                derived(x)
            continue
        found, slope = derived(x)
        np.testing.assert_allclose(found, value, rtol=1e-12, err_msg=f"{name} of {length}")
        np.testing.assert_allclose(slope, gradient, rtol=1e-10, atol=1e-12, err_msg=f"{name} of {length}")
        assert slope.shape == x.shape


RESIZED = sorted(set(ODD) - {"loop", "arange of floats"})


@pytest.mark.parametrize("name", RESIZED)
def test_lengths_between_others_are_not_traced(name: str, work: Work) -> None:
    fun, rng = ODD[name], np.random.default_rng(2)
    derived = value_and_grad(lambda x: fun(x))
    for length in (40, 48):
        derived(rng.uniform(0.5, 1.5, length))
    work.take()
    for length in (44, 52, 56):
        derived(rng.uniform(0.5, 1.5, length))
    assert work.take() == (0, 0, 0)


def test_a_loop_over_a_length_is_compiled_for_each_and_explain_says_so() -> None:
    @compile_grad
    def f(x: Any) -> Any:
        total = 0.0
        for i in range(x.shape[0]):
            total = total + x[i] * i
        return total

    for n in (3, 5, 7, 3):
        np.testing.assert_array_equal(f.grad(np.ones(n)), np.arange(n))
    assert "plain int" in family_of(f).refused and "test_lengths.py" in family_of(f).refused
    assert "compiled for each length: the use of a length as a plain int" in f.explain()


def test_lengths_that_are_equal_by_accident_stay_apart() -> None:
    f = value_and_grad(lambda x, y: np.sum(x * x) * np.mean(y), argnums=(0, 1))
    rng = np.random.default_rng(3)
    for n, m in ((40, 40), (50, 50), (60, 60), (50, 70), (60, 80), (61, 61), (62, 30)):
        x, y = rng.normal(size=n), rng.normal(size=m)
        _, (dx, dy) = f(x, y)
        np.testing.assert_allclose(dx, 2 * x * y.mean(), rtol=1e-12)
        np.testing.assert_allclose(dy, np.full(m, np.sum(x * x) / m), rtol=1e-12)


def test_a_length_that_becomes_one_broadcasts() -> None:
    f = value_and_grad(lambda x, y: np.sum((x + y) ** 2), argnums=(0, 1))
    rng = np.random.default_rng(4)
    for n, m in ((40, 40), (50, 50), (60, 60), (60, 1), (70, 1), (80, 1), (1, 80), (1, 1), (33, 33)):
        x, y = rng.normal(size=n), rng.normal(size=m)
        _, (dx, dy) = f(x, y)
        both = 2 * (x + y)
        np.testing.assert_allclose(dx, both if n >= m else both.sum(keepdims=True), rtol=1e-10)
        np.testing.assert_allclose(dy, both if m >= n else both.sum(keepdims=True), rtol=1e-10)
    with pytest.raises(ValueError, match="broadcast"):
        f(np.ones(60), np.ones(61))


def test_a_global_that_changes_is_seen() -> None:
    scale = [2.0]
    constants = {"scale": 2.0}

    def f(x: Any) -> Any:
        return np.sum(x * constants["scale"]) * scale[0]

    derived = value_and_grad(f)
    for n in (10, 20, 30):
        assert derived(np.ones(n))[0] == 4.0 * n


def test_captured_arrays_are_passed_by_reference() -> None:
    table = np.arange(50.0)
    derived = value_and_grad(lambda x: np.sum(x) * np.sum(table))
    for n in (10, 20, 30):
        assert derived(np.ones(n))[0] == n * table.sum()
    table[0] = 100.0
    assert derived(np.ones(40))[0] == 40 * table.sum()
    assert derived(np.ones(30))[0] == 30 * table.sum()


def test_other_transforms_and_containers() -> None:
    def f(params: Any, x: Any) -> Any:
        return np.mean((x @ params["w"] + params["b"]) ** 2)

    rng = np.random.default_rng(5)
    derived = compile_grad(f)
    for n in (10, 20, 30, 35):
        params, x = {"w": rng.normal(size=4), "b": 0.5}, rng.normal(size=(n, 4))
        gradient = derived.grad(params, x)
        residual = 2 * (x @ params["w"] + params["b"]) / n
        np.testing.assert_allclose(gradient["w"], x.T @ residual, rtol=1e-10)
        np.testing.assert_allclose(gradient["b"], residual.sum(), rtol=1e-10)
    for n in (3, 4, 5):
        np.testing.assert_allclose(hessian(lambda x: np.sum(x**3))(np.arange(n) + 1.0), 6 * np.diag(np.arange(n) + 1.0))
    for n in (30, 40, 50):
        out, pull = vjp(np.sin, np.ones(n))
        np.testing.assert_allclose(pull(np.ones(n))[0], np.cos(np.ones(n)))
        assert out.shape == (n,)


def test_floats_of_single_precision_keep_their_dtype() -> None:
    f = value_and_grad(lambda x: np.sum(x * len(x)) / x.size + np.mean(x))
    for n in (10, 20, 30):
        value, gradient = f(np.ones(n, np.float32))
        assert value.dtype == gradient.dtype == np.float32
        np.testing.assert_allclose(gradient, np.full(n, 1 + 1 / n), rtol=1e-6)


def test_programs_for_many_lengths_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resizing, "KEPT", 8)
    derived = value_and_grad(lambda x: np.mean(x * x))
    user = user_function(derived)[0]
    for n in range(40, 80):
        for _ in range(3):
            value, gradient = derived(np.ones(n))
            assert value == 1.0 and gradient.shape == (n,)
            np.testing.assert_allclose(gradient, 2 / n)
        assert len(user.programs) <= 10


def test_both_texts_and_explain_are_of_the_length_that_ran() -> None:
    @compile_grad
    def f(x: Any) -> Any:
        return np.mean(x * x)

    for n in (10, 20, 30):
        f.grad(np.ones(n))
    assert "tensor<30xf64>" in f.ir("nd") and "tensor<30xf64>" in f.ir("adjoint") and "array<i64: 30>" in f.ir("loops")
    text = f.explain()
    assert "tensor<30xf64>" in text and "serves other lengths" in text and "n0" in text
