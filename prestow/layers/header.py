r"""Header blocks of tar: 512 bytes of fixed fields, in four dialects.

      0 name      100 mode   108 uid      116 gid    124 size   136 mtime   148 checksum   156 flag   157 link
    257 magic     263 version   265 uname   297 gname   329 major   337 minor   345 prefix   500 rest

    v7       up to link; what follows means nothing
    ustar    magic "ustar\0"; the name is prefix/name
    star     like ustar, but a prefix of 131 bytes, and "tar\0" at the end
    GNU      magic "ustar  \0"; times where others have the prefix, and sparse maps behind them

Text ends at the first zero byte. A number is octal between spaces and zero bytes, or two's complement in base 256
where the first bit is set.
"""

import struct
import zlib
from typing import NamedTuple

from prestow.errors import printable
from prestow.layers.pax import bad

BLOCK = 512

_FIELDS = struct.Struct("100s8s8s8s12s12s8s1s100s6s2s32s32s8s8s155s12s")
_CHECKSUM = slice(148, 156)
_SPACES = 8 * ord(" ")
_HALF = BLOCK // 2
_SUM = 0xFFFF

_USTAR = b"ustar\0"
_GNU = b"ustar " + b" \0"
_STAR_END = b"tar\0"
_STAR_PREFIX = 131
_GNU_TIMES = (slice(0, 12), slice(12, 24))

_BINARY = 0x80
_MOST_CACHED = 4096


class Header(NamedTuple):
    """One header block, cut in its fields."""

    name: bytes
    mode: bytes
    uid: bytes
    gid: bytes
    size: bytes
    mtime: bytes
    checksum: bytes
    flag: bytes
    link: bytes
    magic: bytes
    version: bytes
    uname: bytes
    gname: bytes
    major: bytes
    minor: bytes
    prefix: bytes
    rest: bytes

    @classmethod
    def parse(cls, block: bytes, offset: int) -> "Header":
        """Cut a block, which stands at ``offset`` of the tar.

        Raises:
            InvalidError: its checksum is wrong.
        """
        header = cls._make(_FIELDS.unpack(block))
        # The low half of adler32 is 1 + the sum of up to 256 bytes: a sum in C, where sum() would take half the scan.
        total = (zlib.adler32(block[:_HALF]) & _SUM) + (zlib.adler32(block[_HALF:]) & _SUM) - 2
        blanked = total - sum(header.checksum) + _SPACES
        stored = number(header.checksum, offset)
        if stored not in (blanked, blanked - 256 * _high_bytes(block)):
            raise bad(f"wrong checksum: expected {blanked}, found {stored}: no header, or a damaged one", offset)
        return header

    @property
    def is_gnu(self) -> bool:
        """Whether it is of GNU's dialect."""
        return self.magic + self.version == _GNU

    @property
    def has_device(self) -> bool:
        """Whether its dialect knows device numbers."""
        return self.magic == _USTAR or self.is_gnu

    def path(self) -> bytes:
        """Give the name with its prefix."""
        name, prefix = text(self.name), b""
        if self.prefix[0]:
            if self.magic == _USTAR:
                prefix = text(self.prefix[:_STAR_PREFIX] if self.rest.endswith(_STAR_END) else self.prefix)
            elif self.is_gnu:
                prefix = self._misplaced_prefix()
        return prefix + b"/" + name if prefix else name

    def _misplaced_prefix(self) -> bytes:
        """Give the prefix that some writers put into GNU headers: ASCII text where there should be times."""
        if all(_reads_as_number(self.prefix[part]) for part in _GNU_TIMES):
            return b""
        prefix = text(self.prefix)
        return prefix if prefix.isascii() else b""


def text(field: bytes) -> bytes:
    """Give a field up to its first zero byte."""
    return field.partition(b"\0")[0]


def number(field: bytes, offset: int) -> int:
    """Give the number in a field, which may be negative.

    Raises:
        InvalidError: neither octal nor base-256.
    """
    value = _number(field)
    if value is None:
        raise bad(f"number {printable(field)!r}: expected octal digits, or base 256", offset)
    return value


class Numbers:
    """Gives the numbers of fields, remembering some: owners, modes and times repeat, and their objects are shared."""

    def __init__(self) -> None:
        """Remember none."""
        self._known: dict[bytes, int] = {}

    def __call__(self, field: bytes, offset: int) -> int:
        """Give the number in a field; raises as :func:`number`."""
        value = self._known.get(field)
        if value is None:
            if len(self._known) >= _MOST_CACHED:
                self._known.clear()
            value = self._known[field] = number(field, offset)
        return value


def _number(field: bytes) -> int | None:
    if field[0] & _BINARY:
        value = int.from_bytes(field, "big") - (1 << 8 * len(field) - 1)  # without the mark
        limit = 1 << 8 * len(field) - 2
        return value - 2 * limit if value & limit else value
    digits = field.strip(b" \0")
    if not digits.isdigit():
        digits = text(digits)
    try:
        return int(digits, 8) if digits.isdigit() else (None if digits else 0)
    except ValueError:
        return None


def _reads_as_number(field: bytes) -> bool:
    return _number(field) is not None


def _high_bytes(block: bytes) -> int:
    """Count the bytes that are negative where bytes are signed: some old writers summed them so."""
    if block.isascii():
        return 0
    return sum(byte >= _BINARY for byte in block[: _CHECKSUM.start] + block[_CHECKSUM.stop :])
