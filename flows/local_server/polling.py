"""How often the local server looks by itself for something to do: as seldom as goes unnoticed.

Prefect's server is made for many users, and this one is there for hours without a request. As it
comes, it wakes up twenty times a second: uvicorn and a listener for cancellations of its background tasks look ten
times a second each, those tasks' queue four times, and five services begin every five seconds. One of the five obeys
no setting: the consumer of events sweeps up after automations, in three transactions.

Schedules stay punctual: their runs are made long before they are due, those of one that was just switched on within
ten seconds.
"""

import asyncio
from datetime import timedelta
from functools import partial
from importlib.metadata import version
from itertools import count
from socket import socket
from types import FrameType

import uvicorn
from docket import Docket, Worker

_LOOK = 2.0  # seconds
_TICKS = 20  # of uvicorn's, in that time
_SWEEP = timedelta(seconds=30)
_HEARTBEAT = timedelta(seconds=30)
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
    "TOKIO_WORKER_THREADS": "1",
}
"""Variables of the server's services. A run is late 15 seconds after its time, a worker is missed after 90, pauses last
minutes or days, and what waits for an event that does not come (a proactive automation) seldom waits less. The queue of
background tasks looks for expired keys ten times a second, without a setting: on one thread it wakes no second one."""


class PatientWorker(Worker):
    """Runs the background tasks: one that is added begins at once, one that is due within two seconds."""

    def __init__(self, docket: Docket) -> None:
        """Look each two seconds; tell that it lives less often, for there is no other worker to take its place."""
        interval = timedelta(seconds=_LOOK)
        docket.heartbeat_interval = _HEARTBEAT
        super().__init__(docket, minimum_check_interval=interval, scheduling_resolution=interval)


class _DeafWorker(PatientWorker):
    """Listens for no cancellations: Prefect's server cancels none of its tasks, and has no other worker."""

    async def _cancellation_listener(self) -> None:
        session = self._processing_session
        if session is not None:
            session.cancellation_ready.set()
            await session.stopping.wait()


def poll_seldom() -> None:
    """Have Prefect's server use such a worker, and sweep up after automations seldom (names checked for Prefect 3.8).

    The sweep reads automations that another server changed, of which there is none, and forgets events that wait for
    others; those that evaluate time are a service of its own (``PROACTIVE_GRANULARITY``).
    """
    from prefect.server.api import background_workers
    from prefect.server.events import triggers

    deaf = version("pydocket").startswith(_DOCKET)
    setattr(background_workers, "Worker", _DeafWorker if deaf else PatientWorker)  # noqa: B010 - an import of its own
    triggers.consumer = partial(triggers.consumer, periodic_granularity=_SWEEP)


class PatientServer(uvicorn.Server):
    """Looks each two seconds whether it is to end, and at once when a signal says so."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal."""
        super().handle_exit(sig, frame)
        self._loop.call_soon_threadsafe(self._woken.set)

    async def main_loop(self) -> None:
        """Wait for the end."""
        woken = asyncio.ensure_future(self._woken.wait())  # one for all looks
        for counter in count(0, _TICKS):
            if await self.on_tick(counter):
                break
            await asyncio.wait([woken], timeout=_LOOK)
        woken.cancel()

    async def serve(self, sockets: list[socket] | None = None) -> None:
        """Serve to the end."""
        self._loop, self._woken = asyncio.get_running_loop(), asyncio.Event()
        await super().serve(sockets)
