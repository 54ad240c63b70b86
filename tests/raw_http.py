"""HTTP as bytes, for servers that are sent what no client library would send."""

import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import BinaryIO

Address = tuple[str, int]


@dataclass(frozen=True)
class Answer:
    """One answer that came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def last(self) -> bool:
        """Whether it says that no other follows."""
        return self.headers.get("connection") == "close"


def talk(address: Address, pieces: Iterable[bytes], methods: Sequence[str] = ()) -> list[Answer]:
    """Send pieces on one connection, and give all that is answered until the server ends it.

    ``methods`` are those of the requests, since the answer to a ``HEAD`` has no body. Our side of the connection ends
    when all is sent, so that a server that waits for more sees that none comes.
    """
    with closing(socket.create_connection(address, timeout=60)) as connection:
        with suppress(ConnectionError):  # it need not read all before it answers
            for piece in pieces:
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as stream:
            return list(answers(stream, methods))


def answers(stream: BinaryIO, methods: Sequence[str] = ()) -> Iterator[Answer]:
    """Read answers until the end of the stream; anything that is none fails."""
    number = 0
    while line := stream.readline():
        version, status, _ = line.decode().split(" ", 2)
        assert version == "HTTP/1.1"
        headers = {}
        while (header := stream.readline()) != b"\r\n":
            assert header.endswith(b"\r\n"), header
            name, _, value = header.decode().partition(":")
            headers[name.lower()] = value.strip()
        bodiless = number < len(methods) and methods[number] == "HEAD"
        body = b"" if bodiless else stream.read(int(headers["content-length"]))
        yield Answer(int(status), headers, body)
        number += 1
