"""What the garbage collection must keep: everything that a name, a container or a lease leads to.

    image, container ──▶ index ──▶ manifest ──▶ config ──▶ diff IDs ──▶ chain IDs, of every height
                                       └──────▶ layers
    lease ──▶ blobs, and what they lead to as far as that can be read

An index often has one platform's manifest here and the others not: what is not here leads nowhere. But a document of
a named image that is *damaged* leads somewhere unknown, and so does an image without any manifest and config: then
nothing may be removed, and the error says what is wrong. What a lease holds may be half a pull: there it is no error.
"""

import os
from contextlib import suppress
from dataclasses import dataclass, field

from prestow.content.blobs import Blobs
from prestow.digest import Digest
from prestow.errors import InvalidError, MismatchError, PreconditionError, PrestowError, printable
from prestow.metadata.containers import Containers
from prestow.metadata.images import Images
from prestow.metadata.leases import Leases
from prestow.oci import mediatypes
from prestow.oci.descriptor import Descriptor
from prestow.oci.identity import chain_ids
from prestow.oci.image_config import ImageConfig
from prestow.oci.manifest import Manifest
from prestow.oci.walk import MAX_DEPTH, children, parse_document


@dataclass(frozen=True, slots=True)
class Marked:
    """What must stay.

    Attributes:
        blobs: digests of documents, configs, layers and decompressed layers, here or not.
        chains: chain IDs of snapshots, here or not.
    """

    blobs: frozenset[Digest]
    chains: frozenset[Digest]


def mark(images: Images, containers: Containers, leases: Leases, content: Blobs) -> Marked:
    """Follow all roots.

    Raises:
        PreconditionError: a document of an image or of a container is damaged or missing.
    """
    marker = _Marker(content)
    for image in images.every():
        marker.root(f"image {printable(image.name)}", image.target.digest, image.target)
    for container in containers.every():
        marker.root(f"container {printable(container.id)}", container.manifest_digest, None)
    for key in leases.held("content"):
        with suppress(PrestowError):
            digest = Digest.parse(key)
            marker.blobs.add(digest)
            marker.walk(digest, None)
    return Marked(frozenset(marker.blobs), frozenset(marker.chains))


@dataclass(slots=True)
class _Marker:
    """Follows one root after the other, and reads each document once."""

    content: Blobs
    blobs: set[Digest] = field(default_factory=set)
    chains: set[Digest] = field(default_factory=set)
    seen: dict[Digest, bool] = field(default_factory=dict)

    def root(self, what: str, digest: Digest, target: Descriptor | None) -> None:
        """Follow a name, which must lead to a whole image.

        Raises:
            PreconditionError: it does not.
        """
        self.blobs.add(digest)
        try:
            whole = self.walk(digest, target)
        except PrestowError as error:
            raise PreconditionError(f"{what}: {error}; nothing was removed: pull it again, or remove it") from error
        if not whole:
            raise PreconditionError(
                f"{what}: its manifest or config is missing, so its layers are unknown; "
                "nothing was removed: pull it again, or remove it"
            )

    def walk(self, digest: Digest, target: Descriptor | None, depth: int = 1) -> bool:
        """Follow a document, and tell whether it leads to a whole image."""
        if digest not in self.seen:
            if depth > MAX_DEPTH:
                raise InvalidError(f"document {digest}: indexes nested deeper than {MAX_DEPTH}")
            self.seen[digest] = self._present(digest) and self._document(digest, target, depth)
        return self.seen[digest]

    def _document(self, digest: Digest, target: Descriptor | None, depth: int) -> bool:
        document = parse_document(self._read(digest, target), target.media_type if target else None)
        below = children(document)
        self.blobs.update(child.digest for child in below)
        if isinstance(document, Manifest):
            return self._config(document.config)
        wholes = [
            self.walk(child.digest, child, depth + 1)
            for child in below
            if mediatypes.is_manifest(child.media_type) or mediatypes.is_index(child.media_type)
        ]
        return any(wholes)

    def _config(self, config: Descriptor) -> bool:
        """Mark what is made of the layers, unless this is no container image."""
        if not self._present(config.digest):
            return False
        if config.media_type in mediatypes.CONFIGS:
            diff_ids = ImageConfig.parse(self._read(config.digest, config)).diff_ids
            self.blobs.update(diff_ids)
            self.chains.update(chain_ids(diff_ids))
        return True

    def _present(self, digest: Digest) -> bool:
        """Whether anything has the blob's name, be it damaged: only what is not there at all was never pulled."""
        return os.path.lexists(self.content.path(digest))

    def _read(self, digest: Digest, target: Descriptor | None) -> bytes:
        data = self.content.read(digest)
        if target is not None and len(data) != target.size:
            raise MismatchError(f"blob {digest}: {len(data)} bytes, its descriptor says {target.size}")
        return data
