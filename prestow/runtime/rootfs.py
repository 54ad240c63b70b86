"""An unpacked image, read without ever leaving it.

Every path is resolved inside the root by the kernel itself, openat2(2) with ``RESOLVE_IN_ROOT``: an absolute symbolic
link starts at the image's own root, ``..`` stops there, and ``/proc`` links are refused. A file is looked at before it
is opened, so that neither a FIFO can make us wait nor a device node be touched, and it is read up to a limit. What an
image says about users is worth exactly what its author wanted it to be worth; it must not become the host's answer.
"""

import ctypes
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from prestow.content.descriptors import PATH_ONLY, opened
from prestow.content.disk import failure
from prestow.errors import InvalidError, PrestowError, UnsupportedError, printable

_OPENAT2 = 437  # the same on every architecture
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_IN_ROOT = 0x10
_ATTEMPTS = 64  # EAGAIN means that something was renamed while ".." was resolved
_MAX_LINKS = 40
_MAX_NAME = 4095
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR})
_HOSTILE = frozenset({errno.ELOOP, errno.EXDEV, errno.ENAMETOOLONG})


@dataclass(frozen=True, slots=True)
class Stat:
    """What is at a path.

    Attributes:
        mode: type and permission bits, as in ``st_mode``.
        uid: owner.
        gid: group.
        target: of a symbolic link.
    """

    mode: int
    uid: int
    gid: int
    target: str = ""

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory, and not a link to one."""
        return stat.S_ISDIR(self.mode)


class RootFs(Protocol):
    """The files of an image; a path is absolute, and absolute means below the image's root."""

    def read(self, path: str, limit: int, /) -> bytes | None:
        """Return a file's bytes, links followed inside the root; None where nothing is.

        Raises:
            InvalidError: not a regular file, more than ``limit`` bytes, or links that lead in circles.
        """

    def stat(self, path: str, /) -> Stat | None:
        """Say what is at a path, its last link not followed; None where nothing is."""

    def is_empty(self, path: str, /) -> bool:
        """Whether a directory has no entries; its last link is not followed."""


@dataclass(frozen=True, slots=True)
class DirectoryRoot:
    """A root that is a directory of this machine: a mounted snapshot, or a copy.

    Attributes:
        path: of the directory.
    """

    path: Path

    def read(self, path: str, limit: int) -> bytes | None:
        """Return a file's bytes; see :meth:`RootFs.read`."""
        with self._opened(path, os.O_PATH) as fd:
            if fd is None:
                return None
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise InvalidError(f"image: {printable(path)} is not a regular file")
            if found.st_size <= limit:
                return _read(fd, path, limit)
        raise InvalidError(f"image: {printable(path)} has {found.st_size} bytes; at most {limit} are read")

    def stat(self, path: str) -> Stat | None:
        """Say what is at a path; see :meth:`RootFs.stat`."""
        with self._opened(path, os.O_PATH | os.O_NOFOLLOW) as fd:
            if fd is None:
                return None
            found = os.fstat(fd)
            target = os.readlink("", dir_fd=fd) if stat.S_ISLNK(found.st_mode) else ""
            return Stat(found.st_mode, found.st_uid, found.st_gid, target)

    def is_empty(self, path: str) -> bool:
        """Whether a directory has no entries; see :meth:`RootFs.is_empty`."""
        with self._opened(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW) as fd:
            if fd is None:
                return True
            with os.scandir(fd) as entries:
                return next(entries, None) is None

    @contextmanager
    def _opened(self, path: str, flags: int) -> Iterator[int | None]:
        """Open inside the root for the time of a block, and give the system's errors their meaning."""
        if "\0" in path or len(path) > _MAX_NAME:
            raise InvalidError(f"image: {printable(path)!r} is not a path")
        fd = None
        try:
            fd = self._open(path, flags)
            yield fd
        except OSError as error:
            raise _failure(error, path) from error
        finally:
            if fd is not None:
                os.close(fd)

    def _open(self, path: str, flags: int) -> int | None:
        with opened(self.path, PATH_ONLY | os.O_DIRECTORY) as root:
            try:
                return _open_in_root(root, path, flags)
            except OSError as error:
                if error.errno in _ABSENT:
                    return None
                raise


def resolve(rootfs: RootFs, path: str) -> str:
    """Follow every link of an absolute path inside the root; names that are not there stay as they are.

    Raises:
        InvalidError: more than 40 links.
    """
    pending = path.split("/")[::-1]
    done: list[str] = []
    links = 0
    while pending:
        name = pending.pop()
        if name == "..":
            del done[-1:]
        if name in {"", ".", ".."}:
            continue
        found = rootfs.stat("/".join(["", *done, name]))
        if found is None or not stat.S_ISLNK(found.mode):
            done.append(name)
            continue
        links += 1
        if links > _MAX_LINKS:
            raise InvalidError(f"image: {printable(path)!r} leads through more than {_MAX_LINKS} symbolic links")
        if found.target.startswith("/"):
            done.clear()
        pending.extend(found.target.split("/")[::-1])
    return "/" + "/".join(done)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def _open_in_root(root: int, path: str, flags: int) -> int:
    how = _OpenHow(flags | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
    name = os.fsencode(path)
    libc = ctypes.CDLL(None, use_errno=True)
    number = errno.EAGAIN
    for _ in range(_ATTEMPTS):
        call = (ctypes.c_long(_OPENAT2), ctypes.c_long(root), name, ctypes.byref(how))
        fd = int(libc.syscall(*call, ctypes.c_size_t(ctypes.sizeof(how))))
        if fd >= 0:
            return fd
        number = ctypes.get_errno()
        if number not in {errno.EAGAIN, errno.EINTR}:
            break
    raise OSError(number, os.strerror(number), path)


def _read(fd: int, path: str, limit: int) -> bytes:
    """Read a regular file of which only a path descriptor is held."""
    with open(f"/proc/self/fd/{fd}", "rb", buffering=0) as file:  # noqa: PTH123 - not a path, a descriptor by name
        data = bytearray()
        while len(data) <= limit and (piece := file.read(limit + 1 - len(data))):
            data += piece
    if len(data) > limit:
        raise InvalidError(f"image: {printable(path)} grew beyond {limit} bytes while it was read")
    return bytes(data)


def _failure(error: OSError, path: str) -> PrestowError:
    if error.errno in _HOSTILE:
        return InvalidError(f"image: {printable(path)!r} cannot be followed inside the image: {error.strerror}")
    if error.errno == errno.ENOSYS:
        return UnsupportedError("reading inside an image needs openat2(2), Linux 5.6 or newer")
    return failure(error, f"image: reading {printable(path)!r}")
