"""File systems to put a store on, made for a test and taken down after it.

    ext4       from a file by a loop device          overlayfs        what a container without a volume has
    tmpfs      in memory                             ramfs            in memory, without extended attributes
    fuse       a folder through bindfs               fuse-no-xattrs   likewise, without extended attributes
    fuse-no-owners   likewise, and everything belongs to root, as on vfat and many shares

NFS and 9p are not among them: kernels of test machines often have neither.
"""

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from prestow.snapshots.mounts.mountinfo import mounts_below

_SIZE = 256 << 20  # sparse; pulls leave 64 MiB free


def _ext4(scratch: Path, target: Path) -> None:
    image = scratch / "image"
    image.touch()
    os.truncate(image, _SIZE)
    _run("mkfs.ext4", "-q", image)
    _run("mount", "-o", "loop", image, target)


def _overlayfs(scratch: Path, target: Path) -> None:
    _run("mount", "-t", "tmpfs", "prestow-test", scratch)
    lower, upper, work = (scratch / name for name in ("lower", "upper", "work"))
    for folder in (lower, upper, work):
        folder.mkdir()
    _run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={lower},upperdir={upper},workdir={work}", target)


def _memory(kind: str) -> Callable[[Path, Path], None]:
    return lambda _, target: _run("mount", "-t", kind, "prestow-test", target)


def _bindfs(*options: str) -> Callable[[Path, Path], None]:
    def mount(scratch: Path, target: Path) -> None:
        if not Path("/dev/fuse").exists():
            pytest.skip("no /dev/fuse")
        _run("bindfs", *options, scratch, target)

    return mount


FILE_SYSTEMS: Mapping[str, Callable[[Path, Path], None]] = {
    "ext4": _ext4,
    "tmpfs": _memory("tmpfs"),
    "overlayfs": _overlayfs,
    "ramfs": _memory("ramfs"),
    "fuse": _bindfs(),
    "fuse-no-xattrs": _bindfs("--xattr-none"),
    "fuse-no-owners": _bindfs("--chown-ignore"),
}


@contextmanager
def mounted(name: str, folder: Path) -> Iterator[Path]:
    """Mount a new file system below ``folder``, and give where; whatever is mounted below it goes, too."""
    scratch, target = folder / f"{name}-scratch", folder / name
    scratch.mkdir()
    target.mkdir()
    try:
        FILE_SYSTEMS[name](scratch, target)
        yield target
    finally:
        for point in reversed((*mounts_below(scratch), *mounts_below(target))):
            _run("umount", "--lazy", point.path)


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stderr}"
