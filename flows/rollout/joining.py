"""How a host joins the fleet at the Prefect API: its queue, how many hosts there are, and whether its name is free."""

from datetime import UTC, datetime

from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterParentFlowRunId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterName,
    WorkQueueFilter,
    WorkQueueFilterName,
)
from prefect.client.schemas.objects import StateType
from prefect.context import SyncClientContext
from prefect.exceptions import ObjectAlreadyExists
from prefect.states import Cancelled, Crashed

from flows.rollout.reporting import last_report
from flows.rollout.workers import POOL, beats, names
from prestow.errors import PreconditionError
from prestow.store.node import Node

_IN_PROGRESS = (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)
_WHY = "the worker of this host ended during the run; the next run resumes from what is complete"


def hosts_of_pool() -> int:
    """Return how many hosts the pool knows, this one included.

    Raises:
        NotFoundError: there is no such pool.
    """
    return max(1, len(names()))


def make_queue(name: str, limit: int | None) -> None:
    """Make a queue of the pool; of one that is there only a missing limit is set.

    Raises:
        NotFoundError: there is no such pool.
    """
    with SyncClientContext.get_or_create() as api:
        try:
            api.client.create_work_queue(name, concurrency_limit=limit, work_pool_name=POOL)
        except ObjectAlreadyExists:
            queue = api.client.read_work_queue_by_name(name, POOL)
            if limit is not None and queue.concurrency_limit is None:  # as a run made it that named it
                api.client.update_work_queue(queue.id, concurrency_limit=limit)


def crash_runs_of(queue: str) -> None:
    """Report the runs in progress of a host's queue, and their parts, as Crashed: its only worker is not running.

    One that was to be cancelled is Cancelled.

    While one counts as Running, the limit of the queue would let no other begin.
    """
    state = FlowRunFilterState(type=FlowRunFilterStateType(any_=[*_IN_PROGRESS]))
    named = WorkQueueFilter(name=WorkQueueFilterName(any_=[queue]))
    within = WorkPoolFilter(name=WorkPoolFilterName(any_=[POOL]))
    with SyncClientContext.get_or_create() as api:
        dead = api.client.read_flow_runs(
            flow_run_filter=FlowRunFilter(state=state), work_queue_filter=named, work_pool_filter=within
        )
        while dead:
            for run in dead:
                end = Cancelled if run.state_type == StateType.CANCELLING else Crashed
                api.client.set_flow_run_state(run.id, end(message=_WHY), force=True)
            parents = FlowRunFilterParentFlowRunId(any_=[run.id for run in dead])
            dead = api.client.read_flow_runs(flow_run_filter=FlowRunFilter(state=state, parent_flow_run_id=parents))


def check_name(node: Node) -> None:
    """Check that no other host has this one's name.

    Raises:
        NotFoundError: there is no such pool.
        PreconditionError: there is, and it is online; two hosts of one name would take each other's runs.
    """
    beat, report = beats().get(node.host), last_report(node.host)
    if report is None or report.store == node.store_id or beat is None or not beat.is_online(datetime.now(UTC)):
        return
    raise PreconditionError(
        f"host {node.host}: another host of this name is online, whose store is {report.store} (here: {node.store_id}; "
        f"last heartbeat {beat.at:%Y-%m-%d %H:%M:%S} UTC); choose another name with `prestow node up --name`, or stop "
        "the worker there and wait two minutes"
    )
