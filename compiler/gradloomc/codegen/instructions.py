"""LLVM instructions for the scalar ops of `arith` and `math`, on one element or on a vector of them.

`Vector` is the arithmetic of one width; `emit_op` writes one op. Floats go through `Lanes` and the vector math;
integers, bools and conversions are written here, with NumPy's answers where LLVM has none (division by zero, shifts
beyond the width).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradloomc.codegen.body import Body
from gradloomc.codegen.lanes import Lanes
from gradloomc.codegen.mathlib import LIBRARY, call_library, in_library
from gradloomc.codegen.vecmath import FUNCTIONS
from gradloomc.dialects import scalar as s
from gradloomc.ir import types as ir_types
from gradloomc.ir.core import Op
from gradloomc.ir.errors import UnsupportedError
from gradloomc.ir.types import ScalarType

_SCALAR_NAMES = {"f16": "half", "f32": "float", "f64": "double", "i1": "i1", "index": "i64"}


def llvm_scalar(type: ScalarType) -> str:
    """Return the LLVM type of one element in a register."""
    return _SCALAR_NAMES.get(type.text) or f"i{type.bits}"


def memory_scalar(type: ScalarType) -> str:
    """Return the LLVM type of one element in memory: NumPy keeps a bool in a byte."""
    return "i8" if type is ir_types.i1 else llvm_scalar(type)


class Vector:
    """Arithmetic on vectors of `width` elements (width 1: plain scalars) written into `body`."""

    def __init__(self, body: Body, width: int):
        self.body = body
        self.width = width
        self._lanes: dict[str, Lanes] = {}

    def lanes(self, type: ScalarType) -> Lanes:
        """Return the float arithmetic of f32 or f64."""
        found = self._lanes.get(type.text)
        if found is None:
            found = self._lanes[type.text] = Lanes(self.body, type.text, self.width)
        return found

    def of(self, scalar: str) -> str:
        """Return the LLVM type of one LLVM scalar per element."""
        return scalar if self.width == 1 else f"<{self.width} x {scalar}>"

    def type(self, type: ScalarType) -> str:
        return self.of(llvm_scalar(type))

    def literal(self, value: Any, type: ScalarType) -> str:
        """Return the literal of a constant."""
        if type.kind == "f":
            if type is ir_types.f16:
                bits = int(np.float16(value).view(np.uint16))
                text = f"0xH{bits:04X}"
                return text if self.width == 1 else f"splat (half {text})"
            return self.lanes(type).c(float(value))
        text = ("true" if value else "false") if type.kind == "b" else str(int(value))
        return text if self.width == 1 else f"splat ({llvm_scalar(type)} {text})"

    def splat(self, name: str, type: ScalarType) -> str:
        """Return a vector of copies of a scalar."""
        if self.width == 1:
            return name
        scalar, vector = llvm_scalar(type), self.type(type)
        first = self.body.emit(f"insertelement {vector} poison, {scalar} {name}, i64 0", vector)
        return self.body.emit(
            f"shufflevector {vector} {first}, {vector} poison, <{self.width} x i32> zeroinitializer", vector
        )

    def binary(self, opcode: str, type: ScalarType, x: str, y: str) -> str:
        kind = self.type(type)
        return self.body.emit(f"{opcode} {kind} {x}, {y}", kind)

    def intrinsic(self, name: str, type: ScalarType, *operands: str) -> str:
        """Call an LLVM intrinsic whose operands and result have one type."""
        kind = self.type(type)
        scalar = type.text if type.kind == "f" else f"i{type.bits}"
        suffix = scalar if self.width == 1 else f"v{self.width}{scalar}"
        self.body.declare(f"declare {kind} @llvm.{name}.{suffix}({', '.join([kind] * len(operands))})")
        arguments = ", ".join(f"{kind} {operand}" for operand in operands)
        return self.body.emit(f"call {kind} @llvm.{name}.{suffix}({arguments})", kind)

    def compare(self, predicate: str, type: ScalarType, x: str, y: str) -> str:
        opcode = "fcmp" if type.kind == "f" else "icmp"
        return self.body.emit(f"{opcode} {predicate} {self.type(type)} {x}, {y}", self.of("i1"))

    def select(self, condition: str, type: ScalarType, x: str, y: str) -> str:
        kind = self.type(type)
        return self.body.emit(f"select {self.of('i1')} {condition}, {kind} {x}, {kind} {y}", kind)

    def cast(self, opcode: str, x: str, source: str, target: str) -> str:
        kind = self.of(target)
        return self.body.emit(f"{opcode} {self.of(source)} {x} to {kind}", kind)


def convert(v: Vector, x: str, source: ScalarType, target: ScalarType) -> str:
    """Convert elements as NumPy's astype does."""
    if source is target:
        return x
    if source is ir_types.f64 and target is ir_types.f16:
        return v.cast("fptrunc", _single_rounded_to_odd(v, x), "float", "half")
    a, b = llvm_scalar(source), llvm_scalar(target)
    if source.kind == "f" and target.kind == "f":
        return v.cast("fpext" if target.bits > source.bits else "fptrunc", x, a, b)
    if source.kind == "f":
        return _float_to_integer(v, x, source, target)
    if target.kind == "f":
        return v.cast("sitofp" if source.kind in "ix" else "uitofp", x, a, b)
    if target.kind == "b":
        return v.compare("ne", source, x, v.literal(0, source))
    if a == b:
        return x
    if target.bits < source.bits:
        return v.cast("trunc", x, a, b)
    return v.cast("sext" if source.kind in "ix" else "zext", x, a, b)


def _single_rounded_to_odd(v: Vector, x: str) -> str:
    """Return doubles as singles whose last bit says that something was cut off: rounding those once more is exact.

    Processors do not convert doubles to halves; see Boldo and Melquiond, Emulation of FMA and correctly rounded sums
    (2008).
    """
    nearest = v.cast("fptrunc", x, "double", "float")
    back = v.cast("fpext", nearest, "float", "double")
    doubles = v.lanes(ir_types.f64)
    beyond = v.compare("ogt", ir_types.f64, doubles.abs(back), doubles.abs(x))
    bits = v.cast("bitcast", nearest, "float", "i32")
    towards_zero = v.select(beyond, ir_types.i32, v.binary("sub", ir_types.i32, bits, v.literal(1, ir_types.i32)), bits)
    odd = v.binary("or", ir_types.i32, towards_zero, v.literal(1, ir_types.i32))
    inexact = v.compare("one", ir_types.f64, back, x)
    return v.cast("bitcast", v.select(inexact, ir_types.i32, odd, bits), "i32", "float")


def _float_to_integer(v: Vector, x: str, source: ScalarType, target: ScalarType) -> str:
    """Truncate towards zero. Out of range C leaves open; NumPy on x86 gives the 64-bit (32-bit) pattern's low bits."""
    if target.kind == "b":
        return v.compare("une", source, x, v.literal(0, source))
    if target.kind == "u" and target.bits == 64:
        # below 2**63 a signed conversion does it; above, convert x - 2**63 and set the top bit
        limit = v.literal(2.0**63, source)
        low = _signed_truncation(v, x, source, 64)
        reduced = v.body.emit(f"fsub {v.type(source)} {x}, {limit}", v.type(source))
        rest = _signed_truncation(v, reduced, source, 64)
        high = v.binary("xor", ir_types.i64, rest, v.literal(-(2**63), ir_types.i64))
        return v.select(v.compare("oge", source, x, limit), ir_types.i64, high, low)
    wide = 64 if target.bits == 64 or (target.kind == "u" and target.bits == 32) else 32
    truncated = _signed_truncation(v, x, source, wide)
    return truncated if wide == target.bits else v.cast("trunc", truncated, f"i{wide}", f"i{target.bits}")


def _signed_truncation(v: Vector, x: str, source: ScalarType, bits: int) -> str:
    limit = 2.0 ** (bits - 1)
    signed = ir_types.i64 if bits == 64 else ir_types.i32
    magnitude = v.lanes(source).abs(x)
    ok = v.compare("olt", source, magnitude, v.literal(limit, source))
    safe = v.select(ok, source, x, v.literal(0.0, source))
    converted = v.cast("fptosi", safe, llvm_scalar(source), f"i{bits}")
    return v.select(ok, signed, converted, v.literal(-(2 ** (bits - 1)), signed))


def _extremum(name: str) -> Callable[..., str]:
    def emit(v: Vector, op: Op, x: str, y: str) -> str:
        return v.intrinsic(name, op.results[0].type, x, y)

    return emit


def _float_extremum(predicate: str, propagate: bool) -> Callable[..., str]:
    """NumPy's maximum (nan wins) and fmax (nan loses); of equal operands, the first."""

    def emit(v: Vector, op: Op, x: str, y: str) -> str:
        type = op.results[0].type
        take_x = v.compare(predicate, type, x, y)
        nan = v.compare("uno", type, x, x) if propagate else v.compare("uno", type, y, y)
        return v.select(v.binary("or", ir_types.i1, take_x, nan), type, x, y)

    return emit


def _division(opcode: str, floor: str | None) -> Callable[..., str]:
    """Integer division with NumPy's answers: x // 0 = 0, x % 0 = 0, min // -1 = min."""

    def emit(v: Vector, op: Op, x: str, y: str) -> str:
        type: ScalarType = op.results[0].type
        zero, one = v.literal(0, type), v.literal(1, type)
        bad = v.compare("eq", type, y, zero)
        overflow = None
        if opcode[0] == "s":
            overflow = v.compare("eq", type, y, v.literal(-1, type))
            unsafe = v.binary("or", ir_types.i1, bad, overflow)
        else:
            unsafe = bad
        safe = v.select(unsafe, type, one, y)
        remainder_op = "srem" if opcode[0] == "s" else "urem"
        if opcode[1:] == "div":
            result = v.binary(opcode, type, x, safe)
        else:
            result = v.binary(remainder_op, type, x, safe)
        if floor is not None:
            remainder = v.binary("srem", type, x, safe)
            signs = v.binary("xor", type, remainder, safe)
            off = v.binary(
                "and",
                ir_types.i1,
                v.compare("ne", type, remainder, zero),
                v.compare("slt", type, signs, zero),
            )
            if floor == "div":
                result = v.select(off, type, v.binary("sub", type, result, one), result)
            else:
                result = v.select(off, type, v.binary("add", type, result, safe), result)
        if overflow is not None:
            special = v.binary("sub", type, zero, x) if opcode == "sdiv" else zero
            result = v.select(overflow, type, special, result)
        return v.select(bad, type, zero, result)

    return emit


def _shift(opcode: str) -> Callable[..., str]:
    """Shifts; by the width or more (also a negative count) NumPy gives 0, or the sign for a signed right shift."""

    def emit(v: Vector, op: Op, x: str, y: str) -> str:
        type: ScalarType = op.results[0].type
        width = v.literal(type.bits, type)
        ok = v.compare("ult", type, y, width)
        shifted = v.binary(opcode, type, x, v.select(ok, type, y, v.literal(0, type)))
        if opcode == "ashr":
            beyond = v.binary("ashr", type, x, v.literal(type.bits - 1, type))
        else:
            beyond = v.literal(0, type)
        return v.select(ok, type, shifted, beyond)

    return emit


def _integer_power(v: Vector, op: Op, x: str, y: str) -> str:
    """Power by squaring, in wrapping arithmetic; NumPy refuses negative exponents, so they give what the bits give."""
    type: ScalarType = op.results[0].type
    scalar, kind = llvm_scalar(type), v.type(type)
    name = f"gl_ipow_{scalar}"
    v.body.define(name, _IPOW.format(name=name, type=scalar))
    if v.width == 1:
        return v.body.emit(f"call {scalar} @{name}({scalar} {x}, {scalar} {y})", scalar)
    result = "poison"
    for lane in range(v.width):
        a = v.body.emit(f"extractelement {kind} {x}, i64 {lane}", scalar)
        b = v.body.emit(f"extractelement {kind} {y}, i64 {lane}", scalar)
        value = v.body.emit(f"call {scalar} @{name}({scalar} {a}, {scalar} {b})", scalar)
        result = v.body.emit(f"insertelement {kind} {result}, {scalar} {value}, i64 {lane}", kind)
    return result


_IPOW = """define internal {type} @{name}({type} %x, {type} %y) nounwind {{
entry:
  br label %loop
loop:
  %base = phi {type} [ %x, %entry ], [ %squared, %loop ]
  %rest = phi {type} [ %y, %entry ], [ %half, %loop ]
  %power = phi {type} [ 1, %entry ], [ %next, %loop ]
  %bit = and {type} %rest, 1
  %odd = icmp ne {type} %bit, 0
  %times = mul {type} %power, %base
  %next = select i1 %odd, {type} %times, {type} %power
  %squared = mul {type} %base, %base
  %half = lshr {type} %rest, 1
  %done = icmp eq {type} %half, 0
  br i1 %done, label %exit, label %loop
exit:
  ret {type} %next
}}"""


def _nextafter(v: Vector, op: Op, x: str, y: str) -> str:
    """Step the bit pattern by one: up when moving away from zero, down when moving towards it."""
    type: ScalarType = op.results[0].type
    bits = {16: ir_types.i16, 32: ir_types.i32, 64: ir_types.i64}[type.bits]
    one, zero = v.literal(1, bits), v.literal(0.0, type)
    pattern, towards = (v.cast("bitcast", z, llvm_scalar(type), f"i{bits.bits}") for z in (x, y))
    grows = v.compare("ogt", type, y, x)
    positive = v.compare("ogt", type, x, zero)
    away = v.compare("eq", ir_types.i1, grows, positive)
    stepped = v.select(away, bits, v.binary("add", bits, pattern, one), v.binary("sub", bits, pattern, one))
    sign = v.binary("and", bits, towards, v.literal(-(2 ** (bits.bits - 1)), bits))
    stepped = v.select(v.compare("oeq", type, x, zero), bits, v.binary("or", bits, sign, one), stepped)
    moved = v.cast("bitcast", stepped, f"i{bits.bits}", llvm_scalar(type))
    moved = v.select(v.compare("oeq", type, x, y), type, x if type is ir_types.f16 else y, moved)
    either_nan = v.compare("uno", type, x, y)
    return v.select(either_nan, type, v.body.emit(f"fadd {v.type(type)} {x}, {y}", v.type(type)), moved)


def _absi(v: Vector, op: Op, x: str) -> str:
    type: ScalarType = op.results[0].type
    negative = v.compare("slt", type, x, v.literal(0, type))
    return v.select(negative, type, v.binary("sub", type, v.literal(0, type), x), x)


def _simple(opcode: str) -> Callable[..., str]:
    def emit(v: Vector, op: Op, x: str, y: str) -> str:
        return v.binary(opcode, op.results[0].type, *sorted((x, y)))

    return emit


def _compare(v: Vector, op: Op, x: str, y: str) -> str:
    return v.compare(op.attributes["predicate"], op.operands[0].type, x, y)


_SPECIAL: dict[Any, Callable[..., str]] = {
    s.addi: _simple("add"),
    s.muli: _simple("mul"),
    s.andi: _simple("and"),
    s.ori: _simple("or"),
    s.xori: _simple("xor"),
    s.subi: lambda v, op, x, y: v.binary("sub", op.results[0].type, x, y),
    s.maxsi: _extremum("smax"),
    s.minsi: _extremum("smin"),
    s.maxui: _extremum("umax"),
    s.minui: _extremum("umin"),
    s.maximumf: _float_extremum("oge", True),
    s.minimumf: _float_extremum("ole", True),
    s.maxnumf: _float_extremum("oge", False),
    s.minnumf: _float_extremum("ole", False),
    s.floordivsi: _division("sdiv", "div"),
    s.floormodsi: _division("srem", "rem"),
    s.remsi: _division("srem", None),
    s.divui: _division("udiv", None),
    s.remui: _division("urem", None),
    s.shli: _shift("shl"),
    s.shrsi: _shift("ashr"),
    s.shrui: _shift("lshr"),
    s.powi: _integer_power,
    s.absi: _absi,
    s.cmpf: _compare,
    s.cmpi: _compare,
    s.select: lambda v, op, c, x, y: v.select(c, op.results[0].type, x, y),
    s.convert: lambda v, op, x: convert(v, x, op.operands[0].type, op.attributes["type"]),
    s.math["nextafter"]: _nextafter,
}


def emit_op(v: Vector, op: Op, operands: Sequence[str]) -> str:
    """Write one scalar op; return the name of its result."""
    kind = op.kind
    special = _SPECIAL.get(kind)
    if special is not None:
        return special(v, op, *operands)
    if kind is s.constant:
        return v.literal(op.attributes["value"], op.attributes["type"])
    type: ScalarType = op.results[0].type
    if type.text in ("f32", "f64"):
        lanes = v.lanes(type)
        if LIBRARY in v.body.features and in_library(kind):
            return call_library(lanes, kind.emit, operands)
        result = emit_float(lanes, kind.emit, operands)
        if result is not None:
            return result
    raise UnsupportedError(f"'{op.name}' has no native code for {type}", op.location)


def emit_float(lanes: Lanes, name: str, operands: Sequence[str]) -> str | None:
    """Write a function of floats by its name: of the vector math, or of the lanes; None if neither has it."""
    function = FUNCTIONS.get(name)
    if function is not None:
        return function(lanes, *operands)
    method = getattr(lanes, name, None)
    return None if method is None else method(*operands)
