"""Programs on all pairs of some points: no array of pairs, each sum once, and right."""

from typing import Any

import numpy as np
import pytest

from gradloom import check_grads, compile_grad

RNG = np.random.default_rng(7)


def schedule(fun: Any, *args: Any, argnums: Any = 0) -> tuple[Any, Any, Any]:
    """Return the value, the gradients and what computed them."""
    function: Any = compile_grad(fun, argnums=argnums)
    value, gradients = function.value_and_grad(*args)
    return value, gradients, Schedule(function, args)


class Schedule:
    """What is counted of a program: the elements of its largest float buffer, and the scalars that it adds up."""

    def __init__(self, function: Any, args: Any):
        *_, program = function.user.programs.values()
        slots = program.executable.program.slots
        self.largest = int(max(np.prod(slot.shape) for slot in slots if slot.element.kind == "f"))
        self.sums = function.ir("kernels", *args).count('["add", ')


def complex_step(fun: Any, x: np.ndarray) -> np.ndarray:
    """Return the gradient of a real analytic function, exact to rounding (Squire and Trapp, 1998)."""
    gradient = np.empty_like(x)
    for index in np.ndindex(x.shape):
        moved = x.astype(complex)
        moved[index] += 1e-40j
        gradient[index] = fun(moved).imag / 1e-40
    return gradient


def gravity(x):
    d = x[:, None, :] - x[None, :, :]
    return -0.5 * np.sum(1.0 / np.sqrt(np.sum(d * d, axis=-1) + 0.01))


def gaussian(x):
    return np.sum(np.exp(-0.5 * np.sum((x[:, None] - x[None]) ** 2, -1)))


def lennard_jones(x):
    d = x[:, None, :] - x[None, :, :]
    r2 = np.sum(d * d, axis=-1) + np.eye(len(x))
    s6 = 1.0 / r2**3
    return 0.5 * np.sum(4.0 * (s6 * s6 - s6) * (1.0 - np.eye(len(x))))


def coulomb(x):
    d = x[:, None, :] - x[None, :, :]
    off = ~np.eye(len(x), dtype=bool)
    r2 = np.where(off, np.sum(d * d, axis=-1), 1.0)
    return 0.5 * np.sum(np.where(off, 1.0 / np.sqrt(r2), 0.0))


def differences(x):
    d = x[:, None] - x[None, :]
    return np.sum(np.sin(d) * np.tanh(d) + d * d * d * np.sin(d) + np.cosh(d))


def coulomb_filled(x):
    d = x[:, None, :] - x[None, :, :]
    r2 = np.sum(d * d, axis=-1)
    np.fill_diagonal(r2, 1.0)
    energy = 1.0 / np.sqrt(r2)
    np.fill_diagonal(energy, 0.0)
    return 0.5 * np.sum(energy)


PAIRWISE = [gravity, gaussian, lennard_jones, coulomb, coulomb_filled, differences]


@pytest.mark.parametrize("fun", PAIRWISE)
def test_gradients_of_pairs(fun: Any) -> None:
    x = RNG.uniform(-2, 2, (17, 3) if fun is not differences else (17,))
    value, gradient, _ = schedule(fun, x)
    np.testing.assert_allclose(value, fun(x), rtol=1e-12)
    np.testing.assert_allclose(gradient, complex_step(fun, x), rtol=1e-11, atol=1e-11)
    check_grads(fun, (x[:4],))


@pytest.mark.parametrize("fun", PAIRWISE)
def test_pairs_are_added_up_once_and_stored_nowhere(fun: Any) -> None:
    x = RNG.uniform(-20, 20, (200, 3) if fun is not differences else (200,))
    value, gradient, counted = schedule(fun, x)
    assert counted.largest == x.size
    assert counted.sums == 1 + x[0].size  # the value, and one sum of pulls instead of one for each of the two x
    np.testing.assert_allclose(value, fun(x), rtol=1e-12)
    moved = x.copy()
    moved.flat[5] += 1e-5
    behind = x.copy()
    behind.flat[5] -= 1e-5
    slope = (fun(moved) - fun(behind)) / 2e-5
    np.testing.assert_allclose(gradient.flat[5], slope, rtol=1e-5, atol=1e-7 * abs(value))


def test_pairs_of_different_points_have_two_sums() -> None:
    x, y = RNG.normal(size=(150, 3)), RNG.normal(size=(150, 3))

    def kernel(x, y):
        return np.sum(np.exp(-0.5 * np.sum((x[:, None] - y[None]) ** 2, -1)))

    value, (to_x, to_y), counted = schedule(kernel, x, y, argnums=(0, 1))
    assert counted.largest == x.size
    assert counted.sums == 1 + 6
    d = x[:, None] - y[None]
    weights = np.exp(-0.5 * np.sum(d**2, -1))
    np.testing.assert_allclose(value, weights.sum(), rtol=1e-12)
    np.testing.assert_allclose(to_x, -np.einsum("ij,ijk->ik", weights, d), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(to_y, np.einsum("ij,ijk->jk", weights, d), rtol=1e-10, atol=1e-12)


def test_asymmetric_terms_keep_both_sums() -> None:
    x, w = RNG.normal(size=120), RNG.normal(size=(120, 120))

    def energy(x):
        return np.sum(w * np.sin(x[:, None] - x[None, :]))

    _, gradient, counted = schedule(energy, x)
    assert counted.sums == 3
    slopes = w * np.cos(x[:, None] - x[None, :])
    np.testing.assert_allclose(gradient, slopes.sum(1) - slopes.sum(0), rtol=1e-11, atol=1e-12)


def test_poles_keep_their_signs() -> None:
    x = np.array([1.0, 2.0, 2.0, 4.0])

    def poles(x):
        d = x[:, None] - x[None, :]
        return np.sum(np.where(d == 0, 0.0, 1.0 / np.where(d == 0, 1.0, d)) ** 2)

    value, gradient, _ = schedule(poles, x)
    d = x[:, None] - x[None, :]
    with np.errstate(divide="ignore"):
        expected = np.where(d == 0, 0.0, -4.0 / d**3).sum(1)
        np.testing.assert_allclose(value, np.where(d == 0, 0.0, d**-2.0).sum(), rtol=1e-13)
    np.testing.assert_allclose(gradient, expected, rtol=1e-12)


def test_nan_and_infinity_go_through_shared_sums() -> None:
    x = RNG.normal(size=(40, 3))
    x[3, 1] = np.nan
    assert np.isnan(schedule(gravity, x)[1]).any(axis=1).all()
    x[3, 1] = np.inf
    gradient = schedule(gravity, x)[1]
    with np.errstate(invalid="ignore"):
        d = x[:, None] - x[None]
        weights = (np.sum(d * d, -1) + 0.01) ** -1.5
        expected = np.sum(weights[..., None] * d, axis=1)
    np.testing.assert_array_equal(np.isnan(gradient[:, 1]), np.isnan(expected[:, 1]))


@pytest.mark.parametrize("fun", [lennard_jones, coulomb, coulomb_filled])
def test_masks_of_pairs_take_no_memory(fun: Any) -> None:
    x = RNG.uniform(-20, 20, (300, 3))
    function: Any = compile_grad(fun)
    function.value_and_grad(x)
    *_, program = function.user.programs.values()
    stats = program.executable.stats
    assert stats.externs == 0
    assert stats.bytes_moved < 20 * x.nbytes  # a mask of 300 x 300 bytes alone would be 12 of them
    assert "captured" not in function.ir("nd", x) and "dense<[" not in function.ir("nd", x)


def test_half_of_the_pairs() -> None:
    x = RNG.uniform(-2, 2, (90, 3))

    def triangle(x):
        d = x[:, None, :] - x[None, :, :]
        r2 = np.sum(d * d, axis=-1) + np.eye(len(x))
        return np.sum(np.triu(1.0 / np.sqrt(r2), 1))

    value, gradient, counted = schedule(triangle, x)
    assert counted.largest == x.size
    assert counted.sums == 1 + 6  # half of the terms are not symmetric
    np.testing.assert_allclose(value, triangle(x), rtol=1e-13)
    np.testing.assert_allclose(gradient, complex_step(triangle, x), rtol=1e-10, atol=1e-12)


def test_distances_by_a_product_are_explained() -> None:
    x = RNG.normal(size=(300, 3))

    def kernel(x):
        squares = np.sum(x * x, axis=1)
        return np.sum(np.exp(-0.5 * (squares[:, None] + squares[None] - 2 * x @ x.T)))

    function: Any = compile_grad(kernel)
    value, gradient = function.value_and_grad(x)
    np.testing.assert_allclose(value, kernel(x), rtol=1e-12)
    d = x[:, None] - x[None]
    weights = np.exp(-0.5 * np.sum(d * d, -1))
    np.testing.assert_allclose(gradient, -2 * np.sum(weights[..., None] * d, axis=1), rtol=1e-9, atol=1e-11)
    assert "kernels" in function.explain(x)
