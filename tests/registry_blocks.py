"""Blocks with the credentials of registries at the Prefect server of the tests, each for as long as a test needs it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from secrets import token_hex

from prefect import get_client
from prefect.exceptions import ObjectNotFound

from tasks.registry_credentials import RegistryCredentials, register


@contextmanager
def saved(**fields: str) -> Iterator[str]:
    """Save a block with these fields, and yield the name of the credentials in it."""
    register()
    name = f"test-{token_hex(6)}"
    RegistryCredentials(**fields).save(name)  # type: ignore[arg-type]  # pydantic makes secrets of texts
    yield f"block:{name}"
    with get_client(sync_client=True) as client, suppress(ObjectNotFound):
        client.delete_block_document(client.read_block_document_by_name(name, "registry-credentials").id)
