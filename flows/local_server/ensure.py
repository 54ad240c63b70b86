"""Find the store's Prefect server, or start it: standard library only, so that it costs a verb nothing.

    <home>/prefect/            0700
      server.lock              permanent; the server holds its flock as long as it lives, and so does whoever starts it
      server.json              0600: port, pid, start time of that process, auth string; written by the server
      server.log  prefect.db   its complaints, its SQLite database

The lock is the truth: the kernel drops it with the process, however that ends. The one who gets it starts a server
and hands the lock over to it, open; all others wait for the answer on the port. What ``server.json`` says counts only
while the process with that pid has that start time, so neither a reboot nor a reused pid can mislead.
"""

import fcntl
import json
import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from prestow.content.boot import start_time
from prestow.errors import PreconditionError, StorageError, UnavailableError

LOCK_FD = 3
"""The descriptor under which the server receives the lock."""

_LOG_LIMIT = 4 << 20
_POLL = 0.02
_GRACE = 10.0


@dataclass(frozen=True, slots=True)
class Server:
    """A local server.

    Attributes:
        url: of its API.
        pid: of its process.
        auth: ``user:password`` for basic authentication.
        directory: the folder with its database, which is also the clients' ``PREFECT_HOME``.
    """

    url: str
    pid: int
    auth: str = field(repr=False)
    directory: Path


class _Record(TypedDict):
    """What ``server.json`` holds."""

    port: int
    pid: int
    start: int
    auth: str


def ensure(home: Path, *, timeout: float = 120.0) -> Server:
    """Give the server of the store in ``home``, started if need be; any number of processes may ask at once.

    Raises:
        UnavailableError: it did not come up within ``timeout`` seconds.
        PreconditionError: others may write to its folder.
        StorageError: the folder cannot be made.
    """
    deadline = time.monotonic() + timeout
    launched: int | None = None
    while (server := status(home)) is None:
        if launched is None:
            launched = _launch(_private(home))
        if (launched is not None and _exited(launched)) or time.monotonic() > deadline:
            raise UnavailableError(f"the local Prefect server did not start; {home}/prefect/server.log may tell why")
        time.sleep(_POLL)
    return server


def status(home: Path) -> Server | None:
    """Give the running server of the store in ``home``, or None if none answers."""
    record = _record(home / "prefect")
    if record is None or not _answers(record["port"]):
        return None
    url = f"http://127.0.0.1:{record['port']}/api"
    return Server(url, record["pid"], record["auth"], home / "prefect")


def stop(home: Path) -> bool:
    """End the server of the store in ``home``, and wait for it; False if there was none."""
    record = _record(home / "prefect")
    if record is None:
        return False
    try:
        process = os.pidfd_open(record["pid"])
    except ProcessLookupError:
        return False
    try:
        if start_time(record["pid"]) != record["start"]:
            return False
        _end(process)
    finally:
        os.close(process)
    _exited(record["pid"])
    return True


def environment(server: Server) -> dict[str, str]:
    """Give the variables that make a process a client of this server."""
    return {
        "PREFECT_API_URL": server.url,
        "PREFECT_API_AUTH_STRING": server.auth,
        "PREFECT_UI_URL": server.url.removesuffix("/api"),
        "PREFECT_HOME": str(server.directory),
    }


def write_record(directory: Path, *, port: int, auth: str) -> None:
    """Tell where this very process serves; called by the server itself."""
    record = {"port": port, "pid": os.getpid(), "start": start_time(os.getpid()), "auth": auth}
    draft = directory / "server.json.draft"
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(record, file)
    draft.replace(directory / "server.json")


def _record(directory: Path) -> _Record | None:
    """Read ``server.json``; None unless its process lives."""
    try:
        record: _Record = json.loads((directory / "server.json").read_bytes())
        alive = bool(record["start"]) and start_time(record["pid"]) == record["start"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return record if alive else None


def _answers(port: int) -> bool:
    """Ask for the server's health; that needs no authentication."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
            connection.sendall(b"GET /api/health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            return connection.recv(64).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False


def _launch(directory: Path) -> int | None:
    """Start a server that holds the lock from its first moment; None if another process holds it."""
    lock = os.open(directory / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return _spawn(directory, lock)
    except BlockingIOError:
        return None
    except OSError as error:
        raise StorageError(f"cannot start the local Prefect server in {directory}: {error}") from error
    finally:
        os.close(lock)


def _spawn(directory: Path, lock: int) -> int:
    """Start the launcher as a session of its own, with nothing of ours but the lock."""
    log = directory / "server.log"
    with suppress(FileNotFoundError):
        if log.stat().st_size > _LOG_LIMIT:
            log.replace(directory / "server.log.1")
    project = Path(__file__).resolve().parents[2]
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-P", "-m", "flows.local_server.launcher", str(directory)],
        {"PYTHONPATH": str(project), "PATH": os.defpath, "HOME": str(directory), "LANG": "C.UTF-8"},
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


def _end(process: int) -> None:
    """Ask a process to end, and make it."""
    poll = select.poll()
    poll.register(process, select.POLLIN)
    for number, patience in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, None)):
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, number)
        if poll.poll(None if patience is None else patience * 1000):
            return


def _exited(pid: int) -> bool:
    """Tell whether a child of this process has ended, and take it off the process table."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return start_time(pid) is None


def _private(home: Path) -> Path:
    """Make the folders, or refuse those that others may write to: a server runs what its database says."""
    for folder in (home, home / "prefect"):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = folder.stat()
        except OSError as error:
            raise StorageError(f"cannot make {folder} for the local Prefect server: {error.strerror}") from error
        if found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise PreconditionError(f"{folder}: others may write here; expected mode 0700 and owner {os.geteuid()}")
    return home / "prefect"
