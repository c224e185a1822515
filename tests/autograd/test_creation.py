"""Tensors made from data, filled, and by rules: values, dtypes, errors as torch 2.13.0 gave them; conversions."""

import warnings
from typing import Any

import numpy as np
import pytest

import gradloom


def raises(kind: type[Exception], text: str, function: Any) -> None:
    with pytest.raises(kind) as caught:
        function()
    assert text in str(caught.value)


@pytest.mark.parametrize(
    "data, dtype, values",
    [
        (5, "int64", 5),
        (2.5, "float32", 2.5),
        (True, "bool", True),
        ([1, 2.5], "float32", [1.0, 2.5]),
        ([True, 2], "int64", [1, 2]),
        ([True, 1.5], "float32", [1.0, 1.5]),
        ((1, [2][0]), "int64", [1, 2]),
        ([(1, 2), [3, 4]], "int64", [[1, 2], [3, 4]]),
        (range(3), "int64", [0, 1, 2]),
        ([], "float32", []),
        ([[], []], "float32", [[], []]),
        ([[], [1]], "float32", [[], []]),
        (np.float64(1.5), "float64", 1.5),
        ([np.float32(1.5), 2.0], "float32", [1.5, 2.0]),
        ([np.array([1.0, 2.0]), np.array([3.0, 4.0])], "float64", [[1.0, 2.0], [3.0, 4.0]]),
        (np.arange(6, dtype=np.int16).reshape(2, 3).T, "int16", [[0, 3], [1, 4], [2, 5]]),
    ],
)
def test_tensor_infers_the_dtype(data: Any, dtype: str, values: Any):
    made = gradloom.tensor(data)
    assert made.dtype is getattr(gradloom, dtype)
    assert made.tolist() == values
    assert made.is_leaf and not made.requires_grad


def test_tensor_of_tensors():
    assert gradloom.tensor([gradloom.tensor(1), gradloom.tensor(2.0)]).tolist() == [1.0, 2.0]
    two = gradloom.ones(2)
    raises(
        ValueError, "only one element tensors can be converted to Python scalars", lambda: gradloom.tensor([two, two])
    )
    with pytest.warns(UserWarning, match="To copy construct from a tensor, it is recommended to use"):
        copied = gradloom.tensor(two)
    copied += 1
    assert two.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    "data, options, kind, text",
    [
        ([[1, 2], [3]], {}, ValueError, "expected sequence of length 2 at dim 1 (got 1)"),
        ([[1, 2], 3], {}, TypeError, "not a sequence"),
        ([1, [2]], {}, TypeError, "'list' object cannot be interpreted as an integer"),
        ("a", {}, TypeError, "new(): invalid data type 'str'"),
        (["a"], {}, ValueError, "too many dimensions 'str'"),
        (None, {}, RuntimeError, "Could not infer dtype of NoneType"),
        ([1.0, {}], {}, RuntimeError, "Could not infer dtype of dict"),
        ([2**63], {}, ValueError, "Overflow when unpacking long long"),
        ([300], {"dtype": gradloom.uint8}, RuntimeError, "value cannot be converted to type uint8 without overflow"),
        ([float("nan")], {"dtype": gradloom.int64}, RuntimeError, "cannot be converted to type int64 without overflow"),
        ([1.0], {"dtype": "float32"}, TypeError, "tensor(): argument 'dtype' must be gradloom.dtype, not str"),
        (np.array(["a"]), {}, TypeError, "can't convert np.ndarray of type numpy.str_."),
        (np.arange(3)[::-1], {}, ValueError, "At least one stride in the given numpy array is negative"),
        (
            1,
            {"requires_grad": True},
            RuntimeError,
            "Only Tensors of floating point and complex dtype can require gradients",
        ),
    ],
)
def test_tensor_refuses(data: Any, options: dict[str, Any], kind: type[Exception], text: str):
    raises(kind, text, lambda: gradloom.tensor(data, **options))


def test_tensor_converts():
    assert gradloom.tensor([1.7, -1.7], dtype=gradloom.int64).tolist() == [1, -1]
    assert gradloom.tensor([-1], dtype=gradloom.uint8).tolist() == [255]
    assert gradloom.tensor([2, 0], dtype=gradloom.bool).tolist() == [True, False]
    assert gradloom.tensor([1.0], dtype=float).dtype is gradloom.float64
    made = gradloom.tensor([1, 2], dtype=gradloom.float64, requires_grad=True)
    assert made.requires_grad and made.dtype is gradloom.float64


def test_as_tensor_and_asarray_share_where_they_can():
    array = np.ones(2)
    shared, converted = gradloom.as_tensor(array), gradloom.as_tensor(array, dtype=gradloom.float32)
    copied = gradloom.asarray(array, copy=True)
    array[0] = 5
    assert (shared.tolist(), converted.tolist(), copied.tolist()) == ([5.0, 1.0], [1.0, 1.0], [1.0, 1.0])
    assert gradloom.as_tensor(shared) is shared
    raises(
        ValueError,
        "can't alias tensor with dtype 'Double' into dtype 'Int'.",
        lambda: gradloom.asarray(array, dtype=gradloom.int32, copy=False),
    )


def test_from_numpy_refuses():
    raises(TypeError, "expected np.ndarray (got list)", lambda: gradloom.from_numpy([1]))
    raises(TypeError, "numpy.object_", lambda: gradloom.from_numpy(np.array([None])))
    raises(ValueError, "byte order", lambda: gradloom.from_numpy(np.arange(3).astype(">i8")))
    frozen = np.ones(2)
    frozen.flags.writeable = False
    with pytest.warns(UserWarning, match="The given NumPy array is not writable"):
        gradloom.from_numpy(frozen)


def test_filled():
    assert gradloom.full((2,), 3).dtype is gradloom.int64
    assert gradloom.full((2,), True).dtype is gradloom.bool
    assert gradloom.full((2,), 3.5, dtype=gradloom.int64).tolist() == [3, 3]
    assert gradloom.full((2,), -1, dtype=gradloom.uint8).tolist() == [255, 255]
    assert gradloom.full((1,), gradloom.tensor(3)).tolist() == [3]
    raises(RuntimeError, "uint8_t without overflow", lambda: gradloom.full((2,), 300, dtype=gradloom.uint8))
    raises(
        TypeError, "full(): argument 'size' (position 1) must be tuple of ints, not int", lambda: gradloom.full(2, 1)
    )
    x = gradloom.ones(2, 3, dtype=gradloom.float64)
    assert x.new_zeros(2).dtype is gradloom.float64
    assert x.new_tensor([1, 2]).tolist() == [1.0, 2.0]
    assert x.new_full((2,), 7).tolist() == [7.0, 7.0]
    assert gradloom.zeros_like(x, dtype=gradloom.int32).dtype is gradloom.int32
    assert gradloom.full_like(gradloom.ones(2, dtype=gradloom.int64), 2.5).tolist() == [2, 2]
    assert gradloom.empty(size=(2, 0)).shape == (2, 0)
    raises(RuntimeError, "zeros: Dimension size must be non-negative.", lambda: gradloom.zeros(2, -1))
    raises(
        TypeError, "zeros(): argument 'size' (position 1) must be tuple of ints, not float", lambda: gradloom.zeros(2.5)
    )
    raises(TypeError, 'zeros() missing 1 required positional arguments: "size"', lambda: gradloom.zeros())


def test_ranges():
    assert gradloom.arange(2, 11, 3).tolist() == [2, 5, 8]
    assert gradloom.arange(5, 0, -2).tolist() == [5, 3, 1]
    assert gradloom.arange(1, 2, 0.25).tolist() == [1.0, 1.25, 1.5, 1.75]
    assert gradloom.arange(gradloom.tensor(3.0)).tolist() == [0.0, 1.0, 2.0]
    assert gradloom.arange(0.5, 3, dtype=gradloom.int64).tolist() == [0, 1, 2]
    assert gradloom.arange(start=1, end=3).tolist() == [1, 2]
    raises(RuntimeError, "step must be nonzero", lambda: gradloom.arange(0, 5, 0))
    raises(RuntimeError, "upper bound and lower bound inconsistent with step sign", lambda: gradloom.arange(0, 5, -1))
    raises(RuntimeError, "unsupported range: 0 -> inf", lambda: gradloom.arange(0, float("inf")))
    assert gradloom.linspace(0, 10, 4, dtype=gradloom.int64).tolist() == [0, 3, 6, 10]
    spaced = gradloom.linspace(-1, 2.2, 7)
    np.testing.assert_array_equal(  # torch's float32 numbers
        spaced.numpy(),
        np.array([-1.0, -0.46666663885, 0.066666722298, 0.59999996424, 1.1333333254, 1.6666667461, 2.2000000477], "f"),
    )
    assert gradloom.logspace(0, 2, 3, base=2).tolist() == [1.0, 2.0, 4.0]
    assert gradloom.eye(2, 3).tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    raises(RuntimeError, "n must be greater or equal to 0, got -1", lambda: gradloom.eye(-1))
    assert gradloom.tril_indices(3, 3).tolist() == [[0, 1, 1, 2, 2, 2], [0, 0, 1, 0, 1, 2]]
    assert gradloom.triu_indices(3, 4, 1).tolist() == [[0, 0, 0, 1, 1, 2], [1, 2, 3, 2, 3, 3]]
    assert gradloom.vander(gradloom.tensor([1, 2, 3])).tolist() == [[1, 1, 1], [4, 2, 1], [9, 3, 1]]


def test_typed_constructors():
    assert gradloom.FloatTensor([1, 2]).dtype is gradloom.float32
    assert gradloom.LongTensor([1.5]).tolist() == [1]
    assert gradloom.DoubleTensor(2, 3).shape == (2, 3)
    assert gradloom.FloatTensor().shape == (0,)
    assert isinstance(gradloom.ones(2), gradloom.FloatTensor) and not isinstance(gradloom.ones(2), gradloom.LongTensor)
    assert repr(gradloom.ByteTensor) == "<class 'gradloom.ByteTensor'>"
    raises(TypeError, "new(): data must be a sequence (got float)", lambda: gradloom.FloatTensor(2.5))
    raises(TypeError, "long int", lambda: gradloom.LongTensor(gradloom.tensor([1.5])))


def test_conversions_return_the_tensor_itself_where_nothing_changes():
    x = gradloom.ones(2, requires_grad=True)
    for same in (x.to("cpu"), x.to(gradloom.float32), x.float(), x.type_as(x), x.cpu(), x.contiguous(), x.to(x)):
        assert same is x
    assert x.to(gradloom.float32, copy=True) is not x
    assert x.to("cpu", gradloom.float64).grad_fn.name() == "ToCopyBackward0"
    assert x.long().grad_fn is None
    raises(RuntimeError, "gradloom runs on CPUs", lambda: x.to("cuda"))
    raises(TypeError, "to() received an invalid combination", lambda: x.to([1]))


def test_gradients_keep_the_dtype_of_the_leaf():
    x = gradloom.tensor([1.5, -2.0], requires_grad=True)
    (x.double() * 3).sum().backward()
    assert x.grad.dtype is gradloom.float32 and x.grad.tolist() == [3.0, 3.0]


def test_clone_has_memory_of_its_own():
    x = gradloom.tensor([1.0, 2.0], requires_grad=True)
    y = x.clone()
    with gradloom.no_grad():
        y += 1
    assert (x.tolist(), y.tolist()) == ([1.0, 2.0], [2.0, 3.0])
    (y * 2).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]


def test_no_warnings_for_plain_data():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gradloom.tensor([[1, 2], [3, 4]])
        gradloom.from_numpy(np.ones(2))
