"""SQLite's write lock under Prefect's server: taken when a transaction begins, and free when it has ended, however."""

import asyncio
import gc
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from sqlite3 import connect
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.ext.asyncio import AsyncSession

if TYPE_CHECKING:
    from prefect.server.database.configurations import AioSqliteConfiguration


@pytest.fixture(autouse=True)
def queued() -> Iterator[None]:
    """Have transactions of Prefect's in this process queue as those of the server."""
    from prefect.server.database.configurations import AioSqliteConfiguration

    from flows.local_server import transactions

    before = AioSqliteConfiguration.begin_transaction
    transactions.queue_writers()
    yield
    event.remove(Engine, "do_connect", transactions._connect_with_ours)
    AioSqliteConfiguration.begin_transaction = before  # type: ignore[method-assign]


@pytest.fixture
def configuration(tmp_path: Path) -> "AioSqliteConfiguration":
    """A database with a table."""
    from prefect.server.database.configurations import AioSqliteConfiguration

    with closing(connect(tmp_path / "db")) as database:
        database.executescript("PRAGMA journal_mode = WAL; CREATE TABLE t (a)")
    return AioSqliteConfiguration(f"sqlite+aiosqlite:///{tmp_path}/db")


@asynccontextmanager
async def opened(configuration: "AioSqliteConfiguration") -> AsyncIterator[AsyncSession]:
    async with await configuration.session(await configuration.engine()) as session:
        yield session


def lock(file: Path, timeout: float) -> None:
    """Take the write lock from outside, and give it back."""
    with closing(connect(file, timeout=timeout)) as other:
        other.execute("BEGIN IMMEDIATE")


def test_a_transaction_has_the_lock_at_once_and_what_begins_within_it_can_read(
    configuration: "AioSqliteConfiguration", tmp_path: Path
) -> None:
    async def read() -> object:
        async with opened(configuration) as session:
            return await session.scalar(text("SELECT count(*) FROM t"))

    async def read_within_a_transaction() -> tuple[object, object]:
        async with opened(configuration) as session, configuration.begin_transaction(session):
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                lock(tmp_path / "db", timeout=0)
            answers = await read(), await asyncio.create_task(read())
        await (await configuration.engine()).dispose()
        return answers

    assert asyncio.run(read_within_a_transaction()) == (0, 0)


@pytest.mark.parametrize("begun", ["in a transaction", "alone"])
def test_a_statement_that_is_cancelled_frees_the_lock_with_no_help_of_the_garbage_collector(
    configuration: "AioSqliteConfiguration", tmp_path: Path, begun: str
) -> None:
    async def write() -> None:
        transaction = configuration.begin_transaction if begun == "in a transaction" else nullcontext
        async with opened(configuration) as session, transaction(session):
            await session.execute(text("INSERT INTO t VALUES (cancelled()), (1) RETURNING a"))

    async def cancelled() -> None:
        loop, engine = asyncio.get_running_loop(), await configuration.engine()
        task = asyncio.create_task(write())

        def cancel() -> int:
            """Cancel the task that waits for this statement: the statement runs, and its result is not fetched."""
            loop.call_soon_threadsafe(task.cancel)
            return 0

        event.listen(engine.sync_engine, "connect", lambda made, _: made.create_function("cancelled", 0, cancel))
        await asyncio.wait([task])
        assert task.cancelled()
        lock(tmp_path / "db", timeout=10)  # its thread may be about to close it
        await engine.dispose()

    gc.disable()
    try:
        asyncio.run(cancelled())
    finally:
        gc.enable()


@dataclass
class Contended:
    """A connection with the lock, and one of the server's that can wait for it in another thread."""

    holder: sqlite3.Connection
    ours: sqlite3.Connection
    begun: threading.Event

    @contextmanager
    def waiting(self, call: Callable[..., object], *arguments: object) -> Iterator[None]:
        """Run a call of ours in a thread, and the block once it has begun; then free the lock, and expect success."""
        with ThreadPoolExecutor(1) as pool:
            called = pool.submit(call, *arguments)
            self.begun.wait()
            yield
            self.holder.rollback()
            called.result()


@pytest.fixture
def contended(tmp_path: Path) -> Iterator[Contended]:
    """Both, on a table without rows."""
    from flows.local_server.transactions import Connection

    begun = threading.Event()
    options: dict[str, Any] = {"isolation_level": None, "check_same_thread": False, "factory": Connection}
    file = tmp_path / "db"
    with closing(connect(file)) as holder, closing(connect(file, **options)) as ours:
        holder.executescript("PRAGMA journal_mode = WAL; CREATE TABLE t (a NOT NULL); BEGIN IMMEDIATE")
        ours.set_trace_callback(lambda _: begun.set())
        yield Contended(holder, ours, begun)


def test_a_connection_that_waits_for_the_lock_can_be_used(contended: Contended) -> None:
    with contended.waiting(contended.ours.execute, "BEGIN IMMEDIATE"):
        contended.ours.create_function("f", 0, lambda: None)  # needs its mutex, as freeing a statement does

    assert contended.ours.in_transaction


def test_many_rows_wait_as_one_does_and_are_all_there_or_none(contended: Contended) -> None:
    insert = "INSERT INTO t VALUES (?)"
    with contended.waiting(contended.ours.cursor().executemany, insert, [(1,), (2,)]):
        pass

    with pytest.raises(sqlite3.IntegrityError):
        contended.ours.cursor().executemany(insert, [(3,), (None,)])
    assert not contended.ours.in_transaction
    assert contended.holder.execute("SELECT a FROM t").fetchall() == [(1,), (2,)]


def test_a_lock_that_stays_held_is_an_error_at_last(contended: Contended, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.local_server.transactions._PATIENCE", 0.1)
    contended.ours.execute("PRAGMA busy_timeout = 60000")

    with pytest.raises(sqlite3.OperationalError, match="locked"):
        contended.ours.execute("BEGIN IMMEDIATE")

    contended.holder.rollback()
    contended.ours.execute("BEGIN IMMEDIATE")
