"""HTTP with nothing done on its own: one exchange is one request to one server, and one answer.

    Client (client.py)  credentials, and one refresh of them
    └── follow (redirects.py)  at most ten exchanges, each decided anew
        └── Connections.exchange (here)  one exchange: what is sent, by which proxy, what an answer must not be
            └── Transport (transport.py)  httpx.Request ─→ httpx.Response

There are no cookies, no decoding of bodies, no reading of the environment, no logging of URLs, no normalising of
paths: each has been a hole in some client. So this stands on httpx's transports, and not on ``httpx.Client``, which
does all of that. Bodies are asked for as they are stored (``Accept-Encoding: identity``), because a digest is of those
bytes.
"""

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

import httpx

from prestow import __version__
from prestow.errors import ExhaustedError, InvalidError, MismatchError, PrestowError, UnavailableError, printable
from prestow.registry.certificates import broken, connection_error, tls_context
from prestow.registry.hosts import Options, Timeouts, Tls
from prestow.registry.network import Reach
from prestow.registry.proxy import Proxy, ProxyChoice
from prestow.registry.transport import Transport
from prestow.registry.url import Url

Headers = tuple[tuple[str, str], ...]

_COMMON: Headers = (("User-Agent", f"prestow/{__version__}"), ("Accept-Encoding", "identity"))
_NUMBER = re.compile(r"[0-9]{1,19}", re.ASCII)
_ENCODINGS = frozenset({"br", "compress", "deflate", "gzip", "x-gzip", "zstd"})
_DRAINED = 1 << 16  # bytes of an answer that are read only to keep its connection


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
        timeouts: bounds of its waits; those of all servers if ``None``.
        limit: deepest place that the host may lie at; ``None`` is anywhere, for hosts of the operator's choice.
        streams: the answer is a blob, under a least rate, and not a document with a deadline.
        proxy: by which it goes; of an answer's request never ``"default"``.
        https_only: redirects to plain HTTP are refused even to hosts that the operator named insecure.
    """

    method: str
    url: Url
    headers: Headers = ()
    private: Headers = field(default=(), repr=False)
    content: bytes = field(default=b"", repr=False)
    tls: Tls = field(default_factory=Tls)
    timeouts: Timeouts | None = None
    limit: Reach | None = None
    streams: bool = False
    proxy: ProxyChoice = "default"
    https_only: bool = False

    def header(self, name: str) -> str | None:
        """Return the value of one of the private headers."""
        return dict(self.private).get(name)

    def wire(self, timeouts: Timeouts) -> httpx.Request:
        """Return the request as it is sent.

        Raises:
            InvalidError: a host that has no address, or a header that is not ASCII.
        """
        # The host is named here because httpx would decode it first, which not every name that resolves can take, and
        # the target because httpx would normalise it.
        headers = (("Host", self.url.authority), *_COMMON, *self.headers, *self.private)
        waits = httpx.Timeout(connect=timeouts.connect, read=timeouts.idle, write=timeouts.idle, pool=timeouts.pool)
        extensions = {
            "timeout": waits.as_dict(),
            "target": self.url.target.encode(),
            "streams": self.streams,
            "timeouts": timeouts,
        }
        try:
            return httpx.Request(
                self.method, self.url.origin, headers=headers, content=self.content or None, extensions=extensions
            )
        except UnicodeEncodeError:
            raise InvalidError(f"{self.url}: a header is not ASCII") from None
        except httpx.InvalidURL as error:
            raise InvalidError(f"{self.url}: {printable(str(error))}") from error


class Response:
    """The answer: status and headers, and the body as it comes.

    Attributes:
        request: what was asked.
        status: three digits.
        reach: where the server lies; behind a proxy, see ``tunnel.py``.
        advice: why no credential was sent, and the remedy; for an error of this answer.
        knows_secrets: whether the server was given anything that its words must not repeat.
        secret: the password or identity token behind the request; its token service may have been given it instead.
    """

    advice = secret = ""

    def __init__(self, request: Request, answer: httpx.Response) -> None:
        """Take an answer whose body has not been read."""
        self.request = request
        self.knows_secrets = bool(request.private or request.content)
        self.status = answer.status_code
        self.reach: Reach = answer.extensions["network_stream"].reach
        self._answer = answer
        self._body = answer.iter_raw()

    def every(self, name: str) -> tuple[str, ...]:
        """Return all values of a header."""
        return tuple(self._answer.headers.get_list(name))

    def header(self, name: str) -> str | None:
        """Return the value of a header that must not stand twice.

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

    @property
    def label(self) -> str:
        """What ``Content-Encoding`` says, to be added to an error; empty if that the body is not encoded."""
        encoding = (self.header("Content-Encoding") or "").lower()
        name = repr(encoding) if encoding in _ENCODINGS else "of another name"  # which could echo a secret
        return "" if encoding in ("", "identity") else f", labelled as encoding {name}"

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it arrives.

        Raises:
            InvalidError: it is encoded, although it was asked for as it is.
            UnavailableError: it ended early, or comes too slowly.
        """
        if self.label:
            raise InvalidError(f"{self.request.url}: sent{self.label}, which was not asked for")
        with _translated(self.request.url):
            while (chunk := next(self._body, None)) is not None:  # who comes back finds the rest
                yield chunk

    def stored(self, size: int) -> Iterator[bytes]:
        """Yield a body whose digest will be compared, as :meth:`chunks`; object stores label a layer's own gzip, too.

        Raises:
            MismatchError: it is labelled, and not ``size`` bytes: it is encoded indeed.
            UnavailableError: it ended early, or comes too slowly.
        """
        if not self.label:
            yield from self.chunks()
            return
        left = size
        with _translated(self.request.url):
            while (chunk := next(self._body, None)) is not None:
                left -= len(chunk)
                if left < 0:
                    break
                yield chunk
        if left:
            raise MismatchError(f"{self.request.url}: expected {size} bytes, found others{self.label}")

    def read(self, limit: int) -> bytes:
        """Return the whole body of a document.

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
        with _translated(self.request.url):
            self._answer.close()


class Connections:
    """The connections of this process, kept between exchanges; safe for threads, and begun anew after a fork."""

    def __init__(self, options: Options) -> None:
        """Open none yet."""
        self.options = options
        self._lock = threading.Lock()
        self._transports: dict[tuple[Tls | None, Reach | None, Proxy | None], Transport] = {}
        self._process = os.getpid()

    @contextmanager
    def exchange(self, request: Request) -> Iterator[Response]:
        """Send a request and give the answer, whatever its status; redirects are answers.

        Raises:
            UnavailableError: there is no answer, or not in time.
            InvalidError: the server cannot prove itself, or lies where the request must not go.
            UnauthorizedError: the proxy wants other credentials, or forbids the server.
        """
        wire = request.wire(request.timeouts or self.options.timeouts)
        with _translated(request.url):
            proxy = self.options.proxies.choose(request.url) if request.proxy == "default" else request.proxy
            answer = self._transport(request, proxy).handle_request(wire)
        request = replace(request, proxy=proxy)
        response = Response(request, answer)
        try:
            yield response
            response.drain()
        finally:
            response.close()

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            for transport in self._transports.values():
                transport.close()
            self._transports.clear()

    def _transport(self, request: Request, proxy: Proxy | None) -> Transport:
        """Return the connections that were made under the same conditions."""
        options = self.options
        tls = request.tls if request.url.scheme == "https" else None
        key = (tls, request.limit, proxy)
        with self._lock:
            if self._process != os.getpid():  # the parent's connections are not ours to use, nor to close
                self._transports, self._process = {}, os.getpid()
            if key not in self._transports:
                self._transports[key] = Transport(
                    None if tls is None else tls_context(tls),
                    limit=request.limit,
                    proxy=proxy,
                    proxy_context=tls_context(options.tls.for_others())
                    if proxy is not None and proxy.url.scheme == "https"
                    else None,
                )
            return self._transports[key]


@contextmanager
def _translated(url: Url) -> Iterator[None]:
    """Raise our errors for httpx's, with the URL that they happened at."""
    try:
        yield
    except httpx.LocalProtocolError:  # its text, and so its place in a traceback, shows the header
        raise InvalidError(f"{url}: a header to be sent breaks the rules of HTTP") from None
    except httpx.PoolTimeout as error:
        raise UnavailableError(f"{url}: all connections are busy; try again later") from error
    except httpx.TimeoutException as error:
        raise UnavailableError(f"{url}: no answer in time ({type(error).__name__})") from error
    except httpx.ConnectError as error:
        raise connection_error(
            str(url), error,
            plain="name the host insecure if that is meant",
            unknown="correct the name, check this host's DNS, or set HTTPS_PROXY if only a proxy reaches it",
        ) from error  # fmt: skip
    except httpx.ProtocolError as error:  # after the colon it shows the server's bytes, which may echo ours
        raise UnavailableError(f"{url}: the answer broke: {printable(str(error).partition(':')[0])}") from None
    except httpx.NetworkError as error:
        raise broken(str(url), error) from error
    except PrestowError as error:  # from the network below, which does not know the URL
        raise type(error)(f"{url}: {error}", retry_after=error.retry_after) from error
