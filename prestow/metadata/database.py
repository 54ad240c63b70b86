"""The metadata database: one SQLite file, shared by the processes of a host.

    with database.transaction() as cursor:      # the only writer, of all processes, until the block ends
        cursor.execute("INSERT …")              # durable when the block has ended, undone if it raised

It is in WAL mode with full syncs: readers never wait, and what was committed survives a power cut. A transaction takes
the write lock at once: one that began by reading could not be upgraded if another process wrote meanwhile, and would
fail without any waiting. Threads share the process's one connection and take turns; a child process that was forked
opens its own, since SQLite forbids using an inherited one.

A file that is no database any more is moved to quarantine when it is opened, and another one is made from what the
rest of the disk tells; processes that had it open go over to the new one. One of a newer prestow is left alone.
"""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from prestow.content.lock import FileLock
from prestow.content.quarantine import Quarantine
from prestow.errors import (
    AlreadyExistsError,
    ExhaustedError,
    PreconditionError,
    PrestowError,
    StorageError,
    UnavailableError,
    UnsupportedError,
)
from prestow.metadata import schema
from prestow.metadata.reserve import Reserve

Value: TypeAlias = str | int | float | bytes | None
Cursor: TypeAlias = sqlite3.Cursor
Row: TypeAlias = sqlite3.Row

_PRIMARY = 0xFF
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_READ_ONLY = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_TAKEN = {sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_ROWID}
_REFERENCES = "PRAGMA foreign_key_check"
_OUTER = ("BEGIN IMMEDIATE", "COMMIT", ("ROLLBACK",))
_NESTED = ("SAVEPOINT inner", "RELEASE inner", ("ROLLBACK TO inner", "RELEASE inner"))


@dataclass(slots=True)
class _Connection:
    """The connection of one process."""

    pid: int
    connection: sqlite3.Connection
    file: os.stat_result
    lock: threading.RLock = field(default_factory=threading.RLock)


class Database:
    """The one connection of this process to a metadata database."""

    def __init__(
        self,
        path: Path,
        *,
        timeout: float = 30.0,
        on_create: Callable[[Cursor], None] | None = None,
    ) -> None:
        """Open the database, or make it.

        Args:
            path: its file.
            timeout: seconds to wait for another process's transaction.
            on_create: called in the transaction that makes the tables, to fill them from what else is known.

        Raises:
            UnsupportedError: a newer prestow made it.
            StorageError: it is damaged, or cannot be opened.
            UnavailableError: another process held it all the time.
        """
        self.path = path
        self._reserve = Reserve(path)
        self._timeout = timeout
        self._on_create = on_create
        self._left: list[_Connection] = []
        self._current: _Connection | None = None
        self._here()
        self.fill_reserve()

    def make_room(self) -> None:
        """Give the reserve to the disk, if that is full: for those who remove things."""
        self._reserve.make_room()

    def fill_reserve(self) -> None:
        """Set space aside for the next full disk, if there is plenty."""
        self._reserve.fill()

    @contextmanager
    def transaction(self) -> Iterator[Cursor]:
        """Give a cursor whose changes all happen, durably, or none.

        Within another transaction of the same thread it is a part of that, and can be undone by itself.

        Raises:
            AlreadyExistsError: a row of that key is there.
            PreconditionError: another rule of the schema forbids it.
            UnavailableError: another process wrote for longer than the timeout.
            ExhaustedError: the disk is full.
            StorageError: the database failed, or lies on a read-only disk.
        """
        here = self._here()
        with here.lock, self._translated(), closing(here.connection.cursor()) as cursor:
            begin, end, undo = _NESTED if here.connection.in_transaction else _OUTER
            cursor.execute(begin)
            try:
                yield cursor
                cursor.execute(end)
            except BaseException:
                with suppress(sqlite3.Error):
                    for statement in undo:
                        cursor.execute(statement)
                raise

    def read(self, sql: str, args: Sequence[Value] | Mapping[str, Value] = ()) -> list[Row]:
        """Give the rows of a query: the last committed state, or that of the transaction around it.

        Raises:
            StorageError: the database failed.
        """
        here = self._here()
        with here.lock, self._translated():
            return here.connection.execute(sql, args).fetchall()

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        here, self._current = self._current, None
        if here is not None and here.pid == os.getpid():
            with here.lock:
                here.connection.close()

    def _here(self) -> _Connection:
        """Give this process's connection."""
        here, pid = self._current, os.getpid()
        if here is None or here.pid != pid or self._replaced(here):
            if here is not None:
                self._left.append(here)  # closing it could harm that of the parent process, or a thread that uses it
            with self._translated():
                here = self._current = _Connection(pid, self._connect(), self.path.stat())
        return here

    def _replaced(self, here: _Connection) -> bool:
        """Whether another process moved the file away, being damaged, and made another one."""
        if here.connection.in_transaction:
            return False
        try:
            return not os.path.samestat(here.file, self.path.stat())
        except FileNotFoundError:
            return True

    def _connect(self) -> sqlite3.Connection:
        """Open the file; one that is damaged so that it cannot be opened is moved to quarantine, and made anew."""
        try:
            return self._open()
        except sqlite3.Error as error:
            if not _is_damage(error):
                raise
        with self._rebuilding():
            try:
                return self._open()  # another process has made it anew meanwhile
            except sqlite3.Error as error:
                if not _is_damage(error):
                    raise
                self._set_aside(str(error))
            return self._open()

    def rebuild(self, why: str) -> None:
        """Move the file to quarantine, and make it anew from what ``on_create`` knows.

        Raises:
            UnavailableError: another process has been doing that all the time.
            StorageError: the disk failed.
        """
        with self._rebuilding():
            self.close()
            self._set_aside(why)
        self._here()

    def _rebuilding(self) -> FileLock:
        return FileLock(self.path.with_name("metadata.lock"), timeout=self._timeout, what=f"making {self.path} anew")

    def _set_aside(self, why: str) -> None:
        """Move the file away, its log first: without its database SQLite would delete that."""
        held = Quarantine(self.path.with_name("quarantine"))
        for path in (f"{self.path}-wal", f"{self.path}-shm", self.path):
            held.take(Path(path), f"{self.path} is damaged: {why}")

    def check(self) -> list[str]:
        """Tell what contradicts itself in the file, or the rows; nothing if all is well.

        Raises:
            StorageError: it cannot be read at all.
        """
        try:
            found = [row[0] for row in self.read("PRAGMA integrity_check(5)") if row[0] != "ok"]
            return found + [f"a row of {row[0]} refers to none of {row[2]}" for row in self.read(_REFERENCES)]
        except StorageError as error:
            if isinstance(error.__cause__, sqlite3.Error) and _is_damage(error.__cause__):
                return [str(error.__cause__)]
            raise

    def _open(self) -> sqlite3.Connection:
        with suppress(OSError):
            # Only a new file: closing any descriptor of it would drop the locks of this process's connections.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(self.path, timeout=self._timeout, isolation_level=None, check_same_thread=False)
        try:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("SELECT count(*) FROM sqlite_schema")  # which tells of damage to the schema
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Make the tables in a new database, bring an old one forward, and refuse those that we do not know."""
        if self._version(connection) == schema.VERSION:
            return
        self._reserve.make_room()
        cursor = connection.cursor()
        cursor.execute("BEGIN IMMEDIATE")
        try:
            self._migrate(cursor, self._version(connection))
            cursor.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                cursor.execute("ROLLBACK")
            raise

    def _migrate(self, cursor: Cursor, found: int) -> None:
        """Take the steps from the version that was found, which another process may have brought forward meanwhile."""
        for step in schema.STEPS[found:]:
            for statement in step:
                cursor.execute(statement)
        if found == 0 and self._on_create is not None:
            self._on_create(cursor)
        cursor.execute(f"PRAGMA user_version = {schema.VERSION}")

    def _version(self, connection: sqlite3.Connection) -> int:
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        if not 0 <= version <= schema.VERSION:
            raise UnsupportedError(
                f"{self.path}: format {version} of a newer prestow; this one knows format {schema.VERSION}: upgrade it"
            )
        return version

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def _failure(self, error: sqlite3.Error) -> PrestowError:
        """Give the error of ours that one of SQLite stands for."""
        code = getattr(error, "sqlite_errorcode", 0)
        primary = code & _PRIMARY
        if primary == sqlite3.SQLITE_CONSTRAINT:
            kind = AlreadyExistsError if code in _TAKEN else PreconditionError
            return kind(f"metadata: {error}")
        if primary in _BUSY:
            return UnavailableError(f"{self.path}: in use by another process for {self._timeout:g} s; try again later")
        if primary == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_SHMSIZE:
            return ExhaustedError(f"{self.path}: disk is full; free some space, for example with `prestow prune`")
        if primary in _READ_ONLY:
            return StorageError(f"{self.path}: cannot be opened for writing ({error}); is the store read-only?")
        if _is_damage(error):
            return StorageError(
                f"{self.path}: damaged ({error}); `prestow verify --all --repair` makes it anew from what is on disk"
            )
        return StorageError(f"{self.path}: {error}")


def _is_damage(error: sqlite3.Error) -> bool:
    """Whether the file itself is damaged, rather than the disk, or what was asked for."""
    return getattr(error, "sqlite_errorcode", 0) & _PRIMARY in _DAMAGED
