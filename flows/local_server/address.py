"""The address of the local server, and how a run holds on to it while the server is replaced.

    server  ── listens on a port ────────── dies          next server: the same port, the same password
    a run   ── binds the port as well ────────────────────────────────────────────▶

A run must find the next server where the last one was: Prefect's client knows one address. And no other user may ever
listen there and be told the password. Linux gives both: sockets with SO_REUSEPORT share a port only if all have it
and one user owns them, and connections go to those that listen. So while a run has the port bound, no other user can
get it, and the next server can. A run says that it has it, all the time since the server lived, by a shared lock on
``server.users``; where no process holds that, a server takes a new port and a new password.
"""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from flows.local_server.record import Record
from prestow.content.disk import translated


def bind(port: int) -> socket.socket:
    """Return a socket with a port of the loopback, which it shares with this user's alone; 0 takes a free one.

    Raises:
        OSError: another user has it.
    """
    # asyncio turns Nagle's algorithm off only where the protocol is named, and each reply would take 40 ms longer
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # and never SO_REUSEADDR: a free port is then shared with every user
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(("127.0.0.1", port))
    except OSError:
        bound.close()
        raise
    return bound


@contextmanager
def port_reserved(directory: Path, record: Record) -> Iterator[bool]:
    """Hold the address of a living server in this block; gives False where that server ended before we had it.

    Raises:
        StorageError: the folder cannot be written to.
    """
    try:
        bound = bind(record.port)
    except OSError:
        yield False
        return
    with bound, _users(directory) as users:
        if not record.process.alive():
            yield False
            return
        fcntl.flock(users, fcntl.LOCK_SH)
        yield True


def is_reserved(directory: Path) -> bool:
    """Return whether any process holds the address of the last server."""
    with _users(directory) as users:
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _users(directory: Path) -> BinaryIO:
    path = directory / "server.users"
    with translated(f"opening {path}"):
        return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "rb")
