"""torch.compile of `torch.func.grad_and_value(f)`: forward and backward in one joint graph.

Compiling `f` alone splits the graph in two and recomputes the forward half; the joint form is the
strongest way to use torch here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from bench.peers.base import Call, Peer
from bench.peers.torch_eager import OnTensors
from bench.workload import Workload


class TorchJoint(OnTensors):
    label: ClassVar[str] = "torch\ncompile"
    # Each measurement starts without the compiler's caches, so that a first call is a first call.
    environment: ClassVar[Mapping[str, str]] = {
        **OnTensors.environment,
        "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1",
        "TORCHINDUCTOR_COMPILE_THREADS": "1",
    }

    def build(self, workload: Workload) -> Call:
        if workload.quantity == "hvp":
            return self._torch.compile(self.product(workload.torch_function()))
        joint = self._torch.func.grad_and_value(workload.torch_function(), workload.argnums)
        compiled = self._torch.compile(joint)

        def call(*inputs: Any) -> tuple[Any, Any]:
            gradients, value = compiled(*inputs)
            return value, gradients

        return call

    def put(self, inputs: tuple[np.ndarray, ...], workload: Workload) -> tuple[Any, ...]:
        return tuple(self._torch.from_numpy(array) for array in inputs)


PEER: Peer = TorchJoint()
