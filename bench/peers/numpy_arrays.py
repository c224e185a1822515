"""NumPy: the gradient that a careful user derives and writes as array expressions."""

from __future__ import annotations

import numpy as np

from bench.peers.base import Call, OnNumpy
from bench.workload import Workload


class NumpyByHand(OnNumpy):
    label = "numpy\nby hand"
    kind = "hand"

    def load(self) -> str:
        return np.__version__

    def build(self, workload: Workload) -> Call:
        return workload.by_hand


PEER = NumpyByHand()
