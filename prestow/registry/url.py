"""URLs of registries, checked before anything is sent.

    url    ::= ( "https" | "http" ) "://" host [ ":" port ] [ target ]
    target ::= "/" path [ "?" query ]                printable ASCII without space; a fragment is left out

No user name and no password: credentials have their own way. A path is sent as it stands, never normalised, so that
a checked digest cannot become another path, nor a signed one lose its signature. For people a URL is printed without
its query, where presigned URLs keep their secrets. (``httpx.URL`` normalises, and prints all: it only carries the
origin to the transport.)
"""

import re
import socket
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Self
from urllib.parse import quote, urljoin, urlsplit

from prestow.errors import InvalidError, printable

_DEFAULT_PORTS = {"https": 443, "http": 80}
_LONGEST = 16384
_PRINTABLE = re.compile(r"[\x21-\x7e]+", re.ASCII)
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?\.?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Url:
    """A checked URL.

    Attributes:
        scheme: ``https`` or ``http``.
        host: lower-case name or address, IPv6 without brackets.
        port: the port, where none was written the scheme's own.
        target: path and query as they are sent.
    """

    scheme: str
    host: str
    port: int
    target: str = "/"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Check an absolute URL from outside.

        Raises:
            InvalidError: it breaks the grammar, carries credentials, or is of another scheme.
        """
        if len(text) > _LONGEST or not _PRINTABLE.fullmatch(text):
            raise InvalidError(
                f"URL of {len(text)} characters: expected printable ASCII without spaces, at most {_LONGEST}"
            )
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise InvalidError(f"URL {_shown(text)}: not an address of a server") from error
        if parts.scheme not in _DEFAULT_PORTS:
            raise InvalidError(f"URL {_shown(text)}: expected https:// or http://")
        if "@" in parts.netloc:
            raise InvalidError(f"URL {_shown(text)}: must not carry a user name")
        host = _checked_host(parts.hostname or "", text)
        if port == 0:
            raise InvalidError(f"URL {_shown(text)}: port 0 does not exist")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.scheme, host, port or _DEFAULT_PORTS[parts.scheme], target)

    def join(self, location: str) -> Self:
        """Return the URL that a ``Location`` header names, seen from this one.

        Raises:
            InvalidError: it is not a URL to follow.
        """
        if not _PRINTABLE.fullmatch(location):
            raise InvalidError(f"{self}: redirects to an invalid URL")
        try:
            absolute = urljoin(f"{self.origin}{self.target}", location)
        except ValueError as error:
            raise InvalidError(f"{self}: redirects to an invalid URL") from error
        return type(self).parse(absolute)

    def at(self, target: str) -> Self:
        """Return the same server's URL for another path and query."""
        return replace(self, target=target)

    def with_query(self, **parameters: str) -> Self:
        """Return this URL with parameters added, encoded."""
        query = "&".join(f"{quote(name, safe='')}={quote(value, safe=':/,')}" for name, value in parameters.items())
        return replace(self, target=f"{self.target}{'&' if '?' in self.target else '?'}{query}")

    @property
    def authority(self) -> str:
        """``host[:port]`` as in a ``Host`` header, without the scheme's own port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """``scheme://host[:port]``: credentials stay within one origin."""
        return f"{self.scheme}://{self.authority}"

    @property
    def address(self) -> IPv4Address | IPv6Address | None:
        """The host as an address, ``None`` for a name."""
        return address_of(self.host)

    def __str__(self) -> str:
        """Return the URL for people: without its query."""
        return printable(f"{self.origin}{self.target.partition('?')[0]}")


def address_of(host: str) -> IPv4Address | IPv6Address | None:
    """Return a host as an address, ``None`` for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def literal_of(host: str) -> IPv4Address | IPv6Address | None:
    """Return a host as the address that a resolver reads in it, also in ``127.1`` and ``0x7f.1``; ``None`` for a name.

    These spellings are those of inet_aton(3), which getaddrinfo(3) takes too.
    """
    host = host.rstrip(".")
    try:
        return address_of(host) or IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):  # ValueError: a NUL, or not ASCII
        return None


def is_loopback(host: str) -> bool:
    """Whether a host, as written, is this machine itself."""
    address = address_of(host)
    return host == "localhost" if address is None else address.is_loopback


def _checked_host(host: str, text: str) -> str:
    if _HOST.fullmatch(host) or (isinstance(address_of(host), IPv6Address) and "%" not in host):
        return host
    raise InvalidError(f"URL {_shown(text)}: host {printable(host)!r} is neither a name nor an address")


def _shown(text: str) -> str:
    """Return a URL that could not be parsed, without what may be secret in it."""
    scheme, _, rest = text.partition("://")
    place = rest.partition("?")[0].rpartition("@")[2]
    return repr(printable(f"{scheme}://{place}" if rest else text.partition("?")[0]))
