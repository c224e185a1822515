"""opdoc: write docs/ops.md and docs/passes.md from the op records and the table of passes.

    python -m gradloomc.tools.opdoc           write both into docs/
    python -m gradloomc.tools.opdoc --check   compare only; exit code 1 and a diff if they differ

The tables say what the records say: what an op takes is asked of its type rule, whether it is native of the lowering.
Nothing here names an op, so a new record or pass needs no change. Start reading at `ops_page` and `passes_page`.
"""

import argparse
import dataclasses
import difflib
import inspect
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from gradloomc import pipelines
from gradloomc.dialects.func import body_of, make_function
from gradloomc.ir import types as ir_types
from gradloomc.ir.builder import at
from gradloomc.ir.errors import GradloomError
from gradloomc.ir.opdef import (
    REGISTRY,
    Constant,
    Derivative,
    Expand,
    Linear,
    Linearize,
    Multilinear,
    OpDef,
    Partials,
    Unsupported,
)
from gradloomc.ir.types import TensorType, scalar_type, tensor
from gradloomc.lowering.materialize import is_extern
from gradloomc.passes.base import ANY, Pass
from gradloomc.passes.pipeline import option_types, type_text, value_text
from gradloomc.passes.registry import PASSES, load_pass
from gradloomc.tools.gradloom_opt import load_dialects

KINDS = {"f": "float", "i": "int", "u": "uint", "b": "bool"}
GENERATED = "<!-- Written by `python -m gradloomc.tools.opdoc`; change the records, not this file. -->"
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


# --- what a record says ---------------------------------------------------------------------------


def _parameters(function: Any) -> list[str]:
    """Return the names of the positional parameters of a plain function; none if it just takes any number of them."""
    if not inspect.isfunction(function):
        return []
    parameters = inspect.signature(function).parameters.values()
    names = [p.name for p in parameters if p.kind in _POSITIONAL]
    several = [f"{p.name}..." for p in parameters if p.kind is inspect.Parameter.VAR_POSITIONAL]
    return names + several if names else []


def operand_names(record: OpDef) -> list[str]:
    """Return the names of a record's operands, as its rules call them."""
    facet = record.derivative
    candidates = [_parameters(record.type_rule), _parameters(record.scalar)]
    if isinstance(facet, Partials):
        candidates.append(_parameters(facet.rule)[1:])  # after the result
    if isinstance(facet, Multilinear):
        candidates.append(_parameters(facet.transposes[0])[1:])  # after the cotangent
    candidates.append(_parameters(record.reference))
    for names in candidates:
        names = [name for name in names if name not in record.attributes]
        if names:
            return names
    if isinstance(record.reference, np.ufunc):
        return ["x", "y", "z"][: record.reference.nin]
    if record.domain is not None:
        return ["x", "y", "z"][: len(record.domain.intervals)]
    return [] if record.type_rule.__code__.co_flags & inspect.CO_VARARGS == 0 else ["..."]


def _sample_types(record: OpDef, dtype: Any) -> list[tuple[list[TensorType], dict[str, Any]]]:
    """Return operand types and attributes of some uses of a record on arrays of `dtype`."""
    if record.samples is not None:
        samples = record.samples(lambda *shape: np.zeros(shape, dtype))
        return [
            ([tensor(x.shape, scalar_type(x.dtype)) for x in sample.operands], sample.attributes) for sample in samples
        ]
    operand = tensor((3,), scalar_type(dtype))
    count = len(operand_names(record))
    plain: list[TensorType] = [operand] * count
    attributes = {"type": operand.element} if record.attributes == ("type",) else {}
    if attributes.keys() != set(record.attributes):
        return []
    if count < 3:
        return [(plain, attributes)]
    masked = [tensor((3,), ir_types.i1), *plain[1:]]  # for a selection
    return [(plain, attributes), (masked, attributes)]


def accepts(record: OpDef, types: Sequence[TensorType], attributes: dict[str, Any]) -> bool:
    """Tell whether a record's type rule takes operands of these types."""
    try:
        record.type_rule(*types, **attributes)
    except GradloomError:
        return False
    return True


def kinds(record: OpDef) -> list[str]:
    """Return the kinds of numbers that a record's operands may hold; none if it has no operands."""
    if not operand_names(record):
        return []
    found = []
    for kind, name in KINDS.items():
        elements = [e for e in ir_types.SCALARS.values() if e.kind == kind]
        taken = [e for e in elements if any(accepts(record, *use) for use in _sample_types(record, e.dtype))]
        if taken == elements:
            found.append(name)
        elif taken:
            found.append("/".join(str(e) for e in taken))
    return found


def derivative(facet: Derivative | None, names: Sequence[str]) -> str:
    """Return in words how an op is differentiated."""
    if isinstance(facet, Partials):
        return "partials, may be singular" if facet.singular else "partials"
    if isinstance(facet, Linear):
        count = len(names) if not facet.operands else len(facet.operands)
        part = "" if count == len(names) else f" in {', '.join(names[k] for k in facet.operands)}"
        return "linear" + part
    if isinstance(facet, Multilinear):
        return "multilinear"
    if isinstance(facet, Linearize):
        return "written out"
    if isinstance(facet, Expand):
        return "of an equal program"
    if isinstance(facet, Constant):
        return "zero"
    return f"none: {facet.reason}" if isinstance(facet, Unsupported) else "none"


def runs(record: OpDef) -> str:
    """Return how an op is executed, asking the lowering about each of the record's samples."""
    verdicts = set()
    for types, attributes in _sample_types(record, np.float64):
        if accepts(record, types, attributes):
            function = make_function("f", types)
            with at(body_of(function)):
                verdicts.add(is_extern(record.build(body_of(function).arguments, attributes)))
    if verdicts == {True, False}:
        return "native or library"
    return "library" if True in verdicts or "extern" in record.tags else "native"


# --- pages ----------------------------------------------------------------------------------------


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *[[cell.replace("|", "\\|") for cell in row] for row in rows]]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _code(names: Sequence[str]) -> str:
    return ", ".join(names) and f"`{', '.join(names)}`"


def _records(select: Callable[[OpDef], bool]) -> list[OpDef]:
    return [record for _, record in sorted(REGISTRY.items()) if select(record)]


def _nd_section(title: str, text: str, tag: str) -> str:
    rows = []
    for record in _records(lambda r: r.name.startswith("nd.") and _group(r) == tag):
        names = operand_names(record)
        operands = _code(names) + (f" {{{_code(record.attributes)}}}" if record.attributes else "")
        rows.append(
            [
                f"`{record.name}`",
                operands.strip(),
                " ".join(kinds(record)),
                derivative(record.derivative, names),
                runs(record),
                f"{record.cost:g}",
                record.doc,
            ]
        )
    header = ["op", "operands {attributes}", "dtypes", "derivative", "runs", "cost", "meaning"]
    return f"## {title}\n\n{text}\n\n{table(header, rows)}"


def _group(record: OpDef) -> str:
    groups = ("elementwise", "movement", "reduction", "indexing", "extern")
    return next((tag for tag in groups if tag in record.tags), "")


def _plain_section(title: str, text: str, *dialects: str, cost: bool = False) -> str:
    rows = [
        [f"`{record.name}`", _code(record.attributes), *[f"{record.cost:g}"] * cost, record.doc]
        for record in _records(lambda r: r.name.partition(".")[0] in dialects)
    ]
    return f"## {title}\n\n{text}\n\n{table(['op', 'attributes', *['cost'] * cost, 'meaning'], rows)}"


OPS_HEAD = """\
# Ops

Every op of every level, from its record. NumPy's functions are traced to ops of the `nd` dialect, where
differentiation happens; the others are what `nd` is lowered to ([architecture](architecture.md) walks through the
levels).

* **dtypes**: `float` stands for f16, f32 and f64, `int` and `uint` for 8 to 64 bits. Operands have one dtype;
  conversions are ops (`nd.convert`), put in by NumPy's promotion rules while tracing.
* **derivative**: the one facet from which forward and reverse mode of any order follow. *partials*: elementwise, one
  partial derivative for each operand (*may be singular*: infinite or nan at a finite operand, so zero cotangents are
  kept exact, see [differentiation](differentiation.md)); *linear* and *multilinear*: the op is its own tangent, and has
  a transpose; *written out*: the tangent is a program in other ops; *of an equal program*: so is the op itself; *zero*:
  wherever the derivative exists, it is 0.
* **runs**: *native* ops are computed inside fused loops, *library* ones by NumPy between kernels.
* **cost**: of one element, in additions, for the decision between recomputing and storing.
"""

ND_SECTIONS = (
    ("Elementwise", "Operands have one shape; broadcasting is an op of its own.", "elementwise"),
    ("Moving elements", "Most are index maps inside the loops that use them, and cost nothing.", "movement"),
    ("Reductions", "The reduced axes leave the shape. A reduction ends the kernel that computes it.", "reduction"),
    (
        "Indexing",
        "Loads and stores, inside the loops that use them, at positions that arrays of integers name.",
        "indexing",
    ),
    ("Products and others", "Between kernels, on whole arrays.", "extern"),
    ("Constants", "Small arrays; larger ones are passed as hidden arguments.", ""),
)


def ops_page() -> str:
    """Return docs/ops.md."""
    load_dialects()
    sections = [
        OPS_HEAD,
        *[_nd_section(title, text, tag) for title, text, tag in ND_SECTIONS],
        _plain_section("kernel", "Fused iteration spaces over whole arrays.", "kernel"),
        _plain_section("loops", "Nests over buffers that have been assigned.", "loops"),
        _plain_section("arith and math", "Arithmetic on one element, in both of these.", "arith", "math", cost=True),
        _plain_section("func", "Functions of every level.", "func"),
    ]
    return f"{GENERATED}\n\n" + "\n".join(sections)


PASSES_HEAD = """\
# Passes

A pass is a frozen dataclass; its fields are its options. A pipeline is text, `canonicalize,cse,adjoint{argnums=0,1}`,
that `gradloom-opt FILE -p PIPELINE` runs on a `.mlir` file. Each pass names the dialects that it reads and those that
it leaves, and the pass manager holds it to that.
"""


def _options(cls: type[Pass]) -> str:
    types = option_types(cls)
    texts = []
    for field in dataclasses.fields(cls):
        default = value_text(field.default)
        texts.append(f"`{field.name.replace('_', '-')}={default}` ({type_text(types[field.name])})")
    return ", ".join(texts)


def _dialects(names: frozenset[str]) -> str:
    return "any" if names == ANY else " ".join(sorted(names))


def passes_page() -> str:
    """Return docs/passes.md."""
    rows = []
    for name in sorted(PASSES):
        cls = load_pass(name)
        summary = inspect.cleandoc(cls.__doc__ or "").partition("\n")[0]
        rows.append([f"`{name}`", _options(cls), _dialects(cls.reads), _dialects(cls.leaves), summary])
    header = ["pass", "options and defaults", "reads", "leaves", "what it does"]
    named = [
        ["`CLEAN`", f"`{pipelines.CLEAN}`", "what the driver does to a traced or differentiated function"],
        ["`LOWER`", f"`{pipelines.LOWER}`", "from the `nd` level to loops; LLVM text is written from those"],
    ]
    text = "Of `gradloomc.pipelines`. The driver calls the same functions directly."
    return (
        f"{GENERATED}\n\n{PASSES_HEAD}\n{table(header, rows)}\n"
        f"## Pipelines\n\n{text}\n\n{table(['name', 'pipeline', 'use'], named)}"
    )


PAGES: dict[str, Callable[[], str]] = {"ops.md": ops_page, "passes.md": passes_page}


def main(argv: Sequence[str] | None = None, stdout: TextIO | None = None) -> int:
    """Write or check the pages; return the exit code."""
    out = stdout or sys.stdout
    parser = argparse.ArgumentParser(prog="opdoc", description="Write docs/ops.md and docs/passes.md.")
    parser.add_argument("directory", nargs="?", type=Path, default=Path("docs"))
    parser.add_argument("--check", action="store_true", help="only compare with what is there")
    options = parser.parse_args(argv)
    stale = 0
    for name, page in PAGES.items():
        path, text = options.directory / name, page()
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        if before == text:
            continue
        if options.check:
            stale = 1
            out.writelines(difflib.unified_diff(before.splitlines(True), text.splitlines(True), name, f"{name} now"))
        else:
            path.write_text(text, encoding="utf-8")
            out.write(f"wrote {path}\n")
    return stale


if __name__ == "__main__":
    sys.exit(main())
