"""The programs made from a traced function: its value, its gradient, products with vectors.

Each is a function on IR (by ad.transform) with what its results mean to the user. Whether it is
then compiled or inlined is not decided here.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradloom.program import Fixed, Primal, Program, Result, Slot, tuple_of
from gradloom.signature import Argument
from gradloom.trace.capture import lift
from gradloom.trace.tracer import Tracer
from gradloom.tree import LEAF, TUPLE
from gradloomc.ad.derivation import Derivation
from gradloomc.dialects import nd
from gradloomc.ir.attributes import Dense
from gradloomc.ir.core import Value
from gradloomc.ir.types import TensorType, tensor


def value_program(primal: Primal) -> Program:
    """Return the program of the function itself."""
    return Program(primal, Derivation(primal.function), with_aux(primal, primal.result))


def echo_program(primal: Primal) -> Program:
    """Return the program of the function itself that also copies its arrays: the pair (result, arrays)."""
    derived = Derivation(primal.function).echo()
    count, arrays = len(primal.types), len(derived.types) - len(primal.types)
    copies = Result((TUPLE, None, *[LEAF] * arrays), tuple(range(count, count + arrays)))
    return Program(primal, derived, tuple_of((with_aux(primal, primal.result), copies)))


def with_aux(primal: Primal, result: Result) -> Result:
    """Return the pair (result, aux) if the function has aux."""
    return result if primal.aux is None else tuple_of((result, primal.aux))


def gradient_program(
    primal: Primal, arguments: Sequence[Argument], single: bool, with_value: bool, what: str
) -> Program:
    """Return the gradient of a scalar function with respect to `arguments`, in their structure.

    The result is the gradient (a tuple of them unless `single`), with the value as (value,
    gradient), with aux as jax has it: ((value, aux), gradient) and (gradient, aux).
    """
    active = primal.parameters.active_leaves(arguments, primal.leaves)
    primal.check_scalar(what)
    derived = Derivation(primal.function).vjp([primal.position[i] for i in active], unit_seed=True)
    first = len(primal.types)
    gradients = [like_argument(argument, active, first) for argument in arguments]
    gradient = gradients[0] if single else tuple_of(gradients)
    if with_value:
        return Program(primal, derived, tuple_of((with_aux(primal, primal.result), gradient)))
    return Program(primal, derived, with_aux(primal, gradient))


def like_argument(argument: Argument, active: Sequence[int], first: int) -> Result:
    """Return a result in the structure of an argument.

    Active leaves are the slots from `first` on, other leaves None.
    """
    number = {leaf: first + k for k, leaf in enumerate(active)}
    slots = [number.get(i, Fixed(None)) for i in argument.leaves]
    return Result(argument.structure, tuple(slots))


def pushforward_program(primal: Primal, active: Sequence[int], with_value: bool) -> Program:
    """Return (arrays, tangents of the active leaves) -> the result's tangent, with the value
    (value, tangent).

    With aux, (tangent, aux) or (value, tangent, aux). A result that is no float has the tangent
    None.
    """
    derived = Derivation(primal.function).jvp([primal.position[i] for i in active])
    types = primal.types
    tangent_of = {slot: len(types) + k for k, slot in enumerate(primal.float_results())}
    slots: list[Slot] = []
    for slot in primal.result.slots:
        slots.append(tangent_of.get(slot, Fixed(None)) if isinstance(slot, int) else Fixed(None))
    parts = [Result(primal.result.structure, tuple(slots))]
    if with_value:
        parts.insert(0, primal.result)
    if primal.aux is not None:
        parts.append(primal.aux)
    return Program(primal, derived, parts[0] if len(parts) == 1 else tuple_of(parts))


def aux_program(primal: Primal) -> Program:
    """Return the program of the aux alone."""
    assert primal.aux is not None
    return Program(primal, Derivation(primal.function), primal.aux)


def _flat(slots: Sequence[int]) -> Result:
    return Result((TUPLE, None, *[LEAF] * len(slots)), tuple(slots))


def pushforward_flat_program(
    primal: Primal, active: Sequence[int], outputs: Sequence[int]
) -> Program:
    """Return (arrays, tangents of the active leaves) -> the tangents of the given float results."""
    derived = Derivation(primal.function).jvp([primal.position[i] for i in active])
    tangent_of = {slot: len(primal.types) + k for k, slot in enumerate(primal.float_results())}
    return Program(primal, derived, _flat([tangent_of[slot] for slot in outputs]))


def pullback_flat_program(primal: Primal, active: Sequence[int], outputs: Sequence[int]) -> Program:
    """Return (arrays, cotangents of the given results) -> the cotangents of the active leaves."""
    derived = Derivation(primal.function).keep(outputs).vjp([primal.position[i] for i in active])
    return Program(primal, derived, _flat(range(len(outputs), len(outputs) + len(active))))


def inline_products(
    program: Program, leaves: Sequence[Any], sources: Sequence[TensorType]
) -> list[list[Any]]:
    """Inline a flat program once per basis vector of its seeds.

    Returns for each source and each result of the program the products, stacked along a new first
    axis.
    """
    arrays = [leaves[i] for i in program.primal.position] + program.primal.captured
    operands = [lift(array) for array in arrays]
    seeds = [nd.splat(0, source) for source in sources]
    found = []
    for k, source in enumerate(sources):
        products = [
            program.inline_values(
                [*operands, *seeds[:k], _basis_vector(source, i), *seeds[k + 1 :]]
            )
            for i in range(source.size)
        ]
        found.append(
            [_stack([row[r] for row in products], type) for r, type in enumerate(program.types)]
        )
    return found


def _basis_vector(type: TensorType, i: int) -> Value:
    vector = np.zeros(type.size, type.element.dtype)
    vector[i] = 1
    return nd.constant(value=Dense(type, vector.reshape(type.shape)))


def _stack(values: Sequence[Value], type: TensorType) -> Any:
    if not values:
        return Tracer(nd.splat(0, tensor((0, *type.shape), type.element)))
    rows = [nd.reshape(value, shape=(1, *type.shape)) for value in values]
    return Tracer(rows[0] if len(rows) == 1 else nd.concatenate(*rows, axis=0))


def stop_tracer(leaf: Any) -> Any:
    """Return a tracer through which no derivative passes; anything else as it is."""
    return Tracer(nd.stop_gradient(lift(leaf))) if isinstance(leaf, Tracer) else leaf


def pullback_program(
    primal: Primal, active: Sequence[int], arguments: Sequence[Argument]
) -> Program:
    """Return (arrays, cotangents of the result) -> a tuple with the cotangent of each argument."""
    known = set(primal.float_results())
    floats = [slot for slot in primal.result.slots if isinstance(slot, int) and slot in known]
    derived = Derivation(primal.function).keep(floats).vjp([primal.position[i] for i in active])
    parts = [like_argument(argument, active, len(floats)) for argument in arguments]
    return Program(primal, derived, tuple_of(parts))
