"""The walk of the passes that rewrite sums: what stands for a sum is built where the sum stood."""

from collections.abc import Callable

from gradloomc.dialects import nd
from gradloomc.dialects.func import body_of
from gradloomc.ir.builder import at, insertion
from gradloomc.ir.core import Op, Value

__all__ = ["rewrite_sums"]


def rewrite_sums(
    function: Op, rewrite: Callable[[Op], Value | None], passed: Callable[[Op], None] | None = None
) -> bool:
    """Replace the float sums of an nd function, in place; tell whether one was.

    Args:
        rewrite: returns what stands for a `nd.reduce_sum`, building what that takes, or None to leave it.
        passed: is called with every op of the function, in order, once it has been looked at.
    """
    body = body_of(function)
    operations, body.ops = body.ops, []
    changed = False
    with at(body):
        for op in operations:
            if op.kind is nd.reduce_sum and op.results[0].type.element.kind == "f":
                insertion.location = op.location
                result = rewrite(op)
                if result is not None:
                    op.results[0].replace_all_uses_with(result)
                    changed = True
            if passed is not None:
                passed(op)
            body.ops.append(op)
    return changed
