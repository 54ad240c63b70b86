"""The transport: httpx's requests and answers, over connections that keep to time and place.

    http.py    httpx.Request ─→ Transport ─→ httpx.Response          errors are httpx's
    here           httpcore.ConnectionPool on sockets of ours        errors are httpcore's, mapped here and only here

``httpx.HTTPTransport`` is the same around the same pool, but has no place for a network of one's own, and that is
where a deadline can hold while headers come in, and where the address that was checked is the one connected to.

A large body goes past the pool's parser, which copies each byte four times: once the parser has nothing left, the rest
is read from the socket, with the same budget and exactly as far as ``Content-Length`` says. The price is one
connection, since the parser does not learn that the body has ended.
"""

import re
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from ssl import SSLContext, SSLSocket
from typing import Any, cast

import httpcore
import httpx

from prestow.errors import InvalidError
from prestow.registry.network import Budget, Budgets, Reach

_SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]

_IDLE_CONNECTIONS = 16
_IDLE_SECONDS = 15
_MOST_AHEAD = 1 << 20  # bytes that may come before an answer: headers, and answers that are not yet the answer
_LARGE = 8 << 20  # bytes of a body for which a connection is given up
_PIECE = 1 << 20
_RECORD = 1 << 14  # of TLS; no read gives more
_LENGTH = re.compile(r"[0-9]{1,19}", re.ASCII)
_WITH_BODY = frozenset({200, 206})

_ERRORS: dict[type[Exception], type[httpx.TransportError]] = {
    httpcore.ConnectTimeout: httpx.ConnectTimeout,
    httpcore.ReadTimeout: httpx.ReadTimeout,
    httpcore.WriteTimeout: httpx.WriteTimeout,
    httpcore.PoolTimeout: httpx.PoolTimeout,
    httpcore.ConnectError: httpx.ConnectError,
    httpcore.ReadError: httpx.ReadError,
    httpcore.WriteError: httpx.WriteError,
    httpcore.LocalProtocolError: httpx.LocalProtocolError,
    httpcore.RemoteProtocolError: httpx.RemoteProtocolError,
}


class Transport(httpx.BaseTransport):
    """Connections that were made under the same conditions; safe for threads.

    A request has the extensions ``timeouts``, the bounds of its waits, and ``streams``, whether its answer is a blob,
    whose body is under a least rate instead of the deadline.

    Args:
        context: how servers prove themselves; ``None`` for plain HTTP.
        limit: the deepest place that a server may lie at; ``None`` is anywhere.
        connections: most of them at one time.
    """

    def __init__(self, context: SSLContext | None, *, limit: Reach | None, connections: int) -> None:
        """Open no connection yet."""
        self._budgets = Budgets()
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=connections,
            max_keepalive_connections=_IDLE_CONNECTIONS,
            keepalive_expiry=_IDLE_SECONDS,
            network_backend=_Network(limit, self._budgets),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and give the answer, its body not yet read.

        Raises:
            httpx.TransportError: there is no answer.
            UnavailableError: not within the deadline.
            InvalidError: the server lies where the request must not go.
        """
        url, streams = request.url, bool(request.extensions.get("streams"))
        budget = Budget(request.extensions["timeouts"], streams=streams)
        asked = httpcore.Request(
            request.method,
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=cast("Iterable[bytes]", request.stream),
            extensions=request.extensions,
        )
        with _mapped(), self._budgets.using(budget):
            reply = self._pool.handle_request(asked)
        connection: _Connection = reply.extensions["network_stream"]
        connection.budget = budget
        budget.begin_body()
        headers = httpx.Headers(reply.headers)
        with_body = request.method == "GET" and reply.status in _WITH_BODY
        body = _Body(reply, connection, _length(headers) if with_body else None)
        return httpx.Response(reply.status, headers=headers, stream=body, extensions=reply.extensions)

    def close(self) -> None:
        """Close all connections."""
        with _mapped():
            self._pool.close()


class _Body(httpx.SyncByteStream):
    """The body of an answer; of one that is ``length`` bytes, the most part is read past the parser."""

    def __init__(self, reply: httpcore.Response, connection: "_Connection", length: int | None) -> None:
        self._reply = reply
        self._parsed = reply.iter_stream()  # closes the connection when it is let go of
        self._connection = connection
        self._length = length

    def __iter__(self) -> Iterator[bytes]:
        with _mapped():
            left = self._length or 0
            for chunk in self._parsed:
                left -= len(chunk)
                yield chunk
                if left >= _LARGE and self._connection.parsed == len(chunk):
                    break  # all of the last read has come out again: the parser has nothing left
            else:
                return
            while left:
                chunk = self._connection.take(min(left, _PIECE))
                if not chunk:
                    raise httpx.RemoteProtocolError(f"the connection ended with {left} bytes of the body missing")
                left -= len(chunk)
                yield chunk

    def close(self) -> None:
        self._connection.budget = None  # before another request can have the connection
        with _mapped():
            self._reply.close()


class _Connection(httpcore.NetworkStream):
    """A connection that waits on the budget of the exchange that has it.

    Attributes:
        budget: of the exchange whose answer has begun; before that, it is the thread's.
        parsed: bytes that the last read gave to the parser.
    """

    def __init__(self, stream: httpcore.NetworkStream, peer: tuple[str, int], budgets: Budgets) -> None:
        self.budget: Budget | None = None
        self.parsed = 0
        self._ahead = 0
        self._stream = stream
        self._peer = peer  # the socket forgets it when the other side resets the connection
        self._budgets = budgets

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - the budget knows it
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
        self._ahead = 0
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Connection(self._stream.start_tls(ssl_context, server_hostname, timeout), self._peer, self._budgets)

    def get_extra_info(self, info: str) -> Any:
        return self._peer if info == "server_addr" else self._stream.get_extra_info(info)


class _Network(httpcore.NetworkBackend):
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
        socket_options: Iterable[_SocketOption] | None = None,
    ) -> httpcore.NetworkStream:
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
                return _Connection(stream, (address, port), self._budgets)
        raise httpcore.ConnectError(f"{host} has no address")

    def _allowed(self, host: str, port: int) -> list[str]:
        """Resolve a name to addresses, in the system's order; all of them have to be allowed."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host}: {error}") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        for address in addresses:
            if self._limit is not None and not self._limit.allows(Reach.of(address)):
                raise InvalidError(
                    f"{host} lies at {address}, in our own network; a registry that lies outside may not send us there"
                )
        return addresses


def _length(headers: httpx.Headers) -> int | None:
    """Return the length of a body, where nothing but ``Content-Length`` tells its end."""
    told = headers.get_list("Content-Length")
    alone = len(told) == 1 and "Transfer-Encoding" not in headers
    return int(told[0]) if alone and _LENGTH.fullmatch(told[0]) else None


@contextmanager
def _mapped() -> Iterator[None]:
    try:
        yield
    except tuple(_ERRORS) as error:
        raise _ERRORS[type(error)](str(error)) from error
