"""What a function reads beside its arguments may change between calls: the results are those of the function as it is.

Each change is made after native code has taken over the calls.
"""

import types
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest

from gradloom import value_and_grad

X = np.array([1.0, 2.0, 3.0])
SCALE = 2.0


class Settings:
    rate = 1.0
    table = np.ones(3)
    options: ClassVar[dict[str, float]] = {"weight": 1.0}

    class Inner:
        power = 1.0


class Model:
    scale = 1.0
    kind = staticmethod(np.abs)

    def __init__(self) -> None:
        self.weights = np.ones(3)

    @property
    def doubled(self) -> float:
        return 2 * self.scale

    def hidden(self, x: Any) -> Any:
        return SCALE * x * self.weights

    def loss(self, x: Any) -> Any:
        return np.sum(self.kind(self.hidden(x))) * self.doubled

    def __call__(self, x: Any) -> Any:
        return np.sum(self.hidden(x)) * self.scale

    @classmethod
    def shared(cls, x: Any) -> Any:
        return np.sum(x) * cls.scale


class Derived(Model):
    def hidden(self, x: Any) -> Any:
        return super().hidden(x) + 1.0


def helper(x: Any, factor: float = 2.0) -> Any:
    return x * factor


def of_settings(x: Any) -> Any:
    weight = Settings.rate * Settings.table[0] * Settings.options["weight"]
    return np.sum(x**Settings.Inner.power) * weight


def of_helper(x: Any) -> Any:
    return np.sum(helper(x))


model, derived = Model(), Derived()


def of_objects(x: Any) -> Any:
    return model(x) + derived.loss(x)


def put(owner: Any, name: str, value: Any) -> Callable[[pytest.MonkeyPatch], None]:
    def change(patch: pytest.MonkeyPatch) -> None:
        if isinstance(owner, (np.ndarray, dict)):
            patch.setitem(owner, name, value)  # type: ignore[arg-type]
        else:
            patch.setattr(owner, name, value)

    change.__name__ = f"{getattr(owner, '__name__', type(owner).__name__)}.{name}"
    return change


def write_table(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Settings, "table", Settings.table.copy())
    value_and_grad(of_settings)(X)
    Settings.table[0] = 5.0


def other_global(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(globals(), "SCALE", 7.0)


def other_class(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(globals(), "Settings", type("Settings", (Settings,), {"rate": 9.0}))


OTHER_CODE = (lambda x, factor=2.0: x * factor + 1.0).__code__  # what a reloader puts in
CASES = [
    (of_settings, put(Settings, "rate", 3.0)),
    (of_settings, put(Settings.options, "weight", 4.0)),
    (of_settings, put(Settings.Inner, "power", 2.0)),
    (of_settings, write_table),
    (of_settings, other_class),
    (of_helper, put(helper, "__code__", OTHER_CODE)),
    (of_helper, put(helper, "__defaults__", (3.0,))),
    (model.loss, put(Model, "scale", 3.0)),
    (model.loss, put(Model, "hidden", lambda self, x: x)),
    (model.loss, put(Model, "doubled", property(lambda self: 5.0))),
    (model.loss, put(Model, "kind", staticmethod(np.square))),
    (model.loss, other_global),
    (derived.loss, other_global),
    (derived.loss, put(Model, "hidden", lambda self, x: x)),
    (derived.loss, put(Derived, "scale", 4.0)),
    (model, other_global),
    (Model.shared, put(Model, "scale", 3.0)),
    (of_objects, put(Model, "scale", 3.0)),
    (of_objects, put(model, "weights", np.zeros(3))),
    (of_objects, other_global),
]


@pytest.mark.filterwarnings("ignore:.* has been compiled 16 times because it reads")
@pytest.mark.parametrize(
    ("function", "change"),
    CASES,
    ids=[f"{getattr(f, '__qualname__', 'model')}-{change.__name__}" for f, change in CASES],
)
def test_changes_are_noticed(function: Any, change: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    derivative = value_and_grad(function)
    before = derivative(X)
    for _ in range(5):
        assert derivative(X)[0] == function(X) == before[0]
    with monkeypatch.context() as patch:
        change(patch)
        value, gradient = derivative(X)
        assert value == function(X) != before[0]
        assert not np.array_equal(gradient, before[1]) or change.__name__.endswith("__code__")
    assert derivative(X)[0] == function(X) == before[0]


def test_a_class_with_two_objects_of_different_classes() -> None:
    """What is watched for the first is still watched when the second has been traced."""

    class A:
        k = 1.0

        def loss(self, x: Any) -> Any:
            return np.sum(x) * self.k

    class B(A):
        k = 2.0

    first, second = value_and_grad(A().loss), value_and_grad(B().loss)
    for _ in range(4):
        assert (first(X)[0], second(X)[0]) == (6.0, 12.0)
    A.k = 3.0
    assert (first(X)[0], second(X)[0]) == (18.0, 12.0)
    B.k = 4.0
    assert (first(X)[0], second(X)[0]) == (18.0, 24.0)


def test_modules_of_modules() -> None:
    inner, outer = types.ModuleType("own_inner"), types.ModuleType("own_outer")
    inner.k, outer.inner = 2.0, inner  # type: ignore[attr-defined]
    space: dict[str, Any] = {"np": np, "outer": outer, "__name__": "own_program"}
    exec("def f(x):\n    return np.sum(x) * outer.inner.k", space)
    derivative = value_and_grad(space["f"])
    for _ in range(4):
        assert derivative(X)[0] == 12.0
    inner.k = 3.0  # type: ignore[attr-defined]
    assert derivative(X)[0] == 18.0
