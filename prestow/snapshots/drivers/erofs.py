"""The erofs driver: layers are never extracted; a metadata image of the merged tree points into their tars.

    erofs/<hex>.erofs   metadata image of a chain ID: made from the diff blobs, always the same bytes
    erofs/<hex>.side    data that cannot stay in a tar; seldom there, and there before the image
    erofs/.mounts/<hex> where it is mounted for all (see :mod:`..mounts.shared`)
    erofs/<id>/fs,work  what a container writes, by overlayfs on top of that mount

A chain ID's image stands for the whole chain, so lower ones have rows only, and get an image when they are first used.
A committed snapshot that a container wrote is its folder, stacked between the mount and the next one.
"""

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from prestow.content.disk import translated
from prestow.content.store import Progress
from prestow.digest import ALGORITHMS, Digest
from prestow.errors import InvalidError, PreconditionError
from prestow.layers.erofs.image import MetadataImage, encode
from prestow.layers.tree.inode import Inode
from prestow.snapshots.chain import Chain
from prestow.snapshots.compare.metadata_image import image_damage, side_damage
from prestow.snapshots.damage import Damage
from prestow.snapshots.drivers import trial
from prestow.snapshots.drivers.driver import Driver
from prestow.snapshots.drivers.unpacked import Made
from prestow.snapshots.mounts.mount import unmount
from prestow.snapshots.mounts.shared import BLOCK_BITS, device_blocks, ensure_mounted, mount_image
from prestow.snapshots.mounts.users import users_of
from prestow.snapshots.snapshotter import Info

_IMAGE, _SIDE = ".erofs", ".side"


class ErofsSnapshotter(Driver):
    """Implements :class:`prestow.snapshots.snapshotter.Snapshotter` without extracting anything."""

    driver = "erofs"
    shows_layers = True

    @staticmethod
    def attempt(folder: Path) -> None:
        """Mount a metadata image, and an overlay on it."""
        trial.need_root()
        data, _ = trial.write_tar(folder)
        with (folder / "image").open("xb") as file:
            encode(trial.trial_tree(), trial.SIZES).write(file)
        (folder / "lower").mkdir()
        mount_image(folder / "image", [folder / "tar"], folder / "lower")
        trial.use_overlaid(folder, [folder / "lower"], data)

    def _file(self, chain_id: str, suffix: str) -> Path:
        return self._folders.root / _name(chain_id, suffix)

    def _names(self, info: Info) -> list[str]:
        if info.diff_id is None:
            return super()._names(info)
        return [_name(info.key, suffix) for suffix in (_IMAGE, _SIDE)]

    def _has(self, info: Info) -> bool:
        """Whether the image is there and the files that it points into have the sizes that it was made for."""
        image = self._file(info.key, _IMAGE)
        try:
            if not image.exists():
                return False
            blocks = device_blocks(image)
        except InvalidError:
            return False
        devices = self._devices(Chain.of_line(self._catalog.line(info.key)))
        return blocks == [device.lstat().st_size >> BLOCK_BITS if device.exists() else -1 for device in devices]

    def _devices(self, chain: Chain) -> list[Path]:
        """Return the files that a chain's image points into, in their order."""
        side = self._file(chain.chain_id, _SIDE)
        return [*(self._content.path(diff_id) for diff_id in chain.diff_ids), *([side] if side.exists() else [])]

    def image_files(self, chain_ids: Sequence[Digest]) -> list[tuple[Path, ...]]:
        """Return for chain IDs on each other, lowest first, the metadata image, and the files that it points into.

        Those are the diff blobs of the layers, lowest first, and then a side file, if there is one. Images that are
        not there are made, in one pass over the layers.

        Raises:
            NotFoundError: no such chain ID.
            PreconditionError: a layer's diff blob is not in the content store.
        """
        whole = Chain.of_line(self._catalog.line(chain_ids[-1]))
        chains = [whole.up_to(height) for height in range(1, len(whole.links) + 1)]
        wanted = [chain for chain in chains if chain.chain_id in chain_ids]
        self._materialise(whole, [chain.links[-1] for chain in wanted])
        return [(self._file(chain.chain_id, _IMAGE), *self._devices(chain)) for chain in wanted]

    def _make(self, chain: Chain, wanted: Collection[Digest], staged: Path) -> list[Made]:
        heights = [height for height, link in enumerate(chain.links, start=1) if link.chain_id in wanted]
        sizes, made = self._sizes(chain), list[Made]()
        with translated(f"making the metadata image of {chain.chain_id.short}"):
            for height, tree in enumerate(chain.up_to(heights[-1]).trees(self._scan), start=1):
                if height in heights:
                    made += self._encode(chain.up_to(height), encode(tree, sizes[:height]), staged)
        return made

    def _encode(self, chain: Chain, image: MetadataImage, staged: Path) -> Iterator[Made]:
        """Write the files of one chain ID."""
        side, metadata = _name(chain.chain_id, _SIDE), _name(chain.chain_id, _IMAGE)
        if image.side_size:
            with (staged / side).open("xb") as file:
                image.write_side(file, chain.opener(self._content))
                self._sync(file)
            yield Made(chain.chain_id, staged / side, side)
        with (staged / metadata).open("xb") as file:
            image.write(file)
            self._sync(file)
        yield Made(chain.chain_id, staged / metadata, metadata)

    def _sizes(self, chain: Chain) -> list[int]:
        return [self._content.path(diff_id).stat().st_size for diff_id in chain.diff_ids]

    def _damage(self, chain: Chain, lower: Inode | None, tree: Inode, progress: Progress | None) -> Iterator[Damage]:  # noqa: ARG002
        image = encode(tree, self._sizes(chain))
        yield from image_damage(image, self._file(chain.chain_id, _IMAGE), progress)
        yield from side_damage(image, self._file(chain.chain_id, _SIDE), chain.opener(self._content), progress)

    def _sync(self, file: BinaryIO) -> None:
        file.flush()
        if self._folders.durable:
            os.fsync(file.fileno())

    def _stack(self, line: Sequence[Info]) -> list[Path]:
        written = [info for info in line if info.diff_id is None]
        base = [self._folders.mount_point(info.key) for info in line[len(written) :][:1]]
        return [*(self._folders.fs(info.id) for info in written), *base]

    def _ensure(self, line: Sequence[Info]) -> list[Path]:
        stack = super()._ensure(line)
        with self._folders.lock():
            self._mount(line)
        return stack

    def _fill(self, folder: Path, line: Sequence[Info]) -> None:
        with self._folders.lock():  # as long as no row tells of the new snapshot, others may take the mount down
            self._mount(line)
            super()._fill(folder, line)

    def _mount(self, line: Sequence[Info]) -> None:
        if any(info.diff_id for info in line):
            chain = Chain.of_line(line)
            target = self._folders.mount_point(chain.chain_id)
            ensure_mounted(self._file(chain.chain_id, _IMAGE), self._devices(chain), target)

    def remove(self, key: str) -> None:
        """Remove a snapshot, then take down the mount that it stood on, if no other snapshot needs it."""
        base = next((info.key for info in self._catalog.line(key) if info.diff_id is not None), None)
        super().remove(key)
        if base is not None and (place := self._folders.mount_point(base)).exists():
            # looked at again under the lock: another process may have taken it down meanwhile
            self._settle(lambda: self._unneeded([place] if place.exists() else []))

    def seems_untidy(self, *, whole: bool = False) -> bool:
        """Whether crashes may have left something, a shared mount for example."""
        return bool(self._unneeded(self._folders.mount_points())) or super().seems_untidy(whole=whole)

    def cleanup(self) -> None:
        """Put the disk and the mounts in order after crashes."""
        self._settle(lambda: [*self._unneeded(self._folders.mount_points()), *self._folders.old_mount_points()])
        super().cleanup()

    def _settle(self, unneeded: Callable[[], Sequence[Path]]) -> None:
        """Take down shared mounts that nothing shows."""
        with self._folders.lock():
            for target in unneeded():
                if not users_of([target]):
                    _take_down(target)

    def _unneeded(self, places: Sequence[Path]) -> list[Path]:
        """Return the places of shared mounts to which no active snapshot and no view leads."""
        return [path for path in places if not any(map(self._catalog.serves, _chain_ids(path.name)))]

    def detach(self, chain_ids: Collection[Digest]) -> None:
        """Take the shared mounts of chain IDs down; overlays on them hold on to what they show."""
        with self._folders.lock():
            for target in map(self._folders.mount_point, chain_ids):
                if target.exists():
                    _take_down(target)


def _take_down(target: Path) -> None:
    """Take a shared mount down, unless a process uses it."""
    with suppress(PreconditionError), translated(f"removing {target}"):
        unmount(target)
        target.rmdir()


def _name(chain_id: str, suffix: str) -> str:
    return f"{Digest(chain_id).encoded}{suffix}"


def _chain_ids(encoded: str) -> list[str]:
    """Return the chain IDs that have these hex digits."""
    return [f"{algorithm}:{encoded}" for algorithm in ALGORITHMS]
