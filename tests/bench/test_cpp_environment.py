"""The C++ kernels must leave the process as it is: their fast arithmetic is their own affair."""

import numpy as np
import pytest

from bench.peers.base import Unavailable
from bench.peers.cpp import HandFused
from bench.workloads import rosenbrock


def test_smallest_numbers_survive_loading_a_kernel() -> None:
    peer = HandFused()
    try:
        peer.load()
    except Unavailable as reason:
        pytest.skip(str(reason))
    peer.build(rosenbrock.WORKLOADS[0])
    tiny = np.full(9, 1e-310)
    assert np.all(tiny * 0.5 > 0)
