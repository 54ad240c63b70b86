"""A store for one snapshotter, and images to put into it."""

import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Self

from prestow.content.local import LocalStore
from prestow.digest import Digest
from prestow.metadata.database import Database
from prestow.oci.descriptor import Descriptor
from prestow.oci.identity import chain_ids
from prestow.oci.image import Image, Layer
from prestow.platforms import Platform
from prestow.snapshots.drivers.driver import Driver
from prestow.snapshots.mounts.mount import mount_all, unmount
from prestow.snapshots.snapshotter import Mount
from tests.layers.model import image as model
from tests.tar_builder import Tar
from tests.trees import Listed, differences, inode_listing, listing

_DOCUMENT = Descriptor("application/json", Digest.of(b"{}"), 2)


@dataclass
class Bench:
    """A snapshotter on a store of its own.

    Attributes:
        home: folder of the store.
        kind: the snapshotter's class.
        durable: whether blobs and snapshots wait for the disk.
    """

    home: Path
    kind: Callable[..., Driver]
    durable: bool = True

    def __post_init__(self) -> None:
        """Open the store."""
        self.home.mkdir()
        self.content = LocalStore(self.home / "content", self.home / "ingest", durable=self.durable)
        self.database = Database(self.home / "metadata.db")
        self.snapshotter = self.open()

    def __enter__(self) -> Self:
        """Return the bench."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the database, so that its file system can be unmounted."""
        self.database.close()

    def open(self) -> Driver:
        """Open the snapshotter once more, as another process would."""
        trash = self.home / "trash"
        return self.kind(self.home / "snapshots", self.database, self.content, trash=trash, durable=self.durable)

    @property
    def folder(self) -> Path:
        """The snapshotter's folder."""
        return self.home / "snapshots" / self.snapshotter.driver

    def image(self, *tars: Tar | bytes) -> Image:
        """Put the diff blobs of an image into the store, lowest first, and give the image."""
        data = [tar if isinstance(tar, bytes) else tar.to_bytes() for tar in tars]
        for layer in data:
            with self.content.writer(f"test-{token_hex(8)}") as writer:
                writer.write(layer)
                writer.commit(len(layer), Digest.of(layer))
        diff_ids = [Digest.of(layer) for layer in data]
        layers = [
            Layer(index, len(data), Descriptor("application/vnd.oci.image.layer.v1.tar", diff_id, 0), diff_id, chain_id)
            for index, (diff_id, chain_id) in enumerate(zip(diff_ids, chain_ids(diff_ids), strict=True))
        ]
        return Image(_DOCUMENT, _DOCUMENT, _DOCUMENT, Platform("linux", "amd64"), tuple(layers))

    def committed(self, *tars: Tar | bytes) -> Image:
        """Put an image into the store and commit it."""
        image = self.image(*tars)
        self.snapshotter.commit_layers(image)
        return image

    @contextmanager
    def mounted(self, mounts: Sequence[Mount]) -> Iterator[Path]:
        """Mount for a while."""
        target = self.home / f"mounted-{token_hex(4)}"
        target.mkdir()
        try:
            mount_all(mounts, target)
            yield target
        finally:
            unmount(target)
            target.rmdir()

    def files(self, mounts: Sequence[Mount]) -> dict[str, str]:
        """Mount, and give the paths of everything but folders, with the content of files that are not empty."""
        with self.mounted(mounts) as target:
            found = [path for path in target.rglob("*") if path.is_symlink() or not path.is_dir()]
            return {
                str(path.relative_to(target)): path.read_text() if path.is_file() and not path.is_symlink() else ""
                for path in found
            }

    def unlike(self, mounts: Sequence[Mount], *tars: Tar | bytes) -> list[str]:
        """Mount, and tell what differs from the model of an image."""
        with self.mounted(mounts) as target:
            return differences(listing(target), self.expected(*tars))

    def expected(self, *tars: Tar | bytes) -> dict[bytes, Listed]:
        """List the model of an image whose layers are in the store."""
        data = [tar if isinstance(tar, bytes) else tar.to_bytes() for tar in tars]
        return inode_listing(model(*tars), lambda layer: self.content.open_fd(Digest.of(data[layer])))

    def left_on_disk(self) -> set[str]:
        """Return the names in the snapshotter's folder and in the trash."""
        folders = (self.folder, self.folder / ".new", self.folder / ".mounts", self.home / "trash")
        found = {path.name for folder in folders if folder.is_dir() for path in folder.iterdir()}
        return found - {".lock", ".locks", ".looked", ".mounts", ".new"}


def in_processes(count: int, work: Callable[[int], object]) -> None:
    """Do something in several processes at once; an error in one is an error here."""
    children = []
    for number in range(count):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                work(number)
                status = 0
            except BaseException:  # noqa: BLE001 - whatever it is, the parent is to know
                traceback.print_exc()
            finally:
                os._exit(status)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * count
