"""The rows of the benchmark, in the order in which the table shows them."""

from __future__ import annotations

from fnmatch import fnmatchcase

from bench.workload import Workload
from bench.workloads import (
    black_scholes,
    chain,
    gmm,
    layer_norm_gelu,
    logistic,
    lstm_cell,
    nbody,
    rosenbrock,
    rosenbrock_hvp,
    softmax,
    stencil,
    two_layer,
)

WORKLOADS: tuple[Workload, ...] = (
    *rosenbrock.WORKLOADS,
    *rosenbrock_hvp.WORKLOADS,
    *black_scholes.WORKLOADS,
    *chain.WORKLOADS,
    *logistic.WORKLOADS,
    *two_layer.WORKLOADS,
    *lstm_cell.WORKLOADS,
    *softmax.WORKLOADS,
    *layer_norm_gelu.WORKLOADS,
    *gmm.WORKLOADS,
    *nbody.WORKLOADS,
    *stencil.WORKLOADS,
)


def find(name: str) -> Workload:
    """Return the workload called `name`; raise `KeyError` if there is none."""
    return {workload.name: workload for workload in WORKLOADS}[name]


def select(patterns: list[str]) -> list[Workload]:
    """Return the workloads whose names match a pattern: a shell pattern or the start of a name.

    Raises `ValueError` for a pattern that matches nothing.
    """
    chosen = []
    for pattern in patterns:
        matches = [w for w in WORKLOADS if fnmatchcase(w.name, pattern + "*")]
        if not matches:
            names = ", ".join(workload.name for workload in WORKLOADS)
            raise ValueError(f"no row is called '{pattern}'; there are {names}")
        chosen.extend(matches)
    return [workload for workload in WORKLOADS if workload in chosen]
