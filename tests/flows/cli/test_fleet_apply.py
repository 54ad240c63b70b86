"""``fleet apply`` of a saved plan, and of a set that is everywhere, at a real server; hosts exist there only."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient

from prestow.fleet.document import read
from prestow.fleet.lock import Lock, LockedImage, LockedSet, lock_path
from tests.fleet_files import locked_set, write_fleet
from tests.flows.cli.conftest import Called, Done
from tests.reports import emit, report
from tests.simulated_hosts import done, living, runs_of


class Fleet:
    """Two hosts, and a set of their own."""

    def __init__(self, client: SyncPrefectClient, folder: Path) -> None:
        """Write file and lock."""
        self.client, self.folder, self.name = client, folder, f"s{uuid4().hex[:8]}"
        self.hosts = [f"h{number}-{self.name}" for number in range(2)]
        self.file = write_fleet(folder, self.hosts, self.name, disk={"free": 0})
        self.plan = folder / "plan.json"

    @property
    def locked(self) -> LockedSet:
        """The set as it is locked."""
        return read(lock_path(self.file), Lock).sets[self.name]

    def report(self, *there: LockedImage) -> None:
        """Let both hosts report what they have."""
        for host in self.hosts:
            emit(self.client, report(host, there, at=datetime.now(UTC), generations={self.name: 1}))

    def typed(self, called: Called, *words: str) -> Done:
        """Type a sub-verb of ``fleet``."""
        return called("fleet", *words, "--file", str(self.file))


@pytest.fixture
def client(called: Called, deploying: None) -> Iterator[SyncPrefectClient]:
    """A client of the server, where the deployments are."""
    from flows.deploying import deploy
    from prestow.project import root

    deploy(root())
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def fleet(client: SyncPrefectClient, tmp_path: Path) -> Fleet:
    """A fleet whose hosts have reported that they have nothing."""
    fleet = Fleet(client, tmp_path)
    fleet.report()
    return fleet


def test_a_plan_that_still_holds_is_applied(fleet: Fleet, called: Called) -> None:
    assert fleet.typed(called, "plan", "--out", str(fleet.plan)).status == 0

    with living(fleet.name, dict.fromkeys(fleet.hosts, done)):
        applied = fleet.typed(called, "apply", str(fleet.plan), "--json")

    assert (applied.status, applied.document["end"]) == (0, "complete")
    assert len(runs_of(fleet.name)) == 2


def test_a_plan_since_which_a_host_reported_something_else_is_refused(fleet: Fleet, called: Called) -> None:
    fleet.typed(called, "plan", "--out", str(fleet.plan))
    fleet.report(fleet.locked.images[0])

    refused = fleet.typed(called, "apply", str(fleet.plan))

    assert (refused.status, runs_of(fleet.name)) == (6, [])
    assert f"{fleet.plan} is stale: {fleet.hosts[0]} reported other images or layers than in the plan" in refused.err
    assert f"make a new one with `prestow fleet plan --out {fleet.plan}`" in refused.err


def test_a_plan_since_which_the_lock_moved_is_refused(fleet: Fleet, called: Called) -> None:
    fleet.typed(called, "plan", "--out", str(fleet.plan))
    moved = locked_set([image.reference for image in fleet.locked.images], 2, "2")
    lock_path(fleet.file).write_text(Lock(sets={fleet.name: moved}).text())

    refused = fleet.typed(called, "apply", str(fleet.plan))

    assert (refused.status, runs_of(fleet.name)) == (6, [])
    assert "the lock is at generation 2, the plan at 1" in refused.err


def test_a_plan_of_other_hosts_is_refused(fleet: Fleet, called: Called) -> None:
    fleet.typed(called, "plan", "--out", str(fleet.plan))
    write_fleet(fleet.folder, [*fleet.hosts, f"h2-{fleet.name}"], fleet.name, disk={"free": 0})

    refused = fleet.typed(called, "apply", str(fleet.plan))

    assert (refused.status, runs_of(fleet.name)) == (6, [])
    assert "the set selects other hosts than in the plan" in refused.err


@pytest.mark.parametrize(("text", "status"), [(None, 3), ("{}", 2), ("[", 2)])
def test_what_is_no_plan_is_not_applied(fleet: Fleet, called: Called, text: str | None, status: int) -> None:
    if text is not None:
        fleet.plan.write_text(text)

    refused = fleet.typed(called, "apply", str(fleet.plan))

    assert (refused.status, runs_of(fleet.name)) == (status, [])
    assert str(fleet.plan) in refused.err


def test_where_nothing_is_to_be_done_no_run_is_made(fleet: Fleet, called: Called) -> None:
    fleet.report(*fleet.locked.images)

    applied = fleet.typed(called, "apply", "--json")

    assert (applied.status, applied.document["end"]) == (20, "nothing-to-do")
    assert {host["verdict"] for host in applied.document["hosts"]} == {"done"}
    assert runs_of(fleet.name) == []
