"""The metadata database: one SQLite file, shared by the processes of a host.

    with database.transaction() as cursor:      # the only writer, of all processes, until the block ends
        cursor.execute("INSERT …")              # durable when the block has ended, undone if it raised

It is in WAL mode with full syncs: readers never wait, and what was committed survives a power cut. A transaction takes
the write lock at once: one that began by reading could not be upgraded if another process wrote meanwhile, and would
fail without any waiting. Threads share the process's one connection and take turns; a child process that was forked
opens its own, since SQLite forbids using an inherited one.

A file that is missing, or no database any more, is made anew when it is opened (see :mod:`.opening`); processes that
had the old one open go over to the new one before they write.
"""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeVar

from prestow.errors import InvalidError, StorageError
from prestow.metadata.failure import contradicts, damaged, failure, is_unread
from prestow.metadata.opening import Opening
from prestow.metadata.schema import PARTS, parts

Value: TypeAlias = str | int | float | bytes | None
Cursor: TypeAlias = sqlite3.Cursor
Row: TypeAlias = sqlite3.Row
T = TypeVar("T")

_REFERENCES = "PRAGMA foreign_key_check"
_NOWHERE_ELSE = (
    "generations", "leases", "lease_resources", "announcements",
    "set_images", "set_generations", "set_failures", "checks", "fetched", "handed_over",
)  # fmt: skip
"""Tables of which no file tells."""
_OF_LEASES = ("lease_resources", "announcements")
_OUTER = ("BEGIN IMMEDIATE", "COMMIT", ("ROLLBACK",))
_NESTED = ("SAVEPOINT inner", "RELEASE inner", ("ROLLBACK TO inner", "RELEASE inner"))


class _Connection(NamedTuple):
    """The connection of one process."""

    pid: int
    connection: sqlite3.Connection
    file: os.stat_result
    lock: threading.RLock


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
        self._timeout = timeout
        self._opening = Opening(path, timeout=timeout, on_create=on_create)
        self._connecting: dict[int, threading.Lock] = {}  # of each process: one that was forked may inherit a held one
        self._left: list[_Connection] = []
        self._current: _Connection | None = None
        self._here()
        self.fill_reserve()

    def make_room(self) -> None:
        """Return the reserve to the disk, if that is full: for those who remove things."""
        self._opening.reserve.make_room()

    def fill_reserve(self) -> None:
        """Set space aside for the next full disk, if there is plenty."""
        self._opening.reserve.fill()

    @contextmanager
    def transaction(self) -> Iterator[Cursor]:
        """Yield a cursor whose changes all happen, durably, or none.

        Within another transaction of the same thread it is a part of that, and can be undone by itself.

        Raises:
            AlreadyExistsError: a row of that key is there.
            PreconditionError: another rule of the schema forbids it.
            UnavailableError: another process wrote for longer than the timeout.
            ExhaustedError: the disk is full.
            StorageError: the database failed, or lies on a read-only disk.
        """
        with ExitStack() as held, self._translated():
            connection, (_, end, undo) = self._begun(held)
            cursor = held.enter_context(closing(connection.cursor()))
            try:
                yield cursor
                cursor.execute(end)
            except BaseException:
                with suppress(sqlite3.Error):
                    for statement in undo:
                        cursor.execute(statement)
                raise

    def _begun(self, held: ExitStack) -> tuple[sqlite3.Connection, tuple[str, str, tuple[str, ...]]]:
        """Begin a transaction, in which the connection is ours; not on a file that was replaced while we waited."""
        while True:
            here = self._here()
            lock = held.enter_context(ExitStack())
            lock.enter_context(here.lock)
            statements = _NESTED if here.connection.in_transaction else _OUTER
            here.connection.execute(statements[0])
            if statements is _NESTED or not self._replaced(here):
                return here.connection, statements
            here.connection.execute("ROLLBACK")
            lock.close()

    def read(self, sql: str, args: Sequence[Value] | Mapping[str, Value] = ()) -> list[Row]:
        """Return the rows of a query: the last committed state, or that of the transaction around it.

        Raises:
            StorageError: the database failed.
        """
        here = self._here()
        with here.lock, self._translated():
            return here.connection.execute(sql, args).fetchall()

    def records(self, of: Callable[[Row], T], sql: str, args: Sequence[Value] = ()) -> list[T]:
        """Return what the rows of a query stand for.

        Raises:
            StorageError: the database failed, or a row makes no sense.
        """
        rows = self.read(sql, args)
        try:
            return [of(row) for row in rows]
        except (ValueError, TypeError, LookupError, AttributeError, InvalidError) as error:
            raise damaged(self.path, f"a row makes no sense: {error}") from error

    def close(self) -> None:
        """Close the connection; the next use opens another."""
        here, self._current = self._current, None
        if here is not None and here.pid == os.getpid():
            with here.lock:
                here.connection.close()

    def _here(self) -> _Connection:
        """Return this process's connection."""
        here = self._current
        if here is None or self._is_stale(here):
            with self._connecting.setdefault(os.getpid(), threading.Lock()), self._translated():
                here = self._current
                if here is None or self._is_stale(here):
                    if here is not None:
                        self._left.append(here)  # closing it could harm the parent's, or a thread that uses it
                    here = self._current = self._connected()
        return here

    def _connected(self) -> _Connection:
        """Open the file that is there before and afterwards, and not one that is replaced while we open it."""
        while True:
            before = self._file()
            try:
                connection = self._opening.connect()
            except (sqlite3.Error, UnicodeDecodeError):
                if before is None or self._is_here(before):
                    raise
                continue  # its log went away as well
            if before is not None and self._is_here(before):
                return _Connection(os.getpid(), connection, before, threading.RLock())
            connection.close()

    def _is_here(self, file: os.stat_result) -> bool:
        now = self._file()
        return now is not None and os.path.samestat(file, now)

    def _file(self) -> os.stat_result | None:
        with suppress(FileNotFoundError):
            return self.path.stat()
        return None

    def _is_stale(self, here: _Connection) -> bool:
        return here.pid != os.getpid() or not (here.connection.in_transaction or not self._replaced(here))

    def _replaced(self, here: _Connection) -> bool:
        """Whether another process made the file anew, or it is gone."""
        return not self._is_here(here.file)

    def rebuild(self, why: str) -> None:
        """Move the file to quarantine, and make it anew from what ``on_create`` knows.

        What is nowhere else is taken over from the old file as far as it can be read: generations and leases.

        Raises:
            UnavailableError: another process has been doing that all the time.
            StorageError: the disk failed.
        """
        with self._opening.making(), ExitStack() as held:
            with suppress(StorageError), self._translated():  # damaged too much even for that
                connection, _ = self._begun(held)  # who waits to write goes over to the new file
                held.callback(connection.rollback)
            kept = {table: self._readable(table) for table in _NOWHERE_ELSE}
            self._opening.set_aside(why)
        with self.transaction() as cursor:
            cursor.execute("PRAGMA defer_foreign_keys = ON")
            for table, rows in kept.items():
                for row in rows:
                    columns, marks = ", ".join(row.keys()), ", ".join("?" * len(row))
                    with suppress(sqlite3.IntegrityError):  # nonsense
                        cursor.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", row)  # noqa: S608 - ours
            for table in _OF_LEASES:
                cursor.execute(f"DELETE FROM {table} WHERE lease NOT IN (SELECT id FROM leases)")  # noqa: S608 - ours
            cursor.execute("UPDATE set_images SET lease = NULL WHERE lease NOT IN (SELECT id FROM leases)")

    def _readable(self, table: str) -> list[Row]:
        """Return the rows of a table; none if it is damaged."""
        columns = ", ".join(f"{table}.{part[2]}" for part in sorted(parts()) if part[:2] == ("column", table))
        with suppress(StorageError):
            return self.read(f"SELECT {columns} FROM {table}")  # noqa: S608 - ours
        return []

    def check(self) -> list[str]:
        """Return what contradicts itself in the file, or the rows; nothing if all is well.

        Raises:
            StorageError: it cannot be read, at all or somewhere: what is there may be well.
        """
        try:
            found = [row[0] for row in self.read("PRAGMA integrity_check(5)") if row[0] != "ok"]
            found += [f"a row of {row[0]} refers to none of {row[2]}" for row in self.read(_REFERENCES)]
            found += [f"no {' '.join(part)}" for part in sorted(parts() - {tuple(row) for row in self.read(PARTS)})]
            for table in {part[1] for part in parts() if part[0] == "table"} if not found else ():
                self.read(f"SELECT * FROM {table}")  # noqa: S608 - ours; whether its texts are texts
        except StorageError as error:
            if contradicts(error.__cause__):
                return [str(error.__cause__)]
            raise
        self._refuse_unread(found)
        return found

    def check_table(self, table: str) -> None:
        """Make sure that a table gives all its rows, before something else is replaced by what it says.

        Raises:
            StorageError: it is damaged, or cannot be read.
        """
        found = [row[0] for row in self.read(f"PRAGMA integrity_check({table})") if row[0] != "ok"]
        self._refuse_unread(found)
        if found:
            raise damaged(self.path, found[0])

    def _refuse_unread(self, found: Sequence[str]) -> None:
        if unread := next(filter(is_unread, found), ""):
            raise StorageError(f"{self.path}: cannot be read: {unread.splitlines()[-1]}")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise failure(error, self.path, timeout=self._timeout) from error
