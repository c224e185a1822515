"""Large products by the BLAS on the pool's threads (`gradloomc.codegen.shared_gemm`): finds where they may be cut.

A product on several threads must have the bits that it has on one. The BLAS computes each element of a result in the
same way wherever the result is cut, if it is cut where the library's own blocks end; that is no promise of any library,
so it is tried out, once for each library and processor. Where it does not hold, a product stays one call on one thread.
"""

import ctypes
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradloom.exec import blas
from gradloom.exec.threads import WorkerPool
from gradloomc.codegen.cache import digest, store
from gradloomc.codegen.native import compile_module, host, imports
from gradloomc.codegen.shared_gemm import shared_gemm_text, symbol
from gradloomc.ir.types import SCALARS, ScalarType

Array = np.ndarray[Any, Any]

# Where to try, the finest first: OpenBLAS's kernels work on blocks whose sides divide these. Between columns of f64 its
# cuts depend on the whole width; a third of such products have other last bits in parts.
UNITS = {"f32": (16, 48), "f64": (24, 48)}
DIRECTIONS = {"f32": ("rows", "columns"), "f64": ("rows",)}
_ROW_MAJOR, _PLAIN, _TRANSPOSED = 101, 111, 112  # CBLAS's numbers
# How many products are tried out, of sizes and with cuts drawn by chance; one more has sums longer than what a library
# adds up in one go.
_TRIALS = 8


def share(pool: WorkerPool, elements: Sequence[str]) -> None:
    """Let the pool's threads share large products of these element types, from now on.

    Nothing is to be done where there is only one thread anyway, and nothing can be where the BLAS cannot be told on how
    many threads to run.
    """
    for name in elements:
        library = blas.library()
        if pool.word(f"gemm_{name}") or not (library.set_threads and library.convention.cblas):
            continue
        if pool.get_threads() > 1 or ctypes.CFUNCTYPE(ctypes.c_int)(library.get_threads)() > 1:
            _connect(pool, SCALARS[name])


def _connect(pool: WorkerPool, element: ScalarType) -> None:
    pool.start()
    if not pool.native:
        return
    library = blas.library()
    names = ("gradloom_blas_get_threads", "gradloom_blas_set_threads", "gl_run")
    imports.update(zip(names, (library.get_threads, library.set_threads, pool.word("run")), strict=True))
    text = shared_gemm_text(element, library.convention, bool(library.for_large_products()))
    code = compile_module(text, [symbol(element), "gl_use"], level=0).addresses
    use = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(code["gl_use"])
    use(pool.block.ctypes.data, 1)
    try:
        for direction in DIRECTIONS[str(element)]:
            units = (unit for unit in UNITS[str(element)] if may_be_cut(library, element, direction, unit))
            pool.set_word(f"{direction}_{element}", next(units, 0))
    finally:
        use(pool.block.ctypes.data, -1)
    pool.set_word(f"gemm_{element}", code[symbol(element)])


def may_be_cut(library: blas.Library, element: ScalarType, direction: str, unit: int) -> bool:
    """Tell whether products may be cut between "rows" or "columns" at multiples of `unit`; tried once, then stored."""
    kernels = os.environ.get("OPENBLAS_CORETYPE", "")
    product = f"{element} {direction} {unit}"
    key = digest("products 1", host().signature, np.__version__, library.origin, kernels, product)
    known = store().get(key)
    if known in (b"yes", b"no"):
        return known == b"yes"
    found = same_bits_in_parts(library, element, direction, unit)
    store().put(key, b"yes" if found else b"no")
    return found


def same_bits_in_parts(library: blas.Library, element: ScalarType, direction: str, unit: int) -> bool:
    """Tell whether results cut between rows, or columns, at multiples of `unit` have the bits of those in one piece.

    The library must run on one thread meanwhile.
    """
    rng = np.random.default_rng(0)
    routine = library.routine(element)

    def gemm(x: Array, y: Array, out: Array, ta: bool, tb: bool) -> None:
        rows, columns = out.shape
        matrices = [(array.ctypes.data, array.strides[0] // element.itemsize) for array in (x, y, out)]
        flags = [_TRANSPOSED if transposed else _PLAIN for transposed in (ta, tb)]
        terms = x.shape[0] if ta else x.shape[1]
        routine(_ROW_MAJOR, *flags, rows, columns, terms, 1.0, *matrices[0], *matrices[1], 0.0, *matrices[2])

    for trial in range(_TRIALS + 1):
        rows, columns = (int(size) for size in rng.integers(400, 900, 2))
        terms = 401 if trial == _TRIALS else int(rng.integers(30, 60))
        ta, tb = bool(trial & 1), bool(trial & 2)
        x = rng.standard_normal((terms, rows) if ta else (rows, terms)).astype(element.dtype)
        y = rng.standard_normal((columns, terms) if tb else (terms, columns)).astype(element.dtype)
        whole, parts = (np.empty((rows, columns), element.dtype) for _ in range(2))
        gemm(x, y, whole, ta, tb)
        units = (rows if direction == "rows" else columns) // unit
        cut = int(rng.integers(units // 3, 2 * units // 3 + 1)) * unit
        for part in (slice(None, cut), slice(cut, None)):
            if direction == "rows":
                gemm(x[:, part] if ta else x[part], y, parts[part], ta, tb)
            else:
                gemm(x, y[part] if tb else y[:, part], parts[:, part], ta, tb)
        if parts.tobytes() != whole.tobytes():
            return False
    return True
