"""HTTP with nothing done on its own: one exchange is one request to one server, and one answer.

    Client (client.py)  credentials, and one refresh of them
    └── follow (redirects.py)  at most ten exchanges, each decided anew
        └── Connections.exchange (here)  one exchange: limits, translated errors

There are no cookies, no decoding of bodies, no proxies from the environment, no logging of URLs, no normalising of
paths: each has been a hole in some client. So this stands on httpcore, the lower half of httpx, which does none of
that. Bodies are asked for as they are stored (``Accept-Encoding: identity``), because a digest is of those bytes.
"""

import os
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import certifi
import httpcore

from prestow import __version__
from prestow.errors import ExhaustedError, InvalidError, PrestowError, UnavailableError, printable
from prestow.registry.hosts import Options, Tls
from prestow.registry.network import Budget, Budgets, Network, Reach
from prestow.registry.url import Url

Headers = tuple[tuple[str, str], ...]

_COMMON: Headers = (("User-Agent", f"prestow/{__version__}"), ("Accept-Encoding", "identity"))
_NUMBER = re.compile(r"[0-9]{1,19}", re.ASCII)
_DRAINED = 1 << 16  # bytes of an answer that are read only to keep its connection
_IDLE_CONNECTIONS = 16
_IDLE_SECONDS = 15


@dataclass(frozen=True, slots=True)
class Request:
    """One request to one server.

    Attributes:
        method: ``GET``, ``HEAD`` or ``POST``.
        url: where it goes.
        headers: for whichever server it is redirected to.
        private: for the server of ``url`` only.
        content: body of a ``POST``.
        tls: how that server proves itself.
        limit: deepest place that the host may lie at; ``None`` is anywhere, for hosts of the operator's choice.
        streams: the answer is a blob, under a least rate, and not a document with a deadline.
    """

    method: str
    url: Url
    headers: Headers = ()
    private: Headers = field(default=(), repr=False)
    content: bytes = field(default=b"", repr=False)
    tls: Tls = field(default_factory=Tls)
    limit: Reach | None = None
    streams: bool = False

    def wire_headers(self) -> list[tuple[bytes, bytes]]:
        """Give all headers as they are sent.

        Raises:
            InvalidError: a value that cannot stand in a header.
        """
        try:
            named = (("Host", self.url.authority), *_COMMON, *self.headers, *self.private)
            headers = [(name.encode("ascii"), value.encode("ascii")) for name, value in named]
        except UnicodeEncodeError:
            raise InvalidError(f"{self.url}: a header is not ASCII") from None
        if self.method == "POST":
            headers.append((b"Content-Length", str(len(self.content)).encode()))
        return headers


class Response:
    """The answer: status and headers, and the body as it comes.

    Attributes:
        request: what was asked.
        status: three digits.
        reach: where the server lies.
    """

    def __init__(self, request: Request, reply: httpcore.Response, budgets: Budgets, budget: Budget) -> None:
        """Take a reply whose body has not been read."""
        self.request = request
        self.status = reply.status
        self.reach = Reach.of(str(reply.extensions["network_stream"].get_extra_info("server_addr")[0]))
        self._headers = [(name.lower(), value.decode("latin-1").strip()) for name, value in reply.headers]
        self._reply = reply
        self._stream = reply.iter_stream()
        self._budgets = budgets
        self._budget = budget

    def every(self, name: str) -> tuple[str, ...]:
        """Give all values of a header."""
        wanted = name.lower().encode()
        return tuple(value for key, value in self._headers if key == wanted)

    def header(self, name: str) -> str | None:
        """Give the value of a header that must not stand twice.

        Raises:
            InvalidError: it does, with different values.
        """
        values = set(self.every(name))
        if len(values) > 1:
            raise InvalidError(f"{self.request.url}: the answer has {len(values)} different {name} headers")
        return values.pop() if values else None

    @property
    def media_type(self) -> str:
        """``Content-Type`` without parameters, lower case; empty where there is none."""
        return (self.header("Content-Type") or "").partition(";")[0].strip().lower()

    @property
    def length(self) -> int | None:
        """``Content-Length``, where it is a number."""
        text = self.header("Content-Length") or ""
        return int(text) if _NUMBER.fullmatch(text) else None

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it arrives.

        Raises:
            InvalidError: it is encoded, although it was asked for as it is.
            UnavailableError: it ended early, or comes too slowly.
        """
        encoding = self.header("Content-Encoding") or "identity"
        if encoding != "identity":
            raise InvalidError(f"{self.request.url}: sent in encoding {printable(encoding)!r}, which was not asked for")
        if self.request.streams:
            self._budget.stream()
        while True:
            with translated(self.request.url), self._budgets.using(self._budget):
                chunk = next(self._stream, None)
            if chunk is None:
                return
            yield chunk

    def read(self, limit: int) -> bytes:
        """Give the whole body of a document.

        Raises:
            ExhaustedError: more than ``limit`` bytes; reading ends there.
            InvalidError: as :meth:`chunks`.
            UnavailableError: as :meth:`chunks`.
        """
        body = bytearray()
        for chunk in self.chunks():
            body += chunk
            if len(body) > limit:
                raise ExhaustedError(f"{self.request.url}: the answer is larger than {limit} bytes, the limit for it")
        return bytes(body)

    def drain(self) -> None:
        """Read what little is left, so that the connection can be used again."""
        with suppress(PrestowError):
            if self.request.method == "HEAD" or (self.length is not None and self.length <= _DRAINED):
                self.read(_DRAINED)

    def close(self) -> None:
        """Let go of the connection."""
        with translated(self.request.url):
            self._reply.close()


class Connections:
    """The connections of this process, kept between exchanges; safe for threads, and begun anew after a fork."""

    def __init__(self, options: Options) -> None:
        """Open none yet."""
        self.options = options
        self._budgets = Budgets()
        self._lock = threading.Lock()
        self._pools: dict[tuple[Tls | None, Reach | None], httpcore.ConnectionPool] = {}
        self._process = os.getpid()

    @contextmanager
    def exchange(self, request: Request) -> Iterator[Response]:
        """Send a request and give the answer, whatever its status; redirects are answers.

        Raises:
            UnavailableError: there is no answer, or not in time.
            InvalidError: the server cannot prove itself, or lies where the request must not go.
        """
        budget = Budget(self.options.timeouts)
        with translated(request.url), self._budgets.using(budget):
            reply = self._pool(request).handle_request(self._wire(request))
        response = Response(request, reply, self._budgets, budget)
        try:
            yield response
            response.drain()
        finally:
            response.close()

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for pool in self._pools.values():
                pool.close()
            self._pools.clear()

    def _wire(self, request: Request) -> httpcore.Request:
        timeouts, url = self.options.timeouts, request.url
        waits = {
            "connect": timeouts.connect,
            "read": timeouts.idle,
            "write": timeouts.idle,
            "pool": timeouts.pool,
        }
        return httpcore.Request(
            method=request.method,
            url=httpcore.URL(scheme=url.scheme, host=url.host, port=url.port, target=url.target),
            headers=request.wire_headers(),
            content=request.content,
            extensions={"timeout": waits},
        )

    def _pool(self, request: Request) -> httpcore.ConnectionPool:
        """Give the pool of connections that were made under the same conditions."""
        tls = self.options.tls_for(request.tls, request.url) if request.url.scheme == "https" else None
        key = (tls, request.limit)
        with self._lock:
            if self._process != os.getpid():  # the parent's connections are not ours to use, nor to close
                self._pools, self._process = {}, os.getpid()
            if key not in self._pools:
                self._pools[key] = httpcore.ConnectionPool(
                    ssl_context=None if tls is None else _context(tls),
                    max_connections=self.options.connections,
                    max_keepalive_connections=_IDLE_CONNECTIONS,
                    keepalive_expiry=_IDLE_SECONDS,
                    network_backend=Network(request.limit, self._budgets),
                )
            return self._pools[key]


@contextmanager
def translated(url: Url) -> Iterator[None]:
    """Raise our errors for httpcore's, with the URL that they happened at."""
    try:
        yield
    except httpcore.LocalProtocolError:  # its text, and so its place in a traceback, shows the header
        raise InvalidError(f"{url}: a header to be sent breaks the rules of HTTP") from None
    except httpcore.PoolTimeout as error:
        raise UnavailableError(f"{url}: all connections are busy; try again later") from error
    except httpcore.TimeoutException as error:
        raise UnavailableError(f"{url}: no answer in time ({type(error).__name__})") from error
    except httpcore.ConnectError as error:
        raise _refused(url, error) from error
    except httpcore.ProtocolError as error:  # after the colon it shows the server's bytes, which may echo ours
        raise UnavailableError(f"{url}: the answer broke: {printable(str(error).partition(':')[0])}") from None
    except httpcore.NetworkError as error:
        raise UnavailableError(f"{url}: the connection broke: {printable(str(error))}") from error
    except PrestowError as error:  # from the network below, which does not know the URL
        raise type(error)(f"{url}: {error}") from error


def _refused(url: Url, error: httpcore.ConnectError) -> PrestowError:
    cause = error.__cause__ or error.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return InvalidError(f"{url}: the server's certificate is not trusted: {printable(cause.verify_message)}")
    if isinstance(cause, ssl.SSLError) and cause.reason == "WRONG_VERSION_NUMBER":
        return InvalidError(f"{url}: the server does not speak TLS; name the host insecure if that is meant")
    return UnavailableError(f"{url}: no connection: {printable(str(error))}")


def _context(tls: Tls) -> ssl.SSLContext:
    paths = ssl.get_default_verify_paths()
    system = paths.cafile or paths.capath
    try:
        context = ssl.create_default_context(cafile=None if system else certifi.where())
        for file in tls.ca:
            context.load_verify_locations(file)
        if tls.certificate:
            context.load_cert_chain(tls.certificate, tls.key)
    except OSError as error:  # ssl's errors are of this kind, too
        raise InvalidError(f"TLS certificates {[str(file) for file in tls.ca]}, {tls.certificate}: {error}") from error
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
