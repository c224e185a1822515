"""Products on tracers against NumPy, einsum in all its forms."""

from typing import Any

import numpy as np
import pytest

from gradloomc.ir.errors import ShapeError, UnsupportedError
from harness.tracing import check, run


def sample(*shape: int, dtype: str = "float64", seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(shape) * 3).astype(dtype)


MATMUL_SHAPES = [
    ((3,), (3,)),
    ((2, 3), (3,)),
    ((3,), (3, 4)),
    ((2, 3), (3, 4)),
    ((5, 2, 3), (3, 4)),
    ((5, 2, 3), (3,)),
    ((3,), (5, 3, 4)),
    ((5, 2, 3), (5, 3, 4)),
    ((5, 1, 2, 3), (6, 3, 4)),
    ((2, 3), (6, 3, 4)),
    ((0, 3), (3, 2)),
    ((2, 0), (0, 2)),
]


@pytest.mark.parametrize(("left", "right"), MATMUL_SHAPES)
def test_matmul(left: Any, right: Any) -> None:
    x, y = sample(*left), sample(*right, seed=1)
    check(np.matmul, x, y)
    check(lambda x, y: x @ y, x, y)
    check(lambda x: x @ y, x)
    check(lambda y: x @ y, y)


@pytest.mark.parametrize("dtype", ("bool", "int32", "uint8", "float16", "float32", "float64"))
def test_dtypes(dtype: str) -> None:
    x, y = np.abs(sample(2, 3)).astype(dtype), np.abs(sample(3, 2, seed=1)).astype(dtype)
    tolerance = 1e-2 if dtype == "float16" else 1e-5
    for function in (np.matmul, np.dot, lambda x, y: np.einsum("ij,jk", x, y), lambda x, y: np.tensordot(x, y, 1)):
        check(function, x, y, tolerance=tolerance)
        check(function, x, y.astype(np.float32), tolerance=tolerance)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((3,), (3,)),
        ((2, 3), (3, 4)),
        ((5, 2, 3), (6, 3, 4)),
        ((), (3,)),
        ((2, 3), ()),
        ((2, 3), (3,)),
        ((4, 3), (2, 3, 2)),
    ],
)
def test_dot(left: Any, right: Any) -> None:
    check(np.dot, sample(*left), sample(*right, seed=1))
    if left:
        check(lambda x, y: x.dot(y), sample(*left), sample(*right, seed=1))


def test_inner_outer_vdot_tensordot_kron() -> None:
    check(np.inner, sample(2, 3), sample(4, 3))
    check(np.inner, sample(), sample(3))
    check(np.outer, sample(2, 3), sample(4))
    check(np.vdot, sample(2, 3), sample(2, 3))
    check(np.kron, sample(2, 3), sample(4))
    check(np.kron, sample(2, 3), sample(3, 2))
    check(lambda x, y: np.tensordot(x, y, axes=2), sample(2, 3, 4), sample(3, 4, 5))
    check(lambda x, y: np.tensordot(x, y, axes=0), sample(2), sample(3))
    check(lambda x, y: np.tensordot(x, y, axes=([0, 2], [1, 0])), sample(2, 3, 4), sample(4, 2))
    check(lambda x, y: np.tensordot(x, y, axes=(1, -1)), sample(2, 3), sample(4, 3))
    check(np.vecdot, sample(2, 3), sample(3))
    check(np.matvec, sample(4, 2, 3), sample(3))
    check(np.vecmat, sample(4, 2), sample(2, 3))
    check(lambda a, b, c: np.linalg.multi_dot([a, b, c]), sample(3), sample(3, 4), sample(4, 2))
    check(lambda a: np.linalg.matrix_power(a, 5), sample(3, 3))
    check(lambda a: np.linalg.matrix_power(a, 0), sample(3, 3))


def test_cross() -> None:
    check(np.cross, sample(3), sample(3, seed=1))
    check(np.cross, sample(4, 3), sample(3, seed=1))
    check(lambda a, b: np.cross(a, b, axis=0), sample(3, 4), sample(3, 4, seed=1))
    check(lambda a, b: np.cross(a, b, axisa=0, axisc=0), sample(3, 4), sample(4, 3, seed=1))


EINSUMS = [
    ("i,i", [(3,), (3,)]),
    ("i,i->i", [(3,), (3,)]),
    ("i,j", [(3,), (4,)]),
    ("ij,jk", [(2, 3), (3, 4)]),
    ("ij,jk->ki", [(2, 3), (3, 4)]),
    ("ij,ij->i", [(2, 3), (2, 3)]),
    ("bij,bjk->bik", [(5, 2, 3), (5, 3, 4)]),
    ("...ij,...jk->...ik", [(5, 2, 3), (3, 4)]),
    ("...ij,...jk", [(6, 5, 2, 3), (5, 3, 4)]),
    ("ii", [(3, 3)]),
    ("ii->i", [(3, 3)]),
    ("iij->j", [(3, 3, 2)]),
    ("iii->i", [(3, 3, 3)]),
    ("ij->ji", [(2, 3)]),
    ("ij->", [(2, 3)]),
    ("ij->j", [(2, 3)]),
    ("ba", [(2, 3)]),
    ("i...->...", [(2, 3, 4)]),
    ("...", [(2, 3)]),
    ("i,ij,j", [(2,), (2, 3), (3,)]),
    ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)]),
    ("ab,bc,cd,de->ae", [(2, 3), (3, 4), (4, 5), (5, 2)]),
    ("ij,ij,ij->j", [(2, 3), (2, 3), (2, 3)]),
    ("i,j,k->kji", [(2,), (3,), (4,)]),
    ("ij,ij->ij", [(1, 3), (2, 3)]),
    ("ij,jk", [(2, 1), (3, 4)]),
    ("ij,k->ik", [(2, 3), (4,)]),
    (",i", [(), (3,)]),
    ("ijkl,klmn->ijmn", [(2, 3, 2, 2), (2, 2, 3, 2)]),
    ("i,i", [(0,), (0,)]),
]


@pytest.mark.parametrize(("subscripts", "shapes"), EINSUMS)
def test_einsum(subscripts: str, shapes: Any) -> None:
    arrays = [sample(*shape, seed=k) for k, shape in enumerate(shapes)]
    check(lambda *xs: np.einsum(subscripts, *xs), *arrays)


def test_einsum_with_lists_and_options() -> None:
    x, y = sample(2, 3), sample(3, 4)
    check(lambda x, y: np.einsum(x, [0, 1], y, [1, 2], [2, 0]), x, y)
    check(lambda x, y: np.einsum(x, [0, 1], y, [1, 2]), x, y)
    check(lambda x, y: np.einsum(" i j , j k -> i k", x, y, optimize=True), x, y)
    check(lambda b: np.einsum("ij->i", b), np.array([[True, False], [False, False]]))


def test_diagonals() -> None:
    for shape in ((3, 3), (2, 4), (4, 2)):
        for offset in (-3, -1, 0, 1, 5):
            check(lambda x, k=offset: np.diagonal(x, k), sample(*shape))
            check(lambda x, k=offset: np.trace(x, k), sample(*shape))
            check(lambda x, k=offset: np.diag(x, k), sample(*shape))
    check(lambda x: np.diagonal(x, 1, 0, 2), sample(3, 2, 4))
    check(lambda x: x.diagonal(axis1=1, axis2=0), sample(3, 2, 4))
    check(np.trace, np.arange(9, dtype=np.int32).reshape(3, 3))
    for k in (-2, 0, 1):
        check(lambda v, k=k: np.diag(v, k), sample(3))
        check(lambda v, k=k: np.diag(v, k), sample(0))
        check(lambda x, k=k: (np.tril(x, k), np.triu(x, k)), sample(2, 3, 4))
    check(np.tril, sample(3))


@pytest.mark.parametrize("mode", ("full", "same", "valid"))
def test_convolve(mode: Any) -> None:
    for n, m in ((5, 3), (3, 5), (4, 1), (1, 1), (4, 4), (5, 2)):
        check(lambda a, v: np.convolve(a, v, mode), sample(n), sample(m, seed=1))
        check(lambda a, v: np.correlate(a, v, mode), sample(n), sample(m, seed=1))


def test_refusals_are_in_numpys_words() -> None:
    x = sample(2, 3)
    cases = [
        (
            lambda x: x @ x,
            ShapeError,
            r"matmul: Input operand 1 has a mismatch in its core dimension 0.*size 2 is different from 3",
        ),
        (lambda x: np.dot(x, x), ShapeError, r"shapes \(2,3\) and \(2,3\) not aligned: 3 \(dim 1\) != 2 \(dim 0\)"),
        (lambda x: x @ 2.0, ShapeError, "does not have enough dimensions"),
        (lambda x: np.tensordot(x, x, 1), ShapeError, "shape-mismatch for sum"),
        (lambda x: np.einsum("ij,jk", x, x), ShapeError, "subscript 'j' has sizes 3 and 2"),
        (lambda x: np.einsum("ijk", x), ShapeError, "operand has 2 dimensions"),
        (lambda x: np.einsum("ij->ik", x), ShapeError, "output subscript 'k'"),
        (lambda x: np.cross(x, x[:, :2]), ShapeError, "3-dimensional vectors"),
        (lambda x: np.linalg.matrix_power(x[:, :2], -1), UnsupportedError, "needs an inverse"),
    ]
    for function, error, message in cases:
        with pytest.raises(error, match=message):
            run(function, x)
