"""Redirects: each hop is decided anew, with what the hop before it may not take along.

A blob lies often enough with another server, and registries redirect to it. That server gets the request, but nothing
that proves who we are: neither ``Authorization``, nor other headers meant for the registry, nor a client certificate,
and not even if it sends us back to the registry. Nor is it asked through the registry's own proxy, but through the one
for its URL. It must not be plain HTTP where the registry was not (unless the operator said so), and must not lie deeper
in our networks than the registry itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from prestow.errors import InvalidError
from prestow.registry.hosts import Options
from prestow.registry.http import Connections, Request, Response
from prestow.registry.network import Reach

REDIRECTS = frozenset({301, 302, 303, 307, 308})
MAX_HOPS = 10


@contextmanager
def follow(connections: Connections, request: Request) -> Iterator[Response]:
    """Send a request and give the first answer that is no redirect.

    Raises:
        InvalidError: a redirect leads nowhere, where it must not, or in circles.
        UnavailableError: a server gives no answer.
    """
    start = request.url
    for _ in range(1 + MAX_HOPS):
        with connections.exchange(request) as response:
            if response.status not in REDIRECTS or request.method == "POST":
                yield response
                return
            request = next_hop(request, response.header("Location"), response.reach, connections.options)
    raise InvalidError(f"{start}: redirected more than {MAX_HOPS} times")


def next_hop(request: Request, location: str | None, reach: Reach, options: Options) -> Request:
    """Return the request that a redirect asks for; ``reach`` is where the redirecting server lies.

    Raises:
        InvalidError: it is none to follow.
    """
    if not location:
        raise InvalidError(f"{request.url}: redirects to nowhere")
    url = request.url.join(location)
    if url.origin == request.url.origin:
        return replace(request, url=url)
    plain = options.allows_plain(url) and not request.https_only
    if url.scheme == "http" and request.url.scheme == "https" and not plain:
        raise InvalidError(
            f"{request.url}: redirects to plain HTTP at {url.origin}; name that host insecure to allow it"
        )
    limit = reach if request.limit is None else request.limit
    return replace(
        request,
        url=url,
        private=(),
        tls=request.tls.for_others(),
        limit=None if url.host in options.trusted else limit,
        proxy="default",
    )
