"""Indexes: one image for many platforms, as a list of manifests (image-spec, image-index.md)."""

from collections.abc import Mapping
from typing import NamedTuple, Self

from prestow.digest import Digest
from prestow.errors import ExhaustedError, NotFoundError
from prestow.oci import mediatypes
from prestow.oci.descriptor import Descriptor, parse_descriptor
from prestow.oci.document import MAX_DOCUMENT
from prestow.oci.kind import INDEX, check_consistent
from prestow.platforms import Platform, choose

MAX_MANIFESTS = 10_000
"""Most entries of one index."""

MAX_LAYOUT = 32 << 20
"""Largest ``index.json`` in bytes: a layout lists all its images in one."""

MAX_IMAGES = 100_000
"""Most entries of it."""

_SHOWN = 20  # platforms in an error


class Index(NamedTuple):
    """A checked index; the raw bytes stay beside it, because they are what has the digest.

    Attributes:
        raw: the document as it came.
        media_type: OCI's or Docker's.
        manifests: descriptors of manifests, or of further indexes, in the publisher's order.
        annotations: the publisher's words.
    """

    raw: bytes
    media_type: str
    manifests: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = {}

    @classmethod
    def parse(cls, raw: bytes, media_type: str | None = None, *, of_layout: bool = False) -> Self:
        """Read an index that came as ``media_type`` (``None``: by its own word).

        Args:
            raw: the document.
            media_type: as what it came.
            of_layout: whether it is the ``index.json`` of a layout, which may be larger than an image's.

        Raises:
            InvalidError: not an index, or one that breaks the specification.
            UnsupportedError: schema 1, or a digest of an unsupported algorithm.
            ExhaustedError: too many bytes or entries.
        """
        record, media_type = INDEX.read(raw, media_type, MAX_LAYOUT if of_layout else MAX_DOCUMENT)
        entries = record.items("manifests")
        if len(entries) > (most := MAX_IMAGES if of_layout else MAX_MANIFESTS):
            raise ExhaustedError(f"{record.what}: {len(entries)} entries; limited to {most} entries")
        manifests = tuple(parse_descriptor(entry, f"{record.at('manifests')}[{n}]") for n, entry in enumerate(entries))
        check_consistent(manifests, record.what)
        return cls(raw, media_type, manifests, record.text_map("annotations"))

    @property
    def digest(self) -> Digest:
        """The sha256 digest of the document."""
        return Digest.of(self.raw)

    @property
    def documents(self) -> tuple[Descriptor, ...]:
        """The entries that are manifests or indexes; the specification allows others, which are ignored."""
        return tuple(
            m for m in self.manifests if mediatypes.is_manifest(m.media_type) or mediatypes.is_index(m.media_type)
        )

    def select(self, platform: Platform) -> Descriptor:
        """Choose the entry that suits ``platform`` best: a manifest, or an index to select from again.

        Raises:
            NotFoundError: no entry suits; the message lists what there is.
        """
        images = self.documents
        best = choose(platform, [image.platform for image in images])
        if best is not None:
            return images[best]
        offered = sorted({str(image.platform) for image in images if image.platform and image.platform.known})
        listed = ", ".join(offered[:_SHOWN]) + (", …" if len(offered) > _SHOWN else "")
        raise NotFoundError(f"index {self.digest.short} has no image for {platform}; it has {listed or 'none at all'}")
