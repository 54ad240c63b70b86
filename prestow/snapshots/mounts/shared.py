"""Shared mounts of metadata images: one for all containers of an image, so that they share its pages in memory.

    <hex>.erofs + the layers' tars (+ <hex>.side)  ──mount──▶  .mounts/<hex>  ──▶ lower of overlays, bind mounts

Since Linux 6.12 the kernel mounts EROFS from files, if their file system can serve it (ext4, xfs and btrfs can, tmpfs
cannot); else each file gets a loop device, all of them or none. The mount is made when a snapshot's mounts are asked
for, after a reboot too. Overlays and bind mounts hold on to the file system by themselves: taking the shared mount down
never takes anything from them, it only ends the sharing.

Pages of a file are in memory twice then, once for the tar and once for the mount. The option ``directio`` would save
the first copy, but the first reading of a tree took three times as long with it, and as long through loop devices.
"""

import errno
import os
import struct
from collections.abc import Sequence
from pathlib import Path

from prestow.content.disk import make_folder, translated
from prestow.errors import InvalidError, UnsupportedError
from prestow.snapshots.mounts import syscalls
from prestow.snapshots.mounts.loop import loop_devices
from prestow.snapshots.mounts.mount import explained
from prestow.snapshots.mounts.mountinfo import mounted_at

_HEAD = struct.Struct("<1024xI32xI46xHH")  # superblock: magic, blocks, number of extra devices, where their slots start
_SLOT = struct.Struct("<64xI60x")
_MAGIC = 0xE0F5E1E2

BLOCK_BITS = 9
"""log2 of the size of a block."""


def mount_image(image: Path, devices: Sequence[Path], target: Path) -> None:
    """Mount a metadata image read-only at ``target``, an existing folder.

    Args:
        image: the image.
        devices: the tars of its layers and, last, its side file if it has one.
        target: where to; nothing is mounted there yet.

    Raises:
        UnsupportedError: not allowed to mount, or the kernel cannot.
        StorageError: any other refusal, with the kernel's words.
    """
    try:
        _mount(image, devices, target)
    except OSError as error:
        if error.errno != errno.ENOTBLK:
            raise explained(error, f"mounting {image}", image) from error
        try:
            with loop_devices([image, *devices]) as (first, *others):
                _mount(first, others, target)
        except OSError as second:
            raise explained(second, f"mounting {image} by loop devices", image) from second


def _mount(image: Path, devices: Sequence[Path], target: Path) -> None:
    if too_long := [path for path in (image, *devices) if len(bytes(path)) > syscalls.FSCONFIG_VALUE_LIMIT]:
        limit = syscalls.FSCONFIG_VALUE_LIMIT
        raise UnsupportedError(f"{too_long[0]}: more than the {limit} bytes that the kernel takes; use a shorter path")
    options = [("source", str(image)), ("ro", None), *(("device", str(device)) for device in devices)]
    attributes = syscalls.MOUNT_ATTR_RDONLY | syscalls.MOUNT_ATTR_NODEV
    syscalls.mount_new("erofs", options, str(target), attributes)


def device_blocks(image: Path) -> list[int]:
    """Read from the head of a whole image how many 512-byte blocks each of its devices has.

    Raises:
        InvalidError: not a metadata image, or cut.
        StorageError: it cannot be read.
    """
    with translated(f"reading {image}"), image.open("rb") as file:
        head = file.read(_HEAD.size)
        magic, blocks, count, slot = _HEAD.unpack(head) if len(head) == _HEAD.size else (0, 0, 0, 0)
        file.seek(slot * _SLOT.size)
        slots = file.read(count * _SLOT.size)
        size = file.seek(0, os.SEEK_END)
    if magic != _MAGIC or size != blocks << BLOCK_BITS:
        raise InvalidError(f"{image} is not a complete metadata image; pull the image again to rebuild it")
    return [device for (device,) in _SLOT.iter_unpack(slots)]


def ensure_mounted(image: Path, devices: Sequence[Path], target: Path) -> None:
    """Mount an image unless it is mounted; the caller holds the driver's lock.

    Raises:
        UnsupportedError: not allowed to mount, or the kernel cannot.
        StorageError: any other refusal.
    """
    if any(point.type == "erofs" for point in mounted_at(target)):
        return
    with translated(f"making {target}"):
        make_folder(target, durable=False)
    mount_image(image, devices, target)
