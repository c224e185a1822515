"""Native code is compiled once: in a process, and in all processes that share a store."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gradloomc.codegen import cache, jit, native
from gradloomc.codegen.cache import Store
from gradloomc.codegen.elf import NotFlat
from gradloomc.codegen.host import Host, decode_host, encode_host, host_key, llvmlite_text, processor_text
from gradloomc.codegen.image import CannotLoad
from gradloomc.codegen.native import compile_module, counts, host

TEXT = "define i64 @answer() nounwind {\n  ret i64 42\n}\n"

# A program of the runtime, its gradient, and the native entry (which comes after some calls).
_PROGRAM = """
import sys
import numpy as np
from gradloom import value_and_grad
from gradloomc.codegen.llvm_process import peak_bytes
from gradloomc.codegen.native import counts, host
from gradloomc.codegen.cache import store

def f(x, y):
    return np.sum(np.tanh(x) * np.exp(-y * y) + np.remainder(x, y) + np.sin(x / y))

x, y = np.linspace(0.1, 2.0, 37), np.linspace(1.0, 3.0, 37)
g = value_and_grad(f, (0, 1))
for _ in range(6):
    value, gradients = g(x, y)
used = "llvmlite" in sys.modules or peak_bytes() > 0
print(counts.compiled, counts.from_disk, counts.linked_by_llvm, used, store().stored)
print(value.hex(), *[z.tobytes().hex() for z in gradients])
"""


def run(directory: Path, before: str = "", **variables: str) -> tuple[list[str], str]:
    """Run the program in a process of its own; return what it counted, and the bits of its results."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "GRADLOOM_CACHE_DIR": str(directory)}
    command = [sys.executable, "-c", before + _PROGRAM]
    done = subprocess.run(command, env=environment | variables, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    counted, bits = done.stdout.splitlines()
    return counted.split(), bits


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A process that has compiled nothing, with an empty store."""
    store = Store(str(tmp_path / "store"))
    monkeypatch.setattr(cache, "_store", store)
    monkeypatch.setattr(native, "_modules", {})
    return store


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "_modules", {})


def test_a_second_process_compiles_nothing(tmp_path: Path) -> None:
    (compiled, from_disk, *rest), bits = run(tmp_path)
    assert int(compiled) >= 2 and from_disk == "0"
    again, same = run(tmp_path)
    assert again == ["0", compiled, "0", "False", "0"]
    assert same == bits
    assert rest[1] == "True"


def test_without_a_store_everything_still_works(tmp_path: Path) -> None:
    _, bits = run(tmp_path)
    for variables in ({"GRADLOOM_CACHE": "0"}, {"GRADLOOM_CACHE_DIR": "/proc/nowhere"}, {"GRADLOOM_CACHE_SIZE": "0"}):
        counted, same = run(tmp_path / "other", **variables)
        assert counted[1] == "0" and counted[4] == "0"
        assert same == bits
    nowhere = {"GRADLOOM_CACHE_DIR": "", "HOME": "", "XDG_CACHE_HOME": ""}
    assert run(tmp_path, **nowhere)[1] == bits


def test_corrupt_entries_are_compiled_again(tmp_path: Path) -> None:
    first, bits = run(tmp_path)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-3] + b"abc")
    again, same = run(tmp_path)
    assert again[:4] == first[:4] and same == bits  # what LLVM says of the machine, it or we store
    assert run(tmp_path)[0][0] == "0"


def test_processes_side_by_side(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "GRADLOOM_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", _PROGRAM]
    running = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outcomes = [process.communicate(timeout=120)[0].splitlines()[1] for process in running]
    assert len(set(outcomes)) == 1
    assert run(tmp_path)[0][0] == "0"


def test_code_of_another_cpu_is_not_used(empty: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert compile_module(TEXT, ["answer"]).source == "llvm"
    forget(monkeypatch)
    assert compile_module(TEXT, ["answer"]).source == "disk"
    here = host()
    for other in (
        Host("0.0.1", here.triple, here.cpu, here.features, here.vector_bits),
        Host(here.version, here.triple, "other", here.features, here.vector_bits),
        Host(here.version, here.triple, here.cpu, here.features + ",-fma", here.vector_bits),
    ):
        forget(monkeypatch)
        monkeypatch.setattr(native, "_host", other)
        assert compile_module(TEXT, ["answer"]).source == "llvm"


def test_in_a_process_memory_comes_first(empty: Store) -> None:
    before = counts.in_memory
    first = compile_module(TEXT, ["answer"])
    second = compile_module(TEXT, ["answer"])
    assert second == (first.addresses, "memory") and counts.in_memory == before + 1
    assert empty.hits == 0


def test_what_is_not_flat_is_linked_by_llvm(empty: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(data: bytes) -> None:
        raise NotFlat("another platform")

    import ctypes

    monkeypatch.setattr(native, "flatten", refuse)
    before = counts.linked_by_llvm
    for source in ("llvm", "disk"):
        forget(monkeypatch)
        module = compile_module(TEXT, ["answer"])
        assert module.source == source
        assert ctypes.CFUNCTYPE(ctypes.c_int64)(module.addresses["answer"])() == 42
    assert counts.linked_by_llvm == before + 2


def test_where_images_cannot_be_loaded_llvm_links(empty: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise CannotLoad("memory must not be made executable here")

    monkeypatch.setattr(native, "load", refuse)
    for source in ("llvm", "disk"):
        forget(monkeypatch)
        assert compile_module(TEXT, ["answer"]).source == source


def test_programs_run_when_llvm_links(tmp_path: Path) -> None:
    """The whole way on a platform without flat images, in this process and in the next."""
    _, bits = run(tmp_path / "flat")
    refusing = "from gradloomc.codegen import elf\nelf._MACHINES.clear()\n"
    (compiled, _, linked, _, _), same = run(tmp_path / "objects", refusing)
    assert linked == compiled and same == bits
    (compiled_again, from_disk, linked, _, _), same = run(tmp_path / "objects", refusing)
    assert compiled_again == "0" and from_disk == linked == compiled and same == bits


def test_text_that_llvm_refuses(empty: Store) -> None:
    with pytest.raises(RuntimeError):
        compile_module("define i64 @f() { ret i32 0 }", ["f"])
    assert empty.stored == 0


# --- the host ---


def test_the_host_is_known_without_llvm(empty: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from gradloomc.codegen import jit

    right = jit.compiler().host
    monkeypatch.setattr(native, "_host", None)
    assert host().signature == right.signature
    monkeypatch.setattr(native, "_host", None)
    monkeypatch.setattr(jit, "compiler", None)  # whoever asks LLVM fails
    if host_key() is not None:
        assert host().signature == right.signature and host().vector_bits == right.vector_bits


def test_a_damaged_host_entry(empty: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    right = host()
    key = host_key()
    if key is not None:
        empty.put(key, b"rubbish")
    monkeypatch.setattr(native, "_host", None)
    assert host().signature == right.signature


def test_hosts_as_bytes() -> None:
    here = host()
    again = decode_host(encode_host(here))
    assert (again.signature, again.vector_bits) == (here.signature, here.vector_bits)
    for data in (b"", b"rubbish", b"N", encode_host(here)[:-2]):
        with pytest.raises(ValueError):
            decode_host(data)


def test_what_the_key_of_a_host_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from gradloomc.codegen import host as module

    if sys.platform == "linux":
        assert processor_text() == processor_text() and b"lags" in (processor_text() or b"Flags")
        assert llvmlite_text()
    keys = set()
    for processor in (b"flags: a", b"flags: a b"):
        for library in (b"0.50", b"0.51"):
            monkeypatch.setattr(module, "processor_text", lambda text=processor: text)
            monkeypatch.setattr(module, "llvmlite_text", lambda text=library: text)
            keys.add(host_key())
    assert len(keys) == 4
    monkeypatch.setattr(module, "processor_text", lambda: None)
    assert host_key() is None


def test_vectors_that_do_not_fit_the_registers_are_kept_in_whole_cache_lines():
    """A function needs a frame pointer from the start, or LLVM cannot align its stack once it has to spill."""
    attributes = host().function_attributes
    width, count = 16, 48
    kind = f"<{width} x float>"
    lines = ["define void @spills(ptr %x) #0 {", "entry:"]
    for k in range(count):
        lines += [f"  %p{k} = getelementptr {kind}, ptr %x, i64 {k}", f"  %v{k} = load {kind}, ptr %p{k}, align 4"]
    for k in range(count):
        lines += [f"  %s{k} = fsub {kind} %v{k}, %v{count - 1 - k}", f"  store {kind} %s{k}, ptr %p{k}, align 4"]
    text = "\n".join([*lines, "  ret void", "}", f"attributes #0 = {{ {attributes} }}"]) + "\n"
    assembly = jit.compiler().assembly(text)
    on_stack = [line for line in assembly.splitlines() if re.search(r"mov[au]p[sd].*mm.*\(%r[sb]p\)", line)]
    unaligned = [line for line in on_stack if re.search(r"movup[sd]", line)]
    assert unaligned == []
    if host().vector_bits == 512:
        assert on_stack
