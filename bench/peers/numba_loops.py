"""numba: value and gradient as loops, fused by hand, compiled by numba.

Its wheel has no vector math: loops with exp, erf or tanh call the scalar C library.
"""

from __future__ import annotations

from typing import ClassVar

from bench.peers.base import Call, Kind, OnNumpy, Peer
from bench.workload import Workload, library


class NumbaByHand(OnNumpy):
    label: ClassVar[str] = "numba\nby hand"
    kind: ClassVar[Kind] = "hand"

    def load(self) -> str:
        return library("numba").__version__

    def build(self, workload: Workload) -> Call:
        return workload.numba_by_hand()


PEER: Peer = NumbaByHand()
