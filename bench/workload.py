"""What a workload is: one row of the benchmark, with everything that any peer needs to run it.

Owns the record and nothing else. It knows no peer library: versions that need one are functions
that import it when called, so that listing the rows costs nothing but NumPy and SciPy.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

Size = Literal["full", "quick", "test"]
# What a row's call computes: a value with its gradients, or a Hessian-vector product.
Quantity = Literal["value_and_grad", "hvp"]
# A call's result: the value, or None where the quantity has none, and the derivatives.
Derivatives = Callable[..., tuple[Any, tuple[Any, ...]]]

SEED = 20261121
CPP_SOURCES = Path(__file__).parent / "cpp"


@dataclass(frozen=True)
class Workload:
    """One scalar function of NumPy arrays, and the versions of it that the peers run.

    `quantity` says what a call computes. For "value_and_grad" the inputs are the function's
    arguments, and the derivatives its gradients by `argnums`. For "hvp" the function has one
    argument, the inputs are a point x and a direction v, and the derivative is the product H(x) v;
    there is no value, so that nobody is charged for one.

    `title` is a template for `str.format`, filled with the numbers of a size.
    `function` is the plain NumPy source: gradloom compiles it as it stands, and jax and autograd
    run the same code with their own `np`, unless the row brings a version for them.
    `by_hand(*inputs)` returns the value (None for "hvp") and a tuple with the derivative by each
    input in `argnums`, derived with pencil and paper and written in plain NumPy. It is a peer, and in float64 it is
    the reference for all others; the tests hold it against finite differences of `function`.
    """

    name: str
    title: str
    dtype: Literal["float64", "float32"]
    argnums: tuple[int, ...]
    sizes: Mapping[Size, tuple[int, ...]]
    make_inputs: Callable[..., tuple[np.ndarray, ...]]
    function: Callable[..., Any]
    by_hand: Derivatives
    torch_function: Callable[[], Callable[..., Any]]
    numba_by_hand: Callable[[], Derivatives]
    cpp_source: str
    jax_function: Callable[[], Callable[..., Any]] | None = None
    quantity: Quantity = "value_and_grad"

    def heading(self, size: Size) -> str:
        """Return the title with the numbers of `size` in it."""
        return self.title.format(*self.sizes[size])

    @property
    def tolerance(self) -> float:
        """Largest difference from the reference that passes, relative to its largest entry."""
        return 1e-9 if self.dtype == "float64" else 1e-4

    def inputs(self, size: Size) -> tuple[np.ndarray, ...]:
        """Return the sample inputs at `size`: the same arrays on every call, in every process."""
        arrays = self.make_inputs(np.random.default_rng(SEED), *self.sizes[size])
        return tuple(np.ascontiguousarray(array, dtype=self.dtype) for array in arrays)

    def reference(
        self, inputs: tuple[np.ndarray, ...]
    ) -> tuple[float | None, tuple[np.ndarray, ...]]:
        """Return the float64 value and derivatives at `inputs`, whatever their dtype."""
        value, derivatives = self.by_hand(*(array.astype(np.float64) for array in inputs))
        return number(value), derivatives

    def ideal_bytes(self, inputs: tuple[np.ndarray, ...]) -> int:
        """Return the bytes that any implementation must move: inputs once, derivatives once."""
        written = sum(inputs[argnum].nbytes for argnum in self.argnums)
        return sum(array.nbytes for array in inputs) + written


def number(value: Any) -> float | None:
    """Return a call's value as a float, from whatever scalar type; None stays None."""
    return None if value is None else float(value)


def library(name: str) -> Any:
    """Import a peer's module by name.

    The peers live in an environment of their own, so a type checker that runs in another one
    must not be asked to resolve them.
    """
    return importlib.import_module(name)
