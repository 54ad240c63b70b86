"""Comparing a folder with the tree that it was made from: name by name, all that a name can be wrong about.

The walk goes down the *tree*, as the making of the folder did, one directory descriptor at a time: what stands where a
folder should is not entered if it is a link or a mount, and only what is a regular file is ever opened to be read. The
expectation is what :func:`prestow.layers.materialise.materialise` leaves, so what the kernel rewrites on the way (times
beyond a file system's range, access control lists after chmod) and what an ordinary user could not set is no damage.
"""

import logging
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from prestow.cancellation import check
from prestow.content.descriptors import DIRECTORY, KNOWN_FILE, PATH_ONLY
from prestow.content.store import Progress
from prestow.errors import printable
from prestow.layers.open_tars import OpenTars
from prestow.layers.tar.entry import Kind
from prestow.layers.tree.inode import Inode
from prestow.layers.tree.links import link_counts
from prestow.layers.tree.packed import each, names
from prestow.snapshots.compare.attributes import is_omitted, same_time, xattr_faults
from prestow.snapshots.compare.data import first_difference, pieces
from prestow.snapshots.damage import Damage, DamageKind, Subject
from prestow.snapshots.mounts.syscalls import open_below

_NAMES: dict[int, str] = {
    stat.S_IFREG: "a file",
    stat.S_IFDIR: "a directory",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFSOCK: "a socket",
}

_log = logging.getLogger(__name__)

Fault: TypeAlias = tuple[bytes, str]
"""A path below the folder, and what is wrong about it."""


def compare(
    root: Inode, open_layer: Callable[[int], int], folder: Path, *, progress: Progress | None = None
) -> Iterator[Damage]:
    """Yield every name of a folder that is not as the tree says.

    Args:
        root: what the folder was made from.
        open_layer: gives a descriptor of a layer's uncompressed tar, which is closed here.
        folder: the folder; who owns its parent made it, with root's rights or without.
        progress: told of bytes as they are compared.
    """
    try:
        maker = os.lstat(folder.parent)
        top = os.open(folder, DIRECTORY)
    except OSError as error:
        what = "missing" if isinstance(error, FileNotFoundError) else f"{error.strerror}"
        yield Damage(DamageKind.FILE, Subject.file(folder), what)
        return
    owner = (maker.st_uid, maker.st_gid) if maker.st_uid else None
    walk = _Walk(OpenTars(open_layer), os.fstat(top).st_dev, owner, frozenset(link_counts(root)), progress)
    try:
        for path, what in walk.faults(root, top):
            yield Damage(DamageKind.FILE, Subject.file(folder / os.fsdecode(path)), what)
    finally:
        walk.close()
    if walk.closed:
        _log.warning("%s: %d files and directories are closed to their owner, and were not read", folder, walk.closed)


@dataclass(slots=True)
class _Folder:
    """A folder on the way down: its path, its descriptor, and the names that are still to be looked at."""

    path: bytes
    descriptor: int
    rest: Iterator[tuple[bytes, Inode]]


class _Walk:
    """The state of one comparison.

    Attributes:
        closed: what an ordinary user made and cannot read himself.
    """

    def __init__(
        self,
        tars: OpenTars,
        device: int,
        owner: tuple[int, int] | None,
        links: frozenset[Inode],
        progress: Progress | None,
    ) -> None:
        self.closed = 0
        self._tars = tars
        self._device = device
        self._owner = owner
        self._links = links
        self._progress = progress
        self._number_of: dict[Inode, int] = {}
        self._inode_of: dict[int, Inode] = {}
        self._folders: list[_Folder] = []

    def close(self) -> None:
        """Close every descriptor."""
        self._tars.close()
        for folder in self._folders:
            os.close(folder.descriptor)

    def faults(self, root: Inode, top: int) -> Iterator[Fault]:
        """Compare everything; the descriptor of the top is closed here."""
        additions = [*self._enter(b"", root, top)]
        yield from self._at(b"", self._attributes(root, top, os.fstat(top)))
        yield from additions
        while self._folders:
            check()
            folder = self._folders[-1]
            name, inode = next(folder.rest, (b"", None))
            if inode is None:
                os.close(self._folders.pop().descriptor)
                continue
            path = folder.path + b"/" + name if folder.path else name
            try:
                yield from self._entry(path, name, inode, folder.descriptor)
            except OSError as error:
                yield path, f"cannot be looked at: {error.strerror}"

    def _at(self, path: bytes, faults: Iterator[str]) -> Iterator[Fault]:
        if found := "; ".join(faults):
            yield path, found

    def _enter(self, path: bytes, inode: Inode, descriptor: int) -> Iterator[Fault]:
        self._folders.append(_Folder(path, descriptor, each(inode)))
        for name in sorted({os.fsencode(name) for name in os.listdir(descriptor)}.difference(names(inode))):
            yield (path + b"/" + name if path else name), "not in the image"

    def _entry(self, path: bytes, name: bytes, inode: Inode, parent: int) -> Iterator[Fault]:
        try:
            descriptor = os.open(name, PATH_ONLY, dir_fd=parent)
        except FileNotFoundError:
            if self._owner is None or not is_omitted(inode):
                yield path, "missing"
            return
        try:
            found = os.fstat(descriptor)
            if stat.S_IFMT(found.st_mode) != inode.kind:
                yield path, f"{_NAMES[stat.S_IFMT(found.st_mode)]}, expected {_NAMES[inode.kind]}"
            elif found.st_dev != self._device:
                yield path, "something is mounted on it"
            else:
                yield from self._at(path, self._inode(inode, descriptor, found))
                if inode.kind is Kind.DIRECTORY:
                    yield from self._down(path, name, inode, parent)
        finally:
            os.close(descriptor)

    def _down(self, path: bytes, name: bytes, inode: Inode, parent: int) -> Iterator[Fault]:
        try:
            below = open_below(os.fsdecode(name), DIRECTORY, parent)
        except PermissionError:
            self.closed += 1
        except OSError as error:
            yield path, f"cannot be entered: {error.strerror}"
        else:
            yield from self._enter(path, inode, below)

    def _inode(self, inode: Inode, descriptor: int, found: os.stat_result) -> Iterator[str]:
        """Yield what is wrong about something of the right type; of a file with several names, under the first."""
        if inode.kind is not Kind.DIRECTORY and (inode in self._links or found.st_nlink > 1):
            known = inode in self._number_of
            yield from self._names(inode, found.st_ino)
            if known:
                return
        yield from self._attributes(inode, descriptor, found)
        if inode.kind is Kind.REGULAR:
            yield from self._content(inode, descriptor, found.st_size)
        else:
            yield from _special(inode, descriptor, found)

    def _names(self, inode: Inode, number: int) -> Iterator[str]:
        """Yield whether two names are one file that should be two, or the other way round."""
        if self._number_of.setdefault(inode, number) != number:
            yield "no longer the same file as its other names"
        elif self._inode_of.setdefault(number, inode) is not inode:
            yield "the same file as another name, expected one of its own"

    def _attributes(self, inode: Inode, descriptor: int, found: os.stat_result) -> Iterator[str]:
        mode = stat.S_IMODE(found.st_mode)
        if inode.kind is not Kind.SYMLINK and mode != inode.mode:
            yield f"mode {mode:04o}, expected {inode.mode:04o}"
        owner = self._owner or (inode.uid, inode.gid)
        if (found.st_uid, found.st_gid) != owner:
            yield f"owner {found.st_uid}:{found.st_gid}, expected {owner[0]}:{owner[1]}"
        if not same_time(found.st_mtime_ns, inode.mtime_ns):
            yield f"modified at {found.st_mtime_ns} ns, expected {inode.mtime_ns} ns"
        yield from xattr_faults(inode, descriptor, privileged=self._owner is None)

    def _content(self, inode: Inode, descriptor: int, size: int) -> Iterator[str]:
        if size != inode.size:
            yield f"{size} bytes, expected {inode.size}"
            return
        if not size:
            return
        try:
            file = os.open(f"/proc/self/fd/{descriptor}", KNOWN_FILE)
        except PermissionError:
            self.closed += 1
            return
        try:
            at = first_difference(file, size, pieces(self._tars, inode), progress=self._progress)
        finally:
            os.close(file)
        if at is not None:
            yield f"content differs, first at byte {at}"


def _special(inode: Inode, descriptor: int, found: os.stat_result) -> Iterator[str]:
    if inode.kind is Kind.SYMLINK:
        target = os.readlink(b"", dir_fd=descriptor)
        if target != inode.link:
            yield f"leads to {printable(target)!r}, expected {printable(inode.link)!r}"
    elif inode.kind in {Kind.CHAR, Kind.BLOCK}:
        device = (os.major(found.st_rdev), os.minor(found.st_rdev))
        if device != (inode.major, inode.minor):
            yield f"device {device[0]}:{device[1]}, expected {inode.major}:{inode.minor}"
