"""Comparing a stored metadata image with the one that its layers make: made again, it must be the same bytes."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from prestow.cancellation import check
from prestow.content.descriptors import FILE, opened
from prestow.content.store import Progress
from prestow.layers.erofs.image import MetadataImage
from prestow.layers.open_tars import OpenTars
from prestow.snapshots.compare.data import first_difference, pieces, unequal
from prestow.snapshots.damage import Damage, DamageKind, Subject


def image_damage(image: MetadataImage, stored: Path, progress: Progress | None) -> Iterator[Damage]:
    """Yield how a stored metadata image is not the one that was made again."""
    yield from _found(DamageKind.METADATA_IMAGE, stored, image.size, lambda file: _image_differs(image, file, progress))


def side_damage(
    image: MetadataImage, stored: Path, open_layer: Callable[[int], int], progress: Progress | None
) -> Iterator[Damage]:
    """Yield how a stored side file is not what an image needs; most need none."""
    if image.side_size:
        kind = DamageKind.SIDE_FILE
        yield from _found(kind, stored, image.side_size, lambda file: _side_differs(image, file, open_layer, progress))
    elif os.path.lexists(stored):
        yield Damage(DamageKind.SIDE_FILE, Subject.file(stored), "there, though the image needs none")


def _found(kind: DamageKind, stored: Path, size: int, differs: Callable[[int], int | None]) -> Iterator[Damage]:
    try:
        what = _fault(stored, size, differs)
    except FileNotFoundError:
        what = "missing"
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
    if what:
        yield Damage(kind, Subject.file(stored), what)


def _fault(stored: Path, size: int, differs: Callable[[int], int | None]) -> str:
    if not stat.S_ISREG(os.lstat(stored).st_mode):
        return "not a file"
    with opened(stored, FILE) as file:
        found = os.fstat(file).st_size
        if found != size:
            return f"{found} bytes, expected {size}"
        at = differs(file)
    return "" if at is None else f"differs from what its layers make, first at byte {at}"


def _image_differs(image: MetadataImage, file: int, progress: Progress | None) -> int | None:
    comparing = _Comparing(file, progress)
    image.write(cast("BinaryIO", comparing))
    return min(comparing.differences, default=None)


def _side_differs(
    image: MetadataImage, file: int, open_layer: Callable[[int], int], progress: Progress | None
) -> int | None:
    tars = OpenTars(open_layer)
    try:
        pieces = (piece for inode, start in image.layout.side.items() for piece in pieces(tars, inode, start))
        return first_difference(file, image.side_size, pieces, progress=progress)
    finally:
        tars.close()


class _Comparing:
    """A file to write to that compares instead.

    Attributes:
        differences: where pieces that were written first differ from what is stored.
    """

    def __init__(self, stored: int, progress: Progress | None) -> None:
        self.differences: list[int] = []
        self._stored = stored
        self._progress = progress
        self._position = 0

    def seek(self, offset: int) -> int:
        """Move."""
        self._position = offset
        return offset

    def write(self, data: bytes) -> int:
        """Compare."""
        check()
        at = unequal(os.pread(self._stored, len(data), self._position), data)
        if at is not None:
            self.differences.append(self._position + at)
        self._position += len(data)
        if self._progress is not None:
            self._progress(len(data))
        return len(data)

    def flush(self) -> None:
        """Do nothing: nothing was written."""
