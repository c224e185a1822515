"""What all vector math shares: the two formats, polynomials, exact sums and products, cold calls.

Knows floating point, not any function.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from gradloomc.codegen.lanes import Lanes
from gradloomc.codegen.vecmath.coefficients import COEFFICIENTS

__all__ = [
    "FORMATS",
    "Format",
    "call_where",
    "coefficients",
    "fast_two_sum",
    "polynomial",
    "two_product",
    "within_bits",
]


class Format(NamedTuple):
    """The constants of one IEEE format.

    `magic` added to a number rounds it to an integer that stands in the low bits of the sum
    (1.5 * 2^mantissa); `ln2_high` has enough trailing zeros to be exact times any exponent.
    """

    bits: int
    mantissa: int
    bias: int
    magic: float
    ln2_high: float
    ln2_low: float
    exp_high: float
    exp_low: float
    smallest_normal: float
    tiny: float

    @property
    def one_bits(self) -> int:
        """Bit pattern of 1.0."""
        return self.bias << self.mantissa

    @property
    def exponent_mask(self) -> int:
        """Bit pattern of infinity: the exponent field."""
        return (2 * self.bias + 1) << self.mantissa

    @property
    def sign_bit(self) -> int:
        """Bit pattern of -0.0."""
        return 1 << (self.bits - 1)

    def pattern(self, value: float) -> int:
        """Return the bit pattern of a value of the format."""
        code, target = ("<d", "<Q") if self.bits == 64 else ("<f", "<I")
        return struct.unpack(target, struct.pack(code, value))[0]


FORMATS = {
    "f64": Format(
        bits=64,
        mantissa=52,
        bias=1023,
        magic=6755399441055744.0,
        ln2_high=6.93147180369123816490e-01,
        ln2_low=1.90821492927058770002e-10,
        exp_high=710.0,
        exp_low=-746.0,
        smallest_normal=2.2250738585072014e-308,
        tiny=2.0**-54,
    ),
    "f32": Format(
        bits=32,
        mantissa=23,
        bias=127,
        magic=12582912.0,
        ln2_high=0.693145751953125,
        ln2_low=1.428606765330187e-06,
        exp_high=89.0,
        exp_low=-104.0,
        smallest_normal=1.1754943508222875e-38,
        tiny=2.0**-25,
    ),
}


def coefficients(lanes: Lanes, name: str) -> tuple[float, ...]:
    """Return the coefficients of the polynomial `name` for the lanes' format."""
    return COEFFICIENTS[lanes.dtype][name]


def polynomial(lanes: Lanes, x: str, terms: tuple[float, ...]) -> str:
    """Evaluate a polynomial, low-order coefficient first, by Horner's rule.

    A chain has the fewest instructions and one constant for each, which can be a memory operand.
    Measured: loops over long arrays are bound by the number of operations, not by their latency;
    Estrin's scheme and interleaved chains were slower in every function.
    """
    result: str | float = terms[-1]
    for term in terms[-2::-1]:
        result = lanes.fma(result, x, term)
    return result if isinstance(result, str) else lanes.c(result)


def fast_two_sum(lanes: Lanes, large: str, small: str) -> tuple[str, str]:
    """Return (s, e) with s + e = large + small exactly, when |large| >= |small| or large = 0."""
    total = lanes.add(large, small)
    return total, lanes.sub(small, lanes.sub(total, large))


def two_product(lanes: Lanes, a: str, b: str | float) -> tuple[str, str]:
    """Return (p, e) with p + e = a * b exactly (barring underflow)."""
    product = lanes.mul(a, b)
    return product, lanes.fma(a, b, lanes.neg(product))


def within_bits(lanes: Lanes, x: str, value: str, pattern: int) -> str:
    """Flip in `value` the bits of `x` that are in `pattern` (usually the sign bit)."""
    flipped = lanes.xor(lanes.float_to_bits(value), lanes.and_(x, pattern))
    return lanes.bits_to_float(flipped)


def call_where(lanes: Lanes, symbol: str, mask: str, operands: list[str], otherwise: str) -> str:
    """Replace the lanes of `mask`, hardly ever any, by the scalar f64 function `symbol`.

    The call stands in a branch that is taken when any lane asks for it, in a function of its own
    that walks the lanes, so the common path pays one test. f32 lanes are widened for it.
    """
    body, kind = lanes.body, lanes.float_type
    name = (
        f"{symbol}_{lanes.suffix}"
        if symbol.startswith("gradloom_")
        else (f"gradloom_{symbol}_{lanes.suffix}")
    )
    if name not in body.functions:
        body.define(name, _per_lane(lanes, name, symbol, len(operands)))
    call = ", ".join(f"{kind} {x}" for x in operands)
    return body.cold_call(lanes.any(mask), f"call {kind} @{name}({call})", kind, mask, otherwise)


def _per_lane(lanes: Lanes, name: str, symbol: str, arity: int) -> str:
    """Return the text of a function that applies a scalar f64 function to each lane in a loop.

    One lane runs the loop once: scalar code and vectors share one text. Cold functions are not
    optimised (`optnone`), which halves what they cost to compile.
    """
    kind = lanes.float_type
    scalar = "double" if lanes.bits == 64 else "float"
    arguments = ", ".join(f"{kind} %x{k}" for k in range(arity))
    lines = [
        f"define internal {kind} @{name}({arguments}) noinline optnone cold nounwind {{",
        "entry:",
    ]
    lines += [f"  %a{k} = alloca {kind}" for k in range(arity)]
    lines += [f"  store {kind} %x{k}, ptr %a{k}" for k in range(arity)]
    lines += ["  br label %lane", "lane:", "  %i = phi i64 [ 0, %entry ], [ %next, %lane ]"]
    wide = "v" if lanes.bits == 64 else "w"
    for k in range(arity):
        lines.append(f"  %p{k} = getelementptr inbounds {scalar}, ptr %a{k}, i64 %i")
        lines.append(f"  %v{k} = load {scalar}, ptr %p{k}")
        if lanes.bits == 32:
            lines.append(f"  %w{k} = fpext float %v{k} to double")
    lines.append(
        f"  %r = call double @{symbol}({', '.join(f'double %{wide}{k}' for k in range(arity))})"
    )
    if lanes.bits == 32:
        lines.append("  %s = fptrunc double %r to float")
    lines += [
        f"  store {scalar} %{'r' if lanes.bits == 64 else 's'}, ptr %p0",
        "  %next = add i64 %i, 1",
        f"  %more = icmp ult i64 %next, {lanes.width}",
        "  br i1 %more, label %lane, label %done",
        "done:",
        f"  %y = load {kind}, ptr %a0",
        f"  ret {kind} %y",
        "}",
    ]
    return "\n".join(lines)
