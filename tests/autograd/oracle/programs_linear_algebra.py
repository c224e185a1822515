"""Products of matrices and vectors, transposes, einsum."""

from collections.abc import Callable
from functools import partial
from typing import Any

from .corpus import Observations, differentiated, program, ramp, register

V2, V3 = [1.0, -2.0], [0.5, 3.0, -1.0]
A23 = [[1.0, 2.0, -1.0], [0.5, -3.0, 4.0]]
A32 = [[1.0, 2.0], [-1.0, 0.5], [3.0, -4.0]]
A22 = [[2.0, 1.0], [-1.0, 3.0]]
B223 = [A23, [[0.0, 1.0, 2.0], [3.0, -1.0, 0.5]]]
B232 = [A32, [[2.0, 0.0], [1.0, 1.0], [-1.0, 2.0]]]
B2123 = [[A23], [B223[1]]]

CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "mm": (lambda m, a, b: m.mm(a, b), (A23, A32)),
    "mm_method": (lambda m, a, b: a.mm(b), (A23, A32)),
    "mm_of_itself": (lambda m, a: a.mm(a), (A22,)),
    "mm_with_transposed": (lambda m, a, b: a.t().mm(b.t()), (A23, A32)),
    "operator": (lambda m, a, b: a @ b, (A23, A32)),
    "matmul_1_1": (lambda m, a, b: m.matmul(a, b), (V3, V3)),
    "matmul_2_1": (lambda m, a, b: m.matmul(a, b), (A23, V3)),
    "matmul_1_2": (lambda m, a, b: m.matmul(a, b), (V2, A23)),
    "matmul_2_2": (lambda m, a, b: m.matmul(a, b), (A23, A32)),
    "matmul_3_3": (lambda m, a, b: m.matmul(a, b), (B223, B232)),
    "matmul_3_2": (lambda m, a, b: m.matmul(a, b), (B223, A32)),
    "matmul_2_3": (lambda m, a, b: m.matmul(a, b), (A23, B232)),
    "matmul_3_1": (lambda m, a, b: m.matmul(a, b), (B223, V3)),
    "matmul_1_3": (lambda m, a, b: m.matmul(a, b), (V2, B223)),
    "matmul_4_3": (lambda m, a, b: m.matmul(a, b), (B2123, B232)),
    "matmul_4_2": (lambda m, a, b: a @ b, (B2123, A32)),
    "matmul_of_empty": (lambda m, a, b: a @ b, ([[], []], A22[:0])),
    "bmm": (lambda m, a, b: m.bmm(a, b), (B223, B232)),
    "mv": (lambda m, a, b: m.mv(a, b), (A23, V3)),
    "dot": (lambda m, a, b: m.dot(a, b), (V3, V3)),
    "dot_of_itself": (lambda m, a: a.dot(a), (V3,)),
    "inner": (lambda m, a, b: m.inner(a, b), (V3, V3)),
    "outer": (lambda m, a, b: m.outer(a, b), (V2, V3)),
    "ger": (lambda m, a, b: m.ger(a, b), (V2, V3)),
    "addmm": (lambda m, c, a, b: m.addmm(c, a, b), (A22, A23, A32)),
    "addmm_factors": (lambda m, c, a, b: m.addmm(c, a, b, beta=0.5, alpha=-2.0), (A22, A23, A32)),
    "addmm_row": (lambda m, c, a, b: m.addmm(c, a, b), (V2, A23, A32)),
    "addmv": (lambda m, c, a, b: m.addmv(c, a, b), (V2, A23, V3)),
    "baddbmm": (lambda m, c, a, b: m.baddbmm(c, a, b), ([A22, A22], B223, B232)),
    "addr": (lambda m, c, a, b: m.addr(c, a, b), (A23, V2, V3)),
    "linear": (lambda m, x, w, b: m.nn.functional.linear(x, w, b), (A23, A23, V2)),
    "linear_without_bias": (lambda m, x, w: m.nn.functional.linear(x, w), (A23, A23)),
    "linear_of_vector": (lambda m, x, w, b: m.nn.functional.linear(x, w, b), (V3, A23, V2)),
    "linear_of_batch": (lambda m, x, w, b: m.nn.functional.linear(x, w, b), (B223, A23, V2)),
    "kron": (lambda m, a, b: m.kron(a, b), (V2, V3)),
    "cross": (lambda m, a, b: m.linalg.cross(a, b), (V3, [1.0, 2.0, 3.0])),
    "chain": (lambda m, a, b: m.linalg.multi_dot([a, b, a]), (A23, A32)),
    "matrix_power": (lambda m, a: m.matrix_power(a, 3), (A22,)),
    "tensordot": (lambda m, a, b: m.tensordot(a, b, dims=1), (A23, A32)),
    "tensordot_dims": (lambda m, a, b: m.tensordot(a, b, dims=([1, 0], [0, 1])), (A23, A32)),
    "quadratic_form": (lambda m, x, a: x @ a @ x, (V2, A22)),
    "gram": (lambda m, a: a @ a.T, (A23,)),
    "t": (lambda m, a: a.t() * 1, (A23,)),
    "T": (lambda m, a: a.T, (A23,)),
    "T_of_vector": (lambda m, a: a.T, (V3,)),
    "t_of_vector": (lambda m, a: a.t(), (V3,)),
    "mT": (lambda m, a: a.mT, (B223,)),
    "transpose": (lambda m, a: a.transpose(0, 1), (A23,)),
    "transpose_negative": (lambda m, a: m.transpose(a, -1, 0), (B223,)),
    "swapaxes": (lambda m, a: a.swapaxes(0, 2), (B223,)),
    "diag_of_matrix": (lambda m, a: m.diag(a) * 1, (A23,)),
    "diag_of_vector": (lambda m, a: m.diag(a), (V3,)),
    "diagonal": (lambda m, a: a.diagonal(offset=1), (A23,)),
    "diag_embed": (lambda m, a: m.diag_embed(a), (A23,)),
    "trace": (lambda m, a: a.trace(), (A22,)),
    "trace_of_product": (lambda m, a, b: (a @ b).trace(), (A23, A32)),
}

EINSUMS: dict[str, tuple[Any, ...]] = {
    "ij,jk->ik": (A23, A32),
    "ij,jk": (A23, A32),
    "ij->ji": (A23,),
    "ij->": (A23,),
    "ij->i": (A23,),
    "ii->i": (A22,),
    "ii": (A22,),
    "i,i->": (V3, V3),
    "i,j->ij": (V2, V3),
    "ij,ij->ij": (A23, A23),
    "bij,bjk->bik": (B223, B232),
    "bij,jk->bik": (B223, A32),
    "...ij,...jk->...ik": (B223, B232),
    "ij,j,i->": (A23, V3, V2),
    "bi,bj,ij->b": (A22, A23, A23),
    "ij,kj->ik": (A23, A23),
}


def case(function: Callable[..., Any], values: tuple[Any, ...], dtype: str, m: Any) -> Observations:
    return differentiated(m, partial(function, m), *values, dtype=dtype)


def einsum(formula: str, values: tuple[Any, ...], m: Any) -> Observations:
    """The nodes that einsum is made of are torch's own affair: values and gradients only."""
    return differentiated(m, lambda *operands: m.einsum(formula, *operands), *values, names=False)


for _name, (_function, _values) in CASES.items():
    register("linear_algebra", _name, partial(case, _function, _values, "float64"))
for _name in ("mm", "matmul_2_1", "matmul_3_2", "addmm", "linear"):
    register("linear_algebra", f"{_name}_float32", partial(case, *CASES[_name], "float32"))
for _formula, _values in EINSUMS.items():
    register("linear_algebra", f"einsum {_formula}", partial(einsum, _formula, _values))


@program
def products_of_integers(m):
    a, b = m.tensor([[1, 2], [3, 4]]), m.tensor([[5, 6], [7, 8]])
    return {"matmul": a @ b, "dot": m.dot(a[0], b[0]), "outer": m.outer(a[0], b[1]), "mv": a.mv(b[0])}


@program
def products_of_views(m):
    x = m.tensor(ramp((4, 6)), dtype=m.float64, requires_grad=True)
    y = x[::2, 1:4] @ x[1:4, ::3]
    (y * m.tensor(ramp((2, 2)), dtype=m.float64)).sum().backward()
    return {"y": y, "gradient": x.grad}


@program
def product_with_a_constant(m):
    w = m.tensor(A32, requires_grad=True)
    y = m.tensor(A23).mm(w)
    y.sum().backward()
    return {"y": y, "gradient": w.grad}


@program
def larger_product(m):
    a = m.linspace(-1, 1, 30 * 40, dtype=m.float64).reshape(30, 40).requires_grad_()
    b = m.linspace(2, -3, 40 * 20, dtype=m.float64).reshape(40, 20).requires_grad_()
    y = (a @ b).tanh().mean()
    y.backward()
    return {"y": y, "a": a.grad[::7, ::9], "b": b.grad[::9, ::7]}


@program
def accumulated_weight(m):
    """One weight in two products: the gradient is the sum of both uses."""
    return differentiated(m, lambda w, x: ((x @ w) @ w).tanh(), A22, [[0.1, 0.2], [-0.3, 0.4], [0.5, -0.6]])
