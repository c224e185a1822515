"""Every BLAS that can be found computes what NumPy computes, from compiled code too; a broken one is not taken."""

import ctypes
from typing import Any

import numpy as np
import pytest

from gradloom.exec import blas
from gradloom.exec.blas import Library
from gradloom.exec.executable import BINDER_FROM_CALL, Executable
from gradloomc.codegen import native
from gradloomc.dialects import nd
from gradloomc.dialects.func import body_of, finish_function, make_function
from gradloomc.ir.builder import at
from gradloomc.ir.core import Op
from gradloomc.ir.types import f32, f64, tensor

FOUND = {found.origin: found for found in blas.candidates()}


@pytest.fixture(params=FOUND)
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Library:
    """Use each library in turn; code that was linked with another one is not used again."""
    found = FOUND[request.param]
    monkeypatch.setattr(blas, "_found", lambda: found)
    monkeypatch.setattr(native, "imports", found.addresses)
    monkeypatch.setattr(native, "_modules", {})
    return found


def test_numpys_own_is_found_in_its_wheels() -> None:
    assert {"scipy", "matmul"} <= FOUND.keys()
    with_openblas = "openblas" in np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]  # type: ignore[index, call-overload]
    assert ("numpy" in FOUND) or not with_openblas


def program(element: Any) -> Op:
    """Return x y - 2 x z' for batches of matrices, with z stored by columns."""
    types = [tensor((3, 4, 5), element), tensor((3, 5, 6), element), tensor((6, 5), element)]
    function = make_function("f", types)
    with at(body_of(function)):
        x, y, z = body_of(function).arguments
        xy = nd.dot(x, y, x_contract=(2,), y_contract=(1,), x_batch=(0,), y_batch=(0,))
        xz = nd.dot(x, z, x_contract=(2,), y_contract=(1,), x_batch=(), y_batch=())
        result = nd.sub(xy, nd.mul(xz, 2.0))
        squashed = nd.tanh(result)
    return finish_function(function, [result, squashed])


@pytest.mark.parametrize("element", [f32, f64], ids=str)
def test_compiled_products(library: Library, element: Any, rng: np.random.Generator) -> None:
    """Binding, the native entry and the first calls all reach the library; infinities and nan go through it."""
    compiled = Executable(program(element))
    assert (compiled.stats.products, compiled.stats.externs) == (2, 0)
    x, y, z = (rng.integers(-9, 9, shape).astype(element.dtype) for shape in ((3, 4, 5), (3, 5, 6), (6, 5)))
    x[0, 1, 2], y[1, 0, 0], z[3, 3] = np.inf, np.nan, -np.inf
    with np.errstate(all="ignore"):
        expected = np.einsum("bij,bjk->bik", x, y) - 2 * np.einsum("bij,kj->bik", x, z)
    for _ in range(BINDER_FROM_CALL + 2):
        product, squashed = compiled.run([x, y, z])
        np.testing.assert_array_equal(product, expected)
        np.testing.assert_allclose(squashed, np.tanh(expected), rtol=1e-6)
    assert compiled.native is not None or not compiled.has_place


def test_a_library_that_multiplies_wrongly_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that reads the old result with beta = 0 would carry nan into every product."""

    def careless(order: int, ta: int, tb: int, m: int, n: int, k: int, alpha: float, *rest: Any) -> None:
        a, lda, b, ldb, _, c, ldc = rest
        right.routine(f64)(order, ta, tb, m, n, k, alpha, a, lda, b, ldb, 1.0, c, ldc)

    right = FOUND["matmul"]
    callback = blas.prototype(right.convention, f64)(careless)
    wrong = right._replace(
        addresses={**right.addresses, "gradloom_dgemm": ctypes.cast(callback, ctypes.c_void_p).value or 0}
    )
    assert blas.works(right, f64) and blas.works(wrong, f32) and not blas.works(wrong, f64)
    monkeypatch.setattr(blas, "numpys", lambda: wrong)
    monkeypatch.setattr(blas, "scipys", lambda: None)
    assert [found.origin for found in blas.candidates()] == ["matmul"]


def test_no_library_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Library:
        raise OSError("cannot open shared object file")

    monkeypatch.setattr(blas, "numpys", missing)
    monkeypatch.setattr(blas, "scipys", missing)
    assert [found.origin for found in blas.candidates()] == ["matmul"]


def test_the_number_of_threads_can_be_asked_and_set() -> None:
    found = FOUND.get("numpy")
    if found is None or not found.get_threads:
        pytest.skip("this NumPy's BLAS has no such functions")
    get = ctypes.CFUNCTYPE(ctypes.c_int)(found.get_threads)
    set_ = ctypes.CFUNCTYPE(None, ctypes.c_int)(found.set_threads)
    before = get()
    set_(1)
    assert get() == 1
    set_(before)
    assert get() == before


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
