"""Which workers a pool has, and when each was heard last, as a real server tells it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.context import SyncClientContext

from flows.rollout.workers import COORDINATOR, Beat, beats, names
from prestow.errors import NotFoundError

MANY = 205
"""More than Prefect gives in one answer."""


@pytest.fixture
def pool(request: pytest.FixtureRequest, prefect_server: object) -> Iterator[str]:
    """A pool of the test's own."""
    name = request.node.name.replace("_", "-")
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name=name, type="process"))
        yield name
        client.delete_work_pool(name)


def beat(client: SyncPrefectClient, pool: str, worker: str, interval: int = 30) -> None:
    """Send the heartbeat of a worker, as Prefect's own does."""
    content = {"name": worker, "heartbeat_interval_seconds": interval}
    client._client.post(f"/work_pools/{pool}/workers/heartbeat", json=content).raise_for_status()


def test_a_worker_is_known_with_its_last_heartbeat_and_its_interval(pool: str) -> None:
    before = datetime.now(UTC)
    with get_client(sync_client=True) as client:
        beat(client, pool, "gpu-01", interval=7)
        beat(client, pool, COORDINATOR)

    found = beats(pool)

    assert {*found} == {"gpu-01", COORDINATOR}
    assert found["gpu-01"].interval == 7
    assert before - timedelta(seconds=1) <= found["gpu-01"].at <= datetime.now(UTC) + timedelta(seconds=1)
    assert names(pool) == {"gpu-01"}  # the coordinator is no host


def test_all_workers_of_a_large_pool_are_known_although_one_moves_to_a_page_that_was_read(pool: str) -> None:
    with get_client(sync_client=True) as other, SyncClientContext.get_or_create() as context:
        for number in range(MANY):
            beat(other, pool, f"host-{number:03}")
        waiting = ["host-000"]  # the last one of the last page

        def then_the_last_beats(_: httpx.Response) -> None:
            while waiting:
                beat(other, pool, waiting.pop())

        hooks: dict[str, Any] = context.client._client.event_hooks
        context.client._client.event_hooks = {**hooks, "response": [*hooks["response"], then_the_last_beats]}
        try:
            found = names(pool)
        finally:
            context.client._client.event_hooks = hooks

    assert found == {f"host-{number:03}" for number in range(MANY)}
    assert waiting == []


def test_an_unknown_pool_is_an_error_with_its_remedy(prefect_server: object) -> None:
    with pytest.raises(NotFoundError, match="no work pool nowhere; make it with `prestow deploy`"):
        beats("nowhere")


def test_a_worker_is_online_for_three_intervals_and_a_grace() -> None:
    now = datetime(2026, 10, 5, tzinfo=UTC)

    online = {silent: Beat(now - timedelta(seconds=silent), 30).is_online(now) for silent in (-5, 0, 105, 105.001)}

    assert online == {-5: True, 0: True, 105: True, 105.001: False}
