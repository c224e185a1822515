"""`check_grads` passes right derivatives and finds wrong ones."""

from typing import Any

import numpy as np
import pytest

import gradloom.check
from gradloom import check_grads, compile_grad, stop_gradient
from gradloomc.ir.errors import DifferentiationError

X = np.array([0.5, -1.0, 2.0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_right_derivatives_pass(dtype: Any, order: int) -> None:
    check_grads(lambda x, y: np.sin(x) * np.exp(y), (X.astype(dtype), X.astype(dtype)), order)


def test_containers_numbers_and_other_results() -> None:
    def f(p: Any, n: Any) -> Any:
        return {"a": p["w"] ** 2 * n, "count": np.sum(n), "name": "f"}, p["b"] * np.sum(p["w"])

    check_grads(f, ({"w": X, "b": 1.5}, np.array([1, 2, 3])))
    check_grads(compile_grad(f), ({"w": X, "b": 1.5}, np.array([1, 2, 3])), order=1)
    check_grads(lambda x: x * 2, (np.zeros((0, 3)),))


def test_a_stopped_gradient_is_found_wrong() -> None:
    with pytest.raises(AssertionError, match=r"order 1 by fwd is wrong"):
        check_grads(lambda x: x * stop_gradient(x), (X,), order=1)
    with pytest.raises(AssertionError, match=r"order 1 by rev is wrong"):
        check_grads(lambda x: x * stop_gradient(x), (X,), order=1, modes=("rev",))


def test_a_wrong_second_derivative_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    right = gradloom.check.jvp

    def wrong(f: Any, primals: Any, tangents: Any) -> Any:
        value, tangent = right(f, primals, tangents)
        return value, tangent + 0.5 * stop_gradient(primals[0])

    monkeypatch.setattr(gradloom.check, "jvp", wrong)
    with pytest.raises(AssertionError, match="derivative of order 1 by fwd"):
        check_grads(lambda x: x * x, (X,))


def test_the_message_names_result_and_place() -> None:
    def f(x: Any) -> Any:
        return {"good": x * x, "bad": x * stop_gradient(x)}

    with pytest.raises(AssertionError, match=r"result\['bad'\] at \[\d\]: got .* differences give"):
        check_grads(f, (X,), order=1)


def test_wrong_use() -> None:
    with pytest.raises(ValueError, match="modes should be chosen"):
        check_grads(np.sin, (X,), modes=("forward",))
    with pytest.raises(DifferentiationError, match="no argument holds floats"):
        check_grads(np.sin, (3,))
