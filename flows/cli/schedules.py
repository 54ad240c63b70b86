"""What ``prestow doctor`` says of the schedules at a Prefect API: whether the server's scheduler makes their runs.

The scheduler keeps runs in the database for each active schedule, up to 100 days ahead, and looks at each schedule once
a minute. So an active schedule that was changed minutes ago, is due within these days and has no coming run means that
the scheduler is dead. Prefect's own rules of when a schedule is due are imported only where a run is missing.
"""

import asyncio
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

from prestow.errors import printable

_PAGE = 200
_GRACE = timedelta(minutes=3)  # three turns of the scheduler, for it may be busy
_HORIZON = timedelta(days=90)  # a little less than the scheduler's own
_NAMED = 3


class Ask(Protocol):
    """Asks the API for what a filter gives."""

    def __call__(self, path: str, body: Mapping[str, Any]) -> tuple[list[dict[str, Any]], datetime]:
        """Return the rows, and the server's time."""


def without_runs(ask: Ask) -> list[str]:
    """Return the names of the deployments whose active schedules should have coming runs and have none."""
    return [printable(str(found["name"])) for found, now in _deployments(ask) if _is_neglected(ask, found, now)]


def dead_scheduler(names: list[str]) -> str:
    """Say it in a sentence."""
    named = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    return f"its scheduler is dead: active schedules and no upcoming runs of {named}"


def _deployments(ask: Ask) -> Iterator[tuple[dict[str, Any], datetime]]:
    offset = 0
    while True:
        found, now = ask("/deployments/filter", {"limit": _PAGE, "offset": offset, "sort": "CREATED_DESC"})
        yield from ((each, now) for each in found if not each.get("paused"))
        if len(found) < _PAGE:
            return
        offset += _PAGE


def _is_neglected(ask: Ask, deployment: Mapping[str, Any], now: datetime) -> bool:
    """Return whether the scheduler had the time to make runs of a deployment, and made none."""
    changed = [deployment, *deployment["schedules"]]
    if any(now - datetime.fromisoformat(each["updated"]) < _GRACE for each in changed):
        return False
    active = [each["schedule"] for each in deployment["schedules"] if each["active"]]
    return (
        bool(active) and not _has_coming_run(ask, deployment["id"], now) and any(_is_due(each, now) for each in active)
    )


def _has_coming_run(ask: Ask, deployment: str, now: datetime) -> bool:
    coming = {
        "deployments": {"id": {"any_": [deployment]}},
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}, "expected_start_time": {"after_": now.isoformat()}},
        "limit": _PAGE,
    }
    runs, _ = ask("/flow_runs/filter", coming)
    return any(run["auto_scheduled"] for run in runs)


def _is_due(schedule: Mapping[str, Any], now: datetime) -> bool:
    """Return whether a schedule has a date within the scheduler's horizon."""
    from prefect.server.schemas.schedules import SCHEDULE_TYPES
    from pydantic import TypeAdapter

    known: Any = TypeAdapter(SCHEDULE_TYPES).validate_python(dict(schedule))
    return bool(asyncio.run(known.get_dates(1, start=now + _GRACE, end=now + _HORIZON)))
