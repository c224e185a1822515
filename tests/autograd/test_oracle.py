"""The autograd face against torch: every program of the corpus must observe what torch observed.

Expectations come from `oracle/expected.json`; where torch is installed the same programs run under it as well, which
proves that the file is not stale.
"""

import importlib
import importlib.util
import json

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
