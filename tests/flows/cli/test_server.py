"""A store's own Prefect server, as the command line shows it."""

import base64
import json
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from prestow.content.process_identity import start_time
from tests.flows.cli.conftest import Called, Prestow
from tests.flows.warm.conftest import Mirror


@pytest.fixture
def fresh(alone: Prestow) -> Iterator[Prestow]:
    """The command on a store that is not there yet; its server and its warm process are stopped."""
    yield alone
    alone("warm", "stop")
    alone("server", "stop")


@pytest.mark.long
def test_three_first_commands_at_once_start_one_server_and_one_warm_process(fresh: Prestow, demo_layout: Path) -> None:
    warm = {"PRESTOW_COLD": "0"}
    commands = [fresh.start("pull", f"oci:{demo_layout}:demo", "--json", env=warm) for _ in range(3)]
    ends = [(process.communicate(), process.returncode) for process in commands]

    assert [(status, "Traceback" in err) for (_, err), status in ends] == [(0, False)] * 3, ends
    process = fresh("warm", "status", "--json").document
    assert process["running"]
    assert str(process["pid"]) in fresh("warm").out
    assert Mirror(fresh.home).launched() == [process["pid"]]
    assert fresh("warm", "stop").out == "stopped\n"
    assert fresh("warm", "stop", "--json").document == {"stopped": False}
    assert fresh("warm", "status").out == "not running; the next flow starts it\n"
    url = fresh("server", "start", "--json").document["url"]
    assert _pulls(url, fresh("server", "env", "--json").document["PREFECT_API_AUTH_STRING"]) == ["COMPLETED"] * 3
    server = fresh("server", "status", "--json").document
    assert server["running"]
    assert str(server["pid"]) in fresh("server").out
    assert fresh("server", "env", "--json").document["PREFECT_API_URL"] == server["url"]
    assert f"export PREFECT_API_URL={server['url']}\n" in fresh("server", "env").out
    page = fresh("server", "open", "--json").document
    assert f"{page['address']}/api" == server["url"]
    assert fresh("server", "open").out == f"address  {page['address']}\nlogin    {page['login']}\n"
    with urllib.request.urlopen(page["address"], timeout=10) as answer:
        assert "<html" in answer.read().decode()
    assert fresh("server", "stop", "--json").document == {"stopped": True}
    assert start_time(server["pid"]) is None
    assert fresh("server", "status", "--json").document == {"running": False, "url": None, "pid": None}


@pytest.mark.long
def test_the_processes_that_stay_have_no_file_of_the_command_that_started_them(
    fresh: Prestow, demo_layout: Path
) -> None:
    """Else a script's lock were taken for as long as they live, and who reads its output would wait for them."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with os.fdopen(reading, "rb", 0) as reader, os.fdopen(writing, "wb", 0) as writer:
        theirs = {"env": {"PRESTOW_COLD": "0"}, "pass_fds": [writer.fileno()]}
        for words in (["server", "start"], ["pull", f"oci:{demo_layout}:demo"]):
            done = fresh(*words, **theirs)
            assert done.status == 0, done.err
        writer.close()
        assert reader.read() == b""  # None if anybody could still write

    for process in ("server", "warm"):
        assert fresh(process, "status", "--json").document["running"]


def test_a_server_that_does_not_run_is_said(called: Called, home: Path) -> None:
    assert called("server").out == "not running; the next flow starts it\n"
    assert called("server", "status").out == "not running; the next flow starts it\n"
    assert called("server", "stop").out == "it was not running\n"
    assert called("server", "stop", "--json").document == {"stopped": False}
    assert not home.exists()


def _pulls(url: str, auth: str) -> list[str]:
    """Return the states of all flow runs that a server knows."""
    token = base64.b64encode(auth.encode()).decode()
    headers = {"Content-Type": "application/json", "Authorization": f"Basic {token}"}
    request = urllib.request.Request(f"{url}/flow_runs/filter", b"{}", headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return [run["state_type"] for run in json.loads(answer.read())]
