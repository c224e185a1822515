"""Sums with products: `beta * c + alpha * (a @ b)` for matrices, vectors and batches, and `linear` of neural networks.

Each is one recorded operation; the products are those of linalg.py.
"""

from typing import Any

from gradloom.autograd.dtypes import dtype_of
from gradloom.autograd.elementwise import bring_to, documented, number_argument, tensor_operand, write_into
from gradloom.autograd.errors import error
from gradloom.autograd.graph import EagerOp
from gradloom.autograd.linalg import (
    VIEW,
    T,
    check_batches,
    check_dtypes,
    check_matrices,
    check_vector,
    expanded,
    flat_rows,
    matmul,
    shaped,
)
from gradloom.autograd.recording import record, wrap
from gradloom.autograd.tensor import Tensor, method, operation, public
from gradloom.trace.products import contract
from gradloom.trace.promote import stretch
from gradloomc.dialects import nd
from gradloomc.ir.core import Value


def _check_sum(c: Value, x: Value, y: Value) -> None:
    a, b = c.type.element, y.type.element
    if a is not b:
        names = [dtype_of(each).type_name for each in (a, b)]
        raise error(RuntimeError, f"self and mat2 must have the same dtype, but got {names[0]} and {names[1]}")
    check_dtypes(x, y, "mat1 and mat2 must have the same dtype, but got {} and {}", "type_name")


def _addmm_product(c: Value, x: Value, y: Value) -> Value:
    for name, each in (("mat1", x), ("mat2", y)):
        if each.type.rank != 2:
            raise error(RuntimeError, f"{name} must be a matrix, got {each.type.rank}-D tensor")
    check_matrices(x, y)
    _check_sum(c, x, y)
    return contract(x, y, (1,), (0,))


def _addmv_product(c: Value, x: Value, y: Value) -> Value:
    if x.type.rank != 2 or y.type.rank != 1 or c.type.rank > 1:
        raise error(RuntimeError, f"vector + matrix @ vector expected, got {c.type.rank}, {x.type.rank}, {y.type.rank}")
    check_vector(x, y, c.type.shape)
    names = [dtype_of(each.type.element).type_name for each in (c, x, y)]
    if len(set(names)) > 1:
        raise error(
            RuntimeError,
            f"addmv input tensors must have the same dtype, but got {names[0]}, {names[1]}, and {names[2]}",
        )
    return contract(x, y, (1,), (0,))


def _addr_product(c: Value, x: Value, y: Value) -> Value:
    for name, each in (("vec1", x), ("vec2", y)):
        if each.type.rank != 1:
            raise error(RuntimeError, f"addr: Expected 1-D argument {name}, but got {each.type.rank}-D")
    _check_sum(c, x, y)
    return contract(x, y, (), ())


def _baddbmm_product(c: Value, x: Value, y: Value) -> Value:
    if x.type.rank == 3 and y.type.rank == 3:
        expanded(c, (*x.type.shape[:2], y.type.shape[2]))
    check_batches(x, y)
    _check_sum(c, x, y)
    return contract(x, y, (2,), (1,), (0,), (0,))


def _addbmm_product(c: Value, x: Value, y: Value) -> Value:
    check_batches(x, y)
    _check_sum(c, x, y)
    return contract(x, y, (0, 2), (0, 1))


def _adding(product: Any) -> Any:
    """Return the rule of `beta * c + alpha * product(x, y)`; with beta 0, what is in c does not matter."""

    def rule(c: Any, x: Any, y: Any, beta: Any = None, alpha: Any = None, without: bool = False) -> Value:
        result = product(c.value, x.value, y.value)
        element = result.type.element
        if alpha is not None:
            result = nd.mul(result, stretch(bring_to(alpha, element).value, result.type.shape))
        if without:
            return result
        added = expanded(c.value, result.type.shape)
        if beta is not None:
            added = nd.mul(added, stretch(bring_to(beta, element).value, result.type.shape))
        return nd.add(added, result)

    return rule


ADDMM = EagerOp("AddmmBackward0", _adding(_addmm_product), costly=True, lists=(0, 1, 2))
_ADDING = {
    "addmm": (ADDMM, "mat1", "mat2", "Return `beta * input + alpha * (mat1 @ mat2)`: (n, k) and (k, m)."),
    "addmv": (
        EagerOp("AddmvBackward0", _adding(_addmv_product), costly=True, lists=(0, 1, 2)),
        "mat",
        "vec",
        "Return `beta * input + alpha * (mat @ vec)`: (n, k) and (k).",
    ),
    "addr": (
        EagerOp("AddrBackward0", _adding(_addr_product), lists=(0, 1, 2)),
        "vec1",
        "vec2",
        "Return `beta * input + alpha * outer(vec1, vec2)`.",
    ),
    "baddbmm": (
        EagerOp("BaddbmmBackward0", _adding(_baddbmm_product), costly=True, lists=(0, 1, 2)),
        "batch1",
        "batch2",
        "Return `beta * input + alpha * (batch1 @ batch2)`: (b, n, k) and (b, k, m).",
    ),
    "addbmm": (
        EagerOp("AddbmmBackward0", _adding(_addbmm_product), costly=True, lists=(0, 1, 2)),
        "batch1",
        "batch2",
        "Return `beta * input + alpha * (batch1 @ batch2).sum(0)`: (b, n, k) and (b, k, m).",
    ),
}


def _define_sum(name: str, op: EagerOp, first: str, second: str, doc: str) -> Any:
    def arguments(function: str, input: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        args += tuple([options.pop(each) for each in (first, second)[len(args) :] if each in options])
        beta, alpha = options.pop("beta", 1), options.pop("alpha", 1)
        if len(args) != 2 or options:
            raise TypeError(f"{function}() takes the tensors input, {first} and {second}, the numbers beta and alpha")
        operands = [tensor_operand(input, function), tensor_operand(args[0], function, first, 2)]
        operands.append(tensor_operand(args[1], function, second, 3))
        if alpha.__class__ is int and beta.__class__ is int and alpha == 1 and beta == 1:
            return operands, ()
        beta, alpha = number_argument(beta, function, "beta"), number_argument(alpha, function, "alpha")
        return [*operands, beta, alpha], (("without", True),) if not beta else ()

    def function(input: Tensor, *args: Any, **options: Any) -> Tensor:
        return operation(op, *arguments(name, input, args, options))

    def write(self: Tensor, *args: Any, **options: Any) -> Tensor:
        return write_into(self, op, *arguments(f"{name}_", self, args, options))

    method(name)(public(name)(documented(function, name, doc)))
    method(f"{name}_")(documented(write, f"{name}_", f"Apply `{name}` in place."))
    return function


for _name, _what in _ADDING.items():
    _define_sum(_name, *_what)


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return `input @ weight.T + bias`: inputs (..., k), weights (m, k) or (k), biases (m)."""
    rank = tensor_operand(input, "linear")._value.type.rank
    shape = tensor_operand(weight, "linear", "weight", 2)._value.type.shape
    if len(shape) > 2:
        raise error(RuntimeError, f"t() expects a tensor with <= 2 dimensions, but self is {len(shape)}D")
    turned_weight = wrap(Tensor, record(T, (weight,)))
    if bias is None:
        return matmul(input, turned_weight)
    if bias.__class__ is not Tensor:
        tensor_operand(bias, "linear", "bias", 3)
    if rank == 2:
        return wrap(Tensor, record(ADDMM, (bias, input, turned_weight)))
    lead = input._value.type.shape[:-1]
    product = operation(ADDMM, (bias, flat_rows(VIEW, input), turned_weight))
    return shaped(VIEW, product, (*lead, product._value.type.shape[1]))
