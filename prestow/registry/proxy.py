"""Which proxy a request takes, as curl and Go's net/http have it: values, no network.

    proxy  ::= [ ( "http" | "https" ) "://" ] [ user [ ":" password ] "@" ] host [ ":" port ] [ "/" … ]
    exempt ::= entry { ( "," | space ) entry }                                      the variable NO_PROXY
    entry  ::= "*"                                every target
             | address [ ":" port ]               10.0.0.5, [fd00::5]:5000
             | network                            10.0.0.0/8, fd00::/8
             | name [ ":" port ]                  the host, and all hosts below it
             | ( "." | "*." ) name [ ":" port ]   all hosts below it

A proxy without a scheme is ``http://``; ports are 80 and 443 where none is written. User and password are
percent-encoded. Where curl and Go differ, Go decides, since containerd and docker are Go. This host itself never is
asked for through a proxy that the environment names: the proxy would ask its own host.
"""

import re
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Literal, Self
from urllib.parse import unquote

from prestow.errors import InvalidError
from prestow.registry.credentials import Credential
from prestow.registry.url import Url, address_of, literal_of

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.ASCII | re.IGNORECASE | re.DOTALL)
_PORT = re.compile(r"(.+):([0-9]{1,5})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Proxy:
    """One proxy; as text it is its address, without user and password.

    Attributes:
        url: its scheme, host and port; ``https`` is TLS to the proxy itself.
        source: where it was configured, for errors: a variable, or a file and its key.
        credential: for the proxy alone.
    """

    url: Url
    source: str
    credential: Credential | None = None

    @classmethod
    def parse(cls, text: str, source: str) -> Self:
        """Check a proxy from outside.

        Raises:
            InvalidError: it breaks the grammar above, or is of another scheme; the message names the source only.
        """
        match = _SCHEME.fullmatch(text.strip())
        scheme, rest = (match[1].lower(), match[2]) if match else ("http", text.strip())
        if scheme.startswith("socks"):
            raise InvalidError(f"{source}: SOCKS proxies are not supported; name an HTTP proxy, http://host:port")
        authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
        user, _, server = authority.rpartition("@")
        try:
            return cls(Url.parse(f"{scheme}://{server}"), source, _credential(user))
        except (InvalidError, UnicodeDecodeError):  # their text, and so their place in a traceback, shows the secret
            raise InvalidError(
                f"{source}: not the URL of a proxy; expected http://host:port or https://user:password@host:port, "
                "percent-encode special characters of the password"
            ) from None

    def __str__(self) -> str:
        """Return the address for people: no user, no password."""
        return self.url.origin


ProxyChoice = Proxy | Literal["default"] | None
"""A proxy, none, or the one that ``Options.proxies`` choose for the URL."""


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxies for all targets, as the environment names them; they are checked where one is used.

    Attributes:
        https: variable and value of the proxy for ``https://``; ``None`` for none.
        http: likewise for ``http://``.
        exempt: targets that are asked directly, by the grammar above.
    """

    https: tuple[str, str] | None = field(default=None, repr=False)
    http: tuple[str, str] | None = field(default=None, repr=False)
    exempt: str = ""

    def choose(self, url: Url) -> Proxy | None:
        """Return the proxy for a URL.

        Raises:
            InvalidError: the variable's value is not a proxy's URL.
        """
        named = self.https if url.scheme == "https" else self.http
        if named is None or _is_this_host(url.host) or is_exempt(url, self.exempt):
            return None
        variable, value = named
        return Proxy.parse(value, variable)


def is_exempt(url: Url, exempt: str) -> bool:
    """Whether a list exempts a URL's host and port; an entry that breaks the grammar matches nothing."""
    return any(_matches(entry, url) for entry in re.split(r"[,\s]+", exempt.lower()) if entry)


def _matches(entry: str, url: Url) -> bool:
    if entry == "*":
        return True
    address = _plain(url.host)
    if "/" in entry:
        try:
            return address is not None and address in ip_network(entry, strict=False)
        except ValueError:
            return False
    match = None if address_of(entry) else _PORT.fullmatch(entry)
    name, port = (match[1], int(match[2])) if match else (entry, url.port)
    if port != url.port:
        return False
    name = name.rstrip(".")
    if address is not None:
        return _plain(name.removeprefix("[").removesuffix("]")) == address
    host, suffix = url.host.rstrip("."), name[1:] if name.startswith("*.") else name
    return host.endswith(suffix if suffix.startswith(".") else f".{suffix}") or host == suffix


def _plain(host: str) -> IPv4Address | IPv6Address | None:
    """Return a host as an address, an IPv4 one in IPv6 as what it is; ``None`` for a name."""
    address = literal_of(host)
    return getattr(address, "ipv4_mapped", None) or address


def _is_this_host(host: str) -> bool:
    """Whether a host is this one by RFC 6761 or by a spelling of a loopback address; 0.0.0.0 leads here, too."""
    address = _plain(host)
    if address is None:
        return f".{host.rstrip('.')}".endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def _credential(user: str) -> Credential | None:
    name, _, password = user.partition(":")
    return Credential(unquote(name, errors="strict"), unquote(password, errors="strict")) if user else None
