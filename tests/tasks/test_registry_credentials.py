"""Blocks with the credentials of registries, at a real Prefect API: what they give, and what is never shown of them."""

import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from contextvars import Context
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from prefect import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings
from pydantic import ValidationError

from flows.local_server.ensure import Server, environment
from prestow.errors import (
    InvalidError,
    NotFoundError,
    PrestowError,
    UnauthorizedError,
    UnavailableError,
    UnsupportedError,
)
from prestow.registry.credentials import Credential, Named
from tasks.registry_credentials import RegistryCredentials, find_named, register
from tests.registries import PASSWORD, USER, Access, Fault, FaultRegistry
from tests.registry_blocks import saved

pytestmark = pytest.mark.usefixtures("prefect_server")

CANARY = "canary-5d2e"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The store of this host."""
    monkeypatch.setenv("PRESTOW_HOME", str(tmp_path / "store"))


def at(api: FaultRegistry, function: Callable[..., object], *arguments: str) -> None:
    """Call a function at another API, in a context in which Prefect has no client of the server of the tests."""
    with temporary_settings({PREFECT_API_URL: f"{api.url}/api"}):
        function(*arguments)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"username": "me", "password": CANARY}, Named(Credential("me", CANARY))),
        (
            {"identity_token": CANARY, "registry": "registry.example:5000"},
            Named(Credential("", CANARY), "registry.example:5000"),
        ),
    ],
)
def test_a_block_gives_a_password_or_an_identity_token(fields: dict[str, str], expected: Named) -> None:
    with saved(**fields) as name:
        found = find_named(name)

    assert found == expected
    assert CANARY not in f"{RegistryCredentials(**fields)!r}{found!r}"  # type: ignore[arg-type]  # of texts


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({}, "set username and password in the block, or the identity token alone"),
        ({"username": CANARY}, "set username and password"),
        ({"password": CANARY}, "set username and password"),
        ({"username": "me", "identity_token": CANARY}, "set username and password"),
        ({"username": "me", "password": CANARY, "identity_token": CANARY}, "set username and password"),
        (
            {"username": "me", "password": CANARY, "registry": "https://a.example"},
            "set registry in the block to a host",
        ),
        ({"username": "me", "password": CANARY, "registry": "a.example/team"}, "set registry in the block to a host"),
    ],
)
def test_a_block_that_people_filled_in_wrongly_is_named_and_not_shown(fields: dict[str, str], complaint: str) -> None:
    with saved(**fields) as name, pytest.raises(InvalidError, match=complaint) as refused:
        find_named(name)

    assert name in str(refused.value)
    assert CANARY not in "".join(traceback.format_exception(refused.value))


def test_a_block_of_other_types_is_named_and_not_shown() -> None:
    with saved(username="me", password=CANARY) as name, get_client(sync_client=True) as client:
        document = client.read_block_document_by_name(name.removeprefix("block:"), "registry-credentials")
        wrong_types = {"username": [CANARY], "password": {CANARY: 1}}
        client._client.patch(f"/block_documents/{document.id}", json={"data": wrong_types})
        with pytest.raises(InvalidError, match="save it again") as refused:
            find_named(name)

    assert CANARY not in "".join(traceback.format_exception(refused.value))
    with pytest.raises(ValidationError) as wrong:
        RegistryCredentials(password={CANARY: 1})  # type: ignore[arg-type]
    assert CANARY not in str(wrong.value)


@pytest.mark.parametrize(("name", "error"), [("block:none-such", NotFoundError), (CANARY, InvalidError)])
def test_a_name_of_no_block_is_said(name: str, error: type[PrestowError]) -> None:
    with pytest.raises(error) as refused:
        find_named(name)

    assert ("create it there" in str(refused.value)) == (error is NotFoundError)
    assert CANARY not in str(refused.value)


def test_an_api_that_fails_makes_the_step_try_again(fault_registry: FaultRegistry) -> None:
    fault_registry.on("/api/", Fault(status=500, body=CANARY.encode()))

    with pytest.raises(UnavailableError, match="block:any: the Prefect API fails") as failed:
        Context().run(at, fault_registry, find_named, "block:any")

    assert failed.value.transient
    assert CANARY not in str(failed.value)


def test_a_type_that_another_process_registers_meanwhile_is_registered(fault_registry: FaultRegistry) -> None:
    register()
    with get_client(sync_client=True) as client:
        kind = client.read_block_type_by_slug("registry-credentials")
        schema = client.read_block_schema_by_checksum(RegistryCredentials._calculate_schema_checksum())
    fault_registry.on("/block_types/slug/", Fault(status=404), times=1)
    fault_registry.on("/block_types/", Fault(status=409), method="POST")
    fault_registry.on("/block_types/slug/", Fault(status=200, body=kind.model_dump_json().encode()))
    fault_registry.on("/block_schemas/", Fault(status=200, body=schema.model_dump_json().encode()))

    Context().run(at, fault_registry, register)

    assert [seen.method for seen in fault_registry.requests("/block_")] == ["GET", "POST", "GET", "GET"]


def test_a_block_is_tested_by_asking_its_registry(fault_registry: FaultRegistry, store: None) -> None:
    fault_registry.access = Access(None)
    mine = {"username": USER, "password": PASSWORD}

    RegistryCredentials(**mine, registry=fault_registry.domain).test()  # type: ignore[arg-type]  # of texts
    RegistryCredentials(**mine).test(fault_registry.domain)  # type: ignore[arg-type]  # likewise

    assert {(seen.method, seen.path) for seen in fault_registry.seen} == {("GET", "/v2/")}
    with pytest.raises(UnauthorizedError, match="check user name and password"):
        RegistryCredentials(username=USER, password="other").test(fault_registry.domain)  # type: ignore[arg-type]
    for fields, registry in (({}, None), ({"registry": "a.example"}, fault_registry.domain)):
        with pytest.raises(InvalidError, match="expected the registry that they are for"):
            RegistryCredentials(**mine, **fields).test(registry)  # type: ignore[arg-type]  # likewise


def test_a_registry_with_a_token_service_is_asked_through_it(fault_registry: FaultRegistry, store: None) -> None:
    fault_registry.access = Access(f"{fault_registry.url}/token")

    RegistryCredentials(username=USER, password=PASSWORD).test(fault_registry.domain)  # type: ignore[arg-type]

    (asked,) = {seen.path.partition("?")[0] for seen in fault_registry.requests("/token")}
    assert asked == "/token"
    assert all("scope" not in seen.path + seen.body.decode() for seen in fault_registry.requests("/token"))


def test_a_registry_that_answers_without_credentials_cannot_check_them(
    fault_registry: FaultRegistry, store: None
) -> None:
    with pytest.raises(UnsupportedError, match="it answers without credentials"):
        RegistryCredentials(username=USER, password=PASSWORD).test(fault_registry.domain)  # type: ignore[arg-type]


def test_prefect_finds_the_types_of_blocks_by_their_entry_point(prefect_server: Server) -> None:
    (found,) = [each for each in entry_points(group="prefect.collections") if each.name == "prestow"]
    register = [sys.executable, "-m", "prefect", "block", "register", "-m", found.value]

    done = subprocess.run(
        register, env={**os.environ, **environment(prefect_server)}, check=False, capture_output=True, text=True
    )

    assert (done.returncode, "Registry Credentials" in done.stdout) == (0, True), done.stdout + done.stderr
    with get_client(sync_client=True) as client:
        kind = client.read_block_type_by_slug("registry-credentials")
    assert found.load().RegistryCredentials is RegistryCredentials
    assert "prestow's flows name them as block:NAME" in str(kind.description)
    assert str(kind.logo_url).endswith(".png")
    assert ".test()" in str(kind.code_example)
