"""Hosts files: an operator's word on the servers of a registry, in containerd's form (containerd, docs/hosts.md).

    <directory>/<host>_<port>_/hosts.toml     for each directory of ``hosts_dirs``, in order; the first of
    <directory>/<host>:<port>/hosts.toml      these subdirectories that exists decides
    <directory>/_default/hosts.toml

    server = "https://registry.example"       the registry itself, asked last; default: the domain's own address
    capabilities = ["pull", "resolve"]        what to ask it for; ``push`` and ``referrers`` are never asked for
    ca = "ca.pem"                             or ["a.pem", "b.pem"]; paths are relative to the subdirectory
    client = "both.pem"                       or ["both.pem", ["cert.pem", "key.pem"]]
    skip_verify = false
    override_path = false                     true: the API is at the URL's own path, without ``/v2``
    dial_timeout = "10s"
    [header]                                  NAME = "value" or ["value", …], for this server alone
    [prestow]                                 ours: proxy, a URL, or "none" whatever the environment says;
                                              connections at one time; rate, in bytes a second;
                                              credentials, the name of those for this server alone: "block:NAME"
    [prestow.timeouts]                        ours: connect, document, blob, idle as durations; least_rate
    [host."https://mirror.example"]           asked before the server, in the order of the file; the same keys

Without ``hosts.toml`` the subdirectory holds docker's files: ``*.crt`` to trust, ``NAME.cert`` with ``NAME.key`` to
prove who we are. Files are read anew for each question, so that a change counts at once.
"""

import logging
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from prestow.errors import InvalidError, StorageError, printable
from prestow.oci.document import Record
from prestow.registry.hosts import Capability, Timeouts, Tls
from prestow.registry.own_keys import own_keys, seconds
from prestow.registry.proxy import ProxyChoice

_log = logging.getLogger(__name__)

HOSTS_FILE = "hosts.toml"
_KEYS = frozenset({"capabilities", "ca", "client", "skip_verify", "header", "override_path", "dial_timeout", "prestow"})
_CAPABILITIES: dict[str, Capability | None] = {"pull": "pull", "resolve": "resolve", "push": None, "referrers": None}
_LARGEST = 1 << 20
DEFAULT = "_default"
_WITH_PORT = re.compile(r"(.+)_([0-9]+)_", re.ASCII)


@dataclass(frozen=True, slots=True)
class HostEntry:
    """One server of a hosts file.

    Attributes:
        url: as it is written, ``https://`` added where there is no scheme; empty for the domain's own address.
        capabilities: what to ask it for.
        tls: certificates for this server alone.
        headers: sent to this server alone.
        override_path: the API is at the URL's own path.
        timeouts: names and seconds of the waits that differ from those of all registries.
        proxy: for this server's origin alone.
        connections: most requests to this server at one time; ``None`` for the setting.
        rate: most bytes a second from this server; ``None`` for the setting.
        credentials: name of those for this server alone; empty for none.
    """

    url: str = ""
    capabilities: frozenset[Capability] = frozenset({"resolve", "pull"})
    tls: Tls = field(default_factory=Tls)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    override_path: bool = False
    timeouts: tuple[tuple[str, float], ...] = ()
    proxy: ProxyChoice = "default"
    connections: int | None = None
    rate: int | None = None
    credentials: str = ""

    def bounded(self, timeouts: Timeouts) -> Timeouts:
        """Return the waits for this server, given those of all registries."""
        return replace(timeouts, **dict(self.timeouts)) if self.timeouts else timeouts


@dataclass(frozen=True, slots=True)
class HostsFile:
    """The word on one registry.

    Attributes:
        path: the file, or the directory with docker's files.
        mirrors: servers to ask first, in order.
        server: the registry itself.
        unknown: keys that neither containerd's documentation nor ours names.
    """

    path: Path
    mirrors: tuple[HostEntry, ...]
    server: HostEntry
    unknown: tuple[str, ...] = ()


def find_hosts_file(domain: str, directories: tuple[Path, ...]) -> HostsFile | None:
    """Return what the operator says of a domain; ``None`` where no directory has anything of it.

    Raises:
        InvalidError: the file breaks the rules above; the message names file and key.
        StorageError: it cannot be read.
    """
    for directory in directories:
        for name in _subdirectories(domain):
            found = directory / name
            try:
                if found.is_dir():
                    return read_hosts_file(found)
            except OSError as error:
                raise StorageError(f"{found}: {error.strerror}; let this user read it") from error
    return None


def registries(directories: tuple[Path, ...]) -> set[str]:
    """Return the domains for which there is a subdirectory; ``_default`` stands for all others.

    Raises:
        StorageError: a directory cannot be listed.
    """
    found: set[str] = set()
    for directory in directories:
        try:
            names = [path.name for path in directory.iterdir() if path.is_dir()] if directory.is_dir() else []
        except OSError as error:
            raise StorageError(f"{directory}: {error.strerror}; let this user read it") from error
        found.update(_WITH_PORT.sub(r"\1:\2", name) for name in names)
    return found


def read_hosts_file(directory: Path) -> HostsFile:
    """Read ``hosts.toml`` of a directory, or docker's files where there is none or an empty one.

    Raises:
        InvalidError: as :func:`find_hosts_file`.
        OSError: it cannot be read.
    """
    path = directory / HOSTS_FILE
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST + 1)
    except FileNotFoundError:
        raw = b""
    if len(raw) > _LARGEST:
        raise InvalidError(f"{path}: larger than {_LARGEST} bytes")
    if not raw:
        return HostsFile(directory, (), HostEntry(tls=_docker_files(directory)))
    try:
        table = tomllib.loads(raw.decode("utf-8"))
    except ValueError as error:  # of TOML and of UTF-8
        raise InvalidError(f"{path}: not TOML: {printable(str(error))}") from error
    found = _parsed(table, path)
    for name in found.unknown:
        _warn_once(path, name)
    return found


@cache
def _warn_once(path: Path, name: str) -> None:
    _log.warning("%s: key %s is unknown and ignored", path, name)


def _subdirectories(domain: str) -> Iterator[str]:
    host, colon, port = domain.rpartition(":")
    if colon and not domain.endswith("]"):  # of an IPv6 address without a port
        yield f"{host}_{port}_"
    yield domain
    if domain != DEFAULT:
        yield DEFAULT


def _docker_files(directory: Path) -> Tls:
    """Return docker's certificates (docker docs, "Verify repository client with certificates")."""
    files = sorted(directory.iterdir())
    clients = []
    for certificate in (file for file in files if file.suffix == ".cert"):
        key = certificate.with_suffix(".key")
        clients.append((certificate, key if key in files else None))
    return Tls(ca=tuple(file for file in files if file.suffix == ".crt"), clients=tuple(clients))


def _parsed(table: dict[str, Any], path: Path) -> HostsFile:
    hosts = table.pop("host", {})
    if not isinstance(hosts, dict):
        raise InvalidError(f'{path}: host: expected tables such as [host."https://mirror.example"]')
    server = table.pop("server", "")
    if not isinstance(server, str):
        raise InvalidError(f"{path}: server: expected a URL")
    unknown = [*(name for name in table if name not in _KEYS)]
    mirrors = []
    for url, keys in hosts.items():
        record = Record.of(keys, f"{path}: host.{printable(url)!r}", _KEYS)
        unknown += [f"host.{printable(url)!r}.{name}" for name in record.fields if name not in _KEYS]
        mirrors.append(_entry(url, record, path.parent))
    root = _entry(server, Record.of(table, str(path), _KEYS), path.parent)
    return HostsFile(path, tuple(mirrors), root, tuple(map(printable, unknown)))


def _entry(url: str, record: Record, directory: Path) -> HostEntry:
    ours = own_keys(record)
    connect = {"connect": seconds(record, "dial_timeout")} if record.has("dial_timeout") else {}
    return HostEntry(
        url=f"https://{url}" if url and "://" not in url else url,
        capabilities=_capabilities(record),
        tls=Tls(
            ca=tuple(directory / file for file in _one_or_more(record, "ca")),
            clients=tuple(_clients(record, directory)),
            verify=not _flag(record, "skip_verify"),
        ),
        headers=tuple(_headers(record)),
        override_path=_flag(record, "override_path"),
        timeouts=tuple({**connect, **ours.timeouts}.items()),
        proxy=ours.proxy,
        connections=ours.connections,
        rate=ours.rate,
        credentials=ours.credentials,
    )


def _capabilities(record: Record) -> frozenset[Capability]:
    if not record.has("capabilities"):
        return frozenset({"resolve", "pull"})
    names = record.texts("capabilities")
    if unknown := [name for name in names if name not in _CAPABILITIES]:
        expected = ", ".join(_CAPABILITIES)
        raise InvalidError(f"{record.at('capabilities')}: {printable(unknown[0])!r} is unknown; known are {expected}")
    return frozenset(found for name in names if (found := _CAPABILITIES[name]) is not None)


def _one_or_more(record: Record, name: str) -> tuple[str, ...]:
    return (record.text(name),) if isinstance(record.fields.get(name), str) else record.texts(name)


def _clients(record: Record, directory: Path) -> Iterator[tuple[Path, Path | None]]:
    """Yield the pairs of certificate and key; a single file holds both."""
    value = record.fields.get("client", [])
    for entry in value if isinstance(value, list) else [value]:
        match entry:
            case str():
                yield directory / entry, None
            case [str(certificate)]:
                yield directory / certificate, None
            case [str(certificate), str(key)]:
                yield directory / certificate, directory / key if key else None
            case _:
                raise InvalidError(f"{record.at('client')}: expected a file, or a list of files and [file, key] pairs")


def _headers(record: Record) -> Iterator[tuple[str, str]]:
    headers = Record.of(record.fields.get("header") or {}, record.at("header"), frozenset())
    for name in headers.fields:
        yield from ((name, value) for value in _one_or_more(headers, name))


def _flag(record: Record, name: str) -> bool:
    value = record.fields.get(name, False)
    if not isinstance(value, bool):
        raise InvalidError(f"{record.at(name)}: expected true or false")
    return value
