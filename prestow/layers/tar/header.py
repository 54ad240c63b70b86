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
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from prestow.errors import printable
from prestow.layers.tar.pax import bad

BLOCK = 512

T = TypeVar("T")

_FIELDS = struct.Struct("100s24s12s12s8s1s100s8s64x8s8s155s12s")
_CHECKSUM = slice(148, 156)
_SPACES = 8 * ord(" ")
_HALF = BLOCK // 2
_SUM = 0xFFFF

_USTAR = b"ustar\0"  # and a version, which means nothing
_GNU = b"ustar " + b" \0"
_STAR_END = b"tar\0"
_STAR_PREFIX = 131
_GNU_TIMES = (slice(0, 12), slice(12, 24))

_BINARY = 0x80
_MOST_REMEMBERED = 4096
_ID = 8
MODE_BITS = 0o7777


class Header(NamedTuple):
    """One header block, cut in its fields; ``ids`` are mode, uid and gid, ``dialect`` is magic and version."""

    name: bytes
    ids: bytes
    size: bytes
    mtime: bytes
    checksum: bytes
    flag: bytes
    link: bytes
    dialect: bytes
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
        if header.checksum != b"%06o\0 " % blanked:  # as nearly everybody writes it
            stored = number(header.checksum, offset)
            if stored not in (blanked, blanked - 256 * _high_bytes(block)):
                raise bad(f"wrong checksum: expected {blanked}, found {stored}: no header, or a damaged one", offset)
        return header

    @property
    def is_gnu(self) -> bool:
        """Whether it is of GNU's dialect."""
        return self.dialect == _GNU

    @property
    def has_device(self) -> bool:
        """Whether its dialect knows device numbers."""
        return self.dialect.startswith(_USTAR) or self.is_gnu

    def path(self) -> bytes:
        """Return the name with its prefix."""
        name, prefix = text(self.name), b""
        if self.prefix[0]:
            if self.dialect.startswith(_USTAR):
                prefix = text(self.prefix[:_STAR_PREFIX] if self.rest.endswith(_STAR_END) else self.prefix)
            elif self.is_gnu:
                prefix = self._misplaced_prefix()
        return prefix + b"/" + name if prefix else name

    def _misplaced_prefix(self) -> bytes:
        """Return the prefix that some writers put into GNU headers: ASCII text where there should be times."""
        if all(_reads_as_number(self.prefix[part]) for part in _GNU_TIMES):
            return b""
        prefix = text(self.prefix)
        return prefix if prefix.isascii() else b""


def text(field: bytes) -> bytes:
    """Return a field up to its first zero byte."""
    return field.partition(b"\0")[0]


def number(field: bytes, offset: int) -> int:
    """Return the number in a field, which may be negative.

    Raises:
        InvalidError: neither octal nor base-256.
    """
    value = _number(field)
    if value is None:
        raise bad(f"number {printable(field)!r}: expected octal digits, or base 256", offset)
    return value


class Remembered(Generic[T]):
    """Reads fields, and remembers some: owners, modes and times repeat, and their objects are shared."""

    def __init__(self, read: Callable[[bytes, int], T]) -> None:
        """Remember nothing yet."""
        self._read = read
        self._known: dict[bytes, T] = {}

    def __call__(self, field: bytes, offset: int) -> T:
        """Return what a field says; raises as what reads it."""
        value = self._known.get(field)
        if value is None:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            value = self._known[field] = self._read(field, offset)
        return value


def ids(field: bytes, offset: int) -> tuple[int, int, int]:
    """Return mode, uid and gid; raises as :func:`number`."""
    mode, uid, gid = (number(field[at : at + _ID], offset) for at in range(0, len(field), _ID))
    return mode & MODE_BITS, uid, gid


def _number(field: bytes) -> int | None:
    if field[0] & _BINARY:
        value = int.from_bytes(field, "big") - (1 << 8 * len(field) - 1)  # without the mark
        limit = 1 << 8 * len(field) - 2
        return value - 2 * limit if value & limit else value
    if not field[-1] and field[:-1].isdigit():  # as nearly everybody writes it
        return _octal(field[:-1])
    digits = field.strip(b" \0")
    if not digits.isdigit():
        digits = text(digits)
    return _octal(digits) if digits.isdigit() else (None if digits else 0)


def _octal(digits: bytes) -> int | None:
    try:
        return int(digits, 8)
    except ValueError:
        return None


def _reads_as_number(field: bytes) -> bool:
    return _number(field) is not None


def _high_bytes(block: bytes) -> int:
    """Count the bytes that are negative where bytes are signed: some old writers summed them so."""
    if block.isascii():
        return 0
    return sum(byte >= _BINARY for byte in block[: _CHECKSUM.start] + block[_CHECKSUM.stop :])
