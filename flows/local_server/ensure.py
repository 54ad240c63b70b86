"""Find the store's Prefect server, or start it: standard library only, so that it costs a verb nothing.

    begin(home)                # start it, if there is none, and do not wait: there is something to import meanwhile
    server = ensure(home)      # the server, started if need be, as soon as it answers

The lock ``server.lock`` is the truth: the kernel drops it with the process, however that ends. The one who gets it
starts a server and hands the lock over to it, open; all others wait until ``server.json`` (see ``record``) names a
server that answers. A server that lives and does not answer for long is replaced.
"""

import fcntl
import os
import select
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from config.home import server_variables
from flows.local_server.record import Record, Server, environment, living, status
from prestow.content.disk import translated
from prestow.content.process_identity import start_time
from prestow.errors import ExhaustedError, PreconditionError, PrestowError, UnavailableError
from prestow.project import module, search_path

__all__ = ["Server", "begin", "ensure", "environment", "status", "stop"]

LOCK_FD = 3
"""The descriptor under which the server receives the lock."""

SCARCE = 64 << 20
"""Bytes: on a disk with less free space a server cannot keep its records."""

_LOG_LIMIT = 4 << 20
_POLL = 0.02


def begin(home: Path) -> None:
    """Start the server of the store in ``home`` unless there is one, and do not wait for it.

    Raises:
        PreconditionError: others may write to its folder.
        StorageError: the folder cannot be made.
    """
    if living(home) is None:
        _launch(_private(home))


def ensure(home: Path, *, timeout: float = 120.0, silence: float = 15.0) -> Server:
    """Return the server of the store in ``home``, started if need be; any number of processes may ask at once.

    One that has served and answers nobody for ``silence`` seconds is ended, and another one started.

    Raises:
        UnavailableError: it did not come up within ``timeout`` seconds.
        ExhaustedError: likewise, and the disk is full.
        PreconditionError: others may write to its folder.
        StorageError: the folder cannot be made.
    """
    deadline = time.monotonic() + timeout
    launched: int | None = None
    silent: Record | None = None
    since = 0.0
    while (server := status(home)) is None:
        if launched is None:
            launched = _launch(_private(home))
        if (launched is not None and _exited(launched)) or time.monotonic() > deadline:
            raise _unstarted(home)
        found = living(home)
        if found is None or not found.ready or found != silent:
            silent, since = found, time.monotonic()
        elif time.monotonic() - since > silence:
            stop(home, grace=0.0)
        time.sleep(_POLL)
    return server


def _unstarted(home: Path) -> PrestowError:
    what = "the local Prefect server did not start"
    if (free := shutil.disk_usage(home).free) < SCARCE:
        return ExhaustedError(
            f"{what}: the disk of {home} has only {free >> 10} KiB free; free some space, as with `prestow prune`"
        )
    return UnavailableError(f"{what}; {home}/prefect/server.log may say why")


def stop(home: Path, *, grace: float = 10.0) -> bool:
    """End the server of the store in ``home``, by force after ``grace`` seconds; False if there was none."""
    record = living(home)
    if record is None:
        return False
    try:
        process = os.pidfd_open(record.process.pid)
    except ProcessLookupError:
        return False
    try:
        if not record.process.alive():  # the number was given to another one before it was opened
            return False
        _end(process, grace)
    finally:
        os.close(process)
    _exited(record.process.pid)
    return True


def _launch(directory: Path) -> int | None:
    """Start a server that holds the lock from its first moment; None if another process holds it."""
    with translated(f"starting the local Prefect server in {directory}"):
        lock = os.open(directory / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return _spawn(directory, lock)
        except BlockingIOError:
            return None
        finally:
            os.close(lock)


def _spawn(directory: Path, lock: int) -> int:
    """Start the launcher as a session of its own, with nothing of ours but the lock and what it may be set."""
    log = directory / "server.log"
    with suppress(FileNotFoundError):
        if log.stat().st_size > _LOG_LIMIT:
            log.replace(directory / "server.log.1")
    own = {"PYTHONPATH": os.pathsep.join(search_path()), "PATH": os.defpath, "HOME": str(directory), "LANG": "C.UTF-8"}
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-P", "-m", module("flows.local_server.launcher"), str(directory)],
        server_variables() | own,
        file_actions=[
            (os.POSIX_SPAWN_DUP2, lock, LOCK_FD),
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigmask=(),
        setsigdef=(signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
    )


def _end(process: int, grace: float) -> None:
    """Ask a process to end, and make it."""
    poll = select.poll()
    poll.register(process, select.POLLIN)
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, None)):
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, number)
        if poll.poll(None if patience is None else patience * 1000):
            return


def _exited(pid: int) -> bool:
    """Return whether a child of this process has ended, and take it off the process table."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return start_time(pid) is None


def _private(home: Path) -> Path:
    """Make the folders, or refuse those that others may write to: a server runs what its database says."""
    for folder in (home, home / "prefect"):
        with translated(f"making {folder} for the local Prefect server"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = folder.stat()
        if found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise PreconditionError(f"{folder}: others may write here; expected mode 0700 and owner {os.geteuid()}")
    return home / "prefect"
