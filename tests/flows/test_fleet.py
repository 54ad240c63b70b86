"""The flow ``fleet`` at a real server, with hosts that exist there only: their workers beat, their runs end as told."""

import threading
from contextvars import copy_context
from pathlib import Path
from uuid import uuid4

import pytest
from prefect import flow, get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun

from flows.fleet import fleet
from flows.forms.results import RolledOut
from flows.local_server.ensure import Server
from flows.rollout import runs, tags
from flows.rollout.coordinating import RolloutError
from flows.rollout.identity import latest
from prestow.errors import NotFoundError, PreconditionError
from prestow.fleet.lock import Lock, lock_path
from tests.fleet_files import locked_set, write_fleet
from tests.prefect_records import until
from tests.simulated_hosts import beat, done, fails, fails_once, living, refuses, runs_of

_QUICK = {"waves": [1, "50%"], "retries": 1}


@pytest.fixture(scope="module", autouse=True)
def _deployed(deploying: None) -> None:
    """Have the deployments."""
    from flows.deploying import deploy
    from prestow.project import root

    deploy(root())


@pytest.fixture
def name(prefect_server: Server) -> str:
    """The name of a set of the test's own."""
    return f"s{uuid4().hex[:8]}"


@pytest.fixture
def hosts(name: str) -> list[str]:
    """The names of four hosts of the test's own."""
    return [f"h{number}-{name}" for number in range(4)]


def verdicts(result: RolledOut) -> dict[str, str]:
    """Return what came of each host."""
    return {each.host.partition("-")[0]: str(each.verdict) for each in result.hosts}


def form_of(client: SyncPrefectClient, held: FlowRun) -> str:
    """Return what a person sees above the form."""
    assert held.state is not None
    keys = held.state.state_details.run_input_keyset
    assert keys is not None
    return str(client.read_flow_run_input(held.id, keys["description"]))


def make_left_over(client: SyncPrefectClient, name: str, host: str) -> None:
    """Make a run of an older generation, which waits in its host's queue."""
    deployment = client.read_deployment_by_name("prepull/prepull").id
    labels = [*tags.of_coordinator(name, 1, "0123456789ab"), *tags.of_host(host, 1)]
    images = ["registry.example/team/app@sha256:" + "0" * 64]
    runs.make(client, deployment, [runs.Wanted(host, "left over", f"left {name}", labels, {"images": images})], None)


def test_every_host_gets_one_run_wave_after_wave(tmp_path: Path, name: str, hosts: list[str], home: str) -> None:
    file = write_fleet(tmp_path, hosts, name, rollout=_QUICK)
    with living(name, dict.fromkeys(hosts, done)):
        result = fleet(name, str(file), home=home)

    assert result.end == "complete"
    assert verdicts(result) == dict.fromkeys(("h0", "h1", "h2", "h3"), "done")
    runs = runs_of(name)
    assert sorted(run.name for run in runs) == sorted(f"prepull {host} · 2 images" for host in hosts)
    assert {run.work_queue_name for run in runs} == set(hosts)
    assert len({run.parent_task_run_id for run in runs}) == 3
    with get_client(sync_client=True) as client:
        (own,) = latest(client, name)
        waves = {client.read_task_run(run.parent_task_run_id).name for run in runs if run.parent_task_run_id}
    assert own.name == f"fleet {name} · generation 1"
    assert waves == {"wave 1 of 3 · 1 hosts", "wave 2 of 3 · 1 hosts", "wave 3 of 3 · 2 hosts"}
    assert tags.rollout(own.tags) == result.rollout


@pytest.mark.long
def test_a_host_that_fails_is_asked_again_and_others_go_on(
    tmp_path: Path, name: str, hosts: list[str], home: str
) -> None:
    file = write_fleet(tmp_path, hosts, name, rollout={"retries": 1, "max_failed": 2})
    acts = dict(zip(hosts, (done, fails_once, fails, refuses), strict=True))
    with living(name, acts):
        state = fleet(name, str(file), home=home, return_state=True)

    result = state.result()
    assert (state.name, result.end) == ("Incomplete", "incomplete")
    assert verdicts(result) == {"h0": "done", "h1": "done", "h2": "failed", "h3": "refused"}
    by_host = {each.host: each for each in result.hosts}
    assert by_host[hosts[2]].cause.endswith("attempt 2")
    assert [by_host[host].attempts for host in hosts] == [1, 2, 2, 1]

    with living(name, dict.fromkeys(hosts, done)):
        again = fleet(name, str(file), retry_failed=True, home=home)

    assert (again.end, again.rollout) == ("complete", result.rollout)
    assert sorted(each.host for each in again.hosts) == sorted(hosts[2:])


def test_the_failure_budget_stops_before_the_next_wave(tmp_path: Path, name: str, hosts: list[str], home: str) -> None:
    file = write_fleet(tmp_path, hosts, name, rollout={"waves": [2], "retries": 0, "max_failed": 1})
    with living(name, dict.fromkeys(hosts, fails)), pytest.raises(RolloutError, match="2 of 4 hosts failed") as error:
        fleet(name, str(file), home=home)

    assert verdicts(error.value.result) == {"h0": "failed", "h1": "failed", "h2": "skipped", "h3": "skipped"}
    assert len(runs_of(name)) == 2


def test_a_host_without_a_worker_gets_no_queue_and_stops_nobody(
    tmp_path: Path, name: str, hosts: list[str], home: str
) -> None:
    file = write_fleet(tmp_path, hosts, name)
    with living(name, dict.fromkeys(hosts[:3], done)):
        result = fleet(name, str(file), home=home)

    assert (result.end, verdicts(result)["h3"]) == ("incomplete", "offline")
    assert f"prestow node up --name {hosts[3]}" in result.hosts[3].cause
    assert hosts[3] not in {run.work_queue_name for run in runs_of(name)}


@pytest.mark.long
def test_a_rollback_holds_until_it_is_released(tmp_path: Path, name: str, hosts: list[str], home: str) -> None:
    from flows.cli.main import main

    file = write_fleet(tmp_path, hosts, name)
    with living(name, dict.fromkeys(hosts, done)):
        fleet(name, str(file), home=home)
        write_fleet(tmp_path, hosts, name, generation=2, version="2")
        fleet(name, str(file), home=home)
        assert main(["fleet", "rollback", "1", name, "--file", str(file), "--reason", "2 is bad"], here=True) == 0

        held = fleet(name, str(file), home=home)
        assert main(["fleet", "release", name, "--file", str(file)], here=True) == 0
        released = fleet(name, str(file), home=home)

    assert (held.generation, held.held_back) == (1, 2)
    assert (released.generation, released.held_back) == (2, None)
    ordered = [run.parameters["images"][0] for run in runs_of(name) if f"prestow.rollout:{held.rollout}" in run.tags]
    first = locked_set(["registry.example/team/app:1", "registry.example/team/tool:2"], 1, "1")
    assert set(ordered) == {first.images[0].pinned}


def test_a_rollback_to_a_generation_that_never_was_is_refused(
    tmp_path: Path, name: str, hosts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    from flows.cli.main import main

    file = write_fleet(tmp_path, hosts, name)

    assert main(["fleet", "rollback", "9", name, "--file", str(file)], here=True) == NotFoundError.exit_code
    assert f"generation 9 of {name} was never applied; those that were: none" in capsys.readouterr().err


def test_a_lock_that_does_not_fit_the_file_starts_no_rollout(
    tmp_path: Path, name: str, hosts: list[str], home: str
) -> None:
    file = write_fleet(tmp_path, hosts, name)
    other = Lock(sets={name: locked_set(["registry.example/team/other:1"])})
    lock_path(file).write_text(other.text())

    with pytest.raises(PreconditionError, match="run `prestow fleet lock`"):
        fleet(name, str(file), home=home)
    assert runs_of(name) == []


@pytest.mark.long
def test_between_waves_a_person_decides_and_may_leave_hosts_out(
    tmp_path: Path, name: str, hosts: list[str], home: str
) -> None:
    file = write_fleet(tmp_path, hosts, name, rollout={"waves": [1], "hold": "approve"})
    shown: list[str] = []

    def answer() -> None:
        with get_client(sync_client=True) as client:
            held = until(lambda: [run for run in latest(client, name) if run.state_name == "Paused"], 1, "a hold")[0]
            shown.append(form_of(client, held))
            client.resume_flow_run(held.id, run_input={"decision": "approve", "without": f"{hosts[1]}, {hosts[3]}"})

    person = threading.Thread(target=answer)
    person.start()
    with living(name, dict.fromkeys(hosts, done)):
        result = fleet(name, str(file), home=home)
    person.join()

    assert "**Wave 1 of 2** · 1 hosts: 1 done" in shown[0]
    assert "**Next: wave 2** · 3 hosts" in shown[0]
    assert verdicts(result) == {"h0": "done", "h1": "skipped", "h2": "done", "h3": "skipped"}
    assert len(runs_of(name)) == 2


@pytest.mark.long
def test_a_person_who_refuses_ends_the_rollout_as_cancelled(
    tmp_path: Path, name: str, hosts: list[str], home: str
) -> None:
    file = write_fleet(tmp_path, hosts, name, rollout={"waves": [1], "hold": "approve"})

    def answer() -> None:
        with get_client(sync_client=True) as client:
            held = until(lambda: [run for run in latest(client, name) if run.state_name == "Paused"], 1, "a hold")[0]
            client.resume_flow_run(held.id, run_input={"decision": "refuse", "reason": "too slow"})

    person = threading.Thread(target=answer)
    person.start()
    with living(name, dict.fromkeys(hosts, done)):
        state = fleet(name, str(file), home=home, return_state=True)
    person.join()

    assert state.is_cancelled()
    assert state.message == "refused by a person after wave 1 of 2: too slow"
    assert len(runs_of(name)) == 1


@pytest.mark.long
def test_a_second_rollout_of_a_set_that_is_under_way_is_refused(
    tmp_path: Path, name: str, hosts: list[str], home: str
) -> None:
    file = write_fleet(tmp_path, hosts, name, rollout={"waves": [1], "hold": "approve"})
    refused: list[str] = []

    def second() -> None:
        with get_client(sync_client=True) as client:
            held = until(lambda: [run for run in latest(client, name) if run.state_name == "Paused"], 1, "a hold")[0]
            refused.append(str(fleet(name, str(file), home=home, return_state=True).message))
            client.resume_flow_run(held.id, run_input={"decision": "refuse"})

    person = threading.Thread(target=copy_context().run, args=(second,))
    person.start()
    with living(name, dict.fromkeys(hosts, done)):
        fleet(name, str(file), home=home, return_state=True)
    person.join()

    assert f"a rollout of {name} is in progress, in state Paused" in refused[0]


@pytest.mark.long
def test_what_an_earlier_rollout_left_in_queues_is_cancelled(
    tmp_path: Path, name: str, hosts: list[str], home: str
) -> None:
    file = write_fleet(tmp_path, hosts[:1], name)
    beat(*hosts)
    with get_client(sync_client=True) as client:
        make_left_over(client, name, hosts[0])

    with living(name, {hosts[0]: done}, skip="left"):
        result = fleet(name, str(file), home=home)

    assert result.end == "complete"
    states = {run.name: run.state_name for run in runs_of(name)}
    assert states == {"left over": "Cancelled", f"prepull {hosts[0]} · 2 images": "Completed"}


@pytest.mark.long
def test_part_of_another_flow_it_gives_its_typed_result(tmp_path: Path, name: str, hosts: list[str], home: str) -> None:
    from prestow.flows import fleet as exported

    file = write_fleet(tmp_path, hosts, name)

    @flow
    def nightly() -> int:
        result: RolledOut = exported(name, str(file), home=home)
        return sum(str(each.verdict) == "done" for each in result.hosts)

    with living(name, dict.fromkeys(hosts, done)):
        assert nightly() == 4
