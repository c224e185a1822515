"""The text of a tensor, character for character as PyTorch prints it.

The rules follow `torch/_tensor_str.py` of PyTorch 2.13 (BSD-3-Clause). Works on NumPy arrays and knows no tensor: what
a tensor adds to its values (requires_grad, grad_fn) comes in as arguments. Start reading at `format_tensor`.
"""

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from gradloom.autograd import dtypes

# Besides the default dtype, those that a reader tells from the numbers alone.
EVIDENT_DTYPES = (dtypes.int64, dtypes.bool_)


@dataclasses.dataclass
class PrintOptions:
    """What `set_printoptions` sets; the names and defaults are PyTorch's."""

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


PRINT_OPTS = PrintOptions()
PROFILES: dict[str, dict[str, Any]] = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": math.inf, "edgeitems": 3, "linewidth": 80},
}


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors print; what is None stays as it is, but for `sci_mode`.

    Args:
        precision: digits behind the point, 4 at first.
        threshold: more elements than this are summarised, 1000 at first.
        edgeitems: how many elements a summary keeps at each end of a dimension, 3 at first.
        linewidth: characters of a line, 80 at first.
        profile: "default", "short" or "full"; the other arguments override it. Other names do nothing, as in PyTorch.
        sci_mode: whether to print 1.0000e+00; None, which each call sets anew, decides by the numbers.
    """
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    settings = PROFILES.get(profile or "", {}) | {name: value for name, value in given.items() if value is not None}
    for name, value in settings.items():
        setattr(PRINT_OPTS, name, value)
    PRINT_OPTS.sci_mode = sci_mode


def get_printoptions() -> dict[str, Any]:
    """Return the present options as arguments for `set_printoptions`."""
    return dataclasses.asdict(PRINT_OPTS)


@contextlib.contextmanager
def printoptions(**options: Any) -> Iterator[None]:
    """Set options, the arguments being those of `set_printoptions`, until the block ends."""
    before = get_printoptions()
    set_printoptions(**options)
    try:
        yield
    finally:
        set_printoptions(**before)


def format_tensor(
    array: np.ndarray, *, requires_grad: bool = False, grad_fn: str | None = None, prefix: str = "tensor("
) -> str:
    """Return the text of a tensor whose values are `array`.

    Args:
        array: values of any shape, of a dtype that tensors have.
        requires_grad: whether it is a leaf that requires a gradient; not looked at where there is a `grad_fn`.
        grad_fn: name of the node that made it, "SinBackward0".
        prefix: what it starts with, up to the parenthesis; continued lines are indented by its length.

    Raises:
        TypeError: the array's dtype is none of a tensor.
    """
    dtype = dtypes.dtype_of(array.dtype)
    default = dtypes.get_default_dtype()
    suffixes: list[str] = []
    if array.size == 0:
        if array.ndim != 1:
            suffixes.append(f"size={array.shape}")
        # No elements to tell int64 from the default dtype by.
        shows_dtype = dtype is not default
    else:
        if not PRINT_OPTS.edgeitems:
            suffixes.append(f"size={array.shape}")
        shows_dtype = dtype is not default and dtype not in EVIDENT_DTYPES
    if shows_dtype:
        suffixes.append(f"dtype={dtype}")
    if grad_fn is not None:
        suffixes.append(f"grad_fn=<{grad_fn}>")
    elif requires_grad:
        suffixes.append("requires_grad=True")
    indent = len(prefix)
    return _add_suffixes(prefix + format_values(array, indent), suffixes, indent)


def format_values(array: np.ndarray, indent: int) -> str:
    """Return the bracketed numbers alone; `indent` is the column that they start in."""
    if array.size == 0:
        return "[]"
    summarize = array.size > PRINT_OPTS.threshold
    formatter = NumberFormat(_shown(array) if summarize else array)
    return _nested(array, indent, summarize, formatter)


class NumberFormat:
    """How the numbers of one tensor print: one notation and one width for all of them.

    Attributes:
        floating: whether they are floating-point.
        whole: whether all of them are whole numbers, so that "2." is enough.
        scientific: whether they print as 2.0000e+00.
        width: characters of the longest.
    """

    def __init__(self, shown: np.ndarray):
        """Choose by the numbers that will be seen, which for a summary are not all of the tensor's."""
        self.floating = shown.dtype.kind == "f"
        self.whole, self.scientific, self.width = True, False, 1
        self.precision = PRINT_OPTS.precision
        flat = shown.reshape(-1)
        if not self.floating:
            self.width = max([1, *(len(str(value)) for value in flat.tolist())])
            return
        finite = flat[np.isfinite(flat) & (flat != 0)]
        if finite.size == 0:
            return
        self.whole = bool((finite == np.ceil(finite)).all())
        magnitudes = np.abs(finite)
        # As Python floats: the quotient of two float16 would overflow.
        least, greatest = float(magnitudes.min()), float(magnitudes.max())
        if PRINT_OPTS.sci_mode is None:
            self.scientific = greatest / least > 1000.0 or greatest > 1.0e8 or least < 1.0e-4
        else:
            self.scientific = PRINT_OPTS.sci_mode
        self.width = max([1, *(len(self._text(value)) for value in finite.tolist())])

    def __call__(self, value: Any) -> str:
        """Return the text of one number, filled up to the width."""
        return self._text(value).rjust(self.width)

    def _text(self, value: Any) -> str:
        if not self.floating:
            return str(value)
        if self.scientific:
            return f"{value:.{self.precision}e}"
        if self.whole:
            return f"{value:.0f}." if math.isfinite(value) else f"{value:.0f}"
        return f"{value:.{self.precision}f}"


def _shown(array: np.ndarray) -> np.ndarray:
    """Return the elements that a summary shows."""
    edge = PRINT_OPTS.edgeitems
    if edge == 0:
        # PyTorch's slice [-0:] of a vector takes all of it; of a matrix nothing is left.
        return array if array.ndim <= 1 else array[:0]
    for axis, extent in enumerate(array.shape):
        if extent > 2 * edge:
            array = array.take([*range(edge), *range(extent - edge, extent)], axis)
    return array


def _nested(array: np.ndarray, indent: int, summarize: bool, formatter: NumberFormat) -> str:
    """Return the text of the numbers, row by row, with as many line breaks between as there are dimensions below."""
    if array.ndim == 0:
        return formatter(array.item())
    if array.ndim == 1:
        return _vector(array, indent, summarize, formatter)
    edge = PRINT_OPTS.edgeitems
    cut = summarize and len(array) > 2 * edge
    rows = [*range(edge), *range(len(array) - edge, len(array))] if cut else range(len(array))
    texts = [_nested(array[row], indent + 1, summarize, formatter) for row in rows]
    if cut:
        texts.insert(edge, "...")
    return "[" + ("," + "\n" * (array.ndim - 1) + " " * (indent + 1)).join(texts) + "]"


def _vector(array: np.ndarray, indent: int, summarize: bool, formatter: NumberFormat) -> str:
    """Return the text of one row, broken into lines where it is too long."""
    edge = PRINT_OPTS.edgeitems
    if summarize and not edge:
        texts = ["..."]
    elif summarize and len(array) > 2 * edge:
        texts = [*map(formatter, array[:edge].tolist()), " ...", *map(formatter, array[-edge:].tolist())]
    else:
        texts = [*map(formatter, array.tolist())]
    per_line = max(1, (PRINT_OPTS.linewidth - indent) // (formatter.width + 2))
    lines = [", ".join(texts[start : start + per_line]) for start in range(0, len(texts), per_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


def _add_suffixes(text: str, suffixes: list[str], indent: int) -> str:
    """Append `, suffix` for each and the closing parenthesis; a suffix that does not fit starts a line.

    A dtype counts as long as PyTorch's name for it, so that lines break where PyTorch breaks them.
    """
    length = len(text) - text.rfind("\n") + 1  # two more than the last line has, as PyTorch counts
    for suffix in suffixes:
        counted = len(suffix.replace("gradloom.", "torch."))
        if length + counted + 2 > PRINT_OPTS.linewidth:
            text += ",\n" + " " * indent + suffix
            length = indent + counted
        else:
            text += ", " + suffix
            length += counted + 2
    return text + ")"
