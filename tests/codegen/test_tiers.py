"""Two tiers of native code: the same bits from both, the second when it is worth it, and nothing breaks around them."""

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gradloom import compile_grad, value_and_grad
from gradloom.exec.executable import Executable, lower_for_host
from gradloomc.codegen import cache, native, tiers
from gradloomc.codegen.cache import Store
from gradloomc.codegen.mathlib import in_library, uses_library
from gradloomc.codegen.native import compile_module, counts, host
from gradloomc.codegen.program import NativeStep, Program
from gradloomc.codegen.tiers import Tiers, library_addresses
from gradloomc.dialects import nd
from gradloomc.dialects import scalar as s
from gradloomc.dialects.func import body_of, finish_function, make_function
from gradloomc.ir.builder import at
from gradloomc.ir.types import ScalarType, f32, f64, tensor

LIBRARY_OPS = sorted(name for name, kind in s.math.items() if in_library(kind))


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tiers]:
    """Tiers of their own, in a process that has compiled nothing, with an empty store."""
    monkeypatch.setattr(cache, "_store", Store(str(tmp_path / "store")))
    monkeypatch.setattr(native, "_modules", {})
    own = Tiers()
    monkeypatch.setattr(tiers, "tiers", own)
    yield own
    own.stop()
    assert own.failures == []


def forget(monkeypatch: pytest.MonkeyPatch) -> Tiers:
    """Let the next program be compiled as in another process."""
    monkeypatch.setattr(native, "_modules", {})
    own = Tiers()
    monkeypatch.setattr(tiers, "tiers", own)
    return own


def bits(results: Any) -> list[bytes]:
    """Return the bits of arrays; which of the many nans one is counts as nothing."""
    found = []
    for array in results:
        array = np.array(array)
        if array.dtype.kind == "f":
            array[np.isnan(array)] = np.nan
        found.append(array.tobytes())
    return found


def functions_of(program: Program, text: str, level: int) -> list[Any]:
    """Return the segments of a program, from one of its texts, as callables."""
    symbols = [step.symbol for step in program.steps if isinstance(step, NativeStep)]
    given = library_addresses(host().function_attributes)
    addresses = compile_module(text, symbols, given, level).addresses
    return [ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(addresses[symbol]) for symbol in symbols]


def run_both(build: Callable[..., list[Any]], arrays: list[np.ndarray]) -> None:
    """Check that the tiers of a program, and what is between them, give the same bits."""
    types = [tensor(array.shape, f32 if array.dtype == np.float32 else f64) for array in arrays]
    function = make_function("f", types)
    with at(body_of(function)):
        results = build(*body_of(function).arguments)
    function = finish_function(function, results)
    program = lower_for_host(function)
    assert uses_library(program.text) and program.written_out is not None
    second = program.written_out().text
    assert not uses_library(second)
    executable = Executable(program)
    found = []
    for text, level in ((program.text, 0), (program.text, 1), (second, 0), (second, 1)):
        executable.steps = [(True, step) for step in functions_of(program, text, level)]
        found.append(bits(executable.run(arrays)))
    assert found[0] == found[1] == found[2] == found[3]


def arguments(dtype: ScalarType, count: int = 77) -> list[np.ndarray]:
    """Return numbers of all sizes, huge, tiny and special ones among them."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, count)) * 10.0 ** rng.integers(-3, 3, (2, count))
    x[:8] = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 1e30]
    y[3:9] = [0.0, np.nan, 2.0, -3.0, 0.5, np.inf]
    return [x.astype(dtype.dtype), y.astype(dtype.dtype)]


TWO = {"powf", "atan2", "hypot", "logaddexp", "fmod", "remainder"}


def op_of(name: str) -> Callable[..., Any]:
    """Return the nd op whose scalar form is `math.<name>`."""
    if name == "powf":
        return nd.power  # whose scalar form also looks at the exponent
    for record in vars(nd).values():
        form = getattr(record, "scalar", None)
        if (form["f"] if isinstance(form, dict) and "f" in form else form) is s.math[name]:
            return record
    raise AssertionError(f"no nd op computes math.{name}")


@pytest.mark.parametrize("dtype", [f64, f32], ids=str)
@pytest.mark.parametrize("name", LIBRARY_OPS)
def test_bits_are_equal(name: str, dtype: ScalarType) -> None:
    """Every function, between products and sums that LLVM could fuse with what is inside."""
    op = op_of(name)

    def build(x: Any, y: Any) -> list[Any]:
        z = nd.mul(x, y)
        operands = (z, y) if name in TWO else (z,)
        value = op(*operands)
        mixed = nd.add(nd.mul(value, x), nd.sub(y, value))
        also = op(nd.add(nd.mul(x, x), y), *operands[1:])
        return [value, mixed, nd.sub(nd.mul(also, value), mixed), nd.reduce_sum(nd.mul(also, also), axes=(0,))]

    run_both(build, arguments(dtype))


def test_chains_of_all_functions() -> None:
    """Gradients of long chains, in vectors and beside pads, rows and columns."""

    def build(x: Any) -> list[Any]:
        value = x
        for name in [name for name in LIBRARY_OPS if name not in TWO]:
            value = nd.add(nd.mul(op_of(name)(value), x), nd.mul(value, value))
            value = nd.sub(x, nd.tanh(value))
        padded = nd.pad(value, low=(1, 2), high=(0, 1), interior=(0, 0))
        return [padded, nd.reduce_sum(nd.exp(value), axes=(0,)), nd.reduce_sum(nd.sin(value), axes=(1,))]

    run_both(build, [np.random.default_rng(1).standard_normal((9, 21))])


# --- promotion ---


def small() -> tuple[Callable[..., Any], list[np.ndarray]]:
    x = np.linspace(0.1, 2.0, 50)
    return (lambda x, y: np.sum(np.tanh(x) * np.exp(-y * y) + np.sin(x / y))), [x, x + 1.0]


def test_a_hot_program_changes_its_tier(fresh: Tiers) -> None:
    f, arrays = small()
    g = value_and_grad(f, (0, 1))
    value, gradients = g(*arrays)
    first = bits([value, *gradients])
    (entry,) = fresh.waiting
    left = [trampoline.left for trampoline in entry.trampolines.values()]
    assert all(count > 100 for count in left) and fresh.promoted == fresh.at_once == 0
    g(*arrays)
    assert [trampoline.left for trampoline in entry.trampolines.values()] == [count - 1 for count in left]
    for _ in range(max(left)):
        g(*arrays)
    assert fresh.settle()
    assert fresh.promoted == 1 and fresh.waiting == []
    value, gradients = g(*arrays)
    assert bits([value, *gradients]) == first


def test_bits_stay_while_tiers_change(fresh: Tiers) -> None:
    f, arrays = small()
    g = value_and_grad(f, (0, 1))
    seen = set()
    for _ in range(3):
        for _ in range(4000):
            value, gradients = g(*arrays)
            seen.add(b"".join(bits([value, *gradients])))
        fresh.settle()
    assert fresh.promoted == 1 and len(seen) == 1


def test_cold_programs_stay(fresh: Tiers) -> None:
    f, arrays = small()
    g = compile_grad(f)
    for _ in range(20):
        g(*arrays)
    assert fresh.settle() and fresh.promoted == 0 and len(fresh.waiting) == 1


def test_much_work_is_compiled_for_speed_at_once(fresh: Tiers) -> None:
    x = np.linspace(0.1, 2.0, 3_000_000)
    compile_grad(lambda x: np.sum(np.sin(x) * np.tanh(x) + np.log(x) * np.exp(x)))(x)
    assert fresh.at_once == 1 and fresh.waiting == []


def test_another_process_starts_with_the_second_tier(fresh: Tiers, monkeypatch: pytest.MonkeyPatch) -> None:
    f, arrays = small()
    value_and_grad(f, (0, 1))(*arrays)
    for trampoline in fresh.waiting[0].trampolines.values():
        trampoline.start(0, ctypes.c_int64.from_address(trampoline.words + 8).value)
    fresh._start()
    fresh._semaphore.post()
    assert fresh.settle() and fresh.promoted == 1
    other = forget(monkeypatch)
    compiled = counts.compiled
    g, _ = small()
    value_and_grad(g, (0, 1))(*arrays)
    assert counts.compiled == compiled
    assert other.waiting == [] and other.at_once == 0


def test_the_same_text_shares_its_tier(fresh: Tiers) -> None:
    f, arrays = small()
    g = compile_grad(f)
    g(*arrays)
    assert len(fresh.waiting) == 1
    x = np.linspace(0.1, 2.0, 61)
    g(x, x + 1.0)  # another length, the same text
    assert len(fresh.waiting) == 1


def test_more_trampolines_than_one_image_has(fresh: Tiers) -> None:
    x = np.linspace(0.1, 2.0, 20)
    for k in range(2 * tiers._SLOTS + 3):
        value = compile_grad(lambda x, k=k: np.exp(x) * float(k + 2))(x)
        np.testing.assert_allclose(value, np.exp(x) * (k + 2), rtol=1e-15)
    addresses = [t.address for entry in fresh.waiting for t in entry.trampolines.values()]
    assert len(set(addresses)) == len(addresses) == 2 * tiers._SLOTS + 3


def test_a_failure_in_the_background_is_kept(fresh: Tiers, monkeypatch: pytest.MonkeyPatch) -> None:
    f, arrays = small()
    g = compile_grad(f)
    expected = bits([g(*arrays)])

    def fail(*_: Any) -> None:
        raise RuntimeError("no second tier")

    monkeypatch.setattr(tiers, "_compile_second", fail)
    for trampoline in fresh.waiting[0].trampolines.values():
        ctypes.c_int64.from_address(trampoline.words).value = 1
    g(*arrays)
    assert fresh.settle() and fresh.promoted == 0 and fresh.waiting == []
    assert [str(error) for error in fresh.failures] == ["no second tier"]
    assert bits([g(*arrays)]) == expected
    fresh.failures.clear()


@pytest.mark.parametrize("missing", ["switched off", "no semaphores"])
def test_where_there_is_one_tier(fresh: Tiers, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    if missing == "switched off":
        monkeypatch.setenv("GRADLOOM_TIERS", "off")
    else:
        monkeypatch.setattr(tiers, "_make_semaphore", lambda: False)
    f, arrays = small()
    np.testing.assert_allclose(compile_grad(f)(*arrays), f(*arrays), rtol=1e-13)
    assert fresh.waiting == [] and fresh.at_once == 1


# --- around them ---

_START = """
import os, sys, threading, time
import numpy as np
from gradloom import value_and_grad
from gradloomc.codegen import tiers

def program(k):
    def f(x, y):
        z = x
        for _ in range(12):
            z = np.sin(z) * y + np.tanh(z * x + k)
        return np.sum(z)
    return value_and_grad(f, (0, 1))

def heat(k=1.0):
    # A program whose second tier is being compiled when this returns.
    x = np.linspace(0.1, 2.0, 50)
    g = program(k)
    value, _ = g(x, x + 1.0)
    for trampoline in [t for entry in tiers.tiers.waiting for t in entry.trampolines.values()]:
        tiers.ctypes.c_int64.from_address(trampoline.words).value = 1
    again, _ = g(x, x + 1.0)
    assert value == again
    return g, x, value
"""


def run_script(text: str, directory: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "GRADLOOM_CACHE_DIR": str(directory)}
    command = [sys.executable, "-c", _START + text]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, (done.returncode, done.stderr)
    return done.stdout


@pytest.mark.parametrize("delay", [0.0, 0.002, 0.02, 0.1])
def test_the_interpreter_ends_while_code_is_compiled(tmp_path: Path, delay: float) -> None:
    run_script(f"heat()\ntime.sleep({delay})\n", tmp_path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_is_forked_while_code_is_compiled(tmp_path: Path) -> None:
    """The child runs what the parent compiled, compiles its own, and heats it too."""
    script = """
g, x, value = heat()
children = []
for k in range(4):
    time.sleep(0.004)
    child = os.fork()
    if child == 0:
        assert g(x, x + 1.0)[0] == value
        h, x, other = heat(2.0 + k)
        assert tiers.tiers.settle() and tiers.tiers.failures == []
        assert h(x, x + 1.0)[0] == other
        sys.stdout.flush()
        os._exit(0)
    children.append(child)
for child in children:
    _, status = os.waitpid(child, 0)
    assert status == 0, status
assert tiers.tiers.settle() and tiers.tiers.promoted == 1 and tiers.tiers.failures == []
assert g(x, x + 1.0)[0] == value
print("done")
"""
    assert run_script(script, tmp_path) == "done\n"


def test_threads_call_and_compile_at_once(tmp_path: Path) -> None:
    script = """
x = np.linspace(0.1, 2.0, 50)
expected = {k: program(float(k))(x, x + 1.0)[0] for k in range(4)}
shared = [program(float(k)) for k in range(4)]
wrong = []
def work(offset):
    for round in range(300):
        k = (round + offset) % 4
        if shared[k](x, x + 1.0)[0] != expected[k]:
            wrong.append(k)
        if round % 50 == offset:
            for t in [t for entry in list(tiers.tiers.waiting) for t in entry.trampolines.values()]:
                tiers.ctypes.c_int64.from_address(t.words).value = 3
threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert tiers.tiers.settle()
print(wrong, tiers.tiers.promoted, tiers.tiers.failures)
"""
    assert run_script(script, tmp_path) == "[] 4 []\n"
