"""Every row of the tables in docs/differentiation.md holds, in reverse and in forward mode."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gradloom

special = pytest.importorskip("scipy.special")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "differentiation.md"
# | `expression`, `expression` | `x` | `gradient` | words |, or with the forward mode's gradient where it differs
_ROW = re.compile(r"^\| (`.+?`) \| `(\[.*?\])` \| `(\[.*?\])` \| (?:`(\[.*?\])` \| )?.*\|$", re.MULTILINE)
NAMES: dict[str, Any] = {"np": np, "special": special, "inf": np.inf, "nan": np.nan}


def rows() -> list[tuple[str, str, str, str]]:
    """Return (expression, x, reverse, forward) of every row; a row may have several expressions."""
    found = []
    for expressions, x, reverse, forward in _ROW.findall(PAGE.read_text(encoding="utf-8")):
        for expression in expressions.strip("`").split("`, `"):
            found.append((expression, x, reverse, forward or reverse))
    return found


def test_no_row_is_overlooked() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert len([line for line in page.splitlines() if line.startswith("| `")]) == len(_ROW.findall(page)) > 25


@pytest.mark.parametrize(("expression", "x", "reverse", "forward"), rows())
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_row(expression: str, x: str, reverse: str, forward: str, dtype: Any) -> None:
    point = np.array(eval(x, NAMES), dtype)
    function = eval(f"lambda x: np.sum({expression})", NAMES)
    gradient = gradloom.grad(function)(point)
    tangents = [gradloom.jvp(function, (point,), (direction,))[1] for direction in np.eye(point.size, dtype=dtype)]
    assert gradient.dtype == dtype
    assert gradient == pytest.approx(np.array(eval(reverse, NAMES)), rel=1e-6, nan_ok=True)
    assert np.array(tangents) == pytest.approx(np.array(eval(forward, NAMES)), rel=1e-6, nan_ok=True)
