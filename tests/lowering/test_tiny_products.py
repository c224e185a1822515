"""Arrays of tiny matrices: products are written out, the loop runs along the matrices, forward and backward are one."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradloom
from gradloom import compile_grad
from gradloom.exec import threads
from gradloom.exec.executable import Executable
from gradloomc.codegen import native
from gradloomc.dialects import kernel
from gradloomc.dialects.func import body_of
from gradloomc.interp.interpreter import interpret
from gradloomc.ir.inline import copy_function
from gradloomc.lowering import parallelize, unroll
from gradloomc.pipelines import to_kernels

from .test_random_programs import assert_levels_agree

Array = np.ndarray[Any, Any]
N = 203


def quadratic(a: Any, x: Any) -> Any:
    return np.sum(np.einsum("ni,nij,nj->n", x, a, x) ** 2)


def normalized(a: Any, x: Any) -> Any:
    """Return a loss in which the elements of a vector share its norm."""
    y = np.einsum("nij,nj->ni", a, x)
    return np.sum(np.tanh(y / np.sqrt(np.sum(y * y, axis=1, keepdims=True) + 1.0)))


def filtered(f: Any, q: Any, x: Any, p: Any) -> Any:
    """Return a loss of one step of many Kalman filters' predictions."""
    state, covariance = x @ f.T, f @ p @ f.T + q
    return np.sum(np.tanh(state)) + np.sum(np.sqrt(covariance**2 + 1.0))


PROGRAMS: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = {
    **{
        f"matrices of {d}": (lambda a, b: np.sum(np.sin(a @ b)), ((N, d, d), (N, d, d)))
        for d in (2, 3, 4)
    },
    "unlike sides": (lambda a, b: np.sum(np.sin(a @ b)), ((N, 2, 5), (N, 5, 3))),
    "transposed": (lambda a, b: np.sum(np.sin(np.einsum("nki,njk->nij", a, b))), ((N, 3, 2), (N, 4, 3))),
    "two batches": (lambda a, b: np.sum(np.sin(a @ b)), ((13, 17, 3, 3), (13, 17, 3, 3))),
    "matrices with vectors": (lambda a, x: np.sum(np.sin(np.einsum("nij,nj->ni", a, x))), ((N, 6, 6), (N, 6))),
    "rows with a matrix": (lambda x, r: np.sum(np.sin(x @ r)), ((N, 3), (3, 3))),
    "columns with a matrix": (lambda x, r: np.sum(np.sin(r @ x)), ((3, N), (3, 3))),
    "one matrix with all": (lambda r, a: np.sum(np.sin(r @ a)), ((3, 3), (N, 3, 3))),
    "quadratic forms": (quadratic, ((N, 3, 3), (N, 3))),
    "normalized": (normalized, ((N, 3, 3), (N, 3))),
    "filters": (filtered, ((4, 4), (4, 4), (N, 4), (N, 4, 4))),
}


def arrays_of(name: str, dtype: Any = np.float64, seed: int = 0) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in PROGRAMS[name][1]]


@pytest.mark.parametrize("name", PROGRAMS)
def test_levels_agree(name: str) -> None:
    """Value and gradient take no call and one walk, with the numbers of the interpreter; the gradient is the slope."""
    function, arrays = PROGRAMS[name][0], arrays_of(name)
    compiled = compile_grad(function, argnums=tuple(range(len(arrays))))
    value, gradients = compiled.value_and_grad(*arrays)
    assert compiled.stats.products == 0 and compiled.stats.externs == 0
    assert compiled.stats.kernels <= (1 if name != "filters" else 3)
    assert compiled.stats.bytes_moved <= 1.03 * compiled.stats.bytes_ideal
    np.testing.assert_allclose(value, function(*arrays), rtol=1e-12)
    assert_levels_agree(compiled._program((), {}).function, arrays, tolerance=1e-10)
    rng = np.random.default_rng(1)
    steps = [rng.standard_normal(array.shape) * 1e-6 for array in arrays]
    slope = sum(float(np.sum(step * gradient)) for step, gradient in zip(steps, gradients, strict=True))
    ahead = function(*[array + step for array, step in zip(arrays, steps, strict=True)])
    behind = function(*[array - step for array, step in zip(arrays, steps, strict=True)])
    np.testing.assert_allclose((ahead - behind) / 2, slope, rtol=1e-5, atol=1e-11)


@pytest.mark.parametrize("name", ["matrices of 3", "rows with a matrix", "filters"])
def test_single_precision(name: str) -> None:
    function = PROGRAMS[name][0]
    argnums = tuple(range(len(PROGRAMS[name][1])))
    wide = compile_grad(function, argnums=argnums).value_and_grad(*arrays_of(name))
    single = compile_grad(function, argnums=argnums).value_and_grad(*arrays_of(name, np.float32))
    np.testing.assert_allclose(single[0], wide[0], rtol=1e-3, atol=1e-3)
    for one, other in zip(single[1], wide[1], strict=True):
        assert one.dtype == np.float32
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["matrices of 2", "quadratic forms", "rows with a matrix"])
def test_second_derivatives(name: str) -> None:
    function, arrays = PROGRAMS[name][0], arrays_of(name)
    rng = np.random.default_rng(2)
    direction = [rng.standard_normal(array.shape) for array in arrays]
    product = gradloom.hvp(function, tuple(arrays), tuple(direction))
    gradient = gradloom.grad(function, tuple(range(len(arrays))))
    step = 1e-6
    ahead = gradient(*[a + step * d for a, d in zip(arrays, direction, strict=True)])
    behind = gradient(*[a - step * d for a, d in zip(arrays, direction, strict=True)])
    for actual, one, other in zip(product, ahead, behind, strict=True):
        np.testing.assert_allclose(actual, (one - other) / (2 * step), rtol=1e-4, atol=1e-5)


def test_values_are_stored_as_they_are_asked_for() -> None:
    """A product that is a result, and what is computed from it, come from one walk."""
    a, b = arrays_of("matrices of 3")
    compiled = compile_grad(lambda a, b: (a @ b, np.tanh(a @ b), np.sum(a @ b, axis=0)))
    for actual, expected in zip(compiled(a, b), (a @ b, np.tanh(a @ b), np.sum(a @ b, axis=0)), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-13)


def test_other_lengths_need_no_code() -> None:
    """From the third length on nothing is compiled, and results are those of programs for the lengths alone."""
    function = PROGRAMS["matrices of 3"][0]
    gradient = gradloom.grad(function, (0, 1))
    rng = np.random.default_rng(5)
    for position, length in enumerate((100, 171, 80, 1000)):
        a, b = (rng.standard_normal((length, 3, 3)) for _ in range(2))
        before = native.counts.compiled
        actual = gradient(a, b)
        if position >= 2:
            assert native.counts.compiled == before
        cotangent = np.cos(a @ b)
        np.testing.assert_allclose(actual[0], cotangent @ np.swapaxes(b, 1, 2), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(actual[1], np.swapaxes(a, 1, 2) @ cotangent, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["matrices of 3", "rows with a matrix", "filters"])
def test_same_bits_for_any_number_of_threads(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for constant, value in {"LEAST_WORK": 0, "CHUNK_WORK": 1, "COPIES_SHARE": 1, "CHUNK_VECTORS": 1}.items():
        monkeypatch.setattr(parallelize, constant, value)
    pool = threads.WorkerPool()
    monkeypatch.setattr(threads, "pool", pool)
    pool.start()
    compiled = compile_grad(PROGRAMS[name][0], argnums=0)
    arrays = arrays_of(name)
    compiled.value_and_grad(*arrays)
    program = compiled._program((), {}).function
    executable = Executable(copy_function(program))
    assert executable.program.chunked > 0
    expected = interpret(program, arrays)
    found: set[bytes] = set()
    for number in (1, 2, 3, 7):
        pool.set_threads(number)
        results = executable.run(arrays)
        for actual, reference in zip(results, expected, strict=True):
            np.testing.assert_allclose(actual, reference, rtol=1e-9, atol=1e-11)
        found.add(b"".join(np.asarray(result).tobytes() for result in results))
    pool.close()
    assert len(found) == 1


def test_products_that_calls_compute_faster() -> None:
    """What has more multiply-adds than a call is worth, or few points, goes to the BLAS; explain() says so."""
    rng = np.random.default_rng(0)
    for shapes, calls in (
        (((N, 8, 8), (N, 8, 8)), 1),
        (((N, 8), (8, 8)), 1),
        (((N, 20), (20, 3)), 1),
        (((20, 3, 3), (20, 3, 3)), 1),
        (((N, 4, 4), (N, 4, 4)), 0),
        (((N, 4), (4, 4)), 0),
    ):
        compiled = compile_grad(lambda a, b: np.sum(a @ b), argnums=0)
        arrays = [rng.standard_normal(shape) for shape in shapes]
        forward = compile_grad(lambda a, b: np.sin(a @ b))
        forward(*arrays)
        assert forward.stats.products == calls, shapes
        compiled.value_and_grad(*arrays)
        text = forward.explain(*arrays)
        assert ("by a BLAS" in text) == (calls > 0)
        assert ("written out" in text) == (calls == 0)


def test_few_parts() -> None:
    """Rows of three that share a norm are three stores of one loop along the rows; longer rows stay rows."""
    for width in (3, unroll.TINY_EXTENT + 1):
        compiled = compile_grad(lambda x: x / np.sqrt(np.sum(x * x, axis=1, keepdims=True)))
        x = np.random.default_rng(0).standard_normal((500, width))
        np.testing.assert_allclose(compiled(x), x / np.linalg.norm(x, axis=1, keepdims=True), rtol=1e-14)
        kernels = to_kernels(copy_function(compiled._program((x,), {}).function))
        nests = [op for op in body_of(kernels).ops if op.kind is kernel.nest]
        assert (nests[-1].attributes["extents"] == (500,)) == (width == 3)


@pytest.mark.parametrize("shapes", [((64, 64), (64, 64)), ((20, 40, 40), (20, 40, 40)), ((9, 9, 9), (9, 9, 9))])
def test_squares_are_calls(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    """Extents that are the same number are no less of an extent for it."""
    compiled = compile_grad(lambda a, b: np.sum(np.tanh(a @ b)), argnums=(0, 1))
    rng = np.random.default_rng(4)
    compiled.value_and_grad(*(rng.standard_normal(shape) for shape in shapes))
    assert compiled.stats.products == 3
