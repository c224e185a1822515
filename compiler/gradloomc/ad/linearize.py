"""Linearize: append to a function the program that maps tangents of its arguments to tangents of its results.

The appended ops are of two sorts: coefficients (functions of the primal values only) and ops that are linear in the
tangents. Each op gives its part through its one derivative facet. A tangent of None stands for zero and never becomes
an op.
"""

from collections.abc import Sequence
from typing import Any

from gradloomc.dialects import nd
from gradloomc.dialects.func import body_of, finish_function, make_function
from gradloomc.ir.builder import at, insertion
from gradloomc.ir.core import Block, Op, Value
from gradloomc.ir.errors import DifferentiationError
from gradloomc.ir.inline import copy_op
from gradloomc.ir.opdef import (
    Constant,
    Expand,
    Linear,
    Linearize,
    Multilinear,
    Partials,
    Unsupported,
)

Tangent = Value | None


def is_differentiable(value: Value) -> bool:
    """Tell whether a value has tangents: arrays of floats have, integers and bools have none."""
    return value.type.element.kind == "f"


def linear_operands(op: Op) -> Sequence[int]:
    """Return the positions of the operands in which a Linear op is linear."""
    facet = op.kind.derivative
    assert isinstance(facet, Linear)
    return facet.operands or range(len(op.operands))  # an empty tuple stands for every operand


def copy_active(function: Op, active: Sequence[int], block: Block) -> tuple[list[Op], list[Value]]:
    """Copy the body of `function` to `block` (whose first arguments stand for its arguments).

    Active ops whose derivative is that of an equal program are replaced by that program. Returns the copied ops and the
    results' values.
    """
    body = body_of(function)
    values: dict[Value, Value] = dict(zip(body.arguments, block.arguments, strict=False))
    varying = {body.arguments[i] for i in active}
    with at(block):
        for op in body.ops[:-1]:
            active_op = False
            for operand in op.operands:
                if operand in varying:
                    active_op = True
                    varying.update(op.results)
                    break
            if active_op and isinstance(op.kind.derivative, Expand):
                insertion.location = op.location
                operands = [values.get(operand, operand) for operand in op.operands]
                values[op.result] = op.kind.derivative.rule(*operands, **op.attributes)
            else:
                copy_op(op, values, block)
    return list(block.ops), [values.get(value, value) for value in body.terminator.operands]


def push_tangents(ops: Sequence[Op], tangents: dict[Value, Tangent]) -> None:
    """Emit the tangent of each op's results at the insertion point; `tangents` grows by them."""
    for op in ops:
        for operand in op.operands:
            if tangents.get(operand) is not None and is_differentiable(op.results[0]):
                insertion.location = op.location
                tangents[op.results[0]] = _tangent(op, [tangents.get(operand) for operand in op.operands])
                break


def _tangent(op: Op, tangents: list[Tangent]) -> Tangent:
    facet = op.kind.derivative
    if isinstance(facet, Partials):
        return _from_partials(op, facet, tangents)
    if isinstance(facet, Multilinear):
        return _from_factors(op, tangents)
    if isinstance(facet, Linear):
        return _from_linear(op, tangents)
    if isinstance(facet, Linearize):
        return facet.rule(op.results[0], op.operands, tangents, op.attributes)
    if isinstance(facet, Constant):
        return None
    reason = facet.reason if isinstance(facet, Unsupported) else "no derivative is known"
    raise DifferentiationError(
        f"'{op.name}' cannot be differentiated: {reason}",
        op.location,
        fix="wrap the value in gradloom.stop_gradient(...) if it is meant as a constant",
    )


def _from_partials(op: Op, facet: Partials, tangents: list[Tangent]) -> Tangent:
    total: Tangent = None
    multiply = nd.mul_no_nan if facet.singular else nd.mul
    for partial, tangent in zip(facet.rule(op.results[0], *op.operands), tangents, strict=True):
        if tangent is None or (partial.__class__ is int and partial == 0):
            continue
        term: Any
        if partial.__class__ is int:
            term = tangent if partial == 1 else nd.neg(tangent)
        else:
            term = multiply(partial, tangent)
        total = term if total is None else nd.add(total, term)
    return total


def _from_factors(op: Op, tangents: list[Tangent]) -> Tangent:
    total: Tangent = None
    for position, tangent in enumerate(tangents):
        if tangent is None:
            continue
        operands = list(op.operands)
        operands[position] = tangent
        term = op.kind(*operands, **op.attributes)
        total = term if total is None else nd.add(total, term)
    return total


def _from_linear(op: Op, tangents: list[Tangent]) -> Tangent:
    operands = list(op.operands)
    varies = False
    for position in linear_operands(op):
        tangent = tangents[position]
        varies = varies or tangent is not None
        operands[position] = nd.zeros_like(operands[position]) if tangent is None else tangent
    return op.kind(*operands, **op.attributes) if varies else None


def linearize(function: Op, active: Sequence[int], name: str) -> tuple[Op, list[Value], list[Tangent]]:
    """Return an unfinished function (primals..., tangents of active arguments...), its results and their tangents."""
    arguments = body_of(function).arguments
    check_active(function, active)
    types = [argument.type for argument in arguments]
    hints = [argument.hint for argument in arguments]
    new = make_function(
        name,
        types + [types[i] for i in active],
        hints + [f"{hints[i] or 'arg' + str(i)}_dot" for i in active],
    )
    block = body_of(new)
    ops, results = copy_active(function, active, block)
    tangents: dict[Value, Tangent] = {
        block.arguments[i]: block.arguments[len(types) + k] for k, i in enumerate(active)
    }
    with at(block):
        push_tangents(ops, tangents)
    return new, results, [tangents.get(result) for result in results]


def check_active(function: Op, active: Sequence[int]) -> None:
    """Raise unless every active argument holds floats."""
    for i in active:
        argument = body_of(function).arguments[i]
        if not is_differentiable(argument):
            raise DifferentiationError(
                f"argument {argument.hint or i} of '{function.attributes['sym_name']}' is {argument.type}: only arrays "
                "of floats have derivatives",
                fix="pass floats (x.astype(float)), or leave the argument out of argnums",
            )


def jvp_of(function: Op, active: Sequence[int]) -> Op:
    """Return (primals..., tangents of the active arguments...) -> (results..., tangents of the float results...)."""
    name = function.attributes["sym_name"] + "_jvp"
    new, results, tangents = linearize(function, active, name)
    outputs = list(results)
    with at(body_of(new)):
        for result, tangent in zip(results, tangents, strict=True):
            if is_differentiable(result):
                outputs.append(nd.zeros_like(result) if tangent is None else tangent)
    return finish_function(new, outputs)
