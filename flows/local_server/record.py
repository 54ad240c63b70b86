"""What a store's server tells of itself, and whether it is there: standard library only, a millisecond.

    <home>/prefect/            0700
      server.json              0600: port, auth string, process, and whether it serves by now; written by the server
      server.lock              permanent; the server holds its flock as long as it lives, and so does whoever starts it
      server.log  prefect.db   its complaints, its SQLite database

What ``server.json`` says counts only while its process lives, which boot, number and start time name: neither a
reboot nor a reused number can mislead.
"""

import json
import os
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from prestow.content.process_identity import Process

_PATIENCE = 1.0
_HEALTH = b"GET /api/health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


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


@dataclass(frozen=True, slots=True)
class Record:
    """What ``server.json`` holds.

    Attributes:
        port: on which it serves, on 127.0.0.1.
        auth: ``user:password``.
        process: the server's.
        ready: whether it serves; until then it reads its programs and its database.
    """

    port: int
    auth: str = field(repr=False)
    process: Process
    ready: bool

    @classmethod
    def read(cls, directory: Path) -> Self | None:
        """Read the record in a server's folder, of whatever process; None if there is none, or a broken one."""
        try:
            found: dict[str, Any] = json.loads((directory / "server.json").read_bytes())
            return cls(int(found["port"]), str(found["auth"]), Process.parse(found), bool(found["ready"]))
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def write(self, directory: Path) -> None:
        """Replace the record in a server's folder, at once."""
        document = {"port": self.port, "auth": self.auth, **self.process.document(), "ready": self.ready}
        draft = directory / "server.json.draft"
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(document, file)
        draft.replace(directory / "server.json")

    def answers(self) -> bool:
        """Ask for the server's health; that needs no authentication."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=_PATIENCE) as connection:
                connection.sendall(_HEALTH)
                return connection.recv(64).startswith(b"HTTP/1.1 200 ")
        except OSError:
            return False

    def server(self, directory: Path) -> Server:
        """Return the server that the record tells of."""
        return Server(f"http://127.0.0.1:{self.port}/api", self.process.pid, self.auth, directory)


def living(home: Path) -> Record | None:
    """Return the record of the store in ``home``, if its process lives; it may not serve yet, or not any more."""
    record = Record.read(home / "prefect")
    return record if record is not None and record.process.alive() else None


def status(home: Path) -> Server | None:
    """Return the running server of the store in ``home``, or None if none answers."""
    record = living(home)
    if record is None or not record.ready or not record.answers():
        return None
    return record.server(home / "prefect")


def environment(server: Server) -> dict[str, str]:
    """Return the variables that make a process a client of this server."""
    return {
        "PREFECT_API_URL": server.url,
        "PREFECT_API_AUTH_STRING": server.auth,
        "PREFECT_UI_URL": server.url.removesuffix("/api"),
        "PREFECT_HOME": str(server.directory),
    }
