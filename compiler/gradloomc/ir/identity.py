"""What tells one function from another, as bytes: equal bytes mean that the same is computed.

Everything that passes may decide by is in them: kinds of ops, operands, attributes with all their numbers to the bit,
types. What only people see is not: names and places in the user's program. Lengths that are not fixed are in them as
expressions, without what they are for now; what is known of the symbols has to be added (saved_scopes.py).
"""

import marshal
from collections.abc import Iterable
from typing import Any

import numpy as np

from gradloomc.ir.attributes import Dense
from gradloomc.ir.core import Op, Value
from gradloomc.ir.extents import Extent
from gradloomc.ir.types import FunctionType, MemRefType, ScalarType, TensorType, Type

# Arrays of numbers beyond this many bytes are not looked at: a function that holds them has no identity.
MOST_BYTES = 1 << 20
# The second format of marshal writes equal values equally; later ones refer back to objects that are shared.
_FORMAT = 2


class NoIdentity(Exception):
    """A function holds something that is not known to be the same in another process."""


def identity_of(function: Op) -> bytes | None:
    """Return the identity of a function; None if it holds large arrays or what is not known to stay the same."""
    try:
        return plain_bytes(_listed(function))
    except NoIdentity:
        return None


def identity_of_nest(op: Op) -> bytes | None:
    """Return the identity of an op with a region; None as for functions.

    Equal bytes mean that the same is done to the operands in their order; which values these are is not in them.
    """
    numbers: dict[Value, int] = {}
    for operand in op.operands:
        numbers.setdefault(operand, len(numbers))
    head = [op.kind.name, [numbers[operand] for operand in op.operands]]
    head += [[plain(value.type) for value in numbers], [result.type.text for result in op.results]]
    types: dict[Type, int] = {}
    parts: list[Any] = []
    try:
        attributes = [[name, plain(value)] for name, value in op.attributes.items()]
        for region in op.regions:
            for argument in region.block.arguments:
                numbers[argument] = len(numbers)
                parts.append(types.setdefault(argument.type, len(types)))
            _list_ops(region.block.ops, numbers, types, parts)
        return plain_bytes([head, attributes, [plain(type) for type in types], parts])
    except (NoIdentity, KeyError):  # KeyError: it uses values from outside that are not among its operands
        return None


def plain_bytes(x: Any) -> bytes:
    """Return nested lists and tuples of plain values as bytes, equal ones for equal values."""
    return marshal.dumps(x, _FORMAT)


def _listed(function: Op) -> list[Any]:
    """Return a function as nested lists of plain values."""
    block = function.regions[0].block
    types: dict[Type, int] = {}
    numbers: dict[Value, int] = {}
    parts: list[Any] = []
    for argument in block.arguments:
        numbers[argument] = len(numbers)
        parts.append(types.setdefault(argument.type, len(types)))
    _list_ops(block.ops, numbers, types, parts)
    own = [[name, plain(value)] for name, value in sorted(function.attributes.items()) if name not in _SEEN_OTHERWISE]
    return [[plain(type) for type in types], len(block.arguments), parts, own]


def _list_ops(ops: Iterable[Op], numbers: dict[Value, int], types: dict[Type, int], parts: list[Any]) -> None:
    """Append a block's ops; number the values and types that they bring."""
    left = MOST_BYTES
    for op in ops:
        if op.regions:
            raise NoIdentity
        parts.append(op.kind.name)
        for operand in op.operands:
            parts.append(numbers[operand])
        if op.attributes:
            for name, value in op.attributes.items():
                parts.append(name)
                parts.append(plain(value))
                if value.__class__ is Dense:
                    left -= value.array.nbytes
        for result in op.results:
            numbers[result] = len(numbers)
            parts.append(types.setdefault(result.type, len(types)))
        if left < 0:
            raise NoIdentity


# A function's name is for people; its type is that of its arguments and results.
_SEEN_OTHERWISE = ("sym_name", "function_type")
_PLAIN = frozenset({int, float, str, bool, bytes, type(None)})


def plain(value: Any) -> Any:
    """Return an attribute as plain values. Lists stand for what is no tuple, so that nothing can be taken for another.

    Raises:
        NoIdentity: it holds a large array, or an object of another kind.
    """
    kind = type(value)  # (an extent says that its class is int)
    if kind in _PLAIN:
        return value
    if kind is tuple:
        return tuple([plain(item) for item in value])
    if kind is ScalarType:
        return [value.text]
    if kind is TensorType or kind is MemRefType:  # extents that are not fixed are spelled out in the text
        return [value.text]
    if kind is Extent:
        return {value.terms}
    if kind is FunctionType:
        return [plain(value.inputs), plain(value.results)]
    if kind is Dense:
        if value.array.nbytes > MOST_BYTES:
            raise NoIdentity
        return [value.type.text, value.array.shape, value.array.tobytes()]
    if isinstance(value, np.generic) and value.dtype.kind in "fiub":
        return [value.dtype.str, value.tobytes()]
    raise NoIdentity
