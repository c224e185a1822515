"""The free functions, alone and nested in each other, against formulas."""

from typing import Any

import numpy as np
import pytest

from gradloom import (
    grad,
    hessian,
    hvp,
    jacfwd,
    jacobian,
    jacrev,
    jvp,
    linearize,
    stop_gradient,
    value_and_grad,
    vjp,
)
from gradloomc.ir.errors import TracerError

X = np.array([0.5, -1.0, 2.0])
A = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


def f(x: Any) -> Any:
    return np.sum(np.sin(x) * x)


def df(x: Any) -> Any:
    return np.cos(x) * x + np.sin(x)


def d2f(x: Any) -> Any:
    return 2 * np.cos(x) - np.sin(x) * x


def g(x: Any) -> Any:
    return np.exp(x) * x


def test_grad() -> None:
    np.testing.assert_allclose(grad(f)(X), df(X))
    value, gradient = value_and_grad(f)(X)
    assert value == pytest.approx(f(X))
    np.testing.assert_allclose(gradient, df(X))


def test_grad_of_a_python_float() -> None:
    result = grad(lambda t: t * t * t)(2.0)
    assert type(result) is np.float64
    assert result == 12.0


@pytest.mark.parametrize("order", range(1, 6))
def test_nested_grads_of_any_order(order: int) -> None:
    fun: Any = lambda t: np.sin(2 * t)  # noqa: E731
    for _ in range(order):
        fun = grad(fun)
    expected = 2**order * [np.sin, np.cos, lambda t: -np.sin(t), lambda t: -np.cos(t)][order % 4](
        1.4
    )
    assert fun(0.7) == pytest.approx(expected)


def test_perturbations_are_not_confused() -> None:
    # d/dx [x * d/dy (x + y)] = 1; a confused tracer gives 2 (Siskind and Pearlmutter 2005).
    assert grad(lambda x: x * grad(lambda y: x + y)(1.0))(1.0) == 1.0
    assert jvp(lambda x: x * jvp(lambda y: x + y, (1.0,), (1.0,))[1], (1.0,), (1.0,))[1] == 1.0
    inner = lambda x: grad(lambda y: x * y * y)(3.0)  # noqa: E731
    assert grad(inner)(2.0) == 6.0


def test_forward_over_reverse_and_back() -> None:
    v = np.array([1.0, -2.0, 0.5])
    expected = d2f(X) * v
    np.testing.assert_allclose(hvp(f, (X,), (v,)), expected)
    np.testing.assert_allclose(jvp(grad(f), (X,), (v,))[1], expected)
    np.testing.assert_allclose(grad(lambda x: np.sum(grad(f)(x) * v))(X), expected)
    np.testing.assert_allclose(grad(lambda x: jvp(f, (x,), (v,))[1])(X), expected)
    np.testing.assert_allclose(vjp(grad(f), X)[1](v)[0], expected)
    np.testing.assert_allclose(hessian(f)(X) @ v, expected)
    np.testing.assert_allclose(linearize(grad(f), X)[1](v), expected)


def test_jvp() -> None:
    v = np.array([1.0, 2.0, 3.0])
    out, tangent = jvp(lambda x, y: {"a": x * y, "n": 3}, (X, X), (v, None))
    np.testing.assert_allclose(out["a"], X * X)
    np.testing.assert_allclose(tangent["a"], v * X)
    assert tangent["n"] is None
    out, tangent, aux = jvp(lambda x: (x * x, {"x": x}), (X,), (v,), has_aux=True)
    np.testing.assert_allclose(tangent, 2 * X * v)
    np.testing.assert_allclose(aux["x"], X)


def test_vjp() -> None:
    def fun(p: Any, n: Any) -> Any:
        return p["w"] * n, p["w"] + p["b"]

    out, pullback = vjp(fun, {"w": X, "b": 2.0}, np.array([1, 2, 3]))
    np.testing.assert_allclose(out[0], X * [1, 2, 3])
    gp, gn = pullback((np.ones(3), None))
    np.testing.assert_allclose(gp["w"], [1, 2, 3])
    assert gp["b"] == 0.0
    assert gn is None  # integers have no cotangent
    gp, _ = pullback((None, np.ones(3)))
    assert gp["b"] == 3.0


def test_vjp_and_linearize_keep_their_point() -> None:
    x, big = X.copy(), np.arange(100.0)
    _, pullback = vjp(lambda x: np.sum(x * x) + np.sum(big * x[0]), x)
    _, push = linearize(lambda x: x * x, x)
    expected = pullback(1.0)[0]
    x[:] = 7.0
    big[:] = 0.0
    np.testing.assert_array_equal(pullback(1.0)[0], expected)
    np.testing.assert_allclose(push(np.ones(3)), 2 * X)
    np.testing.assert_allclose(push(None), np.zeros(3))


def test_pullbacks_inside_traces() -> None:
    def inner(x: Any) -> Any:
        out, pullback = vjp(g, x)
        return np.sum(out * pullback(x)[0])

    expected = np.sum(g(X) * (np.exp(X) * X + np.exp(X)) * X)
    from gradloom import compile_grad

    assert compile_grad(inner)(X) == pytest.approx(expected)
    _, outside = vjp(g, X)
    doubled = compile_grad(lambda u: outside(u * 2)[0])
    np.testing.assert_allclose(doubled(np.ones(3)), 2 * outside(np.ones(3))[0])


def test_a_pullback_that_outlives_its_trace_is_refused() -> None:
    kept = []

    def leaky(x: Any) -> Any:
        out, pullback = vjp(g, x)
        kept.append(pullback)
        return np.sum(out)

    grad(leaky)(X)
    with pytest.raises(TracerError, match="trace that is finished"):
        kept[0](np.ones(3))


@pytest.mark.parametrize("transform", [jacobian, jacfwd, jacrev])
def test_jacobians(transform: Any) -> None:
    np.testing.assert_allclose(transform(g)(X), np.diag(np.exp(X) * (1 + X)))
    rows = transform(lambda x: np.sum(x * A, axis=1))(X)
    np.testing.assert_allclose(rows, A)
    both = transform(lambda x, y: {"s": np.sum(x) * y, "v": x * y}, argnums=(0, 1))(X, 3.0)
    np.testing.assert_allclose(both["s"][0], np.full(3, 3.0))
    assert both["s"][1] == pytest.approx(np.sum(X))
    np.testing.assert_allclose(both["v"][0], 3.0 * np.eye(3))
    np.testing.assert_allclose(both["v"][1], X)
    tree = transform(lambda p: p["a"] * A)({"a": A})
    assert tree["a"].shape == (2, 3, 2, 3)
    np.testing.assert_allclose(tree["a"].reshape(6, 6), np.diag(A.ravel()))
    assert transform(lambda t: t * t)(3.0) == 6.0
    assert transform(lambda x: x * x)(np.zeros((0, 2))).shape == (0, 2, 0, 2)


def test_jacobian_modes_and_aux() -> None:
    jac, aux = jacobian(lambda x: (x * x, "text"), has_aux=True)(X)
    np.testing.assert_allclose(jac, np.diag(2 * X))
    assert aux == "text"
    np.testing.assert_allclose(jacobian(g, mode="fwd")(X), jacobian(g, mode="rev")(X))
    assert jacfwd(lambda x: np.sum(x.astype(np.float64)))(X.astype(np.float32)).shape == (3,)


def test_jacobians_inside_traces() -> None:
    expected = (2 + X) * np.exp(X)
    for transform in (jacfwd, jacrev):
        np.testing.assert_allclose(grad(lambda x, t=transform: np.sum(t(g)(x)))(X), expected)
    third = jacfwd(hessian(f))(X)
    assert third.shape == (3, 3, 3)
    np.testing.assert_allclose(
        third[np.arange(3), np.arange(3), np.arange(3)], -3 * np.sin(X) - np.cos(X) * X
    )


def test_hessian() -> None:
    np.testing.assert_allclose(hessian(f)(X), np.diag(d2f(X)))
    blocks = hessian(lambda a, b: np.sum(a * b * b), argnums=(0, 1))(X, X)
    np.testing.assert_allclose(blocks[0][0], np.zeros((3, 3)))
    np.testing.assert_allclose(blocks[0][1], np.diag(2 * X))
    np.testing.assert_allclose(blocks[1][1], np.diag(2 * X))
    vector = hessian(lambda x: x * x * x)(X)
    assert vector.shape == (3, 3, 3)
    np.testing.assert_allclose(np.einsum("iii->i", vector), 6 * X)
    params = hessian(lambda p: np.sum(p["a"] * p["b"]))({"a": X, "b": X})
    np.testing.assert_allclose(params["a"]["b"], np.eye(3))


def test_hvp_of_several_primals() -> None:
    v = np.ones(3)
    product = hvp(lambda a, n, b: np.sum(a * a * b) * n, (X, 2, X), (v, None, None))
    np.testing.assert_allclose(product[0], 4 * X * v)
    assert product[1:] == (None, None)


def test_stop_gradient() -> None:
    np.testing.assert_allclose(grad(lambda x: np.sum(x * stop_gradient(x)))(X), X)
    tree = {"a": X, "b": "text"}
    assert stop_gradient(tree) is tree
    got = grad(lambda x: np.sum(stop_gradient({"a": x * x, "b": 1.0})["a"] * x))(X)
    np.testing.assert_allclose(got, X * X)


def test_a_closure_over_a_tracer_is_a_constant_for_the_inner_function() -> None:
    def outer(x: Any) -> Any:
        inner = grad(lambda y: np.sum(x * y * y))(x)  # 2 x y at y = x, x held
        return np.sum(inner * inner)  # 4 x^4

    np.testing.assert_allclose(grad(outer)(X), 16 * X**3)


def test_nested_transforms_with_keywords_aux_and_captured_arrays() -> None:
    big = np.arange(1000.0)

    def inner(p: Any, *, k: int) -> Any:
        return np.sum(p["a"] ** k) + np.sum(big * p["a"][0]), {"twice": p["a"] * 2, "name": "aux"}

    def outer(p: Any) -> Any:
        (value, aux), gradient = value_and_grad(inner, has_aux=True)(p, k=3)
        assert aux["name"] == "aux"
        return value + np.sum(gradient["a"] * aux["twice"])

    # x^3 + B x_0 + 2 x (3 x^2 + B e_0)
    def expected(x: Any) -> Any:
        return 21 * x**2 + np.sum(big) * 3 * np.array([1.0, 0.0, 0.0])

    np.testing.assert_allclose(grad(outer)({"a": X})["a"], expected(X))
    big[50:] = 0.0
    np.testing.assert_allclose(grad(outer)({"a": X})["a"], expected(X))


def test_a_jacobian_with_aux_inside_a_trace() -> None:
    def outer(x: Any) -> Any:
        rows, aux = jacobian(lambda y: (y * y, y), has_aux=True)(x)
        return np.sum(rows) * np.sum(aux)

    np.testing.assert_allclose(grad(outer)(X), np.full(3, 4 * np.sum(X)))


def test_the_same_function_compiles_once() -> None:
    traced = []

    def fun(x: Any) -> Any:
        traced.append(1)
        return np.sum(x * x)

    for _ in range(3):
        np.testing.assert_allclose(grad(fun)(X), 2 * X)
        np.testing.assert_allclose(value_and_grad(fun)(X)[1], 2 * X)
    assert len(traced) == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtypes_are_those_of_the_arguments(dtype: Any) -> None:
    x = X.astype(dtype)
    assert grad(f)(x).dtype == dtype
    assert hessian(f)(x).dtype == dtype
    assert jvp(f, (x,), (x,))[1].dtype == dtype
    value = value_and_grad(lambda x, t: np.sum(x * t), argnums=1)(x, 2.0)
    assert value[0].dtype == dtype  # a Python float gives way
    assert value[1].dtype == np.float64
