"""Relieve the divider: trade divisions and square roots of a nest for multiplications where the divider is its limit.

A processor has one divider, busy for 10 to 24 cycles with one 512-bit vector, beside two units that start a
multiplication or another simple instruction each cycle. `estimate_load` counts both for the body of a nest, from what
code generation writes for its ops. While the divider has more to do than the units (times `BALANCE`), what saves it
most for an instruction is rewritten:

* a / sqrt(x), whatever a: a * rsqrt(x); sqrt(x) itself, if used otherwise, from rsqrt(x) too;
* a / s where s is divided by several times, or does not vary with the innermost dimension: a * (1/s), corrected to the
  quotient that a division gives. Where AVX-512 estimates reciprocals, also where s is divided by once.

Only laws that hold for nan, infinities, zeros of either sign, overflow and underflow are used. 1/sqrt(x) is never out of
range; a denominator that can be subnormal is first scaled, with its numerator. Quotients and roots stay correctly
rounded, except next to the subnormal numbers (see `vecmath/reciprocal.py`); a / sqrt(x) was rounded twice and still is.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

from gradloomc.codegen.body import Body
from gradloomc.codegen.instructions import Vector, emit_op
from gradloomc.codegen.x86 import AVX512
from gradloomc.dialects import loops
from gradloomc.dialects import scalar as s
from gradloomc.dialects.func import body_of
from gradloomc.ir.builder import at, insertion
from gradloomc.ir.core import Block, Op, Value
from gradloomc.ir.types import ScalarType
from gradloomc.passes.dce import eliminate_dead_code

__all__ = ["Load", "estimate_load", "relieve_divider"]

# How many cycles of divider time the other units hide, for each of their own.
BALANCE = 0.8
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


def relieve_divider(function: Op, features: frozenset[str] = frozenset()) -> Op:
    """Rewrite the nests of a loops-level function in place; return it.

    Args:
        function: on the loops level.
        features: the instruction sets that the code may use.
    """
    changed = False
    for op in body_of(function).ops:
        nests = op.regions[0].block.ops if op.kind is loops.tiles else [op]
        for nest in nests:
            if nest.kind is loops.nest:
                changed |= _Nest(nest, features).relieve()
    if changed:
        eliminate_dead_code(function)
    return function


def estimate_load(ops: Sequence[Op], features: frozenset[str] = frozenset()) -> Load:
    """Return the load of scalar ops, each written for one vector."""
    divider = units = 0.0
    for op in ops:
        load = _load_of(op, features)
        divider += load.divider
        units += load.units
    return Load(divider, units)


def _load_of(op: Op, features: frozenset[str]) -> Load:
    if not op.results or not isinstance(op.results[0].type, ScalarType) or op.kind is s.constant:
        return Load(0.0, 0.0)
    type = op.results[0].type
    if op.kind.emit is None or type.text not in ("f32", "f64") or op.attributes:
        return Load(0.0, 1 / STARTS)
    return _load_of_function(op.kind.emit, type.text, len(op.operands), features)


@functools.cache
def _load_of_function(name: str, dtype: str, arity: int, features: frozenset[str]) -> Load:
    """Count the instructions that a function of one register of floats is written with."""
    body = Body(features=features)
    lanes = Lanes(body, dtype, 512 // (64 if dtype == "f64" else 32))
    operands = [body.fresh(f"load {lanes.float_type}, ptr %p", lanes.float_type) for _ in range(arity)]
    body.lines.clear()
    emit_float(lanes, name, operands)
    divider = 0.0
    starts = 0
    for line in body.lines:
        if " = " not in line or any(word in line for word in _FREE):
            continue
        starts += next((count for word, count in _SEVERAL.items() if word in line), 1)
        divider += DIVISION_CYCLES[lanes.bits] if "fdiv" in line else 0.0
        divider += ROOT_CYCLES[lanes.bits] if "llvm.sqrt" in line else 0.0
    return Load(divider, starts / STARTS)
