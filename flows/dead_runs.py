"""The automation that marks deployed runs as Crashed whose host died: made at the Prefect API by ``prestow deploy``.

A deployed run sends heartbeats (``flows.heartbeats``). Where one was the last that came for two of Prefect's intervals,
and no end either, the server itself changes the run's state: no host of ours needs to live for that.
"""

from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification

NAME = "prestow: runs of dead hosts"

_BEAT = "prefect.flow-run.heartbeat"
_ENDS = ("Completed", "Failed", "Cancelled", "Crashed", "TimedOut", "Suspended", "Paused", "AwaitingRetry")
_WITHIN = timedelta(seconds=400)
"""More than two heartbeats of Prefect's default, with which other programs may run our flows, too."""


def crash_dead_runs(client: SyncPrefectClient, flows: Iterable[UUID]) -> None:
    """Make the automation for runs of some flows; of one that is there only the flows are brought up to date."""
    related = ResourceSpecification.model_validate(
        {"prefect.resource.role": "flow", "prefect.resource.id": sorted(f"prefect.flow.{flow}" for flow in set(flows))}
    )
    found = client.read_automations_by_name(NAME)
    if not found:
        client.create_automation(_automation(related))
        return
    for automation in found:
        if isinstance(automation.trigger, EventTrigger) and automation.trigger.match_related != related:
            automation.trigger.match_related = related
            change(client, automation)


def change(client: SyncPrefectClient, automation: Automation) -> None:
    """Replace an automation at the API by what became of it here."""
    kept = set(AutomationCore.model_fields) - {"owner_resource"}  # which the API takes only of a new one
    client.update_automation(automation.id, AutomationCore.model_validate(automation.model_dump(include=kept)))


def _automation(related: ResourceSpecification) -> AutomationCore:
    return AutomationCore(
        name=NAME,
        description="Marks a run as Crashed when its heartbeats stop without an end: its host or process has died.",
        trigger=EventTrigger(
            match=ResourceSpecification.model_validate({"prefect.resource.id": "prefect.flow-run.*"}),
            match_related=related,
            for_each={"prefect.resource.id"},
            after={_BEAT},
            expect={_BEAT, *(f"prefect.flow-run.{state}" for state in _ENDS)},
            posture=Posture.Proactive,
            threshold=1,
            within=_WITHIN,
        ),
        actions=[
            ChangeFlowRunState(
                state=StateType.CRASHED,
                message="no more heartbeats: the host or the process of this run died; run it again to resume",
            )
        ],
    )
