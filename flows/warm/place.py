"""Where a store's warm process is found, or started: standard library only.

    <home>/warm/               0700; whatever lives below it is its owner's alone
      process.lock             permanent; the warm process holds its flock as long as it takes commands
      process.sock             0600; bound before the process starts, so that whoever comes can wait in line
      process.log              its complaints

The lock is the truth, as the local server's is: the kernel drops it with the process, however that ends. Who gets it
makes the socket, and hands both over to a new process; who does not get it finds the socket.
"""

import fcntl
import os
import resource
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from prestow.project import module, search_path
from prestow.store.folder import open_folder

LOCK_FD, SOCKET_FD = 3, 4
"""The descriptors under which the process receives the lock and the socket."""

SOCKET = "process.sock"

PROGRAM = module("flows.cli.warmed")
"""The module that makes the process: it takes the folder and the key, and runs a ``Server``."""

_WAITING = 64
_LOG_LIMIT = 1 << 20
_KEPT = ("PYTHON", "LC_", "LD_", "PREFECT_TASKS_", "PREFECT_FLOWS_", "PREFECT_RESULTS_", "PRESTOW_")
_ALSO_KEPT = ("LANG", "HOME")


def keep_only_ours() -> None:
    """Close what a new process got from the caller that happened to start it, such as the lock of a shell script."""
    os.closerange(SOCKET_FD + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])


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
    with _address(folder) as address:
        lock = os.open(folder / "process.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with suppress(FileNotFoundError):
                os.unlink(address)  # noqa: PTH108 - as an address
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(address)
                os.chmod(address, 0o600)  # noqa: PTH101 - as an address
                listener.listen(_WAITING)
                return _spawn([program, str(folder), key], folder, lock, listener.fileno())
        except BlockingIOError:
            return None
        finally:
            os.close(lock)


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


def _spawn(program: Sequence[str], folder: Path, lock: int, listener: int) -> int:
    """Start the process as a session of its own, with nothing of ours but the lock, the socket and what it must read.

    What else is in our environment comes with each command, and does not stay.
    """
    log = folder / "process.log"
    with suppress(FileNotFoundError):
        if log.stat().st_size > _LOG_LIMIT:
            log.unlink()
    kept = {name: value for name, value in os.environ.items() if name.startswith(_KEPT) or name in _ALSO_KEPT}
    paths = (*search_path(), os.environ.get("PYTHONPATH"))
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-P", "-m", *program],
        {**kept, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PATH": os.defpath},
        file_actions=[
            (os.POSIX_SPAWN_DUP2, lock, LOCK_FD + 100),
            (os.POSIX_SPAWN_DUP2, listener, SOCKET_FD + 100),
            (os.POSIX_SPAWN_DUP2, LOCK_FD + 100, LOCK_FD),
            (os.POSIX_SPAWN_DUP2, SOCKET_FD + 100, SOCKET_FD),
            (os.POSIX_SPAWN_CLOSE, LOCK_FD + 100),
            (os.POSIX_SPAWN_CLOSE, SOCKET_FD + 100),
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        setsigmask=(),
        setsigdef=(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP),
    )
