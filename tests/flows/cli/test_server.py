"""A store's own Prefect server, as the command line shows it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from prestow.content.boot import start_time
from tests.flows.cli.conftest import Called, Prestow


@pytest.fixture
def fresh(alone: Prestow, prefect_template: Path) -> Iterator[Prestow]:
    """The command on a store that is not there yet, but for the server's empty database; its server is stopped."""
    (alone.home / "prefect").mkdir(mode=0o700, parents=True)
    alone.home.chmod(0o700)
    shutil.copy(prefect_template, alone.home / "prefect" / "prefect.db")
    yield alone
    alone("server", "stop")


def test_two_first_commands_at_once_start_one_server_and_both_succeed(fresh: Prestow, demo_layout: Path) -> None:
    commands = [fresh.start("pull", f"oci:{demo_layout}:demo", "--json") for _ in range(2)]
    ends = [(process.communicate(), process.returncode) for process in commands]

    assert [(status, "Traceback" in err) for (_, err), status in ends] == [(0, False)] * 2, ends
    server = fresh("server", "status", "--json").document
    assert server["running"]
    assert str(server["pid"]) in fresh("server").out
    assert fresh("server", "env", "--json").document["PREFECT_API_URL"] == server["url"]
    assert f"export PREFECT_API_URL={server['url']}\n" in fresh("server", "env").out
    assert fresh("server", "stop", "--json").document == {"stopped": True}
    assert start_time(server["pid"]) is None
    assert fresh("server", "status", "--json").document == {"running": False, "url": None, "pid": None}


def test_a_server_that_does_not_run_is_said(called: Called, home: Path) -> None:
    assert called("server").out == "not running; the next flow starts it\n"
    assert called("server", "status").out == "not running; the next flow starts it\n"
    assert called("server", "stop").out == "it was not running\n"
    assert called("server", "stop", "--json").document == {"stopped": False}
    assert not home.exists()
