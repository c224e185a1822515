"""The documents are true: their tables are what the records say, their examples are run, their links lead somewhere.

`pytest tests/docs --update-golden` writes the printed examples and outputs anew; the tables are written by `python -m
gradloomc.tools.opdoc`. Knows the form of the pages, nothing of what they explain.
"""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradloom
from bench.document import times_table
from bench.results import newest
from gradloomc import pipelines
from gradloomc.ad.transform import vjp_of
from gradloomc.codegen.program import write_program
from gradloomc.interp.interpreter import interpret
from gradloomc.ir.inline import copy_function
from gradloomc.ir.printer import print_op
from gradloomc.lowering.loops import lower_to_loops
from gradloomc.tools import opdoc
from harness.pages import Script, check, renewed

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
RUN = [ROOT / "README.md", DOCS / "differentiation.md"]
_EXAMPLE = re.compile(r"^<!-- example: (\w+) -->\n```\w+\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
_BENCH = re.compile(r"(^<!-- bench: .*?-->\n)(.*?)(^<!-- bench: end -->\n)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@pytest.fixture
def update(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))


@pytest.mark.parametrize("name", opdoc.PAGES)
def test_tables_are_fresh(name: str) -> None:
    stored = (DOCS / name).read_text(encoding="utf-8")
    assert stored == opdoc.PAGES[name](), "run `python -m gradloomc.tools.opdoc`"


def test_opdoc_reports_and_writes_what_is_stale(tmp_path: Path) -> None:
    out = io.StringIO()
    assert opdoc.main([str(tmp_path), "--check"], out) == 1
    assert "+# Passes" in out.getvalue() and not list(tmp_path.iterdir())
    assert opdoc.main([str(tmp_path)], out) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ops.md", "passes.md"]
    assert opdoc.main([str(tmp_path), "--check"], out) == 0


# --- the printed levels of the architecture page --------------------------------------------------


def levels(source: str) -> dict[str, str]:
    """Return the example at every level, for 512-bit vectors on any machine."""
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    function: Callable[..., Any] = namespace["f"]
    compiled = gradloom.compile_grad(function)
    x = np.linspace(-1, 1, 1000)
    texts = {"source": source, "nd": compiled.ir("nd", x), "adjoint": compiled.ir("adjoint", x)}
    program = compiled._program((x,), {})
    again = pipelines.clean(vjp_of(program.primal.function, [0], unit_seed=True))
    assert print_op(again) == texts["adjoint"]
    kernels = pipelines.to_kernels(copy_function(program.function))
    texts["kernels"] = print_op(kernels)
    interpreted = [interpret(function, [x]) for function in (program.function, kernels)]
    nests = lower_to_loops(kernels, 512)
    texts["loops"] = print_op(nests)
    for results in (*interpreted, interpret(nests, [x])):
        for result, native in zip(results, compiled.value_and_grad(x), strict=True):
            assert result == pytest.approx(native, rel=1e-12)
    texts["llvm"] = main_loop(write_program(nests, "").text)
    return {name: text.rstrip("\n") + "\n" for name, text in texts.items()}


def main_loop(text: str) -> str:
    """Return the block of the main loop of a module with one nest, up to the branch that ends it."""
    (found,) = re.findall(r"^n\d+\.vector\d+:\n.*?^  br [^\n]*\n", text, re.MULTILINE | re.DOTALL)
    return found


def test_architecture_shows_what_the_compiler_prints(update: bool) -> None:
    path = DOCS / "architecture.md"
    page = path.read_text(encoding="utf-8")
    shown = dict(_EXAMPLE.findall(page))
    now = levels(shown["source"])
    assert shown.keys() == now.keys()

    def renew(match: re.Match[str]) -> str:
        start, end = match.start(2) - match.start(), match.end(2) - match.start()
        return match[0][:start] + now[match[1]] + match[0][end:]

    check(path, _EXAMPLE.sub(renew, page), update)


# --- the examples that are run --------------------------------------------------------------------


@pytest.mark.parametrize("path", RUN, ids=lambda path: path.name)
def test_examples_print_what_they_say(path: Path, update: bool) -> None:
    """A ```text block right after a ```python block is what that prints; without one it prints nothing."""
    check(path, renewed(path, Script()), update)


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (np.sort, "np.sort"),
        (np.median, "np.median"),
        (np.fft.fft, "np.fft"),
        (np.linalg.det, "np.linalg"),
    ],
)
def test_what_is_said_to_be_missing_is_missing(function: Callable[..., Any], named: str) -> None:
    for path in RUN:
        assert f"`{named}`" in path.read_text(encoding="utf-8")
    with pytest.raises(gradloom.UnsupportedError, match="cannot trace numpy"):
        gradloom.grad(lambda x: np.sum(np.real(function(x))))(np.eye(3))


# --- the table of the benchmarks ------------------------------------------------------------------


def bench_table() -> str:
    """Return the times of the newest complete stored run as a Markdown table; '' if there is none."""
    run = newest()
    if run is None:
        return ""
    where = f"{run.machine['processor']}, {run.created[:10]}"
    note = f"{where}, median time per call; `n/a`: the library cannot express the row."
    return f"\n{times_table(run)}\n{note}\n\n"


def test_bench_table_is_the_newest_run(update: bool) -> None:
    path = ROOT / "README.md"
    page = path.read_text(encoding="utf-8")
    assert len(_BENCH.findall(page)) == 1
    check(path, _BENCH.sub(lambda match: match[1] + bench_table() + match[3], page), update)


# --- links and size -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for target in _LINK.findall(path.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://", "#")):
            assert (path.parent / target.partition("#")[0]).exists(), f"{path.name}: {target}"


def test_every_decision_is_listed() -> None:
    index = (DOCS / "decisions" / "README.md").read_text(encoding="utf-8")
    records = {path.name for path in (DOCS / "decisions").glob("[0-9]*.md")}
    assert records == set(_LINK.findall(index)) - {"../architecture.md"}
    for name in records:
        text = (DOCS / "decisions" / name).read_text(encoding="utf-8")
        assert 10 <= text.count("\n") <= 30, f"{name} should have 10 to 30 lines"
        for part in ("**Context.**", "**Decision.**", "**Measured.**", "**Consequence.**"):
            assert part in text, f"{name} lacks {part}"


def test_readme_is_short() -> None:
    assert (ROOT / "README.md").read_text(encoding="utf-8").count("\n") < 240
