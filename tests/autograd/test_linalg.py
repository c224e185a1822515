"""Products, sums with products, einsum, chains, inverses and systems: values, gradients, nodes of the graph, errors."""

import operator
from typing import Any

import numpy as np
import pytest

import gradloom

from .differences import check

RNG = np.random.default_rng(11)


def numbers(*shape: int) -> Any:
    return RNG.normal(size=shape)


def regular(*shape: int) -> Any:
    return numbers(*shape) + 4 * np.eye(shape[-1])


A, B = numbers(2, 3), numbers(3, 4)
U, V = numbers(2), numbers(3)
BATCH, OTHER = numbers(2, 3, 4), numbers(2, 4, 2)

PRODUCTS: dict[str, tuple[Any, Any, list[Any]]] = {
    "mm": (gradloom.mm, np.matmul, [A, B]),
    "mv": (gradloom.mv, np.matmul, [A, V]),
    "dot": (gradloom.dot, np.dot, [V, V + 1]),
    "bmm": (gradloom.bmm, np.matmul, [BATCH, OTHER]),
    "outer": (gradloom.outer, np.outer, [U, V]),
    "inner": (gradloom.inner, np.inner, [numbers(2, 2, 3), A]),
    "tensordot": (
        lambda x, y: gradloom.tensordot(x, y, ([1, 2], [1, 0])),
        lambda x, y: np.tensordot(x, y, ([1, 2], [1, 0])),
        [BATCH, numbers(4, 3, 2)],
    ),
    "tensordot_all": (gradloom.tensordot, np.tensordot, [A, A + 1]),
    "tensordot_none": (lambda x, y: gradloom.tensordot(x, y, 0), lambda x, y: np.tensordot(x, y, 0), [U, V]),
    "kron": (gradloom.kron, np.kron, [numbers(2, 2), numbers(3)]),
    "cross": (gradloom.linalg.cross, np.cross, [numbers(4, 3), V]),
    "vecdot": (gradloom.linalg.vecdot, lambda x, y: (x * y).sum(-1), [A, A + 1]),
    "addmm": (
        lambda c, x, y: gradloom.addmm(c, x, y, beta=0.5, alpha=-2),
        lambda c, x, y: 0.5 * c - 2 * x @ y,
        [numbers(4), A, B],
    ),
    "addmv": (gradloom.addmv, lambda c, x, y: c + x @ y, [U, A, V]),
    "addr": (gradloom.addr, lambda c, x, y: c + np.outer(x, y), [A, U, V]),
    "baddbmm": (gradloom.baddbmm, lambda c, x, y: c + x @ y, [numbers(2, 3, 2), BATCH, OTHER]),
    "addbmm": (gradloom.addbmm, lambda c, x, y: c + (x @ y).sum(0), [numbers(3, 2), BATCH, OTHER]),
    "multi_dot": (
        lambda *x: gradloom.linalg.multi_dot(x),
        lambda *x: np.linalg.multi_dot(x),
        [U, A, B, numbers(4, 5), numbers(5)],
    ),
    "matrix_power": (
        lambda x: gradloom.matrix_power(x, 5),
        lambda x: np.linalg.matrix_power(x, 5),
        [0.3 * numbers(2, 3, 3)],
    ),
    "inv": (gradloom.linalg.inv, np.linalg.inv, [regular(2, 3, 3)]),
    "solve": (gradloom.linalg.solve, np.linalg.solve, [regular(3, 3), numbers(3, 2)]),
    "solve_vector": (gradloom.linalg.solve, np.linalg.solve, [regular(3, 3), V]),
    "solve_right": (
        lambda x, y: gradloom.linalg.solve(x, y, left=False),
        lambda x, y: y @ np.linalg.inv(x),
        [regular(3, 3), A],
    ),
    "trace": (lambda x: x.trace(), np.trace, [A]),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products(name: str):
    function, reference, operands = PRODUCTS[name]
    if name == "cross":
        operands = [operands[0], np.broadcast_to(operands[1], (4, 3))]
    check(function, operands, reference)


# Shapes of the operands of matmul, and the node that PyTorch gives their product.
MATMULS = [
    ((3,), (3,), "DotBackward0"),
    ((2, 3), (3,), "MvBackward0"),
    ((3,), (3, 2), "SqueezeBackward4"),
    ((2, 3), (3, 4), "MmBackward0"),
    ((2, 3, 4), (4, 2), "UnsafeViewBackward0"),
    ((2, 3, 4), (4,), "UnsafeViewBackward0"),
    ((3,), (2, 3, 4), "UnsafeViewBackward0"),
    ((2, 3), (4, 3, 2), "CloneBackward0"),
    ((2, 3, 4), (2, 4, 2), "UnsafeViewBackward0"),
    ((2, 1, 3, 4), (5, 4, 2), "UnsafeViewBackward0"),
    ((2, 0, 3), (3, 2), "UnsafeViewBackward0"),
]


@pytest.mark.parametrize("left, right, name", MATMULS)
def test_matmul(left: tuple[int, ...], right: tuple[int, ...], name: str):
    check(lambda x, y: x @ y, [numbers(*left), numbers(*right)], np.matmul)
    product = gradloom.ones(left, requires_grad=True) @ gradloom.ones(right, requires_grad=True)
    assert product.grad_fn.name() == name


def names_of(node: Any) -> Any:
    if node is None or node.name() == "AccumulateGrad":
        return node and "leaf"
    return (node.name(), *(names_of(each) for each, _ in node.next_functions))


def test_graph_of_matmul():
    x, y = gradloom.ones(2, 3, 4, requires_grad=True), gradloom.ones(4, 2, requires_grad=True)
    assert names_of((x @ y).grad_fn) == (
        "UnsafeViewBackward0",
        ("MmBackward0", ("ViewBackward0", "leaf"), "leaf"),
    )
    batch = gradloom.ones(2, 4, 3, requires_grad=True)
    spread = ("ViewBackward0", ("ExpandBackward0", "leaf"))
    assert names_of((x @ batch).grad_fn) == ("UnsafeViewBackward0", ("BmmBackward0", spread, spread))
    assert names_of((gradloom.ones(2, 3) @ gradloom.ones(3, 2, requires_grad=True)).grad_fn) == (
        "MmBackward0",
        None,
        "leaf",
    )


def test_graph_of_linear():
    linear = gradloom.nn.functional.linear
    x, w, b = (gradloom.ones(*shape, requires_grad=True) for shape in ((5, 3), (2, 3), (2,)))
    assert names_of(linear(x, w, b).grad_fn) == ("AddmmBackward0", "leaf", "leaf", ("TBackward0", "leaf"))
    assert names_of(linear(x, w).grad_fn) == ("MmBackward0", "leaf", ("TBackward0", "leaf"))


def test_order_of_chains():
    """The order of fewest operations: (AB)C of (10, 1), (1, 10), (10, 1) costs 200, A(BC) costs 20."""
    a, b, c = (gradloom.ones(*shape, requires_grad=True) for shape in ((10, 1), (1, 10), (10, 1)))
    chain = gradloom.linalg.multi_dot([a, b, c]).grad_fn
    assert names_of(chain) == ("ViewBackward0", ("MmBackward0", "leaf", ("MmBackward0", "leaf", "leaf")))


EINSUMS = {
    "ij,jk->ik": [A, B],
    "ij,jk": [A, B],
    "ii->i": [numbers(3, 3)],
    "ii": [numbers(3, 3)],
    "ij->": [A],
    "ba": [A],
    "bn,anm,bm->ba": [A, numbers(4, 3, 2), numbers(2, 2)],
    "...ij,...jk->...ik": [numbers(2, 1, 2, 3), numbers(2, 3, 2)],
    "i,i->i": [V, V],
    "i,j->ji": [U, V],
}


@pytest.mark.parametrize("equation", EINSUMS)
def test_einsum(equation: str):
    check(lambda *x: gradloom.einsum(equation, *x), EINSUMS[equation], lambda *x: np.einsum(equation, *x))


def test_einsum_of_sublists():
    x, y = gradloom.tensor(A), gradloom.tensor(B)
    found = gradloom.einsum(x, [0, 1], y, [1, 2], [2, 0])
    np.testing.assert_allclose(found.numpy(), (A @ B).T, rtol=1e-12)
    assert gradloom.einsum("ij,jk", [x, y]).shape == (2, 4)


def test_whole_numbers():
    a, b = gradloom.tensor([[1, 2], [3, 4]]), gradloom.tensor([[5, 6], [7, 8]])
    assert (a @ b).tolist() == [[19, 22], [43, 50]] and (a @ b).dtype is gradloom.int64
    assert a.trace().item() == 5 and a.mv(b[0]).tolist() == [17, 39]
    assert gradloom.einsum("ij->j", a).tolist() == [4, 6]


def test_beta_zero_ignores_what_is_added():
    nan = gradloom.full((2, 4), float("nan"), dtype=gradloom.float64)
    x, y = gradloom.tensor(A), gradloom.tensor(B)
    np.testing.assert_allclose(gradloom.addmm(nan, x, y, beta=0).numpy(), A @ B, rtol=1e-12)
    total = gradloom.zeros(2, 4, dtype=gradloom.float64)
    assert total.addmm_(x, y) is total
    np.testing.assert_allclose(total.numpy(), A @ B, rtol=1e-12)


def test_operator_with_something_else():
    x = gradloom.ones(2, 3)
    with pytest.raises(TypeError):
        operator.matmul(x, "y")


def ones(*shape: int, dtype: Any = None) -> Any:
    return gradloom.ones(*shape, dtype=dtype)


@pytest.mark.parametrize(
    "function, text",
    [
        (lambda: ones(2, 3) @ ones(2, 3), "mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)"),
        (lambda: ones(3) @ ones(2, 3), "mat1 and mat2 shapes cannot be multiplied (1x3 and 2x3)"),
        (lambda: ones(2, 3, 4) @ ones(5, 4), "mat1 and mat2 shapes cannot be multiplied (6x4 and 5x4)"),
        (
            lambda: ones(2, 3) @ ones(3, 2, dtype=gradloom.float64),
            "expected m1 and m2 to have the same dtype, but got: float != double",
        ),
        (lambda: gradloom.mm(ones(3), ones(3, 2)), "self must be a matrix"),
        (lambda: gradloom.mm(ones(2, 3), ones(3)), "mat2 must be a matrix"),
        (lambda: ones(2, 3) @ ones(2), "size mismatch, got input (2), mat (2x3), vec (2)"),
        (
            lambda: ones(2) @ ones(3),
            "inconsistent tensor size, expected tensor [2] and src [3] to have the same number of elements, but got 2 "
            "and 3 elements respectively",
        ),
        (
            lambda: ones(3) @ ones(3, dtype=gradloom.float64),
            "dot : expected both vectors to have same dtype, but found Float and Double",
        ),
        (
            lambda: ones(2, 3) @ gradloom.tensor(1.0),
            "both arguments to matmul need to be at least 1D, but they are 2D and 0D",
        ),
        (
            lambda: ones(2, 3, 4) @ ones(3, 4, 2),
            "The size of tensor a (2) must match the size of tensor b (3) at non-singleton dimension 0",
        ),
        (
            lambda: gradloom.bmm(ones(2, 3, 4), ones(2, 3, 2)),
            "Expected size for first two dimensions of batch2 tensor to be: [2, 4] but got: [2, 3].",
        ),
        (lambda: gradloom.bmm(ones(2, 3), ones(2, 3)), "batch1 must be a 3D tensor"),
        (
            lambda: gradloom.addmm(ones(5), ones(2, 3), ones(3, 2)),
            "The expanded size of the tensor (2) must match the existing size (5) at non-singleton dimension 1.  "
            "Target sizes: [2, 2].  Tensor sizes: [5]",
        ),
        (lambda: gradloom.outer(ones(2, 3), ones(3)), "outer: Expected 1-D argument self, but got 2-D"),
        (
            lambda: gradloom.einsum("ij,jk", ones(2, 3), ones(2, 3)),
            "einsum(): subscript j has size 2 for operand 1 which does not broadcast with previously seen size 3",
        ),
        (
            lambda: gradloom.einsum("ij->ik", ones(2, 3)),
            "einsum(): output subscript k does not appear in the equation for any input operand",
        ),
        (
            lambda: gradloom.einsum("ijk", ones(2, 3)),
            "einsum(): the number of subscripts in the equation (3) does not match the number of dimensions (2) for "
            "operand 0 and no ellipsis was given",
        ),
        (
            lambda: gradloom.tensordot(ones(2, 3), ones(2, 3), 1),
            "contracted dimensions need to match, but first has size 3 in dim -1 and second has size 2 in dim 0",
        ),
        (
            lambda: gradloom.linalg.solve(ones(2, 3), ones(2)),
            "linalg.solve: A must be batches of square matrices, but they are 2 by 3 matrices",
        ),
        (
            lambda: gradloom.linalg.solve(ones(2, 2), ones(2)),
            "linalg.solve: The solver failed because the input matrix is singular.",
        ),
        (lambda: ones(3).trace(), "trace: expected a matrix, but got tensor with dim 1"),
    ],
)
def test_errors(function: Any, text: str):
    with pytest.raises(RuntimeError) as caught:
        function()
    assert str(caught.value).startswith(text)


def test_singular_matrix_is_an_error_of_its_own():
    with pytest.raises(gradloom.linalg.LinAlgError):
        gradloom.linalg.inv(ones(2, 2))
