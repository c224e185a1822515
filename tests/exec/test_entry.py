"""The native entry: the same results as the general path, nothing leaked, nothing shared, by any number of threads."""

import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from typing import Any

import numpy as np
import pytest

import gradloom
from gradloom.exec import callable, frames, layout, tables, words
from gradloom.exec.callable import NativeCallable
from gradloom.exec.entry import entry_address
from gradloom.exec.executable import BINDER_FROM_CALL, Executable
from gradloom.exec.memory import MOST_OF_A_CAPACITY, PAGE, PLACE, POOL_FROM_BYTES, pool
from gradloomc.dialects import nd
from gradloomc.dialects.func import body_of, finish_function, make_function
from gradloomc.ir.builder import at
from gradloomc.ir.types import f32, f64, i64, tensor

LARGE = POOL_FROM_BYTES // 8

pytestmark = pytest.mark.skipif(not NativeCallable.has_place, reason="this interpreter has no native entry")


def build(types: Any, program: Any) -> Executable:
    function = make_function("f", types)
    with at(body_of(function)):
        results = program(*body_of(function).arguments)
    return Executable(finish_function(function, results))


def warm(compiled: Executable, *arrays: Any) -> Executable:
    for _ in range(BINDER_FROM_CALL):
        compiled(*arrays)
    assert compiled.native is not None
    return compiled


def natively(compiled: Executable, monkeypatch: pytest.MonkeyPatch, *arrays: Any) -> Any:
    """Call it; the general path is an error."""
    with monkeypatch.context() as patch:
        patch.setattr(Executable, "prepare", None)
        return compiled(*arrays)


def several(x: Any, y: Any) -> list[Any]:
    total = nd.reduce_sum(nd.mul(x, y), axes=(0, 1))
    product = nd.mul(x, y)
    return [product, total, nd.sin(x), product, nd.convert(nd.gt(x, y), type=i64)]


def square(length: int, kind: Any = f64) -> Executable:
    return build([tensor((length,), kind)], lambda x: [nd.mul(x, x)])


@pytest.mark.parametrize("shape", [(3, 5), (150, 200)])
def test_it_agrees_with_the_general_path(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = np.random.default_rng(0).standard_normal((2, *shape))
    compiled = build([tensor(shape, f64)] * 2, several)
    general = compiled(x, y)
    assert compiled.native is None
    native = natively(warm(compiled, x, y), monkeypatch, x, y)
    assert isinstance(native, tuple) and len(native) == 5
    for a, b in zip(general, native, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype and a.shape == b.shape
        assert type(b) is np.ndarray and b.flags.c_contiguous and b.flags.writeable and b.flags.aligned
        assert b.flags.owndata == (b.nbytes < POOL_FROM_BYTES)
    everything = [*general, *native]
    assert not any(np.shares_memory(a, b) for k, a in enumerate(everything) for b in everything[k + 1 :])


@pytest.mark.parametrize(
    "given",
    [
        np.arange(12.0).reshape(3, 4)[:, ::-1],
        np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        np.arange(24.0).reshape(3, 8)[:, 1::2],
        np.broadcast_to(np.arange(4.0), (3, 4)),
        np.frombuffer(bytearray(b"x" + np.arange(12.0).tobytes()), np.uint8)[1:].view(np.float64).reshape(3, 4),
    ],
    ids=["negative strides", "Fortran", "strided", "broadcast", "misaligned"],
)
def test_arrays_with_other_strides_are_copied(given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = warm(build([tensor((3, 4), f64)] * 2, lambda x, y: [nd.sub(nd.exp(x), y)]), *np.zeros((2, 3, 4)))
    expected = np.exp(given) - given
    before, references = given.copy(), sys.getrefcount(given)
    blocks = sys.getallocatedblocks()
    for _ in range(300):
        np.testing.assert_allclose(natively(compiled, monkeypatch, given, given)[0], expected, rtol=1e-14, atol=1e-14)
    assert sys.getrefcount(given) == references and sys.getallocatedblocks() - blocks < 100
    np.testing.assert_array_equal(given, before)


@pytest.mark.parametrize(
    "given",
    [
        np.arange(12.0).reshape(3, 4).astype(">f8"),
        np.arange(12.0).reshape(3, 4).astype(np.dtype(np.float64, metadata={"unit": "m"})),
        np.arange(12.0).reshape(3, 4).view(type("Own", (np.ndarray,), {})),
        np.arange(12.0).reshape(3, 4).tolist(),
    ],
    ids=["big-endian", "metadata", "subclass", "list"],
)
def test_what_it_cannot_read_takes_the_general_path(given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = warm(build([tensor((3, 4), f64)], lambda x: [nd.exp(x)]), np.zeros((3, 4)))
    with pytest.raises(TypeError):
        natively(compiled, monkeypatch, given)
    np.testing.assert_allclose(compiled(given)[0], np.exp(np.asarray(given, float)))


def test_a_wrong_call_is_refused() -> None:
    compiled = warm(square(3), np.zeros(3))
    for arrays in ([np.zeros(4)], [np.zeros(3, np.float32)], [], [np.zeros(3), np.zeros(3)], [[0.0, 0.0, 0.0, 1.0]]):
        with pytest.raises(ValueError, match=r"expected|compiled for"):
            compiled(*arrays)
    with pytest.raises(TypeError):
        compiled(x=np.zeros(3))  # type: ignore[call-arg]


def test_numbers_without_dimensions(monkeypatch: pytest.MonkeyPatch) -> None:
    """NumPy's scalars hold their number in the object itself."""
    for kind in (f64, f32, i64):
        compiled = build([tensor((), kind)], lambda x: [nd.add(x, x)])
        given = kind.dtype.type(3)
        warm(compiled, np.array(given))
        for number in (given, np.array(given)):
            result = natively(compiled, monkeypatch, number)[0]
            assert isinstance(result, np.ndarray) and result == 6 and result.dtype == kind.dtype and result.shape == ()


def test_no_arguments_and_empty_arrays() -> None:
    kind = tensor((4,), f64)
    constant = build([], lambda: [nd.splat(2.5, kind)])
    assert warm(constant)()[0].tolist() == [2.5] * 4
    empty = build([tensor((0, 3), f64)], lambda x: [nd.neg(x), nd.reduce_sum(x, axes=(0, 1))])
    negated, total = warm(empty, np.zeros((0, 3)))(np.zeros((0, 3)))
    assert negated.shape == (0, 3) and total == 0


@pytest.mark.parametrize("length", [15, LARGE])
def test_nothing_leaks(length: int) -> None:
    compiled = warm(
        build([tensor((length,), f64)] * 2, lambda x, y: [nd.mul(x, y), nd.reduce_sum(x, axes=(0,))]),
        *np.zeros((2, length)),
    )
    x, y = np.zeros(length), np.ones(length)
    dtype = x.dtype
    before = [sys.getrefcount(each) for each in (x, y, None, dtype, compiled)]
    blocks = sys.getallocatedblocks()
    for _ in range(2000):
        compiled(x, y)
    assert sys.getallocatedblocks() - blocks < 50
    after = [sys.getrefcount(each) for each in (x, y, None, dtype, compiled)]
    assert all(abs(a - b) < 100 for a, b in zip(after, before, strict=True))  # of 2000 calls
    results = compiled(x, y)
    fresh = np.empty(1), np.empty(1)
    references = [sys.getrefcount(each) for each in fresh]
    references = [references[0] + (length < LARGE), references[1] + 1]  # small ones: the list of those given again
    assert [sys.getrefcount(each) for each in results] == references


def test_programs_are_made_and_dropped_without_leaks() -> None:
    x = np.arange(5.0)

    def cycle() -> None:
        compiled = warm(square(5), x)
        assert compiled(x)[0][2] == 4
        del compiled
        gc.collect()

    for _ in range(3):
        cycle()
    tables_before = sum(type(each) is tables.Table for each in gc.get_objects())
    for _ in range(10):
        cycle()
    assert sum(type(each) is tables.Table for each in gc.get_objects()) == tables_before


def test_results_are_new_arrays_each_time() -> None:
    compiled = warm(square(4, f32), np.zeros(4, np.float32))
    first = compiled(np.full(4, 2, np.float32))[0]
    second = compiled(np.full(4, 3, np.float32))[0]
    assert first.tolist() == [4] * 4 and second.tolist() == [9] * 4


def test_small_results_are_given_again() -> None:
    compiled = warm(build([tensor((4,), f64)], lambda x: [nd.mul(x, x), nd.reduce_sum(x, axes=(0,))]), np.zeros(4))
    x = np.arange(4.0)

    def places() -> set[tuple[int, ...]]:
        return {tuple([id(result) for result in compiled(x)]) for _ in range(20)}

    assert len(places()) == 1  # in a loop that drops them, two small objects and no allocation
    square, total = compiled(x)
    assert not {id(square), id(total)} & {each for pair in places() for each in pair}
    kept = [compiled(x * k) for k in range(3 * words.SPARE)]
    assert [array[3] for array, _ in kept] == [(3.0 * k) ** 2 for k in range(len(kept))]
    assert [number for _, number in kept] == [6.0 * k for k in range(len(kept))]
    assert square.tolist() == (x * x).tolist() and total == 6


@pytest.mark.parametrize("number", [False, True])
def test_what_refers_to_a_small_result_keeps_it(number: bool) -> None:
    """A view, a buffer, a container or a weak reference: a result that anybody could look at is not written again."""
    ways: dict[str, Any] = {"itself": lambda r: r, "container": lambda r: [{1: r}], "buffer": memoryview}
    if not number:
        ways |= {"view": lambda r: r[1:], "matrix": lambda r: r.reshape(2, 2).T, "weak": weakref.ref, "flat": np.nditer}
        ways |= {"iterator": iter, "method": lambda r: r.tolist, "slice of buffer": lambda r: memoryview(r)[2:]}
    f = gradloom.compile_grad((lambda x: np.sum(x)) if number else (lambda x: x * 1.0))
    for _ in range(BINDER_FROM_CALL + 1):
        f(np.zeros(4))
    assert len({id(f(np.zeros(4))) for _ in range(20)}) == 1
    for name, hold in ways.items():
        result = f(np.full(4, 7.0))
        keeper, place = hold(result), id(result)
        del result
        others = [f(np.zeros(4)) for _ in range(3 * words.SPARE)]
        ended = name == "weak" and keeper() is None  # then another one may lie at the same place
        assert ended or place not in {id(other) for other in others}, name
        assert keeper is not None


def test_an_altered_result_is_not_given_again() -> None:
    def shaped(result: Any) -> None:
        result.shape = (2, 2)

    def typed(result: Any) -> None:
        result.dtype = np.int64

    def locked(result: Any) -> None:
        result.flags.writeable = False

    def resized(result: Any) -> None:
        result.resize((3,), refcheck=False)

    for alter in (shaped, typed, locked, resized):
        compiled = warm(square(4), np.zeros(4))
        for k in range(4 * words.SPARE):
            result = compiled(np.full(4, float(k)))[0]
            assert result.shape == (4,) and result.dtype == np.float64 and result.flags.writeable
            assert result.tolist() == [float(k) ** 2] * 4
            alter(result)


def test_large_results_live_in_buffers_that_nobody_sees() -> None:
    pool.clear()
    compiled = warm(square(LARGE), np.zeros(LARGE))
    x = np.arange(float(LARGE))
    kept = [compiled(x * k)[0] for k in range(10)]
    views = [compiled(x * k)[0][5:].view(np.int64)[::2] for k in range(5)]
    for k, array in enumerate(kept):
        np.testing.assert_array_equal(array, (x * k) ** 2)
        assert array.ctypes.data % PAGE == PLACE and array.base is not None
    for k, view in enumerate(views):
        np.testing.assert_array_equal(view, ((x * k) ** 2)[5:].view(np.int64)[::2])
    places = {compiled(x)[0].ctypes.data for _ in range(10)}
    assert len(places) == 1  # the same buffer each time
    assert not places & {array.ctypes.data for array in kept}


def test_who_keeps_many_large_results_gets_ordinary_arrays() -> None:
    pool.clear()
    compiled = warm(square(LARGE), np.zeros(LARGE))
    kept = [compiled(np.full(LARGE, float(k)))[0] for k in range(MOST_OF_A_CAPACITY + 10)]
    assert [array[7] for array in kept] == [float(k) ** 2 for k in range(len(kept))]
    assert len(pool.buffers_for(kept[0].nbytes)) == MOST_OF_A_CAPACITY
    del kept
    pool.clear()


def test_temporaries_are_allocated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def two_passes(x: Any) -> list[Any]:
        largest = nd.reduce_max(x, axes=(1,))
        return [nd.reduce_sum(nd.exp(nd.sub(x, nd.spread(largest, x, (1,)))), axes=(1,))]

    compiled = build([tensor((40, 30), f64)], two_passes)
    x = np.random.default_rng(0).standard_normal((40, 30))
    expected = np.exp(x - x.max(1, keepdims=True)).sum(1)
    warm(compiled, x)
    assert compiled.native is not None
    monkeypatch.setattr(pool, "empty", None)
    for _ in range(5):
        np.testing.assert_allclose(compiled(x)[0], expected, rtol=1e-14)
    assert len(compiled.native.frames.frames) == 1


def test_large_temporaries_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames.Frames, "KEPT_BYTES", -1)
    compiled = warm(square(6), np.zeros(6))
    assert compiled.native is not None and not compiled.native.frames.kept
    before = sum(type(each) is tables.Table for each in gc.get_objects())
    for k in range(100):
        assert compiled(np.full(6, float(k)))[0].tolist() == [float(k) ** 2] * 6
    assert sum(type(each) is tables.Table for each in gc.get_objects()) == before


@pytest.mark.parametrize("length", [100, 300_000])
def test_threads_hammer_one_program(length: int) -> None:
    """Long runs go without the interpreter's lock, each on a frame of its own."""

    def program(x: Any) -> list[Any]:
        centered = nd.sub(x, nd.spread(nd.reduce_max(x, axes=(0,)), x, (0,)))
        return [nd.exp(centered), nd.reduce_sum(nd.exp(centered), axes=(0,))]

    compiled = build([tensor((length,), f64)], program)
    inputs = [np.linspace(0, k + 1, length) for k in range(4)]
    expected = [compiled(x) for x in inputs]
    warm(compiled, inputs[0])
    assert compiled.native is not None and (compiled.native.release or length < 1000)
    wrong: list[int] = []
    barrier = threading.Barrier(4)

    def work(k: int) -> None:
        barrier.wait()
        for _ in range(2000 if length < 1000 else 60):
            if not all(map(np.array_equal, compiled(inputs[k]), expected[k])):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert 1 <= len(compiled.native.frames.frames) <= 4


def test_other_threads_run_during_a_long_call() -> None:
    length = 2_000_000
    compiled = warm(build([tensor((length,), f64)], lambda x: [nd.sin(nd.exp(nd.sin(x)))]), np.zeros(length))
    x = np.ones(length)
    done, ticks = threading.Event(), [0]

    def tick() -> None:
        while not done.is_set():
            ticks[0] += 1
            time.sleep(0)  # gives the lock away

    before = sys.getswitchinterval()
    thread = threading.Thread(target=tick)
    try:
        sys.setswitchinterval(1000)  # whoever has the lock keeps it until it gives it away
        thread.start()
        before_call = ticks[0]
        for _ in range(50):  # the system may not let the other thread run in the few milliseconds of one call
            compiled(x)
            if ticks[0] > before_call:
                break
        during = ticks[0] - before_call
    finally:
        done.set()
        sys.setswitchinterval(before)
        thread.join()
    assert during > 0


def test_a_failing_allocation_is_an_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = build([tensor((LARGE,), f64)], lambda x: [nd.mul(x, x), nd.exp(x)])
    x = np.ones(LARGE)

    def fails(*_: Any) -> Any:
        raise MemoryError("none left")

    with monkeypatch.context() as patch:
        patch.setattr(pool, "empty", fails)  # plans take it as they find it
        with pytest.raises(MemoryError, match="none left"):
            for _ in range(BINDER_FROM_CALL + 1):
                pool.clear()
                compiled(x)
    before = sys.getrefcount(x)
    for _ in range(50):
        with pytest.raises(MemoryError, match="none left"):
            compiled(x)
    assert sys.getrefcount(x) == before
    assert compiled.native is not None and len(compiled.native.frames.frames) == 1


def test_a_call_within_a_call() -> None:
    """A finalizer that runs while results are made may call the same program."""
    compiled = warm(square(5), np.zeros(5))
    seen = []

    class Calls:
        def __init__(self) -> None:
            self.own = self

        def __del__(self) -> None:
            seen.append(compiled(np.full(5, 7.0))[0].tolist())

    thresholds = gc.get_threshold()
    try:
        gc.set_threshold(1)
        for k in range(200):
            Calls()
            assert compiled(np.full(5, float(k)))[0].tolist() == [float(k) ** 2] * 5
    finally:
        gc.set_threshold(*thresholds)
        gc.collect()
    assert seen == [[49.0] * 5] * 200


def test_it_outlives_its_program() -> None:
    compiled = warm(square(3), np.zeros(3))
    bound = compiled.run
    del compiled
    gc.collect()
    np.testing.assert_allclose(bound([np.full(3, 2.0)])[0], np.full(3, 4.0))


# --- the type -------------------------------------------------------------------------------------


class Counted(NativeCallable, native=True):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return "general", args, kwargs


def test_without_an_entry_a_call_is_that_of_any_class() -> None:
    assert Counted()(1, 2, a=3) == ("general", (1, 2), {"a": 3})
    assert Counted.__flags__ & layout.HAVE_VECTORCALL


def test_an_entry_without_plans_falls_back() -> None:
    one = Counted()
    one._enter_natively(entry_address(), 0, tables.interfaces().address)
    many = list(range(1000))
    assert one(1, 2, a=3) == ("general", (1, 2), {"a": 3})
    assert one(*many) == ("general", tuple(many), {})
    assert one() == ("general", (), {})


def test_a_derived_class_with_its_own_call_keeps_it() -> None:
    class Own(Counted):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return "own", super().__call__(*args, **kwargs)

    class Inherits(Counted):
        pass

    own, inherits = Own(), Inherits()
    for each in (own, inherits):
        each._enter_natively(entry_address(), 0, tables.interfaces().address)
    assert own(1) == ("own", ("general", (1,), {})) and inherits(1) == ("general", (1,), {})
    assert not Own.__flags__ & layout.HAVE_VECTORCALL and Inherits.__flags__ & layout.HAVE_VECTORCALL


def test_many_objects_come_and_go() -> None:
    def cycle(count: int) -> None:
        for _ in range(count):
            one = Counted()
            one._enter_natively(entry_address(), 0, tables.interfaces().address)
            one(1)

    cycle(100)
    blocks, references = sys.getallocatedblocks(), sys.getrefcount(Counted)
    cycle(100_000)
    assert sys.getallocatedblocks() - blocks < 50 and abs(sys.getrefcount(Counted) - references) < 5


def test_the_layout_is_examined(monkeypatch: pytest.MonkeyPatch) -> None:
    assert layout._examine()
    for name, wrong in (
        ("DESCR", layout.DIMS),
        ("BASE", layout.DESCR),
        ("WEAK_REFERENCES", layout.BASE),
        ("OWNS_DATA", layout.C_CONTIGUOUS),
        ("LIST_ITEMS", layout.HEADER),
        ("NUMBER", layout.TYPE),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(layout, name, wrong)
            assert not layout._examine()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
        assert not layout._examine()


def run_python(code: str, **environment: str) -> str:
    """Run code in a process of its own; return what it prints."""
    found = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
    )
    assert found.returncode == 0, found.stderr
    assert not found.stderr, found.stderr
    return found.stdout


PROGRAM = """
import numpy as np, gradloom
from gradloom.exec.callable import NativeCallable
f = gradloom.compile_grad(lambda x, s=2.0: np.sum(x * x) * s)
x = np.arange(4.0)
for k in range(10):
    value, gradient = f.value_and_grad(x, float(k))
    assert f.value_and_grad(x)[0] == 28.0 and value == 14.0 * k and gradient.tolist() == (2 * k * x).tolist()
    assert f(x) == 28.0 and f(x, s=1.0) == 14.0
"""


@pytest.mark.parametrize("switch", ["0", "1"])
def test_the_switch(switch: str) -> None:
    code = PROGRAM + "print(NativeCallable.has_place, hasattr(f, '_entry'))"
    assert run_python(code, GRADLOOM_NATIVE_ENTRY=switch).split() == [str(switch == "1")] * 2


def test_counts_of_an_interpreter_with_immortal_objects() -> None:
    """What is written for CPython 3.12 counts right here as well, as long as no count is large."""
    prepare = """
import sys, numpy
sys.modules["gradloom"] = package = type(sys)("gradloom")
package.__path__ = [PATH]
from gradloom.exec import layout
layout.objects_are_known(), setattr(layout, "IMMORTALS", True)
from gradloom.exec import words
assert "lshr i32" in words.count_up("a", "b") and "i64" not in words._COUNT
del sys.modules["gradloom"]
""".replace("PATH", repr(os.path.dirname(gradloom.__file__)))
    count = """
before = sys.getrefcount(x), sys.getrefcount(None), sys.getallocatedblocks()
for k in range(2000):
    f.value_and_grad(x, 3.0)
kept = [f.value_and_grad(x, float(k)) for k in range(50)]
assert [pair[0] for pair in kept] == [14.0 * k for k in range(50)]
del kept
after = sys.getrefcount(x), sys.getrefcount(None), sys.getallocatedblocks()
changes = [abs(b - a) for a, b in zip(before, after)]
assert max(changes[:2]) < 60 and changes[2] < 1000, changes  # the second tier may be compiled meanwhile
print(hasattr(f, "_entry") and f._entry > 0)
"""
    assert run_python(prepare + PROGRAM + count).split() == ["True"]


def test_calls_while_the_interpreter_ends() -> None:
    at_exit = """
import atexit, os, threading, time
atexit.register(lambda: os.write(1, str(f(x)).encode()))
def work():
    y = np.ones(1 << 18)
    g = gradloom.compile_grad(lambda y: np.sum(np.sin(y)) + np.exp(y))
    while True:
        g(y)
threading.Thread(target=work, daemon=True).start()
time.sleep(0.5)
"""
    assert run_python(PROGRAM + at_exit) == "28.0"
    at_deletion = """
import os
class Last:
    def __init__(self, call, x): self.call, self.x, self.write = call, x, os.write
    def __del__(self): self.write(1, str(self.call(self.x)[0]).encode())
last = Last(f.value_and_grad, x)
"""
    assert run_python(PROGRAM + at_deletion) == "28.0"


def test_the_type_is_the_same_for_all() -> None:
    assert callable._Base is not object and issubclass(Executable, callable._Base)
