"""pytensor: the row's own source on symbolic arrays, compiled to numba or to C, whichever is faster.

Both ways are tried on the row's inputs, the other one only if the first compiled in reasonable time;
the note of a measurement says which one it shows, and the time spent on the other one is not counted
as part of the first call.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np

from bench.peers.base import Call, Kind, OnNumpy, Peer
from bench.peers.namespaces import Names, rebound
from bench.workload import Workload, library

MODES = {"CVM": "C linker", "NUMBA": "numba mode"}  # in the order in which they are tried
PATIENCE = 40.0  # seconds of compiling, after which the other mode, mostly slower to compile, is not tried


class Compiled(NamedTuple):
    """One way to compile: seconds a call, seconds until the first result, what to call, its name."""

    per_call: float
    first: float
    function: Any
    mode: str


class Pytensor(OnNumpy):
    label: ClassVar[str] = "pytensor"
    kind: ClassVar[Kind] = "library"
    environment: ClassVar[Mapping[str, str]] = {
        "PYTENSOR_FLAGS": "base_compiledir={folder}",
        "NUMBA_CACHE_DIR": "{folder}",
    }

    def __init__(self) -> None:
        self.note = ""
        self.uncounted = 0.0

    def load(self) -> str:
        self._pytensor = library("pytensor")
        self._tensor = library("pytensor.tensor")
        return self._pytensor.__version__

    def put(self, inputs: tuple[np.ndarray, ...], workload: Workload) -> tuple[Any, ...]:
        self._inputs = inputs
        # Otherwise a Python float that float32 cannot hold exactly makes a float32 row float64.
        self._pytensor.config.floatX = workload.dtype
        return inputs

    def build(self, workload: Workload) -> Call:
        tensor = self._tensor
        start = time.perf_counter()
        arguments = [tensor.tensor(f"x{i}", dtype=x.dtype, shape=x.shape) for i, x in enumerate(self._inputs)]
        outputs = self._outputs(workload, arguments)
        written = time.perf_counter() - start
        best = self._fastest(arguments, outputs)
        self.note = MODES[best.mode] + (", the only mode tried" if best.first > PATIENCE else "")
        self.uncounted = time.perf_counter() - start - written - best.first
        function = best.function
        if workload.quantity == "hvp":
            return lambda *inputs: (None, function(*inputs))

        def call(*inputs: Any) -> tuple[Any, Any]:
            value, *gradients = function(*inputs)
            return value, gradients

        return call

    def _outputs(self, workload: Workload, arguments: list[Any]) -> list[Any]:
        """The graph: the value and its gradients, or the product of the Hessian with a direction."""
        tensor, grad = self._tensor, self._pytensor.grad
        function = rebound(workload, Names("pytensor", tensor, logaddexp=self._logaddexp), "pytensor", tensor)
        if workload.quantity == "hvp":
            point, direction = arguments
            return [grad(tensor.sum(grad(function(point), point) * direction), point)]
        value = function(*arguments)
        return [value, *grad(value, [arguments[i] for i in workload.argnums])]

    def _logaddexp(self, a: Any, b: Any) -> Any:
        """log(eᵃ + eᵇ) = max(a, b) + log1p(exp(-|a - b|))."""
        tensor = self._tensor
        return tensor.maximum(a, b) + tensor.log1p(tensor.exp(-tensor.abs(a - b)))

    def _fastest(self, arguments: list[Any], outputs: list[Any]) -> Compiled:
        """Compile in every mode, as far as there is patience; raise what the last one raised if none works."""
        tried = []
        problem: Exception | None = None
        for mode in MODES:
            start = time.perf_counter()
            try:
                function = self._pytensor.function(arguments, outputs, mode=mode)
                function.trust_input = True
                function(*self._inputs)
            except Exception as error:
                problem = error
                continue
            first = time.perf_counter() - start
            per_call = min(_seconds(function, self._inputs) for _ in range(3))
            tried.append(Compiled(per_call, first, function, mode))
            if first > PATIENCE:
                break
        if not tried:
            assert problem is not None
            raise problem
        return min(tried)


def _seconds(function: Any, inputs: tuple[np.ndarray, ...]) -> float:
    start = time.perf_counter()
    function(*inputs)
    return time.perf_counter() - start


PEER: Peer = Pytensor()
