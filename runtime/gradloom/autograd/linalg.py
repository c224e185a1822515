"""Products of matrices, vectors and batches of them: mm, bmm, mv, dot, matmul and `@`.

`matmul` is made of the operations that PyTorch makes it of, so that its graph has the same nodes. What adds to a
product is in affine.py, other products (einsum, tensordot, kron, ...) in products.py. A rule checks dtypes and shapes
when it meets them first.
"""

import math
from typing import Any

from gradloom.autograd.conversion import CLONE
from gradloom.autograd.dtypes import dtype_of
from gradloom.autograd.elementwise import (
    NOTHING,
    documented,
    foreign,
    not_implemented,
    tensor_operand,
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


def check_dtypes(x: Value, y: Value, text: str, spell: str) -> None:
    """Raise an error if the dtypes differ; `text` takes both names, which the attribute `spell` of a dtype gives."""
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
    check_dtypes(x, y, "expected m1 and m2 to have the same dtype, but got: {} != {}", "c_name")
    if x.type.element.kind == "b":
        raise not_implemented("addmm_impl_cpu_", x.type.element)
    return contract(x, y, (1,), (0,))


def _mv_rule(a: Any, b: Any) -> Value:
    x, y = a.value, b.value
    if x.type.rank != 2 or y.type.rank != 1:
        raise error(RuntimeError, f"vector + matrix @ vector expected, got 1, {x.type.rank}, {y.type.rank}")
    check_vector(x, y, (x.type.shape[0],))
    check_dtypes(x, y, "addmv input tensors must have the same dtype, but got {1}, {0}, and {1}", "type_name")
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
    check_dtypes(x, y, "dot : expected both vectors to have same dtype, but found {} and {}", "type_name")
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
    check_dtypes(x, y, "expected scalar type {} but found {}", "type_name")
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
        batch = flat_rows(UNSAFE_VIEW, operation(CLONE, (turned(y),)))
        shape = y._value.type.shape
        if a == 1:
            product = wrap(Tensor, record(MV, (batch, x)))
            return shaped(UNSAFE_VIEW, product, (*shape[:-2], shape[-1]))
        product = wrap(Tensor, record(MM, (batch, operation(T, (x,)))))
        folded = shaped(UNSAFE_VIEW, product, (*shape[:-2], shape[-1], x._value.type.shape[0]))
        return operation(CLONE, (turned(folded),))
    lead = x._value.type.shape[:-1]
    flat = flat_rows(VIEW, x)
    if b == 1:
        return shaped(UNSAFE_VIEW, wrap(Tensor, record(MV, (flat, y))), lead)
    return shaped(UNSAFE_VIEW, wrap(Tensor, record(MM, (flat, y))), (*lead, y._value.type.shape[1]))


def flat_rows(op: EagerOp, x: Tensor) -> Tensor:
    """Make one matrix of a batch: its last dimension stays."""
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
