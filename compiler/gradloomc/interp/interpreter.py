"""Run a function by the NumPy references of its ops' records: slow, simple, independent of lowering and codegen."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradloomc.interp.evaluate import Array, Environment, Interpreter
from gradloomc.interp.regions import REGION_OPS
from gradloomc.ir.core import Op
from gradloomc.ir.errors import ExecutionError
from gradloomc.ir.types import MemRefType, TensorType


def interpret(function: Op, arrays: Sequence[Any]) -> list[Array]:
    """Run `function` on arrays of its argument types; return new arrays of its result types.

    Raises:
        ExecutionError: the number, shape or dtype of the arrays does not fit the function.
    """
    body = function.regions[0].block
    if len(arrays) != len(body.arguments):
        raise ExecutionError(f"expected {len(body.arguments)} arrays, got {len(arrays)}")
    environment: Environment = {}
    for argument, array in zip(body.arguments, arrays, strict=True):
        array = np.asarray(array)
        if isinstance(argument.type, MemRefType):
            array = np.ascontiguousarray(array).reshape(array.shape)  # views of a buffer share its memory
        if isinstance(argument.type, TensorType | MemRefType) and (
            array.shape != argument.type.shape or array.dtype != argument.type.element.dtype
        ):
            raise ExecutionError(f"expected {argument.type}, got an array of shape {array.shape}, {array.dtype}")
        environment[argument] = array
    with np.errstate(all="ignore"):
        results = Interpreter(REGION_OPS).run_block(body, environment)
    return [np.array(value, copy=True) for value in results]
