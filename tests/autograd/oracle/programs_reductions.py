"""Reductions and scans: values, gradients and names for whole tensors, dims, keepdim and correction."""

from collections.abc import Callable
from functools import partial
from typing import Any

from .corpus import Observations, differentiated, program, register

MATRIX = [[1.0, -2.0, 3.0], [0.5, 4.0, -1.5]]
CUBE = [[[1.0, 2.0], [3.0, -4.0]], [[5.0, -6.0], [7.0, 8.5]]]

# On MATRIX, in float64 and float32.
CASES: dict[str, Callable[..., Any]] = {
    "sum": lambda m, x: x.sum(),
    "sum_dim": lambda m, x: x.sum(0),
    "sum_last": lambda m, x: x.sum(-1),
    "sum_keepdim": lambda m, x: x.sum(1, keepdim=True),
    "sum_dims": lambda m, x: x.sum((0, 1)),
    "sum_function": lambda m, x: m.sum(x, dim=1),
    "sum_axis": lambda m, x: m.sum(x, axis=0, keepdims=True),
    "mean": lambda m, x: x.mean(),
    "mean_dim": lambda m, x: x.mean(0),
    "mean_keepdim": lambda m, x: x.mean(-1, keepdim=True),
    "mean_dims": lambda m, x: m.mean(x, (0, 1)),
    "prod": lambda m, x: x.prod(),
    "prod_dim": lambda m, x: x.prod(1),
    "prod_keepdim": lambda m, x: m.prod(x, 0, keepdim=True),
    "max": lambda m, x: x.max(),
    "max_dim": lambda m, x: x.max(1).values,
    "max_keepdim": lambda m, x: m.max(x, 0, keepdim=True)[0],
    "max_of_two": lambda m, x: m.max(x, x.flip(1)),
    "min": lambda m, x: x.min(),
    "min_dim": lambda m, x: x.min(dim=0).values,
    "amax": lambda m, x: x.amax(),
    "amax_dim": lambda m, x: x.amax(1),
    "amax_dims": lambda m, x: m.amax(x, (0, 1), keepdim=True),
    "amin_dim": lambda m, x: m.amin(x, 0),
    "norm": lambda m, x: x.norm(),
    "norm_dim": lambda m, x: x.norm(dim=1),
    "norm_1": lambda m, x: x.norm(p=1),
    "norm_3": lambda m, x: x.norm(3, dim=0),
    "norm_inf": lambda m, x: x.norm(float("inf")),
    "norm_keepdim": lambda m, x: m.norm(x, dim=1, keepdim=True),
    "vector_norm": lambda m, x: m.linalg.norm(x),
    "vector_norm_dim": lambda m, x: m.linalg.vector_norm(x, ord=2, dim=1),
    "std": lambda m, x: x.std(),
    "std_dim": lambda m, x: x.std(1),
    "std_biased": lambda m, x: x.std(unbiased=False),
    "std_correction": lambda m, x: m.std(x, dim=0, correction=0, keepdim=True),
    "var": lambda m, x: x.var(),
    "var_dim": lambda m, x: x.var(1),
    "var_biased": lambda m, x: x.var(0, unbiased=False),
    "var_correction": lambda m, x: m.var(x, dim=1, correction=0),
    "var_mean": lambda m, x: m.var_mean(x, dim=1),
    "std_mean": lambda m, x: m.std_mean(x),
    "logsumexp": lambda m, x: x.logsumexp(1),
    "logsumexp_dims": lambda m, x: m.logsumexp(x, (0, 1)),
    "logsumexp_keepdim": lambda m, x: m.logsumexp(x, 0, keepdim=True),
    "softmax": lambda m, x: x.softmax(1),
    "softmax_dim": lambda m, x: m.softmax(x, dim=0),
    "softmax_log": lambda m, x: m.softmax(x, -1).log(),
    "log_softmax": lambda m, x: x.log_softmax(-1),
    "log_softmax_dim": lambda m, x: m.log_softmax(x, dim=0),
    "cumsum": lambda m, x: x.cumsum(1),
    "cumsum_dim": lambda m, x: m.cumsum(x, dim=0),
    "cumprod": lambda m, x: x.cumprod(1),
    "diff": lambda m, x: m.diff(x, dim=1),
    "nansum": lambda m, x: m.nansum(x),
    "median": lambda m, x: x.median(),
    "sort": lambda m, x: x.sort(1).values,
    "sort_descending": lambda m, x: m.sort(x, dim=0, descending=True).values,
    "topk": lambda m, x: x.topk(2, dim=1).values,
    "trace": lambda m, x: x[:, :2].trace(),
    "normalized": lambda m, x: (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True),
    "mean_of_squares": lambda m, x: (x**2).mean(),
    "dot_as_sum": lambda m, x: (x * x.flip(0)).sum(1),
    "dist": lambda m, x: m.dist(x[0], x[1]),
}


def case(function: Callable[..., Any], values: Any, dtype: str, m: Any) -> Observations:
    return differentiated(m, partial(function, m), values, dtype=dtype)


for _name, _function in CASES.items():
    register("reductions", _name, partial(case, _function, MATRIX, "float64"))
for _name in ("sum", "mean_dim", "prod", "std", "norm", "softmax", "log_softmax", "logsumexp", "cumsum"):
    register("reductions", f"{_name}_float32", partial(case, CASES[_name], MATRIX, "float32"))

# On a cube.
CUBES: dict[str, Callable[..., Any]] = {
    "sum_outer": lambda m, x: x.sum((0, 2)),
    "sum_middle": lambda m, x: x.sum(1, keepdim=True),
    "mean_two": lambda m, x: x.mean((1, 2)),
    "max_middle": lambda m, x: x.max(1).values,
    "softmax_middle": lambda m, x: x.softmax(1),
    "var_two": lambda m, x: x.var((0, 1)),
    "amax_two": lambda m, x: x.amax((0, 2)),
    "logsumexp_two": lambda m, x: x.logsumexp((1, 2)),
    "cumsum_middle": lambda m, x: x.cumsum(1),
    "norm_two": lambda m, x: x.norm(dim=(1, 2)),
    "flattened": lambda m, x: x.flatten(1).sum(0),
}

for _name, _function in CUBES.items():
    register("reductions", f"cube_{_name}", partial(case, _function, CUBE, "float64"))

# Where the derivative is a convention, or the input is special.
SPECIAL: dict[str, tuple[Callable[..., Any], Any]] = {
    "max_ties": (lambda m, x: x.max(), [1.0, 3.0, 3.0]),
    "max_dim_ties": (lambda m, x: x.max(0).values, [1.0, 3.0, 3.0]),
    "amax_ties": (lambda m, x: x.amax(0), [1.0, 3.0, 3.0]),
    "min_ties": (lambda m, x: x.min(), [1.0, 1.0, 3.0]),
    "norm_of_zeros": (lambda m, x: x.norm(), [0.0, 0.0]),
    "norm_1_of_zeros": (lambda m, x: x.norm(p=1), [0.0, 2.0]),
    "prod_one_zero": (lambda m, x: x.prod(), [2.0, 0.0, 3.0]),
    "prod_two_zeros": (lambda m, x: x.prod(), [2.0, 0.0, 0.0]),
    "std_of_equal": (lambda m, x: x.std(), [2.0, 2.0]),
    "logsumexp_large": (lambda m, x: x.logsumexp(0), [1000.0, 1001.0]),
    "softmax_large": (lambda m, x: x.softmax(0), [1000.0, -1000.0]),
    "softmax_masked": (lambda m, x: x.masked_fill(x > 2, float("-inf")).softmax(0), [1.0, 2.0, 3.0]),
    "max_of_nan": (lambda m, x: x.max(), [1.0, float("nan"), 3.0]),
    "sum_of_scalar": (lambda m, x: x.sum(), 2.0),
    "sum_of_empty": (lambda m, x: x.sum(), []),
    "sum_of_one": (lambda m, x: x.sum(0), [2.0]),
    "mean_of_scalar": (lambda m, x: x.mean(), 2.0),
}

for _name, (_function, _values) in SPECIAL.items():
    register("reductions", _name, partial(case, _function, _values, "float64"))


@program
def pairs_of_values_and_indices(m):
    x = m.tensor([[1.0, 5.0, 2.0], [7.0, 3.0, 7.0]], requires_grad=True)
    pair = x.max(1)
    values, indices = x.min(0)
    return {
        "max": list(pair),
        "indices": pair.indices,
        "keepdim": list(x.max(1, keepdim=True)),
        "min": [values, indices],
        "sort": list(x.sort(dim=1, stable=True)),
        "topk": list(x[:1].topk(2)),
        "median": list(x.median(1)),
    }


@program
def positions(m):
    x = m.tensor([[1.0, 5.0, 2.0], [7.0, 3.0, 0.5]])
    return {
        "argmax": x.argmax(),
        "argmax_dim": x.argmax(1),
        "argmax_keepdim": m.argmax(x, 0, keepdim=True),
        "argmin": x.argmin(),
        "argmin_dim": m.argmin(x, dim=1),
        "argsort": x.argsort(1),
        "argsort_descending": m.argsort(x, dim=0, descending=True),
        "nonzero": m.tensor([[0, 1], [2, 0]]).nonzero(),
        "count_nonzero": m.count_nonzero(m.tensor([0, 1, 2])),
        "where": list(m.where(m.tensor([False, True, True]))),
        "unique": m.unique(m.tensor([3, 1, 3, 2])),
        "bincount": m.bincount(m.tensor([0, 1, 1, 3])),
        "searchsorted": m.searchsorted(m.tensor([1.0, 3.0, 5.0]), m.tensor([2.0, 3.0])),
    }


@program
def truth(m):
    x = m.tensor([[True, False], [True, True]])
    return {
        "all": x.all(),
        "any": x.any(),
        "all_dim": x.all(0),
        "any_dim": x.any(1, keepdim=True),
        "of_numbers": m.any(m.tensor([0.0, 2.0])),
        "all_of_numbers": m.all(m.tensor([1, 2])),
        "empty": [m.tensor([]).all(), m.tensor([]).any()],
    }


@program
def sums_of_other_dtypes(m):
    return {
        "int": m.tensor([1, 2]).sum(),
        "int32": m.tensor([1, 2], dtype=m.int32).sum(),
        "uint8": m.tensor([200, 100], dtype=m.uint8).sum(),
        "bool": m.tensor([True, True]).sum(),
        "bool_dim": m.tensor([[True], [True]]).sum(0),
        "dtype": m.tensor([1, 2]).sum(dtype=m.float32),
        "mean_dtype": m.tensor([1, 2]).mean(dtype=m.float64),
        "prod": m.tensor([2, 3]).prod(),
        "max": m.tensor([2, 3]).max(),
        "cumsum": m.tensor([True, True]).cumsum(0),
    }


@program
def sum_with_a_dtype(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    y = x.sum(dtype=m.float64)
    y.backward()
    return {"y": y, "gradient": x.grad}


@program
def float32_sum_is_accurate(m):
    x = m.full((100000,), 0.1)
    return {"close": abs(x.sum().item() - 10000.0) < 0.1, "mean": abs(x.mean().item() - 0.1) < 1e-6}


@program
def python_builtins(m):
    x = m.tensor([3.0, 1.0, 2.0], requires_grad=True)
    return {"sum": sum(x), "max": max(x), "min": min(x), "sorted": [v.item() for v in sorted(x)], "abs": abs(x)}
