"""Bundles: the folder that a container is run from (runtime-spec, bundle.md).

    <directory>/       0700, ours alone
      config.json      0600, the runtime spec; the bundle is complete when it is there
      rootfs/          where the snapshot is mounted, or copied to, by whoever calls
      .rootfs.filling  there while a copy is made: what is in rootfs is ours, and may be half of it
      runtime.log      what the runtime said at the last run
      runtime.pid      there once the container's process was started; runc writes it as .runtime.pid and renames it

``config.json`` appears last and whole, and is never changed: the same spec again is success, another one is an error.
A folder in which anything foreign lies is not touched.
"""

import errno
import fcntl
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from prestow.content.descriptors import DIRECTORY, FILE
from prestow.content.disk import sync_folder, translated
from prestow.errors import AlreadyExistsError, InvalidError, NotFoundError, PreconditionError, printable
from prestow.oci.document import MAX_DOCUMENT
from prestow.runtime.spec import Spec

CONFIG, ROOTFS, LOG, PID = "config.json", "rootfs", "runtime.log", "runtime.pid"
FILLING = ".rootfs.filling"
PLACED = ".placed"
"""A folder with the spec of one run (see ``group``); a run that was killed leaves it."""

_CONTAINER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,127}")
_NEW = ".config.json.new"
_OURS = frozenset({CONFIG, ROOTFS, LOG, PID, FILLING, PLACED, _NEW, f".{PID}"})
_ROOTFS_MODE = 0o711


@dataclass(frozen=True, slots=True)
class Bundle:
    """A complete bundle.

    Attributes:
        directory: its folder.
        config: its runtime spec.
    """

    directory: Path
    config: Path

    @property
    def rootfs(self) -> Path:
        """The container's root."""
        return self.directory / ROOTFS


def check_container_id(container_id: str) -> str:
    """Return the ID if it is one: letters, digits and ``_ . + -``, at most 128, the first a letter or digit.

    Raises:
        InvalidError: it is not; as a path or an option it could be anything.
    """
    if _CONTAINER_ID.fullmatch(container_id):
        return container_id
    expected = "expected up to 128 letters, digits, _ . + -, the first a letter or digit"
    raise InvalidError(f"container id {printable(container_id)!r}: {expected}")


def prepare_bundle(directory: Path) -> Path:
    """Make the folder with an empty ``rootfs``, and give the path of that; success if they are there.

    Raises:
        InvalidError: the folder is a link, or belongs to another user, or others may write to it.
        AlreadyExistsError: something foreign is in it.
        StorageError: the disk failed; ExhaustedError where it is full.
    """
    with _opened(directory, create=True):
        return directory / ROOTFS


def claim_root(directory: Path) -> Path:
    """Make the folder and note that what comes into ``rootfs`` is ours, to be made anew if it is cut off.

    Raises:
        InvalidError: the folder is a link, or belongs to another user, or others may write to it.
        AlreadyExistsError: something foreign is in it, or in ``rootfs``.
        StorageError: the disk failed; ExhaustedError where it is full.
    """
    with _opened(directory, create=True) as fd, translated(f"bundle {directory}"):
        if not (directory / FILLING).exists():
            _check_empty_root(directory)
            os.close(os.open(FILLING, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=fd))
            os.fsync(fd)
    return directory / ROOTFS


def prepare_empty(directory: Path) -> Path:
    """Make the folder for a root to be mounted on; as :func:`prepare_bundle`, and ``rootfs`` is empty.

    Raises:
        AlreadyExistsError: something is in ``rootfs``, which a mount would cover.
    """
    rootfs = prepare_bundle(directory)
    with translated(f"bundle {directory}"):
        _check_empty_root(directory)
    return rootfs


def _check_empty_root(directory: Path) -> None:
    if any((directory / ROOTFS).iterdir()):
        raise AlreadyExistsError(f"bundle {directory}: rootfs is not empty; remove it, or name another bundle")


def write_bundle(spec: Spec, directory: Path, *, rootfs: Literal["empty", "filled"] = "empty") -> Bundle:
    """Complete a bundle; the same spec again is success.

    Args:
        spec: what to run.
        directory: the bundle's folder, made where it is missing.
        rootfs: ``filled`` where the caller has mounted or copied the root already.

    Raises:
        AlreadyExistsError: the bundle has another spec, a root that is not empty, or something foreign.
        InvalidError: the folder is a link, or belongs to another user, or others may write to it.
        StorageError: the disk failed; ExhaustedError where it is full.
    """
    data = spec.to_json()
    with _opened(directory, create=True) as fd, translated(f"bundle {directory}"):
        if not _has(data, fd, directory):
            fcntl.flock(fd, fcntl.LOCK_EX)
            if not _has(data, fd, directory):
                if rootfs == "empty":
                    _check_empty_root(directory)
                _write(data, fd)
            with suppress(FileNotFoundError):
                os.unlink(FILLING, dir_fd=fd)
    return Bundle(directory, directory / CONFIG)


def read_spec(directory: Path) -> Spec:
    """Read the runtime spec of a bundle.

    Raises:
        NotFoundError: the folder or its ``config.json`` is missing.
        InvalidError: not a spec, or not a folder of ours.
    """
    with _opened(directory, create=False) as fd:
        raw = _config(fd, directory)
    if raw is None:
        raise NotFoundError(f"bundle {directory}: it has no {CONFIG}; make it first")
    return Spec.from_json(raw)


def break_bundle(directory: Path) -> None:
    """Take a bundle's ``config.json`` away, so that it is complete no longer; raises as :func:`remove_bundle`."""
    with suppress(NotFoundError), _opened(directory, create=False) as fd, translated(f"bundle {directory}"):
        with suppress(FileNotFoundError):
            os.unlink(CONFIG, dir_fd=fd)
        os.fsync(fd)


def remove_bundle(directory: Path) -> None:
    """Take a bundle away, its root unmounted or emptied before; what is foreign in the folder stays, and so does it.

    Success where there is no bundle, or only a part of one.

    Raises:
        InvalidError: not a folder of ours.
        PreconditionError: the root is mounted or not empty; nothing was removed.
        StorageError: the disk failed.
    """
    with suppress(NotFoundError), _opened(directory, create=False) as fd, translated(f"bundle {directory}"):
        try:
            os.rmdir(ROOTFS, dir_fd=fd)
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno in {errno.EBUSY, errno.ENOTEMPTY}:
                raise PreconditionError(f"bundle {directory}: its rootfs is mounted, or not empty") from error
            raise
        shutil.rmtree(PLACED, ignore_errors=True, dir_fd=fd)
        for name in sorted(_OURS - {ROOTFS, PLACED}):
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=fd)
        try:
            directory.rmdir()
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
        sync_folder(directory.parent)


@contextmanager
def running(directory: Path) -> Iterator[None]:
    """Hold a bundle for one run of it, by this process.

    Raises:
        AlreadyExistsError: it is being run.
    """
    with _opened(directory, create=False) as fd:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyExistsError(f"bundle {directory}: it is being run; stop that container first") from error
        yield


@contextmanager
def _opened(directory: Path, *, create: bool) -> Iterator[int]:
    """Open the folder itself, no link to it, make what is missing if asked, and check that it is ours."""
    with translated(f"bundle {directory}"):
        if create:
            with suppress(FileExistsError):
                directory.mkdir(0o700)
                sync_folder(directory.parent)
        fd = _open(directory)
    try:
        with translated(f"bundle {directory}"):
            _check_owner(fd, directory)
            if create:
                _check_contents(fd, directory)
                _make_rootfs(fd, directory)
        yield fd
    finally:
        os.close(fd)


def _open(directory: Path) -> int:
    try:
        return os.open(directory, DIRECTORY)
    except FileNotFoundError as error:
        raise NotFoundError(f"bundle {directory}: there is none; make it first") from error
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENOTDIR}:
            raise InvalidError(f"bundle {directory}: not a directory; name another bundle") from error
        raise


def _check_owner(fd: int, directory: Path) -> None:
    found = os.fstat(fd)
    if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise InvalidError(f"bundle {directory}: the directory belongs to another user, or others may write to it")


def _check_contents(fd: int, directory: Path) -> None:
    """Refuse a directory that holds other things, before its mode is changed."""
    names = set(os.listdir(fd))
    foreign = sorted(names - _OURS)
    if foreign and CONFIG not in names:
        raise AlreadyExistsError(
            f"bundle {directory}: {printable(foreign[0])!r} is not part of a bundle; name an empty directory"
        )
    os.fchmod(fd, 0o700)


def _make_rootfs(fd: int, directory: Path) -> None:
    with suppress(FileExistsError):
        os.mkdir(ROOTFS, _ROOTFS_MODE, dir_fd=fd)
    if not stat.S_ISDIR(os.stat(ROOTFS, dir_fd=fd, follow_symlinks=False).st_mode):
        raise InvalidError(f"bundle {directory}: rootfs is not a directory; remove it, or name another bundle")


def _has(data: bytes, fd: int, directory: Path) -> bool:
    """Whether this very spec is there already."""
    found = _config(fd, directory)
    if found is not None and found != data:
        raise AlreadyExistsError(f"bundle {directory}: its {CONFIG} is another one; remove the bundle, or name another")
    return found is not None


def _config(fd: int, directory: Path) -> bytes | None:
    with translated(f"bundle {directory}: reading {CONFIG}"):
        try:
            file = os.open(CONFIG, FILE, dir_fd=fd)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise InvalidError(f"bundle {directory}: {CONFIG} is a link; remove the bundle") from error
            raise
        with open(file, "rb") as opened:  # noqa: PTH123 - a descriptor, not a path
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise InvalidError(f"bundle {directory}: {CONFIG} is not a file; remove the bundle")
            return opened.read(MAX_DOCUMENT + 1)


def _write(data: bytes, fd: int) -> None:
    """Publish ``config.json``: write, sync, rename, sync the folder."""
    with translated(f"writing {CONFIG}"):
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(_NEW, flags, 0o600, dir_fd=fd), "wb") as file:  # noqa: PTH123 - a descriptor, not a path
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.rename(_NEW, CONFIG, src_dir_fd=fd, dst_dir_fd=fd)
        os.fsync(fd)
