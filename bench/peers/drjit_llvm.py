"""drjit: the row's own source on its tensors, traced once (`dr.freeze`), compiled by its LLVM backend.

The wheel brings no LLVM: the library is $DRJIT_LIBLLVM_PATH, or the newest one found where Linux
distributions, ldconfig and rustup put it.
"""

from __future__ import annotations

import glob
import os
import pwd
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from bench.peers.base import Call, Inexpressible, Kind, Peer, Unavailable, threads
from bench.peers.namespaces import Names, rebound
from bench.workload import Workload, library

OLDEST = 15  # pointers without types
PLACES = (
    "/usr/lib/*/libLLVM*.so*",
    "/usr/lib/llvm-*/lib/libLLVM*.so*",
    "/usr/lib64/libLLVM*.so*",
    "/usr/lib64/llvm*/lib/libLLVM*.so*",
    "/usr/local/lib/libLLVM*.so*",
    "/opt/homebrew/opt/llvm/lib/libLLVM*.dylib",
    "{home}/.rustup/toolchains/*/lib/libLLVM*.so*",
)
_VERSION = re.compile(r"LLVM(?:-|\.so\.)(\d+)")


def find_llvm(places: tuple[str, ...] = PLACES) -> str | None:
    """Return the newest shared LLVM that is new enough, the user's choice before all; None if there is none."""
    if chosen := os.environ.get("DRJIT_LIBLLVM_PATH"):
        return chosen
    home = pwd.getpwuid(os.getuid()).pw_dir  # $HOME is a temporary folder here
    found = [path for place in places for path in glob.glob(place.format(home=home))]
    versions = [(int(match[1]), path) for path in found if (match := _VERSION.search(Path(path).name))]
    return max(((version, path) for version, path in versions if version >= OLDEST), default=(0, None))[1]


class Drjit:
    label: ClassVar[str] = "drjit"
    kind: ClassVar[Kind] = "library"
    environment: ClassVar[Mapping[str, str]] = {"HOME": "{folder}"}  # its cache of kernels: ~/.drjit

    def load(self) -> str:
        path = find_llvm()
        if path is None:
            raise Unavailable(f"no shared LLVM of version {OLDEST} or newer; set DRJIT_LIBLLVM_PATH")
        os.environ["DRJIT_LIBLLVM_PATH"] = path
        self._drjit = dr = library("drjit")
        if not dr.has_backend(dr.JitBackend.LLVM):
            raise Unavailable(f"its LLVM backend does not start with {path}")
        self._arrays = library("drjit.llvm.ad")
        dr.set_thread_count(threads())
        match = _VERSION.search(Path(path).name)
        return f"{dr.__version__} (LLVM {match[1] if match else '?'})"

    def build(self, workload: Workload) -> Call:
        if workload.quantity == "hvp":
            raise Inexpressible("drjit differentiates once only")
        dr, argnums = self._drjit, workload.argnums
        function = rebound(workload, self._names(), "drjit", dr)
        problems: list[Inexpressible] = []  # dr.freeze replaces what is raised inside

        @dr.freeze
        def step(inputs: list[Any]) -> tuple[Any, list[Any]]:
            inputs = [dr.detach(array) for array in inputs]
            for argnum in argnums:
                dr.enable_grad(inputs[argnum])
            try:
                value = function(*inputs)
            except Inexpressible as error:
                problems.append(error)
                raise
            dr.backward(value)
            return dr.detach(value), [dr.grad(inputs[argnum]) for argnum in argnums]

        def call(*inputs: Any) -> tuple[Any, Any]:
            try:
                results = step(list(inputs))
            except RuntimeError as error:
                raise problems[0] if problems else error from None
            dr.eval(results)
            dr.sync_thread()
            return results

        return call

    def _names(self) -> Names:
        dr = self._drjit

        def log1p(x: Any) -> Any:
            return dr.log(1.0 + x)

        def logaddexp(a: Any, b: Any) -> Any:
            return dr.maximum(a, b) + log1p(dr.exp(-dr.abs(a - b)))

        return Names("drjit", dr, log1p=log1p, logaddexp=logaddexp, where=dr.select)

    def put(self, inputs: tuple[np.ndarray, ...], workload: Workload) -> tuple[Any, ...]:
        kind = self._arrays.TensorXf64 if workload.dtype == "float64" else self._arrays.TensorXf
        arrays = tuple(kind(array) for array in inputs)
        self._drjit.eval(arrays)
        self._drjit.sync_thread()
        return arrays

    def get(self, result: tuple[Any, Any]) -> tuple[float | None, tuple[np.ndarray, ...]]:
        value, gradients = result
        return float(np.ravel(value.numpy())[0]), tuple(gradient.numpy() for gradient in gradients)


PEER: Peer = Drjit()
