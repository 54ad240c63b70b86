"""Where an export is written: at a name that it gets only when it is complete and durable.

A file has no name until then, where the file system allows it; what a killed process leaves has none either. Elsewhere,
as on the FAT of a stick, and for a directory, it has a hidden name beside the final one, which the next export into
that directory removes if its process is dead.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from prestow.content.descriptors import KNOWN_DIRECTORY, opened
from prestow.content.disk import failure, remove_abandoned, sync_folder
from prestow.content.process_identity import is_abandoned, owned_name
from prestow.errors import AlreadyExistsError, ExhaustedError, InvalidError, NotFoundError
from prestow.sizes import size

_HIDDEN = ".prestow-export"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise our errors for the disk's, with the remedy of an export.

    Raises:
        ExhaustedError: the disk is full, or the file too large for it.
        StorageError: everything else.
    """
    try:
        yield
    except OSError as error:
        found = failure(error, f"writing {path}")
        if isinstance(found, ExhaustedError):
            raise _full(str(path), os.strerror(error.errno or 0)) from error
        raise found from error


def check_space(directory: Path, needed: int) -> None:
    """Check that a disk has room for some bytes.

    Raises:
        ExhaustedError: it has not.
        NotFoundError: there is no such directory.
    """
    if not directory.is_dir():
        raise NotFoundError(f"directory {directory} does not exist; create it")
    with writing(directory):
        found = os.statvfs(directory)
    if (free := found.f_bavail * found.f_frsize) < needed:
        raise _full(str(directory), f"the export needs {size(needed)}, {size(free)} are free")


@contextmanager
def new_file(path: Path, *, force: bool) -> Iterator[BinaryIO]:
    """Open a file that gets its name when the block ends well, and else is gone.

    Raises:
        AlreadyExistsError: there is something of that name, and it may not be replaced.
        InvalidError: there is, and it is no regular file.
    """
    if os.path.lexists(path) and not path.is_file():
        raise InvalidError(f"{path} is neither a file nor a directory; choose another name")
    if path.exists() and not force:
        raise _exists(path)
    with writing(path):
        remove_abandoned(path.parent)
        hidden = path.with_name(owned_name(_HIDDEN))
        file = _open(hidden)
    try:
        with writing(path):
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())
                if not hidden.exists():
                    _name(file.fileno(), hidden)
            _publish(hidden, path, force=force)
            sync_folder(path.parent)
    finally:
        hidden.unlink(missing_ok=True)


@contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """Make a directory that gets its name when the block ends well, and else is gone.

    Raises:
        AlreadyExistsError: there is something of that name, other than an empty directory.
    """
    if os.path.lexists(path) and not (path.is_dir() and not any(path.iterdir())):
        raise AlreadyExistsError(f"{path} is there and not an empty directory; choose a new directory")
    with writing(path):
        _remove_abandoned_directories(path.parent)
        hidden = path.with_name(owned_name(_HIDDEN))
        hidden.mkdir()
    try:
        with writing(path):
            yield hidden
            for place, _, files in os.walk(hidden, topdown=False):
                for name in files:
                    _sync(Path(place, name))
                sync_folder(Path(place))
            hidden.rename(path)
            sync_folder(path.parent)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _open(hidden: Path) -> BinaryIO:
    """Open a new file for writing, without a name if that is possible."""
    with suppress(OSError):
        return os.fdopen(os.open(hidden.parent, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o644), "w+b")
    return hidden.open("xb")


def _name(fd: int, path: Path) -> None:
    """Name an open file that has no name (open(2), "O_TMPFILE")."""
    # Python follows the link only where a directory's descriptor is given, too.
    with opened("/proc/self/fd", KNOWN_DIRECTORY) as links:
        os.link(str(fd), path, src_dir_fd=links, follow_symlinks=True)


def _publish(hidden: Path, path: Path, *, force: bool) -> None:
    if force:
        hidden.replace(path)
        return
    try:
        path.hardlink_to(hidden)
    except FileExistsError:
        raise _exists(path) from None
    except OSError:  # a file system without hard links
        if path.exists():
            raise _exists(path) from None
        hidden.rename(path)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _remove_abandoned_directories(parent: Path) -> None:
    for found in parent.iterdir():
        if found.name.startswith(_HIDDEN) and is_abandoned(found.name) and found.is_dir():
            shutil.rmtree(found, ignore_errors=True)


def _exists(path: Path) -> AlreadyExistsError:
    return AlreadyExistsError(f"{path} exists; choose another name, or replace it with --force")


def _full(where: str, why: str) -> ExhaustedError:
    return ExhaustedError(
        f"{where}: {why}; choose another disk, or leave out with --without what an earlier export held"
    )
