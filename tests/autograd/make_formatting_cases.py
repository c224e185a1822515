"""Write formatting_cases.json: tensors of every kind, and the texts that PyTorch has for them.

Run it with torch 2.13 installed, from anywhere: `python tests/autograd/make_formatting_cases.py`. A case gives the
array (`dtype`, `shape`, and `values` in row-major order, repeated as often as the shape needs; `{"range": [...]}` is
NumPy's arange), what the tensor adds to it, the print options, and `text`: PyTorch's, `gradloom.` put for `torch.`.
"""

import contextlib
import importlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

PATH = Path(__file__).with_name("formatting_cases.json")
Case = dict[str, Any]

FLOATS = ("float16", "float32", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
DTYPES = (*FLOATS, *INTEGERS, "bool")


def array_of(case: Case) -> np.ndarray:
    """Make the array of a case."""
    values = case["values"]
    flat = np.arange(*values["range"]) if isinstance(values, dict) else np.array(values, np.dtype(case["dtype"]))
    return np.resize(flat.astype(case["dtype"]), tuple(case["shape"]))


def torch_text(case: Case) -> str:
    """Print the tensor of a case with PyTorch; its options and default dtype hold only meanwhile."""
    torch: Any = importlib.import_module("torch")
    with _torch_settings(torch, case):
        tensor = torch.from_numpy(array_of(case).copy())
        if case.get("requires_grad") or case.get("grad_fn"):
            tensor.requires_grad_()
        if case.get("grad_fn"):
            name = case["grad_fn"].removesuffix("Backward")
            copy = {"forward": staticmethod(lambda ctx, x: x.clone()), "backward": staticmethod(lambda ctx, g: g)}
            tensor = type(name, (torch.autograd.Function,), copy).apply(tensor)
        if "prefix" in case:
            tensor = tensor.as_subclass(type(case["prefix"].removesuffix("("), (torch.Tensor,), {}))
        return repr(tensor).replace("torch.", "gradloom.")


@contextlib.contextmanager
def _torch_settings(torch: Any, case: Case) -> Iterator[None]:
    default = torch.get_default_dtype()
    torch.set_printoptions(**case.get("options", {}))
    torch.set_default_dtype(getattr(torch, case.get("default_dtype", "float32")))
    try:
        yield
    finally:
        torch.set_printoptions(profile="default")
        torch.set_default_dtype(default)


def case(values: Any, dtype: str = "float32", shape: tuple[int, ...] | None = None, **more: Any) -> Case:
    """Describe a tensor; without a shape it is the vector of `values`."""
    return {"dtype": dtype, "shape": [len(values)] if shape is None else list(shape), "values": values} | more


def shapes_and_dtypes() -> Iterator[Case]:
    """Yield every dtype in shapes from a scalar to four dimensions, empty ones and those of size one."""
    for dtype in DTYPES:
        small = [0, 1] if dtype == "bool" else [1, 2, 100, 7]
        values = [1.5, -2.25, 0.0, 12.125] if dtype in FLOATS else small
        yield case(values[1:2], dtype, ())
        yield case(values, dtype)
        yield case(values, dtype, (2, 3))
        yield case([], dtype)
        yield case([], dtype, (2, 0))
        yield case(values, dtype, (3, 1, 2))
    for shape in ((2, 2, 2, 2), (1,), (1, 1), (1, 1, 1, 1), (0, 3, 2), (3, 0, 1, 0), (1, 4, 1)):
        yield case([1.0, -2.5, 3.0], shape=shape)
        yield case([1, -20, 3], "int64", shape)
    for dtype in INTEGERS:
        limits = np.iinfo(dtype)
        yield case([int(limits.min), int(limits.max), 0], dtype)
        yield case([int(limits.min)], dtype, ())
    for dtype in FLOATS:
        limits = np.finfo(dtype)
        yield case([float(limits.min), float(limits.max), float(limits.smallest_subnormal)], dtype)
        yield case([float(limits.eps), 1.0, 0.0], dtype)
        yield case([float(limits.max)], dtype, ())


def numbers() -> Iterator[Case]:
    """Yield numbers at which the notation or the width changes."""
    nan, inf = math.nan, math.inf
    for values in (
        [5.0], [2.0], [-0.0], [0.0, 0.0], [0.1], [1 / 3, 2 / 3], [1.5, -2.25e-5, 3e10], [1.0, -2.0, 3.0, 4.0],
        [nan], [inf], [-inf], [nan, inf], [nan, -inf, 1.0], [nan, 1.5], [inf, 1e-9], [nan, 1e9, -1.0], [nan, 0.0],
        [1e-4], [0.99e-4], [1.01e-4], [1e-4, 0.1], [1e-4, 0.1001], [1e-5, 0.0], [1e5], [1e5, 1.0], [1e5, 0.5],
        [999.0, 1.0], [1000.0, 1.0], [1001.0, 1.0], [1000.5, 1.0], [1e8], [1.0000001e8], [1e8, 1e6], [2e8, 1e8],
        [1e10], [123456789.0], [16777216.0, 16777217.0], [-1e8, 0.0], [1e-38, 1e38], [1e-30, 0.0, -1e-30],
        [99999.5], [99999.99999], [0.00005, 0.00004], [-0.5, -1000.0], [12.5, 0.25, -100.125], [0.99999], [9.99995],
        [1e-45], [3.4e38], [0.0001220703125, 0.1], [1.0, 2.0, 2.5], [-1.0, -0.0, 0.0],
    ):  # fmt: skip
        yield case(values)
        yield case(values[:1], shape=())
    for values in ([1e300, 1.0], [1e-300], [1e300, 1e-300], [1e-4, 0.1], [2**53 + 2.0], [0.1, 100.1], [1e-310, 1e308]):
        yield case(values, "float64")
        yield case(values, "float64", (), requires_grad=True)
    for values in ([65504.0, 6e-8], [0.1, 100.0], [2048.0, 2049.0], [1e-4, 0.1], [nan, inf, 0.5], [1000.0, 1.0]):
        yield case(values, "float16")
    yield case([True, False], "bool")
    yield case([True, True], "bool")
    yield case([True], "bool", ())


def long_ones() -> Iterator[Case]:
    """Yield rows that are broken into lines, and tensors that are summarised."""
    for length in (8, 9, 10, 11, 12, 19, 20, 37):
        yield case([0.5, -1.25, 3.0], shape=(length,))
        yield case([7, -1], "int64", (2, length))
    yield case([True, False, False], "bool", (40,))
    yield case([1e-9, 1e9], shape=(3, 20))
    yield case([1.5], "float64", (2, 2, 17), requires_grad=True)
    for count in (1000, 1001, 2000):
        yield case({"range": [count]}, "int64", (count,))
        yield case({"range": [count]}, "float32", (count,))
    yield case({"range": [-600, 600]}, "int32", (1200,), requires_grad=False)
    large = ((40, 40), (2, 600), (600, 2), (1001, 1), (1, 1001), (7, 7, 30), (6, 6, 40), (5, 6, 7, 8), (2, 3, 200))
    for shape in large:
        yield case({"range": [math.prod(shape)]}, "float32", shape)
        yield case({"range": [0, 0.5 * math.prod(shape), 0.5]}, "float64", shape, requires_grad=True)
    yield case([1.0] * 500 + [1e-9] + [1.0] * 500)  # the small number is not seen
    yield case([1e-9] + [1.0] * 1000)
    yield case([False], "bool", (1001,))
    yield case([True, False], "bool", (50, 50))


def suffixes() -> Iterator[Case]:
    """Yield what a tensor adds behind its numbers, on the same line and wrapped."""
    names = ("PowBackward", "MmBackward", "LinalgVectorNormAlongDimensionBackward")
    for shape in ((), (1,), (2, 2), (8,), (2, 8), (20,), (2, 0)):
        yield case([1.0, 2.5], shape=shape, requires_grad=True)
        yield case([1.0, 2.5], "float64", shape, requires_grad=True)
        yield case([1.0, 2.5], "float16", shape, grad_fn=names[2])
        for name in names:
            yield case([0.8415, -0.7568], shape=shape, grad_fn=name)
    for length in range(4, 10):
        yield case([0.25], shape=(length,), grad_fn="AddBackward")
        yield case([0.25], "float64", (length,), requires_grad=True)
        yield case([3], "int32", (3 * length,))
    for extra in range(10, 17):  # one of these is the first that does not fit behind a dtype that starts a line
        name = "N" * extra + "Backward"
        yield case([0.25], "float64", (6,), grad_fn=name, options={"linewidth": 60})
    for prefix in ("Parameters(", "W("):
        yield case([0.25], shape=(3, 9), prefix=prefix)
        yield case([1.0, 1e-6], "float64", (2, 2, 2), prefix=prefix)
    for default in ("float64", "float16"):
        for dtype in (*FLOATS, "int64"):
            yield case([1.0, 2.0], dtype, default_dtype=default)
            yield case([], dtype, default_dtype=default)


def options() -> Iterator[Case]:
    """Yield print options."""
    for settings in (
        {"precision": 2}, {"precision": 8}, {"precision": 0}, {"sci_mode": True}, {"sci_mode": False},
        {"sci_mode": True, "precision": 1}, {"linewidth": 40}, {"linewidth": 10}, {"linewidth": 120},
        {"threshold": 5}, {"threshold": 5, "edgeitems": 1}, {"threshold": 5, "edgeitems": 2},
        {"threshold": 5, "edgeitems": 0}, {"profile": "short"}, {"profile": "full"}, {"profile": "default"},
        {"profile": "short", "precision": 6}, {"profile": "none such"}, {"threshold": math.inf},
    ):  # fmt: skip
        yield case([1.23456789, -100.5, 0.0001], shape=(8,), options=settings)
        yield case([1.0, 2000.0, 3.0], shape=(8, 9), options=settings, requires_grad=True)
        yield case([1, -2, 3], "int16", (2, 3, 4), options=settings)
        yield case([math.nan, 0.0], "float64", (9,), options=settings)
        yield case([0.5], shape=(), options=settings)
    for edge in (0, 3):
        yield case([-1.5], shape=(), options={"threshold": 0, "edgeitems": edge})
    yield case({"range": [1100]}, "int64", (1100,), options={"profile": "full"})
    yield case([0.5, 100.0], shape=(30, 40), options={"profile": "short"})


def main() -> None:
    """Write the file, each case on a line."""
    cases = [*shapes_and_dtypes(), *numbers(), *long_ones(), *suffixes(), *options()]
    lines = [json.dumps(each | {"text": torch_text(each)}) for each in cases]
    PATH.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
    print(f"{len(lines)} cases")


if __name__ == "__main__":
    main()
