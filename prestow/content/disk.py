"""What durable means here, and what the disk's errors mean.

A file is published in this order: write, ``fsync`` the file, ``rename`` it to its name, ``fsync`` the folder. Without
the first sync a power cut leaves an empty file under the name, without the second it may lose the name. A sync that
failed is never tried again: the kernel has marked the lost pages clean, and the second call would succeed for nothing.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from prestow.cancellation import check
from prestow.content.descriptors import KNOWN_DIRECTORY, KNOWN_FILE, opened
from prestow.content.process_identity import is_abandoned, owned_name
from prestow.digest import Digester
from prestow.errors import ExhaustedError, PrestowError, StorageError, UnavailableError

_FULL = {errno.ENOSPC, errno.EDQUOT}
SCARCE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Errors that are this process's, or this moment's, and not those of the disk."""

_BUFFER = 1 << 20


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise our errors for the disk's, within ``what`` (say it as "writing ingest x").

    Raises:
        ExhaustedError: disk or quota is full, or a file too large.
        UnavailableError: too many open files, or no memory: may pass.
        StorageError: everything else.
    """
    try:
        yield
    except OSError as error:
        raise failure(error, what) from error


def failure(error: OSError, what: str) -> PrestowError:
    """Return the error of ours that an operating system error stands for."""
    reason = os.strerror(error.errno) if error.errno else error.strerror or str(error)
    if error.errno in _FULL:
        return ExhaustedError(f"{what}: {reason}; free some space, for example with `prestow prune`")
    if error.errno == errno.EFBIG:
        return ExhaustedError(f"{what}: {reason}, for this process (`ulimit -f`) or for the file system")
    if error.errno in SCARCE:
        limit = " (`ulimit -n`)" if error.errno == errno.EMFILE else ""
        return UnavailableError(f"{what}: {reason}{limit}")
    if error.errno == errno.EROFS:
        return StorageError(f"{what}: the store is on a read-only file system")
    if error.errno == errno.EXDEV:
        return StorageError(f"{what}: all directories of a store must be on one file system")
    return StorageError(f"{what}: {reason}")


def check_descriptors(what: str, count: int = 1) -> None:
    """Make sure that so many files can be opened, for libraries that fail without saying why.

    Raises:
        UnavailableError: too many are open.
    """
    with translated(what), ExitStack() as opened:
        for _ in range(count):
            opened.callback(os.close, os.open("/", KNOWN_DIRECTORY))


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    with opened(folder, KNOWN_DIRECTORY) as fd:
        os.fsync(fd)


def make_folder(folder: Path, *, durable: bool = True) -> None:
    """Make a folder, and those above it, for us alone; success if it is there."""
    if folder.is_dir():
        return
    if not folder.parent.is_dir():
        make_folder(folder.parent, durable=durable)
    with suppress(FileExistsError):
        folder.mkdir(0o700)
    if durable:
        sync_folder(folder.parent)


def write_new(path: Path, data: bytes | Iterable[bytes], *, durable: bool = True) -> Path:
    """Write a file beside ``path``, under a name that no process uses, for the caller to rename or link."""
    temporary = path.with_name(owned_name(f".{path.name}"))
    try:
        with temporary.open("xb") as file:
            os.fchmod(file.fileno(), 0o644)  # whatever the umask
            file.writelines([data] if isinstance(data, bytes) else data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def remove_abandoned(folder: Path) -> None:
    """Remove the files that dead processes were about to give their names in a folder; success if there is none.

    A directory is removed by the code that knows how.
    """
    with suppress(FileNotFoundError):
        for path in folder.iterdir():
            if path.name.startswith(".") and is_abandoned(path.name) and not path.is_dir():
                path.unlink(missing_ok=True)


def read_file(path: Path) -> bytes:
    """Read a file; what is none, such as a pipe, on which one would wait for ever, is an error."""
    fd = os.open(path, KNOWN_FILE)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(0, "no regular file")
        return file.read()


def replace_file(
    path: Path, data: bytes | Iterable[bytes], *, durable: bool = True, drafts: Path | None = None
) -> None:
    """Replace the contents of a file: readers see the old or the new ones, whole, also after a power cut.

    Args:
        path: the file.
        data: its new contents.
        durable: whether to wait for the disk.
        drafts: directory of the temporary file, for which recovery looks there; that of ``path`` if not given.
    """
    temporary = write_new((drafts or path.parent) / path.name, data, durable=durable)
    try:
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def create_file(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Make a file whole or not at all; success, and nothing changed, if it is there."""
    temporary = write_new(path, data, durable=durable)
    try:
        with suppress(FileExistsError):
            path.hardlink_to(temporary)
    finally:
        temporary.unlink(missing_ok=True)
    if durable:
        sync_folder(path.parent)


def set_aside(path: Path, grave: Path) -> bool:
    """Move a file or folder out of sight in one step, so that it is whole or gone; False if it is not there."""
    try:
        path.rename(grave)
    except FileNotFoundError:
        if not os.path.lexists(path):
            return False
        make_folder(grave.parent, durable=False)
        path.rename(grave)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        # The trash itself cannot grow, and removing is what helps: do it without the step in between.
        remove_flat(path)
    return True


def remove_flat(path: Path) -> None:
    """Remove a file, or a folder of files, never going deeper: what lies deeper is not ours; success if it is gone."""
    with suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            for file in path.iterdir():
                file.unlink(missing_ok=True)
            path.rmdir()
        else:
            path.unlink()


def hash_part(fd: int, digester: Digester, start: int, end: int) -> None:
    """Hash the bytes of a file between two offsets.

    Raises:
        CancelledError: the work that this is part of is to end.
        OSError: the file ends before.
    """
    buffer = memoryview(bytearray(min(_BUFFER, end - start)))
    while start < end:
        check()
        count = os.preadv(fd, [buffer[: end - start]], start)
        if not count:
            raise OSError(0, "the file is shorter than it was")
        digester.write(buffer[:count])
        start += count


def hash_file(fd: int, algorithm: str, progress: Callable[[int], None] | None = None) -> Digester:
    """Hash a whole file, from its start to its end, wherever its position is; ``progress`` is told of the bytes.

    Raises:
        CancelledError: the work that this is part of is to end.
    """
    digester = Digester(algorithm)
    buffer = memoryview(bytearray(_BUFFER))
    offset = 0
    while count := os.preadv(fd, [buffer], offset):
        check()
        digester.write(buffer[:count])
        offset += count
        if progress is not None:
            progress(count)
    return digester
