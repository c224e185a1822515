"""From an `nd` function to a program: the named pipelines, and the driver that compiles one function."""

from dataclasses import dataclass

from gradloomc.codegen.program import Program, write_program
from gradloomc.ir.core import Op
from gradloomc.lowering.fuse import fuse_function
from gradloomc.lowering.loops import lower_to_loops
from gradloomc.passes.cse import eliminate_common_subexpressions
from gradloomc.passes.dce import eliminate_dead_code

# What cleans a traced or differentiated function, and what lowers it.
CLEAN = "cse,dce"
LOWER = "cse,dce,fuse,to-loops"


@dataclass
class Compiled:
    """A function at every level; `program` holds the LLVM text."""

    source: Op
    program: Program


def clean(function: Op) -> Op:
    """Remove repeated and unused ops in place."""
    eliminate_common_subexpressions(function)
    eliminate_dead_code(function)
    return function


def lower(function: Op, vector_bits: int, attributes: str) -> Program:
    """Lower an nd function, which is cleaned in place, to a program."""
    return write_program(lower_to_loops(fuse_function(clean(function)), vector_bits), attributes)
