"""A schedule that is switched on makes runs, and a worker runs them; ``prestow doctor`` tells where none come."""

import json
import socket
import sqlite3
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows.local_server.ensure import ensure, environment, stop
from tests.prefect_records import until
from tests.server_logs import check_log, complaints
from tests.wheels import ROOT
from tests.workers import without_prefect, worker

SCHEDULED = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}}
COMPLETED = {"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}


def asked(api: Mapping[str, str], path: str, body: Mapping[str, Any] | None = None) -> Any:
    """Ask an API as the UI does."""
    auth = api.get("PREFECT_API_AUTH_STRING")
    headers = {"Authorization": f"Basic {b64encode(auth.encode()).decode()}"} if auth else {}
    method = "GET" if body is None else "POST"
    answer = httpx.request(method, f"{api['PREFECT_API_URL']}{path}", json=body, headers=headers, timeout=60)
    return answer.raise_for_status().json()


def prefect(api: Mapping[str, str], *words: str) -> None:
    """Run Prefect's own command."""
    command = [sys.executable, "-m", "prefect", "--no-prompt", *words]
    subprocess.run(command, cwd="/", env={**without_prefect(), **api}, check=True, stdout=subprocess.DEVNULL)


def prestow(api: Mapping[str, str], home: Path, *words: str) -> dict[str, Any]:
    """Run a verb, and give its answer."""
    command = [sys.executable, "-m", "prestow", *words, "--json"]
    env = {**without_prefect(), **api, "PRESTOW_HOME": str(home)}
    done = subprocess.run(command, cwd=ROOT, env=env, check=False, stdout=subprocess.PIPE)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def found_schedules(api: Mapping[str, str], home: Path) -> dict[str, Any]:
    """Return what ``prestow doctor`` says of the schedules."""
    (found,) = [each for each in prestow(api, home, "doctor")["checks"] if each["check"] == "schedules"]
    result: dict[str, Any] = found
    return result


@contextmanager
def own(folder: Path) -> Iterator[dict[str, str]]:
    """The store's own server."""
    server = ensure(folder)
    try:
        yield environment(server)
        check_log(folder)  # before its end interrupts anything
    finally:
        stop(folder)


@contextmanager
def plain(folder: Path, **settings: str) -> Iterator[dict[str, str]]:
    """A server that Prefect's own command started."""
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {"PREFECT_HOME": str(folder / "prefect-home"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    api = {**variables, "PREFECT_API_URL": f"http://127.0.0.1:{port}/api", "DO_NOT_TRACK": "1"}
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port), "--no-ui"]
    with (folder / "log").open("wb") as log:
        env = {**without_prefect(), **variables, **settings}
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=subprocess.STDOUT)
    try:
        until(lambda: [0] if answers(api) else [], 1, "the server")
        yield api
        # Its transactions lock the database late, so that under load some fail and are tried again; ours lock it first.
        found = complaints((folder / "log").read_text())
        assert [each for each in found if "database is locked" not in each] == []
    finally:
        process.terminate()
        process.wait()


def answers(api: Mapping[str, str]) -> bool:
    try:
        return httpx.get(f"{api['PREFECT_API_URL']}/health", timeout=10).is_success
    except httpx.HTTPError:
        return False


def test_the_installed_prefect_knows_when_a_cron_schedule_is_due() -> None:
    """As its scheduler asks; Prefect 3.9.1 fails at that on Python 3.11 and 3.12."""
    from prefect.server.schemas.schedules import CronSchedule
    from prefect.types._datetime import now

    assert len(list(CronSchedule(cron="30 3 * * *", timezone="UTC")._get_dates_generator(3, now("UTC")))) == 3


@pytest.mark.long
@pytest.mark.parametrize(
    "server", [own, partial(plain, PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS="5")], ids=["own", "plain"]
)
def test_a_schedule_that_is_switched_on_makes_runs_and_a_worker_runs_them(tmp_path: Path, server: Any) -> None:
    home = tmp_path / "store"
    with server(home) as api:
        prestow(api, home, "deploy")
        found = asked(api, "/deployments/name/prune/prune")
        (weekly,) = found["schedules"]
        prefect(api, "deployment", "schedule", "resume", "prune/prune", weekly["id"])

        runs = until(lambda: asked(api, "/flow_runs/filter", SCHEDULED), 3, "runs of the schedule")
        assert {run["auto_scheduled"] for run in runs} == {True}

        due = {"schedule": {"interval": 15}, "active": True}
        asked(api, f"/deployments/{found['id']}/schedules", [due])
        with worker(sys.executable, {**without_prefect(), **api, "PRESTOW_HOME": f"{tmp_path}/host"}, tmp_path / "log"):
            (first, *_) = until(lambda: asked(api, "/flow_runs/filter", COMPLETED), 1, "a run of the worker")
        assert first["auto_scheduled"]
        assert found_schedules(api, home)["works"]


@pytest.mark.long
def test_doctor_tells_of_a_dead_scheduler_and_only_of_that(tmp_path: Path) -> None:
    """Not of schedules that were switched on a moment ago, nor of those that are not due for long, or never again."""
    home = tmp_path / "store"
    with plain(home, PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED="false") as api:
        prestow(api, home, "deploy")
        assert found_schedules(api, home)["works"]
        long_ago, now = "2026-01-01 00:00:00.000000", "2999-01-01 00:00:00.000000"
        daily = {"cron": "30 3 * * *", "timezone": "UTC", "day_or": True}
        over = {"rrule": "DTSTART:20200101T000000\nRRULE:FREQ=DAILY;UNTIL=20200201T000000", "timezone": "UTC"}
        far = {"interval": 86400 * 36500, "anchor_date": "2020-01-01T00:00:00Z", "timezone": "UTC"}

        def says(updated: str, schedule: Mapping[str, Any], *, active: bool = True) -> dict[str, Any]:
            with closing(sqlite3.connect(home / "prefect-home/prefect.db", timeout=60)) as database, database:
                database.execute("UPDATE deployment SET updated = ?", (long_ago,))
                database.execute(
                    "UPDATE deployment_schedule SET updated = ?, active = ?, schedule = ? WHERE slug = 'nightly'",
                    (updated, active, json.dumps(schedule)),
                )
            return found_schedules(api, home)

        found = says(long_ago, daily)
        assert not found["works"]
        assert found["found"] == "its scheduler is dead: active schedules and no upcoming runs of prepull"
        assert "sqlalchemy<2.1" in found["advice"]
        assert says(now, daily)["works"]
        assert says(long_ago, daily, active=False)["works"]
        assert says(long_ago, over)["works"]
        assert says(long_ago, far)["works"]
