"""The corpus of the autograd face: programs that run unchanged under torch and gradloom, and what they observe.

Owns the registry of programs, the helpers with which a program observes, the plain form in which observations are
stored, and their comparison. It must import neither torch nor gradloom: a program gets its module as an argument.
The programs stand in `programs_*.py`; start reading there.
"""

import importlib
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Observations = dict[str, Any]
Program = Callable[[Any], Observations]

FOLDER = Path(__file__).resolve().parent
EXPECTED = FOLDER / "expected.json"

PROGRAMS: dict[str, Program] = {}

# How far floats may be from torch's, relative to themselves and, for what cancels, to the largest of their tensor.
TOLERANCE = {"float16": 2e-3, "float32": 1e-5, "float64": 1e-10}
CANCELLATION = 0.02


# --- registration ----------------------------------------------------------------------------------------------------


def subject_of(module: str) -> str:
    """Return the subject that a module of programs is about: `a.b.programs_views` is about `views`."""
    return module.rpartition(".")[2].removeprefix("programs_")


def register(subject: str, name: str, run: Program) -> None:
    """Add a program under the name `subject/name`."""
    key = f"{subject}/{name}"
    if key in PROGRAMS:
        raise ValueError(f"two programs are named {key}")
    PROGRAMS[key] = run


def program(function: Program) -> Program:
    """Register a function as a program, named for itself and for the subject of its file."""
    register(subject_of(function.__module__), function.__name__, function)
    return function


def load() -> dict[str, Program]:
    """Import every file of programs and return the registry."""
    package = __name__.rpartition(".")[0]
    for path in sorted(FOLDER.glob("programs_*.py")):
        importlib.import_module(f"{package}.{path.stem}")
    return PROGRAMS


# --- what a program may observe --------------------------------------------------------------------------------------


class Raised(NamedTuple):
    """An exception: the name of its first builtin class, and its text."""

    kind: str
    text: str


class ValueOf(NamedTuple):
    """A tensor of which the name of `grad_fn` is not observed."""

    tensor: Any


def raised(exception: BaseException) -> Raised:
    """Return what is observed of an exception."""
    kind = next(cls.__name__ for cls in type(exception).__mro__ if cls.__module__ == "builtins")
    return Raised(kind, str(exception))


def error(function: Callable[[], object]) -> Raised | str:
    """Return what `function` raises."""
    try:
        function()
    except Exception as exception:
        return raised(exception)
    return "no error"


def warned(function: Callable[[], object]) -> list[str]:
    """Return the category and the first sentence of each warning that `function` gives."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        function()
    return [f"{warning.category.__name__}: {first_sentence(str(warning.message))}" for warning in caught]


def value_of(tensor: Any) -> ValueOf:
    """Observe a tensor without the name of its `grad_fn` (gradients of gradients may be computed otherwise)."""
    return ValueOf(tensor)


def name_of(node: Any) -> str | None:
    """Return the name of a `grad_fn`, without its namespace."""
    return None if node is None else str(node.name()).rpartition("::")[2]


def graph_of(node: Any) -> list[Any] | None:
    """Return the graph behind a `grad_fn`: its name, then the graph behind each of its inputs."""
    return None if node is None else [name_of(node), *(graph_of(parent) for parent, _ in node.next_functions)]


def ramp(shape: Sequence[int], start: int = 1) -> Any:
    """Return nested lists of the given shape that hold 1, -2, 3, -4, …: a cotangent without symmetry."""
    if not shape:
        return float(start if start % 2 else -start)
    stride = math.prod(shape[1:])
    return [ramp(shape[1:], start + row * stride) for row in range(shape[0])]


def differentiated(
    m: Any, function: Callable[..., Any], *values: Any, dtype: str = "float64", names: bool = True
) -> Observations:
    """Apply `function` to leaves made of `values`; observe its outputs and each leaf's gradient.

    The cotangents are `ramp`s; without `names` those of the outputs' `grad_fn` are not observed.
    """
    leaves = [m.tensor(value, dtype=getattr(m, dtype), requires_grad=True) for value in values]
    result = function(*leaves)
    outputs = list(result) if isinstance(result, (tuple, list)) else [result]
    tracked = [output for output in outputs if output.requires_grad]
    cotangents = [
        m.tensor(np.array(ramp(output.shape)).reshape(tuple(output.shape)), dtype=output.dtype) for output in tracked
    ]
    observed = [output if names else value_of(output) for output in outputs]
    if tracked:
        m.autograd.backward(tracked, cotangents)
    return {"result": observed, "gradients": [leaf.grad for leaf in leaves]}


# --- the stored form -------------------------------------------------------------------------------------------------


def run(function: Program, module: Any) -> dict[str, Any]:
    """Run a program under a module and return its observations in stored form."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {name: stored(value, module) for name, value in function(module).items()}


def stored(value: Any, module: Any) -> Any:
    """Return an observation as what JSON can hold; everything but plain values becomes a dict with a `kind`."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return number(value, 17)
    if isinstance(value, str):
        return neutral(value)
    if isinstance(value, ValueOf):
        return {**stored(value.tensor, module), "grad_fn": "any"}
    if isinstance(value, Raised):
        return {"kind": "error", "type": value.kind, "text": neutral(value.text)}
    if isinstance(value, module.Tensor):
        return stored_tensor(value)
    if isinstance(value, np.ndarray):
        return {"kind": "array", "dtype": str(value.dtype), "shape": list(value.shape), "values": numbers(value)}
    if isinstance(value, module.dtype):
        return {"kind": "dtype", "name": str(value).rpartition(".")[2]}
    if isinstance(value, Mapping):
        return {"kind": "dict", "items": [[stored(k, module), stored(v, module)] for k, v in value.items()]}
    if isinstance(value, list):
        return [stored(item, module) for item in value]
    if isinstance(value, tuple):
        kind = "Size" if isinstance(value, module.Size) else "tuple"
        return {"kind": kind, "items": [stored(item, module) for item in value]}
    return {"kind": "object", "type": type(value).__name__}


def stored_tensor(tensor: Any) -> dict[str, Any]:
    """Return all that is observed of a tensor; what is as in a plain leaf is left out."""
    array = tensor.detach().numpy()
    found = {
        "kind": "tensor",
        "dtype": str(tensor.dtype).rpartition(".")[2],
        "shape": [int(extent) for extent in tensor.shape],
        "values": numbers(array),
    }
    if tensor.requires_grad:
        found["requires_grad"] = True
    if not tensor.is_leaf:
        found["is_leaf"] = False
    if tensor.grad_fn is not None:
        found["grad_fn"] = name_of(tensor.grad_fn)
    return found


def numbers(array: np.ndarray) -> list[Any]:
    """Return the elements of an array in row order, as plain numbers."""
    if array.dtype.kind == "f":
        digits = {2: 5, 4: 9, 8: 17}[array.dtype.itemsize]
        return [number(float(element), digits) for element in array.ravel()]
    return array.ravel().tolist()


def number(value: float, digits: int) -> float | str:
    """Return a float with as many digits as its type holds; nan and the infinities are spelled."""
    return float(f"{value:.{digits}g}") if math.isfinite(value) else str(value)


def neutral(text: str) -> str:
    """Return a text with gradloom's name where the module is named, and no address."""
    text = re.sub(r"\btorch(?=[.\s'])", "gradloom", text)
    text = re.sub(r"\w+::autograd::", "", text)
    return re.sub(r"0x[0-9a-f]+", "0x…", text)


# --- comparison ------------------------------------------------------------------------------------------------------


def first_sentence(text: str) -> str:
    """Return what an error's text must start with: its first line, up to the end of the first sentence there."""
    line = text.split("\n", 1)[0]
    match = re.match(r".*?[^.A-Z]\.(?=\s+[A-Z])", line)
    return match.group() if match else line


def differences(expected: Any, actual: Any, path: str = "", dtype: str = "float32") -> Iterator[str]:
    """Yield a line for every place where two stored observations differ.

    Floats are held to the tolerance of `dtype`; of an error the type and the first sentence must be the same, and what
    follows is free.
    """
    if is_kind(expected, "error"):
        yield from error_differences(expected, actual, path)
    elif isinstance(expected, dict) and isinstance(actual, dict):
        holds_values = all(is_kind(each, "tensor") or is_kind(each, "array") for each in (expected, actual))
        if holds_values and (floats := expected["dtype"]) in TOLERANCE:
            expected, actual = dict(expected), dict(actual)
            yield from float_differences(expected.pop("values"), actual.pop("values"), f"{path}.values", floats)
        for key in sorted(expected.keys() | actual.keys()):
            yield from differences(expected.get(key, "(none)"), actual.get(key, "(none)"), f"{path}.{key}")
    elif isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        for index, (left, right) in enumerate(zip(expected, actual, strict=True)):
            yield from differences(left, right, f"{path}[{index}]", dtype)
    elif isinstance(expected, float) and isinstance(actual, float):
        yield from float_differences([expected], [actual], path, dtype)
    elif type(expected) is not type(actual) or expected != actual:
        yield f"{path}: expected {expected!r}, got {actual!r}"


def is_kind(value: Any, kind: str) -> bool:
    """Return whether a stored observation is of a kind."""
    return isinstance(value, dict) and value.get("kind") == kind


def error_differences(expected: dict[str, Any], actual: Any, path: str) -> Iterator[str]:
    """Yield how an error differs from the expected one."""
    if not is_kind(actual, "error"):
        yield f"{path}: expected {expected['type']}: {expected['text']}, got {actual!r}"
        return
    if expected["type"] != actual["type"]:
        yield f"{path}: expected a {expected['type']}, got a {actual['type']}: {actual['text']}"
    sentence = first_sentence(expected["text"])
    rest = actual["text"].removeprefix(sentence)
    if not actual["text"].startswith(sentence) or (rest and rest[0] not in " \n.;:"):
        yield f"{path}: expected an error that starts\n    {sentence}\n  got\n    {actual['text']}"


def float_differences(expected: list[Any], actual: list[Any], path: str, dtype: str) -> Iterator[str]:
    """Yield how lists of floats differ beyond the tolerance of their dtype."""
    left, right = (np.array([float(value) for value in values]) for values in (expected, actual))
    if left.shape != right.shape:
        yield f"{path}: expected {len(left)} values, got {len(right)}"
        return
    finite = left[np.isfinite(left)]
    tolerance = TOLERANCE[dtype]
    absolute = tolerance * CANCELLATION * max(1.0, float(np.abs(finite).max(initial=0.0)))
    if not np.allclose(right, left, rtol=tolerance, atol=absolute, equal_nan=True):
        yield f"{path}: expected {left.tolist()}, got {right.tolist()}"
