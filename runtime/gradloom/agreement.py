"""Whether two functions on IR say the same: they compute the same results by the same operations on the same arguments.

Lengths are put in as numbers and what depends on no argument is computed, so that it does not matter whether an array
of numbers was made by NumPy during the trace or by operations of the program. Neither do unused and repeated
operations, nor their order.
"""

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradloom.program import Primal
from gradloomc.dialects import nd
from gradloomc.dialects.func import body_of
from gradloomc.ir.attributes import attribute_key, only_number
from gradloomc.ir.builder import at
from gradloomc.ir.core import Block, Op, Value
from gradloomc.ir.extents import is_symbolic
from gradloomc.ir.inline import copy_op
from gradloomc.ir.resize import Resizer

MOST_ELEMENTS = 1 << 22  # arrays of numbers beyond this are not computed


class _Names:
    """Gives what is computed equally the same number, in both functions."""

    def __init__(self) -> None:
        self.numbers: dict[Any, int] = {}

    def number(self, key: Any) -> int:
        return self.numbers.setdefault(key, len(self.numbers))

    def of_results(self, function: Op, captured: Sequence[Any]) -> list[int]:
        """Return a number for each result; `captured` are the arrays behind the last arguments."""
        body = body_of(function)
        block = Block([argument.type for argument in body.arguments])
        values = dict(zip(body.arguments, block.arguments, strict=True))
        first = len(block.arguments) - len(captured)
        arrays: dict[Value, Any] = dict(zip(block.arguments[first:], captured, strict=True))
        names: dict[Value, int] = {
            argument: self.number(("argument", k, argument.type)) for k, argument in enumerate(block.arguments[:first])
        }
        with at(block):
            for argument, array in zip(body.arguments[first:], captured, strict=True):
                number = only_number(array)
                if number is not None:
                    values[argument] = nd.splat(number, argument.type)
            for op in body.ops[:-1]:
                _rebuild(op, values, block)
        for op in block.ops:
            self.visit(op, names, arrays)
        return [self.name(values[value], names, arrays) for value in body.terminator.operands]

    def visit(self, op: Op, names: dict[Value, int], arrays: dict[Value, Any]) -> None:
        kind = op.kind
        if kind is nd.constant:
            arrays[op.results[0]] = op.attributes["value"].to_array()
            return
        if kind.reference is not None and all(operand in arrays for operand in op.operands):
            if sum([result.type.size for result in op.results]) <= MOST_ELEMENTS:
                with np.errstate(all="ignore"):
                    computed = kind.reference(*[arrays[operand] for operand in op.operands], **op.attributes)
                results = computed if len(op.results) > 1 else (computed,)
                arrays.update(zip(op.results, results, strict=True))
                return
        operands = [self.name(operand, names, arrays) for operand in op.operands]
        if kind.commutative:
            operands.sort()
        key = (kind, tuple(operands), attribute_key(op.attributes))
        for k, result in enumerate(op.results):
            names[result] = self.number((key, k))

    def name(self, value: Value, names: dict[Value, int], arrays: dict[Value, Any]) -> int:
        found = names.get(value)
        if found is None:
            array = np.asarray(arrays[value], value.type.element.dtype)
            only = only_number(array)
            content = array.tobytes() if only is None else only.tobytes()
            found = names[value] = self.number(("array", value.type, content))
        return found


def _rebuild(op: Op, values: dict[Value, Value], block: Block) -> None:
    """Append an op in its simplest form, with lengths as numbers."""
    if op.kind is nd.extent:
        attributes = op.attributes
        values[op.results[0]] = nd.splat(attributes["value"], op.results[0].type)
    elif op.kind is nd.constant:
        dense = op.attributes["value"]
        number = only_number(dense.array)
        values[op.results[0]] = nd.constant(value=dense) if number is None else nd.splat(number, dense.type)
    elif op.regions or len(op.results) != 1:
        copy_op(op, values, block)
    else:
        operands = [values[operand] for operand in op.operands]
        values[op.results[0]] = op.kind(*operands, **op.attributes)


def _exact(attributes: dict[str, Any]) -> tuple[Any, ...]:
    """Return a key of attributes; lengths in equal ones are written alike, whatever they are for now."""
    return _written(attribute_key(attributes))


def _written(x: Any) -> Any:
    if is_symbolic(x):
        return ("length", x.terms)
    return tuple([_written(item) for item in x]) if type(x) is tuple else x


def is_copy(one: Primal, resize: Resizer, other: Primal) -> bool:
    """Tell whether a function with lengths put in is another one, op by op, and builds up the same results."""
    if one.result != other.result or one.aux != other.aux:
        return False
    mine, its = body_of(one.function), body_of(other.function)
    if len(mine.ops) != len(its.ops) or len(mine.arguments) != len(its.arguments):
        return False
    if not all(map(operator.is_, one.captured, other.captured)):
        return False
    values: dict[Value, Value] = dict(zip(mine.arguments, its.arguments, strict=True))
    if any(resize(a.type) is not b.type for a, b in values.items()):
        return False
    for op, copy in zip(mine.ops, its.ops, strict=True):
        if op.kind is not copy.kind or op.regions or len(op.results) != len(copy.results):
            return False
        if tuple([values[operand] for operand in op.operands]) != copy.operands:
            return False
        if (op.attributes or copy.attributes) and _exact(resize(op.attributes)) != _exact(copy.attributes):
            return False
        for result, value in zip(op.results, copy.results, strict=True):
            if resize(result.type) is not value.type:
                return False
            values[result] = value
    return True


def same_primal(one: Primal, values: dict[str, int], other: Primal) -> bool:
    """Tell whether a traced function, with lengths put in, says the same as another, and builds up the same results.

    These are compared, not what is derived from them, because user's code and NumPy ran there; what is derived from
    equal ones by the same steps is equal.

    Args:
        values: what is put in for the atoms of lengths.
    """
    if one.result != other.result or one.aux != other.aux:
        return False
    resize = Resizer(values)
    if is_copy(one, resize, other):
        return True
    names = _Names()
    mine = names.of_results(resize.function(one.function), one.captured)
    return mine == names.of_results(other.function, other.captured)
