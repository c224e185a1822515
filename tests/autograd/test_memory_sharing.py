"""Memory: tensors, their views and NumPy arrays show the same elements; NumPy is the model of what they should hold.

Programs of random views, writes and copies run on a tensor and on an array at once; after each all views are compared.
"""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import gradloom

Array = np.ndarray[Any, Any]


# --- random programs --------------------------------------------------------------------------------------------------


def views(
    draw: random.Random, rank: int, several: bool
) -> tuple[Callable[[Any], Any], Callable[[Array], Array]] | None:
    """Return a random view as a function of a tensor and as one of an array; one of several only if that is asked "
    "for."""
    kinds = ["select", "slice", "step", "transpose", "permute", "new", "diagonal", "narrow"]
    kind = draw.choice([*kinds, "unbind", "split"] if several else kinds)
    if kind == "new":
        at = draw.randrange(rank + 1)
        return lambda x: x.unsqueeze(at), lambda a: np.expand_dims(a, at)
    if not rank:
        return None
    dim = draw.randrange(rank)
    whole = (slice(None),) * dim
    if kind == "select":
        return lambda x: x.select(dim, -1), lambda a: a[(*whole, -1, ...)]
    if kind == "slice":
        return lambda x: x[(*whole, slice(1, None))], lambda a: a[(*whole, slice(1, None))]
    if kind == "step":
        return lambda x: x[..., ::2], lambda a: a[..., ::2]
    if kind == "unbind":
        return lambda x: x.unbind(dim)[0], lambda a: a[(*whole, 0, ...)]
    if kind == "split":
        return lambda x: x.split(1, dim)[0], lambda a: a[(*whole, slice(0, 1))]
    if kind == "narrow":
        return lambda x: x.narrow(dim, 0, 1), lambda a: a[(*whole, slice(0, 1))]
    if kind == "permute":
        order = list(range(rank))
        draw.shuffle(order)
        return lambda x: x.permute(order), lambda a: a.transpose(order)
    if rank < 2:
        return None
    other = (dim + 1) % rank
    if kind == "transpose":
        return lambda x: x.transpose(dim, other), lambda a: a.swapaxes(dim, other)

    def diagonal(a: Array) -> Array:
        line = a.diagonal(0, dim, other)
        line.flags.writeable = True
        return line

    return lambda x: x.diagonal(0, dim, other), diagonal


def write(draw: random.Random, x: Any, a: Array, others: list[tuple[Any, Array]]) -> None:
    """Write something into a tensor and the same into an array."""
    number = float(draw.randint(2, 5))
    kind = draw.choice(["add", "mul", "fill", "copy", "row", "mask", "pick", "other"])
    if kind == "add":
        x += number
        a += number
    elif kind == "mul":
        x.mul_(number)
        a *= number
    elif kind == "fill":
        x.fill_(number)
        a.fill(number)
    elif kind == "copy":
        x[...] = x.clone() * 2
        a[...] = a.copy() * 2
    elif kind == "mask":
        x[x > number] = 1.0
        a[a > number] = 1.0
    elif kind == "other":
        source, array = draw.choice(others)
        x += source.sum()
        a += array.sum()
    elif a.ndim and a.shape[0]:
        key: Any = 0 if kind == "row" else [0, -1]
        x[key] = number
        a[key] = number


def fold(array: Array) -> None:
    """Keep numbers small."""
    array %= 7


@pytest.mark.parametrize("start", ["data", "numpy", "exported", "leaf", "result"])
@pytest.mark.parametrize("seed", range(12))
def test_views_show_what_numpys_show(start: str, seed: int):
    draw = random.Random(f"{start}{seed}")
    shape = draw.choice([(2, 3), (4,), (2, 2, 3), (3, 1, 2)])
    array = np.arange(1.0, 1 + np.prod(shape)).reshape(shape)
    seen: list[tuple[Any, Array]] = []  # arrays that share memory with tensors
    if start == "numpy":
        root = gradloom.from_numpy(outside := array.copy())
        seen.append((outside, array))
    else:
        root = gradloom.tensor(array, requires_grad=start in ("leaf", "result"))
        if start == "result":
            root = root * 1
        if start == "exported":
            seen.append((root.numpy(), array))
    pairs, copies = [(root, array)], []
    with gradloom.set_grad_enabled(start == "result"):
        for _ in range(14):
            x, a = draw.choice(pairs)
            action = draw.choice(["view", "view", "write", "write", "copy", "look", "numpy", "outside", "recorded"])
            if action == "view":
                made = views(draw, a.ndim, several=start != "result")  # recorded writes into such are refused
                if made is not None:
                    pairs.append((made[0](x), made[1](a)))
            elif action == "write" and a.size:
                write(draw, x, a, pairs)
                with gradloom.no_grad():
                    root.remainder_(7)
                fold(array)
            elif action == "copy":
                copies.append((x.clone(), a.copy()))
            elif action == "recorded":  # not computed before the next writes
                copies.append((x * 3 + 1, a * 3 + 1))
            elif action == "look":
                x.tolist()
            elif action == "numpy":
                seen.append((x.detach().numpy(), a))
            elif action == "outside" and seen and start != "result":
                shared, a = draw.choice(seen)
                if shared.flags.writeable:
                    shared[...] = shared * 2 - 1
                    a[...] = a * 2 - 1
            for y, b in pairs:
                assert y.tolist() == b.tolist()
    for y, b in (*copies, *seen):
        assert y.tolist() == b.tolist()


@pytest.mark.parametrize("seed", range(10))
def test_gradients_go_through_writes(seed: int):
    """Of a program of views and writes that is linear in two leaves: the gradients are its coefficients."""

    def program(x: Any, v: Any) -> Any:
        draw = random.Random(seed)
        y = x * 1
        pool = [y]
        for _ in range(10):
            t = draw.choice(pool)
            kind = draw.choice(["row", "slice", "transpose", "scale", "add", "set", "set", "read"])
            if kind == "row" and t.ndim == 2:
                pool.append(t[0])
            elif kind == "slice" and t.ndim:
                pool.append(t[1:] if t.shape[0] > 1 else t[:1])
            elif kind == "transpose" and t.ndim == 2:
                pool.append(t.T)
            elif kind == "scale":
                t *= 2
            elif kind == "add":
                t += v.sum()
            elif kind == "set" and t.ndim:
                t[0] = v[draw.randrange(3)] * 3
            elif kind == "read":
                y[-1] += y[0] * 2
        return y

    a, b = np.arange(6.0).reshape(2, 3) + 1, np.array([1.0, -2.0, 0.5])
    weights = np.arange(6.0).reshape(2, 3) - 2.5

    def value(a: Array, b: Array) -> float:
        return float((program(a, b) * weights).sum())

    x, v = gradloom.tensor(a, requires_grad=True), gradloom.tensor(b, requires_grad=True)
    result = program(x, v)
    np.testing.assert_allclose(result.detach().numpy(), program(a, b))
    (result * gradloom.tensor(weights)).sum().backward()
    for leaf, array in ((x, a), (v, b)):
        expected = np.zeros_like(array)
        for index in np.ndindex(array.shape):
            moved = array.copy()
            moved[index] += 1
            ends = [value(moved, b) if array is a else value(a, moved), value(a, b)]
            expected[index] = ends[0] - ends[1]
        found = np.zeros_like(array) if leaf.grad is None else leaf.grad.numpy()
        np.testing.assert_allclose(found, expected, atol=1e-9)


# --- rules ------------------------------------------------------------------------------------------------------------


def test_tensors_copy_and_from_numpy_shares():
    array = np.array([1.0, 2.0])
    copied, shared = gradloom.tensor(array), gradloom.from_numpy(array)
    array[0] = 9.0
    shared[1] = 7.0
    assert copied.tolist() == [1.0, 2.0]
    assert shared.tolist() == [9.0, 7.0] and array.tolist() == [9.0, 7.0]


def test_recorded_operations_keep_the_values_they_saw():
    x = gradloom.tensor([1.0, 2.0])
    doubled = x * 2
    x += 1
    assert doubled.tolist() == [2.0, 4.0]
    array = x.numpy()
    tripled, view = x * 3, x[1:]
    array[:] = 0.0
    assert tripled.tolist() == [6.0, 9.0] and view.tolist() == [0.0]


def test_results_that_numpy_might_alias_are_values_of_their_own():
    x = gradloom.tensor([[1.0, 2.0], [3.0, 4.0]])
    reshaped = x.t().contiguous()
    flat = x.view(-1) * 1
    same = x.to(gradloom.float32, copy=True)
    x.numpy()[...] = 0.0
    assert reshaped.tolist() == [[1.0, 3.0], [2.0, 4.0]]
    assert flat.tolist() == [1.0, 2.0, 3.0, 4.0] and same.tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_a_computed_view_does_not_hand_its_memory_to_recorded_operations():
    x = gradloom.tensor([1.0, 2.0, 3.0, 4.0])
    view = x.view(2, 2)
    assert view.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    waiting = view * 10
    x.numpy()[0] = 7.0
    assert waiting.tolist() == [[10.0, 20.0], [30.0, 40.0]] and view[0, 0].item() == 7.0
    waiting = view * 10
    x[0] = 8.0
    assert waiting[0, 0].item() == 70.0 and view[0, 0].item() == 8.0


def test_parts_of_data_follow_later_writes():
    data = gradloom.arange(6.0)
    batch = data[2:4]
    total = batch * 2
    data[3] = 50.0
    assert batch.tolist() == [2.0, 50.0] and total.tolist() == [4.0, 6.0]
    batch += 1
    assert data.tolist() == [0.0, 1.0, 3.0, 51.0, 4.0, 5.0]


def test_addresses_and_strides_of_views():
    x = gradloom.zeros(2, 3)
    array = x.t().numpy()
    assert array.strides == (4, 12)
    assert x[1].data_ptr() == x.data_ptr() + 12
    assert x.detach().data_ptr() == x.data_ptr() != x.clone().data_ptr()
    assert x.expand(2, 2, 3).numpy().strides == (0, 12, 4)


def test_repeated_elements_cannot_be_written():
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor refers to a single memory"):
        gradloom.zeros(1).expand(3).add_(1)
    with pytest.raises(RuntimeError, match="more than one element of the written-to tensor refers to a single memory"):
        gradloom.zeros(4).unfold(0, 2, 1).add_(1)
    x = gradloom.zeros(4)
    x.unfold(0, 2, 2).add_(gradloom.tensor([1.0, 2.0]))
    x.expand(1, 4).mul_(2)
    assert x.tolist() == [2.0, 4.0, 2.0, 4.0]


def test_writes_through_a_diagonal():
    for shape, offset, dims in (
        ((3, 3), 0, (0, 1)),
        ((2, 4), 1, (1, 0)),
        ((2, 3, 4), -1, (2, 0)),
        ((3, 2), -2, (0, 1)),
    ):
        x, array = gradloom.zeros(*shape), np.zeros(shape)
        line = array.diagonal(offset, *dims)
        line.flags.writeable = True
        new = np.arange(1.0, 1 + line.size).reshape(line.shape)
        x.diagonal(offset, *dims).copy_(gradloom.tensor(new))
        line[...] = new
        assert x.tolist() == array.tolist()
        x.diagonal(offset, *dims).numpy()[...] = -1.0
        line[...] = -1.0
        assert x.tolist() == array.tolist()


def test_versions_count_writes():
    x = gradloom.zeros(4)
    view = x[1:]
    view += 1
    x[0] = 2.0
    assert (x._version, view._version, x.detach()._version) == (2, 2, 2)
    assert x.clone()._version == 0
