"""The seeds: all that four posts on PyTorch's autograd show must work here, with the true numbers.

The four are a long walk through tensors, `backward`, `grad_fn` and accumulation; `backward` against `autograd.grad`;
a two-layer net trained by hand; a worked gradient with `retain_grad` and `detach`. The numbers, texts and reprs below
were executed with torch 2.13. Several that the posts print are wrong; the tests say where. Where torch is installed,
every test runs under it as well, which proves that the expectations are PyTorch's.

`seed_net.npz` (617 KB) holds the start of the two-layer net (x, y, w1, w2 in float32, drawn by torch with seed 0 in the
post's order) and the 500 losses that torch computed from it on one thread.
"""

import importlib
import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .oracle.seed_tables import ERRORS, NAMES, NO_GRAD_FN, NON_LEAF_GRAD, REPRS, SECOND_BACKWARD, leaf, run_function

MODULES = ["gradloom", *(["torch"] if importlib.util.find_spec("torch") else [])]
NET = Path(__file__).with_name("seed_net.npz")

@pytest.fixture(params=MODULES)
def m(request: pytest.FixtureRequest) -> Any:
    """The module under test: gradloom, and torch where it is installed."""
    return importlib.import_module(request.param)


def in_words_of(m: Any, text: str) -> str:
    """Return a text of ours as the module under test says it."""
    return re.sub(r"\bgradloom\b", m.__name__, text)


def raises(m: Any, kind: type[Exception], text: str, function: Callable[[], Any]) -> None:
    """Require an error whose text starts with `text`; where and how to fix it may follow."""
    with pytest.raises(kind) as caught:
        function()
    assert str(caught.value).startswith(in_words_of(m, text)), str(caught.value)


def shown(m: Any, value: Any) -> str:
    """Return the repr of a value in our words."""
    return re.sub(r"\b" + m.__name__ + r"\.", "gradloom.", repr(value))


def close(tensor: Any, expected: Any) -> None:
    """Require float32 values to four digits after the point, as the posts print them."""
    np.testing.assert_allclose(np.array(tensor.detach().tolist()), np.array(expected), rtol=0, atol=5e-5)


def seed_leaves(m: Any) -> list[Any]:
    """Return x, y, z of the worked gradient."""
    return [leaf(m, values) for values in ([2.0, 1.0], [1.0, 3.0], [5.0, 2.0])]


# --- A: creation and properties --------------------------------------------------------------------------------------


def test_a1_shapes_and_dtypes(m: Any):
    tensors = [m.tensor(5), m.tensor([1, 2, 3]), m.tensor([[1, 2, 3], [4, 5, 6]]), m.tensor([[[1, 2], [3, 4]]] * 2)]
    assert [tuple(tensor.shape) for tensor in tensors] == [(), (3,), (2, 3), (2, 2, 2)]
    assert all(tensor.dtype == m.int64 for tensor in tensors)
    assert repr(tensors[2]) == "tensor([[1, 2, 3],\n        [4, 5, 6]])"
    assert repr(m.tensor([[[1, 2], [3, 4]], [[5, 6], [7, 8]]])) == (
        "tensor([[[1, 2],\n         [3, 4]],\n\n        [[5, 6],\n         [7, 8]]])"
    )


def test_a2_constructors(m: Any):
    assert repr(m.Tensor([2, 1])) == "tensor([2., 1.])"
    assert m.Tensor([2, 1]).dtype == m.float32
    assert m.tensor([1.0, 2.0]).dtype == m.get_default_dtype() == m.float32
    drawn = m.randn(3, 2, device=m.device("cpu"), dtype=m.float, requires_grad=True)
    assert tuple(drawn.shape) == (3, 2) and drawn.dtype == m.float32 and drawn.requires_grad and drawn.is_leaf
    assert m.ones_like(drawn).tolist() == [[1.0, 1.0]] * 3
    assert m.zeros(2).tolist() == [0.0, 0.0]


def test_a2_four_ways_to_require_gradients(m: Any):
    first = m.tensor([1.0, 2.0])
    first.requires_grad_()
    second = m.autograd.Variable(m.tensor([1.0, 2.0]), requires_grad=True)
    third = m.tensor([1.0, 2.0], requires_grad=True)
    fourth = m.from_numpy(np.array([1.0, 2.0]))
    fourth.requires_grad = True
    for tensor in (first, second, third, fourth):
        (tensor * tensor).sum().backward()
        assert tensor.grad.tolist() == [2.0, 4.0]


def test_a3_requires_grad_spreads(m: Any):
    x = leaf(m, [1.0, 2.0])
    assert m.tensor([1.0]).requires_grad is False
    assert (x * 1).requires_grad is True
    assert (x * 1).detach().requires_grad is False


def test_a4_leaves(m: Any):
    x = leaf(m, [1.0, 2.0])
    assert x.is_leaf and not (x * 2).is_leaf and (x * 2).detach().is_leaf
    assert x.grad is None and x.grad_fn is None


@pytest.mark.parametrize("name", REPRS)
def test_a5_reprs(m: Any, name: str):
    make, text = REPRS[name]
    assert shown(m, make(m)) == text


def test_a5_print_of_a_node(m: Any):
    assert re.fullmatch(r"<PowBackward0 object at 0x[0-9a-f]+>", str((leaf(m, [1.0]) ** 2).grad_fn))


@pytest.mark.filterwarnings("ignore:The use of `x.T` on tensors")
@pytest.mark.parametrize("name", NAMES)
def test_a5_names_of_nodes(m: Any, name: str):
    make, expected = NAMES[name]
    assert make(m, leaf(m, [1.0, 2.0])).grad_fn.name() == expected


def test_a5_name_of_a_leafs_node(m: Any):
    ((node, number),) = (leaf(m, [1.0]) ** 2).grad_fn.next_functions
    assert repr(node).startswith("<AccumulateGrad object at 0x") and number == 0
    assert node.next_functions == ()


def test_a5_graph_of_the_worked_gradient(m: Any):
    x, y, z = seed_leaves(m)
    a = x + 2 * y
    b = a + z / 2
    kinds = [[(repr(node)[1:].split()[0], number) for node, number in t.grad_fn.next_functions] for t in (a, b)]
    assert kinds == [[("AccumulateGrad", 0), ("MulBackward0", 0)], [("AddBackward0", 0), ("DivBackward0", 0)]]
    assert repr(a.grad_fn).startswith("<AddBackward0 object at 0x")


def test_a6_data_item_numpy(m: Any):
    x = leaf(m, [1.0, 2.0])
    y = x * x
    x.data[0] = 10.0
    assert x.tolist() == [10.0, 2.0] and not x.data.requires_grad and x.data.grad_fn is None
    y.sum().backward()
    item = m.tensor(2.5).item()
    assert item == 2.5 and type(item) is float
    text = "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."
    raises(m, RuntimeError, text, lambda: x.numpy())
    raises(m, RuntimeError, text, lambda: (x * 2).numpy())


# --- B: backward -----------------------------------------------------------------------------------------------------


def test_b1_square(m: Any):
    """One post says that this prints `4.0`; it prints a tensor."""
    x = leaf(m, 2.0)
    (x**2).backward()
    assert repr(x.grad) == "tensor(4.)"


def test_b2_square_of_ones(m: Any):
    x = m.ones(2, 2, requires_grad=True)
    y = x**2
    y.backward(m.ones_like(y))
    assert x.grad.tolist() == [[2.0, 2.0], [2.0, 2.0]]
    assert repr(x.grad) == "tensor([[2., 2.],\n        [2., 2.]])"


def test_b3_sine_of_square(m: Any):
    x = leaf(m, [1.0, 2.0])
    y = x**2
    z = m.sin(y)
    ones = m.ones_like(z)
    assert y.tolist() == [1.0, 4.0]
    close(z, [0.8415, -0.7568])
    z.backward(ones, retain_graph=True)
    assert repr(x.grad) == "tensor([ 1.0806, -2.6146])"
    z.backward(ones, retain_graph=True)
    assert repr(x.grad) == "tensor([ 2.1612, -5.2291])"
    x.grad.zero_()
    assert x.grad.tolist() == [0.0, 0.0]
    z.backward(ones, retain_graph=True)
    assert repr(x.grad) == "tensor([ 1.0806, -2.6146])"
    x.grad.zero_()
    y.backward(ones, retain_graph=True)
    assert x.grad.tolist() == [2.0, 4.0]
    y.backward(ones)
    assert x.grad.tolist() == [4.0, 8.0]


def test_b3_numbers_that_the_posts_print_wrongly(m: Any):
    """They print sin(2) for sin(4), 2·sin(x) for the gradient, and a product of rounded numbers."""
    x = leaf(m, [1.0, 2.0])
    z = m.sin(x**2)
    z.backward(m.ones_like(z))
    assert repr(z) == "tensor([ 0.8415, -0.7568], grad_fn=<SinBackward0>)"
    assert round(z[1].item(), 4) != 0.9093
    assert repr(x.grad) == "tensor([ 1.0806, -2.6146])"
    assert [round(value, 4) for value in x.grad.tolist()] != [1.6830, 1.8186]
    assert round(x.grad[1].item(), 4) != -2.6144
    assert tuple(x.shape) == (2,) and tuple(x.shape) != (1.0, 2.0)


def test_b4_second_backward(m: Any):
    """Two posts call `backward` twice and print a result; it raises, on z again as on y after z."""
    x = leaf(m, [1.0, 2.0])
    y = x**2
    z = m.sin(y)
    z.backward(m.ones_like(z))
    x.grad.zero_()
    raises(m, RuntimeError, SECOND_BACKWARD, lambda: z.backward(m.ones_like(z)))
    raises(m, RuntimeError, SECOND_BACKWARD, lambda: y.backward(m.ones_like(y)))


def test_b5_vector_without_gradient(m: Any):
    x = leaf(m, [1.0, 2.0])
    raises(m, RuntimeError, "grad can be implicitly created only for scalar outputs", lambda: (x * 2).backward())
    single = leaf(m, [3.0])
    (single * 2).backward()
    assert single.grad.tolist() == [2.0]


def test_b6_gradient_scales(m: Any):
    x, y, z = seed_leaves(m)
    b = x + 2 * y + z / 2
    b.backward(2 * m.ones_like(b))
    assert [t.grad.tolist() for t in (x, y, z)] == [[2.0, 2.0], [4.0, 4.0], [1.0, 1.0]]


def test_b6_gradient_of_its_own_data(m: Any):
    x, y, z = seed_leaves(m)
    a = x + 2 * y
    a.retain_grad()
    b = a + z / 2
    assert b.tolist() == [6.5, 8.0]
    b.backward(b.data)
    assert [t.grad.tolist() for t in (x, y, z, a)] == [[6.5, 8.0], [13.0, 16.0], [3.25, 4.0], [6.5, 8.0]]


def test_b7_wrong_gradients(m: Any):
    x = leaf(m, [1.0, 2.0])
    shapes = (
        "Mismatch in shape: grad_output[0] has a shape of gradloom.Size([3])"
        " and output[0] has a shape of gradloom.Size([2])."
    )
    raises(m, RuntimeError, shapes, lambda: (x * 2).backward(m.ones(3)))
    text = "gradients can be either Tensors or None, but got float"
    raises(m, TypeError, text, lambda: (x * 2).backward([1.0, 1.0]))
    scalar = leaf(m, 3.0)
    (scalar * 2).backward(m.ones((), dtype=m.int64))
    assert scalar.grad.tolist() == 2.0


def test_b8_worked_gradient(m: Any):
    x, y, z = seed_leaves(m)
    a = x + 2 * y
    b = a + z / 2
    assert a.tolist() == [4.0, 7.0] and b.tolist() == [6.5, 8.0]
    a.retain_grad()
    b.backward(m.ones_like(b))
    assert [t.grad.tolist() for t in (x, y, z, a)] == [[1.0, 1.0], [2.0, 2.0], [0.5, 0.5], [1.0, 1.0]]


def test_b8_gradient_of_a_result(m: Any):
    x, y, _ = seed_leaves(m)
    a = x + 2 * y
    a.sum().backward()
    with pytest.warns(UserWarning) as caught:
        assert a.grad is None
    assert str(caught[0].message).startswith(NON_LEAF_GRAD)


def test_b9_builtin_sum(m: Any):
    x, y, z = seed_leaves(m)
    a = x + 2 * y
    a.retain_grad()
    b = a + z / 2
    total: Any = sum(b * m.ones_like(x))
    assert total.item() == 14.5
    total.backward()
    assert [t.grad.tolist() for t in (x, y, z, a)] == [[1.0, 1.0], [2.0, 2.0], [0.5, 0.5], [1.0, 1.0]]


def test_b10_detach(m: Any):
    x, y, z = seed_leaves(m)
    a = x + 2 * y
    a = a.detach()
    b = a + z / 2
    b.backward(m.ones_like(b))
    assert a.requires_grad is False
    assert x.grad is None and y.grad is None and z.grad.tolist() == [0.5, 0.5]


@pytest.mark.filterwarnings("ignore:Using backward\\(\\) with create_graph=True")
def test_b11_second_derivatives(m: Any):
    x = leaf(m, [1.0, 2.0])
    (first,) = m.autograd.grad((x**3).sum(), x, create_graph=True)
    assert first.tolist() == [3.0, 12.0]
    (second,) = m.autograd.grad(first.sum(), x)
    assert second.tolist() == [6.0, 12.0]
    (x**3).sum().backward(create_graph=True)
    assert m.autograd.grad(x.grad.sum(), x)[0].tolist() == [6.0, 12.0]
    (plain,) = m.autograd.grad((x**3).sum(), x)
    raises(m, RuntimeError, NO_GRAD_FN, lambda: m.autograd.grad(plain.sum(), x))


# --- C: autograd.grad ------------------------------------------------------------------------------------------------


def test_c1_tuple_of_gradients(m: Any):
    x = leaf(m, [2.0])
    y = x**2 + 3 * x + 1
    assert y.item() == 11.0
    result = m.autograd.grad(y, x)
    assert isinstance(result, tuple) and repr(result) == "(tensor([7.]),)"
    assert x.grad is None


def test_c2_unused_inputs(m: Any):
    x, other, plain = leaf(m, [2.0]), leaf(m, [1.0]), m.tensor([1.0])
    text = (
        "The differentiated Tensor at index 0 appears to not have been used in the graph."
        " Set allow_unused=True if this is the desired behavior."
    )
    raises(m, RuntimeError, text, lambda: m.autograd.grad(x**2, other))
    assert m.autograd.grad(x**2, other, allow_unused=True) == (None,)
    text = "One of the differentiated Tensors does not require grad"
    raises(m, RuntimeError, text, lambda: m.autograd.grad(x**2, plain))


def test_c2_outputs_are_summed(m: Any):
    x = leaf(m, [2.0])
    (gradient,) = m.autograd.grad([x**2, x**3], [x])
    assert gradient.tolist() == [16.0]


def test_c2_a_function_is_no_output(m: Any):
    """A post says that the first argument may be a function."""
    text = "'function' object is not iterable"
    raises(m, TypeError, text, lambda: m.autograd.grad(lambda x: x**2, leaf(m, [2.0])))


# --- D: no gradient, frozen, used again ------------------------------------------------------------------------------


def test_d1_detach_shares(m: Any):
    y = leaf(m, [1.0, 2.0]) * 2
    z = y.detach()
    assert z.requires_grad is False and z.data_ptr() == y.data_ptr()


def test_d1_no_grad(m: Any):
    x = leaf(m, [1.0, 2.0])
    with m.no_grad():
        z = x**2
        with m.enable_grad():
            inner = x**2
    assert z.requires_grad is False and z.grad_fn is None and inner.requires_grad is True

    @m.no_grad()
    def square(value):
        return value**2

    assert square(x).requires_grad is False


def test_d2_frozen(m: Any):
    w1, w2, x = leaf(m, 2.0), leaf(m, 5.0), m.tensor(3.0)
    w1.requires_grad_(False)
    (w2 * (w1 * x)).backward()
    assert w1.grad is None and w2.grad.item() == 6.0


def test_d3_net_used_twice(m: Any):
    w, x = leaf(m, 2.0), m.tensor(3.0)
    (w * (w * x)).backward()
    assert w.grad.item() == 12.0


def test_d4_updates(m: Any):
    def trained():
        w = leaf(m, [1.0, 2.0])
        (w**2).sum().backward()
        return w

    w = trained()
    with m.no_grad():
        w -= 0.5 * w.grad
    assert w.is_leaf and w.requires_grad and w.tolist() == [0.0, 0.0]

    w = trained()
    w.data -= 0.5 * w.grad
    assert w.is_leaf and w.requires_grad and w.tolist() == [0.0, 0.0]

    w = trained()
    w = w - 0.5 * w.grad
    assert not w.is_leaf

    def update():
        w = trained()
        w -= 0.5 * w.grad

    raises(m, RuntimeError, "a leaf Variable that requires grad is being used in an in-place operation.", update)


# --- E: the two-layer net --------------------------------------------------------------------------------------------


def test_e1_two_layer_net(m: Any):
    """The tolerances widen as float32 rounding takes over: a float64 run ends 100 times lower."""
    data = np.load(NET)
    x, y, w1, w2 = (m.from_numpy(data[name]) for name in ("x", "y", "w1", "w2"))
    w1.requires_grad_()
    w2.requires_grad_()
    losses, loss = [], x
    for _ in range(500):
        y_pred = x.mm(w1).clamp(min=0).mm(w2)
        loss = (y_pred - y).pow(2).sum()
        losses.append(loss.item())
        loss.backward()
        with m.no_grad():
            w1 -= 1e-6 * w1.grad
            w2 -= 1e-6 * w2.grad
            w1.grad.zero_()
            w2.grad.zero_()
    assert shown(m, loss.shape) == "gradloom.Size([])" and type(losses[0]) is float
    np.testing.assert_allclose(losses[:100], data["losses"][:100], rtol=1e-4)
    np.testing.assert_allclose(losses[:200], data["losses"][:200], rtol=1e-3)
    np.testing.assert_allclose([losses[0], losses[99]], [29428664.0, 427.8198547], rtol=1e-4)
    np.testing.assert_allclose(losses[199], 1.4477568, rtol=1e-3)
    assert losses[-1] < 1e-4


def test_e1_is_made_of_products_and_a_clamp(m: Any):
    """One post calls these operators a convolution and a relu."""
    w1, w2 = m.ones(3, 2, requires_grad=True), m.ones(2, 1, requires_grad=True)
    y_pred = m.ones(4, 3).mm(w1).clamp(min=0).mm(w2)
    assert y_pred.grad_fn.name() == "MmBackward0"
    clamp = y_pred.grad_fn.next_functions[0][0]
    assert clamp.name() == "ClampBackward1" and clamp.next_functions[0][0].name() == "MmBackward0"


def test_e2_gradients_at_zero(m: Any):
    def gradient(function):
        x = leaf(m, 0.0)
        function(x).backward()
        return x.grad.item()

    assert gradient(lambda x: x.clamp(min=0)) == 1.0
    assert gradient(lambda x: x.relu()) == 0.0
    assert gradient(lambda x: m.maximum(x, m.tensor(0.0))) == 0.5


def test_e3_zero_before_backward(m: Any):
    w = leaf(m, [1.0])
    raises(m, AttributeError, "'NoneType' object has no attribute 'zero_'", lambda: w.grad.zero_())


# --- the other error texts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ERRORS)
def test_error_texts(m: Any, name: str):
    kind, text, function = ERRORS[name]
    raises(m, kind, text, lambda: function(m))


def test_a_surplus_gradient_may_be_none(m: Any):
    assert run_function(m, "F", lambda ctx, g: (g * 6, None)).tolist() == [6.0, 6.0]
