"""The page of a set at a real server: one version a run, changed there, not too often."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactCollectionFilter,
    ArtifactCollectionFilterKey,
    ArtifactFilter,
    ArtifactFilterKey,
)

from flows.rollout.page import SECONDS, SetPage


class Clock:
    """A clock that a test sets."""

    at = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.at


@pytest.fixture
def name() -> str:
    return f"s{uuid4().hex[:12]}"


def versions(client: SyncPrefectClient, name: str) -> list[tuple[UUID | None, Any]]:
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[f"prestow-fleet-{name}"]))
    return [(each.flow_run_id, each.data) for each in client.read_artifacts(artifact_filter=wanted)]


def shown(client: SyncPrefectClient, name: str) -> Any:
    wanted = ArtifactCollectionFilter(key=ArtifactCollectionFilterKey(any_=[f"prestow-fleet-{name}"]))
    [latest] = client.read_latest_artifacts(artifact_filter=wanted)
    return latest.data


def test_a_run_has_one_version_that_is_written_each_thirty_seconds_at_most(
    client: SyncPrefectClient, name: str
) -> None:
    clock, run = Clock(), uuid4()
    page = SetPage(client, name, run, clock)

    written = []
    for clock.at in (0.0, 1.0, SECONDS - 1, SECONDS, SECONDS + 1):
        written.append(page.publish(lambda: f"at {clock.at}"))

    assert written == [True, False, False, True, False]
    assert versions(client, name) == [(run, "at 30.0")]
    assert shown(client, name) == "at 30.0"


def test_a_text_that_is_not_written_is_not_made(client: SyncPrefectClient, name: str) -> None:
    page = SetPage(client, name, uuid4(), Clock())
    page.publish(lambda: "first")

    assert page.publish(lambda: pytest.fail("it was made")) is False


def test_an_urgent_page_is_written_at_once(client: SyncPrefectClient, name: str) -> None:
    page = SetPage(client, name, uuid4(), Clock())
    page.publish(lambda: "begun")

    assert page.publish(lambda: "ended", urgent=True)
    assert shown(client, name) == "ended"


def test_a_coordinator_that_was_killed_finds_the_page_of_its_run(client: SyncPrefectClient, name: str) -> None:
    run = uuid4()
    SetPage(client, name, run, Clock()).publish(lambda: "before")
    SetPage(client, name, run, Clock()).publish(lambda: "after")
    SetPage(client, name, uuid4(), Clock()).publish(lambda: "of another run")

    assert sorted(data for _, data in versions(client, name)) == ["after", "of another run"]


def test_a_page_that_a_person_deleted_is_made_again(client: SyncPrefectClient, name: str) -> None:
    run = uuid4()
    page = SetPage(client, name, run, Clock())
    page.publish(lambda: "one")
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[f"prestow-fleet-{name}"]))
    [found] = client.read_artifacts(artifact_filter=wanted)
    client.delete_artifact(found.id)

    assert not page.publish(lambda: "two", urgent=True)
    assert page.publish(lambda: "three", urgent=True)
    assert versions(client, name) == [(run, "three")]
