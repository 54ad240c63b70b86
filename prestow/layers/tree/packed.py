"""Directories whose plain files are packed: 38 bytes and the name for each, where an inode and its place take 220.

A layer may have a million files, and nearly all of them are *plain*: regular, with one name, one run of data or none,
and no extended attributes. Their inodes are seldom needed: upper layers change few directories, and the metadata image
is written from the records.

    Packed    one directory's children:  loose   name → inode, for all but the packed files
                                         files   the packed files, sorted by name
    Files     immutable, shared by the directories of all trees in which they are the same files

A file must be the same inode in all trees, since hard links and comparisons of trees identify it by its inode. So
``Files`` makes its inodes once and keeps them; every directory that shares it, or a part of it, then has those inodes.
"""

import struct
import threading
from collections.abc import Container, Iterator, Sequence
from operator import itemgetter

from prestow.layers.tar.entry import Extent, Kind
from prestow.layers.tree.inode import Inode

Record = tuple[int, int, int, int, int, int, int]
"""A plain file: layer (-1 if it is empty), mode, uid, gid, mtime_ns, size and where in the tar the data begins."""

MTIME_NS = 4
"""Which of these is the time."""

Listing = list[tuple[bytes, Inode | Record]]
"""The names in a directory, in byte order, each with its inode or, as long as it is packed, its record."""

FEW = 4
"""Least number of plain files that are packed."""

_RECORD = struct.Struct("<iHIIqQQ")
_EARLIEST, _LATEST = -(2**63), 2**63 - 1  # as ns, of a record's 64 bits: 1677 to 2262; tars go on to 2446
_SEPARATOR = b"/"  # in no name
_name = itemgetter(0)
_unpacking = threading.Lock()


class Files:
    """Plain files of one directory.

    Attributes:
        whole: the files that these are part of, if a layer replaced or removed the others.
    """

    __slots__ = ("_inodes", "_names", "_records", "whole")

    def __init__(self, files: Sequence[tuple[bytes, Record]], whole: "Files | None" = None) -> None:
        """Pack files, at least one, sorted by name."""
        self.whole = whole
        self._names = _SEPARATOR.join([name for name, _ in files])
        self._records = b"".join([_RECORD.pack(*found) for _, found in files])
        self._inodes: dict[bytes, Inode] | None = None

    def __iter__(self) -> Iterator[tuple[bytes, Record]]:
        """Yield names and records, sorted by name."""
        return zip(self.names(), _RECORD.iter_unpack(self._records), strict=True)

    def records(self) -> Iterator[Record]:
        """Yield the records, sorted by name."""
        return _RECORD.iter_unpack(self._records)

    def names(self) -> list[bytes]:
        """Return the names, sorted."""
        return self._names.split(_SEPARATOR)

    @property
    def unpacked(self) -> bool:
        """Whether their inodes were made."""
        return self._inodes is not None if self.whole is None else self.whole.unpacked

    def inodes(self) -> dict[bytes, Inode]:
        """Return name → inode, always the same inodes. Safe to call from several threads."""
        if self.whole is not None:
            inodes = self.whole.inodes()
            return {name: inodes[name] for name in self.names()}
        with _unpacking:
            if self._inodes is None:
                self._inodes = dict(zip(self.names(), map(_inode, self.records()), strict=True))
            return self._inodes

    def without(self, gone: Container[bytes]) -> "Files | None":
        """Return these files without those whose names are in ``gone``; ``None`` if none is left."""
        rest = [(name, found) for name, found in self if name not in gone]
        return Files(rest, self.whole or self) if rest else None


class Packed:
    """The children of one directory.

    Attributes:
        loose: those that have inodes.
        files: the others.
    """

    __slots__ = ("files", "loose")

    def __init__(self, loose: dict[bytes, Inode], files: Files) -> None:
        """Hold children whose names differ."""
        self.loose = loose
        self.files = files

    def unpacked(self) -> dict[bytes, Inode]:
        """Return name → inode for all of them."""
        return {**self.loose, **self.files.inodes()}


def pack(directory: Inode, linked: Container[Inode]) -> None:
    """Pack the plain files of a directory that no finished tree has yet, if there are enough of them.

    Args:
        directory: the directory.
        linked: the inodes that have, or may have, other names.
    """
    loose: dict[bytes, Inode] = {}
    files: list[tuple[bytes, Record]] = []
    for name, inode in directory.loose.items():
        found = record(inode)
        if found is None or inode in linked:
            loose[name] = inode
        else:
            files.append((name, found))
    if len(files) >= FEW:
        files.sort()
        directory.hold(Packed(loose, Files(files)))


def listing(directory: Inode) -> Listing:
    """Return the entries of a directory in byte order, and leave it packed."""
    packed = directory.packed
    found: Listing = [*(directory.loose if packed is None else packed.loose).items()]
    if packed is not None:
        found += packed.files
    found.sort(key=_name)
    return found


def each(directory: Inode) -> Iterator[tuple[bytes, Inode]]:
    """Yield the entries of a directory in byte order; a packed file as a temporary inode."""
    for name, child in listing(directory):
        yield name, child if isinstance(child, Inode) else _inode(child)


def loose_inodes(root: Inode) -> Iterator[Inode]:
    """Yield all inodes below a directory that are not packed, once for each of their names."""
    pending = [root]
    while pending:
        for inode in pending.pop().loose.values():
            if inode.kind is Kind.DIRECTORY:
                pending.append(inode)
            yield inode


def names(directory: Inode) -> list[bytes]:
    """Return the names in a directory, unsorted, and leave it packed."""
    packed = directory.packed
    return [*directory.loose] if packed is None else [*packed.loose, *packed.files.names()]


def record(inode: Inode) -> Record | None:
    """Return the record of an inode that may be packed if it has one name; ``None`` for any other inode."""
    if inode.kind is not Kind.REGULAR or inode.xattrs:
        return None
    size, start, mtime_ns = inode.size, inode.run, inode.mtime_ns
    if start is None:
        if size or inode.extents:
            return None
        start = 0
    if not _EARLIEST <= mtime_ns <= _LATEST:
        return None
    return inode.layer, inode.mode, inode.uid, inode.gid, mtime_ns, size, start


def _inode(file: Record) -> Inode:
    inode = Inode(Kind.REGULAR)
    inode.layer, inode.mode, inode.uid, inode.gid, inode.mtime_ns, inode.size, start = file
    if inode.size:
        inode.extents = (Extent(0, start, inode.size),)
    return inode
