"""Nests in chunks on several threads: the same bits for any number of them, and a pool that no one trips over."""

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradloom
from gradloom.exec import threads
from gradloom.exec.executable import BINDER_FROM_CALL, Executable
from gradloomc.codegen.program import Program
from gradloomc.codegen.workers import PART_BYTES, WORDS
from gradloomc.dialects import loops, nd
from gradloomc.dialects.func import body_of, finish_function, make_function
from gradloomc.interp.interpreter import interpret
from gradloomc.ir.builder import at
from gradloomc.ir.core import Op, Value
from gradloomc.ir.inline import copy_function
from gradloomc.ir.types import SCALARS, f16, f32, f64, tensor
from gradloomc.lowering import parallelize
from gradloomc.pipelines import to_loops

Array = np.ndarray[Any, Any]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=["native", "python"])
def pool(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[threads.WorkerPool]:
    """Return a started pool of its own, of either kind, in the place of the process's."""
    made = threads.WorkerPool(native=request.param == "native")
    monkeypatch.setattr(threads, "pool", made)
    made.start()
    assert made.native == (request.param == "native")
    yield made
    made.close()


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch, own_rules: None) -> None:
    """Let every nest that can be cut be cut, into many chunks."""
    monkeypatch.setattr(parallelize, "LEAST_WORK", 0)
    monkeypatch.setattr(parallelize, "CHUNK_WORK", 1)
    monkeypatch.setattr(parallelize, "COPIES_SHARE", 1)


def define(body: Callable[..., Any], *types: Any) -> Op:
    """Return a function; `body` returns one value or several."""
    function = make_function("f", types)
    with at(body_of(function)):
        results = body(*body_of(function).arguments)
    return finish_function(function, [results] if isinstance(results, Value) else results)


def chunked(function: Op) -> list[Op]:
    """Return the ops of a function's loops level that are marked."""
    return [op for op in body_of(to_loops(copy_function(function), 512)).ops if "chunk" in op.attributes]


def shifted(x: Value, by: int) -> Value:
    (n,) = x.type.shape
    return nd.pad(nd.slice_(x, start=(0,), limit=(n - by,), stride=(1,)), low=(by,), high=(0,), interior=(0,))


def vector_program(x: Value) -> list[Value]:
    """Sums, products, extrema and logic of one vector, and stores with boundaries."""
    waves = nd.sin(x) if x.type.element.kind == "f" else nd.mul(x, x)
    high = nd.splat(3, x.type)
    return [
        nd.reduce_sum(waves, axes=(0,)),
        nd.reduce_prod(nd.sign(x), axes=(0,)),
        nd.reduce_max(x, axes=(0,)),
        nd.reduce_min(x, axes=(0,)),
        nd.reduce_any(nd.gt(x, high), axes=(0,)),
        nd.reduce_all(nd.lt(x, high), axes=(0,)),
        nd.add(nd.add(shifted(x, 1), shifted(x, 2)), waves),
        nd.reduce_sum(nd.mul(shifted(x, 3), x), axes=(0,)),
        nd.concatenate(x, waves, axis=0),
    ]


def matrix_program(x: Value) -> list[Value]:
    """Reductions over either axis, transposed and shifted stores, and what is read again."""
    rows, columns = nd.reduce_sum(x, axes=(1,)), nd.reduce_sum(x, axes=(0,))
    results = [
        rows,
        columns,
        nd.reduce_max(x, axes=(0,)),
        nd.reduce_min(x, axes=(1,)),
        nd.sub(x, nd.spread(rows, x, (1,))),
        nd.transpose(nd.mul(x, x), permutation=(1, 0)),
        nd.reduce_sum(nd.pad(x, low=(1, 2), high=(2, 1), interior=(0, 0)), axes=(0,)),
        nd.reverse(x, axes=(0, 1)),
        nd.reduce_any(nd.gt(x, nd.splat(2, x.type)), axes=(0,)),
    ]
    if x.type.element.kind == "f":
        exponentials = nd.exp(nd.sub(x, nd.spread(nd.reduce_max(x, axes=(1,)), x, (1,))))
        sums = nd.reduce_sum(exponentials, axes=(1,))
        results += [nd.reduce_sum(nd.log(sums), axes=(0,)), nd.div(exponentials, nd.spread(sums, x, (1,)))]
    return results


def cube_program(x: Value) -> list[Value]:
    every = [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)]
    return [nd.reduce_sum(nd.exp(x), axes=axes) for axes in every] + [nd.reduce_max(x, axes=axes) for axes in every]


def numbers(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    return np.asarray(rng.uniform(-4, 4, shape) if np.dtype(dtype).kind == "f" else rng.integers(-4, 5, shape), dtype)


CASES = [
    *[(vector_program, (n,), name) for n in (600, 2571, 5000) for name in ("f64", "f32", "i64", "i8")],
    *[(vector_program, (n,), "f64") for n in (3, 31, 255, 256, 511, 512, 513, 1024)],
    *[(matrix_program, shape, "f64") for shape in ((8, 3), (9, 40), (64, 33), (300, 7), (700, 1), (2, 1500), (1, 900))],
    *[(matrix_program, shape, name) for shape in ((40, 70), (3, 2000)) for name in ("f32", "i64")],
    *[(cube_program, shape, "f64") for shape in ((9, 5, 18), (17, 1, 40), (2, 3, 1100))],
]


def same_bits(first: Array, second: Array) -> bool:
    return first.dtype == second.dtype and first.shape == second.shape and first.tobytes() == second.tobytes()


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize(("body", "shape", "element"), CASES)
def test_same_bits_for_any_number_of_threads(
    pool: threads.WorkerPool, body: Callable[..., Any], shape: tuple[int, ...], element: str
) -> None:
    function = define(body, tensor(shape, SCALARS[element]))
    x = numbers(shape, SCALARS[element].dtype)
    expected = interpret(function, [x])
    marked = len(chunked(function))
    executable = Executable(copy_function(function))
    assert (executable.program.pool is not None) == (marked > 0)
    if np.prod(shape) >= 1200:
        assert marked > 0
    pool.set_threads(1)
    alone = executable.run([x])
    for native, reference in zip(alone, expected, strict=True):
        tolerance = 1e-12 if native.dtype == np.float64 else 1e-5
        np.testing.assert_allclose(native, reference, rtol=tolerance, atol=tolerance)
    for number in (2, 3, 7):
        pool.set_threads(number)
        for _ in range(BINDER_FROM_CALL):  # a first call may run it more than once, to see how long it takes
            executable.run([x])
        before = pool.word("jobs")
        for _ in range(3):
            for one, several in zip(alone, executable.run([x]), strict=True):
                assert same_bits(one, several)
        assert pool.word("jobs") - before == 3 * marked


@pytest.mark.usefixtures("small_chunks")
def test_half_floats(pool: threads.WorkerPool) -> None:
    """Copies of results in half precision."""
    function = define(lambda x: [nd.reduce_sum(x, axes=(0,)), nd.reduce_max(x, axes=(0,))], tensor((200, 40), f16))
    x = np.asarray(np.random.default_rng(1).integers(-2, 3, (200, 40)), np.float16)
    assert chunked(function)
    for native, reference in zip(Executable(copy_function(function)).run([x]), interpret(function, [x]), strict=True):
        np.testing.assert_array_equal(native, reference)


@pytest.mark.usefixtures("small_chunks")
def test_special_values(pool: threads.WorkerPool) -> None:
    """Infinities and nans of any chunk reach the sum of all."""
    n = 4000
    executable = Executable(define(lambda x: nd.reduce_sum(x, axes=(0,)), tensor((n,), f64)))
    pool.set_threads(2)
    for values in ((np.inf,), (-np.inf,), (np.inf, -np.inf), (np.nan,), (1e308, 1e308, -1e308, -1e308)):
        x = np.ones(n)
        x[:: n // 4][: len(values)] = values
        with np.errstate(all="ignore"):
            expected = np.sum(x[:: n // 4]) if len(values) < 4 else None
        (native,) = executable.run([x])
        if expected is not None:
            np.testing.assert_array_equal(np.isfinite(native), np.isfinite(expected))
            np.testing.assert_array_equal(native, expected) if not np.isfinite(expected) else None


def test_chunks_do_not_depend_on_threads() -> None:
    """The text and the numbers of a program are the same whatever the number of threads."""
    programs: list[Program] = []
    for number in (1, 2, 7):
        with_threads = threads.WorkerPool()
        with_threads.set_threads(number)
        programs.append(Executable(define(vector_program, tensor((100_000,), f64))).program)
    assert all(p.text == programs[0].text and p.sizes == programs[0].sizes for p in programs)
    assert programs[0].pool is not None


def test_small_programs_know_nothing_of_threads() -> None:
    """Programs of less than some ten microseconds have no chunks at all."""
    program = Executable(define(vector_program, tensor((500,), f64))).program
    assert program.pool is None
    assert "chunk" not in program.text


def test_another_length_reuses_native_code() -> None:
    """Chunks are run-time numbers too."""
    first = Executable(define(lambda x: nd.reduce_sum(nd.sin(x), axes=(0,)), tensor((200_000,), f64)))
    second = Executable(define(lambda x: nd.reduce_sum(nd.sin(x), axes=(0,)), tensor((300_000,), f64)))
    assert first.program.pool is not None
    assert first.program.text == second.program.text
    assert second.stats.reused_native_code
    x = np.linspace(0, 7, 300_000)
    np.testing.assert_allclose(second.run([x])[0], np.sin(x).sum(), rtol=1e-13)


def test_the_pool_starts_when_it_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the third call that has chunks, whatever the programs; with the first one if that is much work."""
    for length, calls in ((100_000, 3), (20_000_000, 1)):
        made = threads.WorkerPool()
        monkeypatch.setattr(threads, "pool", made)
        for call in range(1, calls + 1):
            type = tensor((length,), f64)
            executable = Executable(define(lambda x: nd.reduce_sum(nd.sin(nd.sin(x)), axes=(0,)), type))
            assert executable.stats.chunked == 1
            executable.run([np.zeros(length)])
            assert made.started == (call == calls)
        made.close()


def test_workers_help(pool: threads.WorkerPool) -> None:
    """Of a job that takes long, workers run a part."""
    pool.set_threads(2)
    executable = Executable(define(lambda x: nd.reduce_sum(nd.sin(nd.exp(x)), axes=(0,)), tensor((400_000,), f64)))
    x = np.linspace(0, 1, 400_000)
    for _ in range(100):
        executable.run([x])
        if pool.word("helped"):
            break
    assert pool.word("helped") > 0


def test_copies_are_bounded() -> None:
    """Large results that all rows reduce into are cut along themselves, not copied for every chunk."""
    function = define(lambda x: nd.reduce_sum(nd.exp(x), axes=(0,)), tensor((40, 1 << 17), f64))
    (nest,) = chunked(function)
    assert nest.attributes["chunk"][0] == 1
    wide = Executable(copy_function(function)).program
    assert wide.slots[wide.temporaries[0]].shape[0] <= 1 << 16
    function = define(lambda x: nd.reduce_sum(nd.exp(x), axes=(0,)), tensor((1 << 14, 64), f64))
    (nest,) = chunked(function)
    assert nest.attributes["chunk"][0] == 0


def test_concurrent_callers(pool: threads.WorkerPool) -> None:
    """Many Python threads at once: one has the pool, the others do their chunks alone; all get the same."""
    pool.set_threads(2)
    executable = Executable(define(vector_program, tensor((100_000,), f64)))
    x = numbers((100_000,), np.float64)
    expected = [array.tobytes() for array in executable.run([x])]
    wrong: list[int] = []

    def work() -> None:
        for _ in range(20):
            if [array.tobytes() for array in executable.run([x])] != expected:
                wrong.append(1)

    callers = [threading.Thread(target=work) for _ in range(6)]
    for caller in callers:
        caller.start()
    for number in (1, 3, 2):
        pool.set_threads(number)
    for caller in callers:
        caller.join()
    assert not wrong
    marked = executable.program.text.count("call void @gl_run_chunks")
    assert 0 < pool.word("jobs") + pool.word("alone") <= 121 * marked


def test_numbers_set_by_other_threads(pool: threads.WorkerPool) -> None:
    """Whoever changes the number of threads, and however often, while others compute: all get the same bits."""
    executable = Executable(define(vector_program, tensor((60_000,), f64)))
    x = numbers((60_000,), np.float64)
    expected = [array.tobytes() for array in executable.run([x])]
    wrong: list[str] = []

    def compute() -> None:
        for _ in range(25):
            if [array.tobytes() for array in executable.run([x])] != expected:
                wrong.append("bits")

    def change(first: int) -> None:
        for k in range(12):
            pool.set_threads(1 + (first + k) % 5)

    workers = [threading.Thread(target=compute) for _ in range(3)]
    workers += [threading.Thread(target=change, args=(first,)) for first in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert not wrong and not any(worker.is_alive() for worker in workers)
    assert pool.word("lock") == 0
    pool.set_threads(2)
    before = pool.word("jobs")
    executable.run([x])
    assert pool.word("jobs") > before


def test_each_thread_has_a_part_of_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job's words deal out all of its chunks, in as many parts of neighbours as threads work on it."""
    made = threads.WorkerPool(native=True)
    monkeypatch.setattr(threads, "pool", made)
    made.start()
    function = define(lambda x: nd.reduce_sum(nd.sin(nd.exp(x)), axes=(0,)), tensor((400_000,), f64))
    (nest,) = chunked(function)
    count = nest.attributes["chunk"][2]
    executable = Executable(function)
    for number in (2, 3, 5):
        made.set_threads(number)
        executable.run([np.linspace(0, 1, 400_000)])
        tickets = made.block[WORDS["tickets"] :].view(np.uint64)[:: PART_BYTES // 8][:number]
        ends = [int(ticket) >> 32 for ticket in tickets]
        assert made.word("parts") == number
        assert ends == [count * (part + 1) // number for part in range(number)]
        assert all(int(ticket) & 0xFFFFFFFF >= end for ticket, end in zip(tickets, ends, strict=True))
        assert made.word("finished") == count
    made.close()


def test_number_of_threads() -> None:
    before = gradloom.get_num_threads()
    try:
        gradloom.set_num_threads(3)
        assert gradloom.get_num_threads() == 3
        gradloom.set_num_threads(np.int64(2))  # type: ignore[arg-type]
        assert gradloom.get_num_threads() == 2
        for wrong in (0, -1):
            with pytest.raises(ValueError, match="1 or more"):
                gradloom.set_num_threads(wrong)
        for wrong in (1.5, "2", True, None):
            with pytest.raises(TypeError, match="integer"):
                gradloom.set_num_threads(wrong)  # type: ignore[arg-type]
        assert gradloom.get_num_threads() == 2
    finally:
        gradloom.set_num_threads(before)


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in threads.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert threads.default_threads() == threads.available_processors()
    monkeypatch.setenv("OMP_NUM_THREADS", "5,2")
    assert threads.default_threads() == 5
    monkeypatch.setenv("GRADLOOM_NUM_THREADS", "3")
    assert threads.default_threads() == 3
    monkeypatch.setenv("GRADLOOM_NUM_THREADS", "many")
    with pytest.warns(RuntimeWarning, match="GRADLOOM_NUM_THREADS"):
        assert threads.default_threads() == 5
    monkeypatch.setenv("GRADLOOM_NUM_THREADS", "")
    assert threads.default_threads() == 5


def test_processes_get_the_processors_they_may_use() -> None:
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("processes cannot be bound to processors here")
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); import gradloom; "
    assert run_code(code + "print(gradloom.get_num_threads())") == "1"


# What a process does before each of the programs below.
_PREAMBLE = """
import os, sys, threading, time
import numpy as np
import gradloom
from gradloom.exec import threads
gradloom.set_num_threads(2)
x = np.linspace(0.0, 1.0, 300_000)
f = gradloom.value_and_grad(lambda x: np.sum(np.sin(np.exp(x))))
def warm():
    for _ in range(4):
        f(x)
    return threads.pool.word("jobs")
"""


def run_code(code: str, preamble: str = "") -> str:
    """Return what a new process prints; it must end well."""
    environment = {k: v for k, v in os.environ.items() if k not in threads.VARIABLES}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "compiler"), str(ROOT / "runtime")])
    command = [sys.executable, "-W", "ignore", "-c", preamble + code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_nothing_starts_at_import() -> None:
    code = "import gradloom, threading; from gradloom.exec import threads; "
    assert run_code(code + "print(threads.pool.started, threading.active_count())") == "False 1"


@pytest.mark.parametrize(
    "ending",
    [
        "assert warm()",
        "assert warm(); time.sleep(0.01)",  # the worker sleeps
        "assert warm(); sys.exit(0)",
        "assert warm(); threading.Thread(target=lambda: [f(x) for _ in range(100000)], daemon=True).start()",
        "threads.pool.native = False; assert warm()",
        "threads.pool.native = False; assert warm(); gradloom.set_num_threads(5); f(x); sys.exit(0)",
    ],
)
def test_exit(ending: str) -> None:
    """A process ends well while workers sleep, while they look for work, and while they work."""
    run_code(ending, _PREAMBLE)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("kind", ["native", "python"])
def test_fork(kind: str) -> None:
    """A child has no workers of its parent, computes the same, starts workers of its own, and ends well."""
    code = """
assert warm()
expected = f(x)[1].tobytes()
stop = False
def busy():
    while not stop:
        f(x)
caller = threading.Thread(target=busy)
caller.start()
codes = []
for _ in range(8):
    child = os.fork()
    if child == 0:
        jobs = threads.pool.word("jobs")
        good = all(f(x)[1].tobytes() == expected for _ in range(3)) and threads.pool.word("jobs") == jobs + 3
        os._exit(0 if good else 3)
    codes.append(os.waitpid(child, 0)[1])
stop = True
caller.join()
print(codes == [0] * 8, f(x)[1].tobytes() == expected)
"""
    assert run_code(f"threads.pool.native = {kind == 'native'}\n" + code, _PREAMBLE) == "True True"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_multiprocessing_by_fork() -> None:
    code = """
import multiprocessing
warm()
def work(k):
    return f(x + k)[0]
with multiprocessing.get_context("fork").Pool(3) as processes:
    there = processes.map(work, range(6))
print(there == [work(k) for k in range(6)])
"""
    assert run_code(code, _PREAMBLE) == "True"


def test_changes_of_the_number_end_workers(pool: threads.WorkerPool) -> None:
    """Workers that are not needed any more end, and the next job starts those that are."""
    executable = Executable(define(vector_program, tensor((100_000,), f64)))
    x = numbers((100_000,), np.float64)
    for number in (4, 2, 1, 3):
        pool.set_threads(number)
        executable.run([x])
        if pool.native:
            assert pool.word("started") == number - 1
        else:
            assert pool.helpers is not None
            assert len(pool.helpers.members) == number - 1


def test_exceptions_leave_the_pool_free(pool: threads.WorkerPool) -> None:
    """A call that fails before or after its nests leaves no lock behind."""
    pool.set_threads(2)
    executable = Executable(define(vector_program, tensor((100_000,), f64)))
    with pytest.raises(gradloom.ExecutionError):
        executable.run([np.zeros(7)])
    gc.collect()
    before = pool.word("jobs")
    executable.run([np.zeros(100_000)])
    assert pool.word("jobs") > before
    assert pool.word("lock") == 0


def test_marks_keep_the_meaning() -> None:
    """The interpreter runs the marked level as it runs the one without marks."""
    function = define(vector_program, tensor((100_000,), f32))
    marked = to_loops(copy_function(function), 512)
    assert any("chunk" in op.attributes for op in body_of(marked).ops if op.kind is loops.nest)
    x = numbers((100_000,), np.float32)
    for one, other in zip(interpret(function, [x]), interpret(marked, [x]), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
