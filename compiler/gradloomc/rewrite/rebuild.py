"""The rewrite driver: build a function again, op by op, so that every op meets the folds and the rules with simplified operands.

A rule belongs to one record: `rule(op, operands) -> Value | None` sees the op to be built and its new operands, and returns what
stands for its result, built with the records' constructors, or None to leave it. One walk, linear in the ops; what a rule builds
is folded as it is built.
"""

from collections.abc import Callable, Mapping, Sequence

from gradloomc.dialects.func import body_of, finish_function, make_function
from gradloomc.ir.builder import at, insertion
from gradloomc.ir.core import Op, Value
from gradloomc.ir.inline import copy_op
from gradloomc.ir.opdef import OpDef

Rule = Callable[[Op, Sequence[Value]], Value | None]


def rebuild_function(function: Op, rules: Mapping[OpDef, Sequence[Rule]]) -> Op:
    """Return a new function equal to `function`, simplified."""
    old = body_of(function)
    new = make_function(
        function.attributes["sym_name"],
        [argument.type for argument in old.arguments],
        [argument.hint for argument in old.arguments],
    )
    new.location = function.location
    block = body_of(new)
    values: dict[Value, Value] = dict(zip(old.arguments, block.arguments, strict=True))
    with at(block):
        for op in old.ops[:-1]:
            insertion.location = op.location
            if op.regions or len(op.results) != 1 or op.kind.effects:
                copy_op(op, values, block)
                continue
            operands = [values.get(operand, operand) for operand in op.operands]
            result = None
            for rule in rules.get(op.kind, ()):
                result = rule(op, operands)
                if result is not None:
                    break
            if result is None:
                result = op.kind(*operands, **op.attributes)
            if result.hint is None and result.op is not None:
                result.hint = op.results[0].hint
            values[op.results[0]] = result
    return finish_function(new, [values.get(value, value) for value in old.terminator.operands])
