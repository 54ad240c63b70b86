"""The metadata image of a tree: an EROFS image whose files' data stays where it is, in the tars of the layers.

::

    image = encode(root, layer_sizes)          pure: every inode has its place, side_size is known
    image.write(file)                          the metadata, in one pass, in pieces of about 1 MiB
    if image.side_size:
        image.write_side(file, open_layer)     the few files whose data cannot stay where it is

    mount -t erofs -o device=<tar of layer 0>,device=<tar of layer 1>,…[,device=<side file>] <image> <target>

Device 1 is the tar of layer 0 and so on, all of them, also those that nothing refers to; the side file comes last, and
only where ``side_size`` is not 0. The same tree and sizes always give the same bytes: names are sorted, there is no
clock and no chance, and the UUID is a digest of the rest. The kernel parses nothing but what stands here.
"""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from prestow.content.disk import translated
from prestow.layers.copying import copy_range
from prestow.layers.erofs.format import (
    CHUNK_INDEX,
    CHUNKED,
    FILE_TYPE,
    INLINE,
    INODE,
    PLAIN,
    SLOT,
    Dirent,
    Superblock,
    aligned,
    device_number,
    directory,
    encode_inode,
    plain_inode,
    xattr_body,
)
from prestow.layers.erofs.layout import REACH, Layout
from prestow.layers.tar.entry import Kind
from prestow.layers.tree.inode import Inode
from prestow.layers.tree.packed import listing

OpenLayer = Callable[[int], int]
"""Opens a layer's uncompressed tar, by the layer's index; whoever calls it closes the descriptor."""

_PIECE = 1 << 20


def encode(root: Inode, layer_sizes: Sequence[int], *, block_bits: int = 9) -> "MetadataImage":
    """Place a tree in an image.

    Args:
        root: the merged tree; an inode's ``layer`` says in whose tar its data lies.
        layer_sizes: size in bytes of each layer's uncompressed tar.
        block_bits: log2 of the block size: 9, for which kernels since 6.4 leave all data in the tars, up to 12, which
            older ones can read too, and with which most data goes to the side file.

    Raises:
        InvalidError: a name, link, device number or extended attribute that no file can have.
        UnsupportedError: a layer beyond 2 TiB, or more layers than an image can name.
        ExhaustedError: the side file would be larger than 2 TiB.
    """
    return MetadataImage(Layout(root, layer_sizes, block_bits))


@dataclass(frozen=True, slots=True)
class MetadataImage:
    """An image in which every inode has its place, ready to be written."""

    layout: Layout

    @property
    def inodes(self) -> int:
        """How many there are, the root included."""
        return len(self.layout.positions)

    @property
    def size(self) -> int:
        """Bytes of the image."""
        return self.layout.size

    @property
    def side_size(self) -> int:
        """Bytes of the side file, holes included; 0 if there is none."""
        return self.layout.side_size

    def write(self, file: BinaryIO) -> None:
        """Write the image to a new file that can seek.

        Raises:
            ExhaustedError: the disk is full.
            StorageError: it cannot be written for another reason.
        """
        layout = self.layout
        bits = layout.block_bits
        superblock = Superblock(
            bits, layout.base >> bits, layout.number(0), self.inodes, layout.time, self.size >> bits, layout.devices
        )
        head = superblock.head(bytes(16))
        digest = hashlib.sha256(head)
        with translated("writing the metadata image"):
            file.seek(len(head))
            for piece in _pieces(layout, len(head)):
                digest.update(piece)
                file.write(piece)
            file.seek(0)
            file.write(superblock.head(_uuid(digest.digest())))
            file.flush()

    def write_side(self, file: BinaryIO, open_layer: OpenLayer) -> None:
        """Write the side file to a new file that has a descriptor.

        Raises:
            MismatchError: the tar of a layer ends too early.
            ExhaustedError: the disk is full.
            StorageError: it cannot be written for another reason.
        """
        target = file.fileno()
        with translated("writing the side file"):
            os.ftruncate(target, self.side_size)
            for inode, start in self.layout.side.items():
                source = open_layer(inode.layer)
                try:
                    for logical, offset, length in inode.extents:
                        copy_range(source, target, source_offset=offset, target_offset=start + logical, length=length)
                finally:
                    os.close(source)


def _uuid(digest: bytes) -> bytes:
    """Return a UUID of version 8 (RFC 9562: of the maker's own devising) with as much of a digest as it holds."""
    number = int.from_bytes(digest[:16])
    number = number & ~(0xF << 76) & ~(0x3 << 62) | 0x8 << 76 | 0x2 << 62
    return number.to_bytes(16)


def _pieces(layout: Layout, start: int) -> Iterator[bytes]:
    """Yield everything behind the head."""
    piece = bytearray()
    for position, (before, body) in zip(layout.positions, _Writer(layout).inodes(), strict=True):
        gap = position - len(before) - start - len(piece)
        if gap < 0:  # it is small, and has its place in the rest of an earlier block
            piece[position - start : position - start + len(body)] = body
            continue
        if gap:
            piece += bytes(gap)
        if before:
            piece += before
        piece += body
        if len(piece) >= _PIECE + REACH:
            yield bytes(piece[:_PIECE])
            start += _PIECE
            del piece[:_PIECE]
    yield bytes(piece) + bytes(layout.size - start - len(piece))


class _Writer:
    """Gives the bytes of inodes in order; it meets the children of directories in that same order."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._parents = deque([0])  # of the directories to come, their indexes
        self._next_child = 1

    def inodes(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield for each inode the full blocks before it, and it with all that follows it."""
        bits, directory, symlink = self._layout.block_bits, Kind.DIRECTORY, Kind.SYMLINK
        plain, time = self._layout.plain, self._layout.time
        for index, inode in enumerate(self._layout.inodes()):
            if not isinstance(inode, Inode):
                yield b"", plain_inode(inode, block_bits=bits, time=time)
            elif (file := plain(inode)) is not None:
                yield b"", plain_inode(file, block_bits=bits, time=time)
            elif inode.kind is directory:
                data, subfolders = self._directory(inode, index)
                yield self._with_data(inode, index, data, 2 + subfolders)
            elif inode.kind is symlink:
                yield self._with_data(inode, index, inode.link, self._links(inode))
            elif inode.size:
                yield b"", self._file(inode)
            else:
                union = device_number(inode) if inode.kind in {Kind.CHAR, Kind.BLOCK} else 0
                yield (
                    b"",
                    encode_inode(inode, _xattrs(inode), layout=PLAIN, union=union, size=0, links=self._links(inode)),
                )

    def _links(self, inode: Inode) -> int:
        return self._layout.links.get(inode, 1)

    def _with_data(self, inode: Inode, index: int, data: bytes, links: int) -> tuple[bytes, bytes]:
        """Return a directory or symlink."""
        bits = self._layout.block_bits
        xattrs = _xattrs(inode)
        full = self._layout.split(len(data), INODE + len(xattrs))
        before = data[:full].ljust(aligned(full, 1 << bits), b"\0")
        layout = INLINE if full < len(data) else PLAIN
        union = (self._layout.positions[index] - len(before)) >> bits if before else 0
        head = encode_inode(inode, xattrs, layout=layout, union=union, size=len(data), links=links)
        return before, head + data[full:]

    def _directory(self, inode: Inode, index: int) -> tuple[bytes, int]:
        """Return a directory's data, and how many directories are in it.

        Those of its children that stand elsewhere already take no place in the order.
        """
        layout = self._layout
        positions, base, shared = layout.positions, layout.base, layout.shared
        entries: list[Dirent] = []
        folders, following = 0, self._next_child
        regular, directory_kind = Kind.REGULAR, Kind.DIRECTORY
        for name, child in listing(inode):
            if isinstance(child, Inode):
                kind = child.kind
                folders += kind is directory_kind
                place = shared.get(child, following) if shared else following
            else:
                kind, place = regular, following
            following += place == following
            entries.append((name, (positions[place] - base) // SLOT, FILE_TYPE[kind]))
        self._next_child = following
        number, parent = layout.number(index), layout.number(self._parents.popleft())
        self._parents.extend([index] * folders)
        return directory(entries, number, parent, 1 << layout.block_bits), folders

    def _file(self, inode: Inode) -> bytes:
        """Return a regular file that is neither plain nor empty."""
        union, indexes = self._layout.file_map(inode)
        head = encode_inode(
            inode, _xattrs(inode), layout=CHUNKED, union=union, size=inode.size, links=self._links(inode)
        )
        return head.ljust(aligned(len(head), CHUNK_INDEX), b"\0") + indexes


def _xattrs(inode: Inode) -> bytes:
    return xattr_body(inode.kind, inode.xattrs) if inode.xattrs else b""
