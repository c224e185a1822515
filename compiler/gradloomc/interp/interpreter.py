"""Run a function by the NumPy references of its ops' records: slow, simple, independent of lowering and codegen."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradloomc.ir.core import Block, Op, Value
from gradloomc.ir.errors import ExecutionError
from gradloomc.ir.types import MemRefType, TensorType

Array = np.ndarray[Any, Any]
Environment = dict[Value, Any]


class Interpreter:
    """Evaluates blocks; `region_ops` maps names of ops to functions (interpreter, op, environment) -> results."""

    def __init__(self, region_ops: "dict[str, Callable[[Interpreter, Op, Environment], Any]]"):
        self.region_ops = region_ops

    def run_block(self, block: Block, environment: Environment) -> list[Any]:
        """Evaluate the ops of `block`; return the values of its terminator's operands."""
        for op in block.ops:
            if "terminator" in op.kind.tags:
                return [environment[operand] for operand in op.operands]
            special = self.region_ops.get(op.kind.name)
            if special is not None:
                results = special(self, op, environment)
            else:
                results = self.evaluate(op, [environment[operand] for operand in op.operands])
            environment.update(zip(op.results, results, strict=True))
        return []

    def evaluate(self, op: Op, operands: Sequence[Any]) -> Sequence[Any]:
        """Evaluate one op without regions."""
        if op.kind.reference is None:
            raise ExecutionError(f"'{op.name}' has no reference to interpret it by", op.location)
        results = op.kind.reference(*operands, **op.attributes)
        if len(op.results) == 1:
            results = (results,)
        return [
            np.asarray(value, dtype=result.type.element.dtype)
            if isinstance(result.type, TensorType)
            else value
            for value, result in zip(results, op.results, strict=True)
        ]


def interpret(function: Op, arrays: Sequence[Any]) -> list[Array]:
    """Run `function` on arrays of its argument types; return new arrays of its result types.

    Raises:
        ExecutionError: the number, shape or dtype of the arrays does not fit the function.
    """
    from gradloomc.interp.regions import REGION_OPS

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
