"""Sums, means, products, spread and truth over dimensions: `x.sum()`, `x.mean(0)`, `x.std()`, `x.all()`.

Each is one recorded operation. Extrema and positions are in extrema.py, norms in norms.py, running sums in scans.py.
"""

import warnings
from typing import Any

from gradloom.autograd.dtypes import dtype_of
from gradloom.autograd.elementwise import FIRST, NOTHING, tensor_operand, type_name
from gradloom.autograd.errors import error
from gradloom.autograd.graph import Attributes, EagerOp
from gradloom.autograd.recording import record, wrap
from gradloom.autograd.reducing import (
    Dims,
    axes_of,
    element_argument,
    extent_over,
    kept,
    numpy_names,
    over,
    spread_number,
    working,
)
from gradloom.autograd.tensor import Tensor, method, operation, public
from gradloom.trace.promote import accumulator, convert, truth
from gradloom.trace.reductions import guarded_sqrt
from gradloomc.dialects import nd
from gradloomc.ir import types as ir_types
from gradloomc.ir.core import Value
from gradloomc.ir.types import ScalarType

# --- sums and products ------------------------------------------------------------------------------------------------


def _summed_value(x: Value, dims: Dims | None, keepdim: bool) -> Value:
    axes = axes_of(x, dims)
    if x.type.element.kind == "b":
        return kept(nd.reduce_any(x, axes=axes), x, axes, keepdim)
    total = nd.reduce_sum(working(x), axes=axes)
    return kept(convert(total, x.type.element), x, axes, keepdim)


def _sum_rule(x: Any, dims: Dims | None = None, keepdim: bool = False, element: ScalarType | None = None) -> Value:
    return _summed_value(convert(x.value, element or accumulator_of(x.value)), dims, keepdim)


def accumulator_of(x: Value) -> ScalarType:
    """Return the type in which PyTorch adds up: int64 for all integers and bools."""
    return x.type.element if x.type.element.kind == "f" else ir_types.i64


def _nansum_rule(x: Any, dims: Dims | None = None, keepdim: bool = False, element: ScalarType | None = None) -> Value:
    value = x.value
    if value.type.element.kind == "f":
        value = nd.select(nd.isnan(value), nd.zeros_like(value), value)
    return _summed_value(convert(value, element or accumulator_of(value)), dims, keepdim)


def _prod_rule(x: Any, dims: Dims | None = None, keepdim: bool = False, element: ScalarType | None = None) -> Value:
    value = convert(x.value, element or accumulator_of(x.value))
    axes = axes_of(value, dims)
    if value.type.element.kind == "b":
        return kept(nd.reduce_all(value, axes=axes), value, axes, keepdim)
    return kept(convert(nd.reduce_prod(working(value), axes=axes), value.type.element), value, axes, keepdim)


SUM = EagerOp("SumBackward0", _sum_rule, saves=NOTHING)
SUM_DIMS = EagerOp("SumBackward1", _sum_rule, saves=NOTHING)
NANSUM = EagerOp("NansumBackward0", _nansum_rule, saves=FIRST)
_INPUT_AND_RESULT = (frozenset({0}), True)
PROD = EagerOp("ProdBackward0", _prod_rule, saves=_INPUT_AND_RESULT)
PROD_DIM = EagerOp("ProdBackward1", _prod_rule, saves=_INPUT_AND_RESULT)


def _with_dtype(function: str, attributes: Attributes, dtype: Any) -> Attributes:
    return attributes if dtype is None else (*attributes, ("element", element_argument(function, dtype)))


@method("sum")
@public("sum")
@numpy_names
def sum(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Return the sum over dimensions; integers and bools are added up as int64.

    Args:
        dim: an int or a tuple of ints; None and () stand for all.
        keepdim: keep the dimensions, with extent 1.
        dtype: convert to it first.

    Raises:
        IndexError, RuntimeError: a dimension is out of range, or named twice.
    """
    if input.__class__ is not Tensor:
        tensor_operand(input, "sum")
    if dim is None and not keepdim:
        return wrap(Tensor, record(SUM, (input,), _with_dtype("sum", (), dtype)))
    attributes = over("sum", dim, input._value.type.rank, keepdim)
    return wrap(Tensor, record(SUM_DIMS, (input,), _with_dtype("sum", attributes, dtype)))


@method("nansum")
@public("nansum")
@numpy_names
def nansum(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Return the sum over dimensions in which nan counts as 0; see `sum`."""
    attributes = over("nansum", dim, tensor_operand(input, "nansum")._value.type.rank, keepdim)
    return operation(NANSUM, (input,), _with_dtype("nansum", attributes, dtype))


@method("prod")
@public("prod")
@numpy_names
def prod(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Return the product of all elements, or over one dimension; integers and bools are multiplied as int64.

    The gradient is exact where elements are 0.
    """
    rank = tensor_operand(input, "prod")._value.type.rank
    if isinstance(dim, (tuple, list)):
        raise TypeError("prod() received an invalid combination of arguments - got (tuple): dim should be an int")
    op = PROD if dim is None else PROD_DIM
    return operation(op, (input,), _with_dtype("prod", over("prod", dim, rank, keepdim), dtype))


# --- means ------------------------------------------------------------------------------------------------------------


def _float_type(function: str, x: Value, element: ScalarType | None) -> ScalarType:
    result = element or x.type.element
    if result.kind != "f":
        raise error(
            RuntimeError,
            f"{function}(): could not infer output dtype. {'Input' if element is None else 'Optional'} dtype must be "
            f"either a floating point or complex dtype. Got: {dtype_of(result).type_name}",
            f"convert first: x.float().{function}(), or {function}(dtype=gradloom.float32)",
        )
    return result


def averaged(x: Value, axes: Dims) -> Value:
    """Return the mean over axes; of no elements nan."""
    total = nd.reduce_sum(x, axes=axes)
    return nd.div(total, spread_number(extent_over(x, axes), total))


def _mean_rule(x: Any, dims: Dims | None = None, keepdim: bool = False, element: ScalarType | None = None) -> Value:
    value = convert(x.value, _float_type("mean", x.value, element))
    axes = axes_of(value, dims)
    return kept(convert(averaged(working(value), axes), value.type.element), value, axes, keepdim)


MEAN = EagerOp("MeanBackward0", _mean_rule, saves=NOTHING)
MEAN_DIMS = EagerOp("MeanBackward1", _mean_rule, saves=NOTHING)


@method("mean")
@public("mean")
@numpy_names
def mean(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Return the mean over dimensions (see `sum`).

    Raises:
        RuntimeError: the dtype is not floating-point.
    """
    if input.__class__ is not Tensor:
        tensor_operand(input, "mean")
    if dim is None and not keepdim:
        return wrap(Tensor, record(MEAN, (input,), _with_dtype("mean", (), dtype)))
    attributes = over("mean", dim, input._value.type.rank, keepdim)
    return wrap(Tensor, record(MEAN_DIMS, (input,), _with_dtype("mean", attributes, dtype)))


@method("nanmean")
@public("nanmean")
@numpy_names
def nanmean(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Return the mean over dimensions of the elements that are not nan."""
    element = tensor_operand(input, "nanmean")._value.type.element
    if element.kind != "f":
        raise error(
            RuntimeError,
            "nanmean(): expected input to have floating point or complex dtype but got " + dtype_of(element).type_name,
        )
    counts = (~input.isnan()).sum(dim, keepdim)
    return nansum(input, dim, keepdim, dtype=dtype) / counts


# --- spread -----------------------------------------------------------------------------------------------------------


def _variance(x: Value, axes: Dims, correction: float) -> tuple[Value, Value]:
    """Return variance and mean over axes."""
    average = averaged(x, axes)
    distance = nd.sub(x, nd.spread(average, x, axes))
    total = nd.reduce_sum(nd.square(distance), axes=axes)
    return nd.div(total, spread_number(max(extent_over(x, axes) - correction, 0), total)), average


def _spread_rule(part: str, refusal: str) -> Any:
    def rule(x: Any, dims: Dims | None = None, keepdim: bool = False, correction: float = 1) -> Value:
        value = x.value
        if value.type.element.kind != "f":
            raise error(RuntimeError, refusal, "convert first: x.float()")
        axes = axes_of(value, dims)
        variance, average = _variance(working(value), axes, correction)
        # The root's derivative where all elements are equal is 0, as in PyTorch.
        found = average if part == "mean" else variance if part == "var" else guarded_sqrt(variance)
        return kept(convert(found, value.type.element), value, axes, keepdim)

    return rule


_FLOATS_ONLY = "std and var only support floating point and complex dtypes"
VAR = EagerOp("VarBackward0", _spread_rule("var", _FLOATS_ONLY), saves=FIRST)
STD = EagerOp("StdBackward0", _spread_rule("std", _FLOATS_ONLY), saves=_INPUT_AND_RESULT)
_PAIRED = {
    name: EagerOp(node, _spread_rule(part, f"{name} only support floating point and complex dtypes"), saves=FIRST)
    for name, node, part in (("var_mean", "VarMeanBackward0", "var"), ("std_mean", "StdMeanBackward0", "std"))
}
_MEANS = {
    "var_mean": EagerOp("VarMeanBackward0", _spread_rule("mean", _FLOATS_ONLY), saves=FIRST),
    "std_mean": EagerOp("StdMeanBackward0", _spread_rule("mean", _FLOATS_ONLY), saves=FIRST),
}


def _spread_attributes(name: str, x: Tensor, dim: Any, unbiased: Any, keepdim: Any, correction: Any) -> Attributes:
    if dim.__class__ is bool:  # std(unbiased), the oldest form
        dim, unbiased = None, dim
    if unbiased is not None and correction is not None:
        raise TypeError(
            f"{name}() received an invalid combination of arguments - got (correction={type_name(correction)}, "
            f"unbiased={type_name(unbiased)}): give one of them"
        )
    if correction is None:
        correction = 1 if unbiased is None else int(bool(unbiased))
    type = tensor_operand(x, name)._value.type
    attributes = over(name, dim, type.rank, keepdim)
    count = 1
    for k in attributes[0][1]:
        count *= type.shape[k]
    if count <= correction:
        warnings.warn(
            f"{name}(): degrees of freedom is <= 0. Correction should be strictly less than the reduction factor "
            "(input numel divided by output numel).",
            UserWarning,
            stacklevel=4,
        )
    return (*attributes, ("correction", correction))


@method("var")
@public("var")
@numpy_names
def var(
    input: Tensor, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None
) -> Tensor:
    """Return the variance over dimensions: the squared distances from the mean, divided by `n - correction`.

    Args:
        dim: an int or a tuple of ints; None and () stand for all.
        unbiased: False is `correction=0`, True (the default) `correction=1`.
        keepdim: keep the dimensions, with extent 1.

    Raises:
        RuntimeError: the dtype is not floating-point.
    """
    return operation(VAR, (input,), _spread_attributes("var", input, dim, unbiased, keepdim, correction))


@method("std")
@public("std")
@numpy_names
def std(
    input: Tensor, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None
) -> Tensor:
    """Return the standard deviation over dimensions, the root of `var`; its gradient is 0 where it is 0."""
    return operation(STD, (input,), _spread_attributes("std", input, dim, unbiased, keepdim, correction))


def _pair(name: str, doc: str) -> None:
    def function(
        input: Tensor, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *, correction: Any = None
    ) -> tuple[Tensor, Tensor]:
        attributes = _spread_attributes(name, input, dim, unbiased, keepdim, correction)
        first = operation(_PAIRED[name], (input,), attributes)
        return first, operation(_MEANS[name], (input,), attributes)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    public(name)(numpy_names(function))


_pair("var_mean", "Return the variance and the mean over dimensions; see `var`.")
_pair("std_mean", "Return the standard deviation and the mean over dimensions; see `var`.")

# --- truth ------------------------------------------------------------------------------------------------------------


def _truth_rule(build: Any) -> Any:
    def rule(x: Any, dims: Dims | None = None, keepdim: bool = False) -> Value:
        value = truth(x.value)
        axes = axes_of(value, dims)
        found = kept(build(value, axes=axes), value, axes, keepdim)
        return convert(found, ir_types.ui8) if x.value.type.element is ir_types.ui8 else found

    return rule


def _count_rule(x: Any, dims: Dims | None = None, keepdim: bool = False) -> Value:
    value = convert(truth(x.value), accumulator(ir_types.i1))
    return nd.reduce_sum(value, axes=axes_of(value, dims))


ALL = EagerOp("AllBackward0", _truth_rule(nd.reduce_all), differentiable=False)
ANY = EagerOp("AnyBackward0", _truth_rule(nd.reduce_any), differentiable=False)
COUNT_NONZERO = EagerOp("CountNonzeroBackward0", _count_rule, differentiable=False)


@method("all")
@public("all")
@numpy_names
def all(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Return whether all elements over dimensions are true (not 0), as bools; as uint8 for uint8."""
    return operation(ALL, (tensor_operand(input, "all"),), over("all", dim, input._value.type.rank, keepdim))


@method("any")
@public("any")
@numpy_names
def any(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Return whether any element over dimensions is true (not 0), as bools; as uint8 for uint8."""
    return operation(ANY, (tensor_operand(input, "any"),), over("any", dim, input._value.type.rank, keepdim))


@method("count_nonzero")
@public("count_nonzero")
def count_nonzero(input: Tensor, dim: Any = None) -> Tensor:
    """Return how many elements over dimensions are not 0, as int64."""
    rank = tensor_operand(input, "count_nonzero")._value.type.rank
    return operation(COUNT_NONZERO, (input,), over("count_nonzero", dim, rank, False))
