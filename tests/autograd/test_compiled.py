"""Tensors given to compiled NumPy functions take part in the graph; the IR of graphs can be looked at."""

from typing import Any, NamedTuple

import numpy as np
import pytest

import gradloom as gl
from gradloom.autograd.inspection import ir
from gradloomc.ir.errors import UnsupportedError


@gl.compile_grad
def weighted(w: Any, x: Any, scale: float = 1.0) -> Any:
    return np.sum(np.sin(x @ w)) * scale


class Fit(NamedTuple):
    loss: Any
    residual: Any


@gl.compile_grad
def fit(params: Any, x: Any, y: Any) -> Fit:
    residual = x @ params["w"] + params["b"] - y
    return Fit(np.mean(residual**2), residual)


def leaf(values: Any, dtype: Any = np.float64) -> Any:
    return gl.tensor(np.asarray(values, dtype), requires_grad=True)


X = np.random.default_rng(0).standard_normal((5, 3))
W = np.array([0.1, -0.2, 0.3])


def test_a_call_is_a_node_of_the_graph() -> None:
    w = leaf(W)
    result = weighted(w, X)
    assert isinstance(result, gl.Tensor) and result.requires_grad
    assert result.grad_fn.name() == "weightedBackward"
    assert result.item() == pytest.approx(float(weighted(W, X)), rel=1e-14)
    assert not weighted(w.detach(), X).requires_grad


@pytest.mark.parametrize("steps", [1, 4])
def test_gradients_flow_through_it(steps: int) -> None:
    for _ in range(steps):
        w = leaf(W)
        (weighted(w * w, X, scale=3.0) + w.sum()).backward()
        expected = 3 * (np.cos(X @ (W * W)) @ X) * 2 * W + 1
        np.testing.assert_allclose(w.grad.numpy(), expected, rtol=1e-12)


def test_second_derivatives() -> None:
    w = leaf(W)
    (g,) = gl.autograd.grad(weighted(w, X), w, create_graph=True)
    (h,) = gl.autograd.grad(g.sum(), w)
    expected = gl.hessian(lambda w: np.sum(np.sin(X @ w)))(W).sum(0)
    np.testing.assert_allclose(h.numpy(), expected, rtol=1e-12)


def test_containers_in_and_out() -> None:
    w, b = leaf(W), leaf(0.5)
    y = np.arange(5.0)
    result = fit({"w": w, "b": b}, X, y=y)
    assert isinstance(result, Fit) and result.residual.shape == (5,)
    (result.loss + result.residual.sum()).backward()
    residual = X @ W + 0.5 - y
    np.testing.assert_allclose(result.residual.detach().numpy(), residual)
    np.testing.assert_allclose(b.grad.item(), 2 * residual.mean() + 5)
    np.testing.assert_allclose(w.grad.numpy(), 2 * residual @ X / 5 + X.sum(0))


def test_keyword_arguments_find_their_places() -> None:
    w, x = leaf(W), gl.tensor(X)
    weighted(scale=2.0, x=x, w=w).backward()
    np.testing.assert_allclose(w.grad.numpy(), 2 * np.cos(X @ W) @ X)


def test_dtypes_stay() -> None:
    w = leaf(W, np.float32)
    result = weighted(w, X.astype(np.float32))
    assert result.dtype is gl.float32
    result.backward()
    assert w.grad.dtype is gl.float32


def test_captured_arrays_take_part() -> None:
    table = np.random.default_rng(1).standard_normal(40)
    f = gl.compile_grad(lambda x: np.sum(np.exp(x) * table))
    x = leaf(np.linspace(0, 1, 40))
    f(x).backward()
    np.testing.assert_allclose(x.grad.numpy(), np.exp(np.linspace(0, 1, 40)) * table)


def test_a_method_takes_tensors() -> None:
    class Model:
        def __init__(self) -> None:
            self.gain = 2.0

        @gl.compile_grad
        def loss(self, w: Any) -> Any:
            return np.sum(w * w) * self.gain

    w = leaf(W)
    Model().loss(w).backward()
    np.testing.assert_allclose(w.grad.numpy(), 4 * W)


def test_transforms_ask_for_arrays() -> None:
    with pytest.raises(UnsupportedError, match="a Tensor is no NumPy array"):
        weighted.grad(leaf(W), X)


# --- IR ---------------------------------------------------------------------------------------------------------------


def test_the_levels_of_a_graph() -> None:
    x = leaf([1.0, 2.0])
    loss = ((x * 2).exp()).sum()
    recorded = ir(loss)
    assert "func.func @recorded" in recorded and "nd.exp" in recorded and "nd.reduce_sum" in recorded
    adjoint = ir(loss, level="adjoint")
    assert adjoint.count("-> (tensor<f64>, tensor<2xf64>)") >= 1, adjoint
    assert "kernel.nest" in ir(loss, level="kernels")
    assert "loops." in ir(loss, level="loops")
    assert "define void" in ir(loss, level="llvm")
    assert "ret" in ir(loss, level="asm")
    assert '"func.func"' in ir(loss, level="nd", generic=True)
    loss.backward()  # looking has changed nothing
    np.testing.assert_allclose(x.grad.numpy(), 2 * np.exp([2.0, 4.0]))


def test_a_graph_without_gradients_has_levels_too() -> None:
    y = gl.tensor([1.0, 2.0]).exp() * 2
    assert "nd.exp" in ir(y) and "kernel.nest" in ir(y, level="kernels")


def test_what_cannot_be_shown_is_said() -> None:
    x = leaf([1.0])
    with pytest.raises(RuntimeError, match="was not computed by an operation"):
        ir(x)
    loss = (x * x).sum()
    with pytest.raises(UnsupportedError, match="no level 'nonsense'"):
        ir(loss, level="nonsense")
    loss.backward()
    with pytest.raises(RuntimeError, match="has been given up"):
        ir(loss)
