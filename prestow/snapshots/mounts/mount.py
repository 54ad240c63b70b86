"""Mounting what a snapshotter hands out, and taking it down again.

:func:`mount_all` puts mounts at one target, in order, all or none. mount(2) takes one page of options, which about a
hundred lower directories fill. So where they do not fit, they are written relative to the folder that they have in
common, from a thread that has a working directory of its own; where even that does not fit, they go through the new
mount API one by one (``lowerdir+``, Linux 6.7), up to the kernel's 500.
"""

import errno
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from prestow.content.disk import failure
from prestow.errors import NotFoundError, PreconditionError, PrestowError, StorageError, UnsupportedError
from prestow.snapshots.mounts import syscalls
from prestow.snapshots.mounts.mountinfo import file_system, mounted_at, mounts_below
from prestow.snapshots.snapshotter import Mount

_PAGE = 4095
_KEPT = {os.ST_NOSUID: 2, os.ST_NODEV: 4, os.ST_NOEXEC: 8, os.ST_NOATIME: 1024, os.ST_RELATIME: 1 << 21}
ADVICE = "see in `prestow doctor` which snapshotters work there, and choose one with --driver"
"""What to do about a mount that the kernel refuses."""

_LOWER = re.compile(r"(?:\\.|[^:\\])+")


def escape(path: Path) -> str:
    r"""Write a path for overlay's options, where ``\``, ``:`` and ``,`` mean something.

    >>> escape(Path("/a:b,c"))
    '/a\\:b\\,c'
    """
    return re.sub(r"([\\:,])", r"\\\1", str(path))


def unescape(text: str) -> str:
    """Take the escapes of :func:`escape` away."""
    return re.sub(r"\\(.)", r"\1", text)


def bound(folder: Path, *, read_only: bool) -> Mount:
    """Return the mount that shows a folder as it is."""
    return Mount("bind", str(folder), ("rbind", "ro" if read_only else "rw"))


def overlaid(lowers: Sequence[Path], upper: Path | None = None, work: Path | None = None) -> Mount:
    """Return the mount that shows folders stacked, the nearest first, and writes to ``upper`` if there is one."""
    lowerdir = "lowerdir=" + ":".join(escape(lower) for lower in lowers)
    if upper is None or work is None:
        return Mount("overlay", "overlay", (lowerdir,))
    options = ("index=off", f"workdir={escape(work)}", f"upperdir={escape(upper)}", lowerdir)
    return Mount("overlay", "overlay", options)


def mount_all(mounts: Sequence[Mount], target: Path) -> None:
    """Mount at ``target``, an existing folder, in order; on failure nothing stays mounted.

    Raises:
        UnsupportedError: not allowed to mount, or the kernel lacks the file system.
        NotFoundError: the target or a source is missing.
        StorageError: any other refusal, with the kernel's words.
    """
    made = 0
    try:
        for mount in mounts:
            _mount(mount, target)
            made += 1
    except OSError as error:
        for _ in range(made):
            with suppress(OSError):
                syscalls.umount(str(target))
        what = f"mounting {mounts[made].type} {mounts[made].source} at {target}"
        raise explained(error, what, _backing(mounts[made])) from error


def _backing(mount: Mount) -> Path | None:
    """Return the folder that decides whether a mount works: where it writes to, or else where it comes from."""
    uppers = [option.partition("=")[2] for option in mount.options if option.startswith("upperdir=")]
    if uppers:
        return Path(unescape(uppers[0]))
    return Path(mount.source) if mount.source.startswith("/") else None


def _mount(mount: Mount, target: Path) -> None:
    if mount.type == "bind":
        _bind(mount, target)
    elif mount.type == "overlay":
        _overlay(mount, target)
    else:
        syscalls.mount(mount.source, str(target), mount.type, _flags(mount), ",".join(_data(mount)))


def _flags(mount: Mount) -> int:
    return syscalls.MS_RDONLY if "ro" in mount.options else 0


def _data(mount: Mount) -> list[str]:
    return [option for option in mount.options if option not in {"ro", "rw"}]


def _bind(mount: Mount, target: Path) -> None:
    recursive = syscalls.MS_REC if "rbind" in mount.options else 0
    syscalls.mount(mount.source, str(target), "", syscalls.MS_BIND | recursive, "")
    if "ro" not in mount.options:
        return
    try:
        # A bind mount takes flags in a second call only, which must not drop those that the source has.
        has = os.statvfs(target).f_flag
        kept = sum(flag for shown, flag in _KEPT.items() if has & shown)
        flags = syscalls.MS_REMOUNT | syscalls.MS_BIND | syscalls.MS_RDONLY | kept
        syscalls.mount("", str(target), "", flags, "")
    except OSError:
        syscalls.umount(str(target))
        raise


def _overlay(mount: Mount, target: Path) -> None:
    options = _data(mount)
    where = str(target.absolute())
    if len(",".join(options).encode()) <= _PAGE:
        syscalls.mount(mount.source, where, "overlay", _flags(mount), ",".join(options))
        return
    lowers = [unescape(lower) for o in options if o.startswith("lowerdir=") for lower in _LOWER.findall(o[9:])]
    common = os.path.commonpath(lowers)
    relative = [os.path.relpath(lower, common) for lower in lowers]
    rest = [option for option in options if not option.startswith("lowerdir=")]
    data = ",".join((*rest, "lowerdir=" + ":".join(escape(Path(lower)) for lower in relative)))
    if len(data.encode()) <= _PAGE:
        _inside(common, lambda: syscalls.mount(mount.source, where, "overlay", _flags(mount), data))
        return
    single = [(name, value.replace("\\,", ",")) for name, _, value in (option.partition("=") for option in rest)]
    single += [("lowerdir+", lower) for lower in relative]
    attributes = syscalls.MOUNT_ATTR_RDONLY if "ro" in mount.options else 0
    _inside(common, lambda: syscalls.mount_new("overlay", single, where, attributes))


def _inside(folder: str, action: Callable[[], None]) -> None:
    """Do something in a working directory; that of the process is everybody's, so a thread gets its own."""

    def act() -> None:
        syscalls.unshare_directory()
        os.chdir(folder)
        action()

    with ThreadPoolExecutor(max_workers=1) as thread:
        thread.submit(act).result()


def unmount(target: Path) -> None:
    """Take down everything that is mounted at exactly ``target``; success if nothing is.

    Raises:
        PreconditionError: it is in use, or something is mounted below it.
    """
    for _ in mounted_at(target):
        try:
            syscalls.umount(str(target))
        except OSError as error:
            if error.errno == errno.EBUSY:
                below = [point.path for point in mounts_below(target) if point.path != str(target)]
                reason = f"mounted below it: {', '.join(below)}" if below else "something in it is open"
                raise PreconditionError(f"{target} is in use: {reason}") from error
            raise explained(error, f"unmounting {target}") from error


def explained(error: OSError, what: str, backing: Path | None = None) -> PrestowError:
    """Return the error of ours for a refusal of a mount call; it names the file system of the ``backing`` file."""
    reason = error.strerror or str(error)
    where = f" ({error.filename})" if error.filename else ""
    if error.errno == errno.EPERM:
        return UnsupportedError(f"{what}: not permitted; mounting needs root (CAP_SYS_ADMIN)")
    if error.errno in {errno.ENODEV, errno.ENOSYS}:
        return UnsupportedError(f"{what}: this kernel does not have it: {reason}")
    if error.errno in {errno.ENOENT, errno.ENOTDIR}:
        return NotFoundError(f"{what}: {reason}{where}")
    if error.errno in {errno.EACCES, errno.EINVAL, errno.ELOOP, errno.EBUSY, errno.ESTALE}:
        advice = f"; {backing} is on {file_system(backing)}: {ADVICE}" if backing and backing.exists() else ""
        return StorageError(f"{what}: the kernel refused{where}: {reason}{advice}")
    return failure(error, f"{what}{where}")
