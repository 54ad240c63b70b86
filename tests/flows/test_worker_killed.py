"""The worker is killed while a run of its is under way, or waits for a person: another one goes on."""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from flows.deploying import deploy
from flows.local_server.ensure import Server, environment
from prestow.store.node import open_node
from tasks.policy import records
from tests.checkpoints import large_but
from tests.prefect_records import ended, until
from tests.registries import FaultRegistry
from tests.stalled import stalled
from tests.wheels import ROOT
from tests.workers import Worker, answer, created, process_of, suspended, without_prefect, worker

Start = Callable[[str], AbstractContextManager[Worker]]


@pytest.fixture
def start(deploying: None, prefect_server: Server, tmp_path: Path) -> Start:
    """Return what starts a worker, the only one of its pool; it is told how to call it."""
    deploy(ROOT)
    api = {**without_prefect(), **environment(prefect_server)}
    return lambda name: worker(sys.executable, api, tmp_path / name)


def forget(home: str) -> None:
    """Lose what Prefect would reuse of the steps of earlier runs."""
    shutil.rmtree(records(home), ignore_errors=True)  # a tag that was asked for leaves none


@pytest.mark.long
def test_a_run_that_was_killed_with_its_worker_goes_on_in_another_even_if_its_records_are_lost(
    start: Start, home: str, fault_registry: FaultRegistry
) -> None:
    hung = stalled(fault_registry, home)
    with start("first") as first:
        run = created(reference=hung.reference, home=home)
        hung.wait()
        for pid in [first.pid, *process_of(run)]:
            os.kill(pid, signal.SIGKILL)
    hung.recover()
    forget(home)

    with start("second"):
        again = ended(created(reference=hung.reference, home=home))

    assert again.state_name == "Completed"
    hung.check()


@pytest.mark.long
@pytest.mark.parametrize("checkpoint", large_but("layer-applied"))
@pytest.mark.parametrize("forgotten", [False, pytest.param(True, marks=pytest.mark.large)])
def test_a_run_that_waits_goes_on_though_its_worker_was_killed(
    start: Start, home: str, fault_registry: FaultRegistry, checkpoint: str, *, forgotten: bool
) -> None:
    reference = f"{fault_registry.domain}/team/demo:demo"
    with start("first") as first:
        run = created(reference=reference, hold_after=checkpoint, home=home)
        suspended(run)
        until(lambda: [0] if not process_of(run) else [], 1, "the end of its process")
        os.kill(first.pid, signal.SIGKILL)

    if forgotten:
        forget(home)
        run = created(reference=reference, home=home)
    else:
        answer(run, "approve")
    with start("second"):
        assert ended(run).state_name == "Completed"

    assert open_node(home).image(reference)
    fetched = [seen.path for seen in fault_registry.requests("sha256:", "GET")]
    assert len(fetched) == len(set(fetched))
