"""Arguments as users have them: any layout, byte order and size; what makes a new program, and what
must."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradloom import compile_grad, grad, value_and_grad
from gradloomc.ir.errors import DTypeError

SCALE = 2.0
TABLE = np.array([1.0, 2.0, 3.0])
SETTINGS = {"power": 2}


def helper(x: Any) -> Any:
    return x * SCALE


def weighted(x: Any, y: Any) -> Any:
    return np.sum(x * y * y)


def layouts() -> dict[str, Any]:
    base = np.arange(24.0).reshape(4, 6) / 7
    read_only = base.copy()
    read_only.flags.writeable = False
    unaligned = np.frombuffer(b"\0" + base.tobytes(), np.uint8)[1:].view(np.float64).reshape(4, 6)
    return {
        "contiguous": base,
        "fortran": np.asfortranarray(base),
        "strided": np.arange(96.0).reshape(8, 12)[::2, ::2] / 7,
        "reversed": base[::-1, ::-1],
        "transposed": np.ascontiguousarray(base.T).T,
        "broadcast": np.broadcast_to(base[:, :1], (4, 6)),
        "big endian": base.astype(">f8"),
        "little endian": base.astype("<f8"),
        "read-only": read_only,
        "unaligned": unaligned,
    }


@pytest.mark.parametrize("name", layouts())
def test_every_layout(name: str) -> None:
    x = layouts()[name]
    value, gradient = value_and_grad(weighted)(x, x)
    assert value == pytest.approx(np.sum(x * x * x))
    np.testing.assert_allclose(gradient, x * x)
    assert gradient.dtype == np.float64
    assert gradient.dtype.isnative


def test_overlapping_arguments() -> None:
    base = np.arange(10.0)
    value, gradient = value_and_grad(weighted)(base[:-1], base[1:])
    np.testing.assert_allclose(gradient, base[1:] ** 2)
    assert value == np.sum(base[:-1] * base[1:] ** 2)


def test_memory_maps(tmp_path: Path) -> None:
    x = np.memmap(tmp_path / "x", np.float64, "w+", shape=(5,))
    x[:] = np.arange(5.0)
    gradient = grad(weighted)(x, x)
    assert type(gradient) is np.ndarray
    np.testing.assert_allclose(gradient, x * x)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0, 2), (1, 1)])
def test_small_and_empty(shape: tuple[int, ...]) -> None:
    x = np.full(shape, 1.5)
    gradient = grad(lambda x: np.sum(x * x))(x)
    assert np.shape(gradient) == shape
    np.testing.assert_allclose(gradient, 2 * x)


@pytest.mark.parametrize("number", [1.5, np.float64(1.5), np.float32(1.5), np.array(1.5)])
def test_numbers(number: Any) -> None:
    f = compile_grad(lambda t: t * t)
    for _ in range(2):
        result = f.grad(number)
        assert isinstance(result, np.floating)
        assert result == 3.0
        assert result.dtype == np.asarray(number).dtype


def test_python_floats_give_way_to_float32() -> None:
    f = compile_grad(lambda x, t: x * t)
    x = np.ones(2, np.float32)
    assert f(x, 0.1).dtype == np.float32
    assert f(x, np.float64(0.1)).dtype == np.float64
    assert f(1.0, 0.1).dtype == np.float64
    np.testing.assert_array_equal(f(x, 0.1), x * 0.1)


def test_floats_are_dynamic_and_ints_are_static() -> None:
    traced = []

    @compile_grad
    def f(x: Any, t: Any, n: int, mode: str) -> Any:
        traced.append(n)
        return np.sum(x) * t if mode == "sum" else np.sum(x**n) * t

    for t in (1.0, 2.0, 3.0):
        assert f(TABLE, t, 2, "sum") == pytest.approx(6 * t)
    assert traced == [2]
    assert f(TABLE, 1.0, 3, "power") == pytest.approx(36.0)
    assert f(TABLE, 1.0, True, "power") == pytest.approx(6.0)
    assert f(TABLE, 1.0, 1, "power") == pytest.approx(6.0)
    assert traced == [2, 3, True, 1]
    assert f(TABLE, 1.0, n=3, mode="power") == pytest.approx(36.0)
    assert len(traced) == 4


def test_new_shapes_and_dtypes_are_new_programs() -> None:
    f = compile_grad(lambda x: np.sum(x * 2))
    assert f(np.ones(3)) == 6
    assert f(np.ones((3, 1))) == 6
    assert f(np.ones(3, np.float32)).dtype == np.float32
    assert f(np.ones(3, np.int32)).dtype == np.int64
    assert f(np.ones(3, bool)).dtype == np.int64
    assert f.cache_info().programs == 5


def test_longdouble_is_refused() -> None:
    with pytest.raises(DTypeError, match="argument 'x'"):
        grad(weighted)(np.ones(2, np.longdouble), np.ones(2))


def test_structure_changes_are_noticed() -> None:
    f = compile_grad(lambda p: sum(np.sum(v) for v in p.values()))
    a, b = np.ones(2), np.ones(3)
    assert list(f.grad({"a": a, "b": b})) == ["a", "b"]
    assert list(f.grad({"b": b, "a": a})) == ["b", "a"]
    assert list(f.grad({"a": a, "b": b})) == ["a", "b"]
    assert list(f.grad({"a": a})) == ["a"]
    assert f({"a": a, "b": b}) == 5
    assert f({"a": a, "b": 2.0}) == 4
    assert f({"a": a, "b": np.float32(3.0)}) == 5


def test_a_global_bound_anew_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    f = compile_grad(lambda x: np.sum(helper(x) ** SETTINGS["power"]))
    x = np.array([1.0, 2.0])
    assert f(x) == 20.0
    monkeypatch.setitem(globals(), "SCALE", 3.0)  # through a helper
    assert f(x) == 45.0
    np.testing.assert_allclose(f.grad(x), 18 * x)
    monkeypatch.setitem(SETTINGS, "power", 1)  # inside a container
    assert f(x) == 9.0
    monkeypatch.setitem(globals(), "helper", lambda x: x)
    assert f(x) == 3.0
    misses = f.cache_info().misses
    assert f(x) == 3.0
    assert f.cache_info().misses == misses


def test_a_closure_bound_anew_is_noticed() -> None:
    factor = 2.0
    table = TABLE.copy()

    @compile_grad
    def f(x: Any) -> Any:
        return np.sum(x * table) * factor

    assert f(TABLE) == 28.0
    factor = 1.0
    assert f(TABLE) == 14.0
    table = np.ones(3)
    assert f(TABLE) == 6.0
    table[0] = 5.0  # a small array written in place
    assert f(TABLE) == 10.0
    big = table = np.ones(3)
    assert f(TABLE) == 6.0
    big[:] = 0.0
    assert f(TABLE) == 0.0


def test_large_arrays_outside_are_read_at_every_call() -> None:
    data = np.ones(1000)
    f = compile_grad(lambda t: np.sum(data * t))
    assert f(2.0) == 2000.0
    data[:500] = 0.0
    assert f(2.0) == 1000.0
    assert f.cache_info().misses == 1


def test_constants_computed_from_an_array_outside_follow_it() -> None:
    data = np.ones(100)
    f = compile_grad(lambda t: t * np.sum(data))  # the sum is taken while tracing
    assert f(2.0) == 200.0
    data[:50] = 0.0
    assert f(2.0) == 100.0
    state = np.zeros(100)
    g = compile_grad(lambda t: np.sum(t * state))
    for step in range(5):
        state[:] = step
        assert g(1.0) == 100.0 * step
    assert g.cache_info().misses == 1  # it is passed, so its elements are no part of the program


def test_a_captured_array_of_another_shape() -> None:
    data = np.ones((10, 4))
    f = compile_grad(lambda t: np.sum(data * t, axis=0))
    assert f(1.0).shape == (4,)
    data.resize((4, 10), refcheck=False)
    assert f(1.0).shape == (10,)


def test_static_values_that_keep_changing_are_pointed_out() -> None:
    f = compile_grad(lambda x, step: np.sum(x) * step)
    with pytest.warns(RuntimeWarning, match="arguments step are part of the program"):
        for step in range(20):
            f(TABLE, step)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for step in range(20):
            f(TABLE, float(step))


def test_globals_that_keep_changing_are_pointed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    f = compile_grad(lambda x: np.sum(x) * SCALE)
    with pytest.warns(RuntimeWarning, match="because it reads SCALE, which changes"):
        for step in range(20):
            monkeypatch.setitem(globals(), "SCALE", float(step))
            assert f(TABLE) == pytest.approx(6.0 * step)


def test_large_and_circular_settings_are_compared_by_identity(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    circular: dict[str, Any] = {"power": 2.0}
    circular["self"] = circular
    monkeypatch.setitem(globals(), "SETTINGS", circular)
    f = compile_grad(lambda x: np.sum(x) * SETTINGS["power"])
    assert f(TABLE) == 12.0
    large = {f"x{i}": 0.0 for i in range(1000)}
    monkeypatch.setitem(globals(), "SETTINGS", {"power": 3.0, **large})
    assert f(TABLE) == 18.0
