"""Credentials: who we are to a registry, by a name, or from docker's ``config.json`` and podman's ``auth.json``.

    {
      "auths":       {"registry.example/team": {"auth": base64 of "user:password"} or {"identitytoken": …}},
      "credHelpers": {"registry.example": "name"},     docker-credential-name knows this registry
      "credsStore":  "name"                            docker-credential-name knows all others
    }

A key is one exact ``host[:port]``, alone or with a namespace or a repository: what was meant for ``a.example`` goes to
no other host and no other port. The most specific key that fits is used (containers-auth.json(5), "FORMAT"); among
those that are equally specific, ``credHelpers`` is asked first, then ``credsStore`` (for the whole host), then
``auths``. (Old keys are URLs, ``https://host/v1/``; Docker Hub's is ``https://index.docker.io/v1/``.) The oldest file,
``.dockercfg``, is what ``auths`` has, and a key in it is a whole host, whatever path is in it. Secrets never reach a
message: neither a helper's words nor a document's are shown.

Named credentials (``block:NAME``) are for one endpoint that a run or a hosts file names them for. The engine does not
know where their values are: a function :data:`FindNamed` reads them each time.
"""

import base64
import binascii
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prestow.errors import InvalidError, NotFoundError, StorageError, UnsupportedError, printable
from prestow.oci.document import Record, load
from prestow.reference import DEFAULT_DOMAIN
from prestow.registry.helper import ask_helper

_log = logging.getLogger(__name__)

NAME = r"^block:[a-z0-9-]+$"
"""Grammar of the name of credentials; parameters have it, so that the API refuses a value in its place unrecorded."""

_HUB_KEY = "https://index.docker.io/v1/"
_HUB_HOSTS = frozenset({DEFAULT_DOMAIN, "index.docker.io", "registry-1.docker.io"})
_KEY = re.compile(r"(?P<host>[^/]+)(?:/(?P<path>.+))?", re.ASCII)
_OLD_KEY = re.compile(r"https?://(?P<host>[^/]+)(?:/|/v[12]/?)?|(?P<bare>[^/]+)/(?:v[12]/)?", re.ASCII)
_DOCKERCFG_KEY = re.compile(r"(?:https?://)?(?P<host>[^/]*)(?:/.*)?", re.ASCII | re.DOTALL)
_NOBODY = "<token>"  # the user name by which helpers mark an identity token
_LARGEST = 1 << 20
_VARIABLE = "DOCKER_AUTH_CONFIG"
FIELDS = frozenset({"auths", "credHelpers", "credsStore"})
"""What is known of a document."""
_ENTRY_FIELDS = frozenset({"auth", "identitytoken", "username", "password"})


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


FindCredential = Callable[[str, str], Credential | None]
"""Gives what there is for one exact ``host[:port]`` and a repository; ``docker.io`` stands for Docker Hub."""


def anonymous(_name: str, _repository: str) -> Credential | None:
    """Return no credential for any registry."""
    return None


@dataclass(frozen=True, slots=True)
class Named:
    """What a name of credentials stands for.

    Attributes:
        credential: user and password, or an identity token.
        registry: exact ``host[:port]`` that alone may have it; empty for any.
    """

    credential: Credential
    registry: str = ""

    def fits(self, name: str) -> bool:
        """Whether a registry, by its exact ``host[:port]``, may have the credential."""
        return not self.registry or _exact(self.registry) == _exact(name)


FindNamed = Callable[[str], Named]
"""Gives what a name of credentials stands for; raises a ``PrestowError`` where there is nothing of that name."""


def nothing_named(name: str) -> Named:
    """Refuse a name, where no function that knows names was given.

    Raises:
        UnsupportedError: always.
    """
    raise UnsupportedError(f"credentials {name}: only flows read blocks; run the flow, or log in")


def check_name(text: str) -> str:
    """Return the name of credentials if it is one.

    Raises:
        InvalidError: it is none; nothing of it is shown, for it may be a secret.
    """
    if not re.fullmatch(NAME, text, re.ASCII):
        raise InvalidError("credentials: expected block:NAME, the name of a RegistryCredentials block")
    return text


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where the credentials of registries come from.

    Attributes:
        find: gives the credential of a registry and a repository.
        places: where ``find`` looks, for errors; none of them is a secret.
        find_named: gives what a name stands for.
    """

    find: FindCredential = anonymous
    places: tuple[str, ...] = ()
    find_named: FindNamed = nothing_named


ANONYMOUS = Credentials()
"""None for any registry."""


@dataclass(frozen=True, slots=True)
class CredentialFiles:
    """The documents of a host, asked in order until one has a credential; read each time, so that a new login counts.

    Attributes:
        files: a file that is missing has no credentials.
        text: a document in the variable ``DOCKER_AUTH_CONFIG``, asked first; empty where it is not set.
        required: the variable that names the one file, which must not be missing then; empty where none does.
        dockercfg: a file of the oldest form, asked last.
        helper_timeout: seconds that a helper may take.
        login: the file that a login goes into, where no other one has a place for it.
    """

    files: tuple[Path, ...]
    text: str = field(default="", repr=False)
    required: str = ""
    dockercfg: Path | None = None
    helper_timeout: float = 30
    login: Path | None = None

    @property
    def places(self) -> tuple[str, ...]:
        """Where the documents are: paths, and the name of the variable."""
        return (*([_VARIABLE] if self.text else ()), *map(str, filter(None, (*self.files, self.dockercfg))))

    def find(self, name: str, repository: str) -> Credential | None:
        """Return the credential for one exact ``host[:port]`` and a repository, or ``None``.

        A variable that breaks the grammar is a warning, as it is for docker: it may not be of this user's making.

        Raises:
            InvalidError: a file breaks the grammar above.
            NotFoundError: the required file is missing, or a helper is not installed.
            StorageError: a file cannot be read.
            UnavailableError: a helper failed, or did not answer in time.
        """
        try:
            if self.text and (
                found := self._find_in(_VARIABLE, self.text.encode("utf-8", "surrogateescape"), name, repository)
            ):
                return found
        except InvalidError as error:
            _log.warning("%s; it is ignored: correct the variable, or unset it", error)
        for file in filter(None, (*self.files, self.dockercfg)):
            raw = self.read(file)
            if raw is not None and (found := self._find_in(file, raw, name, repository)):
                return found
        return None

    def _find_in(self, place: str | Path, raw: bytes, name: str, repository: str) -> Credential | None:
        """Return what one document has for a registry and a repository."""
        fields = load(raw, str(place))
        if place == self.dockercfg:
            fields = {"auths": {_DOCKERCFG_KEY.sub(r"\g<host>", key, 1): entry for key, entry in fields.items()}}
        return next(self._candidates(Record.of(fields, str(place), FIELDS), name, repository), None)

    def read(self, file: Path) -> bytes | None:
        """Return a document; None where there is no such file; raises as :meth:`find`."""
        try:
            with file.open("rb") as opened:
                raw = opened.read(_LARGEST + 1)
        except (FileNotFoundError, NotADirectoryError):
            if self.required:
                raise NotFoundError(
                    f"credentials {file}: there is no such file, and {self.required} names it; log in, or unset it"
                ) from None
            return None
        except OSError as error:
            raise StorageError(f"credentials {file}: {error.strerror}") from error
        if len(raw) > _LARGEST:
            raise InvalidError(f"credentials {file}: larger than {_LARGEST} bytes")
        return raw

    def _candidates(self, record: Record, name: str, repository: str) -> Iterator[Credential]:
        """Yield what a document has for a registry and a repository, the most specific first."""
        helpers, store = record.text_map("credHelpers"), record.text("credsStore", "")
        auths = Record.of(record.fields.get("auths") if record.names("auths") else {}, record.at("auths"), frozenset())
        for path in _paths(repository):
            names = [helpers[key] for key in keys_of(helpers, name, path)]
            for helper in [*names, store] if store and not path else names:
                yield from self._ask(helper, name)
            for key in keys_of(auths.fields, name, path):
                if auths.fields[key]:
                    what = f"{record.what}: auths[{printable(key)!r}]"
                    yield from _entry(Record.of(auths.fields[key], what, _ENTRY_FIELDS))

    def _ask(self, helper: str, name: str) -> Iterator[Credential]:
        """Yield what a helper has for a registry, if it has anything."""
        answer = ask_helper(helper, server_name(name), timeout=self.helper_timeout)
        if answer:
            username, secret = answer
            yield Credential("" if username == _NOBODY else username, secret)


def _paths(repository: str) -> Iterator[str]:
    """Yield a repository, the namespaces that it is in, and the empty path of the whole host."""
    while repository:
        yield repository
        repository = repository.rpartition("/")[0]
    yield ""


def keys_of(entries: Mapping[str, Any], name: str, path: str) -> list[str]:
    """Return the keys that mean exactly this path of this registry."""
    return [key for key in entries if _meaning(key) == (_exact(name), path)]


def _meaning(key: str) -> tuple[str, str] | None:
    """Return the registry that a key means, and the path in it; ``None`` for a URL with another path than an API's."""
    old = _OLD_KEY.fullmatch(key)
    if old:
        return _exact(old["host"] or old["bare"]), ""
    match = None if "://" in key else _KEY.fullmatch(key)
    return match and (_exact(match["host"]), match["path"] or "")


def _entry(record: Record) -> Iterator[Credential]:
    """Yield what an entry of ``auths`` has: docker writes empty ones where its store has the secret."""
    token = record.text("identitytoken", "")
    if token:
        yield Credential("", token)
        return
    username, password = record.text("username", ""), record.text("password", "")
    encoded = record.text("auth", "")
    if encoded:
        try:
            text = base64.b64decode(encoded, validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError):
            raise InvalidError(f"{record.at('auth')}: expected base64 of user:password") from None
        username, _, password = text.rstrip("\0").partition(":")
    if username:
        yield Credential(username, password)


def _exact(name: str) -> str:
    name = name.lower()
    return DEFAULT_DOMAIN if name in _HUB_HOSTS else name.removesuffix(":443")


def server_name(name: str) -> str:
    """Return a registry's name as helpers know it, and as docker and podman write it into their files."""
    return _HUB_KEY if _exact(name) == DEFAULT_DOMAIN else name
