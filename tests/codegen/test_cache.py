"""The store on disk: what is corrupt or foreign is not read, sizes are kept, no disk is bad enough to raise."""

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gradloomc.codegen import cache
from gradloomc.codegen.cache import Store, default_directory, default_limit, digest


def path_of(store: Store, key: str) -> Path:
    return Path(str(store.directory)) / key[0] / key


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "cache"))


def test_what_is_stored_is_found(store: Store) -> None:
    key = digest("a text")
    assert store.get(key) is None
    store.put(key, b"content")
    assert store.get(key) == b"content"
    assert Store(store.directory).get(key) == b"content"
    assert (store.hits, store.misses, store.stored) == (1, 1, 1)


def test_keys_tell_parts_apart() -> None:
    keys = [digest(*parts) for parts in (("ab", "c"), ("a", "bc"), ("abc",), ("abc", ""), ("abc", b"\x00"))]
    assert len(set(keys)) == len(keys)
    assert digest("ü") == digest("ü".encode())


def test_any_changed_byte_is_noticed(store: Store) -> None:
    key = digest("x")
    store.put(key, b"0123456789")
    path = path_of(store, key)
    whole = path.read_bytes()
    for k in range(len(whole)):
        path.write_bytes(whole[:k] + bytes([whole[k] ^ 1]) + whole[k + 1 :])
        assert store.get(key) is None, k
        path.write_bytes(whole[:k])
        assert store.get(key) is None, k
    path.write_bytes(whole + b"more")
    assert store.get(key) is None
    path.write_bytes(whole)
    assert store.get(key) == b"0123456789"


def test_an_entry_under_another_name_is_foreign(store: Store) -> None:
    key, other = digest("x"), digest("y")
    store.put(key, b"content")
    path_of(store, other).parent.mkdir(exist_ok=True)
    path_of(store, other).write_bytes(path_of(store, key).read_bytes())
    assert store.get(other) is None


def test_a_corrupt_entry_is_replaced(store: Store) -> None:
    key = digest("x")
    store.put(key, b"content")
    path_of(store, key).write_bytes(b"rubbish")
    store.put(key, b"content")
    assert store.get(key) == b"content"


def test_the_longest_unused_entries_go_first(tmp_path: Path) -> None:
    store = Store(str(tmp_path), limit=16 * 1000)
    keys = [f"a{k:039x}" for k in range(1, 20)]  # one set, and none of them starts a look through it
    keys = [key[0] + "01" + key[3:] for key in keys]
    for age, key in enumerate(keys):
        store.put(key, bytes(100))
        then = time.time() - 1e6 * (age + 1)
        os.utime(path_of(store, key), (then, then))
    assert store.get(keys[-1]) == bytes(100)  # the oldest is used again
    store.evict("a")
    kept = [key for key in keys if path_of(store, key).exists()]
    assert keys[-1] in kept and kept[:-1] == keys[: len(kept) - 1]
    assert 1 < len(kept) < len(keys)
    assert sum(path_of(store, key).stat().st_size for key in kept) <= 1000


def test_the_size_is_kept_without_asking(tmp_path: Path) -> None:
    store = Store(str(tmp_path), limit=64_000)
    for k in range(2000):
        store.put(digest(str(k)), bytes(200))
    # Each set may exceed its share by what comes between two looks through it.
    assert store.stored == 2000 and store.size() < 4 * 64_000
    for which in "0123456789abcdef":
        store.evict(which)
    assert 0 < store.size() <= 64_000


def test_entries_beyond_a_sets_share_are_not_stored(tmp_path: Path) -> None:
    store = Store(str(tmp_path), limit=16 * 1000)
    store.put(digest("x"), bytes(1001))
    assert store.stored == 0 and store.get(digest("x")) is None


def test_abandoned_temporary_files_go(store: Store) -> None:
    key = digest("x")
    store.put(key, b"content")
    old, new = path_of(store, key + ".1-1.tmp"), path_of(store, key + ".2-2.tmp")
    old.write_bytes(b"half")
    new.write_bytes(b"half")
    os.utime(old, (0, 0))
    store.evict(key[0])
    assert not old.exists() and new.exists() and store.get(key) == b"content"


def test_clearing_removes_everything(store: Store) -> None:
    for k in range(50):
        store.put(digest(str(k)), b"content")
    assert store.size() > 0
    store.clear()
    assert store.size() == 0 and store.get(digest("1")) is None
    store.put(digest("1"), b"content")
    assert store.get(digest("1")) == b"content"


@pytest.mark.parametrize("directory", [None, "/proc/nowhere", "/dev/null/x"])
def test_no_place_to_store(directory: str | None) -> None:
    store = Store(directory)
    store.put(digest("x"), b"content")
    assert store.get(digest("x")) is None and store.stored == 0
    store.evict("a")
    store.clear()
    assert store.size() == 0


def test_a_read_only_directory_is_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    key, other = digest("x"), digest("y")
    store.put(key, b"content")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("read-only file system")

    # Permissions do not stop an administrator, who may be running this.
    for name in ("replace", "utime", "makedirs", "unlink"):
        monkeypatch.setattr(os, name, refuse)
    os.chmod(path_of(store, key), stat.S_IRUSR)
    store.put(other, b"content")
    store.evict(key[0])
    store.clear()
    assert store.get(key) == b"content" and store.get(other) is None


def test_a_full_disk_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    store.put(digest("x"), b"content")
    assert store.size() == 0 and store.stored == 0


def test_nothing_is_stored_where_others_can_write(tmp_path: Path) -> None:
    directory = tmp_path / "open"
    directory.mkdir()
    directory.chmod(0o777)
    store = Store(str(directory))
    store.put(digest("x"), b"content")
    assert store.stored == 0
    directory.chmod(0o700)
    store.put(digest("x"), b"content")
    assert store.stored == 1


def test_code_that_others_can_write_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_store", None)
    monkeypatch.setenv("GRADLOOM_CACHE_DIR", str(tmp_path))
    tmp_path.chmod(0o777)
    assert cache.store().directory is None
    tmp_path.chmod(0o755)
    monkeypatch.setattr(cache, "_store", None)
    assert cache.store().directory == str(tmp_path)


def test_the_environment_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADLOOM_CACHE_DIR", "relative/place")
    assert default_directory() == os.path.abspath("relative/place")
    monkeypatch.delenv("GRADLOOM_CACHE_DIR")
    if sys.platform == "linux":
        monkeypatch.setenv("XDG_CACHE_HOME", "/some/cache")
        assert default_directory() == "/some/cache/gradloom"
        monkeypatch.setenv("XDG_CACHE_HOME", "")
        monkeypatch.setenv("HOME", "/home/somebody")
        assert default_directory() == "/home/somebody/.cache/gradloom"
        monkeypatch.setenv("HOME", "nowhere")
        assert default_directory() is None
    monkeypatch.setenv("GRADLOOM_CACHE_DIR", "/given")
    for word in ("0", "off", "OFF", "no", "false"):
        monkeypatch.setenv("GRADLOOM_CACHE", word)
        assert default_directory() is None
    monkeypatch.setenv("GRADLOOM_CACHE_SIZE", "1.5")
    assert default_limit() == 3 << 19
    for word in ("", "much", "nan"):
        monkeypatch.setenv("GRADLOOM_CACHE_SIZE", word)
        assert default_limit() == 256 << 20
    monkeypatch.setenv("GRADLOOM_CACHE_SIZE", "-1")
    assert default_limit() == 0


_WRITER = """
import sys
from gradloomc.codegen.cache import Store, digest
store = Store(sys.argv[1], limit=40_000)
for k in range(300):
    key = digest(str(k % 30))
    expected = str(k % 30).encode() * 200
    found = store.get(key)
    assert found is None or found == expected, found
    store.put(key, expected)
    if k % 50 == 0:
        store.evict(key[0])
print(store.hits)
"""


def test_many_processes_at_once(tmp_path: Path) -> None:
    """Processes that store, read and evict the same entries never see half of one."""
    command = [sys.executable, "-c", _WRITER, str(tmp_path / "cache")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) for _ in range(4)
    ]
    outcomes = [process.communicate(timeout=120) for process in running]
    assert all(process.returncode == 0 for process in running), outcomes
    assert all(int(out) > 0 for out, _ in outcomes)
    assert not list(tmp_path.rglob("*.tmp"))
