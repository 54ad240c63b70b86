"""Let a store's warm process run a command, as if it ran here; all that a command imports of this room.

    ours                              theirs
    Caller, key, open files    ──▶    a new child compares the key, takes our place
                               ◀──    {"pid": …}, or {"refused": why, "stale": …}
    "go"                       ──▶    the command runs
    signals, straight to it           …
                               ◀──    {"status": …}, as `waitstatus_to_exitcode` gives it

Nothing runs before "go", so whoever gives up earlier may run the command itself, and it runs once.
"""

import os
import resource
import signal
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from flows.background import ready
from flows.warm import place, wire
from flows.warm.caller import LOOK, STOP, STREAMS, confined, key, this_one
from prestow.errors import UnavailableError

_GONE = {"refused": "gone", "stale": True}
_PATIENCE = 30.0  # for a process that has to start
_POLL = 0.01
_GRACE = 10.0  # for a child whose server was killed
_PROMPT = 0.25  # after a signal that came at the wrong moment
_PASSED_ON = (
    signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH,
    signal.SIGCONT,
)  # fmt: skip


def run(home: Path, words: Sequence[str], program: str = place.PROGRAM) -> int | None:
    """Run the command ``words`` on a store, and give its exit status; None if it must be run here.

    A command that a signal has ended ends this process by the same one. ``program`` makes the warm process.

    Raises:
        PrestowError: this is no store.
        UnavailableError: the warm process was killed in the middle of it.
    """
    if confined():
        return None
    try:
        ours, caller = key(), this_one(words).document()
    except OSError:  # there is no /proc
        return None
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        connection, started = _connected(home, ours, program)
        if connection is None:
            return None
        with connection:
            connection.settimeout(_PATIENCE)
            pid = _asked(connection, ours, caller)
            if isinstance(pid, int):
                return _ended_as(_followed(connection, pid))
            if not pid["stale"] or started:
                return None  # another one that we start would be no better
        time.sleep(_POLL)
    return None


def status(home: Path) -> int | None:
    """Return the pid of the warm process of a store; None if there is none."""
    return _server(home, LOOK)


def stop(home: Path) -> bool:
    """End the warm process of a store after the commands that it runs, and wait for it; False if there was none."""
    pid = _server(home, STOP)
    with suppress(ProcessLookupError):
        if pid is not None:
            ready(os.pidfd_open(pid), None)
    return pid is not None


def _server(home: Path, wanted: str) -> int | None:
    connection = place.connect(home)
    if connection is None:
        return None
    with connection:
        answer = _asked(connection, wanted, {})
    return None if isinstance(answer, int) else answer.get("server")


def _connected(home: Path, ours: str, program: str) -> tuple[socket.socket | None, bool]:
    """Connect to the process, which is started if need be, and tell whether it was; None if that cannot be."""
    deadline, started = time.monotonic() + _PATIENCE, False
    while time.monotonic() < deadline:
        if (connection := place.connect(home)) is not None:
            return connection, started
        try:
            started = place.launch(home, ours, program) is not None
        except OSError:
            break
        if not started:
            time.sleep(_POLL)  # another process is at it
    return None, started


def _asked(connection: socket.socket, ours: str, caller: dict[str, Any]) -> int | dict[str, Any]:
    """Say what is wanted; gives the child's pid, or why not, and whether to ask a newer process."""
    try:
        directory = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return {"refused": "no working directory", "stale": False}
    try:
        wire.send(connection, {"key": ours, "caller": caller}, (*STREAMS, directory))
        answer, _ = wire.receive(connection)
    except TimeoutError:
        return {"refused": "no answer", "stale": False}
    except (OSError, EOFError, ValueError):  # it ended just now
        return _GONE
    finally:
        os.close(directory)
    return int(answer["pid"]) if "pid" in answer else dict(answer)


def _followed(connection: socket.socket, pid: int) -> int:
    """Let the child begin, pass signals on to it, and give its end."""
    connection.settimeout(None)
    child = os.pidfd_open(pid)

    def pass_on(number: int, _frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(child, number)

    def pause(_number: int, _frame: FrameType | None) -> None:
        pass_on(signal.SIGSTOP, None)
        os.kill(os.getpid(), signal.SIGSTOP)

    handlers = {**dict.fromkeys(_PASSED_ON, pass_on), signal.SIGTSTP: pause}
    handlers = {n: handler for n, handler in handlers.items() if signal.getsignal(n) is not signal.SIG_IGN}
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        connection.sendall(b"!")
        # A signal that comes just before a call that blocks is handled by Python when that call has ended.
        while not ready(connection.fileno(), _PROMPT):
            pass
        answer, _ = wire.receive(connection)
    except (OSError, EOFError):
        _put_down(child)
        raise UnavailableError(
            "the warm process was killed, and the run with it; run the same command again to resume"
        ) from None
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        os.close(child)
    return int(answer["status"])


def _put_down(child: int) -> None:
    """Wait for a child that the kernel tells to end when its server is killed, and make sure."""
    if not ready(child, _GRACE):
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(child, signal.SIGKILL)


def _ended_as(status: int) -> int:
    """Return an exit status; end by a signal that has ended the command."""
    if status < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # one core is enough
        if -status not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-status, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {-status})
        os.kill(os.getpid(), -status)
    return status if status >= 0 else 128 - status
