"""Opening the file of the metadata database: made if there is none, brought forward if old, refused if newer.

    metadata.db        missing, empty, or no database any more ──▶ made, by one process at a time
    metadata.lock      permanent; held by that process, while others wait for what it makes
    quarantine/        where a file that is no database any more goes first, with its log

What a new database begins with, its caller knows: in a store that had one, what the rest of the disk tells.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from prestow.content.lock import FileLock
from prestow.content.quarantine import Quarantine
from prestow.errors import UnsupportedError
from prestow.metadata import schema
from prestow.metadata.failure import is_damage
from prestow.metadata.reserve import Reserve

_PATIENCE = 900.0  # reading back what was lost takes as long as reading the store's documents
_LOOKS = 2  # SQLite takes some pages that the disk did not give for wrong ones; what is wrong is so each time


class _Connection(sqlite3.Connection):
    """Closes when what has it is forgotten, as a store has no end of its own; Python 3.13 warns of that otherwise."""

    def __del__(self) -> None:
        with suppress(sqlite3.Error):
            self.close()


class _LostError(Exception):
    """There is no database yet, or no longer."""


class Opening:
    """How the connections to one database are opened."""

    def __init__(self, path: Path, *, timeout: float, on_create: Callable[[sqlite3.Cursor], None] | None) -> None:
        """Note what every connection needs; see :class:`prestow.metadata.database.Database`."""
        self.path = path
        self.reserve = Reserve(path)
        self._timeout = timeout
        self._on_create = on_create

    def connect(self) -> sqlite3.Connection:
        """Open the file, or make it; one that is no database any more is moved to quarantine first.

        Raises:
            sqlite3.Error: it cannot be opened.
            UnsupportedError: a newer prestow made it.
            UnavailableError: another process has been making it all the time.
        """
        try:
            return self._open(make=False)
        except (_LostError, sqlite3.Error, UnicodeDecodeError) as error:
            if not (isinstance(error, _LostError) or is_damage(error)):
                raise
        with self.making():
            why = ""
            for _ in range(_LOOKS):
                try:
                    return self._open(make=True)  # there is none, or another process has made it meanwhile
                except (sqlite3.Error, UnicodeDecodeError) as error:
                    if not is_damage(error):
                        raise
                    why = str(error)
            self.set_aside(why)
            return self._open(make=True)

    def making(self) -> FileLock:
        """Become the only one, of all processes, who makes the file.

        Raises:
            UnavailableError: another one has been at it for a quarter of an hour.
        """
        what = f"the making of {self.path} from what is on disk"
        return FileLock(self.path.with_suffix(".lock"), timeout=_PATIENCE, what=what)

    def set_aside(self, why: str) -> None:
        """Move the file to quarantine, before its log and the locks that lie with that.

        Whoever opened it without those could write to it, and lose that; who finds no file waits for the new one.

        Raises:
            ExhaustedError: the disk is full.
            StorageError: the disk failed.
        """
        self.reserve.make_room()
        held = Quarantine(self.path.with_name("quarantine"))
        for path in (self.path, f"{self.path}-wal", f"{self.path}-shm"):
            held.take(Path(path), f"{self.path} is damaged: {why}")

    def _open(self, *, make: bool) -> sqlite3.Connection:
        if make:
            with suppress(OSError):
                # Only a new file: closing any descriptor of it would drop the locks of this process's connections.
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        elif not self._is_there():
            raise _LostError
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}{'?immutable=1' if self._is_still() else ''}",
            timeout=self._timeout,
            isolation_level=None,
            check_same_thread=False,
            uri=True,
            factory=_Connection,
        )
        try:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("SELECT count(*) FROM sqlite_schema")  # which tells of damage to the schema
            self._prepare(connection, make=make)
        except BaseException:
            connection.close()
            raise
        return connection

    def _is_still(self) -> bool:
        """Whether no process can write the file: on a read-only disk SQLite does not open it before it was told so."""
        with suppress(OSError):
            read_only = os.statvfs(self.path.parent).f_flag & os.ST_RDONLY
            return bool(read_only) and not Path(f"{self.path}-wal").exists()
        return False

    def _is_there(self) -> bool:
        try:
            return self.path.stat().st_size > 0
        except OSError:
            return False

    def _prepare(self, connection: sqlite3.Connection, *, make: bool) -> None:
        """Make the tables in a new database, bring an old one forward, and refuse those that we do not know."""
        found = self._version(connection)
        if found == schema.VERSION:
            return
        if found == 0 and not make:
            raise _LostError
        self.reserve.make_room()
        cursor = connection.cursor()
        cursor.execute("BEGIN IMMEDIATE")
        try:
            self._migrate(cursor, self._version(connection))
            cursor.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                cursor.execute("ROLLBACK")
            raise

    def _migrate(self, cursor: sqlite3.Cursor, found: int) -> None:
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
                f"{self.path}: format {version} of a newer prestow; this one knows format {schema.VERSION}: "
                "upgrade prestow"
            )
        return version
