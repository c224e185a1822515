"""Every record is complete: what a test, a document or an engine asks of it is there."""

import inspect
from typing import Any

import numpy as np
import pytest

from gradloomc.dialects.func import make_function
from gradloomc.ir.builder import at
from gradloomc.ir.opdef import Derivative, Linear, Multilinear, OpDef, Partials
from gradloomc.ir.types import ScalarType, f64, tensor

from .cases import ELEMENTWISE, RECORDS, arity, elements_of

by_name = pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)


@by_name
def test_has_every_facet(record: OpDef) -> None:
    assert record.doc.endswith("."), "a doc is a sentence"
    assert isinstance(record.derivative, Derivative) and type(record.derivative) is not Derivative
    assert record.reference is not None
    assert record.domain is not None or record.samples is not None, "the generated tests need operands"
    families = {"elementwise", "movement", "reduction", "indexing", "extern"} & record.tags
    assert len(families) == 1 or record.name == "nd.constant", f"lowered as {families}"
    assert ("elementwise" in record.tags) <= (record.scalar is not None)


@by_name
def test_names_its_attributes(record: OpDef) -> None:
    """The type rule and the reference take the attributes that the record lists, by name."""
    for facet in (record.type_rule, record.reference):
        try:
            parameters = inspect.signature(facet).parameters  # type: ignore[arg-type]
        except ValueError:  # a ufunc
            continue
        assert set(record.attributes) <= set(parameters)


@pytest.mark.parametrize("record", ELEMENTWISE, ids=lambda record: record.name)
def test_scalar_form_for_every_kind(record: OpDef) -> None:
    """A dict of scalar forms has one for each kind of element that the type rule takes, and no other."""
    kinds = {element.kind for element in elements_of(record)}
    assert kinds
    if isinstance(record.scalar, dict):
        assert set(record.scalar) == kinds


def _operand_count(record: OpDef, element: ScalarType) -> int:
    if record.domain is not None:
        return arity(record)
    samples: Any = record.samples
    return len(samples(lambda *shape: np.ones(shape, element.dtype))[0].operands)


@by_name
def test_derivative_has_one_entry_per_operand(record: OpDef) -> None:
    """One transpose per operand; positions inside the operands."""
    facet = record.derivative
    count = _operand_count(record, f64)
    if isinstance(facet, Multilinear):
        assert len(facet.transposes) == count
    if isinstance(facet, Linear):
        assert all(0 <= position < count for position in facet.operands)
    if isinstance(facet, Partials):
        function = make_function("f", [tensor((3,), f64)] * count)
        block = function.regions[0].block
        with at(block):
            op = record.build(block.arguments, {})
            partials = facet.rule(op.result, *op.operands)
        assert len(partials) == count
        for partial in partials:
            assert partial in (1, -1, 0) if isinstance(partial, int) else partial.type is op.result.type
