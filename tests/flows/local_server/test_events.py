"""What Prefect's server does with events that it has got before, on SQLite."""

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from flows.local_server.template import lay

if TYPE_CHECKING:
    from prefect.server.events.schemas.events import ReceivedEvent


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Path]:
    """A new database, for the server's parts in this process."""
    from prefect.server.database.configurations import AioSqliteConfiguration
    from prefect.server.database.dependencies import temporary_database_config

    lay(tmp_path / "prefect.db")
    with temporary_database_config(AioSqliteConfiguration(f"sqlite+aiosqlite:///{tmp_path}/prefect.db")):
        yield tmp_path / "prefect.db"


@pytest.fixture(autouse=True)
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have events written as the launcher makes the server write them."""
    from prefect.server.events.services import event_persister

    from flows.local_server.events import write_once

    monkeypatch.setattr(event_persister, "write_events", event_persister.write_events)
    write_once()


def made(*names: str) -> "list[ReceivedEvent]":
    """Make events with as many resources as those of steps have."""
    from prefect.server.events.schemas.events import ReceivedEvent, RelatedResource, Resource
    from prefect.types._datetime import now

    resource = Resource({"prefect.resource.id": "r"})
    related = [RelatedResource({"prefect.resource.id": f"r.{n}", "prefect.resource.role": "r"}) for n in range(6)]
    return [ReceivedEvent(id=uuid4(), occurred=now(), event=e, resource=resource, related=related) for e in names]


def sent(database: Path, *batches: "Sequence[ReceivedEvent]") -> list[str]:
    """Send the server batches of events, each written before the next one, and return those that it has."""
    from prefect.server.events.services.event_persister import create_handler
    from prefect.server.utilities.messaging.memory import MemoryMessage

    async def send() -> None:
        for batch in batches:
            writing = create_handler(batch_size=10_000, flush_every=timedelta(hours=1), max_flush_retries=1)
            async with writing as handler:
                for event in batch:
                    await handler(MemoryMessage(data=event.model_dump_json(), attributes={}))

    asyncio.run(send())
    with closing(sqlite3.connect(database)) as connection:
        return [name for (name,) in connection.execute("SELECT event FROM events ORDER BY event")]


@pytest.mark.parametrize("count", [1, 40, pytest.param(950, marks=pytest.mark.long)])
def test_events_that_come_again_keep_no_new_one_from_being_written(database: Path, count: int) -> None:
    names = [f"old {number:04}" for number in range(count)]
    old, new = made(*names), made("new 1", "new 2")

    assert sent(database, old, [*old, new[0], *old, *new]) == ["new 1", "new 2", *names]
