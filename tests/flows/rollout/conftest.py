"""Fixtures of the tests of the fleet at a Prefect server."""

from collections.abc import Iterator

import pytest
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient

from flows.local_server.ensure import Server


@pytest.fixture
def client(prefect_server: Server) -> Iterator[SyncPrefectClient]:
    """A client of the server of the tests."""
    with get_client(sync_client=True) as client:
        yield client
