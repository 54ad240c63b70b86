"""The workers of the work pool, which are its hosts, and when each of them was heard last.

Only a worker's own heartbeat shows that it is there: the server writes a queue's ``last_polled`` for some of those that
poll, and shows hosts as not ready that are (PrefectHQ/prefect#17433).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import count

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import Worker
from prefect.context import SyncClientContext
from prefect.exceptions import PrefectHTTPStatusError

from prestow.errors import NotFoundError, printable
from prestow.fleet.polling import HEARTBEAT_SECONDS, is_alive

POOL = "prestow"
"""The work pool of the fleet; each of its queues and workers has the name of a host."""

COORDINATOR = "coordinator"
"""The queue of runs that make the runs of hosts."""

DEFAULT = "default"
"""The queue of runs that name no host: Prefect's own, of each pool."""

_PAGE = 200  # the most that Prefect gives at once
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Beat:
    """The last sign of life of a worker.

    Attributes:
        at: when it came, by the server's clock.
        interval: seconds from one to the next.
    """

    at: datetime
    interval: float

    def is_online(self, now: datetime) -> bool:
        """Whether the worker is there: three intervals and 15 s without a heartbeat mean that it is not."""
        return is_alive(self.at, self.interval, now)


def names(pool: str = POOL) -> frozenset[str]:
    """Return the names of all workers that the pool knows, online or not; the coordinator's is none of a host.

    Raises:
        NotFoundError: as :func:`beats`.
    """
    return frozenset(beats(pool)) - {COORDINATOR}


def beats(pool: str = POOL) -> Mapping[str, Beat]:
    """Return the last heartbeat of each worker that the pool knows, by its name.

    Raises:
        NotFoundError: there is no such pool.
    """
    with SyncClientContext.get_or_create() as context:
        try:
            found = _workers(context.client, pool)
        except PrefectHTTPStatusError as error:
            if error.response.status_code != HTTPStatus.NOT_FOUND:
                raise
            raise NotFoundError(f"there is no work pool {printable(pool)}; make it with `prestow deploy`") from error
    return {worker.name: _beat(worker) for worker in found}


def _workers(client: SyncPrefectClient, pool: str) -> Iterable[Worker]:
    """Return all workers. The server sorts by heartbeats: while pages are read, one may move to a page read already."""
    found: dict[str, Worker] = {}
    while True:
        read = [*_pages(client, pool)]
        complete = len(read) < _PAGE or all(worker.name in found for worker in read)
        found.update((worker.name, worker) for worker in read)
        if complete:
            return found.values()


def _pages(client: SyncPrefectClient, pool: str) -> Iterator[Worker]:
    for offset in count(0, _PAGE):
        page = client.read_workers_for_work_pool(pool, offset=offset, limit=_PAGE)
        yield from page
        if len(page) < _PAGE:
            return


def _beat(worker: Worker) -> Beat:
    return Beat(worker.last_heartbeat_time or _NEVER, worker.heartbeat_interval_seconds or HEARTBEAT_SECONDS)
