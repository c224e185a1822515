"""From an `nd` function to a program: the named pipelines, and the driver that compiles one function."""

from collections.abc import Callable
from typing import NamedTuple

from gradloomc.codegen.divider import relieve_divider
from gradloomc.codegen.gemm import Convention
from gradloomc.codegen.program import Program, write_program
from gradloomc.codegen.x86 import features_of
from gradloomc.dialects import loops, nd
from gradloomc.dialects.func import body_of
from gradloomc.ir.collection import paused_collection
from gradloomc.ir.core import Op
from gradloomc.lowering.ahead import ask_ahead
from gradloomc.lowering.donate import donate_buffers
from gradloomc.lowering.fuse import fuse_function
from gradloomc.lowering.halve import halve_pairs
from gradloomc.lowering.jam import jam_rows
from gradloomc.lowering.lift import lift_small_weights
from gradloomc.lowering.loops import lower_to_loops
from gradloomc.lowering.mirror import share_mirrored_sums
from gradloomc.lowering.multiply_add import fuse_multiply_adds
from gradloomc.lowering.parallelize import parallelize_function
from gradloomc.lowering.products import lower_products
from gradloomc.lowering.reassociate import split_sums
from gradloomc.lowering.scaling import move_numbers_out_of_sums
from gradloomc.lowering.share import share_in_tiles
from gradloomc.lowering.shifted import reuse_shifted
from gradloomc.passes.canonicalize import canonicalize_function
from gradloomc.passes.cse import eliminate_common_subexpressions
from gradloomc.passes.dce import eliminate_dead_code

# What cleans a traced or differentiated function: the passes of `clean` by name.
CLEAN = "dce,canonicalize,cse,dce"


class Target(NamedTuple):
    """What lowering asks of the machine: the width of its vectors, and its features."""

    vector_bits: int
    features: frozenset[str] = frozenset()


# The passes that lower a clean function, in order and by name: those on nd functions, to kernels, and to loops.
_PREPARE: dict[str, Callable[[Op], Op]] = {
    "lower-products": lower_products,
    "mirror-sums": share_mirrored_sums,
    "scale-sums": move_numbers_out_of_sums,
    "split-sums": split_sums,
}
_KERNELS: dict[str, Callable[[Op], Op]] = {"fuse": fuse_function}
_LOOPS: dict[str, Callable[[Op, Target], Op]] = {
    "to-loops": lambda function, target: lower_to_loops(function, target.vector_bits),
    "halve-pairs": lambda function, _: halve_pairs(function),
    "reuse-shifted": lambda function, _: reuse_shifted(function),
    "share-in-tiles": lambda function, _: share_in_tiles(function),
    "relieve-divider": lambda function, target: relieve_divider(function, target.features),
    "lift-weights": lambda function, _: lift_small_weights(function),
    "fuse-multiply-add": lambda function, _: fuse_multiply_adds(function),
    "parallelize": lambda function, _: parallelize_function(function),
    "donate": lambda function, _: donate_buffers(function),
    "ask-ahead": lambda function, _: ask_ahead(function),
    "jam-rows": lambda function, _: jam_rows(function),
}
LOWER = ",".join([*_PREPARE, *_KERNELS, *_LOOPS])


def clean(function: Op) -> Op:
    """Take repeated, unused and needlessly complicated ops out of an nd function, in place; return it."""
    eliminate_dead_code(function)
    canonicalize_function(function)
    eliminate_common_subexpressions(function)
    eliminate_dead_code(function)
    return function


def end_differentiation(function: Op) -> Op:
    """Take out of an nd function, in place, what only says how it is differentiated; return it."""
    for op in body_of(function).ops:
        if op.kind is nd.stop_gradient:
            op.result.replace_all_uses_with(op.operands[0])
    return function


def prepare(function: Op) -> Op:
    """Bring an nd function, in place, to what is materialized and fused; return it."""
    function = clean(end_differentiation(function))
    for run in _PREPARE.values():
        function = run(function)
    return function


def to_kernels(function: Op) -> Op:
    """Return a function of the nd level on the kernels level."""
    function = prepare(function)
    for run in _KERNELS.values():
        function = run(function)
    return function


def to_loops(function: Op, vector_bits: int, features: frozenset[str] = frozenset()) -> Op:
    """Return a function of the nd level on the loops level, as code is written from it."""
    function = to_kernels(function)
    for run in _LOOPS.values():
        function = run(function, Target(vector_bits, features))
    return function


def lower(
    function: Op,
    vector_bits: int,
    attributes: str,
    convention: Callable[[], Convention] | None = None,
    library: bool = False,
) -> Program:
    """Lower an nd function, which is changed in place, to a program.

    Args:
        vector_bits: width of the target's registers.
        attributes: what functions of the target carry.
        convention: returns how the BLAS is called; it is asked if the program has products.
        library: whether to call elementary functions rather than to write them out.
    """
    with paused_collection():
        lowered = to_loops(function, vector_bits, features_of(attributes))
        has_products = any(op.kind is loops.gemm for op in loops.untiled(body_of(lowered).ops))
        return write_program(lowered, attributes, convention() if convention and has_products else None, library)
