"""A dialect for tests of the IR and of passes: one op for each trait that they look at.

Registered by importing this file, which only tests do.
"""

from typing import Any

from gradloomc.ir.core import Op
from gradloomc.ir.errors import ShapeError, VerifyError
from gradloomc.ir.opdef import OpDef
from gradloomc.ir.types import Type


def _same_types(*types: Type) -> Type:
    for type in types[1:]:
        if type is not types[0]:
            raise ShapeError(f"'test.add' op expects one type, got {types[0]} and {type}")
    return types[0]


def _verify_loop(op: Op) -> None:
    if op.regions[0].block.terminator.kind is not yield_:
        raise VerifyError("'test.loop' op expects to end in test.yield", op.location)


source = OpDef(
    "test.source",
    "A value from nowhere; any attributes.",
    type_rule=lambda type, **attributes: type,
    attributes=("type",),
)
unary = OpDef("test.unary", "One operand.", type_rule=lambda x, /, **attributes: x)
add = OpDef("test.add", "Commutative.", type_rule=_same_types, commutative=True)
sub = OpDef("test.sub", "Not commutative.", type_rule=_same_types)
pair = OpDef("test.pair", "Two results of one type.", type_rule=lambda x: (x, x))
split = OpDef("test.split", "Two results of two types.", type_rule=lambda x, y: (y, x))
store = OpDef("test.store", "Must stay.", type_rule=lambda *types: (), effects=True)
load = OpDef(
    "test.load",
    "May go, must not be merged.",
    type_rule=lambda x: x,
    tags=frozenset({"reads-memory"}),
)
loop = OpDef(
    "test.loop",
    "A region that runs.",
    type_rule=lambda *types: types,
    verify=_verify_loop,
)
branch = OpDef("test.branch", "Two regions.", type_rule=lambda condition, type: type)
yield_ = OpDef(
    "test.yield",
    "End a region.",
    type_rule=lambda *types: (),
    effects=True,
    tags=frozenset({"terminator"}),
)


def function_text(body: str, arguments: str = "%x: f64, %y: f64", results: str = "") -> str:
    """Return the text of a function `@f` around some lines."""
    arrow = f" -> {results}" if results else ""
    lines = "\n".join("  " + line for line in body.strip().splitlines())
    return f"func.func @f({arguments}){arrow} {{\n{lines}\n}}\n"


def kinds(function: Op) -> list[Any]:
    """Return the names of the ops in a function's body."""
    return [op.name for op in function.regions[0].block.ops]
