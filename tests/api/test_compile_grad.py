"""`compile_grad`: the decorated function keeps its meaning and carries its derivatives."""

import copy
import functools
import inspect
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

import gradloom
from gradloom import compile_grad, grad, jacobian, value_and_grad
from gradloomc.ir.errors import DifferentiationError, ExecutionError, UnsupportedError

X = np.array([0.5, -1.0, 2.0])
Y = np.array([1.0, 2.0, 3.0])


@compile_grad
def energy(x: Any, y: Any) -> Any:
    """Weighted sum of squares."""
    return np.sum(x * x * y)


@compile_grad(argnums=("x", "y"), has_aux=True)
def with_aux(x: Any, y: Any) -> Any:
    return np.sum(x * y), {"product": x * y, "name": "aux"}


def cubes(x: Any) -> Any:
    return np.sum(x * x * x)


class Params(NamedTuple):
    w: Any
    b: Any


@dataclass
class Model:
    w: Any
    b: Any
    activation: str = "tanh"
    width: int = 3

    @compile_grad
    def loss(self, x: Any) -> Any:
        h = np.tanh(x * self.w) if self.activation == "tanh" else x * self.w
        return np.sum(h) * self.width + self.b


def test_it_is_the_function_with_derivatives() -> None:
    value = energy(X, Y)
    assert type(value) is np.float64
    assert value == pytest.approx(np.sum(X * X * Y))
    np.testing.assert_allclose(energy.grad(X, Y), 2 * X * Y)
    got, gradient = energy.value_and_grad(X, Y)
    assert got == value
    np.testing.assert_allclose(gradient, 2 * X * Y)


def test_it_looks_like_the_function() -> None:
    assert energy.__name__ == "energy"
    assert energy.__doc__ == "Weighted sum of squares."
    assert energy.__module__ == __name__
    assert list(inspect.signature(energy).parameters) == ["x", "y"]
    assert energy.__wrapped__(X, Y) == energy(X, Y)
    assert "energy" in repr(energy)


def test_results_are_what_numpy_gives() -> None:
    @compile_grad
    def several(x: Any) -> Any:
        return {"scalar": np.sum(x), "array": x * 2, "fixed": "text", "none": None, "int": 3}

    result = several(X)
    assert list(result) == ["scalar", "array", "fixed", "none", "int"]
    assert type(result["scalar"]) is np.float64
    assert type(result["array"]) is np.ndarray
    assert result["fixed"] == "text"
    assert result["none"] is None
    assert result["int"] == 3
    result["array"][0] = 99  # it belongs to the caller
    np.testing.assert_array_equal(several(X)["array"], X * 2)


def test_results_never_share_memory_with_arguments() -> None:
    @compile_grad
    def identity(x: Any) -> Any:
        return x, x

    first, second = identity(X)
    assert not np.shares_memory(first, X)
    np.testing.assert_array_equal(first, X)
    np.testing.assert_array_equal(second, X)


def test_products() -> None:
    v = np.array([1.0, 0.0, -1.0])
    value, pullback = energy.vjp(X, Y)
    gx, gy = pullback(2.0)
    np.testing.assert_allclose(gx, 4 * X * Y)
    np.testing.assert_allclose(gy, 2 * X * X)
    value, tangent = energy.jvp((X, Y), (v, None))
    assert value == energy(X, Y)
    assert tangent == pytest.approx(np.sum(2 * X * Y * v))
    assert energy.jvp((X, Y), (v,))[1] == pytest.approx(tangent)  # one per argnums
    np.testing.assert_allclose(energy.hvp((X, Y), (v,)), 2 * Y * v)
    np.testing.assert_allclose(energy.hvp((X, Y), (v, None)), 2 * Y * v)
    np.testing.assert_allclose(energy.hessian(X, Y), np.diag(2 * Y))
    np.testing.assert_allclose(energy.jacobian(X, Y), 2 * X * Y)


def test_has_aux_and_several_argnums() -> None:
    value, aux = with_aux(X, Y)
    assert value == pytest.approx(np.sum(X * Y))
    assert aux["name"] == "aux"
    (value, aux), (gx, gy) = with_aux.value_and_grad(X, Y)
    np.testing.assert_allclose(gx, Y)
    np.testing.assert_allclose(gy, X)
    np.testing.assert_allclose(aux["product"], X * Y)
    gradients, aux = with_aux.grad(X, Y)
    assert isinstance(gradients, tuple)
    np.testing.assert_allclose(aux["product"], X * Y)
    hx, hy = with_aux.hvp((X, Y), (np.ones(3), np.ones(3)))
    np.testing.assert_allclose(hx, np.ones(3))
    np.testing.assert_allclose(hy, np.ones(3))
    value, pullback, aux = with_aux.vjp(X, Y)
    np.testing.assert_allclose(pullback(1.0)[0], Y)
    assert aux["name"] == "aux"


def test_containers_as_arguments_and_results() -> None:
    @compile_grad
    def loss(params: Any, x: Any) -> Any:
        return np.sum(params["net"].w * x) + params["scale"][0] * params["net"].b

    params = {"net": Params(X, 2.0), "scale": [np.float64(3.0), None]}
    gradient = loss.grad(params, Y)
    assert list(gradient) == ["net", "scale"]
    assert type(gradient["net"]) is Params
    np.testing.assert_allclose(gradient["net"].w, Y)
    assert gradient["net"].b == 3.0
    assert gradient["scale"] == [2.0, None]


def test_methods_and_dataclasses() -> None:
    model = Model(2.0 * Y, 1.0)
    expected = np.sum(np.tanh(X * 2 * Y)) * 3 + 1.0
    assert model.loss(X) == pytest.approx(expected)
    slope = (1 - np.tanh(X * 2 * Y) ** 2) * 2 * Y * 3
    np.testing.assert_allclose(model.loss.grad(X), slope)
    by_model = Model.loss.grad(model, X)  # argnums=0 is self here
    assert type(by_model) is Model
    assert by_model.b == 1.0
    assert (by_model.activation, by_model.width) == (None, None)
    model.width, model.w = 1, Y  # a change of the object is seen
    assert model.loss(X) == pytest.approx(np.sum(np.tanh(X * Y)) + 1.0)


def test_plain_objects_are_containers_of_their_attributes() -> None:
    class Net:
        def __init__(self) -> None:
            self.w, self.depth = Y, 2

        def __call__(self, x: Any) -> Any:
            for _ in range(self.depth):
                x = x * self.w
            return np.sum(x)

    loss = compile_grad(lambda net, x: net(x))
    net = Net()
    np.testing.assert_allclose(loss.grad(net, X).w, 2 * X * Y)
    net.depth = 1
    np.testing.assert_allclose(loss.grad(net, X).w, X)
    net.w = 2 * Y
    assert loss(net, X) == pytest.approx(np.sum(X * 2 * Y))


def test_a_callable_object_is_an_argument_of_its_own_function() -> None:
    class Net:
        def __init__(self, w: Any) -> None:
            self.w = w

        def __call__(self, x: Any) -> Any:
            return np.sum(x * x * self.w)

    net = Net(Y)
    f = compile_grad(net)
    np.testing.assert_allclose(f.grad(X), 2 * X * Y)
    second = gradloom.hessian(net)
    np.testing.assert_allclose(second(X), np.diag(2 * Y))
    net.w = 3 * Y
    np.testing.assert_allclose(f.grad(X), 6 * X * Y)
    np.testing.assert_allclose(second(X), np.diag(6 * Y))
    assert list(vars(net)) == ["w"]  # nothing is left on the user's object


def test_transforms_of_a_bound_method_see_changes_of_the_object() -> None:
    class Quadratic:
        def __init__(self) -> None:
            self.k = 2.0

        def value(self, x: Any) -> Any:
            return np.sum(x * x) * self.k

    q = Quadratic()
    curvature = gradloom.hessian(q.value)
    np.testing.assert_allclose(curvature(X), 4 * np.eye(3))
    q.k = 3.0
    np.testing.assert_allclose(curvature(X), 6 * np.eye(3))
    np.testing.assert_allclose(gradloom.hvp(q.value, (X,), (X,)), 6 * X)


def test_functions_as_arguments_are_static() -> None:
    apply = compile_grad(lambda fun, x: np.sum(fun(x)), argnums=1)
    np.testing.assert_allclose(apply.grad(np.sin, X), np.cos(X))
    np.testing.assert_allclose(apply.grad(np.cos, X), -np.sin(X))
    np.testing.assert_allclose(apply.grad(lambda x: x * x, X), 2 * X)


def test_recursion() -> None:
    @compile_grad
    def power(x: Any, n: int) -> Any:
        return x if n == 1 else power(x, n - 1) * x

    assert power(2.0, 5) == 32.0
    assert power.grad(2.0, 5) == 80.0


def test_containers_changed_inside_stay_as_they_were() -> None:
    @compile_grad
    def f(d: Any) -> Any:
        d["x"] = d["x"] * 2
        d["new"] = 1
        return np.sum(d["x"])

    d = {"x": X}
    with pytest.warns(RuntimeWarning, match=r"f\(\) writes d\['x'\]"):
        assert f(d) == 3.0
    assert list(d) == ["x"]
    assert d["x"] is X
    np.testing.assert_allclose(f.grad(d)["x"], [2.0, 2.0, 2.0])


def test_keywords_defaults_and_names() -> None:
    @compile_grad(argnums="scale")
    def f(x: Any, *, scale: Any = 2.0, power: int = 2) -> Any:
        return np.sum(x**power) * scale

    assert f.grad(X) == pytest.approx(np.sum(X**2))  # the default is differentiated
    assert f.grad(X, scale=3.0) == pytest.approx(np.sum(X**2))
    assert f(X, power=3, scale=1.0) == pytest.approx(np.sum(X**3))
    g = compile_grad(cubes, argnums="x")
    np.testing.assert_allclose(g.grad(x=X), 3 * X**2)
    np.testing.assert_allclose(compile_grad(energy, argnums=-1).grad(X, y=Y), X * X)


def test_variadic_parameters() -> None:
    @compile_grad(argnums=(0, 2))
    def f(first: Any, *rest: Any, **named: Any) -> Any:
        return np.sum(first * rest[1]) * named["c"]

    a, b = f.grad(X, 1.0, Y, c=2.0)
    np.testing.assert_allclose(a, 2 * Y)
    np.testing.assert_allclose(b, 2 * X)
    by_name = compile_grad(f, argnums="c").grad(X, 1.0, Y, c=2.0)
    assert by_name == pytest.approx(np.sum(X * Y))


def test_partials_and_lambdas() -> None:
    half = functools.partial(energy, y=Y)
    np.testing.assert_allclose(gradloom.grad(half)(X), 2 * X * Y)
    first = functools.partial(energy, X)
    np.testing.assert_allclose(gradloom.grad(first)(Y), X * X)


def test_a_function_without_parameters() -> None:
    f = compile_grad(lambda: np.sum(Y))
    assert f() == 6.0
    with pytest.raises(DifferentiationError, match="no parameters"):
        f.grad()


def test_inside_another_trace_it_is_part_of_it() -> None:
    @compile_grad
    def outer(x: Any) -> Any:
        return energy(x, Y) * 2 + cubes(x)

    np.testing.assert_allclose(outer.grad(X), 4 * X * Y + 3 * X**2)
    assert outer(X) == pytest.approx(2 * np.sum(X * X * Y) + np.sum(X**3))


def test_ir_at_every_level() -> None:
    energy.value_and_grad(X, Y)
    nd = energy.ir("nd")
    assert "func.func @energy(%x: tensor<3xf64>, %y: tensor<3xf64>) -> tensor<f64>" in nd
    assert "nd.reduce_sum" in nd
    assert "func.func @energy_grad" in energy.ir("adjoint")
    assert "kernel.nest" in energy.ir("kernels")
    assert "memref<3xf64>" in energy.ir("loops")
    assert "define" in energy.ir("llvm")
    assert ".globl" in energy.ir("asm") or "_" in energy.ir("asm")
    assert '"func.func"()' in energy.ir("nd", generic=True)
    assert "tensor<5xf64>" in energy.ir("nd", np.ones(5), np.ones(5))
    with pytest.raises(UnsupportedError, match="no level 'hlo'"):
        energy.ir("hlo")


def test_explain_and_stats() -> None:
    f = compile_grad(lambda x, y: np.sum(x * x * y))
    with pytest.raises(ExecutionError, match="not been called"):
        f.explain()
    f.value_and_grad(X, Y)
    text = f.explain()
    assert "1 kernel, 0 library calls" in text
    assert "tensor<3xf64>" in text
    stats = f.stats
    assert stats.kernels == 1
    assert stats.bytes_moved == stats.bytes_ideal == 3 * 8 * 3 + 8
    assert stats.compile_seconds > 0


def test_transforms_can_be_inspected() -> None:
    def energy(x: Any) -> Any:
        return np.sum(x * x * x)

    gradient, both, rows = grad(energy), value_and_grad(energy), jacobian(lambda x: x * x[::-1])
    assert "func.func @energy_grad(%x: tensor<5xf64>) -> tensor<5xf64>" in gradient.ir("adjoint", np.ones(5))
    with pytest.raises(ExecutionError, match="has not been called"):
        both.explain()  # the other transform's program is not this one's
    both(X)
    gradient(X)
    assert "-> (tensor<f64>, tensor<3xf64>)" in both.explain()
    assert "-> (tensor<3xf64>)" in gradient.explain()
    assert both.stats.bytes_moved == gradient.stats.bytes_moved + 8
    assert both.cache_info().misses == 3
    rows(X)
    assert "%out0_bar: tensor<3xf64>" in rows.ir("adjoint") and rows.stats.kernels == 1
    rows.cache_clear()
    with pytest.raises(ExecutionError, match="not been called"):
        rows.explain()


def test_cache_info() -> None:
    f = compile_grad(lambda x: np.sum(x))
    for _ in range(3):
        f(X)
    f(np.ones(7))
    info = f.cache_info()
    assert (info.hits, info.misses, info.programs) == (2, 2, 2)
    f.cache_clear()
    assert f.cache_info().programs == 0
    assert f(X) == pytest.approx(np.sum(X))


def test_pickle_and_copy() -> None:
    assert pickle.loads(pickle.dumps(energy)) is energy
    undecorated = compile_grad(cubes, argnums="x")
    again = pickle.loads(pickle.dumps(undecorated))
    np.testing.assert_allclose(again.grad(X), 3 * X**2)
    for made in (gradloom.grad(cubes), gradloom.hessian(cubes), gradloom.value_and_grad(energy)):
        restored = pickle.loads(pickle.dumps(made))
        args = (X, Y) if "energy" in repr(made) else (X,)
        np.testing.assert_equal(restored(*args), made(*args))
    np.testing.assert_allclose(copy.deepcopy(undecorated).grad(X), 3 * X**2)
    bound = pickle.loads(pickle.dumps(Model(Y, 1.0).loss))
    assert bound(X) == pytest.approx(np.sum(np.tanh(X * Y)) * 3 + 1.0)


def test_threads_share_one_compilation() -> None:
    calls = []

    @compile_grad
    def f(x: Any) -> Any:
        calls.append(threading.get_ident())
        return np.sum(np.exp(x))

    barrier = threading.Barrier(4)

    def work(_: int) -> Any:
        barrier.wait()
        return [f.value_and_grad(X) for _ in range(20)]

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(work, range(4)))
    assert len(calls) == 1
    for result in results:
        for value, gradient in result:
            assert value == pytest.approx(np.sum(np.exp(X)))
            np.testing.assert_allclose(gradient, np.exp(X))


def test_bad_use_of_the_decorator() -> None:
    with pytest.raises(UnsupportedError, match="expected a function"):
        compile_grad(3)  # type: ignore[call-overload]
    with pytest.raises(UnsupportedError, match="@staticmethod above"):
        compile_grad(staticmethod(cubes))  # type: ignore[arg-type]
    with pytest.raises(DifferentiationError, match=r"0: x"):
        compile_grad(cubes, argnums=1)
    with pytest.raises(DifferentiationError, match="no parameter 'z'"):
        compile_grad(cubes, argnums="z")
    with pytest.raises(DifferentiationError, match="twice"):
        compile_grad(energy.__wrapped__, argnums=(0, "x"))
    with pytest.raises(DifferentiationError, match="position, a name"):
        compile_grad(cubes, argnums=1.5)  # type: ignore[arg-type]
