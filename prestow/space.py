"""Space: whether an image fits on the store's disk, asked before anything of it is fetched.

    needed = what is still to be fetched                      the blobs, less what is here of them
           + what that decompresses to                        the diff blobs that are missing
           + what the driver writes of it                     erofs: one metadata image; others: every file once more
    free   = what the file system has, less ``min_free_bytes``

How large a layer is when it is decompressed stands nowhere before it is: a typical ratio must do. Where blobs do not
stay (``keep_blobs = false``), only those count that are on their way at the same time, and if the disk is too small
for many, they come one after the other.
"""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from prestow.content.disk import translated
from prestow.content.store import Status
from prestow.digest import Digest
from prestow.errors import ExhaustedError
from prestow.layers.apply import diff_ref
from prestow.layers.limits import Budget
from prestow.node import Node
from prestow.oci.image import Image, Layer
from prestow.oci.mediatypes import layer_compression
from prestow.plan import layer_ref

RATIO = 2.5
"""Decompressed bytes for each compressed one: 1.8 to 2.6 in the images measured, 2.5 over all of them."""

_METADATA = 0.01  # of the decompressed bytes: 200 bytes an inode, 28,000 bytes an entry
_ENTRY = 24_000  # decompressed bytes, as a rule, for each entry of a tar
_BLOCK = 4096 // 2  # lost at the end of each file, on average
_INODES = 8  # of a layer's own: blobs, ingests and their folders
_MIB = 1 << 20


class Holdings(Protocol):
    """What is asked of a content store."""

    def has(self, digest: Digest, size: int | None = None) -> bool:
        """Tell whether a blob is here, whole."""

    def status(self, ref: str) -> Status | None:
        """Tell how far an ingest is."""


@dataclass(frozen=True, slots=True)
class Free:
    """What a file system has left for us; ``inodes`` is None where it does not count them."""

    bytes: int
    inodes: int | None


@dataclass(frozen=True)
class Needs:
    """What a pull of an image still takes of the disk, at its peak, in bytes.

    Attributes:
        blobs: for each layer that is to be fetched, what is missing of it, the largest first.
        unpacked: of the missing diff blobs.
        files: of what the driver writes.
        inodes: files and folders, of all of these.
    """

    blobs: tuple[int, ...]
    unpacked: int
    files: int
    inodes: int

    @cached_property
    def bytes(self) -> int:
        """All of it, if every blob stays."""
        return self.at_most(len(self.blobs))

    def at_most(self, at_once: int) -> int:
        """Give the bytes if at most so many blobs are here at the same time."""
        return sum(self.blobs[:at_once]) + self.unpacked + self.files


def free_space(folder: Path) -> Free:
    """Ask the file system of a folder what is left, for who is not root.

    Raises:
        StorageError: it does not answer.
    """
    with translated(f"looking at the disk of {folder}"):
        found = os.statvfs(folder)
    return Free(found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None)


def needs(image: Image, content: Holdings, *, driver: str, unpacked: bool = False, keep_blobs: bool = True) -> Needs:
    """Estimate what a pull still takes.

    Args:
        image: the image.
        content: what is here of it.
        driver: the snapshotter.
        unpacked: whether that has the image.
        keep_blobs: whether blobs are wanted of layers whose diff blob is here.
    """
    layers = {layer.descriptor.digest: layer for layer in image.layers}.values()
    fetched = [_missing_blob(layer, content, keep_blobs=keep_blobs) for layer in layers]
    missing = [_missing_diff(layer, content) for layer in layers]
    written = 0 if unpacked else sum(_size(layer) for layer in layers)
    entries = written // _ENTRY + len(layers)
    copied = driver != "erofs" and not unpacked
    metadata = int(written * _METADATA)
    touched = sum(1 for blob, diff in zip(fetched, missing, strict=True) if blob or diff)
    return Needs(
        blobs=tuple(sorted(filter(None, fetched), reverse=True)),
        unpacked=sum(missing),
        files=written + entries * _BLOCK if copied else metadata,
        inodes=touched * _INODES + (entries if copied else 0),
    )


def _size(layer: Layer) -> int:
    """Give the bytes of a layer's tar, as far as they can be known."""
    compressed = layer_compression(layer.descriptor.media_type) != "none"
    return int(layer.descriptor.size * (RATIO if compressed else 1))


def _missing_blob(layer: Layer, content: Holdings, *, keep_blobs: bool) -> int:
    digest, size = layer.descriptor.digest, layer.descriptor.size
    if content.has(digest, size) or (not keep_blobs and content.has(layer.diff_id)):
        return 0
    return max(0, size - _offset(content, layer_ref(layer)))


def _missing_diff(layer: Layer, content: Holdings) -> int:
    if layer.diff_id == layer.descriptor.digest or content.has(layer.diff_id):
        return 0
    return max(0, _size(layer) - _offset(content, diff_ref(layer)))


def _offset(content: Holdings, ref: str) -> int:
    status = content.status(ref)
    return 0 if status is None else status.offset


def admit(node: Node, image: Image, driver: str = "auto") -> int:
    """Make sure that an image will fit, and tell how many of its layers may be fetched at the same time.

    From then on the image's layers share ``max_image_bytes`` among them, in this process.

    Raises:
        ExhaustedError: it will not fit, with the figures and what to do; or what is known of it is beyond that limit.
    """
    _limit(node, image)
    settings, snapshotter = node.settings, node.snapshotter(driver)
    found = needs(
        image,
        node.content,
        driver=snapshotter.driver,
        unpacked=snapshotter.committed(image.chain_id),
        keep_blobs=settings.keep_blobs,
    )
    if not settings.check_space:
        return len(image.layers)
    at_once = _at_once(found, free_space(node.home), settings.min_free_bytes, keep_blobs=settings.keep_blobs)
    if at_once is None:
        raise ExhaustedError(_refusal(node, image, found))
    return at_once


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


def _at_once(found: Needs, free: Free, reserve: int, *, keep_blobs: bool) -> int | None:
    """Give how many layers may be on their way at once; None if the image does not fit at all."""
    if free.inodes is not None and found.inodes > free.inodes:
        return None
    most = max(1, len(found.blobs))
    for at_once in (most,) if keep_blobs else range(most, 0, -1):
        if found.at_most(at_once) == 0 or found.at_most(at_once) <= free.bytes - reserve:
            return at_once
    return None


def _refusal(node: Node, image: Image, found: Needs) -> str:
    """Say what does not fit, and what to do."""
    settings, free = node.settings, free_space(node.home)
    kept = settings.keep_blobs
    needed = found.bytes if kept else found.at_most(1)
    dropping = f"keep_blobs = false (then about {_mib(found.at_most(1))})" if kept and len(found.blobs) else ""
    ways = ["`prestow prune`", dropping, "another store (--home)", "a smaller min_free_bytes", "check_space = false"]
    return (
        f"image {image.manifest.digest.short} does not fit on the disk of {node.home}: it needs about "
        f"{_mib(needed)} and {found.inodes} inodes ({_parts(found, needed)}); free are {_mib(free.bytes)}, of which "
        f"{_mib(settings.min_free_bytes)} are to stay (min_free_bytes), and {_inodes(free)} inodes; "
        f"what helps: {', '.join(filter(None, ways))}"
    )


def _parts(found: Needs, needed: int) -> str:
    fetched = needed - found.unpacked - found.files
    return f"{_mib(fetched)} fetched, {_mib(found.unpacked)} unpacked, {_mib(found.files)} of snapshots"


def _mib(count: int) -> str:
    return f"{count / _MIB:.1f} MiB"


def _inodes(free: Free) -> str:
    return "any number of" if free.inodes is None else str(free.inodes)
