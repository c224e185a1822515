"""What a program does, for people: the text of each level, and `explain()`.

Lowers the program's function once more, on a copy, because the executable keeps only native code.
"""

import os
from typing import TYPE_CHECKING

from gradloom.exec.threads import pool
from gradloom.separation import reasons_apart, recomputed
from gradloomc.codegen.llvm_process import llvm
from gradloomc.codegen.native import host
from gradloomc.codegen.x86 import features_of
from gradloomc.dialects import kernel, loops
from gradloomc.dialects.func import body_of
from gradloomc.ir.core import Op, Value
from gradloomc.ir.errors import UnsupportedError
from gradloomc.ir.inline import copy_function
from gradloomc.ir.location import Location
from gradloomc.ir.printer import print_op
from gradloomc.lowering.fuse import fuse_function
from gradloomc.lowering.halve import reason_for_halves
from gradloomc.lowering.materialize import plan_materialization
from gradloomc.lowering.products import explain_products
from gradloomc.pipelines import clean, end_differentiation, lower, prepare, to_kernels, to_loops

if TYPE_CHECKING:
    from gradloom.program import Program

LEVELS = ("nd", "adjoint", "kernels", "loops", "llvm", "asm")
_TEXT_WIDTH = 60


def level_text(program: "Program", level: str, generic: bool = False) -> str:
    """Return a program at one level: its IR as text, LLVM IR, or assembly.

    "nd" is the user's function as it was traced, "adjoint" what was derived from it (the same for a
    plain value); the others show how that is run.
    """
    if level == "nd":
        return print_op(program.primal.function, generic)
    if level == "llvm":
        return program.executable.program.text
    if level == "asm":
        return _assembly(program.executable.program.text)
    return function_text(program.function, level, generic)


def function_text(function: Op, level: str, generic: bool = False) -> str:
    """Return a function of the nd level at one level from "adjoint" (cleaned) downwards."""
    copy = copy_function(function)
    if level == "adjoint":
        return print_op(clean(copy), generic)
    if level == "kernels":
        return print_op(to_kernels(copy), generic)
    if level == "loops":
        return print_op(to_loops(copy, host().vector_bits, features_of(host().function_attributes)), generic)
    if level in ("llvm", "asm"):
        text = lower(copy, host().vector_bits, host().function_attributes).text
        return text if level == "llvm" else _assembly(text)
    raise UnsupportedError(f"there is no level {level!r}", fix=f"choose one of {', '.join(LEVELS)}")


def _assembly(text: str) -> str:
    return llvm().assembly(text)


def explain(program: "Program") -> str:
    """Return how a program is run.

    Its kernels and why they are not one, what it keeps in memory and why, what it computes again, the bytes it moves,
    what it took to compile.
    """
    stats = program.executable.stats
    cleaned = prepare(copy_function(program.function))
    plan = plan_materialization(cleaned)
    reasons = plan.reasons
    again = [
        (str(value.type), f"by {passes} kernels: {cost:.0f} additions an element, less than memory", value.op.location)
        for value, passes, cost in recomputed(plan, body_of(cleaned).ops[:-1])
        if value.op is not None
    ]
    kept = [
        (str(value.type), reason, value.op.location)
        for value, reason in reasons.items()
        if value.op is not None and reason != "a result"
    ]
    ratio = stats.bytes_moved / stats.bytes_ideal if stats.bytes_ideal else 1.0
    lines = [
        _signature(program),
        f"  {_count(stats.kernels, 'kernel')}, {_count(stats.externs + stats.products, 'library call')}; "
        f"{_bytes(stats.bytes_moved)} moved, {_bytes(stats.bytes_ideal)} at least ({ratio:.2f}x)",
        f"  {_bytes(stats.bytes_results)} of results and {_bytes(stats.bytes_temporary)} of temporaries at the peak"
        + (f" ({_bytes(stats.bytes_separate)} if none shared memory)" if stats.bytes_separate else ""),
        f"  lowered in {stats.lower_seconds * 1e3:.1f} ms, "
        + ("native code shared with an earlier program" if stats.reused_native_code else "compiled")
        + f" in {stats.native_seconds * 1e3:.1f} ms",
    ]
    if stats.chunked:
        lines.append(f"  {_count(stats.chunked, 'kernel')} in chunks that up to {pool.get_threads()} threads share")
    lines += _section("donated arguments", _donations(program))
    if program.family is not None:
        lines += program.family.explain()
    lines += _section("kept in memory", [(type, reason, _place(at)) for type, reason, at in kept])
    lines += _section("computed again", [(type, reason, _place(at)) for type, reason, at in again])
    products = explain_products(clean(end_differentiation(copy_function(program.function))))
    lines += _section("products", [(text, reason, _place(op.location)) for text, reason, op in products])
    kernels = fuse_function(cleaned)
    apart = reasons_apart(kernels)
    lines += _section(
        "kernels", [(f"{k}.", *_kernel(op), reason) for k, (op, reason) in enumerate(apart.items(), 1)]
    )
    lines += _section("loops", _loops(program.function))
    lines += _section(
        "library calls",
        [
            (op.name, str(op.results[0].type), _place(op.location))
            for op in body_of(kernels).ops
            if _is_call(op)
        ],
    )
    return "\n".join(lines)


def _loops(function: Op) -> list[tuple[str, ...]]:
    """Return what is done for tiles and for light loops, and why."""
    lowered = to_loops(copy_function(function), host().vector_bits, features_of(host().function_attributes))
    found: dict[tuple[str, ...], None] = {}
    for op in lowered.walk():
        if op.kind is loops.scratch:
            rows = op.attributes["rows"]
            if op.attributes.get("ring"):
                reason = f"kept for {rows} rows: needed at several places around a point, or by rows that come later"
            else:
                reason = f"kept for the {rows} rows of a tile: costs more than a trip to the cache"
            found[_array(op.result), reason, _place(op.location)] = None
        elif op.kind is loops.prefetch:
            when = "written in this tile" if op.attributes["write"] else "read in the next tile"
            found[_array(op.operands[0]), f"asked for while memory is idle: {when}", _place(op.location)] = None
        elif op.kind is loops.nest and "jam" in op.attributes:
            shape = " x ".join(map(str, op.attributes["extents"]))
            reason = f"{op.attributes['jam']} rows at once: light, and rows share what they read or add to"
            found[shape, reason, _place(op.location)] = None
        elif op.kind is loops.nest and "halved" in op.attributes:
            shape = " x ".join(map(str, op.attributes["extents"]))
            found[shape, f"each pair once: {reason_for_halves(op)}", _place(op.location)] = None
    return list(found)


def _array(buffer: Value) -> str:
    return str(buffer.type).replace("memref", "tensor")


def _donations(program: "Program") -> list[tuple[str, ...]]:
    """Return for each donated argument its name, and what became of its memory."""
    arguments = body_of(program.function).arguments
    found: list[tuple[str, ...]] = []
    for position, result, reason in program.executable.program.donations:
        name = arguments[position].hint or f"argument {position}"
        found.append((name, f"not used: {reason}" if reason else f"takes result {result}"))
    return found


def _is_call(op: Op) -> bool:
    return bool(op.results) and "extern" in op.kind.tags


def _signature(program: "Program") -> str:
    arguments = ", ".join(
        f"{argument.hint}: {argument.type}" for argument in body_of(program.function).arguments
    )
    results = ", ".join(map(str, program.types))
    return f"{program.function.attributes['sym_name']}({arguments}) -> ({results})"


def _section(title: str, rows: list[tuple[str, ...]]) -> list[str]:
    if not rows:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        f"  {title}:",
        *[
            "    "
            + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ],
    ]


def _kernel(op: Op) -> tuple[str, ...]:
    extents = " x ".join(map(str, op.attributes["extents"])) or "1"
    names = [inner.name.partition(".")[2] for inner in op.regions[0].block.ops[:-1]]
    names = [name for name in names if name != "constant"]
    text = f"{_count(len(names), 'op')}: {' '.join(names)}"
    if len(text) > _TEXT_WIDTH:
        text = text[: _TEXT_WIDTH - 4] + " ..."
    outputs = ", ".join(dict.fromkeys(f"{combine} {result.type}" for combine, *_, result in kernel.outputs_of(op)))
    return (extents, text, f"-> {outputs}")


def _place(location: Location) -> str:
    name, line, _, _ = location.resolve()
    return f"{os.path.basename(name)}:{line}: {location.source_line().strip()}" if line else ""


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _bytes(number: float) -> str:
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} GB"
