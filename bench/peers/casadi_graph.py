"""casadi: the row's own source on its symbols, run by its virtual machine on given buffers.

Scalar expressions (SX) for up to a thousand numbers, matrix expressions (MX) above. casadi has
matrices only, stored by columns, in float64. It writes into buffers that exist: no other column is
spared the allocation of its results.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from bench.peers.base import Call, Inexpressible, Kind, Peer
from bench.peers.namespaces import Names, rebound
from bench.workload import Workload, library, number

MOST_SCALARS = 1000


class Casadi:
    label: ClassVar[str] = "casadi"
    kind: ClassVar[Kind] = "library"
    environment: ClassVar[Mapping[str, str]] = {}

    def __init__(self) -> None:
        self.note = ""

    def load(self) -> str:
        self._casadi = library("casadi")
        return self._casadi.__version__

    def put(self, inputs: tuple[np.ndarray, ...], workload: Workload) -> tuple[Any, ...]:
        if workload.dtype != "float64":
            raise Inexpressible("casadi computes in float64 only")
        if any(array.ndim > 2 for array in inputs):
            raise Inexpressible("casadi has matrices only, no arrays of three dimensions")
        self._inputs = tuple(np.asfortranarray(array) for array in inputs)
        return ()  # the inputs' buffers belong to the function

    def build(self, workload: Workload) -> Call:
        ca, inputs = self._casadi, self._inputs
        small = sum(array.size for array in inputs) <= MOST_SCALARS
        self.note = "scalar expressions (SX)" if small else "matrix expressions (MX)"
        symbol = (ca.SX if small else ca.MX).sym
        arguments = [symbol(f"x{i}", *array.shape) for i, array in enumerate(inputs)]
        has_value = workload.quantity == "value_and_grad"
        function = ca.Function("derivatives", arguments, self._outputs(workload, arguments))
        shapes = [inputs[argnum].shape for argnum in workload.argnums]
        value = np.empty(1)
        derivatives = [np.empty(shape, order="F") for shape in shapes]
        results = [value, *derivatives] if has_value else derivatives
        buffer, run = function.buffer()
        for i, array in enumerate(inputs):
            buffer.set_arg(i, array.T.data)
        for i, array in enumerate(results):
            buffer.set_res(i, array.T.data)
        self._alive = function, buffer, results  # its buffers own nothing
        done = (value if has_value else None, tuple(derivatives))

        def call() -> tuple[Any, Any]:
            run()
            return done

        return call

    def _outputs(self, workload: Workload, arguments: list[Any]) -> list[Any]:
        """The expressions: the value and its gradients, or the product of the Hessian with a direction.

        A sparse gradient would be written without its zeros, so all are made dense.
        """
        ca = self._casadi
        function = rebound(workload, _names(ca), "casadi", ca)
        if workload.quantity == "hvp":
            point, direction = arguments
            return [ca.densify(ca.jtimes(ca.gradient(function(point), point), point, direction))]
        value = function(*arguments)
        if value.shape != (1, 1):
            raise Inexpressible(f"the sum is a matrix of shape {value.shape}")
        return [value, *[ca.densify(ca.gradient(value, arguments[argnum])) for argnum in workload.argnums]]

    def get(self, result: tuple[Any, Any]) -> tuple[float | None, tuple[np.ndarray, ...]]:
        value, derivatives = result
        return number(None if value is None else value[0]), tuple(np.array(one, order="C") for one in derivatives)


def _names(ca: Any) -> Names:
    """casadi's functions under NumPy's names; what is summed over is a matrix, or a column for a vector."""

    def total(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
        if axis is None:
            return ca.sum1(ca.sum2(x))
        if x.shape[1] == 1 or not keepdims:
            raise Inexpressible("casadi's vectors are columns: sums over an axis keep it")
        return ca.sum1(x) if axis == 0 else ca.sum2(x)

    def mean(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
        count = x.numel() if axis is None else x.shape[axis]
        return total(x, axis, keepdims) / count

    def logaddexp(a: Any, b: Any) -> Any:
        return ca.fmax(a, b) + ca.log1p(ca.exp(-ca.fabs(a - b)))

    return Names("casadi", ca, sum=total, mean=mean, logaddexp=logaddexp, maximum=ca.fmax, minimum=ca.fmin, abs=ca.fabs)


PEER: Peer = Casadi()
