"""The signatures of jvp_of and vjp_of, what counts as constant, and what cannot be differentiated."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gradloomc.ad.transform import jvp_of, vjp_of
from gradloomc.dialects import nd
from gradloomc.dialects.func import body_of, finish_function, make_function
from gradloomc.interp.interpreter import interpret
from gradloomc.ir.attributes import Dense
from gradloomc.ir.builder import at
from gradloomc.ir.core import Block, Op, Value
from gradloomc.ir.errors import DifferentiationError
from gradloomc.ir.opdef import REGISTRY, OpDef, Unsupported
from gradloomc.ir.types import SCALARS, f64, i1, tensor
from gradloomc.ir.verifier import verify

VECTOR = tensor((3,), f64)
COUNTS = tensor((3,), SCALARS["i64"])


def define(body: Callable[..., Any], *types: Any) -> Op:
    """Return a function; `body` returns one value or several."""
    function = make_function("f", types)
    with at(body_of(function)):
        results = body(*body_of(function).arguments)
    return finish_function(function, [results] if isinstance(results, Value) else results)


def types_of(function: Op) -> tuple[list[Any], list[Any]]:
    verify(function)
    signature = function.attributes["function_type"]
    return list(signature.inputs), list(signature.results)


def test_signatures() -> None:
    """Tangents and cotangents belong to active arguments and to float results."""

    def body(x: Value, n: Value, y: Value) -> list[Value]:
        return [nd.mul(x, y), nd.add(n, n), nd.gt(x, y)]

    function = define(body, VECTOR, COUNTS, VECTOR)
    flags = tensor((3,), i1)
    results = [VECTOR, COUNTS, flags]
    assert types_of(jvp_of(function, [2])) == ([VECTOR, COUNTS, VECTOR, VECTOR], [*results, VECTOR])
    assert types_of(jvp_of(function, [0, 2])) == ([VECTOR, COUNTS, VECTOR, VECTOR, VECTOR], [*results, VECTOR])
    assert types_of(vjp_of(function, [0])) == ([VECTOR, COUNTS, VECTOR, VECTOR], [*results, VECTOR])
    assert types_of(vjp_of(function, [2, 0])) == ([VECTOR, COUNTS, VECTOR, VECTOR], [*results, VECTOR, VECTOR])


def test_order_of_active_arguments() -> None:
    """Cotangents come in the order in which the arguments were asked for."""
    function = define(lambda x, y: nd.reduce_sum(nd.mul(x, nd.square(y)), axes=(0,)), VECTOR, VECTOR)
    x, y = np.array([1.0, 2, 3]), np.array([4.0, 5, 6])
    _, by_y, by_x = interpret(vjp_of(function, [1, 0], unit_seed=True), [x, y])
    np.testing.assert_array_equal(by_x, y**2)
    np.testing.assert_array_equal(by_y, 2 * x * y)


def test_unit_seed_is_for_the_first_result() -> None:
    """Other results are returned and not differentiated (auxiliary output)."""
    function = define(lambda x: [nd.reduce_sum(x, axes=(0,)), nd.square(x)], VECTOR)
    new = vjp_of(function, [0], unit_seed=True)
    assert types_of(new) == ([VECTOR], [tensor((), f64), VECTOR, VECTOR])
    np.testing.assert_array_equal(interpret(new, [np.arange(3.0)])[2], np.ones(3))


def test_results_that_do_not_vary() -> None:
    """A constant, an argument, and a value returned twice have the tangents and cotangents that sums give."""

    def body(x: Value) -> list[Value]:
        y = nd.sin(x)
        return [nd.splat(2.0, x.type), x, y, y, nd.floor(x)]

    function = define(body, VECTOR)
    x, v = np.array([0.1, 1.2, 2.3]), np.array([1.0, 2, 3])
    tangents = interpret(jvp_of(function, [0]), [x, v])[5:]
    for tangent, expected in zip(tangents, [0 * v, v, np.cos(x) * v, np.cos(x) * v, 0 * v], strict=True):
        np.testing.assert_array_equal(tangent, expected)
    (cotangent,) = interpret(vjp_of(function, [0]), [x, *[v * k for k in (1, 10, 100, 1000, 10000)]])[5:]
    np.testing.assert_allclose(cotangent, 10 * v + 1100 * v * np.cos(x), rtol=1e-14)


def test_argument_without_influence() -> None:
    function = define(lambda x, y: nd.sin(x), VECTOR, VECTOR)
    ones = np.ones(3)
    np.testing.assert_array_equal(interpret(vjp_of(function, [1]), [ones, ones, ones])[1], np.zeros(3))
    np.testing.assert_array_equal(interpret(jvp_of(function, [1]), [ones, ones, ones])[1], np.zeros(3))


def test_the_function_stays_as_it_was() -> None:
    """Differentiation builds new functions; the old one's use lists do not grow."""
    function = define(lambda x: nd.mul(nd.sin(x), x), VECTOR)
    x = body_of(function).arguments[0]
    ops, uses = list(body_of(function).ops), dict(x.uses)
    jvp_of(function, [0])
    vjp_of(vjp_of(function, [0]), [0])
    assert body_of(function).ops == ops and x.uses == uses
    verify(function)


def test_values_of_an_enclosing_function_are_constants() -> None:
    outer = Block([VECTOR])
    (c,) = outer.arguments
    function = define(lambda x: nd.mul(x, c), VECTOR)
    new = jvp_of(function, [0])
    products = [op for op in body_of(new).ops if op.kind is nd.mul]
    assert len(products) == 2 and all(c in op.operands for op in products)


def test_integers_have_no_derivative() -> None:
    function = define(lambda n: nd.convert(n, type=f64), COUNTS)
    for transform in (jvp_of, vjp_of):
        with pytest.raises(DifferentiationError, match="only arrays of floats have derivatives"):
            transform(function, [0])


def test_the_way_through_integers_is_flat() -> None:
    """What has passed an integer dtype does not vary."""
    function = define(lambda x: nd.convert(nd.convert(x, type=SCALARS["i64"]), type=f64), VECTOR)
    ones = np.ones(3)
    np.testing.assert_array_equal(interpret(jvp_of(function, [0]), [ones, ones])[1], np.zeros(3))
    np.testing.assert_array_equal(interpret(vjp_of(function, [0]), [ones, ones])[1], np.zeros(3))


def test_unsupported_op_says_why() -> None:
    """Where the op varies with an active argument its reason is read; where it does not, nothing is asked of it."""
    name = "nd.test_only_unsupported"
    record = OpDef(name, "A test.", lambda x: x, reference=lambda x: x, derivative=Unsupported("it was never done"))
    try:
        function = define(lambda x, y: nd.add(record(x), y), VECTOR, VECTOR)
        with pytest.raises(DifferentiationError, match=f"'{name}' cannot be differentiated: it was never done"):
            jvp_of(function, [0])
        jvp_of(function, [1])
    finally:
        del REGISTRY[name]


def test_a_gather_adds_up_rows() -> None:
    """Rows that are taken twice collect both cotangents."""
    indices = np.array([0, 2, 2])

    def body(x: Value) -> Value:
        return nd.gather(x, nd.constant(value=Dense(COUNTS, indices)), axes=(0,))

    function = define(body, VECTOR)
    cotangent = interpret(vjp_of(function, [0]), [np.ones(3), np.array([1.0, 10, 100])])[1]
    np.testing.assert_array_equal(cotangent, [1, 0, 110])
