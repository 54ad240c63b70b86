"""The runs of hosts at the Prefect API: made in bulk, counted by query, ended where their hosts cannot end them.

A run is found by the tags of its rollout. What ended is asked for by time, with a minute's overlap, so that a look at a
large rollout stays small; what has not ended is asked for as a whole, and seldom.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterEndTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events.filters import EventFilter, EventNameFilter, EventOccurredFilter, EventResourceFilter
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Cancelling, Crashed

from flows.rollout import tags
from flows.runs.cancelling import REFUSED
from prestow.errors import PreconditionError, printable
from prestow.fleet.rollout import Run

_PAGE = 200
_AT_ONCE = 100
_OVERLAP = timedelta(minutes=1)
_EVENTS = 50  # a page, at most
_RECENT = timedelta(minutes=15)  # several heartbeats of a run
_MESSAGE = 1000
_HEARTBEAT = "prefect.flow-run.heartbeat"
_ENDED = [StateType.COMPLETED, StateType.FAILED, StateType.CRASHED, StateType.CANCELLED]
_OPEN = [StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.PAUSED, StateType.CANCELLING]
_STATES: Mapping[StateType, Literal["waiting", "running", "completed", "failed", "crashed", "cancelled"]] = {
    StateType.SCHEDULED: "waiting",
    StateType.PENDING: "waiting",
    StateType.RUNNING: "running",
    StateType.PAUSED: "running",
    StateType.CANCELLING: "running",
    StateType.COMPLETED: "completed",
    StateType.FAILED: "failed",
    StateType.CRASHED: "crashed",
    StateType.CANCELLED: "cancelled",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A run to make for a host.

    Attributes:
        key: idempotency key: with the same one, no second run is made.
        parameters: of the flow ``prepull``.
    """

    host: str
    name: str
    key: str
    tags: Sequence[str]
    parameters: Mapping[str, Any]


def make(client: SyncPrefectClient, deployment: UUID, wanted: Sequence[Wanted], parent: UUID | None) -> None:
    """Make runs, each on its host's queue, as children of a task run.

    Raises:
        PreconditionError: the API does not make one of them.
    """
    for begin in range(0, len(wanted), _AT_ONCE):
        some = wanted[begin : begin + _AT_ONCE]
        answer = client.request(
            "POST",
            f"/deployments/{deployment}/create_flow_run/bulk",  # type: ignore[arg-type] # not in Prefect's list of paths
            json=[_entry(each, parent) for each in some],
        )
        for each, result in zip(some, answer.json()["results"], strict=True):
            if result["status"] == "FAILED":
                why = printable(str(result.get("error")), _MESSAGE)
                raise PreconditionError(
                    f"the Prefect API refuses the run of {each.host}: {why}; run `prestow deploy` to bring the "
                    "deployment up to date"
                )


def _entry(wanted: Wanted, parent: UUID | None) -> dict[str, Any]:
    return {
        "name": wanted.name,
        "parameters": dict(wanted.parameters),
        "work_queue_name": wanted.host,
        "tags": list(wanted.tags),
        "idempotency_key": wanted.key,
        "parent_task_run_id": None if parent is None else str(parent),
        "state": {"type": "SCHEDULED", "name": "Scheduled"},
    }


def ended(client: SyncPrefectClient, rollout: str, since: datetime | None) -> Iterator[Run]:
    """Yield the runs of a rollout that have ended, or only those that did so since about then."""
    after = {} if since is None else {"end_time": FlowRunFilterEndTime(after_=since - _OVERLAP)}
    return _hosts_runs(client, _having(tags.of_rollout(rollout), _ENDED, **after))


def unfinished(client: SyncPrefectClient, rollout: str) -> Iterator[Run]:
    """Yield the runs of a rollout that wait or run."""
    return _hosts_runs(client, _having(tags.of_rollout(rollout), _OPEN))


def unfinished_before(client: SyncPrefectClient, image_set: str, rollout: str) -> list[Run]:
    """Return the runs of a set that still wait or run though another rollout made them."""
    found = [
        each
        for each in _pages(client, _having(tags.of_set(image_set), _OPEN))
        if tags.rollout(each.tags) not in (None, rollout)
    ]
    return [run for each in found if (run := _run(each)) is not None]


def cancel(client: SyncPrefectClient, runs: Iterable[tuple[str, str]]) -> None:
    """Cancel runs, each with a message: those that wait at once; the processes of the others are told to end."""
    for each, reason in runs:
        try:
            found = client.read_flow_run(UUID(each))
            if found.state is None or found.state.is_final():
                continue
            running = found.state.type in (StateType.RUNNING, StateType.PAUSED)
            state: Any = Cancelling(message=reason) if running else Cancelled(message=reason)
            client.set_flow_run_state(found.id, state)
        except ObjectNotFound:
            continue  # a person deleted it


def finish(client: SyncPrefectClient, runs: Iterable[tuple[str, str]]) -> None:
    """Mark runs as Crashed whose hosts are dead, each with the reason; their queues are free then."""
    for each, reason in runs:
        state: Any = Crashed(message=reason)
        try:
            found = client.read_flow_run(UUID(each)).state
            if found is not None and not found.is_final():
                client.set_flow_run_state(UUID(each), state, force=True)
        except ObjectNotFound:
            continue


def with_heartbeats(client: SyncPrefectClient, runs: Iterable[Run]) -> Iterator[Run]:
    """Yield runs with their last heartbeat, as far as there is one of the last minutes."""
    asked = list(runs)
    since = datetime.now(UTC) - _RECENT
    for begin in range(0, len(asked), _EVENTS):
        some = {f"prefect.flow-run.{run.id}": run for run in asked[begin : begin + _EVENTS]}
        wanted = EventFilter(
            event=EventNameFilter(name=[_HEARTBEAT]),
            occurred=EventOccurredFilter(since=since),
            resource=EventResourceFilter(id=[*some], distinct=True),
        )
        for event in client.read_events(wanted, limit=_EVENTS).events:
            yield replace(some[event.resource.id], beat=event.occurred)


def _having(tag: str, states: list[StateType], **more: Any) -> FlowRunFilter:
    return FlowRunFilter(
        tags=FlowRunFilterTags(all_=[tag]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=states)),
        **more,
    )


def _hosts_runs(client: SyncPrefectClient, wanted: FlowRunFilter) -> Iterator[Run]:
    for each in _pages(client, wanted):
        run = _run(each)
        if run is not None:
            yield replace(run, message=_reason(client, each)) if run.state == "cancelled" and not run.mark else run


def _reason(client: SyncPrefectClient, run: FlowRun) -> str:
    """Return why a run was to be cancelled: its worker may have replaced that message when it was."""
    states = client.read_flow_run_states(run.id)
    said = next((state.message for state in reversed(states) if state.type == StateType.CANCELLING), None)
    return printable(said or (run.state and run.state.message) or "", _MESSAGE)


def _pages(client: SyncPrefectClient, wanted: FlowRunFilter) -> Iterator[FlowRun]:
    """Yield what a filter finds; in the order of IDs, which no change of state changes between two pages."""
    offset = 0
    while True:
        page = client.read_flow_runs(flow_run_filter=wanted, sort=FlowRunSort.ID_DESC, limit=_PAGE, offset=offset)
        yield from page
        if len(page) < _PAGE:
            return
        offset += _PAGE


def _run(found: FlowRun) -> Run | None:
    """Return a run as the rules know it; None if it is no run of a host."""
    whose = tags.host_and_attempt(found.tags)
    if whose is None or found.state is None or found.created is None:
        return None
    refused = found.state.type == StateType.FAILED and found.state.name == REFUSED
    return Run(
        id=str(found.id),
        host=whose[0],
        attempt=whose[1],
        state="refused" if refused else _STATES[found.state.type],
        message=printable(found.state.message or "", _MESSAGE),
        began=found.start_time,
        ended=found.end_time,
        created=found.created,
    )
