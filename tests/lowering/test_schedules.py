"""Whole NumPy programs whose schedule decides their speed: what they move and keep, and that they are right."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.special import erf

from gradloom import check_grads, compile_grad
from gradloom.exec.executable import Executable

RNG = np.random.default_rng(4)


def compiled(fun: Callable[..., Any], *args: Any, argnums: Any = 0) -> tuple[Any, Executable]:
    """Return value and gradients, and the program that computed them; the gradients are checked."""
    function: Any = compile_grad(fun, argnums=argnums)
    results = function.value_and_grad(*args)
    (program,) = function.user.programs.values()
    return results, program.executable


def layer_norm_gelu(x, gain, bias):
    centred = x - np.mean(x, axis=1, keepdims=True)
    variance = np.mean(centred * centred, axis=1, keepdims=True)
    y = centred / np.sqrt(variance + 1e-5) * gain + bias
    z = 0.5 * y * (1 + erf(y * 0.7071067811865476))
    return np.sum(z * z)


def test_layer_norm_reads_its_rows_from_memory_once() -> None:
    x, gain, bias = RNG.normal(size=(512, 300)), RNG.normal(size=300), RNG.normal(size=300)
    (value, gradients), executable = compiled(layer_norm_gelu, x, gain, bias, argnums=(0, 1, 2))
    # what several walks need of a row is scratch memory of a tile, so only columns of numbers per row are extra
    assert executable.stats.bytes_moved < 1.1 * executable.stats.bytes_ideal
    np.testing.assert_allclose(value, layer_norm_gelu(x, gain, bias), rtol=1e-13)
    small = (x[:9, :7], gain[:7], bias[:7])
    check_grads(layer_norm_gelu, small)
    few = compile_grad(layer_norm_gelu).grad(x[:37], gain, bias)  # too few rows for tiles
    alone = compile_grad(layer_norm_gelu).grad(x, gain, bias)
    np.testing.assert_allclose(few, alone[:37], rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(alone, gradients[0], rtol=1e-9, atol=1e-14)


def pair_energy(x, masses):
    difference = x[:, None, :] - x[None, :, :]
    squared = np.sum(difference * difference, axis=-1) + 0.01
    return -0.5 * np.sum(masses[:, None] * masses[None, :] / np.sqrt(squared))


def test_pairs_of_points_take_no_memory() -> None:
    x, masses = RNG.normal(size=(300, 3)), RNG.uniform(0.5, 1, size=300)
    (value, gradient), executable = compiled(pair_energy, x, masses)
    program = executable.program
    # of the 300 x 300 x 3 differences nothing is stored: beside the arrays only turned copies of them exist
    largest = max(np.prod(slot.shape) for slot in program.slots if slot.element.kind == "f")
    assert largest == x.size
    assert executable.stats.kernels <= 5
    np.testing.assert_allclose(value, pair_energy(x, masses), rtol=1e-13)
    difference = x[:, None] - x[None]
    pull = masses[:, None] * masses / (np.sum(difference**2, -1) + 0.01) ** 1.5
    np.testing.assert_allclose(gradient, np.sum(pull[..., None] * difference, axis=1), rtol=1e-10)
    check_grads(pair_energy, (x[:5], masses[:5]))


def test_extremes_over_short_axes() -> None:
    x, y = RNG.normal(size=(70, 3)), RNG.normal(size=(80, 3))

    def chebyshev(x, y):
        return np.sum(np.min(np.max(np.abs(x[:, None] - y), axis=2), axis=1))

    (value, gradient), _ = compiled(chebyshev, x, y)
    assert value == chebyshev(x, y)
    distances = np.abs(x[:, None] - y)
    nearest = np.argmin(distances.max(2), axis=1)
    axis = np.argmax(distances[np.arange(70), nearest], axis=1)
    expected = np.zeros_like(x)
    expected[np.arange(70), axis] = np.sign(x - y[nearest])[np.arange(70), axis]
    np.testing.assert_array_equal(gradient, expected)


def test_short_axes_of_all_kinds() -> None:
    x = RNG.integers(1, 4, size=(65, 66, 2))
    for fun in (
        lambda x: np.sum(np.prod(x, axis=2), axis=0),
        lambda x: np.sum(np.any(x > 2, axis=2) & np.all(x > 1, axis=2), axis=1),
        lambda x: np.sum(x[:, :1] * x[:1], axis=(0, 1)),
        lambda x: np.max(x[:, :1, :] - x[:1], axis=1),
        lambda x: np.min(np.sum(x[:, None, :, 0] * x[None, :, :1, 1], axis=2), axis=0),
    ):
        np.testing.assert_array_equal(compile_grad(fun)(x), fun(x))
        np.testing.assert_array_equal(compile_grad(fun)(x.astype(np.float32)), fun(x.astype(np.float32)))


def test_explain_says_why_kernels_are_apart() -> None:
    def standardized(x):
        y = np.exp(x)
        return np.sum((y - np.mean(y, axis=1, keepdims=True)) ** 2, axis=1)

    text = compile_grad(standardized).explain(RNG.normal(size=(300, 200)))
    assert "needs the finished sums of 1, tile by tile of" in text
    assert "computed again:" in text and "by 2 kernels" in text
    assert "of temporaries at the peak" in text


# Losses of a matrix with a vector, and what their gradients return beside the value.
MATRIX_LOSSES: dict[str, Callable[..., Any]] = {
    "least squares": lambda a, x, b: 0.5 * np.sum((a @ x - b) ** 2),
    "ridge": lambda a, x, b: 0.5 * np.sum((a @ x - b) ** 2) + 0.1 * np.sum(x * x),
    "logistic": lambda a, x, b: np.mean(np.logaddexp(0.0, -b * (a @ x))),
    "robust": lambda a, x, b: np.sum(np.sqrt(1.0 + (a @ x - b) ** 2)),
    "three columns": lambda a, x, b: np.sum((a @ (x[:, None] * np.arange(1.0, 4.0)) - b[:, None]) ** 2),
}


@pytest.mark.parametrize("name", MATRIX_LOSSES)
def test_a_matrix_is_read_once_for_value_and_gradient(name: str) -> None:
    """A x and A' r are one walk over the tiles of A, whose rows come from memory once."""
    rng = np.random.default_rng(0)
    a, x, b = rng.standard_normal((20_000, 60)), rng.standard_normal(60), np.sign(rng.standard_normal(20_000))
    compiled = compile_grad(MATRIX_LOSSES[name], argnums=1)
    value, gradient = compiled.value_and_grad(a, x, b)
    assert compiled.stats.bytes_moved < 1.1 * compiled.stats.bytes_ideal
    np.testing.assert_allclose(value, MATRIX_LOSSES[name](a, x, b), rtol=1e-11)
    step = 1e-6 * rng.standard_normal(60)
    difference = MATRIX_LOSSES[name](a, x + step, b) - MATRIX_LOSSES[name](a, x - step, b)
    np.testing.assert_allclose(difference / 2, gradient @ step, rtol=1e-4)


def test_a_softmax_computes_its_exponentials_once_and_asks_for_memory_ahead() -> None:
    def cross_entropy(z, t):
        shifted = z - np.max(z, axis=1, keepdims=True)
        return np.mean(np.log(np.sum(np.exp(shifted), axis=1)) - np.sum(t * shifted, axis=1))

    rows, classes = 1024, 700
    z = RNG.normal(size=(rows, classes)).astype(np.float32)
    t = np.eye(classes, dtype=np.float32)[RNG.integers(classes, size=rows)]
    function = compile_grad(cross_entropy)
    text = function.explain(z, t)
    assert "rows of a tile: costs more than a trip to the cache" in text
    assert "read in the next tile" in text and "written in this tile" in text
    assert function.value_and_grad.ir("loops", z, t).count("math.exp") == 1
    power = np.exp(z.astype(float) - z.max(axis=1, keepdims=True))
    expected = (power / power.sum(axis=1, keepdims=True) - t) / rows
    np.testing.assert_allclose(function.grad(z, t), expected, rtol=1e-4, atol=1e-10)


def test_a_logistic_regression_takes_four_rows_at_once() -> None:
    def loss(w, x, y):
        z = x @ w
        return np.mean(np.logaddexp(0.0, z) - y * z)

    for rows in (1000, 1001, 1002, 1003):
        x, y, w = RNG.normal(size=(rows, 100)), RNG.integers(2, size=rows).astype(float), RNG.normal(size=100)
        function = compile_grad(loss)
        assert function.explain(w, x, y).count("4 rows at once") == 1
        assert function.value_and_grad.ir("loops", w, x, y).count("jam = 4") == 2
        expected = x.T @ (1 / (1 + np.exp(-(x @ w))) - y) / rows
        np.testing.assert_allclose(function.grad(w, x, y), expected, rtol=1e-12, atol=1e-15)


def test_sums_of_some_rows_beside_others() -> None:
    """A nest may walk rows that one of its sums does not have: they store nothing in the place of another."""
    x = RNG.normal(size=(300, 200))
    for part in (np.s_[:-1], np.s_[2:], np.s_[1:-3]):

        def fun(x, part=part):
            return np.sum(np.sum(x[part] * 2, axis=1) ** 2) + np.sum(x**3)

        (value, gradient), _ = compiled(fun, x)
        np.testing.assert_allclose(value, fun(x), rtol=1e-12)
        expected = 3 * x**2
        expected[part] += 8 * np.sum(x[part], axis=1, keepdims=True)
        np.testing.assert_allclose(gradient, expected, rtol=1e-9, atol=1e-9)
    cube = RNG.normal(size=(20, 30, 40))
    for box in (np.s_[:, :-1], np.s_[:-1, 1:], np.s_[1:, 2:, :-1]):

        def spread(x, box=box):
            return np.sum(np.sum(x[box], axis=(1, 2)) ** 2) + np.sum(np.sum(x[box], axis=2) ** 2) + np.sum(x**3)

        (value, gradient), _ = compiled(spread, cube)
        np.testing.assert_allclose(value, spread(cube), rtol=1e-12)
        expected = 3 * cube**2
        for axes in ((1, 2), 2):
            expected[box] += 2 * np.sum(cube[box], axis=axes, keepdims=True)
        np.testing.assert_allclose(gradient, expected, rtol=1e-9, atol=1e-9)
