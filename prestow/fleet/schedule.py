"""When a set is applied: the next times, how long a run is put off, and when it is too late to begin.

Times are aware and are compared as moments, so that a window of three hours lasts three hours also in the night in
which the clocks change.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from zoneinfo import ZoneInfo

from cronsim import CronSim

from prestow.fleet.file import Schedule

_BYTES = 8


def times(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    """Yield the times of the schedule after a moment, in its zone; none is left when it never comes again.

    Prefect makes the runs. Its times are the same but for two: one that does not exist because the clocks are put
    forward comes here right after the gap (as in Debian's cron), at Prefect an hour before; of an hour that comes
    twice, an hourly schedule has both here and the first one at Prefect.
    """
    return CronSim(schedule.cron, after.astimezone(ZoneInfo(schedule.zone)))


def delay(schedule: Schedule, set_name: str, scheduled: datetime) -> float:
    """Return the seconds that a run is put off: always the same ones for a set and a time, below jitter and window."""
    text = f"{set_name} {scheduled.astimezone(UTC).isoformat()}"
    part = int.from_bytes(sha256(text.encode()).digest()[:_BYTES]) >> 11  # 53 bits: what a float below 1 can hold
    return min(schedule.jitter, schedule.window) * part / 2**53


def missed(schedule: Schedule, scheduled: datetime, now: datetime) -> bool:
    """Whether it is too late to begin what was scheduled: the window has passed."""
    return now.timestamp() - scheduled.timestamp() > schedule.window
