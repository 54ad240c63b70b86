"""Any tree as a metadata image: refused, or as long as it was said to be, and the same a second time.

Trees are made of the input's bytes: also such as no tar could bring forth. What the images mean, the suite asks the
kernel (tests/layers/erofs/test_kernel.py).
"""

import io
import os
import random
from collections.abc import Iterator

import atheris

from tests.fuzz.harness import fuzz, instrumented

with instrumented():
    from prestow.layers.erofs.image import encode
    from prestow.layers.tar.entry import Extent, Kind
    from prestow.layers.tree.inode import Inode

_KINDS = [Kind.REGULAR, Kind.DIRECTORY, Kind.SYMLINK, Kind.FIFO, Kind.CHAR, Kind.BLOCK, Kind.HARDLINK]
_SPACES = [b"user.", b"trusted.", b"security.", b"system.posix_acl_access", b"other.", b""]
_SIZES = [0, 1, 511, 512, 513, 4096, 65_535, 1 << 20, 1 << 31, 1 << 40]
_MOST_NODES = 200
_DEEPEST = 8
_MOST_WRITTEN = 8 << 20


class _Trees:
    """Takes a tree out of bytes."""

    def __init__(self, data: bytes) -> None:
        self._source = atheris.FuzzedDataProvider(data)
        self.layers = [self._size() for _ in range(self._source.ConsumeIntInRange(0, 3))]
        self._files: list[Inode] = []
        self._count = 0

    def _size(self) -> int:
        return int(self._source.PickValueInList(_SIZES)) + int(self._source.ConsumeIntInRange(0, 3))

    def inode(self, depth: int = 0) -> Inode:
        """Return a file or a folder with all below."""
        source = self._source
        self._count += 1
        kind = source.PickValueInList(_KINDS) if depth else Kind.DIRECTORY
        inode = Inode(kind, source.ConsumeIntInRange(0, 0o7777))
        inode.uid, inode.gid = source.ConsumeIntInRange(0, 2**32 - 2), source.ConsumeIntInRange(0, 2**32 - 2)
        inode.mtime_ns = source.ConsumeIntInRange(-(2**62), 2**62)
        for _ in range(source.ConsumeIntInRange(0, 3) if source.ConsumeBool() else 0):
            name = source.PickValueInList(_SPACES) + source.ConsumeBytes(source.ConsumeIntInRange(0, 260))
            inode.xattrs = (*inode.xattrs, (name, source.ConsumeBytes(source.ConsumeIntInRange(0, 70_000))))
        if kind is Kind.DIRECTORY:
            self._fill(inode, depth)
        else:
            self._describe(inode)
            self._files.append(inode)
        return inode

    def _fill(self, inode: Inode, depth: int) -> None:
        source = self._source
        children: dict[bytes, Inode] = {}
        for _ in range(source.ConsumeIntInRange(0, 40)):
            if self._count >= _MOST_NODES or not source.remaining_bytes():
                break
            name = source.ConsumeBytes(source.ConsumeIntInRange(1, 257)) or b"n"
            again = self._files and source.ConsumeIntInRange(0, 7) == 0
            if again or depth < _DEEPEST:
                children[name] = source.PickValueInList(self._files) if again else self.inode(depth + 1)
        inode.children = children

    def _describe(self, inode: Inode) -> None:
        source = self._source
        if inode.kind in {Kind.SYMLINK, Kind.HARDLINK}:
            inode.link = source.ConsumeBytes(source.ConsumeIntInRange(1, 4095)) or b"l"
            inode.size = len(inode.link)
        elif inode.kind in {Kind.CHAR, Kind.BLOCK}:
            inode.major, inode.minor = source.ConsumeIntInRange(0, 5000), source.ConsumeIntInRange(0, 2**21)
        elif inode.kind is Kind.REGULAR and self.layers:
            self._place(inode)

    def _place(self, inode: Inode) -> None:
        """Give a file some runs of data, inside the layer as the reader of tars sees to."""
        source = self._source
        inode.layer = source.ConsumeIntInRange(0, len(self.layers) - 1)
        room, logical, extents = self.layers[inode.layer], 0, []
        for _ in range(source.ConsumeIntInRange(0, 5)):
            length = min(self._size(), room)
            if length:
                logical += self._size()
                unit = source.PickValueInList([1, 512, 4096])
                offset = source.ConsumeIntInRange(0, room - length) // unit * unit
                extents.append(Extent(logical, offset, length))
                logical += length
        inode.size = logical + self._size()
        inode.extents = tuple(extents)


def check(data: bytes) -> None:
    """Encode the tree twice."""
    trees = _Trees(data)
    root = trees.inode()
    bits = 9 + len(data) % 4
    image = encode(root, trees.layers, block_bits=bits)
    assert image.size % (1 << bits) == 0
    assert 1 <= image.inodes <= _MOST_NODES
    if image.size <= _MOST_WRITTEN:
        target, again = io.BytesIO(), io.BytesIO()
        image.write(target)
        encode(root, trees.layers, block_bits=bits).write(again)
        assert target.getvalue() == again.getvalue()
        assert len(target.getvalue()) == image.size


def seeds() -> Iterator[bytes]:
    """Noise: every input is a tree."""
    for length in (1, 50, 500, 5000, 50_000):
        yield random.Random(length).randbytes(length)
        yield bytes(length)
        yield os.fsencode("ab") * length


if __name__ == "__main__":
    fuzz(check, seeds())
