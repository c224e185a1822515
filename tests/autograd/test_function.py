"""Custom functions: what the corpus has no program for. Marks, misuse, freed graphs, second order, hooks on them."""

import gc
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import gradloom as gl

Function = gl.autograd.Function


def leaf(*values: float, dtype: Any = None) -> Any:
    return gl.tensor(list(values), dtype=dtype, requires_grad=True)


def make(forward: Callable[..., Any], backward: Callable[..., Any] = lambda ctx, *g: g[0], name: str = "G") -> Any:
    """Return a custom function of these two."""
    return type(name, (Function,), {"forward": staticmethod(forward), "backward": staticmethod(backward)})


class Exp(Function):
    """Saves its result."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        result = x.exp()
        ctx.save_for_backward(result)
        return result

    @staticmethod
    def backward(ctx: Any, grad_output: Any) -> Any:
        (result,) = ctx.saved_tensors
        return grad_output * result


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


# --- in the graph -----------------------------------------------------------------------------------------------------


def test_names_and_edges():
    x = leaf(1.0, 2.0)
    y = make(lambda ctx, x, plain, number: x * 2, name="Mine").apply(x, gl.ones(2), 3)
    assert repr(y.grad_fn).startswith("<MineBackward object at 0x") and y.grad_fn.name() == "MineBackward"
    assert repr(y) == "tensor([2., 4.], grad_fn=<MineBackward>)"
    (edge, _), other = y.grad_fn.next_functions
    assert edge.variable is x and other == (None, 0)  # tensors alone have an edge
    assert y.grad_fn.needs_input_grad == (True, False, False)


def test_node_has_the_attributes_of_the_context():
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        ctx.note = "kept"
        return x * 2

    x = leaf(1.0)
    y = make(forward).apply(x)
    assert y.grad_fn.note == "kept" and y.grad_fn.saved_tensors[0] is x
    with pytest.raises(AttributeError):
        y.grad_fn.missing  # noqa: B018


def test_results_of_all_kinds():
    y = make(lambda ctx, x: (x * 2, 3, None, gl.tensor([1]))).apply(leaf(1.0))
    assert y[0].requires_grad and y[1:3] == (3, None) and not y[3].requires_grad
    assert make(lambda ctx, x: ()).apply(leaf(1.0)) == ()
    assert isinstance(make(lambda ctx, x: [x * 2]).apply(leaf(1.0)), list)


def test_one_tensor_returned_twice_stands_for_the_last():
    def forward(ctx: Any, x: Any) -> Any:
        y = x * 2
        return y, y

    x = leaf(1.0)
    first, second = make(forward, lambda ctx, a, b: a + 10 * b).apply(x)
    assert first is second and first.output_nr == 1
    first.sum().backward()
    assert x.grad.item() == 10.0


def test_results_used_together_pass_once():
    calls: list[Any] = []

    def backward(ctx: Any, a: Any, b: Any) -> Any:
        calls.append((a.item(), b.item()))
        return a * 2 + b * 3

    x = leaf(1.0)
    a, b = make(lambda ctx, x: (x * 2, x * 3), backward).apply(x)
    inner = a * 5  # lies between the two results
    (inner * b).sum().backward()
    assert calls == [(15.0, 10.0)] and x.grad.item() == 60.0


def test_chain_of_functions_between_operations():
    x = leaf(0.5, 1.5, dtype=gl.float64)
    y = (Exp.apply(Exp.apply(x.sin()) * x) + Exp.apply(x)).sum()
    y.backward()
    x2 = leaf(0.5, 1.5, dtype=gl.float64)
    ((x2.sin().exp() * x2).exp() + x2.exp()).sum().backward()
    np.testing.assert_allclose(x.grad.tolist(), x2.grad.tolist(), rtol=1e-14)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_differentiable_through_a_saved_result(order: int):
    x = leaf(0.3, -0.7, dtype=gl.float64)
    y = Exp.apply(x * 2)
    for _ in range(order):
        (y,) = gl.autograd.grad(y.sum(), x, create_graph=True)
    np.testing.assert_allclose(y.tolist(), 2**order * np.exp([0.6, -1.4]), rtol=1e-13)


def test_second_order_where_only_one_result_is_left():
    class Both(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            sine, cosine = x.sin(), x.cos()
            ctx.save_for_backward(sine, cosine)
            return sine, cosine

        @staticmethod
        def backward(ctx: Any, of_sine: Any, of_cosine: Any) -> Any:
            sine, cosine = ctx.saved_tensors
            return of_sine * cosine - of_cosine * sine

    x = leaf(0.4, dtype=gl.float64)
    y = Both.apply(x)[0]
    (first,) = gl.autograd.grad(y.sum(), x, create_graph=True)
    (second,) = gl.autograd.grad(first.sum(), x)
    assert first.item() == pytest.approx(np.cos(0.4)) and second.item() == pytest.approx(-np.sin(0.4))


def test_backward_that_is_not_reached_is_not_called():
    def fail(ctx: Any, gradient: Any) -> Any:
        raise AssertionError

    x, w = leaf(1.0), leaf(2.0)
    y = make(lambda ctx, x: x * 2, fail).apply(x)
    assert gl.autograd.grad((y * w).sum(), w, retain_graph=True)[0].item() == 2.0
    assert gl.autograd.grad((y * w).sum(), y)[0].item() == 2.0


def test_two_leaves_that_get_one_gradient_do_not_share_it():
    x, w = leaf(1.0), leaf(2.0)
    make(lambda ctx, x, w: x + w, lambda ctx, g: (g, g)).apply(x, w).sum().backward()
    x.grad.zero_()
    assert (x.grad.item(), w.grad.item()) == (0.0, 1.0)
    del x.grad
    make(lambda ctx, x, w: x + w, lambda ctx, g: (g, g)).apply(x, w).sum().backward()
    assert (x.grad.item(), w.grad.item()) == (1.0, 2.0)


def test_hooks_on_functions():
    calls: list[Any] = []
    x = leaf(1.0)
    a, b = make(lambda ctx, x: (x * 1, x * 2), lambda ctx, a, b: (b * 2,)).apply(x)
    a.grad_fn.register_prehook(lambda outputs: calls.append([each and each.item() for each in outputs]))
    b.grad_fn.register_hook(lambda inputs, outputs: (inputs[0] * 10,))
    b.register_hook(lambda gradient: gradient * 3)
    b.retain_grad()
    b.sum().backward()
    assert calls == [[None, 3.0]] and x.grad.item() == 60.0 and b.grad.item() == 3.0


def test_keywords_and_defaults():
    class Scaled(Function):
        @staticmethod
        def forward(x: Any, factor: float = 2.0) -> Any:
            return x * factor

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            assert not gl.is_grad_enabled() and not output.requires_grad
            ctx.factor = inputs[1]

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            return gradient * ctx.factor, None

    x = leaf(1.0)
    (Scaled.apply(x) + Scaled.apply(x, factor=5.0)).sum().backward()
    assert x.grad.item() == 7.0


# --- what is kept -----------------------------------------------------------------------------------------------------


def test_saved_tensors_are_the_same_objects():
    seen: list[Any] = []

    def forward(ctx: Any, x: Any, plain: Any) -> Any:
        ctx.save_for_backward(x, plain, None)
        assert ctx.saved_tensors == ()
        return x * 2

    def backward(ctx: Any, gradient: Any) -> Any:
        seen.append(ctx.saved_tensors)
        return gradient, None

    x, plain = leaf(1.0), gl.ones(1)
    z = x * 1
    make(forward, backward).apply(z, plain).sum().backward()
    assert seen[0][0] is z and seen[0][1] is plain and seen[0][2] is None


def test_saved_tensors_are_freed_once_they_are_read():
    y = Exp.apply(leaf(1.0))
    y.sum().backward()
    with pytest.raises(RuntimeError, match=r"^Trying to backward through the graph a second time"):
        y.grad_fn.saved_tensors  # noqa: B018
    plain = make(lambda ctx, x: x * 2).apply(leaf(1.0))
    plain.sum().backward()
    plain.sum().backward()  # saves nothing, so nothing is missed


def test_saved_result_written_in_place():
    y = Exp.apply(leaf(1.0, 2.0) * 1)
    loss = (y * 1).sum()
    y.add_(1)
    with pytest.raises(RuntimeError) as raised:
        loss.backward()
    assert str(raised.value).startswith(
        "one of the variables needed for gradient computation has been modified by an inplace operation: "
        "[gradloom.FloatTensor [2]], which is output 0 of Exp, is at version 1; expected version 0 instead."
    )


@pytest.mark.parametrize(
    "apply", [Exp.apply, lambda x: make(lambda ctx, x: (x * 2, x * 3), lambda ctx, a, b: a + b).apply(x)[1]]
)
def test_graphs_are_freed_without_the_collector(apply: Any, no_collector: None):
    output = apply(leaf(1.0))
    loss = (output * 2).sum()
    nodes = [weakref.ref(output.grad_fn), weakref.ref(output.grad_fn.extra["call"])]
    loss.backward()
    del output
    assert nodes[0]() is not None
    del loss
    assert [node() for node in nodes] == [None, None]


def test_saving_a_tensor_that_comes_to_depend_on_the_call(no_collector: None):
    def forward(ctx: Any, x: Any, state: Any) -> Any:
        ctx.save_for_backward(state)
        return x * state

    state = gl.ones(1)
    y = make(forward).apply(leaf(1.0), state)
    node = weakref.ref(y.grad_fn)
    state.add_(y)
    del y, state
    assert node() is None


# --- writing ----------------------------------------------------------------------------------------------------------


def test_results_that_are_views_cannot_be_written():
    x = leaf(1.0)
    y = make(lambda ctx, x: x).apply(x)
    assert y is not x
    with pytest.raises(RuntimeError, match=r"^Output 0 of G is a view and is being modified inplace"):
        y.add_(1)
    z = make(lambda ctx, x: x * 1).apply(x)
    assert z.add_(1).tolist() == [2.0]


def test_dirty_arguments_must_be_returned():
    def forward(ctx: Any, x: Any) -> Any:
        ctx.mark_dirty(x.add_(1))
        return x * 1

    with pytest.raises(
        RuntimeError, match=r"^Some elements marked as dirty during the forward method were not returned"
    ):
        make(forward).apply(leaf(1.0) * 1)


def test_a_dirty_argument_is_a_write_that_the_version_check_sees():
    def forward(ctx: Any, x: Any) -> Any:
        x.mul_(3)
        ctx.mark_dirty(x)
        return x

    leaf_ = leaf(2.0)
    x = leaf_ * 1
    squared = x**2
    y = make(forward, lambda ctx, g: g * 3).apply(x)
    assert y is x and y.grad_fn.name() == "GBackward"
    with pytest.raises(RuntimeError, match=r"modified by an inplace operation"):
        squared.sum().backward()
    y.sum().backward()
    assert leaf_.grad.item() == 3.0


# --- misuse -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "backward, text",
    [
        (lambda ctx, g: (g, g), "function GBackward returned a gradient different than None at position 2, but the "),
        (lambda ctx, g: (g, g, g), "function GBackward returned an incorrect number of gradients (expected 2, got 3)"),
        (lambda ctx, g: g, "function GBackward returned an incorrect number of gradients (expected 2, got 1)"),
        (lambda ctx, g: ([g], None), "expected Variable or None (got list)"),
        (
            lambda ctx, g: (gl.ones(1), None),
            "Function GBackward returned an invalid gradient at index 0 - got [1] but ",
        ),
    ],
)
def test_wrong_backwards(backward: Any, text: str):
    y = make(lambda ctx, x, number: x * 2, backward).apply(leaf(1.0, 2.0), 3)
    with pytest.raises(RuntimeError) as raised:
        y.sum().backward()
    message = str(raised.value)
    assert message.startswith(text) and "make(lambda ctx, x, number" in message  # the line where it was applied


def test_wrong_forwards():
    x = leaf(1.0)
    with pytest.raises(TypeError, match=r"^save_for_backward can only save variables, but argument 0 is of type int"):
        make(lambda ctx, x: (ctx.save_for_backward(3), x * 2)[1]).apply(x)
    with pytest.raises(NotImplementedError, match=r"^You must implement the forward function"):
        Function.apply(x)
    both = type("B", (make(lambda ctx, x: x * 2),), {"vjp": staticmethod(lambda ctx, g: g)})
    with pytest.raises(RuntimeError, match=r"^Implementing both 'backward' and 'vjp'"):
        both.apply(x).sum().backward()
    with pytest.warns(DeprecationWarning, match=r"should not be instantiated"):
        Exp()


def test_vjp_is_another_name_of_backward():
    methods = {"forward": staticmethod(lambda ctx, x: x * 2), "vjp": staticmethod(lambda ctx, g: g * 7)}
    x = leaf(1.0)
    type("V", (Function,), methods).apply(x).sum().backward()
    assert x.grad.item() == 7.0


def test_once_differentiable_refuses_the_second_time():
    class Square(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @gl.autograd.function.once_differentiable
        def backward(ctx: Any, gradient: Any) -> Any:
            assert not gl.is_grad_enabled()
            return gradient * 2 * ctx.saved_tensors[0]

    x = leaf(3.0)
    (first,) = gl.autograd.grad((Square.apply(x) ** 2).sum(), x, create_graph=True)
    assert first.item() == 108.0 and first.grad_fn.name() == "Error"
    with pytest.raises(
        RuntimeError, match=r"^trying to differentiate twice a function that was marked with @once_diff"
    ):
        first.sum().backward()


# --- anomaly detection ------------------------------------------------------------------------------------------------


def test_anomaly_detection_names_the_forward_line_of_a_nan():
    x = leaf(-1.0, 4.0)
    y = x.sqrt()
    loss = (y * 2).sum()
    with (
        gl.autograd.set_detect_anomaly(True),
        pytest.warns(UserWarning, match=r"Error detected in SqrtBackward0") as seen,
    ):
        with pytest.raises(RuntimeError) as raised:
            loss.backward()
    assert str(raised.value).startswith("Function 'SqrtBackward0' returned nan values in its 0th output.")
    assert "y = x.sqrt()" in str(raised.value) and "y = x.sqrt()" in str(seen[0].message)
    assert x.grad is None and not gl.is_anomaly_enabled()


def test_anomaly_detection_without_looking_for_nans():
    x = leaf(-1.0, 4.0)
    with gl.autograd.set_detect_anomaly(True, check_nan=False):
        x.sqrt().sum().backward()
    assert np.isnan(x.grad.tolist()[0]) and x.grad.tolist()[1] == 0.25


def test_anomaly_detection_names_the_forward_line_of_an_error():
    def fail(ctx: Any, gradient: Any) -> Any:
        raise ValueError("in the backward")

    with pytest.warns(UserWarning) as seen, gl.autograd.detect_anomaly():
        assert gl.is_anomaly_enabled() and gl.is_anomaly_check_nan_enabled()
        with pytest.raises(ValueError, match=r"in the backward"):
            make(lambda ctx, x: x * 2, fail).apply(leaf(1.0)).sum().backward()
    messages = [str(each.message) for each in seen]
    assert messages[0].startswith("Anomaly Detection has been enabled. This mode will increase the runtime")
    assert messages[1].startswith("Error detected in GBackward. Traceback of forward call that caused the error:\n")
    assert "make(lambda ctx, x: x * 2, fail)" in messages[1]


@pytest.mark.parametrize("create_graph", [False, True])
def test_anomaly_detection_changes_no_result(create_graph: bool):
    def run() -> Any:
        x, w = leaf(0.5, 1.5, dtype=gl.float64), leaf(2.0, dtype=gl.float64)
        h = (x * w).sin() * x.exp()
        h.retain_grad()
        loss = (h * h + Exp.apply(h)).sum() / 2
        loss.backward(create_graph=create_graph)
        found = [x.grad, w.grad, h.grad]
        if create_graph:
            found.append(gl.autograd.grad(x.grad.sum(), w)[0])
        else:
            with pytest.raises(RuntimeError, match=r"a second time"):
                loss.backward()
        return [each.tolist() for each in found]

    plain = run()
    with warnings.catch_warnings(), gl.autograd.set_detect_anomaly(True):
        warnings.simplefilter("ignore")
        slow = run()
    for a, b in zip(plain, slow, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)
