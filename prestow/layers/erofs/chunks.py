"""Where a file's data lies, in the form that EROFS can tell: chunks of one size, each a device and block, or a hole.

The data of a plain file is one run in the tar of its layer, starting at a block, so one chunk as large as the file
will do. A sparse file has several runs, and every boundary between data and hole must fall between chunks: the chunk
is the largest power of two that divides all boundaries. There is no such map if a run starts amid a block; and if the
map would take more room than the data, it is not worth having. Such files are copied to the side file, in which each
is one run as long as the file, with real holes.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from prestow.layers.erofs.format import CHUNK_INDEX, chunk_format, chunk_index
from prestow.layers.tar.entry import Extent

_HOLE = chunk_index(0, 0xFFFFFFFF)
_MAX_CHUNK_SHIFT = 31  # log2 of the blocks of a chunk


class ChunkMap(NamedTuple):
    """The map of one file.

    Attributes:
        chunk_format: for the inode.
        indexes: to stand behind it.
    """

    chunk_format: int
    indexes: bytes


def largest_chunk(block_bits: int) -> int:
    """Return the bytes that one chunk can have at most."""
    return 1 << block_bits + _MAX_CHUNK_SHIFT


def one_run(size: int, device: int, address: int, block_bits: int) -> ChunkMap:
    """Return the map of a file of ``size`` bytes, at least 1, that lies in one piece from block ``address`` on."""
    chunk_bits = _largest(size, block_bits)
    if size <= 1 << chunk_bits:
        indexes = chunk_index(device, address >> block_bits)
    else:
        indexes = b"".join(_run(device, address, size, chunk_bits, block_bits))
    return ChunkMap(chunk_format(chunk_bits, block_bits), indexes)


def sparse(size: int, extents: Sequence[Extent], device: int, block_bits: int) -> ChunkMap | None:
    """Return the map of a file of ``size`` bytes, at least 1; ``None`` if there is none, or none worth having."""
    runs = _joined(extents)
    boundaries = stored = 0
    for logical, address, length in runs:
        end = logical + length
        boundaries |= logical | (end if end != size else 0)
        stored += length
        if (address | boundaries) & ((1 << block_bits) - 1):
            return None
    chunk_bits = _largest(size, block_bits)
    if boundaries:
        chunk_bits = min(chunk_bits, (boundaries & -boundaries).bit_length() - 1)
    count = -(-size >> chunk_bits)
    if count * CHUNK_INDEX > stored + (1 << block_bits):
        return None
    indexes = bytearray()
    for logical, address, length in runs:
        indexes += _HOLE * ((logical >> chunk_bits) - len(indexes) // CHUNK_INDEX)
        indexes += b"".join(_run(device, address, length, chunk_bits, block_bits))
    indexes += _HOLE * (count - len(indexes) // CHUNK_INDEX)
    return ChunkMap(chunk_format(chunk_bits, block_bits), bytes(indexes))


def _run(device: int, address: int, length: int, chunk_bits: int, block_bits: int) -> Iterator[bytes]:
    for start in range(address, address + length, 1 << chunk_bits):
        yield chunk_index(device, start >> block_bits)


def _joined(extents: Sequence[Extent]) -> list[Extent]:
    """Join the extents that adjoin both in the file and in the tar."""
    runs: list[Extent] = []
    for extent in extents:
        last = runs[-1] if runs else Extent(0, 0, 0)
        gap = extent.logical - last.logical
        if runs and gap == last.length and extent.offset - last.offset == gap:
            runs[-1] = last._replace(length=gap + extent.length)
        else:
            runs.append(extent)
    return runs


def _largest(size: int, block_bits: int) -> int:
    return min(max((size - 1).bit_length(), block_bits), block_bits + _MAX_CHUNK_SHIFT)
