"""The import DAG of the house: a package imports only packages on lower floors, in no circle.

Read from the syntax trees, so imports inside functions count as well. The table of passes names
modules of higher floors as text, which is no import.
"""

import ast
import graphlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]

# From the ground up; siblings on one floor do not import each other. A package of the runtime that
# is not listed stands above the ones that are.
FLOORS: dict[str, list[set[str]]] = {
    "gradloomc": [
        {"ir"},
        {"dialects"},
        {"rewrite"},
        {"passes"},
        {"ad", "lowering", "interp"},
        {"codegen"},
        {"pipelines"},
        {"known"},
        {"tools"},
    ],
    "gradloom": [{"trace", "exec"}],
}
COMPILER_FLOORS_ARE_COMPLETE = "gradloomc"
IMPORTING_CALLS = ("importlib.import_module", "import_module", "__import__")


class Import(NamedTuple):
    """One name that a module imports; `typing_only` stands under `if TYPE_CHECKING`."""

    target: str
    line: int
    typing_only: bool = False


def module_files(package: str) -> dict[str, Path]:
    """Return the modules of a source package: dotted name to file."""
    (base,) = (root for root in (ROOT / "compiler", ROOT / "runtime") if (root / package).is_dir())
    found = {}
    for path in sorted((base / package).rglob("*.py")):
        parts = path.relative_to(base).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(text: str, name: str, is_package: bool) -> Iterator[Import]:
    """Yield everything that the module `name` imports, wherever in its text."""
    tree = ast.parse(text)
    typing_only: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            typing_only.update(inner for child in node.body for inner in ast.walk(child))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = name.split(".") if is_package else name.split(".")[:-1]
                package = package[: len(package) - node.level + 1]
                base = ".".join([*package, *filter(None, [node.module])])
            targets = [f"{base}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in IMPORTING_CALLS:
            arguments = [item for item in node.args if isinstance(item, ast.Constant)]
            targets = [item.value for item in arguments if isinstance(item.value, str)]
        else:
            continue
        for target in targets:
            yield Import(target, node.lineno, node in typing_only)


def imports_in(name: str, path: Path) -> Iterator[Import]:
    return imports_of(path.read_text(encoding="utf-8"), name, path.name == "__init__.py")


def floor_of(package: str, part: str) -> int:
    """Return the floor of a part of a package, counted from the ground."""
    floors = FLOORS[package]
    for number, names in enumerate(floors):
        if part in names:
            return number
    if package == COMPILER_FLOORS_ARE_COMPLETE:
        raise AssertionError(f"{package}.{part} stands on no floor: add it to FLOORS")
    return len(floors)


def violation(importer: str, imported: str) -> str:
    """Return what is wrong with an import, or ''."""
    package, _, rest = importer.partition(".")
    target_package, _, target_rest = imported.partition(".")
    if target_package == "llvmlite":
        return "" if importer == "gradloomc.codegen.jit" else "only codegen.jit imports llvmlite"
    if target_package == "gradloom" and package == "gradloomc":
        return "the compiler never imports the runtime"
    if target_package != package or not rest:
        return ""
    part, target = rest.partition(".")[0], target_rest.partition(".")[0]
    if not target:
        return "a module never imports the facade of its own package"
    if part == target:
        return ""
    floor, target_floor = floor_of(package, part), floor_of(package, target)
    top = len(FLOORS[package])
    if target_floor > floor or target_floor == floor != top:
        return f"{part} (floor {floor}) must not import {target} (floor {target_floor})"
    return ""


@pytest.mark.parametrize("package", FLOORS)
def test_packages_import_downwards_only(package: str) -> None:
    files = module_files(package)
    assert len(files) > 5
    wrong = []
    for name, path in files.items():
        for found in imports_in(name, path):
            problem = violation(name, found.target)
            if problem:
                wrong.append(f"{path.relative_to(ROOT)}:{found.line}: {problem}: {found.target}")
    assert not wrong, "\n" + "\n".join(wrong)


def one_node(name: str) -> str:
    """Return what stands for a module in the search for circles.

    The records of `nd` are one: the derivative of a sum is a broadcast, and the other way round.
    """
    records = "gradloomc.dialects.nd"
    return records if name.startswith(records) else name


@pytest.mark.parametrize("package", FLOORS)
def test_modules_import_in_no_circle(package: str) -> None:
    """Not even by imports inside functions (which is how circles are hidden)."""
    files = module_files(package)
    graph: dict[str, set[str]] = {}
    for name, path in files.items():
        targets = set()
        for found in imports_in(name, path):
            if not found.typing_only:
                # `from a.b import c` reads the module a.b.c if there is one, otherwise a.b.
                base = found.target.rpartition(".")[0]
                targets.add(found.target if found.target in files else base)
        node = one_node(name)
        edges = {one_node(target) for target in targets if target in files}
        graph.setdefault(node, set()).update(edges - {node})
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_nothing_is_needed_but_numpy_and_llvmlite() -> None:
    """SciPy is an extra, known when the user has it."""
    allowed = {*sys.stdlib_module_names, "gradloom", "gradloomc", "numpy", "llvmlite", "scipy"}
    for package in FLOORS:
        for name, path in module_files(package).items():
            for found in imports_in(name, path):
                top = found.target.partition(".")[0]
                assert top in allowed, f"{path}:{found.line} imports {found.target}"


# The test of the test.


@pytest.mark.parametrize(
    ("importer", "imported", "wrong"),
    [
        ("gradloomc.ir.core", "gradloomc.ir.types", False),
        ("gradloomc.ir.core", "gradloomc.dialects.nd", True),
        ("gradloomc.passes.cse", "gradloomc.ir.core", False),
        ("gradloomc.passes.registry", "gradloomc.ad.passes.Adjoint", True),
        ("gradloomc.ad.passes", "gradloomc.passes.base", False),
        ("gradloomc.ad.passes", "gradloomc.lowering.fuse", True),
        ("gradloomc.ir.core", "gradloomc", True),
        ("gradloomc.ir.core", "gradloom.trace", True),
        ("gradloom.trace.tracer", "gradloomc.ir.core", False),
        ("gradloom.trace.tracer", "gradloom.exec.memory", True),
        ("gradloom.trace.tracer", "gradloom.api", True),
        ("gradloom.api", "gradloom.trace.tracer", False),
        ("gradloom.api", "gradloom.other", False),
        ("gradloomc.codegen.jit", "llvmlite.binding", False),
        ("gradloomc.codegen.nest", "llvmlite.binding", True),
        ("gradloom.exec.memory", "llvmlite", True),
    ],
)
def test_rules(importer: str, imported: str, wrong: bool) -> None:
    assert bool(violation(importer, imported)) is wrong


def test_an_unknown_floor_is_an_error() -> None:
    with pytest.raises(AssertionError, match="stands on no floor"):
        violation("gradloomc.tools.opt", "gradloomc.attic.old")


def test_all_forms_of_import_are_found() -> None:
    text = """
import a.b, c
from d import e
from . import f
from .g import h
from ..i import j
if TYPE_CHECKING:
    from k import m
def lazy():
    import n
    importlib.import_module("o.p")
"""
    found = {item.target: item.typing_only for item in imports_of(text, "x.y.z", False)}
    names = ["a.b", "c", "d.e", "x.y.f", "x.y.g.h", "x.i.j", "k.m", "n", "o.p"]
    assert found == {name: name == "k.m" for name in names}
    (package,) = imports_of("from .g import h", "x.y", True)
    assert package.target == "x.y.g.h"
