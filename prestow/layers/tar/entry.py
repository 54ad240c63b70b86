"""Entries: what one member of a layer's tar says, as the reader found it, before any name is resolved.

The data of a regular file is told by where it lies in the uncompressed tar. A plain file has one extent, an empty
one has none, and a sparse file has one for each run of data: what no extent covers reads as zeros.
"""

import stat
from enum import IntEnum
from typing import NamedTuple


class Kind(IntEnum):
    """Type of a file; the value is its type bits, so that ``kind | mode`` is the ``st_mode`` of stat(2)."""

    HARDLINK = 0
    FIFO = stat.S_IFIFO
    CHAR = stat.S_IFCHR
    DIRECTORY = stat.S_IFDIR
    BLOCK = stat.S_IFBLK
    REGULAR = stat.S_IFREG
    SYMLINK = stat.S_IFLNK


class Extent(NamedTuple):
    """A run of a file's data, all in bytes.

    Attributes:
        logical: where it stands in the file.
        offset: where it lies in the uncompressed tar.
        length: how long it is, at least 1.
    """

    logical: int
    offset: int
    length: int


class Entry(NamedTuple):
    """One member of a tar (a named tuple, for a layer has tens of thousands of them).

    Attributes:
        name: the path as given, bytes exact.
        kind: type of the file.
        mode: permission, set-id and sticky bits, 07777 at most.
        uid: numeric owner, at most 2³²-2.
        gid: numeric group, at most 2³²-2.
        mtime_ns: time of modification in ns since 1970, negative before.
        size: length of a regular file in bytes, holes included; else 0.
        link: target of a symlink or hard link as given.
        major: major number of a device.
        minor: minor number of a device.
        xattrs: extended attributes (name, value), sorted by name, every name space.
        extents: the file's data, ascending by ``logical``.
        offset: where the member's own header block stands in the tar, for messages.
    """

    name: bytes
    kind: Kind
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size: int
    link: bytes
    major: int
    minor: int
    xattrs: tuple[tuple[bytes, bytes], ...]
    extents: tuple[Extent, ...]
    offset: int
