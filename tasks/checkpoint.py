"""Report that an image has reached a checkpoint: one Prefect event, on which automations can trigger.

    event      prestow.<checkpoint>
    resource   prestow.image.<name>
    related    prestow.digest.<digest> (role digest) · prestow.host.<host> (host) · prestow.store.<store id> (store)

Prefect adds the flow run and, within a step, the task run. An event is news, not a record: if it cannot be sent, the
work goes on, for the store knows what was reached.
"""

from prefect.context import FlowRunContext, TaskRunContext
from prefect.events import emit_event
from prefect.exceptions import EventTooLarge

from prestow.checkpoints import Checkpoint
from prestow.digest import Digest
from prestow.store.node import Node


def reached(checkpoint: Checkpoint, node: Node, name: str, digest: Digest) -> None:
    """Emit the event of a checkpoint that image ``name`` reached in ``node``; outside a run there is no API to tell.

    ``digest`` is that of what was completed: the image's, a layer's, or a chain ID.
    """
    if FlowRunContext.get() is None and TaskRunContext.get() is None:
        return
    related = {"digest": str(digest), "host": node.host, "store": node.store_id}
    try:
        emit_event(
            event=f"prestow.{checkpoint}",
            resource={"prefect.resource.id": f"prestow.image.{name}", "prefect.resource.name": name},
            related=[
                {"prefect.resource.id": f"prestow.{role}.{which}", "prefect.resource.role": role}
                for role, which in related.items()
            ],
            payload={"name": name, "home": str(node.home), **related},
        )
    except EventTooLarge:  # all other failures Prefect logs and forgets
        return
