"""Credentials are nowhere but in the configuration they come from, and in requests to their registry."""

import base64
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
from prefect.utilities.callables import parameter_schema

from flows.bundle import bundle
from flows.fsck import fsck
from flows.local_server.ensure import Server
from flows.prepull import prepull
from flows.prune import prune
from flows.pull import pull
from flows.run import run
from flows.variables import REFERENCE
from tests.contents import contents
from tests.flows.cli.conftest import Prestow
from tests.prefect_records import events, task_runs
from tests.registries import USER, Access, FaultRegistry

if TYPE_CHECKING:
    from prefect import Flow

WORDS = ("secret", "password", "token", "credential", "auth", "login", "key")


@pytest.mark.parametrize("flow", [bundle, fsck, prepull, prune, pull, run], ids=lambda flow: flow.name)
def test_no_flow_takes_a_secret_but_by_reference(flow: "Flow[..., object]") -> None:
    schema = parameter_schema(flow).model_dump_for_openapi()

    named = {name for name in schema["properties"] if any(word in name.lower() for word in WORDS)}
    assert named == ({"secrets"} if flow.name in {"bundle", "run"} else set())
    assert all(schema["properties"][name]["items"]["pattern"] == REFERENCE for name in named)
    assert '"format": "password"' not in json.dumps(schema)


@pytest.fixture
def command(prefect_server: Server, tmp_path: Path) -> Prestow:
    api = {"PREFECT_API_URL": prefect_server.url, "PREFECT_API_AUTH_STRING": prefect_server.auth}
    return Prestow(tmp_path / "store", api, tmp_path)


def run_of(name: str) -> UUID:
    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=[name])))
    return found[0].id


def files(*folders: Path) -> Iterator[bytes]:
    for folder in folders:
        yield from (data for _, data in contents(folder))


@pytest.mark.long
def test_a_password_and_a_token_are_in_no_record_log_artifact_or_file(
    command: Prestow, prefect_server: Server, fault_registry: FaultRegistry
) -> None:
    password, token = secrets.token_hex(12), secrets.token_hex(12)
    login = base64.b64encode(f"{USER}:{password}".encode()).decode()
    config = command.scratch / "docker.json"
    config.write_text(json.dumps({"auths": {fault_registry.domain: {"auth": login}}}))
    fault_registry.access = Access(f"{fault_registry.url}/token", extra={"token": token}, tokens={token: 1000})
    here, absent = (f"{fault_registry.own}/demo:{tag}" for tag in ("demo", "absent"))

    done = [command("pull", name, "--json", env={"PRESTOW_DOCKER_CONFIG": str(config)}) for name in (here, absent)]

    assert [each.status for each in done] == [0, 3]
    assert fault_registry.requests("/token")[0].headers["Authorization"] == f"Basic {login}"
    assert fault_registry.requests("/blobs/")[0].headers["Authorization"] == f"Bearer {token}"
    run = run_of(f"pull {here}")
    task_runs(run, 1 + 1 + 9 + 2)
    events(run, 1 + 1 + 9 + 2)
    seen = [text.encode() for each in done for text in (each.out, each.err)]
    seen += files(command.home, prefect_server.directory)
    assert any(here.encode() in data for data in seen), "the records of the API are among what was looked at"
    for canary in (password, token, login):
        assert not any(canary.encode() in data for data in seen)
