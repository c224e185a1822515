"""How tensors, nodes, dtypes and sizes print: the reprs of the seeds, numbers, shapes, suffixes."""

from .corpus import program


@program
def reprs_of_the_seeds(m):
    def leaf(values):
        return m.tensor(values, requires_grad=True)

    return {
        "scalar": repr(m.tensor(5)),
        "ints": repr(m.tensor([1, 2, 3])),
        "float": repr(m.tensor(2.0)),
        "ones": repr(m.ones(2, 2)),
        "leaf": repr(leaf([1.0, 2.0])),
        "pow": repr(leaf([1.0, 2.0]) ** 2),
        "sin": repr(m.sin(leaf([1.0, 2.0]) ** 2)),
        "scientific": repr(m.tensor([1.5, -2.25e-5, 3e10])),
        "pow_rows": repr(m.ones(2, 2, requires_grad=True) ** 2),
        "bools": repr(m.tensor([True, False])),
        "arange": repr(m.arange(3.0)),
        "empty": repr(m.tensor([], dtype=m.float32)),
        "empty_rows": repr(m.zeros(2, 0)),
        "special": repr(m.tensor([float("nan"), float("inf")])),
        "double": repr(m.tensor([1.0, 2.0], dtype=m.float64)),
        "long": repr(m.arange(2000)),
        "sum": repr((leaf([1.0, 2.0]) * 2).sum()),
        "signs": repr(m.tensor([[1.0, -2.0], [3.0, 4.0]])),
        "detached": repr((leaf([1.0]) * 2).detach()),
        "size": repr(m.Size([2, 3])),
        "dtype": repr(leaf([1.0]).dtype),
        "shape": repr(m.ones(2).shape),
    }


@program
def reprs_of_numbers(m):
    return {
        "digits": repr(m.tensor([0.1, 0.25, 1 / 3])),
        "large": repr(m.tensor([1234.5678, 0.001])),
        "larger": repr(m.tensor([123456.789, 1.0])),
        "million": repr(m.tensor([1e6, 2e6])),
        "hundred_million": repr(m.tensor([1e8, 1.0])),
        "small": repr(m.tensor([1e-5])),
        "small_and_large": repr(m.tensor([1e-5, 1.0])),
        "ratio": repr(m.tensor([0.0001, 1000.0])),
        "whole": repr(m.tensor([1.0, 100.0, -3.0])),
        "whole_large": repr(m.tensor([1e9, 1.0])),
        "negative_zero": repr(m.tensor([-0.0, 0.0])),
        "inf_among": repr(m.tensor([float("inf"), -1.5, float("-inf"), float("nan")])),
        "scalar": repr(m.tensor(3.14159265)),
        "scalar_small": repr(m.tensor(1.5e-7)),
        "scalar_large": repr(m.tensor(29428664.0)),
        "scalar_double": repr(m.tensor(1 / 3, dtype=m.float64)),
        "int32": repr(m.tensor([1, -20], dtype=m.int32)),
        "uint8": repr(m.tensor([1, 200], dtype=m.uint8)),
        "bool_scalar": repr(m.tensor(True)),
        "int_rows": repr(m.tensor([[1, 20], [-300, 4]])),
        "zeros": repr(m.zeros(3)),
        "str": str(m.tensor([1.0, 2.0])),
        "format": f"{m.tensor([1.0])}",
        "format_scalar": f"{m.tensor(2.5)}",
    }


@program
def reprs_of_shapes(m):
    return {
        "2-D": repr(m.arange(6).reshape(2, 3)),
        "3-D": repr(m.arange(8.0).reshape(2, 2, 2)),
        "4-D": repr(m.zeros(2, 1, 2, 1)),
        "wide": repr(m.arange(40.0)),
        "wide_rows": repr(m.arange(60.0).reshape(2, 30)),
        "long": repr(m.arange(1001.0)),
        "long_rows": repr(m.zeros(40, 50)),
        "tall": repr(m.zeros(2000, 1)),
        "empty_int": repr(m.tensor([], dtype=m.int64)),
        "empty_double": repr(m.zeros(0, dtype=m.float64)),
        "empty_cube": repr(m.zeros(0, 3, 1)),
        "column": repr(m.tensor([[1.5], [-2.0]])),
    }


@program
def repr_suffixes(m):
    x = m.tensor([1.0, 2.0], requires_grad=True)
    wide = m.tensor([float(n) + 0.12345 for n in range(8)], requires_grad=True)
    return {
        "result": repr(x * 2),
        "double_leaf": repr(m.tensor([1.0], dtype=m.float64, requires_grad=True)),
        "double_result": repr(m.tensor([1.0], dtype=m.float64, requires_grad=True) * 2),
        "gradient": repr(m.autograd.grad((x * x).sum(), x)),
        "view": repr(x.view(2, 1)),
        "wide": repr(wide),
        "wide_result": repr(wide * 2),
        "in_place": repr((x * 2).add_(1)),
        "list": repr([x, x[0]]),
        "empty_leaf": repr(m.zeros(0, requires_grad=True)),
        "under_no_grad": repr((x * 2).detach()),
        "node": repr((x**2).grad_fn),
        "accumulate": repr((x**2).grad_fn.next_functions[0][0]),
    }


@program
def print_options(m):
    m.set_printoptions(precision=2)
    try:
        return {"precision": repr(m.tensor([0.12345, 1.0])), "scalar": repr(m.tensor(0.98765))}
    finally:
        m.set_printoptions(profile="default")
