"""Run native programs on arrays next to memory that may not be touched: a stray read ends this process.

Called by test_nest.py; prints the program that is being run.
"""

import ctypes
import faulthandler
import mmap
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gradloom.exec.executable import Executable
from gradloomc.dialects import nd
from gradloomc.dialects.func import body_of, finish_function, make_function
from gradloomc.interp.interpreter import interpret
from gradloomc.ir.builder import at
from gradloomc.ir.core import Op, Value
from gradloomc.ir.inline import copy_function
from gradloomc.ir.types import SCALARS, f64, tensor
from lowering.programs import Seeded, draw_arguments, draw_program

PAGE = mmap.PAGESIZE
PROGRAMS = 150
_library = ctypes.CDLL(None)
_library.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
_maps: list[mmap.mmap] = []  # mapped as long as arrays may lie in them


def fenced(x: np.ndarray[Any, Any], at_end: bool) -> np.ndarray[Any, Any]:
    """Return a copy of `x` that begins right after, or ends right before, a page that cannot be read."""
    size = -(-max(x.nbytes, 1) // PAGE) * PAGE
    memory = mmap.mmap(-1, size + 2 * PAGE)
    _maps.append(memory)
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    offset = PAGE + (size - x.nbytes if at_end else 0)
    copy = np.frombuffer(memory, x.dtype, x.size, offset).reshape(x.shape)
    copy[...] = x
    for fence in (0, size + PAGE):
        if _library.mprotect(base + fence, PAGE, 0):
            raise OSError("mprotect failed")
    return copy


def moved(x: Value, low: tuple[int, ...], high: tuple[int, ...]) -> Value:
    return nd.pad(x, low=low, high=high, interior=(0,) * len(low))


# Maps that leave an operand: empty parts, pads larger than the array, pads of what is transposed or repeated.
DIRECTED: list[tuple[Callable[..., Value], tuple[tuple[int, ...], ...]]] = [
    (lambda e, x: nd.concatenate(e, x, axis=0), ((0, 5), (3, 5))),
    (lambda e, x: nd.concatenate(x, e, axis=0), ((0, 5), (3, 5))),
    (lambda e, x: nd.concatenate(x, e, x, axis=1), ((3, 0), (3, 20))),
    (lambda e, x: nd.concatenate(e, x, axis=1), ((3, 0), (3, 20))),
    (lambda e: moved(nd.add(e, e), (2, 0), (3, 0)), ((0, 20),)),
    (lambda e: moved(nd.add(e, e), (0, 2), (0, 30)), ((4, 0),)),
    (lambda x: moved(nd.broadcast(x, shape=(1, 3), dims=(0,)), (30, 0), (30, 0)), ((1,),)),
    (lambda x: nd.reduce_sum(moved(nd.transpose(x, permutation=(1, 0)), (3, 0), (0, 4)), axes=(0,)), ((33, 9),)),
    (lambda x: nd.reverse(moved(nd.reverse(x, axes=(0, 1)), (1, 5), (2, 40)), axes=(1,)), ((5, 9),)),
]


def programs() -> Iterator[tuple[str, Op, list[Any]]]:
    """Yield names, functions and arguments."""
    for number, (body, shapes) in enumerate(DIRECTED):
        function = make_function("f", [tensor(shape, f64) for shape in shapes])
        with at(body_of(function)):
            result = body(*body_of(function).arguments)
        yield f"directed {number}", finish_function(function, [result]), [np.ones(shape) for shape in shapes]
    for seed in range(PROGRAMS):
        function = draw_program(Seeded(seed), SCALARS[("f64", "i64", "f32", "i32")[seed % 4]])
        yield f"seed {seed}", function, draw_arguments(function, seed)


def main() -> None:
    faulthandler.enable()
    for name, function, arrays in programs():
        print(name, flush=True)
        expected = interpret(function, arrays)
        executable = Executable(copy_function(function))
        for at_end in (False, True):
            results = executable.run([fenced(x, at_end) for x in arrays])
            assert all(np.array_equal(x, y) for x, y in zip(results, expected, strict=True)), name


if __name__ == "__main__":
    main()
