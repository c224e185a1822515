"""The sheet of IR text (`Body`) and the typed arithmetic on it (`Lanes`)."""

from __future__ import annotations

import numpy as np
import pytest

from gradloomc.codegen.body import Body
from gradloomc.codegen.lanes import Lanes

from .jit_harness import Kernel


def test_same_text_is_one_value():
    body = Body("t")
    first = body.emit("fadd double %x, %y")
    assert body.emit("fadd double %x, %y") == first == "%t0"
    assert body.fresh("load double, ptr %p") != body.fresh("load double, ptr %p")
    assert body.lines[0] == "  %t0 = fadd double %x, %y" and len(body.lines) == 3


def test_effects_labels_and_declarations_keep_their_order():
    body = Body(entry_label="loop")
    assert body.current_block == "loop"
    body.effect("br label %next")
    body.label("next")
    body.declare("declare double @f(double)")
    body.declare("declare double @f(double)")
    assert body.lines == ["  br label %next", "next:"]
    assert body.current_block == "next"
    assert list(body.declarations) == ["declare double @f(double)"]


def test_cold_call_is_numbered_and_merges():
    body = Body()
    arguments = ("%any", "call double @f(double %x)", "double", "%any", "%y")
    value = body.cold_call(*arguments)
    assert body.cold_call(*arguments) == value
    # What the cold block computes must not be taken for available after it.
    assert body.emit("call double @f(double %x)") not in (value, "%v1")
    assert body.lines[-2].startswith(f"  {value} = phi double [ %y, %entry ], [ %v")


@pytest.mark.parametrize(("dtype", "width"), [("f64", 1), ("f64", 8), ("f32", 16)])
def test_types_and_constants(dtype, width):
    lanes = Lanes(Body(), dtype, width)
    scalar = {"f64": "double", "f32": "float"}[dtype]
    assert lanes.float_type == (scalar if width == 1 else f"<{width} x {scalar}>")
    assert lanes.mask_type == ("i1" if width == 1 else f"<{width} x i1>")
    tenth = float(np.float64(0.1) if dtype == "f64" else np.float32(0.1))
    literal = f"0x{np.float64(tenth).view(np.uint64):016X}"
    assert lanes.c(0.1) == (literal if width == 1 else f"splat ({scalar} {literal})")
    assert lanes.ic(1 << (lanes.bits - 1)).strip("splat( i6432)").startswith("-")


def test_unknown_format_is_refused():
    with pytest.raises(ValueError, match="f16"):
        Lanes(Body(), "f16", 8)


def test_commuted_operands_are_one_value():
    lanes = Lanes(Body(), "f64", 8)
    assert lanes.mul("%a", "%b") == lanes.mul("%b", "%a")
    assert lanes.add("%a", 1.0) == lanes.add(1.0, "%a")
    assert lanes.fma("%a", "%b", "%c") == lanes.fma("%b", "%a", "%c")
    assert lanes.sub("%a", "%b") != lanes.sub("%b", "%a")


NAN, INF = np.nan, np.inf
SAMPLES = np.array([-2.5, -1.5, -0.5, -0.0, 0.0, 0.5, 1.5, 2.5, 7.25, NAN, INF, -INF])


@pytest.mark.parametrize("dtype", ["f64", "f32"])
@pytest.mark.parametrize("width", [1, 4, 16])
@pytest.mark.parametrize(
    ("emit", "expected"),
    [
        (lambda v, x: v.add(v.mul(x, x), 1), lambda x: x * x + 1),
        (lambda v, x: v.div(v.sub(1, x), 2.0), lambda x: (1 - x) / 2),
        (lambda v, x: v.neg(x), np.negative),
        (lambda v, x: v.copysign(3.0, x), lambda x: np.copysign(3.0, x)),
        (lambda v, x: v.floor(x), np.floor),
        (lambda v, x: v.ceil(x), np.ceil),
        (lambda v, x: v.trunc(x), np.trunc),
        (lambda v, x: v.rint(x), np.rint),
        (lambda v, x: v.minimum(x, 0.5), lambda x: np.minimum(x, 0.5)),
        (lambda v, x: v.maximum(x, 0.5), lambda x: np.maximum(x, 0.5)),
        (lambda v, x: v.minnum(x, 0.5), lambda x: np.fmin(x, 0.5)),
        (lambda v, x: v.maxnum(x, 0.5), lambda x: np.fmax(x, 0.5)),
        (lambda v, x: v.clamp_above(x, 1.0), lambda x: np.minimum(x, 1.0)),
        (lambda v, x: v.clamp_below(x, -1.0), lambda x: np.maximum(x, -1.0)),
        (lambda v, x: v.select(v.fcmp("olt", x, 0), 1.0, x), lambda x: np.where(x < 0, 1, x)),
        (
            lambda v, x: v.mask_to_float(v.and_(v.fcmp("ogt", x, -1), v.not_(v.fcmp("ogt", x, 1)))),
            lambda x: ((x > -1) & ~(x > 1)).astype(float),
        ),
        (
            lambda v, x: v.bits_to_float(v.and_(v.float_to_bits(x), (1 << (v.bits - 1)) - 1)),
            np.abs,
        ),
        (
            lambda v, x: v.sitofp(v.iadd(v.fptosi(v.minnum(v.maxnum(x, -8.0), 8.0)), 3)),
            lambda x: np.trunc(np.fmin(np.fmax(x, -8), 8)) + 3,
        ),
        (
            lambda v, x: v.sitofp(v.select(v.fcmp("olt", x, 0), v.ashr(v.ic(-8), 1), 5)),
            lambda x: np.where(x < 0, -4, 5),
        ),
    ],
)
def test_arithmetic_as_numpy(dtype, width, emit, expected):
    kind = {"f64": np.float64, "f32": np.float32}[dtype]
    x = SAMPLES.astype(kind)
    with np.errstate(all="ignore"):
        wanted = np.asarray(expected(x), kind)
    computed = Kernel(emit, dtype, width)(x)
    assert np.array_equal(computed, wanted, equal_nan=True)
    ordered = ~np.isnan(wanted)
    assert np.array_equal(np.signbit(computed[ordered]), np.signbit(wanted[ordered]))


def test_any_reads_every_lane():
    def emit(lanes: Lanes, x: str) -> str:
        mask = lanes.fcmp("ogt", x, 100.0)
        found = lanes.body.emit(f"select i1 {lanes.any(mask)}, double 1.0, double 0.0")
        one = lanes.body.emit(f"insertelement {lanes.float_type} poison, double {found}, i64 0")
        return lanes.body.emit(
            f"shufflevector {lanes.float_type} {one}, {lanes.float_type} poison, "
            "<8 x i32> zeroinitializer"
        )

    for lane in range(8):
        x = np.zeros(16)
        x[lane] = 101.0
        assert Kernel(emit, "f64", 8)(x).tolist() == [1.0] * 8 + [0.0] * 8
