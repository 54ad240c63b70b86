"""Repair: what *fsck* found damaged is made right by the cheapest way, while the name stays.

    document    fetched again, by its digest, from where the image came from
    layer       likewise; where its diff blob is sound and no others are kept, it is not needed
    diff blob   decompressed again from its layer, which is fetched only if it is damaged or missing too
    snapshot    metadata image or folder made again from the diff blobs

What is damaged goes to quarantine first, and then the steps of a pull are done again: each makes only what is missing.
Whoever has a file open or mounted keeps the one that he has, so nothing is pulled from under a running container;
``affected.py`` tells which ones to start again. A runtime that has links to such files, or mounts of
them, gets the new ones.
What cannot be made right is a result, with the reason.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from prestow.content.store import Progress
from prestow.digest import Digest
from prestow.errors import (
    CancelledError,
    ExhaustedError,
    InvalidError,
    MismatchError,
    NotFoundError,
    PrestowError,
    UnsupportedError,
)
from prestow.fsck.affected import Affected, affected
from prestow.fsck.image import CheckResult, drivers_of, fsck_image, layers_of, present
from prestow.fsck.retry import refetch, repair_lock
from prestow.handover.choose import podman_of
from prestow.handover.links import inode_of, replace_links
from prestow.layers.apply import apply
from prestow.metadata.images import ImageRecord
from prestow.oci import mediatypes
from prestow.oci.descriptor import Descriptor
from prestow.oci.image import Image, Layer
from prestow.oci.index import Index
from prestow.oci.lookup import image_of
from prestow.oci.manifest import Manifest
from prestow.oci.walk import MAX_DEPTH, children, parse_document
from prestow.platforms import host
from prestow.registry.fetch import fetch_document
from prestow.registry.source import Fetcher
from prestow.snapshots.damage import Damage, Subject
from prestow.snapshots.maintained import Maintained
from prestow.store.node import Node

_T = TypeVar("_T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one damage.

    Attributes:
        damage: as it was found.
        how: what was done; empty if it is as damaged as before.
        why_not: the reason, where it is.
    """

    damage: Damage
    how: str
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class RepairResult:
    """What was found of one name, and what became of it.

    Attributes:
        found: what ``fsck`` found at first.
        mended: each damage, also those that came to light on the way, and what became of it.
        left: what ``fsck`` finds now.
        containers: those that should be started again.
    """

    found: CheckResult
    mended: tuple[Outcome, ...] = ()
    left: tuple[Damage, ...] = ()
    containers: tuple[Affected, ...] = ()


def repair_image(
    node: Node, record: ImageRecord, *, progress: Progress | None = None, credentials: str | None = None
) -> RepairResult:
    """Look at everything that is stored of an image, and make right what is damaged.

    Args:
        node: the store.
        record: the image's name and target.
        progress: told of bytes as they are read and fetched.
        credentials: name of those for the registries that the image came from.

    Raises:
        UnavailableError: another repair has been under way all the time.
        StorageError: the quarantine cannot be written.
    """
    found = fsck_image(node, record, progress=progress)
    if not found.damaged:
        return RepairResult(found)
    with repair_lock(node), node.lease(f"repair {record.name}") as lease:
        work = _Work(node, record, lease, progress, credentials)
        left = found.damaged
        while work.learn(left):  # below a document that was damaged, more may come to light
            work.run()
            left = fsck_image(node, record, progress=progress).damaged
        replace_links(node.hand_overs.every(), work.moved)
        _show_podman(node)
    names = {damage.name for damage in left}
    mended = tuple(work.outcome(damage, mended=damage.name not in names) for damage in work.damaged.values())
    return RepairResult(found, mended, left, tuple(affected(node, work.renewed, repaired=True)))


def _show_podman(node: Node) -> None:
    """Let podman see the new files; containers that run keep what they have."""
    try:
        podman_of(node).mount()
    except PrestowError as error:
        _log.warning("podman's images: %s; run `prestow hand-over --mount`", error)


@dataclass(slots=True)
class _Work:
    """One repair.

    Attributes:
        damaged: what was found, by name.
        done: what was done, by the name of the damage.
        failed: why not, likewise.
        renewed: chain IDs whose files, or whose layers' files, are new, by driver.
        moved: where the files were that were moved to quarantine, by device and inode.
    """

    node: Node
    record: ImageRecord
    lease: str
    progress: Progress | None
    credentials: str | None
    damaged: dict[Subject, Damage] = field(default_factory=dict)
    done: dict[Subject, str] = field(default_factory=dict)
    failed: dict[Subject, str] = field(default_factory=dict)
    renewed: dict[str, set[Digest]] = field(default_factory=dict)
    moved: dict[tuple[int, int], Path] = field(default_factory=dict)

    def learn(self, found: Iterable[Damage]) -> bool:
        """Take up what was found, and tell whether anything of it is news."""
        before = len(self.damaged)
        for damage in found:
            self.damaged.setdefault(damage.name, damage)
        return len(self.damaged) > before

    def run(self) -> None:
        """Do it, from the top down."""
        self.node.leases.add(self.lease, "content", [self.record.target.digest])
        for image in self._images():
            self.node.protect(self.lease, image)
            for layer in layers_of(self.node, image):
                with self._noting(Subject.blob(layer.descriptor.digest), Subject.blob(layer.diff_id)):
                    self._layer(layer)
            for driver in drivers_of(self.node, image):
                with self._noting(Subject.snapshot(driver.driver, image.chain_id)):
                    self._snapshot(driver, image)

    def outcome(self, damage: Damage, *, mended: bool) -> Outcome:
        """Return what became of a damage."""
        if mended:
            how = self.done.get(damage.name, "rebuilt from the layers")
            return Outcome(damage, how)
        reason = self.failed.get(damage.name) or next(iter(self.failed.values()), "it was damaged again meanwhile")
        return Outcome(damage, "", reason)

    def _images(self) -> Iterator[Image]:
        """Bring the documents in order, and give the images that they describe, of all platforms that are here."""
        pending = [(self.record.target, 1)]
        seen: set[Digest] = set()
        while pending:
            descriptor, depth = pending.pop()
            if descriptor.digest in seen or depth > MAX_DEPTH:
                continue
            seen.add(descriptor.digest)
            with self._noting(Subject.blob(descriptor.digest)):
                document = parse_document(self._document("manifest", descriptor), descriptor.media_type)
                if isinstance(document, Index):
                    pending += [(entry, depth + 1) for entry in self._entries(document, descriptor)]
                else:
                    yield from self._image(descriptor, document)

    def _entries(self, index: Index, descriptor: Descriptor) -> list[Descriptor]:
        """Return the manifests of an index that are here; this host's if all of them were removed."""
        here = [entry for entry in index.manifests if present(self.node, entry.digest)]
        if not here:
            here = [index.select(host())]
            self.done.setdefault(Subject.blob(descriptor.digest), "the manifest for this host was fetched again")
        return here

    def _image(self, descriptor: Descriptor, manifest: Manifest) -> Iterator[Image]:
        with self._noting(Subject.blob(manifest.config.digest)):
            if manifest.config.media_type in mediatypes.CONFIGS:
                self._document("config", manifest.config)
            try:
                image = image_of(self.node.content, self.record.target, descriptor, manifest)
            except (InvalidError, UnsupportedError):
                self._artifact(manifest)
            else:
                yield image

    def _artifact(self, manifest: Manifest) -> None:
        """Bring the blobs in order of what is stored as it is."""
        for blob in children(manifest):
            name = Subject.blob(blob.digest)
            if name in self.damaged and name not in self.done:
                with self._noting(name):
                    self._quarantine(blob.digest, self.damaged[name].what)
                    self._blob(blob)

    def _document(self, kind: str, descriptor: Descriptor) -> bytes:
        """Return a document, fetched again if it is damaged or missing."""
        content = self.node.content
        try:
            return content.read(descriptor.digest)
        except (NotFoundError, MismatchError, ExhaustedError) as error:
            self._quarantine(descriptor.digest, str(error))
        raw = self._from_source(lambda source: fetch_document(source, content, kind, descriptor))
        self.done[Subject.blob(descriptor.digest)] = "fetched again"
        return raw

    def _layer(self, layer: Layer) -> None:
        """Bring a layer in order: its blob where that is needed or kept, then its diff blob where there was one."""
        blob, diff_id, content = layer.descriptor, layer.diff_id, self.node.content
        damaged = {digest for digest in (blob.digest, diff_id) if Subject.blob(digest) in self.damaged}
        for digest in damaged:
            self._quarantine(digest, self.damaged[Subject.blob(digest)].what)
        if not content.has(diff_id) or (blob.digest in damaged and self.node.settings.keep_blobs):
            self._blob(blob)
        elif blob.digest in damaged:
            self.done[Subject.blob(blob.digest)] = "not needed: its diff blob is here, and others are not kept"
        if diff_id in damaged and not content.has(diff_id):
            apply(content, layer, scans=self.node.scans, keep_blob=self.node.settings.keep_blobs)
            self.done[Subject.blob(diff_id)] = "decompressed again"

    def _blob(self, blob: Descriptor) -> None:
        """Fetch a layer's blob, unless it is here."""
        content = self.node.content
        if not content.has(blob.digest, blob.size):
            self._from_source(lambda source: refetch(source, self.node, blob, progress=self.progress))
            self.done[Subject.blob(blob.digest)] = "fetched again"

    def _snapshot(self, driver: Maintained, image: Image) -> None:
        """Bring the files of a driver in order, and note whose are new: those, and images over new diff blobs."""
        new = {layer.diff_id for layer in image.layers if Subject.blob(layer.diff_id) in self.damaged}
        chains = set(driver.built_of(new)) if new and driver.shows_layers else set()
        driver.detach(chains)
        chains.update(driver.renew(image.chain_id, self._aside, progress=self.progress))
        self.renewed.setdefault(driver.driver, set()).update(chains)

    def _quarantine(self, digest: Digest, why: str) -> None:
        self._aside(self.node.content.path(digest), why)

    def _aside(self, path: Path, why: str) -> None:
        """Move a file to quarantine, and note what it was known by."""
        if (inode := inode_of(path)) is not None:
            self.moved[inode] = path
        self.node.content.quarantine_area.take(path, why)

    def _from_source(self, fetch: Callable[[Fetcher], _T]) -> _T:
        """Fetch from the first place of the image, under whatever name, that has it.

        Raises:
            NotFoundError: none has, or none is recorded.
        """
        failures = []
        names = [self.record, *(record for record in self.node.images.every() if record.target == self.record.target)]
        for reference in dict.fromkeys(source for record in names for source in record.sources):
            try:
                return fetch(self.node.source(reference, self.credentials))
            except CancelledError:
                raise
            except PrestowError as error:
                failures.append(f"not from {reference}: {error}")
        why = "; ".join(failures) or "its source is not recorded"
        raise NotFoundError(f"cannot be re-fetched: {why}; pull it again with --name {self.record.name}")

    @contextmanager
    def _noting(self, *names: Subject) -> Iterator[None]:
        """Go on with the next thing if one cannot be made right, and note why."""
        try:
            yield
        except CancelledError:
            raise
        except PrestowError as error:
            for name in names:
                self.failed[name] = str(error)
