"""Bad input: each mistake is a named error that shows the user's line, says why, and what to
write."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from gradloom import compile_grad, grad, hessian, hvp, jacobian, jvp, linearize, vjp
from gradloomc.ir.errors import (
    DifferentiationError,
    DTypeError,
    GradloomError,
    ShapeError,
    TracerError,
    UnsupportedError,
)

X = np.array([0.5, -1.0, 2.0])


def vector(x: Any) -> Any:
    return np.sin(x) * 2.0


def scalar(x: Any, y: Any = 1.0) -> Any:
    return np.sum(x * x) * y


def no_return(x: Any) -> None:
    np.sum(x)


def counts(x: Any) -> Any:
    return np.sum(x > 0)


@dataclass
class Config:
    w: Any
    size: int


def shown(error: pytest.ExceptionInfo[GradloomError]) -> str:
    """The message must show a line of this file with a caret under it."""
    text = str(error.value)
    assert __file__ in text
    assert re.search(r"^ +\d+ \| .*\n +\| +\^+", text, re.MULTILINE), text
    return text


def test_a_vector_result_has_no_gradient() -> None:
    with pytest.raises(DifferentiationError) as error:
        grad(vector)(X)
    text = shown(error)
    assert "vector() returns an array of shape (3,)" in text
    assert "return np.sin(x) * 2.0" in text
    assert "def vector(x: Any)" in text
    assert "help: return np.sum(...)" in text
    assert "jacobian" in text


def test_a_forgotten_return() -> None:
    with pytest.raises(DifferentiationError, match="returns None \\(is a `return` missing"):
        grad(no_return)(X)


def test_an_integer_result() -> None:
    with pytest.raises(DifferentiationError) as error:
        grad(counts)(X)
    assert "counts() returns int64" in shown(error)
    with pytest.raises(DifferentiationError, match="returns bool"):
        jacobian(lambda x: x > 0)(X)
    with pytest.raises(DifferentiationError, match="returns 'text'"):
        grad(lambda x: "text")(X)


def test_a_tuple_result() -> None:
    with pytest.raises(DifferentiationError) as error:
        grad(lambda x: (np.sum(x), x))(X)
    assert "a tuple of 2 arrays" in str(error.value)
    assert "has_aux=True" in str(error.value)


def test_has_aux_needs_a_pair() -> None:
    with pytest.raises(DifferentiationError, match=r"a pair \(value, aux\)"):
        grad(scalar, has_aux=True)(X)


@pytest.mark.parametrize(
    ("argument", "what", "fix"),
    [
        (3, "the int 3", "pass a float: x = 3.0"),
        (True, "the bool True", "leave x out of argnums"),
        (1 + 2j, "the complex (1+2j)", "leave x out of argnums"),
        (np.arange(3), "an array of int64, shape (3,)", "pass x.astype(float)"),
        (np.array([True]), "an array of bool, shape (1,)", "pass x.astype(float)"),
        (np.int32(3), "a number of type int32", "pass float(x)"),
    ],
    ids=str,
)
def test_integers_have_no_derivatives(argument: Any, what: str, fix: str) -> None:
    for transform in (grad(scalar), jacobian(scalar), hessian(scalar)):
        with pytest.raises(DifferentiationError) as error:
            transform(argument)
        text = shown(error)
        assert f"with respect to 'x': it is {what}" in text
        assert f"help: {fix}" in text
        assert "transform(argument)" in text
        assert "def scalar(x: Any" in text


def test_integers_in_containers_are_named_by_their_place() -> None:
    with pytest.raises(DifferentiationError, match=r"with respect to 'x\['b'\]\[0\]'"):
        grad(lambda x: np.sum(x["a"]))({"a": X, "b": [2]})
    gradient = grad(lambda c: np.sum(c.w) * c.size)(Config(X, 2))  # a setting, not a number
    assert gradient.size is None


def test_nothing_to_differentiate() -> None:
    with pytest.raises(DifferentiationError) as error:
        grad(scalar)("text")
    assert "'x': it holds no array of floats" in shown(error)
    with pytest.raises(DifferentiationError, match="holds no array"):
        grad(scalar)(None)
    with pytest.raises(DifferentiationError, match="every tangent is None"):
        hvp(scalar, (X,), (None,))


def test_arrays_that_are_no_numbers() -> None:
    with pytest.raises(DTypeError) as error:
        grad(scalar)(np.array([1.0, "a"], object))
    text = shown(error)
    assert "argument 'x' of scalar(): an array of dtype object" in text
    assert "astype(float)" in text
    with pytest.raises(DTypeError, match="complex"):
        compile_grad(scalar)(np.ones(2, complex))
    with pytest.raises(DTypeError, match="dtype <U1"):
        compile_grad(scalar)(np.array(["a"]))


def test_things_that_are_no_arrays() -> None:
    with pytest.raises(UnsupportedError, match="lose its mask"):
        compile_grad(scalar)(np.ma.array([1.0, 2.0]))
    with pytest.warns(PendingDeprecationWarning):
        matrix = np.asmatrix([1.0, 2.0])
    with pytest.raises(UnsupportedError, match=r"np.asarray\(x\)"):
        compile_grad(scalar)(matrix)
    with pytest.raises(UnsupportedError, match="random generator changes"):
        compile_grad(scalar)(X, np.random.default_rng(0))
    with pytest.raises(UnsupportedError) as error:
        compile_grad(scalar)({1.0, 2.0})
    assert "a set cannot be hashed" in shown(error)
    assert "register_container" in str(error.value)

    class ArrayLike:
        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            return X

    with pytest.raises(UnsupportedError, match=r"pass np.asarray\(...\) of it"):
        compile_grad(scalar)(ArrayLike())


def test_wrong_calls() -> None:
    with pytest.raises(TypeError, match="missing a required argument: 'x'"):
        grad(scalar)()
    with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
        grad(scalar)(X, z=1)
    with pytest.raises(TypeError, match="multiple values for argument 'y'"):
        grad(scalar, argnums=1)(X, 1.0, y=3.0)
    with pytest.raises(TypeError, match="3 were given"):
        grad(scalar)(X, 1.0, 2.0)


def test_wrong_argnums_list_the_parameters() -> None:
    with pytest.raises(DifferentiationError) as error:
        grad(scalar, argnums=2)
    text = shown(error)
    assert "scalar() has no positional parameter 2" in text
    assert "the parameters of scalar() are 0: x, 1: y" in text
    with pytest.raises(DifferentiationError, match="no positional parameter -3"):
        grad(scalar, argnums=-3)
    with pytest.raises(DifferentiationError, match="argnums is empty"):
        grad(scalar, argnums=())


@pytest.mark.parametrize(
    ("tangents", "error", "message"),
    [
        ((X[:2],), ShapeError, r"jvp: tangents\[0\] should have shape \(3,\), not \(2,\)"),
        ((X.astype(np.float32),), DTypeError, r"should have dtype float64, not float32"),
        ((np.arange(3),), DTypeError, r"should have dtype float64, not int64"),
        (("text",), DTypeError, r"should be an array of float64, not str"),
        (([X],), ShapeError, r"tangents\[0\] should be an array, not a list"),
        ((X, X), ShapeError, r"for each of the 1 primals, got 2"),
    ],
)
def test_tangents_that_do_not_fit(tangents: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        jvp(vector, (X,), tangents)
    shown(caught)


def test_tangents_for_what_has_none() -> None:
    with pytest.raises(DifferentiationError, match="with respect to 'y': it is the int 2"):
        jvp(scalar, (X, 2), (X, 1.0))
    with pytest.raises(DifferentiationError, match="an array of int64"):
        jvp(vector, (np.arange(3),), (X,))
    with pytest.raises(TypeError, match="tangents should be a tuple"):
        jvp(vector, (X,), X)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="primals should be a tuple"):
        jvp(vector, X, (X,))  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="linearize"):
        linearize(vector, X)[1](X, X)


def test_cotangents_that_do_not_fit() -> None:
    _, pullback = vjp(lambda x: {"a": x * 2, "b": x > 0}, X)
    with pytest.raises(
        ShapeError, match=r"the cotangent should be a dict, not an ndarray"
    ) as error:
        pullback(X)
    shown(error)
    with pytest.raises(ShapeError, match=r"should have the parts \['a'\], \['b'\], not \['a'\]"):
        pullback({"a": X})
    with pytest.raises(ShapeError, match=r"the cotangent\['a'\] should have shape"):
        pullback({"a": 1.0, "b": None})
    with pytest.raises(DTypeError, match=r"\['b'\] belongs to a result that is no float"):
        pullback({"a": X, "b": X})


def test_branching_on_a_traced_array() -> None:
    def branch(x: Any) -> Any:
        if x[0] > 0:
            return np.sum(x)
        return np.sum(-x)

    with pytest.raises(TracerError) as error:
        grad(branch)(X)
    assert "if x[0] > 0:" in shown(error)


def test_a_tracer_that_escaped() -> None:
    kept = []

    def leaky(x: Any) -> Any:
        kept.append(x)
        return np.sum(x)

    grad(leaky)(X)
    with pytest.raises(TracerError):
        scalar(kept[0])
    with pytest.raises(TracerError, match="after its function had been traced"):
        grad(scalar)(kept[0])


def test_an_error_in_the_function_comes_through_as_it_is() -> None:
    def broken(x: Any) -> Any:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        grad(broken)(X)
    np.testing.assert_allclose(grad(scalar)(X), 2 * X)  # and leaves nothing behind


def test_generators_and_coroutines_are_refused() -> None:
    def generator(x: Any) -> Any:
        yield np.sum(x)

    with pytest.raises(DifferentiationError, match="yields or awaits"):
        compile_grad(generator)(X)


def test_modes() -> None:
    with pytest.raises(UnsupportedError, match="mode should be one of"):
        jacobian(vector, mode="forward")
