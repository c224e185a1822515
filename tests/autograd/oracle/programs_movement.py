"""What moves elements: shapes, joins, splits, indexing, gathers, scatters, masks."""

from collections.abc import Callable
from functools import partial
from typing import Any

from .corpus import Observations, differentiated, error, program, register

V = [1.0, -2.0, 3.0, 4.0]
A = [[1.0, -2.0, 3.0], [4.0, 5.0, -6.0]]
C = [[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], [[7.0, 8.0], [9.0, 10.0], [11.0, 12.0]]]

# Differentiated at A.
MATRIX: dict[str, Callable[..., Any]] = {
    "reshape": lambda m, x: x.reshape(3, 2),
    "reshape_inferred": lambda m, x: x.reshape(-1),
    "reshape_function": lambda m, x: m.reshape(x, (6, 1)),
    "view": lambda m, x: x.view(1, 6),
    "flatten": lambda m, x: x.flatten(),
    "flatten_function": lambda m, x: m.flatten(x, 0, 1),
    "ravel": lambda m, x: x.ravel(),
    "unflatten": lambda m, x: x.unflatten(1, (3, 1)),
    "permute": lambda m, x: x.permute(1, 0),
    "permute_function": lambda m, x: m.permute(x, (1, 0)),
    "squeeze": lambda m, x: x.reshape(1, 2, 1, 3).squeeze(),
    "squeeze_dim": lambda m, x: x.reshape(1, 2, 1, 3).squeeze(2),
    "squeeze_nothing": lambda m, x: x.squeeze(0),
    "unsqueeze": lambda m, x: x.unsqueeze(1),
    "unsqueeze_last": lambda m, x: m.unsqueeze(x, -1),
    "expand": lambda m, x: x.unsqueeze(0).expand(2, -1, -1),
    "expand_column": lambda m, x: x[:, :1].expand(2, 4),
    "expand_as": lambda m, x: x[:1].expand_as(x),
    "broadcast_to": lambda m, x: m.broadcast_to(x, (2, 2, 3)),
    "repeat": lambda m, x: x.repeat(2, 1),
    "repeat_more_dims": lambda m, x: x.repeat(2, 1, 2),
    "repeat_interleave": lambda m, x: x.repeat_interleave(2, dim=0),
    "tile": lambda m, x: m.tile(x, (1, 2)),
    "cat": lambda m, x: m.cat([x, x * 2]),
    "cat_dim": lambda m, x: m.cat((x, x[:, :1]), dim=1),
    "cat_one": lambda m, x: m.cat([x], 0),
    "concat": lambda m, x: m.concat([x, x], dim=-1),
    "stack": lambda m, x: m.stack([x, x * 3]),
    "stack_last": lambda m, x: m.stack((x, x), dim=-1),
    "hstack": lambda m, x: m.hstack([x, x]),
    "vstack": lambda m, x: m.vstack([x, x[0]]),
    "split": lambda m, x: x.split(2, dim=1),
    "split_sizes": lambda m, x: m.split(x, [1, 2], dim=1),
    "chunk": lambda m, x: x.chunk(2, dim=1),
    "unbind": lambda m, x: x.unbind(0),
    "unbind_last": lambda m, x: m.unbind(x, dim=-1),
    "tensor_split": lambda m, x: m.tensor_split(x, 2, dim=1),
    "roll": lambda m, x: x.roll(1, dims=1),
    "roll_flat": lambda m, x: m.roll(x, 2),
    "roll_two": lambda m, x: m.roll(x, shifts=(1, -1), dims=(0, 1)),
    "flip": lambda m, x: x.flip(0),
    "flip_two": lambda m, x: m.flip(x, (0, 1)),
    "rot90": lambda m, x: m.rot90(x),
    "narrow": lambda m, x: x.narrow(1, 1, 2),
    "select": lambda m, x: x.select(1, 2),
    "movedim": lambda m, x: m.movedim(x, 0, 1),
    "tril": lambda m, x: x.tril(),
    "tril_diagonal": lambda m, x: m.tril(x, diagonal=-1),
    "triu": lambda m, x: m.triu(x, 1),
    "index_select": lambda m, x: x.index_select(1, m.tensor([2, 0, 2])),
    "gather": lambda m, x: x.gather(1, m.tensor([[0, 0], [2, 1]])),
    "gather_rows": lambda m, x: m.gather(x, 0, m.tensor([[1, 0, 1]])),
    "take": lambda m, x: m.take(x, m.tensor([0, 5, 5])),
    "take_along_dim": lambda m, x: m.take_along_dim(x, x.argsort(1), dim=1),
    "masked_fill": lambda m, x: x.masked_fill(x < 0, 0.5),
    "masked_fill_row": lambda m, x: x.masked_fill(m.tensor([True, False, True]), -1.0),
    "masked_select": lambda m, x: x.masked_select(x > 0),
    "scatter": lambda m, x: m.zeros(2, 4, dtype=m.float64).scatter(1, m.tensor([[0, 1, 2], [3, 2, 1]]), x),
    "scatter_add": lambda m, x: m.zeros(2, 2, dtype=m.float64).scatter_add(1, m.tensor([[0, 1, 0], [1, 1, 1]]), x),
    "scatter_number": lambda m, x: x.scatter(1, m.tensor([[0], [2]]), 9.0),
    "index_add": lambda m, x: m.zeros(3, 3, dtype=m.float64).index_add(0, m.tensor([2, 2]), x),
    "index_fill": lambda m, x: x.index_fill(1, m.tensor([1]), 7.0),
    "pad": lambda m, x: m.nn.functional.pad(x, (1, 2)),
    "pad_two": lambda m, x: m.nn.functional.pad(x, (1, 0, 0, 1), value=3.0),
    "unfold": lambda m, x: x.unfold(1, 2, 1),
    "row": lambda m, x: x[0],
    "last_row": lambda m, x: x[-1],
    "element": lambda m, x: x[1, 2],
    "element_in_two_steps": lambda m, x: x[1][2],
    "column": lambda m, x: x[:, 1],
    "slice": lambda m, x: x[:, 1:],
    "slice_step": lambda m, x: x[:, ::2],
    "slice_to_negative": lambda m, x: x[:, :-1],
    "slice_all": lambda m, x: x[:],
    "slice_empty": lambda m, x: x[2:],
    "slice_beyond": lambda m, x: x[:10, 1:99],
    "ellipsis": lambda m, x: x[..., 0],
    "ellipsis_alone": lambda m, x: x[...],
    "new_axis": lambda m, x: x[:, None],
    "new_axis_first": lambda m, x: x[None, :, 0],
    "bool_index": lambda m, x: x[x > 0],
    "bool_rows": lambda m, x: x[m.tensor([False, True])],
    "bool_and_slice": lambda m, x: x[m.tensor([True, False]), 1:],
    "list_index": lambda m, x: x[[1, 0, 1]],
    "tensor_index": lambda m, x: x[m.tensor([1, 1])],
    "negative_tensor_index": lambda m, x: x[:, m.tensor([-1, 0])],
    "pair_of_indices": lambda m, x: x[m.tensor([0, 1, 1]), m.tensor([2, 0, 0])],
    "range_and_index": lambda m, x: x[m.arange(2), m.tensor([1, 2])],
    "index_of_rank_2": lambda m, x: x[m.tensor([[0, 1], [1, 1]])],
    "index_by_scalar_tensor": lambda m, x: x[m.tensor(1)],
    "index_broadcast": lambda m, x: x[m.tensor([[0], [1]]), m.tensor([0, 2])],
    "index_with_new_axis": lambda m, x: x[None, m.tensor([1, 0])],
    "where_indices": lambda m, x: x[m.where(x > 0)],
    "cat_of_slices": lambda m, x: m.cat([x[:, :1], x[:, 2:]], dim=1),
    "difference_of_slices": lambda m, x: x[:, 1:] - x[:, :-1],
    "atleast_3d": lambda m, x: m.atleast_3d(x),
    "meshgrid": lambda m, x: m.meshgrid(x[0], x[1], indexing="ij"),
    "block_diag": lambda m, x: m.block_diag(x, x[:, :1]),
    "cartesian": lambda m, x: m.cartesian_prod(x[0, :2], x[1, :2]),
}

# Differentiated at C.
CUBE: dict[str, Callable[..., Any]] = {
    "permute": lambda m, x: x.permute(2, 0, 1),
    "permute_negative": lambda m, x: x.permute(-1, 0, 1),
    "transpose": lambda m, x: x.transpose(1, 2),
    "flatten_last": lambda m, x: x.flatten(1),
    "flatten_first": lambda m, x: x.flatten(0, 1),
    "reshape": lambda m, x: x.reshape(2, -1),
    "middle": lambda m, x: x[:, 1],
    "ellipsis": lambda m, x: x[..., 1],
    "mixed": lambda m, x: x[1, :, None, 0],
    "tensor_in_the_middle": lambda m, x: x[:, m.tensor([2, 0])],
    "separated_tensors": lambda m, x: x[m.tensor([0, 1]), :, m.tensor([1, 0])],
    "bool_of_rank_2": lambda m, x: x[m.tensor([[True, False, True], [False, True, False]])],
    "flip": lambda m, x: x.flip(0, 2),
    "unbind": lambda m, x: x.unbind(1),
    "stack": lambda m, x: m.stack([x[0], x[1]], dim=1),
    "cat": lambda m, x: m.cat([x, x], dim=1),
    "step": lambda m, x: x[::2, ::2],
}


def case(function: Callable[..., Any], values: Any, m: Any) -> Observations:
    return differentiated(m, partial(function, m), values)


for _name, _function in MATRIX.items():
    register("movement", _name, partial(case, _function, A))
for _name, _function in CUBE.items():
    register("movement", f"cube_{_name}", partial(case, _function, C))

# Assignments to parts: (what is assigned, where it stands).
ASSIGNMENTS: dict[str, tuple[Any, Any]] = {
    "number_to_element": ((0, 1), 9.0),
    "number_to_row": (1, 9.0),
    "number_to_column": ((slice(None), 2), 9.0),
    "number_to_slice": ((slice(None), slice(1, None)), -1.0),
    "number_to_all": (slice(None), 2.0),
    "number_to_ellipsis": ((..., 0), 5.0),
    "list_of_rows": ([1, 0], 3.0),
    "step": ((slice(None), slice(None, None, 2)), 0.0),
}


def assignment(index: Any, value: Any, m: Any) -> Observations:
    def function(x):
        y = x * 1
        y[index] = value
        return y

    observed = differentiated(m, function, A, names=False)
    y = m.tensor(A)
    y[index] = value
    return {**observed, "plain": y}


for _name, (_index, _value) in ASSIGNMENTS.items():
    register("movement", f"assign_{_name}", partial(assignment, _index, _value))


@program
def assign_tensors(m):
    def function(x, v):
        y = x * 1
        y[0] = v
        y[:, 0] = y[:, 1] * 2
        y[1, 1:] = v[:2] ** 2
        return y

    return differentiated(m, function, A, [7.0, 8.0, 9.0], names=False)


@program
def assign_by_mask(m):
    def function(x):
        y = x * 1
        y[y < 0] = 0.0
        return y

    y = m.tensor(A)
    y[y > 3] = m.tensor([10.0, 20.0])
    return {**differentiated(m, function, A, names=False), "values": y}


@program
def assign_by_tensor_index(m):
    def function(x, v):
        y = x * 1
        y[m.tensor([0, 1]), m.tensor([2, 0])] = v
        return y

    return differentiated(m, function, A, [7.0, 8.0], names=False)


@program
def assign_with_augmented_operators(m):
    def function(x):
        y = x * 1
        y[0] += 10
        y[:, 1] *= 3
        y[1, 2] -= y[0, 0]
        return y

    return differentiated(m, function, A, names=False)


@program
def assign_broadcasts_and_converts(m):
    x = m.zeros(2, 3)
    x[:] = m.tensor([1, 2, 3])
    x[:, 0] = m.tensor([7.5, 8.5], dtype=m.float64)
    y = m.tensor([1, 2, 3])
    y[0] = 2.9
    return {"x": x, "y": y, "error": error(lambda: x.__setitem__(0, m.ones(2)))}


@program
def index_put(m):
    x = m.zeros(3)
    added = x.index_put((m.tensor([0, 0, 2]),), m.tensor([1.0, 2.0, 3.0]), accumulate=True)
    x.index_put_((m.tensor([1]),), m.tensor([5.0]))
    x.index_add_(0, m.tensor([1, 1]), m.tensor([1.0, 2.0]))
    return {"added": added, "x": x}


@program
def scatter_in_place(m):
    x = m.zeros(2, 3)
    x.scatter_(1, m.tensor([[0], [2]]), 1.0)
    x.scatter_add_(1, m.tensor([[0, 0], [1, 1]]), m.ones(2, 2))
    return {"x": x}


@program
def index_by_python_numbers(m):
    import numpy as np

    x = m.tensor(A)
    return {
        "numpy_int": x[np.int64(1)],
        "numpy_array": x[np.array([1, 0])],
        "true": x[True],
        "false": x[False],
        "tuple_list": x[[0, 1], [1, 2]],
        "range": x[list(range(2))],
    }


@program
def joins_of_dtypes(m):
    return {
        "cat": m.cat([m.tensor([1, 2]), m.tensor([0.5])]),
        "stack": m.stack([m.tensor(1.0), m.tensor(2.0, dtype=m.float64)]),
        "cat_empty": m.cat([m.tensor([]), m.tensor([1.0])]),
        "cat_bool": m.cat([m.tensor([True]), m.tensor([2])]),
    }


@program
def movement_of_integers(m):
    x = m.arange(6).reshape(2, 3)
    return {"t": x.t(), "flip": x.flip(1), "cat": m.cat([x, x]), "mask": x[x % 2 == 0], "roll": x.roll(1, 0)}


@program
def one_source_many_reads(m):
    """A gather with repeated indices sums what comes back."""
    return differentiated(m, lambda x: x[m.tensor([0, 0, 0, 3])] * x[0], V)


@program
def embedding(m):
    weight = m.tensor(A, requires_grad=True)
    y = m.nn.functional.embedding(m.tensor([[0, 1], [1, 1]]), weight)
    (y * y).sum().backward()
    return {"y": y, "gradient": weight.grad}


@program
def convolution_by_slices(m):
    return differentiated(m, lambda x, k: sum(x[i : i + 3] * k[i] for i in range(2)), V, [0.5, -1.0])


@program
def views_that_are_written_keep_gradients(m):
    def function(x):
        out = m.zeros(2, 4, dtype=m.float64)
        for row in range(2):
            out[row] = x.roll(row) * (row + 1)
        return out

    return differentiated(m, function, V, names=False)
