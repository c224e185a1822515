"""`out=`: gradients go into arrays that the caller keeps."""

from typing import Any

import numpy as np
import pytest

from gradloom import compile_grad, grad, value_and_grad
from gradloom.exec.memory import pool
from gradloomc.ir.errors import DTypeError, ExecutionError, ShapeError, UnsupportedError

RNG = np.random.default_rng(7)


def energy(x, scale=2.0):
    return np.sum(np.sin(x) ** 2 * scale)


def expected(x: Any, scale: float = 2.0) -> Any:
    return scale * np.sin(2 * x)


@pytest.mark.parametrize("calls", [1, 6])
@pytest.mark.parametrize("size", [5, 3000, 40_000])
def test_the_given_array_is_returned(size: int, calls: int) -> None:
    x = RNG.normal(size=size)
    out = np.empty_like(x)
    function = value_and_grad(energy)
    for _ in range(calls):
        x += 0.1
        value, gradient = function(x, out=out)
        assert gradient is out
        np.testing.assert_allclose(out, expected(x), rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(value, energy(x), rtol=1e-13)
        _, fresh = function(x)
        assert not np.may_share_memory(fresh, out)
        np.testing.assert_array_equal(fresh, out)


def test_no_memory_is_drawn_for_it() -> None:
    x = RNG.normal(size=100_000)
    out = np.empty_like(x)
    function = grad(energy)
    function(x, out=out)
    before = pool.total_bytes
    for _ in range(5):
        assert function(x, out=out) is out
    assert pool.total_bytes == before


@pytest.mark.parametrize("place", [slice(None), slice(None, None, -1), slice(0, None, 2)])
def test_arrays_of_all_kinds(place: slice) -> None:
    whole = np.zeros(4000)
    out = whole[place]
    x = RNG.normal(size=len(out))
    assert grad(energy)(x, out=out) is out
    np.testing.assert_allclose(out, expected(x), rtol=1e-12, atol=1e-14)
    swapped = np.empty(len(x), np.dtype(np.float64).newbyteorder())
    grad(energy)(x, out=swapped)
    np.testing.assert_array_equal(swapped, out)


def test_an_argument_may_take_its_own_gradient() -> None:
    x = RNG.normal(size=1000)
    want = expected(x)
    assert grad(energy)(x, out=x) is x
    np.testing.assert_allclose(x, want, rtol=1e-12, atol=1e-14)


def test_containers_and_several_arguments() -> None:
    def loss(params, x):
        return np.sum((x @ params["w"] + params["b"]) ** 2)

    params = {"w": RNG.normal(size=(4, 3)), "b": RNG.normal(size=3)}
    x = RNG.normal(size=(9, 4))
    out = {"b": np.empty(3), "w": np.empty((4, 3))}
    function = compile_grad(loss)
    gradient = function.grad(params, x, out=out)
    fresh = function.grad(params, x)
    for name in params:
        assert gradient[name] is out[name]
        np.testing.assert_allclose(out[name], fresh[name], rtol=1e-12)
    both = grad(loss, argnums=(0, 1))(params, x, out=(None, np.empty_like(x)))
    np.testing.assert_allclose(both[0]["w"], fresh["w"], rtol=1e-12)


def test_a_parameter_of_that_name_is_the_functions_own() -> None:
    def scaled(x, out):
        return np.sum(x * out)

    np.testing.assert_array_equal(grad(scaled)(np.ones(3), out=np.full(3, 2.0)), np.full(3, 2.0))


def test_what_does_not_fit_is_refused() -> None:
    x = np.ones(3)
    frozen = np.empty(3)
    frozen.flags.writeable = False
    for out, error in (
        (np.empty(4), ShapeError),
        (np.empty(3, np.float32), DTypeError),
        (frozen, ExecutionError),
        ([0.0, 0.0, 0.0], ShapeError),
        (3.0, TypeError),
    ):
        with pytest.raises(error, match="out"):
            grad(energy)(x, out=out)
    with pytest.raises(UnsupportedError, match="has_aux"):
        grad(lambda x: (np.sum(x), x), has_aux=True)(x, out=np.empty(3))
