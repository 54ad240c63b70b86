"""What the Prefect server recorded of a flow run; it arrives a little after the run's end, so ask until it is there."""

import base64
import json
import time
import urllib.request
from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    LogFilter,
    LogFilterFlowRunId,
    WorkPoolFilter,
    WorkPoolFilterName,
)
from prefect.client.schemas.objects import FlowRun, State, StateType, TaskRun
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events.filters import EventAnyResourceFilter, EventFilter, EventNameFilter
from prefect.events.schemas.events import ReceivedEvent

from flows.local_server.ensure import Server

DEADLINE = 240.0

T = TypeVar("T")


def client(server: Server | None) -> SyncPrefectClient:
    """Return a client of a server; of that to which this process is connected, if it is none."""
    return get_client(sync_client=True) if server is None else SyncPrefectClient(server.url, auth_string=server.auth)


def flow_run_id(state: State) -> UUID:
    """Return the flow run's ID from the state that ``flow(…, return_state=True)`` gave."""
    assert state.state_details.flow_run_id is not None
    return state.state_details.flow_run_id


def ended(run: UUID, server: Server | None = None) -> FlowRun:
    """Wait until a flow run that another process makes has ended, and give it."""

    def final() -> list[FlowRun]:
        with client(server) as api:
            found = api.read_flow_run(run)
        return [found] if found.state is not None and found.state.is_final() else []

    return until(final, 1, f"the end of {run}")[0]


def runs_of(flow: str, home: str) -> list[FlowRun]:
    """Return the latest flow runs of a flow in a store, newest first; the server has those of all tests."""
    named = FlowFilter(name=FlowFilterName(any_=[flow]))
    with get_client(sync_client=True) as client:
        latest = client.read_flow_runs(flow_filter=named, sort=FlowRunSort.EXPECTED_START_TIME_DESC, limit=200)
    return [run for run in latest if run.parameters.get("home") == home]


def remove_waiting_runs(pool: str) -> None:
    """Remove the flow runs of a work pool that no worker has begun."""
    of_pool = WorkPoolFilter(name=WorkPoolFilterName(any_=[pool]))
    waiting = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])))
    with get_client(sync_client=True) as client:
        while found := client.read_flow_runs(work_pool_filter=of_pool, flow_run_filter=waiting, limit=200):
            for run in found:
                client.delete_flow_run(run.id)


def asked(server: Server, kind: str, key: str) -> list[Any]:
    """Return what another server than that of the tests knows of all its ``flow_runs`` or ``task_runs``."""
    token = base64.b64encode(server.auth.encode()).decode()
    headers = {"Content-Type": "application/json", "Authorization": f"Basic {token}"}
    request = urllib.request.Request(f"{server.url}/{kind}/filter", b"{}", headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return [found[key] for found in json.loads(answer.read())]


def log_lines(run: UUID, containing: str) -> list[str]:
    """Wait until the log of a flow run has a line with a text, and give those that have."""

    def found() -> list[str]:
        wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run]))
        with get_client(sync_client=True) as client:
            return [log.message for log in client.read_logs(wanted) if containing in log.message]

    return until(found, 1, f"{containing!r} in the log of {run}")


def task_runs(run: UUID, count: int) -> list[TaskRun]:
    """Wait until the server knows ``count`` ended task runs of a flow run, and give them, oldest first."""

    def ended() -> list[TaskRun]:
        with get_client(sync_client=True) as client:
            found = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run])))
        return [task_run for task_run in found if task_run.state is not None and task_run.state.is_final()]

    return sorted(until(ended, count, f"task runs of {run}"), key=lambda task_run: str(task_run.start_time))


def events(run: UUID, count: int, prefix: str = "prestow.", server: Server | None = None) -> list[ReceivedEvent]:
    """Wait until the server has ``count`` events of a flow run whose names begin with ``prefix``; oldest first."""
    about = EventAnyResourceFilter(id=[f"prefect.flow-run.{run}"])  # its own events, and those to which it is related
    wanted = EventFilter(event=EventNameFilter(prefix=[prefix]), any_resource=about)

    def received() -> list[ReceivedEvent]:
        with client(server) as api:
            return api.read_events(wanted, limit=50).events

    return sorted(until(received, count, f"events {prefix}* of {run}"), key=lambda event: event.occurred)


def until(ask: Callable[[], list[T]], count: int, what: str) -> list[T]:
    """Ask until there are enough answers."""
    begin = time.monotonic()
    while len(answers := ask()) < count:
        waited = time.monotonic() - begin
        if waited > DEADLINE:
            raise AssertionError(f"{what}: expected {count} within {DEADLINE:.0f} s, found {len(answers)}")
        time.sleep(min(0.05 + waited / 8, 0.5))  # an answer costs the server as much as a step of a run
    return answers
