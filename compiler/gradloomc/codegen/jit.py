"""LLVM through llvmlite: text in, callable addresses out. The only file that imports llvmlite.

Code is generated without mid-level passes (the text is already vectorised, folded and free of common subexpressions) at
codegen level 1, which gives the run time of level 3 for a fraction of its compile time.
"""

import threading
from typing import Any

import llvmlite.binding as llvm

_lock = threading.Lock()


class Target:
    """The host: its triple, CPU, vector width and the linker that keeps compiled code alive."""

    def __init__(self) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self.triple: str = llvm.get_process_triple()
        self.cpu: str = llvm.get_host_cpu_name()
        features = llvm.get_host_cpu_features()
        self.features: str = features.flatten()
        self.vector_bits = 512 if features.get("avx512f") else 256 if features.get("avx2") else 128
        self.machine = self.new_machine()
        self.layout = str(self.machine.target_data)
        self.linker = llvm.create_lljit_compiler(self.new_machine())
        self.trackers: list[Any] = []  # code lives as long as the process
        self.count = 0

    def new_machine(self) -> Any:
        return llvm.Target.from_triple(self.triple).create_target_machine(
            cpu=self.cpu, features=self.features, opt=1, reloc="default", codemodel="jitdefault", jit=True
        )

    @property
    def function_attributes(self) -> str:
        """Attributes that every generated function carries; without them LLVM halves 512-bit vectors on some CPUs."""
        width = self.vector_bits
        return f'nounwind "prefer-vector-width"="{width}" "min-legal-vector-width"="{width}"'

    def parse(self, text: str) -> Any:
        module = llvm.parse_assembly(text)
        module.triple = self.triple
        module.data_layout = self.layout
        return module

    def assembly(self, text: str) -> str:
        """Return the machine code of a module as assembly text."""
        with _lock:
            return self.machine.emit_assembly(self.parse(text))

    def compile(self, text: str, symbols: list[str]) -> dict[str, int]:
        """Compile a module; return the addresses of `symbols`. The code stays for the life of the process."""
        if not symbols:
            return {}
        with _lock:
            image = self.machine.emit_object(self.parse(text))
            self.count += 1
            builder = llvm.JITLibraryBuilder().add_object_img(image).add_current_process()
            for symbol in symbols:
                builder.export_symbol(symbol)
            tracker = builder.link(self.linker, f"gradloom{self.count}")
            self.trackers.append(tracker)
            return {symbol: tracker[symbol] for symbol in symbols}


_target: Target | None = None


def target() -> Target:
    """Return the host target, made at first use."""
    global _target
    if _target is None:
        with _lock:
            if _target is None:
                _target = Target()
    return _target
