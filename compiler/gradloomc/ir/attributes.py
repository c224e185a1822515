"""Attribute values: what an op carries besides operands.

Attributes are plain immutable Python values: bool, int, float, str, tuple of ints, tuple of tuples, a Type; and
`Dense`, an array constant. `attribute_key` gives the hashable identity by which two attributes count as the same.
"""

from typing import Any

import numpy as np

from gradloomc.ir.types import TensorType


class Dense:
    """The value of a tensor constant: one number for all elements (a splat) or a read-only array of the full shape."""

    __slots__ = ("array", "key", "type")

    def __init__(self, type: TensorType, array: Any):
        array = np.asarray(array, dtype=type.element.dtype)
        if array.shape not in ((), type.shape):
            raise ValueError(f"a constant of shape {array.shape} cannot fill {type}")
        if array.shape and array.size == 1:
            array = array.reshape(())
        if array.flags.writeable:
            array = array.copy()
            array.flags.writeable = False
        self.type, self.array = type, array
        self.key = (type, array.shape, array.tobytes())

    @property
    def is_splat(self) -> bool:
        return not self.array.shape

    def to_array(self) -> np.ndarray[Any, Any]:
        """Return the full array, read-only."""
        return np.broadcast_to(self.array, self.type.shape)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dense) and other.key == self.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"Dense({self.type}, {self.array!r})"


def attribute_key(attributes: dict[str, Any]) -> tuple[Any, ...]:
    """Return a hashable key; equal keys mean equal attributes (nan equals nan, 0.0 differs from -0.0, 1 from True)."""
    if len(attributes) < 2:
        for name, value in attributes.items():
            return (name, _value_key(value))
        return ()
    return tuple([(name, _value_key(attributes[name])) for name in sorted(attributes)])


def _value_key(value: Any) -> Any:
    if isinstance(value, float):
        return ("float", value.hex())
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, Dense):
        return value.key
    if isinstance(value, tuple):
        return tuple([_value_key(item) for item in value])
    return value


def only_number(array: Any) -> Any:
    """Return the number that all elements of an array are, to the bit; None if they differ (or there are none)."""
    if not array.size:
        return None
    first = array[(0,) * array.ndim]
    if all(step == 0 or extent == 1 for step, extent in zip(array.strides, array.shape, strict=True)):
        return first  # a broadcast number
    items = np.ascontiguousarray(array).reshape(-1)
    same = items.view(np.uint8).reshape(items.size, -1) == items[:1].view(np.uint8)
    return first if bool(same.all()) else None
