"""How often the local server looks by itself for something to do: as seldom as nobody notices.

Prefect's server is made for many users, and this one is there for hours in which nobody asks it for anything. As it
comes, it wakes up twenty times a second: uvicorn and a listener for cancellations of its background tasks look ten
times a second each, those tasks' queue four times, and four services begin every five seconds.

Schedules stay punctual: their runs are made long before they are due, those of one that was just switched on within
ten seconds.
"""

import asyncio
from contextlib import suppress
from datetime import timedelta
from importlib.metadata import version
from socket import socket
from types import FrameType

import uvicorn
from docket import Docket, Worker

_SECOND = 1.0
_TICKS = 10  # of uvicorn's, in a second
_DAY = 864_000  # in those ticks
_DOCKET = "0.27."  # the version whose private names are known here

SETTINGS = {
    "PREFECT_SERVER_SERVICES_SCHEDULER_RECENT_DEPLOYMENTS_LOOP_SECONDS": "10",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_LOOP_SECONDS": "20",
    "PREFECT_SERVER_SERVICES_PAUSE_EXPIRATIONS_LOOP_SECONDS": "30",
    "PREFECT_SERVER_SERVICES_CLEANUP_RECONCILER_LOOP_SECONDS": "60",
    "PREFECT_SERVER_SERVICES_REPOSSESSOR_LOOP_SECONDS": "30",
    "PREFECT_SERVER_SERVICES_FOREMAN_LOOP_SECONDS": "30",
    "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_LOOP_SECONDS": "60",
    "PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY": "PT30S",
}
"""Variables of the server's services. A run is late 15 seconds after its time, a worker is missed after 90, pauses last
minutes or days, and what waits for an event that does not come (a proactive automation) seldom waits less."""


class PatientWorker(Worker):
    """Runs the background tasks: one that is added begins at once, one that is due within two seconds."""

    def __init__(self, docket: Docket) -> None:
        """Look each two seconds."""
        interval = timedelta(seconds=2 * _SECOND)
        super().__init__(docket, minimum_check_interval=interval, scheduling_resolution=interval)


class _DeafWorker(PatientWorker):
    """Listens for no cancellations: Prefect's server cancels none of its tasks, and has no other worker."""

    async def _cancellation_listener(self) -> None:
        session = self._processing_session
        if session is not None:
            session.cancellation_ready.set()
            await session.stopping.wait()


def poll_seldom() -> None:
    """Have Prefect's server use such a worker (name checked for Prefect 3.8)."""
    from prefect.server.api import background_workers  # noqa: PLC0415 - settings come first

    deaf = version("pydocket").startswith(_DOCKET)
    setattr(background_workers, "Worker", _DeafWorker if deaf else PatientWorker)  # noqa: B010 - an import of its own


class PatientServer(uvicorn.Server):
    """Looks each second whether it is to end, and at once when a signal says so."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal."""
        super().handle_exit(sig, frame)
        self._loop.call_soon_threadsafe(self._told.set)

    async def main_loop(self) -> None:
        """Wait for the end."""
        counter = 0
        while not await self.on_tick(counter):
            counter = (counter + _TICKS) % _DAY
            with suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), _SECOND)

    async def serve(self, sockets: list[socket] | None = None) -> None:
        """Serve to the end."""
        self._loop, self._told = asyncio.get_running_loop(), asyncio.Event()
        await super().serve(sockets)
