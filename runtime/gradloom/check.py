"""`check_grads`: compare derivatives with finite differences, in random directions, to any order.

The function itself is evaluated as plain NumPy, so that tracing and code generation are checked
too.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradloom.api import CompiledGrad
from gradloom.linear_maps import vjp
from gradloom.signature import caller_location
from gradloom.transforms import jvp
from gradloom.tree import Structure, flatten, leaf_paths, unflatten
from gradloomc.ir.errors import DifferentiationError

MODES = ("fwd", "rev")


def check_grads(
    f: Callable[..., Any],
    args: Sequence[Any],
    order: int = 2,
    modes: Sequence[str] = MODES,
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
    seed: int = 0,
) -> None:
    """Raise AssertionError unless the derivatives of `f` at `args` agree with finite differences.

    In a random direction v the forward derivative J v must equal the five-point central difference
    (error of order eps**4; Abramowitz and Stegun 25.3.6), and for a random u the reverse one must
    satisfy the adjoint identity <u, J v> = <Jᵀ u, v>. For higher orders the same is asked of the
    derivatives themselves.

    Args:
        f: the function; arguments and result may be containers. A compiled function is evaluated as
            the NumPy it came from.
        args: its positional arguments; leaves that are no floats stay fixed.
        order: the highest order of derivatives to check.
        modes: "fwd", "rev" or both; at higher orders every sequence of them is checked.
        atol, rtol: tolerances, by default 1e-6 in float64 and 1e-2 in float32; rtol refers to the
            largest element.
        eps: the step, by default the fifth root of the coarsest dtype's precision.
        seed: of the random directions.

    Raises:
        AssertionError: a derivative is wrong; the message says which and by how much.
        DifferentiationError: `f` cannot be differentiated, or no argument holds floats.
    """
    unknown = set(modes) - set(MODES)
    if unknown or not modes:
        raise ValueError(f"modes should be chosen from {MODES}, not {modes!r}")
    plain = f
    while isinstance(plain, CompiledGrad):
        plain = plain.__wrapped__
    _Check(np.random.default_rng(seed), atol, rtol, eps).order(
        plain, f, tuple(args), order, tuple(modes), ()
    )


class _Check:
    """Options and random numbers of one check."""

    def __init__(self, rng: Any, atol: float | None, rtol: float | None, eps: float | None):
        self.rng, self.atol, self.rtol, self.eps = rng, atol, rtol, eps

    def order(
        self,
        plain: Any,
        f: Any,
        args: tuple[Any, ...],
        order: int,
        modes: tuple[str, ...],
        done: tuple[str, ...],
    ) -> None:
        """Check the derivatives of `f`, itself a derivative by the modes in `done`."""
        if order < 1:
            return
        leaves, structure = flatten(args)
        moving = [i for i, leaf in enumerate(leaves) if _is_float(leaf)]
        if not moving:
            raise DifferentiationError("check_grads: no argument holds floats", caller_location())
        tangents = [
            self.direction(leaf) if i in set(moving) else None for i, leaf in enumerate(leaves)
        ]
        v = unflatten(structure, tangents)
        numeric, out_structure = self.difference(plain, leaves, structure, tangents)
        u = [None if d is None else self.direction(d) for d in numeric]
        cotangent = unflatten(out_structure, u)
        if "fwd" in modes:
            found, _ = flatten(jvp(f, args, v)[1])
            self.compare(
                found,
                [d for d in numeric if d is not None],
                (*done, "fwd"),
                leaf_paths(out_structure),
            )
        if "rev" in modes:
            back, _ = flatten(vjp(f, *args)[1](cotangent))
            parts = [
                np.sum(b * t) for b, t in zip(back, [tangents[i] for i in moving], strict=True)
            ]
            expected = sum(np.sum(d * w) for d, w in zip(numeric, u, strict=True) if d is not None)
            scale = sum(
                np.sum(abs(d * w)) for d, w in zip(numeric, u, strict=True) if d is not None
            )
            dtype = np.result_type(*[np.asarray(leaves[i]).dtype for i in moving])
            self.compare(
                [np.asarray(sum(parts), dtype)], [expected], (*done, "rev"), [""], float(scale)
            )
        if order == 1:
            return
        if "fwd" in modes:
            push = lambda *xs: jvp(f, xs, v)[1]  # noqa: E731
            self.order(push, push, args, order - 1, modes, (*done, "fwd"))
        if "rev" in modes:
            pull = lambda *xs: vjp(f, *xs)[1](cotangent)  # noqa: E731
            self.order(pull, pull, args, order - 1, modes, (*done, "rev"))

    def direction(self, like: Any) -> Any:
        like = np.asarray(like)
        return np.asarray(self.rng.standard_normal(like.shape), like.dtype)

    def difference(
        self, plain: Any, leaves: list[Any], structure: Structure, tangents: list[Any]
    ) -> tuple[list[Any], Structure]:
        """Return the derivative of each result in the direction `tangents` by differences.

        For a result that is no float it is None.
        """
        floats = [
            np.asarray(leaf).dtype
            for leaf, t in zip(leaves, tangents, strict=True)
            if t is not None
        ]
        coarsest = max(float(np.finfo(dtype).eps) for dtype in floats)
        h = self.eps or coarsest**0.2

        def at(steps: float) -> tuple[list[Any], Structure]:
            moved = [
                leaf if t is None else _moved(leaf, steps * h, t)
                for leaf, t in zip(leaves, tangents, strict=True)
            ]
            return flatten(plain(*unflatten(structure, moved)))

        (m2, out), (m1, _), (p1, _), (p2, _) = at(-2), at(-1), at(1), at(2)
        found = [
            np.asarray(
                (8 * (_wide(b) - _wide(a)) - (_wide(c) - _wide(z))) / (12 * h), np.asarray(a).dtype
            )
            if _is_float(a)
            else None
            for z, a, b, c in zip(m2, m1, p1, p2, strict=True)
        ]
        return found, out

    def compare(
        self,
        found: list[Any],
        expected: list[Any],
        chain: tuple[str, ...],
        paths: list[str],
        scale: float | None = None,
    ) -> None:
        """Raise unless `found` agrees with `expected`."""
        for i, (got, want) in enumerate(zip(found, expected, strict=True)):
            got, want = np.asarray(got), np.asarray(want)
            coarse = min(got.dtype.itemsize, want.dtype.itemsize) < 8
            default = 1e-2 if coarse else 1e-6
            atol = default if self.atol is None else self.atol
            rtol = default if self.rtol is None else self.rtol
            if got.size == 0:
                continue
            size = float(np.max(np.abs(want))) if scale is None else scale
            error = np.abs(got.astype(float) - want.astype(float))
            if not np.all(error <= atol + rtol * size):
                where = np.unravel_index(
                    int(np.argmax(np.where(np.isnan(error), np.inf, error))), error.shape
                )
                place = f" at {[int(k) for k in where]}" if error.shape else ""
                raise AssertionError(
                    f"the derivative of order {len(chain)} by {' over '.join(reversed(chain))} is "
                    "wrong in the result"
                    f"{paths[i] if i < len(paths) else ''}{place}: got {got[where]}, differences "
                    f"give {want[where]} "
                    f"(largest error {np.max(error):.3g}, allowed {atol + rtol * size:.3g})"
                )


def _is_float(leaf: Any) -> bool:
    dtype = getattr(leaf, "dtype", None)
    return isinstance(leaf, float) or (dtype is not None and dtype.kind == "f")


def _wide(x: Any) -> Any:
    return np.asarray(x, np.float64)


def _moved(leaf: Any, step: float, tangent: Any) -> Any:
    moved = _wide(leaf) + step * _wide(tangent)
    return float(moved) if isinstance(leaf, float) else moved.astype(np.asarray(leaf).dtype)
