"""Make the layers of an image committed snapshots of containerd, each chain ID on the one below.

    linked     layer.erofs  = link to the diff blob        fsmeta.erofs = link to the metadata image of the chain ID
    applied    Prepare ─▶ Diff.Apply ─▶ Commit, by containerd itself

A container on a linked chain ID mounts ``fsmeta.erofs``, whose devices are the ``layer.erofs`` of it and of all below:
that is how our own driver mounts it, so nothing is copied, and containerd goes on without us.
"""

import fcntl
import os
import struct
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from prestow.content.disk import sync_folder, translated
from prestow.content.store import Progress
from prestow.digest import Digest
from prestow.errors import (
    AlreadyExistsError,
    MismatchError,
    NotFoundError,
    PreconditionError,
    PrestowError,
    RuntimeFailedError,
)
from prestow.handover.containerd.client import Client
from prestow.handover.containerd.content import Blobstore, unpacked_layer
from prestow.handover.runtime import unheard
from prestow.oci.image import Image, Layer

_GETFLAGS, _IMMUTABLE = 0x80086601, 0x10  # FS_IOC_GETFLAGS and FS_IMMUTABLE_FL, linux/fs.h
_MARK = ".erofslayer"
_AT_ONCE = 4
"""Layers that containerd applies at the same time."""


class Files(Protocol):
    """Our snapshotter, as far as links to its files are concerned."""

    def image_files(self, chain_ids: Sequence[Digest]) -> list[tuple[Path, ...]]:
        """Return for chain IDs on each other, lowest first, the metadata image, and then its devices.

        Those are the diff blobs, lowest first, and then a side file, if there is one.

        Raises:
            PrestowError: they cannot be made.
        """


class NotLinkableError(Exception):
    """A chain ID cannot be linked there; the text says why. Nothing of it is left."""


@dataclass(frozen=True, slots=True)
class Snapshots:
    """A snapshotter of containerd.

    Attributes:
        client: containerd.
        snapshotter: its name.
        unique: begins the keys of what is made, which no other process has.
        progress: is told of the compressed bytes of each layer that is there.
    """

    client: Client
    snapshotter: str
    unique: str = ""
    progress: Progress = unheard

    def has(self, chain_id: Digest) -> bool:
        """Whether a chain ID is committed."""
        return self.client.find("Snapshots.Stat", snapshotter=self.snapshotter, key=chain_id) is not None

    def link(self, image: Image, files: Files) -> None:
        """Commit all chain IDs of an image as links to our files.

        Raises:
            NotLinkableError: containerd has to apply them itself.
        """
        missing = self._missing(image)
        try:
            found = files.image_files([layer.chain_id for layer in missing]) if missing else []
        except (NotFoundError, PreconditionError) as error:
            raise NotLinkableError("it is not unpacked in the store") from error
        if any(len(devices) != layer.position + 1 for layer, (_, *devices) in zip(missing, found, strict=True)):
            raise NotLinkableError("some of its files are kept aside of the layers, where containerd does not look")
        parents = _parents(image)
        for layer, (metadata, *devices) in zip(missing, found, strict=True):
            self._link(layer, parents[layer], {"layer.erofs": devices[layer.position], "fsmeta.erofs": metadata})
            self.progress(layer.descriptor.size)

    def _missing(self, image: Image) -> list[Layer]:
        """Return the layers that are not there, and tell of the others."""
        missing = [layer for layer in image.layers if not self.has(layer.chain_id)]
        self.progress(sum(layer.descriptor.size for layer in image.layers if layer not in missing))
        return missing

    def _link(self, layer: Layer, parent: str, sources: Mapping[str, Path]) -> None:
        key, mounts = self._prepare(layer.chain_id, parent)
        try:
            folder = _folder_of(mounts)
            for name, source in sources.items():
                _link(source, folder / name)
            with translated(f"syncing {folder}"):  # containerd's row is durable, links are not yet
                sync_folder(folder)
            self._commit(layer.chain_id, key, parent)
        except BaseException:
            self._remove(key)
            raise
        if _is_immutable(sources["layer.erofs"]):
            self._remove(layer.chain_id)
            raise NotLinkableError("its erofs snapshotter makes layers immutable (set_immutable), and so ours")

    def apply(self, image: Image, content: Blobstore, *, rebasing: bool) -> None:
        """Let containerd apply what it lacks of an image.

        Args:
            image: the image.
            content: containerd's content store.
            rebasing: whether the snapshotter takes the parent of a layer as late as at its commit; then layers are
                applied at the same time.

        Raises:
            MismatchError: what it unpacked is not the layer.
        """
        missing, parents = self._missing(image), _parents(image)
        if not (rebasing and len(missing) > 1):
            for layer in missing:
                key = self._unpack(layer, parents[layer], content)
                self._commit_or_remove(layer, key, parents[layer])
            return
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            unpacked = [pool.submit(copy_context().run, self._unpack, layer, "", content) for layer in missing]
        failed = next((error for each in unpacked if (error := each.exception()) is not None), None)
        if failed is not None:
            for each in unpacked:
                if each.exception() is None:
                    self._remove(each.result())
            raise failed
        for layer, each in zip(missing, unpacked, strict=True):
            self._commit_or_remove(layer, each.result(), parents[layer])

    def _unpack(self, layer: Layer, parent: str, content: Blobstore) -> str:
        """Apply a layer to a new active snapshot, and return its key."""
        descriptor = unpacked_layer(content, layer)
        key, mounts = self._prepare(layer.chain_id, parent)
        if not parent and layer.position:
            mounts = [_as_upper_layer(mount) for mount in mounts]
        try:
            applied = self.client.call("Diff.Apply", seconds=None, diff=descriptor, mounts=mounts).applied
            if applied.digest != layer.diff_id:
                raise MismatchError(  # noqa: TRY301 - the snapshot is removed for it as for any other
                    f"layer {layer.descriptor.digest.short}: containerd unpacked {applied.digest}, expected "
                    f"{layer.diff_id}; run `prestow fsck --repair`, and hand the image over again"
                )
        except BaseException:
            self._remove(key)
            raise
        self.progress(layer.descriptor.size)
        return key

    def _commit_or_remove(self, layer: Layer, key: str, parent: str) -> None:
        try:
            self._commit(layer.chain_id, key, parent)
        except BaseException:
            self._remove(key)
            raise

    def _prepare(self, chain_id: Digest, parent: str) -> tuple[str, Any]:
        key = f"{self.unique} {chain_id}"
        prepared = self.client.call("Snapshots.Prepare", snapshotter=self.snapshotter, key=key, parent=parent)
        return key, prepared.mounts

    def _commit(self, chain_id: Digest, key: str, parent: str) -> None:
        try:
            self.client.call("Snapshots.Commit", snapshotter=self.snapshotter, name=chain_id, key=key, parent=parent)
        except AlreadyExistsError:  # another process was quicker
            self._remove(key)

    def _remove(self, key: str) -> None:
        with suppress(PrestowError):  # else it goes with the lease
            self.client.call("Snapshots.Remove", snapshotter=self.snapshotter, key=key)


def _parents(image: Image) -> dict[Layer, str]:
    """Return the chain ID on which each layer is committed; empty for the lowest."""
    return dict(zip(image.layers, ("", *(layer.chain_id for layer in image.layers)), strict=False))


def _as_upper_layer(mount: Any) -> Any:
    """Return the mount of a layer without its parent so that containerd writes whiteouts as overlayfs has them.

    It sees from the kind of mount how to write them, and a layer without a parent is a bind mount (containerd#13030).
    """
    if mount.type != "bind":
        return mount
    options = [option for option in mount.options if option != "rbind"]
    return {"type": "overlay", "source": "overlay", "options": [*options, f"upperdir={mount.source}"]}


def _folder_of(mounts: Any) -> Path:
    """Return the folder of a prepared snapshot: ``fs`` in it is what is mounted, or the upper layer of that."""
    last = mounts[-1]
    upper = next((each[9:] for each in last.options if each.startswith("upperdir=")), last.source)
    folder = Path(upper).parent
    if not (folder / _MARK).exists():
        raise RuntimeFailedError(f"containerd: its erofs snapshotter prepared {folder} without {_MARK}")
    return folder


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as error:  # links there are not possible, or there are too many
        raise NotLinkableError(f"its directory takes no links to files of the store ({error.strerror})") from error


def _is_immutable(path: Path) -> bool:
    """Whether the file may no longer be renamed, removed or linked."""
    with translated(f"reading {path}"), path.open("rb") as file:
        try:
            flags = fcntl.ioctl(file, _GETFLAGS, bytes(8))
        except OSError:  # a file system without such flags
            return False
    return bool(struct.unpack("l", flags)[0] & _IMMUTABLE)
