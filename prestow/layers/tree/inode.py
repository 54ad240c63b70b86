"""Inodes: the inodes of a tree, whether of one layer or of a merged image.

An inode has no name: names are the keys of the ``children`` of directories. A file with several names (hard links) is
one inode met under each of them. Inodes are mutable while :func:`prestow.layers.tree.layer_tree` builds; whoever gets
a finished tree treats it as immutable, for trees share inodes.

A directory may hold its plain files packed (:mod:`prestow.layers.tree.packed`) until its ``children`` are read. Reading
``loose`` or ``child`` leaves them packed.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prestow.layers.tar.entry import Extent, Kind

if TYPE_CHECKING:
    from prestow.layers.tree.packed import Packed

Xattrs = tuple[tuple[bytes, bytes], ...]

SECOND = 1_000_000_000


class Inode:
    """One inode.

    Attributes:
        kind: type; HARDLINK only in a layer's tree, for a link whose target (``link``) lies in a layer below.
        mode: permission, set-id and sticky bits, 07777 at most.
        uid: numeric owner.
        gid: numeric group.
        mtime_ns: time of modification in ns since 1970, may be negative.
        size: bytes of a regular file, holes included; length of ``link`` of a symlink; else 0.
        link: target of a symlink, never empty.
        major: major number of a device.
        minor: minor number of a device.
        xattrs: (name, value), sorted by name; only name spaces that an image may set.
        layer: index of the layer in whose uncompressed tar the ``extents`` lie.
        extents: runs of data, ascending; what they leave out are holes. To be set after ``size``.
        children: name → inode of a directory; ``None`` for everything else.
    """

    __slots__ = (
        "_children", "_data", "gid", "kind", "layer", "link", "major", "minor", "mode", "mtime_ns", "size", "uid",
        "xattrs",
    )  # fmt: skip

    def __init__(self, kind: Kind, mode: int = 0o755) -> None:
        """Make an empty, root-owned inode of 1970."""
        self.kind = kind
        self.mode = mode
        self.uid = 0
        self.gid = 0
        self.mtime_ns = 0
        self.size = 0
        self.link = b""
        self.major = 0
        self.minor = 0
        self.xattrs: Xattrs = ()
        self.layer = -1
        self._data: int | tuple[Extent, ...] = ()
        self._children: dict[bytes, Inode] | Packed | None = {} if kind is Kind.DIRECTORY else None

    @property
    def children(self) -> "dict[bytes, Inode] | None":
        """The inodes in a directory by their names; packed files are unpacked, and stay so."""
        held = self._children
        if held is None or isinstance(held, dict):
            return held
        self._children = unpacked = held.unpacked()
        return unpacked

    @children.setter
    def children(self, children: "dict[bytes, Inode] | None") -> None:
        self._children = children

    def hold(self, children: "dict[bytes, Inode] | Packed") -> None:
        """Set the children of a directory, packed or not."""
        self._children = children

    @property
    def packed(self) -> "Packed | None":
        """The children of a directory whose files are packed; ``None`` once they are unpacked, and for all others."""
        held = self._children
        if held is None or isinstance(held, dict):
            return None
        if held.files.unpacked:  # through another directory that shares them: use the same inodes
            self._children = held.unpacked()
            return None
        return held

    @property
    def loose(self) -> "dict[bytes, Inode]":
        """The children of a directory that are not packed."""
        packed = self.packed
        return (self.children or {}) if packed is None else packed.loose

    def child(self, name: bytes) -> "Inode | None":
        """Return the child of that name, or ``None``. Unpacks the files, unless the child is not packed."""
        packed = self.packed
        if packed is not None and name in packed.loose:
            return packed.loose[name]
        return (self.children or {}).get(name)

    @property
    def extents(self) -> tuple[Extent, ...]:
        """Runs of data; of a file in one piece only the offset is kept, which saves 140 bytes for nearly every file."""
        data = self._data
        return (Extent(0, data, self.size),) if isinstance(data, int) else data

    @extents.setter
    def extents(self, extents: tuple[Extent, ...]) -> None:
        self._data = extents
        if len(extents) == 1:
            logical, offset, length = extents[0]
            if not logical and length == self.size:
                self._data = offset

    @property
    def run(self) -> int | None:
        """Where in the tar the data begins if it is one run as long as the file, as nearly always; else ``None``."""
        data = self._data
        return data if isinstance(data, int) else None


def walk(root: Inode) -> Iterator[tuple[bytes, Inode]]:
    """Yield each path with its inode: parents first, names in byte order, the root as ``b""``, no leading slash."""
    pending: list[tuple[bytes, Inode]] = [(b"", root)]
    while pending:
        path, inode = pending.pop()
        yield path, inode
        if children := inode.children:
            prefix = path + b"/" if path else b""
            pending.extend((prefix + name, children[name]) for name in sorted(children, reverse=True))
