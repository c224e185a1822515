"""What a program will need of the vector-math library, told from the traced function, before anything is lowered.

A function of the library takes LLVM as long as a small program does, once on a machine. So those that a new program
will mostly need are asked for while the program is still being derived and lowered. What derivatives alone need is not
foreseen, nor which vectors a nest of mixed types runs in; a wrong guess costs LLVM's time and nothing else.
"""

from gradloomc.codegen.mathlib import in_library, library_symbol
from gradloomc.dialects.func import body_of
from gradloomc.ir import types as ir_types
from gradloomc.ir.core import Op
from gradloomc.ir.extents import hint_of
from gradloomc.ir.opdef import OpDef
from gradloomc.lowering.loops import LONG_NEST

__all__ = ["library_symbols"]


def library_symbols(function: Op, vector_bits: int) -> list[str]:
    """Return the library's functions that an nd function probably calls, each once."""
    found: dict[str, None] = {}
    names: dict[OpDef, str] = {}  # of the function that computes an op, if it is in the library
    for op in body_of(function).ops:
        kind = op.kind
        name = names.get(kind)
        if name is None:
            name = names[kind] = _name_of(kind)
        if name and op.results[0].type.element.is_float:  # (those of integers are written where they are used)
            type = op.results[0].type
            element = ir_types.f32 if type.element is ir_types.f16 else type.element
            size = hint_of(type.size)
            registers = 2 if size >= LONG_NEST else 1
            width = registers * vector_bits // element.bits if size > 1 else 1
            found[library_symbol(name, element.text, width)] = None
    return list(found)


def _name_of(kind: OpDef) -> str:
    scalar = kind.scalar
    if isinstance(scalar, dict):
        scalar = scalar.get("f")
    return scalar.emit if isinstance(scalar, OpDef) and scalar.emit and in_library(scalar) else ""
