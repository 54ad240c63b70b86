"""Descriptors: what a blob is, its digest and its size (image-spec, descriptor.md).

Of a descriptor's fields, ``data`` (the target embedded) is not read: a blob comes from the registry that was asked, or
from one of ``urls`` if the operator allows it (``registry/foreign``), and is verified like any other.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from prestow.digest import Digest
from prestow.errors import InvalidError, PrestowError, printable
from prestow.oci.document import Record
from prestow.platforms import Platform

_NAME = r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}"
_MEDIA_TYPE = re.compile(rf"{_NAME}/{_NAME}")  # RFC 6838, section 4.2

_DESCRIPTOR = frozenset({"mediaType", "digest", "size", "platform", "annotations", "urls", "data", "artifactType"})
_PLATFORM = frozenset({"os", "architecture", "variant", "os.version", "os.features"})


class Descriptor(NamedTuple):
    """One edge of the image's graph.

    Attributes:
        media_type: type of the target.
        digest: digest of the target's bytes as they travel.
        size: their number.
        platform: in an index, the platform that a manifest is for.
        annotations: the publisher's words; data, never instructions.
        urls: where else the publisher says that the target is; not checked.
    """

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None
    annotations: Mapping[str, str] = {}
    urls: tuple[str, ...] = ()

    def __hash__(self) -> int:
        """Return the hash of all but the annotations, which have none."""
        return hash((*self[:4], self.urls))

    def to_json(self) -> dict[str, Any]:
        """Return the object that :func:`parse_descriptor` reads back as this descriptor."""
        value: dict[str, Any] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if self.platform is not None:
            value["platform"] = platform_to_json(self.platform)
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        if self.urls:
            value["urls"] = list(self.urls)
        return value


def parse_descriptor(value: object, what: str) -> Descriptor:
    """Check a descriptor from a document; ``what`` names it in errors.

    Raises:
        InvalidError: a field is missing, has another type or breaks its grammar.
        UnsupportedError: the digest's algorithm is not supported.
    """
    record = Record.of(value, what, _DESCRIPTOR)
    media_type = record.text("mediaType")
    if not _MEDIA_TYPE.fullmatch(media_type):
        raise InvalidError(f"{record.at('mediaType')}: {printable(media_type)!r} is not of the form type/subtype")
    platform = record.fields.get("platform")
    return Descriptor(
        media_type=media_type,
        digest=parse_digest(record.text("digest"), record.at("digest")),
        size=record.whole("size"),
        platform=None if platform is None else parse_platform(platform, record.at("platform")),
        annotations=record.text_map("annotations"),
        urls=record.texts("urls"),
    )


def parse_digest(value: object, what: str) -> Digest:
    """Check a digest from a document; errors begin with ``what``."""
    try:
        return Digest.parse(value)
    except PrestowError as error:
        raise type(error)(f"{what}: {error}") from error


def parse_platform(value: object, what: str) -> Platform:
    """Read the platform fields of an index entry; an empty system or architecture reads as ``unknown``.

    Raises:
        InvalidError: a required field is missing, or one has another type or breaks its grammar.
    """
    record = Record.of(value, what, _PLATFORM)
    try:
        return Platform(
            os=record.text("os") or "unknown",
            architecture=record.text("architecture") or "unknown",
            variant=record.text("variant", ""),
            os_version=record.text("os.version", ""),
            os_features=record.texts("os.features"),
        )
    except InvalidError as error:
        raise InvalidError(f"{what}: {error}") from error


def platform_to_json(platform: Platform) -> dict[str, Any]:
    """Return the platform's fields as documents have them, without the empty ones."""
    fields: dict[str, Any] = {
        "architecture": platform.architecture,
        "os": platform.os,
        "os.version": platform.os_version,
        "os.features": list(platform.os_features),
        "variant": platform.variant,
    }
    return {name: value for name, value in fields.items() if value}
