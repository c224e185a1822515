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

MODULES = ["gradloom", *(["torch"] if importlib.util.find_spec("torch") else [])]
NET = Path(__file__).with_name("seed_net.npz")

SECOND_BACKWARD = (
    "Trying to backward through the graph a second time (or directly access saved tensors after they have already been"
    " freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). Specify"
    " retain_graph=True if you need to backward through the graph a second time or if you need to access saved tensors"
    " after calling backward."
)
NO_GRAD_FN = "element 0 of tensors does not require grad and does not have a grad_fn"
NON_LEAF_GRAD = (
    "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad attribute won't be"
    " populated during autograd.backward(). If you indeed want the .grad field to be populated for a non-leaf Tensor,"
    " use .retain_grad() on the non-leaf Tensor. If you access the non-leaf Tensor by mistake, make sure you access the"
    " leaf Tensor instead. See github.com/pytorch/pytorch/pull/30531 for more information."
)
MODIFIED = (
    "one of the variables needed for gradient computation has been modified by an inplace operation:"
    " [gradloom.FloatTensor [2]], which is output 0 of {name}, is at version 1; expected version 0 instead."
)
INFERENCE = (
    "Inference tensors cannot be saved for backward. Please do not use Tensors created in inference mode in computation"
    " tracked by autograd. To work around this, you can make a clone to get a normal tensor and use it in autograd, or"
    " use `gradloom.no_grad()` instead of `gradloom.inference_mode()`."
)
GRAD_DTYPE = (
    "attempting to assign a gradient with dtype 'double' to a tensor with grad_dtype 'Float'. The gradient must match"
    " the tensor's grad_dtype (defaults to the tensor's dtype)."
)
CHANGE_FLAGS = (
    "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a subgraph"
    " that doesn't require differentiation use var_no_grad = var.detach()."
)
FLOATING = "Only Tensors of floating point and complex dtype can require gradients"


@pytest.fixture(params=MODULES)
def m(request: pytest.FixtureRequest) -> Any:
    """The module under test: gradloom, and torch where it is installed."""
    return importlib.import_module(request.param)


def leaf(m: Any, values: Any) -> Any:
    return m.tensor(values, requires_grad=True)


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


REPRS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "int": (lambda m: m.tensor(5), "tensor(5)"),
    "ints": (lambda m: m.tensor([1, 2, 3]), "tensor([1, 2, 3])"),
    "scalar": (lambda m: m.tensor(2.0), "tensor(2.)"),
    "ones": (lambda m: m.ones(2, 2), "tensor([[1., 1.],\n        [1., 1.]])"),
    "leaf": (lambda m: leaf(m, [1.0, 2.0]), "tensor([1., 2.], requires_grad=True)"),
    "pow": (lambda m: leaf(m, [1.0, 2.0]) ** 2, "tensor([1., 4.], grad_fn=<PowBackward0>)"),
    "sin": (lambda m: m.sin(leaf(m, [1.0, 2.0]) ** 2), "tensor([ 0.8415, -0.7568], grad_fn=<SinBackward0>)"),
    "powers": (lambda m: m.tensor([1.5, -2.25e-5, 3e10]), "tensor([ 1.5000e+00, -2.2500e-05,  3.0000e+10])"),
    "rows": (
        lambda m: m.ones(2, 2, requires_grad=True) ** 2,
        "tensor([[1., 1.],\n        [1., 1.]], grad_fn=<PowBackward0>)",
    ),
    "bools": (lambda m: m.tensor([True, False]), "tensor([ True, False])"),
    "arange": (lambda m: m.arange(3.0), "tensor([0., 1., 2.])"),
    "empty": (lambda m: m.tensor([], dtype=m.float32), "tensor([])"),
    "no columns": (lambda m: m.zeros(2, 0), "tensor([], size=(2, 0))"),
    "special": (lambda m: m.tensor([float("nan"), float("inf")]), "tensor([nan, inf])"),
    "double": (lambda m: m.tensor([1.0, 2.0], dtype=m.float64), "tensor([1., 2.], dtype=gradloom.float64)"),
    "long": (lambda m: m.arange(2000), "tensor([   0,    1,    2,  ..., 1997, 1998, 1999])"),
    "sum": (lambda m: (leaf(m, [1.0, 2.0]) * 2).sum(), "tensor(6., grad_fn=<SumBackward0>)"),
    "signs": (lambda m: m.tensor([[1.0, -2.0], [3.0, 4.0]]), "tensor([[ 1., -2.],\n        [ 3.,  4.]])"),
    "detached": (lambda m: (leaf(m, [1.0]) * 2).detach(), "tensor([2.])"),
    "size": (lambda m: m.Size([2, 3]), "gradloom.Size([2, 3])"),
    "dtype": (lambda m: leaf(m, [1.0]).dtype, "gradloom.float32"),
    "shape": (lambda m: m.ones(2).shape, "gradloom.Size([2])"),
}


@pytest.mark.parametrize("name", REPRS)
def test_a5_reprs(m: Any, name: str):
    make, text = REPRS[name]
    assert shown(m, make(m)) == text


def test_a5_print_of_a_node(m: Any):
    assert re.fullmatch(r"<PowBackward0 object at 0x[0-9a-f]+>", str((leaf(m, [1.0]) ** 2).grad_fn))


NAMES: dict[str, tuple[Callable[[Any, Any], Any], str]] = {
    "+": (lambda m, x: x + x, "AddBackward0"),
    "-": (lambda m, x: x - x, "SubBackward0"),
    "*": (lambda m, x: x * x, "MulBackward0"),
    "/": (lambda m, x: x / x, "DivBackward0"),
    "neg": (lambda m, x: -x, "NegBackward0"),
    "x**2": (lambda m, x: x**2, "PowBackward0"),
    "2**x": (lambda m, x: 2**x, "PowBackward2"),
    "x**x": (lambda m, x: x**x, "PowBackward1"),
    "sin": (lambda m, x: m.sin(x), "SinBackward0"),
    "exp": (lambda m, x: x.exp(), "ExpBackward0"),
    "log": (lambda m, x: x.log(), "LogBackward0"),
    "sum": (lambda m, x: x.sum(), "SumBackward0"),
    "mean": (lambda m, x: x.mean(), "MeanBackward0"),
    "dot": (lambda m, x: x @ x, "DotBackward0"),
    "mm": (lambda m, x: x.view(1, 2).mm(x.view(2, 1)), "MmBackward0"),
    "relu": (lambda m, x: x.relu(), "ReluBackward0"),
    "clamp": (lambda m, x: x.clamp(min=0), "ClampBackward1"),
    "view": (lambda m, x: x.view(2, 1), "ViewBackward0"),
    "reshape": (lambda m, x: x.reshape(2, 1), "ViewBackward0"),
    "a[0]": (lambda m, x: x[0], "SelectBackward0"),
    "a[:1]": (lambda m, x: x[:1], "SliceBackward0"),
    "clone": (lambda m, x: x.clone(), "CloneBackward0"),
    "cat": (lambda m, x: m.cat([x, x]), "CatBackward0"),
    "stack": (lambda m, x: m.stack([x, x]), "StackBackward0"),
    "max": (lambda m, x: x.max(), "MaxBackward1"),
    "maximum": (lambda m, x: m.maximum(x, x), "MaximumBackward0"),
    "abs": (lambda m, x: x.abs(), "AbsBackward0"),
    "sqrt": (lambda m, x: x.sqrt(), "SqrtBackward0"),
    "sigmoid": (lambda m, x: x.sigmoid(), "SigmoidBackward0"),
    "tanh": (lambda m, x: x.tanh(), "TanhBackward0"),
    "where": (lambda m, x: m.where(x > 1, x, x), "WhereBackward0"),
    "T of a vector": (lambda m, x: x.T, "PermuteBackward0"),
    "t()": (lambda m, x: x.view(2, 1).t(), "TBackward0"),
    "expand": (lambda m, x: x.expand(3, 2), "ExpandBackward0"),
    "double": (lambda m, x: x.double(), "ToCopyBackward0"),
    "norm": (lambda m, x: x.norm(), "LinalgVectorNormBackward0"),
    "std": (lambda m, x: x.std(), "StdBackward0"),
    "cumsum": (lambda m, x: x.cumsum(0), "CumsumBackward0"),
    "prod": (lambda m, x: x.prod(), "ProdBackward0"),
    "softmax": (lambda m, x: x.softmax(0), "SoftmaxBackward0"),
    "solve": (lambda m, x: m.linalg.solve(m.eye(2), x), "LinalgSolveExBackward0"),
}


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


def change_exp(m: Any) -> None:
    y = leaf(m, [1.0, 2.0]).exp()
    y.add_(1)
    y.sum().backward()


def change_pow(m: Any) -> None:
    y = leaf(m, [1.0, 2.0]) * 2
    z = y**2
    y.mul_(2)
    z.sum().backward()


def set_grad(m: Any, value: Any) -> None:
    x = leaf(m, [1.0, 2.0])
    x.grad = value


def set_flag(m: Any) -> None:
    y = leaf(m, [1.0]) * 2
    y.requires_grad = False


def save_inference_tensor(m: Any) -> None:
    with m.inference_mode():
        constant = m.ones(2)
    leaf(m, [1.0, 2.0]).mul(constant)


def with_backward(m: Any, name: str, backward: Callable[..., Any]) -> Any:
    """Return a `Function` of that name that doubles, with the given backward."""
    methods = {"forward": staticmethod(lambda ctx, x: x * 2), "backward": staticmethod(backward)}
    return type(name, (m.autograd.Function,), methods)


def run_function(m: Any, name: str, backward: Callable[..., Any]) -> Any:
    x = leaf(m, [1.0, 2.0])
    with_backward(m, name, backward).apply(x).sum().backward()
    return x.grad


ERRORS: dict[str, tuple[type[Exception], str, Callable[[Any], Any]]] = {
    "backward of a plain tensor": (RuntimeError, NO_GRAD_FN, lambda m: m.ones(1).backward()),
    "integers in the constructor": (RuntimeError, FLOATING, lambda m: m.tensor([1], requires_grad=True)),
    "integers later": (
        RuntimeError,
        "only Tensors of floating point dtype can require gradients",
        lambda m: m.tensor([1]).requires_grad_(),
    ),
    "in-place on a leaf": (
        RuntimeError,
        "a leaf Variable that requires grad is being used in an in-place operation.",
        lambda m: leaf(m, [1.0]).add_(1),
    ),
    "in-place on a view of a leaf": (
        RuntimeError,
        "a view of a leaf Variable that requires grad is being used in an in-place operation.",
        lambda m: leaf(m, [1.0, 2.0])[:1].add_(1),
    ),
    "saved result changed": (RuntimeError, MODIFIED.format(name="Exp"), change_exp),
    "saved input changed": (RuntimeError, MODIFIED.format(name="Mul"), change_pow),
    "retain_grad": (
        RuntimeError,
        "can't retain_grad on Tensor that has requires_grad=False",
        lambda m: m.ones(1).retain_grad(),
    ),
    "flag of a result": (RuntimeError, CHANGE_FLAGS, set_flag),
    "gradient of the wrong size": (
        RuntimeError,
        "attempting to assign a gradient of size '[3]' to a tensor of size '[2]'."
        " Please ensure that the gradient and the tensor are the same size",
        lambda m: set_grad(m, m.ones(3)),
    ),
    "gradient of the wrong type": (
        TypeError,
        "assigned grad expected to be a Tensor or None but got grad of type float",
        lambda m: set_grad(m, 1.0),
    ),
    "gradient of the wrong dtype": (RuntimeError, GRAD_DTYPE, lambda m: set_grad(m, m.ones(2, dtype=m.float64))),
    "bool of a vector": (
        RuntimeError,
        "Boolean value of Tensor with more than one value is ambiguous",
        lambda m: bool(m.ones(2)),
    ),
    "item of a vector": (
        RuntimeError,
        "a Tensor with 2 elements cannot be converted to Scalar",
        lambda m: m.ones(2).item(),
    ),
    "inference tensor": (RuntimeError, INFERENCE, save_inference_tensor),
    "sum of shapes": (
        RuntimeError,
        "The size of tensor a (2) must match the size of tensor b (3) at non-singleton dimension 0",
        lambda m: m.ones(2) + m.ones(3),
    ),
    "product of shapes": (
        RuntimeError,
        "mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)",
        lambda m: m.ones(2, 3).mm(m.ones(2, 3)),
    ),
    "in-place on another shape": (
        RuntimeError,
        "The size of tensor a (2) must match the size of tensor b (3) at non-singleton dimension 0",
        lambda m: m.ones(2).add_(m.ones(3)),
    ),
    "product of dtypes": (
        RuntimeError,
        "expected m1 and m2 to have the same dtype, but got: float != double",
        lambda m: m.ones(2, 2).mm(m.ones(2, 2, dtype=m.float64)),
    ),
    "view": (RuntimeError, "shape '[4, 2]' is invalid for input of size 6", lambda m: m.ones(6).view(4, 2)),
    "too many gradients": (
        RuntimeError,
        "function GBackward returned an incorrect number of gradients (expected 1, got 2)",
        lambda m: run_function(m, "G", lambda ctx, g: (g, g)),
    ),
    "gradient of another shape": (
        RuntimeError,
        "Function HBackward returned an invalid gradient at index 0 - got [3] but expected shape compatible with [2]",
        lambda m: run_function(m, "H", lambda ctx, g: m.ones(3)),
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_error_texts(m: Any, name: str):
    kind, text, function = ERRORS[name]
    raises(m, kind, text, lambda: function(m))


def test_a_surplus_gradient_may_be_none(m: Any):
    assert run_function(m, "F", lambda ctx, g: (g * 6, None)).tolist() == [6.0, 6.0]
