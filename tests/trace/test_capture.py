"""Traces themselves: captured arrays, nesting, leaks, source locations, errors with the user's line, and their cost."""

import math
import time
from typing import Any

import numpy as np
import pytest

from gradloom.trace.capture import Traced, lift, trace_flat
from gradloom.trace.context import state
from gradloom.trace.shadow import shadow_function
from gradloom.trace.tracer import Tracer
from gradloomc.dialects import nd
from gradloomc.dialects.func import body_of
from gradloomc.interp.interpreter import interpret
from gradloomc.ir.errors import DTypeError, GradloomError, ShapeError, TracerError, UnsupportedError
from gradloomc.ir.inline import inline_function
from gradloomc.ir.types import f32, f64, i64, tensor
from gradloomc.ir.verifier import verify
from harness.tracing import check, run, trace

LARGE = np.linspace(0.0, 1.0, 100)
SMALL = np.array([1.0, 2.0, 3.0])


def test_large_arrays_become_hidden_arguments() -> None:
    def function(x: Any) -> Any:
        return np.sum(LARGE * x) + np.sum(LARGE**2 * x) + np.sum(SMALL * x)

    traced = trace(function, np.float64(2.0))
    (captured,) = traced.captured  # LARGE itself; LARGE**2 is computed at once, and nobody can change it
    assert captured is LARGE
    arguments = body_of(traced.function).arguments
    assert [a.type for a in arguments] == [tensor((), f64), tensor((100,), f64)]
    assert [a.hint for a in arguments] == ["a0", "captured0"]
    verify(traced.function)
    check(function, np.float64(2.0))


def test_only_arrays_that_nobody_else_holds_become_constants() -> None:
    kept: list[Any] = []

    def function(x: Any) -> Any:
        mine, shared = LARGE + 1.0, LARGE + 2.0
        kept.append(shared)
        view = (LARGE + 3.0)[::2]
        return np.sum(mine * x) + np.sum(shared * x) + np.sum(view * x)

    traced = trace(function, np.float64(2.0))
    assert len(traced.captured) == 2
    assert traced.captured[0] is kept[0]
    assert traced.captured[1].base is not None
    check(function, np.float64(2.0))


def test_results_of_all_kinds() -> None:
    traced = trace_flat(lambda ts: [ts[0], 2, 2.5, True, SMALL, np.float32(1), LARGE], [tensor((2,), f32)], ["x"], "f")
    results = interpret(traced.function, [np.ones(2, np.float32), *traced.captured])
    assert [(r.dtype.name, r.shape) for r in results] == [
        ("float32", (2,)),
        ("int64", ()),
        ("float64", ()),
        ("bool", ()),
        ("float64", (3,)),
        ("float32", ()),
        ("float64", (100,)),
    ]


def test_arrays_changed_in_place_after_use_are_refused() -> None:
    table = np.linspace(0.0, 1.0, 50)

    def function(x: Any) -> Any:
        total = np.sum(table * x)
        table[0] += 1.0
        return total + np.sum(table * x)

    with pytest.raises(UnsupportedError, match="changed in place after the traced function had used it"):
        run(function, np.float64(1.0))


def nested(outer: Any, inner: Any, *arrays: Any) -> tuple[Traced, list[Traced]]:
    """Trace `outer(call, *tracers)`, where `call(function, x)` traces `function` within and inlines it."""
    inners: list[Traced] = []

    def call(function: Any, x: Tracer) -> Tracer:
        traced = trace_flat(lambda ts: [function(*ts)], [x.value.type], ["t"], "inner")
        inners.append(traced)
        values = [lift(x), *[lift(array) for array in traced.captured]]
        return Tracer(inline_function(traced.function, values)[0])

    return trace(lambda *ts: outer(lambda x: call(inner, x), *ts), *arrays), inners


def test_nested_traces() -> None:
    def inner(t: Any) -> Any:
        return np.sum(t**2 * LARGE[:3]) * 2 + np.sum(LARGE * t[0])

    def outer(call: Any, x: Any) -> Any:
        return call(x) + call(np.sin(x))

    traced, inners = nested(outer, inner, SMALL)
    assert [each.closed for each in inners] == [True, True]
    found = interpret(traced.function, [SMALL, *traced.captured])[0]
    np.testing.assert_allclose(found, inner(SMALL) + inner(np.sin(SMALL)))
    assert state.trace is None


def test_nested_traces_may_use_outer_values() -> None:
    holder: list[Any] = []

    def inner(t: Any) -> Any:
        return np.sum(t * holder[-1])

    def outer(call: Any, x: Any) -> Any:
        holder.append(np.cos(x))
        return call(x)

    traced, inners = nested(outer, inner, SMALL)
    assert not inners[0].closed
    assert traced.closed
    np.testing.assert_allclose(interpret(traced.function, [SMALL])[0], np.sum(SMALL * np.cos(SMALL)))


def test_leaked_tracers_are_refused() -> None:
    leaked: list[Any] = []
    trace(lambda x: leaked.append(np.sin(x)) or x, SMALL)
    with pytest.raises(TracerError, match="after its function had been traced"):
        np.sin(leaked[0])
    with pytest.raises(TracerError, match="outside of the function that it belongs to"):
        trace(lambda x: x + leaked[0], SMALL)


def test_tracers_of_an_inner_function_must_not_leave_it() -> None:
    leaked: list[Any] = []

    def inner(t: Any) -> Any:
        leaked.append(np.sin(t))
        return np.sum(t)

    with pytest.raises(TracerError, match="outside of the function"):
        nested(lambda call, x: call(x) + leaked[0], inner, SMALL)


def test_outer_arrays_are_not_written_by_inner_functions() -> None:
    buffers: list[Any] = []

    def inner(t: Any) -> Any:
        buffers[0][0] = t[0]
        return np.sum(t)

    def outer(call: Any, x: Any) -> Any:
        buffers.append(x * 1)
        return call(x)

    with pytest.raises(UnsupportedError, match="of the function around this one"):
        nested(outer, inner, SMALL)


def test_an_error_leaves_no_trace_open() -> None:
    with pytest.raises(ZeroDivisionError):
        trace(lambda x: 1 / 0, SMALL)
    assert state.trace is None


# --- places ---


def located(x: Any, y: Any) -> Any:
    a = np.sin(x)
    b = a * y + helper_of_located(a)
    out = np.zeros(3)
    out[1:] = b[1:]
    return np.mean(
        out,
    )


def helper_of_located(a: Any) -> Any:
    return np.stack([a[0], a[1], math.exp(a[2])])


def test_every_op_knows_the_innermost_line_of_the_user() -> None:
    traced = trace(located, SMALL, SMALL)
    start = located.__code__.co_firstlineno
    helper = helper_of_located.__code__.co_firstlineno
    lines = {}
    for op in body_of(traced.function).ops[:-1]:
        name, line, column, end = op.location.resolve()
        assert name == __file__
        assert column and end >= column
        lines.setdefault(op.name, set()).add(line)
    assert lines["nd.sin"] == {start + 1}
    assert lines["nd.exp"] == {helper + 1}
    assert lines["nd.add"] == {start + 2}
    assert lines["nd.select"] == {start + 4}
    assert lines["nd.reduce_sum"] == {start + 5}


def test_errors_show_the_line_and_the_fix() -> None:
    def wrong(x: Any) -> Any:
        y = x * 2
        return np.dot(y, np.ones(4))

    with pytest.raises(ShapeError) as caught:
        run(wrong, SMALL)
    text = str(caught.value)
    assert f"{__file__}:{wrong.__code__.co_firstlineno + 2}:16: error: shapes (3,) and (4,) not aligned" in text
    assert "return np.dot(y, np.ones(4))\n" in text
    assert "^^^^^^^^^^^^^^^^^^^^^\n" in text or text.rstrip().endswith("^" * 21)


def branch(x: Any) -> Any:
    return x if x[0] > 0 else -x


CASES: list[tuple[Any, Any, str]] = [
    (branch, TracerError, r"(?s)truth of a traced array.*if x\[0\] > 0.*np\.where"),
    (lambda x: x[0] > 0 and x[1], TracerError, "truth of a traced array"),
    (lambda x: not x[0], TracerError, "truth of a traced array"),
    (lambda x: 1 if x[0] in [1.0, 2.0] else 0, TracerError, "truth of a traced array"),
    (lambda x: float(x[0]), TracerError, r"float\(\) of a traced array"),
    (lambda x: int(x[0]), TracerError, r"int\(\) of a traced array"),
    (lambda x: complex(x[0]), TracerError, r"complex\(\) of a traced array"),
    (lambda x: [1, 2][x[0].astype(int)], TracerError, r"(?s)as an index, a size or a count.*np\.take\(table, index"),
    (lambda x: SMALL[x.astype(int)], TracerError, r"(?s)conversion to an ndarray.*np\.take\(table, index, axis=0\)"),
    (lambda x: range(x[0]), TracerError, "as an index, a size or a count"),
    (lambda x: list(x[0]), TracerError, "iteration over a 0-d array"),
    (lambda x: len(x[0]), TracerError, r"len\(\) of unsized object"),
    (lambda x: x.item(), TracerError, r"\.item\(\) of a traced array"),
    (lambda x: x.tolist(), TracerError, r"\.tolist\(\) of a traced array"),
    (lambda x: SMALL.dot(x), TracerError, r"(?s)conversion to an ndarray.*np\.dot\(a, x\)"),
    (lambda x: memoryview(x), TypeError, "memoryview"),
    (lambda x: np.array([x, None], dtype=object), DTypeError, "None is neither"),
    (lambda x: x + np.array(["a"]), DTypeError, "dtype <U1"),
    (lambda x: x + np.array([None, 1.0]), DTypeError, "dtype object holds Python objects"),
    (lambda x: x + np.ones(3, np.longdouble), DTypeError, "float128"),
    (lambda x: x + np.ones(3, complex), DTypeError, "complex numbers are not supported"),
    (lambda x: x + np.array(["2020-01-01"] * 3, "M8[D]"), DTypeError, "datetime64"),
    (lambda x: x + np.ma.masked_array(SMALL, SMALL > 2), UnsupportedError, "lose its mask"),
    (lambda x: x * np.rec.array(SMALL), UnsupportedError, "recarray would lose"),
    (lambda x: x.astype(complex), DTypeError, "complex"),
    (lambda x: np.sort(x), UnsupportedError, "gradloom cannot trace numpy.sort"),
    (lambda x: x.partition(1), UnsupportedError, "no 'partition'"),
    (lambda x: np.gcd(x.astype(int), 2), UnsupportedError, "cannot trace the ufunc 'gcd'"),
    (lambda x: x.nosuch, AttributeError, "no attribute 'nosuch'"),
]


@pytest.mark.parametrize(("function", "error", "message"), CASES, ids=[str(k) for k in range(len(CASES))])
def test_misuse_is_a_named_error_at_the_users_line(function: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        run(function, SMALL)
    if issubclass(error, GradloomError):
        name, line, *_ = caught.value.location.resolve()
        assert (name, line) == (__file__, line)
        assert line >= function.__code__.co_firstlineno


def test_tracers_hash_by_identity_and_print() -> None:
    def function(x: Any) -> Any:
        assert {x: 1}[x] == 1
        assert repr(x) == "<traced array %a0: shape (3,), float64>"
        assert "traced array" in f"{x * 2}"
        return x

    trace(function, SMALL)


def test_lift_of_everything() -> None:
    def function(ts: Any) -> Any:
        values = [
            lift(each) for each in (1, 2.0, True, SMALL, [1, 2], [[ts[0], 1], [2, 3]], np.int8(3), (ts[0], ts[0]))
        ]
        found.extend(str(value.type) for value in values)
        return values

    found: list[str] = []
    trace_flat(function, [tensor((), i64)], ["n"], "f")
    assert found == [
        "tensor<i64>",
        "tensor<f64>",
        "tensor<i1>",
        "tensor<3xf64>",
        "tensor<2xi64>",
        "tensor<2x2xi64>",
        "tensor<i8>",
        "tensor<2xi64>",
    ]


def test_byte_order_and_strides_of_captured_arrays() -> None:
    swapped = LARGE.astype(">f8")
    strided = np.arange(200.0)[::2]
    check(lambda x: np.sum(swapped * x + strided), np.float64(2.0))
    check(lambda x: SMALL.astype(">f4") * x, np.float64(2.0))


def test_the_traced_function_verifies_and_uses_only_nd_ops() -> None:
    traced = trace(located, SMALL, SMALL)
    verify(traced.function)
    for op in body_of(traced.function).ops[:-1]:
        assert op.name.startswith("nd.")
        assert op.kind is getattr(nd, op.name[3:], op.kind)


def test_tracing_costs_microseconds_an_op() -> None:
    """A generous bound, so that only a change of kind fails: 36 ops take 0.4 ms on a quiet machine."""

    def black_scholes(s: Any, k: Any, t: Any, v: Any, r: Any) -> Any:
        d = v * np.sqrt(t)
        d1 = (np.log(s / k) + (r + 0.5 * v**2) * t) / d
        d2 = d1 - d
        cdf1, cdf2 = 1 / (1 + np.exp(-1.7 * d1)), 1 / (1 + np.exp(-1.7 * d2))
        return np.sum(s * cdf1 - k * np.exp(-r * t) * cdf2)

    clone = shadow_function(black_scholes)
    types = [tensor((1000,), f64)] * 5
    best = math.inf
    for _ in range(30):
        start = time.perf_counter()
        trace_flat(lambda ts: [clone(*ts)], types, ["s", "k", "t", "v", "r"], "f")
        best = min(best, time.perf_counter() - start)
    assert best < 3e-3
