"""Admission: whether what is asked for fits on the disk, answered before anything of it is written.

    room = what the file system has, less ``min_free_bytes``, less what others have announced and not written yet

Who is admitted announces the image under the lease of the work, in the transaction in which the disk was looked at: of
two that fit only one by one, the second is refused. What an announced image still takes is worked out anew each time
from what is here of it by then, so no books are kept; it counts as long as the process works that announced it.

Where blobs do not stay (``keep_blobs = false``), only those count that are on their way at the same time, and if the
disk is too small for many, they come one after the other.
"""

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from prestow.content.disk import translated
from prestow.digest import Digest
from prestow.errors import ExhaustedError, PrestowError
from prestow.layers.limits import Budget
from prestow.layers.tree.inode import Inode
from prestow.metadata.leases import Announcement
from prestow.oci.artifact import Artifact
from prestow.oci.image import Image
from prestow.oci.lookup import find_artifact, find_image
from prestow.platforms import platform_or_host
from prestow.snapshots.maintained import Maintained
from prestow.space.estimate import Free, Needs, free_space, needs, of_blobs, of_root, of_tree
from prestow.store.node import Node

_MIB = 1 << 20
_NOT_UNPACKED = ""  # instead of a snapshotter, where an announcement is of an artifact


@dataclass(frozen=True, slots=True)
class _Room:
    """A disk: what is free of it, what is to stay free, and what others will take."""

    folder: Path
    free: Free
    reserve: int
    announced: tuple[int, int] = (0, 0)

    def fits(self, size: int, inodes: int) -> bool:
        """Return whether so much more can be written."""
        if inodes and self.free.inodes is not None and inodes > self.free.inodes - self.announced[1]:
            return False
        return size == 0 or size <= self.free.bytes - self.reserve - self.announced[0]

    def __str__(self) -> str:
        """Return the figures."""
        size, inodes = self.announced
        others = f" and which others will take {_mib(size)} and {inodes} inodes of" if size or inodes else ""
        count = "any number of" if self.free.inodes is None else str(self.free.inodes)
        return (
            f"free are {_mib(self.free.bytes)}, of which {_mib(self.reserve)} are to stay (min_free_bytes), "
            f"and {count} inodes{others}"
        )


@dataclass(frozen=True, slots=True)
class Outlook:
    """The space of a pull that has not begun.

    Attributes:
        needed: bytes that it takes at its peak, an estimate.
        free: bytes that it may take: without ``min_free_bytes``, and without what others have announced.
        fits: whether :func:`admit` would let it begin now.
    """

    needed: int
    free: int
    fits: bool


def outlook(node: Node, image: Image | Artifact, driver: str = "auto") -> Outlook:
    """Estimate the space that a pull takes, and announce nothing.

    Raises:
        UnsupportedError: the snapshotter does not work here.
    """
    keep_blobs = node.settings.keep_blobs or isinstance(image, Artifact)
    if isinstance(image, Artifact):
        found, announced = of_blobs(image.blobs, node.content), announced_space(node)
    else:
        found, announced = needs_of(node, image, node.snapshotter(driver)), announced_space(node, "", image)
    room = _Room(node.home, free_space(node.home), node.settings.min_free_bytes, announced)
    at_once = _at_once(found, room, keep_blobs=keep_blobs)
    return Outlook(
        found.at_most(at_once or (len(found.blobs) if keep_blobs else 1)),
        max(0, room.free.bytes - room.reserve - room.announced[0]),
        fits=at_once is not None or not node.settings.check_space,
    )


def admit(node: Node, lease: str, image: Image | Artifact, driver: str = "auto", *, root: bool = False) -> int:
    """Make sure that an image will fit, and tell how many of its layers may be fetched at the same time.

    From then on the image's layers share ``max_image_bytes`` among them, in this process.

    Args:
        node: the store.
        lease: under which the image is pulled or unpacked.
        image: the image; an artifact is only stored.
        driver: the snapshotter.
        root: whether a container's own root will be made of it, too.

    Raises:
        ExhaustedError: it will not fit, with the figures and what to do; or what is known of it is beyond that limit.
    """
    if isinstance(image, Artifact):
        return _admit_artifact(node, lease, image)
    _limit(node, image)
    settings, snapshotter = node.settings, node.snapshotter(driver)
    if not settings.check_space:
        return len(image.layers)
    with node.database.transaction():
        found = needs_of(node, image, snapshotter)
        if root and snapshotter.copies:
            found = _sum(found, of_root(image))
        room = _Room(node.home, free_space(node.home), settings.min_free_bytes, announced_space(node, lease, image))
        at_once = _at_once(found, room, keep_blobs=settings.keep_blobs)
        if at_once is None:
            raise ExhaustedError(_refusal(image, found, room, keep_blobs=settings.keep_blobs))
        if found.bytes:
            node.leases.announce(lease, Announcement(image.manifest, snapshotter.driver, at_once))
    return at_once


def _admit_artifact(node: Node, lease: str, artifact: Artifact) -> int:
    """Make sure that an artifact will fit, and return how many of its blobs may be fetched at the same time."""
    settings = node.settings
    if settings.check_space:
        with node.database.transaction():
            found = of_blobs(artifact.blobs, node.content)
            room = _Room(node.home, free_space(node.home), settings.min_free_bytes, announced_space(node, lease))
            if not room.fits(found.bytes, found.inodes):
                raise ExhaustedError(_refusal(artifact, found, room, keep_blobs=True))
            if found.bytes:
                node.leases.announce(lease, Announcement(artifact.target, _NOT_UNPACKED, len(found.blobs)))
    return len(artifact.blobs)


def admit_copy(node: Node, tree: Inode, folder: Path) -> None:
    """Make sure that a full copy of an image will fit where a folder is, or will be.

    Raises:
        ExhaustedError: it will not, with the figures and what to do.
    """
    if not node.settings.check_space:
        return
    disk = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    with translated(f"looking at {disk}"):
        ours = disk.stat().st_dev == node.home.stat().st_dev
    found = of_tree(tree)
    room = _Room(disk, free_space(disk), node.settings.min_free_bytes, announced_space(node) if ours else (0, 0))
    if not room.fits(found.bytes, found.inodes):
        raise ExhaustedError(
            f"a copy of the image does not fit on the disk of {folder}: it needs {_mib(found.bytes)} and "
            f"{found.inodes} inodes; {room}; what helps: `prestow prune`, a directory on another disk, "
            "a bundle without --copy, a smaller min_free_bytes, check_space = false"
        )


def _limit(node: Node, image: Image) -> None:
    """Let the layers that are still to be decompressed share what those that are here leave of the limit."""
    content, budget = node.content, Budget(node.settings.max_image_bytes)
    missing = {layer.diff_id for layer in image.layers if not content.has(layer.diff_id)}
    for layer in image.layers if missing else ():
        if layer.diff_id not in missing:
            budget.spend(layer.diff_id, content.info(layer.diff_id).size)
        elif layer.diff_id == layer.descriptor.digest:
            budget.spend(layer.diff_id, layer.descriptor.size)
    node.scans.share(missing, budget)


def needs_of(node: Node, image: Image, snapshotter: Maintained, counted: Collection[Digest] = ()) -> Needs:
    """Estimate what an image takes in a store, but for the layers that are ``counted`` elsewhere."""
    return needs(
        image,
        node.content,
        shows_layers=snapshotter.shows_layers,
        unpacked=snapshotter.committed(image.chain_id),
        keep_blobs=node.settings.keep_blobs,
        counted=counted,
    )


def _sum(found: Needs, more: Needs) -> Needs:
    return replace(found, files=found.files + more.files, inodes=found.inodes + more.inodes)


def announced_space(node: Node, lease: str = "", image: Image | None = None) -> tuple[int, int]:
    """Return the bytes and inodes that others still take, but for the layers that they share with an image."""
    size = inodes = 0
    counted = {layer.diff_id for layer in image.layers} if image is not None else set()
    for announced, other in _others(node, lease):
        if isinstance(other, Artifact):
            found = of_blobs(other.blobs, node.content)
        else:
            snapshotter = next(found for found in node.snapshotters if found.driver == announced.driver)
            found = needs_of(node, other, snapshotter, counted)
            counted |= {layer.diff_id for layer in other.layers}
        size, inodes = size + found.at_most(announced.at_once), inodes + found.inodes
    return size, inodes


def _others(node: Node, lease: str) -> Iterator[tuple[Announcement, Image | Artifact]]:
    """Yield what others make, once each; what is not readable any more is not being made."""
    seen: set[tuple[Digest, str]] = set()
    for announced in node.leases.announced(besides=lease):
        with suppress(PrestowError):
            image: Image | Artifact
            if announced.driver == _NOT_UNPACKED:
                image = find_artifact(node.content, announced.manifest)
                identity = image.target.digest
            else:
                image = find_image(node.content, announced.manifest, platform_or_host(None))
                identity = image.chain_id
            if (identity, announced.driver) not in seen:
                seen.add((identity, announced.driver))
                yield announced, image


def _at_once(found: Needs, room: _Room, *, keep_blobs: bool) -> int | None:
    """Return how many layers may be on their way at once; None if the image does not fit at all."""
    most = max(1, len(found.blobs))
    for at_once in (most,) if keep_blobs else range(most, 0, -1):
        if room.fits(found.at_most(at_once), found.inodes):
            return at_once
    return None


def _refusal(image: Image | Artifact, found: Needs, room: _Room, *, keep_blobs: bool) -> str:
    """Say what does not fit, and what to do."""
    needed = found.bytes if keep_blobs else found.at_most(1)
    fetched = needed - found.unpacked - found.files
    unpacks = not isinstance(image, Artifact)
    document = image.target if isinstance(image, Artifact) else image.manifest
    ways = (
        "waiting until the others have ended" if any(room.announced) else "",
        "`prestow prune` (--unfinished: what broken off pulls left, too)",
        f"keep_blobs = false (then about {_mib(found.at_most(1))})" if unpacks and found.at_most(1) < needed else "",
        "another store (--home)",
        "a smaller min_free_bytes",
        "check_space = false",
    )
    return (
        f"image {document.digest.short} does not fit on the disk of {room.folder}: it needs about "
        f"{_mib(needed)} and {found.inodes} inodes ({_mib(fetched)} fetched, {_mib(found.unpacked)} unpacked, "
        f"{_mib(found.files)} of snapshots); {room}; what helps: {', '.join(filter(None, ways))}"
    )


def _mib(count: int) -> str:
    return f"{count / _MIB:.1f} MiB"
