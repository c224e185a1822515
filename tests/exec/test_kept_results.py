"""Small results are given again whole, with their tuples; what anybody has, or has altered, never is."""

import gc
import random
import sys
import threading
from typing import Any

import numpy as np
import pytest

import gradloom
from gradloom.exec import layout, words
from gradloom.exec.callable import NativeCallable
from gradloom.exec.executable import BINDER_FROM_CALL

pytestmark = pytest.mark.skipif(not NativeCallable.has_place, reason="this interpreter has no native entry")


def nested(x: Any, y: Any) -> Any:
    total = np.sum(x * y)
    return (total, (x * 2.0, None, (np.sum(x), x * y)), np.float32(1) * np.sum(x > 0)), total, "done"


def lists(x: Any, y: Any) -> Any:
    return {"a": x * y, "b": [np.sum(x), (x * 2.0,), ()]}, np.sum(y)


def flags(x: Any, y: Any) -> Any:
    return np.sum(x) > 0, x > y, (np.sum(x * y), x + y)


def single(x: Any, y: Any) -> Any:
    return x * y


def number(x: Any, y: Any) -> Any:
    return np.sum(x * y)


FUNCTIONS = (nested, lists, flags, single, number)


def same(found: Any, expected: Any) -> None:
    assert type(found) is type(expected) or np.ndim(expected) == 0
    if isinstance(expected, dict):
        assert list(found) == list(expected)
        found, expected = list(found.values()), list(expected.values())
    if isinstance(expected, (tuple, list)):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            same(one, other)
    elif expected is None or isinstance(expected, str):
        assert found is expected or found == expected
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def parts(tree: Any) -> list[Any]:
    children = list(tree.values()) if isinstance(tree, dict) else tree if isinstance(tree, (tuple, list)) else []
    return [tree, *[part for child in children for part in parts(child)]]


def warm(function: Any, *args: Any) -> Any:
    compiled: Any = gradloom.compile_grad(function)
    for _ in range(BINDER_FROM_CALL + 2):
        compiled(*args)
    assert compiled._entry
    return compiled


@pytest.mark.parametrize("function", FUNCTIONS)
def test_whatever_is_kept_stays_as_it_is(function: Any) -> None:
    """Any part of any result may be held for any time; none of them changes."""
    random.seed(1)
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 5))
    compiled = warm(function, x, y)
    held: list[tuple[Any, Any]] = []
    for _ in range(250):
        x, y = rng.normal(size=(2, 5))
        result, expected = compiled(x, y), function(x, y)
        same(result, expected)
        choices = list(zip(parts(result), parts(expected), strict=True))
        held += random.sample(choices, random.randint(0, len(choices)))
        random.shuffle(held)
        del held[random.randint(0, 40) :]
        if random.random() < 0.05:
            gc.collect()
        for part, was in held:
            same(part, was)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_nothing_leaks_whatever_is_kept(function: Any) -> None:
    x = np.arange(5.0)
    compiled = warm(function, x, x)
    held: list[Any] = []

    def calls(count: int) -> None:
        for k in range(count):
            held.append(random.choice(parts(compiled(x, x))))
            del held[: -(k % 11) or None]
        held.clear()

    calls(200)
    gc.collect()
    before = sys.getallocatedblocks(), sys.getrefcount(None), sys.getrefcount(x.dtype), len(gc.get_objects())
    calls(2000)
    gc.collect()
    after = sys.getallocatedblocks(), sys.getrefcount(None), sys.getrefcount(x.dtype), len(gc.get_objects())
    assert all(abs(b - a) < 60 for a, b in zip(before, after, strict=True)), (before, after)


def test_a_loop_makes_no_objects() -> None:
    x = np.arange(5.0)
    compiled = warm(nested, x, x)
    dropped = {tuple(id(part) for part in parts(compiled(x, x))) for _ in range(20)}
    assert len(dropped) == 1  # the very objects each time
    seen = set()
    for _ in range(20):
        value, rest, _ = compiled(x, x)  # these are still there when the next ones are made
        seen |= {id(value), id(rest)}
    assert len(seen) <= 2 * words.SPARE


def test_a_kept_number_does_not_make_the_arrays_anew() -> None:
    x = np.arange(5.0)
    compiled = gradloom.value_and_grad(lambda x: np.sum(x * x))
    for _ in range(8):
        compiled(x)
    losses = []
    places = set()
    for _ in range(50):
        value, gradient = compiled(x)
        losses.append(value)
        places.add(gradient.ctypes.data)
        del gradient
    assert len(places) <= words.SPARE
    assert len({id(loss) for loss in losses}) == 50 and set(losses) == {30.0}


def test_threads_have_results_of_their_own() -> None:
    compiled = warm(nested, np.zeros(400), np.zeros(400))
    wrong: list[int] = []

    def work(k: int) -> None:
        x = np.full(400, float(k + 1))
        for _ in range(1500):
            result = compiled(x, x)
            (total, (double, none, (summed, product)), _), again, text = result
            if not (total == again == 400 * (k + 1) ** 2 and summed == 400 * (k + 1) and none is None):
                wrong.append(k)
            if not ((double == 2 * (k + 1)).all() and (product == (k + 1) ** 2).all() and text == "done"):
                wrong.append(k)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert wrong == []


def test_more_calls_at_once_than_results_are_kept() -> None:
    """Finalizers that run while results are made call the same function, again and again."""
    x = np.arange(5.0)
    compiled = warm(nested, x, x)
    depth, found = [0], []

    class Calls:
        def __init__(self) -> None:
            self.own = self

        def __del__(self) -> None:
            depth[0] += 1
            if depth[0] < 3 * words.SPARE:
                Calls()
                found.append(compiled(x, x)[1])
            depth[0] -= 1

    thresholds = gc.get_threshold()
    keep = []
    try:
        gc.set_threshold(1)
        for _ in range(100):
            Calls()
            keep.append(compiled(x, x))
    finally:
        gc.set_threshold(*thresholds)
        depth[0] = 3 * words.SPARE  # those that are left call nothing: other tests must not meet them
        gc.collect()
    assert found and set(found) == {30.0}
    assert all(result[1] == 30.0 and result[0][1][0].tolist() == (2 * x).tolist() for result in keep)


# --- names --------------------------------------------------------------------------------------


def in_module(**names: Any) -> tuple[dict[str, Any], Any]:
    space: dict[str, Any] = {"np": np, **names}
    exec("def f(x): return np.sum(x) * SCALE + OFFSET", space)
    return space, gradloom.compile_grad(space["f"])


def calls_of_dict_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "dicts_are_known", lambda: False)


@pytest.mark.parametrize("placed", [True, False])
def test_globals_are_seen_whatever_becomes_of_their_dict(placed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not placed:
        calls_of_dict_lookup(monkeypatch)
    space, compiled = in_module(SCALE=2.0, OFFSET=1.0)
    x = np.ones(3)
    expected = 7.0

    def check() -> None:
        for _ in range(BINDER_FROM_CALL + 3):
            assert compiled(x) == expected

    check()
    for k in range(100):  # the table of keys is made anew a few times
        space[f"other {k}"] = k
        assert compiled(x) == expected
    space["SCALE"] = 5.0
    expected = 16.0
    check()
    del space["OFFSET"]  # another entry of the same table, at another place
    space["OFFSET"] = 2.0
    expected = 17.0
    check()
    for k in range(100):
        del space[f"other {k}"]
    space.update({f"more {k}": k for k in range(500)})
    check()
    del space["OFFSET"]
    with pytest.raises(NameError):
        compiled(x)
    space["OFFSET"] = 4.0
    expected = 19.0
    check()
    copy = dict(space)
    space.clear()
    with pytest.raises(NameError):
        compiled(x)
    space.update(copy)
    check()
    space[1] = "a key that is no name"  # type: ignore[index]
    check()
    space["SCALE"] = 0.0
    expected = 4.0
    check()


def test_where_dicts_have_their_entries_is_examined(monkeypatch: pytest.MonkeyPatch) -> None:
    assert layout._dicts_are_known() == layout.dicts_are_known()
    others = {"DICT_KEYS": layout.HEADER + 8, "KEYS_INDICES": 40, "KEYS_COUNT": 16, "KEYS_OF_NAMES": 2}
    for name, wrong in others.items():
        with monkeypatch.context() as patch:
            patch.setattr(layout, name, wrong)
            assert not layout._dicts_are_known()
