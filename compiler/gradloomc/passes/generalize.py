"""Guess what a function for given lengths says for others: a `Generalizer` puts symbols where their lengths stand.

A number in a shape that is a length of an argument, its half, a multiple or a neighbour, or the size of an array, is
taken for that; any other number stays. For the lengths at hand the result is the function itself, whatever was guessed;
whether it is right for others is for whoever uses it to find out.
"""

from itertools import combinations_with_replacement
from typing import Any

from gradloomc.dialects import nd
from gradloomc.ir.attributes import Dense
from gradloomc.ir.core import Op
from gradloomc.ir.extents import is_symbolic
from gradloomc.ir.resize import Resizer
from gradloomc.ir.scopes import Scope
from gradloomc.ir.types import FunctionType, TensorType, function, tensor

# The attributes of nd ops that hold lengths and positions; others hold axes.
_OF_LENGTHS = frozenset({"shape", "start", "limit", "low", "high"})
_LEAST = 3  # smaller numbers mean themselves
_MOST_MULTIPLE = 4
_FARTHEST = 2


class Generalizer(Resizer):
    """Replaces lengths by symbols of a scope, whose hints are these lengths."""

    def __init__(self, scope: Scope):
        super().__init__({})
        self.symbols = [(hint, scope.symbol(number)) for number, hint in enumerate(scope.hints.values())]
        self.lengths: dict[int, Any] = {}
        self.sizes: dict[int, Any] = {}  # of arrays that were met

    def length(self, number: Any) -> Any:
        """Return what a number may stand for."""
        if type(number) is not int or number < _LEAST:
            return number
        found = self.lengths.get(number)
        if found is None:
            found = self._guessed(number)
            if is_symbolic(found):
                self.lengths[number] = found
        return found

    def _guessed(self, number: int) -> Any:
        for hint, symbol in self.symbols:
            if number == hint:
                return symbol
        for hint, symbol in self.symbols:
            if number % hint == 0 and number // hint <= _MOST_MULTIPLE:
                return symbol * (number // hint)
            if 2 * number == hint:
                return symbol // 2
        for (hint, symbol), (other, factor) in combinations_with_replacement(self.symbols, 2):
            if number == hint * other:
                return symbol * factor
        for hint, symbol in self.symbols:
            if abs(number - hint) <= min(_FARTHEST, hint - _LEAST):
                return symbol + (number - hint)
        return self.sizes.get(number, number)

    def replaced(self, x: Any) -> Any:
        if type(x) is TensorType:
            found = tensor(tuple([self.length(extent) for extent in x.shape]), x.element)
            self.sizes.setdefault(x.size, found.size)
            return found
        if type(x) is FunctionType:
            return function(self(x.inputs), self(x.results))
        return x

    def attributes_of(self, op: Op) -> dict[str, Any]:
        """Return an op's attributes with lengths replaced."""
        if op.kind is nd.extent:
            return {**op.attributes, "value": self.length(op.attributes["value"])}
        return {
            name: tuple([self.length(each) for each in value])
            if name in _OF_LENGTHS and type(value) is tuple
            else self(value)
            for name, value in op.attributes.items()
        }


def has_table(original: Op, length: int) -> bool:
    """Tell whether a function has an array of numbers, not all the same, along an axis of this length."""
    for op in original.regions[0].block.ops:
        if op.kind is nd.constant:
            value = op.attributes["value"]
            if type(value) is Dense and not value.is_splat and length in value.type.shape:
                return True
    return False
