"""Random numbers that would be drawn once for all calls are refused; those of a seed in the function are not."""

import random
from collections.abc import Callable
from random import gauss
from typing import Any

import numpy as np
import pytest
from numpy.random import rand

from gradloom import value_and_grad
from gradloomc.ir.errors import UnsupportedError

X = np.array([1.0, 2.0, 3.0])
RNG = np.random.default_rng(0)
LEGACY = np.random.RandomState(0)


class Noisy:
    def __init__(self) -> None:
        self.rng = np.random.default_rng(1)

    def loss(self, x: Any) -> Any:
        return np.sum(x * self.rng.normal(size=3))


noisy = Noisy()
REFUSED: dict[str, Callable[[Any], Any]] = {
    "np.random": lambda x: np.sum(x * np.random.randn(3)),
    "imported": lambda x: np.sum(x * rand(3)),
    "generator": lambda x: np.sum(x * RNG.standard_normal(3)),
    "legacy": lambda x: np.sum(x) * LEGACY.uniform(),
    "random": lambda x: np.sum(x) * random.random(),
    "random.uniform": lambda x: np.sum(x) * random.uniform(0, 1),
    "imported from random": lambda x: np.sum(x) * gauss(0, 1),
    "indices": lambda x: np.sum(x[np.random.permutation(3)[:2]]),
    "without a seed": lambda x: np.sum(x * np.random.default_rng().random(3)),
    "object of the outside": lambda x: noisy.loss(x),
}


@pytest.mark.parametrize("name", REFUSED)
def test_numbers_drawn_once_are_refused(name: str) -> None:
    with pytest.raises(UnsupportedError, match=r"would draw once.*(\n.*)*pass the numbers as an argument"):
        value_and_grad(REFUSED[name])(X)


def test_generators_among_arguments_are_refused() -> None:
    for function, args in ((lambda x, rng: np.sum(x * rng.random(3)), (X, RNG)), (noisy.loss, (X,))):
        with pytest.raises(UnsupportedError, match="a random generator changes with each call"):
            value_and_grad(function)(*args)


def test_fixed_seeds_draw_as_in_numpy() -> None:
    def function(x: Any) -> Any:
        assert isinstance(RNG, np.random.Generator)
        return np.sum(x * np.random.default_rng(3).standard_normal(3) * np.random.RandomState(3).rand(3))

    for _ in range(3):
        assert value_and_grad(function)(X)[0] == pytest.approx(function(X), rel=1e-14)


def test_outside_of_a_trace_nothing_changes() -> None:
    value = np.random.default_rng(5).standard_normal(3)
    drawn = np.random.default_rng(5)
    noise = drawn.standard_normal(3)
    assert value_and_grad(lambda x, noise: np.sum(x * noise))(X, noise)[0] == pytest.approx(np.sum(X * value))
