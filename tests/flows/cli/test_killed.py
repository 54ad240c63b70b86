"""What is left when the server, the command, or both are killed in the middle: a whole record, or one that says so."""

import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from flows.local_server.ensure import Server, ensure, stop
from tests.flows.cli.conftest import Prestow
from tests.prefect_records import asked
from tests.registries import Fault, FaultRegistry

LATER = Fault(status=503, headers={"Retry-After": "3"})
DEADLINE = 240.0
FINAL = {"COMPLETED", "CRASHED", "FAILED", "CANCELLED"}


@pytest.fixture
def server(alone: Prestow) -> Iterator[Server]:
    """The server of a new store, stopped at the end."""
    alone.home.mkdir(0o700)
    yield ensure(alone.home)
    stop(alone.home)


@pytest.mark.long
def test_a_pull_whose_server_is_killed_goes_on_and_its_record_is_complete(
    alone: Prestow, server: Server, fault_registry: FaultRegistry
) -> None:
    fault_registry.on("/blobs/", LATER, times=1)
    with alone.start("pull", f"{fault_registry.domain}/app:demo", "--json") as pull:
        until(lambda: fault_registry.requests("/blobs/"))
        os.kill(server.pid, signal.SIGKILL)
        out, err = pull.communicate()
        assert (pull.returncode, json.loads(out)["checkpoint"]) == (0, "tagged"), err

    other = ensure(alone.home)
    assert (other.url, other.auth, other.pid == server.pid) == (server.url, server.auth, False)
    assert _flow_runs(other) == ["COMPLETED"]
    assert set(until(lambda: _task_runs(other))) == {"COMPLETED"}


@pytest.mark.long
def test_a_run_that_was_killed_with_its_server_is_known_as_crashed(
    alone: Prestow, server: Server, fault_registry: FaultRegistry
) -> None:
    name = f"{fault_registry.domain}/app:demo"
    fault_registry.on("/blobs/", LATER, times=1)
    with alone.start("pull", name, "--json") as pull:
        until(lambda: fault_registry.requests("/blobs/"))
        pull.kill()
        os.kill(server.pid, signal.SIGKILL)
    os.waitpid(server.pid, 0)

    assert alone("pull", name, "--json").document["checkpoint"] == "tagged"
    other = ensure(alone.home)
    assert other.auth != server.auth
    assert _flow_runs(other) == ["COMPLETED", "CRASHED"]
    assert {"COMPLETED", "CRASHED"}.issuperset(until(lambda: _task_runs(other)))
    assert list((alone.home / "prefect" / "runs").iterdir()) == []


def _task_runs(server: Server) -> list[str]:
    """Return the states of all task runs once the last of a pull has ended, and none is under way."""
    states = asked(server, "task_runs", "state_type")
    whole = any(name.startswith("tag ") for name in asked(server, "task_runs", "name")) and FINAL.issuperset(states)
    return states if whole else []


def _flow_runs(server: Server) -> list[str]:
    return sorted(asked(server, "flow_runs", "state_type"))


def until(ask: Any) -> Any:
    deadline = time.monotonic() + DEADLINE
    while not (answer := ask()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return answer
