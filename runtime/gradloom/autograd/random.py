"""Random tensors: rand, randn, randint, randperm, bernoulli, normal and the methods that fill tensors in place.

For a seed the numbers are PyTorch's (generator.py says how they are made). Start reading at `rand`.
"""

import math
import operator
from typing import Any

import numpy as np

from gradloom.autograd.creation import finished, numpy_dtype, size_argument
from gradloom.autograd.dtypes import dtype_of, int64
from gradloom.autograd.elementwise import NOTHING, is_number, plain_number, tensor_operand, type_name
from gradloom.autograd.errors import error
from gradloom.autograd.generator import Generator, default_generator
from gradloom.autograd.graph import Array, EagerOp
from gradloom.autograd.recording import Variable
from gradloom.autograd.shaping import common_shape
from gradloom.autograd.tensor import Tensor, from_array, in_place, method, operation, public

public("Generator")(Generator)
public("default_generator")(default_generator)

# What is recorded when a tensor that takes part in a graph is overwritten: its gradient is 0.
UNIFORM = EagerOp("UniformBackward0", lambda x, new: new, saves=NOTHING, lists=(0,))
NORMAL = EagerOp("NormalBackward0", lambda x, new: new, saves=NOTHING, lists=(0,))
NORMAL_OF_MEAN = EagerOp("NormalBackward1", lambda x, new: new, saves=NOTHING, lists=(0,))
NORMAL_OF_STD = EagerOp("NormalBackward2", lambda x, new: new, saves=NOTHING, lists=(0,))
NORMAL_OF_BOTH = EagerOp("NormalBackward3", lambda x, y, new: new, saves=NOTHING, lists=(0, 1))
BERNOULLI = EagerOp("BernoulliBackward0", lambda x, new: new, saves=NOTHING, lists=(0,))
BERNOULLI_BY = EagerOp("BernoulliBackward1", lambda x, p, new: new, saves=NOTHING, lists=(0, 1))
BERNOULLI_NUMBER = EagerOp("BernoulliBackward2", lambda x, new: new, saves=NOTHING, lists=(0,))
RANDOM = EagerOp("RandomBackward0", lambda x, new: new, saves=NOTHING, lists=(0,))
EXPONENTIAL = EagerOp("ExponentialBackward0", lambda x, new: new, saves=NOTHING, lists=(0,))


# --- seeds ------------------------------------------------------------------------------------------------------------


@public("manual_seed")
def manual_seed(seed: int) -> Generator:
    """Start the stream of random numbers that belongs to a seed; return the generator."""
    return default_generator.manual_seed(seed)


@public("seed")
def seed() -> int:
    """Start a stream that nobody can foretell; return its seed."""
    return default_generator.seed()


@public("initial_seed")
def initial_seed() -> int:
    """Return the seed with which the stream started."""
    return default_generator.initial_seed()


@public("get_rng_state")
def get_rng_state() -> Tensor:
    """Return the state of the generator, a tensor of bytes."""
    return from_array(default_generator.state_array())


@public("set_rng_state")
def set_rng_state(new_state: Tensor) -> None:
    """Go on from a state that `get_rng_state` gave.

    Raises:
        RuntimeError: it is no such state.
    """
    default_generator.restore(tensor_operand(new_state, "set_rng_state", "new_state")._array())


def _state_of(self: Generator) -> Tensor:
    """Return the state, a tensor of bytes."""
    return from_array(self.state_array())


def _set_state(self: Generator, new_state: Tensor) -> None:
    """Go on from a state that `get_state` gave."""
    self.restore(new_state._array())


Generator.get_state = _state_of  # type: ignore[attr-defined]
Generator.set_state = _set_state  # type: ignore[attr-defined]


def _of(generator: Generator | None) -> Generator:
    return default_generator if generator is None else generator


# --- numbers in a shape -----------------------------------------------------------------------------------------------


def _check_float(target: np.dtype[Any], kernel: str) -> None:
    if target.kind != "f":
        raise error(
            NotImplementedError,
            f"\"{kernel}\" not implemented for '{dtype_of(target).type_name}'",
            "pass a float dtype",
        )


def _uniform(shape: tuple[int, ...], target: np.dtype[Any], generator: Generator | None) -> Array:
    _check_float(target, "check_uniform_bounds")
    return _of(generator).uniform(math.prod(shape), target).reshape(shape)


def _normal(shape: tuple[int, ...], target: np.dtype[Any], generator: Generator | None) -> Array:
    _check_float(target, "normal_kernel_cpu")
    return _of(generator).normal(math.prod(shape), 0.0, 1.0, target).reshape(shape)


def _maker(name: str, make: Any, doc: str) -> Any:
    """Define `name(size)` and `name_like(x)`."""

    def of_size(
        *size: Any,
        generator: Generator | None = None,
        dtype: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        layout: Any = None,
        pin_memory: bool = False,
        **keyword: Any,
    ) -> Tensor:
        given = (keyword["size"],) if "size" in keyword else size
        if not given:
            raise TypeError(f'{name}() missing 1 required positional arguments: "size"')
        target = numpy_dtype(name, dtype, None, device)
        return finished(make(size_argument(name, given), target, generator), requires_grad)

    def like(
        input: Tensor,
        *,
        generator: Generator | None = None,
        dtype: Any = None,
        layout: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        pin_memory: bool = False,
        memory_format: Any = None,
    ) -> Tensor:
        x = tensor_operand(input, f"{name}_like")
        target = numpy_dtype(f"{name}_like", dtype, x.dtype, device)
        return finished(make(x._value.type.shape, target, generator), requires_grad)

    of_size.__name__, like.__name__ = name, f"{name}_like"
    of_size.__doc__ = f"Return a tensor of random numbers {doc}; extents are given as numbers or as one tuple."
    like.__doc__ = f"Return a tensor of random numbers {doc}, of the shape and dtype of another."
    public(f"{name}_like")(like)
    return public(name)(of_size)


rand = _maker("rand", _uniform, "in [0, 1)")
randn = _maker("randn", _normal, "of mean 0 and standard deviation 1")


def _bounds(function: str, low: Any, high: Any) -> tuple[int, int]:
    """Return the bounds of random whole numbers; a single one is the upper one.

    Raises:
        TypeError: one is no whole number.
        RuntimeError: there is nothing in between.
    """
    if high is None:
        low, high = 0, low
    try:
        first, last = operator.index(low), operator.index(high)
    except TypeError:
        wrong = high if hasattr(low, "__index__") else low
        raise TypeError(f"{function}(): argument 'high' (position 1) must be int, not {type_name(wrong)}") from None
    if first >= last:
        raise error(RuntimeError, f"random_ expects 'from' to be less than 'to', but got from={first} >= to={last}")
    return first, last


@public("randint")
def randint(
    *bounds: Any,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    layout: Any = None,
    pin_memory: bool = False,
    **keyword: Any,
) -> Tensor:
    """Return random whole numbers from `low` (0) up to `high`, without it: `randint(high, size)`, or `low` in front.

    Raises:
        RuntimeError: there is no number in between.
    """
    given = list(bounds)
    size = keyword.pop("size") if "size" in keyword else given.pop() if len(given) > 1 else None
    if size is None:
        raise TypeError('randint() missing 1 required positional arguments: "size"')
    low, high = [*given, None, None][:2]
    if "low" in keyword:
        low, high = keyword["low"], low if high is None else high
    if "high" in keyword:
        low, high = (0 if low is None else low), keyword["high"]
    first, last = _bounds("randint", low, high)
    shape = size_argument("randint", (tuple(size) if isinstance(size, (tuple, list)) else size,))
    numbers = _of(generator).whole(math.prod(shape), first, last - first).reshape(shape)
    return finished(numbers.astype(numpy_dtype("randint", dtype, int64, device)), requires_grad)


@public("randint_like")
def randint_like(
    input: Tensor, low: Any, high: Any = None, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Return random whole numbers from `low` (0) up to `high`, without it, of the shape and dtype of another tensor."""
    x = tensor_operand(input, "randint_like")
    target = numpy_dtype("randint_like", dtype, x.dtype, device)
    return finished(randint(low, high, x.shape)._array().astype(target), requires_grad)


@public("randperm")
def randperm(
    n: int,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    layout: Any = None,
    pin_memory: bool = False,
) -> Tensor:
    """Return the whole numbers below n in random order.

    Raises:
        RuntimeError: n is negative.
    """
    if n < 0:
        raise error(RuntimeError, f"Trying to create tensor with negative dimension {n}: [{n}]")
    target = numpy_dtype("randperm", dtype, int64, device)
    return finished(_of(generator).permutation(n).astype(target), requires_grad)


# --- distributions with parameters ------------------------------------------------------------------------------------


def _check_std(std: Any) -> None:
    if not std >= 0:
        raise error(RuntimeError, f"normal expects std >= 0.0, but found std {std:g}")


@public("normal")
def normal(
    mean: Any,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Return normally distributed numbers: of one mean and deviation in a shape, or of one for each element of tensors.

    Raises:
        RuntimeError: a standard deviation is negative.
    """
    stream = _of(generator)
    tensors = [x for x in (mean, std) if isinstance(x, Variable)]
    if not tensors:
        _check_std(std)
        if size is None:
            raise TypeError("normal() needs size= unless the mean or the standard deviation is a tensor")
        shape = size_argument("normal", (size,))
        target = numpy_dtype("normal", dtype, None, device)
        _check_float(target, "normal_kernel_cpu")
        numbers = stream.normal(math.prod(shape), plain_number(mean), plain_number(std), target)
        return finished(numbers.reshape(shape), requires_grad)
    target = tensors[0]._value.type.element.dtype
    _check_float(target, "normal_kernel_cpu")
    shape = common_shape(tensors[0]._value.type.shape, tensors[-1]._value.type.shape)
    deviations = std._array() if isinstance(std, Variable) else None
    if deviations is None:
        _check_std(std)
        numbers = stream.normal(math.prod(shape), 0.0, plain_number(std), target).reshape(shape)
    else:
        if (deviations < 0).any():
            raise error(RuntimeError, "normal expects all elements of std >= 0.0")
        numbers = stream.normal(math.prod(shape), 0.0, 1.0, target).reshape(shape) * deviations
    means = mean._array() if isinstance(mean, Variable) else target.type(mean)
    new = from_array(np.asarray(numbers + means, target))
    if len(tensors) == 2:
        return operation(NORMAL_OF_BOTH, (mean, std, new))
    return operation(NORMAL_OF_MEAN if isinstance(mean, Variable) else NORMAL_OF_STD, (tensors[0], new))


def _draws(p: Array, shape: tuple[int, ...], stream: Generator) -> Array:
    """Return whether each of uniform numbers, of the dtype of the probabilities, is below its probability."""
    if not ((p >= 0) & (p <= 1)).all():
        raise error(RuntimeError, "Expected p_in >= 0 && p_in <= 1 to be true, but got false.")
    return stream.uniform(math.prod(shape), p.dtype).reshape(shape) < p


@method("bernoulli")
@public("bernoulli")
def bernoulli(input: Tensor, p: Any = None, *, generator: Generator | None = None) -> Tensor:
    """Return ones with the probabilities that a tensor holds (or all with `p`), else zeros.

    Raises:
        RuntimeError: a probability does not lie in [0, 1].
    """
    x = tensor_operand(input, "bernoulli")
    type = x._value.type
    if p is not None:
        return bernoulli_(from_array(np.empty(type.shape, type.element.dtype)), p, generator=generator)
    _check_float(type.element.dtype, "bernoulli_tensor_cpu_p_")
    drawn = _draws(x._array(), type.shape, _of(generator))
    return operation(BERNOULLI, (x, from_array(drawn.astype(type.element.dtype))))


# --- in place ---------------------------------------------------------------------------------------------------------


def _fill(x: Tensor, op: EagerOp, numbers: Array, *others: Any) -> Tensor:
    type = x._value.type
    new = from_array(np.asarray(numbers.reshape(type.shape), type.element.dtype))
    return in_place(x, op, (x, *others, new))


@method("uniform_")
def uniform_(self: Tensor, from_: float = 0.0, to: float = 1.0, *, generator: Any = None, **keyword: Any) -> Tensor:
    """Fill the tensor with numbers between two bounds.

    Raises:
        RuntimeError: the bounds are not in order, or the elements are no floats.
    """
    low = keyword.get("from", from_)
    target = self._value.type.element.dtype
    _check_float(target, "check_uniform_bounds")
    if not low <= to:
        raise error(RuntimeError, f"uniform_ expects to return a [from, to) range, but found from={low:g} > to={to:g}")
    return _fill(self, UNIFORM, _of(generator).uniform_between(self.numel(), low, to, target))


@method("normal_")
def normal_(self: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Any = None) -> Tensor:
    """Fill the tensor with normally distributed numbers.

    Raises:
        RuntimeError: the standard deviation is negative, or the elements are no floats.
    """
    target = self._value.type.element.dtype
    _check_float(target, "normal_kernel_cpu")
    _check_std(std)
    stream = _of(generator)
    return _fill(self, NORMAL, stream.normal(self.numel(), mean, std, target, blocks=self.is_contiguous()))


@method("bernoulli_")
def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Any = None) -> Tensor:
    """Fill the tensor with ones with a probability (a number, or a tensor of one for each element), else zeros.

    Raises:
        RuntimeError: a probability does not lie in [0, 1].
    """
    shape, stream = self._value.type.shape, _of(generator)
    if isinstance(p, Variable):
        drawn = _draws(p._array(), shape, stream)
        return _fill(self, BERNOULLI_BY, drawn, p)
    if not is_number(p):
        raise TypeError(f"bernoulli_(): argument 'p' must be float, not {type_name(p)}")
    if not 0 <= p <= 1:
        raise error(RuntimeError, f"bernoulli_ expects p to be in [0, 1], but got p={p:g}")
    return _fill(self, BERNOULLI_NUMBER, stream.uniform(self.numel(), np.float64) < p)


@method("random_")
def random_(self: Tensor, *bounds: Any, generator: Any = None, **keyword: Any) -> Tensor:
    """Fill the tensor with whole numbers: from 0 or `from` up to `to`, without it, or as far as the dtype is exact."""
    target = self._value.type.element.dtype
    count, stream = self.numel(), _of(generator)
    given = [keyword[name] for name in ("from", "to") if name in keyword] or list(bounds)
    if given:
        low, high = _bounds("random_", given[0], given[1] if len(given) > 1 else None)
        return _fill(self, RANDOM, stream.whole(count, low, high - low))
    if target.kind == "f":
        span = (1 << {2: 11, 4: 24, 8: 53}[target.itemsize]) + 1
    else:
        span = 2 if target.kind == "b" else int(np.iinfo(target).max) + 1
    bits = stream.bits64(count) if target.itemsize == 8 else stream.bits32(count)
    return _fill(self, RANDOM, bits % np.uint64(span) if span < 1 << 64 else bits)


@method("exponential_")
def exponential_(self: Tensor, lambd: float = 1.0, *, generator: Any = None) -> Tensor:
    """Fill the tensor with exponentially distributed numbers of a rate.

    Raises:
        RuntimeError: the rate is not positive, or the elements are no floats.
    """
    target = self._value.type.element.dtype
    _check_float(target, "exponential_cpu")
    if not lambd > 0:
        raise error(RuntimeError, f"exponential_ expects lambda > 0.0, but found lambda={lambd:g}")
    return _fill(self, EXPONENTIAL, _of(generator).exponential(self.numel(), lambd, target))


# --- samples ----------------------------------------------------------------------------------------------------------


@method("multinomial")
@public("multinomial")
def multinomial(
    input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """Return indices drawn with the weights in the last dimension, a row of them for each row of weights.

    Without replacement these are the largest of weights over exponential numbers; with it, uniform numbers are looked
    up in the sums of the weights.

    Raises:
        RuntimeError: weights are negative, not finite or all 0, or fewer than samples without replacement.
    """
    x = tensor_operand(input, "multinomial")
    weights, stream = x._array(), _of(generator)
    if weights.dtype.kind != "f":
        raise error(
            RuntimeError, "multinomial only supports floating-point dtypes for input, got: " + x.dtype.type_name
        )
    if weights.ndim not in (1, 2):
        raise error(RuntimeError, "prob_dist must be 1 or 2 dim")
    if num_samples <= 0:
        raise error(RuntimeError, "cannot sample n_sample <= 0 samples")
    if not replacement and num_samples > weights.shape[-1]:
        raise error(RuntimeError, "cannot sample n_sample > prob_dist.size(-1) samples without replacement")
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise error(RuntimeError, "probability tensor contains either `inf`, `nan` or element < 0")
    if (weights.sum(-1) == 0).any():
        raise error(RuntimeError, "invalid multinomial distribution (sum of probabilities <= 0)")
    if not replacement or num_samples == 1:
        rates = stream.exponential(weights.size, 1.0, weights.dtype).reshape(weights.shape)
        order = np.argsort(-(weights / rates), axis=-1, kind="stable")
        return from_array(np.asarray(order[..., :num_samples], np.int64, order="C"))
    rows = []
    for row in np.atleast_2d(weights):
        sums = np.cumsum(row)
        rows.append(np.searchsorted(sums / sums[-1], stream.uniform(num_samples, np.float64)))
    return from_array(np.array(rows, np.int64).reshape(*weights.shape[:-1], num_samples))
