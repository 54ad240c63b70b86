"""Space set aside so that a full disk can be made less full: forgetting a name has to write a little first.

    metadata.db-reserve     filled while there is plenty; given back to the disk by whoever is about to remove things

SQLite cannot even open a database on a full disk, since it makes files beside it.
"""

import os
from contextlib import suppress
from pathlib import Path

from prestow.content.descriptors import NEW_FILE, opened

SIZE = 1 << 20
"""Bytes: enough for the log of a few hundred small transactions."""

_PLENTY = 8 * SIZE


class Reserve:
    """The reserve beside a database."""

    def __init__(self, database: Path) -> None:
        """Name the reserve of ``database``."""
        self._path = database.with_name(f"{database.name}-reserve")

    def fill(self) -> None:
        """Set the space aside, if it is not and there is plenty; it is no error if that does not work."""
        with suppress(OSError):
            if not self._path.exists() and self._free() >= _PLENTY:
                with opened(self._path, NEW_FILE) as fd:
                    os.posix_fallocate(fd, 0, SIZE)

    def make_room(self) -> None:
        """Return the space to the disk, if that is full."""
        with suppress(OSError):
            if self._free() < SIZE:
                self._path.unlink(missing_ok=True)

    def _free(self) -> int:
        found = os.statvfs(self._path.parent)
        return found.f_bavail * found.f_frsize
