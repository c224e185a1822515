"""The `kernel` dialect: fused iteration spaces over whole arrays (the idea of `linalg.generic`).

`kernel.nest` walks a box of points. At each point its region, written for one element, reads operands through index
maps, computes on scalars (arith, math), and yields one scalar per result; each result either stores it or reduces it.

Maps. `inputs` holds (operand, map) for each region argument; a map has one (dim, coefficient, offset) per operand
dimension: the index is coefficient * point[dim] + offset, or just offset when dim is -1. `outputs` holds (combine,
dims, low, high) for each yielded scalar: combine is 'store', 'add', 'mul', 'maximum', 'minimum', 'or' or 'and'; result
dimension k runs along dims[k] of the nest, or stands at position ~dims[k] if that is negative; only points with low <=
point < high contribute. Scalar k goes to result targets[k], or to result k where there are no targets. The combine
'scatter_add' (or _or, _maximum) combines what `kernel.place` gives it into the element that integers of the point name,
in the order of the points; there dims[k] is ~j where the result's dimension k is indexed by integer j. `kernel.inside`
asks whether the point lies in a range of one dim, which is how a pad reads as a select; a lowering peels the loop where
such a range begins or ends.

`kernel.product` is what a program does not walk itself: scaled matrix products, added up, by the BLAS.
"""

from typing import Any

import numpy as np

from gradloomc.dialects import nd
from gradloomc.ir import types as ir_types
from gradloomc.ir.core import Op, Value
from gradloomc.ir.errors import OutOfBoundsError, ShapeError, VerifyError
from gradloomc.ir.opdef import OpDef
from gradloomc.ir.types import TensorType, Type, tensor

COMBINES = ("store", "add", "mul", "maximum", "minimum", "or", "and")
SCATTER = "scatter_"
SCATTERS = tuple(SCATTER + combine for combine in ("add", "or", "maximum"))


def _nest_type(
    *operands: Type, extents: Any, inputs: Any, outputs: Any, results: tuple[Type, ...], targets: Any = None
) -> tuple[Type, ...]:
    for operand, index_map in inputs:
        if not 0 <= operand < len(operands) or len(index_map) != operands[operand].rank:  # type: ignore[attr-defined]
            raise ShapeError(f"'kernel.nest' has a map of {len(index_map)} dimensions for operand {operand}")
    if len(outputs) != (len(results) if targets is None else len(targets)):
        raise ShapeError(f"'kernel.nest' has {len(outputs)} outputs but {len(results)} result types")
    typed = list(results)
    for position, (combine, dims, low, high) in enumerate(outputs):
        target = position if targets is None else targets[position]
        result = results[target]
        if combine not in COMBINES + SCATTERS or len(low) != len(extents) or len(high) != len(extents):
            raise ShapeError(f"'kernel.nest' has a malformed output '{combine}'")
        if any(not 0 <= a <= b <= n for a, b, n in zip(low, high, extents, strict=True)):
            raise ShapeError("'kernel.nest' has an output box that leaves its extents")
        if not isinstance(result, TensorType) or len(dims) != result.rank:
            raise ShapeError("'kernel.nest' results are tensors of as many dimensions as their outputs say")
        shape = [n if d < 0 else high[d] - low[d] for d, n in zip(dims, result.shape, strict=True)]
        if combine in COMBINES and any(d < 0 and ~d >= n for d, n in zip(dims, shape, strict=True)):
            raise ShapeError("'kernel.nest' has an output outside its result")
        typed[target] = tensor(tuple(shape), result.element)
    return tuple(typed)


def _verify_nest(op: Op) -> None:
    block = op.regions[0].block
    if len(block.arguments) != len(op.attributes["inputs"]):
        raise VerifyError("'kernel.nest' op expects one region argument per input", op.location)
    if not block.ops or block.terminator.kind is not yield_:
        raise VerifyError("'kernel.nest' op expects its region to end in kernel.yield", op.location)
    if len(block.terminator.operands) != len(op.attributes["outputs"]):
        raise VerifyError("'kernel.nest' op expects one yielded scalar per output", op.location)
    for (combine, dims, *_), scalar in zip(op.attributes["outputs"], block.terminator.operands, strict=True):
        placed = len(scalar.op.operands) - 1 if scalar.op is not None and scalar.op.kind is place else None
        if (combine in SCATTERS) != (placed is not None) or any(~d >= (placed or d) for d in dims if d < 0 and placed):
            raise VerifyError(f"'kernel.nest' op cannot '{combine}' what it yields", op.location)
    for inner in block.ops:
        if inner.kind is gather and not 0 <= inner.attributes["operand"] < len(op.operands):
            raise VerifyError("'kernel.gather' op picks from an operand that its nest does not have", inner.location)


nest = OpDef(
    "kernel.nest",
    "A fused loop nest over whole arrays; see the dialect's description.",
    type_rule=_nest_type,
    attributes=("extents", "inputs", "outputs", "results"),
    verify=_verify_nest,
    results=("results",),
)


def reads_of(op: Op) -> list[tuple[int, Any]]:
    """Return (operand, map) for everything that a nest reads: its inputs, and what it picks by integers."""
    picks = [inner.attributes for inner in op.regions[0].block.ops if inner.kind is gather]
    return [*op.attributes["inputs"], *[(pick["operand"], pick["map"]) for pick in picks]]


def outputs_of(op: Op) -> list[tuple[str, tuple[int, ...], tuple[int, ...], tuple[int, ...], Value]]:
    """Return (combine, dims, low, high, result) for each scalar that a nest yields."""
    targets = op.attributes.get("targets") or range(len(op.results))
    return [(*output, op.results[k]) for output, k in zip(op.attributes["outputs"], targets, strict=True)]


yield_ = OpDef(
    "kernel.yield",
    "The scalars that a point of a nest gives to its results.",
    type_rule=lambda *types: (),
    effects=True,
    tags=frozenset({"terminator"}),
)
index = OpDef(
    "kernel.index",
    "The point's coordinate along `dim`.",
    type_rule=lambda dim: ir_types.i64,
    attributes=("dim",),
    tags=frozenset({"scalar"}),
)
extent = OpDef(
    "kernel.extent",
    "A length of an array, which the kernel is given when it runs.",
    type_rule=lambda value: ir_types.i64,
    reference=lambda value: np.asarray(value)[()],
    attributes=("value",),
    tags=frozenset({"scalar"}),
    cost=0.0,
)
inside = OpDef(
    "kernel.inside",
    "Whether low <= point[dim] < high.",
    type_rule=lambda dim, low, high: ir_types.i1,
    attributes=("dim", "low", "high"),
    tags=frozenset({"scalar"}),
)
gather = OpDef(
    "kernel.gather",
    "An element, of the given type, of the nest's operand number `operand`, at a map in which dim -2 - k stands for "
    "integer k of those that it is given; they are in bounds.",
    type_rule=lambda *indices, operand, map, type: type,
    attributes=("operand", "map", "type"),
    tags=frozenset({"scalar"}),
    cost=6.0,
)
place = OpDef(
    "kernel.place",
    "A scalar with the integers, in bounds, that say where in the result it goes.",
    type_rule=lambda value, *indices: value,
    tags=frozenset({"scalar"}),
    cost=0.0,
)


def _bounds_reference(low: Any, high: Any, extent: int, axis: int) -> None:
    if low < -extent or high >= extent:
        wrong = high if high >= extent else low
        raise OutOfBoundsError(f"index {wrong} is out of bounds for axis {axis} with size {extent}")


bounds = OpDef(
    "kernel.bounds",
    "The program ends in an error if the least and the largest index, counted from either end, are not within an axis.",
    type_rule=lambda low, high, extent, axis: (),
    reference=_bounds_reference,
    attributes=("extent", "axis"),
    effects=True,
)


# --- products ---------------------------------------------------------------------------------------------------------


def term_attributes(term: Any) -> dict[str, Any]:
    """Return the attributes of the `nd.dot` that a term of a product stands for."""
    return dict(zip(("x_contract", "y_contract", "x_batch", "y_batch"), term[1:], strict=True))


def _product_type(*operands: Type, terms: Any) -> Type:
    if len(operands) != 2 * len(terms) or not terms:
        raise ShapeError(f"'kernel.product' has {len(operands)} operands for {len(terms)} terms")
    types = {
        nd.dot.type_rule(x, y, **term_attributes(term))
        for x, y, term in zip(operands[::2], operands[1::2], terms, strict=True)
    }
    if len(types) != 1:
        raise ShapeError("'kernel.product' op expects terms of one shape and dtype")
    return types.pop()


def _product_reference(*operands: Any, terms: Any) -> Any:
    reference: Any = nd.dot.reference
    total = None
    for x, y, term in zip(operands[::2], operands[1::2], terms, strict=True):
        scaled = reference(x, y, **term_attributes(term)) * x.dtype.type(term[0])
        total = scaled if total is None else total + scaled
    return total


product = OpDef(
    "kernel.product",
    "A sum of scaled matrix products of two operands each; a term is its factor and the four axis lists of `nd.dot`.",
    type_rule=_product_type,
    reference=_product_reference,
    attributes=("terms",),
    tags=frozenset({"extern", "product"}),
)
