"""Layers of the store for podman: each a view of an image's chain ID, mounted where podman looks for files.

A view is a snapshot like any other: as long as there is one, the garbage collection keeps what it shows. Its key names
the layer. The mounts go with each boot, or with the file that a repair replaced; :func:`show` makes them again.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from prestow.digest import Digest
from prestow.errors import NotFoundError
from prestow.handover.podman.store import AdditionalStore
from prestow.oci.image import Image
from prestow.snapshots.mounts.mount import mount_all, unmount
from prestow.snapshots.mounts.mountinfo import mounted_at
from prestow.snapshots.snapshotter import Mount, Snapshotter

STEM = "podman."
"""Of the keys of all such views."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The layers of one store.

    Attributes:
        store: where they are mounted.
        snapshotters: opens those of our store, that may have views.
        chosen: opens the one that makes new views; that may take a trial.
    """

    store: AdditionalStore
    snapshotters: Callable[[], Sequence[Snapshotter]]
    chosen: Callable[[], Snapshotter]

    def show(self, image: Image) -> str:
        """Mount what an image shows, unless it is, and return its layer.

        Raises:
            PreconditionError: a layer's diff blob is not in our store.
            UnsupportedError: nothing can be mounted here.
            StorageError: the disk failed, or the kernel refuses the mount.
        """
        layer = layer_of(image.chain_id)
        if self._mounts(layer) is None:
            driver = self.chosen()
            driver.commit_layers(image)
            driver.view(f"{STEM}{layer}", image.chain_id)
        self.store.write_layer(layer)
        self.show_again(layer)
        return layer

    def show_again(self, layer: str) -> bool:
        """Mount a layer that has a view; False if it was mounted.

        Raises:
            NotFoundError: it has no view.
            PreconditionError: something else is mounted there, and in use.
            UnsupportedError: nothing can be mounted here.
            StorageError: as :meth:`show`.
        """
        mounts, place = self._mounts(layer), self.store.place(layer)
        if mounts is None:
            raise NotFoundError(f"layer {layer} of {self.store.root}: no snapshot shows it; hand its image over again")
        if _is_mounted(mounts, place):
            return False
        unmount(place)
        mount_all(mounts, place)
        return True

    def is_shown(self, layer: str) -> bool:
        """Whether a layer is mounted, as its files are now."""
        mounts = self._mounts(layer)
        return mounts is not None and _is_mounted(mounts, self.store.place(layer))

    def hide(self, layer: str) -> None:
        """Take a layer away: mount, view and directory; success if it is gone.

        Raises:
            PreconditionError: something in it is open.
            StorageError: the disk failed.
        """
        unmount(self.store.place(layer))
        for snapshotter in self.snapshotters():
            with suppress(NotFoundError):
                snapshotter.remove(f"{STEM}{layer}")
        self.store.remove_layer(layer)

    def _mounts(self, layer: str) -> tuple[Mount, ...] | None:
        """Return what shows a layer; None if it has no view."""
        for snapshotter in self.snapshotters():
            with suppress(NotFoundError):
                return snapshotter.mounts(f"{STEM}{layer}")
        return None


def layer_of(chain_id: Digest) -> str:
    """Return the layer that shows a chain ID; it is no digest of anything that an image may have."""
    return hashlib.sha256(f"prestow {chain_id}".encode()).hexdigest()


def _is_mounted(mounts: Sequence[Mount], place: Path) -> bool:
    """Whether a place shows what these mounts would: it may be an earlier file, or nothing since a reboot."""
    found = mounted_at(place)
    if not found or len(mounts) != 1:
        return False
    if mounts[0].type == "bind":
        with suppress(OSError):
            return os.path.samestat(place.stat(), Path(mounts[0].source).stat())
        return False
    return found[-1].type == mounts[0].type
