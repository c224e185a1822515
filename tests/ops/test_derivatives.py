"""Derivatives of each op, generated from the records: first and second order, both modes, interpreted and native.

The tangent is held against central differences of the reference, the cotangent against the tangent by
<Jv, u> = <v, J'u>, the derivative of the gradient against differences of the gradient, and native code against the
interpreter.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest

from gradloom.exec.executable import Executable
from gradloomc.ad.transform import jvp_of, vjp_of
from gradloomc.dialects import nd
from gradloomc.dialects.func import body_of
from gradloomc.interp.interpreter import interpret
from gradloomc.ir.core import Op
from gradloomc.ir.opdef import OpDef
from gradloomc.ir.types import f32, f64

from .cases import (
    RECORDS,
    Array,
    arity,
    draw,
    edge_operands,
    elements_of,
    function_of,
    is_differentiable,
    random_array,
    reference_of,
    samples_of,
)

STEP = 1e-3
# Central differences of sixth order (Fornberg 1988): their error is of the order of STEP**6.
STENCIL = ((1, 3 / 4), (2, -3 / 20), (3, 1 / 60))


class Case(NamedTuple):
    """An op with operands in float64, the derivative asked for in `active` of them."""

    record: OpDef
    operands: list[Array]
    attributes: dict[str, Any]
    active: tuple[int, ...]

    def function(self) -> Op:
        return function_of(self.record, self.operands, self.attributes)

    def in_single(self) -> "Case":
        """Return the same case in float32."""
        return self._replace(operands=[single(x) for x in self.operands])


def single(x: Array) -> Array:
    return x.astype(np.float32) if x.dtype == np.float64 else x


def cases_of(record: OpDef) -> list[Case]:
    """Return cases for all float operands together, and for each alone."""
    rng = np.random.default_rng(21)
    inputs: list[tuple[list[Array], dict[str, Any]]] = []
    if record.domain is not None:
        if f64 in elements_of(record):
            operands = draw(rng, record, (17,), f64)
            smooth = is_smooth_at(record, operands)
            assert smooth.sum() >= 10
            inputs.append(([x[smooth] for x in operands], {}))
    else:
        inputs += [(list(s.operands), s.attributes) for s in samples_of(record, rng, np.float64)]
    cases = []
    for operands, attributes in inputs:
        if record.type_rule is None or not is_float(reference_of(record, operands, attributes)):
            continue
        floats = tuple(i for i, x in enumerate(operands) if x.dtype.kind == "f")
        subsets = {floats, *[(i,) for i in floats]} if len(floats) > 1 else {floats}
        cases += [Case(record, operands, attributes, active) for active in sorted(subsets) if active]
    return cases


def is_smooth_at(record: OpDef, operands: Sequence[Array]) -> Array:
    """Tell at which points differences of an elementwise reference see no jump or kink: two step sizes agree."""
    count = len(operands)
    smooth = np.full(operands[0].shape, True)
    for moving in {tuple(range(count)), *[(i,) for i in range(count)]}:
        along = [np.full_like(x, 2) if i in moving else None for i, x in enumerate(operands)]
        slopes = [
            difference_along(lambda xs: np.asarray(reference_of(record, xs, {}), float), operands, along, step)
            for step in (STEP, STEP / 2)
        ]
        smooth &= np.abs(slopes[0] - slopes[1]) <= 1e-3 * (1 + np.abs(slopes[1]))
    return smooth


def is_float(x: Any) -> bool:
    return np.asarray(x).dtype.kind == "f"


def difference_along(
    f: Callable[[Sequence[Any]], Any], at: Sequence[Any], direction: Sequence[Any], step: float = STEP
) -> Any:
    """Return the derivative of `f` along a direction (None: not moved), by differences."""
    total: Any = 0
    for k, weight in STENCIL:
        for sign in (1, -1):
            moved = [x if v is None else x + sign * k * step * v for x, v in zip(at, direction, strict=True)]
            total = total + sign * weight * f(moved)
    return total / step


CASES = [case for record in RECORDS for case in cases_of(record)]
DIFFERENTIABLE = [case for case in CASES if is_differentiable(case.record)]
all_cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case.record.name)
differentiable_cases = pytest.mark.parametrize("case", DIFFERENTIABLE, ids=lambda case: case.record.name)


def epsilon(x: Array) -> float:
    return float(np.finfo(x.dtype).eps)


def difference_error(result: Array) -> float:
    """Return what differences of a float64 program may be off by, more where its result was rounded to another type."""
    return 1e-9 if epsilon(result) < 1e-15 else 20 * epsilon(result) / STEP


def directions(case: Case, seed: int) -> list[Array]:
    """Return a tangent for each active operand."""
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.uniform(0.5, 1.5, case.operands[i].shape)) for i in case.active]


def assert_close(actual: Any, expected: Any, tolerance: float) -> None:
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    with np.errstate(all="ignore"):
        scale = 1 + np.abs(expected).astype(np.float64)
        fits = np.abs(actual - expected) <= tolerance * scale
    fits |= (actual == expected) | (np.isnan(actual) & np.isnan(expected))
    assert fits.all(), (actual[~fits][:5], expected[~fits][:5])


@all_cases
def test_tangent_by_differences(case: Case) -> None:
    """jvp = (f(x + h v) - f(x - h v)) / 2h; in single precision the same to its precision."""
    tangents = directions(case, 7)
    outputs = interpret(jvp_of(case.function(), case.active), [*case.operands, *tangents])
    expected = reference_of(case.record, case.operands, case.attributes)
    assert_close(outputs[0], expected, 2 * float(np.finfo(outputs[0].dtype).eps))
    along: list[Any] = [None] * len(case.operands)
    for i, tangent in zip(case.active, tangents, strict=True):
        along[i] = tangent
    with np.errstate(all="ignore"):
        wide = [x.astype(np.longdouble) if x.dtype.kind == "f" else x for x in case.operands]
        by_differences = difference_along(lambda xs: reference_of(case.record, xs, case.attributes), wide, along)
    if case.record is nd.stop_gradient:  # the op that is there to have no derivative
        by_differences = np.zeros_like(by_differences)
    assert_close(outputs[1], by_differences, difference_error(outputs[1]))
    narrow = case.in_single()
    in_single = interpret(jvp_of(narrow.function(), case.active), [*narrow.operands, *map(single, tangents)])
    assert_close(in_single[1], outputs[1], max(2e-5, 10 * epsilon(outputs[1])))


def pulled(case: Case, operands: Sequence[Array], cotangent: Array) -> list[Array]:
    """Return the cotangents of the active operands, interpreted."""
    return interpret(vjp_of(case.function(), case.active), [*operands, cotangent])[1:]


def cotangent_like(result: Any, seed: int) -> Array:
    result = np.asarray(result)
    return np.asarray(np.random.default_rng(seed).uniform(-1.5, 1.5, result.shape), result.dtype)


def inner(xs: Sequence[Any], ys: Sequence[Any]) -> Any:
    return sum(np.vdot(x.astype(np.float64), y.astype(np.float64)) for x, y in zip(xs, ys, strict=True))


@all_cases
def test_adjoint_identity(case: Case) -> None:
    """<Jv, u> = <v, J'u>."""
    v = directions(case, 8)
    result, tangent = interpret(jvp_of(case.function(), case.active), [*case.operands, *v])
    u = cotangent_like(result, 9)
    pulled_back = pulled(case, case.operands, u)
    assert [x.shape for x in pulled_back] == [case.operands[i].shape for i in case.active]
    scale = inner([np.abs(tangent)], [np.abs(u)]) + inner(map_abs(v), map_abs(pulled_back))
    assert abs(inner([tangent], [u]) - inner(v, pulled_back)) <= 50 * epsilon(result) * (1 + scale)


@differentiable_cases
def test_second_order(case: Case) -> None:
    """The tangent of the gradient is its difference quotient; its own adjoint fits it."""
    u = cotangent_like(reference_of(case.record, case.operands, case.attributes), 10)
    gradient = vjp_of(case.function(), case.active)
    v = directions(case, 11)
    along: list[Any] = [None] * len(case.operands)
    for i, tangent in zip(case.active, v, strict=True):
        along[i] = tangent
    outputs = interpret(jvp_of(gradient, case.active), [*case.operands, u, *v])
    count = len(case.active)
    seconds = outputs[1 + count + 1 :]
    for k in range(count):
        expected = difference_along(lambda xs, k=k: pulled(case, xs, u)[k], case.operands, along)
        assert_close(seconds[k], expected, 10 * difference_error(u))
    # reverse over reverse
    results = outputs[: 1 + count]
    seeds = [cotangent_like(r, 12 + k) for k, r in enumerate(results)]
    back = interpret(vjp_of(gradient, case.active), [*case.operands, u, *seeds])[1 + count :]
    tangents = outputs[1 + count :]
    left, right = inner(tangents, seeds), inner(v, back)
    scale = inner(map_abs(tangents), map_abs(seeds)) + inner(map_abs(v), map_abs(back))
    assert abs(left - right) <= 50 * epsilon(u) * (1 + scale)


def map_abs(arrays: Sequence[Any]) -> list[Any]:
    return [np.abs(x) for x in arrays]


@differentiable_cases
@pytest.mark.parametrize("element", [f32, f64], ids=str)
def test_native_derivatives(case: Case, element: Any) -> None:
    """Native tangents, cotangents and tangents of cotangents are the interpreted ones."""
    if element is f32:
        case = case.in_single()
    rng = np.random.default_rng(13)
    result = np.asarray(reference_of(case.record, case.operands, case.attributes))
    tolerance = max(2e-5 if element is f32 else 1e-12, 10 * epsilon(result))
    for function in (
        jvp_of(case.function(), case.active),
        vjp_of(case.function(), case.active),
        jvp_of(vjp_of(case.function(), case.active), case.active),
    ):
        arrays = list(case.operands)
        for argument in body_of(function).arguments[len(arrays) :]:
            arrays.append(random_array(rng, argument.type.shape, argument.type.element.dtype))
        expected = interpret(function, arrays)
        for native, interpreted in zip(Executable(function).run(arrays), expected, strict=True):
            assert_close(native, interpreted, tolerance)


EDGES = [
    pytest.param(record, element, id=f"{record.name}-{element.text}")
    for record in RECORDS
    if record.domain is not None and is_differentiable(record)
    for element in (f32, f64)
    if element in elements_of(record)
]


@pytest.mark.parametrize(("record", "element"), EDGES)
def test_edges_of_derivatives(record: OpDef, element: Any) -> None:
    """At special values native derivatives are finite, infinite and nan where the interpreted ones are."""
    operands = edge_operands(record, element)
    cotangent = np.ones_like(operands[0])
    active = tuple(range(arity(record)))
    function = vjp_of(function_of(record, operands, {}), active)
    expected = interpret(function, [*operands, cotangent])
    natives = Executable(function).run([*operands, cotangent])
    tolerance = 2e-5 if element is f32 else 1e-12
    for native, interpreted in zip(natives, expected, strict=True):
        with np.errstate(all="ignore"):
            close = np.abs(native - interpreted) <= tolerance * np.abs(interpreted) + np.finfo(element.dtype).tiny * 8
        close |= (native == interpreted) | (np.isnan(native) & np.isnan(interpreted))
        places = np.flatnonzero(~close)[:4]
        assert not len(places), [([x[p] for x in operands], native[p], interpreted[p]) for p in places]
