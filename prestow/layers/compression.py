"""Decompression: a layer's blob to its tar, complete to the last byte, in pieces of at most 1 MiB.

The media type alone says how a blob is compressed, and the bytes must agree: what is sniffed can be smuggled. A
stream is a sequence of gzip members (RFC 1952) or zstd frames (RFC 8878), each whole; zero bytes may pad the end of
gzip, as tape blocks do, and nothing else may follow. Bombs are stopped by :class:`Limits` after at most one piece.
"""

import io
import os
from collections.abc import Callable, Iterator
from gzip import BadGzipFile, GzipFile
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO, cast

from prestow.content.disk import failure
from prestow.errors import InvalidError
from prestow.layers.limits import Limits
from prestow.oci.mediatypes import Compression

if TYPE_CHECKING:
    from zstandard import ZstdDecompressor

_PIECE = 1 << 20
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = tuple(bytes([0x50 + n]) + b"\x2a\x4d\x18" for n in range(16))

_MAX_WINDOW = 128 << 20
_BLOCK_HEADER = 3
_BATCH = 8  # blocks of at most 128 KiB each when decompressed
_RAW, _RLE, _COMPRESSED = 0, 1, 2
_FRAME_HEADER = 18  # the longest one, magic included
_CHECKSUM = 4


def decompressed(source: BinaryIO, compression: Compression, *, limits: Limits) -> Iterator[bytes]:
    """Yield the bytes of a layer's tar.

    Args:
        source: the blob, seekable, from its start.
        compression: how it is compressed, by its media type.
        limits: when to stop.

    Raises:
        InvalidError: truncated, corrupt, followed by something else, or not compressed in that way.
        ExhaustedError: a limit was passed.
        StorageError: the blob could not be read.
    """
    try:
        compressed = source.seek(0, os.SEEK_END)
        _check_magic(source, compression)
        count = 0
        for piece in _READERS[compression](source):
            if piece:
                count += len(piece)
                limits.check_bytes(count, compressed)
                yield piece
    except OSError as error:
        raise failure(error, "reading a layer") from error


def _check_magic(source: BinaryIO, compression: Compression) -> None:
    source.seek(0)
    start = source.read(len(_ZSTD))
    source.seek(0)
    found: Compression = "none"
    if start.startswith(_GZIP):
        found = "gzip"
    elif start == _ZSTD or start in _SKIPPABLE:
        found = "zstd"
    if found != compression:
        raise InvalidError(
            f"layer: its media type says compression {compression}, its first bytes {start.hex() or 'are missing'} "
            f"say {found}; the image is broken, build it again"
        )


def _plain(source: BinaryIO) -> Iterator[bytes]:
    while piece := source.read(_PIECE):
        yield piece


def _gzip(source: BinaryIO) -> Iterator[bytes]:
    from isal import igzip, isal_zlib

    open_gzip: Callable[[BinaryIO], GzipFile] = igzip.open
    corrupt = (BadGzipFile, cast("type[Exception]", isal_zlib.IsalError))
    try:
        with open_gzip(source) as file:
            while piece := file.read1(_PIECE):
                yield piece
    except corrupt as error:
        raise InvalidError(f"layer: corrupt gzip: {error}") from error
    except EOFError as error:
        raise InvalidError("layer: gzip ends early, or is followed by something else") from error
    except OverflowError as error:
        raise InvalidError("layer: a gzip header of more than 512 KiB") from error


def _zstd(source: BinaryIO) -> Iterator[bytes]:
    """Walk the frames ourselves: the library neither bounds what one call gives nor tells a truncated frame."""
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW)
    while magic := source.read(len(_ZSTD)):
        if magic == _ZSTD:
            try:
                yield from _zstd_frame(source, decompressor)
            except zstandard.ZstdError as error:
                raise InvalidError(f"layer: corrupt zstd: {error}") from error
        elif magic in _SKIPPABLE:
            _skip(source, int.from_bytes(_exactly(source, 4), "little"))
        else:
            raise InvalidError(f"layer: zstd frames are followed by something else, {magic.hex()}")


def _zstd_frame(source: BinaryIO, decompressor: "ZstdDecompressor") -> Iterator[bytes]:
    """Decompress one frame, whose magic was read, a few blocks at a time."""
    from zstandard import CONTENTSIZE_UNKNOWN, frame_header_size, get_frame_parameters

    start = source.tell() - len(_ZSTD)
    source.seek(start)
    head = source.read(_FRAME_HEADER)
    size = frame_header_size(head)
    source.seek(start + size)
    about = get_frame_parameters(head)
    frame = decompressor.decompressobj()
    count = 0
    for data in chain([head[:size]], _zstd_blocks(source, checksum=about.has_checksum)):
        piece = frame.decompress(data)
        count += len(piece)
        yield piece
    if not frame.eof:
        raise InvalidError("layer: corrupt zstd: a frame without end")
    if about.content_size not in (CONTENTSIZE_UNKNOWN, count):  # the library does not see it if the last block is empty
        raise InvalidError(f"layer: corrupt zstd: a frame of {count} bytes; its header says {about.content_size}")


def _zstd_blocks(source: BinaryIO, *, checksum: bool) -> Iterator[bytes]:
    """Yield the blocks of a frame as they are, a few at once, and its checksum."""
    batch = io.BytesIO()
    last, count = False, 0
    while not last:
        header = _exactly(source, _BLOCK_HEADER)
        value = int.from_bytes(header, "little")
        last, kind, size = bool(value & 1), value >> 1 & 3, value >> 3
        if kind > _COMPRESSED:
            raise InvalidError("layer: corrupt zstd: a block of reserved type")
        batch.write(header)
        batch.write(_exactly(source, 1 if kind == _RLE else size))
        count += 1
        if last or count % _BATCH == 0:
            yield batch.getvalue()
            batch = io.BytesIO()
    if checksum:
        yield _exactly(source, _CHECKSUM)


def _exactly(source: BinaryIO, size: int) -> bytes:
    data = source.read(size)
    if len(data) != size:
        raise InvalidError("layer: zstd ends early")
    return data


def _skip(source: BinaryIO, size: int) -> None:
    if size:
        source.seek(size - 1, os.SEEK_CUR)
        _exactly(source, 1)


_READERS = {"none": _plain, "gzip": _gzip, "zstd": _zstd}
