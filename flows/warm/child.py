"""A child of the warm process: looks at the caller, takes its place, and runs its command to the end."""

import atexit
import ctypes
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn, Protocol

from flows.warm import wire
from flows.warm.caller import LOOK, STOP, STREAMS, Caller, take_place

_PR_SET_PDEATHSIG = 1
_NOT_FLUSHED = 120  # as the interpreter's
_LIBC = ctypes.CDLL(None, use_errno=True)


class Command(Protocol):
    """What children run."""

    def __call__(self, words: Sequence[str]) -> int:
        """Run a command, and give its exit status; it may also leave by SystemExit."""


def live(caller: socket.socket, key: str, command: Command) -> NoReturn:
    """Do all that a child does; ``key`` is that of the callers that are served."""
    _tie_to_server()
    os.setsid()
    words = _invited(caller, key)
    if words is None:
        os._exit(0)
    _leave(_run(command, words))


def _tie_to_server() -> None:
    """End when the server is killed: no process would know of us any more."""
    server = os.getppid()
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != server:
        os._exit(1)


def _invited(caller: socket.socket, key: str) -> Sequence[str] | None:
    """Take the caller's place when it is one of ours and says so; gives its command, or None."""
    with caller, suppress(OSError, EOFError, ValueError, LookupError, TypeError):
        request, files = wire.receive(caller, len(STREAMS) + 1)
        if request["key"] != key:
            _only_tell(caller, request["key"], "another version, or other rights")
            return None
        described = Caller.parse(request["caller"])
        try:
            take_place(described, files)
        except (OSError, ValueError) as error:  # a process that such a caller starts has what it has
            _only_tell(caller, STOP, str(error))
            return None
        wire.send(caller, {"pid": os.getpid()})
        return described.words if caller.recv(1) else None
    return None


def _only_tell(caller: socket.socket, asked: str, why: str) -> None:
    """Answer those who want no command run; others want a newer process, started by them, in this one's place."""
    server = os.getppid()
    if asked != LOOK:
        os.kill(server, signal.SIGTERM)
    wire.send(caller, {"refused": why, "stale": True, "server": server})


def _run(command: Command, words: Sequence[str]) -> int:
    """Run the command as an interpreter runs a program."""
    try:
        return command(words)
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or 0
        print(ended.code, file=sys.stderr)  # noqa: T201 - as the interpreter does
    except BaseException:  # noqa: BLE001 - likewise
        traceback.print_exc()
    return 1


def _leave(status: int) -> NoReturn:
    """End as an interpreter does, but for tearing down a million objects that the process takes with it."""
    with suppress(BaseException):
        threading._shutdown()  # type: ignore[attr-defined] # noqa: SLF001 - as multiprocessing does in its children
        atexit._run_exitfuncs()  # noqa: SLF001 - Prefect sends what is left of its log
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        traceback.print_exception(error)
        status = _NOT_FLUSHED
    os._exit(status & 0xFF)
