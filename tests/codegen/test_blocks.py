"""Long blocks are divided: no block is longer than LLVM takes well, and what is computed stays the same."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from gradloom.exec.executable import Executable, lower_for_host
from gradloomc.codegen.blocks import MOST_INSTRUCTIONS, is_divided, short_blocks
from gradloomc.dialects import nd
from gradloomc.dialects.func import body_of, finish_function, make_function
from gradloomc.ir.builder import at
from gradloomc.ir.types import f64, tensor


def blocks(text: str) -> Iterator[tuple[str, int]]:
    """Yield label and number of instructions of each block."""
    label, count = "", 0
    for line in text.splitlines():
        if line.endswith(":"):
            yield label, count
            label, count = line[:-1], 0
        elif line.startswith("  "):
            count += " = phi " not in line and " = alloca " not in line
    yield label, count


def test_phis_name_the_end_of_what_was_divided() -> None:
    lines = ["define void @f() {", "entry:", *(f"  %a{k} = add i64 {k}, 1" for k in range(3))]
    lines += ["  br label %loop", "loop:"]
    lines += ["  %i = phi i64 [ 0, %entry ], [ %n, %loop ]", "  %n = add i64 %i, 1", "  %b = mul i64 %n, 3"]
    lines += ["  %c = mul i64 %b, 3", "  br i1 true, label %loop, label %end", "end:", "  ret void"]
    assert short_blocks(lines, 10) == lines
    found = short_blocks(lines, 2)
    assert "  %i = phi i64 [ 0, %entry.part1 ], [ %n, %loop.part1 ]" in found
    assert [label for label, _ in blocks("\n".join(found))] == ["", "entry", "entry.part1", "loop", "loop.part1", "end"]
    assert found.index("  br label %entry.part1") == 4 and "  br i1 true, label %loop, label %end" in found
    assert [line for line in found if "part" not in line and "phi" not in line] == [x for x in lines if "phi" not in x]


def long_program(math: bool) -> Any:
    """Return a function of one nest of more than a thousand operations, in one block."""
    function = make_function("f", [tensor((37,), f64)])
    with at(body_of(function)):
        (x,) = body_of(function).arguments
        y = x
        for k in range(700):
            y = nd.add(nd.mul(y, x), x)
            if math and k % 50 == 0:
                y = nd.tanh(y)
        results = [y, nd.reduce_sum(y, axes=(0,))]
    return finish_function(function, results)


def test_the_first_tier_has_no_long_blocks() -> None:
    x = np.linspace(-0.9, 0.9, 37)
    for math in (True, False):
        program = lower_for_host(long_program(math))
        assert is_divided(program.text) and program.written_out is not None
        assert max(count for _, count in blocks(program.text)) <= MOST_INSTRUCTIONS + 1  # and the branch
        second = program.written_out()
        assert not is_divided(second.text)
        assert max(count for _, count in blocks(second.text)) > MOST_INSTRUCTIONS + 1
        first, other = (Executable(each).run([x]) for each in (program, second._replace(written_out=None)))
        for a, b in zip(first, other, strict=True):
            assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
        names = re.findall(r"^([\w.]+):$", program.text, re.MULTILINE)
        assert len(names) == len(set(names))
