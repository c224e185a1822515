"""`nn.functional`: activations, losses, normalisation; and the few modules that wrap them."""

from collections.abc import Callable
from functools import partial
from typing import Any

from .corpus import Observations, differentiated, error, program, register

X = [-3.0, -1.0, -0.25, 0.0, 0.5, 2.0, 25.0]
A = [[1.0, -2.0, 0.5], [0.25, 3.0, -1.0]]
B = [[0.5, -1.0, 0.5], [1.25, 0.0, 2.0]]
P = [[0.1, 0.5, 0.9], [0.25, 0.75, 0.6]]
T = [[0.0, 1.0, 1.0], [1.0, 0.0, 0.5]]

ACTIVATIONS: dict[str, Callable[..., Any]] = {
    "relu": lambda f, x: f.relu(x),
    "relu6": lambda f, x: f.relu6(x),
    "gelu": lambda f, x: f.gelu(x),
    "gelu_tanh": lambda f, x: f.gelu(x, approximate="tanh"),
    "silu": lambda f, x: f.silu(x),
    "softplus": lambda f, x: f.softplus(x),
    "softplus_beta": lambda f, x: f.softplus(x, beta=2.0),
    "leaky_relu": lambda f, x: f.leaky_relu(x),
    "leaky_relu_slope": lambda f, x: f.leaky_relu(x, 0.2),
    "elu": lambda f, x: f.elu(x),
    "elu_alpha": lambda f, x: f.elu(x, alpha=0.5),
    "selu": lambda f, x: f.selu(x),
    "celu": lambda f, x: f.celu(x),
    "mish": lambda f, x: f.mish(x),
    "hardtanh": lambda f, x: f.hardtanh(x),
    "hardsigmoid": lambda f, x: f.hardsigmoid(x),
    "hardswish": lambda f, x: f.hardswish(x),
    "softsign": lambda f, x: f.softsign(x),
    "tanhshrink": lambda f, x: f.tanhshrink(x),
    "logsigmoid": lambda f, x: f.logsigmoid(x),
    "sigmoid": lambda f, x: f.sigmoid(x),
    "tanh": lambda f, x: f.tanh(x),
    "softmin": lambda f, x: f.softmin(x, dim=0),
    "threshold": lambda f, x: f.threshold(x, 0.1, 20.0),
    "normalize": lambda f, x: f.normalize(x, dim=0),
    "dropout_evaluating": lambda f, x: f.dropout(x, 0.5, training=False),
    "dropout_of_nothing": lambda f, x: f.dropout(x, p=0.0),
}

# Losses: from tensors that are all differentiated.
LOSSES: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "mse_loss": (lambda f, a, b: f.mse_loss(a, b), (A, B)),
    "mse_loss_sum": (lambda f, a, b: f.mse_loss(a, b, reduction="sum"), (A, B)),
    "mse_loss_none": (lambda f, a, b: f.mse_loss(a, b, reduction="none"), (A, B)),
    "l1_loss": (lambda f, a, b: f.l1_loss(a, b), (A, B)),
    "l1_loss_sum": (lambda f, a, b: f.l1_loss(a, b, reduction="sum"), (A, B)),
    "smooth_l1_loss": (lambda f, a, b: f.smooth_l1_loss(a, b), (A, B)),
    "smooth_l1_loss_beta": (lambda f, a, b: f.smooth_l1_loss(a, b, beta=0.5, reduction="none"), (A, B)),
    "huber_loss": (lambda f, a, b: f.huber_loss(a, b, delta=0.75), (A, B)),
    "binary_cross_entropy": (lambda f, p: f.binary_cross_entropy(p, p.new_tensor(T)), (P,)),
    "binary_cross_entropy_sum": (lambda f, p: f.binary_cross_entropy(p, p.new_tensor(T), reduction="sum"), (P,)),
    "binary_cross_entropy_weight": (
        lambda f, p: f.binary_cross_entropy(p, p.new_tensor(T), weight=p.new_tensor([1.0, 2.0, 3.0])),
        (P,),
    ),
    "binary_cross_entropy_at_edges": (
        lambda f, p: f.binary_cross_entropy(p, p.new_tensor([0.0, 1.0, 1.0])),
        ([0.0, 1.0, 0.0],),
    ),
    "bce_with_logits": (lambda f, a: f.binary_cross_entropy_with_logits(a, a.new_tensor(T)), (A,)),
    "bce_with_logits_none": (
        lambda f, a: f.binary_cross_entropy_with_logits(a, a.new_tensor(T), reduction="none"),
        (A,),
    ),
    "bce_with_logits_pos_weight": (
        lambda f, a: f.binary_cross_entropy_with_logits(a, a.new_tensor(T), pos_weight=a.new_tensor([1.0, 2.0, 3.0])),
        (A,),
    ),
    "bce_with_logits_large": (
        lambda f, a: f.binary_cross_entropy_with_logits(a, a.new_tensor([0.0, 1.0])),
        ([200.0, -200.0],),
    ),
    "cross_entropy": (lambda f, a: f.cross_entropy(a, a.new_tensor([2, 0]).long()), (A,)),
    "cross_entropy_sum": (lambda f, a: f.cross_entropy(a, a.new_tensor([2, 0]).long(), reduction="sum"), (A,)),
    "cross_entropy_none": (lambda f, a: f.cross_entropy(a, a.new_tensor([2, 0]).long(), reduction="none"), (A,)),
    "cross_entropy_weight": (
        lambda f, a: f.cross_entropy(a, a.new_tensor([2, 0]).long(), weight=a.new_tensor([1.0, 2.0, 3.0])),
        (A,),
    ),
    "cross_entropy_ignore": (
        lambda f, a: f.cross_entropy(a, a.new_tensor([1, -100]).long()),
        (A,),
    ),
    "cross_entropy_smoothing": (
        lambda f, a: f.cross_entropy(a, a.new_tensor([2, 0]).long(), label_smoothing=0.1),
        (A,),
    ),
    "cross_entropy_probabilities": (
        lambda f, a: f.cross_entropy(a, a.new_tensor([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]])),
        (A,),
    ),
    "cross_entropy_of_one": (lambda f, a: f.cross_entropy(a, a.new_tensor(1).long()), ([1.0, 2.0, 3.0],)),
    "nll_loss": (lambda f, a: f.nll_loss(f.log_softmax(a, dim=1), a.new_tensor([2, 0]).long()), (A,)),
    "nll_loss_sum": (lambda f, a: f.nll_loss(a, a.new_tensor([2, 0]).long(), reduction="sum"), (A,)),
    "kl_div": (lambda f, a: f.kl_div(f.log_softmax(a, 1), a.new_tensor(P), reduction="batchmean"), (A,)),
    "cosine_similarity": (lambda f, a, b: f.cosine_similarity(a, b, dim=1), (A, B)),
    "hinge": (lambda f, a: f.relu(1 - a * a.new_tensor(T)).mean(), (A,)),
    "softmax": (lambda f, a: f.softmax(a, dim=1), (A,)),
    "log_softmax": (lambda f, a: f.log_softmax(a, dim=-1), (A,)),
    "linear": (lambda f, a, w, b: f.linear(a, w, b), (A, B, [1.0, -1.0])),
    "layer_norm": (lambda f, a: f.layer_norm(a, (3,)), (A,)),
    "layer_norm_affine": (
        lambda f, a, w, b: f.layer_norm(a, (3,), w, b, eps=1e-3),
        (A, [1.0, 2.0, -0.5], [0.0, 1.0, 0.5]),
    ),
    "layer_norm_of_all": (lambda f, a: f.layer_norm(a, (2, 3)), (A,)),
    "batch_norm_training": (
        lambda f, a, w, b: f.batch_norm(a, None, None, w, b, training=True),
        ([[1.0, 2.0], [3.0, -1.0], [0.5, 4.0]], [1.0, 2.0], [0.0, 1.0]),
    ),
    "glu": (lambda f, a: f.glu(a[:, :2], dim=1), (A,)),
    "prelu": (lambda f, a, w: f.prelu(a, w), (A, [0.25])),
    "pairwise_distance": (lambda f, a, b: f.pairwise_distance(a, b), (A, B)),
}


def case(function: Callable[..., Any], values: tuple[Any, ...], dtype: str, m: Any) -> Observations:
    return differentiated(m, partial(function, m.nn.functional), *values, dtype=dtype)


for _name, _function in ACTIVATIONS.items():
    register("nn_functional", _name, partial(case, _function, (X,), "float64"))
for _name, (_function, _values) in LOSSES.items():
    register("nn_functional", _name, partial(case, _function, _values, "float64"))
for _name in ("mse_loss", "cross_entropy", "bce_with_logits", "layer_norm", "linear"):
    register("nn_functional", f"{_name}_float32", partial(case, *LOSSES[_name], "float32"))
for _name in ("gelu", "silu", "softplus", "elu", "leaky_relu"):
    register("nn_functional", f"{_name}_float32", partial(case, ACTIVATIONS[_name], (X,), "float32"))


@program
def one_hot(m):
    f = m.nn.functional
    return {"given": f.one_hot(m.tensor([0, 2, 1]), num_classes=4), "found": f.one_hot(m.tensor([[0], [2]]))}


@program
def dropout_scales_what_it_keeps(m):
    """Which elements are dropped is the generator's; the rest is doubled, and so is their gradient."""
    m.manual_seed(0)
    x = m.ones(1000, requires_grad=True)
    y = m.nn.functional.dropout(x, 0.5, training=True)
    y.sum().backward()
    kept = (y > 0).sum().item()
    return {
        "values": sorted(set(y.tolist())),
        "half": 400 < kept < 600,
        "gradient_is_the_mask": m.equal(x.grad, y.detach()),
    }


@program
def loss_errors(m):
    f = m.nn.functional
    x = m.tensor(A)
    return {
        "target_range": error(lambda: f.cross_entropy(x, m.tensor([0, 3]))),
        "batch": error(lambda: f.cross_entropy(x, m.tensor([0, 1, 2]))),
        "reduction": error(lambda: f.mse_loss(x, x, reduction="average")),
        "bce_shape": error(lambda: f.binary_cross_entropy(m.tensor(P), m.tensor([1.0]))),
        "bce_logits_shape": error(lambda: f.binary_cross_entropy_with_logits(x, m.tensor([1.0]))),
        "dropout": error(lambda: f.dropout(x, 1.5)),
    }


@program
def linear_shapes(m):
    f = m.nn.functional
    return {
        "inner": error(lambda: f.linear(m.ones(2, 3), m.ones(4, 5))),
        "zero_rows": f.linear(m.ones(0, 3), m.ones(2, 3)).shape,
    }
