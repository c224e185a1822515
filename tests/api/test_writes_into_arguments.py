"""What a function writes into its arguments: a warning for what compiled calls do not do, none for what is not lost."""

import functools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gradloom import value_and_grad

x = np.arange(3.0)


class Model:
    def __init__(self) -> None:
        self.w, self.calls, self.parts = np.ones(3), 0, [np.ones(3)]

    @functools.cached_property
    def scaled(self) -> Any:
        return self.w * 2.0

    def counts(self, x: Any) -> Any:
        self.calls += 1
        return np.sum(x * self.w)

    def remembers(self, x: Any) -> Any:
        self.last = x * self.w
        return np.sum(self.last)

    def appends(self, x: Any) -> Any:
        self.parts.append(x)
        return np.sum(self.parts[1])

    def forgets(self, x: Any) -> Any:
        del self.calls
        return np.sum(x)

    def only_reads(self, x: Any) -> Any:
        parts = [*self.parts, x]
        parts[0] = x
        return np.sum(parts[0] * self.scaled)


@pytest.mark.parametrize(
    ("method", "written"),
    [
        (Model.counts, "self.calls"),
        (Model.remembers, "self.last"),
        (Model.appends, "self.parts[1]"),
        (Model.forgets, "self.calls"),
    ],
)
def test_attributes(method: Callable[..., Any], written: str) -> None:
    model = Model()
    with pytest.warns(RuntimeWarning, match=rf"{method.__name__}\(\) writes {written}".replace("[", r"\[")) as caught:
        value_and_grad(method, argnums=1)(model, x)
    assert caught[0].filename == __file__
    assert model.calls == 0 and len(model.parts) == 1 and not hasattr(model, "last")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value_and_grad(Model.only_reads, argnums=1)(model, x)


def test_dicts_and_lists() -> None:
    def renews(p: Any) -> Any:
        p["w"] = p["w"] * 2.0
        return np.sum(p["w"])

    def pops(p: Any) -> Any:
        return np.sum(p.pop())

    parameters, parts = {"w": x}, [x, 2 * x]
    with pytest.warns(RuntimeWarning, match=r"renews\(\) writes p\['w'\]"):
        value_and_grad(renews)(parameters)
    with pytest.warns(RuntimeWarning, match=r"pops\(\) writes p\[1\]"):
        value_and_grad(pops)(parts)
    assert parameters["w"] is x and len(parts) == 2
