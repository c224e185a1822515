"""The eager face against torch's: the same programs under both, in one process, in turns.

`python -m bench.eager` prints a table and stores JSON. A program takes the module, torch or gradloom, and returns the
step that is timed; what it computes is compared first. Both libraries take turns in short blocks, so that other work on
the machine meets both alike; the ratio is the median over the pairs of blocks.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent / "results" / "eager"
Step = Callable[[], Any]


@dataclass(frozen=True)
class Program:
    """One row: `make(m)` returns the step; `check(m)` what is compared; `steps` are timed together in a block."""

    name: str
    title: str
    make: Callable[[Any], Step]
    steps: int
    tolerance: float = 1e-4


# --- programs ---------------------------------------------------------------------------------------------------------


def _two_layer(m: Any) -> Step:
    """The net of the tutorials: 64 samples, 1000 inputs, 100 hidden, 10 outputs; float32; in-place updates."""
    rng = np.random.default_rng(0)
    shapes = ((64, 1000), (64, 10), (1000, 100), (100, 10))
    x, y, w1, w2 = [m.tensor(rng.standard_normal(shape).astype(np.float32)) for shape in shapes]
    w1.requires_grad_()
    w2.requires_grad_()

    def step() -> Any:
        prediction = x.mm(w1).clamp(min=0).mm(w2)
        loss = (prediction - y).pow(2).sum()
        loss.backward()
        with m.no_grad():
            w1.sub_(1e-6 * w1.grad)
            w2.sub_(1e-6 * w2.grad)
            w1.grad.zero_()
            w2.grad.zero_()
        return loss

    return step


def _chain(m: Any) -> Step:
    """Twenty elementwise operations on a million numbers, and the backward."""
    data = np.random.default_rng(0).standard_normal(1_000_000).astype(np.float32)
    x = m.tensor(data, requires_grad=True)

    def step() -> Any:
        sine = m.sin(x)  # 1
        cosine = m.cos(x)  # 2
        length = m.sqrt(1.0 + x * x)  # 3, 4, 5
        decay = m.exp(-0.5 * length)  # 6, 7
        bend = m.tanh(sine * cosine)  # 8, 9
        soft = m.log1p(decay)  # 10
        ratio = (sine + bend) / (length + soft)  # 11, 12, 13
        mixed = ratio * decay - cosine  # 14, 15
        bounded = mixed / m.sqrt(1.0 + mixed * mixed)  # 16, 17, 18, 19
        loss = (bounded + soft).sum()  # 20, and the sum
        x.grad = None
        loss.backward()
        return x.grad

    return step


def _plain_chain(m: Any) -> Step:
    """Twenty cheap elementwise operations, one name: memory traffic is all there is."""
    data = np.random.default_rng(0).standard_normal(1_000_000).astype(np.float32)
    x = m.tensor(data, requires_grad=True)

    def step() -> Any:
        h = x
        for _ in range(10):
            h = h * 0.9 + x
        x.grad = None
        h.sum().backward()
        return x.grad

    return step


def _small_net_adam(m: Any) -> Step:
    """A small net (13 -> 32 -> 1, tanh, 64 samples) with Adam: overhead per operation is all there is."""
    rng = np.random.default_rng(0)
    x = m.tensor(rng.standard_normal((64, 13)).astype(np.float32))
    y = m.tensor(rng.standard_normal((64, 1)).astype(np.float32))
    shapes = ((13, 32), (32,), (32, 1), (1,))
    parameters = [m.tensor((rng.standard_normal(s) * 0.3).astype(np.float32), requires_grad=True) for s in shapes]
    w1, b1, w2, b2 = parameters
    optimizer = m.optim.Adam(parameters, lr=1e-3)

    def step() -> Any:
        optimizer.zero_grad()
        loss = ((m.tanh(x @ w1 + b1) @ w2 + b2 - y) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    return step


def _tiny(m: Any) -> Step:
    """Ten operations on ten numbers, and the backward."""
    x = m.tensor(np.linspace(0.1, 1.0, 10), requires_grad=True)
    w = m.tensor(np.linspace(1.0, 2.0, 10), requires_grad=True)

    def step() -> Any:
        h = x
        for _ in range(4):
            h = m.sin(h * w)
        x.grad = w.grad = None
        (h * h).sum().backward()
        return x.grad

    return step


def _recording(m: Any) -> Step:
    """One addition that is recorded and not looked at."""
    x = m.tensor(np.ones(10), requires_grad=True)
    y = m.tensor(np.ones(10), requires_grad=True)
    return lambda: x + y


PROGRAMS = (
    Program("two_layer", "two-layer net, a step", _two_layer, 50, 1e-3),
    Program("chain", "20 elementwise ops, 1e6 f32, with backward", _chain, 2),
    Program("plain_chain", "20 cheap ops, 1e6 f32, with backward", _plain_chain, 2),
    Program("small_net", "small net with Adam, a step", _small_net_adam, 100),
    Program("tiny", "10 ops on 10 numbers, with backward", _tiny, 100),
    Program("recording", "recording one x + y", _recording, 5000),
)


# --- timing -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """Seconds a step: the first step with what it compiles, the median and the least of the blocks; and the ratio."""

    name: str
    title: str
    gradloom_first: float
    gradloom: float
    gradloom_least: float
    torch: float
    torch_least: float
    ratio: float


def _value(result: Any) -> np.ndarray:
    return np.array(result.detach().numpy(), np.float64)


def _block(step: Step, count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        step()
    return (time.perf_counter() - start) / count


def measure(program: Program, gradloom: Any, torch: Any, seconds: float) -> Result:
    """Time a program under both libraries in turns.

    Raises:
        ValueError: they do not agree after ten steps.
    """
    ours, theirs = program.make(gradloom), program.make(torch)
    start = time.perf_counter()
    result = ours()
    _value(result)
    first = time.perf_counter() - start
    expected = theirs()
    for _ in range(9):
        result, expected = ours(), theirs()
    scale = max(float(np.abs(_value(expected)).max()), 1e-30)
    if not np.abs(_value(result) - _value(expected)).max() <= program.tolerance * scale:
        raise ValueError(f"{program.name}: gradloom {_value(result)} and torch {_value(expected)}")
    del result, expected
    mine: list[float] = []
    others: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(mine) < 5:
        mine.append(_block(ours, program.steps))
        others.append(_block(theirs, program.steps))
    ratio = float(np.median(np.array(mine) / np.array(others)))
    return Result(
        program.name,
        program.title,
        first,
        float(np.median(mine)),
        min(mine),
        float(np.median(others)),
        min(others),
        ratio,
    )


def show(results: list[Result]) -> str:
    """Return the table as text."""
    lines = [f"{'program':44} {'gradloom':>12} {'torch':>12} {'ratio':>7} {'first step':>12}"]
    for r in results:
        lines.append(
            f"{r.title:44} {r.gradloom * 1e6:9.1f} us {r.torch * 1e6:9.1f} us {r.ratio:7.2f} "
            f"{r.gradloom_first * 1e3:9.1f} ms"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the programs named on the command line, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("programs", nargs="*", help=f"of {', '.join(p.name for p in PROGRAMS)}")
    parser.add_argument("--seconds", type=float, default=4.0, help="for each program")
    parser.add_argument("--processor", type=int, default=0, help="the processor to run on")
    parser.add_argument("--no-store", action="store_true", help="do not write results/eager/")
    options = parser.parse_args()
    variables: dict[str, str] = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    if any(os.environ.get(name) != value for name, value in variables.items()):
        os.environ.update(variables)  # the libraries read them when they are loaded
        os.execv(sys.executable, [sys.executable, "-m", "bench.eager", *sys.argv[1:]])
    os.sched_setaffinity(0, {options.processor})
    import torch  # pyright: ignore[reportMissingImports]

    import gradloom

    torch.set_num_threads(1)
    chosen = [p for p in PROGRAMS if not options.programs or p.name in options.programs]
    results = []
    for program in chosen:
        results.append(measure(program, gradloom, torch, options.seconds))
        print(show(results[-1:]) if len(results) == 1 else show(results[-1:]).splitlines()[1], flush=True)
    if not options.no_store:
        record = {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": {"gradloom": gradloom.__version__, "torch": torch.__version__, "numpy": np.__version__},
            "results": [asdict(result) for result in results],
        }
        name = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.json")
        (FOLDER / name).write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
