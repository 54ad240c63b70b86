"""Hosts of a fleet that exist at the Prefect API only: their workers send heartbeats, and their runs end as told."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.states import Completed, Failed, Pending, Running

from flows.rollout import tags
from flows.rollout.workers import POOL
from flows.runs.cancelling import REFUSED

Act = Callable[[SyncPrefectClient, FlowRun, int], None]
"""What a host does with a run, of one attempt, that it takes."""


def done(client: SyncPrefectClient, run: FlowRun, _attempt: int) -> None:
    """Complete the run."""
    _set(client, run, Pending(), Running(), Completed())


def fails(client: SyncPrefectClient, run: FlowRun, attempt: int) -> None:
    """Let the run fail."""
    _set(client, run, Pending(), Running(), Failed(message=f"registry.example answered 500 to attempt {attempt}"))


def fails_once(client: SyncPrefectClient, run: FlowRun, attempt: int) -> None:
    """Let the first attempt fail, and the second one complete."""
    (fails if attempt == 1 else done)(client, run, attempt)


def refuses(client: SyncPrefectClient, run: FlowRun, _attempt: int) -> None:
    """Refuse the run because of the disk."""
    _set(client, run, Pending(), Running(), Failed(name=REFUSED, message="3 GiB are missing on its disk"))


def begins(client: SyncPrefectClient, run: FlowRun, _attempt: int) -> None:
    """Begin the run, and never end it."""
    _set(client, run, Pending(), Running())


def _set(client: SyncPrefectClient, run: FlowRun, *states: State[Any]) -> None:
    for state in states:
        client.set_flow_run_state(run.id, state)


def beat(*hosts: str) -> None:
    """Send a heartbeat of the worker of each host."""
    with get_client(sync_client=True) as client:
        for host in hosts:
            body = {"name": host, "heartbeat_interval_seconds": 30}
            client.request("POST", f"/work_pools/{POOL}/workers/heartbeat", json=body)  # type: ignore[arg-type]


def waiting(client: SyncPrefectClient, image_set: str) -> list[FlowRun]:
    """Return the hosts' runs of a set that wait for a host."""
    wanted = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[tags.of_set(image_set)]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
    )
    found = client.read_flow_runs(flow_run_filter=wanted, limit=200)
    return [run for run in found if tags.host_and_attempt(run.tags) is not None]


@contextmanager
def living(image_set: str, acts: Mapping[str, Act], skip: str = "\n") -> Iterator[None]:
    """Let hosts take the runs of a set while this block runs, each as its act says; not those named like ``skip``."""
    over = threading.Event()
    beat(*acts)
    thread = threading.Thread(target=_live, args=(image_set, acts, skip, over), name="simulated hosts", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _live(image_set: str, acts: Mapping[str, Act], skip: str, over: threading.Event) -> None:
    with get_client(sync_client=True) as client:
        while not over.wait(0.1):
            for run in waiting(client, image_set):
                whose = tags.host_and_attempt(run.tags)
                if whose is not None and whose[0] in acts and not run.name.startswith(skip):
                    acts[whose[0]](client, run, whose[1])


def runs_of(image_set: str) -> list[FlowRun]:
    """Return all runs of hosts that rollouts of a set have made."""
    with get_client(sync_client=True) as client:
        wanted = FlowRunFilter(tags=FlowRunFilterTags(all_=[tags.of_set(image_set)]))
        found = client.read_flow_runs(flow_run_filter=wanted, limit=200)
    return [run for run in found if tags.host_and_attempt(run.tags) is not None]
