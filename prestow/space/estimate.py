"""Space: how much of a disk an image takes, and how much there is.

    needs     what a pull still takes = what is still to be fetched     the blobs, less what is here of them
                                      + what that decompresses to       the diff blobs that are missing
                                      + what the driver writes of it    erofs: one metadata image; others: every file
    of_tree   what a full copy takes, to the block

How large a layer is when it is decompressed stands nowhere before it is: a typical ratio must do.
"""

import os
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from prestow.content.disk import translated
from prestow.content.plan import Holdings
from prestow.content.refs import diff_ref, layer_ref
from prestow.digest import Digest
from prestow.layers.tree.inode import Inode, walk
from prestow.oci.image import AnyBlob, Image, Layer
from prestow.oci.mediatypes import layer_compression

RATIO = 2.5
"""Decompressed bytes for each compressed one: 1.8 to 2.6 in the images measured, 2.5 over all of them."""

_METADATA = 0.01  # of the decompressed bytes: 200 bytes an inode, 28,000 bytes an entry
_ENTRY = 24_000  # decompressed bytes, as a rule, for each entry of a tar
_BLOCK = 4096  # half of one is lost at the end of each file, on average
_UNCOUNTED = 1 << 62  # free bytes of a file system that says it has none at all: ramfs, a tmpfs without a limit
_INODES = 8  # of a layer's own: blobs, ingests and their folders


@dataclass(frozen=True, slots=True)
class Free:
    """What a file system has left for us; ``inodes`` is None where it does not count them."""

    bytes: int
    inodes: int | None


@dataclass(frozen=True)
class Needs:
    """What an image still takes of the disk, at its peak, in bytes.

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
        """Return the bytes if at most so many blobs are here at the same time."""
        return sum(self.blobs[:at_once]) + self.unpacked + self.files


def free_space(folder: Path) -> Free:
    """Ask the file system of a folder what is left, for who is not root.

    Raises:
        StorageError: it does not answer.
    """
    with translated(f"looking at the disk of {folder}"):
        found = os.statvfs(folder)
    size = found.f_bavail * found.f_frsize if found.f_blocks else _UNCOUNTED
    return Free(size, found.f_favail if found.f_files else None)


def needs(
    image: Image,
    content: Holdings,
    *,
    shows_layers: bool,
    unpacked: bool = False,
    keep_blobs: bool = True,
    counted: Collection[Digest] = (),
) -> Needs:
    """Estimate what a pull still takes.

    Args:
        image: the image.
        content: what is here of it.
        shows_layers: whether the snapshotter writes no files of them, as :class:`.snapshots.maintained.Maintained`.
        unpacked: whether the snapshotter has the image.
        keep_blobs: whether blobs are wanted of layers whose diff blob is here.
        counted: diff IDs of layers that other processes make.
    """
    layers = {layer.descriptor.digest: layer for layer in image.layers}.values()
    to_make = [layer for layer in layers if layer.diff_id not in counted]
    fetched = [missing_blob(layer, content, keep_blobs=keep_blobs) for layer in to_make]
    missing = [_missing_diff(layer, content) for layer in to_make]
    written = 0 if unpacked else sum(_size(layer) for layer in layers)
    copied = not (shows_layers or unpacked)
    files, entries = _files(written, len(layers)) if copied else (int(written * _METADATA), 0)
    touched = sum(1 for blob, diff in zip(fetched, missing, strict=True) if blob or diff)
    return Needs(
        blobs=tuple(sorted(filter(None, fetched), reverse=True)),
        unpacked=sum(missing),
        files=files,
        inodes=touched * _INODES + entries,
    )


def missing_blob(blob: AnyBlob, content: Holdings, *, keep_blobs: bool) -> int:
    """Return the bytes of a blob that are still to be fetched; 0 if it is not needed any more."""
    if not keep_blobs and isinstance(blob, Layer) and content.has(blob.diff_id):
        return 0
    return _missing(blob, content)


def of_blobs(blobs: Collection[AnyBlob], content: Holdings) -> Needs:
    """Return what blobs that are only stored still take."""
    missing = [_missing(blob, content) for blob in blobs]
    return Needs(tuple(sorted(filter(None, missing), reverse=True)), 0, 0, _INODES * sum(map(bool, missing)))


def of_root(image: Image) -> Needs:
    """Estimate what a container's own copy of an image takes, for drivers that make one."""
    layers = {layer.descriptor.digest: layer for layer in image.layers}.values()
    files, entries = _files(sum(_size(layer) for layer in layers), len(layers))
    return Needs((), 0, files, entries)


def of_tree(root: Inode) -> Needs:
    """Return what a full copy of a tree takes: its data to the block, and each of its inodes."""
    inodes = {id(inode): inode for _, inode in walk(root)}.values()
    data = sum(-extent.length % _BLOCK + extent.length for inode in inodes for extent in inode.extents)
    folders = sum(inode.children is not None for inode in inodes)
    return Needs((), 0, data + folders * _BLOCK, len(inodes))


def _files(written: int, layers: int) -> tuple[int, int]:
    """Estimate bytes and number of the files that are in so many bytes of tars."""
    entries = written // _ENTRY + layers
    return written + entries * _BLOCK // 2, entries


def _size(layer: Layer) -> int:
    """Return the bytes of a layer's tar, as far as they can be known."""
    compressed = layer_compression(layer.descriptor.media_type) != "none"
    return int(layer.descriptor.size * (RATIO if compressed else 1))


def _missing(blob: AnyBlob, content: Holdings) -> int:
    digest, size = blob.descriptor.digest, blob.descriptor.size
    return 0 if content.has(digest, size) else max(0, size - _offset(content, layer_ref(digest)))


def _missing_diff(layer: Layer, content: Holdings) -> int:
    if layer.diff_id == layer.descriptor.digest or content.has(layer.diff_id):
        return 0
    return max(0, _size(layer) - _offset(content, diff_ref(layer.diff_id)))


def _offset(content: Holdings, ref: str) -> int:
    status = content.status(ref)
    return 0 if status is None else status.offset
