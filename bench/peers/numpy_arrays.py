"""NumPy: the gradient that a careful user derives and writes as array expressions."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from bench.peers.base import Call, Kind, OnNumpy, Peer
from bench.workload import Workload


class NumpyByHand(OnNumpy):
    label: ClassVar[str] = "numpy\nby hand"
    kind: ClassVar[Kind] = "hand"

    def load(self) -> str:
        return np.__version__

    def build(self, workload: Workload) -> Call:
        return workload.by_hand


PEER: Peer = NumpyByHand()
