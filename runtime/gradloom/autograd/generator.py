"""The random generator, and how its numbers become uniform, normal and whole ones: bit for bit as in PyTorch on a CPU.

PyTorch's generator is the Mersenne twister mt19937, seeded as by Matsumoto and Nishimura's `init_genrand`; NumPy has
the same one. The transformations are those of ATen's DistributionsHelper.h and of its CPU kernels; logarithms, sines
and cosines may differ in the last bit. Knows arrays only, no tensors.
"""

import math
import secrets
from typing import Any

import numpy as np

from gradloom.autograd.dtypes import device
from gradloom.autograd.errors import error
from gradloom.autograd.graph import Array

DEFAULT_SEED = 67280421310721
_LOWER_24, _LOWER_53 = np.uint64((1 << 24) - 1), np.uint64((1 << 53) - 1)
_FROM_64_BITS = 1 << 28  # ranges of whole numbers from here on are drawn from 64 bits


class Generator:
    """A stream of random numbers; `manual_seed` starts it anew."""

    def __init__(self, device: Any = "cpu"):
        self.device = _cpu(device)
        self._twister = np.random.MT19937()
        self.manual_seed(DEFAULT_SEED)

    # --- seeds and states ---------------------------------------------------------------------------------------------

    def manual_seed(self, seed: int) -> "Generator":
        """Start the stream of a seed; return the generator.

        Raises:
            RuntimeError: the seed does not fit into 64 bits.
        """
        seed = int(seed)
        if not -(1 << 63) <= seed < 1 << 64:
            raise error(RuntimeError, "Overflow when unpacking long long", "seeds lie between -2**63 and 2**64 - 1")
        self._seed = seed % (1 << 64)
        key = np.random.RandomState(self._seed & 0xFFFFFFFF).get_state(legacy=False)["state"]["key"]
        self._twister.state = {"bit_generator": "MT19937", "state": {"key": key, "pos": 624}}
        self._next_normal: float | None = None
        return self

    def seed(self) -> int:
        """Start the stream of a seed that nobody can foretell; return the seed."""
        self.manual_seed(secrets.randbits(64))
        return self._seed

    def initial_seed(self) -> int:
        """Return the seed with which the stream started."""
        return self._seed

    def state_array(self) -> Array:
        """Return the state as bytes."""
        state = self._twister.state["state"]
        waiting = np.array([np.nan if self._next_normal is None else self._next_normal])
        parts = [np.asarray(state["key"], np.uint32), np.array([state["pos"], self._seed], np.uint64), waiting]
        return np.concatenate([part.view(np.uint8) for part in parts])

    def restore(self, state: Array) -> None:
        """Go on from a state that `state_array` gave.

        Raises:
            RuntimeError: it is no such state.
        """
        if state.dtype != np.uint8 or state.shape != (624 * 4 + 16 + 8,):
            raise error(RuntimeError, "RNG state is wrong size or not a ByteTensor")
        state = np.array(state)
        position, seed = state[2496:2512].view(np.uint64)
        (waiting,) = state[2512:].view(np.float64)
        key = state[:2496].view(np.uint32)
        self._twister.state = {"bit_generator": "MT19937", "state": {"key": key, "pos": int(position)}}
        self._seed, self._next_normal = int(seed), None if math.isnan(waiting) else float(waiting)

    def clone(self) -> "Generator":
        """Return another generator in the same state."""
        other = Generator()
        other.restore(self.state_array())
        return other

    def __repr__(self) -> str:
        return f"<gradloom.Generator device={self.device} seed={self._seed}>"

    # --- numbers ------------------------------------------------------------------------------------------------------

    def bits32(self, count: int) -> Array:
        """Return numbers of 32 random bits as uint64."""
        return self._twister.random_raw(count)

    def bits64(self, count: int) -> Array:
        """Return numbers of 64 random bits; the first of two draws is the upper half."""
        pairs = self._twister.random_raw(2 * count).reshape(count, 2)
        return (pairs[:, 0] << np.uint64(32)) | pairs[:, 1]

    def uniform(self, count: int, dtype: Any) -> Array:
        """Return floats in [0, 1): the lower bits of a draw (two draws for float64) over their power of two.

        Those of float16 are rounded from float32.
        """
        dtype = np.dtype(dtype)
        if dtype.itemsize == 8:
            return (self.bits64(count) & _LOWER_53).astype(np.float64) * 2.0**-53
        result = (self.bits32(count) & _LOWER_24).astype(np.float32)
        result *= np.float32(2.0**-24)
        if dtype.itemsize == 4:
            return result
        result = result.astype(dtype)
        result[result == 1] = 0  # rounded up to a number that does not belong to the range
        return result

    def uniform_between(self, count: int, low: float, high: float, dtype: Any) -> Array:
        """Return floats in [low, high), rounded once (PyTorch's multiplication and addition are one instruction)."""
        dtype = np.dtype(dtype)
        wider = np.longdouble if dtype.itemsize == 8 else np.float64
        computed = np.dtype(np.float32) if dtype.itemsize == 2 else dtype
        first, span = computed.type(low), computed.type(high) - computed.type(low)
        unit = self.uniform(count, computed).astype(wider)
        result = (unit * wider(span) + wider(first)).astype(computed).astype(dtype)
        if dtype.itemsize == 2:  # rounded up to the bound, which does not belong to the range
            result[result == dtype.type(high)] = low
        return result

    def normal(self, count: int, mean: float, std: float, dtype: Any, blocks: bool = True) -> Array:
        """Return normally distributed floats by Box and Muller's transformation.

        From 16 on, and if `blocks`, in blocks of 16: eight uniform numbers give radii, the next eight angles. Fewer are
        made in pairs in float64; the second of a pair waits for the next call.
        """
        dtype = np.dtype(dtype)
        if count >= 16 and blocks:
            return self._normal_blocks(count, mean, std, dtype)
        result = [] if self._next_normal is None else [self._next_normal]
        pairs = (max(count - len(result), 0) + 1) // 2
        uniform = iter(self.uniform(2 * pairs, np.float64).tolist()) if pairs else iter(())
        for first, second in zip(uniform, uniform, strict=True):
            radius, angle = math.sqrt(-2.0 * math.log1p(-second)), 2.0 * math.pi * first
            result += (radius * math.cos(angle), radius * math.sin(angle))
        self._next_normal = result[count] if len(result) > count else None
        return (np.array(result[:count], np.float64) * std + mean).astype(dtype)

    def _normal_blocks(self, count: int, mean: float, std: float, dtype: np.dtype[Any]) -> Array:
        computed = np.dtype(np.float32) if dtype.itemsize == 2 else dtype
        whole = count - count % 16
        uniform = self.uniform(whole if dtype.itemsize == 2 else count, computed)
        result = np.empty(count, computed)
        result[:whole] = _box_muller(uniform[:whole].reshape(-1, 16), mean, std).reshape(-1)
        if whole < count:  # the last 16 anew
            result[-16:] = _box_muller(self.uniform(16, computed).reshape(1, 16), mean, std).reshape(-1)
        return result.astype(dtype)

    def whole(self, count: int, low: int, span: int) -> Array:
        """Return whole numbers in [low, low + span) as int64."""
        bits = self.bits64(count) if span >= _FROM_64_BITS else self.bits32(count)
        return (bits % np.uint64(span)).astype(np.int64) + low

    def permutation(self, count: int) -> Array:
        """Return the numbers below `count` in random order (Fisher and Yates)."""
        order = list(range(count))
        places = np.arange(max(count - 1, 0), dtype=np.uint64)
        places += self.bits32(places.size) % (np.uint64(count) - places)
        for k, place in enumerate(places.tolist()):
            order[k], order[place] = order[place], order[k]
        return np.array(order, np.int64)

    def exponential(self, count: int, rate: float, dtype: Any) -> Array:
        """Return exponentially distributed floats of a rate."""
        return (-1.0 / rate * np.log1p(-self.uniform(count, np.float64))).astype(dtype)


def _box_muller(uniform: Array, mean: float, std: float) -> Array:
    """Return normal numbers for rows of 16 uniform ones."""
    kind = uniform.dtype.type
    radius = np.sqrt(kind(-2) * np.log(kind(1) - uniform[:, :8]))
    angle = kind(2 * math.pi) * uniform[:, 8:]
    pairs = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return pairs * kind(std) + kind(mean)


def _cpu(where: Any) -> device:
    return device(where)


default_generator = Generator()
