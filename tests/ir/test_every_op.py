"""Every op of every dialect has a text that is read back; none is left out of the `.mlir` tests."""

import re
from pathlib import Path

import pytest

from gradloomc.ir.opdef import REGISTRY
from gradloomc.ir.parser import parse_module
from gradloomc.ir.printer import print_module
from gradloomc.tools.gradloom_opt import load_dialects

load_dialects()
FILECHECK = Path(__file__).resolve().parents[1] / "filecheck"


def _ops(*dialects: str) -> list[str]:
    return sorted(name for name in REGISTRY if name.partition(".")[0] in dialects)


@pytest.mark.parametrize("dialect", ["nd", "kernel", "loops"])
def test_no_op_is_left_out(dialect: str) -> None:
    """Adding an op means adding a line to tests/filecheck/<dialect>/."""
    files = sorted((FILECHECK / dialect).glob("*.mlir"))
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    used = re.findall(rf"^ *(?:%.* = )?({dialect}\.\w+)", text, re.MULTILINE)
    assert set(_ops(dialect)) - set(used) == set()


@pytest.mark.parametrize("name", _ops("arith", "math"))
def test_scalar_ops_round_trip(name: str) -> None:
    """Which operands they take does not matter to the text."""
    text = f"func.func @f(%x: f64) {{\n  {name} %x, %x : f64\n  func.return\n}}\n"
    generic = print_module(parse_module(text), generic=True)
    assert f'  "{name}"(%x, %x) : (f64, f64) -> ()\n' in generic
    assert print_module(parse_module(generic)) == text
