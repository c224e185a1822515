"""How many kernels a program takes and how many bytes they move: the measure of fusion, counted, not timed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr

from gradloom.exec.executable import Executable
from gradloomc.ad.transform import vjp_of
from gradloomc.dialects import nd
from gradloomc.dialects.func import body_of, finish_function, make_function
from gradloomc.ir.builder import at
from gradloomc.ir.core import Op, Value
from gradloomc.ir.types import f32, f64, tensor
from gradloomc.pipelines import to_kernels

N = 1000


def define(body: Callable[..., Value], *shapes: tuple[int, ...], element: Any = f64) -> Op:
    """Return a function of one result."""
    function = make_function("f", [tensor(shape, element) for shape in shapes])
    with at(body_of(function)):
        result = body(*body_of(function).arguments)
    return finish_function(function, [result])


def total(x: Value) -> Value:
    return nd.reduce_sum(x, axes=tuple(range(x.type.rank)))


def part(x: Value, start: int, limit: int) -> Value:
    return nd.slice_(x, start=(start,), limit=(limit,), stride=(1,))


def rosenbrock(x: Value) -> Value:
    n = x.type.shape[0]
    left, right = part(x, 0, n - 1), part(x, 1, n)
    return total(nd.add(nd.mul(nd.square(nd.sub(right, nd.square(left))), 100.0), nd.square(nd.sub(1.0, left))))


def normal_cdf(x: Value) -> Value:
    return nd.mul(nd.erfc(nd.mul(x, -np.sqrt(0.5))), 0.5)


def black_scholes(s: Value, k: Value, t: Value, r: Value, v: Value) -> Value:
    """Return the sum of the prices of European calls."""
    root = nd.mul(v, nd.sqrt(t))
    d1 = nd.div(nd.add(nd.log(nd.div(s, k)), nd.mul(nd.add(r, nd.mul(nd.square(v), 0.5)), t)), root)
    d2 = nd.sub(d1, root)
    return total(nd.sub(nd.mul(s, normal_cdf(d1)), nd.mul(nd.mul(k, nd.exp(nd.neg(nd.mul(r, t)))), normal_cdf(d2))))


def chain(x: Value) -> Value:
    """Return a chain of 20 elementwise ops."""
    for _ in range(5):
        x = nd.add(nd.mul(nd.tanh(nd.sin(x)), 0.9), 0.1)
    return x


def assert_one_pass(executable: Executable) -> None:
    stats = executable.stats
    assert (stats.kernels, stats.externs) == (1, 0)
    assert stats.bytes_moved == stats.bytes_ideal


def test_rosenbrock_gradient() -> None:
    """Value and gradient are one pass: x is read once, the gradient written once, and the sum."""
    executable = Executable(vjp_of(define(rosenbrock, (N,)), [0], unit_seed=True))
    assert_one_pass(executable)
    assert executable.stats.bytes_ideal == 2 * N * 8 + 8
    x = np.random.default_rng(0).uniform(-1, 1, N)
    value, gradient = executable.run([x])
    left, right = x[:-1], x[1:]
    np.testing.assert_allclose(value, np.sum(100 * (right - left**2) ** 2 + (1 - left) ** 2), rtol=1e-14)
    expected = np.zeros(N)
    expected[:-1] += -400 * left * (right - left**2) - 2 * (1 - left)
    expected[1:] += 200 * (right - left**2)
    np.testing.assert_allclose(gradient, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("element", [f32, f64], ids=str)
def test_black_scholes_gradients(element: Any) -> None:
    """The value and the gradients of all five inputs are one pass over five arrays in and five out."""
    function = define(black_scholes, *[(N,)] * 5, element=element)
    executable = Executable(vjp_of(function, range(5), unit_seed=True))
    assert_one_pass(executable)
    assert executable.stats.bytes_ideal == (10 * N + 1) * element.itemsize
    rng = np.random.default_rng(1)
    ranges = ((80, 120), (80, 120), (0.2, 2), (0.01, 0.05), (0.1, 0.5))
    s, k, t, r, v = arrays = [rng.uniform(low, high, N).astype(element.dtype) for low, high in ranges]
    value, by_s, _, _, _, by_v = executable.run(arrays)
    d1 = (np.log(s / k) + (r + v**2 / 2) * t) / (v * np.sqrt(t))
    d2 = d1 - v * np.sqrt(t)
    tolerance = 2e-4 if element is f32 else 1e-11
    np.testing.assert_allclose(value, np.sum(s * ndtr(d1) - k * np.exp(-r * t) * ndtr(d2)), rtol=tolerance)
    np.testing.assert_allclose(by_s, ndtr(d1), rtol=tolerance, atol=tolerance)
    vega = s * np.sqrt(t) * np.exp(-(d1**2) / 2) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(by_v, vega, rtol=10 * tolerance, atol=10 * tolerance)


def test_chain() -> None:
    assert_one_pass(Executable(define(chain, (N,))))


def test_chain_and_its_gradient() -> None:
    """The gradient recomputes the chain inside the loop instead of storing twenty intermediate arrays."""
    executable = Executable(vjp_of(define(lambda x: total(chain(x)), (N,)), [0], unit_seed=True))
    assert_one_pass(executable)


def test_broadcasts_cost_nothing() -> None:
    """A row and a column that meet in a matrix are read, the matrix is never written."""
    executable = Executable(
        define(
            lambda x, y: total(
                nd.exp(nd.mul(nd.broadcast(x, shape=(40, 50), dims=(0,)), nd.broadcast(y, shape=(40, 50), dims=(1,))))
            ),
            (40,),
            (50,),
        )
    )
    assert_one_pass(executable)
    assert executable.stats.bytes_ideal == (40 + 50 + 1) * 8


def diffused(x: Value, steps: int) -> Value:
    """Return explicit time steps of the heat equation."""
    for _ in range(steps):
        n = x.type.shape[0]
        left, middle, right = part(x, 0, n - 2), part(x, 1, n - 1), part(x, 2, n)
        x = nd.add(middle, nd.mul(nd.add(nd.sub(left, nd.mul(middle, 2.0)), right), 0.1))
    return total(nd.square(x))


def halved(x: Value, steps: int) -> Value:
    """Return a tree of products of the two halves."""
    for _ in range(steps):
        half = x.type.shape[0] // 2
        x = nd.add(nd.mul(part(x, 0, half), part(x, half, 2 * half)), 0.5)
    return total(x)


def rolled(x: Value, steps: int) -> Value:
    """Return sums with the array rolled by one place."""
    for _ in range(steps):
        n = x.type.shape[0]
        x = nd.mul(nd.add(x, nd.concatenate(part(x, 1, n), part(x, 0, 1), axis=0)), 0.5)
    return total(nd.square(x))


@pytest.mark.parametrize("program", [diffused, halved, rolled])
def test_steps_do_not_multiply(program: Callable[[Value, int], Value]) -> None:
    """Twice the steps take about twice the code: what neighbours share is stored now and then."""

    def scalar_ops(steps: int) -> int:
        gradient = vjp_of(define(lambda x: program(x, steps), (4096,)), [0], unit_seed=True)
        kernels = body_of(to_kernels(gradient)).ops[:-1]
        return sum(len(op.regions[0].block.ops) for op in kernels if op.regions)

    few, many = scalar_ops(5), scalar_ops(10)
    assert many <= 3 * few


def test_a_few_cheap_steps_stay_one_pass() -> None:
    """Neighbours of a cheap value are computed again instead of stored."""
    assert_one_pass(Executable(define(lambda x: diffused(nd.add(x, 1.0), 1), (N,))))


def test_gradient_of_time_steps() -> None:
    """The stored steps give the gradient of the composed linear map."""
    n, steps = 60, 12
    step = [np.eye(m - 2, m, 1) + 0.1 * (np.eye(m - 2, m) - 2 * np.eye(m - 2, m, 1) + np.eye(m - 2, m, 2))
            for m in range(n, n - 2 * steps, -2)]  # fmt: skip
    matrix = np.linalg.multi_dot(step[::-1])
    x = np.random.default_rng(2).uniform(-1, 1, n)
    executable = Executable(vjp_of(define(lambda x: diffused(x, steps), (n,)), [0], unit_seed=True))
    value, gradient = executable.run([x])
    np.testing.assert_allclose(value, np.sum((matrix @ x) ** 2), rtol=1e-12)
    np.testing.assert_allclose(gradient, 2 * matrix.T @ matrix @ x, rtol=1e-11, atol=1e-13)


def test_stored_values_are_written_once() -> None:
    """A result that another result needs is computed in the same pass."""

    function = make_function("f", [tensor((N,), f64)])
    with at(body_of(function)):
        (x,) = body_of(function).arguments
        y = nd.exp(x)
        results = [y, nd.mul(y, x), total(y)]
    assert_one_pass(Executable(finish_function(function, results)))
