"""torch, eager: build the tape, then `torch.autograd.grad`.

A Hessian-vector product is `torch.func.jvp` of `torch.func.grad`, forward over reverse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from bench.peers.base import Call, Kind, Peer, threads
from bench.workload import Workload, library, number


class OnTensors:
    """What both torch columns share: the number of threads, and arrays that share memory with NumPy's."""

    kind: ClassVar[Kind] = "library"
    environment: ClassVar[Mapping[str, str]] = {"MKL_NUM_THREADS": "{threads}"}

    def load(self) -> str:
        self._torch = library("torch")
        self._torch.set_num_threads(threads())
        return self._torch.__version__

    def product(self, function: Callable[..., Any]) -> Call:
        """Return the Hessian-vector product of `function`, forward over reverse."""
        pushforward, gradient = self._torch.func.jvp, self._torch.func.grad(function)

        def call(point: Any, direction: Any) -> tuple[Any, Any]:
            return None, (pushforward(gradient, (point,), (direction,))[1],)

        return call

    def get(self, result: tuple[Any, Any]) -> tuple[float | None, tuple[np.ndarray, ...]]:
        value, derivatives = result
        return number(value), tuple(derivative.numpy() for derivative in derivatives)


class TorchEager(OnTensors):
    label: ClassVar[str] = "torch\neager"

    def build(self, workload: Workload) -> Call:
        function = workload.torch_function()
        if workload.quantity == "hvp":
            return self.product(function)
        gradients_of = self._torch.autograd.grad

        def call(*inputs: Any) -> tuple[Any, Any]:
            value = function(*inputs)
            return value.detach(), gradients_of(value, [inputs[i] for i in workload.argnums])

        return call

    def put(self, inputs: tuple[np.ndarray, ...], workload: Workload) -> tuple[Any, ...]:
        tensors = tuple(self._torch.from_numpy(array) for array in inputs)
        if workload.quantity == "hvp":
            return tensors
        for argnum in workload.argnums:
            tensors[argnum].requires_grad_()
        return tensors


PEER: Peer = TorchEager()
