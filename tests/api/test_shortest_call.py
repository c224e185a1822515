"""The shortest way of a call: positional arrays go straight to the native entry of the program used last."""

from typing import Any

import numpy as np
import pytest

import gradloom
from gradloom.exec.executable import BINDER_FROM_CALL, Executable


def warm(function: Any, *args: Any) -> Any:
    for _ in range(BINDER_FROM_CALL):
        function(*args)
    return function(*args)


@pytest.fixture
def rosenbrock() -> Any:
    return gradloom.compile_grad(lambda x: np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2))


def test_a_warm_call_passes_by_the_general_path(rosenbrock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.linspace(0, 1, 10)
    expected = warm(rosenbrock.value_and_grad, x)
    monkeypatch.setattr(Executable, "run", None)
    value, gradient = rosenbrock.value_and_grad(x)
    assert value == expected[0] and type(value) is np.float64
    np.testing.assert_array_equal(gradient, expected[1])


@pytest.mark.parametrize("other", [np.linspace(0, 1, 11), np.linspace(0, 1, 10, dtype=np.float32), np.ones((1, 10))[0]])
def test_other_types_find_their_programs(rosenbrock: Any, other: np.ndarray) -> None:
    x = np.linspace(0, 1, 10)
    grad = rosenbrock.grad
    for _ in range(BINDER_FROM_CALL + 2):
        for each in (x, other):
            result = grad(each)
            assert result.shape == each.shape and result.dtype == each.dtype
            expected = gradloom.grad(lambda x: np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2))(each)
            np.testing.assert_array_equal(result, expected)


def test_a_global_that_is_bound_anew_is_noticed() -> None:
    scope: dict[str, Any] = {"np": np, "SCALE": 2.0}
    exec("def f(x): return np.sum(x * x) * SCALE", scope)
    function: Any = gradloom.compile_grad(scope["f"])  # type: ignore[arg-type]
    x = np.ones(3)
    assert warm(function, x) == 6.0
    scope["SCALE"] = 5.0
    assert function(x) == 15.0


def test_keywords_numbers_and_containers_go_their_own_way() -> None:
    function = gradloom.compile_grad(lambda x, y=1.0: np.sum(x) * y)
    x = np.ones(3)
    assert warm(function, x) == 3.0
    assert function(x, 2.0) == 6.0 and function(x, y=3.0) == 9.0 and function(x, np.float64(4.0)) == 12.0
    assert function(x=x) == 3.0
    nested = gradloom.compile_grad(lambda p: np.sum(p["w"]))
    assert warm(nested, {"w": x}) == 3.0


def test_calls_are_counted() -> None:
    function = gradloom.compile_grad(lambda x: np.sum(x))
    warm(function, np.ones(3))
    before = function.cache_info().hits
    function(np.ones(3))
    assert function.cache_info().hits == before + 1


def test_a_method_does_not_take_anothers_program() -> None:
    class Model:
        def __init__(self, scale: float):
            self.scale = scale

        @gradloom.compile_grad
        def loss(self, x: Any) -> Any:
            return np.sum(x) * self.scale

    x = np.ones(3)
    one, two = Model(1.0), Model(2.0)
    for _ in range(BINDER_FROM_CALL + 2):
        assert one.loss(x) == 3.0 and two.loss(x) == 6.0


def test_results_are_new_each_time(rosenbrock: Any) -> None:
    x = np.linspace(0, 1, 10)
    first = warm(rosenbrock.grad, x)
    second = rosenbrock.grad(x)
    first[:] = 0
    assert second.any()
