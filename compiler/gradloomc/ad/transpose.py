"""Transpose: turn the linear part of a linearized function around, to map cotangents of results to those of arguments.

Mask-safety: a cotangent that passed a mask (a select, the zeros of a pad) is exactly zero where the mask was off.
Multiplying it by a coefficient that is inf or nan there must keep it zero, so such products are built as
`nd.mul_no_nan`.
"""

from collections.abc import Sequence

from gradloomc.ad.linearize import is_differentiable, linear_operands, linearize
from gradloomc.dialects import nd
from gradloomc.dialects.func import body_of, finish_function
from gradloomc.ir.builder import at, insertion
from gradloomc.ir.core import Op, Value
from gradloomc.ir.errors import DifferentiationError
from gradloomc.ir.opdef import Linear, Linearize, Multilinear, Partials

# Ops whose transposed result is exactly zero in places.
MASKING = frozenset({nd.select, nd.slice_, nd.gather})
# Ops that mix elements, so that a zero does not stay a zero.
MIXING = frozenset({nd.dot, nd.solve})


class Cotangents:
    """The cotangent of every linear value met so far, and which of them carry exact zeros."""

    def __init__(self) -> None:
        self.values: dict[Value, Value] = {}
        self.masked: set[Value] = set()

    def add(self, target: Value, cotangent: Value, masked: bool) -> None:
        """Add a contribution to the cotangent of `target`."""
        before = self.values.get(target)
        if before is not None:
            masked = masked and before in self.masked
            cotangent = nd.add(before, cotangent)
        if masked:
            self.masked.add(cotangent)
        self.values[target] = cotangent


def linear_ops(ops: Sequence[Op], sources: Sequence[Value]) -> tuple[list[Op], set[Value]]:
    """Return the ops that depend on `sources`, in order, and the values they define (sources included)."""
    linear = set(sources)
    found = []
    for op in ops:
        for operand in op.operands:
            if operand in linear:
                linear.update(op.results)
                found.append(op)
                break
    return found, linear


def pull_cotangents(ops: Sequence[Op], linear: set[Value], cotangents: Cotangents) -> None:
    """Walk linear ops backwards and emit their transposes at the insertion point."""
    for op in reversed(ops):
        g = cotangents.values.get(op.results[0])
        if g is None:
            continue
        insertion.location = op.location
        masked = g in cotangents.masked
        passes_mask = (masked and op.kind not in MIXING) or op.kind in MASKING
        for operand, contribution in _transpose(op, g, linear, masked):
            cotangents.add(operand, contribution, passes_mask)


def _transpose(op: Op, g: Value, linear: set[Value], masked: bool) -> list[tuple[Value, Value]]:
    facet = op.kind.derivative
    if isinstance(facet, Multilinear):
        return [
            (operand, _transpose_factor(op, facet, position, g, masked))
            for position, operand in enumerate(op.operands)
            if operand in linear
        ]
    if isinstance(facet, Partials):
        return [
            (operand, g if partial == 1 else nd.neg(g))
            for operand, partial in zip(op.operands, facet.rule(op.results[0], *op.operands), strict=True)
            if operand in linear
        ]
    if isinstance(facet, Linear):
        pairs = zip(linear_operands(op), facet.transpose(g, *op.operands, **op.attributes), strict=True)
        return [
            (op.operands[position], contribution)
            for position, contribution in pairs
            if contribution is not None and op.operands[position] in linear
        ]
    if isinstance(facet, Linearize) and facet.transpose is not None:
        contributions = facet.transpose(g, *op.operands, **op.attributes)
        return [
            (operand, contribution)
            for operand, contribution in zip(op.operands, contributions, strict=True)
            if contribution is not None and operand in linear
        ]
    raise DifferentiationError(f"'{op.name}' is not linear, so it cannot be transposed", op.location)


def _transpose_factor(op: Op, facet: Multilinear, position: int, g: Value, masked: bool) -> Value:
    if masked and op.kind is nd.mul:
        return nd.mul_no_nan(op.operands[1 - position], g)
    return facet.transposes[position](g, *op.operands, **op.attributes)


def vjp_of(function: Op, active: Sequence[int], unit_seed: bool = False, seeded: Sequence[int] | None = None) -> Op:
    """Return (primals..., cotangents of float results...) -> (results..., cotangents of the active arguments...).

    With `unit_seed` the first result, a scalar, gets the cotangent 1, other results none, and there are no cotangent
    arguments. `seeded` names the results that have a cotangent (by default all that hold floats).

    Raises:
        DifferentiationError: an active argument does not hold floats, or an op has no derivative.
    """
    count = len(body_of(function).arguments)
    name = function.attributes["sym_name"] + ("_grad" if unit_seed else "_vjp")
    new, results, tangents = linearize(function, active, name)
    block = body_of(new)
    sources = block.arguments[count:]
    tangent_ops, linear = linear_ops(block.ops, sources)
    doomed = set(tangent_ops)
    block.arguments = block.arguments[:count]
    block.ops = [op for op in block.ops if op not in doomed]
    cotangents = Cotangents()
    with at(block):
        for position, (result, tangent) in enumerate(zip(results, tangents, strict=True)):
            if not is_differentiable(result) or (seeded is not None and position not in seeded):
                continue
            if unit_seed:
                seed = nd.ones_like(result) if position == 0 else None
            else:
                seed = block.add_argument(result.type, f"{result.hint or 'out' + str(position)}_bar")
            if tangent is not None and seed is not None:
                cotangents.add(tangent, seed, False)
        pull_cotangents(tangent_ops, linear, cotangents)
        outputs = list(results)
        for i, source in zip(active, sources, strict=True):
            found = cotangents.values.get(source)
            outputs.append(nd.zeros_like(block.arguments[i]) if found is None else found)
    for op in tangent_ops:
        op.erase()
    return finish_function(new, outputs)
