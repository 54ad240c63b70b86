"""A process that runs flows finds its API: the one that Prefect was told of, else the store's own server."""

import os
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest
from prefect.settings import get_current_settings

from flows.connection import using_api
from flows.local_server.ensure import Server
from tests.prefect_records import events, task_runs

PROJECT = Path(__file__).parents[2]
PROGRAM = """
import sys
from pathlib import Path
from flows.connection import using_api
with using_api(Path(sys.argv[1])) as url:
    from prefect import flow, task
    from prefect.settings import get_current_settings

    @task
    def one():
        pass

    @flow(persist_result=False)
    def run():
        one()

    state = run(return_state=True)
    settings = get_current_settings()
    print(url, state.state_details.flow_run_id, settings.flows.heartbeat_frequency, settings.logging.level)
"""


def _run(home: Path, **more: str) -> list[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    command = [sys.executable, "-W", "error", "-c", PROGRAM, str(home)]
    done = subprocess.run(command, cwd=PROJECT, env=kept | more, check=True, capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.long
def test_without_an_api_the_store_s_own_server_is_used_and_all_is_sent(prefect_server: Server, tmp_path: Path) -> None:
    home = prefect_server.directory.parent
    url, run, heartbeat, level = _run(home, HOME=str(tmp_path))

    assert (url, heartbeat, level) == (prefect_server.url, "None", "WARNING")
    assert [task_run.state_name for task_run in task_runs(UUID(run), 1)] == ["Completed"]
    assert len(events(UUID(run), 3, "prefect.task-run.")) == 3


@pytest.mark.long
def test_a_profile_that_names_an_api_is_obeyed(prefect_server: Server, tmp_path: Path) -> None:
    (tmp_path / "profiles.toml").write_text(
        f'active = "mine"\n[profiles.mine]\nPREFECT_API_URL = "{prefect_server.url}"\n'
        f'PREFECT_API_AUTH_STRING = "{prefect_server.auth}"\n'
    )
    store = tmp_path / "store"
    url, *_ = _run(store, PREFECT_HOME=str(tmp_path), PREFECT_LOGGING_LEVEL="ERROR")

    assert url == prefect_server.url
    assert not store.exists()


def test_an_api_in_the_environment_and_set_variables_are_left_alone(prefect_server: Server, tmp_path: Path) -> None:
    before = dict(os.environ)
    with using_api(tmp_path / "store") as url:
        assert url == prefect_server.url
        assert get_current_settings().flows.heartbeat_frequency is None
        assert dict(os.environ) == before
    assert dict(os.environ) == before
    assert not (tmp_path / "store").exists()


def test_an_api_that_does_not_answer_is_named(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failed:
        _run(tmp_path / "store", PREFECT_API_URL="http://127.0.0.1:1/api", PREFECT_CLIENT_MAX_RETRIES="0")
    last = str(failed.value.stderr).strip().splitlines()[-1]
    assert last.startswith("prestow.errors.UnavailableError: the Prefect API at http://127.0.0.1:1/api does not answer")
