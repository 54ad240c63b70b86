"""Flows with named credentials: which registry gets them, and that a name is all that is recorded."""

import base64
import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from prefect import get_client
from prefect.exceptions import ParameterTypeError, PrefectHTTPStatusError

from flows.bundle import bundle
from flows.check_credentials import check_credentials
from flows.fsck import fsck
from flows.local_server.ensure import Server
from flows.prepull import prepull
from flows.pull import pull
from flows.run import run
from prestow.digest import Digest
from prestow.errors import InvalidError, NotFoundError, UnauthorizedError
from prestow.registry.credentials import Credential
from prestow.runtime.masking import MASK
from prestow.store.node import open_node
from tests.conformance.snapshotter_damage import flip
from tests.contents import contents
from tests.flows.cli.conftest import Prestow
from tests.hosts_files import write_hosts
from tests.prefect_records import events, flow_run_id, log_lines, runs_of, task_runs
from tests.registries import PASSWORD, USER, Access, Fault, FaultRegistry
from tests.registry_blocks import saved

pytestmark = pytest.mark.usefixtures("prefect_server")

LOGIN = Credential(USER, PASSWORD).basic
Save = Callable[..., str]


@pytest.fixture
def registry(fault_registry: FaultRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FaultRegistry:
    """A registry that wants user and password, of which no file of this host has any."""
    monkeypatch.setenv("PRESTOW_DOCKER_CONFIG", str(tmp_path / "none.json"))
    fault_registry.access = Access(None)
    return fault_registry


@pytest.fixture
def save() -> Iterator[Save]:
    """Save a block, and return the name of the credentials in it; it is deleted after the test."""
    with ExitStack() as stack:
        yield lambda **fields: stack.enter_context(saved(**{"username": USER, "password": PASSWORD, **fields}))


def logins(registry: FaultRegistry) -> set[str]:
    return {seen.headers["Authorization"] for seen in registry.seen if "Authorization" in seen.headers}


def test_a_pull_shows_the_block_s_user_and_password_and_its_name_is_recorded(
    home: str, registry: FaultRegistry, save: Save
) -> None:
    name = save()

    pulled = pull(f"{registry.own}/demo:demo", home=home, credentials=name)

    assert pulled.checkpoint == "tagged"
    assert logins(registry) == {LOGIN}
    assert [found.parameters["credentials"] for found in runs_of("pull", home)] == [name]


def test_without_a_name_nothing_is_recorded_and_the_registry_refuses(home: str, registry: FaultRegistry) -> None:
    with pytest.raises(UnauthorizedError, match="wants a user name and a password"):
        pull(f"{registry.own}/demo:demo", home=home)

    assert [found.parameters["credentials"] for found in runs_of("pull", home)] == [None]


@pytest.mark.parametrize("flow", [bundle, run])
def test_a_bundle_and_a_run_that_pull_first_show_them_too(
    home: str, registry: FaultRegistry, save: Save, flow: Callable[..., Any]
) -> None:
    rest = {"copied": True} if flow is bundle else {"check": False, "rm": True}

    flow(f"{registry.own}/demo:demo", pull="missing", home=home, credentials=save(), **rest)

    assert logins(registry) == {LOGIN}
    assert open_node(home).images.list()


def test_a_prepull_shows_them_to_the_registry_that_they_are_for(
    home: str, registry: FaultRegistry, save: Save, demo_layout: Path
) -> None:
    with FaultRegistry(demo_layout) as other:
        other.access = Access(other.url + "/token")
        images = [f"{registry.own}/demo:demo", f"{other.own}/demo:demo"]
        with pytest.raises(InvalidError, match="are for any registry"):
            prepull(images, home=home, credentials=save())
        assert (registry.seen, other.seen) == ([], [])

        done = prepull(images, home=home, credentials=save(registry=registry.domain))

        assert done.failed == 0
        assert logins(registry) == {LOGIN}
        assert [(seen.method, seen.headers.get("Authorization")) for seen in other.requests("/token")] == [
            ("GET", None)
        ]


def test_a_repair_shows_them_to_the_registry_that_they_are_for(home: str, registry: FaultRegistry, save: Save) -> None:
    name = save(registry=registry.domain)
    layer = pull(f"{registry.own}/demo:demo", driver="native", home=home, credentials=name).layers[1]
    for digest in (layer.digest, layer.diff_id):
        flip(open_node(home).content.path(Digest(digest)))
    registry.seen.clear()

    with pytest.raises(InvalidError, match="are for any registry"):
        fsck(repair=True, home=home, credentials=save())
    refused = fsck(repair=True, home=home, return_state=True)
    assert (refused.is_failed(), logins(registry)) == (True, set())
    mended = fsck(repair=True, home=home, credentials=name)

    assert mended.damaged == 0
    assert logins(registry) == {LOGIN}


def test_a_hosts_file_names_them_for_its_server(
    home: str, registry: FaultRegistry, save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_hosts(tmp_path / "certs.d", registry.domain, f'[prestow]\ncredentials = "{save()}"')
    monkeypatch.setenv("PRESTOW_HOSTS_DIRS", json.dumps([str(tmp_path / "certs.d")]))

    pull(f"{registry.own}/demo:demo", home=home)

    assert logins(registry) == {LOGIN}


def test_a_block_that_is_not_there_fails_the_run_before_it_asks_the_registry(
    home: str, registry: FaultRegistry
) -> None:
    with pytest.raises(NotFoundError, match=r"no Registry Credentials block 'none-such'.*create it there"):
        pull(f"{registry.own}/demo:demo", home=home, credentials="block:none-such")

    assert registry.seen == []


def test_a_run_checks_them_at_the_registry_and_its_log_says_so(home: str, registry: FaultRegistry, save: Save) -> None:
    good, bad = save(), save(password="other")

    taken = check_credentials(good, registry.domain, home=home, return_state=True)
    refused = check_credentials(bad, registry.domain, home=home, return_state=True)

    assert (taken.result(), refused.is_failed()) == (registry.domain, True)
    assert log_lines(flow_run_id(taken), "done: ") == [f"done: {registry.domain} takes the credentials"]
    (why,) = log_lines(flow_run_id(refused), "failed: ")
    assert why.endswith("check user name and password")
    (first, _) = sorted(runs_of("check-credentials", home), key=lambda found: str(found.start_time))
    assert first.name == f"check {good} at {registry.domain}"


@pytest.mark.parametrize("flow", [pull, prepull, bundle, run, fsck], ids=lambda flow: flow.name)
def test_a_password_in_the_place_of_a_name_is_refused_and_masked(
    home: str, flow: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    canary = f"canary-{secrets.token_hex(12)}"
    first = ["a.example/b:c"] if flow is prepull else "a.example/b:c"

    state = flow(first, home=home, credentials=canary, return_state=True)

    with pytest.raises(ParameterTypeError, match="credentials: expected block:NAME"):
        state.result()
    assert [found.parameters["credentials"] for found in runs_of(flow.name, home)] == [MASK]  # type: ignore[attr-defined]
    out, err = capfd.readouterr()
    assert canary not in f"{out}{err}{state!r}"


def test_the_api_refuses_a_password_in_the_place_of_a_name() -> None:
    made = pull.to_deployment("credentials").apply()
    with get_client(sync_client=True) as client:
        try:
            with pytest.raises(PrefectHTTPStatusError, match="409"):
                client.create_flow_run_from_deployment(made, parameters={"reference": "a", "credentials": "canary"})
        finally:
            client.delete_deployment(made)


def test_a_broken_variable_is_a_warning_in_the_run_s_log(
    home: str, registry: FaultRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"auths": {registry.domain: {"username": USER, "password": PASSWORD}}}))
    monkeypatch.delenv("PRESTOW_DOCKER_CONFIG")
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", "canary")
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(config))

    state = pull(f"{registry.own}/demo:demo", home=home, return_state=True)

    assert state.is_completed(), state.message
    lines = log_lines(flow_run_id(state), "DOCKER_AUTH_CONFIG")
    assert all("it is ignored: correct the variable, or unset it" in line for line in lines)
    assert "canary" not in "".join(lines)


@pytest.mark.long
def test_a_password_in_a_block_is_in_no_record_log_artifact_or_file(
    prefect_server: Server, fault_registry: FaultRegistry, save: Save, tmp_path: Path
) -> None:
    password, token = secrets.token_hex(12), secrets.token_hex(12)
    name = save(password=password, registry=fault_registry.domain)
    api = {"PREFECT_API_URL": prefect_server.url, "PREFECT_API_AUTH_STRING": prefect_server.auth}
    command = Prestow(tmp_path / "store", api, tmp_path)
    login = base64.b64encode(f"{USER}:{password}".encode()).decode()
    fault_registry.access = Access(f"{fault_registry.url}/token", extra={"token": token}, tokens={token: 1000})
    fault_registry.on("/token", Fault(status=405), method="POST", times=1)
    here, absent = (f"{fault_registry.own}/demo:{tag}" for tag in ("demo", "absent"))
    loud = {"PREFECT_LOGGING_LEVEL": "DEBUG"}

    done = [command("pull", here, "--json", "--credentials", name, env=loud)]
    done.append(command("pull", absent, "--json", "--credentials", name))
    done.append(command("prepull", f"{fault_registry.own}/again:demo", absent, "--json", "--credentials", name))
    fault_registry.on("/token", Fault(status=401))
    done.append(command("pull", f"{fault_registry.own}/other:demo", "--json", "--credentials", name))

    assert [each.status for each in done] == [0, 3, 1, 7]
    posted, got = fault_registry.requests("/token")[:2]
    assert f"password={password}" in posted.body.decode()
    assert got.headers["Authorization"] == f"Basic {login}"
    (pulled,) = [found.id for found in runs_of("pull", str(command.home)) if found.name == f"pull {here}"]
    task_runs(pulled, 1 + 1 + 9 + 2)
    events(pulled, 1 + 1 + 9 + 2)
    seen = [text.encode() for each in done for text in (each.out, each.err)]
    seen += [data for folder in (command.home, prefect_server.directory) for _, data in contents(folder)]
    assert any(name.encode() in data for data in seen), "the name is recorded"
    for canary in (password, token, login):
        assert not any(canary.encode() in data for data in seen)
