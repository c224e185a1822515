"""Hand-fused C++: the expert's bar, with gcc's vectorizer and glibc's vector math (libmvec).

A kernel file becomes an extension module in the process's temporary directory; the first call's
time includes g++. Fused loops by an expert are a good bar, not a proven optimum.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from typing import ClassVar

import numpy as np

from bench.peers.base import Call, Kind, OnNumpy, Peer, Unavailable
from bench.workload import CPP_SOURCES, Workload

FLAGS = "-std=c++17 -O3 -ffast-math -march=native -mprefer-vector-width=512 -fPIC".split()
LIBRARIES = ["-lmvec", "-lm"]


class HandFused(OnNumpy):
    label: ClassVar[str] = "C++\nby hand"
    kind: ClassVar[Kind] = "hand"

    def load(self) -> str:
        compiler = os.environ.get("CXX", "g++")
        if shutil.which(compiler) is None:
            raise Unavailable(f"there is no {compiler}")
        if not Path(sysconfig.get_path("include"), "Python.h").exists():
            raise Unavailable("Python.h is missing (on Debian: apt install python3-dev)")
        banner = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=True)
        return banner.stdout.splitlines()[0].split()[-1]

    def build(self, workload: Workload) -> Call:
        folder = Path(tempfile.mkdtemp(prefix="bench-cpp-"))
        try:
            module = folder / "bench_kernel.so"
            self._compile(workload, module)
            loader = importlib.machinery.ExtensionFileLoader("bench_kernel", str(module))
            spec = importlib.util.spec_from_file_location("bench_kernel", module, loader=loader)
            assert spec is not None
            kernel = importlib.util.module_from_spec(spec)
            loader.exec_module(kernel)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return kernel.run

    def _compile(self, workload: Workload, module: Path) -> None:
        scalar = "double" if workload.dtype == "float64" else "float"
        headers = [f"-I{sysconfig.get_path('include')}", f"-I{np.get_include()}"]
        compile_library(CPP_SOURCES / workload.cpp_source, module, f"-DSCALAR={scalar}", *headers)


def compile_library(source: Path, library: Path, *options: str) -> None:
    """Compile one C++ file to a shared library, with the flags that all of them get.

    It is linked apart: with -ffast-math the linker would add code that sets the whole process to flush the smallest
    numbers to zero, NumPy's and everybody else's.

    Raises:
        RuntimeError: the compiler refuses; with the end of what it says.
    """
    compiler, compiled = os.environ.get("CXX", "g++"), library.with_suffix(".o")
    for command in (
        [compiler, *FLAGS, *options, "-c", str(source), "-o", str(compiled)],
        [compiler, "-shared", str(compiled), "-o", str(library), *LIBRARIES],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{compiler} failed: {done.stderr.strip()[-500:]}")


PEER: Peer = HandFused()
