"""The autograd face against torch: every program of the corpus must observe what torch observed.

Expectations come from `oracle/expected.json`; where torch is installed the same programs run under it as well, which
proves that the file is not stale.
"""

import importlib
import importlib.util
import json
from typing import Any

import pytest

from .oracle.corpus import EXPECTED, PROGRAMS, differences, load, run

MODULES = ["gradloom", *(["torch"] if importlib.util.find_spec("torch") else [])]
RECORDED = json.loads(EXPECTED.read_text(encoding="utf-8"))

load()


@pytest.mark.parametrize("name", sorted(PROGRAMS))
@pytest.mark.parametrize("module", MODULES)
def test_program(module: str, name: str):
    observed = run(PROGRAMS[name], importlib.import_module(module))
    assert not "\n".join(differences(RECORDED[name], json.loads(json.dumps(observed)), name))


def test_every_program_is_recorded():
    assert sorted(RECORDED) == sorted(PROGRAMS)


TENSOR = {"kind": "tensor", "dtype": "float32", "shape": [2], "values": [1.0, -2.0], "grad_fn": "AddBackward0"}
ERROR = {"kind": "error", "type": "RuntimeError", "text": "shapes differ (2 and 3). See the manual."}


@pytest.mark.parametrize(
    "expected, actual",
    [
        (TENSOR, TENSOR | {"values": [1.0, -2.00001]}),
        (ERROR, ERROR | {"text": "shapes differ (2 and 3).\n  at model.py:4"}),
        ([1.0, "nan", None], [1.0000001, "nan", None]),
        (TENSOR | {"values": ["nan", "-inf"]}, TENSOR | {"values": ["nan", "-inf"]}),
    ],
)
def test_comparison_accepts(expected: Any, actual: Any):
    assert not list(differences(expected, actual))


@pytest.mark.parametrize(
    "expected, actual",
    [
        (TENSOR, TENSOR | {"values": [1.0, -2.001]}),
        (TENSOR, TENSOR | {"values": [1.0, "nan"]}),
        (TENSOR, TENSOR | {"values": [1.0]}),
        (TENSOR | {"dtype": "float64"}, TENSOR | {"dtype": "float64", "values": [1.0, -2.00001]}),
        (TENSOR, TENSOR | {"dtype": "float64"}),
        (TENSOR, TENSOR | {"grad_fn": "SubBackward0"}),
        (TENSOR, TENSOR | {"requires_grad": True}),
        (TENSOR, None),
        (ERROR, ERROR | {"type": "ValueError"}),
        (ERROR, ERROR | {"text": "shapes differ (2 and 4). See the manual."}),
        (ERROR, ERROR | {"text": "shapes differ (2 and 3).5"}),
        (ERROR, "no error"),
        ([1], [1.0]),
        ([True], [1]),
        ([1.0], [1.0, 2.0]),
        ({"x": 1}, {"x": 1, "y": 2}),
    ],
)
def test_comparison_notices(expected: Any, actual: Any):
    assert list(differences(expected, actual))
