"""A coordinator that is killed at every state change of its hosts' runs, and started again from the shell."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Completed, Failed, Pending, Running

from flows.rollout import tags
from flows.rollout.identity import latest
from prestow.project import root
from tests.fleet_files import write_fleet
from tests.prefect_records import until
from tests.simulated_hosts import beat, runs_of

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

_HOSTS = 5
_BROKEN = 1  # the host whose runs fail


@pytest.fixture(autouse=True)
def _deployed(deploying: None) -> None:
    """Have the deployments."""
    from flows.deploying import deploy

    deploy(root())


def coordinator(file: Path, name: str, home: str) -> "subprocess.Popen[str]":
    """Start the coordinator as a person does."""
    command = [sys.executable, "-P", "-m", "prestow", "--home", home, "--cold", "fleet", "apply", name, "--json"]
    environment = {**os.environ, "PYTHONPATH": str(root())}
    return subprocess.Popen(
        [*command, "--file", str(file)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def advance(client: SyncPrefectClient, name: str) -> bool:
    """Change the state of one run, as its host would; return whether there was one."""
    for run in sorted(runs_of(name), key=lambda run: run.name):
        assert run.state is not None
        if run.state.is_final():
            continue
        client.set_flow_run_state(run.id, _next(run))
        return True
    return False


def open_or_over(name: str, process: "subprocess.Popen[str]") -> list[object]:
    """Return the runs to advance; the process, if it has ended."""
    runs = [run for run in runs_of(name) if run.state is not None and not run.state.is_final()]
    return [*runs, *([process] if process.poll() is not None else [])]


def _next(run: FlowRun) -> object:
    whose = tags.host_and_attempt(run.tags)
    assert whose is not None
    assert run.state is not None
    if run.state.type == StateType.SCHEDULED:
        return Pending()
    if run.state.type == StateType.PENDING:
        return Running()
    return Failed(message="no route") if whose[0].startswith(f"h{_BROKEN}-") else Completed()


def test_started_again_it_comes_to_the_same_verdicts_and_asks_no_host_twice(
    tmp_path: Path, home: str, prefect_server: object
) -> None:
    name = f"s{uuid4().hex[:8]}"
    hosts = [f"h{number}-{name}" for number in range(_HOSTS)]
    file = write_fleet(tmp_path, hosts, name, rollout={"waves": [1, 3], "retries": 1, "max_failed": 1})
    killed = 0
    with get_client(sync_client=True) as client:
        while True:
            beat(*hosts)
            process = coordinator(file, name, home)
            until(partial(open_or_over, name, process), 1, "a run to advance, or the end")
            if process.poll() is not None:
                break
            advance(client, name)
            process.kill()
            process.communicate()
            killed += 1
    out, err = process.communicate()
    document = json.loads(out)

    assert "Traceback" not in err
    assert {each["host"].partition("-")[0]: each["verdict"] for each in document["hosts"]} == {
        **{f"h{number}": "done" for number in range(_HOSTS)},
        f"h{_BROKEN}": "failed",
    }
    asked = Counter(tags.host_and_attempt(run.tags) for run in runs_of(name))
    assert set(asked.values()) == {1}
    assert len(asked) == _HOSTS + 1  # the broken one twice
    assert len({tags.rollout(run.tags) for run in runs_of(name)}) == 1
    assert killed == 3 * (_HOSTS + 1)


def test_cancelled_it_takes_its_hosts_runs_along(tmp_path: Path, home: str, prefect_server: object) -> None:
    name = f"s{uuid4().hex[:8]}"
    hosts = [f"h{number}-{name}" for number in range(3)]
    file = write_fleet(tmp_path, hosts, name)
    beat(*hosts)
    with get_client(sync_client=True) as client:
        process = coordinator(file, name, home)
        until(lambda: runs_of(name), len(hosts), "the runs of all hosts")
        for state in (Pending(), Running()):
            client.set_flow_run_state(next(run for run in runs_of(name) if run.work_queue_name == hosts[0]).id, state)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()

        def told() -> list[FlowRun]:
            return [run for run in runs_of(name) if run.state_name in ("Cancelling", "Cancelled")]

        states = {str(run.work_queue_name)[:2]: run.state_name for run in until(told, len(hosts), "all to be told")}

    assert process.returncode == 130
    error = json.loads(err.splitlines()[-1])
    assert error["message"] == "interrupted; run the same command again to resume"
    assert states == {"h0": "Cancelling", "h1": "Cancelled", "h2": "Cancelled"}


def test_killed_after_an_approval_it_still_leaves_out_the_hosts_that_a_person_left_out(
    tmp_path: Path, home: str, prefect_server: object
) -> None:
    name = f"s{uuid4().hex[:8]}"
    hosts = [f"h{number}-{name}" for number in (0, 2, 3, 4)]
    file = write_fleet(tmp_path, hosts, name, rollout={"waves": [1, 2], "hold": "approve"})
    beat(*hosts)

    def approve(**values: str) -> None:
        held = until(lambda: [run for run in latest(client, name) if run.state_name == "Paused"], 1, "a hold")[0]
        client.resume_flow_run(held.id, run_input={"decision": "approve", **values})

    def complete() -> None:
        until(lambda: [run for run in runs_of(name) if run.state_name == "Scheduled"], 1, "a run")
        while advance(client, name):
            pass

    with get_client(sync_client=True) as client:
        process = coordinator(file, name, home)
        complete()
        approve(without=hosts[3])
        until(lambda: [run for run in runs_of(name) if run.state_name == "Scheduled"], 1, "the run of the second wave")
        process.kill()
        process.communicate()
        process = coordinator(file, name, home)
        complete()
        approve()
        complete()
        out, _ = process.communicate()

    verdicts = {each["host"]: each["verdict"] for each in json.loads(out)["hosts"]}
    assert verdicts == {**dict.fromkeys(hosts[:3], "done"), hosts[3]: "skipped"}
    assert {run.work_queue_name for run in runs_of(name)} == set(hosts[:3])
