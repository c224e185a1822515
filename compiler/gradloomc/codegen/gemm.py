"""Calls of a BLAS from native code: `loops.gemm` as text.

The text names a routine by a symbol of its own; its address is given when the code is loaded (`native.imports`), so
neither text nor compiled code depends on where a library was loaded. BLAS libraries differ in how they are called; a
private function of the module turns one form into the other.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from gradloomc.codegen.body import Body
from gradloomc.codegen.instructions import Vector, memory_scalar
from gradloomc.codegen.workers import WORDS
from gradloomc.ir import types as ir_types
from gradloomc.ir.core import Op
from gradloomc.ir.types import ScalarType

# The symbols by which native code calls a library's gemm, and what takes its place for large products.
SYMBOLS: dict[ScalarType, str] = {ir_types.f32: "gradloom_sgemm", ir_types.f64: "gradloom_dgemm"}
LARGE_SYMBOLS: dict[ScalarType, str] = {ir_types.f32: "gradloom_large_sgemm", ir_types.f64: "gradloom_large_dgemm"}


class Convention(NamedTuple):
    """How a library's gemm is called.

    Attributes:
        cblas: by value, with the storage order first, as CBLAS has it; else all by address, as Fortran does.
        integer: the type of sizes.
    """

    cblas: bool = True
    integer: str = "i64"


_ROW_MAJOR, _PLAIN, _TRANSPOSED = 101, 111, 112  # CBLAS's numbers
FLAGS_AND_SIZES = "i1 %ta, i1 %tb, i64 %m, i64 %n, i64 %k"
MATRICES = "{t} %alpha, ptr %a, i64 %lda, ptr %b, i64 %ldb, {t} %beta, ptr %c, i64 %ldc"


# Products of more multiply-adds than this are worth several threads, or a BLAS may think so.
LARGE = 1 << 18


def adapter_name(symbol: str) -> str:
    """Return the name of a module's private function that calls a symbol."""
    return f"{symbol}_by_rows"


def sharing_name(element: ScalarType) -> str:
    return f"large_gemm_{element}"


def is_large(op: Op) -> bool:
    """Tell whether a product is to be shared by the worker pool."""
    m, n, k = op.attributes["shape"]
    return m * n * k > LARGE


def declaration(symbol: str, element: ScalarType, convention: Convention) -> str:
    """Return the declaration of a routine."""
    t, i = memory_scalar(element), convention.integer
    if not convention.cblas:
        return f"declare void @{symbol}({', '.join(['ptr'] * 13)})"
    return f"declare void @{symbol}(i32, i32, i32, {i}, {i}, {i}, {t}, ptr, {i}, ptr, {i}, {t}, ptr, {i})"


def adapter(symbol: str, element: ScalarType, convention: Convention, attributes: str = "#0") -> str:
    """Return the module's private function that calls a routine with matrices stored by rows."""
    t = memory_scalar(element)
    head = f"define internal void @{adapter_name(symbol)}({FLAGS_AND_SIZES}, {MATRICES.format(t=t)}) {attributes} {{"
    body = _cblas_call(symbol, t, convention.integer) if convention.cblas else _fortran_call(symbol, t, convention)
    return "\n".join([head, *body, "  ret void", "}"])


def sharing_adapter(element: ScalarType) -> str:
    """Return the module's private function for large products: the worker pool's, or the routine if there is none."""
    t = memory_scalar(element)
    arguments = (
        f"i1 %ta, i1 %tb, i64 %m, i64 %n, i64 %k, {t} %alpha, ptr %a, i64 %lda, ptr %b, i64 %ldb, {t} %beta, ptr %c, "
        "i64 %ldc"
    )
    return f"""define internal void @{sharing_name(element)}(ptr %pool, {FLAGS_AND_SIZES}, {MATRICES.format(t=t)}) #0 {{
  %place = getelementptr i8, ptr %pool, i64 {WORDS[f"gemm_{element}"]}
  %shared = load atomic ptr, ptr %place monotonic, align 8
  %alone = icmp eq ptr %shared, null
  br i1 %alone, label %one, label %several
one:
  call void @{adapter_name(LARGE_SYMBOLS[element])}({arguments})
  ret void
several:
  call void %shared(ptr %pool, {arguments})
  ret void
}}"""


def _as_integer(names: Sequence[str], integer: str) -> list[str]:
    if integer == "i64":
        return [f"  %{name}.i = add i64 %{name}, 0" for name in names]
    return [f"  %{name}.i = trunc i64 %{name} to {integer}" for name in names]


def _cblas_call(symbol: str, t: str, integer: str) -> list[str]:
    i = integer
    return [
        f"  %transa = select i1 %ta, i32 {_TRANSPOSED}, i32 {_PLAIN}",
        f"  %transb = select i1 %tb, i32 {_TRANSPOSED}, i32 {_PLAIN}",
        *_as_integer(("m", "n", "k", "lda", "ldb", "ldc"), integer),
        f"  call void @{symbol}(i32 {_ROW_MAJOR}, i32 %transa, i32 %transb, {i} %m.i, {i} %n.i, {i} %k.i, {t} %alpha, "
        f"ptr %a, {i} %lda.i, ptr %b, {i} %ldb.i, {t} %beta, ptr %c, {i} %ldc.i)",
    ]


def _fortran_call(symbol: str, t: str, convention: Convention) -> list[str]:
    """Matrices stored by rows are the transposes of what Fortran sees: c' = b' a'."""
    i = convention.integer
    sizes = ("m", "n", "k", "lda", "ldb", "ldc")
    lines = [f"  %{name}.p = alloca {i}" for name in sizes]
    lines += [f"  %{name}.p = alloca {t}" for name in ("alpha", "beta")]
    lines += ["  %ta.p = alloca i8", "  %tb.p = alloca i8"]
    lines += _as_integer(sizes, i)
    lines += [f"  store {i} %{name}.i, ptr %{name}.p" for name in sizes]
    lines += [f"  store {t} %{name}, ptr %{name}.p" for name in ("alpha", "beta")]
    for flag in ("ta", "tb"):
        lines += [
            f"  %{flag}.c = select i1 %{flag}, i8 {ord('T')}, i8 {ord('N')}",
            f"  store i8 %{flag}.c, ptr %{flag}.p",
        ]
    order = "tb.p ta.p n.p m.p k.p alpha.p b ldb.p a lda.p beta.p c ldc.p".split()
    return [*lines, f"  call void @{symbol}({', '.join(f'ptr %{name}' for name in order)})"]


def write_gemm(
    op: Op,
    pointers: Sequence[str],
    load_size: Callable[[int], str],
    number: int,
    rows: tuple[str, str] | None = None,
    pool: str | None = None,
) -> list[str]:
    """Return the lines of a `loops.gemm`: a call of the adapter, in loops over the batch.

    Args:
        pointers: the names of the three matrices' addresses.
        load_size: returns the name of a run-time number.
        number: tells the op from others of the function.
        rows: the names of the ends of a tile.
        pool: the worker pool's control block, if the product is large.
    """
    a = op.attributes
    element: ScalarType = op.operands[2].type.element
    t, stem = memory_scalar(element), f"gemm{number}"
    one = Vector(Body(), 1)
    alpha, beta = (f"{t} {one.literal(a[name], element)}" for name in ("alpha", "beta"))
    shape = [load_size(extent) for extent in a["shape"]]
    lda, ldb, ldc = (load_size(leading) for leading in a["leading"])
    flags = ["true" if transposed else "false" for transposed in a["transposed"]]
    lines: list[str] = []
    loops: list[tuple[str, str]] = []
    at = list(pointers)
    if rows is not None:
        which, part, *steps = a["rows"]
        lines += [
            f"  %{stem}rows = sub i64 {rows[1]}, {rows[0]}",
            f"  %{stem}part = mul i64 %{stem}rows, {load_size(part)}",
        ]
        shape[which] = f"%{stem}part"
        for position, step in enumerate(steps):
            if step:
                lines += [
                    f"  %{stem}o{position} = mul i64 {rows[0]}, {load_size(step)}",
                    f"  %{stem}p{position} = getelementptr {t}, ptr {at[position]}, i64 %{stem}o{position}",
                ]
                at[position] = f"%{stem}p{position}"
    m, n, k = shape
    for depth, (extent, *steps) in enumerate(a["batch"]):
        name = f"{stem}b{depth}"
        count, steps = load_size(extent), [load_size(step) for step in steps]
        lines += [
            f"  br label %{name}.before",
            f"{name}.before:",
            f"  br label %{name}",
            f"{name}:",
            f"  %{name}i = phi i64 [ 0, %{name}.before ], [ %{name}n, %{name}.next ]",
        ]
        for position, step in enumerate(steps):
            lines += [
                f"  %{name}o{position} = mul i64 %{name}i, {step}",
                f"  %{name}p{position} = getelementptr {t}, ptr {at[position]}, i64 %{name}o{position}",
            ]
            at[position] = f"%{name}p{position}"
        loops.append((name, count))
    callee = f"@{adapter_name(SYMBOLS[element])}(" if pool is None else f"@{sharing_name(element)}(ptr {pool}, "
    lines.append(
        f"  call void {callee}i1 {flags[0]}, i1 {flags[1]}, i64 {m}, i64 {n}, i64 {k}, {alpha}, "
        f"ptr {at[0]}, i64 {lda}, ptr {at[1]}, i64 {ldb}, {beta}, ptr {at[2]}, i64 {ldc})"
    )
    for name, count in reversed(loops):
        lines += [
            f"  br label %{name}.next",
            f"{name}.next:",
            f"  %{name}n = add nuw nsw i64 %{name}i, 1",
            f"  %{name}c = icmp slt i64 %{name}n, {count}",
            f"  br i1 %{name}c, label %{name}, label %{name}.done",
            f"{name}.done:",
        ]
    return lines
