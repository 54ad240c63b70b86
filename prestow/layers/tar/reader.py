"""A strict reader of tar: every dialect that layers are written in, and no guesses.

    archive    ::= (extension* member)* end
    extension  ::= header(x | g | L | K) body      records for the next member or for all, a long name or link
    member     ::= header body                     a body only behind regular files, padded to whole blocks of 512 bytes
    end        ::= two zero blocks, or the end of the file; what follows the zero blocks is not looked at

Whatever breaks this grammar is an :class:`InvalidError` that tells the byte offset of the header block. Two readers
that see different members in one archive are a way in, so nothing is repaired. An archive that breaks off is not taken
for a shorter one; only between two members can that not be seen, and there the digest tells.

Only headers are read: the reader moves forward and skips the data.
"""

from collections.abc import Iterator
from typing import Protocol

from prestow.content.disk import failure
from prestow.errors import ExhaustedError, InvalidError, printable
from prestow.layers.limits import Limits
from prestow.layers.tar import pax, sparse
from prestow.layers.tar.entry import Entry, Extent, Kind
from prestow.layers.tar.extension import FLAGS, IGNORED, Extensions
from prestow.layers.tar.header import BLOCK, Header, Remembered, ids, number, text
from prestow.layers.tar.member import MAX_ID, device, mtime, owner, xattrs
from prestow.layers.tar.pax import Fields, bad

__all__ = ["Entry", "Extent", "Kind", "Source", "entries"]

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
_MOST_TIMES = 4096
_DEVICES = (Kind.CHAR, Kind.BLOCK)
_LINKS = (Kind.SYMLINK, Kind.HARDLINK)
_NO_FIELDS: Fields = {}


class Source(Protocol):
    """What the reader needs of a file; it moves forward only."""

    def read(self, size: int, /) -> bytes:
        """Return the next ``size`` bytes, fewer only at the end."""

    def seek(self, offset: int, whence: int, /) -> int:
        """Move to ``offset`` from the start (``whence`` 0) or from the end (2), and give the position."""


def entries(source: Source, *, limits: Limits) -> Iterator[Entry]:
    """Yield the members of a tar in their order.

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


class _Reader:
    """A position in an archive; ``_offset`` is that of the header block in hand."""

    def __init__(self, source: Source, limits: Limits) -> None:
        self._source = source
        self._limits = limits
        self._ids = Remembered(ids)
        self._seconds = Remembered(number)
        self._times: dict[tuple[bytes | None, bytes], int] = {}
        self._position = 0
        self._offset = 0

    def member(self) -> Entry | None:
        """Read up to the next member; None at the end of the archive."""
        extensions = None
        while (block := self._block()) is not None:
            header = Header.parse(block, self._offset)
            if header.flag not in FLAGS:
                return self._entry(block, header, extensions.fields(self._offset) if extensions else _NO_FIELDS)
            body = self._extension(header)
            if header.flag != IGNORED:
                extensions = extensions or Extensions()
                extensions.add(header.flag, body, self._offset)
        if extensions:
            raise self._bad("the archive ends behind an extension header")
        return None

    def _bad(self, reason: str) -> InvalidError:
        return bad(reason, self._offset)

    def _next(self, size: int) -> bytes:
        """Return the bytes at the position, as many as there are."""
        try:
            self._source.seek(self._position, 0)
            data = self._source.read(size)
            if not data and self._source.seek(0, 2) < self._position:
                raise self._bad("the archive breaks off in the data before")
        except OSError as error:
            raise failure(error, "reading a tar") from error
        self._position += len(data)
        return data

    def _read(self, size: int) -> bytes:
        """Return the bytes at the position, all of them."""
        data = self._next(size)
        if len(data) != size:
            raise self._bad("the archive breaks off in this member")
        return data

    def _block(self) -> bytes | None:
        """Return the next header block; None at the end."""
        self._offset = self._position
        block = self._next(BLOCK)
        if not block:
            return None
        if len(block) != BLOCK:
            raise self._bad("the archive breaks off in a header block")
        if block[0] or block != _ZERO_BLOCK:
            return block
        if self._next(BLOCK) not in (b"", _ZERO_BLOCK):
            raise self._bad("a single zero block inside the archive")
        return None

    def _extension(self, header: Header) -> bytes:
        size = number(header.size, self._offset)
        if not 0 <= size <= self._limits.max_header_bytes:
            raise self._bad(f"an extension header of {size} bytes; allowed are {self._limits.max_header_bytes}")
        return self._read(_padded(size))[:size]

    def _entry(self, block: bytes, header: Header, fields: Fields) -> Entry:
        flag, offset = header.flag, self._offset
        kind = _KINDS.get(flag)
        if kind is None or (flag == b"S" and not header.is_gnu):
            raise self._bad(f"unknown type flag {printable(flag)!r}")
        name = fields.get(b"path") or header.path()
        if flag == b"\0" and name.endswith(b"/"):
            kind = Kind.DIRECTORY
        major, minor = device(header, fields, offset) if kind in _DEVICES else (0, 0)
        if kind is Kind.REGULAR:
            name = fields.get(b"GNU.sparse.name") or name
            size, extents = self._data(block, header, fields)
        else:
            size, extents = 0, ()
            self._check_bodiless(kind, header, fields)
        mode, uid, gid = self._ids(header.ids, offset)
        if fields or not 0 <= uid <= MAX_ID or not 0 <= gid <= MAX_ID:
            uid, gid = owner(fields.get(b"uid"), uid, offset), owner(fields.get(b"gid"), gid, offset)
        time = self._time(fields.get(b"mtime"), header.mtime)
        link = (fields.get(b"linkpath") or text(header.link)) if kind in _LINKS else b""
        attributes = xattrs(fields) if fields else ()
        return Entry(name, kind, mode, uid, gid, time, size, link, major, minor, attributes, extents, offset)

    def _time(self, record: bytes | None, field: bytes) -> int:
        """Return a time; one object for many members, since most were written by the same few programs at once."""
        known = self._times.get((record, field))
        if known is None:
            if len(self._times) >= _MOST_TIMES:
                self._times.clear()
            known = self._times[record, field] = mtime(record, self._seconds(field, self._offset), self._offset)
        return known

    def _stored(self, header: Header, fields: Fields) -> int:
        """Return how many bytes of data the member has in the archive."""
        size = number(header.size, self._offset)
        if value := fields.get(b"size"):
            size = pax.decimal(value, "size", self._offset)
        if size < 0:
            raise self._bad(f"negative size {size}")
        if size > self._limits.max_layer_bytes:
            raise _too_large(self._limits)
        return size

    def _data(self, block: bytes, header: Header, fields: Fields) -> tuple[int, tuple[Extent, ...]]:
        """Return a file's length and where its data is, and skip that."""
        stored = self._stored(header, fields)
        start = self._position
        if header.flag == b"S" or (fields and sparse.is_sparse(fields)):
            return self._sparse_data(block, header, fields, stored)
        self._position = start + _padded(stored)
        return stored, (Extent(0, start, stored),) if stored else ()

    def _sparse_data(self, block: bytes, header: Header, fields: Fields, stored: int) -> tuple[int, tuple[Extent, ...]]:
        limit, offset = self._limits.max_header_bytes, self._offset
        start = self._position
        if header.flag == b"S":
            numbers, size = sparse.old_map(block, self._read, limit, offset)
            start = self._position
        else:
            size = sparse.pax_size(fields, offset)
            if sparse.map_in_body(fields, offset):
                numbers = sparse.body_map(self._read, min(limit, stored), offset)
            else:
                numbers = sparse.record_map(fields, offset)
        taken = self._position - start
        self._position = start + _padded(stored)
        return size, sparse.extents(numbers, start + taken, stored - taken, size, offset)

    def _check_bodiless(self, kind: Kind, header: Header, fields: Fields) -> None:
        """Refuse what some readers take for a hard link's body, and others for headers; other sizes mean nothing."""
        size = self._stored(header, fields)
        if kind is Kind.HARDLINK and size:
            raise self._bad(f"a hard link with a size, {size}; expected 0")
        if sparse.is_sparse(fields):
            raise self._bad("sparse, but not a regular file")


def _padded(size: int) -> int:
    return (size + BLOCK - 1) // BLOCK * BLOCK
