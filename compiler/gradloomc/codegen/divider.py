"""Relieve the divider: trade divisions and square roots of a nest for multiplications where the divider is its limit.

A processor has one divider, busy for 10 to 24 cycles with one 512-bit vector, beside two units that start a
multiplication or another simple instruction each cycle. `estimate_load` counts both for the body of a nest, from what
code generation writes for its ops. While the divider has more to do than the units (times `BALANCE`), what saves it
most for an instruction is rewritten:

* a / sqrt(x), whatever a: a * rsqrt(x); sqrt(x) itself, if used otherwise, from rsqrt(x) too;
* a / s where s is divided by several times, or does not vary with the innermost dimension: a * (1/s), corrected to the
  quotient that a division gives. Where AVX-512 estimates reciprocals, also where s is divided by once.

Only laws that hold for nan, infinities, zeros of either sign, overflow and underflow are used. 1/sqrt(x) is never out
of range; a denominator that can be subnormal is first scaled, with its numerator. Quotients and roots stay correctly
rounded, except next to the subnormal numbers (see `vecmath/reciprocal.py`); a / sqrt(x) is rounded twice, as it was.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from gradloomc.codegen.body import Body
from gradloomc.codegen.instructions import emit_float
from gradloomc.codegen.lanes import Lanes
from gradloomc.dialects import loops
from gradloomc.dialects import scalar as s
from gradloomc.dialects.func import body_of
from gradloomc.ir.builder import at, insertion
from gradloomc.ir.core import Op, Value
from gradloomc.lowering.parallelize import loop_depths
from gradloomc.passes.dce import eliminate_dead_code

__all__ = ["Load", "estimate_load", "relieve_divider"]

# How many cycles of divider time the other units hide, for each of their own.
BALANCE = 1.0
# Cycles for one 512-bit vector, by the bits of an element.
DIVISION_CYCLES = {16: 10.0, 32: 10.0, 64: 16.0}
ROOT_CYCLES = {16: 12.0, 32: 12.0, 64: 24.0}
# Instructions that the two units start each cycle; what takes them longer than one.
STARTS = 2
_SEVERAL = {"fdiv": 3, "llvm.sqrt": 3, "rcp14": 3, "rsqrt14": 3}
_FREE = ("bitcast", "shufflevector")


class Load(NamedTuple):
    """Cycles for one vector: of the divider, and of the units for everything (divisions take part in both)."""

    divider: float
    units: float


NO_LOAD = Load(0.0, 0.0)


@dataclass(eq=False)
class Group:
    """Divisions by one denominator that are rewritten together, and what that changes.

    Attributes:
        denominator: what is divided by.
        root: the square root that it comes from, which goes with its divisions.
        keeps_root: whether the root is used but as their denominator.
        divisions: the ops a / denominator.
        before, after: the load of the ops concerned.
    """

    denominator: Value
    root: Op | None
    keeps_root: bool = False
    divisions: list[Op] = field(default_factory=list)
    before: Load = NO_LOAD
    after: Load = NO_LOAD

    @property
    def saving(self) -> float:
        """Return the divider's cycles that one cycle of the units buys."""
        return (self.before.divider - self.after.divider) / max(self.after.units - self.before.units, 0.1)


def relieve_divider(function: Op, features: frozenset[str] = frozenset()) -> Op:
    """Rewrite the nests of a loops-level function in place; return it.

    Args:
        function: on the loops level.
        features: the instruction sets that the code may use.
    """
    changed = False
    for op in loops.untiled(body_of(function).ops):
        if op.kind is loops.nest and any([each.kind in _DIVIDING for each in op.regions[0].block.ops]):
            changed |= _Nest(op, features).relieve()
    if changed:
        eliminate_dead_code(function)
    return function


def estimate_load(ops: Iterable[Op], features: frozenset[str] = frozenset()) -> Load:
    """Return the load of scalar ops, each written for one vector."""
    loads = [_load_of(op, features) for op in ops]
    return Load(sum(load.divider for load in loads), sum(load.units for load in loads))


def _load_of(op: Op, features: frozenset[str]) -> Load:
    if not op.results or op.kind is s.constant:
        return NO_LOAD
    type = op.results[0].type
    if type.text not in ("f32", "f64") or op.attributes:
        return Load(0.0, 1 / STARTS)
    return _load_of_function(op.kind.emit, type.text, len(op.operands), features)


@functools.cache
def _load_of_function(name: str, dtype: str, arity: int, features: frozenset[str]) -> Load:
    """Count the instructions that a function is written with, on one register of floats."""
    body = Body(features=features)
    lanes = Lanes(body, dtype, 512 // (64 if dtype == "f64" else 32))
    operands = [body.fresh(f"load {lanes.float_type}, ptr %p{k}", lanes.float_type) for k in range(arity)]
    body.lines.clear()
    if emit_float(lanes, name, operands) is None:
        return Load(0.0, 1 / STARTS)
    divider = 0.0
    starts = 0
    for line in body.lines:
        if " = " not in line or any(word in line for word in _FREE):
            continue
        starts += next((count for word, count in _SEVERAL.items() if word in line), 1)
        divider += DIVISION_CYCLES[lanes.bits] if "fdiv" in line else 0.0
        divider += ROOT_CYCLES[lanes.bits] if "llvm.sqrt" in line else 0.0
    return Load(divider, starts / STARTS)


# What waits for the divider.
_DIVIDING = (s.divf, s.math["sqrt"])


class _Nest:
    """One nest: its load, what can be rewritten, and the rewriting."""

    def __init__(self, nest: Op, features: frozenset[str]):
        self.features = features
        self.block = nest.regions[0].block
        self.inner = len(nest.attributes["extents"]) - 1
        self.depths = loop_depths(self.block.ops)

    def varies(self, op: Op) -> bool:
        return bool(op.results) and self.depths[op.results[0]] == self.inner

    def relieve(self) -> bool:
        """Rewrite the best groups until the divider is no longer the limit; tell whether any was."""
        if not any(op.kind in _DIVIDING and self.varies(op) for op in self.block.ops):
            return False
        divider, units = estimate_load(filter(self.varies, self.block.ops), self.features)
        chosen: list[Group] = []
        for group in sorted(self.groups(), key=lambda group: -group.saving):
            if divider <= BALANCE * units:
                break
            if group.after.divider < group.before.divider:
                divider += group.after.divider - group.before.divider
                units += group.after.units - group.before.units
                chosen.append(group)
        if chosen:
            self.rewrite(chosen)
        return bool(chosen)

    # --- what can be rewritten ---

    def groups(self) -> list[Group]:
        """Return the divisions by denominator, and the square roots that are divided by."""
        groups: dict[Value, Group] = {}
        for op in self.block.ops:
            if op.kind is not s.divf or not self.varies(op) or op.results[0].type.text not in ("f32", "f64"):
                continue
            y = op.operands[1]
            if y not in groups:
                is_root = y.op is not None and y.op.kind is s.math["sqrt"] and self.varies(y.op)
                groups[y] = Group(y, y.op if is_root else None)
            groups[y].divisions.append(op)
        for group in groups.values():
            self.weigh(group)
        return list(groups.values())

    def weigh(self, group: Group) -> None:
        """Set the loads of a group before and after."""
        dtype, root = group.denominator.type.text, group.root
        multiplied = [op for op in group.divisions if not _is_one(op.operands[0])]
        before = [*group.divisions]
        after: list[tuple[str, int]] = []
        if root is not None:
            before.append(root)
            after += [("rsqrt", 1)] + [("mul", 2)] * len(multiplied)
            uses = group.denominator.uses
            group.keeps_root = len(uses) > len(group.divisions) or sum(uses.values()) > len(group.divisions)
            if group.keeps_root:
                after.append(("root", 2))
        else:
            scaled = not _never_subnormal(group.denominator)
            if self.depths.get(group.denominator, -1) == self.inner:
                after += [("reciprocal", 1)] + [("subnormal_scale", 1), ("mul", 2)] * scaled
            after += [("quotient", 3)] * len(group.divisions) + [("mul", 2)] * (scaled * len(multiplied))
        group.before = estimate_load(before, self.features)
        loads = [_load_of_function(name, dtype, arity, self.features) for name, arity in after]
        group.after = Load(sum(load.divider for load in loads), sum(load.units for load in loads))

    # --- rewriting ---

    def rewrite(self, chosen: list[Group]) -> None:
        """Write the divisions of the chosen groups as multiplications."""
        by_division = {op: group for group in chosen for op in group.divisions}
        by_root = {group.root: group for group in chosen if group.root is not None}
        replaced: dict[Value, Value] = {}
        written: dict[Group, Denominator] = {}
        operations, self.block.ops = self.block.ops, []
        with at(self.block):
            for op in operations:
                if any(operand in replaced for operand in op.operands):
                    op.set_operands([replaced.get(operand, operand) for operand in op.operands])
                insertion.location = op.location
                if op in by_root:
                    group, x = by_root[op], op.operands[0]
                    rsqrt = s.math["rsqrt"](x)
                    written[group] = Denominator(None, None, rsqrt)
                    replaced[op.results[0]] = s.math["root"](x, rsqrt) if group.keeps_root else op.results[0]
                elif op in by_division:
                    group = by_division[op]
                    if group not in written:
                        written[group] = _denominator(op.operands[1])
                    replaced[op.results[0]] = _quotient(op.operands[0], written[group])
                else:
                    self.block.append(op)
                    continue
                op.drop_uses()
                op.parent = None


class Denominator(NamedTuple):
    """What stands for a denominator: a power of two that scales it, if any; it, scaled; its reciprocal.

    Of a square root there is only the reciprocal.
    """

    scale: Value | None
    value: Value | None
    reciprocal: Value


def _denominator(y: Value) -> Denominator:
    scale = None if _never_subnormal(y) else s.math["subnormal_scale"](y)
    scaled = y if scale is None else s.mulf(y, scale)
    return Denominator(scale, scaled, s.math["reciprocal"](scaled))


def _quotient(x: Value, by: Denominator) -> Value:
    """Write x divided by a denominator."""
    if by.value is None:
        return by.reciprocal if _is_one(x) else s.mulf(x, by.reciprocal)
    scaled = x if by.scale is None else by.scale if _is_one(x) else s.mulf(x, by.scale)
    return s.math["quotient"](scaled, by.value, by.reciprocal)


def _is_one(value: Value) -> bool:
    return value.op is not None and value.op.kind is s.constant and value.op.attributes["value"] == 1


def _never_subnormal(value: Value) -> bool:
    """Tell whether a float is known not to be a subnormal number: constants, roots, sums with a moderate constant.

    What a sum with c cancels to is zero or at least the square of the format's precision times c.
    """
    op = value.op
    if op is None:
        return False
    smallest = 2.0**-900 if value.type.bits == 64 else 2.0**-60
    if op.kind is s.constant:
        number = abs(op.attributes["value"])
        return number == 0 or number >= smallest or math.isnan(number)
    if op.kind in (s.math["sqrt"], s.math["rsqrt"], s.math["root"]):
        return True
    if op.kind in (s.negf, s.math["absf"]):
        return _never_subnormal(op.operands[0])
    if op.kind in (s.addf, s.subf):
        return any(
            x.op is not None and x.op.kind is s.constant and abs(x.op.attributes["value"]) >= smallest
            for x in op.operands
        )
    return False
