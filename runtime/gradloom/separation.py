"""Why the kernels of a program are not one: what each waits for, and what that costs.

Reads functions of the kernels level and plans of materialization; knows nothing of running them.
"""

from gradloomc.dialects import kernel, nd
from gradloomc.dialects.func import body_of
from gradloomc.ir.core import Op, Value
from gradloomc.lowering.materialize import Plan, passes_that_need
from gradloomc.lowering.tile import Tiled, plan_tiles

# Scalar additions per element from which computing something again is worth a line.
_WORTH_A_LINE = 4.0


def reasons_apart(kernels: Op) -> dict[Op, str]:
    """Return for each nest why it is not part of an earlier one, in a few words.

    Args:
        kernels: a function of the kernels level.
    """
    nests = [op for op in body_of(kernels).ops if op.kind is kernel.nest]
    number = {op: k for k, op in enumerate(nests, 1)}
    made_by: dict[Value, Op] = {}
    reasons: dict[Op, str] = {}
    for op in body_of(kernels).ops:
        if op in number:
            reasons[op] = _reason(op, nests[: number[op] - 1], made_by, number)
        for result in op.results:
            view = op.kind is nd.reshape
            made_by[result] = made_by.get(op.operands[0], op) if view else op
    for item in plan_tiles(body_of(kernels).ops[:-1]):
        if isinstance(item, Tiled):  # products, which may be among its ops, are no nests
            first, *others = [op for op in item.ops if op in number]
            for op in others:
                reasons[op] += f", tile by tile of {item.rows} rows with {number[first]}"
    return reasons


def _reason(op: Op, before: list[Op], made_by: dict[Value, Op], number: dict[Op, int]) -> str:
    if not before:
        return ""
    sources = [made_by[value] for value in op.operands if value in made_by]
    calls = [source for source in sources if source not in number and "extern" in source.kind.tags]
    if calls:
        return f"after the call of {calls[-1].name}"
    waits = [source for source in sources if source in number]
    if waits:
        latest = max(waits, key=lambda source: number[source])
        combines = {
            combine
            for combine, _, _, _, result in kernel.outputs_of(latest)
            if result in op.operands or any(made_by.get(value) is latest for value in op.operands)
        }
        if combines == {"store"}:
            return f"reads across points of {number[latest]}"
        return f"needs the finished {'sums' if 'add' in combines else 'results'} of {number[latest]}"
    near = before[-1]
    return f"walks other points than {number[near]}"


def recomputed(plan: Plan, operations: list[Op]) -> list[tuple[Value, int, float]]:
    """Return what several passes compute again because that is cheaper than memory.

    Returns:
        The value, how many passes compute it, and what an element takes, in additions; of a chain the last value.
    """
    passes = passes_that_need(plan, operations)
    found = []
    for op in operations:
        value = op.results[0]
        levels = passes.get(value, 0)
        if levels.bit_count() < 2 or plan.is_loaded(value) or not plan.is_inlined(op):
            continue
        users = list(value.uses)
        chained = any(passes.get(user.results[0]) == levels for user in users if user.results)
        if not chained and plan.cost.get(value, 0.0) >= _WORTH_A_LINE and value.type.rank:
            found.append((value, levels.bit_count(), plan.cost[value]))
    return found
