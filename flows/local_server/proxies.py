"""Keep what is on loopback off the proxies of the environment: standard library only.

A proxy that is asked for ``http://127.0.0.1`` asks its own host, and is told the server's password. Three readers of
the same variables are to be told, each in its own way:

    Prefect's events (websockets), its HTTP client (httpx), a worker, a container's hook    NO_PROXY, which they inherit
    httpx, which fails on a proxy whose scheme it does not know, even one that it would not use    ``trust_env=False``
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partialmethod
from ipaddress import ip_address
from urllib.parse import urlsplit

_NAME = "NO_PROXY"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def on_loopback(url: str) -> bool:
    """Whether a URL leads to this host: to a loopback address, a name of one (RFC 6761), or 0.0.0.0."""
    host = _host(url)
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def bypass(environment: Mapping[str, str], url: str | None = None) -> dict[str, str]:
    """Return the variables that exempt loopback from the proxies of an environment; nothing else changes its meaning.

    Args:
        environment: in which ``NO_PROXY`` may be set, in any mixture of cases: readers differ in which one they prefer.
        url: of an API, whose host is exempted too if it is one of loopback, such as ``127.0.0.2``.
    """
    more = (_host(url),) if url is not None and on_loopback(url) else ()
    hosts = dict.fromkeys((*_LOOPBACK, *more))
    names = [name for name, value in environment.items() if name.upper() == _NAME and (value or _counts_empty(name))]
    return {name: _extended(environment.get(name, ""), hosts) for name in names or [_NAME]}


@contextmanager
def direct(url: str) -> Iterator[None]:
    """Let Prefect's HTTP clients that are made in this block use no proxy, if the API at ``url`` is on loopback."""
    from prefect.client.base import PrefectHttpxAsyncClient, PrefectHttpxSyncClient

    with ExitStack() as around:
        for client in (PrefectHttpxAsyncClient, PrefectHttpxSyncClient) if on_loopback(url) else ():
            around.callback(setattr, client, "__init__", vars(client)["__init__"])
            setattr(client, "__init__", partialmethod(client.__init__, trust_env=False))  # noqa: B010 - mypy
        yield


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _counts_empty(name: str) -> bool:
    """Whether this one of the names, set to nothing, hides what others list; of all others, urllib ignores that."""
    return name.endswith("_proxy")


def _extended(value: str, hosts: Mapping[str, None]) -> str:
    """Add hosts to a list; ``*`` alone stands for all of them, and only alone."""
    if value == "*":
        return value
    listed = [entry for entry in value.split(",") if entry.strip()]
    known = {entry.strip().lower() for entry in listed}
    return ",".join([*listed, *(host for host in hosts if host not in known)])
