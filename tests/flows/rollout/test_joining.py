"""How a host joins the fleet: its queue, its polls, and one host of one name."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from prefect import get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.objects import State
from prefect.states import Cancelling, Completed, Pending, Running, Scheduled

from flows.deploying import deploy
from flows.forms.host_page import host_page
from flows.rollout.joining import check_name, crash_runs_of, make_queue
from flows.rollout.stock import take_stock
from flows.rollout.workers import POOL
from prestow.errors import PreconditionError
from prestow.fleet.report import artifact_key
from prestow.store.node import Node, open_node
from tests.flows.rollout.test_workers import beat
from tests.wheels import ROOT


@pytest.fixture(scope="module")
def pool(deploying: None) -> None:
    """The work pool."""
    deploy(ROOT)


@pytest.fixture
def node(pool: None, home: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Node:
    """A host with a name of its own."""
    monkeypatch.setenv("PRESTOW_NODE_NAME", request.node.name.replace("_", "-")[:40].strip("-"))
    return open_node(home)


@pytest.mark.usefixtures("pool")
def test_the_queue_of_a_host_runs_one_run_at_a_time() -> None:
    make_queue("joining-01", 1)
    make_queue("joining-01", 1)

    with get_client(sync_client=True) as client:
        assert client.read_work_queue_by_name("joining-01", POOL).concurrency_limit == 1


@pytest.mark.usefixtures("pool")
def test_a_queue_that_a_run_made_gets_its_limit_and_one_that_a_person_set_keeps_it() -> None:
    with get_client(sync_client=True) as client:
        client.create_work_queue("joining-02", work_pool_name=POOL)
        client.create_work_queue("joining-03", work_pool_name=POOL, concurrency_limit=3)
        client.create_work_queue("joining-04", work_pool_name=POOL)
        make_queue("joining-02", 1)
        make_queue("joining-03", 1)
        make_queue("joining-04", None)

        limits = [client.read_work_queue_by_name(f"joining-0{n}", POOL).concurrency_limit for n in (2, 3, 4)]

    assert limits == [1, 3, None]


def reported(node: Node, store: str) -> None:
    """Let a host of this name have reported this store."""
    report = take_stock(node).model_copy(update={"store": store, "at": datetime.now(UTC)})
    with get_client(sync_client=True) as client:
        client.create_artifact(ArtifactCreate(type="markdown", key=artifact_key(node.host), data=host_page(report)))


def heard(node: Node, interval: int = 30) -> None:
    with get_client(sync_client=True) as client:
        beat(client, POOL, node.host, interval)


def test_a_name_is_free_until_another_store_of_it_is_online(node: Node) -> None:
    check_name(node)
    heard(node)
    check_name(node)
    reported(node, node.store_id)
    check_name(node)

    reported(node, "another")

    with pytest.raises(PreconditionError, match=rf"whose store is another \(here: {node.store_id}.*node up --name"):
        check_name(node)


def test_the_name_of_a_host_that_is_gone_is_free(node: Node) -> None:
    reported(node, "another")

    check_name(node)


def begun(queue: str, state: State) -> UUID:
    """Return a run of a queue in a state."""
    with get_client(sync_client=True) as client:
        found = client.read_deployment_by_name("prune/prune")
        run = client.create_flow_run_from_deployment(found.id, work_queue_name=queue).id
        client.set_flow_run_state(run, state, force=True)
    return run


def states(*runs: UUID) -> list[str | None]:
    with get_client(sync_client=True) as client:
        return [client.read_flow_run(run).state_name for run in runs]


@pytest.mark.usefixtures("pool")
def test_runs_that_a_dead_worker_left_do_not_block_the_queue_any_more() -> None:
    make_queue("joining-05", 1)
    running, pending, waiting = (begun("joining-05", state) for state in (Running(), Pending(), Scheduled()))
    cancelling, ready = begun("joining-05", Cancelling()), begun("joining-05", Completed())
    others = begun("joining-06", Running())

    crash_runs_of("joining-05")

    assert states(running, pending, waiting, cancelling, ready, others) == [
        "Crashed", "Crashed", "Scheduled", "Cancelled", "Completed", "Running"
    ]  # fmt: skip
    with get_client(sync_client=True) as client:
        for run in (waiting, others):
            client.delete_flow_run(run)
