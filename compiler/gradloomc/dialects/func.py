"""The `func` dialect, spelled as upstream: functions and their return."""

from collections.abc import Sequence
from typing import Any

from gradloomc.ir.core import Block, Op, Region, Value
from gradloomc.ir.errors import VerifyError
from gradloomc.ir.opdef import OpDef
from gradloomc.ir.types import FunctionType, Type, function


def _verify_function(op: Op) -> None:
    signature: FunctionType = op.attributes["function_type"]
    block = op.regions[0].block
    if tuple(argument.type for argument in block.arguments) != signature.inputs:
        raise VerifyError("'func.func' op expects its block arguments to match its type", op.location)
    if not block.ops or block.terminator.kind is return_:
        returned = tuple(value.type for value in block.terminator.operands) if block.ops else ()
        if returned == signature.results:
            return
    raise VerifyError("'func.func' op expects to end in a func.return of its result types", op.location)


func = OpDef(
    "func.func",
    "A function: its body's arguments are the parameters. Results may be written into the memory of the arguments in "
    "`donated`; `donations` says what came of it (see `lowering/donate.py`).",
    type_rule=lambda sym_name, function_type, donated=(), donations=(): (),
    attributes=("sym_name", "function_type"),
    effects=True,
    verify=_verify_function,
)
return_ = OpDef(
    "func.return",
    "Return the operands from the function.",
    type_rule=lambda *types: (),
    effects=True,
    tags=frozenset({"terminator"}),
)


def function_like(old: Op, argument_types: Sequence[Type]) -> Op:
    """Return a new function with the name, the attributes and the hints of another one, and an empty body."""
    hints = [argument.hint for argument in body_of(old).arguments]
    new = make_function(old.attributes["sym_name"], argument_types, hints)
    new.attributes = {**old.attributes, **new.attributes}
    return new


def make_function(name: str, argument_types: Sequence[Type], hints: Sequence[str | None] = ()) -> Op:
    """Return a new function with an empty body (to be closed with `finish_function`)."""
    block = Block(argument_types, hints)
    attributes: dict[str, Any] = {
        "sym_name": name,
        "function_type": function(tuple(argument_types), ()),
    }
    return Op(func, (), attributes, (), regions=(Region(block),))


def finish_function(op: Op, results: Sequence[Value]) -> Op:
    """Append the return and set the function's type from its arguments and `results`."""
    block = op.regions[0].block
    block.append(Op(return_, results, {}, ()))
    op.attributes["function_type"] = function(
        tuple(argument.type for argument in block.arguments), tuple(value.type for value in results)
    )
    return op


def body_of(op: Op) -> Block:
    """Return the entry block of a function."""
    return op.regions[0].blocks[0]
