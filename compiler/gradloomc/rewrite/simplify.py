"""The rewrite driver: one walk over a function in which folds and rules replace results by simpler values.

A rule belongs to one record: `rule(op, operands) -> Value | None` sees an op and its (already simplified) operands, and
returns what stands for its result, built with the records' constructors, or None to leave it. What a rule builds is
folded as it is built, so one walk is enough and its cost is linear in the ops.
"""

from collections.abc import Callable, Mapping, Sequence

from gradloomc.dialects.func import body_of
from gradloomc.ir.builder import at, insertion
from gradloomc.ir.core import Op, Value
from gradloomc.ir.opdef import OpDef

Rule = Callable[[Op, Sequence[Value]], Value | None]


def simplify_function(function: Op, rules: Mapping[OpDef, Sequence[Rule]]) -> int:
    """Simplify `function` in place; return how many ops were replaced."""
    block = body_of(function)
    operations, block.ops = block.ops, []
    replaced: dict[Value, Value] = {}
    with at(block):
        for op in operations:
            for operand in op.operands:
                if operand in replaced:
                    op.set_operands([replaced.get(operand, operand) for operand in op.operands])
                    break
            result = None
            kind = op.kind
            if len(op.results) == 1 and not op.regions and not kind.effects:
                insertion.location = op.location
                operands = op.operands
                for rule in rules.get(kind, ()):
                    result = rule(op, operands)
                    if result is not None:
                        break
                else:
                    result = kind.folded(operands, op.attributes)
            if result is None:
                block.ops.append(op)
                continue
            if result.hint is None and result.op is not None:
                result.hint = op.results[0].hint
            replaced[op.results[0]] = result
            op.erase()
    return len(replaced)
