"""Verify: whether what is stored of an image is still what it was when it was stored.

    documents   index, manifests, configs       hashed again, and read
    layers      compressed blobs, diff blobs    hashed again, those that are here
    snapshots   metadata images, folders        made again in thought, from the diff blobs, and compared

Something that is damaged is a result, not an error. Not looked at: what containers wrote, which is theirs; platforms of
an index that were never pulled; and the compressed blob of a layer whose diff blob is here, if it is not.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from prestow.content.store import Progress
from prestow.digest import Digest
from prestow.errors import (
    CancelledError,
    ExhaustedError,
    InvalidError,
    MismatchError,
    NotFoundError,
    PrestowError,
    StorageError,
    UnsupportedError,
)
from prestow.metadata.images import ImageRecord
from prestow.metadata.namespace import qualified
from prestow.oci.descriptor import Descriptor
from prestow.oci.image import Image, Layer
from prestow.oci.index import Index
from prestow.oci.lookup import find_artifact, image_of
from prestow.oci.manifest import Manifest
from prestow.oci.walk import parse_document
from prestow.snapshots.damage import Damage, DamageKind, Subject
from prestow.snapshots.maintained import Maintained
from prestow.store.node import Node


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What was found of one name, or of the store's own books.

    Attributes:
        namespace: whose name it is.
        name: the image's; empty for the books.
        digest: what it points to; None for the books.
        blobs: how many blobs were hashed.
        snapshots: how many snapshots were compared.
        bytes: how many bytes were read for it.
        damaged: everything that is not as it was; empty when all is well.
    """

    namespace: str
    name: str
    digest: Digest | None
    blobs: int
    snapshots: int
    bytes: int
    damaged: tuple[Damage, ...]

    @property
    def shown(self) -> str:
        """The name for people."""
        return qualified(self.namespace, self.name) if self.name else "the store"


def fsck_image(node: Node, record: ImageRecord, *, progress: Progress | None = None) -> CheckResult:
    """Look at everything that is stored of an image, for all platforms that are here.

    What dead processes left is the caller's to put in order before, once for all images.

    Args:
        node: the store.
        record: the image's name and target.
        progress: told of bytes as they are read.
    """
    run = _Run(node, progress)
    with node.leases.during(f"fsck {record.name}", node.settings.lease_hours * 3600) as lease:
        damaged = tuple(run.target(record.target, lease))
    blobs, snapshots, read = len(run.hashed), run.snapshots, run.bytes
    return CheckResult(record.namespace, record.name, record.target.digest, blobs, snapshots, read, damaged)


@dataclass(slots=True)
class _Run:
    """One verification.

    Attributes:
        hashed: blobs that were looked at, and whether they are what their digests say.
    """

    node: Node
    progress: Progress | None
    hashed: dict[Digest, bool] = field(default_factory=dict)
    snapshots: int = 0
    bytes: int = 0

    def read(self, count: int) -> None:
        """Count bytes."""
        self.bytes += count
        if self.progress is not None:
            self.progress(count)

    def target(self, target: Descriptor, lease: str) -> Iterator[Damage]:
        """Look at what a name points to, and all below it."""
        self.node.leases.add(lease, "content", [target.digest])
        pending = [target]
        while pending:
            descriptor = pending.pop()
            if descriptor.digest in self.hashed:
                continue
            yield from self._blob(DamageKind.DOCUMENT, descriptor.digest)
            if not self.hashed[descriptor.digest]:
                continue
            try:
                document = parse_document(self.node.content.read(descriptor.digest), descriptor.media_type)
            except PrestowError as error:
                yield Damage(DamageKind.DOCUMENT, Subject.blob(descriptor.digest), str(error))
                continue
            if isinstance(document, Index):
                here = [entry for entry in document.manifests if present(self.node, entry.digest)]
                pending += reversed(here)
                if not here:
                    yield Damage(
                        DamageKind.DOCUMENT,
                        Subject.blob(descriptor.digest),
                        "none of the manifests that it lists is here",
                    )
            else:
                yield from self._manifest(target, descriptor, document, lease)

    def _manifest(self, target: Descriptor, descriptor: Descriptor, manifest: Manifest, lease: str) -> Iterator[Damage]:
        config = manifest.config
        yield from self._blob(DamageKind.DOCUMENT, config.digest)
        if not self.hashed[config.digest]:
            return
        try:
            image = image_of(self.node.content, target, descriptor, manifest)
        except (InvalidError, UnsupportedError, ExhaustedError):  # an artifact, stored as it is
            for layer in manifest.layers:
                yield from self._blob(DamageKind.LAYER, layer.digest)
            return
        except PrestowError as error:
            yield Damage(DamageKind.DOCUMENT, Subject.blob(descriptor.digest), str(error))
            return
        self.node.protect(lease, image)
        yield from self._image(image)

    def _image(self, image: Image) -> Iterator[Damage]:
        drivers = drivers_of(self.node, image)
        for layer in layers_of(self.node, image):
            yield from self._layer(layer, unpacked=bool(drivers))
        sound = all(self.hashed.get(layer.diff_id) for layer in image.layers)
        for driver in drivers:
            yield from self._snapshot(driver, image.chain_id, sound=sound)

    def _layer(self, layer: Layer, *, unpacked: bool) -> Iterator[Damage]:
        applied = present(self.node, layer.diff_id)
        if present(self.node, layer.descriptor.digest) or not applied:
            yield from self._blob(DamageKind.LAYER, layer.descriptor.digest)
        if applied or unpacked:
            yield from self._blob(DamageKind.DIFF_BLOB, layer.diff_id)

    def _snapshot(self, driver: Maintained, chain_id: Digest, *, sound: bool) -> Iterator[Damage]:
        subject = Subject.snapshot(driver.driver, chain_id)
        if not sound:
            yield Damage(DamageKind.SNAPSHOT, subject, "cannot be compared: a layer's diff blob is damaged or missing")
            return
        self.snapshots += 1
        try:
            yield from driver.verify(chain_id, progress=self.read)
        except CancelledError:
            raise
        except PrestowError as error:
            yield Damage(DamageKind.SNAPSHOT, subject, f"cannot be compared: {error}")

    def _blob(self, kind: DamageKind, digest: Digest) -> Iterator[Damage]:
        """Hash a blob, once."""
        if digest in self.hashed:
            return
        self.hashed[digest] = False
        try:
            self.node.content.check(digest, progress=self.read)
        except NotFoundError:
            yield Damage(
                kind, Subject.blob(digest), "is empty, or no file" if present(self.node, digest) else "missing"
            )
        except MismatchError:
            yield Damage(kind, Subject.blob(digest), "its bytes are no longer those of its digest")
        except StorageError as error:
            yield Damage(kind, Subject.blob(digest), f"cannot be read: {error}")
        else:
            self.hashed[digest] = True


def drivers_of(node: Node, image: Image) -> list[Maintained]:
    """Return the drivers that an image is unpacked in, by their rows."""
    return [driver for driver in node.snapshotters if _has_row(driver, image.chain_id)]


def layers_of(node: Node, image: Image) -> list[Layer]:
    """Return the layers of an image that should be here: of a platform that was not pulled, those that others have."""
    if image.target == image.manifest or drivers_of(node, image) or _is_the_only_one(node, image):
        return list(image.layers)
    return [layer for layer in image.layers if present(node, layer.descriptor.digest) or present(node, layer.diff_id)]


def _is_the_only_one(node: Node, image: Image) -> bool:
    """Whether no other manifest is here of those that the name leads to: a name is written when one is complete."""
    with suppress(PrestowError):
        return len(find_artifact(node.content, image.target).manifests) == 1
    return False


def present(node: Node, digest: Digest) -> bool:
    """Whether anything has a blob's name, be it damaged or no file."""
    return os.path.lexists(node.content.path(digest))


def _has_row(driver: Maintained, chain_id: Digest) -> bool:
    try:
        driver.stat(chain_id)
    except NotFoundError:
        return False
    return True
