"""Evaluate blocks op by op, by the NumPy references of their records."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradloomc.ir.core import Block, Op, Value
from gradloomc.ir.errors import ExecutionError
from gradloomc.ir.types import TensorType

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
        if not op.results:
            return ()
        if len(op.results) == 1:
            results = (results,)
        return [
            np.asarray(value, dtype=result.type.element.dtype)
            if isinstance(result.type, TensorType)
            else value
            for value, result in zip(results, op.results, strict=True)
        ]
