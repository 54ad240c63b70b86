"""Waiting for the hosts of a wave: an event of theirs ends the wait sooner, and nothing rests on it.

A server drops events of a burst for those who listen, so what has happened is asked for (``runs``); this says when.
"""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import copy_context

from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter, EventRelatedFilter

from prestow.cancellation import PROMPT, check, pause

_STATES = ("Completed", "Failed", "Refused", "Crashed", "Cancelled", "TimedOut")
_AGAIN = 5.0  # seconds until the subscriber connects again


class Alarm:
    """Whether something of interest has happened since the last wait."""

    def __init__(self, settle: float) -> None:
        """Wait for the first event; those of the next ``settle`` seconds count as the same burst."""
        self._rung = threading.Event()
        self._settle = settle

    def ring(self) -> None:
        """Say that something has happened."""
        self._rung.set()

    def wait(self, seconds: float) -> None:
        """Let time pass until something happens, and a little longer, so that what happens with it is seen as well.

        Raises:
            CancelledError: the run is to end.
        """
        left = seconds
        while left > 0 and not self._rung.wait(min(PROMPT, left)):
            check()
            left -= PROMPT
        check()
        if left > 0:
            pause(min(self._settle, left))
        self._rung.clear()


@contextmanager
def listening(related: Sequence[str], settle: float) -> Iterator[Alarm]:
    """Yield an alarm that rings when a run with one of these tags ends; without a stream of events it never rings."""
    alarm, over = Alarm(settle), threading.Event()
    wanted = EventFilter(
        event=EventNameFilter(name=[f"prefect.flow-run.{state}" for state in _STATES]),
        related=EventRelatedFilter(id=[f"prefect.tag.{tag}" for tag in related]),
    )
    thread = threading.Thread(
        target=copy_context().run, args=(_listen, wanted, alarm, over), name="events of the rollout", daemon=True
    )
    thread.start()
    try:
        yield alarm
    finally:
        over.set()


def _listen(wanted: EventFilter, alarm: Alarm, over: threading.Event) -> None:
    """Ring at each event, and connect again after each loss, until it is over."""
    while not over.is_set():
        with suppress(Exception):  # an API that is away will come back; until then time alone wakes
            asyncio.run(_subscribed(wanted, alarm, over))
        over.wait(_AGAIN)


async def _subscribed(wanted: EventFilter, alarm: Alarm, over: threading.Event) -> None:
    async with get_events_subscriber(filter=wanted, reconnect_on_clean_close=True) as events:
        coming = asyncio.ensure_future(anext(events))
        while not over.is_set():
            done, _ = await asyncio.wait([coming], timeout=PROMPT)
            if done:
                coming.result()
                alarm.ring()
                coming = asyncio.ensure_future(anext(events))
        coming.cancel()
