"""The columns that run a row's own source under their names, and the libraries they need.

Stand-ins take the place of libraries that are not installed here: what is tested is the adapters.
"""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import special

from bench.measure import measure_pair
from bench.peers import PEERS, drjit_llvm, pytensor_graph, versions
from bench.peers.base import Inexpressible, Unavailable, threads
from bench.peers.namespaces import Names, rebound
from bench.peers.versions import VERSIONS
from bench.workload import library
from bench.workloads import find, gmm


def test_names_come_from_the_functions_and_then_from_the_sources() -> None:
    names = Names("some library", SimpleNamespace(exp=np.sin, sin=np.sin), exp=np.exp)
    assert (names.exp, names.sin) == (np.exp, np.sin) and names.newaxis is None
    with pytest.raises(Inexpressible, match="some library has nothing like 'einsum'"):
        _ = names.einsum


def test_the_row_s_source_runs_under_other_names() -> None:
    workload = find("black_scholes_f64")
    inputs = workload.inputs("test")
    calls = []

    def erf(x: np.ndarray) -> np.ndarray:
        calls.append(x.shape)
        return special.erf(x)

    function = rebound(workload, Names("numpy", np, erf=erf))
    assert function(*inputs) == workload.function(*inputs) and len(calls) == 2


def test_what_a_library_cannot_do_is_inexpressible_with_its_words() -> None:
    workload = find("rosenbrock_10")
    function = rebound(workload, Names("nothing"))
    with pytest.raises(Inexpressible, match="nothing has nothing like 'sum'"):
        function(*workload.inputs("test"))

    class NoSlices:
        def __getitem__(self, index: object) -> None:
            raise TypeError("no slices here\nat all")

    with pytest.raises(Inexpressible, match=r"^no slices here$"):
        rebound(workload, Names("numpy", np))(NoSlices())


def test_an_inexpressible_row_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.peers import numpy_arrays

    def cannot(self: object, workload: object) -> None:
        raise Inexpressible("only rows without sums")

    monkeypatch.setattr(numpy_arrays.NumpyByHand, "build", cannot)
    pair = measure_pair("rosenbrock_10", "numpy", "test", seconds=0.002)
    assert (pair.status, pair.reason) == ("inexpressible", "only rows without sums")


def test_the_newest_llvm_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DRJIT_LIBLLVM_PATH", raising=False)
    place = (str(tmp_path / "libLLVM*.so*"),)
    (tmp_path / "libLLVM-14.so").touch()
    (tmp_path / "libLLVM.so").touch()
    assert drjit_llvm.find_llvm(place) is None  # too old, and one that does not say
    (tmp_path / "libLLVM-15.so.1").touch()
    assert drjit_llvm.find_llvm(place) == str(tmp_path / "libLLVM-15.so.1")
    (tmp_path / "libLLVM.so.22.1").touch()
    assert drjit_llvm.find_llvm(place) == str(tmp_path / "libLLVM.so.22.1")
    monkeypatch.setenv("DRJIT_LIBLLVM_PATH", "/mine")
    assert drjit_llvm.find_llvm(place) == "/mine"


def test_drjit_without_llvm_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drjit_llvm, "find_llvm", lambda: None)
    with pytest.raises(Unavailable, match="DRJIT_LIBLLVM_PATH"):
        drjit_llvm.PEER.load()


def test_threads_are_what_the_harness_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENCH_THREADS", raising=False)
    assert threads() == 1
    monkeypatch.setenv("BENCH_THREADS", "2")
    assert threads() == 2


@pytest.mark.parametrize("peer", ["drjit", "pytensor", "casadi"])
def test_a_library_that_is_installed_agrees_with_the_reference(peer: str) -> None:
    pair = measure_pair("rosenbrock_10", peer, "test", seconds=0.002)
    try:
        library(peer)
    except ImportError:
        assert pair.status == "unavailable" and peer in pair.reason
    else:
        assert pair.status == "ok" or "LLVM" in pair.reason


def test_rows_that_a_library_says_in_its_own_way_name_rows_and_columns_that_there_are() -> None:
    for column, row in VERSIONS:
        assert column in PEERS and find(row).name == row


def test_a_version_takes_the_place_of_the_row_s_source(monkeypatch: pytest.MonkeyPatch) -> None:
    workload = find("rosenbrock_10")
    monkeypatch.setitem(VERSIONS, ("numpy", workload.name), lambda module: lambda x: module.sum(x))
    inputs = workload.inputs("test")
    assert rebound(workload, Names("numpy", np), "numpy", np)(*inputs) == np.sum(inputs[0])
    assert rebound(workload, Names("numpy", np))(*inputs) == workload.function(*inputs)


def test_the_packed_entries_below_the_diagonal_are_those_of_the_row() -> None:
    d = 4
    entries = np.arange(2 * d * (d + 1) // 2, dtype=float).reshape(2, -1)
    lower = gmm.below_diagonal(entries, d)
    packed = versions._packed(d)
    assert len(packed) == d * (d - 1) // 2
    for (row, column), place in packed.items():
        assert row > column and (lower[:, row, column] == entries[:, place]).all()


def test_the_version_for_drjit_agrees_with_the_row_s_source() -> None:
    # NumPy has what it calls, but for dr.detach; exponents and slices mean the same.
    module = Names("numpy", np, detach=lambda x: x)
    inputs = find("gmm").inputs("test")
    found = np.squeeze(versions.gmm_drjit(module)(*inputs))
    assert found == pytest.approx(find("gmm").function(*inputs), rel=1e-12)


def test_pytensor_shows_the_faster_mode_and_tries_no_second_one_after_a_slow_compilation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiled: list[str] = []

    def compile_in(arguments: object, outputs: object, mode: str) -> object:
        compiled.append(mode)
        return Function(mode)

    class Function:
        trust_input = False

        def __init__(self, mode: str) -> None:
            self.mode = mode

        def __call__(self, x: np.ndarray) -> None:
            time.sleep(0.02 if self.mode == "CVM" else 0.0)

    adapter = pytensor_graph.Pytensor()
    adapter._pytensor = SimpleNamespace(function=compile_in)
    adapter._inputs = (np.ones(1),)
    assert adapter._fastest([], []).mode == "NUMBA" and compiled == ["CVM", "NUMBA"]
    compiled.clear()
    monkeypatch.setattr(pytensor_graph, "PATIENCE", 0.0)
    assert adapter._fastest([], []).mode == "CVM" and compiled == ["CVM"]
