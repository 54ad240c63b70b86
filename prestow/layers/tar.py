"""A strict reader of tar: every dialect that layers are written in, and no guesses.

    archive    ::= (extension* member)* end
    extension  ::= header(x | g | L | K) body      PAX records for the next member; for all, ignored; GNU long name, link
    member     ::= header body                     a body only behind regular files, padded to whole blocks of 512 bytes
    end        ::= two zero blocks, or the end of the file; what follows the zero blocks is not looked at

Whatever breaks this grammar is an :class:`InvalidError` that tells the byte offset of the header block. Two readers that
see different members in one archive are a way in, so nothing is repaired. An archive that breaks off is not taken for
a shorter one; only between two members can that not be seen, and there the digest tells.

Only headers are read: the reader moves forward and skips the data.
"""

from collections.abc import Iterator
from typing import Protocol

from prestow.content.disk import failure
from prestow.errors import ExhaustedError, InvalidError, printable
from prestow.layers import pax, sparse
from prestow.layers.entry import Entry, Extent, Kind
from prestow.layers.header import BLOCK, Header, Numbers, number, text
from prestow.layers.limits import Limits
from prestow.layers.pax import Fields, bad

__all__ = ["Entry", "Extent", "Kind", "Source", "entries"]

MAX_ID = 2**32 - 2
"""The largest owner: 2³²-1 means "leave as it is" to chown(2)."""

EARLIEST, LATEST = -(2**31) * 10**9, 15_032_385_535 * 10**9
"""What ext4 can say of time, 1901 to 2446, in ns; what lies outside becomes the nearer of the two."""

_ZERO_BLOCK = bytes(BLOCK)
_KINDS = {
    b"0": Kind.REGULAR,
    b"\0": Kind.REGULAR,
    b"S": Kind.REGULAR,
    b"1": Kind.HARDLINK,
    b"2": Kind.SYMLINK,
    b"3": Kind.CHAR,
    b"4": Kind.BLOCK,
    b"5": Kind.DIRECTORY,
    b"6": Kind.FIFO,
}
_MAX_MAJOR, _MAX_MINOR = 2**12 - 1, 2**20 - 1
_MODE_BITS = 0o7777


class Source(Protocol):
    """What the reader needs of a file; it moves forward only."""

    def read(self, size: int, /) -> bytes:
        """Give the next ``size`` bytes, fewer only at the end."""

    def seek(self, offset: int, whence: int, /) -> int:
        """Move to ``offset`` from the start (``whence`` 0) or from the end (2), and give the position."""


def entries(source: Source, *, limits: Limits) -> Iterator[Entry]:
    """Give the members of a tar in their order.

    What was given before an error counts for nothing: finish the iteration before using any of it.

    Raises:
        InvalidError: the archive breaks the grammar; the message tells where.
        ExhaustedError: a limit was passed.
        StorageError: the file could not be read.
    """
    reader = _Reader(source, limits)
    count = size = 0
    while (entry := reader.member()) is not None:
        count += 1
        size += entry.size
        if count > limits.max_entries:
            raise ExhaustedError(f"layer: more than {limits.max_entries} entries; raise max_layer_entries to allow it")
        if size > limits.max_layer_bytes:
            raise _too_large(limits)
        yield entry


def _too_large(limits: Limits) -> ExhaustedError:
    return ExhaustedError(
        f"layer: its files have more than {limits.max_layer_bytes} bytes, holes included; "
        "raise max_layer_bytes to allow it"
    )


class _Extensions:
    """What extension headers say about the next member; each kind may come once."""

    __slots__ = ("fields", "link", "name")

    def __init__(self) -> None:
        self.fields: Fields = {}
        self.name = b""
        self.link = b""

    def add(self, flag: bytes, body: bytes, offset: int) -> None:
        """Take one in."""
        known = {b"x": self.fields, b"L": self.name, b"K": self.link}[flag]
        if known or not body:
            raise bad("two extension headers of one kind for one member, or an empty one", offset)
        if flag == b"x":
            self.fields = pax.parse(body, offset)
        elif flag == b"L":
            self.name = _long(body, offset)
        else:
            self.link = _long(body, offset)

    def check(self, offset: int) -> None:
        """Refuse two names, or two targets."""
        if (self.name and b"path" in self.fields) or (self.link and b"linkpath" in self.fields):
            raise bad("a name both in a GNU and in a PAX extension header", offset)


def _long(body: bytes, offset: int) -> bytes:
    name = body.rstrip(b"\0")
    if not name or b"\0" in name:
        raise bad("a GNU long name that is empty, or has a zero byte inside", offset)
    return name


_NOTHING = _Extensions()


class _Reader:
    """A position in an archive; ``_offset`` is that of the header block in hand."""

    def __init__(self, source: Source, limits: Limits) -> None:
        self._source = source
        self._limits = limits
        self._numbers = Numbers()
        self._position = 0
        self._offset = 0

    def member(self) -> Entry | None:
        """Read up to the next member; None at the end of the archive."""
        extensions = _NOTHING
        while (block := self._block()) is not None:
            header = Header.parse(block, self._offset)
            if header.flag not in (b"x", b"g", b"L", b"K"):
                return self._entry(block, header, extensions)
            body = self._extension(header)
            if header.flag != b"g":
                extensions = _Extensions() if extensions is _NOTHING else extensions
                extensions.add(header.flag, body, self._offset)
        if extensions is not _NOTHING:
            raise self._bad("the archive ends behind an extension header")
        return None

    def _bad(self, reason: str) -> InvalidError:
        return bad(reason, self._offset)

    def _read(self, size: int) -> bytes:
        """Give the next bytes, and move behind them."""
        try:
            self._source.seek(self._position, 0)
            data = self._source.read(size)
        except OSError as error:
            raise failure(error, "reading a tar") from error
        if len(data) != size:
            raise self._bad(f"the archive breaks off at byte {self._position + len(data)}")
        self._position += size
        return data

    def _block(self) -> bytes | None:
        """Give the next header block; None at the end."""
        self._offset = self._position
        if self._at_end():
            return None
        block = self._read(BLOCK)
        if block[0] or block != _ZERO_BLOCK:
            return block
        if not self._at_end() and self._read(BLOCK) != _ZERO_BLOCK:
            raise self._bad("a zero block inside the archive")
        return None
