"""Functions that move elements, against NumPy."""

from typing import Any

import numpy as np
import pytest

from gradloomc.ir.errors import ShapeError, UnsupportedError
from harness.tracing import check, run


def sample(*shape: int, dtype: str = "float64", seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(shape) * 3).astype(dtype)


VIEWS = {
    "reshape": lambda x: x.reshape(4, 6),
    "reshape tuple": lambda x: x.reshape((-1, 3)),
    "reshape -1": lambda x: np.reshape(x, -1),
    "reshape F": lambda x: x.reshape((4, 6), order="F"),
    "ravel": np.ravel,
    "ravel F": lambda x: x.ravel(order="F"),
    "flatten": lambda x: x.flatten(),
    "T": lambda x: x.T,
    "mT": lambda x: x.mT,
    "transpose": lambda x: x.transpose(1, 2, 0),
    "transpose tuple": lambda x: np.transpose(x, (2, 0, 1)),
    "transpose negative": lambda x: np.transpose(x, (-1, 0, 1)),
    "swapaxes": lambda x: np.swapaxes(x, 0, -1),
    "moveaxis": lambda x: np.moveaxis(x, 0, -1),
    "moveaxis many": lambda x: np.moveaxis(x, [0, 1], [-1, 0]),
    "rollaxis": lambda x: np.rollaxis(x, 2),
    "rollaxis start": lambda x: np.rollaxis(x, 0, 3),
    "expand_dims": lambda x: np.expand_dims(x, 1),
    "expand_dims many": lambda x: np.expand_dims(x, (0, -1)),
    "squeeze": lambda x: np.squeeze(x[:, :1]),
    "squeeze axis": lambda x: np.squeeze(x[:1, :1], axis=1),
    "flip": np.flip,
    "flip axis": lambda x: np.flip(x, (0, 2)),
    "flipud": np.flipud,
    "fliplr": np.fliplr,
    "rot90": lambda x: [np.rot90(x, k, axes=(0, 2)) for k in range(-1, 5)],
    "atleast_1d": lambda x: np.atleast_1d(x, x[0, 0, 0]),
    "atleast_2d": lambda x: np.atleast_2d(x, x[0, 0], x[0, 0, 0]),
    "atleast_3d": lambda x: np.atleast_3d(x, x[0], x[0, 0], x[0, 0, 0]),
    "broadcast_to": lambda x: np.broadcast_to(x, (5, 2, 3, 4)),
    "broadcast_arrays": lambda x: np.broadcast_arrays(x, x[0], x[:, :1]),
    "split": lambda x: np.split(x, 2, axis=2),
    "split at": lambda x: np.split(x, [1, 2], axis=1),
    "array_split": lambda x: np.array_split(x, 3, axis=2),
    "hsplit": lambda x: np.hsplit(x, 3),
    "vsplit": lambda x: np.vsplit(x, 2),
    "dsplit": lambda x: np.dsplit(x, 2),
    "unstack": lambda x: np.unstack(x, axis=1),
    "matrix_transpose": lambda x: np.matrix_transpose(x),
    "iteration": lambda x: [row[0] for plane in x for row in plane],
    "real": lambda x: (x.real, np.real(x), x.imag, np.conj(x), x.conj()),
    "copy": lambda x: (x.copy(), np.copy(x), x + 0),
    "astype": lambda x: (x.astype(int), x.astype("f4"), x.astype(bool), x.astype(float, copy=False)),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views(name: str) -> None:
    check(VIEWS[name], sample(2, 3, 4))
    check(VIEWS[name], sample(2, 3, 4).astype(np.int32))


JOINS = {
    "concatenate": lambda x, y: np.concatenate([x, y]),
    "concatenate axis": lambda x, y: np.concatenate((x, x), axis=-1),
    "concatenate None": lambda x, y: np.concatenate([x, y], axis=None),
    "concatenate dtype": lambda x, y: np.concatenate([x, y], dtype=np.float32),
    "concatenate mixed": lambda x, y: np.concatenate([x, [[1, 2, 3]], np.ones((1, 3), np.float32)]),
    "stack": lambda x, y: np.stack([x, x]),
    "stack axis": lambda x, y: np.stack([x, x * 2], axis=-1),
    "stack array": lambda x, y: np.stack(x),
    "vstack": lambda x, y: np.vstack([x, y, y[0]]),
    "hstack": lambda x, y: np.hstack([x, x]),
    "hstack 1-d": lambda x, y: np.hstack([x[0], 1.0, y[0]]),
    "dstack": lambda x, y: np.dstack([x, x]),
    "column_stack": lambda x, y: np.column_stack([x, x[:, 0]]),
    "append": lambda x, y: np.append(x, y),
    "append axis": lambda x, y: np.append(x, y, axis=0),
    "block": lambda x, y: np.block([[x, x], [y, np.zeros((4, 3))]]),
    "meshgrid": lambda x, y: np.meshgrid(x[0], y[0]),
    "meshgrid ij": lambda x, y: np.meshgrid(x[0], y[:, 0], indexing="ij", sparse=True),
    "array": lambda x, y: np.array([x, x * 2]),
    "array of numbers": lambda x, y: np.array([[x[0, 0], 1], [2, y[0, 1]]]),
    "r_": lambda x, y: np.r_[x[0], 1.0, 0:3, y[0]],
    "c_": lambda x, y: np.c_[x, x[:, 0]],
}


@pytest.mark.parametrize("name", JOINS)
def test_joins(name: str) -> None:
    check(JOINS[name], sample(2, 3), sample(4, 3, seed=1))
    check(JOINS[name], sample(2, 3).astype(np.float32), sample(4, 3, seed=1).astype(np.int64))


REPETITIONS = {
    "roll": lambda x: np.roll(x, 2),
    "roll axis": lambda x: np.roll(x, -1, axis=1),
    "roll many": lambda x: np.roll(x, (1, -5), axis=(0, 1)),
    "tile": lambda x: np.tile(x, 2),
    "tile many": lambda x: np.tile(x, (2, 1, 3)),
    "tile 0-d": lambda x: np.tile(x[0, 0], 3),
    "repeat": lambda x: np.repeat(x, 2),
    "repeat axis": lambda x: np.repeat(x, 3, axis=1),
    "repeat counts": lambda x: np.repeat(x, [1, 0], axis=0),
    "repeat method": lambda x: x.repeat(2, axis=0),
    "pad": lambda x: np.pad(x, 1),
    "pad value": lambda x: np.pad(x, ((1, 0), (2, 3)), constant_values=2.5),
    "pad values": lambda x: np.pad(x, ((1, 1), (2, 3)), constant_values=((1, 2), (3, 4))),
    "pad traced": lambda x: np.pad(x, 1, constant_values=x[0, 0]),
    "pad dict": lambda x: np.pad(x, {1: (0, 2)}),
    "edge": lambda x: np.pad(x, ((1, 2), (3, 0)), mode="edge"),
    "reflect": lambda x: np.pad(x, ((1, 1), (2, 1)), mode="reflect"),
    "reflect twice": lambda x: np.pad(x, ((0, 0), (5, 7)), mode="reflect"),
    "symmetric": lambda x: np.pad(x, ((2, 1), (0, 3)), mode="symmetric"),
    "wrap": lambda x: np.pad(x, ((2, 1), (0, 3)), mode="wrap"),
    "wrap twice": lambda x: np.pad(x, ((5, 1), (0, 7)), mode="wrap"),
    "delete": lambda x: np.delete(x, 1, axis=1),
    "delete many": lambda x: np.delete(x, [0, 2], axis=1),
    "insert": lambda x: np.insert(x, 1, 7.0, axis=1),
    "insert row": lambda x: np.insert(x, 2, x[0], axis=0),
    "diff": lambda x: np.diff(x),
    "diff axis": lambda x: np.diff(x, axis=0),
    "diff twice": lambda x: np.diff(x, n=2),
    "diff prepend": lambda x: np.diff(x, prepend=0.0, append=x[:, :1]),
    "ediff1d": lambda x: np.ediff1d(x, to_begin=0.0),
    "trapezoid": lambda x: np.trapezoid(x),
    "trapezoid dx": lambda x: np.trapezoid(x, dx=0.5, axis=0),
    "trapezoid x": lambda x: np.trapezoid(x, x=np.array([0.0, 1.0, 3.0])),
    "trapezoid nd": lambda x: np.trapezoid(x, x=x * 2, axis=0),
    "gradient": lambda x: np.gradient(x),
    "gradient axis": lambda x: np.gradient(x, 0.5, axis=1),
}


@pytest.mark.parametrize("name", REPETITIONS)
def test_repetition_and_differences(name: str) -> None:
    check(REPETITIONS[name], sample(2, 3))
    check(REPETITIONS[name], sample(2, 3).astype(np.float32), tolerance=1e-5)


def test_attributes() -> None:
    found: list[Any] = []

    def function(x: Any) -> Any:
        found.extend([x.shape, x.ndim, x.size, x.dtype, x.itemsize, x.nbytes, len(x)])
        found.extend(
            [np.shape(x), np.ndim(x), np.size(x), np.size(x, 1), np.result_type(x, np.int8), np.iscomplexobj(x)]
        )
        found.extend([np.isscalar(x[0, 0]), isinstance(x, np.ndarray), np.can_cast(x.dtype, float)])
        return x

    run(function, sample(2, 3).astype(np.float32))
    f4 = np.dtype("f4")
    assert found == [(2, 3), 2, 6, f4, 4, 24, 2, (2, 3), 2, 6, 3, f4, False, True, True, True]


def test_refusals_are_in_numpys_words() -> None:
    x = sample(2, 3)
    cases: list[tuple[Any, Any, str]] = [
        (lambda x: x.reshape(4, 4), ShapeError, r"cannot reshape array of size 6 into shape \(4,4\)"),
        (lambda x: x.reshape(-1, -1), ShapeError, "can only specify one unknown dimension"),
        (lambda x: np.transpose(x, (0, 0)), ShapeError, "repeated axis in transpose"),
        (lambda x: np.transpose(x, (0,)), ShapeError, "axes don't match array"),
        (lambda x: np.squeeze(x, 0), ShapeError, "cannot select an axis to squeeze out"),
        (lambda x: np.broadcast_to(x, (2, 4)), ShapeError, "could not be broadcast together with remapped shapes"),
        (lambda x: np.concatenate([x, x[0]]), ShapeError, "array at index 1 has 1 dimension"),
        (lambda x: np.concatenate([x, x[:, :2]]), ShapeError, "along dimension 1, the array at index 0 has size 3"),
        (lambda x: np.concatenate([x[0, 0], x[0, 1]]), ShapeError, "zero-dimensional arrays cannot be concatenated"),
        (lambda x: np.stack([x, x[0]]), ShapeError, "all input arrays must have the same shape"),
        (lambda x: np.split(x, 2, axis=1), ShapeError, "array split does not result in an equal division"),
        (lambda x: np.array([x, x[0]]), ShapeError, "inhomogeneous"),
        (lambda x: np.moveaxis(x, 5, 0), ShapeError, "axis 5 is out of bounds"),
        (lambda x: np.pad(x, 1, mode="mean"), UnsupportedError, "mode='mean'"),
    ]
    for function, error, message in cases:
        with pytest.raises(error, match=message):
            run(function, x)
