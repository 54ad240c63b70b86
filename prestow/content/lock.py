"""Locks between processes: ``flock`` on a permanent file.

The kernel lets go of the lock when its holder dies, however it dies. The file stays: whoever had opened it before it
was removed would lock a file that no longer has a name, next to a second holder of its successor. (Should it be
removed by hand, or its holder retire it, the comparison after locking finds out.) A child that was forked meanwhile
shares the lock, so releasing is done in so many words, not left to closing the file.

Who waits for longer than half a second says once for what and for whom, and for whose deadline passes, the error says
it. Where the holder's work can be seen to go on, the deadline is counted from the last time that it did.
"""

import fcntl
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from prestow.cancellation import pause
from prestow.content.disk import translated
from prestow.errors import UnavailableError

_LOCKS = Path("/proc/locks")
_FIRST_PAUSE = 0.016
_LONGEST_PAUSE = 0.5


class FileLock:
    """A held lock; release it, or leave its context."""

    __slots__ = ("_fd", "_path")

    def __init__(self, path: Path, *, timeout: float, what: str, progress: Callable[[], object] | None = None) -> None:
        """Take the lock of ``path``.

        Args:
            path: the permanent file, made if missing.
            timeout: seconds to wait for another holder; 0 tries once.
            what: the locked thing, for the message.
            progress: tells how far the holder is; while that changes, the seconds are counted anew.

        Raises:
            UnavailableError: another holder had it all the time.
            CancelledError: the work that waits is to end.
        """
        self._fd, self._path = -1, path
        begun = time.monotonic()
        deadline, wait, seen, told = begun + timeout, _FIRST_PAUSE, None, False
        while not self._take(path, what):
            now = time.monotonic()
            if progress is not None and timeout and (found := progress()) != seen:
                deadline, seen = now + timeout, found
            if now >= deadline:
                waited = f"waited {now - begun:.0f} s, try again later"
                raise UnavailableError(f"{what} is in use by {_holder(path)}; {waited}")
            if wait == _LONGEST_PAUSE and not told:
                told = True
                _warn(what, path)
            pause(min(wait, deadline - now))
            wait = min(2 * wait, _LONGEST_PAUSE)

    def _take(self, path: Path, what: str) -> bool:
        """Try once."""
        with translated(f"locking {what}"):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(fd), path.stat()):
                    self._fd, fd = fd, -1
            except (BlockingIOError, FileNotFoundError):
                return False
            finally:
                if fd >= 0:
                    os.close(fd)
        return self._fd >= 0

    def release(self) -> None:
        """Let others have it; releasing twice does no harm."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            with suppress(OSError):  # closing is enough, unless a child was forked
                fcntl.flock(fd, fcntl.LOCK_UN)
            os.close(fd)

    def retire(self) -> None:
        """Remove the file, then let others make the next one.

        Raises:
            StorageError: the disk failed; the lock is held.
        """
        with translated(f"removing {self._path}"):
            self._path.unlink(missing_ok=True)
        self.release()

    def __enter__(self) -> Self:
        """Return the held lock."""
        return self

    def __exit__(self, *_: object) -> None:
        """Release it."""
        self.release()


def _warn(what: str, path: Path) -> None:
    import logging  # takes long, and hardly any lock is waited for

    logging.getLogger(__name__).warning("waiting for %s, which is in use by %s", what, _holder(path))


def _holder(path: Path) -> str:
    """Say who holds the lock of a file, as far as the kernel tells it (proc_locks(5))."""
    with suppress(OSError):
        found = path.stat()
        file = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
        for line in _LOCKS.read_text("ascii", "replace").splitlines():
            fields = line.split()
            if file in fields and "FLOCK" in fields and "->" not in fields:
                return f"process {fields[fields.index(file) - 1]}"
    return "another process"
