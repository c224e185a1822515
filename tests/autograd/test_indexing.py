"""Indexing, gathers, scatters, masks and order: values against NumPy, gradients against differences, torch's texts."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradloom

from .differences import check

MATRIX = np.array([[1.0, -2.0, 3.0], [4.0, 5.0, -6.0]])
CUBE = np.arange(24.0).reshape(2, 3, 4) / 7 - 1

T = gradloom.tensor
# Keys for CUBE; a key for NumPy, if it has to be another.
KEYS: dict[str, Any] = {
    "integer": -1,
    "integers": (1, 2, -4),
    "slices": (slice(None), slice(1, 9), slice(0, None, 2)),
    "empty": slice(2, 1),
    "new_axes": (None, 1, slice(None), None),
    "ellipsis": (..., None, 2),
    "list": [1, 0, 1],
    "lists": ([0, 1], [2, 1]),
    "array_of_rank_2": np.array([[0, 1], [1, 1]]),
    "in_the_middle": (slice(None), [2, 0]),
    "separated": ([0, 1], slice(None), [3, 0]),
    "broadcast": (np.array([[0], [1]]), np.array([0, 2])),
    "with_slices": (slice(1, 2), [2, 0, 0], slice(1, 3)),
    "mask": CUBE > 0.3,
    "mask_of_rows": np.array([True, False]),
    "mask_of_two_dimensions": CUBE[..., 0] > 0,
    "mask_and_slice": (np.array([False, True]), slice(1, None)),
    "true": True,
    "after_new_axis": (None, [1, 0]),
}


def as_tensors(key: Any) -> Any:
    """Return a key with tensors for arrays."""
    if isinstance(key, tuple):
        return tuple([as_tensors(each) for each in key])
    return T(key) if isinstance(key, np.ndarray) else key


@pytest.mark.parametrize("name", sorted(KEYS))
def test_reads_as_numpy(name: str):
    key = KEYS[name]
    check(lambda x: x[key] * 2, [CUBE], lambda a: a[key] * 2)
    check(lambda x: x[as_tensors(key)] * 2, [CUBE], lambda a: a[key] * 2)
    assert gradloom.from_numpy(CUBE)[key].tolist() == CUBE[key].tolist()


@pytest.mark.parametrize("name", sorted(set(KEYS) - {"lists", "array_of_rank_2"}))
def test_writes_as_numpy(name: str):
    key = KEYS[name]
    shape = CUBE[key].shape
    new = np.linspace(3, 4, max(int(np.prod(shape)), 1))[: int(np.prod(shape))].reshape(shape)

    kept = gradloom.tensor(CUBE * 2)  # plain data
    kept[as_tensors(key)] = gradloom.tensor(new)
    expected = CUBE * 2
    expected[key] = new
    assert kept.tolist() == expected.tolist()

    def linear(x: Any, v: Any) -> Any:
        y = x * 2
        y[key] = v * 3
        return y * 1.5

    def reference(a: Any, v: Any) -> Any:
        b = a * 2
        b[key] = v * 3
        return b * 1.5

    if new.size:
        check(linear, [CUBE, new], reference)
    number = gradloom.tensor(CUBE)
    number[key] = 7.0
    expected = CUBE.copy()
    expected[key] = 7.0
    assert number.tolist() == expected.tolist()


def test_of_equal_indices_the_last_value_counts():
    x = gradloom.zeros(3)
    x[[0, 0, 2]] = T([1.0, 2.0, 3.0])
    assert x.tolist() == [2.0, 0.0, 3.0]
    y = gradloom.zeros(3, requires_grad=True) * 1
    y[[0, 0, 2]] = T([1.0, 2.0, 3.0])
    assert y.tolist() == [2.0, 0.0, 3.0]


@pytest.mark.parametrize(
    "key, kind, text",
    [
        (5, IndexError, "index 5 is out of bounds for dimension 0 with size 2"),
        ((0, 0, 0), IndexError, "too many indices for tensor of dimension 2"),
        (slice(None, None, -1), ValueError, "step must be greater than zero"),
        (slice(None, None, 0), ValueError, "slice step cannot be zero"),
        (
            1.0,
            IndexError,
            "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices "
            "(got float)",
        ),
        (T([1.0]), IndexError, "tensors used as indices must be long, int, byte or bool tensors"),
        (T([5]), IndexError, "index 5 is out of bounds for dimension 0 with size 2"),
        (
            T([True, False, True]),
            IndexError,
            "The shape of the mask [3] at index 0 does not match the shape of the indexed tensor [2, 3] at index 0",
        ),
        (
            (T([0, 1]), T([0, 1, 2])),
            IndexError,
            "shape mismatch: indexing tensors could not be broadcast together with shapes [2], [3]",
        ),
        ("a", TypeError, "new(): invalid data type 'str'"),
    ],
)
def test_keys_that_do_not_fit(key: Any, kind: type[Exception], text: str):
    for x in (T(MATRIX), gradloom.tensor(MATRIX, requires_grad=True) * 1):
        with pytest.raises(kind) as caught:
            x[key]
        assert text in str(caught.value)
        with pytest.raises(kind):
            x[key] = 1.0


@pytest.mark.parametrize(
    "key, value, kind, text",
    [
        (
            0,
            gradloom.ones(2),
            RuntimeError,
            "The expanded size of the tensor (3) must match the existing size (2) at non-singleton dimension "
            "0.  Target sizes: [3].  Tensor sizes: [2]",
        ),
        (
            (0, 0),
            gradloom.ones(2),
            RuntimeError,
            "the number of sizes provided (0) must be greater or equal to the number of dimensions in the tensor (1)",
        ),
        (
            [0, 1],
            gradloom.ones(2, 2),
            RuntimeError,
            "shape mismatch: value tensor of shape [2, 2] cannot be broadcast to indexing result of shape [2, 3]",
        ),
        (
            [0],
            gradloom.ones(1, 3, dtype=gradloom.float64),
            RuntimeError,
            "Index put requires the source and destination dtypes match, got Float for the destination and "
            "Double for the source.",
        ),
        (0, [1.0, 2.0, 3.0], TypeError, "can't assign a list to a gradloom.FloatTensor"),
        (0, None, TypeError, "can't assign a NoneType to a gradloom.FloatTensor"),
    ],
)
def test_values_that_do_not_fit(key: Any, value: Any, kind: type[Exception], text: str):
    for x in (gradloom.zeros(2, 3), gradloom.zeros(2, 3, requires_grad=True) * 1):
        with pytest.raises(kind) as caught:
            x[key] = value
        assert text in str(caught.value)


def test_numbers_take_the_dtype():
    x = T([1, 2, 3])
    x[0] = 2.9
    x[1] = True
    assert x.tolist() == [2, 1, 3]
    y = T([1, 2], dtype=gradloom.uint8)
    with pytest.raises(RuntimeError, match="value cannot be converted to type uint8_t without overflow"):
        y[0] = 300


def names(x: Any) -> list[str]:
    found, node = [], x.grad_fn
    while node is not None and node.name() != "AccumulateGrad":
        found.append(node.name().replace("Backward", ""))
        node = node.next_functions[0][0]
    return found


@pytest.mark.parametrize(
    "key, expected",
    [
        (0, ["Select0"]),
        (slice(None), ["Slice0"]),
        (..., ["Alias0"]),
        ((), ["Alias0"]),
        (None, ["Unsqueeze0"]),
        ((None, slice(None), 0), ["Select0", "Unsqueeze0"]),
        ((slice(0, 1), slice(1, None)), ["Slice0", "Slice0"]),
        (True, ["Index0", "Unsqueeze0"]),
        (T(1), ["Select0"]),
        ([0], ["Index0"]),
        ((0, [1, 0]), ["Index0", "Select0"]),
        (([1, 0], slice(1, None)), ["Index0", "Slice0"]),
    ],
)
def test_nodes(key: Any, expected: list[str]):
    assert names(gradloom.tensor(MATRIX, requires_grad=True)[key]) == expected


@pytest.mark.parametrize(
    "key, value, name",
    [
        (0, 1.0, "CopySlices"),
        (slice(None), 1.0, "FillBackward3"),
        (..., T([1.0, 2.0, 3.0]), "CopyBackwards"),
        ([0], 1.0, "IndexPutBackward0"),
        (T([True, False]), 1.0, "IndexPutBackward0"),
        ((0, [0]), 1.0, "CopySlices"),
    ],
)
def test_nodes_of_writes(key: Any, value: Any, name: str):
    x = gradloom.zeros(2, 3, requires_grad=True) * 1
    x[key] = value
    assert x.grad_fn.name() == name and x._version == 1


INDEX = np.array([[0, 2, 0], [1, 1, 2]])
ROWS = np.array([1, 1, 0])
# function of a tensor, the same in NumPy, applied to
PICKS: dict[str, tuple[Callable[..., Any], Callable[..., Any], list[Any]]] = {
    "gather": (lambda x: x.gather(1, T(INDEX)), lambda a: np.take_along_axis(a, INDEX, 1), [MATRIX]),
    "gather_of_part": (
        lambda x: x.gather(2, T([[[3], [0]]])),
        lambda a: np.array([[[a[0, 0, 3]], [a[0, 1, 0]]]]),
        [CUBE],
    ),
    "index_select": (lambda x: x.index_select(1, T(ROWS)), lambda a: a[:, ROWS], [CUBE]),
    "take": (lambda x: x.take(T([[0, -1], [3, 3]])), lambda a: a.reshape(-1)[[[0, -1], [3, 3]]], [MATRIX]),
    "take_along_dim": (
        lambda x: gradloom.take_along_dim(x, T([[1], [0]]), dim=1),
        lambda a: np.take_along_axis(a, np.array([[1], [0]]), 1),
        [MATRIX],
    ),
    "masked_select": (
        lambda x: x.masked_select(T([True, False, True])),
        lambda a: a[:, [0, 2]].reshape(-1),
        [MATRIX],
    ),
    "sort": (lambda x: x.sort(0, descending=True).values, lambda a: -np.sort(-a, 0), [MATRIX]),
    "topk": (lambda x: x.topk(2, largest=False).values, lambda a: np.sort(a)[:, :2], [MATRIX]),
    "msort": (lambda x: x.msort(), lambda a: np.sort(a, 0), [MATRIX]),
}


def scattered(a: Any, index: Any, values: Any, add: bool) -> Any:
    result = a.copy()
    for (i, j), k in np.ndenumerate(index):
        result[i, k] = values[i, j] + (result[i, k] if add else 0)
    return result


def rows_added(a: Any, rows: Any, values: Any, factor: float) -> Any:
    result = a.copy()
    np.add.at(result, rows, factor * values)
    return result


def replaced(a: Any, key: Any, values: Any) -> Any:
    result = a.copy()
    result[key] = values
    return result


PICKS |= {
    "scatter": (
        lambda x, v: x.scatter(1, T(INDEX), v),
        lambda a, v: scattered(a, INDEX, v, False),
        [MATRIX, MATRIX[:, ::-1] * 2],
    ),
    "scatter_number": (
        lambda x: x.scatter(1, T(INDEX[:, :1]), 9.0),
        lambda a: replaced(a, ([0, 1], [0, 1]), 9.0),
        [MATRIX],
    ),
    "scatter_add": (
        lambda x, v: x.scatter_add(1, T(INDEX), v),
        lambda a, v: scattered(a, INDEX, v, True),
        [MATRIX, MATRIX[:, ::-1] * 2],
    ),
    "scatter_mean": (
        lambda x, v: x.scatter_reduce(1, T([[0, 0]]), v, "mean"),
        lambda a, v: replaced(a, (0, 0), (a[0, 0] + v[0, 0] + v[0, 1]) / 3),
        [MATRIX, [[5.0, 7.0]]],
    ),
    "scatter_sum_of_others": (
        lambda x, v: x.scatter_reduce(1, T([[0, 0]]), v, "sum", include_self=False),
        lambda a, v: replaced(a, (0, 0), v[0, 0] + v[0, 1]),
        [MATRIX, [[5.0, 7.0]]],
    ),
    "index_add": (
        lambda x, v: x.index_add(0, T(ROWS), v, alpha=-2),
        lambda a, v: rows_added(a, ROWS, v, -2),
        [MATRIX, np.arange(9.0).reshape(3, 3)],
    ),
    "index_copy": (
        lambda x, v: x.index_copy(1, T([2, 0]), v),
        lambda a, v: replaced(a, (slice(None), [2, 0]), v),
        [MATRIX, [[7.0, 8.0], [9.0, 10.0]]],
    ),
    "index_fill": (
        lambda x, v: x.index_fill(1, T([0, -1]), v.sum()),
        lambda a, v: replaced(a, (slice(None), [0, 2]), v.sum()),
        [MATRIX, [1.0, 2.0]],
    ),
    "index_put": (
        lambda x, v: x.index_put((T([0, 1]), T([2, 2])), v),
        lambda a, v: replaced(a, ([0, 1], [2, 2]), v),
        [MATRIX, [7.0, 8.0]],
    ),
    "index_put_added": (
        lambda x, v: x.index_put((T([0, 0]), T([2, 2])), v, accumulate=True),
        lambda a, v: replaced(a, (0, 2), a[0, 2] + v.sum()),
        [MATRIX, [7.0, 8.0]],
    ),
    "put": (
        lambda x, v: x.put(T([0, -1]), v),
        lambda a, v: replaced(replaced(a, (0, 0), v[0]), (1, 2), v[1]),
        [MATRIX, [7.0, 8.0]],
    ),
    "put_added": (
        lambda x, v: x.put(T([0, 0]), v, accumulate=True),
        lambda a, v: replaced(a, (0, 0), a[0, 0] + v.sum()),
        [MATRIX, [7.0, 8.0]],
    ),
    "masked_scatter": (
        lambda x, v: x.masked_scatter(T([True, False, True]), v),
        lambda a, v: replaced(a, (slice(None), [0, 2]), v[:4].reshape(2, 2)),
        [MATRIX, np.arange(5.0)],
    ),
    "select_scatter": (
        lambda x, v: x.select_scatter(v, 1, -1),
        lambda a, v: replaced(a, (slice(None), 2), v),
        [MATRIX, [7.0, 8.0]],
    ),
    "slice_scatter": (
        lambda x, v: x.slice_scatter(v, 1, 0, None, 2),
        lambda a, v: replaced(a, (slice(None), slice(0, None, 2)), v),
        [MATRIX, [[7.0, 8.0], [9.0, 1.0]]],
    ),
    "diagonal_scatter": (
        lambda x, v: x.diagonal_scatter(v, 1),
        lambda a, v: replaced(a, ([0, 1], [1, 2]), v),
        [MATRIX, [7.0, 8.0]],
    ),
}


@pytest.mark.parametrize("name", sorted(PICKS))
def test_picks_and_writes(name: str):
    function, reference, arrays = PICKS[name]
    check(lambda *x: function(*x) * 1.5, arrays, lambda *a: reference(*a) * 1.5)


def test_in_place_forms():
    x = gradloom.zeros(2, 3)
    x.scatter_(1, T([[0], [2]]), 1.0)
    x.index_add_(0, T([1]), gradloom.ones(1, 3))
    x.index_fill_(1, T([1]), 5.0)
    x.put_(T([0]), T([9.0]))
    x.masked_scatter_(x == 5, T([6.0, 7.0]))
    x.tril_(1)
    assert x.tolist() == [[9.0, 6.0, 0.0], [1.0, 7.0, 2.0]]
    assert x._version == 6
    leaf = gradloom.zeros(2, 3, requires_grad=True)
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad is being used in an in-place operation"):
        leaf.index_fill_(1, T([1]), 5.0)


@pytest.mark.parametrize(
    "function, kind, text",
    [
        (
            lambda x: x.gather(1, T([0])),
            RuntimeError,
            "Index tensor must have the same number of dimensions as input tensor",
        ),
        (lambda x: x.gather(1, T([[3]])), RuntimeError, "index 3 is out of bounds for dimension 1 with size 3"),
        (lambda x: x.gather(1, T([[-1]])), RuntimeError, "index -1 is out of bounds for dimension 1 with size 3"),
        (lambda x: x.gather(1, T([[0.0]])), RuntimeError, "gather(): Expected dtype int32/int64 for index"),
        (
            lambda x: x.gather(0, T([[0] * 4])),
            RuntimeError,
            "Size does not match at dimension 1 expected index [1, 4] to be no larger than self [2, 3] apart "
            "from dimension 0",
        ),
        (lambda x: x.scatter(1, T([[5]]), 1.0), RuntimeError, "index 5 is out of bounds for dimension 1 with size 3"),
        (
            lambda x: x.scatter(1, T([[0]]), gradloom.ones(1, 1)),
            RuntimeError,
            "scatter(): Expected self.dtype to be equal to src.dtype",
        ),
        (
            lambda x: x.scatter_add(1, T([[0, 1, 0]]), T(MATRIX[:1, :2])),
            RuntimeError,
            "Expected index [1, 3] to be no larger than self [2, 3] apart from dimension 1 and to be no larger "
            "size than src [1, 2]",
        ),
        (lambda x: x.index_select(0, T([3])), IndexError, "index out of range in self"),
        (lambda x: x.index_select(1, T([3])), RuntimeError, "INDICES element is out of DATA bounds, id=3 axis_dim=3"),
        (lambda x: x.index_select(1, T([[1]])), IndexError, "index_select(): Index is supposed to be a vector"),
        (
            lambda x: x.index_add(0, T([1]), x),
            RuntimeError,
            "index_add_(): Number of indices (1) should be equal to source.size(dim): (2), for dim: 0",
        ),
        (
            lambda x: x.index_copy(0, T([3]), x[:1]),
            IndexError,
            "index_copy_(): index 3 is out of bounds for dimension 0 with size 2",
        ),
        (lambda x: x.masked_select(x), RuntimeError, "masked_select: expected BoolTensor for mask"),
        (
            lambda x: x.masked_scatter(x > 0, x[0, :2]),
            RuntimeError,
            "Number of elements of source < number of ones in mask",
        ),
        (lambda x: x.take(T([6])), IndexError, "out of range: tried to access index 6 on a tensor of 6 elements."),
        (lambda x: x.topk(4), RuntimeError, "selected index k out of range"),
        (
            lambda x: gradloom.bincount(T([-1])),
            RuntimeError,
            "bincount only supports 1-d non-negative integral inputs.",
        ),
        (
            lambda x: x.unique().sum().backward(),
            NotImplementedError,
            "the derivative for '_unique2' is not implemented.",
        ),
    ],
)
def test_refuses(function: Callable[..., Any], kind: type[Exception], text: str):
    with pytest.raises(kind) as caught:
        function(gradloom.tensor(MATRIX, requires_grad=True))
    assert text in str(caught.value)


def test_order():
    nan = float("nan")
    values, indices = T([1.0, nan, 0.0, 1.0]).sort(descending=True)
    assert indices.tolist() == [1, 0, 3, 2] and values[1:].tolist() == [1.0, 1.0, 0.0]
    assert T([1.0, nan, 0.0]).sort().indices.tolist() == [2, 0, 1]
    assert T([2, 1, 1]).argsort().tolist() == [1, 2, 0]
    assert T(3.0).sort().values.item() == 3.0 and T(3.0).topk(1).indices.item() == 0
    assert repr(T([2.0, 1.0]).sort()) == (
        "gradloom.return_types.sort(\nvalues=tensor([1., 2.]),\nindices=tensor([1, 0]))"
    )


def test_sets_and_counts():
    values, inverse, counts = gradloom.unique(T([[3, 1], [1, 2]]), return_inverse=True, return_counts=True)
    assert (values.tolist(), inverse.tolist(), counts.tolist()) == ([1, 2, 3], [[2, 0], [0, 1]], [2, 1, 1])
    rows, places = gradloom.unique(T([[3, 1], [1, 2], [3, 1]]), return_inverse=True, dim=0)
    assert (rows.tolist(), places.tolist()) == ([[1, 2], [3, 1]], [1, 0, 1])
    runs = gradloom.unique_consecutive(T([3, 1, 1, 3]), return_inverse=True, return_counts=True)
    assert [each.tolist() for each in runs] == [[3, 1, 3], [0, 1, 1, 2], [1, 2, 1]]
    assert gradloom.bincount(T([1, 2, 2]), minlength=5).tolist() == [0, 1, 2, 0, 0]
    assert gradloom.bincount(T([1, 2, 2]), weights=T([1.0, 2.0, 3.0])).tolist() == [0.0, 1.0, 5.0]
    assert gradloom.histc(T([1.0, 2.0, 1.0]), 4).tolist() == [2.0, 0.0, 0.0, 1.0]
    assert gradloom.searchsorted(T([1, 3, 5]), T([[3], [6]]), right=True).tolist() == [[2], [3]]
    assert gradloom.searchsorted(T([[1, 3, 5], [2, 4, 6]]), T([[3], [3]])).tolist() == [[1], [1]]
    assert gradloom.bucketize(T([1.5, 2.0]), T([1.0, 2.0])).tolist() == [1, 1]
    assert gradloom.isin(T([1, 2, 3]), T([2]), invert=True).tolist() == [True, False, True]
    assert T([[0, 1], [2, 0]]).nonzero().tolist() == [[0, 1], [1, 0]]
    assert [each.tolist() for each in T([[0, 1], [2, 0]]).nonzero(as_tuple=True)] == [[0, 1], [1, 0]]
    assert gradloom.argwhere(T(3.0)).shape == (1, 0)


def test_batches_of_data_are_one_structure():
    """Other bounds of a slice of plain data do not make another program."""
    from gradloom.autograd.programs import counters

    data = gradloom.arange(40.0).view(20, 2)
    w = gradloom.ones(2, requires_grad=True)
    seen = []
    for start in range(0, 20, 4):
        (data[start : start + 4] * w).sum().backward()
        seen.append(counters.structures)
    assert seen[1:] == seen[1:2] * 4
    assert w.grad.tolist() == [380.0, 400.0]


def test_double_backward_through_an_index():
    x = gradloom.tensor([1.0, 2.0, 3.0], dtype=gradloom.float64, requires_grad=True)
    y = (x[[0, 0, 2]] ** 3).sum()
    (g,) = gradloom.autograd.grad(y, x, create_graph=True)
    g.sum().backward()
    assert x.grad.tolist() == [12.0, 0.0, 18.0]
