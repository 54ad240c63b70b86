"""How a host joins the fleet at the Prefect API: its queue, how many hosts there are, and whether its name is free."""

from datetime import UTC, datetime

from prefect.context import SyncClientContext
from prefect.exceptions import ObjectAlreadyExists

from flows.rollout.reporting import last_report
from flows.rollout.workers import POOL, beats, names
from prestow.errors import PreconditionError
from prestow.store.node import Node


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
