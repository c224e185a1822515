"""Pipelines: text, options, levels, instruments and reproducers."""

import dataclasses
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from gradloomc.ir.core import Module
from gradloomc.ir.errors import PassError, VerifyError
from gradloomc.ir.parser import parse_module
from gradloomc.ir.printer import print_module
from gradloomc.passes import pipeline as pipeline_module
from gradloomc.passes.base import ANY, Pass
from gradloomc.passes.instrument import PrintAfter, Timing, combine
from gradloomc.passes.pipeline import Event, Pipeline, pass_text
from gradloomc.passes.registry import PASSES, load_pass
from gradloomc.tools import gradloom_opt
from harness import dialect


@dataclass(frozen=True)
class Tune(Pass):
    """Has an option of every type."""

    name: ClassVar[str] = "tune"

    argnums: tuple[int, ...] = (0,)
    which: int | tuple[int, ...] = 0
    value: bool = False
    max_inputs: int = 8
    scale: float = 1.0
    policy: str = "cheap"
    label: str | None = None
    names: tuple[str, ...] = ()

    def run(self, module: Module) -> None:
        pass


@dataclass(frozen=True)
class Raises(Pass):
    """Damages the module, then fails."""

    name: ClassVar[str] = "raises"

    def run(self, module: Module) -> None:
        module.block.ops.clear()
        raise ZeroDivisionError("on\npurpose")


@dataclass(frozen=True)
class Damages(Pass):
    """Leaves a module that is not well formed."""

    name: ClassVar[str] = "damages"

    def run(self, module: Module) -> None:
        module.block.ops[0].regions[0].block.ops.pop()


@dataclass(frozen=True)
class OnlyNd(Pass):
    """Reads and leaves `nd` only."""

    name: ClassVar[str] = "only-nd"
    reads: ClassVar[frozenset[str]] = frozenset({"nd"})

    def run(self, module: Module) -> None:
        pass


@dataclass(frozen=True)
class LeavesNd(OnlyNd):
    """Says that it leaves `nd` only."""

    name: ClassVar[str] = "leaves-nd"
    reads: ClassVar[frozenset[str]] = ANY
    leaves: ClassVar[frozenset[str]] = frozenset({"nd"})


TESTING = {cls.name: cls for cls in (Tune, Raises, Damages, OnlyNd, LeavesNd)}


@pytest.fixture(autouse=True)
def _passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pipelines find the passes of this file."""

    def load(name: str) -> type[Pass]:
        return TESTING[name] if name in TESTING else load_pass(name)

    monkeypatch.setattr(pipeline_module, "load_pass", load)


MERGED = dialect.function_text("%0 = test.unary %x : f64\nfunc.return %0 : f64", results="f64")
TWICE = dialect.function_text(
    "%0 = test.unary %x : f64\n%1 = test.unary %x : f64\nfunc.return %1 : f64", results="f64"
)


# Text.


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cse",
        "cse,dce,cse",
        "tune{argnums=0,1 value=true}",
        "tune{argnums=}",
        "tune{which=3}",
        "tune{which=3,}",
        "tune{which=1,2}",
        "cse,tune{max-inputs=-1 scale=0.25 policy=recompute-cheap label=x names=a,b},dce",
    ],
)
def test_text_round_trips(text: str) -> None:
    pipeline = Pipeline.parse(text)
    assert str(pipeline) == text
    assert Pipeline.parse(str(pipeline)) == pipeline


def test_options_get_their_types() -> None:
    text = " cse , tune{ argnums=1  which=2,3 value=true max-inputs=5 scale=2 label=none }"
    (_, tune) = Pipeline.parse(text).passes
    assert tune == Tune(argnums=(1,), which=(2, 3), value=True, max_inputs=5, scale=2.0)
    assert pass_text(tune) == "tune{argnums=1 which=2,3 value=true max-inputs=5 scale=2.0}"


def test_options_of_every_type_round_trip() -> None:
    for tune in [Tune(label="a"), Tune(which=(1,)), Tune(names=("a",)), Tune(scale=1e-30)]:
        assert Pipeline.parse(pass_text(tune)).passes == (tune,)
    with pytest.raises(PassError, match="cannot be written in a pipeline: 'two words'"):
        pass_text(Tune(policy="two words"))


@pytest.mark.parametrize(
    ("text", "message", "marked", "fix"),
    [
        ("cse,dcee", "unknown pass 'dcee'", "dcee", "did you mean dce?"),
        ("cse,,dce", "expected the name of a pass", ",", ""),
        ("cse,", "expected the name of a pass", "", ""),
        ("cse dce", "expected ',' between passes", " ", ""),
        ("tune{argnum=0}", "pass 'tune' has no option 'argnum'", "argnum", "it has argnums, which"),
        ("cse{fast=true}", "pass 'cse' has no option 'fast'", "fast", "it has none"),
        ("tune{value}", "expected '=' and a value after 'value'", "value", ""),
        ("tune{value=1}", "option 'value' takes true or false, got '1'", "1", ""),
        ("tune{argnums=0,x}", "option 'argnums' takes a list of integers, got '0,x'", "0,x", ""),
        ("tune{which=x}", "takes an integer or a list of integers, got 'x'", "x", ""),
        ("tune{value=true value=true}", "option 'value' is given twice", "value", ""),
        ("tune{value=true", "expected an option or '}'", "", ""),
    ],
)
def test_errors_point_into_the_text(text: str, message: str, marked: str, fix: str) -> None:
    with pytest.raises(PassError) as info:
        Pipeline.parse(text)
    error = info.value
    assert message in error.message
    assert error.fix.startswith(fix) and bool(error.fix) == bool(fix)
    name, line, column, end_column = error.location.resolve()
    assert (name, line) == ("pipeline", 1)
    assert text[column - 1 : end_column - 1] == marked


# Running.


def test_passes_run_in_order() -> None:
    module = parse_module(TWICE)
    Pipeline.parse("cse,dce").run(module, verify_each=True)
    assert print_module(module) == MERGED
    Pipeline(()).run(module)
    assert print_module(module) == MERGED


def test_the_callback_sees_before_and_after() -> None:
    events: list[tuple[str, int, str, int]] = []

    def callback(event: Event) -> None:
        count = sum(1 for _ in event.module.walk())
        events.append((event.stage, event.index, event.running.name, count))
        assert (event.seconds > 0) == (event.stage == "after")

    Pipeline.parse("cse,dce").run(parse_module(TWICE), callback)
    assert events == [
        ("before", 0, "cse", 4),
        ("after", 0, "cse", 3),
        ("before", 1, "dce", 3),
        ("after", 1, "dce", 3),
    ]


def test_instruments() -> None:
    timing, stream = Timing(), io.StringIO()
    printer = PrintAfter(["change"], stream)
    Pipeline.parse("cse,dce").run(parse_module(TWICE), combine(timing, printer))
    assert [(name, before, after) for name, _, before, after in timing.rows] == [
        ("cse", 4, 3),
        ("dce", 3, 3),
    ]
    assert re.fullmatch(
        r"pass +ms +share +ops\ncse +\d+\.\d{3} +[\d.]+%  4 -> 3\n"
        r"dce +\d+\.\d{3} +[\d.]+%  3\ntotal +\d+\.\d{3}\n",
        timing.table(),
    )
    assert stream.getvalue() == (
        "--- before cse\n+++ after cse\n@@ -1,5 +1,4 @@\n func.func @f(%x: f64, %y: f64) -> f64 {\n"
        "   %0 = test.unary %x : f64\n-  %1 = test.unary %x : f64\n-  func.return %1 : f64\n"
        "+  func.return %0 : f64\n }\n// dce changed nothing\n"
    )


@pytest.mark.parametrize(("names", "count"), [(["all"], 2), (["dce"], 1), (["tune"], 0)])
def test_print_after(names: list[str], count: int) -> None:
    stream = io.StringIO()
    Pipeline.parse("cse,dce").run(parse_module(TWICE), PrintAfter(names, stream))
    assert stream.getvalue().count(MERGED) == count


def test_levels_are_checked() -> None:
    only_nd = Pipeline.parse("cse,only-nd")
    only_nd.run(parse_module("func.func @f() {\n  func.return\n}"))
    with pytest.raises(PassError) as info:
        only_nd.run(parse_module(TWICE))
    assert str(info.value) == (
        "pass 'only-nd' does not read ops of the dialect test\n"
        "help: it knows nd; run the pass that lowers to them first"
    )
    with pytest.raises(PassError, match="pass 'leaves-nd' must not leave ops of the dialect test"):
        Pipeline.parse("leaves-nd").run(parse_module(TWICE))


def test_verify_each_names_the_pass() -> None:
    with pytest.raises(VerifyError) as info:
        Pipeline.parse("cse,damages,dce").run(parse_module(TWICE), verify_each=True)
    assert "while running pass 'damages' of the pipeline 'cse,damages,dce'" in info.value.__notes__


# Reproducers.


def _failure(pipeline: str, module: Module, callback: Callable[[Event], None] | None = None) -> str:
    with pytest.raises(ZeroDivisionError) as info:
        Pipeline.parse(pipeline).run(module, callback)
    note, repeat = info.value.__notes__
    assert note == f"while running pass 'raises' of the pipeline '{pipeline}'"
    return repeat


def test_a_failure_leaves_a_reproducer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = tmp_path / "new"
    monkeypatch.setenv("GRADLOOM_REPRODUCER_DIR", str(directory))
    note = _failure("cse,raises,dce", parse_module(TWICE))
    (path,) = directory.iterdir()
    assert note == f"to repeat it: gradloom-opt {path} -p 'raises,dce'"
    # The module is as it was before the pass: after cse, and not cleared.
    assert path.read_text() == (
        f"// gradloom-opt -p 'raises,dce'\n// ZeroDivisionError: on purpose\n{MERGED}"
    )
    _failure("cse,raises,dce", parse_module(TWICE))
    assert list(directory.iterdir()) == [path]  # the same failure, the same file

    def tool(pipeline: str) -> int:
        return gradloom_opt.main([str(path), "-p", pipeline], stdout=io.StringIO())

    assert tool("dce") == 0
    with pytest.raises(ZeroDivisionError):
        tool("raises,dce")


def test_a_reproducer_that_cannot_be_written_is_only_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("GRADLOOM_REPRODUCER_DIR", str(file))
    assert _failure("raises", parse_module(TWICE)).startswith("no reproducer could be written: ")


# The table.


@pytest.mark.parametrize("name", sorted(PASSES))
def test_every_entry_of_the_table_resolves(name: str) -> None:
    cls = load_pass(name)
    assert cls.name == name
    assert (cls.__doc__ or "").strip().partition("\n")[0].endswith(".")
    instance = cls()  # every option has a default
    assert Pipeline.parse(name).passes == (instance,)
    assert dataclasses.is_dataclass(cls) and cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert {cls.reads, cls.leaves} <= {ANY} or all(
        isinstance(level, frozenset) and level for level in (cls.reads, cls.leaves)
    )
