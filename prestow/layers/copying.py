"""Copying file data between descriptors: in the kernel where it can (and sharing blocks where the disk can)."""

import errno
import os

from prestow.cancellation import check
from prestow.errors import MismatchError

_CHUNK = 64 << 20  # between two looks whether the work is to end
_NOT_THERE = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM}


def copy_range(source: int, target: int, *, source_offset: int, target_offset: int, length: int) -> None:
    """Copy ``length`` bytes; both descriptors are of regular files, and their positions do not matter.

    Raises:
        MismatchError: the source ends before.
        CancelledError: the work that this is part of is to end.
        OSError: the target cannot be written.
    """
    done = 0
    by_kernel = True
    while done < length:
        check()
        wanted = min(length - done, _CHUNK)
        try:
            if by_kernel:
                count = os.copy_file_range(source, target, wanted, source_offset + done, target_offset + done)
            else:
                os.lseek(target, target_offset + done, os.SEEK_SET)
                count = os.sendfile(target, source, source_offset + done, wanted)
        except OSError as error:
            if not by_kernel or error.errno not in _NOT_THERE:
                raise
            by_kernel = False  # two file systems, or one without it
            continue
        if count == 0:
            raise MismatchError(f"the uncompressed layer ends at byte {source_offset + done}, amid a file's data")
        done += count
