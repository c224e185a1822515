"""LLVM through llvmlite: text in, objects or callable addresses out. The only file that imports llvmlite.

Importing it takes longer than a small compilation, so nothing imports this file before it has to: compiled code is
asked for in `native.py`, the machine in `host.py`.

Code is generated without mid-level passes (the text is already vectorised, folded and free of common subexpressions).
Level 1 gives the run time of level 3 for a fraction of its compile time; level 0 compiles three to eight times faster
than that, to code that is 1.1 to 1.8 times as slow. The code is position-independent with
constants near the code, so that an instruction can name one as its operand: LLVM's default for compilation in memory
loads a 64-bit address into a register first.
"""

from __future__ import annotations

import os
import threading

import llvmlite
import llvmlite.binding as llvm

from gradloomc.codegen.host import Host

TYPE_CHECKING = False  # LLVM's process starts without `typing`
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

_lock = threading.Lock()
if hasattr(os, "register_at_fork"):
    # A child that is forked while another thread compiles would wait for llvmlite's own lock for ever.
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


def _vector_bits(features: Mapping[str, bool]) -> int:
    """Return the width of a vector register; 512 bits mean AVX-512 with its parts f, dq and vl (see x86.py)."""
    if all(features.get(f"avx512{part}") for part in ("f", "dq", "vl")):
        return 512
    return 256 if features.get("avx2") else 128


class Compiler:
    """LLVM for the host, and its linker, which keeps what was linked alive for the life of the process."""

    def __init__(self) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        features = llvm.get_host_cpu_features()
        self.host = Host(
            llvmlite.__version__,
            llvm.get_process_triple(),
            llvm.get_host_cpu_name(),
            features.flatten(),
            _vector_bits(features),
        )
        self.machines: dict[int, Any] = {}
        self.layout = str(self._machine(1).target_data)
        self.linker: Any = None
        self.trackers: list[Any] = []
        self.count = 0

    def _new_machine(self, level: int) -> Any:
        target = llvm.Target.from_triple(self.host.triple)
        return target.create_target_machine(
            cpu=self.host.cpu, features=self.host.features, opt=level, reloc="pic", codemodel="small", jit=True
        )

    def _machine(self, level: int) -> Any:
        if level not in self.machines:
            self.machines[level] = self._new_machine(level)
        return self.machines[level]

    def parse(self, text: str) -> Any:
        module = llvm.parse_assembly(text)
        module.triple = self.host.triple
        module.data_layout = self.layout
        return module

    def assembly(self, text: str) -> str:
        """Return the machine code of a module as assembly text."""
        with _lock:
            return self._machine(1).emit_assembly(self.parse(text))

    def emit(self, text: str, level: int = 1) -> bytes:
        """Compile a module; return the relocatable object."""
        with _lock:
            self.count += 1
            return self._machine(level).emit_object(self.parse(text))

    def link(self, data: bytes, symbols: Sequence[str], given: Mapping[str, int]) -> dict[str, int]:
        """Put an object into memory; return the addresses of `symbols`.

        Args:
            given: addresses of functions that are not found in the process.
        """
        with _lock:
            if self.linker is None:
                self.linker = llvm.create_lljit_compiler(self._new_machine(1))
            builder = llvm.JITLibraryBuilder().add_object_img(data).add_current_process()
            for name, address in given.items():
                builder.import_symbol(name, address)
            for symbol in symbols:
                builder.export_symbol(symbol)
            tracker = builder.link(self.linker, f"gradloom{len(self.trackers)}")
            self.trackers.append(tracker)
            return {symbol: tracker[symbol] for symbol in symbols}


_compiler: Compiler | None = None


def compiler() -> Compiler:
    """Return the compiler for the host, made at first use."""
    global _compiler
    with _lock:
        if _compiler is None:
            _compiler = Compiler()
        return _compiler
