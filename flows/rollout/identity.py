"""Which rollout a coordinator's run belongs to: a new one, or one whose coordinator died or that is tried again.

A rollout is known by the tag of its runs alone. A coordinator that was suspended or started again finds the tag on its
own run; one that a person starts after another died finds it on that one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Identity:
    """What a coordinator's run is part of.

    Attributes:
        rollout: its ID.
        resumed: whether the run itself was part of it before: it was suspended, or started again.
        without: hosts that a person left out of it.
    """

    rollout: str
    resumed: bool
    without: frozenset[str]


def identify(client: SyncPrefectClient, own: FlowRun, image_set: str, generation: int, *, again: bool) -> Identity:
    """Find out which rollout a coordinator's run is part of, and write it into the run's tags.

    With ``again`` it is the latest rollout of the generation, though that has ended.

    Raises:
        PreconditionError: another coordinator is at this set; or there is nothing to try again.
    """
    resumed = tags.rollout(own.tags) is not None
    former = own if resumed else _former(_others(client, own, image_set), generation, again=again)
    if former is None and again:
        raise PreconditionError(
            f"no rollout of generation {generation} of {image_set} is known: run `prestow fleet apply` without "
            "--retry-failed"
        )
    known = [] if former is None else former.tags
    found = Identity(tags.rollout(known) or own.id.hex[:_LENGTH], resumed, tags.exclusions(known))
    ours = [*tags.of_coordinator(image_set, generation, found.rollout), *tags.of_exclusions(found.without)]
    client.update_flow_run(
        own.id, name=f"{FLOW} {image_set} · generation {generation}", tags=sorted({*own.tags, *ours})
    )
    return found


def leave_out(client: SyncPrefectClient, own: FlowRun, hosts: Iterable[str]) -> None:
    """Write into the tags of a coordinator's run which hosts a person left out: it holds for whoever comes after it."""
    now = client.read_flow_run(own.id).tags
    client.update_flow_run(own.id, tags=sorted({*now, *tags.of_exclusions(hosts)}))


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
        PreconditionError: one of them is in progress.
    """
    others = [run for run in latest(client, image_set) if run.id != own.id]
    for run in others:
        if run.state is not None and (run.state.type in _UNDER_WAY or run.state.name in _SUSPENDED):
            raise PreconditionError(
                f"a rollout of {image_set} is in progress, in state {run.state.name}: {_shown(run.id, run.name)}; "
                "wait for its end, answer it, or cancel it"
            )
    return others


def _former(others: Sequence[FlowRun], generation: int, *, again: bool) -> FlowRun | None:
    """Return the latest coordinator's run if its rollout is to be continued: it died, or a person asks for that."""
    if not others or tags.generation(others[0].tags) != generation:
        return None
    died = others[0].state is not None and others[0].state.type == StateType.CRASHED
    return others[0] if died or again else None


def _shown(run: UUID, name: str) -> str:
    return url_for("flow-run", run) or name
