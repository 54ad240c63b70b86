"""Whether a file holds what it was made of: runs of the layers' tars, and zeros between them."""

import errno
import os
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from prestow.cancellation import check
from prestow.content.store import Progress
from prestow.layers.open_tars import OpenTars
from prestow.layers.tree.inode import Inode

_PIECE = 1 << 20

Piece: TypeAlias = tuple[int, int, int, int]
"""Where a run stands in the file, the descriptor of its source, where it lies in that, its length."""


def pieces(tars: OpenTars, inode: Inode, start: int = 0) -> Iterator[Piece]:
    """Yield what a regular file is made of, if it stands at ``start``."""
    for logical, offset, length in inode.extents:
        yield start + logical, tars.descriptor(inode.layer), offset, length


def first_difference(file: int, size: int, made_of: Iterable[Piece], *, progress: Progress | None = None) -> int | None:
    """Return where a file first differs from its runs, ascending, and zeros where there is none; None if nowhere.

    Raises:
        OSError: the file or a source cannot be read.
        CancelledError: the work that this is part of is to end.
    """
    end = 0
    for at, source, offset, length in made_of:
        found = _first_byte(file, end, at)
        if found is None:
            found = _compared(file, at, source, offset, length, progress)
        if found is not None:
            return found
        end = at + length
    return _first_byte(file, end, size)


def unequal(first: bytes, second: bytes) -> int | None:
    """Return where two texts first differ; None if nowhere."""
    if first == second:
        return None
    pairs = enumerate(zip(first, second, strict=False))
    return next((index for index, (one, other) in pairs if one != other), min(len(first), len(second)))


def _compared(file: int, at: int, source: int, offset: int, length: int, progress: Progress | None) -> int | None:
    done = 0
    while done < length:
        check()
        count = min(_PIECE, length - done)
        expected = os.pread(source, count, offset + done)
        differing = unequal(os.pread(file, len(expected), at + done), expected)
        if differing is not None or not expected:
            return at + done + (differing or 0)
        done += len(expected)
        if progress is not None:
            progress(len(expected))
    return None


def _first_byte(file: int, start: int, end: int) -> int | None:
    """Return where the first byte of a range is that is not zero; holes are not read."""
    while (start := _data_from(file, start, end)) < end:
        data = os.pread(file, min(_PIECE, end - start), start)
        if data.strip(b"\0"):
            return start + len(data) - len(data.lstrip(b"\0"))
        start += len(data) or end
    return None


def _data_from(file: int, start: int, end: int) -> int:
    """Skip a hole."""
    if start >= end:
        return end
    try:
        return os.lseek(file, start, os.SEEK_DATA)
    except OSError as error:
        return end if error.errno == errno.ENXIO else start  # nothing but a hole; a file system that knows no holes
