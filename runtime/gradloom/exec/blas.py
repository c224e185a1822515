"""Find a BLAS in the process, and how to call it: NumPy's own, else SciPy's, else `np.matmul` behind the same form.

Nothing is assumed: a routine counts as found when it multiplied small matrices rightly, in all ways in which compiled
code calls it, with nan where it must not read. Compiled code calls it by address, through the names that
`gradloomc.codegen.gemm` declares.
"""

import contextlib
import ctypes
import importlib
import itertools
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from gradloom.exec.panels import for_large_products
from gradloomc.codegen.gemm import LARGE_SYMBOLS, SYMBOLS, Convention
from gradloomc.codegen.native import imports
from gradloomc.ir import types as ir_types
from gradloomc.ir.types import ScalarType

Array = np.ndarray[Any, Any]

# Names of CBLAS's gemm without their precision: in the OpenBLAS of NumPy's wheels, in builds with 64-bit sizes, others.
_WIDE_NAMES = ("scipy_cblas_{}gemm64_", "cblas_{}gemm64_", "cblas_{}gemm_64")
_NAMES = ("scipy_cblas_{}gemm", "cblas_{}gemm")
_THREAD_NAMES = (
    ("scipy_openblas_get_num_threads64_", "scipy_openblas_set_num_threads64_"),
    ("openblas_get_num_threads64_", "openblas_set_num_threads64_"),
    ("scipy_openblas_get_num_threads", "scipy_openblas_set_num_threads"),
    ("openblas_get_num_threads", "openblas_set_num_threads"),
)
_PRECISIONS: dict[ScalarType, str] = {ir_types.f32: "s", ir_types.f64: "d"}
_C_FLOATS: dict[ScalarType, Any] = {ir_types.f32: ctypes.c_float, ir_types.f64: ctypes.c_double}
_ROW_MAJOR, _PLAIN, _TRANSPOSED = 101, 111, 112


class Library(NamedTuple):
    """A BLAS.

    Attributes:
        origin: where it was found: "numpy", "scipy", or "matmul" for the way through Python.
        convention: how it is called.
        addresses: of its gemm routines, by the names that native code uses.
        get_threads, set_threads: addresses of the functions `int ()` and `void (int)` that say on how many threads it
            runs, 0 if there are none.
        kept: what must live as long as the addresses are used.
    """

    origin: str
    convention: Convention
    addresses: dict[str, int]
    get_threads: int
    set_threads: int
    kept: Any

    def for_large_products(self) -> dict[str, Callable[[], int]]:
        """Return what takes large products in the library's place; OpenBLAS (it has threads) lets others."""
        return for_large_products(self.convention) if self.set_threads else {}

    def routine(self, element: ScalarType) -> Any:
        """Return the gemm for an element type as a ctypes function."""
        return prototype(self.convention, element)(self.addresses[SYMBOLS[element]])


_lock = threading.Lock()


def convention() -> Convention:
    """Return how compiled code calls the BLAS, and let the linker know where it is."""
    return library().convention


def library() -> Library:
    """Return the BLAS, looked for when it is first asked for."""
    with _lock:
        return _found()


@cache
def _found() -> Library:
    found = next(iter(candidates()))
    imports.update(found.addresses)
    imports.update({LARGE_SYMBOLS[element]: found.addresses[symbol] for element, symbol in SYMBOLS.items()})
    imports.update(found.for_large_products())
    return found


def candidates() -> Iterator[Library]:
    """Yield what can be called, best first; each has passed its tests. The last one always can."""
    for make in (numpys, scipys):
        with contextlib.suppress(OSError, AttributeError, ImportError, ValueError):
            found = make()
            if found is not None and all(works(found, element) for element in SYMBOLS):
                yield found
    yield through_matmul()


def numpys() -> Library | None:
    """Return the CBLAS that NumPy was linked with: its symbols are found through NumPy's own library."""
    linked = ctypes.CDLL(np._core._multiarray_umath.__file__)  # type: ignore[attr-defined]
    for names, wide in ((_WIDE_NAMES, True), (_NAMES, False)):
        for name in names:
            routines = {SYMBOLS[e]: getattr(linked, name.format(p), None) for e, p in _PRECISIONS.items()}
            if None in routines.values():
                continue
            addresses = {symbol: _address(routine) for symbol, routine in routines.items()}
            # Elsewhere than on Apple's ARM, where arguments on the stack are packed, sizes of 64 bits are right for
            # libraries that take 32.
            integer = "i64" if wide or sys.platform != "darwin" else "i32"
            return Library("numpy", Convention(True, integer), addresses, *_thread_functions(linked), linked)
    return None


def scipys() -> Library | None:
    """Return the BLAS that SciPy offers to compiled code (`scipy.linalg.cython_blas`), if SciPy is there."""
    capsules = importlib.import_module("scipy.linalg.cython_blas").__pyx_capi__
    name_of, pointer_of = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    name_of.restype, name_of.argtypes = ctypes.c_char_p, (ctypes.py_object,)
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    addresses = {}
    for element, precision in _PRECISIONS.items():
        capsule = capsules[f"{precision}gemm"]
        if name_of(capsule).count(b"int *") != 6:
            return None  # SciPy with 64-bit sizes names another type
        addresses[SYMBOLS[element]] = pointer_of(capsule, name_of(capsule))
    return Library("scipy", Convention(False, "i32"), addresses, 0, 0, capsules)


def through_matmul() -> Library:
    """Return `np.matmul(out=)` with a CBLAS face: some microseconds a call, and right everywhere."""
    callbacks = {
        symbol: prototype(Convention(), element)(_matmul_callback(element.dtype)) for element, symbol in SYMBOLS.items()
    }
    addresses = {symbol: _address(callback) for symbol, callback in callbacks.items()}
    return Library("matmul", Convention(), addresses, 0, 0, callbacks)


def _matmul_callback(dtype: np.dtype[Any]) -> Callable[..., None]:
    def matrix(address: int, rows: int, columns: int, leading: int) -> Array:
        """Return the matrix at an address."""
        span = max(1, (rows - 1) * leading + columns)
        memory: Any = (ctypes.c_char * (span * dtype.itemsize)).from_address(address)
        memory = np.frombuffer(memory, dtype)
        return np.lib.stride_tricks.as_strided(memory, (rows, columns), (leading * dtype.itemsize, dtype.itemsize))

    def gemm(
        order: int, ta: int, tb: int, m: int, n: int, k: int, alpha: float,
        a: int, lda: int, b: int, ldb: int, beta: float, c: int, ldc: int,
    ) -> None:  # fmt: skip
        left = matrix(a, k, m, lda).T if ta == _TRANSPOSED else matrix(a, m, k, lda)
        right = matrix(b, n, k, ldb).T if tb == _TRANSPOSED else matrix(b, k, n, ldb)
        target = matrix(c, m, n, ldc)
        with np.errstate(all="ignore"):  # as in all native code
            if alpha == 1 and beta == 0:
                np.matmul(left, right, out=target)
                return
            product = np.matmul(left, right) * dtype.type(alpha)
            target[...] = product + dtype.type(beta) * target if beta else product

    return gemm


def _thread_functions(linked: Any) -> tuple[int, int]:
    for names in _THREAD_NAMES:
        found = [getattr(linked, name, None) for name in names]
        if None not in found:
            return _address(found[0]), _address(found[1])
    return 0, 0


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def prototype(convention: Convention, element: ScalarType) -> Any:
    """Return the ctypes prototype of a gemm."""
    if not convention.cblas:
        return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 13)
    flag, pointer, real = ctypes.c_int32, ctypes.c_void_p, _C_FLOATS[element]
    size = _size_type(convention)
    matrices = (real, pointer, size, pointer, size, real, pointer, size)
    return ctypes.CFUNCTYPE(None, flag, flag, flag, size, size, size, *matrices)


def _size_type(convention: Convention) -> Any:
    return ctypes.c_int64 if convention.integer == "i64" else ctypes.c_int32


def works(found: Library, element: ScalarType) -> bool:
    """Multiply small matrices in every way: plain and transposed, into nan and onto numbers, in longer rows."""
    routine = found.routine(element)
    m, n, k = 3, 2, 4
    x, y, start = (np.arange(r * c).reshape(r, c) ** 2 % 11 for r, c in ((m, k), (k, n), (m, n)))
    exact = 2 * np.sum(x[:, :, None] * y, axis=1)
    for ta, tb, beta in itertools.product((False, True), (False, True), (0.0, 1.0)):
        a, b, c = (_padded(array, element) for array in (x.T if ta else x, y.T if tb else y, start))
        if beta == 0:
            c[:, :n] = np.nan
        matrices = (2.0, a.ctypes.data, a.shape[1], b.ctypes.data, b.shape[1], beta, c.ctypes.data, c.shape[1])
        if found.convention.cblas:
            flags = [_TRANSPOSED if flag else _PLAIN for flag in (ta, tb)]
            routine(_ROW_MAJOR, *flags, m, n, k, *matrices)
        else:
            _call_fortran(routine, _size_type(found.convention), _C_FLOATS[element], (ta, tb), (m, n, k), matrices)
        expected = exact + start if beta else exact
        if not (np.array_equal(c[:, :n], expected) and np.isnan(c[:, n:]).all()):
            return False
    return True


def _padded(array: Array, element: ScalarType) -> Array:
    """Return a copy with a column of nan at its right."""
    padded = np.full((array.shape[0], array.shape[1] + 1), np.nan, element.dtype)
    padded[:, :-1] = array
    return padded


def _call_fortran(
    routine: Any, size: Any, real: Any, transposed: tuple[bool, bool], shape: Sequence[int], matrices: Sequence[Any]
) -> None:
    """Call a gemm that takes everything by address, on matrices stored by rows: c' = b' a'."""
    alpha, a, lda, b, ldb, beta, c, ldc = matrices
    m, n, k = shape
    flag_a, flag_b = (ctypes.c_char(b"T" if flag else b"N") for flag in transposed)
    first = (flag_b, flag_a, size(n), size(m), size(k), real(alpha), b, size(ldb), a, size(lda))
    values = (*first, real(beta), c, size(ldc))
    routine(*[value if isinstance(value, int) else ctypes.addressof(value) for value in values])
