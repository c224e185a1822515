"""Runs of a program whose results go into arrays that the caller gives, as NumPy's `out=`.

A given array is written directly where native code can: in C order, aligned, and sharing no memory with what the
program reads or with another result. Otherwise the result is computed elsewhere and copied, so that an argument may be
given to take its own gradient.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradloom.exec.executable import Executable
from gradloom.exec.memory import pool
from gradloomc.ir.errors import DTypeError, ExecutionError, ShapeError

Array = np.ndarray[Any, Any]

_LIKE = "give an array like the argument"


def check_out(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any], what: str) -> None:
    """Raise if a result of this shape and dtype cannot be written into `out`.

    Raises:
        TypeError: it is no array.
        ShapeError, DTypeError: it is one of another shape or dtype.
        ExecutionError: it is read-only.
    """
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{what} should be an array to write into, not {type(out).__name__}")
    if out.shape != shape:
        raise ShapeError(f"{what} has shape {out.shape}, but the gradient has {shape}", fix=_LIKE)
    if out.dtype != dtype and out.dtype.newbyteorder("=") != dtype:
        raise DTypeError(f"{what} has dtype {out.dtype}, but the gradient has {dtype}", fix=_LIKE)
    if not out.flags.writeable:
        raise ExecutionError(f"{what} is read-only", fix="give an array that may be written")


def run_into(executable: Executable, arrays: Sequence[Any], outs: Sequence[Array | None]) -> list[Array]:
    """Run a program; return its results, those at the positions of arrays in `outs` being these arrays.

    Args:
        arrays: as the executable takes them.
        outs: for each array that is returned, where to put it, checked by `check_out`; None for a new array.
    """
    arrays = executable.prepare(arrays)
    first = executable.first_result
    made: list[Array] = [pool.empty(shape, dtype) for shape, dtype in executable.result_types]
    taken: list[Array] = list(arrays)
    for (slot, _, _), out in zip(executable.returned, outs, strict=True):
        position = slot - first
        if out is None or not 0 <= position < len(made):
            continue
        usable = out.flags.c_contiguous and out.flags.aligned and out.dtype.isnative
        if usable and out.shape == made[position].shape and not any(np.may_share_memory(out, x) for x in taken):
            made[position] = out
            taken.append(out)
    results = executable.run_into(arrays, made)
    for k, (result, out) in enumerate(zip(results, outs, strict=True)):
        if out is not None:
            if result is not out and not (result.base is out and result.size == out.size):
                out[...] = result
            results[k] = out
    return results
