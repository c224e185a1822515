"""Large products: the pool's threads share them, the BLAS's own stay out, and the bits are those of one thread."""

import ctypes
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from gradloom.exec import blas, shared_products, threads
from gradloom.exec.executable import Executable
from gradloomc.codegen import gemm
from gradloomc.dialects import nd
from gradloomc.dialects.func import body_of, finish_function, make_function
from gradloomc.ir.builder import at
from gradloomc.ir.core import Op
from gradloomc.ir.types import SCALARS, f32, f64, tensor

LIBRARY = blas.library()
needs_threads = pytest.mark.skipif(not LIBRARY.set_threads, reason="this BLAS cannot be told how many threads to use")


def blas_threads() -> int:
    return ctypes.CFUNCTYPE(ctypes.c_int)(LIBRARY.get_threads)()


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[threads.WorkerPool]:
    made = threads.WorkerPool()
    monkeypatch.setattr(threads, "pool", made)
    made.set_threads(2)
    yield made
    made.close()


@pytest.fixture
def blas_on_two() -> Iterator[None]:
    """Let the BLAS have threads of its own, whatever the environment says."""
    set_ = ctypes.CFUNCTYPE(None, ctypes.c_int)(LIBRARY.set_threads)
    before = blas_threads()
    set_(2)
    yield
    set_(before)


def product(m: int, n: int, k: int, element: Any, ta: bool = False, tb: bool = False) -> Op:
    """Return a function that multiplies two matrices, either of which may lie transposed."""
    types = [tensor((k, m) if ta else (m, k), element), tensor((n, k) if tb else (k, n), element)]
    function = make_function("f", types)
    with at(body_of(function)):
        x, y = body_of(function).arguments
        contract: dict[str, Any] = {"x_contract": (0 if ta else 1,), "y_contract": (1 if tb else 0,)}
        result = nd.dot(x, y, **contract, x_batch=(), y_batch=())
    return finish_function(function, [result])


def operands(function: Op, seed: int = 0) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(a.type.shape).astype(a.type.element.dtype) for a in body_of(function).arguments]


@needs_threads
@pytest.mark.usefixtures("blas_on_two")
@pytest.mark.parametrize("element", ["f32", "f64"])
@pytest.mark.parametrize(("ta", "tb"), [(False, False), (True, False), (False, True), (True, True)])
def test_same_bits_for_any_number_of_threads(pool: threads.WorkerPool, element: str, ta: bool, tb: bool) -> None:
    sizes = [(301, 290, 207), (96, 97, 1200), (700, 65, 130), (64, 911, 140)]  # computed in panels, where there are any
    sizes += [(12, 1900, 300), (2000, 12, 300), (700, 600, 700)]  # by the library
    for m, n, k in sizes:
        function = product(m, n, k, SCALARS[element], ta, tb)
        x, y = operands(function)
        executable = Executable(function)
        assert executable.program.large_products == (element,)
        results = []
        for number in (2, 1, 3, 7):
            pool.set_threads(number)
            results += [executable.run([x, y])[0] for _ in range(4)]
        np.testing.assert_allclose(
            results[0], (x.T if ta else x) @ (y.T if tb else y), rtol=1e-3 if element == "f32" else 1e-11, atol=1e-4
        )
        assert len({result.tobytes() for result in results}) == 1


@needs_threads
@pytest.mark.usefixtures("blas_on_two")
def test_workers_take_blocks_and_the_blas_keeps_its_threads(pool: threads.WorkerPool) -> None:
    function = product(800, 400, 300, f64)
    executable = Executable(function)
    before = pool.word("jobs")
    for _ in range(6):
        executable.run(operands(function))
    if pool.word("rows_f64"):
        assert pool.word("jobs") >= before + 6  # a call may run it more often, to see how long it takes
    assert pool.word("blas_users") == 0
    assert blas_threads() == 2


@needs_threads
@pytest.mark.skipif(not LIBRARY.for_large_products(), reason="this library takes all products itself")
@pytest.mark.parametrize("element", ["f32", "f64"])
def test_products_in_panels_are_shared_wherever_they_are_cut(pool: threads.WorkerPool, element: str) -> None:
    """Neither what the library's trials found nor its own threads are of any account to them."""
    for m, n, k in ((160, 200, 90), (40, 700, 90), (700, 40, 90)):
        function = product(m, n, k, SCALARS[element])
        executable = Executable(function)
        executable.run(operands(function))
        before = pool.word("jobs")
        for direction in ("rows", "columns"):
            pool.set_word(f"{direction}_{element}", 0)
        for _ in range(3):
            executable.run(operands(function))
        assert pool.word("jobs") >= before + 3
    small = product(110, 100, 105, SCALARS[element])
    executable = Executable(small)
    before = pool.word("jobs")
    executable.run(operands(small))
    assert executable.program.large_products and pool.word("jobs") == before


@needs_threads
@pytest.mark.usefixtures("blas_on_two")
def test_cuts_where_the_bits_would_differ_are_not_made(
    pool: threads.WorkerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_products, "may_be_cut", lambda *_: False)
    function = product(12, 4000, 300, f32)  # which is not computed in panels
    executable = Executable(function)
    before = pool.word("jobs")
    executable.run(operands(function))
    assert pool.word("gemm_f32") and pool.word("jobs") == before


@needs_threads
def test_trials_see_a_library_that_adds_up_by_the_whole_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """A routine whose order of additions depends on how many rows there are is not cut between rows."""

    def moody(order: int, ta: int, tb: int, m: int, n: int, k: int, alpha: float, *rest: Any) -> None:
        a, lda, b, ldb, beta, c, ldc = rest
        right(order, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
        if m % 5 == 0:
            result = np.ctypeslib.as_array((ctypes.c_float * (m * ldc)).from_address(c))
            result[0] = np.nextafter(result[0], np.float32(9e9))

    right: Callable[..., None] = LIBRARY.routine(f32)
    monkeypatch.setattr(shared_products, "_TRIALS", 40)
    callback = blas.prototype(LIBRARY.convention, f32)(moody)
    address = ctypes.cast(callback, ctypes.c_void_p).value or 0
    wrong = LIBRARY._replace(addresses={**LIBRARY.addresses, gemm.SYMBOLS[f32]: address})
    assert not shared_products.same_bits_in_parts(wrong, f32, "rows", 48)


def test_small_products_know_nothing_of_threads() -> None:
    program = Executable(product(40, 40, 40, f64)).program
    assert program.pool is None and not program.large_products
