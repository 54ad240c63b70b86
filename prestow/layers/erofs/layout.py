"""Where everything goes in a metadata image: the half of the encoder that only counts.

    [full blocks of a directory or symlink] inode [extended attributes] [tail, or chunk indexes]   and so on

Inodes are in breadth-first order, names sorted, so the children of a directory adjoin and need no table of their
numbers. Plain files stay packed (:mod:`prestow.layers.tree.packed`): of each only its offset is held here. A tail may
not cross a block (the kernel maps it as one piece), so an inode with a tail moves to the next block where need be; one
whose tail would not fit even there gets it as one more full block. Later inodes fill the gap that one leaves.
"""

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from operator import itemgetter

from prestow.errors import ExhaustedError, InvalidError, UnsupportedError, printable
from prestow.layers.erofs.chunks import ChunkMap, largest_chunk, one_run, sparse
from prestow.layers.erofs.format import (
    CHUNK_INDEX,
    INODE,
    MAX_BLOCKS,
    SLOT,
    aligned,
    device_number,
    directory_size,
    head_size,
    plain_size,
    xattr_body,
)
from prestow.layers.tar.entry import Kind
from prestow.layers.tree.inode import Inode, walk
from prestow.layers.tree.links import link_counts
from prestow.layers.tree.packed import MTIME_NS, Record, listing, names

REACH = 1 << 16
"""How far back, in bytes, an inode may be put: the image is written in one pass."""

_mtime_ns = itemgetter(MTIME_NS)
_SIDE_UNIT = 4096  # a page, whatever the block size


class Layout:
    """The places of a tree's inodes.

    Attributes:
        block_bits: log2 of the block size.
        directories: each directory, breadth first.
        positions: the offset of each inode, in the order of ``inodes``.
        base: the offset from which inodes are counted, in whole blocks.
        links: number of names of each file that has several.
        time: of compact inodes, in nanoseconds since the epoch: that of most files, the latest of several such.
        shared: index of each of these among the inodes.
        side: files whose data is copied, and where each starts in the side file.
        side_size: size of the side file.
        size: size of the image.
    """

    __slots__ = (
        "_amid", "_chunk", "_ends", "_layers", "base", "block_bits", "directories", "links", "positions", "shared",
        "side", "side_size", "size", "time",
    )  # fmt: skip

    def __init__(self, root: Inode, layer_sizes: Sequence[int], block_bits: int) -> None:
        """Place everything; see :func:`prestow.layers.erofs.image.encode` for what it raises."""
        self.block_bits = block_bits
        self._layers = [size >> block_bits for size in layer_sizes]
        self._ends = [blocks << block_bits for blocks in self._layers]
        self._amid = (1 << block_bits) - 1
        self._chunk = largest_chunk(block_bits)
        if max(self._layers, default=0) > MAX_BLOCKS:
            raise UnsupportedError(f"layer of {max(layer_sizes)} bytes: at most {self._reach} are possible here")
        self.links = link_counts(root)
        self.time = _commonest_time(root)
        self.shared: dict[Inode, int] = {}
        self.directories = [root]
        self.side: dict[Inode, int] = {}
        self.side_size = 0
        self.positions = array("Q")
        try:
            self.size = self._place()
        except InvalidError as error:
            culprit = next(islice(self.inodes(), len(self.positions), None))
            path = next(path for path, inode in walk(root) if inode is culprit)
            raise InvalidError(f"{printable(path)!r}: {error}") from error
        # From here inodes are counted, so that the root's number fits into 16 bits, and is not 0.
        self.base = aligned(self.positions[0], 1 << block_bits) - (1 << block_bits)

    @property
    def devices(self) -> tuple[int, ...]:
        """The size of each device in blocks."""
        side = (self.side_size >> self.block_bits,) if self.side_size else ()
        return (*self._layers, *side)

    def inodes(self) -> Iterator[Inode | Record]:
        """Yield each inode once, breadth first: a packed file as its record, all others as inodes."""
        yield self.directories[0]
        links = self.links
        met: set[Inode] = set()
        for directory in self.directories:  # which grows while everything is placed
            for _, inode in listing(directory):
                if links and isinstance(inode, Inode) and inode in links:
                    if inode in met:
                        continue
                    met.add(inode)
                yield inode

    def file_map(self, inode: Inode) -> ChunkMap:
        """Return the map of a regular file that is not empty; one that has none gets a place in the side file."""
        if inode not in self.side:
            if found := self._tar_map(inode):
                return found
            self.side[inode] = self.side_size
            self.side_size += aligned(inode.size, _SIDE_UNIT)
            if self.side_size > self._reach:
                raise ExhaustedError(
                    f"sparse files of {self.side_size} bytes together: at most {self._reach} are possible here"
                )
        return one_run(inode.size, len(self._layers) + 1, self.side[inode], self.block_bits)

    def plain(self, inode: Inode) -> Record | None:
        """Return the record of a regular file of one name, without extended attributes, that is empty or one run.

        It is the same whether the file was packed or not; ``None`` for any other inode.
        """
        if inode.kind is not Kind.REGULAR or inode.xattrs or (self.links and inode in self.links):
            return None
        start = self._run(inode) if inode.size else 0
        if start is None:
            return None
        return inode.layer, inode.mode, inode.uid, inode.gid, inode.mtime_ns, inode.size, start

    def _run(self, inode: Inode) -> int | None:
        """Return the offset in its layer's tar of a file that one chunk index maps; ``None`` for any other file."""
        start = inode.run
        if (
            start is None
            or start & self._amid
            or start + inode.size > self._ends[inode.layer]
            or inode.size > self._chunk
        ):
            return None
        return start

    def number(self, index: int) -> int:
        """Return the number of an inode by its index."""
        return (self.positions[index] - self.base) // SLOT

    def split(self, size: int, body: int) -> int:
        """Return how many of the ``size`` bytes of data stand in full blocks before an inode of ``body`` bytes."""
        block = 1 << self.block_bits
        tail = size & (block - 1)
        return size if body + tail > block else size - tail

    @property
    def _reach(self) -> int:
        """The largest size of a device in bytes."""
        return MAX_BLOCKS << self.block_bits

    def _place(self) -> int:
        """Set each inode's offset, and return the size of the image."""
        position, block = head_size(len(self._layers) + 1, self.block_bits), 1 << self.block_bits
        gap = end = 0
        note, plain, time = self.positions.append, self.plain, self.time
        for inode in self.inodes():
            full, whole = 0, False
            if not isinstance(inode, Inode):
                body = plain_size(inode, time)  # most of them
            elif (file := plain(inode)) is not None:
                body = plain_size(file, time)
            else:
                full, body = self._measure(inode)
                whole = inode.kind is not Kind.REGULAR
            if position - gap >= REACH:
                gap = end = position
            if body <= end - gap and not full:
                note(gap)
                gap = (gap + body + SLOT - 1) & -SLOT
                continue
            if full or (whole and (position & (block - 1)) + body > block):
                following = aligned(position, block)
                if following - position > end - gap:
                    gap, end = position, following
                position = following + full
            note(position)
            position = (position + body + SLOT - 1) & -SLOT
        return aligned(position, block)

    def _measure(self, inode: Inode) -> tuple[int, int]:
        """Return the size of an inode's full blocks, and its own with all that follows it."""
        body = INODE + (len(xattr_body(inode.kind, inode.xattrs)) if inode.xattrs else 0)
        if inode in self.links:
            self.shared[inode] = len(self.positions)
        if inode.kind is Kind.REGULAR:
            if inode.size:
                body = aligned(body, CHUNK_INDEX) + len(self.file_map(inode).indexes)
            return 0, body
        data = self._data_size(inode)
        full = self.split(data, body)
        if inode.kind is Kind.DIRECTORY:
            self._settle(inode)
            if self.positions:
                self.directories.append(inode)
        return aligned(full, 1 << self.block_bits), body + data - full

    def _settle(self, directory: Inode) -> None:
        """Unpack a directory's files if one of them cannot stay in its tar, for then it matters which."""
        packed = directory.packed
        if packed is None:
            return
        amid, chunk, ends = self._amid, self._chunk, self._ends
        for layer, _, _, _, _, size, start in packed.files.records():
            if size and (start & amid or start + size > ends[layer] or size > chunk):
                directory.hold(packed.unpacked())
                return

    def _data_size(self, inode: Inode) -> int:
        """Return the size of what the image itself holds of an inode's data."""
        if inode.kind is Kind.DIRECTORY:
            return directory_size(names(inode), 1 << self.block_bits)
        if inode.kind is Kind.HARDLINK:
            raise InvalidError(f"hard link to {printable(inode.link)!r}: there is no such file in any layer")
        if inode.kind in {Kind.CHAR, Kind.BLOCK}:
            device_number(inode)
        return len(inode.link) if inode.kind is Kind.SYMLINK else 0

    def _tar_map(self, inode: Inode) -> ChunkMap | None:
        """Return the map of a file into its layer's tar, if there is one and the tar has all its blocks in full."""
        bits = self.block_bits
        extents = inode.extents
        device = inode.layer + 1
        if extents and extents[-1].offset + extents[-1].length > self._ends[inode.layer]:
            return None
        if len(extents) == 1 and extents[0].length == inode.size and not extents[0].offset & ((1 << bits) - 1):
            return one_run(inode.size, device, extents[0].offset, bits)
        return sparse(inode.size, extents, device, bits)


def _commonest_time(root: Inode) -> int:
    """Return the time of most files, the latest of several such; 0 if there is no file."""
    return max(Counter(_times(root)).items(), key=lambda item: item[::-1], default=(0, 0))[0]


def _times(root: Inode) -> Iterator[int]:
    """Yield the times of all files, once for each of their names."""
    pending = [root]
    while pending:
        directory = pending.pop()
        for inode in directory.loose.values():
            if inode.kind is Kind.DIRECTORY:
                pending.append(inode)
            elif inode.kind is Kind.REGULAR:
                yield inode.mtime_ns
        if directory.packed is not None:
            yield from map(_mtime_ns, directory.packed.files.records())
