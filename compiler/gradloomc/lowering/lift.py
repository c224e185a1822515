"""Lift small weights: sums of many terms with one small factor compute without subnormal numbers.

The weights of a mixture or an attention are exponentials, and some of them are next to nothing. Processors take a
hundred times longer for a product whose factor or result is subnormal (42 ns on Ice Lake), so one such weight in a
hundred makes sums of its multiples several times slower. They do not mind a fused multiply-add whose product alone is
subnormal. So the terms w a b of such sums are computed as (w' a) (s b): w' = w and s = 1, but where |w| < 2^-512,
w' = 2^512 w and s = 2^-512 (math.lift, math.lift_scale). Both factors are normal then, what they are scaled by is
exact, and the terms are the same numbers or nearer to the true ones. Values differ by more only where a weight below
2^-512 meets factors whose product overflows.

Which value is the weight follows from the nests alone: it comes of an exponential, in this nest or in one that stored
it, and the sums are linear in it.
"""

from collections.abc import Collection, Sequence

from gradloomc.dialects import loops
from gradloomc.dialects import scalar as s
from gradloomc.dialects.func import body_of
from gradloomc.ir.builder import at, insertion
from gradloomc.ir.core import Block, Op, Value
from gradloomc.ir.types import f32, f64
from gradloomc.lowering.parallelize import loop_depths
from gradloomc.passes.dce import eliminate_dead_code

# Fewer sums are not worth it: something has to be scaled for each of them.
LEAST_SUMS = 8
# For each multiplication more, at least so many are to be spared the delay.
GAIN = 3
# Weights come of these.
VANISHING = frozenset({s.math["exp"], s.math["exp2"]})


def lift_small_weights(function: Op) -> Op:
    """Lift the weights in the sums of a loops-level function, in place; return it."""
    memory: set[Value] = set()  # buffers of what comes of an exponential
    for op in body_of(function).ops:
        if op.kind is loops.view and op.operands[0] in memory:
            memory.add(op.result)
        for nest in op.regions[0].block.ops if op.kind is loops.tiles else (op,):
            if nest.kind is loops.nest:
                small = _vanishing(nest.regions[0].block.ops, memory)
                if small:
                    _lift(nest, small)
    return function


def _lift(nest: Op, small: Collection[Value]) -> None:
    """Lift one of the small values of a nest, if that is worth it."""
    block = nest.regions[0].block
    sums = [op for op in block.ops if op.kind is loops.reduce and _is_float_sum(op)]
    if len(sums) < LEAST_SUMS:
        return
    best: tuple[int, Value, dict[Value, Op]] | None = None
    for weight in small:
        if sum(weight.uses.values()) > 1:
            linear = _linear_in(weight, block.ops)
            count = sum(op.operands[0] is weight or op.operands[0] in linear for op in sums)
            if best is None or count > best[0]:
                best = (count, weight, linear)
    if best is None or best[0] < LEAST_SUMS:
        return
    _, weight, linear = best
    depths = loop_depths(block.ops)
    inner = len(nest.attributes["extents"]) - 1
    lifted = [op for op in sums if op.operands[0] is weight or op.operands[0] in linear]
    others = {_other_factor(op.operands[0], weight, linear) for op in lifted}
    spared = len(lifted) + sum(op.kind in (s.mulf, s.divf) for op in linear.values())
    if depths[weight] == inner and spared >= GAIN * len(others):
        _rewrite(block, weight, linear, lifted)
        eliminate_dead_code(nest)


def _is_float_sum(op: Op) -> bool:
    return op.attributes["combine"] == "add" and op.operands[0].type in (f32, f64)


def _is_zero(value: Value) -> bool:
    op = value.op
    return op is not None and op.kind is s.constant and op.attributes["value"] == 0


def _vanishing(ops: Sequence[Op], memory: set[Value]) -> dict[Value, None]:
    """Return the values that come of an exponential and get as small as it; note the buffers that hold such values."""
    small: dict[Value, None] = {}
    maybe_zero: set[Value] = set()
    for op in ops:
        operands = op.operands
        found = op.kind in VANISHING
        if op.kind is loops.load:
            found = operands[0] in memory
        elif op.kind is loops.store and operands[0] in small:
            memory.add(operands[1])
        elif op.kind in (s.mulf, s.negf):
            found = any(operand in small for operand in operands)
        elif op.kind is s.divf:
            found = operands[0] in small
        elif op.kind is s.select:
            zeros = sum(_is_zero(operand) for operand in operands[1:])
            found = zeros + sum(operand in small for operand in operands[1:]) == 2 and zeros < 2
            if zeros:
                maybe_zero.add(op.result)
        elif op.kind in (s.addf, s.subf):
            weak = sum(operand in small or operand in maybe_zero for operand in operands)
            found = weak == 2 and any(operand in small for operand in operands)
        if found:
            small[op.result] = None
    return small


def _linear_in(weight: Value, ops: Sequence[Op]) -> dict[Value, Op]:
    """Return what is linear in a value, with the ops that compute it."""
    linear: dict[Value, Op] = {}
    for op in ops:
        among = [operand is weight or operand in linear for operand in op.operands]
        if not any(among):
            continue
        if op.kind is s.mulf:
            found = among.count(True) == 1
        elif op.kind is s.select:
            found = all(is_linear or _is_zero(x) for is_linear, x in zip(among[1:], op.operands[1:], strict=True))
        else:
            found = op.kind in (s.negf, s.addf, s.subf) and all(among)
            found = found or (op.kind is s.divf and among == [True, False])
        if found:
            linear[op.result] = op
    return linear


def _other_factor(value: Value, weight: Value, linear: dict[Value, Op]) -> Value | None:
    """Return the factor of a product that is not linear in the weight; None of other values."""
    op = linear.get(value)
    if op is None or op.kind is not s.mulf:
        return None
    x, y = op.operands
    return y if x is weight or x in linear else x


def _rewrite(block: Block, weight: Value, linear: dict[Value, Op], sums: list[Op]) -> None:
    """Let sums add up products of what is linear in the lifted weight with what is scaled back."""
    ops, block.ops = block.ops, []
    lifted: dict[Value, Value] = {}
    scaled: dict[Value | None, Value] = {}
    needed = _needed(weight, linear, sums)
    with at(block):
        for op in ops:
            insertion.location = op.location
            if op in sums:
                value = op.operands[0]
                other = _other_factor(value, weight, linear)
                if other is not None and other not in scaled:
                    scaled[other] = s.mulf(scaled[None], other)
                first = value if other is None else next(x for x in linear[value].operands if x is not other)
                op.set_operands((s.mulf(lifted[first], scaled[other]), *op.operands[1:]))
            block.append(op)
            if weight in op.results:
                lifted[weight] = s.math["lift"](weight)
                scaled[None] = s.math["lift_scale"](weight)
            elif any(result in needed for result in op.results):
                operands = [lifted.get(operand, operand) for operand in op.operands]
                lifted[op.result] = op.kind(*operands, **op.attributes)


def _needed(weight: Value, linear: dict[Value, Op], sums: list[Op]) -> set[Value]:
    """Return the linear values that are computed in their lifted form too."""
    found: set[Value] = set()
    stack: list[Value] = []
    for op in sums:
        value = op.operands[0]
        other = _other_factor(value, weight, linear)
        stack += [value] if other is None else [x for x in linear[value].operands if x is not other]
    while stack:
        value = stack.pop()
        if value in linear and value not in found:
            found.add(value)
            stack += linear[value].operands
    return found
