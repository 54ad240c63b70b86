"""What is said on the socket: JSON, its length before it; the first message brings open files along."""

import json
import socket
import struct
from collections.abc import Sequence
from typing import Any

_LENGTH = struct.Struct("!I")
_LONGEST = 64 << 20


def send(connection: socket.socket, message: object, files: Sequence[int] = ()) -> None:
    """Send a message, with descriptors of ours that the other side is to have too."""
    raw = json.dumps(message).encode()
    head = _LENGTH.pack(len(raw))
    if files:
        sent = socket.send_fds(connection, [head], list(files))
        head = head[sent:]
    connection.sendall(head + raw)


def receive(connection: socket.socket, files: int = 0) -> tuple[Any, list[int]]:
    """Return the next message, and up to ``files`` descriptors that came with it.

    Raises:
        EOFError: the other side has gone, or says nonsense.
    """
    head, found, _, _ = socket.recv_fds(connection, _LENGTH.size, files)
    (length,) = _LENGTH.unpack(head + _exactly(connection, _LENGTH.size - len(head)))
    if length > _LONGEST:
        raise EOFError
    return json.loads(_exactly(connection, length)), found


def _exactly(connection: socket.socket, count: int) -> bytes:
    parts = []
    while count:
        part = connection.recv(min(count, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
