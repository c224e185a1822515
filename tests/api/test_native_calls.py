"""Calls that go straight into native code mean what they meant in Python: guards, containers, keywords, tracing."""

import copy
import gc
import inspect
import pickle
import sys
import threading
import types
import weakref
from collections import namedtuple
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import gradloom
from gradloom import compile_grad
from gradloom.exec.callable import NativeCallable
from gradloom.exec.executable import BINDER_FROM_CALL
from gradloom.function import Derived
from gradloomc.ir.errors import UnsupportedError

pytestmark = pytest.mark.skipif(not NativeCallable.has_place, reason="this interpreter has no native entry")

X = np.array([1.0, 2.0, 3.0])


@pytest.fixture
def general_calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Count the calls that native code did not answer: those that look for a program."""
    found: list[Any] = []
    general = Derived.__call__

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        found.append(self)
        return general(self, *args, **kwargs)

    monkeypatch.setattr(Derived, "__call__", counted)
    yield found


def settle(call: Any) -> Any:
    """Call until native code answers."""
    for _ in range(BINDER_FROM_CALL + 1):
        call()
    return call()


def assert_native(general_calls: list[Any], call: Any) -> Any:
    settle(call)
    before = len(general_calls)
    result = call()
    assert len(general_calls) == before
    return result


def assert_general(general_calls: list[Any], call: Any) -> Any:
    before = len(general_calls)
    result = call()
    assert len(general_calls) > before
    return result


def function_in(scope: dict[str, Any], source: str) -> Any:
    exec(source, scope)
    return compile_grad(scope["f"])


# --- what is passed -------------------------------------------------------------------------------


@compile_grad
def many(x: Any, y: Any = 1.0, *rest: Any, z: Any = None, power: int = 2, **more: Any) -> Any:
    total = np.sum(x**power) * y
    if z is not None:
        total = total + z["a"][0] * np.sum(z["b"])
    return total + sum(np.sum(each) for each in (*rest, *more.values()))


Z = {"a": [2.0, None], "b": (X, {"c": X, "d": []})}
CALLS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "array": ((X,), {}),
    "float": ((X, 2.5), {}),
    "NumPy scalar": ((X, np.float64(2.5)), {}),
    "0-d": ((X, np.array(2.5)), {}),
    "float32": ((X.astype(np.float32), np.float32(2.5)), {}),
    "int": ((X, 3), {}),
    "bool": ((X, True), {}),
    "keyword": ((X,), {"y": 2.5}),
    "keywords in another order": ((), {"power": 3, "y": 2.5, "x": X}),
    "more": ((X, 1.0, X, 2 * X), {"w": X, "power": 1}),
    "None": ((X,), {"z": None}),
    "integers": ((X.astype(np.int64), 2), {"power": 1}),
}


@pytest.mark.parametrize("name", CALLS)
def test_arguments(name: str, general_calls: list[Any]) -> None:
    args, kwargs = CALLS[name]
    expected = many.user.fun(*args, **kwargs)
    found = assert_native(general_calls, lambda: many(*args, **kwargs))
    np.testing.assert_allclose(found, expected)
    assert type(found) is type(expected) or isinstance(expected, int)


@compile_grad
def nested(params: Any, x: Any) -> Any:
    return np.sum(params["w"][0] * x) + params["b"][1] * np.sum(params["w"][1]["inner"])


def nested_arguments(scale: float = 1.0) -> Any:
    return {"w": [X * scale, {"inner": X}], "b": (None, 2.0)}


def test_containers(general_calls: list[Any]) -> None:
    params = nested_arguments()
    value, gradient = assert_native(general_calls, lambda: nested.value_and_grad(params, X))
    assert value == 14.0 + 12.0
    assert list(gradient) == ["w", "b"] and type(gradient["w"]) is list and type(gradient["b"]) is tuple
    np.testing.assert_array_equal(gradient["w"][0], X)
    np.testing.assert_array_equal(gradient["w"][1]["inner"], [2.0] * 3)
    assert gradient["b"] == (None, 6.0) and type(gradient["b"][1]) is np.float64
    before = [sys.getrefcount(part) for part in (params, params["w"], params["w"][0], X, None)]
    for _ in range(1000):
        nested.value_and_grad(params, X)
    after = [sys.getrefcount(part) for part in (params, params["w"], params["w"][0], X, None)]
    assert all(abs(a - b) < 50 for a, b in zip(after, before, strict=True))


@pytest.mark.parametrize(
    "other",
    [
        {"b": (None, 2.0), "w": [X, {"inner": X}]},  # another order
        {"w": (X, {"inner": X}), "b": (None, 2.0)},  # another container
        {"w": [X, {"inner": X}], "b": (1.0, 2.0)},
        {"w": [X, {"inner": X}, X], "b": (None, 2.0)},
        {"w": [X, {"inner": X, "more": X}], "b": (None, 2.0)},
        {"w": [X, {"inner": X[:2]}], "b": (None, 2.0)},
        {"w": [X, {"inner": X}], "b": [None, np.float64(2.0)]},
    ],
)
def test_other_containers_are_noticed(other: Any, general_calls: list[Any]) -> None:
    settle(lambda: nested(nested_arguments(), X))
    expected = nested.user.fun(other, X)
    np.testing.assert_allclose(assert_general(general_calls, lambda: nested(other, X)), expected)
    np.testing.assert_allclose(assert_native(general_calls, lambda: nested(other, X)), expected)
    np.testing.assert_allclose(assert_native(general_calls, lambda: nested(nested_arguments(), X)), 26.0)


def test_keys_that_are_equal_but_not_the_same(general_calls: list[Any]) -> None:
    f = compile_grad(lambda p: np.sum(p["".join(["ke", "y"])]))
    settle(lambda: f({"key": X}))
    assert assert_native(general_calls, lambda: f({"".join(["k", "ey"]): X})) == 6.0


def test_several_shapes_at_once(general_calls: list[Any]) -> None:
    f = compile_grad(lambda x: np.sum(x * x))
    arrays = [np.ones(n) for n in (3, 5, 7, 9)]
    settle(lambda: [f(x) for x in arrays])
    assert assert_native(general_calls, lambda: [f(x) for x in arrays]) == [3.0, 5.0, 7.0, 9.0]
    many_shapes = [np.ones(n) for n in range(3, 23)]
    assert settle(lambda: [f(x) for x in many_shapes]) == [float(n) for n in range(3, 23)]


def test_static_arguments_are_compared(general_calls: list[Any]) -> None:
    f = compile_grad(lambda x, n, name="sum": getattr(np, name)(x) * n)
    assert assert_native(general_calls, lambda: f(X, 1000)) == 6000.0
    assert assert_native(general_calls, lambda: f(X, int("1000"))) == 6000.0  # another object of the same value
    assert assert_general(general_calls, lambda: f(X, 1001)) == 6006.0
    assert assert_general(general_calls, lambda: f(X, True)) == 6.0
    assert assert_native(general_calls, lambda: f(X, 2, "".join(["me", "an"]))) == 4.0
    assert assert_general(general_calls, lambda: f(X, 2, "max")) == 6.0


@pytest.mark.parametrize(
    "given",
    [X[::-1], np.arange(6.0)[::2], X.astype(">f8"), np.broadcast_to(np.float64(2.0), (3,))],
    ids=["reversed", "strided", "big-endian", "broadcast"],
)
def test_other_layouts_take_the_general_path(given: np.ndarray, general_calls: list[Any]) -> None:
    f = compile_grad(lambda x: np.sum(x * np.array([1.0, 10.0, 100.0])))
    settle(lambda: f.value_and_grad(X))
    for _ in range(BINDER_FROM_CALL + 2):
        value, gradient = assert_general(general_calls, lambda: f.value_and_grad(given))
        assert value == given[0] + 10 * given[1] + 100 * given[2] and gradient.tolist() == [1.0, 10.0, 100.0]


def test_what_cannot_be_an_argument_still_says_so() -> None:
    f = compile_grad(lambda x: np.sum(x))
    settle(lambda: f(X))
    with pytest.raises(UnsupportedError, match="mask"):
        f(np.ma.masked_array(X))
    with pytest.raises(TypeError, match="positional"):
        f(X, X)
    with pytest.raises(TypeError, match="unexpected keyword"):
        f(X, y=X)


def test_results_of_every_structure(general_calls: list[Any]) -> None:
    Pair = namedtuple("Pair", "first second")
    label = object()

    @compile_grad
    def f(x: Any) -> Any:
        total = np.sum(x)
        return {"a": [x, (total,)], "b": None, "c": (), "d": label, "e": Pair(total, x + 1), 7: total > 0}

    for _ in range(3):
        found = assert_native(general_calls, lambda: f(X))
        assert list(found) == ["a", "b", "c", "d", "e", 7] and found["b"] is None and found["c"] == ()
        assert found["d"] is label and type(found["e"]) is Pair and type(found["a"][1][0]) is np.float64
        assert found[7] == np.True_ and type(found[7]) is np.bool_
        np.testing.assert_array_equal(found["e"].second, X + 1)
    first, second = f(X), f(X)
    first["a"][0][:] = 0
    np.testing.assert_array_equal(second["a"][0], X)

    lists = compile_grad(lambda x: {"a": [x, (np.sum(x),)], "b": None, "c": {}})
    found = assert_native(general_calls, lambda: lists(X))
    assert found["c"] == {} and found["b"] is None and found["a"][1] == (6.0,)
    assert compile_grad(lambda x: None)(X) is None


# --- products along tangents ----------------------------------------------------------------------


def quadratic(p: Any, x: Any, scale: Any = 2.0) -> Any:
    return np.sum(p["w"] ** 3 * x) * scale + p["b"] ** 2


W = np.array([0.5, 1.0, 1.5])
POINT = ({"w": W, "b": np.float64(3.0)}, X)
DIRECTIONS: dict[str, Any] = {
    "all": ({"w": X, "b": 2.0}, X),
    "first": ({"w": X, "b": np.array(2.0)}, None),
    "second": (None, X),
    "part": ({"w": None, "b": 2.0}, None),
    "list": [{"w": X, "b": 2.0}, X],
    "strided": ({"w": X[::-1], "b": 2.0}, None),
    "integer": ({"w": X, "b": 2}, None),
}


@pytest.mark.parametrize("has_aux", [False, True])
@pytest.mark.parametrize("name", DIRECTIONS)
def test_products_along_tangents(name: str, has_aux: bool, general_calls: list[Any]) -> None:
    def fun(p: Any, x: Any) -> Any:
        value = quadratic(p, x)
        return (value, {"aux": x * 2}) if has_aux else value

    directions = DIRECTIONS[name]
    calls = [lambda: gradloom.jvp(fun, POINT, directions, has_aux=has_aux)]
    if not has_aux:
        calls.append(lambda: gradloom.hvp(fun, POINT, directions))
    natively = name not in ("part", "strided", "integer")
    for call in calls:
        expected = call()
        found = assert_native(general_calls, call) if natively else settle(call)
        assert repr(found) == repr(expected)
    value, tangent, *_ = calls[0]()
    step = 1e-6
    v = {name: 0.0 if part is None else part for name, part in (directions[0] or {"w": None, "b": None}).items()}
    u = 0.0 if directions[1] is None else directions[1]
    ends = [quadratic({k: POINT[0][k] + s * v[k] for k in v}, X + s * u) for s in (-step, step)]
    np.testing.assert_allclose(tangent, (ends[1] - ends[0]) / (2 * step), rtol=1e-6)
    np.testing.assert_allclose(value, quadratic(*POINT))


def test_products_of_compiled_functions_and_of_methods(general_calls: list[Any]) -> None:
    f = compile_grad(lambda x: np.sum(x**4) + np.sum(x))
    for call in (
        lambda: f.hvp((X,), (W,)),
        lambda: gradloom.hvp(f, (X,), (W,)),
        lambda: gradloom.hvp(lambda x: f(x), (X,), (W,)),
    ):
        np.testing.assert_allclose(settle(call), 12 * X**2 * W)
    np.testing.assert_allclose(assert_native(general_calls, lambda: f.hvp((X,), (W,))), 12 * X**2 * W)
    value, tangent = assert_native(general_calls, lambda: f.jvp((X,), (W,)))
    np.testing.assert_allclose((value, tangent), (np.sum(X**4 + X), np.sum((4 * X**3 + 1) * W)))
    np.testing.assert_allclose(assert_native(general_calls, lambda: gradloom.jvp(f.grad, (X,), (W,))[1]), 12 * X**2 * W)
    with_aux = compile_grad(lambda x: (np.sum(x**4), x), has_aux=True)
    np.testing.assert_allclose(assert_native(general_calls, lambda: with_aux.hvp((X,), (W,))), 12 * X**2 * W)
    for wrong, error in (((W, W), ValueError), ((W.astype(np.float32),), TypeError), ((W[:2],), ValueError)):
        with pytest.raises(error):
            gradloom.jvp(f, (X,), wrong)


def test_products_notice_what_is_bound_anew(general_calls: list[Any]) -> None:
    scale = 1.0
    f = compile_grad(lambda x: np.sum(x**3) * scale)
    np.testing.assert_allclose(assert_native(general_calls, lambda: gradloom.hvp(f, (X,), (W,))), 6 * X * W)
    scale = 2.0
    np.testing.assert_allclose(assert_native(general_calls, lambda: gradloom.hvp(f, (X,), (W,))), 12 * X * W)


# --- what is read besides -------------------------------------------------------------------------


def test_globals_are_compared(general_calls: list[Any]) -> None:
    scope: dict[str, Any] = {"np": np, "SCALE": 2.0, "TABLE": np.arange(3.0), "SETTINGS": {"a": [1.0, {"b": 2.0}]}}
    f = function_in(scope, "def f(x): return np.sum(x * TABLE) * SCALE * SETTINGS['a'][0] * SETTINGS['a'][1]['b']")
    assert assert_native(general_calls, lambda: f(X)) == 8 * 2 * 2.0
    scope["unrelated"] = 1
    assert assert_native(general_calls, lambda: f(X)) == 32.0
    changes: list[Any] = [
        lambda: scope.update(SCALE=3.0),
        lambda: scope.update(TABLE=np.ones(3)),
        lambda: scope["TABLE"].__setitem__(1, 5.0),
        lambda: scope["SETTINGS"]["a"].__setitem__(0, 4.0),
        lambda: scope["SETTINGS"]["a"][1].__setitem__("b", 7.0),
        lambda: scope["SETTINGS"].__setitem__("a", [1.0, {"b": 1.0}]),
        lambda: scope["SETTINGS"]["a"].append(1.0),
    ]
    for change in changes:
        change()
        expected = f.user.fun(X)
        assert f(X) == expected
        assert assert_native(general_calls, lambda: f(X)) == expected
    del scope["SCALE"]
    with pytest.raises(NameError):
        f(X)
    scope["SCALE"] = 1.0
    assert f(X) == f.user.fun(X)


def test_closures_and_helpers_are_compared(general_calls: list[Any]) -> None:
    scale = 2.0

    def first(x: Any) -> Any:
        return x * scale

    helper = first
    f = compile_grad(lambda x: np.sum(helper(x)))
    assert assert_native(general_calls, lambda: f(X)) == 12.0
    scale = 5.0
    assert f(X) == 30.0
    assert assert_native(general_calls, lambda: f(X)) == 30.0

    def other(x: Any) -> Any:
        return x + 1

    helper = other
    assert f(X) == 9.0


def test_containers_of_other_kinds_are_compared_in_python(general_calls: list[Any]) -> None:
    settings = types.SimpleNamespace(scale=2.0)
    f = compile_grad(lambda x: np.sum(x) * settings.scale)
    assert assert_native(general_calls, lambda: f(X)) == 12.0
    settings.scale = 3.0
    assert f(X) == 18.0
    assert assert_native(general_calls, lambda: f(X)) == 18.0


def test_captured_arrays_are_passed(general_calls: list[Any]) -> None:
    table = np.arange(3.0)
    f = compile_grad(lambda x: np.sum(x * table))
    assert assert_native(general_calls, lambda: f(X)) == 8.0
    table[:] = 1.0
    assert f(X) == 6.0
    table = np.arange(3.0)[::-1]
    assert settle(lambda: f(X)) == 4.0


def test_a_cleared_cache_is_empty(general_calls: list[Any]) -> None:
    f = compile_grad(lambda x: np.sum(x))
    settle(lambda: f.value_and_grad(X))
    f.cache_clear()
    assert f.cache_info().programs == f.cache_info().hits == 0
    assert_general(general_calls, lambda: f.value_and_grad(X))
    assert f.cache_info().misses == 1


def test_calls_are_counted_and_remembered(general_calls: list[Any]) -> None:
    f = compile_grad(lambda x: np.sum(x * x))
    settle(lambda: (f(X), f.grad(X)))
    hits = f.cache_info().hits
    f(X)
    value_program = f.user.last
    f.grad(X)
    assert f.user.last is not value_program and f.cache_info().hits == hits + 2
    f(X)
    assert f.user.last is value_program and "f64" in f.explain()
    f.cache_clear()
    assert f.user.last is value_program


# --- where it is called ---------------------------------------------------------------------------


def test_inside_a_trace_it_is_part_of_it(general_calls: list[Any]) -> None:
    inner = compile_grad(lambda x: np.sum(x**3))
    settle(lambda: inner.grad(X))
    outer = compile_grad(lambda x, y: np.sum(inner.grad(x) * y) + np.sum(inner.grad(X)))  # also with plain arrays
    value, gradient = assert_native(general_calls, lambda: outer.value_and_grad(X, X))
    np.testing.assert_allclose(value, np.sum(3 * X**3) + np.sum(3 * X**2))
    np.testing.assert_allclose(gradient, 6 * X * X)


def test_while_another_thread_traces(general_calls: list[Any]) -> None:
    f = compile_grad(lambda x: np.sum(x * x))
    settle(lambda: f(X))
    inside, go_on = threading.Event(), threading.Event()

    @compile_grad
    def slow(x: Any) -> Any:
        inside.set()
        assert go_on.wait(60)
        return np.sum(x)

    thread = threading.Thread(target=slow, args=(X,))
    thread.start()
    assert inside.wait(60)
    try:
        assert assert_general(general_calls, lambda: f(X)) == 14.0
    finally:
        go_on.set()
        thread.join()
    assert assert_native(general_calls, lambda: f(X)) == 14.0


def test_tensors_are_arguments_of_their_own() -> None:
    f = compile_grad(lambda x: np.sum(x * x))
    settle(lambda: f(X))
    t = gradloom.tensor(X.tolist(), dtype=gradloom.float64, requires_grad=True)
    f(t).backward()
    np.testing.assert_allclose(t.grad.numpy(), 2 * X)
    assert f(X) == 14.0


def test_numpys_error_state_does_not_matter(general_calls: list[Any]) -> None:
    f = compile_grad(lambda x: np.sum(1 / x))
    zero = np.array([0.0, 1.0, 2.0])
    with np.errstate(all="raise"):
        assert assert_native(general_calls, lambda: f(zero)) == np.inf


def test_a_finalizer_calls_what_is_being_called() -> None:
    f = compile_grad(lambda x: {"sum": np.sum(x), "parts": [x, (x + 1,)]})
    seen = []

    class Calls:
        def __init__(self) -> None:
            self.own = self

        def __del__(self) -> None:
            seen.append(f(X)["sum"])

    thresholds = gc.get_threshold()
    try:
        gc.set_threshold(1)
        for k in range(3, 60):
            Calls()
            assert f(np.ones(k % 20 + 3))["sum"] == k % 20 + 3
    finally:
        gc.set_threshold(*thresholds)
        gc.collect()
    assert seen == [6.0] * 57


def test_one_object_in_many_threads() -> None:
    scale = 1.0
    f = compile_grad(lambda x: np.sum(x * scale))
    arrays = {n: np.ones(n) for n in (5, 50, 20_000)}
    wrong: list[Any] = []
    stop = threading.Event()

    def work(n: int) -> None:
        while not stop.is_set():
            value, gradient = f.value_and_grad(arrays[n])
            if gradient.shape != (n,) or value not in (n, 2 * n):
                wrong.append((n, value))

    threads = [threading.Thread(target=work, args=(n,)) for n in arrays]
    for thread in threads:
        thread.start()
    try:
        for k in range(20):  # what it reads is bound anew, and its programs forgotten, under the threads' feet
            scale = 1.0 + k % 2
            f.cache_clear()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert wrong == []


# --- the object -----------------------------------------------------------------------------------


@compile_grad
def documented(x: Any, y: float = 1.0) -> Any:
    """Say what it does."""
    return np.sum(x) * y


def test_it_still_looks_like_the_function() -> None:
    settle(lambda: documented(X))
    assert documented.__name__ == "documented" and documented.__doc__ == "Say what it does."
    assert list(inspect.signature(documented).parameters) == ["x", "y"]
    assert repr(documented) == "<gradloom compiled documented>" and callable(documented)
    assert isinstance(documented, Derived) and isinstance(documented.grad, Derived)
    assert pickle.loads(pickle.dumps(documented)) is documented
    again = copy.deepcopy(documented.grad)
    np.testing.assert_array_equal(settle(lambda: again(X)), np.ones(3))
    assert weakref.ref(documented)() is documented
    documented.note = "mine"  # type: ignore[attr-defined]
    assert vars(documented)["note"] == "mine"
    assert settle(lambda: list(map(documented, [X, X]))) == [6.0, 6.0]
    assert documented(*[X], **{"y": 2.0}) == 12.0


def test_a_subclass_with_its_own_call_keeps_it() -> None:
    class Doubled(type(documented)):  # type: ignore[misc]
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return 2 * super().__call__(*args, **kwargs)

    f = Doubled(lambda x: np.sum(x))
    assert [f(X) for _ in range(BINDER_FROM_CALL + 3)] == [12.0] * (BINDER_FROM_CALL + 3)


def test_methods(general_calls: list[Any]) -> None:
    class Model:
        def __init__(self, scale: float):
            self.scale = scale

        @compile_grad
        def loss(self, x: Any) -> Any:
            return np.sum(x) * self.scale

    one, two = Model(1.0), Model(2.0)
    for _ in range(BINDER_FROM_CALL + 2):
        assert one.loss(X) == 6.0 and two.loss(X) == 12.0
        np.testing.assert_array_equal(two.loss.grad(X), [2.0] * 3)
    two.scale = 3.0
    assert two.loss(X) == 18.0


def test_functions_and_what_was_made_of_them_are_dropped() -> None:
    def cycle() -> Any:
        table = np.arange(3.0)
        f = compile_grad(lambda x, s=2.0: np.sum(x * table) * s)
        settle(lambda: (f(X), f.value_and_grad(X, 3.0)))
        return weakref.ref(f.user.fun), weakref.ref(f), weakref.ref(f.user)

    watched = cycle()
    gc.collect()
    assert [reference() for reference in watched] == [None] * 3
