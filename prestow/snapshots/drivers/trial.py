"""What a driver does to try whether it works in a folder, on a scale of a few KiB and for what it is used for.

A container's snapshot is made on two layers, mounted, read, written, and taken down. That a file system can be mounted
does not say that one can write on top of it: overlayfs and FUSE cannot be upper directories, and without extended
attributes a folder that replaces another one fails.
The probe takes down what is mounted at ``lower`` and ``mnt``.
"""

import os
import secrets
from collections.abc import Callable, Sequence
from pathlib import Path

from prestow.errors import UnsupportedError
from prestow.layers.tar.entry import Extent, Kind
from prestow.layers.tree.inode import Inode
from prestow.snapshots.mounts.mount import mount_all, overlaid

SIZES = (1024,)
"""Bytes of each layer that :func:`write_tar` writes."""

_BLOCK = 512
_OWNER = 12345  # no process runs as this user


def need_root() -> None:
    """Refuse to mount unless we are root."""
    if os.geteuid():
        raise UnsupportedError("mounting needs root (CAP_SYS_ADMIN)")


def trial_tree() -> Inode:
    """Return two folders with a file each, whose data is the second block of their layer."""
    root = Inode(Kind.DIRECTORY)
    root.children = {b"folder": Inode(Kind.DIRECTORY), b"replaced": Inode(Kind.DIRECTORY)}
    for folder in root.children.values():
        file = Inode(Kind.REGULAR, 0o640)
        file.uid = file.gid = _OWNER if os.geteuid() == 0 else os.geteuid()
        file.layer, file.size, file.extents = 0, _BLOCK, (Extent(0, _BLOCK, _BLOCK),)
        folder.children = {b"file": file}
    return root


def write_tar(folder: Path) -> tuple[bytes, Callable[[int], int]]:
    """Write the layer ``tar``; give what the files of :func:`trial_tree` have of it, and what opens it."""
    data = secrets.token_bytes(sum(SIZES))
    (folder / "tar").write_bytes(data)
    return data[_BLOCK:], lambda _: os.open(folder / "tar", os.O_RDONLY | os.O_CLOEXEC)


def use_overlaid(folder: Path, lowers: Sequence[Path], data: bytes) -> None:
    """Mount a snapshot that can be written to, and use it."""
    for name in ("mnt", "upper", "work"):
        (folder / name).mkdir()
    mount_all([overlaid(lowers, folder / "upper", folder / "work")], folder / "mnt")
    use(folder / "mnt", data)


def use(root: Path, data: bytes) -> None:
    """Do to a container's root what containers do, and look whether it is done."""
    file, replaced = root / "folder/file", root / "replaced"
    found = file.stat()
    if file.read_bytes() != data or [path.name for path in (root / "folder").iterdir()] != ["file"]:
        raise UnsupportedError("what is read from a snapshot is something else than its layers say")
    if (found.st_mode & 0o7777, found.st_uid) != (0o640, _OWNER if os.geteuid() == 0 else os.geteuid()):
        raise UnsupportedError("files have another owner or mode than the one that they are given")
    with file.open("ab") as opened:
        opened.write(data)
    (replaced / "file").unlink()
    replaced.rmdir()
    replaced.mkdir()
    (root / "link").symlink_to("folder/file")
    os.link(file, root / "replaced/again")
    if (root / "link").read_bytes() != data * 2 or [path.name for path in replaced.iterdir()] != ["again"]:
        raise UnsupportedError("what is written to a snapshot is not what is read from it afterwards")
