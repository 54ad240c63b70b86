"""What manifests and indexes have in common: a version, a media type, and that one must never pass for the other.

If a document can be read as a manifest by one program and as an index by another, the same digest names two images
(CVE-2021-41190). So the kind is fixed before the content is looked at: by the media type under which the document
came, which the document must not contradict, and by fields that only the other kind has.
"""

from typing import NamedTuple

from prestow.digest import Digest
from prestow.errors import InvalidError, UnsupportedError, printable
from prestow.oci import mediatypes
from prestow.oci.descriptor import Descriptor
from prestow.oci.document import MAX_DOCUMENT, Record, load

_VERSION = 2
_SCHEMA_1_FIELDS = frozenset({"fsLayers"})


class Kind(NamedTuple):
    """One kind of document.

    Attributes:
        name: the word for it in errors.
        media_types: its media types; the first is meant where none is given.
        fields: names that its specification knows.
        foreign: names that only other kinds have.
    """

    name: str
    media_types: tuple[str, ...]
    fields: frozenset[str]
    foreign: frozenset[str]

    def read(self, raw: bytes, media_type: str | None, limit: int = MAX_DOCUMENT) -> tuple[Record, str]:
        """Read a document of at most ``limit`` bytes that came as ``media_type``; give it with its true media type.

        Raises:
            InvalidError: another kind of document, or media types that contradict each other.
            UnsupportedError: the retired schema 1.
            ExhaustedError: the document is too large.
        """
        what = f"{self.name} {Digest.of(raw).short}"
        refuse_schema_1(media_type, what)
        record = Record.of(load(raw, what, limit), what, self.fields | self.foreign | _SCHEMA_1_FIELDS)
        self._check_version(record)
        own = record.text("mediaType", "")
        actual = media_type or own or self.media_types[0]
        if own not in ("", actual):
            raise InvalidError(f"{what}: came as {printable(actual)!r} but calls itself {printable(own)!r}")
        if actual not in self.media_types:
            raise InvalidError(f"{what}: expected media type {self.media_types[0]}, found {printable(actual)!r}")
        if strange := sorted(name for name in self.foreign if record.has(name)):
            raise InvalidError(
                f"{what}: has {strange[0]!r}, which no {self.name} has; it could be read as another kind"
            )
        return record, actual

    def _check_version(self, record: Record) -> None:
        version = record.whole("schemaVersion")
        if version == 1 or record.has("fsLayers"):
            raise UnsupportedError(f"{record.what}: schema 1 is not supported; push the image again with a newer tool")
        if version != _VERSION:
            raise InvalidError(f"{record.at('schemaVersion')}: expected {_VERSION}, found {version}")


MANIFEST = Kind(
    name="manifest",
    media_types=mediatypes.MANIFESTS,
    fields=frozenset({"schemaVersion", "mediaType", "artifactType", "config", "layers", "subject", "annotations"}),
    foreign=frozenset({"manifests"}),
)
INDEX = Kind(
    name="index",
    media_types=mediatypes.INDEXES,
    fields=frozenset({"schemaVersion", "mediaType", "artifactType", "manifests", "subject", "annotations"}),
    foreign=frozenset({"config", "layers"}),
)


def refuse_schema_1(media_type: str | None, what: str) -> None:
    """Raise :class:`UnsupportedError` for the media types of the retired schema 1."""
    if media_type in mediatypes.SCHEMA_1:
        raise UnsupportedError(f"{what}: schema 1 is not supported; push the image again with a newer tool")


def check_consistent(descriptors: tuple[Descriptor, ...], what: str) -> None:
    """Refuse descriptors that give one digest two sizes or two media types."""
    seen: dict[Digest, Descriptor] = {}
    for descriptor in descriptors:
        first = seen.setdefault(descriptor.digest, descriptor)
        if (first.size, first.media_type) != (descriptor.size, descriptor.media_type):
            raise InvalidError(
                f"{what}: {descriptor.digest.short} is {first.size} bytes of {first.media_type} in one place, "
                f"{descriptor.size} bytes of {descriptor.media_type} in another"
            )
