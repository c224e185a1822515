"""Every op's text is read back to the same program, in both forms, on the nd level and lowered."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from gradloomc.interp.interpreter import interpret
from gradloomc.ir.core import Module, Op
from gradloomc.ir.opdef import OpDef
from gradloomc.ir.parser import parse_module
from gradloomc.ir.printer import print_module
from gradloomc.ir.types import SCALARS
from gradloomc.ir.verifier import verify
from gradloomc.pipelines import to_kernels, to_loops

from .cases import RECORDS, Array, draw, elements_of, function_of, same_bits, samples_of

LEVELS: dict[str, Callable[[Op], Op]] = {
    "nd": lambda function: function,
    "kernels": to_kernels,
    "loops": lambda function: to_loops(function, 512),
}


def one_op_functions(record: OpDef) -> list[tuple[Op, Sequence[Array]]]:
    """Return a function and operands for every element type that an elementwise op takes, or for every sample."""
    rng = np.random.default_rng(15)
    if record.domain is not None:
        drawn = [draw(rng, record, (3, 5), element) for element in elements_of(record)]
        return [(function_of(record, operands, {}), operands) for operands in drawn]
    return [
        (function_of(record, sample.operands, sample.attributes), sample.operands)
        for element in ("f32", "f64", "i16", "i1")
        for sample in samples_of(record, rng, SCALARS[element].dtype)
    ]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_round_trip(record: OpDef, level: str) -> None:
    functions = one_op_functions(record)
    assert functions
    for function, operands in functions:
        module = Module([LEVELS[level](function)])
        verify(module)
        for generic in (False, True):
            text = print_module(module, generic=generic)
            again = parse_module(text)
            verify(again)
            assert print_module(again, generic=generic) == text
            assert print_module(again, generic=not generic) == print_module(module, generic=not generic)
            results = [interpret(each.functions["f"], operands) for each in (module, again)]
            for one, other in zip(*results, strict=True):
                assert same_bits(one, other).all()
