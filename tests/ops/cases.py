"""What the generated tests run on: functions of one op, made from the records, and operands drawn from their domains.

Nothing here names an op: which dtypes an op takes is asked of its type rule, what it is fed stands in its record.
"""

import inspect
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from gradloomc.dialects import nd  # noqa: F401  (fills the registry)
from gradloomc.dialects.func import body_of, finish_function, make_function
from gradloomc.ir import types as ir_types
from gradloomc.ir.builder import at
from gradloomc.ir.core import Op
from gradloomc.ir.errors import GradloomError
from gradloomc.ir.opdef import REGISTRY, Constant, OpDef, Sample
from gradloomc.ir.types import ScalarType, scalar_type, tensor

Array = np.ndarray[Any, Any]

RECORDS = [record for name, record in REGISTRY.items() if name.startswith("nd.")]
ELEMENTWISE = [record for record in RECORDS if record.domain is not None]
SAMPLED = [record for record in RECORDS if record.samples is not None]
FLOATS = [np.dtype(np.float32), np.dtype(np.float64)]
ELEMENTS = [element for element in ir_types.SCALARS.values() if element is not ir_types.index]

# What IEEE 754 or the integers leave no freedom in; the rest may differ from NumPy by units in the last place.
EXACT = frozenset(
    "nd." + name
    for name in (
        "abs add clip copysign div fmax fmin fmod heaviside maximum minimum mul mul_no_nan neg nextafter reciprocal "
        "remainder sqrt square stop_gradient sub"
    ).split()
)
ULPS = 4


def arity(record: OpDef) -> int:
    """Return how many operands an elementwise op has, from its reference or its domain."""
    count = getattr(record.reference, "nin", None)
    if count is not None:
        return count
    assert record.domain is not None and record.reference is not None
    if len(record.domain.intervals) > 1:
        return len(record.domain.intervals)
    parameters = inspect.signature(record.reference).parameters.values()
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


def takes(record: OpDef, element: ScalarType) -> bool:
    """Tell whether an elementwise op takes operands of this element type."""
    try:
        record.type_rule(*[tensor((3,), element)] * arity(record))
    except GradloomError:
        return False
    return True


def elements_of(record: OpDef, kinds: str = "fiub") -> list[ScalarType]:
    """Return the element types that an elementwise op takes, of the given kinds."""
    return [element for element in ELEMENTS if element.kind in kinds and takes(record, element)]


def is_exact(record: OpDef, element: ScalarType) -> bool:
    """Tell whether the native result must equal NumPy's bit for bit."""
    return element.kind != "f" or record.name in EXACT or isinstance(record.derivative, Constant)


def function_of(record: OpDef, operands: Sequence[Any], attributes: dict[str, Any]) -> Op:
    """Return a function of one op, not folded; `operands` are arrays of the argument types."""
    return functions_of([(record, operands, attributes)])


def functions_of(cases: Iterable[tuple[OpDef, Sequence[Any], dict[str, Any]]]) -> Op:
    """Return a function that applies several ops, each to arguments of its own, and returns all results."""
    cases = list(cases)
    types = [tensor(np.shape(x), scalar_type(x.dtype)) for _, operands, _ in cases for x in operands]
    function = make_function("f", types)
    arguments = iter(body_of(function).arguments)
    results = []
    with at(body_of(function)):
        for record, operands, attributes in cases:
            results += record.build([next(arguments) for _ in operands], attributes).results
    return finish_function(function, results)


def random_array(rng: np.random.Generator, shape: Sequence[int], dtype: Any) -> Array:
    """Return numbers of moderate size, without ties, of any dtype."""
    dtype = np.dtype(dtype)
    size = math.prod(shape)
    if dtype.kind == "b":
        values = rng.integers(0, 2, size)
    elif dtype.kind in "iu":
        values = rng.integers(0 if dtype.kind == "u" else -9, 10, size)
    else:
        values = rng.permutation(size) / max(size, 1) * 3 + rng.uniform(-1.8, -1.5)
    return values.astype(dtype).reshape(shape)


def draw(rng: np.random.Generator, record: OpDef, shape: Sequence[int], element: ScalarType) -> list[Array]:
    """Return operands of an elementwise op, inside its domain."""
    assert record.domain is not None
    intervals = list(record.domain.intervals)
    intervals += intervals[-1:] * (arity(record) - len(intervals))
    size = math.prod(shape)
    operands = []
    for low, high in intervals:
        if element.kind == "f":
            values = rng.uniform(low, high, size)
        elif element.kind == "b":
            values = rng.integers(0, 2, size)
        else:
            low = max(low, 0) if element.kind == "u" else low
            values = rng.integers(math.floor(low), max(math.ceil(high), math.floor(low) + 1), size)
            if element.kind == "i" and record.name == "nd.power" and operands:
                values = np.abs(values)  # NumPy refuses integers to negative powers
        operands.append(values.astype(element.dtype).reshape(shape))
    return operands


def edge_values(record: OpDef, element: ScalarType) -> Array:
    """Return the values at which a result must be NumPy's: specials, limits, subnormals and the record's own."""
    if element.kind == "b":
        return np.array([False, True])
    if element.kind in "iu":
        info = np.iinfo(element.dtype)
        values = {info.min, info.min + 1, -2, -1, 0, 1, 2, 3, 7, info.max - 1, info.max, element.bits - 1, element.bits}
        return np.array([v for v in values if info.min <= v <= info.max], element.dtype)
    info = np.finfo(element.dtype)
    assert record.domain is not None
    magnitudes = [
        0.0, float(info.smallest_subnormal), float(info.tiny), 1e-3, 0.5, 1.0, 1.5, 2.5, 3.0, 89.0, 1e4,
        float(info.max), np.inf,
    ]  # fmt: skip
    values = [sign * m for m in magnitudes for sign in (1.0, -1.0)] + [np.nan, *record.domain.edges]
    with np.errstate(over="ignore"):
        return np.array(values).astype(element.dtype)


def edge_operands(record: OpDef, element: ScalarType) -> list[Array]:
    """Return operands that combine the edge values in every way (for three operands, low <= high)."""
    values = edge_values(record, element)
    count = arity(record)
    if count == 3:  # clip: NumPy leaves low > high open
        values = values[:: max(1, len(values) // 9)]
    grids = [grid.ravel() for grid in np.meshgrid(*[values] * count, indexing="ij")]
    if count == 3:
        keep = ~(grids[1] > grids[2])
        grids = [grid[keep] for grid in grids]
    if element.kind == "i" and record.name == "nd.power":
        keep = grids[1] >= 0
        grids = [grid[keep] for grid in grids]
    return grids


def reference_of(record: OpDef, operands: Sequence[Any], attributes: dict[str, Any]) -> Any:
    """Return the reference's result, its warnings silenced."""
    with np.errstate(all="ignore"):
        return record.reference(*operands, **attributes)  # type: ignore[misc]


def samples_of(record: OpDef, rng: np.random.Generator, dtype: Any) -> list[Sample]:
    """Return the samples of a record for a dtype, or none where the op does not take it."""
    assert record.samples is not None
    kept = []
    for sample in record.samples(lambda *shape: random_array(rng, shape, dtype)):
        types = [tensor(x.shape, scalar_type(x.dtype)) for x in sample.operands]
        try:
            record.type_rule(*types, **sample.attributes)
        except GradloomError:
            continue
        kept.append(sample)
    return kept


def is_differentiable(record: OpDef) -> bool:
    """Tell whether a record has a derivative that is not zero everywhere."""
    return not isinstance(record.derivative, Constant)


def wide(x: Array) -> Array:
    """Return a float array in a wider type; other arrays as they are."""
    if x.dtype == np.float64:
        return x.astype(np.longdouble)
    return x.astype(np.float64) if x.dtype.kind == "f" else x


def wide_reference(record: OpDef, operands: Sequence[Any], attributes: dict[str, Any], dtype: Any) -> Any:
    """Return the reference's result, computed in a wider float type and rounded to `dtype`."""
    with np.errstate(all="ignore"):
        return np.asarray(record.reference(*map(wide, operands), **attributes)).astype(dtype)  # type: ignore[misc]


def ulps(actual: Array, expected: Array) -> Array:
    """Return the distance in units in the last place; equal infinities and nans are 0 apart, unequal ones infinity."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    with np.errstate(all="ignore"):
        unit = np.spacing(np.maximum(np.abs(actual), np.abs(expected))).astype(np.float64)
        distance = np.abs(wide(actual) - wide(expected)).astype(np.float64) / unit
    distance = np.where((actual == expected) | (np.isnan(actual) & np.isnan(expected)), 0.0, distance)
    return np.where(np.isnan(distance), np.inf, distance)


def same_bits(actual: Array, expected: Array) -> Array:
    """Tell for each element whether it is the same number, signed zeros distinct; nan is nan."""
    if actual.dtype.kind != "f":
        return actual == expected
    same = (actual == expected) & (np.signbit(actual) == np.signbit(expected))
    return same | (np.isnan(actual) & np.isnan(expected))
