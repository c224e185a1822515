"""A compiled program on arrays of every layout, by the compiled binder and by the general path; when it compiles."""

import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gradloom.exec import binding, executable
from gradloom.exec.executable import BINDER_FROM_CALL, Executable
from gradloomc.codegen.native import counts, host
from gradloomc.dialects import nd
from gradloomc.dialects.func import body_of, finish_function, make_function
from gradloomc.ir.attributes import Dense
from gradloomc.ir.builder import at
from gradloomc.ir.core import Op, Value
from gradloomc.ir.errors import ExecutionError
from gradloomc.ir.types import TensorType, f32, f64, i1, tensor


def build(types: list[TensorType], body: Callable[..., list[Value]]) -> Op:
    function = make_function("f", types)
    with at(body_of(function)):
        results = body(*body_of(function).arguments)
    return finish_function(function, results)


def product_and_sum(shape: tuple[int, ...]) -> Executable:
    kind = tensor(shape, f64)
    axes = tuple(range(len(shape)))
    return Executable(build([kind, kind], lambda x, y: [nd.mul(x, y), nd.reduce_sum(nd.mul(x, y), axes=axes)]))


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "C": lambda a: a,
    "Fortran": np.asfortranarray,
    "strided": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "negative": lambda a: a[::-1, ::-1].copy()[::-1, ::-1],
    "read-only": lambda a: _frozen(a.copy()),
    "big-endian": lambda a: a.astype(">f8"),
    "broadcast": lambda a: np.broadcast_to(a[:1], a.shape),
    "unaligned": lambda a: _unaligned(a),
}


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def _unaligned(array: np.ndarray) -> np.ndarray:
    memory = np.zeros(array.nbytes + 1, np.uint8)[1:]
    moved = np.ndarray(array.shape, np.float64, memory.data)
    moved[...] = array
    assert not moved.flags.aligned
    return moved


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("path", ["cold", "native", "binder"])
def test_layouts(layout: str, path: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    warm = path != "cold"
    monkeypatch.setattr(Executable, "has_place", path == "native")
    compiled = product_and_sum((6, 7))
    x, y = rng.standard_normal((2, 6, 7))
    if warm:
        for _ in range(BINDER_FROM_CALL + 1):
            compiled.run([x, y])
        assert (compiled.native is not None, compiled.bind is not None) == (path == "native", path == "binder")
    given = LAYOUTS[layout](x)
    expected = np.asarray(given, np.float64) * y
    for _ in range(2):
        values, total = compiled.run([given, y])
        np.testing.assert_array_equal(values, expected)
        np.testing.assert_allclose(total, expected.sum(), rtol=1e-14)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_the_general_path_serves_an_unknown_layout(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    """Where NumPy's headers are not as expected, calls go without the compiled binder."""
    monkeypatch.setattr(binding, "_binder", None)
    monkeypatch.setattr(binding, "array_layout_is_known", lambda: False)
    monkeypatch.setattr(Executable, "has_place", False)
    compiled = product_and_sum((3, 4))
    x, y = rng.standard_normal((2, 3, 4))
    for _ in range(BINDER_FROM_CALL + 2):
        np.testing.assert_array_equal(compiled.run([x, y])[0], x * y)
    assert compiled.bind is None
    monkeypatch.setattr(binding, "_binder", None)


def test_results_share_memory_with_nothing(rng: np.random.Generator) -> None:
    kind = tensor((5,), f64)

    def tables() -> list[Value]:
        table = nd.constant(value=Dense(kind, np.arange(5.0)))
        return [table, table, nd.reshape(table, shape=(5, 1)), nd.neg(table)]

    compiled = Executable(
        build([kind], lambda x: [x, x, nd.reshape(x, shape=(5, 1)), nd.neg(x), nd.splat(2.0, kind), *tables()])
    )
    x = rng.standard_normal(5)
    results = compiled.run([x])
    again = compiled.run([x])
    everything = [x, *results, *again]
    for k, a in enumerate(everything):
        assert not any(np.shares_memory(a, b) for b in everything[k + 1 :])
    assert all(result.flags.writeable for result in results)


def test_overlapping_arguments(rng: np.random.Generator) -> None:
    memory = rng.standard_normal(20)
    compiled = product_and_sum((19,))
    np.testing.assert_array_equal(compiled.run([memory[1:], memory[:-1]])[0], memory[1:] * memory[:-1])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ([np.ones(3)], "expected 2 arrays, got 1"),
        ([np.ones(3), np.ones(4)], r"argument 1 was compiled for shape \(3,\)"),
        ([np.ones(3, np.float32), np.ones(3)], "argument 0 was compiled for .* got .* float32"),
    ],
)
def test_wrong_arguments(arrays: list[Any], message: str) -> None:
    compiled = product_and_sum((3,))
    with pytest.raises(ExecutionError, match=message):
        compiled.run(arrays)


def test_a_new_length_uses_the_same_native_code() -> None:
    """Extents are run-time values: only the class of the length (below or above a vector) is in the text."""
    before = counts.compiled
    results = {}
    for length in (1000, 1001, 5000, 12345):
        compiled = product_and_sum((length,))
        results[length] = compiled.stats.reused_native_code
        x = np.arange(float(length))
        assert compiled.run([x, x])[1] == pytest.approx(np.dot(x, x), rel=1e-14)
    assert counts.compiled - before <= 1
    assert list(results.values())[1:] == [True, True, True]


def test_text_holds_no_address_and_no_extent() -> None:
    text = product_and_sum((4321,)).program.text
    assert "inttoptr" not in text and "4321" not in text


def test_sum_of_many_float32_is_as_accurate_as_pairwise() -> None:
    kind = tensor((4_000_003,), f32)
    compiled = Executable(build([kind], lambda x: [nd.reduce_sum(x, axes=(0,))]))
    x = np.random.default_rng(1).random(4_000_003, dtype=np.float32)
    exact = np.sum(x, dtype=np.float64)
    error = abs(float(compiled.run([x])[0]) - exact) / exact
    pairwise = abs(float(np.sum(x)) - exact) / exact
    assert error <= max(pairwise, 6e-8)


@pytest.mark.parametrize("kind", [f32, f64])
@pytest.mark.parametrize("shape", [(1_000_000,), (1000, 999), (3, 65_537)])
def test_sums_of_equal_numbers(kind: Any, shape: tuple[int, ...]) -> None:
    """Rounding errors that all point the same way: at most four units in the last place."""
    compiled = Executable(build([tensor(shape, kind)], lambda x: [nd.reduce_sum(x, axes=(0, 1)[: len(shape)])]))
    x = np.full(shape, 0.1, kind.dtype)
    exact = float(x.flat[0]) * x.size
    error = abs(float(compiled.run([x])[0]) - exact)
    assert error <= 4 * np.spacing(kind.dtype.type(exact))


def test_the_same_bits_every_time() -> None:
    compiled = product_and_sum((100_003,))
    x, y = np.random.default_rng(2).standard_normal((2, 100_003))
    first = compiled.run([x, y])[1]
    offset = np.empty(100_004)[1:]
    offset[:] = x
    assert all(compiled.run([array, y])[1] == first for array in (x, offset, x.copy()))


def test_infinite_and_nan_sums() -> None:
    compiled = product_and_sum((50,))
    x = np.ones(50)
    for special, expected in ((np.inf, np.inf), (-np.inf, -np.inf), (np.nan, np.nan)):
        x[17] = special
        np.testing.assert_equal(float(compiled.run([x, np.ones(50)])[1]), expected)


def test_threads_share_a_program() -> None:
    compiled = product_and_sum((20_000,))
    wrong = []

    def work(seed: int) -> None:
        x, y = np.random.default_rng(seed).standard_normal((2, 20_000))
        for _ in range(50):
            if not np.array_equal(compiled.run([x, y])[0], x * y):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_bools_in_and_out() -> None:
    kind = tensor((37,), i1)
    function = build([kind, kind], lambda x, y: [nd.logical_and(x, nd.logical_not(y)), nd.reduce_any(x, axes=(0,))])
    compiled = Executable(function)
    x, y = np.random.default_rng(0).random((2, 37)) < 0.5
    both, any_ = compiled.run([x, y])
    np.testing.assert_array_equal(both, x & ~y)
    assert both.dtype == np.bool_ and any_ == x.any()


def test_native_code_is_found_by_its_text() -> None:
    first = product_and_sum((64,))
    before = counts.compiled, counts.from_disk, counts.in_memory
    assert product_and_sum((64,)).stats.reused_native_code
    assert (counts.compiled, counts.from_disk, counts.in_memory) == (*before[:2], before[2] + 1)
    assert first.stats.compile_seconds > 0


def test_temporaries_are_allocated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A steady loop allocates its results and nothing else."""
    kind = tensor((40, 30), f64)

    def two_passes(x: Value) -> list[Value]:
        largest = nd.reduce_max(x, axes=(1,))
        return [nd.reduce_sum(nd.exp(nd.sub(x, nd.spread(largest, x, (1,)))), axes=(1,))]

    compiled = Executable(build([kind], two_passes))
    x = np.random.default_rng(0).standard_normal((40, 30))
    expected = np.exp(x - x.max(1, keepdims=True)).sum(1)
    monkeypatch.setattr(Executable, "has_place", False)  # the native entry makes its results itself
    kept = compiled.run([x])[0]
    for _ in range(executable.BINDER_FROM_CALL):
        compiled.run([x])
    made = []
    monkeypatch.setattr(executable, "empty", lambda shape, dtype: made.append(shape) or np.empty(shape, dtype))
    for _ in range(5):
        np.testing.assert_allclose(compiled.run([x])[0], expected, rtol=1e-14)
    assert made == [(40,)] * 5
    np.testing.assert_allclose(kept, expected, rtol=1e-14)


def test_a_call_keeps_neither_arguments_nor_results_alive() -> None:
    compiled = product_and_sum((9,))
    x = np.ones(9)
    results = compiled.run([x, x])
    watched = [weakref.ref(x), *[weakref.ref(result) for result in results]]
    del x, results
    assert [reference() for reference in watched] == [None] * 3


def test_a_failing_library_call_leaves_the_program_usable() -> None:
    kind = tensor((3, 3), f64)
    contract = {"x_contract": (1,), "y_contract": (0,), "x_batch": (), "y_batch": ()}
    compiled = Executable(build([kind, kind], lambda x, y: [nd.dot(x, y, **contract)]))
    x = np.arange(9.0).reshape(3, 3)
    with pytest.raises(ExecutionError):
        compiled.run([x, np.ones((3, 4))])
    np.testing.assert_allclose(compiled.run([x, x])[0], x @ x)


@pytest.mark.parametrize("bits", [128, 256, 512])
def test_every_register_width(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code for narrower registers (other CPUs) gives the same elements, and sums within a few last places."""
    monkeypatch.setattr(host(), "vector_bits", bits)
    kind = tensor((7, 45), f64)

    def program(x: Value) -> list[Value]:
        padded = nd.pad(nd.sin(x), low=(0, 2), high=(1, 0), interior=(0, 0))
        return [padded, nd.reduce_sum(nd.exp(x), axes=(1,)), nd.reduce_sum(x, axes=(0,)), nd.gt(x, nd.zeros_like(x))]

    x = np.random.default_rng(0).standard_normal((7, 45))
    padded, rows, columns, positive = Executable(build([kind], program)).run([x])
    np.testing.assert_allclose(padded, np.pad(np.sin(x), ((0, 1), (2, 0))), rtol=1e-15)
    np.testing.assert_allclose(rows, np.exp(x).sum(1), rtol=1e-14)
    np.testing.assert_allclose(columns, x.sum(0), rtol=1e-13, atol=1e-14)
    np.testing.assert_array_equal(positive, x > 0)
