"""Reductions, extrema, norms, running sums, softmax: NumPy's values, gradients, PyTorch's conventions and errors."""

import math
import pickle
from typing import Any

import numpy as np
import pytest
from scipy import special

import gradloom

from .differences import check, gradient

RNG = np.random.default_rng(7)
MATRIX = RNG.normal(size=(3, 4))
CUBE = RNG.normal(size=(2, 3, 4))
NAN, INF = float("nan"), float("inf")

CASES: dict[str, tuple[Any, Any]] = {
    "sum": (lambda x: x.sum(), np.sum),
    "sum_dims": (lambda x: x.sum((0, -1)), lambda x: x.sum((0, 2))),
    "sum_keepdim": (lambda x: x.sum(1, keepdim=True), lambda x: x.sum(1, keepdims=True)),
    "sum_axis": (lambda x: gradloom.sum(x, axis=2, keepdims=True), lambda x: x.sum(2, keepdims=True)),
    "mean": (lambda x: x.mean([0, 1]), lambda x: x.mean((0, 1))),
    "prod": (lambda x: x.prod(1), lambda x: x.prod(1)),
    "var": (lambda x: x.var((0, 2)), lambda x: x.var((0, 2), ddof=1)),
    "var_correction": (lambda x: x.var(1, correction=0.5), lambda x: x.var(1, ddof=0.5)),
    "std": (lambda x: x.std(unbiased=False), np.std),
    "std_dim": (lambda x: x.std(-1, True, True), lambda x: x.std(2, ddof=1, keepdims=True)),
    "amax": (lambda x: x.amax((0, 1)), lambda x: x.max((0, 1))),
    "amin": (lambda x: x.amin(), np.min),
    "max": (lambda x: x.max(), np.max),
    "max_dim": (lambda x: x.max(1).values, lambda x: x.max(1)),
    "min_dim": (lambda x: x.min(-1, keepdim=True).values, lambda x: x.min(2, keepdims=True)),
    "aminmax": (lambda x: x.aminmax(dim=0).max, lambda x: x.max(0)),
    "median": (lambda x: x.median(1).values, lambda x: np.median(x, 1)),
    "kthvalue": (lambda x: x.kthvalue(2, 2).values, lambda x: np.sort(x, 2)[..., 1]),
    "norm": (lambda x: x.norm(), lambda x: np.sqrt((x * x).sum())),
    "norm_1": (lambda x: x.norm(1, (0, 1)), lambda x: np.abs(x).sum((0, 1))),
    "norm_half": (lambda x: x.norm(0.5, 1), lambda x: np.sqrt(np.abs(x)).sum(1) ** 2),
    "norm_5": (lambda x: gradloom.linalg.vector_norm(x, 5), lambda x: (np.abs(x) ** 5).sum() ** 0.2),
    "norm_-inf": (lambda x: x.norm(-INF, 2), lambda x: np.abs(x).min(2)),
    "matrix_norm": (lambda x: gradloom.linalg.matrix_norm(x), lambda x: np.linalg.norm(x, axis=(1, 2))),
    "matrix_norm_1": (lambda x: gradloom.linalg.matrix_norm(x, 1), lambda x: np.abs(x).sum(1).max(1)),
    "matrix_norm_inf": (lambda x: gradloom.linalg.norm(x, INF, (0, 2)), lambda x: np.abs(x).sum(2).max(0)),
    "logsumexp": (lambda x: x.logsumexp((0, 2)), lambda x: special.logsumexp(x, (0, 2))),
    "softmax": (lambda x: x.softmax(1), lambda x: special.softmax(x, 1)),
    "log_softmax": (lambda x: x.log_softmax(-1), lambda x: special.log_softmax(x, 2)),
    "cumsum": (lambda x: x.cumsum(1), lambda x: x.cumsum(1)),
    "cumprod": (lambda x: x.cumprod(2), lambda x: x.cumprod(2)),
    "logcumsumexp": (lambda x: x.logcumsumexp(2), lambda x: np.logaddexp.accumulate(x, 2)),
    "cummax": (lambda x: x.cummax(2).values, lambda x: np.maximum.accumulate(x, 2)),
    "cummin": (lambda x: x.cummin(0)[0], lambda x: np.minimum.accumulate(x, 0)),
}


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name: str):
    function, reference = CASES[name]
    check(function, [CUBE], reference)


def test_distance():
    check(lambda x, y: gradloom.dist(x, y), [MATRIX, MATRIX[0] + 1], lambda x, y: np.linalg.norm(x - y))
    check(lambda x, y: gradloom.dist(x, y, 3), [MATRIX, MATRIX + 1], lambda x, y: (np.abs(x - y) ** 3).sum() ** (1 / 3))


@pytest.mark.parametrize(
    "function, values, expected",
    [
        (lambda x: x.max(), [1.0, 3.0, 3.0], [0.0, 0.5, 0.5]),
        (lambda x: x.max(0).values, [1.0, 3.0, 3.0], [0.0, 1.0, 0.0]),
        (lambda x: x.amin(0), [1.0, 1.0, 3.0], [0.5, 0.5, 0.0]),
        (lambda x: x.max(), [1.0, NAN, 3.0, NAN], [0.0, 0.5, 0.0, 0.5]),
        (lambda x: x.max(), [1.0, INF, INF], [0.0, 0.5, 0.5]),
        (lambda x: x.median(), [2.0, 2.0, 5.0, 1.0], [0.5, 0.5, 0.0, 0.0]),
        (lambda x: x.median(0).values, [5.0, 2.0, 1.0, 4.0], [0.0, 1.0, 0.0, 0.0]),
        (lambda x: x.nanmedian(), [NAN, 4.0, 2.0], [0.0, 0.0, 1.0]),
        (lambda x: x.prod(), [2.0, 0.0, 3.0], [0.0, 6.0, 0.0]),
        (lambda x: x.prod(), [2.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
        (lambda x: x.cumprod(0), [2.0, 0.0, 3.0], [1.0, 8.0, 0.0]),
        (lambda x: x.norm(), [0.0, 0.0], [0.0, 0.0]),
        (lambda x: x.norm(1), [0.0, -2.0], [0.0, -1.0]),
        (lambda x: x.norm(3), [0.0, 0.0], [0.0, 0.0]),
        (lambda x: x.norm(0.5), [0.0, 4.0], [0.0, 1.0]),
        (lambda x: x.norm(INF), [3.0, -3.0], [0.5, -0.5]),
        (lambda x: x.std(), [2.0, 2.0], [0.0, 0.0]),
        (lambda x: x.nansum(), [1.0, NAN], [1.0, 0.0]),
        (lambda x: x.logsumexp(0), [-INF, 0.0], [0.0, 1.0]),
        (lambda x: x.softmax(0)[0], [1000.0, -1000.0], [0.0, 0.0]),
        (lambda x: x.cummax(0).values, [1.0, 3.0, 3.0, 2.0], [1.0, 1.0, 2.0, 0.0]),
    ],
)
def test_conventions_of_gradients(function: Any, values: list[float], expected: list[float]):
    assert gradient(function, values) == [expected]


def test_names_in_the_graph():
    x = gradloom.tensor(MATRIX, requires_grad=True)
    pair = x.max(0)
    found = [
        *(each.grad_fn.name() for each in (x.sum(), x.sum(0), x.mean(), x.mean(0), x.prod(), x.prod(0), x.max())),
        *(each.grad_fn.name() for each in (pair.values, x.amax(), x.norm(), x.std(), x.var(), x.logsumexp(0))),
        *(each.grad_fn.name() for each in gradloom.std_mean(x)),
    ]
    assert found == [
        *("SumBackward0", "SumBackward1", "MeanBackward0", "MeanBackward1", "ProdBackward0", "ProdBackward1"),
        *("MaxBackward1", "MaxBackward0", "AmaxBackward0", "LinalgVectorNormBackward0", "StdBackward0", "VarBackward0"),
        *("LogsumexpBackward0", "StdMeanBackward0", "StdMeanBackward0"),
    ]
    assert pair.indices.grad_fn is None
    assert len(pair.values.grad_fn.next_functions) == 1  # the indices are no input of the graph


def test_results_with_fields():
    x = gradloom.tensor([[1.0, 5.0], [7.0, 3.0]])
    pair = x.max(1)
    assert repr(pair) == "gradloom.return_types.max(\nvalues=tensor([5., 7.]),\nindices=tensor([1, 0]))"
    values, indices = pair
    assert values is pair.values and indices is pair[1] and isinstance(pair, tuple)
    assert repr(x.aminmax()) == "gradloom.return_types.aminmax(\nmin=tensor(1.),\nmax=tensor(7.))"


def test_dtypes():
    whole = gradloom.tensor([[1, 2], [3, 4]], dtype=gradloom.int32)
    truth = gradloom.tensor([True, False])
    small = gradloom.tensor([1, 2], dtype=gradloom.uint8)
    assert whole.sum().dtype is whole.prod(0).dtype is whole.cumsum(0).dtype is gradloom.int64
    assert whole.max().dtype is gradloom.int32 and whole.argmax().dtype is gradloom.int64
    assert whole.sum(dtype=gradloom.float32).dtype is gradloom.float32
    assert truth.sum().item() == 1 and truth.max().dtype is gradloom.bool
    assert small.all().dtype is gradloom.uint8 and whole.any().dtype is gradloom.bool
    assert whole.logsumexp(0).dtype is gradloom.float32


def test_half_precision_is_accumulated_in_single():
    x = gradloom.full((4000,), 1.5, dtype=gradloom.float16)
    assert x.sum().item() == 6000.0 and x.mean().item() == 1.5
    assert x.sum().dtype is gradloom.float16


def test_truth_and_counts():
    x = gradloom.tensor([[0.0, 2.0], [1.0, 3.0]])
    assert x.all(0).tolist() == [False, True] and x.any(1, keepdim=True).tolist() == [[True], [True]]
    assert gradloom.count_nonzero(x).item() == 3 and x.count_nonzero((0,)).tolist() == [1, 2]


def test_positions():
    x = gradloom.tensor([[1.0, 5.0, 5.0], [NAN, 0.0, 2.0]])
    assert x.argmax(1).tolist() == [1, 0] and x.argmin().item() == 3
    assert x.argmax(0, keepdim=True).shape == (1, 3) and x.argmax(keepdim=True).shape == (1, 1)


def test_empty_and_single():
    empty = gradloom.ones(0)
    assert empty.sum().item() == 0 and empty.prod().item() == 1 and math.isnan(empty.mean().item())
    assert empty.logsumexp(0).item() == -INF
    with pytest.warns(UserWarning, match="degrees of freedom is <= 0"):
        assert math.isnan(gradloom.ones(1).std().item())
    scalar = gradloom.tensor(2.0)
    assert scalar.sum(0).item() == scalar.max(0).values.item() == scalar.cumsum(-1).item() == 2.0
    assert scalar.softmax(0).item() == 1.0


ONES, WHOLE, EMPTY, ROWS = "ones", "whole", "empty", "rows"


def tensor_named(name: str) -> Any:
    makers = {
        ONES: lambda: gradloom.ones(2, 3),
        WHOLE: lambda: gradloom.ones(2, 3, dtype=gradloom.int64),
        EMPTY: lambda: gradloom.ones(0),
        ROWS: lambda: gradloom.ones(0, 3),
    }
    return makers[name]()


@pytest.mark.parametrize(
    "name, function, kind, text",
    [
        (
            WHOLE,
            lambda x: x.mean(),
            RuntimeError,
            "mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. "
            "Got: Long",
        ),
        (WHOLE, lambda x: x.std(), RuntimeError, "std and var only support floating point and complex dtypes"),
        (
            WHOLE,
            lambda x: x.norm(),
            RuntimeError,
            "linalg.vector_norm: Expected a floating point or complex tensor as input. Got Long",
        ),
        (WHOLE, lambda x: x.softmax(0), NotImplementedError, "\"softmax_kernel_impl\" not implemented for 'Long'"),
        (ONES, lambda x: x.sum((0, 0)), RuntimeError, "dim 0 appears multiple times in the list of dims"),
        (
            ONES,
            lambda x: x.sum(5),
            IndexError,
            "Dimension out of range (expected to be in range of [-2, 1], but got 5)",
        ),
        (
            EMPTY,
            lambda x: x.max(),
            RuntimeError,
            "max(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the "
            "'dim' argument.",
        ),
        (ROWS, lambda x: x.max(0), IndexError, "max(): Expected reduction dim 0 to have non-zero size."),
        (ROWS, lambda x: x.amax(0), IndexError, "amax(): Expected reduction dim 0 to have non-zero size."),
        (
            EMPTY,
            lambda x: x.argmax(),
            IndexError,
            "argmax(): Expected reduction dim to be specified for input.numel() == 0.",
        ),
        (ONES, lambda x: x.norm("abc"), RuntimeError, "linalg.matrix_norm: Order abc not supported."),
        (
            EMPTY,
            lambda x: gradloom.linalg.vector_norm(x, INF),
            RuntimeError,
            "linalg.vector_norm cannot compute the inf norm on an empty tensor because the operation does not have an "
            "identity",
        ),
        (ONES, lambda x: x.kthvalue(4), RuntimeError, "kthvalue(): selected number k out of range for dimension 1"),
        (
            ONES,
            lambda x: gradloom.softmax(x, None),
            TypeError,
            "softmax(): argument 'dim' (position 2) must be int, not NoneType",
        ),
        (
            ONES,
            lambda x: x.std(unbiased=True, correction=1),
            TypeError,
            "std() received an invalid combination of arguments - got (correction=int, unbiased=bool",
        ),
    ],
)
def test_errors(name: str, function: Any, kind: type[Exception], text: str):
    with pytest.raises(kind) as caught:
        function(tensor_named(name))
    assert str(caught.value).startswith(text)


def test_what_is_saved():
    """A write into what the derivative does not read disturbs no backward; into the saved result it does."""
    x = gradloom.tensor(MATRIX, requires_grad=True)
    y = x * 1
    total = y.sum()
    y.mul_(2)
    total.backward()
    assert x.grad.tolist() == np.ones_like(MATRIX).tolist()
    p = (x * 1).softmax(1)
    q = p * 1
    p.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        q.sum().backward()


def test_second_derivatives():
    x = gradloom.tensor([0.5, -1.0, 2.0], dtype=gradloom.float64, requires_grad=True)
    (g,) = gradloom.autograd.grad(x.logsumexp(0), x, create_graph=True)
    (h,) = gradloom.autograd.grad(g[0], x)
    p = special.softmax([0.5, -1.0, 2.0])
    np.testing.assert_allclose(h.numpy(), p[0] * (np.array([1.0, 0.0, 0.0]) - p), rtol=1e-12)


def test_classes_of_results_have_names():
    pair = gradloom.ones(2, 2).max(0)
    assert isinstance(pair, gradloom.return_types.max) and "aminmax" in dir(gradloom.return_types)
    restored = pickle.loads(pickle.dumps(pair))
    assert type(restored) is type(pair) and restored.values.tolist() == [1.0, 1.0]


def test_differences():
    check(lambda x: gradloom.diff(x, 2, 1), [CUBE], lambda x: np.diff(x, 2, 1))
    x = gradloom.tensor([1, 4])
    assert gradloom.diff(x, prepend=gradloom.tensor([0])).tolist() == [1, 3]
    assert gradloom.tensor([True, False]).diff().tolist() == [True]
