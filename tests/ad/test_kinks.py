"""Derivatives where functions have kinks, poles and masks: one convention, the same in both modes and in native code.

Where a function has a smallest-norm or even-handed choice, that is the derivative (0 for abs at 0, halves at a tie); a
zero cotangent stays exactly zero whatever it is multiplied with, so a branch that was not taken contributes nothing.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest

from gradloom.exec.executable import Executable
from gradloomc.ad.transform import jvp_of, vjp_of
from gradloomc.dialects import nd
from gradloomc.dialects.func import body_of, finish_function, make_function
from gradloomc.interp.interpreter import interpret
from gradloomc.ir.builder import at
from gradloomc.ir.core import Op, Value
from gradloomc.ir.types import ScalarType, f32, f64, tensor

INF = float("inf")
Array = np.ndarray[Any, Any]


class Kink(NamedTuple):
    """A function of vectors of n elements, a point, and the partial derivatives there (elementwise, or of the sum)."""

    name: str
    function: Callable[..., Value]
    points: Sequence[Sequence[float]]
    partials: Sequence[Sequence[float]]


def masked(inner: Callable[[Value], Value]) -> Callable[[Value], Value]:
    """Return where(x > 0, inner(x), 0)."""
    return lambda x: nd.select(nd.gt(x, 0.0), inner(x), nd.zeros_like(x))


def through_product(x: Value) -> Value:
    """Return where(x > 0, sqrt(x) * (x / x), 0): a masked cotangent passes a product with a nan factor."""
    return masked(lambda x: nd.mul(nd.sqrt(x), nd.mul(x, nd.reciprocal(x))))(x)


def padded_log(x: Value) -> Value:
    """Return the sum of log(x)[1:]; x[0] takes no part."""
    n = x.type.shape[0]
    return nd.reduce_sum(nd.slice_(nd.log(x), start=(1,), limit=(n,), stride=(1,)), axes=(0,))


def norm(x: Value) -> Value:
    """Return the norm as NumPy's functions are traced: the root is masked at 0."""
    total = nd.reduce_sum(nd.square(x), axes=(0,))
    return nd.select(nd.eq(total, 0.0), nd.zeros_like(total), nd.sqrt(total))


KINKS = [
    Kink("abs", nd.abs_, [[0.0, -0.0, -2.0]], [[0, 0, -1]]),
    Kink("sqrt", nd.sqrt, [[0.0, 4.0]], [[INF, 0.25]]),
    Kink("cbrt", nd.cbrt, [[8.0]], [[1 / 12]]),
    Kink("maximum", nd.maximum, [[1.0, 2.0, 0.0], [1.0, 1.0, -0.0]], [[0.5, 1, 0.5], [0.5, 0, 0.5]]),
    Kink("minimum", nd.minimum, [[1.0, 2.0, -INF], [1.0, 1.0, -INF]], [[0.5, 0, 0.5], [0.5, 1, 0.5]]),
    Kink("fmax", nd.fmax, [[1.0, np.nan, 3.0], [1.0, 1.0, np.nan]], [[0.5, 0, 1], [0.5, 1, 0]]),
    Kink("fmin", nd.fmin, [[1.0, np.nan, 3.0], [1.0, 1.0, np.nan]], [[0.5, 0, 1], [0.5, 1, 0]]),
    Kink("relu", lambda x: nd.maximum(x, 0.0), [[0.0, -1.0, 1.0]], [[0.5, 0, 1]]),
    Kink("max over ties", lambda x: nd.reduce_max(x, axes=(0,)), [[3.0, 1.0, 3.0, 3.0]], [[1 / 3, 0, 1 / 3, 1 / 3]]),
    Kink("min over ties", lambda x: nd.reduce_min(x, axes=(0,)), [[-3.0, 1.0, -3.0]], [[0.5, 0, 0.5]]),
    Kink("clip", lambda x: nd.clip(x, -1.0, 1.0), [[-1.0, 1.0, 0.0, 2.0, -2.0]], [[1, 1, 1, 0, 0]]),
    Kink("masked sqrt", masked(nd.sqrt), [[-1.0, 0.0, 4.0]], [[0, 0, 0.25]]),
    Kink("masked log", masked(nd.log), [[-1.0, 0.0, 4.0]], [[0, 0, 0.25]]),
    Kink("masked reciprocal", masked(nd.reciprocal), [[-1.0, 0.0, 2.0]], [[0, 0, -0.25]]),
    Kink("masked product", through_product, [[-1.0, 0.0, 4.0]], [[0, 0, 0.25]]),
    Kink("masked arccos", masked(nd.arccos), [[-3.0, 0.0]], [[0, 0]]),
    Kink("log that a slice leaves out", padded_log, [[0.0, 1.0, 4.0]], [[0, 1, 0.25]]),
    Kink("hypot", nd.hypot, [[0.0, 3.0], [0.0, 4.0]], [[0, 0.6], [0, 0.8]]),
    Kink("hypot(x, x)", lambda x: nd.hypot(x, x), [[0.0]], [[0]]),
    Kink("arctan2", nd.arctan2, [[0.0, 1.0], [0.0, 1.0]], [[0, 0.5], [0, -0.5]]),
    Kink("logaddexp", nd.logaddexp, [[-INF, 0.0, -INF], [-INF, 0.0, 1.0]], [[0.5, 0.5, 0], [0.5, 0.5, 1]]),
    Kink("logaddexp2", nd.logaddexp2, [[-INF, 0.0, -INF], [-INF, 0.0, 1.0]], [[0.5, 0.5, 0], [0.5, 0.5, 1]]),
    Kink("xlogy", nd.xlogy, [[0.0, 0.0, 1.0], [0.0, 2.0, 2.0]], [[0, np.log(2), np.log(2)], [0, 0, 0.5]]),
    Kink("xlogy(x, x)", lambda x: nd.xlogy(x, x), [[0.0, 1.0]], [[0, 1]]),
    Kink("xlog1py", nd.xlog1py, [[0.0, 1.0], [-1.0, 1.0]], [[0, np.log(2)], [0, 0.5]]),
    Kink("power", nd.power, [[0.0, 0.0, 0.0, -2.0], [2.0, 1.0, 0.0, 3.0]], [[0, 1, 0, 12], [0, 0, 0, np.nan]]),
    Kink("prod, one zero", lambda x: nd.reduce_prod(x, axes=(0,)), [[2.0, 0.0, 3.0, 4.0]], [[0, 24, 0, 0]]),
    Kink("prod, two zeros", lambda x: nd.reduce_prod(x, axes=(0,)), [[2.0, 0.0, 3.0, 0.0, 5.0]], [[0] * 5]),
    Kink("norm at 0", norm, [[0.0, 0.0]], [[0, 0]]),
    Kink("sign", nd.sign, [[0.0, -1.0]], [[0, 0]]),
    Kink("copysign", nd.copysign, [[2.0, -2.0, 0.0], [-1.0, -1.0, 1.0]], [[-1, 1, 0], [0, 0, 0]]),
    Kink("heaviside", nd.heaviside, [[0.0, 1.0], [0.5, 0.5]], [[0, 0], [1, 0]]),
]


def build(kink: Kink, element: ScalarType) -> Op:
    """Return the function of one kink."""
    types = [tensor((len(point),), element) for point in kink.points]
    function = make_function("f", types)
    with at(body_of(function)):
        result = kink.function(*body_of(function).arguments)
    return finish_function(function, [result])


def run_both(function: Op, arrays: Sequence[Any]) -> list[list[Array]]:
    """Return the results of the interpreter and of native code."""
    types = [argument.type for argument in body_of(function).arguments]
    arrays = [np.asarray(x, t.element.dtype).reshape(t.shape) for x, t in zip(arrays, types, strict=True)]
    interpreted = interpret(function, arrays)
    return [interpreted, list(Executable(function).run(arrays))]


@pytest.mark.parametrize("element", [f32, f64], ids=str)
@pytest.mark.parametrize("kink", KINKS, ids=lambda kink: kink.name)
def test_reverse(kink: Kink, element: ScalarType) -> None:
    """The cotangent 1 gives the partial derivatives; the cotangent 0 gives exact zeros."""
    shape = body_of(build(kink, element)).terminator.operands[0].type.shape
    active = range(len(kink.points))
    for results in run_both(vjp_of(build(kink, element), active), [*kink.points, np.ones(shape)]):
        for actual, expected in zip(results[1:], kink.partials, strict=True):
            np.testing.assert_allclose(actual, expected, rtol=1e-6 if element is f32 else 1e-14)
    for results in run_both(vjp_of(build(kink, element), active), [*kink.points, np.zeros(shape)]):
        for actual in results[1:]:
            np.testing.assert_array_equal(actual, np.zeros_like(actual))


@pytest.mark.parametrize("element", [f32, f64], ids=str)
@pytest.mark.parametrize("kink", KINKS, ids=lambda kink: kink.name)
def test_forward(kink: Kink, element: ScalarType) -> None:
    """The tangent of one element of one operand gives its partial derivative; a zero tangent gives zero."""
    active = range(len(kink.points))
    zeros = [np.zeros(len(point)) for point in kink.points]
    for results in run_both(jvp_of(build(kink, element), active), [*kink.points, *zeros]):
        np.testing.assert_array_equal(results[1], np.zeros_like(results[1]))
    function = jvp_of(build(kink, element), active)
    executable = Executable(jvp_of(build(kink, element), active))
    for k in active:
        for position, expected in enumerate(kink.partials[k]):
            tangents = [zero.copy() for zero in zeros]
            tangents[k][position] = 1
            arrays = [np.asarray(x, element.dtype) for x in (*kink.points, *tangents)]
            for tangent in (interpret(function, arrays)[1], executable.run(arrays)[1]):
                actual = tangent[position] if tangent.ndim else tangent
                np.testing.assert_allclose(actual, expected, rtol=1e-6 if element is f32 else 1e-14)
                if tangent.ndim:
                    np.testing.assert_array_equal(np.delete(tangent, position), 0)


def test_second_order_of_a_product_with_zeros() -> None:
    """The Hessian of a product is the product of the others, zeros or not."""
    for point in ([2.0, 0.0, 3.0, 4.0], [2.0, 0.0, 3.0, 0.0, 5.0], [0.0, 0.0, 0.0]):
        n = len(point)
        x = np.array(point)
        expected = np.array([[0 if i == j else np.prod(np.delete(x, [i, j])) for j in range(n)] for i in range(n)])
        kink = Kink("prod", lambda x: nd.reduce_prod(x, axes=(0,)), [point], [])
        hessian_vector = jvp_of(vjp_of(build(kink, f64), [0], unit_seed=True), [0])
        executable = Executable(jvp_of(vjp_of(build(kink, f64), [0], unit_seed=True), [0]))
        for i in range(n):
            direction = np.eye(n)[i]
            for results in (interpret(hessian_vector, [x, direction]), executable.run([x, direction])):
                np.testing.assert_array_equal(results[3], expected[i])
