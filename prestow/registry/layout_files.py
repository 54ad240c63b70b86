"""What an OCI image layout lies in: a folder, or a tar of one that is not compressed.

Either gives a file of the layout by name, as a run of bytes of an open file. A layout may come from any source, so a
name is never a way out of it: a file is taken only if it is a regular file, and in a tar only if it is a regular
member. Whoever reads bytes of it hashes them.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from prestow.content.descriptors import KNOWN_FILE
from prestow.errors import ExhaustedError, InvalidError, NotFoundError, StorageError, UnsupportedError
from prestow.layers.limits import Limits
from prestow.layers.tar.entry import Kind
from prestow.layers.tar.reader import entries

_BUFFER = 1 << 20
_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}


@dataclass(frozen=True, slots=True)
class Run:
    """The bytes of one file.

    Attributes:
        file: where they are; open as long as the run's context.
        offset: where they begin.
        size: their number.
    """

    file: BinaryIO
    offset: int
    size: int

    def chunks(self, start: int = 0) -> Iterator[bytes]:
        """Yield the bytes from ``start`` on."""
        self.file.seek(self.offset + start)
        left = self.size - start
        while left > 0:
            try:
                chunk = self.file.read(min(left, _BUFFER))
            except OSError as error:
                raise StorageError(f"layout: {self.file.name}: {error.strerror}") from error
            if not chunk:
                return  # it was cut meanwhile; who counts the bytes finds out
            left -= len(chunk)
            yield chunk

    def read(self, limit: int) -> bytes:
        """Return all bytes.

        Raises:
            ExhaustedError: they are more than ``limit``.
        """
        if self.size > limit:
            raise ExhaustedError(f"layout: {self.file.name}: {self.size} bytes; documents are limited to {limit} bytes")
        return b"".join(self.chunks())


class LayoutFiles(Protocol):
    """Gives the files of a layout."""

    def open(self, name: str) -> AbstractContextManager[Run]:
        """Open a file by its name in the layout.

        Raises:
            NotFoundError: there is none, or it is not a regular file.
            StorageError: it cannot be read.
        """


class Folder:
    """A layout in a folder."""

    def __init__(self, path: Path) -> None:
        """Look at nothing yet."""
        self._path = path

    @contextmanager
    def open(self, name: str) -> Iterator[Run]:
        """Open a regular file below the folder."""
        with open_regular(self._path / name) as file:
            yield Run(file, 0, os.fstat(file.fileno()).st_size)


class Archive:
    """A layout in a tar."""

    def __init__(self, path: Path) -> None:
        """Read nothing yet."""
        self._path = path
        self._places: dict[str, tuple[int, int]] | None = None

    @contextmanager
    def open(self, name: str) -> Iterator[Run]:
        """Open a member of the tar; its table is read once."""
        with open_regular(self._path) as file:
            if self._places is None:
                self._places = self._table(file)
            if name not in self._places:
                raise NotFoundError(f"layout {self._path}: has no regular file {name}")
            yield Run(file, *self._places[name])

    def _table(self, file: BinaryIO) -> dict[str, tuple[int, int]]:
        """Find where each regular member's bytes are."""
        start = file.read(6)
        for magic, compression in _COMPRESSED.items():
            if start.startswith(magic):
                raise UnsupportedError(
                    f"layout {self._path}: an archive compressed by {compression}; decompress it first"
                )
        file.seek(0)
        places = {}
        for entry in entries(file, limits=Limits(max_layer_bytes=1 << 60)):
            plain = [extent for extent in entry.extents if extent.length == entry.size]
            if entry.kind is Kind.REGULAR and len(plain) == len(entry.extents) <= 1:
                name = entry.name.decode("utf-8", "surrogateescape").removeprefix("./")
                places[name] = (plain[0].offset if plain else 0, entry.size)
        return places


def layout_files(path: Path) -> LayoutFiles:
    """Return what lies at ``path``.

    Raises:
        NotFoundError: nothing does.
        InvalidError: neither a folder nor a file.
    """
    if path.is_dir():
        return Folder(path)
    if path.is_file():
        return Archive(path)
    if path.exists():
        raise InvalidError(f"layout {path}: neither a directory nor an archive")
    raise NotFoundError(f"layout {path}: does not exist")


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file, without waiting for what only looks like one.

    Raises:
        NotFoundError: there is none.
        StorageError: it cannot be read.
    """
    try:
        fd = os.open(path, KNOWN_FILE)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(f"layout: {path} does not exist") from error
    except OSError as error:
        raise StorageError(f"layout: {path}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise NotFoundError(f"layout: {path} is not a regular file")
    return os.fdopen(fd, "rb", buffering=0)
