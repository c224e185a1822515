"""A line search for the strong Wolfe conditions: bracket a good step, then zoom in (Nocedal, Wright 2006, section 3.5).

The steps are those of PyTorch's `_strong_wolfe`, after minFunc by M. Schmidt. Works on numbers and on gradients that it
only passes on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

SUFFICIENT_DECREASE, CURVATURE = 1e-4, 0.9
SMALLEST_BRACKET = 1e-9


@dataclass(slots=True)
class Trial:
    """A step along the direction: its length, the loss there, the gradient, and its product with the direction."""

    t: Any
    loss: float
    gradient: Any
    slope: Any


def strong_wolfe(
    along: Callable[[Any], tuple[float, Any, Any]],
    t: Any,
    longest: Any,
    loss: float,
    gradient: Any,
    slope: Any,
    most: int,
) -> tuple[float, Any, Any, int]:
    """Find a step that satisfies the strong Wolfe conditions.

    Args:
        along: returns the loss, the gradient and the slope at a distance.
        t: the first distance to try.
        longest: the largest element of the direction.
        loss, gradient, slope: at distance 0.
        most: how many distances are tried after the first one, in both phases together.

    Returns:
        The loss and the gradient at the distance found, that distance, and how often `along` was called.
    """
    start = Trial(0, loss, gradient, slope)
    with np.errstate(all="ignore"):  # a division by zero gives a distance that the bounds put right
        bracket, done, tried = _bracket(along, start, Trial(t, *along(t)), most)
        more, low = (0, 0) if done else _zoom(along, start, bracket, longest, most - tried)
    found = bracket[low]
    return found.loss, found.gradient, found.t, 1 + tried + more


def _too_high(trial: Trial, start: Trial) -> bool:
    return trial.loss > start.loss + SUFFICIENT_DECREASE * trial.t * start.slope


def _flat(trial: Trial, start: Trial) -> bool:
    return abs(trial.slope) <= -CURVATURE * start.slope


def _bracket(
    along: Callable[[Any], tuple[float, Any, Any]], start: Trial, new: Trial, most: int
) -> tuple[list[Trial], bool, int]:
    """Walk on until a good step lies between two trials, or is one; return them, whether it is one, and the calls."""
    before, tried = start, 0
    while tried < most:
        if _too_high(new, start) or (tried > 1 and new.loss >= before.loss):
            return [before, new], False, tried
        if _flat(new, start):
            return [new], True, tried
        if new.slope >= 0:
            return [before, new], False, tried
        bounds = (new.t + 0.01 * (new.t - before.t), new.t * 10)
        t = _cubic_minimum(before, new, bounds)
        before, new = new, Trial(t, *along(t))
        tried += 1
    return [start, new], False, tried


def _zoom(
    along: Callable[[Any], tuple[float, Any, Any]], start: Trial, bracket: list[Trial], longest: Any, most: int
) -> tuple[int, int]:
    """Shrink the bracket until one of its ends is a good step; return the calls, and which end is the lower one."""
    calls, stuck = 0, False
    low = _low_of(bracket)
    while calls < most and not abs(bracket[1].t - bracket[0].t) * longest < SMALLEST_BRACKET:
        t = _cubic_minimum(bracket[0], bracket[1], None)
        t, stuck = _away_from_ends(t, bracket, stuck)
        new = Trial(t, *along(t))
        calls += 1
        high = 1 - low
        if _too_high(new, start) or new.loss >= bracket[low].loss:
            bracket[high] = new
            low = _low_of(bracket)
            continue
        good = _flat(new, start)
        if not good and new.slope * (bracket[high].t - bracket[low].t) >= 0:
            bracket[high] = bracket[low]
        bracket[low] = new
        if good:
            break
    return calls, low


def _low_of(bracket: list[Trial]) -> int:
    return 0 if bracket[0].loss <= bracket[-1].loss else 1


def _away_from_ends(t: Any, bracket: list[Trial], stuck: bool) -> tuple[Any, bool]:
    """Move a trial that is too close to an end of the bracket, if that happens again or it is at the end."""
    ends = [trial.t for trial in bracket]
    margin = 0.1 * (max(ends) - min(ends))
    if not min(max(ends) - t, t - min(ends)) < margin:
        return t, False
    if stuck or t >= max(ends) or t <= min(ends):
        nearer_to_upper = abs(t - max(ends)) < abs(t - min(ends))
        return (max(ends) - margin if nearer_to_upper else min(ends) + margin), False
    return t, True


def _cubic_minimum(a: Trial, b: Trial, bounds: "tuple[Any, Any] | None") -> Any:
    """Return where the cubic through two trials has its minimum, within bounds; their middle if it has none."""
    low, high = bounds if bounds is not None else ((a.t, b.t) if a.t <= b.t else (b.t, a.t))
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = d1**2 - a.slope * b.slope
    if not square >= 0:
        return (low + high) / 2.0
    d2 = np.sqrt(square)
    if a.t <= b.t:
        found = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2))
    else:
        found = a.t - (a.t - b.t) * ((a.slope + d2 - d1) / (a.slope - b.slope + 2 * d2))
    return min(max(found, low), high)
