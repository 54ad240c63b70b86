"""Connections through a proxy: to the proxy ourselves, and then, for ``https://``, by CONNECT (RFC 9110, 9.3.6).

    http://proxy     TCP ─→ CONNECT registry:443 ─→ TLS with the registry
    https://proxy    TCP ─→ TLS with the proxy ─→ CONNECT registry:443 ─→ TLS with the registry (nested_tls.py)

The proxy sees the registry's name and its own credential, and no byte more. A target of ``http://`` has no tunnel: its
requests go to the proxy in absolute form (``transport.py``), which then sees everything. Of httpcore's own proxies two
things do not fit: they send the request's path instead of the target, and report no status.

**Place.** The operator chose the proxy, so it may lie anywhere. A target's name is resolved by the proxy, not by us: we
know nothing of where it lies, and treat it as public, the reach that may send us nowhere deeper. Only a target that
is written as an address lies where that says; one that a registry may not send us to directly is refused here, too.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from ssl import SSLContext

import httpcore

from prestow import __version__
from prestow.errors import InvalidError, PrestowError, UnauthorizedError, UnavailableError, printable
from prestow.registry.certificates import connection_error
from prestow.registry.connection import Connection, Network, SocketOption, check_reach
from prestow.registry.network import Budgets, Reach
from prestow.registry.proxy import Proxy
from prestow.registry.statuses import error_class, phrase, retry_after
from prestow.registry.url import literal_of

_PROXY_AUTHENTICATION, _FORBIDDEN = 407, 403


class ProxyNetwork(httpcore.NetworkBackend):
    """Connects to a proxy in place of the target.

    Args:
        proxy: which.
        context: how the proxy proves itself; ``None`` for plain HTTP to it.
        limit: the deepest place that a target may be written to lie at; ``None`` is anywhere.
        tunnels: whether to ask the proxy for a tunnel to the target, as TLS with the target needs.
        budgets: what all waits count on.
    """

    def __init__(
        self, proxy: Proxy, context: SSLContext | None, *, limit: Reach | None, tunnels: bool, budgets: Budgets
    ) -> None:
        """Connect to nothing yet."""
        self._proxy = proxy
        self._context = context
        self._limit = limit
        self._tunnels = tunnels
        self._network = Network(None, budgets)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> Connection:
        """Return a connection on which the target is to be asked.

        Raises:
            InvalidError: the target is written as an address that the request must not go to, the proxy's certificate
                is not trusted, or the proxy does not do what it is asked.
            UnauthorizedError: the proxy wants other credentials, or forbids the target.
            UnavailableError: the proxy does not answer, or cannot reach the target.
        """
        reach = target_reach(host)
        check_reach(host, host, reach, self._limit)
        url = self._proxy.url
        with _reported(self._proxy):
            connection = self._network.connect_tcp(url.host, url.port, timeout, local_address, socket_options)
        try:
            if self._context is not None:
                with _reported(self._proxy):
                    connection = connection.start_tls(self._context, url.host, timeout)
            connection.reach = reach
            if self._tunnels:
                self._open_tunnel(connection, f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_tunnel(self, connection: Connection, target: str) -> None:
        """Ask for a tunnel; afterwards the connection's bytes are the target's."""
        proxy, url = self._proxy, self._proxy.url
        origin = httpcore.URL(scheme=url.scheme, host=url.host, port=url.port, target=target)
        headers = [
            (b"Host", target.encode()),
            (b"User-Agent", f"prestow/{__version__}".encode()),
            *authorization(proxy),
        ]
        request = httpcore.Request("CONNECT", origin, headers=headers)
        with _reported(proxy):
            answer = httpcore.HTTP11Connection(origin.origin, connection).handle_request(request)
        if not 200 <= answer.status < 300:  # noqa: PLR2004 - RFC 9110: any of these means a tunnel
            waits = [value.decode("latin-1") for name, value in answer.headers if name.lower() == b"retry-after"]
            raise refusal(proxy, target, answer.status, waits)


def authorization(proxy: Proxy) -> list[tuple[bytes, bytes]]:
    """Return the header by which we prove to a proxy who we are, if it has a credential."""
    return [] if proxy.credential is None else [(b"Proxy-Authorization", proxy.credential.basic.encode())]


def target_reach(host: str) -> Reach:
    """Return where a target behind a proxy counts as lying: public, but for an address or ``localhost``."""
    if f".{host.rstrip('.')}".endswith(".localhost"):
        return Reach.LOOPBACK
    address = literal_of(host)
    return Reach.PUBLIC if address is None else Reach.of(str(address))


def refusal(proxy: Proxy, target: str, status: int, waits: Iterable[str] = ()) -> PrestowError:
    """Return the error for a proxy's own answer to a request for ``target``."""
    text = f"the proxy {proxy} answered {phrase(status)} for {target}"
    if status == _PROXY_AUTHENTICATION:
        what = "add user:password@ to" if proxy.credential is None else "correct user and password in"
        return UnauthorizedError(f"{text}; {what} the URL of the proxy in {proxy.source}")
    if status == _FORBIDDEN:
        return UnauthorizedError(f"{text}; ask its operator to allow that host, or exempt it by NO_PROXY")
    kind = error_class(status)
    if kind is UnavailableError:
        return UnavailableError(f"{text}; try again later", retry_after=retry_after(list(waits)))
    return InvalidError(f"{text}; check that {proxy.source} names a proxy that allows CONNECT")


@contextmanager
def _reported(proxy: Proxy) -> Iterator[None]:
    """Raise our errors for httpcore's, which say that it is the proxy that failed."""
    name, remedy = f"the proxy {proxy}", f"check {proxy.source}"
    try:
        yield
    except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
        failed = connection_error(
            name,
            error,
            plain="name it by http:// if that is meant",
            unknown="correct its name or check this host's DNS",
        )
        raise type(failed)(f"{failed}; {remedy}") from error
    except httpcore.TimeoutException as error:
        raise UnavailableError(f"{name}: no answer in time ({type(error).__name__}); {remedy}") from error
    except httpcore.ProtocolError as error:  # after the colon it shows the proxy's bytes, which may echo ours
        what = printable(str(error).partition(":")[0])
        raise UnavailableError(f"{name}: the answer broke: {what}; {remedy}") from None
    except httpcore.NetworkError as error:
        raise UnavailableError(f"{name}: the connection broke: {printable(str(error))}; {remedy}") from error
    except UnavailableError as error:  # the budget's, which does not know that it waited for a proxy
        raise UnavailableError(f"{name}: {error}; {remedy}") from error
