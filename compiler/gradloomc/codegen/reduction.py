"""How partial results are combined: one step of a reduction, and a vector of partial results down to one number."""


from gradloomc.codegen.body import Body
from gradloomc.codegen.instructions import Vector, llvm_scalar
from gradloomc.ir.types import ScalarType


def horizontal(body: Body, vector: str, how: str, element: ScalarType, width: int) -> str:
    """Combine the elements of a vector pairwise, halves first, in a fixed order."""
    scalar = llvm_scalar(element)
    while width > 1:
        half, kind = width // 2, f"<{width} x {scalar}>"
        v = Vector(body, half)
        parts = []
        for start in (0, half):
            mask = ", ".join(f"i32 {start + k}" for k in range(half))
            if half == 1:
                parts.append(body.fresh(f"extractelement {kind} {vector}, i64 {start}", scalar))
            else:
                shuffle = f"shufflevector {kind} {vector}, {kind} poison, <{half} x i32> <{mask}>"
                parts.append(body.fresh(shuffle, v.type(element)))
        vector = combine(v, how, element, *parts)
        width = half
    return vector


def combine(v: Vector, how: str, element: ScalarType, x: str, y: str) -> str:
    """Write one step of a reduction."""
    kind = v.type(element)
    if how in ("or", "and"):
        return v.binary(how, element, x, y)
    if element.kind == "b":
        return v.binary("or" if how == "maximum" else "and", element, x, y)
    if how in ("add", "mul"):
        opcode = {"add": "fadd", "mul": "fmul"}[how] if element.kind == "f" else how
        return v.body.fresh(f"{opcode} {kind} {x}, {y}", kind)
    if element.kind == "f":
        # The processor's own maximum is `y > x ? y : x`: a nan in x stays, one in y has to be taken too.
        better = v.select(v.compare("ogt" if how == "maximum" else "olt", element, y, x), element, y, x)
        return v.select(v.compare("uno", element, y, y), element, y, better)
    prefix = "u" if element.kind == "u" else "s"
    return v.intrinsic(prefix + how[:3], element, x, y)


