"""An archive as the place of a layout: a tar, plain or compressed, whose members are read where they lie.

The table of the members is made by our own reader of tar, once. Nothing is extracted: a member's bytes are read out of
the file, and no name in it is ever looked up on disk. Compressed, the archive is first decompressed, into a file
without a name that goes away with this object or its process.

A member may be a link to another one: ``docker save`` writes a layer that stands twice that way. Links are followed
within the table only.
"""

import os
import posixpath
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from prestow.cancellation import check
from prestow.content.disk import translated
from prestow.content.store import Progress, silent
from prestow.errors import ExhaustedError, InvalidError, NotFoundError, PrestowError, UnsupportedError
from prestow.layers.compression import decompressed
from prestow.layers.limits import Limits
from prestow.layers.tar.entry import Entry, Kind
from prestow.layers.tar.reader import entries
from prestow.oci.mediatypes import Compression
from prestow.registry.layout_files import Run, open_regular

_MAGIC = 6  # bytes
_COMPRESSIONS: dict[bytes, Compression] = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_UNSUPPORTED = {b"BZh": "bzip2", b"\xfd7zXZ": "xz"}
_MOST_LINKS = 8
_TABLE = Limits(max_layer_bytes=1 << 60, max_entries=1_000_000)


@dataclass(frozen=True, slots=True)
class Scratch:
    """Where compressed archives are decompressed to.

    Attributes:
        directory: on a disk with room for one; None takes the system's for temporary files.
        limits: what one may be decompressed to.
    """

    directory: Path | None = None
    limits: Limits = field(default_factory=Limits)


class Archive:
    """A tar with the files of a layout; implements ``prestow.registry.layout_files.LayoutFiles``.

    Safe for threads. It has one open file, as long as it lives.
    """

    def __init__(self, path: Path, scratch: Scratch, progress: Progress = silent) -> None:
        """Open it, decompress it if it is compressed, and read its table; ``progress`` gets compressed bytes.

        Raises:
            NotFoundError: there is no such file.
            InvalidError: not a tar, or one that breaks the grammar.
            UnsupportedError: compressed in another way than by gzip and zstd.
            ExhaustedError: it is too large, decompressed; or the disk is full.
            StorageError: it cannot be read.
        """
        self._path = path
        self._file = open_regular(path)
        weakref.finalize(self, self._file.close)
        try:
            compression = compression_of(self._file.read(_MAGIC))
            if compression != "none":
                self._file = self._decompressed(compression, scratch, progress)
                weakref.finalize(self, self._file.close)
            self._places = self._table()
        except PrestowError as error:
            text = str(error).removeprefix("layer: ").replace("max_layer_bytes", "max_image_bytes")
            raise type(error)(f"archive {path}: {text}") from error

    @contextmanager
    def open(self, name: str) -> Iterator[Run]:
        """Open a regular member by its name, or the one that a link of that name leads to."""
        found: tuple[int, int] | str | None = posixpath.normpath(name)
        for _ in range(_MOST_LINKS):
            if not isinstance(found, str):
                break
            found = self._places.get(found)
        if not isinstance(found, tuple):
            raise NotFoundError(f"archive {self._path}: has no regular file {name}")
        yield Run(self._file, *found)

    def _decompressed(self, compression: Compression, scratch: Scratch, progress: Progress) -> BinaryIO:
        read = 0
        whole = cast("BinaryIO", tempfile.TemporaryFile(dir=scratch.directory, buffering=0))  # noqa: SIM115 - as above
        try:
            for piece in decompressed(self._file, compression, limits=scratch.limits):
                check()
                with translated("decompressing it into the store"):
                    view = memoryview(piece)
                    while view:
                        view = view[whole.write(view) :]
                before, read = read, self._file.tell()
                progress(read - before)
        except BaseException:
            whole.close()
            raise
        return whole

    def _table(self) -> dict[str, tuple[int, int] | str]:
        """Return where each regular member's bytes are, and where each link leads."""
        self._file.seek(0)
        places: dict[str, tuple[int, int] | str] = {}
        try:
            for entry in entries(self._file, limits=_TABLE):
                check()
                if (place := _place(entry)) is not None:
                    places[_name(entry.name)] = place
        except InvalidError as error:
            if places:
                raise
            raise InvalidError(
                f"not an archive, expected a tar, plain or compressed by gzip or zstd: {error}"
            ) from error
        except ExhaustedError as error:
            raise ExhaustedError(f"more than {_TABLE.max_entries} members; split it") from error
        if not places:
            raise InvalidError("not an archive with files, expected a tar, plain or compressed by gzip or zstd")
        return places


def compressed_size(path: Path) -> int:
    """Return the bytes of an archive that is decompressed before it is read; 0 of another file, or of none."""
    with suppress(PrestowError), open_regular(path) as file:
        if compression_of(file.read(_MAGIC)) != "none":
            return os.fstat(file.fileno()).st_size
    return 0


def compression_of(start: bytes) -> Compression:
    """Return how a file is compressed, by its first 6 bytes.

    Raises:
        UnsupportedError: by bzip2 or xz.
    """
    for magic, name in _UNSUPPORTED.items():
        if start.startswith(magic):
            raise UnsupportedError(f"compressed by {name}, supported are gzip and zstd; decompress it first")
    return next((kind for magic, kind in _COMPRESSIONS.items() if start.startswith(magic)), "none")


def _place(entry: Entry) -> tuple[int, int] | str | None:
    """Return where a member's bytes are, or the name that it leads to; None for what has no bytes in one piece."""
    if entry.kind is Kind.REGULAR:
        plain = [extent for extent in entry.extents if extent.length == entry.size]
        if len(plain) == len(entry.extents) <= 1:
            return plain[0].offset if plain else 0, entry.size
    if entry.kind is Kind.HARDLINK:
        return _name(entry.link)
    if entry.kind is Kind.SYMLINK:
        return posixpath.normpath(posixpath.join(posixpath.dirname(_name(entry.name)), os.fsdecode(entry.link)))
    return None


def _name(raw: bytes) -> str:
    return posixpath.normpath(os.fsdecode(raw))
