"""Products in panels: the numbers, the bits wherever a result is cut, and what they leave to the library."""

import ctypes
import itertools
from typing import Any

import numpy as np
import pytest

from gradloom.exec import blas, panels
from gradloom.exec.executable import Executable
from gradloomc.codegen import gemm, native
from gradloomc.codegen.gemm import Convention
from gradloomc.codegen.native import compile_module, host, imports
from gradloomc.codegen.panel_gemm import DEPTH, gemm_symbol, has_panels, panel_gemm_text, panels_symbol
from gradloomc.dialects import nd
from gradloomc.dialects.func import body_of, finish_function, make_function
from gradloomc.ir.builder import at
from gradloomc.ir.types import f32, f64, tensor

Array = np.ndarray[Any, Any]
LIBRARY = blas.library()
pytestmark = pytest.mark.skipif(
    not has_panels(host().function_attributes, LIBRARY.convention), reason="panels are made for AVX-512 and CBLAS"
)
ELEMENTS = pytest.mark.parametrize("element", [f32, f64], ids=str)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def routine(element: Any, symbol: str, convention: Convention = LIBRARY.convention) -> Any:
    text = panel_gemm_text(element, convention, host().function_attributes)
    found = compile_module(text, [gemm_symbol(element), panels_symbol(element)]).addresses[symbol]
    return blas.prototype(convention, element)(found)


def padded(rng: np.random.Generator, rows: int, columns: int, element: Any) -> Array:
    """Return random numbers in rows that are longer, with nan behind them."""
    memory = np.full((rows, columns + 3), np.nan, element.dtype)
    memory[:, :columns] = rng.standard_normal((rows, columns))
    return memory[:, :columns]


def multiply(
    function: Any, x: Array, y: Array, out: Array, ta: bool, tb: bool, alpha: float = 1.0, beta: float = 0.0
) -> None:
    m, n = out.shape
    k = x.shape[0] if ta else x.shape[1]
    matrices = [(array.ctypes.data, array.strides[0] // array.itemsize) for array in (x, y, out)]
    flags = [112 if flag else 111 for flag in (ta, tb)]
    function(101, *flags, m, n, k, alpha, *matrices[0], *matrices[1], beta, *matrices[2])


@ELEMENTS
@pytest.mark.parametrize(("ta", "tb"), [(False, False), (True, False), (False, True), (True, True)])
def test_numbers_and_bits_of_parts(element: Any, ta: bool, tb: bool, rng: np.random.Generator) -> None:
    """Every end of a row, strip, block, panel and depth occurs; nothing beside the result is read or written."""
    function = routine(element, panels_symbol(element))
    sizes = [*itertools.product((8, 17, 31, 40), (16, 17, 33, 49, 64, 100), (1, 9, 40))]
    sizes += [(128, 20, 30), (129, 30, 20), (150, 47, DEPTH), (263, 50, DEPTH + 1), (35, 33, 2 * DEPTH + 5)]
    for (m, n, k), (alpha, beta) in zip(sizes, itertools.cycle([(1.0, 0.0), (1.0, 1.0), (-2.5, 0.0), (2.0, 0.5)])):
        x = padded(rng, *((k, m) if ta else (m, k)), element)
        y = padded(rng, *((n, k) if tb else (k, n)), element)
        start = padded(rng, m, n, element)
        if beta == 0:
            start[...] = np.nan  # is not read
        whole, in_rows, in_columns = (start.base.copy() for _ in range(3))  # type: ignore[union-attr]
        multiply(function, x, y, whole[:, :n], ta, tb, alpha, beta)
        expected = alpha * ((x.T if ta else x).astype(float) @ (y.T if tb else y).astype(float))
        expected += beta * start.astype(float) if beta else 0.0
        tolerance = 4 * np.finfo(element.dtype).eps * k
        np.testing.assert_allclose(whole[:, :n], expected, rtol=tolerance, atol=tolerance)
        assert np.isnan(whole[:, n:]).all()
        if m >= 32:
            for rows in (slice(0, 16), slice(16, None)):
                multiply(function, x[:, rows] if ta else x[rows], y, in_rows[rows, :n], ta, tb, alpha, beta)
            assert in_rows.tobytes() == whole.tobytes()
        for columns in (slice(0, 9), slice(9, n)):
            part = y[columns] if tb else y[:, columns]
            multiply(function, x, part, in_columns[:, columns], ta, tb, alpha, beta)
        assert in_columns.tobytes() == whole.tobytes()


@ELEMENTS
def test_not_finite_numbers(element: Any, rng: np.random.Generator) -> None:
    function = routine(element, panels_symbol(element))
    x, y = padded(rng, 40, 50, element), padded(rng, 50, 60, element)
    x[3, 4], x[20, 7], y[8, 9] = np.inf, np.nan, -np.inf
    out = padded(rng, 40, 60, element)
    multiply(function, x, y, out, False, False)
    with np.errstate(all="ignore"):
        expected = x @ y
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4)


@ELEMENTS
def test_small_thin_and_huge_products_are_the_librarys(
    element: Any, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is passed on comes with all its arguments; what is not does not reach the library."""
    calls: list[tuple[Any, ...]] = []
    prototype = blas.prototype(LIBRARY.convention, element)
    callback = prototype(lambda *arguments: calls.append(arguments))
    address = ctypes.cast(callback, ctypes.c_void_p).value or 0
    text = panel_gemm_text(element, LIBRARY.convention, host().function_attributes)
    symbols = [gemm_symbol(element), panels_symbol(element)]
    given = {gemm.SYMBOLS[element]: address}
    monkeypatch.setattr(native, "_modules", {})
    found = compile_module(text, symbols, given=lambda name: given.get(name, 0))
    function = prototype(found.addresses[gemm_symbol(element)])
    x = np.zeros(1 << 12, element.dtype).ctypes.data
    for m, n, k in ((40, 40, 40), (15, 900, 900), (900, 15, 900), (900, 900, 7), (2000, 2000, 2000)):
        calls.clear()
        function(101, 111, 112, m, n, k, 1.5, x, k, x + 64, n, 0.5, x + 128, n)
        assert calls == [(101, 111, 112, m, n, k, 1.5, x, k, x + 64, n, 0.5, x + 128, n)]
    calls.clear()
    for rows, transposed in ((80, True), (180, False)):
        y = padded(rng, *((70, 90) if transposed else (90, 70)), element)
        out = padded(rng, rows, 70, element)
        multiply(function, padded(rng, rows, 90, element), y, out, False, transposed)
        assert not calls
    multiply(function, padded(rng, 80, 90, element), padded(rng, 90, 70, element), out[:80], False, False)
    assert len(calls) == 1


@ELEMENTS
def test_sizes_of_32_bits(element: Any, rng: np.random.Generator) -> None:
    convention = Convention(True, "i32")
    # Small products would go to a library that takes other sizes: only what is done in panels is called.
    function = routine(element, panels_symbol(element), convention)
    x, y, out = padded(rng, 33, 20, element), padded(rng, 20, 35, element), padded(rng, 33, 35, element)
    multiply(function, x, y, out, False, False)
    np.testing.assert_allclose(out, x @ y, rtol=1e-4, atol=1e-4)


def test_where_they_are_made() -> None:
    attributes = host().function_attributes
    assert panels.for_large_products(Convention(True)).keys() >= {gemm.LARGE_SYMBOLS[f32], panels_symbol(f64)}
    assert not panels.for_large_products(Convention(False))
    assert not has_panels(attributes.replace("512", "256"), Convention(True))
    assert not LIBRARY._replace(set_threads=0).for_large_products()


@ELEMENTS
def test_compiled_products_use_them(element: Any, rng: np.random.Generator) -> None:
    """A program's large product has the bits of a product in panels, in all its tiers and ways to call."""
    if not LIBRARY.for_large_products():
        pytest.skip("this library takes all products itself")
    m, n, k = 110, 100, 105
    function = make_function("f", [tensor((m, k), element), tensor((k, n), element)])
    with at(body_of(function)):
        a, b = body_of(function).arguments
        result = nd.dot(a, b, x_contract=(1,), y_contract=(0,), x_batch=(), y_batch=())
    executable = Executable(finish_function(function, [result]))
    x, y = (rng.standard_normal(shape).astype(element.dtype) for shape in ((m, k), (k, n)))
    expected = np.empty((m, n), element.dtype)
    multiply(routine(element, panels_symbol(element)), x, y, expected, False, False)
    for _ in range(8):
        assert executable.run([x, y])[0].tobytes() == expected.tobytes()
    assert callable(imports[gemm.LARGE_SYMBOLS[element]])
