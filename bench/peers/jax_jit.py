"""jax: `jit(value_and_grad(f))`, on the row's own NumPy source unless jax has a better idiom.

A Hessian-vector product is jitted as jax's documentation writes it: `jvp(grad(f), (x,), (v,))[1]`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from bench.peers.base import Call, Kind, Peer, rebind
from bench.workload import Workload, library, number


class Jax:
    label: ClassVar[str] = "jax"
    kind: ClassVar[Kind] = "library"
    environment: ClassVar[Mapping[str, str]] = {
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_COMPILATION_CACHE": "false",
        "NPROC": "{threads}",  # the size of the thread pool of the CPU client
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen={parallel} intra_op_parallelism_threads={threads}",
    }

    def load(self) -> str:
        self._jax = library("jax")
        self._numpy = library("jax.numpy")
        self._special = library("jax.scipy.special")
        return self._jax.__version__

    def build(self, workload: Workload) -> Call:
        if workload.jax_function is None:
            function = rebind(workload.function, np=self._numpy, special=self._special)
        else:
            function = workload.jax_function()
        if workload.quantity == "value_and_grad":
            compiled = self._jax.jit(self._jax.value_and_grad(function, workload.argnums))
        else:
            compiled = self._jax.jit(self._product(function))
        wait = self._jax.block_until_ready

        def call(*inputs: Any) -> tuple[Any, Any]:
            return wait(compiled(*inputs))

        return call

    def _product(self, function: Callable[..., Any]) -> Call:
        gradient, pushforward = self._jax.grad(function), self._jax.jvp

        def product(point: Any, direction: Any) -> tuple[Any, Any]:
            return None, (pushforward(gradient, (point,), (direction,))[1],)

        return product

    def put(self, inputs: tuple[np.ndarray, ...], workload: Workload) -> tuple[Any, ...]:
        # 64-bit types must be allowed before the first array exists.
        self._jax.config.update("jax_enable_x64", workload.dtype == "float64")
        return tuple(self._jax.device_put(array) for array in inputs)

    def get(self, result: tuple[Any, Any]) -> tuple[float | None, tuple[np.ndarray, ...]]:
        value, derivatives = result
        return number(value), tuple(np.asarray(derivative) for derivative in derivatives)


PEER: Peer = Jax()
