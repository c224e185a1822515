"""`autograd.functional` against Jacobians and Hessians known in closed form; strict mode; wrong arguments."""

from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.autograd import functional

X, W = np.array([0.5, -1.0, 2.0]), np.array([1.5, 0.25, -0.5])


def tensor(values: Any, **options: Any) -> Any:
    return gl.tensor(np.asarray(values).tolist(), dtype=gl.float64, **options)


def energy(x: Any, w: Any) -> Any:
    """Sum of x²w + w³: gradient (2xw, x² + 3w²); Hessian blocks diag(2w), diag(2x), diag(6w)."""
    return (x * x * w + w**3).sum()


def close(actual: Any, expected: Any) -> None:
    np.testing.assert_allclose(actual.detach().numpy(), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("options", [{}, {"vectorize": True}, {"vectorize": True, "strategy": "forward-mode"}])
def test_jacobian_of_several_outputs_and_inputs(options: dict[str, Any]):
    found = functional.jacobian(lambda x, w: (x * w, (w * w).sum()), (tensor(X), tensor(W)), **options)
    (product_by_x, product_by_w), (sum_by_x, sum_by_w) = found
    close(product_by_x, np.diag(W))
    close(product_by_w, np.diag(X))
    close(sum_by_x, np.zeros(3))
    close(sum_by_w, 2 * W)


@pytest.mark.parametrize("options", [{}, {"vectorize": True}])
def test_shapes_follow_how_inputs_and_outputs_are_given(options: dict[str, Any]):
    x = tensor(X.reshape(3, 1))
    one = functional.jacobian(lambda x: x.sin(), x, **options)
    assert one.shape == (3, 1, 3, 1)
    ((inner,),) = functional.jacobian(lambda x: (x.sin(),), (x,), **options)
    close(inner, one.numpy())
    (outer,) = functional.jacobian(lambda x: x.sin(), (x,), **options)
    close(outer, one.numpy())


def test_jacobian_can_be_differentiated():
    x = tensor(X, requires_grad=True)
    found = functional.jacobian(lambda a: a**3, x, create_graph=True)
    close(found, np.diag(3 * X**2))
    found.sum().backward()
    close(x.grad, 6 * X)
    assert not functional.jacobian(lambda a: a**3, x).requires_grad


@pytest.mark.parametrize(
    "options", [{}, {"vectorize": True}, {"vectorize": True, "outer_jacobian_strategy": "forward-mode"}]
)
def test_hessian(options: dict[str, Any]):
    (xx, xw), (wx, ww) = functional.hessian(energy, (tensor(X), tensor(W)), **options)
    for block, diagonal in ((xx, 2 * W), (xw, 2 * X), (wx, 2 * X), (ww, 6 * W)):
        close(block, np.diag(diagonal))
    close(functional.hessian(lambda x: (x**3).sum(), tensor(X), **options), np.diag(6 * X))


def test_products_with_the_jacobian():
    v = tensor([1.0, -2.0, 3.0])
    output, product = functional.vjp(lambda x: x.sin() * 2, tensor(X), v)
    close(output, 2 * np.sin(X))
    close(product, 2 * np.cos(X) * v.numpy())
    output, (of_x, of_w) = functional.vjp(lambda x, w: (x * w).sum(), (tensor(X), tensor(W)))
    close(output, X @ W)
    close(of_x, W)
    close(of_w, X)
    output, product = functional.jvp(lambda x, w: x * w, (tensor(X), tensor(W)), (v, tensor(W)))
    close(output, X * W)
    close(product, v.numpy() * W + X * W)


@pytest.mark.parametrize("function", [functional.vhp, functional.hvp])
def test_products_with_the_hessian(function: Any):
    v, u = tensor([1.0, -2.0, 3.0]), tensor([0.5, 0.5, 1.0])
    output, (of_x, of_w) = function(energy, (tensor(X), tensor(W)), (v, u))
    assert output.item() == pytest.approx((X * X * W + W**3).sum())
    close(of_x, 2 * W * v.numpy() + 2 * X * u.numpy())
    close(of_w, 2 * X * v.numpy() + 6 * W * u.numpy())
    assert not of_x.requires_grad and not output.requires_grad


@pytest.mark.parametrize("function", [functional.vjp, functional.jvp, functional.vhp, functional.hvp])
def test_products_can_be_differentiated(function: Any):
    x = tensor(X, requires_grad=True)
    v = tensor([1.0, -2.0, 3.0])
    second = function in (functional.vhp, functional.hvp)
    output, product = function(lambda a: (a**3).sum() if second else a**3, x, v, create_graph=True)
    assert output.requires_grad
    close(product, (6 * X if second else 3 * X**2) * v.numpy())
    product.sum().backward()
    close(x.grad, (6 if second else 6 * X) * v.numpy())


def test_the_callers_tensors_are_left_alone():
    x = tensor(X, requires_grad=True)
    functional.jacobian(lambda a: a * x, x)
    close(functional.jacobian(lambda a: a * x, x), np.diag(X))  # x in the function is another variable
    assert x.grad is None and x.requires_grad
    with gl.no_grad():
        close(functional.vjp(lambda a: (a * a).sum(), x)[1], 2 * X)


def test_independent_inputs_give_zeros_or_raise_in_strict_mode():
    pair = (tensor(X), tensor(W))
    close(functional.jacobian(lambda x, w: x * 2, pair)[1], np.zeros((3, 3)))
    close(functional.hessian(lambda x, w: x.sum(), pair)[1][1], np.zeros((3, 3)))
    with pytest.raises(
        RuntimeError, match=r"^Output 0 of the user-provided function is independent of input 1. This is"
    ):
        functional.jacobian(lambda x, w: x * 2, pair, strict=True)
    with pytest.raises(
        RuntimeError, match=r"^Output 0 of the user-provided function does not require gradients. The out"
    ):
        functional.jacobian(lambda x: x.detach(), pair[0], strict=True)
    with pytest.raises(
        RuntimeError, match=r"^The output of the user-provided function is independent of input 1. This"
    ):
        functional.vjp(lambda x, w: x.sum(), pair, strict=True)
    with pytest.raises(
        RuntimeError, match=r"found that the jacobian of the user-provided function with respect to input 0"
    ):
        functional.hessian(lambda x: (x * 2).sum(), pair[0], strict=True)
    with pytest.raises(
        RuntimeError, match=r"^The output of the user-provided function is independent of input 1. This"
    ):
        functional.jvp(lambda x, w: x * x, pair, pair, strict=True)


def test_wrong_arguments():
    x = tensor(X)
    with pytest.raises(
        TypeError, match=r"^The inputs given to vjp must be either a Tensor or a tuple of Tensors but the gi"
    ):
        functional.vjp(lambda a: a, 3.0)
    with pytest.raises(TypeError, match=r"^The outputs of the user-provided function given to jacobian must be either"):
        functional.jacobian(lambda a: 3.0, x)
    with pytest.raises(RuntimeError, match=r"^v has invalid size: should be gradloom.Size\(\[3\]\) but got"):
        functional.vjp(lambda a: a, x, tensor([1.0]))
    with pytest.raises(
        RuntimeError, match=r"^The vector v can only be None if the input to the user-provided function is"
    ):
        functional.jvp(lambda a: a, x)
    with pytest.raises(RuntimeError, match=r"^v is a tuple of invalid length: should be 2 but got 1"):
        functional.jvp(lambda a, b: a, (x, x), x)
    with pytest.raises(RuntimeError, match=r"^The function given to hvp should return a single Tensor"):
        functional.hvp(lambda a: (a.sum(),), x, x)
    with pytest.raises(
        RuntimeError, match=r"^The Tensor returned by the function given to vhp should contain a single"
    ):
        functional.vhp(lambda a: a, x, x)
    with pytest.raises(RuntimeError, match=r"`strict=True` and `vectorized=True` are not supported together"):
        functional.jacobian(lambda a: a, x, strict=True, vectorize=True)
    with pytest.raises(AssertionError, match=r"^Expected strategy to be either"):
        functional.jacobian(lambda a: a, x, strategy="sideways")


def test_recorded_gradients_depend_on_what_was_not_asked_for():
    x, w = tensor(X, requires_grad=True), tensor(W, requires_grad=True)
    for factor in (w, w * 1, w.exp()):
        (first,) = gl.autograd.grad((x * factor).sum(), x, create_graph=True)
        assert first.requires_grad
        close(
            gl.autograd.grad(first.sum(), w)[0], np.exp(W) if factor.grad_fn and "Exp" in repr(factor) else np.ones(3)
        )


@pytest.mark.parametrize("same", [lambda x: x * 1, lambda x: x.view_as(x), lambda x: x.clone()])
def test_recorded_gradients_by_a_result_that_is_its_operand(same: Any):
    y = same(tensor(X, requires_grad=True))
    (first,) = gl.autograd.grad((y**3).sum(), y, create_graph=True)
    close(gl.autograd.grad(first.sum(), y)[0], 6 * X)
