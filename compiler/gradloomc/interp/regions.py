"""How the interpreter runs ops with regions (kernels and loops)."""

from collections.abc import Callable
from typing import Any

REGION_OPS: dict[str, Callable[..., Any]] = {}
