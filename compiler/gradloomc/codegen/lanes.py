"""Typed arithmetic on one lane type: what a vector (or a scalar) of f32 or f64 can do in LLVM IR.

`Lanes(body, "f64", 8)` writes into `body` with values of type `<8 x double>`; width 1 writes scalar
code, so that one generator serves the vector loop, its tail and the plain scalar. Operands are SSA
names, literals made by `c`/`ic`, or Python numbers.

It knows LLVM's instructions, not mathematics: the functions are in `vecmath/`.
"""

from __future__ import annotations

import struct

from gradloomc.codegen.body import Body

__all__ = ["Lanes", "Operand"]

Operand = str | int | float

_COMMUTATIVE = frozenset({"add", "mul", "and", "or", "xor", "fadd", "fmul"})


def _ordered(first: str, second: str) -> tuple[str, str]:
    """Order the operands of a commutative instruction, so that a*b and b*a have one text."""
    return (first, second) if first <= second else (second, first)


class Lanes:
    """Emit arithmetic on `width` lanes of `dtype` into `body`.

    No instruction carries a fast-math flag: each is rounded by itself, and `fma` is written where it is meant.
    """

    __slots__ = (
        "_float_scalar",
        "_int_scalar",
        "bits",
        "body",
        "dtype",
        "float_type",
        "int_type",
        "mask_type",
        "suffix",
        "width",
    )

    def __init__(self, body: Body, dtype: str, width: int = 1) -> None:
        """Bind a body to a lane type.

        Args:
            body: where the instructions go.
            dtype: "f64" or "f32".
            width: number of lanes; 1 means scalar types, not a vector of one.
        """
        if dtype not in ("f32", "f64"):
            raise ValueError(f"lanes hold f32 or f64, got {dtype!r}")
        self.body = body
        self.dtype = dtype
        self.width = width
        self.bits = 64 if dtype == "f64" else 32
        self._float_scalar = "double" if dtype == "f64" else "float"
        self._int_scalar = f"i{self.bits}"
        self.float_type = self.type_of(self._float_scalar)
        self.int_type = self.type_of(self._int_scalar)
        self.mask_type = self.type_of("i1")
        self.suffix = dtype if width == 1 else f"v{width}{dtype}"

    def type_of(self, scalar: str) -> str:
        """Return the LLVM type of one `scalar` (e.g. "i1") per lane."""
        return scalar if self.width == 1 else f"<{self.width} x {scalar}>"

    def with_dtype(self, dtype: str) -> Lanes:
        """Return lanes of another float type and the same width on the same body."""
        return Lanes(self.body, dtype, self.width)

    # -- constants and operands

    def c(self, value: float) -> str:
        """Return the literal of a float constant, rounded to the lane type, exact in hex."""
        value = float(value)
        if self.bits == 32 and value - value == 0.0:
            value = struct.unpack("<f", struct.pack("<f", value))[0]
        (pattern,) = struct.unpack("<Q", struct.pack("<d", value))
        return self._splat(self._float_scalar, f"0x{pattern:016X}")

    def ic(self, value: int) -> str:
        """Return the literal of an integer constant; patterns beyond the sign bit wrap."""
        if value >= 1 << (self.bits - 1):
            value -= 1 << self.bits
        return self._splat(self._int_scalar, str(value))

    def mask_constant(self, value: bool) -> str:
        """Return the literal of an all-true or all-false mask."""
        return self._splat("i1", "true" if value else "false")

    def _splat(self, scalar: str, literal: str) -> str:
        return literal if self.width == 1 else f"splat ({scalar} {literal})"

    def _float(self, operand: Operand) -> str:
        return operand if isinstance(operand, str) else self.c(operand)

    def _int(self, operand: str | int) -> str:
        return operand if isinstance(operand, str) else self.ic(operand)

    # -- float arithmetic

    def _float_binary(self, opcode: str, a: Operand, b: Operand) -> str:
        first, second = self._float(a), self._float(b)
        if opcode in _COMMUTATIVE:
            first, second = _ordered(first, second)
        rhs = f"{opcode} {self.float_type} {first}, {second}"
        return self.body.emit(rhs, self.float_type)

    def add(self, a: Operand, b: Operand) -> str:
        """Return a + b."""
        return self._float_binary("fadd", a, b)

    def sub(self, a: Operand, b: Operand) -> str:
        """Return a - b."""
        return self._float_binary("fsub", a, b)

    def mul(self, a: Operand, b: Operand) -> str:
        """Return a * b."""
        return self._float_binary("fmul", a, b)

    def div(self, a: Operand, b: Operand) -> str:
        """Return a / b."""
        return self._float_binary("fdiv", a, b)

    def neg(self, a: Operand) -> str:
        """Return -a (flips the sign bit, of zeros and nans too)."""
        return self.body.emit(f"fneg {self.float_type} {self._float(a)}", self.float_type)

    def intrinsic(self, name: str, *operands: Operand) -> str:
        """Call the pure LLVM intrinsic `llvm.<name>` whose operands and result are the lanes."""
        return self._intrinsic(name, [self._float(x) for x in operands])

    def _intrinsic(self, name: str, operands: list[str]) -> str:
        kind = self.float_type
        callee = f"@llvm.{name}.{self.suffix}"
        self.body.declare(f"declare {kind} {callee}({', '.join([kind] * len(operands))})")
        arguments = ", ".join(f"{kind} {x}" for x in operands)
        return self.body.emit(f"call {kind} {callee}({arguments})", kind)

    def fma(self, a: Operand, b: Operand, c: Operand) -> str:
        """Return a * b + c with one rounding."""
        first, second = _ordered(self._float(a), self._float(b))
        return self._intrinsic("fma", [first, second, self._float(c)])

    def abs(self, a: Operand) -> str:
        """Return |a|."""
        return self.intrinsic("fabs", a)

    def sqrt(self, a: Operand) -> str:
        """Return the correctly rounded square root."""
        return self.intrinsic("sqrt", a)

    def copysign(self, magnitude: Operand, sign: Operand) -> str:
        """Return |magnitude| with the sign bit of `sign`."""
        return self.intrinsic("copysign", magnitude, sign)

    def floor(self, a: Operand) -> str:
        """Round towards minus infinity."""
        return self.intrinsic("floor", a)

    def ceil(self, a: Operand) -> str:
        """Round towards plus infinity."""
        return self.intrinsic("ceil", a)

    def trunc(self, a: Operand) -> str:
        """Round towards zero."""
        return self.intrinsic("trunc", a)

    def rint(self, a: Operand) -> str:
        """Round to the nearest integer, ties to even (NumPy's rint)."""
        return self.intrinsic("roundeven", a)

    def minnum(self, a: Operand, b: Operand) -> str:
        """Return the smaller operand, the other one when one is nan (NumPy's fmin)."""
        return self.intrinsic("minnum", a, b)

    def maxnum(self, a: Operand, b: Operand) -> str:
        """Return the larger operand, the other one when one is nan (NumPy's fmax)."""
        return self.intrinsic("maxnum", a, b)

    def minimum(self, a: Operand, b: Operand) -> str:
        """Return the smaller operand, nan when one is nan; -0.0 counts below +0.0."""
        return self.intrinsic("minimum", a, b)

    def maximum(self, a: Operand, b: Operand) -> str:
        """Return the larger operand, nan when one is nan; +0.0 counts above -0.0."""
        return self.intrinsic("maximum", a, b)

    def clamp_below(self, a: Operand, low: float) -> str:
        """Return max(a, low), and a when it is nan: one instruction on x86."""
        return self.select(self.fcmp("olt", a, low), low, a)

    def clamp_above(self, a: Operand, high: float) -> str:
        """Return min(a, high), and a when it is nan: one instruction on x86."""
        return self.select(self.fcmp("ogt", a, high), high, a)

    # -- integer arithmetic (lanes of the float's width, two's complement, wrapping)

    def _int_binary(self, opcode: str, a: str | int, b: str | int) -> str:
        first, second = self._int(a), self._int(b)
        if opcode in _COMMUTATIVE:
            first, second = _ordered(first, second)
        return self.body.emit(f"{opcode} {self.int_type} {first}, {second}", self.int_type)

    def iadd(self, a: str | int, b: str | int) -> str:
        """Return a + b."""
        return self._int_binary("add", a, b)

    def isub(self, a: str | int, b: str | int) -> str:
        """Return a - b."""
        return self._int_binary("sub", a, b)

    def imul(self, a: str | int, b: str | int) -> str:
        """Return a * b."""
        return self._int_binary("mul", a, b)

    def shl(self, a: str | int, count: str | int) -> str:
        """Shift left."""
        return self._int_binary("shl", a, count)

    def lshr(self, a: str | int, count: str | int) -> str:
        """Shift right, filling with zeros."""
        return self._int_binary("lshr", a, count)

    def ashr(self, a: str | int, count: str | int) -> str:
        """Shift right, filling with the sign."""
        return self._int_binary("ashr", a, count)

    def int_minmax(self, which: str, a: str | int, b: str | int) -> str:
        """Return the integer extremum `which`: smin, smax, umin or umax."""
        kind, suffix = self.int_type, self.suffix.replace("f", "i")
        callee = f"@llvm.{which}.{suffix}"
        self.body.declare(f"declare {kind} {callee}({kind}, {kind})")
        rhs = f"call {kind} {callee}({kind} {self._int(a)}, {kind} {self._int(b)})"
        return self.body.emit(rhs, kind)

    # -- masks and bits

    def _literal(self, kind: str, operand: Operand) -> str:
        """Return an integer or mask operand of LLVM type `kind` as text."""
        if isinstance(operand, str):
            return operand
        return self.ic(int(operand)) if kind == self.int_type else self.mask_constant(bool(operand))

    def _bitwise(self, opcode: str, a: str | int | bool, b: str | int | bool) -> str:
        """Combine two masks or two integers; numbers and known types tell which."""
        kind = next((self.body.types[x] for x in (a, b) if x in self.body.types), None)
        if kind is None:
            number = any(isinstance(x, int) and not isinstance(x, bool) for x in (a, b))
            kind = self.int_type if number else self.mask_type
        first, second = _ordered(self._literal(kind, a), self._literal(kind, b))
        return self.body.emit(f"{opcode} {kind} {first}, {second}", kind)

    def and_(self, a: str | int, b: str | int) -> str:
        """Return the bitwise and of two masks or two integers."""
        return self._bitwise("and", a, b)

    def or_(self, a: str | int, b: str | int) -> str:
        """Return the bitwise or of two masks or two integers."""
        return self._bitwise("or", a, b)

    def xor(self, a: str | int, b: str | int) -> str:
        """Return the bitwise exclusive or of two masks or two integers."""
        return self._bitwise("xor", a, b)

    def not_(self, a: str) -> str:
        """Return the complement of a mask or an integer."""
        return self.xor(a, -1 if self.body.types.get(a) == self.int_type else True)

    def icmp(self, predicate: str, a: str | int, b: str | int) -> str:
        """Compare integers: eq ne slt sle sgt sge ult ule ugt uge."""
        rhs = f"icmp {predicate} {self.int_type} {self._int(a)}, {self._int(b)}"
        return self.body.emit(rhs, self.mask_type)

    def fcmp(self, predicate: str, a: Operand, b: Operand) -> str:
        """Compare floats: oeq olt ole ogt oge one ord (false on nan), uno ueq une ult ... ."""
        rhs = f"fcmp {predicate} {self.float_type} {self._float(a)}, {self._float(b)}"
        return self.body.emit(rhs, self.mask_type)

    def select(self, mask: str, a: Operand, b: Operand) -> str:
        """Return a where `mask`, else b: floats, or whatever known type the operands have."""
        known = next((self.body.types[x] for x in (a, b) if x in self.body.types), self.float_type)
        if known == self.float_type:
            first, second = self._float(a), self._float(b)
        else:
            first, second = self._literal(known, a), self._literal(known, b)
        rhs = f"select {self.mask_type} {mask}, {known} {first}, {known} {second}"
        return self.body.emit(rhs, known)

    def iselect(self, mask: str, a: str | int, b: str | int) -> str:
        """Return the integer a where `mask`, else b."""
        kind = self.int_type
        rhs = f"select {self.mask_type} {mask}, {kind} {self._int(a)}, {kind} {self._int(b)}"
        return self.body.emit(rhs, kind)

    def any(self, mask: str) -> str:
        """Return an i1: whether `mask` holds in any lane."""
        if self.width == 1:
            return mask
        callee = f"@llvm.vector.reduce.or.v{self.width}i1"
        self.body.declare(f"declare i1 {callee}({self.mask_type})")
        return self.body.emit(f"call i1 {callee}({self.mask_type} {mask})", "i1")

    # -- conversions

    def _convert(self, opcode: str, source: str, value: str, target: str) -> str:
        return self.body.emit(f"{opcode} {source} {value} to {target}", target)

    def float_to_bits(self, a: Operand) -> str:
        """Reinterpret a float as its bit pattern."""
        return self._convert("bitcast", self.float_type, self._float(a), self.int_type)

    def bits_to_float(self, a: str | int) -> str:
        """Reinterpret a bit pattern as a float."""
        return self._convert("bitcast", self.int_type, self._int(a), self.float_type)

    def sitofp(self, a: str | int) -> str:
        """Convert signed integers to floats."""
        return self._convert("sitofp", self.int_type, self._int(a), self.float_type)

    def fptosi(self, a: Operand) -> str:
        """Convert floats to signed integers, towards zero; out of range is poison."""
        return self._convert("fptosi", self.float_type, self._float(a), self.int_type)

    def mask_to_float(self, mask: str) -> str:
        """Return 1.0 where `mask`, else 0.0."""
        return self._convert("uitofp", self.mask_type, mask, self.float_type)

    def to_f64(self, a: str) -> str:
        """Widen f32 lanes to f64 lanes of the same count."""
        return self._convert("fpext", self.type_of("float"), a, self.type_of("double"))

    def to_f32(self, a: str) -> str:
        """Round f64 lanes to f32 lanes of the same count."""
        return self._convert("fptrunc", self.type_of("double"), a, self.type_of("float"))
