"""The structures of EROFS on disk, as bytes (little endian; the kernel's fs/erofs/erofs_fs.h).

    0     boot sector, zeros
    1024  superblock, 128 bytes            checksum: CRC-32C from here to the end of the block it starts in
    1152  one slot of 128 bytes a device   the tars of the layers, then the side file
          ⋮                                up to a whole block
          inodes and directory blocks      an inode's number is its offset / 32, from a block that is told above

An inode is 64 bytes (the *extended* form: times and owners in full), then its extended attributes, then either its
tail (*inline*: within the same block), or nothing (*plain*: whole blocks elsewhere), or its chunk indexes. In the
*compact* form it is 32 bytes, and has the one time that the superblock tells.
"""

import struct
from bisect import insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from prestow.errors import InvalidError, printable
from prestow.layers.tar.entry import Kind
from prestow.layers.tree.inode import SECOND, Inode, Xattrs
from prestow.layers.tree.packed import Record
from prestow.layers.tree.xattrs import ACL_ACCESS, ACL_DEFAULT, check

SLOT = 32
INODE = 64
COMPACT = 32
CHUNK_INDEX = 8
MAX_BLOCKS = 2**32 - 1
"""Blocks of a device: an address has 32 bits, and all of them set is a hole."""

PLAIN, INLINE, CHUNKED = 0, 2, 4

_SUPERBLOCK_AT = 1024
_MAGIC = 0xE0F5E1E2
_CHECKSUM, _MTIME = 1, 2  # compatible features: the checksum is there, times are those of modification
_CHUNKED_FILE, _DEVICE_TABLE = 4, 8  # incompatible features
_COMPACT, _EXTENDED = 0, 1
_REGULAR = int(Kind.REGULAR)
_WITH_INDEXES = 0x20
_LINK_MODE = 0o777  # Linux looks at no other
_SUPERBLOCK = struct.Struct("<IIIBBHQqIIII16s16sIHHHBBIQB23x")
_DEVICE = struct.Struct("<64xII56x")
_INODE = struct.Struct("<HHHHQIIIIqII16x")
_INDEX = struct.Struct("<HHI")
_RUN = struct.Struct("<HHHHQIIIIqII16xHHI")  # an inode and the one chunk index behind it
_COMPACT_INODE = struct.Struct("<HHHHI4xIIHH4x")
_COMPACT_RUN = struct.Struct("<HHHHI4xIIHH4xHHI")

_DIRENT = 12
_NAME_MAX = 255
FILE_TYPE = {
    Kind.REGULAR: 1, Kind.DIRECTORY: 2, Kind.CHAR: 3, Kind.BLOCK: 4, Kind.FIFO: 5, Kind.SYMLINK: 7,
}  # fmt: skip
"""The type of a file as directory entries tell it."""

_XATTR_HEADER = 12
_XATTR_MAX = _XATTR_HEADER + (2**16 - 2) * 4
_XATTR_SPACES = ((b"user.", 1), (ACL_ACCESS, 2), (ACL_DEFAULT, 3), (b"trusted.", 4), (b"security.", 6))

_SHORT, _MEDIUM = 2**16 - 1, 2**32 - 1  # what a compact inode can tell of owners, and of its size
_MAJOR_MAX, _MINOR_MAX = 2**12 - 1, 2**20 - 1

Dirent = tuple[bytes, int, int]
"""Name, inode number and file type."""


@dataclass(frozen=True, slots=True)
class Superblock:
    """What the head of an image says.

    Attributes:
        block_bits: log2 of the block size.
        base: block from which inodes are counted.
        root: number of the root's inode, 65535 at most.
        inodes: how many there are.
        time: of the compact inodes, in nanoseconds since the epoch.
        blocks: size of the image.
        devices: size of each device, in whole blocks.
    """

    block_bits: int
    base: int
    root: int
    inodes: int
    time: int
    blocks: int
    devices: tuple[int, ...]

    def head(self, uuid: bytes) -> bytes:
        """Return everything before the first inode, checksum included."""
        raw = self._packed(uuid, 0)
        block = 1 << self.block_bits
        covered = block - _SUPERBLOCK_AT if block > _SUPERBLOCK_AT else block
        return self._packed(uuid, crc32c(raw[_SUPERBLOCK_AT : _SUPERBLOCK_AT + covered]))

    def _packed(self, uuid: bytes, checksum: int) -> bytes:
        raw = bytearray(head_size(len(self.devices), self.block_bits))
        features = _CHUNKED_FILE | (_DEVICE_TABLE if self.devices else 0)
        first_slot = (_SUPERBLOCK_AT + _SUPERBLOCK.size) // _DEVICE.size
        _SUPERBLOCK.pack_into(
            raw, _SUPERBLOCK_AT,
            _MAGIC, checksum, _CHECKSUM | _MTIME, self.block_bits, 0, self.root, self.inodes,
            *divmod(self.time, SECOND), self.blocks, self.base, 0, uuid, b"", features, 0, len(self.devices),
            first_slot, 0, 0, 0, 0, 0,
        )  # fmt: skip
        for index, blocks in enumerate(self.devices, first_slot):
            _DEVICE.pack_into(raw, index * _DEVICE.size, blocks, 0)
        return bytes(raw)


def head_size(devices: int, block_bits: int) -> int:
    """Return the offset of the first inode in an image with so many devices."""
    return aligned(_SUPERBLOCK_AT + _SUPERBLOCK.size + devices * _DEVICE.size, 1 << block_bits)


def aligned(offset: int, unit: int) -> int:
    """Return the first multiple of ``unit``, a power of two, from ``offset`` on."""
    return (offset + unit - 1) & -unit


def crc32c(data: bytes) -> int:
    """Return the kernel's raw CRC-32C: seed of all ones, result not inverted."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 & -(value & 1))
    return value


def encode_inode(inode: Inode, xattrs: bytes, *, layout: int, union: int, size: int, links: int) -> bytes:
    """Return an inode with its extended attributes; ``union`` is a block, a device number or a chunk format."""
    seconds, nanoseconds = divmod(inode.mtime_ns, SECOND)
    count = (len(xattrs) - _XATTR_HEADER) // 4 + 1 if xattrs else 0
    mode = _LINK_MODE if inode.kind is Kind.SYMLINK else inode.mode
    head = _INODE.pack(
        _EXTENDED | layout << 1, count, inode.kind | mode, 0, size, union, 0, inode.uid, inode.gid, seconds,
        nanoseconds, links,
    )  # fmt: skip
    return head + xattrs


def plain_inode(file: Record, *, block_bits: int, time: int) -> bytes:
    """Return the inode of a plain file, with its chunk index unless the file is empty. Most files are plain."""
    layer, mode, uid, gid, mtime_ns, size, start = file
    mode |= _REGULAR
    union = _WITH_INDEXES | max((size - 1).bit_length() - block_bits, 0)
    if _is_compact(file, time):
        if not size:
            return _COMPACT_INODE.pack(_COMPACT | PLAIN << 1, 0, mode, 1, 0, 0, 0, uid, gid)
        return _COMPACT_RUN.pack(
            _COMPACT | CHUNKED << 1, 0, mode, 1, size, union, 0, uid, gid, 0, layer + 1, start >> block_bits
        )
    seconds, nanoseconds = divmod(mtime_ns, SECOND)
    if not size:
        return _INODE.pack(_EXTENDED | PLAIN << 1, 0, mode, 0, 0, 0, 0, uid, gid, seconds, nanoseconds, 1)
    return _RUN.pack(
        _EXTENDED | CHUNKED << 1, 0, mode, 0, size, union, 0, uid, gid, seconds, nanoseconds, 1,
        0, layer + 1, start >> block_bits,
    )  # fmt: skip


def plain_size(file: Record, time: int) -> int:
    """Return the size of what :func:`plain_inode` returns."""
    *_, size, _ = file
    return (COMPACT if _is_compact(file, time) else INODE) + (CHUNK_INDEX if size else 0)


def _is_compact(file: Record, time: int) -> bool:
    """Whether the compact form can tell all that is known of a plain file."""
    _, _, uid, gid, mtime_ns, size, _ = file
    return mtime_ns == time and (uid | gid) <= _SHORT and size <= _MEDIUM


def device_number(inode: Inode) -> int:
    """Return the number of a device inode in the kernel's encoding.

    Raises:
        InvalidError: the number does not fit into 12 bits for the major and 20 for the minor.
    """
    if not (0 <= inode.major <= _MAJOR_MAX and 0 <= inode.minor <= _MINOR_MAX):
        raise InvalidError(f"device number {inode.major}:{inode.minor}: at most {_MAJOR_MAX}:{_MINOR_MAX} is possible")
    return (inode.minor & 0xFF) | inode.major << 8 | (inode.minor & ~0xFF) << 12


def chunk_format(chunk_bits: int, block_bits: int) -> int:
    """Return the chunk format of an inode whose chunks have ``2 ** chunk_bits`` bytes."""
    return _WITH_INDEXES | (chunk_bits - block_bits)


def chunk_index(device: int, block: int) -> bytes:
    """Return the index of a chunk that starts at a block of a device."""
    return _INDEX.pack(0, device, block)


def xattr_body(kind: Kind, xattrs: Xattrs) -> bytes:
    """Return the extended attributes as they stand behind an inode; nothing where there are none.

    Raises:
        InvalidError: one that no file can have, or more than 256 KiB of them.
    """
    entries = bytearray()
    for name, value in xattrs:
        check(kind, name, value)
        for space, index in _XATTR_SPACES:
            if name.startswith(space):
                rest = name[len(space) :]
                entries += struct.pack("<BBH", len(rest), index, len(value)) + rest + value
                entries += bytes(-len(entries) % 4)
                break
        else:
            raise InvalidError(f"extended attribute {printable(name)!r}: not a name space of EROFS")
    if _XATTR_HEADER + len(entries) > _XATTR_MAX:
        raise InvalidError(
            f"extended attributes of {len(entries)} bytes on one file; at most {_XATTR_MAX} are possible"
        )
    return bytes(_XATTR_HEADER) + entries if entries else b""


def directory_size(names: Iterable[bytes], block_size: int) -> int:
    """Return the size of a directory's data.

    Raises:
        InvalidError: a name is longer than 255 bytes.
    """
    full = used = 0
    for name in sorted(chain((b".", b".."), names)):
        needed = _DIRENT + len(name)
        if used + needed > block_size:
            full += block_size
            used = 0
        used += needed
        if len(name) > _NAME_MAX:
            raise InvalidError(f"name of {len(name)} bytes, {printable(name, 40)!r}: at most {_NAME_MAX} are possible")
    return full + used


def directory(entries: list[Dirent], number: int, parent: int, block_size: int) -> bytes:
    """Return a directory's data: ``entries`` in byte order, and the two for itself and its parent put among them."""
    insort(entries, (b".", number, FILE_TYPE[Kind.DIRECTORY]))
    insort(entries, (b"..", parent, FILE_TYPE[Kind.DIRECTORY]))
    return b"".join(_directory_blocks(entries, block_size))


def _directory_blocks(entries: Sequence[Dirent], block_size: int) -> Iterator[bytes]:
    first = used = 0
    for position, entry in enumerate(entries):
        needed = _DIRENT + len(entry[0])
        if used + needed > block_size:
            yield _directory_block(entries[first:position]).ljust(block_size, b"\0")
            first, used = position, 0
        used += needed
    yield _directory_block(entries[first:])


def _directory_block(entries: Sequence[Dirent]) -> bytes:
    """Return the entries, then their names; the first name's offset tells how many entries there are."""
    fields: list[int] = []
    at = len(entries) * _DIRENT
    for name, number, file_type in entries:
        fields += (number, at, file_type)
        at += len(name)
    return struct.pack("<" + "QHBx" * len(entries), *fields) + b"".join(entry[0] for entry in entries)
