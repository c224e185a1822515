"""Whose gradient a view takes part in, and which writes through views are refused: as PyTorch 2.13 has it."""

from typing import Any

import pytest

import gradloom as gl


def leaf(*values: float) -> Any:
    return gl.tensor(values, requires_grad=True)


def test_a_view_of_a_detached_tensor_follows_that_tensor() -> None:
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    d = (x * 2).detach()
    v = d[0]
    d.add_(w)
    assert v.requires_grad and d.requires_grad and v.item() == 5.0
    (v * 3).backward()
    assert w.grad.tolist() == [3.0, 0.0] and x.grad is None


def test_a_write_through_such_a_view_reaches_the_detached_tensor_alone() -> None:
    x, w = gl.zeros(3), leaf(1.0, 2.0)
    d = x.detach()
    v = d[:2]
    v.add_(w)
    assert (d.requires_grad, x.requires_grad, v.requires_grad) == (True, False, True)
    assert d.grad_fn.name() == "CopySlices"
    assert x.tolist() == d.tolist() == [1.0, 2.0, 0.0]
    (d * gl.tensor([5.0, 6.0, 7.0])).sum().backward()
    assert w.grad.tolist() == [5.0, 6.0]


def test_a_view_of_a_detached_view() -> None:
    x, w = gl.zeros(4), leaf(1.0, 2.0)
    d = x[1:].detach()
    d[1:].add_(w)
    assert x.tolist() == [0.0, 0.0, 1.0, 2.0] and d.tolist() == [0.0, 1.0, 2.0]
    assert d.requires_grad and not x.requires_grad
    (d * d).sum().backward()
    assert w.grad.tolist() == [2.0, 4.0]


@pytest.mark.parametrize(
    ("part", "name"),
    [
        (lambda x: x.unbind(0)[1], "Output 1 of Unbind"),
        (lambda x: x.split(1)[0], "Output 0 of Split"),
        (lambda x: x.chunk(2)[1], "Output 1 of Split"),
    ],
)
def test_one_of_several_views_is_not_written(part: Any, name: str) -> None:
    y = gl.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True) * 1
    with pytest.raises(RuntimeError, match=f"^{name} is a view and is being modified inplace. This view is"):
        part(y).mul_(2)
    plain = gl.zeros(2, 2)
    part(plain).add_(1)
    assert plain.sum().item() == 2.0
    with pytest.raises(RuntimeError, match="This view is the output of a function that returns multiple views"):
        part(plain).add_(leaf(1.0, 2.0))


def test_a_view_made_under_no_grad_is_not_written_with_gradients() -> None:
    text = "^A view was created in no_grad mode and is being modified inplace with grad mode enabled. Given that"
    y = leaf(1.0, 2.0) * 1
    with gl.no_grad():
        v = y[:1]
    with pytest.raises(RuntimeError, match=text):
        v.mul_(2)
    with gl.no_grad():
        v.mul_(2)
    assert y.tolist() == [2.0, 2.0]
    plain = gl.zeros(3)
    with gl.no_grad():
        q = plain[:2]
    q.add_(1)
    assert plain.tolist() == [1.0, 1.0, 0.0]
    with pytest.raises(RuntimeError, match=text):
        q.mul_(leaf(1.0, 2.0))
