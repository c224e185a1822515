"""`clear_cache` gives back what is kept between calls, and changes no result."""

import gc
import os
import subprocess
import sys
import weakref

import numpy as np

import gradloom
from gradloom import compile_grad, value_and_grad
from gradloom.exec.memory import POOL_FROM_BYTES, pool
from gradloomc.codegen.cache import store
from gradloomc.codegen.native import counts


def test_programs_are_forgotten_and_made_again() -> None:
    @compile_grad
    def f(x):
        return np.sum(np.sin(x) * x)

    x = np.linspace(0.0, 1.0, 11)
    value, gradient = f.value_and_grad(x)
    for _ in range(6):  # up to the native entry
        f.value_and_grad(x)
    assert f.cache_info().programs == 1
    executable = weakref.ref(f.program_for((x,), {}).executable)
    compiled = counts.compiled
    gradloom.clear_cache()
    gc.collect()
    assert executable() is None  # nothing holds it
    info = f.cache_info()
    assert (info.programs, info.hits, info.misses) == (0, 0, 0)
    again_value, again = f.value_and_grad(x)
    assert again_value == value and np.array_equal(again, gradient)
    assert f.cache_info().misses == 1
    assert counts.compiled == compiled  # its native code was found in memory


def test_buffers_are_given_back_and_results_live_on() -> None:
    def f(x):
        return np.sum(x * x)

    x = np.arange(float(POOL_FROM_BYTES))
    kept = value_and_grad(f)(x)[1]
    assert pool.total_bytes >= x.nbytes
    gradloom.clear_cache()
    assert pool.total_bytes == 0
    other = value_and_grad(f)(x + 1.0)[1]
    assert np.array_equal(kept, 2 * x) and np.array_equal(other, 2 * (x + 1.0))
    assert not np.shares_memory(kept, other)


def test_recorded_programs_are_forgotten() -> None:
    from gradloom.autograd.programs import structures

    def step() -> float:
        x = gradloom.tensor([1.0, 2.0], requires_grad=True)
        (x * x).sum().backward()
        return x.grad.numpy().tolist()

    before = step()
    assert structures
    gradloom.clear_cache()
    assert not structures
    assert step() == before


_PROGRAM = """
import numpy as np, gradloom
from gradloomc.codegen.cache import store
from gradloomc.codegen.native import counts

def f(x):
    return np.sum(np.cos(x) * x)

def g(x):
    return np.sum(np.cos(x) / x)

x = np.linspace(1.0, 2.0, 11)
first = gradloom.value_and_grad(f)(x)[1]
compiled = counts.compiled
gradloom.clear_cache()
assert store().size() > 0
gradloom.clear_cache(disk=True)
assert store().size() == 0
again = gradloom.value_and_grad(f)(x)[1]
print(compiled > 0, counts.compiled > compiled, counts.from_disk, np.array_equal(first, again))
"""


def test_the_disk_too(tmp_path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "GRADLOOM_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "True", "0", "True"]
    assert store().directory != str(tmp_path)
