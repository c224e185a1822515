"""Calling a function compiled from NumPy code on tensors: the call becomes part of the graph.

The traced function is recorded as one operation for each of its results; in the backward it is inlined, so its
derivative is fused with what comes before and after it.
"""

from typing import Any

import numpy as np

from gradloom.autograd.graph import EagerOp
from gradloom.autograd.recording import Variable
from gradloom.autograd.tensor import from_array, operation, share_array
from gradloom.trace.memory import lift
from gradloom.trace.tracer import Tracer
from gradloom.tree import flatten, unflatten
from gradloomc.dialects.func import body_of
from gradloomc.ir.inline import inline_function

_COPIED_BYTES = 1 << 16  # smaller arrays are copied, larger ones shared


def holds_tensor(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Tell whether an argument, or a part of one, is a tensor."""
    return any(isinstance(leaf, Variable) for leaf in flatten((args, kwargs))[0])


def call(compiled: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return what a CompiledGrad gives for arguments that hold tensors: tensors, in the structure of its result.

    Raises:
        GradloomError: the function cannot be traced.
    """
    leaves, structure = flatten((args, kwargs))
    tensors = {i: leaf for i, leaf in enumerate(leaves) if isinstance(leaf, Variable)}
    stand_ins = [_stand_in(leaf, i) if i in tensors else leaf for i, leaf in enumerate(leaves)]
    plain_args, plain_kwargs = unflatten(structure, stand_ins)
    bound = compiled.bind(plain_args, plain_kwargs)
    primal = compiled.user.primal(bound, compiled.has_aux)
    # Binding may have put keyword arguments into their places: each stand-in knows which tensor it stands for.
    places = {id(stand_in): tensors[i] for i, stand_in in enumerate(stand_ins) if i in tensors}
    operands: list[Any] = []
    for i in sorted(primal.position, key=primal.position.__getitem__):
        operands.append(_operand(places.get(id(bound.leaves[i]), bound.leaves[i])))
    operands += [_operand(array) for array in primal.captured]
    results = [operation(op, operands) for op in _operations(compiled, primal)]
    value = primal.result.build(results)
    return value if primal.aux is None else (value, primal.aux.build(results))


def _stand_in(tensor: Any, position: int) -> Any:
    """Return an array of the type of a tensor, without its values."""
    kind = tensor._value.type
    return np.lib.stride_tricks.as_strided(np.empty((), kind.element.dtype), kind.shape, (0,) * kind.rank)


def _operand(leaf: Any) -> Any:
    if isinstance(leaf, (Variable, float, int)):
        return leaf
    array = np.asarray(leaf)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return from_array(array.copy()) if array.nbytes <= _COPIED_BYTES else share_array(array)


def _operations(compiled: Any, primal: Any) -> list[EagerOp]:
    """Return an operation for each result of a traced function, the same ones each time."""
    found = primal.operations
    if found is None:
        name = f"{compiled.user.parameters.name}Backward"
        count = len(body_of(primal.function).terminator.operands)
        found = primal.operations = [EagerOp(name, _rule(primal.function, i), costly=True) for i in range(count)]
    return found


def _rule(function: Any, position: int) -> Any:
    types = [argument.type for argument in body_of(function).arguments]

    def rule(*operands: Any) -> Tracer:
        values = []
        for x, kind in zip(operands, types, strict=True):
            value = lift(x)
            values.append(value if value.type is kind else Tracer(value).astype(kind.element.dtype).value)
        return Tracer(inline_function(function, values)[position])

    return rule
