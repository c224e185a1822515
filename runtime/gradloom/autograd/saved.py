"""Which values the derivative of one recorded operation reads: found by looking at the derivative.

PyTorch saves these values for the backward and refuses the backward if one has been written in place since. Here
nothing is saved (values never change, a write makes a new one), but the programs that PyTorch refuses are refused
alike.
"""

from collections.abc import Sequence
from typing import Any

from gradloomc.ad.transform import vjp_of
from gradloomc.dialects.func import body_of
from gradloomc.ir.core import Op
from gradloomc.ir.types import TensorType
from gradloomc.passes.canonicalize import canonicalize_function
from gradloomc.passes.dce import eliminate_dead_code

_RESULT = "result_of_the_operation"


def values_read(function: Op, keys: Sequence[Any], active: tuple[bool, ...]) -> tuple[frozenset[int], bool]:
    """Return which operands the derivative with respect to the active ones reads, and whether it reads the result.

    Args:
        function: the operation as a function of those operands that are arrays.
        keys: of all operands: the type of an array, or the class of a number.
        active: for each operand, whether a gradient flows to it.
    """
    positions = [k for k, key in enumerate(keys) if key.__class__ is TensorType]
    body = body_of(function)
    result = body.terminator.operands[0]
    result.hint = _RESULT
    wanted = [i for i, k in enumerate(positions) if active[k]]
    derivative = vjp_of(function, wanted)
    block = body_of(derivative)
    count = len(body.arguments)
    end = block.terminator
    end.set_operands(list(end.operands[len(end.operands) - len(wanted) :]))
    results = [value for op in block.ops for value in op.results if value.hint == _RESULT]
    stand_in = block.add_argument(result.type, "result")
    for value in results:
        value.replace_all_uses_with(stand_in)
    eliminate_dead_code(derivative)
    canonicalize_function(derivative)
    eliminate_dead_code(derivative)
    read = frozenset(positions[i] for i in range(min(count, len(positions))) if block.arguments[i].uses)
    return read, bool(stand_in.uses)
