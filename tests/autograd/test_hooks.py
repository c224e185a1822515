"""Hooks on tensors and nodes: order, replacement, what they may return, when they are called."""

import gc
import weakref
from typing import Any

import pytest

import gradloom as gl


def leaf(*values: float) -> Any:
    return gl.tensor(list(values), requires_grad=True)


def test_order_of_hooks_on_a_result():
    calls: list[Any] = []
    x = leaf(1.0)
    y = x * 3
    y.grad_fn.register_prehook(lambda outputs: calls.append(("before", outputs[0].item())))
    y.register_hook(lambda gradient: calls.append(("tensor", gradient.item())))
    y.grad_fn.register_hook(
        lambda inputs, outputs: calls.append(("after", inputs[0].item(), inputs[1], outputs[0].item()))
    )
    y.sum().backward()
    assert calls == [("tensor", 1.0), ("before", 1.0), ("after", 3.0, None, 1.0)]


def test_order_of_hooks_on_a_leaf():
    calls: list[Any] = []
    x = leaf(1.0)
    node = gl.autograd.graph.get_gradient_edge(x).node
    node.register_prehook(lambda outputs: calls.append("before") or (outputs[0] * 2,))
    node.register_hook(lambda inputs, outputs: calls.append(("after", inputs, outputs[0].item())))
    x.register_hook(lambda gradient: calls.append("tensor"))
    x.register_post_accumulate_grad_hook(lambda each: calls.append(("accumulated", each.grad.item())))
    (x * 2).sum().backward()
    assert calls == ["tensor", "before", ("accumulated", 4.0), ("after", (), 4.0)]
    calls.clear()
    gl.autograd.grad((x * 2).sum(), x)
    assert calls == ["tensor"]


def test_hooks_of_leaves_come_between_those_of_results():
    """A leaf is complete as soon as nothing more leads to it, and its hook is called then."""
    calls: list[str] = []
    x, w = leaf(2.0), leaf(3.0)
    h = x * x
    h.register_hook(lambda gradient: calls.append("h"))
    y = h * w
    y.register_hook(lambda gradient: calls.append("y"))
    w.register_hook(lambda gradient: calls.append("w"))
    x.register_hook(lambda gradient: calls.append("x"))
    y.sum().backward()
    assert calls == ["y", "w", "h", "x"]


def test_a_hook_registered_twice_is_called_twice():
    x = leaf(1.0)
    double = lambda gradient: gradient * 2  # noqa: E731
    x.register_hook(double)
    handle = x.register_hook(double)
    (x * 1).sum().backward()
    assert x.grad.item() == 4.0
    handle.remove()
    del x.grad
    (x * 1).sum().backward()
    assert x.grad.item() == 2.0


@pytest.mark.parametrize("retain_first", [False, True])
def test_retained_gradients_are_those_after_the_hooks(retain_first: bool):
    x = leaf(1.0)
    y = x * 3
    steps = [lambda: y.register_hook(lambda gradient: gradient * 2), y.retain_grad]
    for step in reversed(steps) if retain_first else steps:
        step()
    y.sum().backward()
    assert (y.grad.item(), x.grad.item()) == (2.0, 6.0)


def test_captured_gradients_are_those_before_the_hooks_unless_the_backward_ends_there():
    x = leaf(1.0)
    y = x * 3
    y.register_hook(lambda gradient: gradient * 2)
    z = (y * y).sum()
    first = gl.autograd.grad(z, [y, x], retain_graph=True)
    assert [each.item() for each in first] == [6.0, 36.0]
    assert gl.autograd.grad(z, y)[0].item() == 12.0


def test_hooks_belong_to_the_value_and_retaining_to_the_tensor():
    calls: list[Any] = []
    x = leaf(1.0)
    y = x * 3
    y.register_hook(lambda gradient: calls.append(("old", gradient.item())))
    y.retain_grad()
    y.mul_(2)
    y.register_hook(lambda gradient: calls.append(("new", gradient.item())))
    (y * 5).sum().backward()
    assert calls == [("new", 5.0), ("old", 10.0)]
    assert y.retains_grad and y.grad.item() == 5.0


@pytest.mark.parametrize("on_leaf", [True, False])
@pytest.mark.parametrize(
    "result, kind, text",
    [
        (lambda g: 3.0, TypeError, "expected Variable, but hook returned 'float'"),
        (lambda g: gl.ones(3), RuntimeError, "hook '<lambda>' has changed the size of value"),
        (
            lambda g: gl.tensor([1, 2]),
            RuntimeError,
            "hook '<lambda>' has changed the type of value (was gradloom.FloatTensor got gradloom.LongTensor)",
        ),
    ],
)
def test_wrong_results_of_tensor_hooks(on_leaf: bool, result: Any, kind: type[Exception], text: str):
    x = leaf(1.0, 2.0)
    y = x * 2
    (x if on_leaf else y).register_hook(result)
    with pytest.raises(kind) as raised:
        y.sum().backward()
    assert str(raised.value).startswith(text)
    assert x.grad is None


@pytest.mark.parametrize(
    "result, kind, text",
    [
        (lambda i, o: i[0], TypeError, "expected tuple, but hook returned 'Tensor'"),
        (
            lambda i, o: (i[0],),
            RuntimeError,
            "hook '<lambda>' has returned an incorrect number of values (got 1, but exp",
        ),
        (lambda i, o: (i[0], i[0]), RuntimeError, "can't replace a None gradient with a non-None value"),
        (lambda i, o: (gl.ones(3), None), RuntimeError, "hook '<lambda>' has changed the size of value"),
    ],
)
def test_wrong_results_of_node_hooks(result: Any, kind: type[Exception], text: str):
    y = leaf(1.0, 2.0) * 2
    y.grad_fn.register_hook(result)
    with pytest.raises(kind) as raised:
        y.sum().backward()
    assert str(raised.value).startswith(text)


def test_node_hooks_see_each_operand_by_itself():
    """The gradient of a square has two parts, which only meet at the leaf."""
    seen: list[Any] = []
    x = leaf(3.0)
    y = x * x
    y.grad_fn.register_hook(lambda inputs, outputs: seen.append([each.item() for each in inputs]) or (inputs[0], None))
    y.sum().backward()
    assert seen == [[3.0, 3.0]] and x.grad.item() == 3.0


def test_node_hooks_can_be_differentiated_through():
    x = leaf(2.0)
    y = x**3
    y.grad_fn.register_hook(lambda inputs, outputs: (inputs[0] * 2,))
    (first,) = gl.autograd.grad(y.sum(), x, create_graph=True)
    (second,) = gl.autograd.grad(first.sum(), x)
    assert (first.item(), second.item()) == (24.0, 24.0)


def test_node_hooks_with_a_graph_walked_twice():
    calls: list[int] = []
    x = leaf(2.0)
    y = x.exp()
    y.grad_fn.register_hook(lambda inputs, outputs: calls.append(1))
    loss = y.sum()
    loss.backward(retain_graph=True)
    loss.backward()
    assert len(calls) == 2
    with pytest.raises(RuntimeError, match=r"Trying to backward through the graph a second time"):
        loss.backward()


def test_prehook_that_stops_the_gradient():
    x = leaf(1.0)
    y = x * 2
    y.grad_fn.register_prehook(lambda outputs: (None,))
    (y + x).sum().backward()
    assert x.grad.item() == 1.0


def test_hooks_off_the_way_to_the_inputs_are_not_called():
    calls: list[str] = []
    x, w = leaf(1.0), leaf(2.0)
    a, b = x * 2, w * 3
    a.register_hook(lambda gradient: calls.append("a"))
    b.register_hook(lambda gradient: calls.append("b"))
    x.register_hook(lambda gradient: calls.append("x"))
    gl.autograd.grad((a * b).sum(), w)
    assert calls == ["b"]


def test_a_gradient_that_a_hook_keeps_is_not_overwritten():
    seen: list[Any] = []
    x = leaf(1.0)
    x.register_hook(seen.append)
    (x * 2).sum().backward()
    (x * 3).sum().backward()
    assert [each.item() for each in seen] == [2.0, 3.0] and x.grad.item() == 5.0
    x.grad.zero_()
    assert [each.item() for each in seen] == [2.0, 3.0]


def test_post_accumulate_hook_may_update_the_leaf():
    """It runs as a backward does: without recording."""
    x = leaf(1.0)

    def update(each: Any) -> None:
        each.sub_(0.5 * each.grad)
        each.grad = None

    x.register_post_accumulate_grad_hook(update)
    (x * 2).sum().backward()
    assert x.item() == 0.0 and x.grad is None and x.is_leaf


def test_where_hooks_cannot_be_registered():
    plain, result = gl.ones(1), leaf(1.0) * 2
    with pytest.raises(RuntimeError, match=r"^cannot register a hook on a tensor that doesn't require gradient"):
        plain.register_hook(print)
    with pytest.raises(RuntimeError, match=r"^cannot register a hook on a tensor that doesn't require gradient"):
        plain.register_post_accumulate_grad_hook(print)
    with pytest.raises(RuntimeError, match=r"^post accumulate grad hooks cannot be registered on non-leaf tensors"):
        result.register_post_accumulate_grad_hook(print)
    with pytest.raises(RuntimeError, match=r"^It is not possible to get the gradient edge"):
        gl.autograd.graph.get_gradient_edge(plain)
    with pytest.raises(NotImplementedError, match=r"saved_tensors_hooks is not supported"):
        gl.autograd.graph.saved_tensors_hooks(print, print)


def test_hooked_graphs_are_freed_without_the_collector():
    gc.collect()
    gc.disable()
    try:
        x = leaf(1.0)
        y = x * 2
        y.register_hook(lambda gradient: gradient * 2)
        y.grad_fn.register_hook(lambda inputs, outputs: None)
        node = weakref.ref(y.grad_fn)
        loss = y.sum()
        loss.backward()
        del y, loss
        assert node() is None
    finally:
        gc.enable()
