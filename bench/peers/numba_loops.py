"""numba: value and gradient as loops, fused by hand, compiled by numba.

Its wheel has no vector math: loops with exp, erf or tanh call the scalar C library.
"""

from __future__ import annotations

from bench.peers.base import Call, OnNumpy
from bench.workload import Workload, library


class NumbaByHand(OnNumpy):
    label = "numba\nby hand"
    kind = "hand"

    def load(self) -> str:
        return library("numba").__version__

    def build(self, workload: Workload) -> Call:
        return workload.numba_by_hand()


PEER = NumbaByHand()
