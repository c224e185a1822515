"""Values, ops, blocks, regions and modules: the SSA data structure itself.

One concrete `Op` class for every op of every dialect; what an op means stands in its record (`op.kind`, see opdef.py).
Ops of a block are a plain list: passes walk it and write a new list, so that each pass is linear. Nothing here knows of
printing, verifying or any dialect.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from gradloomc.ir.location import UNKNOWN, Location
from gradloomc.ir.types import Type

if TYPE_CHECKING:
    from gradloomc.ir.opdef import OpDef


class Value:
    """An SSA value: the result of an op or an argument of a block.

    `uses` maps each using op to the number of operand slots in which it uses this value; `hint` is a preferred printed
    name.
    """

    __slots__ = ("hint", "index", "owner", "type", "uses")

    def __init__(self, type: Type, owner: Any, index: int, hint: str | None = None):
        self.type: Any = type
        self.owner: Any = owner  # the Op of a result, the Block of an argument
        self.index = index
        self.hint = hint
        self.uses: dict[Op, int] = {}

    @property
    def op(self) -> "Op | None":
        """The op that defines this value, or None for a block argument."""
        owner = self.owner
        return owner if owner.__class__ is Op else None

    def replace_all_uses_with(self, other: "Value") -> None:
        """Make every op that uses this value use `other` instead."""
        if other is self:
            return
        for op, count in self.uses.items():
            op.operands = tuple([other if operand is self else operand for operand in op.operands])
            other.uses[op] = other.uses.get(op, 0) + count
        self.uses = {}


class Op:
    """One operation: a record (`kind`), operands, attributes, results and nested regions."""

    __slots__ = ("attributes", "kind", "location", "operands", "parent", "regions", "results")
    operands: tuple[Value, ...]
    results: list[Value]

    def __init__(
        self,
        kind: "OpDef",
        operands: Sequence[Value],
        attributes: dict[str, Any],
        result_types: Sequence[Type],
        location: Location = UNKNOWN,
        regions: "Sequence[Region]" = (),
    ):
        self.kind = kind
        operands = tuple(operands)
        self.operands: tuple[Value, ...] = operands
        self.attributes = attributes
        self.location = location
        self.parent: Block | None = None
        if len(result_types) == 1:
            self.results = [Value(result_types[0], self, 0)]
        else:
            self.results = [Value(type, self, i) for i, type in enumerate(result_types)]
        self.regions = regions
        for operand in operands:
            uses = operand.uses
            uses[self] = uses[self] + 1 if self in uses else 1
        if regions:
            for region in regions:
                region.parent = self

    @property
    def result(self) -> Value:
        """The only result."""
        (result,) = self.results
        return result

    @property
    def name(self) -> str:
        return self.kind.name

    def drop_uses(self) -> None:
        """Take this op out of the use lists of its operands (when it is erased)."""
        for operand in self.operands:
            operand.uses.pop(self, None)
        for region in self.regions:
            for block in region.blocks:
                for op in block.ops:
                    op.drop_uses()

    def erase(self) -> None:
        """Take this op apart, whose block has been rid of it: it is freed at once, not by the next garbage collection.

        Its results must not be asked for any more.
        """
        self.drop_uses()
        self.parent = None
        self.operands = ()
        self.results = []

    def set_operands(self, operands: Sequence[Value]) -> None:
        """Replace all operands."""
        for operand in self.operands:
            operand.uses.pop(self, None)
        self.operands = tuple(operands)
        for operand in self.operands:
            operand.uses[self] = operand.uses.get(self, 0) + 1

    def walk(self) -> "Iterator[Op]":
        """Yield this op and all ops nested in it, in order."""
        yield self
        for region in self.regions:
            for block in region.blocks:
                for op in block.ops:
                    if op.regions:
                        yield from op.walk()
                    else:
                        yield op


class Block:
    """A list of ops with arguments; the last op is the terminator."""

    __slots__ = ("arguments", "ops", "parent")

    def __init__(self, argument_types: Sequence[Type] = (), hints: Sequence[str | None] = ()):
        self.arguments = [
            Value(type, self, i, hints[i] if i < len(hints) else None)
            for i, type in enumerate(argument_types)
        ]
        self.ops: list[Op] = []
        self.parent: Region | None = None

    def append(self, op: Op) -> Op:
        op.parent = self
        self.ops.append(op)
        return op

    def add_argument(self, type: Type, hint: str | None = None) -> Value:
        value = Value(type, self, len(self.arguments), hint)
        self.arguments.append(value)
        return value

    @property
    def terminator(self) -> Op:
        return self.ops[-1]

    def remove(self, dead: Callable[[Op], bool]) -> int:
        """Erase the ops for which `dead` is true; return how many."""
        kept = []
        for op in self.ops:
            if dead(op):
                op.erase()
            else:
                kept.append(op)
        count = len(self.ops) - len(kept)
        self.ops = kept
        return count


class Region:
    """Blocks nested in an op (every region here has exactly one)."""

    __slots__ = ("blocks", "parent")

    def __init__(self, *blocks: Block):
        self.blocks = list(blocks)
        self.parent: Op | None = None
        for block in blocks:
            block.parent = self

    @property
    def block(self) -> Block:
        (block,) = self.blocks
        return block


class Module:
    """The functions of a program, in order; `functions[name]` is a `func.func` op."""

    __slots__ = ("block",)

    def __init__(self, functions: Sequence[Op] = ()):
        self.block = Block()
        for function in functions:
            self.block.append(function)

    @property
    def functions(self) -> dict[str, Op]:
        return {op.attributes["sym_name"]: op for op in self.block.ops}

    def replace_functions(self, functions: Iterable[Op]) -> None:
        """Let the module hold these functions instead of its own."""
        replacements = list(functions)
        self.block.ops = []
        for function in replacements:
            self.block.append(function)

    def walk(self) -> Iterator[Op]:
        for op in self.block.ops:
            yield from op.walk()
