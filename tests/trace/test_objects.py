"""Methods of the user's classes are traced like functions: their np.zeros, np.array and math are shadowed."""

import abc
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pytest

from gradloom import compile_grad, value_and_grad
from gradloom.trace import objects
from gradloom.trace.shadow import shadow_of
from gradloomc.ir.errors import TracerError

X = np.array([1.0, 2.0, 3.0])


def filled(x: Any) -> Any:
    out = np.zeros(3)
    for i in range(3):
        out[i] = x[i] ** 2
    return out


class Base(abc.ABC):  # noqa: B024  (another metaclass than type)
    factor = 2.0

    def hidden(self, x: Any) -> Any:
        out = np.zeros(3)
        out[1:] = x[:-1] * self.factor
        return out

    @property
    def rate(self) -> float:
        return math.exp(self.weight)  # type: ignore[attr-defined]

    @staticmethod
    def first(x: Any) -> Any:
        return math.sin(x[0])

    @classmethod
    def scaled(cls, x: Any) -> Any:
        return np.array([x[0] * cls.factor, 1.0, x[1]])


class Model(Base):
    def __init__(self, weight: float, act: Callable[[Any], Any] = filled):
        self.weight, self.act = weight, act

    def hidden(self, x: Any) -> Any:
        return super().hidden(x) + self.act(x)

    def __call__(self, x: Any) -> Any:
        return np.sum(self.hidden(x)) * self.rate + self.first(x) + np.sum(self.scaled(x))

    def is_same_kind(self, other: Any) -> bool:
        return type(self) is type(other) is Model and isinstance(self, Base) and self.__class__ is Model


class Stack:
    def __init__(self) -> None:
        self.parts = [Model(0.1), Model(0.2)]

    def __call__(self, x: Any) -> Any:
        return sum(part(x) for part in self.parts)


@dataclass(frozen=True)
class Point:
    xy: Any
    names: list[str] = field(default_factory=list)

    def mirrored(self) -> Any:
        out = np.empty(3)
        out[::-1] = self.xy
        return Point(out * math.exp(self.xy[0]))


class Pair(NamedTuple):
    a: Any
    b: Any

    def both(self) -> Any:
        out = np.zeros(6)
        out[:3], out[3:] = self.a, self.b
        return np.sum(out**2)


model = Model(0.5)
CASES: dict[str, Callable[[Any], Any]] = {
    "of the outside": lambda x: model(x),
    "bound": lambda x: np.sum(model.hidden(x)),
    "made inside": lambda x: np.sum(Point(x).xy),
    "class method": lambda x: np.sum(model.scaled(x)),
}


@pytest.mark.parametrize("name", CASES)
def test_objects_of_the_outside(name: str) -> None:
    value, gradient = value_and_grad(CASES[name])(X)
    assert value == pytest.approx(CASES[name](X))
    assert gradient.shape == X.shape
    assert type(model) is Model and "hidden" not in vars(model)


MAKERS: dict[str, Callable[[], Any]] = {"call": lambda: model, "nested": Stack, "method": lambda: model.hidden}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_objects_that_are_called(make: Callable[[], Any]) -> None:
    function = make()

    def total(x: Any) -> Any:
        return np.sum(function(x))

    for each in (total, function) if not hasattr(function, "__self__") else (total,):
        assert value_and_grad(each)(X)[0] == pytest.approx(total(X))


def test_arguments_and_results_are_objects_of_the_users_classes() -> None:
    result = compile_grad(lambda point: point.mirrored())(Point(X, ["a"]))
    assert type(result) is Point
    np.testing.assert_allclose(result.xy, X[::-1] * math.e)
    gradient = value_and_grad(lambda pair: pair.both())(Pair(X, 2 * X))[1]
    assert type(gradient) is Pair
    np.testing.assert_allclose(gradient.b, 4 * X)
    same = compile_grad(lambda point: point)(Point(X, ["a"]))
    assert type(same) is Point and same.names == ["a"]


def test_functions_among_arguments_and_results() -> None:
    assert value_and_grad(lambda x, act: np.sum(act(x)))(X, filled)[0] == 14.0
    assert compile_grad(lambda x, act: (x, act))(X, filled)[1] is filled
    assert value_and_grad(lambda x, acts: np.sum(acts["f"](x)))(X, {"f": filled})[0] == 14.0


def test_classes_are_the_users() -> None:
    seen: list[Any] = []

    def function(x: Any, other: Any) -> Any:
        seen.append(other.is_same_kind(model))
        seen.append(type(other) is Model and isinstance(other, Model) and isinstance(Model, type))
        seen.append(type("Made", (), {"k": 3.0}).__name__ == "Made")
        return np.sum(other.hidden(x))

    compile_grad(function)(X, Model(0.5))
    assert seen == [True, True, True]


def test_what_cannot_be_followed_says_so() -> None:
    table = {"f": filled}
    with pytest.raises(TracerError, match="called through a class, a list or a dict"):
        value_and_grad(lambda x: np.sum(table["f"](x)))(X)


def test_stand_ins_share_attributes_and_are_made_anew() -> None:
    mine = Model(1.0)
    other = shadow_of(mine)
    assert other is not mine and other is shadow_of(mine) and vars(other) is vars(mine)
    assert Model in type(other).__mro__ and objects.original_class(type(other)) is Model

    class Local(Base):
        def hidden(self, x: Any) -> Any:
            return x

    local = Local()
    before = shadow_of(local)
    Local.hidden = filled.__get__(None, Local)  # type: ignore[method-assign]
    assert type(shadow_of(local)) is not type(before)


@pytest.mark.parametrize("kind", [dict, Exception, functools.partial, int])
def test_other_classes_stay(kind: Any) -> None:
    value = kind(filled) if kind is functools.partial else kind()
    assert type(shadow_of(value)) is kind


class Registered:
    made: list[type] = []  # noqa: RUF012

    def __init_subclass__(cls) -> None:
        Registered.made.append(cls)

    def loss(self, x: Any) -> Any:
        return np.sum(x)


def test_no_code_of_the_user_runs_by_making_a_class() -> None:
    assert value_and_grad(Registered().loss)(X)[0] == 6.0
    assert Registered.made == []
