"""Walking through a tree that others made, one directory descriptor at a time.

Depth costs no descriptors and no long paths: the way up is ``..``, and what is found there must be the directory that
the way down came from. The way down never leads through a link or across a mount.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

from prestow.content.descriptors import DIRECTORY, opened
from prestow.errors import printable
from prestow.snapshots.mounts.syscalls import open_below


class Descent:
    """A place in a tree; ``fd`` is the directory at hand."""

    __slots__ = ("_above", "fd")

    def __init__(self, fd: int) -> None:
        """Start in an open directory, which stays the caller's."""
        self.fd = os.dup(fd)
        self._above: list[tuple[str, tuple[int, int]]] = []

    def down(self, name: str) -> None:
        """Enter a subdirectory.

        Raises:
            OSError: EXDEV for a mount point, ELOOP or ENOTDIR for what is no directory; the place has not changed.
        """
        below = open_below(name, DIRECTORY, self.fd)
        self._above.append((name, _inode(self.fd)))
        self.fd, old = below, self.fd
        os.close(old)

    def up(self) -> str:
        """Return to the parent, and tell the name of the directory that was left.

        Raises:
            OSError: ESTALE if another process moved the directory meanwhile.
        """
        name, inode = self._above.pop()
        above = os.open("..", DIRECTORY, dir_fd=self.fd)
        self.fd, old = above, self.fd
        os.close(old)
        if _inode(above) != inode:
            raise OSError(errno.ESTALE, "was moved by another process", printable(os.fsencode(name)))
        return name

    def names(self) -> list[str]:
        """List the directory at hand."""
        with os.scandir(self.fd) as entries:
            return [entry.name for entry in entries]

    @property
    def path(self) -> tuple[str, ...]:
        """Names from the start to here."""
        return tuple(name for name, _ in self._above)

    def __enter__(self) -> Self:
        """Return the place."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the directory at hand."""
        os.close(self.fd)


def _inode(fd: int) -> tuple[int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino


def measure(root: Path) -> tuple[int, int]:
    """Return the bytes that a file or tree takes on the disk, and its inodes; mounts are not entered.

    A container may write there meanwhile, and another process may remove it: what is gone takes nothing.

    Raises:
        OSError: something cannot be read.
    """
    found: dict[tuple[int, int], int] = {}
    with suppress(FileNotFoundError):
        for status in _statuses(root):
            found[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(found.values()), len(found)


def _statuses(root: Path) -> Iterator[os.stat_result]:
    top = os.lstat(root)
    yield top
    if not stat.S_ISDIR(top.st_mode):
        return
    with opened(root, DIRECTORY) as start, Descent(start) as descent:
        pending = [descent.names()]
        while pending:
            if pending[-1]:
                with suppress(FileNotFoundError):
                    name = pending[-1].pop()
                    status = os.stat(name, dir_fd=descent.fd, follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode):
                        descent.down(name)
                        pending.append(descent.names())
                    yield status
            else:
                pending.pop()
                if pending:
                    descent.up()
