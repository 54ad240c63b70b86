"""Prefect's transactions on SQLite: writers queue for the one lock, and free it (names checked for 3.8 and 3.9)."""

import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import chain, repeat
from typing import Any, Self
from weakref import WeakSet

from prefect.server.database.configurations import SQLITE_BEGIN_MODE, AioSqliteConfiguration
from sqlalchemy import Engine, event
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction

_PATIENCE = 60.0
"""Seconds to wait for the lock, as Prefect's own connections do."""

_LOOKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05)
"""Seconds until the next look; the last one is repeated."""


class Cursor(sqlite3.Cursor):
    """A cursor that waits for the write lock outside of SQLite.

    A connection that waits inside SQLite (sqlite3_busy_timeout) holds its mutex meanwhile. Freeing one of its
    statements needs that mutex, and Python frees statements wherever it collects garbage: in the event loop, too. Then
    the loop stands still, and the transaction that has the lock cannot end.
    """

    def execute(self, statement: str, *parameters: Any) -> Self:
        """Execute a statement as soon as it gets the lock that it needs.

        Raises:
            sqlite3.OperationalError: it did not get the lock within a minute.
            sqlite3.Error: any other failure.
        """
        if statement.startswith("PRAGMA busy_timeout"):
            return self
        end, pauses = time.monotonic() + _PATIENCE, chain(_LOOKS, repeat(_LOOKS[-1]))
        while True:
            try:
                return super().execute(statement, *parameters)
            except sqlite3.OperationalError as error:
                busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY  # some are Python's own
                # a transaction that has read what others have changed since can only fail
                if not busy or self.connection.in_transaction or time.monotonic() > end:
                    raise
            time.sleep(next(pauses))

    def executemany(self, statement: str, rows: Any) -> Self:
        """Execute a statement for each of the rows, or for none.

        Raises:
            sqlite3.OperationalError: it did not get the lock within a minute.
            sqlite3.Error: any other failure.
        """
        if self.connection.in_transaction:
            return super().executemany(statement, rows)
        self.execute("BEGIN IMMEDIATE")
        with self.connection:
            return super().executemany(statement, rows)


class Connection(sqlite3.Connection):
    """A connection whose lock is free when it is closed.

    SQLite keeps a closed connection, and its lock, as long as one of its statements is in use (sqlite3_close_v2). The
    frames of a cancelled request's exception hold such a statement until Python collects garbage: all other writers
    wait for it, and fail with "database is locked" after a minute.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Open it, as ``sqlite3.connect`` does."""
        super().__init__(*arguments, **{**options, "timeout": 0})
        self._cursors = WeakSet[sqlite3.Cursor]()

    def cursor(self, factory: Any = Cursor) -> Any:
        """Make a cursor, which ends with the connection."""
        cursor = super().cursor(factory)
        self._cursors.add(cursor)
        return cursor

    def execute(self, statement: str, *parameters: Any) -> Any:
        """Execute a statement with a cursor of its own."""
        return self.cursor().execute(statement, *parameters)

    def close(self) -> None:
        """Close it, and its cursors before it."""
        for cursor in list(self._cursors):
            cursor.close()
        super().close()


def queue_writers() -> None:
    """Make Prefect's transactions take the write lock when they begin, and free it when their connection is closed.

    Prefect begins most of them deferred. Of two deferred ones that have read, the second to write fails at once.
    """
    AioSqliteConfiguration.begin_transaction = _begin_transaction  # type: ignore[method-assign]  # the point
    event.listen(Engine, "do_connect", _connect_with_ours)


@asynccontextmanager
async def _begin_transaction(
    self: AioSqliteConfiguration,  # noqa: ARG001 - Prefect's signature
    session: AsyncSession,
    with_for_update: bool = True,  # noqa: ARG001 - likewise
) -> AsyncIterator[AsyncSessionTransaction]:
    """Begin IMMEDIATE.

    Prefect names the mode in a context variable, which tasks and sessions that begin within a transaction inherit. So
    it is set for BEGIN alone: what only reads meanwhile must not wait for the lock that its own caller holds.
    """
    async with session.begin() as transaction:
        token = SQLITE_BEGIN_MODE.set("IMMEDIATE")
        try:
            await session.connection()
        finally:
            SQLITE_BEGIN_MODE.reset(token)
        yield transaction


def _connect_with_ours(_dialect: object, _record: object, _arguments: object, options: dict[str, Any]) -> None:
    options["factory"] = Connection
