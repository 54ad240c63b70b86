"""How often the workers of a fleet ask the server for runs, and how long one may be silent before it is offline.

Polling is what a fleet costs the server most: 29 to 46 ms of its CPU each time. So the more hosts there are, the more
rarely each asks: all together about 15 times a second at the most.
"""

from collections.abc import Mapping
from datetime import datetime

LEAST_SECONDS = 10.0
"""Between two polls of one worker."""
POLLS_PER_SECOND = 15
"""Of all workers together."""
HEARTBEAT_SECONDS = 30.0
"""Between two heartbeats of a worker: Prefect's default."""

_MISSED = 3
_MARGIN = 15.0  # seconds that a heartbeat may take to arrive and be written


def poll_seconds(hosts: int) -> float:
    """Return the seconds between two polls of a worker in a fleet of so many hosts.

    >>> poll_seconds(8), poll_seconds(1000)
    (10.0, 66.66666666666667)
    """
    return max(LEAST_SECONDS, hosts / POLLS_PER_SECOND)


def is_alive(beat: datetime | None, interval: float, now: datetime, heard: datetime | None = None) -> bool:
    """Whether the last heartbeat is at most three of its intervals (seconds) and 15 s old.

    Of a worker this says that its host is online, as Prefect itself judges; the status of queues does not. No heartbeat
    arrives while the API is away, so with ``heard``, since when it answers, silence counts from then at the earliest.
    """
    known = [time for time in (beat, heard) if time is not None]
    return bool(known) and (now - max(known)).total_seconds() <= _MISSED * interval + _MARGIN


def absence(
    host: str, beats: Mapping[str, datetime | None], interval: float, now: datetime, heard: datetime | None = None
) -> str:
    """Return why a host is offline, or an empty text.

    ``beats`` has the last heartbeat of each worker that was ever seen; for the rest see :func:`is_alive`.
    """
    if host in beats and is_alive(beats[host], interval, now, heard):
        return ""
    beat = beats.get(host)
    since = f" since {beat:%Y-%m-%d %H:%M:%S %Z}" if beat else ""
    why = f"its worker has been silent{since}" if host in beats else "no worker of this host was ever seen"
    return f"{why}; run `prestow node up --name {host}` on it"
