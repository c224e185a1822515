"""Products of matrices, vectors and batches of them: mm, bmm, mv, dot, matmul and `@`, and what adds to a product.

`matmul` is made of the operations that PyTorch makes it of, so that its graph has the same nodes. Products of other
kinds (einsum, tensordot, kron, ...) are in products.py. A rule checks dtypes and shapes when it meets them first.
"""

import math
from typing import Any

from gradloom.autograd.dtypes import dtype_of
from gradloom.autograd.elementwise import (
    NOTHING,
    bring_to,
    documented,
    foreign,
    not_implemented,
    number_argument,
    tensor_operand,
    type_name,
    write_into,
)
from gradloom.autograd.errors import error
from gradloom.autograd.graph import EagerOp
from gradloom.autograd.recording import record, wrap
from gradloom.autograd.tensor import Tensor, method, operation, public
from gradloom.trace.products import contract
from gradloom.trace.promote import stretch
from gradloomc.dialects import nd
from gradloomc.ir.core import Value

Shape = tuple[int, ...]

# --- moving elements, as parts of products ----------------------------------------------------------------------------


def _reshaped(x: Any, shape: Shape) -> Value:
    return nd.reshape(x.value, shape=shape)


def _permuted(x: Any, order: Shape) -> Value:
    return nd.transpose(x.value, permutation=order)


VIEW = EagerOp("ViewBackward0", _reshaped, saves=NOTHING)
UNSAFE_VIEW = EagerOp("UnsafeViewBackward0", _reshaped, saves=NOTHING)
UNSQUEEZE = EagerOp("UnsqueezeBackward0", _reshaped, saves=NOTHING)
SQUEEZE = EagerOp("SqueezeBackward4", _reshaped, saves=NOTHING)
TRANSPOSE = EagerOp("TransposeBackward0", _permuted, saves=NOTHING)
PERMUTE = EagerOp("PermuteBackward0", _permuted, saves=NOTHING)
CLONE = EagerOp("CloneBackward0", lambda x: x.value, saves=NOTHING)
T = EagerOp("TBackward0", lambda x: nd.transpose(x.value, permutation=tuple(range(x.ndim))[::-1]), saves=NOTHING)
EXPAND = EagerOp("ExpandBackward0", lambda x, shape: stretch(x.value, shape), saves=NOTHING)


def shaped(op: EagerOp, x: Tensor, shape: Shape) -> Tensor:
    """Record one of the operations above that only give a new shape."""
    return wrap(Tensor, record(op, (x,), (("shape", shape),)))


def _order(rank: int, a: int, b: int) -> Shape:
    order = list(range(rank))
    order[a], order[b] = order[b], order[a]
    return tuple(order)


def turned(x: Tensor) -> Tensor:
    """Swap the last two dimensions of a batch of matrices."""
    rank = x._value.type.rank
    return operation(TRANSPOSE, (x,), (("order", _order(rank, rank - 2, rank - 1)),))


def sized(shape: Shape) -> str:
    """Return a shape as PyTorch's texts spell it: `[2, 3]`."""
    return str(list(shape))


def expanded(x: Value, shape: Shape) -> Value:
    """Return a value broadcast to a shape.

    Raises:
        RuntimeError: it does not fit, in the words of PyTorch's `expand`.
    """
    have = x.type.shape
    for back in range(1, len(have) + 1):
        m = have[-back]
        n = shape[-back] if back <= len(shape) else None
        if n is None:
            raise error(
                RuntimeError,
                f"expand({dtype_of(x.type.element).type_name}Tensor{{{sized(have)}}}, size={sized(shape)}): the number "
                f"of sizes provided ({len(shape)}) must be greater or equal to the number of dimensions in the tensor "
                f"({len(have)})",
            )
        if m not in (1, n):
            raise error(
                RuntimeError,
                f"The expanded size of the tensor ({n}) must match the existing size ({m}) at non-singleton dimension "
                f"{len(shape) - back}.  Target sizes: {sized(shape)}.  Tensor sizes: {sized(have)}",
            )
    return stretch(x, shape)


# --- the products -----------------------------------------------------------------------------------------------------


def _check_dtypes(x: Value, y: Value, text: str, spell: str) -> None:
    a, b = x.type.element, y.type.element
    if a is not b:
        names = [getattr(dtype_of(each), spell) for each in (a, b)]
        raise error(RuntimeError, text.format(*names), "convert one of them: x.to(y.dtype)")


def check_matrices(x: Value, y: Value) -> None:
    """Raise PyTorch's error if two matrices cannot be multiplied."""
    if x.type.shape[1] != y.type.shape[0]:
        shapes = " and ".join("x".join(map(str, each.type.shape)) for each in (x, y))
        raise error(
            RuntimeError,
            f"mat1 and mat2 shapes cannot be multiplied ({shapes})",
            "the second extent of the first matrix should be the first extent of the second: transpose one with .t()?",
        )


def _mm_rule(a: Any, b: Any) -> Value:
    x, y = a.value, b.value
    for name, each in (("self", x), ("mat2", y)):
        if each.type.rank != 2:
            raise error(RuntimeError, f"{name} must be a matrix", "matmul (@) takes vectors and batches as well")
    check_matrices(x, y)
    _check_dtypes(x, y, "expected m1 and m2 to have the same dtype, but got: {} != {}", "c_name")
    if x.type.element.kind == "b":
        raise not_implemented("addmm_impl_cpu_", x.type.element)
    return contract(x, y, (1,), (0,))


def _mv_rule(a: Any, b: Any) -> Value:
    x, y = a.value, b.value
    if x.type.rank != 2 or y.type.rank != 1:
        raise error(RuntimeError, f"vector + matrix @ vector expected, got 1, {x.type.rank}, {y.type.rank}")
    check_vector(x, y, (x.type.shape[0],))
    _check_dtypes(x, y, "addmv input tensors must have the same dtype, but got {1}, {0}, and {1}", "type_name")
    if x.type.element.kind == "b":
        raise not_implemented("addmv_impl_cpu", x.type.element)
    return contract(x, y, (1,), (0,))


def check_vector(x: Value, y: Value, added: Shape) -> None:
    """Raise PyTorch's error if a matrix and a vector cannot be multiplied and added to a vector."""
    rows, columns = x.type.shape
    if columns != y.type.shape[0] or added not in ((rows,), (1,), ()):
        raise error(
            RuntimeError,
            f"size mismatch, got input ({added[0] if added else 1}), mat ({rows}x{columns}), vec ({y.type.shape[0]})",
        )


def _dot_rule(a: Any, b: Any) -> Value:
    x, y = a.value, b.value
    if x.type.rank != 1 or y.type.rank != 1:
        raise error(RuntimeError, f"1D tensors expected, but got {x.type.rank}D and {y.type.rank}D tensors")
    _check_dtypes(x, y, "dot : expected both vectors to have same dtype, but found {} and {}", "type_name")
    m, n = x.type.size, y.type.size
    if m != n:
        raise error(
            RuntimeError,
            f"inconsistent tensor size, expected tensor [{m}] and src [{n}] to have the same number of elements, but "
            f"got {m} and {n} elements respectively",
        )
    if x.type.element.kind == "b":
        raise not_implemented("dot", x.type.element)
    return contract(x, y, (0,), (0,))


def check_batches(x: Value, y: Value) -> None:
    """Raise PyTorch's error if two batches of matrices cannot be multiplied."""
    for name, each in (("batch1", x), ("batch2", y)):
        if each.type.rank != 3:
            raise error(RuntimeError, f"{name} must be a 3D tensor", "matmul (@) takes any number of dimensions")
    need, have = (x.type.shape[0], x.type.shape[2]), y.type.shape[:2]
    if need != have:
        raise error(
            RuntimeError,
            f"Expected size for first two dimensions of batch2 tensor to be: {sized(need)} but got: {sized(have)}.",
        )
    _check_dtypes(x, y, "expected scalar type {} but found {}", "type_name")
    if x.type.element.kind == "b":
        raise not_implemented("baddbmm_with_gemm", x.type.element)


def _bmm_rule(a: Any, b: Any) -> Value:
    check_batches(a.value, b.value)
    return contract(a.value, b.value, (2,), (1,), (0,), (0,))


MM = EagerOp("MmBackward0", _mm_rule, costly=True)
MV = EagerOp("MvBackward0", _mv_rule, costly=True)
DOT = EagerOp("DotBackward0", _dot_rule)
VDOT = EagerOp("VdotBackward0", _dot_rule)
BMM = EagerOp("BmmBackward0", _bmm_rule, costly=True)


def _product(name: str, op: EagerOp, second: str, doc: str) -> Any:
    def function(input: Tensor, other: Tensor) -> Tensor:
        if input.__class__ is not Tensor:
            tensor_operand(input, name)
        if other.__class__ is not Tensor:
            tensor_operand(other, name, second, 2)
        return wrap(Tensor, record(op, (input, other)))

    def keyword(input: Tensor, *args: Any, **options: Any) -> Tensor:
        if second in options:
            args = (*args, options.pop(second))
        if len(args) != 1 or options:
            raise TypeError(f'{name}() takes 2 positional arguments: "input" and "{second}"')
        return function(input, *args)

    documented(function, name, doc)
    documented(keyword, name, doc)
    method(name)(keyword if second != "other" else function)
    public(name)(keyword if second != "other" else function)
    return function


mm = _product("mm", MM, "mat2", "Return the product of two matrices of one dtype, (n, k) and (k, m).")
mv = _product("mv", MV, "vec", "Return the product of a matrix (n, k) and a vector (k) of one dtype.")
dot = _product("dot", DOT, "tensor", "Return the sum of the products of two vectors of one dtype.")
vdot = _product("vdot", VDOT, "other", "Return the sum of the products of two vectors of one dtype.")
bmm = _product("bmm", BMM, "mat2", "Return the products of two batches of matrices, (b, n, k) and (b, k, m).")

# --- matmul -----------------------------------------------------------------------------------------------------------


@method("matmul")
@public("matmul")
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """Return the product of vectors, matrices or batches of matrices, whose leading dimensions broadcast.

    A vector counts as a row on the left and as a column on the right; that dimension is not in the result.

    Raises:
        RuntimeError: a tensor has no dimensions, or the dtypes or shapes do not fit.
    """
    a = tensor_operand(input, "matmul")._value.type.rank
    b = tensor_operand(other, "matmul", "other", 2)._value.type.rank
    if a == 2 and b == 2:
        return wrap(Tensor, record(MM, (input, other)))
    if not a or not b:
        raise error(
            RuntimeError,
            f"both arguments to matmul need to be at least 1D, but they are {a}D and {b}D",
            "multiply by a number with *",
        )
    if a == 1 and b == 1:
        return wrap(Tensor, record(DOT, (input, other)))
    if a == 2 and b == 1:
        return wrap(Tensor, record(MV, (input, other)))
    if a == 1 and b == 2:
        row = wrap(Tensor, record(MM, (shaped(UNSQUEEZE, input, (1, *input._value.type.shape)), other)))
        return shaped(SQUEEZE, row, row._value.type.shape[1:])
    if _folds(input, other, a, b):
        return _folded(input, other, a, b)
    return _batched(input, other, a, b)


def _folds(x: Tensor, y: Tensor, a: int, b: int) -> bool:
    """Tell whether PyTorch makes one matrix of a batch (its `should_fold`)."""
    if max(a, b) < 3 or min(a, b) > 2:
        return False
    large, small = (x, y) if a >= b else (y, x)
    return small._requires_grad or (a != 2 and large.is_contiguous()) or not large._value.type.size


def _folded(x: Tensor, y: Tensor, a: int, b: int) -> Tensor:
    if a < b:  # the other way round, with transposed matrices
        batch = _flat(UNSAFE_VIEW, operation(CLONE, (turned(y),)))
        shape = y._value.type.shape
        if a == 1:
            product = wrap(Tensor, record(MV, (batch, x)))
            return shaped(UNSAFE_VIEW, product, (*shape[:-2], shape[-1]))
        product = wrap(Tensor, record(MM, (batch, operation(T, (x,)))))
        folded = shaped(UNSAFE_VIEW, product, (*shape[:-2], shape[-1], x._value.type.shape[0]))
        return operation(CLONE, (turned(folded),))
    lead = x._value.type.shape[:-1]
    flat = _flat(VIEW, x)
    if b == 1:
        return shaped(UNSAFE_VIEW, wrap(Tensor, record(MV, (flat, y))), lead)
    return shaped(UNSAFE_VIEW, wrap(Tensor, record(MM, (flat, y))), (*lead, y._value.type.shape[1]))


def _flat(op: EagerOp, x: Tensor) -> Tensor:
    shape = x._value.type.shape
    return shaped(op, x, (math.prod(shape[:-1]), shape[-1]))


def _batched(x: Tensor, y: Tensor, a: int, b: int) -> Tensor:
    left, right = x._value.type.shape, y._value.type.shape
    rows = left[-2] if a > 1 else 1
    columns = right[-1] if b > 1 else 1
    right_core = right[-2:] if b > 1 else (right[0], 1)
    batch = common_batch(left[:-2] if a > 1 else (), right[:-2] if b > 1 else ())
    count = math.prod(batch)
    product = wrap(
        Tensor,
        record(BMM, (_batch_of(x, batch, (count, rows, left[-1])), _batch_of(y, batch, (count, *right_core)))),
    )
    shape = (*batch, *((rows,) if a > 1 else ()), *((columns,) if b > 1 else ()))
    return shaped(UNSAFE_VIEW, product, shape)


def _batch_of(x: Tensor, batch: Shape, shape: Shape) -> Tensor:
    core = shape[1:]
    if len(x._value.type.shape) == 1 and core[1] == 1:  # a vector on the right is a column
        x = shaped(UNSQUEEZE, x, core)
    wide = (*batch, *core)
    spread = wrap(Tensor, record(EXPAND, (x,), (("shape", wide),)))
    if math.prod(x._value.type.shape) != math.prod(wide):
        return shaped(UNSAFE_VIEW, operation(CLONE, (spread,)), shape)
    return shaped(VIEW, spread, shape)


def common_batch(left: Shape, right: Shape) -> Shape:
    """Return the shape to which the leading dimensions of two batches broadcast.

    Raises:
        RuntimeError: there is none, in PyTorch's words.
    """
    rank = max(len(left), len(right))
    a, b = (1,) * (rank - len(left)) + left, (1,) * (rank - len(right)) + right
    for k, (m, n) in enumerate(zip(a, b, strict=True)):
        if m != n and 1 not in (m, n):
            raise error(
                RuntimeError,
                f"The size of tensor a ({m}) must match the size of tensor b ({n}) at non-singleton dimension {k}",
                "the leading dimensions of batches of matrices broadcast: extents should be equal or 1",
            )
    return tuple([n if m == 1 else m for m, n in zip(a, b, strict=True)])


@method("__matmul__")
def _operator(self: Tensor, other: Any) -> Any:
    """Python's operator `@`: see `matmul`."""
    if other.__class__ is not Tensor:
        other = foreign(other)
        if not isinstance(other, Tensor):
            return NotImplemented
    return matmul(self, other)


@method("__rmatmul__")
def _reflected(self: Tensor, other: Any) -> Any:
    """Python's operator `@` with something else on the left."""
    other = foreign(other)
    return matmul(other, self) if isinstance(other, Tensor) else NotImplemented


# --- adding to a product ----------------------------------------------------------------------------------------------


def _check_sum(c: Value, x: Value, y: Value) -> None:
    a, b = c.type.element, y.type.element
    if a is not b:
        names = [dtype_of(each).type_name for each in (a, b)]
        raise error(RuntimeError, f"self and mat2 must have the same dtype, but got {names[0]} and {names[1]}")
    _check_dtypes(x, y, "mat1 and mat2 must have the same dtype, but got {} and {}", "type_name")


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
    product = operation(ADDMM, (bias, _flat(VIEW, input), turned_weight))
    return shaped(VIEW, product, (*lead, product._value.type.shape[1]))


__all__ = ["ADDMM", "BMM", "DOT", "MM", "MV", "T", "linear", "matmul", "mm", "type_name"]
