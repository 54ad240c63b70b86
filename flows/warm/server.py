"""The warm process itself: one thread that forks a child for each connection, and tells the caller how it ended.

It reads nothing that a caller says: a child is made at once, and what comes is the child's to judge. So the process
that all others come from stays as it was when it had just imported everything.

It takes no more commands, and ends with its last child, when it was idle for long, when its socket is gone (the store
was removed), when it is told to (SIGTERM), or when a child saw that a caller has other code, or other rights.
"""

import gc
import os
import select
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from flows.background import LOCK_FD
from flows.warm import child, wire
from flows.warm.place import SOCKET, SOCKET_FD

_LOOK_AFTER = 30.0
_GRACE = 10.0  # for a child whose caller was killed
_PEER = struct.Struct("3i")
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(slots=True)
class _Run:
    """A child and its caller; ``process`` is the child's pidfd."""

    pid: int
    process: int
    caller: socket.socket
    deserted: float | None = None


class Server:
    """The process, once it has imported what its children are to have."""

    def __init__(self, folder: str, key: str, command: child.Command, idle: float) -> None:
        """Take over the lock and the socket.

        Args:
            folder: where the socket is.
            key: of the callers that are served.
            command: what children run.
            idle: seconds without any child after which the process ends.
        """
        self._path = f"{folder}/{SOCKET}"
        self._made = _identity(self._path)
        self._key = key
        self._command = command
        self._idle = idle
        self._runs: dict[int, _Run] = {}
        self._last = time.monotonic()
        self._open = True
        self._listener = socket.socket(fileno=SOCKET_FD)
        self._woken, self._waking = socket.socketpair()
        self._events = select.epoll()
        self._actions: dict[int, Callable[[], None]] = {}

    def serve(self) -> None:
        """Serve until there is no more reason to.

        Raises:
            RuntimeError: there is a second thread, whose locks would stay locked in a child.
        """
        if threading.active_count() != 1:
            raise RuntimeError(f"cannot fork with these threads: {threading.enumerate()}")
        self._waking.settimeout(0)
        self._listener.settimeout(0)
        signal.set_wakeup_fd(self._waking.fileno(), warn_on_full_buffer=False)
        for number in _ENDING:
            signal.signal(number, lambda *_: None)
        self._watch(self._listener.fileno(), select.EPOLLIN, self._accept)
        self._watch(self._woken.fileno(), select.EPOLLIN, self._close)
        gc.collect()
        gc.freeze()
        while self._open or self._runs:
            for descriptor, _ in self._events.poll(self._patience()):
                if descriptor in self._actions:
                    self._actions[descriptor]()
            self._look_after()

    def _accept(self) -> None:
        """Fork a child for a caller; others than our own user get none, and no answer."""
        try:
            caller, _ = self._listener.accept()
        except OSError:
            return  # it has given up
        _, user, _ = _PEER.unpack(caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        if user != os.geteuid():
            caller.close()
            return
        # Until a child is on its own, a signal to it would wake us, by the socket that both have: it has to wait.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        pid = os.fork()
        if pid == 0:
            self._become_child(caller)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        run = self._runs[pid] = _Run(pid, os.pidfd_open(pid), caller)
        self._watch(run.process, select.EPOLLIN, lambda: self._reap(run))
        self._watch(caller.fileno(), select.EPOLLRDHUP, lambda: self._desert(run))

    def _become_child(self, caller: socket.socket) -> None:
        """Keep nothing of the server's, and be a child; never returns."""
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)  # its caller may be gone by now
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
            self._events.close()
            for run in self._runs.values():
                run.caller.close()
                os.close(run.process)
            for ours in (self._woken, self._waking):
                ours.close()
            if self._open:
                self._listener.close()
                os.close(LOCK_FD)
            child.live(caller, self._key, self._command)
        finally:
            os._exit(1)

    def _reap(self, run: _Run) -> None:
        """Report to the caller how its child ended."""
        _, status = os.waitpid(run.pid, 0)
        self._forget(run.process)
        self._forget(run.caller.fileno())
        os.close(run.process)
        with run.caller, suppress(OSError):
            wire.send(run.caller, {"status": os.waitstatus_to_exitcode(status)})
        del self._runs[run.pid]
        self._last = time.monotonic()

    def _desert(self, run: _Run) -> None:
        """End a child whose caller is gone."""
        self._forget(run.caller.fileno())
        run.deserted = time.monotonic()
        os.kill(run.pid, signal.SIGTERM)

    def _close(self) -> None:
        """Take no more commands; from now on another process may."""
        self._forget(self._woken.fileno())
        if not self._open:
            return
        self._open = False
        if _identity(self._path) == self._made:
            os.unlink(self._path)  # noqa: PTH108 - ours, for we hold the lock
        self._forget(self._listener.fileno())
        self._listener.close()
        os.close(LOCK_FD)

    def _patience(self) -> float:
        """Return the seconds until something is to be looked after."""
        deserted = any(run.deserted is not None for run in self._runs.values())
        return min(_GRACE if deserted else _LOOK_AFTER, self._idle)

    def _look_after(self) -> None:
        """End what has no more reason to live: this process, or a child that did not listen."""
        now = time.monotonic()
        for run in self._runs.values():
            if run.deserted is not None and now - run.deserted >= _GRACE:
                os.kill(run.pid, signal.SIGKILL)
        idle = not self._runs and now - self._last >= self._idle
        if idle or _identity(self._path) != self._made:
            self._close()

    def _watch(self, descriptor: int, events: int, action: Callable[[], None]) -> None:
        self._actions[descriptor] = action
        self._events.register(descriptor, events)

    def _forget(self, descriptor: int) -> None:
        if self._actions.pop(descriptor, None) is not None:
            self._events.unregister(descriptor)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - quick
    except OSError:
        return None
    return found.st_dev, found.st_ino
