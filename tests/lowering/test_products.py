"""Matrix products: how many calls, which of them copy, what is added up where; all levels agree on the numbers."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from gradloom import compile_grad
from gradloom.exec import threads
from gradloom.exec.executable import Executable
from gradloomc.dialects import kernel, loops, nd
from gradloomc.dialects.func import body_of, finish_function, make_function
from gradloomc.interp.interpreter import interpret
from gradloomc.ir.builder import at
from gradloomc.ir.core import Op, Value
from gradloomc.ir.inline import copy_function
from gradloomc.ir.printer import print_op
from gradloomc.ir.types import f64, tensor
from gradloomc.lowering import parallelize
from gradloomc.pipelines import prepare, to_loops

from .test_random_programs import assert_levels_agree

Shape = tuple[int, ...]


def define(shapes: Sequence[Shape], body: Callable[..., Value]) -> Op:
    function = make_function("f", [tensor(shape, f64) for shape in shapes])
    with at(body_of(function)):
        result = body(*body_of(function).arguments)
    return finish_function(function, [result])


def dot(x: Value, y: Value, xc: Shape, yc: Shape, xb: Shape = (), yb: Shape = ()) -> Value:
    return nd.dot(x, y, x_contract=xc, y_contract=yc, x_batch=xb, y_batch=yb)


def prepared(function: Op) -> list[Op]:
    """Return the ops of the function as it goes to fusion."""
    return body_of(prepare(copy_function(function))).ops[:-1]


# shapes, contracted axes, batch axes, elements that are copied
LAYOUTS: dict[str, tuple[Shape, Shape, Shape, Shape, Shape, Shape, int]] = {
    "plain": ((4, 3), (3, 5), (1,), (0,), (), (), 0),
    "both transposed": ((3, 4), (5, 3), (0,), (1,), (), (), 0),
    "two contracted": ((4, 3, 2), (3, 2, 5), (1, 2), (0, 1), (), (), 0),
    "two contracted, named in another order": ((4, 3, 2), (3, 2, 5), (2, 1), (1, 0), (), (), 0),
    "two contracted, in unlike orders": ((4, 3, 2), (2, 3, 5), (1, 2), (1, 0), (), (), 24),
    "free on both sides": ((2, 3, 4), (3, 5), (1,), (0,), (), (), 24),
    "free on both sides, one of them 1": ((1, 3, 4), (3, 5), (1,), (0,), (), (), 0),
    "batch in front": ((2, 4, 3), (2, 3, 5), (2,), (1,), (0,), (0,), 0),
    "batch in the middle": ((4, 2, 3), (5, 2, 3), (2,), (2,), (1,), (1,), 0),
    "batch at the end": ((4, 3, 2), (3, 5, 2), (1,), (0,), (2,), (2,), 54),
    "two batches apart": ((2, 4, 6, 3), (2, 5, 6, 3), (3,), (3,), (0, 2), (0, 2), 0),
    "two batches in unlike orders": ((2, 6, 4, 3), (6, 2, 5, 3), (3,), (3,), (0, 1), (1, 0), 0),
    "batch of one": ((1, 4, 3), (1, 3, 5), (2,), (1,), (0,), (0,), 0),
    "one contracted": ((4, 1), (1, 5), (1,), (0,), (), (), 0),
    "one row": ((1, 6), (6, 5), (1,), (0,), (), (), 0),
    "nothing contracted": ((4, 0), (0, 5), (1,), (0,), (), (), 0),
    "no rows": ((0, 3), (3, 5), (1,), (0,), (), (), 0),
    "no batch": ((0, 4, 3), (0, 3, 5), (2,), (1,), (0,), (0,), 0),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(name: str) -> None:
    """A BLAS reads operands where they lie whenever it can; every layout comes out right at every level."""
    x_shape, y_shape, xc, yc, xb, yb, copied = LAYOUTS[name]
    function = define([x_shape, y_shape], lambda x, y: dot(x, y, xc, yc, xb, yb))
    copies = [op for op in prepared(function) if op.kind is nd.transpose and op.results[0].uses]
    products = [op for op in prepared(function) if op.kind is kernel.product]
    if products:
        assert sum(op.results[0].type.size for op in copies) == copied
    executable = Executable(copy_function(function))
    assert executable.stats.externs == 0
    assert executable.stats.products == len(products)
    rng = np.random.default_rng(0)
    assert_levels_agree(function, [rng.integers(-5, 5, shape).astype(float) for shape in (x_shape, y_shape)])


def matmul(x: Value, y: Value) -> Value:
    return dot(x, y, (1,), (0,))


SQUARE = (4, 4)
# a program of squares x, y, z; how many ops it goes to fusion as, and the factors of its products
SUMS: dict[str, tuple[Callable[..., Value], int, list[tuple[float, ...]]]] = {
    "sum": (lambda x, y, z: nd.add(matmul(x, y), matmul(y, z)), 1, [(1, 1)]),
    "chain": (lambda x, y, z: nd.sub(nd.add(matmul(x, y), matmul(y, z)), matmul(z, x)), 1, [(1, 1, -1)]),
    "scaled": (lambda x, y, z: nd.mul(nd.sub(matmul(x, y), nd.mul(matmul(y, z), 3.0)), -2.0), 1, [(-2, 6)]),
    "negated": (lambda x, y, z: nd.neg(matmul(x, y)), 1, [(-1,)]),
    "operand scaled": (lambda x, y, z: matmul(nd.mul(x, 3.0), nd.neg(y)), 1, [(-3,)]),
    "operand computed": (lambda x, y, z: matmul(nd.mul(nd.tanh(x), 3.0), y), 3, [(1,)]),
    "times zero": (lambda x, y, z: nd.mul(matmul(x, y), 0.0), 2, [(1,)]),
    "used twice": (lambda x, y, z: nd.add(nd.mul(q := matmul(x, y), q), matmul(y, z)), 4, [(1,), (1,)]),
    "twice the same": (lambda x, y, z: nd.add(q := matmul(x, y), q), 1, [(2,)]),
    "bias": (lambda x, y, z: nd.add(matmul(x, y), z), 2, [(1,)]),
}


@pytest.mark.parametrize("name", SUMS)
def test_sums(name: str) -> None:
    """Products that one op alone reads are added up and scaled where they are computed; others are left alone."""
    body, count, factors = SUMS[name]
    function = define([SQUARE] * 3, body)
    ops = [op for op in prepared(function) if op.kind is not nd.constant and (op.results[0].uses)]
    assert [tuple(t[0] for t in op.attributes["terms"]) for op in ops if op.kind is kernel.product] == factors
    assert len(ops) == count
    rng = np.random.default_rng(0)
    arrays = [rng.integers(-5, 5, SQUARE).astype(float) for _ in range(3)]
    assert_levels_agree(function, arrays, tolerance=1e-12)


def test_infinities_and_nan() -> None:
    """Nothing is lost: 0 times a product with nan is nan, an infinity meets its opposite."""

    def program(x: Value, y: Value, z: Value) -> Value:
        return nd.add(nd.mul(matmul(x, y), 0.0), nd.sub(matmul(y, z), matmul(z, y)))

    function = define([SQUARE] * 3, program)
    x, y, z = np.random.default_rng(0).standard_normal((3, 4, 4))
    x[0, 0], y[1, 2], z[3, 0] = np.nan, np.inf, -np.inf
    with np.errstate(all="ignore"):
        expected = (x @ y) * 0.0 + (y @ z - z @ y)
    (result,) = Executable(function).run([x, y, z])
    np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-12)
    assert np.isnan(expected).any() and np.isfinite(expected).any()


def two_layer(x: Any, y: Any, w1: Any, w2: Any) -> Any:
    return np.sum((np.maximum(x @ w1, 0.0) @ w2 - y) ** 2)


def test_a_network_is_one_native_segment() -> None:
    """Forward and backward of two layers: five products, three nests, no copy, and no way back to Python between."""
    compiled = compile_grad(two_layer, argnums=(2, 3))
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape) for shape in ((64, 50), (64, 5), (50, 20), (20, 5))]
    compiled.value_and_grad(*arrays)
    stats = compiled.stats
    assert (stats.products, stats.externs, stats.kernels) == (5, 0, 3)
    assert len(compiled._program((), {}).executable.program.steps) == 1


def recurrent(x: Any, h: Any, w: Any, u: Any) -> Any:
    for t in range(4):
        h = np.tanh(x[t] @ w + h @ u)
    return np.sum(h)


def test_weights_used_at_every_step() -> None:
    """Sums over the steps of a recurrent network are made by the products: no nest adds gradients of weights."""
    compiled = compile_grad(recurrent, argnums=(2, 3))
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape) for shape in ((4, 6, 5), (6, 7), (5, 7), (7, 7))]
    _, (by_w, by_u) = compiled.value_and_grad(*arrays)
    kernels = prepared(compiled._program((), {}).function)
    terms = {op.results[0].type.shape: len(op.attributes["terms"]) for op in kernels if op.kind is kernel.product}
    assert (terms[5, 7], terms[7, 7]) == (4, 4)
    step = 1e-6
    for position, gradient in ((2, by_w), (3, by_u)):
        moved = [array.copy() for array in arrays]
        moved[position][1, 2] += step
        difference = (recurrent(*moved) - recurrent(*arrays)) / step
        assert abs(difference - gradient[1, 2]) < 1e-4


# --- tiles ------------------------------------------------------------------------------------------------------------


def network(x: Any, y: Any, w1: Any, b1: Any, w2: Any) -> Any:
    hidden = np.tanh(x @ w1 + b1)
    return np.mean((hidden @ w2 - y) ** 2)


def tied(x: Any, y: Any, w1: Any, b1: Any, w2: Any) -> Any:
    """Return a loss in which products add up: the weights are used twice, and two products meet."""
    hidden = np.tanh(x @ w1 + b1)
    return np.mean((np.tanh(hidden @ w1[:, :] + x @ w1) @ w2 - y) ** 2)


def stacked(x: Any, y: Any, w1: Any, b1: Any, w2: Any) -> Any:
    """Return a loss of rows that are matrices themselves."""
    deep = np.tanh(np.stack([x, 2.0 * x], axis=1) @ w1 + b1)
    return np.mean((deep @ w2 - y[:, None, :]) ** 2)


@pytest.mark.parametrize("function", [network, tied, stacked], ids=lambda function: function.__name__)
@pytest.mark.parametrize("rows", [16, 19, 40])
def test_tiles_of_a_batch(function: Callable[..., Any], rows: int, small_plans: None) -> None:
    """A few rows of a batch at a time go through all products, forward and backward; the last tile may be short."""
    rng = np.random.default_rng(rows)
    shapes = ((rows, 6), (rows, 3), (6, 6), (6,), (6, 3))
    arrays = [rng.standard_normal(shape) for shape in shapes]
    compiled = compile_grad(function, argnums=(0, 2, 3, 4))
    compiled.value_and_grad(*arrays)
    program = compiled._program((), {}).function
    assert "loops.tiles" in print_op(to_loops(copy_function(program), 128))
    assert_levels_agree(program, arrays, tolerance=1e-10)


@pytest.mark.parametrize("function", [network, tied, stacked], ids=lambda function: function.__name__)
@pytest.mark.parametrize("native", [True, False])
def test_tiles_of_a_batch_on_threads(
    function: Callable[..., Any], native: bool, small_plans: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks of tiles each have their own copies of the weights' gradients: the same bits for any number of threads."""
    for name, value in {"LEAST_WORK": 0, "CHUNK_WORK": 1, "COPIES_SHARE": 1, "PRODUCT_ROWS": 8}.items():
        monkeypatch.setattr(parallelize, name, value)
    pool = threads.WorkerPool(native=native)
    monkeypatch.setattr(threads, "pool", pool)
    pool.start()
    rng = np.random.default_rng(3)
    arrays = [rng.standard_normal(shape) for shape in ((67, 6), (67, 3), (6, 6), (6,), (6, 3))]
    compiled = compile_grad(function, argnums=(0, 2, 3, 4))
    compiled.value_and_grad(*arrays)
    program = compiled._program((), {}).function
    groups = [op for op in body_of(to_loops(copy_function(program), 128)).ops if op.kind is loops.tiles]
    assert groups and all("chunk" in op.attributes for op in groups)
    assert any(step.kind is loops.gemm for op in groups for step in op.regions[0].block.ops)
    executable = Executable(copy_function(program))
    expected = interpret(program, arrays)
    found: set[bytes] = set()
    for number in (1, 2, 3, 7):
        pool.set_threads(number)
        before = pool.word("jobs")
        for _ in range(3):
            results = executable.run(arrays)
            found.add(b"".join(np.asarray(result).tobytes() for result in results))
            for result, reference in zip(results, expected, strict=True):
                np.testing.assert_allclose(result, reference, rtol=1e-9, atol=1e-11)
        assert (pool.word("jobs") > before) == (number > 1)
    pool.close()
    assert len(found) == 1


def test_chunks_of_a_large_batch() -> None:
    """A batch goes through a network in chunks of whole tiles, whose rows are not too few for a BLAS."""
    program = define(
        [(8192, 64), (64, 64), (64, 64)],
        lambda x, v, w: nd.reduce_sum(nd.tanh(matmul(nd.tanh(matmul(x, v)), w)), axes=(0, 1)),
    )
    (group,) = [op for op in body_of(to_loops(program, 512)).ops if op.kind is loops.tiles]
    dim, unit, count = group.attributes["chunk"]
    assert dim == 0 and unit >= 64 and 8192 // unit >= count >= 8


def test_activations_of_a_large_batch_stay_in_the_cache() -> None:
    """Forward and backward of 4096 samples move the samples once and the weights' gradients, but no activations."""
    compiled = compile_grad(network, argnums=(2, 3, 4))
    rng = np.random.default_rng(0)
    shapes = ((4096, 64), (4096, 10), (64, 64), (64,), (64, 10))
    arrays = [rng.standard_normal(shape) for shape in shapes]
    value, gradients = compiled.value_and_grad(*arrays)
    stats = compiled.stats
    assert stats.products == 5
    assert stats.bytes_moved < 1.01 * stats.bytes_ideal
    x, y, w1, b1, w2 = arrays
    hidden = np.tanh(x @ w1 + b1)
    residual = hidden @ w2 - y
    by_output = 2 * residual / residual.size
    by_hidden = (by_output @ w2.T) * (1 - hidden**2)
    np.testing.assert_allclose(value, np.mean(residual**2), rtol=1e-12)
    for actual, right in zip(gradients, (x.T @ by_hidden, by_hidden.sum(0), hidden.T @ by_output), strict=True):
        np.testing.assert_allclose(actual, right, rtol=1e-9, atol=1e-12)


def test_weights_too_large_for_the_cache_are_read_once() -> None:
    """Tiles would read them again and again."""
    function = define([(1024, 64), (64, 4096), (4096, 4096)], lambda x, v, w: matmul(nd.tanh(matmul(x, v)), w))
    assert "loops.tiles" not in print_op(to_loops(copy_function(function), 512))
