"""The FileCheck of this house, checked: every directive passes and fails as LLVM's does."""

import os
import subprocess
import sys
from pathlib import Path
from typing import TextIO

import pytest

from harness.filecheck import CheckFailure, check, run, run_lines
from harness.golden import compare

OUTPUT = """\
func @a
  %0 = sin %x
  %1 = add %0, %0

func @b
  %0 = cos   %x
  dense<[[1, 2]]>
"""

PASS = [
    "CHECK: func @a",
    "CHECK: sin\nCHECK: add\nCHECK: cos",
    "CHECK: sin\nCHECK-NEXT: add\nCHECK-EMPTY:\nCHECK-NEXT: func @b",
    "CHECK: sin\nCHECK-SAME: %x",
    "CHECK: cos %x",
    "CHECK: func @a\nCHECK-NOT: mul\nCHECK: func @b",
    "CHECK: func @b\nCHECK-NOT: sin",
    "CHECK-NOT: mul",
    "CHECK-DAG: add\nCHECK-DAG: sin\nCHECK: cos",
    "CHECK-DAG: [[V:%[0-9]+]] = sin\nCHECK-DAG: add [[V]], [[V]]",
    "CHECK: [[X:%.+]] = sin\nCHECK: add [[X]], [[X]]",
    "CHECK: add [[X:%[0-9]]], [[X]]{{$}}",
    "CHECK: {{^}}  %{{[0-9]+}} = sin",
    "CHECK-LABEL: func @a\nCHECK: %0\nCHECK-LABEL: func @b\nCHECK-NEXT: cos",
    "CHECK-LABEL: func @a\nCHECK-NOT: cos\nCHECK-LABEL: func @b\nCHECK-NOT: sin",
    "CHECK-COUNT-2: func\nCHECK-NOT: func",
    "CHECK: dense<[[1, 2]]>",
    "CHECK: dense<{{\\[\\[}}1",
    "// CHECK : no\n// NOCHECK: no\nx-CHECK: no\nCHECK: sin",
]

FAIL = [
    ("CHECK: mul", "line 1: CHECK: mul\n  does not match"),
    ("CHECK: add\nCHECK: sin", "line 2"),
    ("CHECK: sin\nCHECK-NEXT: cos", "it stands 3 lines too late"),
    ("CHECK: sin\nCHECK-NEXT: %x", "it stands on the same line"),
    ("CHECK: sin\nCHECK-SAME: add", "it stands 1 lines further down"),
    ("CHECK: sin\nCHECK-EMPTY:", "the next line is not empty"),
    ("CHECK: func @a\nCHECK-NOT: sin\nCHECK: func @b", "must not match: but it does: 'sin'"),
    ("CHECK: func @a\nCHECK-NOT: cos", "must not match"),
    ("CHECK-DAG: sin\nCHECK-DAG: sin", "line 2: CHECK-DAG: sin"),
    ("CHECK-DAG: sin\nCHECK-DAG: cos\nCHECK: add", "line 3"),
    ("CHECK: [[X:%.+]] = sin\nCHECK: cos [[X]]", "line 2"),
    ("CHECK: [[Y]]", "line 1: [[Y]] is not defined before it"),
    ("CHECK-LABEL: func @a\nCHECK: cos\nCHECK-LABEL: func @b", "line 2"),
    ("CHECK-LABEL: func @b\nCHECK-LABEL: func @a", "line 2"),
    ("CHECK-COUNT-3: func", "line 1: CHECK-COUNT: func"),
    ("CHECK: {{(}}", "bad pattern"),
    ("CHECK:", "has no pattern"),
    ("CHECK-NEXT: func", "the first check cannot be NEXT"),
    ("nothing", "there is no CHECK line"),
]


@pytest.mark.parametrize("text", PASS)
def test_passes(text: str) -> None:
    check(OUTPUT, text)


@pytest.mark.parametrize(("text", "message"), FAIL)
def test_fails(text: str, message: str) -> None:
    with pytest.raises(CheckFailure) as info:
        check(OUTPUT, text)
    assert message in str(info.value)


def test_failure_shows_the_nearest_line_and_the_output() -> None:
    with pytest.raises(CheckFailure) as info:
        check(OUTPUT, "CHECK: func @a\n\nCHECK: %1 = addd %0, %0")
    assert str(info.value).startswith(
        "line 3: CHECK: %1 = addd %0, %0\n  does not match\n"
        "  searched from line 1 of the output\n  nearest is line 3: %1 = add %0, %0\n"
        "the whole output:\n   1 | func @a\n"
    )


def test_prefix() -> None:
    check("a\nb\n", "CHECK: z\nB: b\nB-NOT: a", "B")
    with pytest.raises(CheckFailure, match="there is no C line"):
        check("a", "CHECK: a", "C")


def test_run_lines() -> None:
    text = "// RUN: one %s | two\n// RUN: three \\\n// RUN:   -p x\ncode // RUN: four\n"
    assert run_lines(text) == ["one %s | two", "three -p x", "four"]


def _tool(arguments: list[str], stdin: TextIO, stdout: TextIO, stderr: TextIO) -> int:
    """Upper-case a file or the input; fail on `--fail`."""
    if "--fail" in arguments:
        stderr.write("broken\n")
        return 1
    (name,) = arguments
    stdout.write((stdin.read() if name == "-" else Path(name).read_text()).upper())
    return 0


def test_commands(tmp_path: Path) -> None:
    file = tmp_path / "a b.mlir"
    file.write_text("hello\nCHECK: HELLO\nERR: broken\n")
    tools = {"up": _tool}
    run("up %s | FileCheck %s", file, tools)
    run("up %s | up - | FileCheck %s --check-prefix=CHECK", file, tools)
    run("not up %s --fail 2>&1 | FileCheck %s --check-prefix=ERR", file, tools)
    run("up %s", file, tools)
    for command, message in [
        ("up %s --fail", "up failed with 1\nbroken"),
        ("not up %s", "was expected to fail"),
        ("up %s --fail 2>&1 | FileCheck %s --check-prefix=ERR", "up failed"),
        ("up %s | FileCheck %s --check-prefix=ERR", "line 3: ERR: broken"),
        ("cat %s", "RUN knows up and FileCheck, not 'cat'"),
        ("up %s | FileCheck %s --dump", "no option --dump"),
    ]:
        with pytest.raises(CheckFailure) as info:
            run(command, file, tools)
        assert message in str(info.value)


def test_golden_files(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    with pytest.raises(AssertionError, match=r"no golden file a\.txt"):
        compare(path, "one\n", update=False)
    compare(path, "one\n", update=True)
    compare(path, "one\n", update=False)
    with pytest.raises(AssertionError, match=r"a\.txt has changed[^$]*\n-one\n\+two"):
        compare(path, "two\n", update=False)


def test_mlir_files_are_collected_and_fail_when_they_should(tmp_path: Path) -> None:
    """A session of pytest over a folder of its own, with the conftest of this one."""
    tests = Path(__file__).resolve().parents[1]
    folder = tmp_path / "filecheck"
    folder.mkdir()
    (tmp_path / "conftest.py").write_text((tests / "conftest.py").read_text(encoding="utf-8"))
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    text = "func.func @f() {\n  func.return\n}\n// CHECK: func.func @f\n// BAD: func.func @g\n"
    line = "// RUN: gradloom-opt %s | FileCheck %s"
    (folder / "a.mlir").write_text(f"{line}\n{line} --check-prefix=BAD\n{text}")
    (folder / "none.mlir").write_text(text)
    roots = [str(tests), str(tests.parent / "compiler"), str(tests.parent / "runtime")]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "--continue-on-collection-errors", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(roots)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert "1 failed, 1 passed, 1 error" in result.stdout
    assert "none.mlir has no RUN line" in result.stdout
    assert "line 7: BAD: func.func @g" in result.stdout
    assert f"to run it: gradloom-opt {folder}/a.mlir | FileCheck" in result.stdout
