"""What SQLite's errors mean: which of ours they stand for, and which of them tell of a damaged file."""

import re
import sqlite3
from pathlib import Path

from prestow.content.disk import check_descriptors
from prestow.errors import (
    AlreadyExistsError,
    ExhaustedError,
    PreconditionError,
    PrestowError,
    StorageError,
    UnavailableError,
    printable,
)

_DESCRIPTORS = 4  # what SQLite opens at most: the file, its log, the index of that, their folder
_PRIMARY = 0xFF
_CODE = re.compile(r"error code[ =](\d+)")
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_READ_ONLY = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}
_TAKEN = {sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_ROWID}


def failure(error: sqlite3.Error | UnicodeDecodeError, path: Path, *, timeout: float) -> PrestowError:
    """Return the error of ours that one of SQLite stands for; ``timeout``: seconds that were waited."""
    code = getattr(error, "sqlite_errorcode", 0)
    primary = primary_code(error)
    if primary == sqlite3.SQLITE_CONSTRAINT:
        kind = AlreadyExistsError if code in _TAKEN else PreconditionError
        return kind(f"metadata: {error}")
    if primary in _BUSY:
        return UnavailableError(f"{path}: in use by another process for {timeout:g} s; try again later")
    if primary == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_SHMSIZE:
        return ExhaustedError(f"{path}: disk is full; free some space, for example with `prestow prune`")
    if primary in _READ_ONLY:
        check_descriptors(f"opening {path}", _DESCRIPTORS)
        return StorageError(f"{path}: cannot be opened for writing ({error}); is the store read-only?")
    if contradicts(error):
        return damaged(path, str(error))
    return StorageError(f"{path}: {error}")


def damaged(path: Path, what: str) -> StorageError:
    """Return the error for a database of which something is damaged."""
    return StorageError(
        f"{path}: corrupt ({printable(what, 400)}); "
        "run `prestow fsck --all --repair` to rebuild it from the files on disk"
    )


def primary_code(error: BaseException) -> int:
    """Return the kind of an error, without its details."""
    return getattr(error, "sqlite_errorcode", 0) & _PRIMARY


def is_damage(error: BaseException | None) -> bool:
    """Whether the file itself is damaged, rather than the disk, or what was asked for."""
    if isinstance(error, sqlite3.OperationalError) and not hasattr(error, "sqlite_errorcode"):
        return True  # Python's own: a text is no UTF-8
    if isinstance(error, sqlite3.Error):
        return primary_code(error) in _DAMAGED
    return isinstance(error, UnicodeDecodeError)  # likewise, of a column's name or a message about it


def contradicts(error: BaseException | None) -> bool:
    """Whether the file is damaged, or its tables are not those that statements ask for, which are all ours."""
    return is_damage(error) or (isinstance(error, sqlite3.Error) and primary_code(error) == sqlite3.SQLITE_ERROR)


def is_unread(fault: str) -> bool:
    """Whether what SQLite's integrity check tells of is a page that the disk did not give, rather than a wrong one."""
    code = _CODE.search(fault)
    return code is not None and int(code[1]) & _PRIMARY == sqlite3.SQLITE_IOERR
