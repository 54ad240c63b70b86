"""Where a store's warm process is found, or started: standard library only.

    <home>/warm/               0700; whatever lives below it is its owner's alone
      process.lock             permanent; the warm process holds its flock as long as it takes commands
      process.sock             0600; bound before the process starts, so that whoever comes can wait in line
      process.log              its complaints

The process that gets the lock (see ``flows.background``) makes the socket, and hands both over to a new process; all
others find the socket.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from flows.background import LOCK_FD, lock, start
from prestow.store.folder import open_folder

SOCKET_FD = LOCK_FD + 1
"""The descriptor under which the process receives the socket."""

SOCKET = "process.sock"

PROGRAM = "flows.cli.warmed"
"""The module that makes the process: it takes the folder and the key, and runs a ``Server``."""

_WAITING = 64
_LOG_LIMIT = 1 << 20
_KEPT = ("PYTHON", "LC_", "LD_", "PREFECT_TASKS_", "PREFECT_FLOWS_", "PREFECT_RESULTS_", "PRESTOW_")
_ALSO_KEPT = ("LANG", "HOME")


def connect(home: Path) -> socket.socket | None:
    """Connect to the warm process of a store; None if there is none, or if it is not ours."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        with _address(home / "warm") as address:
            connection.connect(address)
    except OSError:
        connection.close()
        return None
    return connection


def launch(home: Path, key: str, program: str = PROGRAM) -> int | None:
    """Start a warm process for callers with this key, and give its pid; None if another one holds the lock.

    Raises:
        PrestowError: this is no store.
        OSError: it cannot be started here.
    """
    open_folder(home)
    folder = home / "warm"
    folder.mkdir(mode=0o700, exist_ok=True)
    with _address(folder) as address, lock(folder / "process.lock") as taken:
        if taken is None:
            return None
        with suppress(FileNotFoundError):
            os.unlink(address)  # noqa: PTH108 - as an address
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(address)
            os.chmod(address, 0o600)  # noqa: PTH101 - as an address
            listener.listen(_WAITING)
            # what else is in our environment comes with each command, and does not stay
            kept = {name: value for name, value in os.environ.items() if name.startswith(_KEPT) or name in _ALSO_KEPT}
            files = (taken, listener.fileno())
            return start(program, str(folder), key, environment=kept, files=files, log=_log(folder))


@contextmanager
def _address(folder: Path) -> Iterator[str]:
    """Name the socket in few letters, of which the kernel takes 107.

    Raises:
        PermissionError: the folder is not ours alone.
    """
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise PermissionError
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
    finally:
        os.close(descriptor)


def _log(folder: Path) -> Path:
    """Return the log, which was removed if it was long."""
    log = folder / "process.log"
    with suppress(FileNotFoundError):
        if log.stat().st_size > _LOG_LIMIT:
            log.unlink()
    return log
