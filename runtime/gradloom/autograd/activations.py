"""The activation functions of neural networks, element by element, with the signatures of PyTorch's `nn.functional`.

Formulas, kinks and what happens at nan are those of PyTorch's CPU kernels. A branch that is not taken must not spoil
the gradient: where exp could overflow in it, its argument is replaced first. Softmax and its kin are no elementwise
functions.
"""

import math
from typing import Any

import numpy as np

from gradloom.autograd.elementwise import (
    FIRST,
    RESULT,
    as_value,
    bring_to,
    common_element,
    constant,
    documented,
    fitted,
    not_implemented,
    number_argument,
    promoting,
    tensor_operand,
    unary,
    write_into,
)
from gradloom.autograd.errors import error
from gradloom.autograd.graph import Attributes, EagerOp
from gradloom.autograd.tensor import Tensor, method, normalize_dim, operation, public
from gradloom.trace.tracer import Tracer
from gradloomc.dialects import nd
from gradloomc.ir.types import ScalarType

# --- what they are made of --------------------------------------------------------------------------------------------


def _with_numbers(function: Any, kernel: str, refused: str = "iub") -> Any:
    """Return the rule `(x, *numbers)`: the numbers are brought to the dtype of x and do not decide on it."""

    def rule(x: Any, *numbers: Any, into: ScalarType | None = None, **attributes: Any) -> Tracer:
        element = x.value.type.element
        if element.kind in refused:
            raise not_implemented(kernel, element)
        return fitted(function(x, *[bring_to(each, element) for each in numbers], **attributes), into)

    return rule


def _apply(
    name: str, op: EagerOp, input: Any, inplace: bool, numbers: tuple[Any, ...] = (), attributes: Attributes = ()
) -> Tensor:
    operands = (tensor_operand(input, name), *[number_argument(each, name, "number") for each in numbers])
    return write_into(input, op, operands, attributes) if inplace else operation(op, operands, attributes)


def _sigmoid(x: Any) -> Any:
    return Tracer(nd.sigmoid(x.value))


def _softplus(x: Any) -> Any:
    """log(1 + exp(x)) without overflow."""
    return Tracer(nd.logaddexp(x.value, nd.zeros_like(x.value)))


# --- rectifiers -------------------------------------------------------------------------------------------------------


def _rectified(x: Any, into: ScalarType | None = None) -> Tracer:
    if x.dtype.kind == "b":
        raise error(RuntimeError, "Boolean inputs not supported for relu")
    zero = x.dtype.type(0)
    return fitted(np.where(x <= zero, zero, x), into)  # nan stays, with derivative 1


RELU = EagerOp("ReluBackward0", _rectified, saves=RESULT)
relu = unary("relu", RELU, doc="Return the larger of x and 0; the derivative at 0 is 0.")


def _leaky(x: Any, slope: Any) -> Any:
    return np.where(x > 0, x, x * slope)


LEAKY_RELU = EagerOp("LeakyReluBackward0", _with_numbers(_leaky, "leaky_relu_cpu"), saves=FIRST, lists=(0,))


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """Return x above 0, else `negative_slope * x`."""
    return _apply("leaky_relu", LEAKY_RELU, input, inplace, (negative_slope,))


def _prelu(x: Any, weight: Any) -> Any:
    if weight.ndim and weight.size > 1:
        channels = x.shape[1] if x.ndim > 1 else 1
        if weight.size != channels:
            raise error(
                RuntimeError,
                f"Mismatch of parameter numbers and input channel size. Found parameter numbers = {weight.size} and "
                f"channel size = {channels}.",
            )
        weight = np.reshape(weight, (weight.size,) + (1,) * (x.ndim - 2))
    elif weight.ndim:
        weight = np.reshape(weight, ())
    return np.where(x > 0, x, weight * x)


PRELU = EagerOp("PreluKernelBackward0", promoting(_prelu, refused="iub", kernel="prelu_cpu"))


@method("prelu")
@public("prelu")
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """Return x above 0, else `weight * x`; `weight` holds one number, or one for each channel (dimension 1)."""
    return operation(PRELU, (tensor_operand(input, "prelu"), tensor_operand(weight, "prelu", "weight", 2)))


def _over_threshold(x: Any, threshold: Any, value: Any) -> Any:
    return np.where(x <= threshold, value, x)


THRESHOLD = EagerOp("ThresholdBackward0", _with_numbers(_over_threshold, "threshold_cpu", "b"), lists=(0,))


@public("threshold")
def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """Return x above the threshold, else `value`."""
    return _apply("threshold", THRESHOLD, input, inplace, (threshold, value))


# --- limits -----------------------------------------------------------------------------------------------------------


def _limited(x: Any, low: Any, high: Any) -> Any:
    # The derivative at the limits is 0, unlike clamp's.
    return np.where((x > low) & (x < high), x, constant(np.minimum(np.maximum(x, low), high)))


HARDTANH = EagerOp("HardtanhBackward0", _with_numbers(_limited, "hardtanh_cpu", "b"), lists=(0,))


def _hard_sigmoid(x: Any) -> Any:
    value = constant(np.minimum(np.maximum(x + 3, 0), 6) / 6)
    # PyTorch's derivative is 1 / 6 in single precision, whatever the dtype.
    moved = value + (x - constant(x)) * x.dtype.type(np.float32(1 / 6))
    return np.where((x > -3) & (x < 3), moved, value)


_HARDSIGMOID = _with_numbers(_hard_sigmoid, "hardsigmoid_cpu")
HARDSIGMOID = EagerOp("HardsigmoidBackward0", _HARDSIGMOID, saves=FIRST)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """Return the elements limited to [min_val, max_val]; the derivative at the limits is 0."""
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")
    return _apply("hardtanh", HARDTANH, input, inplace, (min_val, max_val))


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """Return the elements limited to [0, 6]; the derivative at the limits is 0."""
    return _apply("relu6", HARDTANH, input, inplace, (0, 6))


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """Return x / 6 + 1 / 2 limited to [0, 1]."""
    return _apply("hardsigmoid", HARDSIGMOID, input, inplace)


def _hard_swish(x: Any) -> Any:
    zero = x.dtype.type(0)
    return np.where(x <= -3, constant(x * zero), np.where(x < 3, x * (x + 3) / 6, x))


HARDSWISH = EagerOp("HardswishBackward0", _with_numbers(_hard_swish, "hardswish_cpu"), saves=FIRST)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """Return x * relu6(x + 3) / 6."""
    return _apply("hardswish", HARDSWISH, input, inplace)


def _nothing(x: Any) -> Any:
    """0, and nan where x is."""
    return constant(np.where(np.isnan(x), x, x.dtype.type(0)))


def _hard_shrunk(x: Any, lambd: Any) -> Any:
    return np.where((x > lambd) | (x < -lambd), x, _nothing(x))


def _soft_shrunk(x: Any, lambd: Any) -> Any:
    return np.where(x > lambd, x - lambd, np.where(x < -lambd, x + lambd, _nothing(x)))


HARDSHRINK = EagerOp("HardshrinkBackward0", _with_numbers(_hard_shrunk, "hardshrink_cpu"), lists=(0,))
SOFTSHRINK = EagerOp("SoftshrinkBackward0", _with_numbers(_soft_shrunk, "softshrink_cpu"), lists=(0,))


@method("hardshrink")
@public("hardshrink")
def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """Return 0 within [-lambd, lambd], else x."""
    return _apply("hardshrink", HARDSHRINK, input, False, (lambd,))


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """Return 0 within [-lambd, lambd], else x moved towards 0 by lambd."""
    if lambd < 0:
        raise error(RuntimeError, f"lambda must be greater or equal to 0, but found to be {lambd}.")
    return _apply("softshrink", SOFTSHRINK, input, False, (lambd,))


# --- exponential units ------------------------------------------------------------------------------------------------


def _exponential_unit(x: Any, alpha: Any, scale: Any, input_scale: Any) -> Any:
    below = np.where(x > 0, x.dtype.type(0), x)
    return np.where(x > 0, x * scale, np.expm1(below * input_scale) * alpha * scale)


def _continuous_unit(x: Any, alpha: Any) -> Any:
    return _exponential_unit(x, alpha, x.dtype.type(1), 1 / alpha)


# Self-normalizing networks (Klambauer et al. 2017), equation 14.
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
ELU = EagerOp("EluBackward0", _with_numbers(_exponential_unit, "elu_cpu"), saves=FIRST, lists=(0,))
CELU = EagerOp("CeluBackward0", _with_numbers(_continuous_unit, "elu_cpu"), saves=FIRST, lists=(0,))


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Return x above 0, else alpha * (exp(x) - 1)."""
    return _apply("elu", ELU, input, inplace, (alpha, 1.0, 1.0))


@public("selu")
def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return scale * elu(x, alpha) with the constants of self-normalizing networks."""
    return _apply("selu", ELU, input, inplace, (_SELU_ALPHA, _SELU_SCALE, 1.0))


@public("celu")
def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Return x above 0, else alpha * (exp(x / alpha) - 1)."""
    if not alpha:
        raise error(RuntimeError, "ZeroDivisionError: alpha cannot be 0 for CELU")
    return _apply("celu", CELU, input, inplace, (alpha,))


# --- smooth ones ------------------------------------------------------------------------------------------------------


def _softened(x: Any, beta: Any, threshold: Any) -> Any:
    scaled = x * beta
    return np.where(scaled > threshold, x, _softplus(scaled) / beta)


def _gaussian_unit(x: Any, approximate: str) -> Any:
    if approximate == "tanh":
        inner = (x + x * x * x * 0.044715) * math.sqrt(2 / math.pi)
        return x * 0.5 * (1 + np.tanh(inner))
    return x * 0.5 * (1 + as_value(Tracer(nd.erf((x * math.sqrt(0.5)).value))))


SOFTPLUS = EagerOp("SoftplusBackward0", _with_numbers(_softened, "softplus_cpu"), saves=FIRST, lists=(0,))
GELU = EagerOp("GeluBackward0", _with_numbers(_gaussian_unit, "GeluKernelImpl"), saves=FIRST)
SILU = EagerOp("SiluBackward0", _with_numbers(lambda x: x * _sigmoid(x), "silu_cpu"), saves=FIRST)
MISH = EagerOp("MishBackward0", _with_numbers(lambda x: x * np.tanh(_softplus(x)), "mish_cpu"), saves=FIRST)
LOGSIGMOID = EagerOp("LogSigmoidBackward0", _with_numbers(lambda x: -_softplus(-x), "log_sigmoid_cpu"), saves=FIRST)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """Return log(1 + exp(beta * x)) / beta, and x itself where beta * x is above the threshold."""
    return _apply("softplus", SOFTPLUS, input, False, (beta, threshold))


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """Return x times the probability that a normal variable is below x.

    Args:
        approximate: "tanh" computes the probability by tanh (Hendrycks and Gimpel 2016).
    """
    if approximate not in ("none", "tanh"):
        raise error(RuntimeError, "approximate argument must be either none or tanh.")
    return _apply("gelu", GELU, input, False, (), (("approximate", approximate),))


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return x * sigmoid(x)."""
    return _apply("silu", SILU, input, inplace)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """Return x * tanh(log(1 + exp(x)))."""
    return _apply("mish", MISH, input, inplace)


def logsigmoid(input: Tensor) -> Tensor:
    """Return log(sigmoid(x)) without underflow."""
    return _apply("logsigmoid", LOGSIGMOID, input, False)


def softsign(input: Tensor) -> Tensor:
    """Return x / (1 + |x|)."""
    return input / (input.abs() + 1)


def tanhshrink(input: Tensor) -> Tensor:
    """Return x - tanh(x)."""
    return input - input.tanh()


def _gated(x: Any, dim: int) -> Any:
    element = common_element((x,))
    if element.kind != "f":
        raise not_implemented("glu_cpu", element)
    half = x.shape[dim] // 2
    before = (slice(None),) * dim
    return x[(*before, slice(0, half))] * _sigmoid(as_value(x[(*before, slice(half, 2 * half))]))


GLU = EagerOp("GluBackward0", _gated, saves=FIRST)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """Return the first half along a dimension times the sigmoid of the second half.

    Raises:
        RuntimeError: the extent is odd, or there are no dimensions.
    """
    shape = tensor_operand(input, "glu")._value.type.shape
    if not shape:
        raise error(RuntimeError, "glu does not support 0-dimensional tensors")
    dim = normalize_dim(dim, len(shape))
    if shape[dim] % 2:
        raise error(RuntimeError, f"Halving dimension must be even, but dimension {dim} is size {shape[dim]}")
    return operation(GLU, (input,), (("dim", dim),))


def _install_in_place() -> None:
    """Define the in-place functions that PyTorch has beside `inplace=True`: `elu_`, `selu_`, ..."""
    for function in (leaky_relu, threshold, hardtanh, elu, selu, celu):
        name = f"{function.__name__}_"

        def write(input: Tensor, *args: Any, _function: Any = function, **options: Any) -> Tensor:
            return _function(input, *args, inplace=True, **options)

        IN_PLACE[name] = documented(write, name, f"Apply `{function.__name__}` in place.")
        if name in ("threshold_", "selu_", "celu_"):
            public(name)(write)


IN_PLACE: dict[str, Any] = {}
_install_in_place()
