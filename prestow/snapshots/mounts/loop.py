"""Loop devices: a file as a block device, for file systems that cannot be mounted from files (loop(4)).

They are read-only and clear themselves: when the last one to use a device closes it, whether a mount or us, however
we die, it is free again. So there is nothing to note, and nothing to clean up.
"""

import errno
import fcntl
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from prestow.content.descriptors import opened

_GET_FREE = 0x4C82
_CONFIGURE = 0x4C0A  # Linux 5.8
_READ_ONLY, _AUTOCLEAR = 1, 4
_ATTEMPTS = 64

# struct loop_config: fd, block size; struct loop_info64: 48 bytes, offset and flags among them, and names; 8 reserved.
_CONFIG = struct.Struct("=II 52xI 176x 64x")


@contextmanager
def loop_devices(files: Sequence[Path]) -> Iterator[list[Path]]:
    """Yield a device for each file; mount them before the context ends, for then only the mount holds them.

    Raises:
        OSError: not permitted, or no device is to be had.
    """
    with ExitStack() as stack:
        yield [stack.enter_context(_device(file)) for file in files]


@contextmanager
def _device(file: Path) -> Iterator[Path]:
    with opened(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW) as backing:
        device, path = _attach(backing)
    try:
        yield path
    finally:
        os.close(device)


def _attach(backing: int) -> tuple[int, Path]:
    config = _CONFIG.pack(backing, 512, _READ_ONLY | _AUTOCLEAR)
    for _ in range(_ATTEMPTS):
        path = Path(f"/dev/loop{_free()}")
        device = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.ioctl(device, _CONFIGURE, config)
        except OSError as error:
            os.close(device)
            if error.errno != errno.EBUSY:  # another process took the free one first
                raise
        else:
            return device, path
    raise OSError(errno.EBUSY, "no loop device stays free", "/dev/loop-control")


def _free() -> int:
    with opened("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC) as control:
        return fcntl.ioctl(control, _GET_FREE)
