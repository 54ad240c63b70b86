"""A worker's runs are children of the warm process, by nothing but the ``command`` of the deployments."""

import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from prefect import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.states import Cancelling
from prefect.workers.process import ProcessWorker

from flows.deploying import deploy
from flows.local_server.ensure import Server, environment
from flows.warm import client
from tests.flows.warm.conftest import children, put_down
from tests.prefect_records import ended, until
from tests.registries import FaultRegistry
from tests.stalled import stalled
from tests.wheels import ROOT
from tests.workers import without_prefect, worker

POOL = "warm"


@pytest.fixture
def warm_home(deploying: None, prefect_server: Server, tmp_path: Path) -> Iterator[Path]:
    """The store in whose warm process a worker's runs are executed; the worker stays for the test."""
    _deploy_for_us_alone()
    folder = tmp_path / "warm-store"
    variables = {**without_prefect(), **environment(prefect_server), "PRESTOW_HOME": str(folder), "PRESTOW_COLD": "0"}
    with worker(sys.executable, variables, tmp_path / "log", POOL):
        yield folder
    put_down(folder)


def _deploy_for_us_alone() -> None:
    """Deploy ``pull`` once more, to a pool whose runs no other test's worker takes."""
    deploy(ROOT)
    template = ProcessWorker.get_default_base_job_template()
    with get_client(sync_client=True) as api:
        api.create_work_pool(WorkPoolCreate(name=POOL, type="process", base_job_template=template), overwrite=True)
        found = api.read_deployment_by_name("pull/pull")
        api.create_deployment(
            found.flow_id, name=POOL, work_pool_name=POOL, entrypoint=found.entrypoint, pull_steps=found.pull_steps,
            job_variables=found.job_variables,
        )  # fmt: skip


def created(reference: str, home: str) -> UUID:
    with get_client(sync_client=True) as api:
        found = api.read_deployment_by_name(f"pull/{POOL}")
        return api.create_flow_run_from_deployment(found.id, parameters={"reference": reference, "home": home}).id


def alone(server: int) -> list[int]:
    """Return the one child that is left when the one is gone that told us of the process."""
    return until(lambda: found if len(found := children(server)) == 1 else [], 1, "one child")


@pytest.mark.long
def test_a_workers_run_is_a_child_that_is_cancelled_and_goes_on_as_any_other(
    warm_home: Path, home: str, fault_registry: FaultRegistry
) -> None:
    hung = stalled(fault_registry, home)
    run = created(hung.reference, home)
    hung.wait()
    server = client.status(warm_home)
    assert server is not None
    (child,) = alone(server)

    with get_client(sync_client=True) as api:
        api.set_flow_run_state(run, Cancelling())
    last = ended(run)
    until(lambda: [0] if child not in children(server) else [], 1, "the end of the child")
    hung.recover()
    again = ended(created(hung.reference, home))

    assert (last.state_name, again.state_name) == ("Cancelled", "Completed")
    assert client.status(warm_home) == server
    hung.check()
