r"""What is mounted: ``/proc/self/mountinfo``, parsed (proc(5)).

::

    36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
    id parent device root path mount-options optional* - type source super-options

Space, tab, newline and backslash stand as ``\040`` and so on; a comma inside an option's value stands as ``\054``, so
options are split before they are decoded. Paths here are resolved ones: compare with ``Path.resolve()``.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from prestow.errors import StorageError

_TABLE = Path("/proc/self/mountinfo")
_OCTAL = re.compile(rb"\\([0-3][0-7]{2})")
_LOWER = re.compile(r"(?:\\.|[^:\\])+")


@dataclass(frozen=True, slots=True)
class MountPoint:
    """One mount of this process's mount namespace.

    Attributes:
        path: where it is.
        device: ``major:minor`` of its file system; two mounts of one file system share it.
        root: the folder of that file system that is seen at ``path``.
        type: of the file system.
        source: what was mounted, as the file system tells it.
        options: the file system's own options, decoded.
    """

    path: str
    device: str
    root: str
    type: str
    source: str
    options: tuple[str, ...]

    @property
    def lowers(self) -> tuple[str, ...]:
        """Lower directories of an overlay, nearest first, as they were written at mount time."""
        found: list[str] = []
        for option in self.options:
            name, _, value = option.partition("=")
            if name == "lowerdir":
                found += [re.sub(r"\\(.)", r"\1", lower) for lower in _LOWER.findall(value)]
            elif name == "lowerdir+":
                found.append(value)
        return tuple(found)

    @property
    def upper(self) -> str | None:
        """Upper directory of an overlay, if it has one."""
        values = [option.partition("=")[2] for option in self.options if option.startswith("upperdir=")]
        return re.sub(r"\\(.)", r"\1", values[0]) if values else None


def mount_points() -> tuple[MountPoint, ...]:
    """Read the table, oldest mount first: of two mounts at one path, the later one is seen.

    Raises:
        StorageError: there is no readable /proc.
    """
    try:
        raw = _TABLE.read_bytes()
    except OSError as error:
        raise StorageError(f"cannot read {_TABLE}: {error.strerror}; prestow needs /proc to know its mounts") from error
    return tuple(_parse(raw))


def _parse(raw: bytes) -> Iterator[MountPoint]:
    for line in raw.splitlines():
        before, _, after = line.partition(b" - ")
        left, right = before.split(b" "), after.split(b" ")
        yield MountPoint(
            path=_decode(left[4]),
            device=left[2].decode(),
            root=_decode(left[3]),
            type=_decode(right[0]),
            source=_decode(right[1]),
            options=tuple(_decode(option) for option in right[2].split(b",")),
        )


def _decode(raw: bytes) -> str:
    return os.fsdecode(_OCTAL.sub(lambda match: bytes((int(match[1], 8),)), raw))


def mounted_at(target: Path) -> tuple[MountPoint, ...]:
    """Return the mounts stacked at exactly ``target``, the visible one last."""
    path = _resolved(target)
    return tuple(point for point in mount_points() if point.path == path)


def mounts_below(path: Path) -> tuple[MountPoint, ...]:
    """Return the mounts at ``path`` and anywhere under it."""
    top = _resolved(path)
    return tuple(p for p in mount_points() if p.path == top or p.path.startswith(top.rstrip("/") + "/"))


def file_system(path: Path) -> str:
    """Return the type of the file system that an existing file is on, such as ``ext4`` or ``fuse.sshfs``."""
    where = str(path.resolve())
    holding = [p for p in mount_points() if p.path in {"/", where} or where.startswith(p.path + "/")]
    return max(reversed(holding), key=lambda point: len(point.path)).type if holding else "an unknown file system"


def _resolved(path: Path) -> str:
    # The last component is not followed: a symbolic link is never a mount point.
    return str(path.parent.resolve() / path.name)
