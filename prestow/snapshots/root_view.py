"""Look into an unpacked image without a container: its users, its folders.

    <looks>/look.<whose>/     where the view with the same key is mounted

View and folder bear the name of their process, so that those of a dead one are known, and taken away.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prestow.content.disk import make_folder, translated
from prestow.content.process_identity import is_abandoned, owned_name
from prestow.digest import Digest
from prestow.errors import NotFoundError
from prestow.metadata.database import Database
from prestow.runtime.rootfs import DirectoryRoot
from prestow.snapshots.catalog import keys_beginning
from prestow.snapshots.mounts.mount import mount_all, unmount
from prestow.snapshots.snapshotter import Mount, Snapshotter

_STEM = "look"


@contextmanager
def looked_at(snapshotter: Snapshotter, chain_id: Digest, looks: Path) -> Iterator[DirectoryRoot]:
    """Yield the root of a committed snapshot to read for the block, confined to it.

    Where one folder shows all of it, nothing is mounted, so that this works without privileges too.

    Args:
        snapshotter: which has the snapshot.
        chain_id: its name.
        looks: folder to mount it in, made where it is missing.

    Raises:
        NotFoundError: no such snapshot.
    """
    key = owned_name(_STEM)
    mounts = snapshotter.view(key, chain_id)
    try:
        with _shown(mounts, looks / key) as folder:
            yield DirectoryRoot(folder)
    finally:
        snapshotter.remove(key)


@contextmanager
def _shown(mounts: tuple[Mount, ...], folder: Path) -> Iterator[Path]:
    if len(mounts) == 1 and mounts[0].type == "bind":
        yield Path(mounts[0].source)
        return
    with translated(f"making {folder}"):
        make_folder(folder, durable=False)
    try:
        mount_all(mounts, folder)
        try:
            yield folder
        finally:
            unmount(folder)
    finally:
        with translated(f"removing {folder}"):
            folder.rmdir()  # never a tree: should it still be mounted, nothing of it may go


def begun(database: Database, drivers: Iterable[str]) -> list[str]:
    """Return the keys of the views of all looks by some drivers, as far as they are known."""
    return keys_beginning(database, drivers, f"{_STEM}.")


def abandoned(keys: Iterable[str]) -> list[str]:
    """Give, of the keys of views or the names of folders, those of looks whose process has ended."""
    return [key for key in keys if key.startswith(f"{_STEM}.") and is_abandoned(key)]


def end_look(snapshotters: Iterable[Snapshotter], key: str, looks: Path) -> None:
    """Take away what a dead process left of a look.

    Raises:
        PreconditionError: another process mounted the view.
        StorageError: the disk failed, or a process uses it.
    """
    with translated(f"removing {looks / key}"), suppress(FileNotFoundError):
        unmount(looks / key)
        (looks / key).rmdir()
    for snapshotter in snapshotters:
        with suppress(NotFoundError):
            snapshotter.remove(key)
