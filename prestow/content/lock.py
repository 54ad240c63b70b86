"""Locks between processes: ``flock`` on a permanent file.

The kernel lets go of the lock when its holder dies, however it dies. The file is never removed: whoever had opened it
before would lock a file that no longer has a name, next to a second holder of its successor. (Should somebody remove
it by hand, the comparison after locking finds out.) A child that was forked meanwhile shares the lock, so releasing
is done in so many words, not left to closing the file.
"""

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from prestow.cancellation import pause
from prestow.content.disk import translated
from prestow.errors import UnavailableError

_FIRST_PAUSE = 0.016
_LONGEST_PAUSE = 0.5


class FileLock:
    """A held lock; release it, or leave its context."""

    __slots__ = ("_fd",)

    def __init__(self, path: Path, *, timeout: float, what: str) -> None:
        """Take the lock of ``path``.

        Args:
            path: the permanent file, made if missing.
            timeout: seconds to wait for another holder; 0 tries once.
            what: the locked thing, for the message.

        Raises:
            UnavailableError: another holder had it all the time.
            CancelledError: the work that waits is to end.
        """
        self._fd = -1
        deadline = time.monotonic() + timeout
        wait = _FIRST_PAUSE
        while not self._take(path, what):
            left = deadline - time.monotonic()
            if left <= 0:
                raise UnavailableError(f"{what} is in use by another process; waited {timeout:g} s, try again later")
            pause(min(wait, left))
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

    def __enter__(self) -> Self:
        """Give the held lock."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Release it."""
        self.release()
