"""Putting other lengths into what was made for some: `resized` replaces the extents in attributes, types and tuples.

The values are numbers, which gives a program for one set of lengths, or extents of another scope.
"""

from typing import Any

from gradloomc.ir.attributes import Dense
from gradloomc.ir.core import Block, Op, Region, Value
from gradloomc.ir.extents import Extent, evaluated
from gradloomc.ir.types import FunctionType, MemRefType, ScalarType, TensorType, function, memref, tensor


class Resizer:
    """Replaces extents by their values; `values` gives those of the scope's atoms (see `Scope.environment`)."""

    def __init__(self, values: dict[str, Any]):
        self.values = values
        self.known: dict[Any, Any] = {}  # by identity: extents and types are interned

    def __call__(self, x: Any) -> Any:
        """Return `x` (an extent, a type, or nested tuples, lists and dicts of them) for the other lengths."""
        kind = type(x)
        if kind is int or kind is str or kind is ScalarType or x is None:
            return x
        if kind is Extent or kind is TensorType or kind is MemRefType or kind is FunctionType:
            found = self.known.get(id(x))
            if found is None:
                found = self.known[id(x)] = self.replaced(x)
            return found
        if kind is tuple:
            return tuple([self(item) for item in x])
        if kind is list:
            return [self(item) for item in x]
        if kind is dict:
            return {name: self(item) for name, item in x.items()}
        if kind is Dense:
            return Dense(self(x.type), x.array)
        if isinstance(x, tuple):  # a named one
            return kind(*[self(item) for item in x])
        return x

    def replaced(self, x: Any) -> Any:
        if type(x) is Extent:
            return evaluated(x, self.values)
        if type(x) is FunctionType:
            return function(self(x.inputs), self(x.results))
        return (tensor if type(x) is TensorType else memref)(self(x.shape), x.element)

    def attributes_of(self, op: Op) -> dict[str, Any]:
        """Return an op's attributes for the other lengths."""
        return self(op.attributes)

    def function(self, original: Op) -> Op:
        """Return a copy of a function for the other lengths."""
        old = original.regions[0].block
        new = Block([self(argument.type) for argument in old.arguments], [a.hint for a in old.arguments])
        values: dict[Value, Value] = dict(zip(old.arguments, new.arguments, strict=True))
        known = self.known
        for op in old.ops:
            types = [known.get(id(result.type)) or self(result.type) for result in op.results]
            attributes = self.attributes_of(op) if op.attributes else {}
            copy = Op(op.kind, [values[operand] for operand in op.operands], attributes, types, op.location)
            for result, other in zip(op.results, copy.results):  # noqa: B905  (equal by construction, and hot)
                other.hint = result.hint
                values[result] = other
            copy.parent = new
            new.ops.append(copy)
        attributes = self(original.attributes)
        return Op(original.kind, (), attributes, (), original.location, (Region(new),))
