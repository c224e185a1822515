"""The `loops` dialect: nests over buffers that have been assigned; no tensors are left.

`loops.nest` runs its region for every point of its extents, dimensions in order, the last one in explicit vectors of
`width` elements. The region is written for one element (as in ISPC): loads, stores and reductions name a buffer and a
map, as in the kernel dialect (`dims` with negative entries for fixed positions too). Reductions combine into their
buffer, which `loops.fill` has set to the neutral element before. Integers of the point may take part in a map: dim -2 -
k of a load, or ~k in the `dims` of a `loops.scatter`, stands for the k-th of them, which is in bounds. `loops.gemm` is
a call of the BLAS. What a nest stores
in a `loops.scratch` that is a ring it may read at later rows. The attribute
`chunk = [dim, unit, count]` of a nest or of nests in tiles says that a dimension falls into so many chunks that may run
on any thread (`lowering/parallelize.py`), `in_place` that no point is stored twice (`lowering/donate.py`), `jam` that
it is written for so many rows at once, and again for those that are left (`lowering/jam.py`), and `halved` that its
two dimensions are two of the same: what a reduction adds up at (j, i) is `mirror` times what it adds up at (i, j), or
times its third operand there, so that one of both points need be visited (`lowering/halve.py`).
"""

from collections.abc import Iterable, Iterator
from typing import Any

from gradloomc.dialects import kernel
from gradloomc.ir.core import Op
from gradloomc.ir.errors import VerifyError
from gradloomc.ir.opdef import OpDef
from gradloomc.ir.types import MemRefType, Type, memref


def _verify_nest(op: Op) -> None:
    extents, halved = op.attributes["extents"], op.attributes.get("halved", False)
    if halved and (len(extents) != 2 or extents[0] != extents[1]):
        raise VerifyError("a halved 'loops.nest' op has two dimensions of one extent", op.location)
    for inner in op.regions[0].block.ops[:-1]:
        sign = inner.attributes.get("mirror")
        if inner.kind in SINKS and (sign is not None) != halved:
            raise VerifyError("a 'loops.nest' op is halved if all that it does is mirrored reductions", op.location)
        if inner.kind is reduce and len(inner.operands) > 2 + halved:
            raise VerifyError("a 'loops.reduce' op has a third operand only in a halved nest", op.location)
        if sign is None:
            continue
        moving = [dim for dim in inner.attributes["dims"] if dim >= 0]
        if sign not in (1, -1) or moving not in ([], [0]) or (moving and inner.attributes["dims"][-1] != 0):
            raise VerifyError("a mirrored 'loops.reduce' op adds up numbers, or along its last axis", op.location)


nest = OpDef(
    "loops.nest",
    "A loop nest over buffers; see the dialect's description.",
    type_rule=lambda *buffers, extents, width, chunk=None, in_place=False, jam=1, step=1, halved=False: (),
    attributes=("extents", "width"),
    effects=True,
    verify=_verify_nest,
)
tiles = OpDef(
    "loops.tiles",
    "Run the nests of the region on `rows` points of their outermost dimension (of `extent`) at a time.",
    type_rule=lambda extent, rows, chunk=None: (),
    attributes=("extent", "rows"),
    effects=True,
)
end = OpDef(
    "loops.end", "End of a nest's region.", type_rule=lambda: (), effects=True, tags=frozenset({"terminator"})
)


def _element(buffer: Type, *indices: Type, map: Any) -> Type:
    assert isinstance(buffer, MemRefType)
    return buffer.element


load = OpDef(
    "loops.load",
    "The buffer's element at the mapped point, and at the integers that follow the buffer.",
    type_rule=_element,
    attributes=("map",),
)
store = OpDef(
    "loops.store",
    "Write a scalar to the buffer at the mapped point, for points with low <= point < high.",
    type_rule=lambda value, buffer, dims, low, high: (),
    attributes=("dims", "low", "high"),
    effects=True,
)
reduce = OpDef(
    "loops.reduce",
    "Combine a scalar into the buffer at the mapped point, for points with low <= point < high; in a halved nest with "
    "`mirror` and, after the buffer, what is combined at the mirrored point.",
    type_rule=lambda value, buffer, *mirrored, combine, dims, low, high, mirror=1: (),
    attributes=("combine", "dims", "low", "high"),
    effects=True,
)
prefetch = OpDef(
    "loops.prefetch",
    "Ask for the memory at the mapped point, which is read soon, or with `write` written; beyond the end, at the end.",
    type_rule=lambda buffer, map, write: (),
    attributes=("map", "write"),
    effects=True,
)
scatter = OpDef(
    "loops.scatter",
    "Combine a scalar into the buffer at the integers that follow it, in the order of the points, for points with "
    "low <= point < high.",
    type_rule=lambda value, buffer, *indices, combine, dims, low, high: (),
    attributes=("combine", "dims", "low", "high"),
    effects=True,
    cost=6.0,
)
bounds = OpDef(
    "loops.bounds",
    "The program ends in an error if the integers in two buffers are not at least -extent and less than extent.",
    type_rule=lambda low, high, extent, axis: (),
    reference=kernel.bounds.reference,
    attributes=("extent", "axis"),
    effects=True,
)
fill = OpDef(
    "loops.fill",
    "Set all elements of a buffer to one number.",
    type_rule=lambda buffer, value: (),
    attributes=("value",),
    effects=True,
)
alloc = OpDef(
    "loops.alloc",
    "A temporary buffer.",
    type_rule=lambda type: type,
    attributes=("type",),
    effects=True,
)
scratch = OpDef(
    "loops.scratch",
    "A temporary of the shape `type` of which only the `rows` rows of the tile at hand exist at any time. Of a `ring` "
    "the last `rows` rows exist that a nest has stored there, row i at place i modulo rows (a power of two).",
    type_rule=lambda type, rows, ring=False: type,
    attributes=("type", "rows"),
    effects=True,
)
SINKS = frozenset({store, reduce, scatter})

gemm = OpDef(
    "loops.gemm",
    "c = alpha a b + beta c on matrices in three buffers; with beta = 0 the old c is not read. `shape` is (rows of c, "
    "columns of c, contracted extent), `transposed` says whether a and b are stored the other way round, `leading` how "
    "far apart the stored rows of a, b and c are; `batch` repeats it: (extent, steps in a, b, c) for each dimension. "
    "In tiles `rows` says what a row is: part of which extent of `shape`, how much of it, and the steps in a, b, c.",
    type_rule=lambda a, b, c, shape, transposed, leading, batch, alpha, beta, rows=(): (),
    attributes=("shape", "transposed", "leading", "batch", "alpha", "beta"),
    effects=True,
)


def _extern_type(*buffers: Type, callee: str, results: tuple[Type, ...], attributes: Any) -> tuple[Type, ...]:
    return results


extern = OpDef(
    "loops.extern",
    "Call a library routine between nests: `callee` names the nd op whose meaning it has.",
    type_rule=_extern_type,
    attributes=("callee", "attributes", "results"),
    effects=True,
)
view = OpDef(
    "loops.view",
    "The same memory under another shape.",
    type_rule=lambda buffer, type: type,
    attributes=("type",),
)
constant = OpDef(
    "loops.constant",
    "A buffer with the elements of a constant.",
    type_rule=lambda value: memref(value.type.shape, value.type.element),
    attributes=("value",),
)


def untiled(ops: Iterable[Op]) -> Iterator[Op]:
    """Yield ops in order, those of tiles in the place of these; what is inside nests is not looked at."""
    for op in ops:
        if op.kind is tiles:
            yield from op.regions[0].block.ops
        else:
            yield op
