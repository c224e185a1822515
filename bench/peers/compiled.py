"""gradloom itself: the plain NumPy source of the workload, compiled with its gradient."""

from __future__ import annotations

from bench.peers.base import Call, OnNumpy
from bench.workload import Workload, library


class Gradloom(OnNumpy):
    label = "gradloom"
    kind = "gradloom"

    def load(self) -> str:
        self._gradloom = library("gradloom")
        return getattr(self._gradloom, "__version__", "?")

    def build(self, workload: Workload) -> Call:
        return self._gradloom.value_and_grad(workload.function, argnums=workload.argnums)


PEER = Gradloom()
