"""The kernel's mount calls, by ctypes; each raises the plain :class:`OSError` that the room translates.

Why not mount(8): it sets up loop devices by itself for a file source, splits options at commas, and fails with many
of them. The calls of the new mount API take one option at a time, so neither commas nor the page size of mount(2)
matter. Their numbers are the same on every architecture that Linux gained or renumbered since 5.1.
"""

import ctypes
import os
from collections.abc import Iterable
from typing import NoReturn

MS_RDONLY = 1
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
UMOUNT_NOFOLLOW = 8
MOUNT_ATTR_RDONLY = 1
MOUNT_ATTR_NODEV = 4

_MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT, _OPENAT2 = 429, 430, 431, 432, 437
_AT_FDCWD = -100
_CLOEXEC = 1
_SET_FLAG, _SET_STRING, _CMD_CREATE = 0, 1, 6
_MOVE_MOUNT_F_EMPTY_PATH = 4
_CLONE_FS = 0x200
_RESOLVE_NO_XDEV, _RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS, _RESOLVE_BENEATH = 1, 2, 4, 8

FSCONFIG_VALUE_LIMIT = 255
"""Bytes of a value that fsconfig(2) takes."""


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _fail(path: str) -> NoReturn:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number), path)


def _syscall(number: int, *arguments: object, path: str) -> int:
    widened = (ctypes.c_long(a) if isinstance(a, int) else a for a in arguments)
    result = int(_libc().syscall(ctypes.c_long(number), *widened))
    if result < 0:
        _fail(path)
    return result


def mount(source: str, target: str, kind: str, flags: int, data: str) -> None:
    """Make a mount the old way, ``data`` being at most 4095 bytes."""
    raw = [os.fsencode(text) for text in (source, target, kind)]
    if _libc().mount(*raw, ctypes.c_ulong(flags), os.fsencode(data)) < 0:
        _fail(target)


def umount(target: str) -> None:
    """Take away the topmost mount at ``target``, which is not followed if it is a symbolic link."""
    if _libc().umount2(os.fsencode(target), UMOUNT_NOFOLLOW) < 0:
        _fail(target)


def mount_new(kind: str, options: Iterable[tuple[str, str | None]], target: str, attributes: int) -> None:
    """Mount by fsopen(2), one fsconfig(2) an option (None: a flag), fsmount(2), move_mount(2).

    A refusal carries what the file system wrote into the context's log as the error's text.
    """
    context = _syscall(_FSOPEN, os.fsencode(kind), _CLOEXEC, path=kind)
    try:
        for name, value in options:
            code, raw = (_SET_FLAG, None) if value is None else (_SET_STRING, os.fsencode(value))
            _syscall(_FSCONFIG, context, code, os.fsencode(name), raw, 0, path=value or name)
        _syscall(_FSCONFIG, context, _CMD_CREATE, None, None, 0, path=target)
        detached = _syscall(_FSMOUNT, context, _CLOEXEC, attributes, path=target)
    except OSError as error:
        raise OSError(error.errno, _log(context) or error.strerror, error.filename) from error
    finally:
        os.close(context)
    try:
        here = os.fsencode(target)
        _syscall(_MOVE_MOUNT, detached, b"", _AT_FDCWD, here, _MOVE_MOUNT_F_EMPTY_PATH, path=target)
    finally:
        os.close(detached)


def _log(context: int) -> str:
    lines: list[str] = []
    try:
        while line := os.read(context, 4096):
            lines.append(os.fsdecode(line).strip().partition(" ")[2])
    except OSError:  # ENODATA: the log is at its end
        return "; ".join(lines)
    return "; ".join(lines)


def unshare_directory() -> None:
    """Make the calling thread have a working directory of its own."""
    if _libc().unshare(_CLONE_FS) < 0:
        _fail("working directory")


def open_below(name: str, flags: int, directory: int) -> int:
    """Open one name in a directory, never through a link of any kind, never across a mount (EXDEV), bind included."""
    resolve = _RESOLVE_NO_XDEV | _RESOLVE_NO_MAGICLINKS | _RESOLVE_NO_SYMLINKS | _RESOLVE_BENEATH
    how = _OpenHow(flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0, resolve)
    return _syscall(_OPENAT2, directory, os.fsencode(name), ctypes.byref(how), ctypes.sizeof(how), path=name)


def syncfs(directory: int) -> None:
    """Write the whole file system of an open directory to its disk."""
    if _libc().syncfs(directory) < 0:
        _fail("store")
