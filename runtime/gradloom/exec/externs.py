"""Library routines that run between native segments: products by NumPy's BLAS, the rest by the ops' references."""

from collections.abc import Callable
from typing import Any

import numpy as np
from gradloomc.dialects.nd.product import free_axes, matrix_form
from gradloomc.ir.opdef import REGISTRY

Array = np.ndarray[Any, Any]


def _dot_into(operands: list[Array], results: list[Array], attributes: dict[str, Any]) -> None:
    """Multiply matrices into the result, which lies in the order batch, rows, columns."""
    x, y = operands
    x_contract, y_contract = attributes["x_contract"], attributes["y_contract"]
    x_batch, y_batch = attributes["x_batch"], attributes["y_batch"]
    x_free, y_free = free_axes(x.ndim, x_batch, x_contract), free_axes(y.ndim, y_batch, y_contract)
    left, right = matrix_form(x, x_batch, x_free, x_contract), matrix_form(y, y_batch, y_contract, y_free)
    np.matmul(left, right, out=results[0].reshape(*left.shape[:-1], right.shape[-1]))


_INTO: dict[str, Callable[[list[Array], list[Array], dict[str, Any]], None]] = {"nd.dot": _dot_into}


def run_extern(callee: str, operands: list[Array], results: list[Array], attributes: dict[str, Any]) -> None:
    """Run the nd op `callee` on arrays, writing into `results`."""
    into = _INTO.get(callee)
    if into is not None:
        into(operands, results, attributes)
        return
    values = REGISTRY[callee].reference(*operands, **attributes)  # type: ignore[misc]
    if len(results) == 1:
        values = (values,)
    for result, value in zip(results, values, strict=True):
        result[...] = value
