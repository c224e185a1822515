"""nn.functional: losses, normalisation, embeddings, padding, dropout; parameters; what nn.utils does to gradients."""

import copy
import math
import warnings
from typing import Any

import numpy as np
import pytest
from scipy import special

import gradloom
from gradloom.nn import functional as F

from .differences import check, gradient

RNG = np.random.default_rng(5)
X, Y = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4))
P, T = RNG.uniform(0.05, 0.95, (3, 4)), RNG.uniform(0.05, 0.95, (3, 4))
WEIGHTS = np.array([0.5, 1.0, 2.0, 0.25])
CLASSES = np.array([1, 3, 0])
CUBE = RNG.normal(size=(2, 4, 3))
INF = float("inf")


def tensor(x: Any) -> Any:
    return gradloom.tensor(x)


def entropy(p: Any, t: Any) -> Any:
    return -(t * np.log(p) + (1 - t) * np.log1p(-p))


def standardized(x: Any, axes: Any, eps: float = 1e-5) -> Any:
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def nll(x: Any, weights: Any = WEIGHTS) -> Any:
    return -x[np.arange(3), CLASSES] * weights[CLASSES]


def log_softmax(x: Any) -> Any:
    return special.log_softmax(x, 1)


CASES: dict[str, tuple[Any, Any, list[Any]]] = {
    "mse": (F.mse_loss, lambda x, y: ((x - y) ** 2).mean(), [X, Y]),
    "mse_none": (lambda x, y: F.mse_loss(x, y, reduction="none"), lambda x, y: (x - y) ** 2, [X, Y]),
    "mse_weight": (
        lambda x, y, w: F.mse_loss(x, y, weight=w),
        lambda x, y, w: ((x - y) ** 2 * w).sum() / w.sum(),
        [X, Y, P],
    ),
    "l1_sum": (lambda x, y: F.l1_loss(x, y, reduction="sum"), lambda x, y: np.abs(x - y).sum(), [X, Y]),
    "smooth_l1": (
        lambda x, y: F.smooth_l1_loss(x, y, beta=0.7),
        lambda x, y: np.where(abs(x - y) < 0.7, (x - y) ** 2 / 1.4, abs(x - y) - 0.35).mean(),
        [X, Y],
    ),
    "huber": (
        lambda x, y: F.huber_loss(x, y, delta=0.7),
        lambda x, y: np.where(abs(x - y) <= 0.7, (x - y) ** 2 / 2, 0.7 * (abs(x - y) - 0.35)).mean(),
        [X, Y],
    ),
    "nll": (
        lambda x: F.nll_loss(x, tensor(CLASSES), tensor(WEIGHTS)),
        lambda x: nll(x).sum() / WEIGHTS[CLASSES].sum(),
        [X],
    ),
    "nll_sum": (
        lambda x: F.nll_loss(x, tensor(CLASSES), ignore_index=3, reduction="sum"),
        lambda x: nll(x, np.ones(4))[[0, 2]].sum(),
        [X],
    ),
    "nll_deep": (
        lambda x: F.nll_loss(x, tensor(CUBE[:, 0] > 0).long()),
        lambda x: -np.take_along_axis(x, (CUBE[:, :1] > 0).astype(int), 1).mean(),
        [CUBE],
    ),
    "cross_entropy": (
        lambda x: F.cross_entropy(x, tensor(CLASSES)),
        lambda x: nll(log_softmax(x), np.ones(4)).mean(),
        [X],
    ),
    "cross_entropy_smoothed": (
        lambda x: F.cross_entropy(x, tensor(CLASSES), label_smoothing=0.2, reduction="none"),
        lambda x: 0.8 * nll(log_softmax(x), np.ones(4)) - 0.05 * log_softmax(x).sum(1),
        [X],
    ),
    "cross_entropy_of_probabilities": (
        lambda x, t: F.cross_entropy(x, t, tensor(WEIGHTS)),
        lambda x, t: -(log_softmax(x) * t * WEIGHTS).sum() / 3,
        [X, T],
    ),
    "binary": (F.binary_cross_entropy, lambda p, t: entropy(p, t).mean(), [P, T]),
    "binary_weighted": (
        lambda p, t: F.binary_cross_entropy(p, t, tensor(WEIGHTS), reduction="sum"),
        lambda p, t: (entropy(p, t) * WEIGHTS).sum(),
        [P, T],
    ),
    "logits": (F.binary_cross_entropy_with_logits, lambda x, t: entropy(special.expit(x), t).mean(), [X, T]),
    "logits_pos_weight": (
        lambda x, t: F.binary_cross_entropy_with_logits(x, t, pos_weight=tensor(WEIGHTS), reduction="none"),
        lambda x, t: -(WEIGHTS * t * special.log_expit(x) + (1 - t) * special.log_expit(-x)),
        [X, T],
    ),
    "kl_div": (
        lambda x, t: F.kl_div(x, t, reduction="batchmean"),
        lambda x, t: (special.xlogy(t, t) - t * x).sum() / 3,
        [X, T],
    ),
    "kl_div_log_target": (
        lambda x, t: F.kl_div(x, t, reduction="sum", log_target=True),
        lambda x, t: (np.exp(t) * (t - x)).sum(),
        [X, Y],
    ),
    "cosine_similarity": (
        lambda x, y: F.cosine_similarity(x, y, dim=0),
        lambda x, y: (x * y).sum(0) / np.linalg.norm(x, axis=0) / np.linalg.norm(y, axis=0),
        [X, Y],
    ),
    "normalize": (lambda x: F.normalize(x, p=3), lambda x: x / np.linalg.norm(x, 3, 1, keepdims=True), [X]),
    "pairwise_distance": (F.pairwise_distance, lambda x, y: np.linalg.norm(x - y + 1e-6, axis=1), [X, Y]),
    "layer_norm": (
        lambda x, w, b: F.layer_norm(x, (4, 3), w, b),
        lambda x, w, b: standardized(x, (1, 2)) * w + b,
        [CUBE, X.T, Y.T],
    ),
    "batch_norm": (
        lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
        lambda x, w, b: standardized(x, (0, 2)) * w[:, None] + b[:, None],
        [CUBE, WEIGHTS, X[0]],
    ),
    "group_norm": (
        lambda x: F.group_norm(x, 2),
        lambda x: standardized(x.reshape(2, 2, 6), 2).reshape(2, 4, 3),
        [CUBE],
    ),
    "rms_norm": (
        lambda x, w: F.rms_norm(x, (3,), w, 1e-3),
        lambda x, w: x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-3) * w,
        [CUBE, V := np.array([1.0, 2.0, -1.0])],
    ),
    "embedding": (lambda w: F.embedding(tensor([[0, 2], [2, 1]]), w), lambda w: w[[[0, 2], [2, 1]]], [X]),
    "linear": (F.linear, lambda x, w, b: x @ w.T + b, [CUBE, RNG.normal(size=(5, 3)), RNG.normal(size=5)]),
    "pad": (
        lambda x: F.pad(x, (1, -1, 2, 0), value=2.5),
        lambda x: np.pad(x[:, :, :-1], ((0, 0), (2, 0), (1, 0)), constant_values=2.5),
        [CUBE],
    ),
    "pad_reflect": (
        lambda x: F.pad(x, (2, 1), mode="reflect"),
        lambda x: np.pad(x, ((0, 0), (0, 0), (2, 1)), mode="reflect"),
        [CUBE],
    ),
    "softmin": (lambda x: F.softmin(x, 1), lambda x: special.softmax(-x, 1), [X]),
}


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name: str):
    function, reference, operands = CASES[name]
    check(function, operands, reference)


def test_names_in_the_graph():
    x, t = gradloom.tensor(X, requires_grad=True), tensor(CLASSES)
    assert names_of(F.cross_entropy(x, t)) == ("NllLossBackward0", ["LogSoftmaxBackward0"])
    assert names_of(F.mse_loss(x, tensor(Y))) == ("MseLossBackward0", ["AccumulateGrad", None])
    assert names_of(F.layer_norm(x, (4,))) == ("NativeLayerNormBackward0", ["AccumulateGrad", None, None])


def names_of(x: Any) -> Any:
    """Return the name of a tensor's node, and those of the nodes that it leads to."""
    return x.grad_fn.name(), [node and node.name() for node, _ in x.grad_fn.next_functions]


def test_conventions_of_gradients():
    # p (1 - p) is taken as 1e-12 (in single precision) at least.
    (at_edges,) = gradient(
        lambda p: F.binary_cross_entropy(p, tensor(np.array([0.0, 1.0, 1.0])), reduction="sum"), [0.0, 1.0, 0.0]
    )
    assert at_edges == [0.0, 0.0, -1 / float(np.float32(1e-12))]
    assert F.binary_cross_entropy(tensor([0.0]), tensor([1.0])).item() == 100.0
    (large,) = gradient(lambda x: F.binary_cross_entropy_with_logits(x, tensor([0.0, 1.0])), [200.0, -200.0])
    assert large == [0.5, -0.5]
    (zero,) = gradient(lambda x: F.normalize(x, dim=0), [0.0, 0.0])
    assert zero == [1e12, 1e12]
    assert gradient(lambda x: F.pad(x, (-1, 2)), [1.0, 2.0]) == [[0.0, 1.0]]


def test_ignored_classes_may_be_infinite():
    x = gradloom.tensor([[0.0, -INF], [1.0, 2.0]], requires_grad=True)
    loss = F.nll_loss(x, tensor([1, 0]), ignore_index=1)
    loss.backward()
    assert loss.item() == -1.0 and x.grad.tolist() == [[0.0, 0.0], [-1.0, 0.0]]
    assert math.isnan(F.cross_entropy(x, tensor([-100, -100])).item())


def test_padding_row_of_an_embedding_is_not_learnt():
    assert gradient(lambda w: F.embedding(tensor([0, 1, 1]), w, padding_idx=0), [[1.0], [2.0]]) == [[[0.0], [2.0]]]


def test_running_statistics():
    mean, var = gradloom.zeros(4, dtype=gradloom.float64), gradloom.ones(4, dtype=gradloom.float64)
    F.batch_norm(tensor(CUBE), mean, var, training=True, momentum=0.25)
    np.testing.assert_allclose(mean.numpy(), 0.25 * CUBE.mean((0, 2)), rtol=1e-12)
    np.testing.assert_allclose(var.numpy(), 0.75 + 0.25 * CUBE.var((0, 2), ddof=1), rtol=1e-12)
    found = F.batch_norm(tensor(CUBE), mean, var).numpy()
    expected = (CUBE - mean.numpy()[:, None]) / np.sqrt(var.numpy()[:, None] + 1e-5)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_dropout():
    gradloom.manual_seed(3)
    x = gradloom.ones(2000, requires_grad=True)
    y = F.dropout(x, 0.25)
    y.sum().backward()
    kept = y.detach().numpy() != 0
    assert 0.7 < kept.mean() < 0.8 and np.allclose(y.detach().numpy()[kept], 4 / 3)
    assert gradloom.equal(x.grad, y.detach())
    assert F.dropout(x, 0.25, training=False) is x and F.dropout(x, 0.0) is x
    assert F.dropout(x, 1.0).sum().item() == 0.0


def test_one_hot():
    assert F.one_hot(tensor([1, 0])).tolist() == [[0, 1], [1, 0]]
    assert F.one_hot(tensor([[2]]), 4).tolist() == [[[0, 0, 1, 0]]]


ONES = [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]


@pytest.mark.parametrize(
    "function, kind, text",
    [
        (lambda x: F.mse_loss(x, x, reduction="bad"), ValueError, "bad is not a valid value for reduction"),
        (lambda x: F.cross_entropy(x, tensor([0, 3])), IndexError, "Target 3 is out of bounds."),
        (
            lambda x: F.cross_entropy(x, tensor([0, 1, 2])),
            ValueError,
            "Expected input batch_size (2) to match target batch_size (3).",
        ),
        (
            lambda x: F.nll_loss(x, tensor([0.0, 1.0])),
            RuntimeError,
            "expected target dtype to be Long or Byte, but got Float",
        ),
        (
            lambda x: F.cross_entropy(x, x, ignore_index=2),
            RuntimeError,
            "ignore_index is not supported for floating point target",
        ),
        (
            lambda x: F.nll_loss(x, tensor([0, 1]), tensor([1.0, 1.0])),
            RuntimeError,
            "weight tensor should be defined either for all 3 classes or no classes but got weight tensor "
            "of shape: [2]",
        ),
        (
            lambda x: F.binary_cross_entropy(x + 1, x),
            RuntimeError,
            "all elements of input should be between 0 and 1",
        ),
        (
            lambda x: F.binary_cross_entropy(x, x[0]),
            ValueError,
            "Using a target size (gradloom.Size([3])) that is different to the input size (gradloom.Size([2, 3])) is "
            "deprecated. Please ensure they have the same size.",
        ),
        (
            lambda x: F.binary_cross_entropy_with_logits(x, x[0]),
            ValueError,
            "Target size (gradloom.Size([3])) must be the same as input size (gradloom.Size([2, 3]))",
        ),
        (
            lambda x: F.layer_norm(x, (2,)),
            RuntimeError,
            "Given normalized_shape=[2], expected input with shape [*, 2], but got input of size[2, 3]",
        ),
        (lambda x: F.dropout(x, 1.5), ValueError, "dropout probability has to be between 0 and 1, but got 1.5"),
        (lambda x: F.one_hot(tensor([-1])), RuntimeError, "Class values must be non-negative."),
        (lambda x: F.embedding(tensor([5]), x), IndexError, "index out of range in self"),
        (lambda x: F.pad(x, (1,)), RuntimeError, "Padding length must be divisible by 2"),
        (lambda x: F.pad(x, (-2, -2)), RuntimeError, "narrow(): length must be non-negative."),
        (lambda x: F.huber_loss(x, x, delta=0), RuntimeError, "huber_loss does not support non-positive values"),
        (
            lambda x: F.batch_norm(x, None, None),
            RuntimeError,
            "running_mean must be defined in evaluation mode",
        ),
    ],
)
def test_errors(function: Any, kind: type[Exception], text: str):
    with pytest.raises(kind) as caught:
        function(gradloom.tensor(ONES))
    assert str(caught.value).startswith(text)


def test_warnings():
    x = gradloom.tensor(ONES)
    with pytest.warns(UserWarning, match="Using a target size"):
        F.mse_loss(x, x[0])
    with pytest.warns(UserWarning, match="Implicit dimension choice for softmax"):
        F.softmax(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        F.mse_loss(x, x)


# --- parameters -------------------------------------------------------------------------------------------------------


def test_parameter():
    p = gradloom.nn.Parameter(gradloom.ones(2))
    assert repr(p) == "Parameter containing:\ntensor([1., 1.], requires_grad=True)"
    assert p.requires_grad and p.is_leaf and isinstance(p, gradloom.Tensor)
    y = p * 2
    assert type(y) is gradloom.Tensor
    y.sum().backward()
    assert p.grad.tolist() == [2.0, 2.0]
    assert not gradloom.nn.Parameter(gradloom.tensor([1]), requires_grad=False).requires_grad
    copied = copy.deepcopy(p)
    assert type(copied) is gradloom.nn.Parameter and copied.requires_grad


def test_parameter_shares_memory_and_no_history():
    x = gradloom.zeros(2, requires_grad=True)
    data = x * 1
    p = gradloom.nn.Parameter(data)
    assert p.grad_fn is None and p.data_ptr() == data.data_ptr()
    with gradloom.no_grad():
        p.add_(1)
    assert data.tolist() == [1.0, 1.0]
    with pytest.raises(RuntimeError, match="Only Tensors of floating point and complex dtype can require gradients"):
        gradloom.nn.Parameter(gradloom.tensor([1]))


def test_clipping():
    a, b = gradloom.nn.Parameter(gradloom.ones(2)), gradloom.nn.Parameter(gradloom.ones(1))
    (3 * a.sum() + 4 * b.sum()).backward()
    total = gradloom.nn.utils.clip_grad_norm_([a, b], 1.0)
    length = math.sqrt(3**2 + 3**2 + 4**2)
    assert math.isclose(total.item(), length, rel_tol=1e-6)
    np.testing.assert_allclose(a.grad.numpy(), [3 / length] * 2, rtol=1e-5)
    gradloom.nn.utils.clip_grad_value_([a, b], 0.5)
    assert b.grad.tolist() == [0.5]
    a.grad = gradloom.tensor([INF, 0.0])
    with pytest.raises(RuntimeError, match="is non-finite, so it cannot be clipped"):
        gradloom.nn.utils.clip_grad_norm_([a], 1.0, error_if_nonfinite=True)


def test_parameters_as_a_vector():
    a, b = gradloom.nn.Parameter(gradloom.ones(2, 2)), gradloom.nn.Parameter(gradloom.zeros(1))
    assert gradloom.nn.utils.parameters_to_vector([a, b]).tolist() == [1.0, 1.0, 1.0, 1.0, 0.0]
    gradloom.nn.utils.vector_to_parameters(gradloom.arange(5.0), [a, b])
    assert a.tolist() == [[0.0, 1.0], [2.0, 3.0]] and b.tolist() == [4.0] and a.requires_grad
