"""LLVM in a process of its own: the same code, none of its memory here, and nothing that goes wrong there ends us."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gradloomc.codegen import jit, llvm_process
from gradloomc.codegen.llvm_process import LlvmProcess, llvm

TEXT = "define i64 @answer() nounwind {\n  ret i64 42\n}\n"

needs_process = pytest.mark.skipif(not llvm_process._possible(), reason="no process for LLVM on this system")

_PROGRAM = """
import sys
import numpy as np
from gradloom import value_and_grad
from gradloomc.codegen import llvm_process
from gradloomc.codegen.native import counts

def f(x):
    return np.sum(np.tanh(x) * np.exp(-x * x))

for _ in range(6):
    value, gradient = value_and_grad(f)(np.linspace(0.1, 2.0, 37))
print(counts.compiled > 0, "llvmlite" in sys.modules, llvm_process.peak_bytes() > 0)
print(value.hex(), gradient.tobytes().hex())
"""


def run(program: str, **variables: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "GRADLOOM_CACHE": "off"}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment | variables, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def process() -> Iterator[LlvmProcess]:
    made = LlvmProcess()
    yield made
    made.forget()


@needs_process
def test_this_process_never_loads_llvm() -> None:
    compiled, loaded, peak, *results = run(_PROGRAM).split()
    assert (compiled, loaded, peak) == ("True", "False", "True")
    compiled, loaded, peak, *same = run(_PROGRAM, GRADLOOM_LLVM_PROCESS="off").split()
    assert (compiled, loaded, peak) == ("True", "True", "False")
    assert results == same


@needs_process
def test_it_says_the_same_as_llvm_here(process: LlvmProcess) -> None:
    here = jit.compiler()
    assert process.host.signature == here.host.signature and process.host.vector_bits == here.host.vector_bits
    for level in (0, 1):
        assert process.emit(TEXT, level) == here.emit(TEXT, level)
    assert process.assembly(TEXT) == here.assembly(TEXT)
    large = TEXT + "; " + "x" * (1 << 20)  # more than fits into a socket at once
    assert process.emit(large) == here.emit(large)
    assert process.started == 1


@needs_process
def test_what_is_expected_is_compiled_meanwhile_and_once(process: LlvmProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[bytes] = []
    send = process._send
    monkeypatch.setattr(process, "_send", lambda data: (sent.append(data), send(data)))
    texts = [TEXT.replace("42", str(k)) for k in range(5)]
    for text in [*texts, texts[0]]:
        process.expect(text)
    assert len(sent) == 5  # nothing was waited for
    assert process._host is None or not process._waiting
    here = jit.compiler()
    for text in reversed(texts):
        assert process.emit(text) == here.emit(text)
    assert len(sent) == 5 and process.started == 1 and not process._waiting
    assert process.emit(texts[0]) == here.emit(texts[0])
    assert len(sent) == 6


@needs_process
def test_neither_side_waits_for_the_other_to_read(process: LlvmProcess) -> None:
    """Requests and answers larger than the sockets hold are on their way at once."""
    values = ", ".join(f"i64 {k}" for k in range(60_000))
    texts = [f"@t{k} = constant [60000 x i64] [{values}]\n{TEXT}" for k in range(4)]
    for text in texts:
        process.expect(text, 0)
    answers = [process.emit(text, 0) for text in texts]
    assert min(map(len, answers)) > 480_000 and process.started == 1


@needs_process
def test_what_is_expected_when_it_ends_is_asked_again(process: LlvmProcess) -> None:
    right = process.emit(TEXT)
    os.kill(process.pid, signal.SIGKILL)
    process.expect(TEXT)
    assert process.emit(TEXT) == right and process.started == 2


@needs_process
@pytest.mark.parametrize("asked", ["host", "emit", "expect"])
def test_it_may_end_before_anybody_has_heard_from_it(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is started long before it is needed, and waits for work only so long."""
    with monkeypatch.context() as patch:
        patch.setattr(llvm_process, "_START", "raise SystemExit")
        process = LlvmProcess()
        assert process._ready(llvm_process._READ)  # the other end is closed
    if asked == "expect":
        process.expect(TEXT)
    if asked != "emit":
        assert process.host.signature == jit.compiler().host.signature
    assert process.emit(TEXT) == jit.compiler().emit(TEXT) and process.started == 2
    process.forget()


@needs_process
def test_it_imports_what_it_needs() -> None:
    program = """
import sys
sys.path[:0] = sys.argv[1:]
from gradloomc.codegen import llvm_server
llvm_server._import_jit().compiler()
print(*sorted(sys.modules))
"""
    command = [sys.executable, "-I", "-S", "-c", program, *llvm_process._paths()]
    modules = set(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.split())
    assert "llvmlite.binding.targets" in modules
    assert not modules & {"numpy", "typing", "re", "llvmlite.ir.types", "llvmlite.binding.executionengine"}


@needs_process
def test_on_a_new_machine_it_starts_with_the_import(tmp_path: Path) -> None:
    program = "import gradloom\nfrom gradloomc.codegen import llvm_process\nprint(llvm_process.has_begun())"
    store = {"GRADLOOM_CACHE": "", "GRADLOOM_CACHE_DIR": str(tmp_path / "store")}
    assert [run(program, **store) for _ in range(2)] == ["True\n", "False\n"]
    (tmp_path / "empty").mkdir()
    empty = store | {"GRADLOOM_CACHE_DIR": str(tmp_path / "empty")}
    assert [run(program, **empty) for _ in range(2)] == ["True\n", "False\n"]
    (tmp_path / "file").touch()
    nowhere = {"GRADLOOM_CACHE": "", "GRADLOOM_CACHE_DIR": str(tmp_path / "file" / "store")}
    assert run(program, **nowhere) == run(program) == "False\n"  # no place, or none wanted


@needs_process
def test_errors_come_back(process: LlvmProcess) -> None:
    with pytest.raises(RuntimeError, match="expected"):
        process.emit("define i64 @answer( {")
    assert process.emit(TEXT) and process.started == 1


@needs_process
def test_it_is_started_again_when_it_has_ended(process: LlvmProcess) -> None:
    assert process.emit(TEXT)
    os.kill(process.pid, signal.SIGKILL)
    assert process.emit(TEXT) and process.started == 2


@needs_process
def test_a_text_that_llvm_does_not_survive(process: LlvmProcess) -> None:
    # An instruction of another processor than any that this runs on: LLVM aborts instead of raising.
    text = "declare i32 @llvm.hexagon.A2.abs(i32)\n\ndefine i32 @f(i32 %x) {\n"
    text += "  %y = call i32 @llvm.hexagon.A2.abs(i32 %x)\n  ret i32 %y\n}\n"
    with pytest.raises(RuntimeError, match="LLVM ended without an answer"):
        process.emit(text)
    assert process.emit(TEXT) and process.started == 3


@needs_process
@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="no /proc")
def test_it_ends_with_this_end(process: LlvmProcess) -> None:
    assert process.emit(TEXT)
    pid = process.pid
    assert _is_running(pid)
    process.forget()
    end = time.monotonic() + 30
    while _is_running(pid):
        assert time.monotonic() < end
        time.sleep(0.01)


@needs_process
def test_it_is_no_child_of_ours(process: LlvmProcess) -> None:
    assert process.emit(TEXT)
    with pytest.raises(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)


@needs_process
def test_a_fork_has_a_process_of_its_own() -> None:
    program = f"""
import os
from gradloomc.codegen.llvm_process import llvm
text = {TEXT!r}
parent = llvm()
first = parent.emit(text)
pid = os.fork()
if pid == 0:
    mine = llvm()
    os._exit(0 if mine is not parent and mine.emit(text) == first else 1)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
print(parent.emit(text) == first, parent.started)
"""
    assert run(program).split() == ["True", "1"]


@pytest.mark.parametrize("broken", ["shell", "interpreter", "package"])
def test_without_a_process_llvm_is_used_here(monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    monkeypatch.setattr(llvm_process, "_process", None)
    if broken == "shell":

        def refuse(*_: object, **__: object) -> None:
            raise FileNotFoundError("/bin/sh")

        monkeypatch.setattr(os, "posix_spawn", refuse, raising=False)
    elif broken == "interpreter":
        monkeypatch.setattr(sys, "executable", "/nowhere/python3")  # the shell says nothing, and nobody answers
    else:
        monkeypatch.setattr(llvm_process, "_START", "raise SystemExit")
    assert llvm() is jit.compiler()
    assert llvm().emit(TEXT)


def test_another_program_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/usr/bin/editor")  # Python inside another program
    assert not llvm_process._possible()


def _is_running(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"  # nobody may have asked how it ended
    except FileNotFoundError:
        return False
