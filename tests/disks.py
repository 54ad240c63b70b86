"""File systems of a test's own, where it matters what lies below: needs root."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prestow.snapshots.mounts import syscalls


@contextmanager
def mounted(folder: Path, *how: str) -> Iterator[Path]:
    """Mount a file system on a new folder, with these arguments of ``mount``, for the block."""
    folder.mkdir()
    subprocess.run(["mount", *how, folder], check=True)
    try:
        yield folder
    finally:
        syscalls.umount(str(folder))


@contextmanager
def ext4(folder: Path, *options: str) -> Iterator[Path]:
    """Yield a new ext4 of 16 MiB, made with these options of ``mkfs.ext4``."""
    disk = folder / "disk"
    with disk.open("wb") as file:
        file.truncate(16 << 20)
    subprocess.run(["mkfs.ext4", "-q", *options, disk], check=True)
    with mounted(folder / "ext4", "-o", "loop", str(disk)) as found:
        yield found
