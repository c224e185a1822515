"""The vector-math library: each elementary function, dtype and width as a module of its own, which programs call.

What takes LLVM long is the vector math, and it is the same in all programs: compiled once for a machine, it costs a
program nothing but calls. The text of a function is the one that is otherwise written out in place, and nothing lets
LLVM round differently (there are no fast-math flags), so both ways give the same bits.

Only text is written here; `tiers.py` compiles it.
"""

from collections.abc import Sequence

from gradloomc.codegen.body import Body
from gradloomc.codegen.lanes import Lanes
from gradloomc.codegen.vecmath import FUNCTIONS
from gradloomc.codegen.x86 import features_of
from gradloomc.ir.opdef import OpDef

__all__ = [
    "LIBRARY",
    "call_library",
    "in_library",
    "is_library_symbol",
    "library_symbol",
    "library_text",
    "uses_library",
]

# The feature of a body that says that functions of the library are called, not written out.
LIBRARY = "library"
# A call costs as much as some ten instructions, and makes the caller keep its vectors in memory meanwhile.
_CALLED_FROM_COST = 20.0
_PREFIX = "gradloom_math_"


def in_library(kind: OpDef) -> bool:
    """Tell whether a scalar op is computed by a function of the library."""
    return kind.emit in FUNCTIONS and kind.cost >= _CALLED_FROM_COST


def is_library_symbol(symbol: str) -> bool:
    """Tell whether a symbol names a function of the library."""
    return symbol.startswith(_PREFIX)


def uses_library(text: str) -> bool:
    """Tell whether a module calls the library."""
    return f"@{_PREFIX}" in text


def library_symbol(name: str, dtype: str, width: int) -> str:
    """Return the symbol of a function for vectors of `width` elements, or for one."""
    return f"{_PREFIX}{name}_{dtype if width == 1 else f'v{width}{dtype}'}"


def call_library(lanes: Lanes, name: str, operands: Sequence[str]) -> str:
    """Write a call of a function of the library; return the name of its result."""
    kind, symbol = lanes.float_type, library_symbol(name, lanes.dtype, lanes.width)
    lanes.body.declare(f"declare {kind} @{symbol}({', '.join([kind] * len(operands))}) #0")
    return lanes.body.emit(f"call {kind} @{symbol}({', '.join(f'{kind} {x}' for x in operands)})", kind)


def library_text(symbol: str, attributes: str) -> str:
    """Return the module of a function of the library; `attributes` are the function attributes of the target."""
    name, _, suffix = symbol.removeprefix(_PREFIX).rpartition("_")
    width, dtype = 1, suffix
    if suffix[0] == "v":
        width, dtype = int(suffix[1:-3]), suffix[-3:]
    body = Body(features=features_of(attributes))
    lanes = Lanes(body, dtype, width)
    function = FUNCTIONS[name]
    # What has a default is for other functions of the vector math (the error of a two-part argument), not for programs.
    arity = function.__code__.co_argcount - 1 - len(function.__defaults__ or ())
    arguments = [f"%x{k}" for k in range(arity)]
    kind = lanes.float_type
    body.types.update(dict.fromkeys(arguments, kind))
    result = function(lanes, *arguments)
    head = f"define {kind} @{symbol}({', '.join(f'{kind} {x}' for x in arguments)}) #0 {{\nentry:"
    parts = [*body.declarations, *body.functions.values(), head, *body.lines, f"  ret {kind} {result}", "}"]
    return "\n".join([*parts, f"attributes #0 = {{ {attributes} }}"]) + "\n"
