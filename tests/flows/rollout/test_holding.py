"""The hold of a rollback, a variable at a real Prefect server."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from prefect import get_client
from prefect.client.schemas.actions import VariableCreate

from flows.local_server.ensure import Server
from flows.rollout.holding import hold, read_hold, release
from prestow.errors import InvalidError
from prestow.fleet.hold import Hold


@pytest.fixture
def name(prefect_server: Server) -> str:
    """The name of a set of the test's own."""
    return f"set-{uuid4().hex[:8]}"


def test_a_hold_stays_until_it_is_released(name: str) -> None:
    first = Hold(generation=11, since=datetime(2026, 11, 30, 2, 30, tzinfo=UTC), reason="12 does not start")
    second = Hold(generation=10, since=datetime(2026, 11, 30, 2, 40, tzinfo=UTC))
    with get_client(sync_client=True) as client:
        assert read_hold(client, name) is None
        for each in (first, second):
            hold(client, name, each)
            assert read_hold(client, name) == each
        assert release(client, name)
        assert read_hold(client, name) is None
        assert not release(client, name)


@pytest.mark.parametrize("value", ["11", {"generation": "eleven"}, {"generation": 11, "since": "now", "reason": ""}])
def test_a_variable_that_is_no_hold_is_an_error_with_the_way_out(name: str, value: object) -> None:
    variable = VariableCreate(name=f"prestow_hold_{name.replace('-', '_')}", value=value)
    with get_client(sync_client=True) as client:
        client.create_variable(variable)

        with pytest.raises(InvalidError, match=f"prestow fleet release {name}"):
            read_hold(client, name)
