"""Ufuncs beyond the plain call: with keyword arguments (out=, where=, dtype=), and reduce, outer and at."""

from typing import Any

import numpy as np

from gradloom.trace import reductions, ufuncs
from gradloom.trace.calling import UFUNC_METHODS, apply
from gradloom.trace.context import fail
from gradloom.trace.indexing import parse
from gradloom.trace.memory import is_traced, lift, unwrap
from gradloom.trace.picking import writable
from gradloom.trace.promote import bring, stretch, truth
from gradloom.trace.reductions import MISSING, deliver
from gradloom.trace.tracer import Tracer, concrete_key, wrap
from gradloomc.dialects import nd
from gradloomc.ir.errors import UnsupportedError

_REDUCTIONS: dict[str, Any] = {
    "add": reductions.sum,
    "multiply": reductions.prod,
    "maximum": reductions.max,
    "minimum": reductions.min,
    "logical_and": reductions.all,
    "logical_or": reductions.any,
}


def _ufunc_call(ufunc: Any, *inputs: Any, out: Any = None, where: Any = True, dtype: Any = None, **options: Any) -> Any:
    """A ufunc with keyword arguments."""
    for name in options:
        if name not in ("casting", "order", "subok"):
            fail(UnsupportedError, f"gradloom does not support {name}= of np.{ufunc.__name__}")
    inputs, extra = inputs[: ufunc.nin], inputs[ufunc.nin :]
    if extra:
        out = extra
    if out is not None and not isinstance(out, tuple):
        out = (out,)
    if not is_traced([*inputs, where]) and not (out and is_traced(out)):
        return _concrete_call(ufunc, inputs, out, where, dtype, options)
    results = apply(ufunc, inputs, dtype)
    several = results.__class__ is tuple
    parts = list(results) if several else [results]
    targets = out or (None,) * len(parts)
    if where is not True:
        for i, target in enumerate(targets):
            if target is None:
                fail(
                    UnsupportedError,
                    f"np.{ufunc.__name__} with where= leaves elements undefined where the mask is false",
                    f"pass out= as well, or write np.where(mask, np.{ufunc.__name__}(...), other)",
                )
            parts[i] = _where(where, wrap(parts[i]), target)
    parts = [
        deliver(_as_tracer(part), target) if target is not None else part
        for part, target in zip(parts, targets, strict=True)
    ]
    return tuple(parts) if several else parts[0]


def _as_tracer(x: Any) -> Tracer:
    return x if x.__class__ is Tracer else Tracer(lift(x))


def _where(mask: Any, x: Any, target: Any) -> Tracer:
    chosen, other = lift(x), lift(target)
    shape = np.broadcast_shapes(chosen.type.shape, other.type.shape)
    condition = stretch(truth(lift(mask)), shape)
    return Tracer(
        nd.select(condition, bring(chosen, chosen.type.element, shape), bring(other, chosen.type.element, shape))
    )


def _concrete_call(ufunc: Any, inputs: Any, out: Any, where: Any, dtype: Any, options: dict[str, Any]) -> Any:
    if dtype is not None:
        options["dtype"] = dtype
    if where is not True:
        options["where"] = unwrap(where)
    if out is None:
        return wrap(ufunc(*unwrap(inputs), **options))
    arrays = []
    for target in out:
        if target.__class__ is Tracer:
            target._write(target.concrete)  # copies first if the array has been used
            target = target.concrete
        arrays.append(target)
    ufunc(*unwrap(inputs), out=tuple(arrays), **options)
    return out[0] if len(out) == 1 else out


def _ufunc_reduce(
    ufunc: Any,
    array: Any,
    axis: Any = 0,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = False,
    initial: Any = MISSING,
    where: Any = True,
) -> Any:
    if not is_traced([array, initial, where]) and out is None:
        options = {} if initial is MISSING else {"initial": unwrap(initial)}
        if where is not True:
            options["where"] = unwrap(where)
        return wrap(ufunc.reduce(unwrap(array), axis=axis, dtype=dtype, keepdims=keepdims, **options))
    reduction = _REDUCTIONS.get(ufunc.__name__)
    if reduction is None:
        fail(
            UnsupportedError,
            f"gradloom cannot trace np.{ufunc.__name__}.reduce",
            f"reductions that it can: {', '.join(_REDUCTIONS)}",
        )
    options = {"axis": axis, "out": out, "keepdims": keepdims}
    if where is not True:
        options["where"] = where
    if reduction in (reductions.sum, reductions.prod):
        options["dtype"] = dtype
    if reduction not in (reductions.any, reductions.all) and initial is not MISSING:
        options["initial"] = initial
    return reduction(array, **options)


def _ufunc_outer(ufunc: Any, x: Any, y: Any, **options: Any) -> Any:
    if not is_traced([x, y]):
        return wrap(ufunc.outer(unwrap(x), unwrap(y), **options))
    if options:
        fail(UnsupportedError, f"gradloom does not support {', '.join(options)}= of np.{ufunc.__name__}.outer")
    x, y = lift(x), lift(y)
    return Tracer(ufuncs.apply_outer(ufuncs.find(ufunc), x, y, (x.type.element, y.type.element)))


def _ufunc_at(ufunc: Any, a: Any, indices: Any, b: Any = None) -> None:
    """`np.add.at(a, indices, b)`: equal indices add up."""
    target = writable(a, f"{ufunc.__name__}.at")
    if not is_traced([target, indices, b]):
        target._write(target.concrete)
        args = () if b is None else (unwrap(b),)
        ufunc.at(target.concrete, unwrap(indices), *args)
        return
    if ufunc not in (np.add, np.subtract):
        fail(
            UnsupportedError,
            f"gradloom cannot trace np.{ufunc.__name__}.at",
            "np.add.at and np.subtract.at are supported",
        )
    part = b if ufunc is np.add else apply(np.negative, (b,))
    key, _ = concrete_key(indices)
    step = parse(target.shape, key)
    if not hasattr(step, "add"):
        target[key] = target[key] + part
        return
    target._replace(target._check_writable(), step, lift(part), add=True)


UFUNC_METHODS["__call__"] = _ufunc_call
UFUNC_METHODS["reduce"] = _ufunc_reduce
UFUNC_METHODS["outer"] = _ufunc_outer
UFUNC_METHODS["at"] = _ufunc_at
