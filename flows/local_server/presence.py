"""Whether the store that a local server belongs to is still where it was: a server without one serves no store."""

import os
from pathlib import Path


class Presence:
    """The files by which a store's server is found; it holds the lock among them open."""

    def __init__(self, directory: Path, lock: int) -> None:
        """Look at a server's directory, once it has written its record there; ``lock`` is its ``server.lock``."""
        self._lock, self._path = os.fstat(lock), directory / "server.lock"
        named = (directory / "server.json", directory.parent / "store.json")
        self._named = tuple(path for path in named if path.exists())

    def lasts(self) -> bool:
        """Whether all of them are still there, and not those of another store that was made in the place of this."""
        try:
            found = self._path.stat()
            for path in self._named:
                path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:  # a disk that fails is not a store that was removed
            return True
        return os.path.samestat(found, self._lock)
