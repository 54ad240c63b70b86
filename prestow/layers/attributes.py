"""Owner, extended attributes, mode and times of an inode that was just made, in the order that keeps them all.

Changing the owner clears set-id bits and file capabilities, and everything changes times; so: owner, attributes, mode,
times. What an ordinary user may not set is counted, not refused: a rootless container sees itself as the owner anyway.
"""

import errno
import os
from dataclasses import dataclass
from pathlib import Path

from prestow.errors import InvalidError, PrestowError, UnsupportedError, printable
from prestow.layers.tar.entry import Kind
from prestow.layers.tree.inode import Inode
from prestow.layers.tree.xattrs import check

_OVERLAY = b"trusted.overlay."
_TOO_LARGE = {errno.ENOSPC, errno.EDQUOT, errno.E2BIG, errno.ERANGE}


@dataclass(slots=True)
class Attributes:
    """Sets attributes, and counts what could not be set.

    Attributes:
        privileged: whether owners can be changed; what is refused then is an error.
        unowned: inodes that stay ours though the image says otherwise.
        dropped: extended attributes that were left out.
    """

    privileged: bool
    unowned: int = 0
    dropped: int = 0

    def apply(self, inode: Inode, at: int | Path, *, mode: bool = True) -> None:
        """Set on the inode at a descriptor, or at a path that leads to it alone, what the tree says of it.

        Raises:
            InvalidError: an extended attribute that no file can have.
            UnsupportedError: one that does not fit, or is refused though we are privileged.
            OSError: whatever else the file system refuses.
        """
        if self.privileged:
            os.chown(at, inode.uid, inode.gid)
        elif (inode.uid, inode.gid) != (os.geteuid(), os.getegid()):
            self.unowned += 1
        for name, value in inode.xattrs:
            check(inode.kind, name, value)
            try:
                os.setxattr(at, name, value)
            except OSError as error:
                self._refused(inode, name, value, error, at)
        if mode and inode.kind is not Kind.SYMLINK:
            os.fchmod(at, inode.mode) if isinstance(at, int) else at.chmod(inode.mode)
        os.utime(at, ns=(inode.mtime_ns, inode.mtime_ns))

    def _refused(self, inode: Inode, name: bytes, value: bytes, error: OSError, at: int | Path) -> None:
        """Count an attribute that may be left out; else say which one it was."""
        if self._may_go(inode, name, error):
            self.dropped += 1
        elif (refusal := _unsettable(name, value, error, at)) is not None:
            raise refusal from error
        else:
            raise error

    def _may_go(self, inode: Inode, name: bytes, error: OSError) -> bool:
        if name.startswith(_OVERLAY):
            return False  # without it the tree would mean something else
        if error.errno == errno.EPERM:
            return not self.privileged or (
                name.startswith(b"user.") and inode.kind not in {Kind.REGULAR, Kind.DIRECTORY}
            )
        return error.errno == errno.EOPNOTSUPP


def _unsettable(name: bytes, value: bytes, error: OSError, at: int | Path) -> PrestowError | None:
    what = f"extended attribute {printable(name)!r} of {len(value)} bytes"
    if error.errno == errno.EINVAL:
        return InvalidError(f"{what}: the kernel says that its value is malformed")
    if error.errno in _TOO_LARGE and os.statvfs(at).f_bavail:
        return UnsupportedError(f"{what}: too large for this file system (the disk is not full)")
    if error.errno in {errno.EPERM, errno.EOPNOTSUPP}:
        return UnsupportedError(f"{what}: this file system, or the lack of a privilege, does not allow it")
    return None
