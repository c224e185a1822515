"""Curves over a size, read from the records of the special measurements.

Owns the reading only: tables and pictures are made from what it returns.
"""

from __future__ import annotations

from typing import Any

Curves = dict[str, list[tuple[int, float]]]


def first_calls(record: dict[str, Any], family: str) -> Curves:
    """Return the first calls of a `compile_time` record by peer: pairs (number of operations, seconds)."""
    found: Curves = {}
    for one in record["points"]:
        if one["family"] == family and "first" in one:
            found.setdefault(one["peer"], []).append((one["count"], one["first"]))
    return found


def call_times(record: dict[str, Any]) -> Curves:
    """Return the median times of a `call_overhead` record by peer: pairs (numbers in the array, seconds)."""
    return {
        name: [(one["size"], one["median"]) for one in found["points"] if "median" in one]
        for name, found in record["peers"].items()
    }
