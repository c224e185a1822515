"""gradloom itself: the plain NumPy source of the workload, compiled with its derivatives."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from bench.peers.base import Call, Kind, OnNumpy, Peer, Unavailable
from bench.workload import Workload, library

# Long enough for any row to be called often; how long at most a program is called that is still in its first tier.
SETTLING_SECONDS, MOST_SECONDS = 0.5, 3.0


class Gradloom(OnNumpy):
    label: ClassVar[str] = "gradloom"
    kind: ClassVar[Kind] = "gradloom"

    def load(self) -> str:
        self._gradloom = library("gradloom")
        if not hasattr(self._gradloom, "value_and_grad"):
            raise Unavailable("this gradloom has no value_and_grad")
        return getattr(self._gradloom, "__version__", "?")

    def settle(self, call: Call, arguments: tuple[Any, ...]) -> None:
        """Call until the second tier of native code is in place, as it is after the first second of any program."""
        tiers = library("gradloomc.codegen.tiers").tiers
        start = time.perf_counter()
        while (spent := time.perf_counter() - start) < SETTLING_SECONDS or (tiers.waiting and spent < MOST_SECONDS):
            call(*arguments)
        tiers.settle()

    def build(self, workload: Workload) -> Call:
        if workload.quantity == "value_and_grad":
            return self._gradloom.value_and_grad(workload.function, argnums=workload.argnums)
        hvp, function = self._gradloom.hvp, workload.function

        def call(point: Any, direction: Any) -> tuple[Any, Any]:
            return None, (hvp(function, (point,), (direction,)),)

        return call


PEER: Peer = Gradloom()
