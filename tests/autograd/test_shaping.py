"""Views, joins and movement of elements: values against NumPy, gradients against differences, torch's texts."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradloom

from .differences import check

MATRIX = np.array([[1.0, -2.0, 3.0], [4.0, 5.0, -6.0]])
CUBE = np.arange(24.0).reshape(2, 3, 4) / 7 - 1
VECTOR = np.array([0.5, -1.5, 2.5])

# name: (function of a tensor, the same in NumPy, applied to)
MEANINGS: dict[str, tuple[Callable[..., Any], Callable[..., Any], Any]] = {
    "view": (lambda x: x.view(3, -1), lambda a: a.reshape(3, -1), MATRIX),
    "reshape_of_transposed": (lambda x: x.t().reshape(-1), lambda a: a.T.reshape(-1), MATRIX),
    "flatten": (lambda x: x.flatten(1), lambda a: a.reshape(2, 12), CUBE),
    "unflatten": (lambda x: x.unflatten(2, (2, -1)), lambda a: a.reshape(2, 3, 2, 2), CUBE),
    "squeeze": (lambda x: x[:, :1].squeeze(1), lambda a: a[:, 0], CUBE),
    "permute": (lambda x: x.permute(2, 0, 1), lambda a: a.transpose(2, 0, 1), CUBE),
    "mT": (lambda x: x.mT, lambda a: a.swapaxes(-1, -2), CUBE),
    "movedim": (lambda x: x.movedim((0, 1), (2, 0)), lambda a: np.moveaxis(a, (0, 1), (2, 0)), CUBE),
    "expand": (lambda x: x.unsqueeze(0).expand(4, -1, 3), lambda a: np.broadcast_to(a, (4, 2, 3)), MATRIX),
    "diagonal": (lambda x: x.diagonal(1, 2, 1), lambda a: a.diagonal(1, 2, 1), CUBE),
    "diagonal_below": (lambda x: x.diagonal(-1), lambda a: a.diagonal(-1), MATRIX),
    "unfold": (
        lambda x: x.unfold(2, 3, 1),
        lambda a: np.lib.stride_tricks.sliding_window_view(a, 3, 2),
        CUBE,
    ),
    "split": (lambda x: x.split([1, 2], 1)[1], lambda a: a[:, 1:], MATRIX),
    "chunk": (lambda x: x.chunk(3, 2)[1], lambda a: a[:, :, 2:4], CUBE),
    "tensor_split": (lambda x: x.tensor_split((1, 3), -1)[1], lambda a: a[..., 1:3], CUBE),
    "unbind": (lambda x: x.unbind(-1)[2], lambda a: a[..., 2], CUBE),
    "flip": (lambda x: x.flip(0, 2), lambda a: np.flip(a, (0, 2)), CUBE),
    "roll": (lambda x: x.roll((1, -1), (0, 2)), lambda a: np.roll(a, (1, -1), (0, 2)), CUBE),
    "roll_flat": (lambda x: gradloom.roll(x, 5), lambda a: np.roll(a, 5), CUBE),
    "rot90": (lambda x: gradloom.rot90(x, 3, (1, 2)), lambda a: np.rot90(a, 3, (1, 2)), CUBE),
    "repeat": (lambda x: x.repeat(2, 1, 3), lambda a: np.tile(a, (2, 1, 3)), MATRIX),
    "repeat_interleave": (lambda x: x.repeat_interleave(2, 1), lambda a: np.repeat(a, 2, 1), MATRIX),
    "repeat_each": (
        lambda x: x.repeat_interleave(gradloom.tensor([2, 0, 1]), dim=1),
        lambda a: np.repeat(a, [2, 0, 1], 1),
        MATRIX,
    ),
    "tril": (lambda x: x.tril(-1), lambda a: np.tril(a, -1), CUBE),
    "triu": (lambda x: x.triu(1), lambda a: np.triu(a, 1), CUBE),
    "diag_of_vector": (lambda x: gradloom.diag(x, -1), lambda a: np.diag(a, -1), VECTOR),
    "diag_embed": (
        lambda x: gradloom.diag_embed(x, 1, 0, 2),
        lambda a: np.stack([np.diag(row, 1) for row in a], 1),
        MATRIX,
    ),
    "cat": (lambda x: gradloom.cat([x, x[:, :1]], 1), lambda a: np.concatenate([a, a[:, :1]], 1), MATRIX),
    "stack": (lambda x: gradloom.stack([x, x * 2], 1), lambda a: np.stack([a, a * 2], 1), MATRIX),
    "dstack": (lambda x: gradloom.dstack([x, x]), lambda a: np.dstack([a, a]), MATRIX),
    "column_stack": (lambda x: gradloom.column_stack([x, x]), lambda a: np.column_stack([a, a]), VECTOR),
    "block_diag": (
        lambda x: gradloom.block_diag(x, x[0]),
        lambda a: np.block([[a, np.zeros((2, 3))], [np.zeros((1, 3)), a[:1]]]),
        MATRIX,
    ),
    "meshgrid": (
        lambda x: gradloom.meshgrid(x, x[:2], indexing="xy")[1],
        lambda a: np.meshgrid(a, a[:2])[1],
        VECTOR,
    ),
    "combinations": (
        lambda x: gradloom.combinations(x),
        lambda a: np.array([[a[0], a[1]], [a[0], a[2]], [a[1], a[2]]]),
        VECTOR,
    ),
}


@pytest.mark.parametrize("name", sorted(MEANINGS))
def test_meaning_and_gradient(name: str):
    function, reference, array = MEANINGS[name]
    check(lambda x: function(x) * 1.5, [array], lambda a: reference(a) * 1.5)


def leaf(array: Any) -> Any:
    return gradloom.tensor(array, requires_grad=True)


def chain(x: Any) -> list[str]:
    """Return the names of the nodes from a tensor along the first inputs."""
    names, node = [], x.grad_fn
    while node is not None and node.name() != "AccumulateGrad":
        names.append(node.name().replace("Backward", ""))
        node = node.next_functions[0][0]
    return names


@pytest.mark.parametrize(
    "function, names",
    [
        (lambda x: x.view(3, 2), ["View0"]),
        (lambda x: x.reshape(6), ["View0"]),
        (lambda x: x.t().reshape(6), ["UnsafeView0", "Clone0", "T0"]),
        (lambda x: x.t().reshape(3, 1, 2), ["ReshapeAlias0", "T0"]),
        (lambda x: x.t().ravel(), ["View0", "Clone0", "T0"]),
        (lambda x: x.t().contiguous(), ["Clone0", "T0"]),
        (lambda x: x.T, ["Permute0"]),
        (lambda x: x.H, ["Transpose0"]),
        (lambda x: x.squeeze(), ["Squeeze0"]),
        (lambda x: x.squeeze(0), ["Squeeze1"]),
        (lambda x: x.squeeze((0, 1)), ["Squeeze2"]),
        (lambda x: x.split(2, 1)[1], ["Split0"]),
        (lambda x: x.split([1, 2], 1)[1], ["SplitWithSizes0"]),
        (lambda x: x.unbind()[1], ["Unbind0"]),
        (lambda x: x.tensor_split(2, 1)[0], ["Slice0"]),
        (lambda x: gradloom.diag(x), ["Diagonal0_copy"]),
        (lambda x: x.repeat_interleave(2), ["View0", "Clone0", "Expand0", "Unsqueeze0", "View0"]),
        (lambda x: gradloom.atleast_3d(x[0]), ["Unsqueeze0", "Unsqueeze0", "Select0"]),
        (lambda x: gradloom.vstack([x, x[0]]), ["Cat0"]),
    ],
)
def test_nodes(function: Callable[..., Any], names: list[str]):
    assert chain(function(leaf(MATRIX))) == names


def test_outputs_of_one_function_are_numbered():
    parts = leaf(MATRIX).unbind(1)
    assert [(part * 1).grad_fn.next_functions[0][1] for part in parts] == [0, 1, 2]


@pytest.mark.parametrize(
    "function, kind, text",
    [
        (lambda x: x.view(4, 2), RuntimeError, "shape '[4, 2]' is invalid for input of size 6"),
        (lambda x: x.reshape(7, -1), RuntimeError, "shape '[7, -1]' is invalid for input of size 6"),
        (lambda x: x.view(-1, -1), RuntimeError, "only one dimension can be inferred"),
        (lambda x: x.view(2, -2), RuntimeError, "invalid shape dimension -2 at index 1 of shape [2, -2]"),
        (
            lambda x: x.t().view(6),
            RuntimeError,
            "view size is not compatible with input tensor's size and stride (at least one dimension spans across two "
            "contiguous subspaces). Use .reshape(...) instead.",
        ),
        (lambda x: x[:0].reshape(-1, 0), RuntimeError, "cannot reshape tensor of 0 elements into shape [-1, 0]"),
        (lambda x: x.squeeze(5), IndexError, "Dimension out of range (expected to be in range of [-2, 1], but got 5)"),
        (
            lambda x: x.unsqueeze(3),
            IndexError,
            "Dimension out of range (expected to be in range of [-3, 2], but got 3)",
        ),
        (lambda x: x.permute(0, 0), RuntimeError, "permute(): duplicate dims are not allowed."),
        (lambda x: x.permute(0), RuntimeError, "i.e. input.dim() = 2 is not equal to len(dims) = 1"),
        (lambda x: x[None].t(), RuntimeError, "t() expects a tensor with <= 2 dimensions, but self is 3D"),
        (
            lambda x: x[0].mT,
            RuntimeError,
            "tensor.mT is only supported on matrices or batches of matrices. Got 1-D tensor.",
        ),
        (lambda x: x.movedim((0, 0), (0, 1)), RuntimeError, "movedim: repeated dim in `source` ([0, 0])"),
        (lambda x: x.flatten(1, 0), RuntimeError, "flatten() has invalid args: start_dim cannot come after end_dim"),
        (
            lambda x: x.unflatten(1, (2, 2)),
            RuntimeError,
            "unflatten: Provided sizes [2, 2] don't multiply up to the size of dim 1 (3) in the input tensor",
        ),
        (
            lambda x: x.expand(4, 3),
            RuntimeError,
            "The expanded size of the tensor (4) must match the existing size (2) at non-singleton dimension 0.  "
            "Target sizes: [4, 3].  Tensor sizes: [2, 3]",
        ),
        (
            lambda x: x.expand(-1, 2, 3),
            RuntimeError,
            "The expanded size of the tensor (-1) isn't allowed in a leading, non-existing dimension 0",
        ),
        (lambda x: x.expand(3), RuntimeError, "expand(gradloom.DoubleTensor{[2, 3]}, size=[3]): the number of sizes"),
        (lambda x: x.narrow(1, 1, 3), RuntimeError, "start (1) + length (3) exceeds dimension size (3)."),
        (
            lambda x: x.select(0, 2),
            IndexError,
            "select(): index 2 out of range for tensor of size [2, 3] at dimension 0",
        ),
        (lambda x: x.split(0, 1), RuntimeError, "split_size can only be 0 if dimension size is 0"),
        (lambda x: x.split([1, 1], 1), RuntimeError, "split_with_sizes expects split_sizes to sum exactly to 3"),
        (lambda x: x.chunk(0), RuntimeError, "chunk expects `chunks` to be greater than 0, got: 0"),
        (lambda x: x.unfold(1, 4, 1), RuntimeError, "maximum size for tensor at dimension 1 is 3 but size is 4"),
        (lambda x: x.diagonal(0, 1, 1), RuntimeError, "diagonal dimensions cannot be identical 1, 1"),
        (lambda x: x.flip(0, 0), RuntimeError, "dim 0 appears multiple times in the list of dims"),
        (lambda x: x.roll((1, 2), 1), RuntimeError, "shifts and dimensions must align. shifts: 2, dims:1"),
        (lambda x: gradloom.rot90(x, 1, (0, 0)), RuntimeError, "expected rotation dims to be different"),
        (lambda x: x.repeat(2), RuntimeError, "Number of dimensions of repeat dims can not be smaller than"),
        (lambda x: gradloom.cat([]), ValueError, "gradloom.cat(): expected a non-empty list of Tensors"),
        (lambda x: gradloom.cat([x, x[0]]), RuntimeError, "Tensors must have same number of dimensions: got 2 and 1"),
        (
            lambda x: gradloom.cat([x, x[:, :2]]),
            RuntimeError,
            "Sizes of tensors must match except in dimension 0. Expected size 3 but got size 2 for tensor number 1 in "
            "the list.",
        ),
        (lambda x: gradloom.cat([x, 1]), TypeError, "expected Tensor as element 1 in argument 0, but got int"),
        (
            lambda x: gradloom.cat(x),
            TypeError,
            "cat(): argument 'tensors' (position 1) must be tuple of Tensors, not Tensor",
        ),
        (
            lambda x: gradloom.stack([x, x[0]]),
            RuntimeError,
            "stack expects each tensor to be equal size, but got [2, 3] at entry 0 and [3] at entry 1",
        ),
        (lambda x: gradloom.tril(x[0]), RuntimeError, "tril: input tensor must have at least 2 dimensions"),
    ],
)
def test_refuses(function: Callable[..., Any], kind: type[Exception], text: str):
    with pytest.raises(kind) as caught:
        function(leaf(MATRIX))
    assert text in str(caught.value)


def test_joins_have_the_common_dtype():
    joined = gradloom.cat([gradloom.tensor([1, 2]), gradloom.tensor([0.5]), gradloom.tensor([])])
    assert joined.tolist() == [1.0, 2.0, 0.5] and joined.dtype is gradloom.float32
    assert gradloom.stack([gradloom.tensor(True), gradloom.tensor(2)]).tolist() == [1, 2]


def test_strides_follow_the_views():
    x = gradloom.zeros(2, 3, 4)
    assert x.permute(2, 0, 1).stride() == (1, 12, 4)
    assert x[:, 1::2].stride() == (12, 8, 1) and x[:, 1].storage_offset() == 4
    assert x.expand(5, 2, 3, 4).stride() == (0, 12, 4, 1)
    assert x.diagonal(0, 1, 2).stride() == (12, 5)
    assert x.unfold(2, 2, 2).stride() == (12, 4, 2, 1)
    assert not x.transpose(0, 1).is_contiguous() and x.transpose(0, 1).contiguous().is_contiguous()


def test_steps_of_equal_views_are_one_object():
    """Signatures are found by the steps: a loop must not make new ones."""
    from gradloom.autograd.parts import SELECT, SLICE
    from gradloom.autograd.shaping import VIEW

    def once() -> None:
        x = leaf(CUBE)
        (x[1, :, 1:3].sum() + x.view(-1)[3]).backward()

    once()
    counts = [len(op.signatures) for op in (VIEW, SELECT, SLICE)]
    for _ in range(3):
        once()
    assert [len(op.signatures) for op in (VIEW, SELECT, SLICE)] == counts
