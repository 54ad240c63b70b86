"""A deployed run whose host dies becomes Crashed by the server alone, from its heartbeats that stop."""

import inspect
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from prefect import flow_engine
from prefect.events.schemas.automations import EventTrigger
from prefect.events.schemas.events import ResourceSpecification

from flows import heartbeats
from flows.dead_runs import NAME, change
from flows.local_server.ensure import Server, ensure, environment, stop
from flows.warm import client as warm
from tests.prefect_records import client, ended, events
from tests.registries import FaultRegistry
from tests.server_logs import check_log
from tests.stalled import stalled
from tests.wheels import ROOT
from tests.workers import created, process_of, without_prefect, worker

BEAT = "prefect.flow-run.heartbeat"


def deployed(server: Server, home: Path) -> None:
    """Make or renew the deployments, as the verb does."""
    command = [sys.executable, "-P", "-m", "prestow", "deploy"]
    variables = {**without_prefect(), **environment(server), "PRESTOW_HOME": str(home), "PYTHONPATH": str(ROOT)}
    subprocess.run(command, env=variables, check=True, stdout=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the deployments; its automation waits as little as it may.

    It is not the one of all tests: a server complains of an event that comes while the automation for it is changed.
    """
    folder = tmp_path_factory.mktemp("impatient")
    server = ensure(folder)
    try:
        deployed(server, folder)
        with client(server) as api:
            (found,) = api.read_automations_by_name(NAME)
            assert isinstance(found.trigger, EventTrigger)
            found.trigger.within = timedelta(seconds=10)  # as a person may set it
            change(api, found)
        yield server
        check_log(folder)
    finally:
        stop(folder)


def children(pid: int) -> list[int]:
    """Return the children of a process with one thread."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.long
@pytest.mark.parametrize("cold", ["1", "0"])
def test_a_run_that_is_killed_with_its_worker_is_crashed_by_the_server(
    impatient: Server, home: str, fault_registry: FaultRegistry, tmp_path: Path, cold: str
) -> None:
    hung = stalled(fault_registry, home)
    own = {"PRESTOW_HOME": str(tmp_path / "host"), "PRESTOW_COLD": cold}
    api = {**without_prefect(), **environment(impatient), **own}
    with worker(sys.executable, api, tmp_path / "log") as running:
        run = created(at=impatient, reference=hung.reference, home=home)
        hung.wait()
        events(run, 1, BEAT, impatient)
        died = [running.pid, *process_of(run)]
        if cold == "0":
            server = warm.status(tmp_path / "host")
            assert server is not None
            died += [server, *children(server)]
        for number in (signal.SIGSTOP, signal.SIGKILL):  # at once, as with their host: none outlives another one
            for pid in died:
                os.kill(pid, number)

    last = ended(run, impatient)

    assert last.state is not None
    assert last.state_name == "Crashed"
    assert "no more heartbeats" in str(last.state.message)


@pytest.mark.long
def test_the_next_deploy_changes_only_the_flows_of_the_automation(tmp_path: Path) -> None:
    """On a server of its own: one complains of an event that comes while the automation for it is changed."""
    server = ensure(tmp_path)
    try:
        deployed(server, tmp_path)
        with client(server) as api:
            (made,) = api.read_automations_by_name(NAME)
            older = made.model_copy(deep=True)
            assert isinstance(older.trigger, EventTrigger)
            older.trigger.within = timedelta(seconds=10)  # as a person may set it
            gone = {"prefect.resource.id": "prefect.flow.gone"}
            older.trigger.match_related = ResourceSpecification.model_validate(gone)
            change(api, older)

            deployed(server, tmp_path)

            (after,) = api.read_automations_by_name(NAME)
        check_log(tmp_path)  # before its end interrupts anything
    finally:
        stop(tmp_path)
    assert isinstance(made.trigger, EventTrigger)
    assert isinstance(after.trigger, EventTrigger)
    assert after.trigger.match_related == made.trigger.match_related
    assert after.trigger.within == timedelta(seconds=10)


def test_prefect_still_has_the_names_that_the_heartbeats_rely_on() -> None:
    ours, theirs = inspect.signature(heartbeats._send_heartbeats), inspect.signature(flow_engine._send_heartbeats)
    assert list(ours.parameters) == list(theirs.parameters)
    assert isinstance(inspect.getattr_static(flow_engine.BaseFlowRunEngine, "heartbeat_seconds"), property)
    assert list(inspect.signature(flow_engine.BaseFlowRunEngine._build_heartbeat_event_template).parameters) == ["self"]
    beat = inspect.signature(flow_engine.BaseFlowRunEngine._emit_flow_run_heartbeat)
    assert list(beat.parameters) == ["self", "resource", "related"]
    assert "_send_heartbeats(self" in inspect.getsource(flow_engine.FlowRunEngine)


def test_a_heartbeat_is_sent_at_once_and_the_end_waits_for_none() -> None:
    sent = threading.Event()
    engine = SimpleNamespace(
        heartbeat_seconds=3600,
        _build_heartbeat_event_template=lambda: ({}, []),
        _emit_flow_run_heartbeat=lambda *_: sent.set(),
    )
    with heartbeats._send_heartbeats(engine):
        assert sent.wait(60)
        (thread,) = [each for each in threading.enumerate() if each.name == "heartbeats"]

    thread.join(60)
    assert not thread.is_alive()
