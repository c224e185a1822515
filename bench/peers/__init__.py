"""The columns of the benchmark, in the order in which the table shows them.

The table names modules, not objects: a process imports the one adapter that it measures.
"""

from __future__ import annotations

from bench.peers.base import Peer
from bench.workload import library

# name in --peers and in the JSON -> module with a `PEER`
PEERS: dict[str, str] = {
    "gradloom": "bench.peers.compiled",
    "cpp": "bench.peers.cpp",
    "numba": "bench.peers.numba_loops",
    "numpy": "bench.peers.numpy_arrays",
    "jax": "bench.peers.jax_jit",
    "torch_compile": "bench.peers.torch_joint",
    "torch": "bench.peers.torch_eager",
    "autograd": "bench.peers.hips_autograd",
    "drjit": "bench.peers.drjit_llvm",
    "pytensor": "bench.peers.pytensor_graph",
    "casadi": "bench.peers.casadi_graph",
}


def find(name: str) -> Peer:
    """Return the adapter called `name`; raise `KeyError` if there is none."""
    return library(PEERS[name]).PEER
