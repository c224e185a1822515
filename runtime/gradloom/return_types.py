"""`gradloom.return_types`: the classes of results with several fields, such as `gradloom.return_types.max`."""

from typing import Any

import gradloom.autograd.namespace  # noqa: F401  (its modules define the classes)
from gradloom.autograd.reducing import STRUCTURES


def __getattr__(name: str) -> Any:
    found = STRUCTURES.get(name)
    if found is None:
        raise AttributeError(f"module 'gradloom.return_types' has no attribute {name!r}")
    return found


def __dir__() -> list[str]:
    return sorted(STRUCTURES)
