"""The runs of hosts at a real server: made in bulk, found by their tags, ended."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.states import Cancelled, Cancelling, Completed, Failed, Pending, Running

from flows.rollout import runs, tags
from flows.runs.cancelling import REFUSED
from prestow.errors import PreconditionError

_IMAGES = [f"registry.example/team/app@sha256:{'0' * 64}"]


@pytest.fixture
def name() -> str:
    """The name of a set of the test's own; its rollout has the same."""
    return uuid4().hex[:12]


@pytest.fixture
def deployment(client: SyncPrefectClient, deploying: None) -> UUID:
    """The deployment of the hosts' runs."""
    from flows.deploying import deploy
    from prestow.project import root

    deploy(root())
    return client.read_deployment_by_name("prepull/prepull").id


def wanted(name: str, count: int, **parameters: object) -> list[runs.Wanted]:
    """Return the first attempts at some hosts."""
    found = []
    for number in range(count):
        host = f"h{number}-{name}"
        labels = [*tags.of_coordinator(name, 1, name), *tags.of_host(host, 1)]
        found.append(runs.Wanted(host, f"prepull {host}", f"key {host}", labels, {"images": _IMAGES, **parameters}))
    return found


@pytest.mark.long
def test_hundreds_are_made_and_found_and_a_second_time_changes_nothing(
    client: SyncPrefectClient, deployment: UUID, name: str
) -> None:
    asked: list[str] = []
    client._client.event_hooks["request"].append(lambda request: asked.append(request.url.path))
    for _ in range(2):
        runs.make(client, deployment, wanted(name, 205), None)

    assert len([path for path in asked if path.endswith("/create_flow_run/bulk")]) == 2 * 3
    found = list(runs.unfinished(client, name))
    assert sorted(run.host for run in found) == sorted(each.host for each in wanted(name, 205))
    assert {(run.attempt, run.state) for run in found} == {(1, "waiting")}
    assert list(runs.ended(client, name, None)) == []


def test_each_end_is_told_apart_and_those_of_long_ago_are_left_out(
    client: SyncPrefectClient, deployment: UUID, name: str
) -> None:
    runs.make(client, deployment, wanted(name, 4), None)
    ids = {run.host.partition("-")[0]: run.id for run in runs.unfinished(client, name)}
    ends = {"h0": Completed(), "h1": Failed(message="no route"), "h2": Failed(name=REFUSED, message="no room")}
    for host, end in ends.items():
        for state in (Pending(), Running(), end):
            client.set_flow_run_state(UUID(ids[host]), state)
    runs.cancel(client, [(ids["h3"], "offline: it was silent"), (ids["h0"], "too late")])

    found = {run.host.partition("-")[0]: (run.state, run.message) for run in runs.ended(client, name, None)}

    assert found["h1"] == ("failed", "no route")
    assert found["h2"] == ("refused", "no room")
    assert found["h3"] == ("cancelled", "offline: it was silent")
    assert found["h0"][0] == "completed"
    assert list(runs.ended(client, name, datetime.now(UTC) + timedelta(minutes=5))) == []


def test_why_a_run_was_to_be_cancelled_stays_though_its_worker_says_something_else(
    client: SyncPrefectClient, deployment: UUID, name: str
) -> None:
    runs.make(client, deployment, wanted(name, 1), None)
    (run,) = runs.unfinished(client, name)
    for state in (Pending(), Running(), Cancelling(message="slow: it ran longer than 60 s")):
        client.set_flow_run_state(UUID(run.id), state)

    client.set_flow_run_state(UUID(run.id), Cancelled(message="Flow run was cancelled."), force=True)

    assert [each.message for each in runs.ended(client, name, None)] == ["slow: it ran longer than 60 s"]


def test_a_run_that_ended_meanwhile_is_not_marked_as_crashed(
    client: SyncPrefectClient, deployment: UUID, name: str
) -> None:
    runs.make(client, deployment, wanted(name, 2), None)
    first, second = sorted(runs.unfinished(client, name), key=lambda run: run.host)
    for each, states in ((first, (Pending(), Running(), Completed())), (second, (Pending(), Running()))):
        for state in states:
            client.set_flow_run_state(UUID(each.id), state)

    runs.finish(client, [(first.id, "offline: dead"), (second.id, "offline: dead")])

    assert {run.id: run.state for run in runs.ended(client, name, None)} == {
        first.id: "completed",
        second.id: "crashed",
    }


def test_parameters_that_the_deployment_does_not_know_are_refused_with_the_way_out(
    client: SyncPrefectClient, deployment: UUID, name: str
) -> None:
    with pytest.raises(PreconditionError, match=r"refuses the run of h0-.*run `prestow deploy`"):
        runs.make(client, deployment, wanted(name, 1, parallel="many"), None)
