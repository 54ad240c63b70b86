"""How to speak to the servers of registries, as values."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from prestow.registry.proxy import Proxies, ProxyChoice
from prestow.registry.url import Url

Capability = Literal["resolve", "pull"]


@dataclass(frozen=True, slots=True)
class Tls:
    """How a server proves itself, and we to it.

    Attributes:
        ca: files of certificates to trust besides the system's.
        clients: files with our client certificates, each with the file of its key unless the first has that, too. TLS
            sends one of them for each kind of key, the last that is named.
        verify: whether the server has to prove anything.
    """

    ca: tuple[Path, ...] = ()
    clients: tuple[tuple[Path, Path | None], ...] = ()
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
        timeouts: bounds of every wait for this server.
        proxy: for this server's origin alone, whatever ``NO_PROXY`` says and wherever the server lies; ``None`` is
            none, ``"default"`` the one that ``Options.proxies`` choose.
        connections: most requests to it at one time, of all processes of the store.
        rate: most bytes of blobs that come from it in a second, likewise; ``None`` for any.
        foreign: whether ``base`` is the URL of one blob, which an image names, see ``foreign``.
        credentials: name of those for this server alone; empty for those of its ``name`` in the host's files.
    """

    base: Url
    name: str
    domain: str
    capabilities: frozenset[Capability] = frozenset({"resolve", "pull"})
    tls: Tls = Tls()
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    timeouts: "Timeouts | None" = None
    proxy: ProxyChoice = "default"
    connections: int = 8
    rate: int | None = None
    foreign: bool = False
    credentials: str = ""

    @property
    def is_mirror(self) -> bool:
        """Whether this is another server than the domain's own."""
        return self.name != self.domain


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Bounds of every wait, in seconds; nothing waits without one.

    Attributes:
        connect: for a connection, over all addresses of a name.
        document: for a whole document, from connecting to its last byte.
        blob: for the first byte of a blob's answer, connecting included: a cache may fill itself before it answers.
        idle: for the next bytes of an answer that has begun, or for ours to be taken.
        pool: for one of the connections that others have.
        window: over which the rate of a blob is measured.
        rate: fewest bytes a second of a blob, while we wait for the server and not for our disk.
    """

    connect: float = 30
    document: float = 60
    blob: float = 300
    idle: float = 30
    pool: float = 300
    window: float = 30
    rate: float = 1024


@dataclass(frozen=True, slots=True)
class Options:
    """How registries are spoken to.

    Attributes:
        directories: of hosts files, see ``hosts_file``.
        insecure: ``host[:port]`` reached over plain HTTP.
        trusted: hosts that may be given the credentials of any registry that names them as its token service, and that
            any registry may send us to, wherever they lie; ``registry=host`` is a host that may be given the
            credentials of that registry alone.
        foreign: hosts that foreign layers may be fetched from, see ``foreign``.
        tls: certificates for every registry whose hosts file names none; those to trust are for proxies, too.
        proxies: for all targets of which no endpoint says anything else.
        timeouts: bounds of every wait.
        connections: most requests to one server at one time.
        rate: most bytes of blobs that come from one server in a second; ``None`` for any.
        chunk: bytes of a part of a large blob, of which several come at the same time.
        parallel_from: bytes of the smallest blob that comes in parts.
    """

    directories: tuple[Path, ...] = ()
    insecure: frozenset[str] = frozenset()
    trusted: frozenset[str] = frozenset()
    foreign: frozenset[str] = frozenset()
    tls: Tls = Tls()
    proxies: Proxies = field(default_factory=Proxies)
    timeouts: Timeouts = Timeouts()
    connections: int = 8
    rate: int | None = None
    chunk: int = 16 << 20
    parallel_from: int = 64 << 20

    def allows_plain(self, url: Url) -> bool:
        """Whether plain HTTP to this server was configured."""
        return bool(self.insecure & {url.authority, f"{url.host}:{url.port}"})
