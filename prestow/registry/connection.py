"""Connections that keep to time and place (``network.py``): the network below httpcore's pool.

``httpx.HTTPTransport`` has no place for a network of one's own. That is where a deadline can hold while headers come
in, and where the address that was checked is the one connected to.
"""

import socket
from collections.abc import Iterable
from contextlib import suppress
from ssl import SSLContext, SSLSocket
from typing import Any

import httpcore

from prestow.errors import InvalidError
from prestow.registry.nested_tls import NestedTls
from prestow.registry.network import Budget, Budgets, Reach

SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]

_MOST_AHEAD = 1 << 20  # bytes that may come before an answer: headers, and answers that are not yet the answer
_RECORD = 1 << 14  # of TLS; no read gives more


class Connection(httpcore.NetworkStream):
    """A connection that waits on the budget of the exchange that has it.

    Attributes:
        reach: where the server lies.
        budget: of the exchange whose answer has begun; before that, it is the thread's.
        parsed: bytes that the last read gave to the parser.
    """

    def __init__(self, stream: httpcore.NetworkStream, reach: Reach, budgets: Budgets) -> None:
        self.reach = reach  # not asked of the socket, which forgets its peer when that resets the connection
        self.budget: Budget | None = None
        self.parsed = 0
        self._ahead = 0
        self._stream = stream
        self._budgets = budgets

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - the budget knows it
        """Wait for bytes, at most as long as the budget allows; none are the end."""
        data = self._current.receive(lambda longest: self._stream.read(max_bytes, longest))
        self.parsed = len(data)
        if self.budget is None:
            self._ahead += len(data)
            if self._ahead > _MOST_AHEAD:
                raise httpcore.RemoteProtocolError(f"more than {_MOST_AHEAD} bytes before the answer")
        return data

    def take(self, most: int) -> bytes:
        """Wait for bytes, and give all that have come by then, ``most`` at most."""
        return self._current.receive(lambda longest: self._at_hand(most, longest))

    @property
    def _current(self) -> Budget:
        return self.budget or self._budgets.current

    def _at_hand(self, most: int, longest: float) -> bytes:
        found = self._stream.get_extra_info("socket")
        if not isinstance(found, SSLSocket):
            return self._stream.read(most, longest)
        parts = [self._stream.read(min(most, _RECORD), longest)]
        found.settimeout(0)
        count = len(parts[0])
        with suppress(OSError):  # nothing more has come; if it is a fault, the next wait meets it
            while parts[-1] and count < most:
                parts.append(found.recv(min(most - count, _RECORD)))
                count += len(parts[-1])
        return b"".join(parts)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send bytes; an answer to them may begin."""
        self._ahead = 0
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        """Close the socket."""
        self._stream.close()

    def start_tls(
        self, ssl_context: SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> "Connection":
        """Return the same connection under TLS; the handshake counts on the deadline."""
        longest = self._current.remaining(timeout or 0)
        if isinstance(self._stream.get_extra_info("socket"), SSLSocket):
            inner: httpcore.NetworkStream = NestedTls(self._stream, ssl_context, server_hostname, longest)
        else:
            inner = self._stream.start_tls(ssl_context, server_hostname, longest)
        return Connection(inner, self.reach, self._budgets)

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore asks of a stream."""
        return self._stream.get_extra_info(info)


class Network(httpcore.NetworkBackend):
    """Connects to addresses within one reach, ``None`` being everywhere."""

    def __init__(self, limit: Reach | None, budgets: Budgets) -> None:
        self._limit = limit
        self._budgets = budgets
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> Connection:
        """Connect to the first address of ``host`` that answers, each given its part of the time."""
        addresses = self._allowed(host, port)
        for position, address in enumerate(addresses, start=1):
            part = self._budgets.current.remaining(timeout or 0) / (len(addresses) - position + 1)
            try:
                stream = self._sockets.connect_tcp(address, port, part, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if position == len(addresses):
                    raise
            else:
                return Connection(stream, Reach.of(address), self._budgets)
        raise httpcore.ConnectError(f"{host} has no address")

    def _allowed(self, host: str, port: int) -> list[str]:
        """Resolve a name to addresses, in the system's order; all of them have to be allowed."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host}: {error}") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        for address in addresses:
            check_reach(host, address, Reach.of(address), self._limit)
        return addresses


def check_reach(host: str, address: str, reach: Reach, limit: Reach | None) -> None:
    """Check that a host that lies at ``address``, and so at ``reach``, is not deeper than ``limit`` allows.

    Raises:
        InvalidError: it is.
    """
    if limit is not None and not limit.allows(reach):
        raise InvalidError(
            f"{host} lies at {address}, in our own network; a registry that lies outside may not send us there"
        )
