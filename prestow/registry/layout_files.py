"""The files of an OCI image layout, by their names, in the directory that it lies in (``archive`` has those in a tar).

A file is a run of bytes of an open file. A layout may come from any source, so a name is never a way out of it: a file
is taken only if it is a regular file. Every reader hashes the bytes.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from prestow.content.descriptors import KNOWN_FILE
from prestow.errors import ExhaustedError, NotFoundError, StorageError

_BUFFER = 1 << 20


@dataclass(frozen=True, slots=True)
class Run:
    """The bytes of one file; several threads may read runs of the same open file.

    Attributes:
        file: where they are, open as long as the run's context; or they themselves.
        offset: where they begin.
        size: their number.
    """

    file: BinaryIO | bytes
    offset: int
    size: int

    def chunks(self, start: int = 0) -> Iterator[bytes]:
        """Yield the bytes from ``start`` on."""
        offset, end = self.offset + start, self.offset + self.size
        if isinstance(self.file, bytes):
            yield self.file[offset:end]
            return
        while offset < end:
            try:
                chunk = os.pread(self.file.fileno(), min(end - offset, _BUFFER), offset)
            except OSError as error:
                raise StorageError(f"layout: {self.file.name}: {error.strerror}") from error
            if not chunk:
                return  # it was cut meanwhile; who counts the bytes finds out
            offset += len(chunk)
            yield chunk

    def read(self, limit: int) -> bytes:
        """Return all bytes.

        Raises:
            ExhaustedError: they are more than ``limit``.
        """
        if self.size > limit:
            raise ExhaustedError(f"layout: a document of {self.size} bytes; documents are limited to {limit} bytes")
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
