"""A bounded store of bytes on disk that many processes share: what was compiled once is not compiled again.

An entry is a file named by its key. It is written to a temporary name and then renamed, so that nobody ever sees half
of one; it starts with a checksum of its key and content, so that what is corrupt, cut off or foreign is not read. The
directory is divided by the first digit of the keys into sixteen sets, each with its share of the size: storing looks
at one set only and removes those entries that were not used for the longest time (as caches of processors do).

Nothing here ever raises: without a home, on a read-only or full disk, there is just nothing to be found. Knows nothing
of what the bytes mean.

Environment:
    GRADLOOM_CACHE: "0" or "off" turns the store off.
    GRADLOOM_CACHE_DIR: where it is, if not in the user's cache directory.
    GRADLOOM_CACHE_SIZE: how many megabytes it may take; 256 if not given.
"""

import os
import stat
import sys
import threading
import time

try:
    from _blake2 import blake2b  # hashlib loads OpenSSL, for milliseconds, to provide the same
except ImportError:  # pragma: no cover
    from hashlib import blake2b

__all__ = ["Store", "digest", "store"]

_MAGIC = b"gradloom cache 1\n"
_CHECKSUM_BYTES = 16
_SETS = 16
_DEFAULT_MEGABYTES = 256
# Marking an entry as used writes to the disk, so it is done once in so many seconds.
_USED_AGAIN_SECONDS = 3600
# A temporary file as old as this belongs to a process that was killed.
_ABANDONED_SECONDS = 3600
# A set is looked through when an entry is stored whose key says so: each eighth.
_LOOK_THROUGH = 8


def digest(*parts: bytes | str) -> str:
    """Return the key of a sequence of texts: 40 hexadecimal digits."""
    state = blake2b(digest_size=20)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.hexdigest()


class Store:
    """Entries in one directory, which is made when the first one is stored.

    Args:
        directory: where; None holds nothing.
        limit: how many bytes the entries may take together.
    """

    def __init__(self, directory: str | None, limit: int = _DEFAULT_MEGABYTES << 20):
        self.directory, self.limit = directory, limit
        self.hits = self.misses = self.stored = 0

    def get(self, key: str) -> bytes | None:
        """Return the content of an entry; None if there is none that can be trusted."""
        content = self._read(key) if self.directory else None
        if content is None:
            self.misses += 1
        else:
            self.hits += 1
        return content

    def _read(self, key: str) -> bytes | None:
        path = self._path(key)
        try:
            with open(path, "rb", buffering=0) as file:
                status = os.fstat(file.fileno())
                data = file.read()
        except OSError:
            return None
        start = len(_MAGIC) + _CHECKSUM_BYTES
        content = data[start:]
        if len(data) < start or data[:start] != _header(key, content):
            return None
        if time.time() - status.st_mtime > _USED_AGAIN_SECONDS:
            try:
                os.utime(path)
            except OSError:
                pass
        return content

    def put(self, key: str, content: bytes) -> None:
        """Store an entry, unless it is too large or the disk does not let us."""
        if not self.directory or len(content) > self.limit // _SETS:
            return
        path = self._path(key)
        temporary = f"{path}.{os.getpid()}-{threading.get_ident()}.tmp"
        try:
            if not self._prepare(os.path.dirname(path)):
                return
            with open(temporary, "xb", buffering=0) as file:
                file.write(_header(key, content))
                file.write(content)
            os.replace(temporary, path)
        except OSError:
            try:
                os.unlink(temporary)
            except OSError:
                pass
            return
        self.stored += 1
        if int(key[1:3], 16) % _LOOK_THROUGH == 0:
            self.evict(key[0])

    def _prepare(self, directory: str) -> bool:
        """Make the directory of a set; return whether nobody else may write into the store."""
        assert self.directory is not None
        os.makedirs(directory, mode=0o700, exist_ok=True)
        return is_private(self.directory)

    def create(self) -> bool:
        """Make the directory and its first set; return whether nothing had been stored there before."""
        if not self.directory:
            return False
        try:
            os.makedirs(f"{self.directory}/0", mode=0o700)
        except OSError:
            return False
        return True

    def _path(self, key: str) -> str:
        return f"{self.directory}/{key[0]}/{key}"

    def evict(self, which: str) -> None:
        """Remove the entries of one set that were not used for the longest time, until it keeps to its share."""
        if not self.directory:
            return
        entries, now = [], time.time()
        try:
            with os.scandir(f"{self.directory}/{which}") as files:
                for file in files:
                    status = file.stat(follow_symlinks=False)
                    abandoned = file.name.endswith(".tmp") and now - status.st_mtime > _ABANDONED_SECONDS
                    entries.append((0.0 if abandoned else status.st_mtime, status.st_size, file.path))
        except OSError:
            return
        entries.sort()
        total = sum(size for _, size, _ in entries)
        for used, size, path in entries:
            if used and total <= self.limit // _SETS:
                break
            _remove(path)
            total -= size

    def clear(self) -> None:
        """Remove all entries."""
        for which in range(_SETS) if self.directory else ():
            try:
                for name in os.listdir(f"{self.directory}/{which:x}"):
                    _remove(f"{self.directory}/{which:x}/{name}")
            except OSError:
                continue

    def size(self) -> int:
        """Return how many bytes the entries take."""
        total = 0
        for folder, _, names in os.walk(self.directory) if self.directory else ():
            for name in names:
                try:
                    total += os.stat(os.path.join(folder, name)).st_size
                except OSError:
                    continue
        return total


def _header(key: str, content: bytes) -> bytes:
    state = blake2b(digest_size=_CHECKSUM_BYTES)
    state.update(key.encode())
    state.update(content)
    return _MAGIC + state.digest()


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass  # another process was faster, or it is not ours


def is_private(directory: str) -> bool:
    """Tell whether only its owner and administrators can put code into a directory.

    Where permissions mean something else (Windows), the user's own directories are private.
    """
    if os.name != "posix":
        return True
    try:
        status = os.stat(directory)
    except OSError:
        return False
    return status.st_uid in (0, os.getuid()) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def default_directory() -> str | None:
    """Return where the store is by default; None if it is turned off or the user has no home."""
    if os.environ.get("GRADLOOM_CACHE", "").lower() in ("0", "off", "no", "false"):
        return None
    given = os.environ.get("GRADLOOM_CACHE_DIR")
    if given:
        return os.path.abspath(given)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", "")
    elif sys.platform == "darwin":
        base = os.path.expanduser("~/Library/Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return os.path.join(base, "gradloom") if os.path.isabs(base) else None


def default_limit() -> int:
    """Return how many bytes the store may take."""
    try:
        megabytes = float(os.environ.get("GRADLOOM_CACHE_SIZE", ""))
    except ValueError:
        megabytes = float("nan")
    if megabytes != megabytes:
        megabytes = _DEFAULT_MEGABYTES
    return int(max(0.0, min(megabytes, 1e9)) * (1 << 20))


_store: Store | None = None


def store() -> Store:
    """Return the store of this process, as the environment says when it is first used."""
    global _store
    if _store is None:
        directory = default_directory()
        # What others can write to is not executed.
        if directory is not None and os.path.isdir(directory) and not is_private(directory):
            directory = None
        _store = Store(directory, default_limit())
    return _store
