"""References: how people name images (distribution's grammar, with the familiar forms of Docker).

    reference ::= name [ ":" tag ] [ "@" digest ]
    name      ::= [ domain "/" ] path                   at most 255 characters of path
    domain    ::= ( hostname | IPv4 | "[" IPv6 "]" ) [ ":" port ]
    path      ::= component ( "/" component )*          component: [a-z0-9]+ (( "." | "_" | "__" | "-"+ ) [a-z0-9]+)*
    tag       ::= [A-Za-z0-9_] [A-Za-z0-9_.-]{0,127}

    layout    ::= TRANSPORT ":" PATH [ ":" REF ]        on disk; PATH has no colon
    TRANSPORT ::= "oci"                                 an OCI image layout, in a directory or in a tar
                | "oci-archive" | "docker-archive"      a file that skopeo, podman or ``docker save`` wrote
    REF       ::= a name in there | "@" index           the index counts the images in there, from 0

Familiar: the first component is a domain only if it has a ``.``, a ``:`` or a capital, or is ``localhost``;
otherwise the domain is ``docker.io``, and one component alone stands in its ``library``. Without tag and digest the
tag is ``latest``.

>>> str(Reference.parse("ubuntu"))
'docker.io/library/ubuntu:latest'
"""

import ipaddress
import re
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, Self, TypeAlias, get_args

from prestow.digest import Digest
from prestow.errors import InvalidError, PrestowError, printable
from prestow.pasted import refuse_other_forms

DEFAULT_DOMAIN = "docker.io"
DEFAULT_TAG = "latest"
LAYOUT_DOMAIN = "localhost"
"""Domain of the name that an image from a layout gets; no registry can claim it."""

_LEGACY_DOMAIN = "index.docker.io"
_LIBRARY = "library/"
_MAX_PATH = 255
_MAX_HOST = 253  # RFC 1035
_MAX_PORT = 65535

_LABEL = r"(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9-]*[A-Za-z0-9])"
_IPV6 = r"\[(?P<ipv6>[A-Fa-f0-9:.]{2,45})\]"
_DOMAIN = re.compile(rf"(?P<host>{_LABEL}(?:\.{_LABEL})*|{_IPV6})(?::(?P<port>[0-9]{{1,5}}))?")
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_SPLIT = re.compile(r"(?P<name>[^@]+?)(?::(?P<tag>[^:/@]*))?(?:@(?P<digest>.*))?", re.DOTALL)
_IMAGE_ID = re.compile(r"[0-9a-f]{64}")
_LAYOUT_REF = re.compile(r"@[0-9]{1,6}|[A-Za-z0-9_][A-Za-z0-9_.:@+/-]{0,511}")
_ARCHIVE_SUFFIX = re.compile(r"(?:\.tar(?:\.[a-z0-9]+)?|\.tgz|\.tzst)$")

Transport: TypeAlias = Literal["oci", "oci-archive", "docker-archive"]
_TRANSPORTS: tuple[Transport, ...] = get_args(Transport)


@dataclass(frozen=True, slots=True)
class Reference:
    """A checked name of an image in a registry.

    Attributes:
        domain: host of the registry, with port where one is given.
        path: repository in the registry.
        tag: changeable name in the repository.
        digest: fixes the content, whatever the tag says.

    Raises:
        InvalidError: a part breaks the grammar.
    """

    domain: str
    path: str
    tag: str | None = None
    digest: Digest | None = None

    def __post_init__(self) -> None:
        """Check each part."""
        _check_domain(self.domain)
        if self.path != (small := self.path.lower()) and _PATH.fullmatch(small):
            raise InvalidError(f"reference: repository {printable(self.path)!r} has capital letters; write {small}")
        if not _PATH.fullmatch(self.path) or len(self.path) > _MAX_PATH:
            raise InvalidError(
                f"reference: repository {printable(self.path)!r} must be 1 to {_MAX_PATH} lower-case letters, digits "
                "and single separators . _ - between them, in parts divided by /"
            )
        if self.tag is not None and not _TAG.fullmatch(self.tag):
            raise InvalidError(
                f"reference: tag {printable(self.tag)!r} must be 1 to 128 letters, digits, _ . and -, "
                "beginning with neither . nor -"
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a reference in canonical or familiar form.

        Raises:
            InvalidError: it breaks the grammar.
            UnsupportedError: its digest has an unsupported algorithm, or it names a transport of other tools.
        """
        refuse_other_forms(text)
        match = _SPLIT.fullmatch(text)
        if match is None:
            raise InvalidError(f"reference {printable(text)!r}: expected [domain/]name[:tag][@digest]")
        name, tag, digest = match["name"], match["tag"], match["digest"]
        if _IMAGE_ID.fullmatch(name):
            raise InvalidError(f"reference {printable(text)!r}: an image ID is not a name; write name@sha256:…")
        domain, path = _split_domain(name)
        if tag is None and digest is None:
            tag = DEFAULT_TAG
        return cls(domain, path, tag, None if digest is None else Digest.parse(digest))

    def __str__(self) -> str:
        """Return the canonical form, ``domain/path[:tag][@digest]``."""
        tag = "" if self.tag is None else f":{self.tag}"
        return f"{self.name}{tag}" if self.digest is None else f"{self.name}{tag}@{self.digest}"

    @property
    def name(self) -> str:
        """The repository with its domain, ``domain/path``."""
        return f"{self.domain}/{self.path}"

    def is_from(self, pattern: str) -> bool:
        """Whether a shell pattern matches the domain, or, if it has a slash, the repository with its domain."""
        return fnmatchcase(self.name if "/" in pattern else self.domain, pattern)


@dataclass(frozen=True, slots=True)
class LayoutReference:
    """A checked name of an image on disk: in an OCI image layout, or in an archive.

    Attributes:
        path: the layout's directory, or the archive.
        ref: the image's name in there, or ``@`` and its index; ``None`` if there is one image only.
        transport: how the image lies there.

    Raises:
        InvalidError: a part breaks the grammar.
    """

    path: Path
    ref: str | None = None
    transport: Transport = "oci"

    def __post_init__(self) -> None:
        """Check each part."""
        if "\0" in str(self.path) or ":" in str(self.path):
            raise InvalidError(f"layout {printable(str(self.path))!r}: the path must have no colon and no NUL")
        if self.ref is not None and not _LAYOUT_REF.fullmatch(self.ref):
            raise InvalidError(f"layout: ref {printable(self.ref)!r} must be letters, digits and . _ : @ + / -")

    def __str__(self) -> str:
        """Return ``TRANSPORT:PATH[:REF]``."""
        return f"{self.transport}:{self.path}" + ("" if self.ref is None else f":{self.ref}")

    @property
    def index(self) -> int | None:
        """The index of the image that is meant, if ``ref`` is one."""
        return int(self.ref[1:]) if self.ref is not None and self.ref.startswith("@") else None

    @property
    def name(self) -> str | None:
        """The name that is meant; in a Docker archive, names are references, and so in canonical form."""
        if self.ref is None or self.index is not None:
            return None
        return self.canonical if self.transport == "docker-archive" else self.ref

    @property
    def canonical(self) -> str | None:
        """The name that is meant in canonical form, if it is a reference."""
        if self.ref is None or self.index is not None:
            return None
        try:
            return str(Reference.parse(self.ref))
        except PrestowError:
            return self.ref


def parse_source(text: str) -> Reference | LayoutReference:
    """Read where an image is to be pulled from: a registry, or with a transport in front a layout or an archive.

    Raises:
        InvalidError: it breaks the grammar.
        UnsupportedError: its digest has an unsupported algorithm, or it names a transport of other tools.
    """
    refuse_other_forms(text)
    scheme, _, rest = text.partition(":")
    transport = next((each for each in _TRANSPORTS if each == scheme), None)
    if transport is None:
        return Reference.parse(text)
    path, colon, ref = rest.partition(":")
    if not path:
        raise InvalidError(f"source {printable(text)!r}: expected {transport}:PATH[:REF]")
    return LayoutReference(Path(path), ref if colon else None, transport)


def name_for(source: LayoutReference) -> str:
    """Return the name under which an image from disk is stored, unless another is asked for.

    A ref with a domain is a name already; any other is put under ``localhost``. Without a name the directory's is, or
    the archive's up to its suffix.

    Raises:
        InvalidError: that gives no valid name, so one must be given.
    """
    file = source.path.absolute().name
    local = source.name or (file if source.transport == "oci" else _ARCHIVE_SUFFIX.sub("", file))
    text = local if source.name and has_domain(local) else f"{LAYOUT_DOMAIN}/{local}"
    try:
        return str(Reference.parse(text))
    except InvalidError as error:
        raise InvalidError(f"{printable(str(source))}: gives no valid image name, name it yourself: {error}") from error


def image_name(reference: str, name: str | None) -> str:
    """Return the name under which an image is kept: the chosen one, else the reference's own, in canonical form.

    Raises:
        InvalidError: reference or name breaks the grammar.
    """
    source = parse_source(reference)
    if name is not None:
        return str(Reference.parse(name))
    return name_for(source) if isinstance(source, LayoutReference) else str(source)


def canonical_source(text: str) -> str | None:
    """Return a source so that it means the same from any folder; None if that cannot be written.

    A reference is made canonical, a layout's path absolute. There is never a secret in it: neither has room for one.

    Raises:
        InvalidError: it breaks the grammar.
    """
    source = parse_source(text)
    if isinstance(source, Reference):
        return str(source)
    path = source.path.absolute()
    return None if ":" in str(path) else str(replace(source, path=path))


def has_domain(text: str) -> bool:
    """Whether a reference names its domain, rather than leaving it to the default."""
    first, slash, _ = text.partition("/")
    return bool(slash) and (first == "localhost" or "." in first or ":" in first or first != first.lower())


def is_domain(text: str) -> bool:
    """Whether a text is the domain of a registry, as references have it: ``host[:port]``."""
    try:
        return Reference.parse(f"{text}/image").domain == text
    except InvalidError:
        return False


def is_tag(text: str) -> bool:
    """Whether a text is a tag."""
    return _TAG.fullmatch(text) is not None


def _split_domain(name: str) -> tuple[str, str]:
    """Split a name without tag and digest, and complete the familiar forms."""
    domain, path = DEFAULT_DOMAIN, name
    if has_domain(name):
        domain, _, path = name.partition("/")
    if domain == _LEGACY_DOMAIN:
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in path:
        path = _LIBRARY + path
    return domain, path


def _check_domain(domain: str) -> None:
    match = _DOMAIN.fullmatch(domain)
    if match is None or len(match["host"]) > _MAX_HOST:
        raise InvalidError(f"reference: domain {printable(domain)!r} must be a host name or address, with :port or not")
    if match["ipv6"]:
        try:
            ipaddress.IPv6Address(match["ipv6"])
        except ValueError as error:
            raise InvalidError(f"reference: {printable(domain)!r} is not an IPv6 address: {error}") from error
    if match["port"] and not 1 <= int(match["port"]) <= _MAX_PORT:
        raise InvalidError(f"reference: port of {printable(domain)!r} must be from 1 to {_MAX_PORT}")
