"""Look into an unpacked image without a container: its users, its folders."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

from prestow.digest import Digest
from prestow.runtime.rootfs import DirectoryRoot
from prestow.snapshots.mount import mount_all, unmount
from prestow.snapshots.snapshotter import Mount, Snapshotter


@contextmanager
def looked_at(snapshotter: Snapshotter, chain_id: Digest) -> Iterator[DirectoryRoot]:
    """Give the root of a committed snapshot to read for the block, confined to it.

    Where one folder shows all of it, nothing is mounted, so that this works without privileges too.

    Raises:
        NotFoundError: no such snapshot.
    """
    key = f"look-{token_hex(8)}"
    mounts = snapshotter.view(key, chain_id)
    try:
        with _shown(mounts) as folder:
            yield DirectoryRoot(folder)
    finally:
        snapshotter.remove(key)


@contextmanager
def _shown(mounts: tuple[Mount, ...]) -> Iterator[Path]:
    if len(mounts) == 1 and mounts[0].type == "bind":
        yield Path(mounts[0].source)
        return
    folder = Path(tempfile.mkdtemp(prefix="prestow-look-"))
    try:
        mount_all(mounts, folder)
        try:
            yield folder
        finally:
            unmount(folder)
    finally:
        folder.rmdir()  # never a tree: should it still be mounted, nothing of it may go
