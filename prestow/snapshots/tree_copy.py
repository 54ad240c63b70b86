"""Copying a tree as it is: types, owners, modes, times, extended attributes, hard links and holes.

Data is copied by the kernel, which shares blocks where the file system can. One directory descriptor is open on each
side, nothing is followed, and a folder gets its own attributes last.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

from prestow.cancellation import check
from prestow.content.descriptors import DIRECTORY, FILE, NEW_FILE, opened
from prestow.layers.copying import copy_range
from prestow.snapshots.directory_walk import Descent
from prestow.snapshots.mounts.syscalls import open_below

_OVERLAY = "trusted.overlay."


def copy_tree(source: Path, target: Path) -> None:
    """Copy a directory's attributes and everything below it into an existing, empty directory.

    Without root, owners become the copier's, and attributes that only root may set are left out.

    Raises:
        OSError: something cannot be read or written; without root, also what its owner has closed to himself.
        CancelledError: the work that this is part of is to end.
    """
    with (
        opened(source, DIRECTORY) as start,
        opened(target, DIRECTORY) as root,
        Descent(start) as here,
        Descent(root) as there,
    ):
        _Copier(here, there).copy(root)


def copy_root(source: Path, target: Path) -> None:
    """Copy a directory's attributes to another directory, nothing below them.

    Raises:
        OSError: something cannot be read or written.
    """
    with opened(source, DIRECTORY) as source_fd, opened(target, DIRECTORY) as target_fd:
        copy_attributes(source_fd, target_fd)


def copy_attributes(source: int, target: int) -> None:
    """Set on an open file or directory the owner, attributes, mode and times of another one.

    Raises:
        OSError: they cannot be set.
    """
    status = os.fstat(source)
    if os.geteuid() == 0:
        os.fchown(target, status.st_uid, status.st_gid)
    _copy_xattrs(f"/proc/self/fd/{source}", f"/proc/self/fd/{target}", follow=True)
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    os.utime(target, ns=(status.st_mtime_ns, status.st_mtime_ns))


class _Copier:
    """Two places that move in step."""

    def __init__(self, source: Descent, target: Descent) -> None:
        self._source = source
        self._target = target
        self._links: dict[tuple[int, int], tuple[str, ...]] = {}

    def copy(self, root: int) -> None:
        """Copy all below the places at hand; ``root`` is the directory where the target started."""
        pending = [self._source.names()]
        while pending:
            check()
            if pending[-1]:
                name = pending[-1].pop()
                if self._copy_entry(name, root):
                    pending.append(self._source.names())
                continue
            copy_attributes(self._source.fd, self._target.fd)
            pending.pop()
            if pending:
                self._source.up()
                self._target.up()

    def _copy_entry(self, name: str, root: int) -> bool:
        """Copy anything but a directory; enter that, and say so."""
        status = os.stat(name, dir_fd=self._source.fd, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            self._source.down(name)
            os.mkdir(name, 0o700, dir_fd=self._target.fd)
            self._target.down(name)
            return True
        if status.st_nlink > 1:
            known = self._links.setdefault((status.st_dev, status.st_ino), (*self._target.path, name))
            if known != (*self._target.path, name):
                self._link(known, name, root)
                return False
        if stat.S_ISREG(status.st_mode):
            self._copy_file(name, status)
        else:
            self._copy_special(name, status)
        return False

    def _link(self, known: tuple[str, ...], name: str, root: int) -> None:
        """Link to a file that was copied, found again component by component."""
        with Descent(root) as place:
            for step in known[:-1]:
                place.down(step)
            os.link(known[-1], name, src_dir_fd=place.fd, dst_dir_fd=self._target.fd, follow_symlinks=False)

    def _copy_file(self, name: str, status: os.stat_result) -> None:
        with ExitStack() as stack:
            source = open_below(name, FILE, self._source.fd)
            stack.callback(os.close, source)
            target = os.open(name, NEW_FILE, 0o600, dir_fd=self._target.fd)
            stack.callback(os.close, target)
            os.ftruncate(target, status.st_size)
            for start, end in _data(source, status.st_size):
                copy_range(source, target, source_offset=start, target_offset=start, length=end - start)
            copy_attributes(source, target)

    def _copy_special(self, name: str, status: os.stat_result) -> None:
        source, target = self._source.fd, self._target.fd
        if stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
        else:
            os.mknod(name, status.st_mode, status.st_rdev, dir_fd=target)
        if os.geteuid() == 0:
            os.chown(name, status.st_uid, status.st_gid, dir_fd=target, follow_symlinks=False)
        _copy_xattrs(f"/proc/self/fd/{source}/{name}", f"/proc/self/fd/{target}/{name}", follow=False)
        if not stat.S_ISLNK(status.st_mode):
            os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=target)
        os.utime(name, ns=(status.st_mtime_ns, status.st_mtime_ns), dir_fd=target, follow_symlinks=False)


def _data(fd: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield the runs of data between holes."""
    end = 0
    while end < size:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            raise
        end = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, end


def _copy_xattrs(source: str, target: str, *, follow: bool) -> None:
    try:
        names = os.listxattr(source, follow_symlinks=follow)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:  # some file systems say so where they have none
            raise
        return
    for name in names:
        if name.startswith(_OVERLAY):
            continue
        value = os.getxattr(source, name, follow_symlinks=follow)
        with suppress(PermissionError) if os.geteuid() else ExitStack():
            os.setxattr(target, name, value, follow_symlinks=follow)
