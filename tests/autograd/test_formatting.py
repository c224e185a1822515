"""The text of tensors, against PyTorch's: stored cases, and random arrays where torch is installed."""

import importlib.util
import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from gradloom.autograd import dtypes
from gradloom.autograd.formatting import (
    PRINT_OPTS,
    format_tensor,
    get_printoptions,
    printoptions,
    set_printoptions,
)


def _generator() -> ModuleType:
    path = Path(__file__).with_name("make_formatting_cases.py")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATOR = _generator()
CASES: list[dict[str, Any]] = json.loads(GENERATOR.PATH.read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def default_settings() -> Iterator[None]:
    """Bring back the print options and the default dtype after each test."""
    yield
    set_printoptions(profile="default")
    dtypes.set_default_dtype(dtypes.float32)


def text_of(case: dict[str, Any]) -> str:
    dtypes.set_default_dtype(dtypes.DTYPES[case.get("default_dtype", "float32")])
    more = {name: case[name] for name in ("requires_grad", "grad_fn", "prefix") if name in case}
    with printoptions(**case.get("options", {})):
        return format_tensor(GENERATOR.array_of(case), **more)


def title(case: dict[str, Any]) -> str:
    shape = "x".join(map(str, case["shape"]))
    return f"{case['dtype']}-{shape}-{case['text'][:24]!r}"


def test_there_are_cases_of_every_kind() -> None:
    assert len(CASES) >= 150
    assert {case["dtype"] for case in CASES} == set(dtypes.CANONICAL)
    assert {len(case["shape"]) for case in CASES} >= {0, 1, 2, 3, 4}


@pytest.mark.parametrize("case", CASES, ids=title)
def test_text_is_pytorchs(case: dict[str, Any]) -> None:
    assert text_of(case) == case["text"]


f4 = np.float32


@pytest.mark.parametrize(
    ("array", "more", "text"),
    [
        (np.array(5), {}, "tensor(5)"),
        (np.array([1, 2, 3]), {}, "tensor([1, 2, 3])"),
        (f4(2.0), {}, "tensor(2.)"),
        (np.ones((2, 2), f4), {}, "tensor([[1., 1.],\n        [1., 1.]])"),
        (np.array([1, 2], f4), {"requires_grad": True}, "tensor([1., 2.], requires_grad=True)"),
        (np.array([1, 4], f4), {"grad_fn": "PowBackward0"}, "tensor([1., 4.], grad_fn=<PowBackward0>)"),
        (
            np.sin(np.array([1, 4], f4)),
            {"requires_grad": True, "grad_fn": "SinBackward0"},
            "tensor([ 0.8415, -0.7568], grad_fn=<SinBackward0>)",
        ),
        (np.array([1.5, -2.25e-5, 3e10], f4), {}, "tensor([ 1.5000e+00, -2.2500e-05,  3.0000e+10])"),
        (
            np.ones((2, 2), f4),
            {"grad_fn": "PowBackward0"},
            "tensor([[1., 1.],\n        [1., 1.]], grad_fn=<PowBackward0>)",
        ),
        (np.array([True, False]), {}, "tensor([ True, False])"),
        (np.arange(3, dtype=f4), {}, "tensor([0., 1., 2.])"),
        (np.array([], f4), {}, "tensor([])"),
        (np.zeros((2, 0), f4), {}, "tensor([], size=(2, 0))"),
        (np.array([math.nan, math.inf], f4), {}, "tensor([nan, inf])"),
        (np.array([1.0, 2.0]), {}, "tensor([1., 2.], dtype=gradloom.float64)"),
        (np.arange(2000), {}, "tensor([   0,    1,    2,  ..., 1997, 1998, 1999])"),
        (f4(6), {"grad_fn": "SumBackward0"}, "tensor(6., grad_fn=<SumBackward0>)"),
        (np.array([[1, -2], [3, 4]], f4), {}, "tensor([[ 1., -2.],\n        [ 3.,  4.]])"),
        (np.array([2], f4), {}, "tensor([2.])"),
    ],
)
def test_text_of_the_posts_values(array: Any, more: dict[str, Any], text: str) -> None:
    assert format_tensor(np.asarray(array), **more) == text


def test_layout_of_the_array_does_not_show() -> None:
    array = np.arange(60.0).reshape(3, 4, 5)
    view = array[::-1, ::2].transpose(2, 0, 1)
    assert format_tensor(view) == format_tensor(np.ascontiguousarray(view))
    assert format_tensor(array.astype(">f8")) == format_tensor(array)


def test_dtype_without_counterpart_is_refused() -> None:
    with pytest.raises(TypeError, match="complex128 has no gradloom type"):
        format_tensor(np.array([1j]))


def test_options_hold_until_they_are_set_again() -> None:
    set_printoptions(precision=2)
    assert format_tensor(np.array([1.12345], f4)) == "tensor([1.12])"
    set_printoptions(threshold=5)
    assert format_tensor(np.arange(10)) == "tensor([0, 1, 2,  ..., 7, 8, 9])"
    assert PRINT_OPTS.precision == 2
    set_printoptions(profile="default")
    assert format_tensor(np.array([1.12345], f4)) == "tensor([1.1235])"


def test_sci_mode_is_set_anew_by_each_call() -> None:
    set_printoptions(sci_mode=True)
    assert format_tensor(np.array([1.0], f4)) == "tensor([1.0000e+00])"
    set_printoptions(precision=4)
    assert PRINT_OPTS.sci_mode is None


def test_options_return_after_the_block_even_if_it_raises() -> None:
    before = get_printoptions()
    with pytest.raises(KeyError), printoptions(precision=1, sci_mode=True):
        assert format_tensor(np.array([2.0], f4)) == "tensor([2.0e+00])"
        raise KeyError
    assert get_printoptions() == before


def random_case(rng: np.random.Generator) -> dict[str, Any]:
    """Draw a tensor of any dtype, shape, magnitude and decoration, under any print options."""
    dtype = str(rng.choice(GENERATOR.DTYPES))
    shape = [int(rng.choice([0, 1, 2, 3, 5, 7, 8, 13, 40], p=[0.03] + [0.97 / 8] * 8)) for _ in range(rng.integers(5))]
    while math.prod(shape) > 3000:
        shape.pop()
    count = int(rng.integers(1, 12))
    if dtype in GENERATOR.FLOATS:
        info = np.finfo(dtype)
        low, spread = rng.integers(-6, 9), rng.choice([0.2, 2, 4, 5, 12])
        values = rng.normal(size=count) * 10.0 ** rng.uniform(low, low + spread, count)
        if rng.random() < 0.3:
            values = np.round(values)
        if rng.random() < 0.2:
            values = 10.0 ** rng.integers(-5, 10, count)
        values = np.clip(values, float(info.min), float(info.max)).astype(dtype)
        special = rng.random(count) < rng.choice([0, 0.2])
        values[special] = rng.choice([math.nan, math.inf, -math.inf, 0.0, -0.0], int(special.sum()))
        values = values.tolist()
    elif dtype == "bool":
        values = (rng.random(count) < 0.5).tolist()
    else:
        info, bits = np.iinfo(dtype), int(rng.integers(1, np.iinfo(dtype).bits))
        values = [int(v) for v in rng.integers(max(info.min, -(2**bits)), min(info.max, 2**bits), count, dtype=dtype)]
    drawn = {"dtype": dtype, "shape": shape, "values": values}
    if dtype in GENERATOR.FLOATS and rng.random() < 0.5:
        name = "N" + "o" * int(rng.integers(0, 40)) + "deBackward"
        drawn |= {"grad_fn": name} if rng.random() < 0.5 else {"requires_grad": True}
    if rng.random() < 0.4:
        drawn["options"] = {
            "precision": int(rng.integers(0, 8)),
            "threshold": int(rng.choice([0, 5, 100, 1000])),
            "edgeitems": int(rng.integers(0, 5)),
            "linewidth": int(rng.integers(10, 120)),
            "sci_mode": [None, True, False][rng.integers(3)],
        }
    return drawn


@pytest.mark.parametrize("seed", range(40))
def test_random_tensors_against_torch(seed: int) -> None:
    pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    for _ in range(50):
        case = random_case(rng)
        assert text_of(case) == GENERATOR.torch_text(case), case
