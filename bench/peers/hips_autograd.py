"""HIPS autograd: the workload's own NumPy source, on autograd's NumPy and SciPy."""

from __future__ import annotations

from bench.peers.base import Call, OnNumpy, rebind
from bench.workload import Workload, library


class Autograd(OnNumpy):
    label = "autograd"
    kind = "library"

    def load(self) -> str:
        from importlib.metadata import version

        self._autograd = library("autograd")
        self._numpy = library("autograd.numpy")
        self._special = library("autograd.scipy.special")
        return version("autograd")

    def build(self, workload: Workload) -> Call:
        function = rebind(workload.function, np=self._numpy, special=self._special)
        return self._autograd.value_and_grad(function, workload.argnums)


PEER = Autograd()
