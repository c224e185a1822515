"""Reduction of huge angles: the scalar, out-of-line function behind sin, cos and tan's cold branch.

Payne & Hanek's method in integers: the bits of 2/pi that matter for the exponent of x, times its
53-bit mantissa, give x / (pi/2) modulo 4 to 137 bits after the point. C libraries do the same, but
not all of them keep enough bits for the arguments nearest to a multiple of pi/2.
"""

from __future__ import annotations

from gradloomc.codegen.body import Body
from gradloomc.codegen.lanes import Lanes

__all__ = ["REDUCE_HUGE", "define_reduce_huge"]

REDUCE_HUGE = "gradloom_reduce_huge"

# floor(2/pi * 2^1216), hexadecimal.
_TWO_OVER_PI = int(
    "a2f9836e4e441529fc2757d1f534ddc0db6295993c439041fe5163abdebbc561b7246e3a424d"
    "d2e006492eea09d1921cfe1deb1cb129a73ee88235f52ebb4484e99c7026b45f7e413991d639"
    "835339f49c845f8bbdf9283b1ff897ffde05980fef2f118b5a0a6d1f6d367ecf27cb09b74f46"
    "3f669e5fea2d7527bac7ebe5f17b3d0739f78a5292ea6bfb5fb11f8d5d0856033046fc7b6bab",
    16,
)
_WORDS = 23


def define_reduce_huge(body: Body) -> None:
    """Put `{ double r, double low, i64 n } @gradloom_reduce_huge(double)` into the module.

    |x| = n pi/2 + r + low (n modulo 4) for finite |x| >= 2^16; anything for inf and nan.
    """
    if REDUCE_HUGE not in body.functions:
        for declaration in (
            "declare double @llvm.fabs.f64(double)",
            "declare double @llvm.fma.f64(double, double, double)",
            "declare i64 @llvm.fshl.i64(i64, i64, i64)",
            "declare i64 @llvm.fshr.i64(i64, i64, i64)",
            "declare i64 @llvm.ctlz.i64(i64, i1)",
        ):
            body.declare(declaration)
        body.define(REDUCE_HUGE, _text())


def _text() -> str:
    words = [(_TWO_OVER_PI >> (64 * k)) & (2**64 - 1) for k in range(_WORDS)]
    table = ", ".join(f"i64 {w - 2**64 if w >> 63 else w}" for w in words)
    lines = [
        f"@gradloom_two_over_pi = internal constant [{_WORDS} x i64] [{table}]",
        f"define internal {{ double, double, i64 }} @{REDUCE_HUGE}(double %x) "
        "noinline optnone cold nounwind {",
        "  %a = call double @llvm.fabs.f64(double %x)",
        "  %b = bitcast double %a to i64",
        "  %e = lshr i64 %b, 52",
        f"  %m0 = and i64 %b, {2**52 - 1}",
        f"  %m1 = or i64 %m0, {2**52}",
        "  %m = zext i64 %m1 to i128",
        # x = m 2^(e - 1075); the product wants the bits of 2/pi from 2101 - e on.
        "  %s = sub i64 2101, %e",
        "  %i0 = lshr i64 %s, 6",
        "  %k = and i64 %s, 63",
    ]
    for word in range(4):
        if word:
            lines.append(f"  %i{word} = add i64 %i0, {word}")
        lines.append(f"  %t{word} = getelementptr i64, ptr @gradloom_two_over_pi, i64 %i{word}")
        lines.append(f"  %w{word} = load i64, ptr %t{word}")
    for word in range(3):
        lines += [
            f"  %u{word} = call i64 @llvm.fshr.i64(i64 %w{word + 1}, i64 %w{word}, i64 %k)",
            f"  %v{word} = zext i64 %u{word} to i128",
            f"  %y{word} = mul i128 %v{word}, %m",
        ]
        if word:
            lines.append(f"  %c{word} = lshr i128 %z{word - 1}, 64")
            lines.append(f"  %z{word} = add i128 %y{word}, %c{word}")
        else:
            lines.append("  %z0 = add i128 %y0, 0")
        lines.append(f"  %p{word} = trunc i128 %z{word} to i64")
    lines += [
        # p2 p1 p0 is x / (pi/2) modulo 4 with 190 bits after the point: round, keep the rest.
        f"  %q0 = add i64 %p2, {2**61}",
        "  %q = lshr i64 %q0, 62",
        "  %f2 = call i64 @llvm.fshl.i64(i64 %p2, i64 %p1, i64 2)",
        "  %f1 = call i64 @llvm.fshl.i64(i64 %p1, i64 %p0, i64 2)",
        "  %f0 = shl i64 %p0, 2",
        "  %sign = ashr i64 %f2, 63",
        "  %g2 = xor i64 %f2, %sign",
        "  %g1 = xor i64 %f1, %sign",
        "  %g0 = xor i64 %f0, %sign",
        "  %lz = call i64 @llvm.ctlz.i64(i64 %g2, i1 false)",
        "  %n2 = call i64 @llvm.fshl.i64(i64 %g2, i64 %g1, i64 %lz)",
        "  %n1 = call i64 @llvm.fshl.i64(i64 %g1, i64 %g0, i64 %lz)",
        # The leading 53 bits and the next 63 as floats, over the common power of two.
        "  %h0 = lshr i64 %n2, 11",
        "  %h1 = sitofp i64 %h0 to double",
        "  %l0 = call i64 @llvm.fshl.i64(i64 %n2, i64 %n1, i64 53)",
        "  %l1 = lshr i64 %l0, 1",
        "  %l2 = sitofp i64 %l1 to double",
        f"  %l3 = fmul double %l2, {_literal(2.0**-63)}",
        "  %x0 = sub i64 970, %lz",
        "  %x1 = shl i64 %x0, 52",
        f"  %x2 = and i64 %sign, {-(2**63)}",
        "  %x3 = or i64 %x1, %x2",
        "  %scale = bitcast i64 %x3 to double",
        "  %h = fmul double %h1, %scale",
        "  %l = fmul double %l3, %scale",
        f"  %r0 = fmul double %h, {_literal(1.5707963267948966)}",
        "  %r1 = fneg double %r0",
        f"  %r2 = call double @llvm.fma.f64(double %h, double {_literal(1.5707963267948966)}, "
        "double %r1)",
        f"  %r3 = call double @llvm.fma.f64(double %h, double {_literal(6.123233995736766e-17)}, "
        "double %r2)",
        f"  %r4 = call double @llvm.fma.f64(double %l, double {_literal(1.5707963267948966)}, "
        "double %r3)",
        "  %r = fadd double %r0, %r4",
        "  %d0 = fsub double %r0, %r",
        "  %d = fadd double %d0, %r4",
        "  %o0 = insertvalue { double, double, i64 } poison, double %r, 0",
        "  %o1 = insertvalue { double, double, i64 } %o0, double %d, 1",
        "  %o2 = insertvalue { double, double, i64 } %o1, i64 %q, 2",
        "  ret { double, double, i64 } %o2",
        "}",
    ]
    return "\n".join(lines)


def _literal(value: float) -> str:
    """Return a double as LLVM's exact hexadecimal literal."""
    return Lanes(Body(), "f64").c(value)
