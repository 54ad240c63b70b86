"""A deployed run names only what the settings of its host allow; flows that are called are not bounded."""

import json
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from prefect import get_client
from prefect.client.schemas.objects import State
from prefect.flow_engine import run_flow

from flows.deploying import deploy
from flows.local_server.ensure import Server, environment
from flows.pull import pull
from tests.prefect_records import ended
from tests.wheels import ROOT
from tests.workers import created, without_prefect, worker

OWN = {
    "PRESTOW_DEPLOYED_HOMES": "[]",
    "PRESTOW_DEPLOYED_REGISTRIES": json.dumps(["registry.example/team/*"]),
    "PRESTOW_DEPLOYED_SECRETS": json.dumps(["env:OTHER", "block:team-*"]),
}


ORDER = {"host": "gpu-01", "set": "nightly", "generation": 1, "rollout": "00000000-0000-0000-0000-000000000000"}

FLOWS = ("bundle", "check_credentials", "prepull", "prune", "pull", "run", "fsck")


def flow_called(name: str) -> Any:
    return getattr(import_module(f"flows.{name}"), name)


@pytest.fixture(scope="module")
def deployed(prefect_server: Server) -> Iterator[None]:
    """Deployments whose runs no worker of another test takes."""
    ids = [flow_called(name).to_deployment("bounded").apply() for name in FLOWS]
    yield
    with get_client(sync_client=True) as client:
        for made in ids:
            client.delete_deployment(made)


@pytest.fixture
def own_store(deployed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The store of a host, on which one registry is allowed."""
    monkeypatch.setenv("PRESTOW_HOME", str(tmp_path / "store"))
    for name, value in OWN.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "store"


def executed(flow: str, **parameters: object) -> State:
    """Execute a run of a deployment of a flow as the process of a worker does, in this one."""
    run = created(f"{flow.replace('_', '-')}/bounded", **parameters)
    with get_client(sync_client=True) as client:
        found = client.read_flow_run(run)
    state: State = run_flow(flow_called(flow), flow_run=found, return_type="state")
    return state


@pytest.mark.parametrize(
    ("flow", "parameters", "setting"),
    [
        ("prune", {"home": "{}/other"}, "deployed_homes"),
        ("fsck", {"home": "{}/store/../other"}, "deployed_homes"),
        ("pull", {"reference": "registry.example/other/app"}, "deployed_registries"),
        ("pull", {"reference": "oci:/etc"}, "deployed_layouts"),
        ("prepull", {"images": ["registry.example/team/app", "ubuntu"]}, "deployed_registries"),
        ("prepull", {"images": [f"ubuntu:1@sha256:{'0' * 64}"], "order": ORDER}, "deployed_registries"),
        (
            "prepull",
            {"images": [f"registry.example/team/app@sha256:{'0' * 64}"], "order": ORDER, "home": "{}/other"},
            "deployed_homes",
        ),
        ("run", {"reference": "ubuntu"}, "deployed_registries"),
        ("bundle", {"reference": "ubuntu", "directory": "{}/bundle"}, "deployed_directories"),
        ("pull", {"reference": "registry.example/team/app", "credentials": "block:other"}, "deployed_secrets"),
        ("prepull", {"images": ["registry.example/team/app"], "credentials": "block:other"}, "deployed_secrets"),
        ("bundle", {"reference": "registry.example/team/app", "credentials": "block:other"}, "deployed_secrets"),
        ("run", {"reference": "registry.example/team/app", "credentials": "block:other"}, "deployed_secrets"),
        ("fsck", {"credentials": "block:other"}, "deployed_secrets"),
        ("check_credentials", {"credentials": "block:other", "registry": "registry.example"}, "deployed_secrets"),
        ("check_credentials", {"credentials": "block:team-a", "registry": "a.example"}, "deployed_registries"),
    ],
)
def test_a_deployed_run_fails_with_the_setting_that_does_not_allow_it(
    own_store: Path, tmp_path: Path, flow: str, parameters: dict[str, object], setting: str
) -> None:
    filled = json.loads(json.dumps(parameters).replace("{}", str(tmp_path)))

    state = executed(flow, **filled)

    assert state.is_failed()
    assert "OutOfBoundsError: " in str(state.message)
    assert f"the host's setting {setting}" in str(state.message)
    assert list(tmp_path.iterdir()) == []


def test_the_hosts_own_store_is_allowed(own_store: Path) -> None:
    assert executed("prune", home=str(own_store)).is_completed()
    assert executed("prune").is_completed()


def test_credentials_that_the_host_allows_are_looked_for(own_store: Path) -> None:
    reference = "registry.example/team/app"

    pulled = executed("pull", reference=reference, credentials="block:team-none-such")
    checked = executed("check_credentials", registry="registry.example", credentials="block:team-none-such")

    assert "no Registry Credentials block 'team-none-such'" in str(pulled.message)
    assert "no Registry Credentials block 'team-none-such'" in str(checked.message)


def test_an_image_that_is_not_to_be_pulled_may_have_any_name(own_store: Path) -> None:
    assert "is not in the store" in str(executed("bundle", reference="ubuntu").message)


@pytest.mark.long
def test_a_run_of_a_worker_is_bounded_by_the_worker(deploying: None, prefect_server: Server, tmp_path: Path) -> None:
    deploy(ROOT)
    own = {**OWN, "PRESTOW_HOME": str(tmp_path / "store")}
    with worker(sys.executable, {**without_prefect(), **environment(prefect_server), **own}, tmp_path / "log"):
        last = ended(created("prune/prune", home=str(tmp_path / "other")))

    assert last.state is not None
    assert last.state_name == "Failed"
    assert "the host's setting deployed_homes" in str(last.state.message)


@pytest.mark.usefixtures("prefect_server")
def test_a_flow_that_is_called_is_not_bounded(demo_layout: Path, home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESTOW_DEPLOYED_REGISTRIES", "[]")

    assert pull(f"oci:{demo_layout}:demo", home=home, stop_after="resolved").checkpoint == "resolved"
