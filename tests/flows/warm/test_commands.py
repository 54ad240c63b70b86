"""The command itself in its store's warm process, with Prefect: runs like any other, and nothing left of many."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from uuid import UUID

import pytest
from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName

from flows.local_server.ensure import Server, ensure, environment, stop
from flows.local_server.record import living
from tests.flows.cli.conftest import Done, Prestow
from tests.flows.warm.conftest import Mirror, children, descriptors, put_down, resident, until
from tests.prefect_records import asked, task_runs
from tests.registries import Fault, FaultRegistry

_SLACK = 1024  # KiB that pages of a process may be more than before


@dataclass(frozen=True)
class Quick(Prestow):
    """The command with its warm process."""

    @property
    def environment(self) -> dict[str, str]:
        """Variables of a process, which may use the warm one."""
        return {**super().environment, "PRESTOW_COLD": "0"}

    @property
    def process(self) -> Mirror:
        """The warm process, and those that it has forked."""
        return Mirror(self.home)

    def pull(self, reference: str) -> Done:
        """Pull."""
        return self("pull", reference, "--json")


@pytest.fixture(scope="module")
def quick(prefect_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quick]:
    """The command on one store, with the shared Prefect server; its warm process is ended."""
    scratch = tmp_path_factory.mktemp("quick")
    api = {name: value for name, value in environment(prefect_server).items() if name != "PREFECT_HOME"}
    yield Quick(scratch / "store", api, scratch)
    put_down(scratch / "store")


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Quick]:
    """The command on a store of its own, which has a Prefect server of its own; both are ended."""
    command = Quick(tmp_path / "store", {}, tmp_path)
    yield command
    put_down(command.home)
    stop(command.home)


def runs_of(reference: str) -> dict[UUID, str]:
    """Return the states of the flow runs that pulled something."""
    wanted = FlowRunFilter(name=FlowRunFilterName(any_=[f"pull {reference}"]))
    with get_client(sync_client=True) as api:
        return {run.id: run.state_name or "" for run in api.read_flow_runs(flow_run_filter=wanted)}


def test_a_pull_is_a_flow_run_with_all_its_steps(quick: Quick, demo_layout: Path) -> None:
    reference = f"oci:{demo_layout}:demo"
    others = set(runs_of(reference))

    first, second = quick.pull(reference), quick.pull(reference)

    assert [done.document["checkpoint"] for done in (first, second)] == ["tagged", "tagged"]
    assert (first.err.count("Traceback"), second.err) == (0, "")
    states = [{run.state_name for run in task_runs(run, 13)} for run in set(runs_of(reference)) - others]
    assert sorted(states, key=len) == [{"Completed"}, {"Completed", "Cached"}]
    assert quick.process.launched() == [quick.process.pid()]


def test_an_error_is_one_sentence_and_its_own_status(quick: Quick, tmp_path: Path) -> None:
    done = quick("pull", f"oci:{tmp_path}:none")

    assert (done.status, done.out) == (3, "")
    assert "Traceback" not in done.err
    assert done.err.splitlines()[-1].endswith("not an OCI image layout, oci-layout is missing")


@pytest.mark.long
@pytest.mark.parametrize("rounds", ["5", pytest.param("200", marks=[pytest.mark.large, pytest.mark.timeout(1200)])])
def test_many_pulls_leave_no_memory_no_files_and_no_processes(quick: Quick, demo_layout: Path, rounds: str) -> None:
    reference = f"oci:{demo_layout}:demo"
    for _ in range(2):
        quick.pull(reference)
    pid = quick.process.pid()
    before = descriptors(pid), resident(pid)

    for _ in range(int(rounds)):
        assert quick.pull(reference).status == 0

    assert quick.process.pid() == pid
    assert descriptors(pid) == before[0]
    assert resident(pid) - before[1] < _SLACK
    assert quick.process.launched() == [pid]
    assert [*(quick.home / "prefect" / "runs").iterdir()] == []


def test_a_warm_process_that_is_killed_takes_its_runs_along_and_the_next_command_goes_on(
    quick: Quick, fault_registry: FaultRegistry
) -> None:
    reference = f"{fault_registry.own}/app:demo"
    fault_registry.on("/manifests/", Fault(stall_after=1), times=1)
    with quick.start("pull", reference) as pull:
        until(lambda: bool(fault_registry.requests("/manifests/")), "the first question")
        process = quick.process.pid(runs=1)
        os.kill(process, signal.SIGKILL)
        _, said = pull.communicate()
    until(lambda: quick.process.launched() == [], "the end of all")

    assert quick.pull(reference).document["checkpoint"] == "tagged"

    assert "the warm process was killed, and the run with it" in said
    # A child that cannot reach a busy API within its grace is killed, and the next command reports its run.
    assert sorted(runs_of(reference).values()) in (["Cancelled", "Completed"], ["Completed", "Crashed"])


@pytest.mark.large
@pytest.mark.parametrize("order", [*permutations(("child", "process", "server"))], ids="-".join)
def test_killed_in_any_order_nothing_is_left_and_the_store_is_usable(
    alone: Quick, fault_registry: FaultRegistry, order: tuple[str, ...]
) -> None:
    reference = f"{fault_registry.own}/app:demo"
    fault_registry.on("/blobs/", Fault(stall_after=300))
    with alone.start("pull", reference) as pull:
        until(lambda: bool(fault_registry.requests("/blobs/")), "the first blob")
        process, server = alone.process.pid(runs=1), living(alone.home)
        assert server is not None
        pids = {"child": children(process)[0], "process": process, "server": server.process.pid}
        for victim in order:
            try:
                os.kill(pids[victim], signal.SIGKILL)
            except ProcessLookupError:  # it went with the one before
                assert victim != order[0]
        pull.communicate()
    until(lambda: alone.process.launched() == [], "the end of all")
    fault_registry._rules.clear()

    assert alone.pull(reference).document["checkpoint"] == "tagged"

    assert pull.returncode != 0
    assert alone("fsck", "--all").status == 0
    states = asked(ensure(alone.home), "flow_runs", "state_type")
    assert states.count("COMPLETED") == 1
    assert {"COMPLETED", "CRASHED", "CANCELLED"}.issuperset(states)
