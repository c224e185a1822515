"""What each op computes, by interpreter and natively, for every dtype that it takes: held against NumPy.

Floats may differ by 4 units in the last place (from the reference, or from the reference in a wider type, where NumPy
itself is less exact); what IEEE 754 determines, integers, bools and moved elements must be equal.
"""

from typing import Any

import numpy as np
import pytest

from gradloom.exec.executable import Executable
from gradloomc.dialects import nd
from gradloomc.dialects.func import body_of, finish_function, make_function
from gradloomc.interp.interpreter import interpret
from gradloomc.ir.builder import at
from gradloomc.ir.opdef import OpDef, Sample
from gradloomc.ir.types import SCALARS, ScalarType, f16, f32, f64, scalar_type, tensor

from .cases import (
    ELEMENTWISE,
    RECORDS,
    SAMPLED,
    ULPS,
    Array,
    arity,
    draw,
    edge_operands,
    elements_of,
    function_of,
    functions_of,
    is_exact,
    reference_of,
    same_bits,
    samples_of,
    ulps,
    wide_reference,
)

MATRIX = [
    pytest.param(record, element, id=f"{record.name}-{element.text}")
    for record in ELEMENTWISE
    for element in elements_of(record)
]
SAMPLES = [
    pytest.param(record, element, id=f"{record.name}-{element.text}")
    for record in SAMPLED
    for element in SCALARS.values()
    if element.text != "index" and samples_of(record, np.random.default_rng(0), element.dtype)
]
# Of zeros of two signs NumPy's vector loops return the second, its scalar loops the first.
ZEROS_TIE = frozenset({"nd.maximum", "nd.minimum", "nd.fmax", "nd.fmin", "nd.clip"})
# Their error counts in units of the larger operand: where the result cancels to nearly nothing it has no exact digits.
CANCELLING = frozenset({"nd.logaddexp", "nd.logaddexp2"})


def difference(record: OpDef, operands: list[Array], attributes: dict[str, Any], actual: Array) -> str:
    """Return what is wrong with a result, or ''."""
    expected = np.asarray(reference_of(record, operands, attributes))
    if actual.dtype != expected.dtype or actual.shape != expected.shape:
        return f"{actual.dtype}{list(actual.shape)} instead of {expected.dtype}{list(expected.shape)}"
    element = scalar_type(operands[0].dtype) if operands else scalar_type(expected.dtype)
    wrong = ~same_bits(actual, expected)
    if expected.dtype.kind == "f" and not is_exact(record, element):
        distance = ulps(actual, expected)
        distance = np.minimum(distance, ulps(actual, wide_reference(record, operands, attributes, expected.dtype)))
        if record.name in CANCELLING:
            with np.errstate(all="ignore"):
                scale = np.maximum(np.maximum(np.abs(operands[0]), np.abs(operands[1])), 1)
                relative = np.abs(actual - expected) / np.spacing(scale)
            distance = np.where(np.isfinite(expected) & np.isfinite(actual), relative, distance)
        signs = (actual == 0) & (expected == 0) & (np.signbit(actual) != np.signbit(expected))
        wrong &= (distance > ULPS) | signs
    if record.name in ZEROS_TIE:
        wrong &= ~((actual == 0) & (expected == 0))
    places = np.argwhere(wrong)[:5]
    return "; ".join(
        f"{[np.broadcast_to(x, wrong.shape)[tuple(p)] for x in operands] if len(operands) else ''} gives "
        f"{actual[tuple(p)]!r}, NumPy {expected[tuple(p)]!r}"
        for p in places
    )


@pytest.mark.parametrize(("record", "element"), MATRIX)
def test_type_rule(record: OpDef, element: ScalarType) -> None:
    """The result's shape and dtype are those of the reference's result."""
    operands = draw(np.random.default_rng(1), record, (2, 3), element)
    result = np.asarray(reference_of(record, operands, {}))
    expected = tensor(result.shape, scalar_type(result.dtype))
    assert record.type_rule(*[tensor((2, 3), element)] * arity(record)) is expected


@pytest.mark.parametrize(("record", "element"), MATRIX)
def test_drawn_and_edge_operands(record: OpDef, element: ScalarType) -> None:
    """In the domain and at every combination of special values: interpreted the reference, native close to it."""
    rng = np.random.default_rng(2)
    for operands in (draw(rng, record, (300,), element), edge_operands(record, element)):
        (interpreted,) = interpret(function_of(record, operands, {}), operands)
        assert same_bits(interpreted, np.asarray(reference_of(record, operands, {}))).all()
        (native,) = Executable(function_of(record, operands, {})).run(operands)
        assert difference(record, operands, {}, native) == ""


@pytest.mark.parametrize(("record", "element"), SAMPLES)
def test_samples(record: OpDef, element: ScalarType) -> None:
    """Every sample of a record: type rule, interpreter, native code."""
    for sample in samples_of(record, np.random.default_rng(3), element.dtype):
        operands = list(sample.operands)
        function = function_of(record, operands, sample.attributes)
        expected = np.asarray(reference_of(record, operands, sample.attributes))
        (result,) = body_of(function).terminator.operands
        assert result.type is tensor(expected.shape, scalar_type(expected.dtype)), sample
        (interpreted,) = interpret(function, operands)
        assert same_bits(interpreted, expected).all(), sample
        (native,) = Executable(function).run(operands)
        close_to_reference(record, sample, native, expected)


def close_to_reference(record: OpDef, sample: Sample, native: Array, expected: Array) -> None:
    """Sums and products of floats may be taken in another order; everything else is equal."""
    assert native.dtype == expected.dtype and native.shape == expected.shape, sample
    if expected.dtype.kind == "f" and ({"reduction", "product", "extern"} & record.tags):
        with np.errstate(all="ignore"):
            scale = np.abs(reference_of(record, [np.abs(x) for x in sample.operands], sample.attributes))
        if record.name in ("nd.gather", "nd.argmax", "nd.argmin"):
            scale = np.zeros(())
        epsilon = np.finfo(expected.dtype).eps
        assert (np.abs(native - expected) <= 4 * epsilon * scale).all(), sample
    else:
        assert same_bits(native, expected).all(), sample


# Lengths around the widths of vectors (8 and 16 elements, two registers 16 and 32), and shapes with odd inner sizes.
LENGTHS = (0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 23, 31, 32, 33, 40)
SHAPES = [(), (1, 1), (3, 5), (5, 1), (1, 37), (2, 3, 7), (4, 0, 2)]
GROUPS = [ELEMENTWISE[k : k + 12] for k in range(0, len(ELEMENTWISE), 12)]


@pytest.mark.parametrize("element", [f32, f64, SCALARS["i64"], SCALARS["i1"]], ids=str)
@pytest.mark.parametrize("group", GROUPS, ids=lambda group: f"{group[0].name}..{group[-1].name}")
def test_lengths_and_shapes(group: list[OpDef], element: ScalarType) -> None:
    """The same elements whatever the length, and whatever shape they stand in."""
    rng = np.random.default_rng(4)
    records = [record for record in group if element in elements_of(record)]
    if not records:
        return
    for shape in [*[(n,) for n in LENGTHS], *SHAPES]:
        drawn = [(record, draw(rng, record, shape, element), {}) for record in records]
        natives = Executable(functions_of(drawn)).run([x for _, operands, _ in drawn for x in operands])
        for (record, operands, _), native in zip(drawn, natives, strict=True):
            assert difference(record, operands, {}, native) == "", shape


@pytest.mark.parametrize("record", [r for r in RECORDS if r.domain is not None and arity(r) == 2], ids=lambda r: r.name)
def test_broadcast_operand(record: OpDef) -> None:
    """An operand that reaches the op through nd.broadcast."""
    rng = np.random.default_rng(5)
    for element in elements_of(record):
        if element not in (f64, f16, SCALARS["i32"], SCALARS["i1"]):
            continue
        x, y = draw(rng, record, (6, 11), element)
        y = y[0]
        function = make_function("f", [tensor(x.shape, element), tensor(y.shape, element)])
        a, b = body_of(function).arguments
        with at(body_of(function)):
            result = record(a, nd.broadcast_to(b, x.shape))
        (native,) = Executable(finish_function(function, [result])).run([x, y])
        assert difference(record, [x, np.broadcast_to(y, x.shape).copy()], {}, native) == ""


def test_doubles_to_halves() -> None:
    """Each half float, the middle between it and the next, and the doubles next to that: rounded once, not twice."""
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    with np.errstate(all="ignore"):
        following = np.nextafter(halves, np.float16(np.inf)).astype(np.float64)
        middles = (halves.astype(np.float64) + following) / 2
        x = np.concatenate([middles, np.nextafter(middles, np.inf), np.nextafter(middles, -np.inf), [65520.0, 1e300]])
        expected = x.astype(np.float16)
    (native,) = Executable(function_of(nd.convert, [x], {"type": f16})).run([x])
    assert same_bits(native, expected).all()
