"""How far each chunk of an ingest is that several connections fill at the same time; survives ``kill -9``.

    <ingest>/data     ├── start ──┼─ chunk 0 ─┼─ chunk 1 ─┼─ … ─┤ size       written at any place
    <ingest>/chunks   start, size, length of a chunk; then for each chunk the number of its bytes that are there

A number is written after its bytes, so none is ever ahead of them, except after a power cut: then the digest of the
whole tells. While the map is there, it and not the file's size tells how much of ``data`` is there.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from prestow.content.descriptors import FILE
from prestow.content.disk import replace_file, translated

_HEADER = struct.Struct("<8sQQQ")
_MAGIC = b"chunks 1"
_COUNT = struct.Struct("<Q")


class ChunkMap:
    """The chunks of one ingest; each chunk has one writer at a time, in threads of one process.

    Attributes:
        size: bytes of the whole.
    """

    def __init__(self, path: Path, start: int, size: int, length: int, counts: list[int]) -> None:
        """Take what a file says; see :meth:`read` and :meth:`create`."""
        self.size = size
        self._path, self._start, self._length = path, start, length
        self._counts = counts
        self._first = 0  # chunks before it are complete
        self._fd = -1

    @classmethod
    def read(cls, path: Path, available: int) -> Self | None:
        """Return the map in a file, of no bytes at all if it makes no sense; ``None`` if there is none.

        Args:
            path: the file.
            available: size of the data file, beyond which there can be nothing.

        Raises:
            StorageError: the disk failed.
        """
        with translated(f"reading {path}"):
            try:
                raw = path.read_bytes()
            except FileNotFoundError:
                return None
        nothing = cls(path, 0, 0, 1, [])
        if len(raw) < _HEADER.size:
            return nothing
        magic, start, size, length = _HEADER.unpack_from(raw)
        chunks = -(-(size - start) // length) if length and start <= size else -1
        if magic != _MAGIC or len(raw) != _HEADER.size + chunks * _COUNT.size:
            return nothing
        found = cls(path, start, size, length, [count for (count,) in _COUNT.iter_unpack(raw[_HEADER.size :])])
        spans = [(found.span(chunk), count) for chunk, count in enumerate(found._counts)]
        believable = start <= available and all(at <= end for (at, end), _ in spans)
        return found if believable and all(at <= available for (at, _), count in spans if count) else nothing

    @classmethod
    def create(cls, path: Path, start: int, size: int, length: int) -> Self:
        """Make the map of an ingest of which the first ``start`` bytes are there.

        Raises:
            StorageError: the disk failed.
        """
        counts = [0] * -(-(size - start) // length)
        with translated(f"writing {path}"):
            header = _HEADER.pack(_MAGIC, start, size, length)
            replace_file(path, header + bytes(_COUNT.size * len(counts)), durable=False)
        return cls(path, start, size, length, counts)

    def open(self) -> None:
        """Open the file, so that :meth:`add` can be called; opening it twice does no harm.

        Raises:
            StorageError: the disk failed.
        """
        self.close()
        with translated(f"opening {self._path}"):
            self._fd = os.open(self._path, FILE | os.O_RDWR)

    def missing(self) -> Iterator[int]:
        """Yield the chunks that are not complete, in order."""
        yield from (chunk for chunk, count in enumerate(self._counts) if count < self._room(chunk))

    def span(self, chunk: int) -> tuple[int, int]:
        """Return the offsets of what is missing of a chunk: the next byte, and the end."""
        begin = self._start + chunk * self._length
        return begin + self._counts[chunk], begin + self._room(chunk)

    def add(self, chunk: int, count: int) -> None:
        """Take note of bytes that were written where :meth:`span` says.

        Raises:
            ExhaustedError: the disk is full.
            StorageError: the disk failed.
        """
        reached = self._counts[chunk] + count
        with translated(f"writing {self._path}"):
            os.pwrite(self._fd, _COUNT.pack(reached), _HEADER.size + chunk * _COUNT.size)
        self._counts[chunk] = reached

    @property
    def prefix(self) -> int:
        """Bytes from the beginning that are there without a gap."""
        while self._first < len(self._counts) and self._counts[self._first] == self._room(self._first):
            self._first += 1
        return self.span(self._first)[0] if self._first < len(self._counts) else self.size

    @property
    def present(self) -> int:
        """Bytes that are there, wherever."""
        return self._start + sum(self._counts)

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def _room(self, chunk: int) -> int:
        """Return the bytes of a complete chunk."""
        return min(self._length, self.size - self._start - chunk * self._length)
