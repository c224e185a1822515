"""The programs of `bench.eager` run under gradloom; their times are the bench's business."""

import numpy as np
import pytest

import gradloom
from bench.eager import PROGRAMS, Program, Result, show


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_programs_run(program: Program) -> None:
    step = program.make(gradloom)
    results = [step() for _ in range(3)]
    assert np.isfinite(np.asarray(results[-1].detach())).all()


def test_the_table_shows_medians_and_the_ratio() -> None:
    text = show([Result("n", "a program", 0.005, 2e-6, 1e-6, 4e-6, 3e-6, 0.5)])
    assert text.splitlines()[1].split() == ["a", "program", "2.0", "us", "4.0", "us", "0.50", "5.0", "ms"]
