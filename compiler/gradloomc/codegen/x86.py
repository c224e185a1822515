"""Instructions of AVX-512 that LLVM has no portable name for: scaling, estimates, classes, tables.

Whoever writes code asks `has_avx512(lanes)` first and has another way for the rest. Vectors longer than a register are
split, shorter ones padded, so that every width gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from gradloomc.codegen.body import Body
from gradloomc.codegen.lanes import Lanes

__all__ = [
    "AVX512",
    "INFINITY",
    "NAN",
    "SUBNORMAL",
    "ZERO",
    "exponent_of",
    "features_of",
    "has_avx512",
    "is_class",
    "mantissa_of",
    "reciprocal_estimate",
    "rsqrt_estimate",
    "scale_by_power",
    "table_lookup",
    "unless_special",
]

AVX512 = "avx512"  # the instruction sets f, dq and vl

_REGISTER_BITS = 512
_SMALLEST_BITS = 128
_CURRENT_ROUNDING = 4
_FROM_1_TO_2, _NAN_IF_NEGATIVE = 0, 8


def features_of(attributes: str) -> frozenset[str]:
    """Return the features that LLVM function attributes promise: only AVX-512 has fixed registers of 512 bits."""
    return frozenset({AVX512}) if '"prefer-vector-width"="512"' in attributes else frozenset()


def has_avx512(lanes: Lanes) -> bool:
    """Tell whether the code may use AVX-512."""
    return AVX512 in lanes.body.features


def scale_by_power(lanes: Lanes, value: str, n: str) -> str:
    """Return value * 2^floor(n), rounded once, for any float n (vscalef)."""

    def call(piece: Lanes, values: list[str]) -> str:
        kind, bits = piece.float_type, piece.width * piece.bits
        mask = f"i{max(8, piece.width)}"
        parameters = [kind, kind, kind, mask] + (["i32"] if bits == _REGISTER_BITS else [])
        arguments = [f"{kind} {v}" for v in values] + [f"{kind} zeroinitializer", f"{mask} -1"]
        if bits == _REGISTER_BITS:
            arguments.append(f"i32 {_CURRENT_ROUNDING}")
        return _call(piece, "mask.scalef.p#", kind, parameters, arguments)

    return _by_registers(lanes, [value, n], call)


def exponent_of(lanes: Lanes, x: str) -> str:
    """Return k of |x| = 2^k m, 1 <= m < 2, as a float: -inf for zeros, inf for infinities (vgetexp)."""
    return _masked(lanes, "getexp", x)


def mantissa_of(lanes: Lanes, x: str) -> str:
    """Return m of x = 2^k m, 1 <= m < 2: 1 for zeros and infinity, nan for negative x (vgetmant)."""
    return _masked(lanes, "getmant", x, [f"i32 {_FROM_1_TO_2 | _NAN_IF_NEGATIVE}"])


def _masked(lanes: Lanes, name: str, x: str, immediates: list[str] | None = None) -> str:
    def call(piece: Lanes, values: list[str]) -> str:
        kind, full = piece.float_type, piece.width * piece.bits == _REGISTER_BITS
        mask = f"i{max(8, piece.width)}"
        arguments = [f"{kind} {values[0]}", *(immediates or ()), f"{kind} zeroinitializer", f"{mask} -1"]
        arguments += [f"i32 {_CURRENT_ROUNDING}"] * full
        parameters = [argument.rpartition(" ")[0] for argument in arguments]
        return _call(piece, f"mask.{name}.p#", kind, parameters, arguments)

    return _by_registers(lanes, [x], call)


def reciprocal_estimate(lanes: Lanes, x: str) -> str:
    """Return 1/x to a relative error of 2^-14; exact at zeros and infinities (vrcp14)."""
    return _estimate(lanes, "rcp14", x)


def rsqrt_estimate(lanes: Lanes, x: str) -> str:
    """Return 1/sqrt(x) to a relative error of 2^-14; exact at zeros and infinities (vrsqrt14)."""
    return _estimate(lanes, "rsqrt14", x)


def _estimate(lanes: Lanes, name: str, x: str) -> str:
    def call(piece: Lanes, values: list[str]) -> str:
        kind, mask = piece.float_type, f"i{max(8, piece.width)}"
        arguments = [f"{kind} {values[0]}", f"{kind} zeroinitializer", f"{mask} -1"]
        return _call(piece, f"{name}.p#", kind, [kind, kind, mask], arguments)

    return _by_registers(lanes, [x], call)


# What `is_class` can ask for, to be added up.
QUIET_NAN, PLUS_ZERO, MINUS_ZERO, PLUS_INFINITY, MINUS_INFINITY, SUBNORMAL, NEGATIVE, SIGNALING_NAN = (
    1 << k for k in range(8)
)
NAN = QUIET_NAN | SIGNALING_NAN
ZERO = PLUS_ZERO | MINUS_ZERO
INFINITY = PLUS_INFINITY | MINUS_INFINITY


def is_class(lanes: Lanes, x: str, classes: int) -> str:
    """Return the mask of lanes whose value is in one of the `classes` (vfpclass)."""

    def call(piece: Lanes, values: list[str]) -> str:
        kind = piece.float_type
        return _call(piece, "fpclass.p#", piece.mask_type, [kind, "i32"], [f"{kind} {values[0]}", f"i32 {classes}"])

    return _by_registers(lanes, [x], call, "i1")


# What vfixupimm does for each kind of number, a hexadecimal digit each: 0 keeps the first operand, 1 takes the second,
# 2 takes it as a quiet nan. From the right: quiet and signaling nan, zero, one, -inf, inf, negative, positive.
_SECOND_IF_SPECIAL = 0x00110121


def unless_special(lanes: Lanes, value: str, guide: str) -> str:
    """Return `value`, but `guide` where that is zero, infinite or nan (vfixupimm)."""

    def call(piece: Lanes, values: list[str]) -> str:
        kind, ints, full = piece.float_type, piece.int_type, piece.width * piece.bits == _REGISTER_BITS
        mask = f"i{max(8, piece.width)}"
        arguments = [f"{kind} {v}" for v in values]
        arguments += [f"{ints} splat (i{piece.bits} {_SECOND_IF_SPECIAL})", "i32 0", f"{mask} -1"]
        arguments += [f"i32 {_CURRENT_ROUNDING}"] * full
        parameters = [kind, kind, ints, "i32", mask] + ["i32"] * full
        return _call(piece, "mask.fixupimm.p#", kind, parameters, arguments)

    return _by_registers(lanes, [value, guide], call)


def table_lookup(lanes: Lanes, index: str, table: tuple[float, ...]) -> str:
    """Return table[index modulo 16] for the low bits of the integers `index` (vperm)."""
    if len(table) != 16:
        raise ValueError(f"a table has 16 entries, got {len(table)}")

    def literal(entries: tuple[float, ...]) -> str:
        scalar = Lanes(lanes.body, lanes.dtype, 1)
        return "<" + ", ".join(f"{scalar.float_type} {scalar.c(v)}" for v in entries) + ">"

    def call(piece: Lanes, values: list[str]) -> str:
        kind, ints = piece.float_type, piece.int_type
        if piece.bits == 32:
            arguments = [f"{kind} {literal(table)}", f"{ints} {values[0]}"]
            return _call(piece, "permvar.sf", kind, [kind, ints], arguments)
        arguments = [f"{kind} {literal(table[:8])}", f"{ints} {values[0]}", f"{kind} {literal(table[8:])}"]
        return _call(piece, "vpermi2var.pd", kind, [kind, ints, kind], arguments)

    return _by_registers(lanes, [index], call, smallest=_REGISTER_BITS)


def _call(piece: Lanes, name: str, result: str, parameters: list[str], arguments: list[str]) -> str:
    """Call an intrinsic on one register; "#" in the name stands for the element type."""
    callee = f"@llvm.x86.avx512.{name}.{piece.width * piece.bits}".replace("#", "d" if piece.bits == 64 else "s")
    piece.body.declare(f"declare {result} {callee}({', '.join(parameters)})")
    return piece.body.emit(f"call {result} {callee}({', '.join(arguments)})", result)


def _by_registers(
    lanes: Lanes,
    operands: Sequence[str],
    call: Callable[[Lanes, list[str]], str],
    result: str | None = None,
    smallest: int = _SMALLEST_BITS,
) -> str:
    """Apply `call` to whole registers: the pieces of a longer vector, or a shorter one with lanes added.

    Args:
        lanes: the lanes of the operands.
        operands: values with one scalar for each lane.
        call: writes the instruction for the lanes of one register.
        result: the scalar type of what it returns; the lanes' float type by default.
        smallest: the bits of the smallest register that it takes.
    """
    body, width = lanes.body, lanes.width
    most, least = _REGISTER_BITS // lanes.bits, smallest // lanes.bits
    if least <= width <= most:
        return call(lanes, list(operands))
    scalar = result or _scalar(lanes.float_type)
    if width < least:
        wide = Lanes(body, lanes.dtype, least)
        return _narrowed(body, call(wide, [_widened(lanes, v, least) for v in operands]), scalar, least, width)
    piece = Lanes(body, lanes.dtype, most)
    parts = [
        call(piece, [_pieces(lanes, v, range(start, start + most)) for v in operands])
        for start in range(0, width, most)
    ]
    return _joined(body, parts, scalar, most)


def _scalar(kind: str) -> str:
    """Return the scalar of an LLVM type."""
    return kind.split(" x ")[1][:-1] if " x " in kind else kind


def _indices(positions: Iterable[int]) -> str:
    numbers = [f"i32 {k}" for k in positions]
    return f"<{len(numbers)} x i32> <{', '.join(numbers)}>"


def _pieces(lanes: Lanes, value: str, positions: range) -> str:
    """Return some lanes of a vector."""
    kind = lanes.body.types.get(value, lanes.float_type)  # a literal has no entry
    rhs = f"shufflevector {kind} {value}, {kind} poison, {_indices(positions)}"
    return lanes.body.emit(rhs, f"<{len(positions)} x {_scalar(kind)}>")


def _widened(lanes: Lanes, value: str, width: int) -> str:
    """Return a vector that begins with the lanes of a shorter one or with a scalar, and repeats them."""
    kind = lanes.body.types.get(value, lanes.float_type)  # a literal has no entry
    wide = f"<{width} x {_scalar(kind)}>"
    if lanes.width == 1:
        first = lanes.body.emit(f"insertelement {wide} poison, {kind} {value}, i64 0", wide)
        return lanes.body.emit(f"shufflevector {wide} {first}, {wide} poison, <{width} x i32> zeroinitializer", wide)
    positions = _indices(k % lanes.width for k in range(width))
    return lanes.body.emit(f"shufflevector {kind} {value}, {kind} poison, {positions}", wide)


def _narrowed(body: Body, value: str, scalar: str, width: int, wanted: int) -> str:
    """Return the first lanes of a vector."""
    kind = f"<{width} x {scalar}>"
    if wanted == 1:
        return body.emit(f"extractelement {kind} {value}, i64 0", scalar)
    rhs = f"shufflevector {kind} {value}, {kind} poison, {_indices(range(wanted))}"
    return body.emit(rhs, f"<{wanted} x {scalar}>")


def _joined(body: Body, parts: list[str], scalar: str, width: int) -> str:
    """Concatenate vectors, pairwise."""
    while len(parts) > 1:
        kind, both = f"<{width} x {scalar}>", f"<{2 * width} x {scalar}>"
        indices = _indices(range(2 * width))
        parts = [
            body.emit(f"shufflevector {kind} {a}, {kind} {b}, {indices}", both)
            for a, b in zip(parts[::2], parts[1::2], strict=True)
        ]
        width *= 2
    return parts[0]
