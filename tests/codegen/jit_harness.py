"""Compile and call one elementwise kernel built from `Body` and `Lanes`, for the codegen tests.

Deliberately independent of `gradloomc.codegen.jit`: it needs nothing but LLVM itself, so a fault in
the compiler's own native entry cannot hide one in the arithmetic, or the other way round.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

import llvmlite.binding as llvm
import numpy as np

from gradloomc.codegen.body import Body
from gradloomc.codegen.lanes import Lanes
from gradloomc.codegen.x86 import AVX512

_SCALARS = {"f64": "double", "f32": "float"}
_NUMPY = {"f64": np.float64, "f32": np.float32}
_NATIVE_WIDTH = {"f64": 8, "f32": 16}
_ATTRIBUTES = 'nounwind "prefer-vector-width"="512" "min-legal-vector-width"="512"'


@functools.cache
def target_machine() -> llvm.TargetMachine:
    """Return the host's target machine at codegen level 1."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=1,
        codemodel="jitdefault",
        jit=True,
    )


def host_features() -> frozenset[str]:
    """Return what code for the host may use beyond LLVM's portable instructions."""
    found = llvm.get_host_cpu_features()
    return frozenset({AVX512}) if all(found.get(f"avx512{part}") for part in ("f", "dq", "vl")) else frozenset()


def kernel_text(
    emit: Callable[..., str], dtype: str, width: int, arity: int, features: frozenset[str] = frozenset()
) -> str:
    """Return a module with `void k(ptr x0, .., ptr y, i64 n)`, where `width` divides n."""
    body = Body(entry_label="loop", features=features)
    lanes = Lanes(body, dtype, width)
    scalar, vector = _SCALARS[dtype], lanes.float_type
    align = 8 if dtype == "f64" else 4
    operands = []
    for k in range(arity):
        address = body.fresh(f"getelementptr inbounds {scalar}, ptr %x{k}, i64 %i")
        operands.append(body.fresh(f"load {vector}, ptr {address}, align {align}", vector))
    result = emit(lanes, *operands)
    address = body.fresh(f"getelementptr inbounds {scalar}, ptr %y, i64 %i")
    body.effect(f"store {vector} {result}, ptr {address}, align {align}")
    arguments = "".join(f"ptr noalias %x{k}, " for k in range(arity))
    return "\n".join(
        [
            *body.declarations,
            *body.functions.values(),
            f"define void @k({arguments}ptr noalias %y, i64 %n) {_ATTRIBUTES} {{",
            "entry:",
            "  br label %loop",
            "loop:",
            f"  %i = phi i64 [ 0, %entry ], [ %next, %{body.current_block} ]",
            *body.lines,
            f"  %next = add i64 %i, {width}",
            "  %more = icmp ult i64 %next, %n",
            "  br i1 %more, label %loop, label %exit",
            "exit:",
            "  ret void",
            "}",
        ]
    )


class Kernel:
    """A compiled elementwise kernel, called with arrays like a NumPy function."""

    def __init__(
        self,
        emit: Callable[..., str],
        dtype: str,
        width: int | None = None,
        arity: int = 1,
        features: frozenset[str] | None = None,
    ) -> None:
        """Compile `emit`; `features` are the host's by default, none for the portable code."""
        self.dtype = _NUMPY[dtype]
        self.width = width or _NATIVE_WIDTH[dtype]
        self.text = kernel_text(emit, dtype, self.width, arity, host_features() if features is None else features)
        machine = target_machine()
        module = llvm.parse_assembly(self.text)
        module.triple = llvm.get_process_triple()
        module.data_layout = str(machine.target_data)
        module.verify()
        self.assembly = functools.cache(lambda: machine.emit_assembly(module))
        code = machine.emit_object(module)
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine_for_engine())
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()
        pointers = [ctypes.c_void_p] * (arity + 1)
        prototype = ctypes.CFUNCTYPE(None, *pointers, ctypes.c_int64)
        self.native = prototype(self._engine.get_function_address("k"))

    def __call__(self, *operands: np.ndarray) -> np.ndarray:
        """Apply the kernel to one-dimensional arrays of one length."""
        size = operands[0].size
        padded = -(-max(size, 1) // self.width) * self.width
        buffers = []
        for operand in operands:
            buffer = np.ones(padded, self.dtype)
            buffer[:size] = operand
            buffers.append(buffer)
        result = np.empty(padded, self.dtype)
        self.native(*(b.ctypes.data for b in buffers), result.ctypes.data, padded)
        return result[:size]


def machine_for_engine() -> llvm.TargetMachine:
    """Return a fresh target machine: an execution engine takes ownership of its own."""
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=1,
        codemodel="jitdefault",
        jit=True,
    )
