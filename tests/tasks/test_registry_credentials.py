"""Blocks with the credentials of registries, at a real Prefect API: what they give, and what is never shown of them."""

import traceback
from collections.abc import Iterator
from contextvars import Context

import pytest
from prefect import get_client
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, temporary_settings
from pydantic import SecretStr, ValidationError

from prestow.errors import InvalidError, NotFoundError, PrestowError, UnavailableError
from prestow.registry.credentials import Credential, Named
from tasks.registry_credentials import RegistryCredentials, find_named
from tests.registries import Fault, FaultRegistry

pytestmark = pytest.mark.usefixtures("prefect_server")

NAME = "test-registry-credentials"
CANARY = "canary-5d2e"


@pytest.fixture(autouse=True)
def _removed() -> Iterator[None]:
    yield
    with get_client(sync_client=True) as client:
        try:
            client.delete_block_document(client.read_block_document_by_name(NAME, "registry-credentials").id)
        except ObjectNotFound:
            return


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (
            RegistryCredentials(username="me", password=SecretStr(CANARY)),
            Named(Credential("me", CANARY)),
        ),
        (
            RegistryCredentials(identity_token=SecretStr(CANARY), registry="registry.example:5000"),
            Named(Credential("", CANARY), "registry.example:5000"),
        ),
    ],
)
def test_a_block_gives_a_password_or_an_identity_token(block: RegistryCredentials, expected: Named) -> None:
    block.save(NAME)

    found = find_named(f"block:{NAME}")

    assert found == expected
    assert CANARY not in f"{block!r}{found!r}"


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
    RegistryCredentials(**fields).save(NAME)  # type: ignore[arg-type]  # pydantic makes secrets of texts

    with pytest.raises(InvalidError, match=complaint) as refused:
        find_named(f"block:{NAME}")

    assert f"block:{NAME}" in str(refused.value)
    assert CANARY not in "".join(traceback.format_exception(refused.value))


def test_a_block_of_other_types_is_named_and_not_shown() -> None:
    RegistryCredentials(username="me", password=SecretStr(CANARY)).save(NAME)
    with get_client(sync_client=True) as client:
        document = client.read_block_document_by_name(NAME, "registry-credentials")
        client._client.patch(
            f"/block_documents/{document.id}", json={"data": {"username": [CANARY], "password": {CANARY: 1}}}
        )

    with pytest.raises(InvalidError, match="save it again") as refused:
        find_named(f"block:{NAME}")

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

    def find() -> None:
        with temporary_settings({PREFECT_API_URL: f"{fault_registry.url}/api"}):
            find_named(f"block:{NAME}")

    with pytest.raises(UnavailableError, match=f"block:{NAME}: the Prefect API fails") as failed:
        Context().run(find)  # in ours, Prefect has a client of the server of the tests

    assert failed.value.transient
    assert CANARY not in str(failed.value)
