"""A tree as a folder: every file written once, in its final state, and no name of a layer a path for the kernel.

The walk goes down the *tree*, never the disk: it makes each folder, opens it, and works in it by descriptor. A name is
one component, made exclusively and never followed, so neither what a layer holds nor what another process slips in
meanwhile leads anywhere. What fails half way is left for the caller to discard.

    folder   mkdir 0700, children, then its attributes      times would not outlive the making of children
    file     create 0600, data, attributes                  holes stay holes
    link     to the first name of the same inode             names only: nothing is set through it
    other    make, open for its path alone, attributes      neither a device nor a pipe is ever opened
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from prestow.cancellation import check
from prestow.content.descriptors import DIRECTORY, NEW_FILE, PATH_ONLY
from prestow.content.disk import failure
from prestow.errors import (
    AlreadyExistsError,
    CancelledError,
    ExhaustedError,
    InvalidError,
    PrestowError,
    UnsupportedError,
    printable,
)
from prestow.layers.attributes import Attributes
from prestow.layers.copying import copy_range
from prestow.layers.open_tars import OpenTars
from prestow.layers.tar.entry import Kind
from prestow.layers.tree.inode import Inode
from prestow.layers.tree.links import link_counts
from prestow.layers.tree.packed import each
from prestow.layers.tree.xattrs import ACL_ACCESS, ACL_DEFAULT

MAX_DEPTH = 256
"""Folders within each other; each has a descriptor while its children are made."""

_SEARCHABLE = 0o100


@dataclass(frozen=True, slots=True)
class Materialised:
    """What came of it.

    Attributes:
        files: names made, of every type; the root is not counted.
        bytes: file data written, holes not counted.
        unowned: inodes that belong to us though the image says otherwise.
        devices: devices left out.
        xattrs: extended attributes left out.
    """

    files: int
    bytes: int
    unowned: int = 0
    devices: int = 0
    xattrs: int = 0


def materialise(root: Inode, open_layer: Callable[[int], int], target: Path, *, privileged: bool) -> Materialised:
    """Write a tree to a new folder.

    Args:
        root: the tree; inodes that stand under several names become hard links.
        open_layer: gives a descriptor of a layer's uncompressed tar, which is closed here.
        target: the folder to be made; its parent exists.
        privileged: whether we may set any owner and make devices. If not, devices are left out, and what else the
            kernel refuses an ordinary user; all that is counted.

    Raises:
        AlreadyExistsError: the target exists.
        InvalidError: something that no file system can hold.
        UnsupportedError: something that this one, or this process, cannot.
        MismatchError: the tar of a layer ends too early.
        ExhaustedError: the disk is full, or the tree too deep.
        StorageError: any other refusal of the disk.
        CancelledError: the work that this is part of is to end.
    """
    try:
        target.mkdir(0o700)
    except FileExistsError as error:
        raise AlreadyExistsError(f"{target} exists already") from error
    except OSError as error:
        raise failure(error, f"making {target}") from error
    sink = _Sink(open_layer, privileged=privileged, links=frozenset(link_counts(root)))
    try:
        sink.fill(root, target)
    except OSError as error:
        raise _translated(error, f"{printable(sink.path())!r} in {target}") from error
    except CancelledError:
        raise
    except PrestowError as error:
        raise type(error)(f"{printable(sink.path())!r} in {target}: {error}") from error
    finally:
        sink.close()
    return Materialised(sink.files, sink.bytes, sink.attributes.unowned, sink.devices, sink.attributes.dropped)


def _translated(error: OSError, what: str) -> PrestowError:
    if error.errno == errno.EEXIST:
        return UnsupportedError(f"{what}: this file system takes another name for the same one")
    if error.errno in {errno.EMLINK, errno.EFBIG}:
        return UnsupportedError(f"{what}: {os.strerror(error.errno)} for this file system")
    if error.errno in {errno.ENAMETOOLONG, errno.EINVAL}:
        return InvalidError(f"{what}: {os.strerror(error.errno)}")
    if error.errno == errno.EPERM:
        return UnsupportedError(f"{what}: not permitted")
    return failure(error, what)


@dataclass(slots=True)
class _Folder:
    """A folder on the way down.

    Attributes:
        name: what its parent calls it.
        inode: its inode.
        descriptor: open for reading.
        rest: children that are still to be made.
    """

    name: bytes
    inode: Inode
    descriptor: int
    rest: Iterator[tuple[bytes, Inode]]


class _Sink:
    """The state of one walk."""

    def __init__(self, open_layer: Callable[[int], int], *, privileged: bool, links: frozenset[Inode]) -> None:
        self.attributes = Attributes(privileged)
        self.files = self.bytes = self.devices = 0
        self._links = links
        self._first: dict[Inode, tuple[bytes, ...]] = {}
        self._tars = OpenTars(open_layer)
        self._folders: list[_Folder] = []
        self._name = b""
        self._unsearchable: list[tuple[tuple[bytes, ...], int]] = []

    def path(self) -> bytes:
        """Return what is being made, for messages."""
        return b"/".join(name for name in (*self._names(), self._name) if name) or b"."

    def close(self) -> None:
        """Close every descriptor."""
        self._tars.close()
        for folder in self._folders:
            os.close(folder.descriptor)

    def fill(self, root: Inode, target: Path) -> None:
        """Fill the target, which is empty."""
        self._enter(b"", root, os.open(target, DIRECTORY))
        _disinherit(self._folders[0].descriptor)
        while self._folders:
            check()
            folder = self._folders[-1]
            name, inode = next(folder.rest, (b"", folder.inode))
            self._name = name
            if inode is folder.inode:
                self._leave(folder)
            else:
                self._make(folder.descriptor, name, inode)

    def _names(self) -> tuple[bytes, ...]:
        return tuple(folder.name for folder in self._folders[1:])

    def _enter(self, name: bytes, inode: Inode, descriptor: int) -> None:
        self._folders.append(_Folder(name, inode, descriptor, each(inode)))
        if len(self._folders) > MAX_DEPTH + 1:
            raise ExhaustedError(
                f"directory {printable(self.path())!r} is nested too deeply: at most {MAX_DEPTH} levels"
            )

    def _leave(self, folder: _Folder) -> None:
        """Set what the making of a folder's children would have changed."""
        inner = len(self._folders) > 1
        later = inner and not self.attributes.privileged and not folder.inode.mode & _SEARCHABLE
        if later:
            # An ordinary user could not link from here any more.
            self._unsearchable.append((self._names(), folder.inode.mode))
        elif not inner:
            self._close_unsearchable()
        self.attributes.apply(folder.inode, folder.descriptor, mode=not later)
        os.close(self._folders.pop().descriptor)

    def _close_unsearchable(self) -> None:
        for names, mode in self._unsearchable:
            descriptor = self._open(names)
            try:
                _itself(descriptor).chmod(mode)
            finally:
                os.close(descriptor)

    def _open(self, names: tuple[bytes, ...]) -> int:
        """Open, for its path alone, a folder that was made before, one component at a time."""
        here = self._names()
        common = 0
        while common < min(len(names), len(here)) and names[common] == here[common]:
            common += 1
        descriptor = os.dup(self._folders[common].descriptor)
        for name in names[common:]:
            try:
                below = os.open(name, PATH_ONLY | os.O_DIRECTORY, dir_fd=descriptor)
            finally:
                os.close(descriptor)
            descriptor = below
        return descriptor

    def _make(self, parent: int, name: bytes, inode: Inode) -> None:
        if b"/" in name or name in {b"", b".", b".."}:
            raise InvalidError(f"name {printable(name)!r}: not one component of a path")
        if inode.kind in {Kind.CHAR, Kind.BLOCK} and not self.attributes.privileged:
            self.devices += 1
            return
        self.files += 1
        if inode.kind is Kind.DIRECTORY:
            os.mkdir(name, 0o700, dir_fd=parent)
            self._enter(name, inode, os.open(name, DIRECTORY, dir_fd=parent))
        elif inode in self._first:
            self._link(inode, name, parent)
        elif inode.kind is Kind.REGULAR:
            self._file(inode, name, parent)
        else:
            _special(inode, name, parent)
            self._describe(inode, name, parent)
        if inode in self._links:
            self._first.setdefault(inode, (*self._names(), name))

    def _link(self, inode: Inode, name: bytes, parent: int) -> None:
        *names, first = self._first[inode]
        source = self._open(tuple(names))
        try:
            os.link(first, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(source)

    def _file(self, inode: Inode, name: bytes, parent: int) -> None:
        descriptor = os.open(name, NEW_FILE, 0o600, dir_fd=parent)
        try:
            for logical, offset, length in inode.extents:
                tar = self._tars.descriptor(inode.layer)
                copy_range(tar, descriptor, source_offset=offset, target_offset=logical, length=length)
                self.bytes += length
            if not inode.extents or inode.extents[-1].logical + inode.extents[-1].length < inode.size:
                os.ftruncate(descriptor, inode.size)
            self.attributes.apply(inode, descriptor)
        finally:
            os.close(descriptor)

    def _describe(self, inode: Inode, name: bytes, parent: int) -> None:
        """Set the attributes of what must not be opened."""
        descriptor = os.open(name, PATH_ONLY, dir_fd=parent)
        try:
            self.attributes.apply(inode, _itself(descriptor))
        finally:
            os.close(descriptor)


def _itself(descriptor: int) -> Path:
    """Return a path that leads to the inode of a descriptor, whatever its name has come to mean since."""
    return Path(f"/proc/self/fd/{descriptor}")


def _special(inode: Inode, name: bytes, parent: int) -> None:
    if inode.kind is Kind.SYMLINK:
        os.symlink(inode.link, name, dir_fd=parent)
    elif inode.kind is Kind.HARDLINK:
        raise InvalidError(f"hard link to {printable(inode.link)!r}: there is no such file in any layer")
    else:
        number = os.makedev(inode.major, inode.minor) if inode.kind is not Kind.FIFO else 0
        os.mknod(name, inode.kind | 0o600, number, dir_fd=parent)


def _disinherit(descriptor: int) -> None:
    """Undo what a new folder got from its parent, lest everything in it gets it too."""
    for name in (ACL_ACCESS, ACL_DEFAULT):
        with suppress(OSError):
            os.removexattr(descriptor, name)
    os.fchmod(descriptor, 0o700)
