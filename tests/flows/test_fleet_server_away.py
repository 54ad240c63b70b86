"""A fleet whose Prefect server goes away: within a rollout, over a scheduled time, and while a person thinks."""

import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.image_factory import write_image
from tests.prefect_records import until
from tests.real_fleet import Fleet, real_fleet
from tests.tar_builder import Tar

pytestmark = [
    pytest.mark.large,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(os.geteuid() != 0, reason="makes namespaces"),
]

NAMES = ("h0", "h1", "h2")
_SIZE, _RATE = 24 << 20, 1 << 20
_AWAY = 60.0  # seconds


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A fleet of three hosts and a coordinator, all up."""
    with real_fleet(tmp_path_factory.mktemp("fleet"), NAMES) as found:
        for host in (*found.hosts.values(), found.coordinator):
            host.up()
        found.await_workers([*NAMES, "coordinator"])
        yield found


def image(fleet: Fleet, folder: Path, tag: str, size: int = 1000) -> str:
    """Push an image with one layer of about this many bytes, compressed; return its reference."""
    layer = Tar().file("data", os.urandom(size)).to_bytes()
    write_image(folder / tag, [layer], ref=tag)
    return fleet.push(folder / tag, tag)


def locked(fleet: Fleet, file: Path) -> Path:
    """Lock the images of a fleet file."""
    fleet.told("fleet", "lock", "--file", str(file))
    return file


def test_a_minute_without_the_server_in_mid_rollout_is_only_waited_for(fleet: Fleet, tmp_path: Path) -> None:
    reference = image(fleet, tmp_path, "large", _SIZE)
    sent, first = fleet.registry_machine.sent_bytes, fleet.hosts["h0"]
    file = locked(fleet, fleet.write(NAMES, "away", [reference], rollout={"waves": [1]}))
    first.mirrors(fleet.registry.domain, fleet.registry.domain, fleet.mirror.domain, rate=_RATE)

    with ThreadPoolExecutor(1) as person:
        applying = person.submit(fleet.typed, "fleet", "apply", "--file", str(file), "--json")
        until(lambda: first.partial(_RATE), 1, "a part of the image")
        fleet.server.stop()
        back = time.monotonic() + _AWAY
        until(lambda: [*range(int(time.monotonic() >= back and not first.partial(1)))], 1, "a minute and the image")
        fleet.server.start()
        done = applying.result()

    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    hosts = json.loads(done.stdout)["hosts"]
    assert {each["host"]: each["verdict"] for each in hosts} == dict.fromkeys(NAMES, "done")
    assert fleet.registry_machine.sent_bytes - sent <= 1.1 * _SIZE
    assert fleet.told("fleet", "status", "--file", str(file))["converged"]


def test_what_came_due_meanwhile_begins_afterwards_unless_its_window_is_over(fleet: Fleet, tmp_path: Path) -> None:
    due = (datetime.now(UTC) + timedelta(minutes=2)).replace(second=0, microsecond=0)
    window = timedelta(seconds=20)
    windows = {"kept": "1h", "missed": f"{window.seconds}s"}
    file = fleet.desk.folder / "schedules.yaml"
    document = {
        "hosts": [{"name": "h1"}],
        "sets": {
            name: {
                "images": [image(fleet, tmp_path, name)],
                "schedule": {"cron": f"{due.minute} {due.hour} * * *", "window": window},
            }
            for name, window in windows.items()
        },
    }
    file.write_text(yaml.safe_dump(document))
    fleet.told("deploy", "--fleet", str(locked(fleet, file)))

    def made() -> list[Any]:
        state = {"state": {"type": {"any_": ["SCHEDULED"]}}}
        runs = fleet.ask("flow_runs/filter", {"deployments": {"name": {"any_": [*windows]}}, "flow_runs": state})
        return [run for run in runs if datetime.fromisoformat(run["expected_start_time"]) == due]

    waiting = {run["parameters"]["image_set"]: run["id"] for run in until(made, len(windows), "the scheduled runs")}
    fleet.server.stop()
    until(lambda: [*range(int(datetime.now(UTC) > due + window))], 1, "the end of the shorter window")
    fleet.server.start()

    fleet.await_state(waiting["missed"], "MissedWindow")
    fleet.await_state(waiting["kept"], "Completed")
    assert [len(fleet.runs(name, "prepull")) for name in windows] == [1, 0]


def test_an_approval_outlives_server_and_coordinator(fleet: Fleet, tmp_path: Path) -> None:
    reference = image(fleet, tmp_path, "approved")
    rollout = {"waves": [1], "hold": "approve"}
    file = locked(fleet, fleet.write(NAMES, "held", [reference], rollout=rollout))
    deployment = fleet.ask("deployments/name/fleet/fleet")["id"]
    parameters = {"image_set": "held", "file": str(file)}
    run = fleet.ask(f"deployments/{deployment}/create_flow_run", {"parameters": parameters})["id"]
    fleet.await_state(run, "Suspended")

    fleet.coordinator.machine.off()
    fleet.server.stop()
    fleet.server.start()
    fleet.coordinator.up()
    answer = {"run_input": {"decision": "approve"}}
    until(lambda: [1] if fleet.ask(f"flow_runs/{run}/resume", answer)["status"] == "ACCEPT" else [], 1, "the answer")

    fleet.await_state(run, "Completed")
    assert sorted(each["work_queue_name"] for each in fleet.runs("held", "prepull")) == [*NAMES]
