"""Which rollout a coordinator's run belongs to: a new one, or one whose coordinator died or that is tried again.

A rollout is known by the tag of its runs alone. A coordinator that was suspended or started again finds the tag on its
own run; one that a person starts after another died finds it on that one.
"""

from collections.abc import Sequence
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowFilter, FlowFilterName, FlowRunFilter, FlowRunFilterTags
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.utilities.urls import url_for

from flows.rollout import tags
from prestow.errors import PreconditionError

FLOW = "fleet"

_LATEST = 20
_LENGTH = 12
_UNDER_WAY = (StateType.PENDING, StateType.RUNNING, StateType.PAUSED, StateType.CANCELLING)
_SUSPENDED = ("Suspended", "Resuming", "AwaitingRetry")


def rollout_of(client: SyncPrefectClient, own: FlowRun, image_set: str, generation: int, *, again: bool) -> str:
    """Return the ID of the rollout that a coordinator's run is part of, and write it into the run's tags.

    With ``again`` it is the latest rollout of the generation, though that has ended.

    Raises:
        PreconditionError: another coordinator is at this set; or there is nothing to try again.
    """
    rollout = tags.rollout(own.tags) or _adopted(_others(client, own, image_set), generation, again=again)
    if rollout is None and again:
        raise PreconditionError(
            f"no rollout of generation {generation} of {image_set} is known: run `prestow fleet apply` without "
            "--retry-failed"
        )
    rollout = rollout or own.id.hex[:_LENGTH]
    ours = tags.of_coordinator(image_set, generation, rollout)
    client.update_flow_run(
        own.id, name=f"{FLOW} {image_set} · generation {generation}", tags=sorted({*own.tags, *ours})
    )
    return rollout


def latest(client: SyncPrefectClient, image_set: str) -> list[FlowRun]:
    """Return the latest coordinators' runs of a set that came to make a rollout, newest first."""
    found = client.read_flow_runs(
        flow_filter=FlowFilter(name=FlowFilterName(any_=[FLOW])),
        flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(all_=[tags.of_set(image_set)])),
        sort=FlowRunSort.START_TIME_DESC,
        limit=_LATEST,
    )
    return [run for run in found if tags.rollout(run.tags) is not None]


def _others(client: SyncPrefectClient, own: FlowRun, image_set: str) -> Sequence[FlowRun]:
    """Return the coordinators' runs before this one.

    Raises:
        PreconditionError: one of them is under way.
    """
    others = [run for run in latest(client, image_set) if run.id != own.id]
    for run in others:
        if run.state is not None and (run.state.type in _UNDER_WAY or run.state.name in _SUSPENDED):
            raise PreconditionError(
                f"a rollout of {image_set} is in progress, in state {run.state.name}: {_shown(run.id, run.name)}; "
                "wait for its end, answer it, or cancel it"
            )
    return others


def _adopted(others: Sequence[FlowRun], generation: int, *, again: bool) -> str | None:
    """Return the rollout of the latest coordinator, if that died, or if it is to be gone on with."""
    if not others or tags.generation(others[0].tags) != generation:
        return None
    died = others[0].state is not None and others[0].state.type == StateType.CRASHED
    return tags.rollout(others[0].tags) if died or again else None


def _shown(run: UUID, name: str) -> str:
    return url_for("flow-run", run) or name
