"""A file that another thread is still writing, for a reader that wants the whole of it.

    writer thread:  reach(n) reach(m) … finish(complete=True)
    reader thread:  seek, tell, read: waits for bytes that are not there yet

To the reader it has its final size from the start. What is read has not been verified; who uses it verifies what comes
out of it.
"""

import os
import threading
from collections.abc import Callable
from typing import BinaryIO

from prestow.errors import UnavailableError


class Growing:
    """The bytes of an ingest on their way."""

    def __init__(self, open_file: Callable[[], BinaryIO], size: int) -> None:
        """Wait for the first bytes before anything is opened.

        Args:
            open_file: opens what is there; called when something is.
            size: bytes that there will be.
        """
        self._open_file = open_file
        self._size = size
        self._file: BinaryIO | None = None
        self._position = 0
        self._available = 0
        self._begun = False
        self._complete: bool | None = None
        self._changed = threading.Condition()

    def reach(self, offset: int) -> None:
        """Report to the reader that the bytes up to an offset were written."""
        with self._changed:
            self._begun = True
            self._available = offset
            self._changed.notify_all()

    def finish(self, *, complete: bool) -> None:
        """Report to the reader that no more will come, and whether they are all there."""
        with self._changed:
            self._complete = complete and self._begun
            self._changed.notify_all()

    def begins(self) -> bool:
        """Wait for the first bytes, and tell whether there will be any."""
        with self._changed:
            while not self._begun and self._complete is None:
                self._changed.wait()
            return self._begun

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def tell(self) -> int:
        """Return the offset of the next byte to be read."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move, without waiting for anything."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = base + offset
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:
        """Fill a buffer, not wholly only at the end of the whole; raises as ``read``."""
        end = min(self._position + len(buffer), self._size)
        file = self._waited_for(end)
        if file is None:
            return 0
        with memoryview(buffer) as view:
            count = os.preadv(file.fileno(), [view[: end - self._position]], self._position)
        self._position += count
        return count

    def read(self, size: int = -1) -> bytes:
        """Return ``size`` bytes, fewer only at the end of the whole.

        Raises:
            UnavailableError: the writer gave up.
        """
        end = self._size if size < 0 else min(self._position + size, self._size)
        file = self._waited_for(end)
        if file is None:
            return b""
        data = os.pread(file.fileno(), end - self._position, self._position)
        self._position += len(data)
        return data

    def _waited_for(self, end: int) -> BinaryIO | None:
        """Wait until the bytes up to ``end`` are there, and give the file; None if there are none to read."""
        if self._file is None or end > self._available:
            self._wait_for(end)
        return self._file if end > self._position else None

    def _wait_for(self, end: int) -> None:
        with self._changed:
            while not self._reaches(end):
                if self._complete is not None:
                    raise UnavailableError(f"the layer ended after {self._available} of {self._size} bytes")
                self._changed.wait()

    def _reaches(self, end: int) -> bool:
        if self._begun and self._file is None:
            self._file = self._open_file()
        return self._available >= end
