"""The native entry of small programs: the same results as the general path, nothing leaked, nothing shared."""

import sys
from typing import Any

import numpy as np
import pytest

from gradloom.exec import entry
from gradloom.exec.executable import BINDER_FROM_CALL, Executable
from gradloomc.dialects import nd
from gradloomc.dialects.func import body_of, finish_function, make_function
from gradloomc.ir.builder import at
from gradloomc.ir.types import f32, f64, i64, tensor


def build(types: Any, program: Any) -> Executable:
    function = make_function("f", types)
    with at(body_of(function)):
        results = program(*body_of(function).arguments)
    return Executable(finish_function(function, results))


def warm(compiled: Executable, *arrays: Any) -> Executable:
    for _ in range(BINDER_FROM_CALL):
        compiled.run(arrays)
    return compiled


def several(x: Any, y: Any) -> list[Any]:
    total = nd.reduce_sum(nd.mul(x, y), axes=(0, 1))
    product = nd.mul(x, y)
    return [product, total, nd.sin(x), product, nd.convert(nd.gt(x, y), type=i64)]


def test_it_serves_small_programs_and_agrees() -> None:
    x, y = np.random.default_rng(0).standard_normal((2, 3, 5))
    compiled = build([tensor((3, 5), f64)] * 2, several)
    general = compiled.run([x, y])
    assert compiled.entry is None
    warm(compiled, x, y)
    assert compiled.entry is not None
    native = compiled.run([x, y])
    assert isinstance(native, tuple) and len(native) == 5
    for a, b in zip(general, native, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype and a.shape == b.shape
        assert type(b) is np.ndarray and b.flags.owndata and b.flags.c_contiguous


@pytest.mark.parametrize(
    "given",
    [
        np.arange(12.0).reshape(3, 4)[:, ::-1],
        np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        np.arange(12.0).reshape(3, 4).astype(">f8"),
        np.arange(24.0).reshape(3, 8)[:, 1::2],
    ],
    ids=["negative strides", "Fortran", "big-endian", "strided"],
)
def test_what_it_cannot_read_takes_the_general_path(given: np.ndarray) -> None:
    compiled = warm(build([tensor((3, 4), f64)], lambda x: [nd.exp(x)]), np.zeros((3, 4)))
    assert compiled.entry(given) is None
    np.testing.assert_allclose(compiled.run([given])[0], np.exp(given.astype(float)))


def test_a_wrong_call_is_refused_by_the_general_path() -> None:
    compiled = warm(build([tensor((3,), f64)], lambda x: [nd.exp(x)]), np.zeros(3))
    for arrays in ([np.zeros(4)], [np.zeros(3, np.float32)], [], [np.zeros(3), np.zeros(3)], [[0.0, 0.0, 0.0, 1.0]]):
        assert compiled.entry(*arrays) is None
        with pytest.raises(ValueError, match=r"expected|compiled for"):
            compiled.run(arrays)


def test_nothing_leaks() -> None:
    compiled = warm(build([tensor((3, 5), f64)] * 2, several), *np.zeros((2, 3, 5)))
    x, y = np.zeros((3, 5)), np.ones((3, 5))
    before = sys.getrefcount(x), sys.getrefcount(y), sys.getrefcount(None)
    blocks = sys.getallocatedblocks()
    for _ in range(2000):
        compiled.run([x, y])
    assert sys.getallocatedblocks() - blocks < 50
    assert (sys.getrefcount(x), sys.getrefcount(y)) == before[:2]
    result = compiled.run([x, y])[2]
    assert sys.getrefcount(result) == 2


def test_results_are_new_arrays_each_time() -> None:
    compiled = warm(build([tensor((4,), f32)], lambda x: [nd.mul(x, x)]), np.zeros(4, np.float32))
    first = compiled.run([np.full(4, 2, np.float32)])[0]
    second = compiled.run([np.full(4, 3, np.float32)])[0]
    assert first.tolist() == [4] * 4 and second.tolist() == [9] * 4


def test_large_results_come_from_the_pool() -> None:
    compiled = warm(build([tensor((1 << 14,), f64)], lambda x: [nd.mul(x, x)]), np.zeros(1 << 14))
    assert compiled.entry is None


def test_there_is_none_where_the_layout_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry, "_definition", None)
    monkeypatch.setattr(entry, "layout_is_known", lambda: False)
    compiled = warm(build([tensor((3,), f64)], lambda x: [nd.exp(x)]), np.zeros(3))
    assert compiled.entry is None
    np.testing.assert_allclose(compiled.run([np.zeros(3)])[0], np.ones(3))


def test_it_outlives_its_program() -> None:
    compiled = warm(build([tensor((3,), f64)], lambda x: [nd.exp(x)]), np.zeros(3))
    run = compiled.entry
    del compiled
    np.testing.assert_allclose(run(np.zeros(3))[0], np.ones(3))
