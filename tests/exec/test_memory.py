"""The pool hands out memory that nobody owns any more, and never memory that somebody can still see."""

import gc
import itertools
import threading

import numpy as np

from gradloom.exec.memory import PAGE, PLACE, POOL_FROM_BYTES, BufferPool

LARGE = (POOL_FROM_BYTES // 8 + 1,)
F64 = np.dtype(np.float64)


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def test_large_arrays_have_their_place_in_a_page_and_the_asked_type() -> None:
    array = BufferPool().empty((300, 400), np.dtype(np.float32))
    assert array.shape == (300, 400) and array.dtype == np.float32
    assert array.flags.c_contiguous and array.flags.writeable
    assert address(array) % PAGE == PLACE


def test_a_buffer_is_used_again_once_its_array_is_gone() -> None:
    pool = BufferPool()
    first = pool.empty(LARGE, F64)
    place = address(first)
    del first
    assert address(pool.empty(LARGE, F64)) == place


def test_a_live_array_is_never_handed_out() -> None:
    pool = BufferPool()
    arrays = [pool.empty(LARGE, F64) for _ in range(20)]
    spans = sorted((address(a), address(a) + a.nbytes) for a in arrays)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))


def test_every_kind_of_view_keeps_the_buffer() -> None:
    """Whatever shares the memory (slices, reshapes, memoryviews, ctypes, nested views) keeps it from other use."""
    keepers = [
        lambda a: a[5:7],
        lambda a: a.reshape(-1, 1).T,
        lambda a: memoryview(a),
        lambda a: np.frombuffer(a, dtype=np.uint8),
        lambda a: np.asarray(memoryview(a[3:])),
        lambda a: a.view(np.int64)[::2],
        lambda a: np.lib.stride_tricks.as_strided(a, (3,), (8,)),
        lambda a: a.ctypes,
        lambda a: [a],
    ]
    for keep in keepers:
        pool = BufferPool()
        array = pool.empty(LARGE, F64)
        place = address(array)
        kept = keep(array)
        del array
        gc.collect()
        assert address(pool.empty(LARGE, F64)) != place, keep
        del kept
        gc.collect()
        assert place in [address(x) for x in [pool.empty(LARGE, F64) for _ in range(3)]], keep


def test_what_is_kept_without_being_used_is_bounded() -> None:
    pool = BufferPool(capacity_bytes=3 * POOL_FROM_BYTES)
    arrays = [pool.empty((POOL_FROM_BYTES,), np.dtype(np.uint8)) for _ in range(50)]
    del arrays
    assert pool.total_bytes <= 3 * POOL_FROM_BYTES
    assert sum(len(buffers) for buffers in pool.buffers.values()) <= 3
    pool.clear()
    assert pool.total_bytes == 0 and not any(pool.buffers.values())


def test_threads_never_get_the_same_buffer() -> None:
    pool = BufferPool()
    wrong = []

    def work(mark: float) -> None:
        for _ in range(200):
            array = pool.empty(LARGE, F64)
            array[:] = mark
            if not (array == mark).all():
                wrong.append(mark)

    threads = [threading.Thread(target=work, args=(float(k),)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
