"""Find the store's Prefect server, or start it: standard library only, so that it costs a verb nothing.

    begin(home)                # start it, if there is none, and do not wait: there is something to import meanwhile
    server = ensure(home)      # the server, started if need be, as soon as it answers

The process that gets ``server.lock`` (see ``flows.background``) starts a server and hands the lock over to it; all
others wait until ``server.json`` (see ``record``) names a server that answers. A server that lives and does not answer
for long is replaced.
"""

import os
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

from config.home import server_variables
from flows.background import lock, ready, start
from flows.local_server.record import Record, Server, environment, living, status
from prestow.content.disk import translated
from prestow.content.process_identity import start_time
from prestow.errors import ExhaustedError, PreconditionError, PrestowError, UnavailableError

__all__ = ["Server", "begin", "ensure", "environment", "status", "stop"]

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

    One that has served and answers no request for ``silence`` seconds is ended, and another one started.

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
    """Start a server with nothing of ours but the lock and its settings; None if another process holds the lock."""
    with translated(f"starting the local Prefect server in {directory}"), lock(directory / "server.lock") as taken:
        if taken is None:
            return None
        log = directory / "server.log"
        with suppress(FileNotFoundError):
            if log.stat().st_size > _LOG_LIMIT:
                log.replace(directory / "server.log.1")
        variables = server_variables() | {"HOME": str(directory), "LANG": "C.UTF-8"}
        program = "flows.local_server.launcher"
        return start(program, str(directory), environment=variables, files=[taken], log=log)


def _end(process: int, grace: float) -> None:
    """Ask a process to end, and make it."""
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, None)):
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, number)
        if ready(process, patience):
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
