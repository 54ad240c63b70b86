"""Credentials: who we are to a registry, from docker's ``config.json``.

    {
      "auths":       {"registry.example": {"auth": base64 of "user:password"} or {"identitytoken": …}},
      "credHelpers": {"registry.example": "name"},     docker-credential-name knows this registry
      "credsStore":  "name"                            docker-credential-name knows all others
    }

A helper for the registry is asked first, then the store, then ``auths``. A key is one exact ``host[:port]``: what was
meant for ``a.example`` goes to no other host and no other port. (Old keys are URLs, ``https://host/v1/``; Docker Hub's
is ``https://index.docker.io/v1/``.) Secrets never reach a message: neither a helper's words nor the file's are shown.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from prestow.errors import InvalidError, StorageError, printable
from prestow.oci.document import Record, load
from prestow.reference import DEFAULT_DOMAIN
from prestow.registry.helper import ask_helper

_HUB_KEY = "https://index.docker.io/v1/"
_HUB_HOSTS = frozenset({DEFAULT_DOMAIN, "index.docker.io", "registry-1.docker.io"})
_KEY = re.compile(r"(?:https?://)?([^/]+)(?:/|/v[12]/?)?", re.ASCII)
_NOBODY = "<token>"  # the user name by which helpers mark an identity token
_LARGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class Credential:
    """What proves who we are: a user with a password, or an identity token.

    Attributes:
        username: empty for an identity token.
        secret: password, or the token.
    """

    username: str
    secret: str = field(repr=False)

    @property
    def basic(self) -> str:
        """The value of the header that shows user and password (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.secret}".encode()).decode()


FindCredential = Callable[[str], Credential | None]
"""Gives what there is for one exact ``host[:port]``; ``docker.io`` stands for Docker Hub."""


def anonymous(_name: str) -> Credential | None:
    """Return no credential for any registry."""
    return None


@dataclass(frozen=True, slots=True)
class DockerConfig:
    """Docker's ``config.json``, read anew each time: a login in between counts.

    Attributes:
        path: the file; nobody has credentials where it is missing.
        helper_timeout: seconds that a helper may take.
    """

    path: Path
    helper_timeout: float = 30

    def find(self, name: str) -> Credential | None:
        """Return the credential for one exact ``host[:port]``, or ``None``.

        Raises:
            InvalidError: the file breaks the grammar above.
            StorageError: the file cannot be read.
            UnavailableError: a helper failed, or did not answer in time.
        """
        raw = self._read()
        if raw is None:
            return None
        record = Record.of(load(raw, str(self.path)), str(self.path), frozenset({"auths", "credHelpers", "credsStore"}))
        for helper in self._helpers(record, name):
            kept = ask_helper(helper, _server(name), timeout=self.helper_timeout)
            if kept:
                username, secret = kept
                return Credential("" if username == _NOBODY else username, secret)
        return self._stored(record, name)

    def _read(self) -> bytes | None:
        try:
            with self.path.open("rb") as file:
                raw = file.read(_LARGEST + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"credentials {self.path}: {error.strerror}") from error
        if len(raw) > _LARGEST:
            raise InvalidError(f"credentials {self.path}: larger than {_LARGEST} bytes")
        return raw

    def _helpers(self, record: Record, name: str) -> Iterator[str]:
        """Yield the helpers that may know this registry."""
        own = record.text_map("credHelpers")
        yield from (helper for key, helper in own.items() if _host(key) == _exact(name))
        store = record.text("credsStore", "")
        if store:
            yield store

    def _stored(self, record: Record, name: str) -> Credential | None:
        """Return what the file itself has."""
        auths = Record.of(record.fields.get("auths") if record.names("auths") else {}, record.at("auths"), frozenset())
        for key, value in auths.fields.items():
            if _host(key) == _exact(name) and value:
                what = f"{self.path}: auths[{printable(key)!r}]"
                return _entry(Record.of(value, what, frozenset({"auth", "identitytoken", "username", "password"})))
        return None


def _entry(record: Record) -> Credential | None:
    token = record.text("identitytoken", "")
    if token:
        return Credential("", token)
    username, password = record.text("username", ""), record.text("password", "")
    encoded = record.text("auth", "")
    if encoded:
        try:
            text = base64.b64decode(encoded, validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError):
            raise InvalidError(f"{record.at('auth')}: expected base64 of user:password") from None
        username, _, password = text.rstrip("\0").partition(":")
    return Credential(username, password) if username else None


def _host(key: str) -> str | None:
    """Return the host that a key of the file means; a key with another path means no whole host."""
    match = _KEY.fullmatch(key)
    return _exact(match[1]) if match else None


def _exact(name: str) -> str:
    name = name.lower()
    return DEFAULT_DOMAIN if name in _HUB_HOSTS else name.removesuffix(":443")


def _server(name: str) -> str:
    """Return a registry's name as helpers know it."""
    return _HUB_KEY if _exact(name) == DEFAULT_DOMAIN else name
