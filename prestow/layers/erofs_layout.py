"""Where everything goes in a metadata image: the half of the encoder that only counts.

    [full blocks of a directory or symlink] inode [extended attributes] [tail, or chunk indexes]   and so on

Inodes are in breadth-first order, names sorted, so the children of a directory adjoin in ``order`` and need no table
of their numbers. A tail may not cross a block (the kernel maps it as one piece), so an inode with a tail moves to the
next block where need be; one whose tail would not fit even there gets it as one more full block.
"""

from array import array
from collections.abc import Sequence

from prestow.errors import ExhaustedError, InvalidError, UnsupportedError, printable
from prestow.layers.entry import Kind
from prestow.layers.erofs_chunks import ChunkMap, largest_chunk, one_run, sparse
from prestow.layers.erofs_format import (
    CHUNK_INDEX,
    INODE,
    MAX_BLOCKS,
    SLOT,
    aligned,
    device_number,
    directory_size,
    head_size,
    xattr_body,
)
from prestow.layers.links import link_counts
from prestow.layers.node import Node, walk

_SIDE_UNIT = 4096  # a page, whatever the block size


class Layout:
    """The places of a tree's inodes.

    Attributes:
        block_bits: log2 of the block size.
        order: each inode once, breadth first.
        positions: the offset of each, in this order.
        parents: for each directory, in this order, the index of its parent.
        base: the offset from which inodes are counted, in whole blocks.
        links: number of names of each file that has several.
        shared: index of each of these.
        side: files whose data is copied, and where each starts in the side file.
        side_size: size of the side file.
        size: size of the image.
    """

    __slots__ = (
        "_amid", "_chunk", "_ends", "_layers", "base", "block_bits", "links", "order", "parents", "positions",
        "shared", "side", "side_size", "size",
    )  # fmt: skip

    def __init__(self, root: Node, layer_sizes: Sequence[int], block_bits: int) -> None:
        """Place everything; see :func:`prestow.layers.erofs.encode` for what it raises."""
        self.block_bits = block_bits
        self._layers = [size >> block_bits for size in layer_sizes]
        self._ends = [blocks << block_bits for blocks in self._layers]
        self._amid = (1 << block_bits) - 1
        self._chunk = largest_chunk(block_bits)
        if max(self._layers, default=0) > MAX_BLOCKS:
            raise UnsupportedError(f"layer of {max(layer_sizes)} bytes: at most {self._reach} are possible here")
        self.links = link_counts(root)
        self.shared: dict[Node, int] = {}
        self.order = [root]
        self.parents = array("Q")
        self._number()
        self.side: dict[Node, int] = {}
        self.side_size = 0
        self.positions = array("Q")
        try:
            self.size = self._place()
        except InvalidError as error:
            culprit = self.order[len(self.positions)]
            path = next(path for path, node in walk(root) if node is culprit)
            raise InvalidError(f"{printable(path)!r}: {error}") from error
        # From here inodes are counted, so that the root's number fits into 16 bits, and is not 0.
        self.base = aligned(self.positions[0], 1 << block_bits) - (1 << block_bits)

    @property
    def devices(self) -> tuple[int, ...]:
        """The size of each device in blocks."""
        side = (self.side_size >> self.block_bits,) if self.side_size else ()
        return (*self._layers, *side)

    def file_map(self, node: Node) -> ChunkMap:
        """Give the map of a regular file that is not empty; one that has none gets a place in the side file."""
        if node not in self.side:
            if found := self._tar_map(node):
                return found
            self.side[node] = self.side_size
            self.side_size += aligned(node.size, _SIDE_UNIT)
            if self.side_size > self._reach:
                raise ExhaustedError(
                    f"sparse files of {self.side_size} bytes together: at most {self._reach} are possible here"
                )
        return one_run(node.size, len(self._layers) + 1, self.side[node], self.block_bits)

    def run(self, node: Node) -> int | None:
        """Give the block of its layer's tar where a file begins that one chunk index tells; ``None`` for any other."""
        start = node.run
        if start is None or start & self._amid or start + node.size > self._ends[node.layer] or node.size > self._chunk:
            return None
        return start >> self.block_bits

    def number(self, index: int) -> int:
        """Give the number of an inode by its index."""
        return (self.positions[index] - self.base) // SLOT

    def split(self, size: int, body: int) -> int:
        """Give how many of the ``size`` bytes of data stand in full blocks before an inode of ``body`` bytes."""
        block = 1 << self.block_bits
        tail = size & (block - 1)
        return size if body + tail > block else size - tail

    @property
    def _reach(self) -> int:
        """The largest size of a device in bytes."""
        return MAX_BLOCKS << self.block_bits

    def _number(self) -> None:
        """Put the nodes in order; the list grows while it is walked."""
        parents: dict[Node, int] = {self.order[0]: 0}
        for index, node in enumerate(self.order):
            if node.children is None:
                continue
            self.parents.append(parents.pop(node))
            for name in sorted(node.children):
                child = node.children[name]
                if child.children is not None:
                    parents[child] = index
                elif child in self.links:
                    if child in self.shared:
                        continue
                    self.shared[child] = len(self.order)
                self.order.append(child)

    def _place(self) -> int:
        """Give each inode its offset; give the size of the image."""
        block = 1 << self.block_bits
        regular = Kind.REGULAR
        position = head_size(len(self._layers) + 1, self.block_bits)
        for node in self.order:
            body = INODE + (len(xattr_body(node.kind, node.xattrs)) if node.xattrs else 0)
            if node.kind is regular:
                if node.size:
                    indexes = CHUNK_INDEX if self.run(node) is not None else len(self.file_map(node).indexes)
                    body = aligned(body, CHUNK_INDEX) + indexes
            else:
                data = self._data_size(node)
                full = self.split(data, body)
                if full:
                    position = aligned(position, block) + aligned(full, block)
                elif (position & (block - 1)) + body + data > block:
                    position = aligned(position, block)
                body += data - full
            self.positions.append(position)
            position = (position + body + SLOT - 1) & -SLOT
        return aligned(position, block)

    def _data_size(self, node: Node) -> int:
        """Give the size of what the image itself holds of a node's data."""
        if node.children is not None:
            return directory_size(node.children, 1 << self.block_bits)
        if node.kind is Kind.HARDLINK:
            raise InvalidError(f"hard link to {printable(node.link)!r}: there is no such file in any layer")
        if node.kind in {Kind.CHAR, Kind.BLOCK}:
            device_number(node)
        return len(node.link) if node.kind is Kind.SYMLINK else 0

    def _tar_map(self, node: Node) -> ChunkMap | None:
        """Give the map of a file into its layer's tar, if there is one and the tar has all its blocks in full."""
        bits = self.block_bits
        extents = node.extents
        device = node.layer + 1
        if extents and extents[-1].offset + extents[-1].length > self._ends[node.layer]:
            return None
        if len(extents) == 1 and extents[0].length == node.size and not extents[0].offset & ((1 << bits) - 1):
            return one_run(node.size, device, extents[0].offset, bits)
        return sparse(node.size, extents, device, bits)
