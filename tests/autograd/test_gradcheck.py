"""`gradcheck` and `gradgradcheck`: what they accept, what they find, and what they say."""

from typing import Any

import numpy as np
import pytest

import gradloom as gl
from gradloom.autograd.gradcheck import GradcheckError, gradcheck, gradgradcheck


def leaf(values: Any, dtype: Any = None) -> Any:
    return gl.tensor(values, dtype=dtype or gl.float64, requires_grad=True)


def wrong_by(factor: float) -> Any:
    """Return a custom function x -> x*x whose gradient is off by a factor."""

    class Square(gl.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            return gradient * 2 * factor * ctx.saved_tensors[0]

    return Square.apply


@pytest.mark.parametrize("fast", [False, True])
def test_right_gradients_pass(fast: bool):
    x, w = leaf([[0.5, -1.0], [2.0, 0.25]]), leaf([1.5, -0.5])
    assert gradcheck(lambda a, b: ((a * b).sin(), a.exp() / 3), (x, w), fast_mode=fast)
    assert gradcheck(lambda a: a * 2, x, fast_mode=fast)
    assert gradcheck(wrong_by(1.0), x, fast_mode=fast)
    assert gradgradcheck(lambda a, b: (a * b).sin() * a, (x, w), fast_mode=fast)
    assert gradgradcheck(wrong_by(1.0), x, leaf([[1.0, 2.0], [3.0, 4.0]]), fast_mode=fast)


@pytest.mark.parametrize("fast", [False, True])
def test_wrong_gradients_are_found(fast: bool):
    x = leaf([0.5, -1.0])
    with pytest.raises(
        GradcheckError, match=r"^Jacobian mismatch for output 0 with respect to input 0,\nnumerical:tensor"
    ):
        gradcheck(wrong_by(1.01), x, fast_mode=fast)
    assert not gradcheck(wrong_by(1.01), x, raise_exception=False, fast_mode=fast)
    assert gradcheck(wrong_by(1.01), x, rtol=0.1, fast_mode=fast)
    assert not gradcheck(lambda a: a * a.detach(), x, raise_exception=False, fast_mode=fast)


def test_the_message_shows_both_jacobians():
    with pytest.raises(GradcheckError) as raised:
        gradcheck(lambda a, b: (a * b, a + b.detach() * 3), (leaf([0.5]), leaf([2.0])))
    assert str(raised.value) == (
        "Jacobian mismatch for output 1 with respect to input 1,\n"
        "numerical:tensor([[3.0000]], dtype=gradloom.float64)\n"
        "analytical:tensor([[0.]], dtype=gradloom.float64)\n"
    )


def test_wrong_second_derivatives_are_found():
    class Cube(gl.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x * x

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            (x,) = ctx.saved_tensors
            return gradient * 3 * x * x.detach()

    x = leaf([0.5, 2.0])
    assert gradcheck(Cube.apply, x)
    assert not gradgradcheck(Cube.apply, x, raise_exception=False)


def test_functions_that_use_the_tensor_itself():
    """The elements are moved in place, as PyTorch does it, and put back."""
    x = leaf([0.5, 2.0])
    shared = x.detach().numpy()
    assert gradcheck(lambda _: x * x, x)
    assert x.tolist() == [0.5, 2.0] and x.is_leaf and x.grad is None
    shared[0] = 7.0
    assert x.tolist() == [7.0, 2.0]
    product = x * 2
    assert gradcheck(lambda a: a.sin(), product) and product.tolist() == [14.0, 4.0]


def test_inputs_are_put_back_when_the_function_raises():
    x = leaf([0.5, 2.0])
    calls: list[int] = []

    def function(a: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise ValueError
        return a * 2

    with pytest.raises(ValueError):
        gradcheck(function, x)
    assert x.tolist() == [0.5, 2.0]


def test_outputs_that_need_no_gradient():
    x = leaf([0.5, 2.0])
    assert gradcheck(lambda a: (a * 2, a.detach()), x)
    assert gradcheck(lambda a: gl.ones(2) * 3, x)
    with pytest.raises(GradcheckError, match=r"^Numerical gradient for function expected to be zero"):
        gradcheck(lambda a: a.detach() * 2, x)


def test_backwards_that_differ_from_run_to_run():
    generator = np.random.default_rng(0)

    class Noisy(gl.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            return gradient * (2 + 1e-9 * float(generator.random()))

    x = leaf([0.5])
    with pytest.raises(GradcheckError, match=r"^Backward is not reentrant, i.e., running backward with same input and"):
        gradcheck(Noisy.apply, x)
    assert gradcheck(Noisy.apply, x, nondet_tol=1e-8)


def test_backwards_that_are_not_linear_in_the_cotangent():
    class Shifted(gl.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            return gradient * 2 + (gradient == 0).all() * 1.0

    with pytest.raises(GradcheckError, match=r"^backward not multiplied by grad_output"):
        gradcheck(Shifted.apply, leaf([0.5]))


def test_inputs_that_cannot_be_checked():
    with pytest.raises(ValueError, match=r"^gradcheck expects at least one input tensor to require gradient"):
        gradcheck(lambda a: a * 2, gl.ones(2))
    with pytest.warns(UserWarning, match=r"^Input #0 requires gradient and is not a double precision floating point"):
        gradcheck(lambda a: a * 2, leaf([1.0], gl.float32), eps=1e-2, atol=1e-3)
    with pytest.raises(AssertionError):
        gradcheck(lambda a: a, leaf([1.0]), check_backward_ad=False)
    with pytest.raises(NotImplementedError, match=r"reverse mode alone"):
        gradcheck(lambda a: a, leaf([1.0]), check_forward_ad=True)


def test_the_name_in_the_package_is_the_function_or_its_module():
    assert gl.autograd.gradcheck(lambda a: a.exp(), leaf([1.0]))
