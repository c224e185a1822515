"""np.linalg.solve and np.linalg.inv: values as NumPy's, derivatives of both operands, stacks, vectors, errors."""

import numpy as np
import pytest

import gradloom
from gradloomc.ir.errors import ShapeError


def system(*shape: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.standard_normal(shape) + 4 * np.eye(shape[-1])


RIGHT_HAND_SIDES = {
    "columns": ((3, 3), (3, 2)),
    "vector": ((3, 3), (3,)),
    "stack of matrices, one side": ((2, 3, 3), (3, 2)),
    "one matrix, stack of sides": ((3, 3), (4, 3, 1)),
    "one by one": ((1, 1), (1, 5)),
    "no columns": ((3, 3), (3, 0)),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shapes", RIGHT_HAND_SIDES.values(), ids=RIGHT_HAND_SIDES)
def test_values(shapes: tuple[tuple[int, ...], tuple[int, ...]], dtype: type) -> None:
    a = system(*shapes[0]).astype(dtype)
    b = np.random.default_rng(1).standard_normal(shapes[1]).astype(dtype)
    result = gradloom.compile_grad(lambda a, b: np.linalg.solve(a, b))(a, b)
    expected = np.linalg.solve(a, b)
    assert result.dtype == expected.dtype and result.shape == expected.shape
    np.testing.assert_allclose(result, expected, rtol=1e-5 if dtype is np.float32 else 1e-12)


@pytest.mark.parametrize("shapes", list(RIGHT_HAND_SIDES.values())[:5], ids=list(RIGHT_HAND_SIDES)[:5])
def test_derivatives(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    a, b = system(*shapes[0]), np.random.default_rng(1).standard_normal(shapes[1])
    gradloom.check_grads(lambda a, b: np.sum(np.sin(np.linalg.solve(a, b))), (a, b), order=2)


def test_inverse() -> None:
    a = system(2, 3, 3)
    np.testing.assert_allclose(gradloom.compile_grad(lambda a: np.linalg.inv(a))(a), np.linalg.inv(a), rtol=1e-12)
    gradloom.check_grads(lambda a: np.sum(np.linalg.inv(a) ** 2), (a,), order=2)


def test_integers_are_solved_in_floats() -> None:
    a, b = np.array([[2, 1], [1, 3]]), np.array([1, 2])
    np.testing.assert_allclose(gradloom.compile_grad(lambda a, b: np.linalg.solve(a, b))(a, b), np.linalg.solve(a, b))


def test_shapes_that_do_not_fit() -> None:
    solve = gradloom.compile_grad(lambda a, b: np.linalg.solve(a, b))
    with pytest.raises(ShapeError, match="must be square"):
        solve(np.ones((2, 3)), np.ones(2))
    with pytest.raises(ShapeError, match=r"shapes \(3,3\) and \(2,1\) do not fit"):
        solve(np.eye(3), np.ones(2))


def test_a_singular_matrix_is_numpys_error() -> None:
    with pytest.raises(np.linalg.LinAlgError, match="Singular"):
        gradloom.compile_grad(lambda a, b: np.linalg.solve(a, b))(np.zeros((2, 2)), np.ones(2))
