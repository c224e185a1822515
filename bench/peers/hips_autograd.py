"""HIPS autograd: the workload's own NumPy source, on autograd's NumPy and SciPy."""

from __future__ import annotations

from typing import Any, ClassVar

from bench.peers.base import Call, Kind, OnNumpy, Peer, rebind
from bench.workload import Workload, library


class Autograd(OnNumpy):
    label: ClassVar[str] = "autograd"
    kind: ClassVar[Kind] = "library"

    def load(self) -> str:
        from importlib.metadata import version

        self._autograd = library("autograd")
        self._numpy = library("autograd.numpy")
        self._special = library("autograd.scipy.special")
        return version("autograd")

    def build(self, workload: Workload) -> Call:
        function = rebind(workload.function, np=self._numpy, special=self._special)
        if workload.quantity == "value_and_grad":
            return self._autograd.value_and_grad(function, workload.argnums)
        product = self._autograd.hessian_vector_product(function)

        def call(point: Any, direction: Any) -> tuple[Any, Any]:
            return None, (product(point, direction),)

        return call


PEER: Peer = Autograd()
