"""Rows whose last vector is written by itself: right for every length, in tiles too."""

from typing import Any

import numpy as np

from gradloom import compile_grad

RNG = np.random.default_rng(11)


def test_whole_vectors_of_tiles_and_rows(small_plans: None) -> None:
    """The last vector of a row, or of a tile of rows, stands by itself; lanes that it repeats do not count twice."""
    x, y = RNG.normal(size=(90, 23)), RNG.integers(0, 2, 90).astype(float)

    def logistic(w, x, y):
        z = x @ w
        return np.mean(np.logaddexp(0.0, z) - y * z)

    function: Any = compile_grad(logistic)
    for rows in range(73, 91):
        w = RNG.normal(size=23)
        value, gradient = function.value_and_grad(w, x[:rows], y[:rows])
        np.testing.assert_allclose(value, logistic(w, x[:rows], y[:rows]), rtol=1e-14)
        expected = (1 / (1 + np.exp(-x[:rows] @ w)) - y[:rows]) @ x[:rows] / rows
        np.testing.assert_allclose(gradient, expected, rtol=1e-12, atol=1e-14)
    text = function.ir("llvm", RNG.normal(size=23), x, y)
    assert "tile" in text
    assert "whole" in text
    numbers = RNG.normal(size=(41, 97))
    for columns in range(60, 98):
        part = numbers[:, :columns]
        value, gradient = compile_grad(lambda x: np.sum(np.max(x, 1)) + np.sum(np.sum(x, 1) ** 2)).value_and_grad(part)
        np.testing.assert_allclose(value, part.max(1).sum() + np.sum(part.sum(1) ** 2), rtol=1e-12)
        expected = (part == part.max(1, keepdims=True)) + 2 * part.sum(1, keepdims=True)
        np.testing.assert_allclose(gradient, expected, rtol=1e-11)
