"""Anomaly detection: backwards that go node by node and say which forward operation an error or a nan comes from.

Owns whether it is on, and what is said. With it on, gradients.py passes every node on its own.
"""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradloom.autograd.errors import error, recorded_at
from gradloom.autograd.graph import Node
from gradloom.autograd.tensor import public


class _Anomaly:
    """Whether it is on, for all threads."""

    enabled = False
    check_nan = True


anomaly = _Anomaly()


@public("set_anomaly_enabled")
def set_anomaly_enabled(enabled: bool, check_nan: bool = True) -> None:
    """Turn anomaly detection on or off."""
    anomaly.enabled, anomaly.check_nan = enabled, check_nan


@public("is_anomaly_enabled")
def is_anomaly_enabled() -> bool:
    """Tell whether anomaly detection is on."""
    return anomaly.enabled


@public("is_anomaly_check_nan_enabled")
def is_anomaly_check_nan_enabled() -> bool:
    """Tell whether anomaly detection looks for nans."""
    return anomaly.check_nan


class set_detect_anomaly:
    """Turn anomaly detection on or off: at once when called as a function, until the end of the block as a context.

    Args:
        mode: on or off.
        check_nan: raise if the gradient that a node gives to an operand holds a nan.
    """

    def __init__(self, mode: bool, check_nan: bool = True):
        self._before = (anomaly.enabled, anomaly.check_nan)
        set_anomaly_enabled(mode, check_nan)

    def __enter__(self) -> None: ...

    def __exit__(self, *exception: object) -> None:
        set_anomaly_enabled(*self._before)


class detect_anomaly:
    """Turn anomaly detection on for a block.

    A backward then goes node by node, which is slow. If one raises, a warning names the line of the forward operation;
    a gradient that holds a nan raises (unless `check_nan` is False).
    """

    def __init__(self, check_nan: bool = True):
        self._before = (anomaly.enabled, anomaly.check_nan)
        self.check_nan = check_nan
        warnings.warn(
            "Anomaly Detection has been enabled. This mode will increase the runtime and should only be enabled for "
            "debugging.",
            stacklevel=2,
        )

    def __enter__(self) -> None:
        set_anomaly_enabled(True, self.check_nan)

    def __exit__(self, *exception: object) -> None:
        set_anomaly_enabled(*self._before)


def check_finite(node: Node, gradients: Sequence[Any]) -> None:
    """Raise if a gradient that a node gives to its operands holds a nan.

    Raises:
        RuntimeError: with the line of the forward operation.
    """
    if anomaly.check_nan:
        for k, gradient in enumerate(gradients):
            if gradient is not None and np.isnan(gradient._array()).any():
                raise error(
                    RuntimeError,
                    f"Function '{node.name()}' returned nan values in its {k}th output.",
                    "see what the operation was given: its derivative is not defined there",
                    recorded_at(node),
                )


def warn_of_error(node: Node) -> None:
    """Say which forward operation's backward has just raised."""
    name, line, _, _ = node.location.resolve()
    if node.place is None:
        warnings.warn(
            f"Error detected in {node.name()}. No forward pass information available. Enable detect anomaly during "
            "forward pass for more information.",
            stacklevel=2,
        )
        return
    source = node.location.source_line().strip()
    warnings.warn(
        f"Error detected in {node.name()}. Traceback of forward call that caused the error:\n"
        f'  File "{name}", line {line}, in {node.place[0].co_name}\n    {source}\n',
        stacklevel=2,
    )
