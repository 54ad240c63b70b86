"""Prefect's events on SQLite: each is written once, however often it is sent (names checked for 3.8 and 3.9)."""

from collections.abc import Sequence

from prefect.server.database import provide_database_interface
from prefect.server.events.schemas.events import ReceivedEvent
from prefect.server.events.services import event_persister
from prefect.server.events.storage.database import write_events
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

_PARAMETERS = 900  # of a statement; SQLite before 3.32 takes 999


def write_once() -> None:
    """Make Prefect's server skip events that its database has.

    A client that reconnects sends unconfirmed events again, and a write that failed half way is tried again. Prefect
    looks for known events in batches of a dozen. For a batch of known events alone it inserts a row without values;
    that fails at each attempt, until it drops all events that wait.
    """
    event_persister.write_events = _write_new  # type: ignore[attr-defined]  # which imports it


async def _write_new(session: AsyncSession, events: Sequence[ReceivedEvent]) -> None:
    identity = provide_database_interface().Event.id
    new = {event.id: event for event in events}
    ids = list(new)
    for start in range(0, len(ids), _PARAMETERS):
        for known in await session.scalars(select(identity).where(identity.in_(ids[start : start + _PARAMETERS]))):
            del new[known]
    await write_events(session, list(new.values()))
