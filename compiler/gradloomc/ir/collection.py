"""Pauses of the cyclic garbage collector while IR is being made. Knows nothing of what is made."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused_collection() -> Iterator[None]:
    """Keep the collector from scanning half-built IR again and again: nearly all of it lives until the end.

    A function of 10,000 ops took twice as long with it, and more the more the process holds besides.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
