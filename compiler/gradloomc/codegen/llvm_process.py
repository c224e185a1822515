"""LLVM in a process of its own: text goes there, objects come back, and the user's process never holds LLVM's memory.

LLVM takes some 70 MB as soon as it is used, and cannot be given back. So the first module that has to be compiled
starts a small interpreter (`llvm_server.py`) that imports jit.py and nothing of NumPy; it ends after a while without
work, or with the process that started it. It is no child (a shell starts it in the background), so that nobody waits
for it by mistake. A text that LLVM cannot survive costs that process, not the user's. Where it cannot be had (no POSIX,
no shell, an interpreter inside another program), LLVM is used in this process.

Environment:
    GRADLOOM_LLVM_PROCESS: "0" or "off" uses LLVM in this process.
"""

import atexit
import importlib.machinery
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from gradloomc.codegen.host import Host, decode_host

__all__ = ["LlvmProcess", "begin", "expect", "has_begun", "llvm", "peak_bytes"]

_START_SECONDS = 60.0
_FAMILY, _STREAM, _NO_SIGNAL = 1, 1, 0x4000  # AF_UNIX, SOCK_STREAM, MSG_NOSIGNAL (Linux)
# Requests: an optimisation level and a text to compile, or a text to show as assembly. Replies: how it went.
_ASSEMBLY = b"a"
_READ, _WRITE = 1, 4  # POLLIN, POLLOUT
_HEAD, _REPLY_HEAD = 9, 17  # a letter and a length; replies also say how much memory the process has taken

_START = "import sys; sys.path[:0] = sys.argv[1:]; from gradloomc.codegen.llvm_server import serve; serve()"
_SHELL = '"$@" 0<&3 3<&- >/dev/null 2>&1 &'

_lock = threading.Lock()


class _Lost(Exception):
    """The process is gone."""


class _Request:
    """Something that the process was or is to be asked, and its answer once there is one."""

    __slots__ = ("answer", "content", "tries")

    def __init__(self, kind: bytes, text: str):
        data = text.encode()
        self.content = kind + len(data).to_bytes(_HEAD - 1, "little") + data
        self.tries = 0
        self.answer: tuple[bytes, bytes] | None = None

    def read(self) -> bytes:
        assert self.answer is not None
        status, content = self.answer
        if status != b"+":
            raise RuntimeError(content.decode(errors="replace"))
        return content


class LlvmProcess:
    """The other end of a process that compiles; it is started again when it has ended for want of work.

    Requests are answered in their order. What is going to be compiled can be asked for beforehand (`expect`): it is
    compiled while this process does something else.

    Attributes:
        pid: of the process, once something has been heard from it.
        started: how often it was started.
        peak_bytes: the most memory that it has taken.
    """

    def __init__(self) -> None:
        self._socket: Any = None
        self._host: Host | None = None
        self._waiting: deque[_Request] = deque()  # sent, but not answered
        self._expected: dict[tuple[str, int], _Request] = {}
        self._received = bytearray()
        self.pid = self.started = self.peak_bytes = 0
        self._start()

    @property
    def host(self) -> Host:
        """What LLVM says of this machine.

        Raises:
            OSError: the process cannot be had.
        """
        with _lock:
            for again in (True, False):  # it may have ended before anybody heard from it, for want of work
                try:
                    self._be_met()
                    break
                except (_Lost, ConnectionError) as error:
                    self.forget()
                    if not again:
                        raise OSError("LLVM's process did not start") from error
            assert self._host is not None
            return self._host

    def emit(self, text: str, level: int = 1) -> bytes:
        """Compile a module at a level of code generation; return the relocatable object.

        Raises:
            RuntimeError: LLVM does not understand the text.
            OSError: the process cannot be had.
        """
        with _lock:
            request = self._expected.pop((text, level), None)
            return self._finish(request or self._ask(_Request(b"%d" % level, text)))

    def expect(self, text: str, level: int = 1) -> None:
        """Have a module compiled that `emit` will be asked for, without waiting for it; not while others wait."""
        if _lock.acquire(blocking=False):
            try:
                if (text, level) not in self._expected:
                    self._expected[text, level] = self._ask(_Request(b"%d" % level, text))
            finally:
                _lock.release()

    def assembly(self, text: str) -> str:
        """Return the machine code of a module as assembly text; raises as `emit`."""
        with _lock:
            return self._finish(self._ask(_Request(_ASSEMBLY, text))).decode()

    def forget(self) -> None:
        """Close this end; the process ends when nobody holds the other one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self._received.clear()

    # --- requests and answers, in order ---

    def _ask(self, request: _Request) -> _Request:
        if self._socket is not None:  # otherwise it is sent with all that waits
            try:
                self._send(request.content)
            except (_Lost, ConnectionError):
                self.forget()
        self._waiting.append(request)
        return request

    def _finish(self, request: _Request) -> bytes:
        while request.answer is None:
            try:
                self._be_met()
                answer = self._receive()
            except (_Lost, ConnectionError):  # it may just have ended, for want of work
                self.forget()
                first = self._waiting[0]
                first.tries += 1
                if first.tries > 1:
                    self._waiting.popleft().answer = b"-", b"LLVM ended without an answer to this module"
            else:
                self._waiting.popleft().answer = answer
        return request.read()

    def _be_met(self) -> None:
        """Have a process that was heard from, and that was sent all that waits."""
        if self._host is None or self._socket is None:
            if self._socket is None:
                self._start()
                for request in self._waiting:
                    self._send(request.content)
            self._meet()

    def _start(self) -> None:
        """Start the process.

        Raises:
            OSError: it cannot be started.
        """
        import _socket  # what `socket` builds upon; that imports much

        ours, theirs = _socket.socketpair(_FAMILY, _STREAM)
        try:
            os.set_inheritable(theirs.fileno(), True)
            pid = os.posix_spawn(
                "/bin/sh",
                ["sh", "-c", _SHELL, "sh", sys.executable, "-I", "-S", "-c", _START, *_paths()],
                os.environ,
                file_actions=[(os.POSIX_SPAWN_DUP2, theirs.fileno(), 3)],
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        try:
            os.waitpid(pid, 0)  # the shell, which does not wait for what it started
        except ChildProcessError:
            pass  # this program lets the system reap its children
        ours.settimeout(0.0)
        self._socket = ours
        self._host = None
        self.started += 1

    def _meet(self) -> None:
        """Hear from a process that was started that it is ready."""
        try:
            _, answer = self._receive(_START_SECONDS)
            self.pid = int.from_bytes(answer[:8], "little")
            self._host = decode_host(answer[8:])
        except (OSError, ValueError) as error:
            raise _Lost from error

    # --- bytes ---

    def _send(self, data: bytes) -> None:
        """Send all of it; what comes meanwhile is kept, or both sides might wait for each other to read."""
        rest = memoryview(data)
        while rest:
            if self._ready(_READ | _WRITE) & _READ:
                self._take()
            try:
                rest = rest[self._socket.send(rest, _NO_SIGNAL if sys.platform == "linux" else 0) :]
            except BlockingIOError:
                pass

    def _receive(self, seconds: float | None = None) -> tuple[bytes, bytes]:
        head = self._read(_REPLY_HEAD, seconds)
        self.peak_bytes = max(self.peak_bytes, int.from_bytes(head[9:], "little"))
        return head[:1], self._read(int.from_bytes(head[1:9], "little"), seconds)

    def _read(self, size: int, seconds: float | None) -> bytes:
        while len(self._received) < size:
            if not self._ready(_READ, seconds):
                raise _Lost
            self._take()
        found = bytes(self._received[:size])
        del self._received[:size]
        return found

    def _take(self) -> None:
        try:
            part = self._socket.recv(1 << 20)
        except BlockingIOError:
            return
        if not part:
            raise _Lost
        self._received += part

    def _ready(self, events: int, seconds: float | None = None) -> int:
        """Wait until it can be read from or written to; return which, 0 if that takes too long."""
        import select

        poll = select.poll()
        poll.register(self._socket, events)
        found = poll.poll(None if seconds is None else seconds * 1e3)
        return found[0][1] if found else 0


def _folder_of(package: str) -> str | None:
    """Return the folder in which a package lies, without importing it."""
    spec = importlib.machinery.PathFinder.find_spec(package)
    places = spec.submodule_search_locations if spec is not None else None
    return os.path.dirname(next(iter(places))) if places else None


def _paths() -> list[str]:
    return [os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), _folder_of("llvmlite") or ""]


def _possible() -> bool:
    """Tell whether this interpreter can start another one."""
    wanted = os.environ.get("GRADLOOM_LLVM_PROCESS", "").lower() not in ("0", "off", "no", "false")
    plain = os.path.basename(sys.executable or "").startswith("python") and not getattr(sys, "frozen", False)
    return wanted and plain and hasattr(os, "posix_spawn") and _folder_of("llvmlite") is not None


_process: LlvmProcess | bool | None = None  # False: it cannot be had


def has_begun() -> bool:
    """Tell whether LLVM has been started, or there is no process to be started."""
    return _process is not None


def begin() -> None:
    """Have the process started, if it can be had, without waiting for it."""
    global _process
    if _process is None:
        try:
            _process = LlvmProcess() if _possible() else False
        except OSError:
            _process = False
        else:
            atexit.register(_close)


def expect(make: Callable[[], str], level: int = 1) -> None:
    """Have the process, if there is one, compile a module that will be asked for; returns at once."""
    if isinstance(_process, LlvmProcess):
        try:
            _process.expect(make(), level)
        except OSError:
            pass  # who asks for it will see


def llvm() -> Any:
    """Return LLVM, there or here: `.host`, `.emit(text, level)`, `.assembly(text)`."""
    global _process
    begin()
    if _process:
        assert isinstance(_process, LlvmProcess)
        try:
            _process.host  # noqa: B018  it has to have come up once
            return _process
        except OSError:
            _process.forget()
            _process = False
    from gradloomc.codegen import jit

    return jit.compiler()


def _close() -> None:
    if isinstance(_process, LlvmProcess):
        _process.forget()


def peak_bytes() -> int:
    """Return the most memory that the process has taken; 0 if there was none."""
    return _process.peak_bytes if isinstance(_process, LlvmProcess) else 0


def _after_fork_in_child() -> None:
    """A child starts a process of its own."""
    global _process
    _lock.release()
    _close()
    _process = None


if hasattr(os, "register_at_fork"):
    # A child that is forked while another thread compiles would wait for the lock for ever.
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_after_fork_in_child)
