"""Directories whose plain files are packed: 38 bytes and the name for each, where a node and its place take 220.

A layer may have a million files, and nearly all of them are *plain*: regular, with one name, one run of data or none,
and no extended attributes. Their nodes are seldom needed: upper layers change few directories, and the metadata image
is written from the records.

    Packed    one directory's children:  loose   name → node, for all but the packed files
                                         files   the packed files, sorted by name
    Files     immutable, shared by the directories of all trees in which they are the same files

A file must be the same node in all trees, since hard links and comparisons of trees identify it by its node. So
``Files`` makes its nodes once and keeps them; every directory that shares it, or a part of it, then has those nodes.
"""

import struct
import threading
from collections.abc import Container, Iterator, Sequence
from operator import itemgetter

from prestow.layers.tar.entry import Extent, Kind
from prestow.layers.tree.inode import Node

Record = tuple[int, int, int, int, int, int, int]
"""A plain file: layer (-1 if it is empty), mode, uid, gid, mtime_ns, size and where in the tar the data begins."""

SIZE = 5
"""Which of these is the size."""

Listing = list[tuple[bytes, Node | Record]]
"""The names in a directory, in byte order, each with its node or, as long as it is packed, its record."""

FEW = 4
"""Least number of plain files that are packed."""

_RECORD = struct.Struct("<iHIIqQQ")
_EARLIEST, _LATEST = -(2**63), 2**63 - 1  # as ns: 1677 to 2262
_SEPARATOR = b"/"  # in no name
_name = itemgetter(0)
_unpacking = threading.Lock()


class Files:
    """Plain files of one directory.

    Attributes:
        whole: the files that these are part of, if a layer replaced or removed the others.
    """

    __slots__ = ("_names", "_nodes", "_records", "whole")

    def __init__(self, files: Sequence[tuple[bytes, Record]], whole: "Files | None" = None) -> None:
        """Pack files, at least one, sorted by name."""
        self.whole = whole
        self._names = _SEPARATOR.join([name for name, _ in files])
        self._records = b"".join([_RECORD.pack(*found) for _, found in files])
        self._nodes: dict[bytes, Node] | None = None

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
        """Whether their nodes were made."""
        return self._nodes is not None if self.whole is None else self.whole.unpacked

    def nodes(self) -> dict[bytes, Node]:
        """Return name → node, always the same nodes. Safe to call from several threads."""
        if self.whole is not None:
            nodes = self.whole.nodes()
            return {name: nodes[name] for name in self.names()}
        with _unpacking:
            if self._nodes is None:
                self._nodes = dict(zip(self.names(), map(_node, self.records()), strict=True))
            return self._nodes

    def without(self, gone: Container[bytes]) -> "Files | None":
        """Return these files without those whose names are in ``gone``; ``None`` if none is left."""
        rest = [(name, found) for name, found in self if name not in gone]
        return Files(rest, self.whole or self) if rest else None


class Packed:
    """The children of one directory.

    Attributes:
        loose: those that have nodes.
        files: the others.
    """

    __slots__ = ("files", "loose")

    def __init__(self, loose: dict[bytes, Node], files: Files) -> None:
        """Hold children whose names differ."""
        self.loose = loose
        self.files = files

    def unpacked(self) -> dict[bytes, Node]:
        """Return name → node for all of them."""
        return {**self.loose, **self.files.nodes()}


def pack(directory: Node, linked: Container[Node]) -> None:
    """Pack the plain files of a directory that no finished tree has yet, if there are enough of them.

    Args:
        directory: the directory.
        linked: the nodes that have, or may have, other names.
    """
    loose: dict[bytes, Node] = {}
    files: list[tuple[bytes, Record]] = []
    for name, node in directory.loose.items():
        found = record(node)
        if found is None or node in linked:
            loose[name] = node
        else:
            files.append((name, found))
    if len(files) >= FEW:
        files.sort()
        directory.hold(Packed(loose, Files(files)))


def listing(directory: Node) -> Listing:
    """Return the entries of a directory in byte order, and leave it packed."""
    packed = directory.packed
    found: Listing = [*(directory.loose if packed is None else packed.loose).items()]
    if packed is not None:
        found += packed.files
    found.sort(key=_name)
    return found


def each(directory: Node) -> Iterator[tuple[bytes, Node]]:
    """Yield the entries of a directory in byte order; a packed file as a temporary node."""
    for name, child in listing(directory):
        yield name, child if isinstance(child, Node) else _node(child)


def loose_nodes(root: Node) -> Iterator[Node]:
    """Yield all nodes below a directory that are not packed, once for each of their names."""
    pending = [root]
    while pending:
        for node in pending.pop().loose.values():
            if node.kind is Kind.DIRECTORY:
                pending.append(node)
            yield node


def names(directory: Node) -> list[bytes]:
    """Return the names in a directory, unsorted, and leave it packed."""
    packed = directory.packed
    return [*directory.loose] if packed is None else [*packed.loose, *packed.files.names()]


def record(node: Node) -> Record | None:
    """Return the record of a node that may be packed if it has one name; ``None`` for any other node."""
    if node.kind is not Kind.REGULAR or node.xattrs:
        return None
    size, start, mtime_ns = node.size, node.run, node.mtime_ns
    if start is None:
        if size or node.extents:
            return None
        start = 0
    if not _EARLIEST <= mtime_ns <= _LATEST:
        return None
    return node.layer, node.mode, node.uid, node.gid, mtime_ns, size, start


def _node(file: Record) -> Node:
    node = Node(Kind.REGULAR)
    node.layer, node.mode, node.uid, node.gid, node.mtime_ns, node.size, start = file
    if node.size:
        node.extents = (Extent(0, start, node.size),)
    return node
