"""Trace a function and run it by the interpreter, to hold tracing against NumPy itself."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from gradloom.trace.capture import Traced, trace_flat
from gradloom.trace.shadow import shadow_function
from gradloom.trace.tracer import Tracer
from gradloomc.interp.interpreter import interpret
from gradloomc.ir.types import scalar_type, tensor

TOLERANCE = {"float16": 4e-3, "float32": 2e-6, "float64": 1e-13}


def leaves_of(result: Any) -> list[Any]:
    """Return the arrays of a result in order; lists and tuples are taken apart."""
    if isinstance(result, (list, tuple)):
        return [leaf for part in result for leaf in leaves_of(part)]
    return [result]


def trace(function: Callable[..., Any], *arrays: Any) -> Traced:
    """Trace `function` for arguments like `arrays`; all leaves of its result become results."""
    arrays = tuple(map(np.asarray, arrays))
    clone = shadow_function(function)
    types = [tensor(array.shape, scalar_type(array.dtype)) for array in arrays]
    names = [f"a{i}" for i in range(len(arrays))]
    return trace_flat(lambda tracers: leaves_of(clone(*tracers)), types, names, "traced")


def run(function: Callable[..., Any], *arrays: Any) -> list[Any]:
    """Trace `function` and interpret what was traced."""
    traced = trace(function, *arrays)
    with np.errstate(all="ignore"):
        return interpret(traced.function, [*map(np.asarray, arrays), *traced.captured])


def numpy_result(function: Callable[..., Any], *arrays: Any) -> list[Any]:
    """Return what NumPy computes, on copies of the arrays."""
    copies = [np.array(array) if np.ndim(array) else np.asarray(array)[()] for array in arrays]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a mean of nothing, and its kin
        return [np.asarray(leaf) for leaf in leaves_of(function(*copies))]


def check(function: Callable[..., Any], *arrays: Any, tolerance: float | None = None) -> None:
    """Assert that tracing gives NumPy's dtypes, shapes and values."""
    expected = numpy_result(function, *arrays)
    found = run(function, *arrays)
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        rtol = TOLERANCE.get(theirs.dtype.name, 0.0) if tolerance is None else tolerance
        np.testing.assert_allclose(
            ours.astype(np.float64), theirs.astype(np.float64), rtol=rtol, atol=rtol, equal_nan=True
        )


__all__ = ["Tracer", "check", "leaves_of", "numpy_result", "run", "trace"]
