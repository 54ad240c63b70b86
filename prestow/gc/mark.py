"""What the garbage collection must keep: everything that a name, a container or a lease leads to.

An index often has one platform's manifest here and the others not: what is not here leads nowhere. But a document of
a named image that is *damaged* leads somewhere unknown, and so does an image without any manifest and config: then
nothing may be removed, and the graph says what is wrong. What a lease holds may be half a pull, and a generation is
kept as far as it can be read: there it is no error.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from prestow.content.blobs import Blobs
from prestow.digest import Digest
from prestow.errors import ExhaustedError, InvalidError, MismatchError, PrestowError, UnsupportedError
from prestow.gc.graph import Holds, Thing, blob, key
from prestow.oci import mediatypes
from prestow.oci.descriptor import Descriptor
from prestow.oci.identity import chain_ids
from prestow.oci.image_config import ImageConfig
from prestow.oci.manifest import Manifest
from prestow.oci.walk import MAX_DEPTH, children, parse_document


@dataclass(slots=True)
class Marker:
    """Follows one root after the other, reads each document once, and draws the graph."""

    content: Blobs
    holds: Holds
    seen: dict[Digest, bool] = field(default_factory=dict)

    def follow(self, root: Thing, digest: Digest, target: Descriptor | None) -> None:
        """Follow a name or a container, which must lead to a whole image; ``target``: what is known of the document."""
        self.holds.add(root, [blob(digest)], _role(target.media_type) if target else "manifest")
        what = self.holds.roots[root]
        try:
            if not self.walk(digest, target):
                self.holds.broken.append(
                    f"{what}: its manifest or config is missing, so its layers are unknown; pull it again"
                )
        except PrestowError as error:
            self.holds.broken.append(f"{what}: {error}")

    def hold(self, root: Thing, digests: Iterable[str]) -> None:
        """Follow digests as far as they can be read."""
        for text in digests:
            with suppress(PrestowError):
                digest = Digest.parse(text)
                self.holds.add(root, [blob(digest)])
                self.walk(digest, None)

    def walk(self, digest: Digest, target: Descriptor | None, depth: int = 1) -> bool:
        """Follow a document, and tell whether it leads to a whole image."""
        if digest not in self.seen:
            if depth > MAX_DEPTH:
                raise InvalidError(f"document {digest}: indexes nested deeper than {MAX_DEPTH}")
            self.seen[digest] = self._present(digest) and self._document(digest, target, depth)
        return self.seen[digest]

    def _document(self, digest: Digest, target: Descriptor | None, depth: int) -> bool:
        document = parse_document(self._read(digest, target), target.media_type if target else None)
        self.holds.roles.setdefault(blob(digest), "manifest" if isinstance(document, Manifest) else "index")
        if isinstance(document, Manifest):
            self.holds.add(blob(digest), [blob(document.config.digest)], "config")
            self.holds.add(blob(digest), [blob(layer.digest) for layer in document.layers], "layer")
            return self._manifest(document)
        below = children(document)
        for child in below:
            self.holds.add(blob(digest), [blob(child.digest)], _role(child.media_type))
        wholes = [
            self.walk(child.digest, child, depth + 1)
            for child in below
            if mediatypes.is_manifest(child.media_type) or mediatypes.is_index(child.media_type)
        ]
        return any(wholes)

    def _manifest(self, manifest: Manifest) -> bool:
        """Mark what is made of the layers, if this is a container image: nothing else is unpacked."""
        config = manifest.config
        if not self._present(config.digest):
            return False
        diff_ids: tuple[Digest, ...] = ()
        with suppress(InvalidError, UnsupportedError, ExhaustedError):  # its own fault; damage is a MismatchError
            manifest.check_image()
            diff_ids = ImageConfig.parse(self._read(config.digest, config)).diff_ids
        self.holds.add(blob(config.digest), [blob(diff_id) for diff_id in diff_ids], "diff blob")
        self.holds.add(blob(config.digest), [key(chain_id) for chain_id in chain_ids(diff_ids)])
        return True

    def _present(self, digest: Digest) -> bool:
        """Whether anything has the blob's name, be it damaged: only what is not there at all was never pulled."""
        return os.path.lexists(self.content.path(digest))

    def _read(self, digest: Digest, target: Descriptor | None) -> bytes:
        data = self.content.read(digest)
        if target is not None and len(data) != target.size:
            raise MismatchError(f"blob {digest}: {len(data)} bytes, its descriptor says {target.size}")
        return data


def _role(media_type: str) -> str | None:
    if mediatypes.is_index(media_type):
        return "index"
    return "manifest" if mediatypes.is_manifest(media_type) else None
