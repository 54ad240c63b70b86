"""The transport: httpx's requests and answers, over connections that keep to time and place.

    http.py    httpx.Request ─→ Transport ─→ httpx.Response          errors are httpx's
    here           httpcore.ConnectionPool on connection.py          errors are httpcore's, mapped here and only here

Through a proxy the pool is the same, on tunnel.py. A plain request, which has no tunnel, goes to the proxy in absolute
form (RFC 9112, 3.2.2); only here the proxy's credential is added to it.

A large body goes past the pool's parser, which copies each byte four times: once the parser has nothing left, the rest
is read from the socket, with the same budget and exactly as far as ``Content-Length`` says. Then the parser is told
that the body has ended, so that the connection can be used again.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from ssl import SSLContext
from typing import cast

import httpcore
import httpx

from prestow.registry.connection import Connection, Network
from prestow.registry.network import Budget, Budgets, Reach
from prestow.registry.proxy import Proxy
from prestow.registry.tunnel import ProxyNetwork, authorization, refusal

_CONNECTIONS = 64  # of all servers together; what one of them is to bear is in pacing.py
_IDLE_CONNECTIONS = 16
_IDLE_SECONDS = 15
_LARGE = 1 << 20  # bytes of a body from which on this is worth it
_PIECE = 1 << 20
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
        proxy: that connects to the servers for us; ``None`` for none.
        proxy_context: how it proves itself; ``None`` for plain HTTP to it.
    """

    def __init__(
        self,
        context: SSLContext | None,
        *,
        limit: Reach | None,
        proxy: Proxy | None = None,
        proxy_context: SSLContext | None = None,
    ) -> None:
        """Open no connection yet."""
        self._budgets = budgets = Budgets()
        self._forwarder = proxy if context is None else None
        network: httpcore.NetworkBackend = Network(limit, budgets)
        if proxy is not None:
            tunnels = context is not None
            network = ProxyNetwork(proxy, proxy_context, limit=limit, tunnels=tunnels, budgets=budgets)
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=_CONNECTIONS,
            max_keepalive_connections=_IDLE_CONNECTIONS,
            keepalive_expiry=_IDLE_SECONDS,
            network_backend=network,
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and give the answer, its body not yet read.

        Raises:
            httpx.TransportError: there is no answer.
            UnavailableError: not within the deadline.
            InvalidError: the server lies where the request must not go.
            UnauthorizedError: the proxy wants other credentials.
        """
        url, streams, proxy = request.url, bool(request.extensions.get("streams")), self._forwarder
        budget = Budget(request.extensions["timeouts"], streams=streams)
        headers, extensions = list(request.headers.raw), dict(request.extensions)
        if proxy is not None:
            headers += authorization(proxy)
            extensions["target"] = f"http://{request.headers['Host']}".encode() + extensions.get("target", url.raw_path)
        asked = httpcore.Request(
            request.method,
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=headers,
            content=cast("Iterable[bytes]", request.stream),
            extensions=extensions,
        )
        with _mapped(), self._budgets.using(budget):
            reply = self._pool.handle_request(asked)
        if proxy is not None and reply.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            with _mapped():
                reply.close()
            raise refusal(proxy, request.headers["Host"], reply.status)
        connection: Connection = reply.extensions["network_stream"]
        connection.budget = budget
        budget.begin_body()
        received = httpx.Headers(reply.headers)
        with_body = request.method == "GET" and reply.status in _WITH_BODY
        body = _Body(reply, connection, _length(received) if with_body else None)
        return httpx.Response(reply.status, headers=received, stream=body, extensions=reply.extensions)

    def close(self) -> None:
        """Close all connections."""
        with _mapped():
            self._pool.close()


class _Body(httpx.SyncByteStream):
    """The body of an answer; of one that is ``length`` bytes, the most part is read past the parser."""

    def __init__(self, reply: httpcore.Response, connection: Connection, length: int | None) -> None:
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
            passed = left
            while left:
                chunk = self._connection.take(min(left, _PIECE))
                if not chunk:
                    raise httpx.RemoteProtocolError(f"the connection ended with {left} bytes of the body missing")
                left -= len(chunk)
                yield chunk
            self._end(passed)

    def _end(self, passed: int) -> None:
        """Let the parser know that so many bytes went past it; one that we do not know costs the connection."""
        with suppress(AttributeError):
            parser = self._reply.stream._stream._connection._h11_state._reader  # type: ignore[union-attr]  # noqa: SLF001
            if parser._remaining == passed:  # noqa: SLF001 - h11 has no public name for it
                parser._remaining = 0  # noqa: SLF001
                next(self._parsed, None)

    def close(self) -> None:
        self._connection.budget = None  # before another request can have the connection
        with _mapped():
            self._reply.close()


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
