"""Arithmetic of tensors: operators, their functions and in-place methods, comparison."""

from typing import Any

import numpy as np

from gradloom.autograd.elementwise import as_tensor_operand, binary_operation, operators, promoting, unary
from gradloom.autograd.graph import EagerOp
from gradloom.autograd.tensor import Tensor, in_place, method, operation, public

ADD = EagerOp("AddBackward0", promoting(np.add))
SUB = EagerOp("SubBackward0", promoting(np.subtract))
MUL = EagerOp("MulBackward0", promoting(np.multiply))
DIV = EagerOp("DivBackward0", promoting(np.divide, floats=True))
NEG = EagerOp("NegBackward0", promoting(np.negative))

operators("add", ADD)
operators("sub", SUB)
operators("mul", MUL)
operators("truediv", DIV)
neg = unary("neg", NEG, "negative")
method("__neg__")(neg)
EXP = EagerOp("ExpBackward0", promoting(np.exp, floats=True))
SIN = EagerOp("SinBackward0", promoting(np.sin, floats=True))
exp = unary("exp", EXP)
sin = unary("sin", SIN)

POW_SCALAR = EagerOp("PowBackward0", promoting(lambda x, exponent: x**exponent))


@method("sum")
@public("sum")
def sum(input: Tensor) -> Tensor:
    """Return the sum."""
    return operation(SUM, (input,))


SUM = EagerOp("SumBackward0", lambda x: np.sum(x, dtype=x.dtype))


@method("__pow__", "pow")
@public("pow")
def pow(input: Any, exponent: Any) -> Any:
    """Return input to the exponent."""
    return operation(POW, (input,), (("exponent", exponent),))


POW = EagerOp("PowBackward0", lambda x, exponent: x**exponent)
MM = EagerOp("MmBackward0", np.matmul, costly=True)


@method("mm", "__matmul__")
@public("mm")
def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """Return the matrix product."""
    return operation(MM, (input, mat2))


_ = (in_place, as_tensor_operand, binary_operation)
