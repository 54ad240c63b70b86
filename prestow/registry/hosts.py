"""Which server answers for a reference's domain, and how to speak to it.

    domain       ─→ endpoints, tried in order: configured mirrors, then the registry itself
    docker.io    ─→ https://registry-1.docker.io/v2          the one name that is not its own address
    127.0.0.1:5  ─→ http://127.0.0.1:5/v2                    plain HTTP on loopback (but for port 443), or where
    other        ─→ https://other/v2                         the operator said so

An endpoint carries what containerd's ``hosts.toml`` can say of a host. Everything here is a value: who reads files
and the environment is ``config``, outside the engine.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from prestow.reference import DEFAULT_DOMAIN
from prestow.registry.url import Url, is_loopback

Capability = Literal["resolve", "pull"]

DOCKER_HUB = "registry-1.docker.io"
_TLS_PORT = ":443"


@dataclass(frozen=True, slots=True)
class Tls:
    """How a server proves itself, and we to it.

    Attributes:
        ca: files of certificates to trust besides the system's.
        certificate: file with our client certificate, and its key unless ``key`` names another.
        key: file with the key of ``certificate``.
        verify: whether the server has to prove anything.
    """

    ca: tuple[Path, ...] = ()
    certificate: Path | None = None
    key: Path | None = None
    verify: bool = True

    def for_others(self) -> "Tls":
        """Return what holds for servers that this one sends us to: we prove nothing to them, they all to us."""
        return Tls(ca=self.ca)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One server that may answer for a domain.

    Attributes:
        base: URL under which ``/<repository>/manifests/…`` is found, as a rule ``https://host/v2``.
        name: exact ``host[:port]``, the key of its credentials.
        domain: the domain it answers for; a mirror is told so.
        capabilities: what to ask it for: names (``resolve``), bytes by digest (``pull``).
        tls: certificates for this server alone.
        headers: sent to this server alone.
    """

    base: Url
    name: str
    domain: str
    capabilities: frozenset[Capability] = frozenset({"resolve", "pull"})
    tls: Tls = Tls()
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def is_mirror(self) -> bool:
        """Whether this is another server than the domain's own."""
        return self.name != self.domain


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Bounds of every wait, in seconds; nothing waits without one.

    Attributes:
        connect: for a connection, over all addresses of a name.
        idle: for the next bytes, or for ours to be taken.
        exchange: for a whole document; for the headers of a blob.
        pool: for one of the connections that others have.
        window: over which the rate of a blob is measured.
        rate: fewest bytes a second of a blob, while we wait for the server and not for our disk.
    """

    connect: float = 30
    idle: float = 30
    exchange: float = 60
    pool: float = 300
    window: float = 30
    rate: int = 1024


@dataclass(frozen=True, slots=True)
class Options:
    """How registries are spoken to.

    Attributes:
        insecure: ``host[:port]`` reached over plain HTTP.
        unverified: ``host[:port]`` whose certificate is not verified.
        trusted: hosts that may be given the credentials of any registry that names them as its token service, and that
            any registry may send us to, wherever they lie; ``registry=host`` is a host that may be given the
            credentials of that registry alone.
        mirrors: by domain, endpoints to try before the registry itself.
        tls: certificates for every registry.
        timeouts: bounds of every wait.
        connections: most connections at one time.
    """

    insecure: frozenset[str] = frozenset()
    unverified: frozenset[str] = frozenset()
    trusted: frozenset[str] = frozenset()
    mirrors: Mapping[str, tuple[Endpoint, ...]] = field(default_factory=dict, hash=False)
    tls: Tls = Tls()
    timeouts: Timeouts = Timeouts()
    connections: int = 64

    def allows_plain(self, url: Url) -> bool:
        """Whether plain HTTP to this server was configured."""
        return bool(self.insecure & {url.authority, f"{url.host}:{url.port}"})

    def tls_for(self, tls: Tls, url: Url) -> Tls:
        """Return an endpoint's TLS as it holds for one of its URLs: unverified where configured."""
        return replace(tls, verify=tls.verify and not self.unverified & {url.authority, f"{url.host}:{url.port}"})


def endpoints(domain: str, options: Options, capability: Capability) -> tuple[Endpoint, ...]:
    """Return the servers to ask for ``domain``, in order.

    Raises:
        InvalidError: the domain is no address of a server.
    """
    upstream = Endpoint(_base(domain, options), domain, domain, tls=options.tls)
    candidates = (*options.mirrors.get(domain, ()), upstream)
    return tuple(endpoint for endpoint in candidates if capability in endpoint.capabilities)


def _base(domain: str, options: Options) -> Url:
    address = DOCKER_HUB if domain == DEFAULT_DOMAIN else domain
    plain = Url.parse(f"http://{address}/v2")
    if options.allows_plain(plain) or (is_loopback(plain.host) and not domain.endswith(_TLS_PORT)):
        return plain
    return Url.parse(f"https://{address}/v2")
