"""`gradloom.nn.functional`: activations, losses, normalisation, products, embeddings, padding; PyTorch's signatures.

Activations are in gradloom/autograd/activations.py, losses and normalisation in the modules beside this one.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradloom.autograd import activations as _activations
from gradloom.autograd import functions as _functions
from gradloom.autograd import softmax as _softmax
from gradloom.autograd.activations import IN_PLACE as _IN_PLACE
from gradloom.autograd.activations import celu as celu
from gradloom.autograd.activations import elu as elu
from gradloom.autograd.activations import gelu as gelu
from gradloom.autograd.activations import glu as glu
from gradloom.autograd.activations import hardshrink as hardshrink
from gradloom.autograd.activations import hardsigmoid as hardsigmoid
from gradloom.autograd.activations import hardswish as hardswish
from gradloom.autograd.activations import hardtanh as hardtanh
from gradloom.autograd.activations import leaky_relu as leaky_relu
from gradloom.autograd.activations import logsigmoid as logsigmoid
from gradloom.autograd.activations import mish as mish
from gradloom.autograd.activations import prelu as prelu
from gradloom.autograd.activations import relu6 as relu6
from gradloom.autograd.activations import selu as selu
from gradloom.autograd.activations import silu as silu
from gradloom.autograd.activations import softplus as softplus
from gradloom.autograd.activations import softshrink as softshrink
from gradloom.autograd.activations import softsign as softsign
from gradloom.autograd.activations import tanhshrink as tanhshrink
from gradloom.autograd.activations import threshold as threshold
from gradloom.autograd.affine import linear as linear
from gradloom.autograd.dtypes import dtype_of
from gradloom.autograd.elementwise import NOTHING, bring_to, tensor_operand
from gradloom.autograd.errors import error
from gradloom.autograd.graph import EagerOp
from gradloom.autograd.tensor import FUNCTIONS, Tensor, from_array, operation
from gradloom.nn.classes import cross_entropy as cross_entropy
from gradloom.nn.classes import nll_loss as nll_loss
from gradloom.nn.losses import binary_cross_entropy as binary_cross_entropy
from gradloom.nn.losses import binary_cross_entropy_with_logits as binary_cross_entropy_with_logits
from gradloom.nn.losses import huber_loss as huber_loss
from gradloom.nn.losses import kl_div as kl_div
from gradloom.nn.losses import l1_loss as l1_loss
from gradloom.nn.losses import mse_loss as mse_loss
from gradloom.nn.losses import smooth_l1_loss as smooth_l1_loss
from gradloom.nn.normalization import batch_norm as batch_norm
from gradloom.nn.normalization import cosine_similarity as cosine_similarity
from gradloom.nn.normalization import group_norm as group_norm
from gradloom.nn.normalization import layer_norm as layer_norm
from gradloom.nn.normalization import normalize as normalize
from gradloom.nn.normalization import pairwise_distance as pairwise_distance
from gradloom.nn.normalization import rms_norm as rms_norm
from gradloom.trace.promote import convert
from gradloom.trace.shaping import pad as _traced_pad
from gradloom.trace.tracer import Tracer
from gradloomc.dialects import nd
from gradloomc.ir import types as ir_types
from gradloomc.ir.core import Value

globals().update(_IN_PLACE)

# --- activations ------------------------------------------------------------------------------------------------------


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return the larger of x and 0; the derivative at 0 is 0."""
    return input.relu_() if inplace else _activations.relu(input)


def relu_(input: Tensor) -> Tensor:
    """Apply `relu` in place."""
    return input.relu_()


def sigmoid(input: Tensor) -> Tensor:
    """Return 1 / (1 + exp(-x))."""
    return _functions.sigmoid(input)


def tanh(input: Tensor) -> Tensor:
    """Return the hyperbolic tangent."""
    return _functions.tanh(input)


def _implicit_dim(name: str, rank: int) -> int:
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an argument.",
        stacklevel=4,
    )
    return 0 if rank in (0, 1, 3) else 1


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """Return exp(x) over its sum along a dimension; see `gradloom.softmax`."""
    return _softmax.softmax(input, _implicit_dim("softmax", input.ndim) if dim is None else dim, dtype)


def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """Return the softmax of -x."""
    return _softmax.softmax(-input, _implicit_dim("softmin", input.ndim) if dim is None else dim, dtype)


def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """Return the logarithm of softmax along a dimension; see `gradloom.log_softmax`."""
    return _softmax.log_softmax(input, _implicit_dim("log_softmax", input.ndim) if dim is None else dim, dtype)


# --- dropout ----------------------------------------------------------------------------------------------------------


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Set each element to 0 with probability `p`, and divide the others by 1 - p; in training only.

    Raises:
        ValueError: `p` is no probability.
    """
    tensor_operand(input, "dropout")
    if p < 0.0 or p > 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    if not training or p == 0 or not input.numel():
        return input
    if input._value.type.element.kind != "f":
        name = input.dtype.type_name
        raise error(RuntimeError, f"result type Float can't be cast to the desired output type {name}")
    if p == 1:
        mask = from_array(np.zeros(input.shape, input.dtype.numpy))
    else:
        kept = FUNCTIONS["rand"](*input.shape)._array() >= p
        mask = from_array(kept.astype(input.dtype.numpy) / input.dtype.numpy.type(1 - p))
    return input.mul_(mask) if inplace else input * mask


# --- classes, embeddings ----------------------------------------------------------------------------------------------


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Return for each class a row of int64 that is 1 at its position and 0 elsewhere.

    Args:
        tensor: classes, int64, of any shape (*).
        num_classes: the length of the rows; -1: one more than the largest class.

    Raises:
        RuntimeError: a class is negative or not below `num_classes`; or the dtype is not int64.
    """
    if tensor_operand(tensor, "one_hot", "tensor").dtype is not dtype_of(int):
        raise error(RuntimeError, "one_hot is only applicable to index tensor of type LongTensor.", "convert: x.long()")
    classes = tensor._array()
    if not classes.size and num_classes <= 0:
        raise error(RuntimeError, "Can not infer total number of classes from empty tensor.")
    if classes.size and classes.min() < 0:
        raise error(RuntimeError, "Class values must be non-negative.")
    if num_classes == -1:
        num_classes = int(classes.max()) + 1
    elif classes.size and classes.max() >= num_classes:
        raise error(RuntimeError, "Class values must be smaller than num_classes.")
    return from_array((classes[..., None] == np.arange(num_classes)).astype(np.int64))


def _embedding_rule(indices: Any, weight: Any, padding: int | None) -> Value:
    positions, table = convert(indices.value, ir_types.i64), weight.value
    rows = nd.gather(table, positions, axes=(0,))
    if padding is None:
        return rows
    # The padding row is read and not learnt.
    at_padding = nd.eq(positions, nd.splat(padding, positions.type))
    wide = nd.broadcast(at_padding, shape=rows.type.shape, dims=tuple(range(positions.type.rank)))
    return nd.select(wide, nd.stop_gradient(rows), rows)


EMBEDDING = EagerOp("EmbeddingBackward0", _embedding_rule, lists=(1,), saves=(frozenset({0}), False))


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Return the rows of a table that integers name: (*) and (V, D) give (*, D).

    Args:
        padding_idx: a row whose gradient is 0.

    Raises:
        IndexError: an index is out of range.
        NotImplementedError: max_norm, scale_grad_by_freq and sparse.
    """
    if max_norm is not None or scale_grad_by_freq or sparse:
        raise error(NotImplementedError, "gradloom's embedding has no max_norm, scale_grad_by_freq and sparse")
    element = tensor_operand(input, "embedding")._value.type.element
    rows = tensor_operand(weight, "embedding", "weight", 2)._value.type.shape[0]
    if element not in (ir_types.i64, ir_types.i32):
        name = dtype_of(element).type_name
        raise error(
            RuntimeError,
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; but got "
            f"gradloom.{name}Tensor instead (while checking arguments for embedding)",
        )
    if padding_idx is not None:
        if not -rows <= padding_idx < rows:
            raise AssertionError("Padding_idx must be within num_embeddings")
        padding_idx %= rows
    indices = input._array()
    if indices.size and not (0 <= indices.min() and indices.max() < rows):
        raise error(IndexError, "index out of range in self", f"the table has {rows} rows")
    return operation(EMBEDDING, (input, weight), (("padding", padding_idx),))


# --- padding ----------------------------------------------------------------------------------------------------------


def _constant_rule(x: Any, value: Any, widths: tuple[tuple[int, int], ...]) -> Value:
    result = x.value
    shape = result.type.shape
    start = tuple([max(-low, 0) for low, _ in widths])
    limit = tuple([extent - max(-high, 0) for extent, (_, high) in zip(shape, widths, strict=True)])
    if any(a > b for a, b in zip(start, limit, strict=True)):
        raise error(RuntimeError, "narrow(): length must be non-negative.")
    result = nd.slice_(result, start=start, limit=limit, stride=(1,) * len(shape))
    positive = [(max(low, 0), max(high, 0)) for low, high in widths]
    number = bring_to(value, result.type.element)
    return _traced_pad(Tracer(result), positive, constant_values=number).value


def _mode_rule(x: Any, widths: tuple[tuple[int, int], ...], mode: str) -> Value:
    return _traced_pad(x, widths, mode).value


CONSTANT_PAD = EagerOp("ConstantPadNdBackward0", _constant_rule, saves=NOTHING, lists=(0,))
_PADDING = {
    (mode, count): EagerOp(f"{name}Pad{count}DBackward0", _mode_rule, saves=NOTHING)
    for mode, name in (("reflect", "Reflection"), ("replicate", "Replication"), ("circular", "Circular"))
    for count in (1, 2, 3)
}
_NUMPY_MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Put elements around a tensor; negative widths take elements away.

    Args:
        pad: the widths before and after, of the last dimension first.
        mode: "constant" puts `value`, 0 by default; "reflect", "replicate" and "circular" take elements of the tensor.

    Raises:
        RuntimeError: there are too many widths, or an odd number.
        NotImplementedError: there is no such mode.
    """
    rank = tensor_operand(input, "pad")._value.type.rank
    if len(pad) % 2:
        raise error(RuntimeError, "Padding length must be divisible by 2")
    count = len(pad) // 2
    if count > rank:
        raise error(
            RuntimeError,
            "Padding length should be less than or equal to two times the input dimension but got padding length "
            f"{len(pad)} and input of dimension {rank}",
        )
    given = [(int(pad[2 * k]), int(pad[2 * k + 1])) for k in range(count)]
    widths = ((0, 0),) * (rank - count) + tuple(reversed(given))
    if mode == "constant":
        return operation(CONSTANT_PAD, (input, 0.0 if value is None else float(value)), (("widths", widths),))
    if mode not in _NUMPY_MODES:
        raise error(NotImplementedError, f"Unrecognised padding mode {mode}")
    if value is not None:
        raise ValueError(f'Padding mode "{mode}" doesn\'t take in value argument')
    if count not in (1, 2, 3) or rank not in (count + 1, count + 2):
        raise error(
            NotImplementedError,
            "Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now",
        )
    _check_widths(input.shape, widths, mode)
    return operation(_PADDING[mode, count], (input,), (("widths", widths), ("mode", _NUMPY_MODES[mode])))


def _check_widths(shape: Sequence[int], widths: Sequence[tuple[int, int]], mode: str) -> None:
    for axis, (extent, pair) in enumerate(zip(shape, widths, strict=True)):
        if min(pair) < 0:
            raise error(NotImplementedError, f"gradloom has no negative widths in padding mode {mode!r}")
        if mode == "reflect" and max(pair) >= extent and max(pair):
            raise error(
                RuntimeError,
                "Argument #4: Padding size should be less than the corresponding input dimension, but got: padding "
                f"{pair} at dimension {axis} of input {list(shape)}",
            )
        if mode == "circular" and max(pair) > extent:
            raise error(RuntimeError, "Padding value causes wrapping around more than once.")
