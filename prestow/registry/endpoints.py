"""Which servers answer for a reference's domain, and how to speak to each of them.

    domain       ─→ endpoints, tried in order: the mirrors of its hosts file, then the registry itself
    docker.io    ─→ https://registry-1.docker.io/v2          the one name that is not its own address
    127.0.0.1:5  ─→ http://127.0.0.1:5/v2                    loopback
    other        ─→ https://other/v2

Loopback is plain HTTP, except on port 443 and where the hosts file names certificates; so are the registries of the
setting ``insecure_registries``.
"""

from collections.abc import Iterator
from dataclasses import replace

from prestow.errors import InvalidError
from prestow.reference import DEFAULT_DOMAIN
from prestow.registry.hosts import Capability, Endpoint, Options, Tls
from prestow.registry.hosts_file import HostEntry, find_hosts_file
from prestow.registry.url import Url, is_loopback

DOCKER_HUB = "registry-1.docker.io"
_API = "/v2"
_TLS_PORT = ":443"


def endpoints(domain: str, options: Options, capability: Capability, credentials: str = "") -> tuple[Endpoint, ...]:
    """Return the servers to ask for ``domain``, in order.

    ``credentials`` are the name of those for the domain's own server, in the place of those that its hosts file names.

    Raises:
        InvalidError: the domain is no address of a server, or its hosts file breaks a rule or has no server for this.
        StorageError: its hosts file cannot be read.
    """
    found = tuple(endpoint for endpoint in every_endpoint(domain, options) if capability in endpoint.capabilities)
    if not found:
        raise InvalidError(f"{domain}: its hosts file has no server with capability {capability!r}; add one there")
    return tuple(
        replace(each, credentials=credentials) if credentials and not each.is_mirror else each for each in found
    )


def every_endpoint(domain: str, options: Options) -> Iterator[Endpoint]:
    """Yield the servers of a domain, the registry itself last; raises as :func:`endpoints`."""
    found = find_hosts_file(domain, options.directories)
    for mirror in found.mirrors if found else ():
        yield _endpoint(domain, mirror, options)
    yield _endpoint(domain, found.server if found else HostEntry(), options)


def _endpoint(domain: str, entry: HostEntry, options: Options) -> Endpoint:
    base = _base(domain, entry, options)
    own = base.authority in {domain.removesuffix(_TLS_PORT), _address(domain)} or not entry.url
    return Endpoint(
        base,
        domain if own else base.authority,
        domain,
        capabilities=entry.capabilities,
        tls=options.tls if entry.tls == Tls() else entry.tls,
        headers=entry.headers,
        timeouts=entry.bounded(options.timeouts),
        proxy=entry.proxy,
        connections=entry.connections or options.connections,
        rate=entry.rate or options.rate,
        credentials=entry.credentials,
    )


def _base(domain: str, entry: HostEntry, options: Options) -> Url:
    """Return the URL below which the API's paths are, without a slash at its end."""
    if not entry.url:
        plain = Url.parse(f"http://{_address(domain)}{_API}")
        loopback = is_loopback(plain.host) and not domain.endswith(_TLS_PORT) and entry.tls == Tls()
        return plain if options.allows_plain(plain) or loopback else Url.parse(f"https://{_address(domain)}{_API}")
    url = Url.parse(entry.url)
    path = url.target.rstrip("/")
    if "?" in path:
        raise InvalidError(f"{domain}: host {url} of its hosts file must not have a query")
    return url.at(path if entry.override_path or path.endswith(_API) else f"{path}{_API}")


def _address(domain: str) -> str:
    return DOCKER_HUB if domain == DEFAULT_DOMAIN else domain
