"""Calls with all kinds of arguments go straight into native code: counted by what takes the general path."""

import functools
import sys
import threading
import weakref
from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gradloom import compile_grad, grad, linearize, value_and_grad, vjp
from gradloom.exec import layout
from gradloom.program import Program
from gradloomc.ir.errors import DifferentiationError, ExecutionError

pytestmark = pytest.mark.skipif(not layout.objects_are_known(), reason="no native entry here")

WARM = 6  # calls after which native code answers


@pytest.fixture
def general(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many calls took the general path."""
    count = [0]
    run = Program.__call__

    def counted(self: Program, *args: Any) -> Any:
        count[0] += 1
        return run(self, *args)

    monkeypatch.setattr(Program, "__call__", counted)
    yield count


@dataclass
class Layer:
    w: np.ndarray
    b: np.ndarray
    power: int = 2


@dataclass(frozen=True)
class Frozen:
    w: np.ndarray
    b: np.ndarray


Pair = namedtuple("Pair", "w b")


class Plain:
    def __init__(self, w: Any, b: Any) -> None:
        self.w, self.b = w, b


@dataclass(slots=True)
class Slotted:
    w: np.ndarray
    b: np.ndarray


class Unset:
    __slots__ = ("b", "extra", "w")

    def __init__(self, w: Any, b: Any) -> None:
        self.w, self.b = w, b


def energy(p: Any) -> Any:
    return np.sum(p.w * p.w * p.b)


def nested(p: Any, *, scale: Any = 2.0, mode: str = "sum") -> Any:
    return scale * energy(p["layers"][0]) + energy(p["layers"][1]) if mode == "sum" else energy(p["layers"][0])


x, y = np.linspace(0.0, 1.0, 7), np.linspace(2.0, 3.0, 7)


def as_arrays(found: Any) -> list[Any]:
    return [np.asarray(found.w), np.asarray(found.b)]


@pytest.mark.parametrize("make", [Layer, Frozen, Pair, Plain, lambda w, b: SimpleNamespace(w=w, b=b)])
def test_records(general: list[int], make: Callable[..., Any]) -> None:
    g = value_and_grad(energy)
    for _ in range(WARM):
        g(make(x, y))
    before = general[0]
    for k in range(5):
        value, found = g(make(x + k, y))
        assert value == pytest.approx(np.sum((x + k) ** 2 * y))
        assert type(found) is type(make(x, y))
        np.testing.assert_allclose(as_arrays(found), [2 * (x + k) * y, (x + k) ** 2])
    assert general[0] == before


def test_records_in_containers_with_keywords(general: list[int]) -> None:
    g = grad(nested)

    def arguments(k: float) -> dict[str, Any]:
        return {"layers": [Layer(x + k, y), Pair(x, y + k)]}

    for _ in range(WARM):
        g(arguments(0.0), scale=3.0, mode="sum")
    before = general[0]
    found = g(arguments(1.0), scale=4.0, mode="sum")
    np.testing.assert_allclose(found["layers"][0].w, 8 * (x + 1) * y)
    np.testing.assert_allclose(found["layers"][1].b, x**2)
    assert general[0] == before


def test_what_changes_in_an_object_is_seen(general: list[int]) -> None:
    def f(p: Any) -> Any:
        extra = getattr(p, "extra", 1.0)
        return np.sum(p.w) * p.power * extra

    g = compile_grad(f)
    layer = Layer(x, y)
    for _ in range(WARM):
        assert g(layer) == pytest.approx(2 * np.sum(x))
    layer.w = y  # another array of the same kind: native
    before = general[0]
    assert g(layer) == pytest.approx(2 * np.sum(y)) and general[0] == before
    layer.power = 3  # a setting
    assert g(layer) == pytest.approx(3 * np.sum(y))
    vars(layer)["extra"] = 10.0  # an attribute more
    assert g(layer) == pytest.approx(30 * np.sum(y))
    del vars(layer)["extra"]
    assert g(layer) == pytest.approx(3 * np.sum(y))
    layer.w = np.ones(3)  # another shape
    assert g(layer) == pytest.approx(9.0)


def test_properties_are_not_passed_by() -> None:
    class Odd:
        def __init__(self) -> None:
            self.__dict__["w"] = x

        @property
        def w(self) -> Any:
            return y

        @w.setter
        def w(self, value: Any) -> None:
            pass

    g = compile_grad(lambda p: np.sum(p.w))
    for _ in range(WARM):
        assert g(Odd()) == pytest.approx(np.sum(y))

    class Slotted:
        __slots__ = ("w",)

        def __init__(self) -> None:
            self.w = x

    for _ in range(WARM):
        assert g(Slotted()) == pytest.approx(np.sum(x))


class Model:
    def __init__(self, scale: float = 2.0) -> None:
        self.scale, self.order = scale, 2

    @compile_grad
    def loss(self, w: Any) -> Any:
        """What is minimised."""
        return np.sum(w**self.order) * self.scale

    @compile_grad(donate_argnums="w")
    def step(self, w: Any, g: Any) -> Any:
        return w - self.scale * g

    def plain(self, w: Any) -> Any:
        return np.sum(w**self.order) * self.scale


def test_methods(general: list[int]) -> None:
    model = Model()
    for _ in range(WARM):
        for call in (model.loss, model.loss.value_and_grad, model.loss.grad):
            call(x)
        model.step(x.copy(), y)
    before = general[0]
    assert model.loss(x + 1) == pytest.approx(2 * np.sum((x + 1) ** 2))
    value, gradient = model.loss.value_and_grad(x)
    assert value == pytest.approx(2 * np.sum(x * x))
    np.testing.assert_allclose(gradient, 4 * x)
    np.testing.assert_allclose(model.loss.grad(x), 4 * x)
    np.testing.assert_allclose(Model(2.0).loss.grad(x), 4 * x)  # another instance of the same kind
    w = x.copy()
    assert model.step(w, y) is w
    assert general[0] == before
    assert Model(5.0).loss(x) == pytest.approx(5 * np.sum(x * x))
    model.order = 3
    assert model.loss(x) == pytest.approx(2 * np.sum(x**3))


def test_methods_are_whole_objects_when_asked() -> None:
    model = Model()
    bound = model.loss
    assert bound.__doc__ == "What is minimised." and bound.__name__ == "loss"
    assert bound(x) == pytest.approx(2 * np.sum(x * x))
    np.testing.assert_allclose(bound.hessian(x), 4 * np.eye(7), atol=1e-12)
    np.testing.assert_allclose(bound.hvp((x,), (y,)), 4 * y)
    assert "loss" in bound.explain(x) and "loss" in model.loss.value_and_grad.explain(x)
    np.testing.assert_allclose(grad(model.loss)(x), 4 * x)
    np.testing.assert_allclose(bound.grad(x, out=np.empty(7)), 4 * x)
    with pytest.raises(AttributeError):
        bound.nothing  # noqa: B018


def test_methods_completed_by_several_threads_at_once() -> None:
    for _ in range(20):
        bound, found = Model().loss, []
        threads = [threading.Thread(target=lambda b=bound, f=found: f.append(b.cache_info())) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 4


def test_bound_arguments(general: list[int]) -> None:
    def f(a: Any, b: Any, c: Any) -> Any:
        return np.sum(a * b) * c

    of_method, of_partial = grad(Model().plain), value_and_grad(functools.partial(f, x, c=2.0))
    for _ in range(WARM):
        of_method(x)
        of_partial(y)
    before = general[0]
    np.testing.assert_allclose(of_method(y), 4 * y)
    value, gradient = of_partial(y)
    assert value == pytest.approx(2 * np.sum(x * y))
    np.testing.assert_allclose(gradient, 2 * x)
    assert general[0] == before
    assert of_partial(y, c=3.0)[0] == pytest.approx(3 * np.sum(x * y))  # overrides what is bound
    assert of_partial(y)[0] == pytest.approx(2 * np.sum(x * y))


def test_a_bound_array_is_read_anew() -> None:
    table = np.ones(7)
    g = compile_grad(functools.partial(lambda a, b: np.sum(a * b), table))
    for k in range(2 * WARM):
        table[:] = k
        assert g(x) == pytest.approx(k * np.sum(x))


def test_vjp_and_linearize(general: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    from gradloom.linear_maps import Derivative

    maps = [0]
    apply = Derivative._general_call

    def counted(self: Derivative, *args: Any) -> Any:
        maps[0] += 1
        return apply(self, *args)

    monkeypatch.setattr(Derivative, "__call__", counted)

    def f(a: Any, p: Any) -> Any:
        return {"sum": np.sin(a) * p.w, "total": np.sum(p.b) * 2.0}

    def sine(a: Any) -> Any:
        return np.sin(a)

    def pulled(a: Any, p: Any, g: Any) -> None:
        value, pull = vjp(f, a, p)
        np.testing.assert_allclose(value["sum"], np.sin(a) * p.w)
        expected = g["sum"] * np.cos(a) * p.w, g["sum"] * np.sin(a), np.full(7, 2.0 * g["total"])
        for _ in range(2):
            da, dp = pull(g)
            assert type(dp) is type(p)
            for found, want in zip((da, dp.w, dp.b), expected, strict=True):
                np.testing.assert_allclose(found, want)

    def pushed(a: Any, t: Any) -> None:
        value, push = linearize(sine, a)
        np.testing.assert_allclose(value, np.sin(a))
        np.testing.assert_allclose(push(t), np.cos(a) * t)

    before = (0, 0)
    for k in range(2 * WARM):
        if k == WARM:
            before = general[0], maps[0]
        pulled(x + k, Layer(y, x), {"sum": y, "total": 0.5 * k})
        pushed(x + k, y)
    assert (general[0], maps[0]) == before


def test_maps_keep_the_arrays_of_their_point() -> None:
    def f(a: Any, b: Any) -> Any:
        return a * b

    for _ in range(2 * WARM):
        a, b = x.copy(), y.copy()
        (_, pull), (_, push) = vjp(f, a, b), linearize(f, a, b)
        a[:], b[:] = 0.0, 0.0
        np.testing.assert_allclose(pull(np.ones(7)), (y, x))
        np.testing.assert_allclose(push(np.ones(7), None), y)
        np.testing.assert_allclose(push(np.ones(7), np.ones(7)), x + y)


def test_maps_of_other_lengths_and_with_aux() -> None:
    def f(a: Any) -> Any:
        return np.sum(a * a), {"aux": a + 1.0}

    for size in (3, 4, 50, 7, 3):
        for _ in range(WARM):
            a = np.linspace(0.0, 1.0, size)
            value, pull, aux = vjp(f, a, has_aux=True)
            assert value == pytest.approx(np.sum(a * a))
            np.testing.assert_allclose(aux["aux"], a + 1.0)
            np.testing.assert_allclose(pull(1.0)[0], 2 * a)
            _, push, _ = linearize(f, a, has_aux=True)
            assert push(np.ones(size)) == pytest.approx(2 * np.sum(a))


def test_a_map_follows_what_the_function_reads() -> None:
    factor = 2.0

    def f(a: Any) -> Any:
        return np.sum(a) * factor

    for k in range(3):
        factor = 2.0 + k
        for _ in range(WARM):
            value, pull = vjp(f, x)
            assert value == pytest.approx(factor * np.sum(x))
            np.testing.assert_allclose(pull(1.0)[0], np.full(7, factor))


def test_bound_functions_have_maps_as_well() -> None:
    model = Model()
    for _ in range(WARM):
        value, pull = model.loss.vjp(x)
        assert value == pytest.approx(2 * np.sum(x * x))
        np.testing.assert_allclose(pull(1.0)[0], 4 * x)
        (gradient,) = vjp(model.plain, x)[1](1.0)
        np.testing.assert_allclose(gradient, 4 * x)
        of_model, gradient = vjp(Model.plain, model, x)[1](1.0)
        assert of_model.scale == pytest.approx(np.sum(x * x))
        np.testing.assert_allclose(gradient, 4 * x)


def test_defaults_that_are_differentiated(general: list[int]) -> None:
    def f(a: Any, b: Any = 3.0, *, c: Any = y, mode: str = "plain") -> Any:
        return np.sum(a * c) * b if mode == "plain" else np.sum(a)

    g = grad(f, (0, 1, "c"))
    for _ in range(WARM):
        g(x)
        g(x, c=x)
    before = general[0]
    for found, want in zip(g(x), (3 * y, np.sum(x * y), 3 * x), strict=True):
        np.testing.assert_allclose(found, want)
    for found, want in zip(g(y, c=x), (3 * x, np.sum(x * y), 3 * y), strict=True):
        np.testing.assert_allclose(found, want)
    assert general[0] == before
    for found, want in zip(g(x, 2.0), (2 * y, np.sum(x * y), 2 * x), strict=True):
        np.testing.assert_allclose(found, want)


def test_objects_with_slots(general: list[int]) -> None:
    function = value_and_grad(energy)
    for kind in (Slotted, Unset):
        p = kind(x, y)
        expected = function(p)
        for _ in range(WARM):
            function(p)
        general[0] = 0
        value, gradient = function(p)
        assert type(gradient) is kind and value == expected[0]
        np.testing.assert_array_equal(gradient.w, expected[1].w)
        p.w = 2 * x  # another array is seen
        np.testing.assert_array_equal(function(p)[1].w, 2 * expected[1].w)
        assert general[0] == (kind is Unset) * 2  # one slot is empty: its class says more than the object has
        p.w = x.astype(np.float32)
        assert function(p)[1].w.dtype == np.float32
        del p.w
        with pytest.raises(AttributeError):
            function(p)


# --- out= ---------------------------------------------------------------------------------------


def test_results_into_given_arrays(general: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    from gradloom.exec import into

    ways = [0]
    run_into = into.run_into

    def counted(*args: Any) -> Any:
        ways[0] += 1
        return run_into(*args)

    monkeypatch.setattr(into, "run_into", counted)

    def loss(p: Any, x: Any, scale: float = 1.0) -> Any:
        return np.sum(p["w"] * x) * scale + np.sum(p["b"] ** 2)

    params = {"w": x + 1, "b": y}
    outs = {"w": np.empty(7), "b": np.empty(7)}
    both, one = grad(loss, argnums=(0, 1)), value_and_grad(energy_of)

    def calls(k: float) -> None:
        value, gradient = one(k * x, out=outs["w"])
        assert gradient is outs["w"] and np.isclose(value, np.sum((k * x) ** 3))
        np.testing.assert_allclose(gradient, 3 * (k * x) ** 2)
        found = both(params, k * x, out=(outs, outs["w"] * 0), scale=2.0)
        assert found[0]["w"] is outs["w"] and found[0]["b"] is outs["b"]
        np.testing.assert_allclose(outs["w"], 2 * k * x)
        np.testing.assert_allclose(outs["b"], 2 * y)
        np.testing.assert_allclose(found[1], 2 * params["w"])
        part = both(params, k * x, out=({"w": None, "b": outs["b"]}, None), scale=1.0)
        assert part[0]["b"] is outs["b"] and part[0]["w"] is not outs["w"]
        np.testing.assert_allclose(part[0]["w"], k * x)
        plain = both(params, k * x, scale=1.0)
        assert plain[0]["b"] is not outs["b"]

    for k in range(WARM + 2):
        calls(float(k))
    general[0] = ways[0] = 0
    references = [sys.getrefcount(each) for each in (*outs.values(), params["w"])]
    for k in range(50):
        calls(float(k))
    assert (general[0], ways[0]) == (0, 0)
    assert [sys.getrefcount(each) for each in (*outs.values(), params["w"])] == references


def energy_of(x: Any) -> Any:
    return np.sum(x * x * x)


def test_given_arrays_that_native_code_leaves_to_the_general_path() -> None:
    function = grad(energy_of)
    out = np.empty(7)
    for _ in range(WARM):
        function(x, out=out)
    own = x.copy()
    assert function(own, out=own) is own  # its own gradient
    np.testing.assert_allclose(own, 3 * x * x)
    wide = np.zeros(8)
    wide[:7] = x
    function(wide[:7], out=wide[1:])  # shares memory with the argument
    np.testing.assert_allclose(wide[1:], 3 * x * x)
    strided = np.zeros(14)[::2]
    assert function(x, out=strided) is strided
    np.testing.assert_allclose(strided, 3 * x * x)
    frozen = np.empty(7)
    frozen.flags.writeable = False
    with pytest.raises(ExecutionError, match="read-only"):
        function(x, out=frozen)
    with pytest.raises(TypeError):
        function(x, out=np.float64(3))
    with pytest.raises(TypeError):
        function(out, x, out=out)
    two = grad(lambda a, b: np.sum(a * b), argnums=(0, 1))
    for _ in range(WARM):
        two(x, y, out=(out, np.empty(7)))
    first, second = two(x, y, out=(out, out))  # the last one written stays, as with any two of them
    assert first is second is out


# --- transforms of what binds arguments, made anew for each call ----------------------------------


class Potential:
    def __init__(self, w: Any) -> None:
        self.w = w

    def energy(self, x: Any, scale: Any = 1.0) -> Any:
        return np.sum(self.w * x * x) * scale

    @compile_grad
    def loss(self, x: Any) -> Any:
        return np.sum(self.w * x)

    def __call__(self, x: Any) -> Any:
        return np.sum(self.w * x)


def test_transforms_made_for_each_call(general: list[int]) -> None:
    one, two = Potential(x), Potential(2 * x)
    ways: list[Callable[[Any], Any]] = [
        lambda m: value_and_grad(m.energy)(y)[1],
        lambda m: grad(m.energy)(y, scale=1.0),
        lambda m: grad(m.energy, argnums=(0,))(y)[0],
        lambda m: grad(m.energy, argnums="x")(y),
        lambda m: grad(functools.partial(m.energy, scale=1.0))(y),
        lambda m: grad(functools.partial(Potential.energy, m))(y),
        lambda m: 2 * y * grad(m.loss)(y),
        lambda m: 2 * y * grad(m)(y),
        lambda m: 2 * y * m.loss.value_and_grad(y)[1],
    ]
    for way in ways:
        for _ in range(WARM):
            np.testing.assert_allclose(way(one), 2 * x * y)
            np.testing.assert_allclose(way(two), 4 * x * y)
        general[0] = 0
        for _ in range(20):
            np.testing.assert_allclose(way(two), 4 * x * y)
            np.testing.assert_allclose(way(one), 2 * x * y)
        assert general[0] == 0


def test_what_is_bound_ends_with_its_last_reference() -> None:
    model = Potential(x)
    for _ in range(WARM):
        value_and_grad(model.energy)(y)
        grad(functools.partial(model.energy, scale=2.0))(y)
        model.loss.value_and_grad(y)
    ended = weakref.ref(model)
    del model
    assert ended() is None


def test_a_bound_gradient_that_is_kept_becomes_a_whole_one(general: list[int]) -> None:
    model = Potential(x)
    kept, plain = value_and_grad(model.energy), grad(Potential.energy, argnums=1)
    for _ in range(3 * WARM):
        np.testing.assert_array_equal(kept(y)[1], plain(model, y))
    assert type(kept) is type(plain) and "energy" in repr(kept)
    general[0] = 0
    model.w = 3 * x
    np.testing.assert_allclose(kept(y)[1], 6 * x * y)
    assert general[0] == 0
    assert "energy" in kept.explain() and value_and_grad(model.energy).ir  # which a new one has as well
    with pytest.raises(DifferentiationError):
        grad(model.energy, argnums=5)(y)
    hessians = grad(lambda v: np.sum(value_and_grad(model.energy)(v)[1] * v))  # in a trace
    np.testing.assert_allclose(hessians(y), 12 * x * y)
