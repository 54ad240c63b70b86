"""Runs whose process was killed: the next process that finds them reports it to the API.

Nothing of them is lost in the store. But who looks at the UI, or waits for a run, would see it Running for ever.
"""

from contextlib import suppress
from pathlib import Path
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State, StateType
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.states import Crashed

from flows.local_server.runs import unfinished

_UNDER_WAY = {StateType.PENDING, StateType.RUNNING, StateType.PAUSED, StateType.CANCELLING}


def mark_crashed(home: Path, api: str) -> None:
    """Report to the API that ``api`` names those runs of this store that it takes as going on, and that have ended."""
    for run in unfinished(home, api):
        # what it refuses to be told once, it will refuse again
        with get_client(sync_client=True) as client, suppress(ObjectNotFound, PrefectHTTPStatusError):
            _mark(client, run)


def _mark(client: SyncPrefectClient, run: UUID) -> None:
    flow_run = client.read_flow_run(run)
    crashed: State = Crashed(message="the process of this run was killed; the same call again resumes from there")
    if _is_under_way(flow_run.state):
        client.set_flow_run_state(run, crashed, force=True)
    for task_run in client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run]))):
        if _is_under_way(task_run.state):
            client.set_task_run_state(task_run.id, crashed, force=True)


def _is_under_way(state: State | None) -> bool:
    return state is not None and state.type in _UNDER_WAY
