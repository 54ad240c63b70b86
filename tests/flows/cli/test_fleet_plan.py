"""``fleet plan`` and ``fleet status`` at a real server, of hosts that only report."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient

from flows.rollout import generations, holding
from prestow.fleet.document import read
from prestow.fleet.hold import Hold
from prestow.fleet.lock import Lock, LockedSet
from prestow.fleet.plan import Plan
from tests.flows.cli.conftest import Called
from tests.reports import GIB, emit, fleet_of, hosts, image, layer, locked_set, report

APP, DB = image("r.io/app:1", layer(1)), image("r.io/db:2", layer(1), layer(2))
BOTH = locked_set(APP, DB)


class Fleet:
    """A fleet file with its lock, whose hosts report to the tests' server."""

    def __init__(self, client: SyncPrefectClient, folder: Path, count: int) -> None:
        """Write the file and the lock."""
        self.client, self.hosts, self.name = client, fleet_of(count), f"s{uuid4().hex[:10]}"
        self.path = folder / "fleet.yaml"
        self.lock(BOTH)

    def lock(self, locked: LockedSet) -> None:
        """Write another lock."""
        sets = {self.name: {"images": [each.reference for each in locked.images], "disk": {"free": 0}}}
        listed = [{"name": host.name} for host in self.hosts]
        self.path.write_text(json.dumps({"hosts": listed, "sets": sets}))
        self.path.with_name("fleet.lock.yaml").write_text(Lock(sets={self.name: locked}).text())

    def report(self, number: int, *there: Any, **more: Any) -> None:
        """Let a host report."""
        fields = {"at": datetime.now(UTC), "generations": {self.name: 12}, **more}
        emit(self.client, report(self.hosts[number].name, there, **fields))


@pytest.fixture
def client(called: Called) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def fleet(client: SyncPrefectClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    monkeypatch.setenv("PRESTOW_FLEET", str(tmp_path / "fleet.yaml"))
    return Fleet(client, tmp_path, 3)


def test_a_plan_names_what_each_host_lacks_and_the_sums(fleet: Fleet, called: Called) -> None:
    fleet.report(0, APP, DB)
    fleet.report(1, APP, rate=GIB / 60)

    done = called("fleet", "plan")

    assert done.status == 0
    lines = [line.split() for line in done.out.splitlines()]
    assert lines[0] == ["HOST", "STATE", "IMAGES", "LAYERS", "FETCH", "DISK", "AFTER", "TIME", "REMOVES"]
    names = [host.name for host in fleet.hosts]
    assert lines[1] == [names[0], "ready", "0", "0", "0", "B", "100.0", "GiB", "0", "s", "0"]
    assert lines[2] == [names[1], "missing", "1", "1", "1.0", "GiB", "97.5", "GiB", "1", "min", "00", "s", "0"]
    assert lines[3] == [names[2], "unknown", *"------"]
    assert f"{names[2]}: no report; run `prestow node up` on it" in done.out
    assert "3 hosts, 1 missing, 1 ready, 1 unknown" in done.out
    assert "from the registry: 1.0 GiB; through a mirror: 1.0 GiB" in done.out


def test_a_plan_says_what_the_generation_changes(fleet: Fleet, called: Called) -> None:
    generations.publish(fleet.client, fleet.name, BOTH)
    moved = image("r.io/app:1", layer(1), version=2)
    fleet.lock(locked_set(moved, image("r.io/new:1"), generation=13))

    out = called("fleet", "plan").out

    assert f"moved    r.io/app:1@{APP.digest[:19]} -> r.io/app:1@{moved.digest[:19]}" in out
    assert "added    r.io/new:1@sha256:" in out
    assert f"removed  r.io/db:2@{DB.digest[:19]}" in out


def test_nothing_to_do_has_a_status_of_its_own(fleet: Fleet, called: Called) -> None:
    for at in range(3):
        fleet.report(at, APP, DB)

    assert called("fleet", "plan").status == 20


def test_a_host_that_has_too_little_space_is_refused_by_status_and_reason(fleet: Fleet, called: Called) -> None:
    for at in range(3):
        fleet.report(at, APP, free_bytes=GIB)

    done = called("fleet", "plan")

    assert done.status == 21
    assert f"{fleet.hosts[0].name}: r.io/db:2 does not fit, 1.5 GiB missing" in done.out
    assert (
        f"run `prestow prune` and `prestow node report` on {fleet.hosts[0].name}, or exclude it from the set"
        in done.out
    )


def test_a_saved_plan_is_shown_again_and_only_warns_when_it_is_stale(
    fleet: Fleet, called: Called, tmp_path: Path
) -> None:
    fleet.report(0, APP)
    saved = tmp_path / "plan.json"

    made = called("fleet", "plan", "--out", str(saved), "--json")
    shown = called("fleet", "plan", "--show", str(saved), "--json")

    assert made.document == shown.document == json.loads(saved.read_text())
    assert shown.err == ""
    assert read(saved, Plan).set == fleet.name
    fleet.report(0, APP, DB)
    late = called("fleet", "plan", "--show", str(saved), "--json")
    assert (late.status, late.document) == (0, made.document)
    assert late.err == (
        f"prestow: {saved} is stale: {fleet.hosts[0].name} reported other images or layers than in the plan\n"
    )


def test_a_plan_that_cannot_be_written_leaves_what_was_there(fleet: Fleet, called: Called, tmp_path: Path) -> None:
    done = called("fleet", "plan", "--out", str(tmp_path / "gone" / "plan.json"))

    assert done.status == 11
    assert "plan.json" in done.err


@pytest.mark.parametrize("text", ["", "{}", "[1]", "{"])
def test_what_is_no_plan_is_not_shown(fleet: Fleet, called: Called, tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_text(text)

    done = called("fleet", "plan", "--show", str(tmp_path / "plan.json"))

    assert done.status == 2
    assert "plan.json" in done.err


def test_a_plan_of_another_set_is_refused(fleet: Fleet, called: Called, tmp_path: Path) -> None:
    called("fleet", "plan", "--out", str(tmp_path / "plan.json"))

    done = called("fleet", "plan", "other", "--show", str(tmp_path / "plan.json"))

    assert done.status == 6
    assert f"is a plan of {fleet.name}, not of other" in done.err


def test_a_broken_report_is_a_warning_that_names_the_host(fleet: Fleet, called: Called) -> None:
    emit(fleet.client, {"host": "\x1b[2J"}, host=fleet.hosts[0].name)

    for verb in ("plan", "status"):
        done = called("fleet", verb)
        assert f"prestow: {fleet.hosts[0].name}: its report was skipped: " in done.err
        assert "\x1b" not in done.err


# -- status -------------------------------------------------------------------------------------------------------


def test_status_shows_each_image_on_each_host_and_what_to_do(fleet: Fleet, called: Called) -> None:
    fleet.report(0, APP, DB)
    fleet.report(1, APP, failures=[{"image": DB.name, "error": "\x1b[31mdenied", "at": datetime.now(UTC)}])
    fleet.report(2, APP, DB, at=datetime.now(UTC) - timedelta(hours=3))

    done = called("fleet", "status")

    assert done.status == 22
    names = [host.name for host in fleet.hosts]
    assert f"{fleet.name} · generation 12: 1 of 3 hosts have all images" in done.out
    lines = done.out.splitlines()
    assert {f"{names[0]} # #", f"{names[1]} # .", f"{names[2]} ? ?"} <= {*lines}
    retry = f"run `prestow fleet apply {fleet.name} --retry-failed`"
    assert f"r.io/db:2: \\x1b[31mdenied; mend that, then {retry}" in done.out
    assert "3 h ago" in done.out
    assert "its report is 3 h old, its interval 15 min; look at its worker" in done.out
    assert "\x1b" not in done.out


def test_a_fleet_that_has_converged_ends_with_0(fleet: Fleet, called: Called) -> None:
    for at in range(3):
        fleet.report(at, APP, DB)

    done = called("fleet", "status", "--json")

    assert (done.status, done.document["converged"], done.document["generation"]) == (0, True, 12)
    assert {tuple(host["images"]) for host in done.document["hosts"]} == {("present", "present")}
    assert [image["present"] for image in done.document["images"]] == [3, 3]


def test_a_host_can_be_shown_alone(fleet: Fleet, called: Called) -> None:
    fleet.report(1, APP)

    done = called("fleet", "status", "--host", fleet.hosts[1].name)

    assert done.status == 22
    assert [line.split()[-1] for line in done.out.splitlines() if line.startswith("r.io/")] == ["present", "absent"]
    assert fleet.hosts[0].name not in done.out
    assert "lacks r.io/db:2: no worker of this host was ever seen; run `prestow node up --name" in done.out
    missing = called("fleet", "status", "--host", "nosuch")
    assert missing.status == 3
    assert f"run `prestow fleet hosts {fleet.name}`" in missing.err


def test_above_fifty_hosts_only_those_that_lack_something_are_listed(
    fleet: Fleet, called: Called, tmp_path: Path
) -> None:
    fleet.hosts = hosts(60, f"m{uuid4().hex[:8]}")
    fleet.lock(BOTH)
    now = datetime.now(UTC)
    emit(fleet.client, *(report(host.name, [APP, DB], at=now) for host in fleet.hosts[:59]))

    done = called("fleet", "status")

    assert "59 of 60 hosts have all images" in done.out
    assert [host.name for host in fleet.hosts if host.name in done.out] == [fleet.hosts[59].name]


def test_a_rollback_that_holds_is_what_hosts_are_compared_with(fleet: Fleet, called: Called) -> None:
    old = locked_set(image("r.io/app:1", version=0), generation=11)
    generations.publish(fleet.client, fleet.name, old)
    holding.hold(fleet.client, fleet.name, Hold(generation=11, since=datetime.now(UTC), reason="12 \x1b[2J crashes"))
    for at in range(3):
        fleet.report(at, *old.images, generations={fleet.name: 11})

    done = called("fleet", "status")

    assert done.status == 0
    assert "generation 11: 3 of 3 hosts have all images" in done.out
    assert "is in force and holds generation 12 back (12 \\x1b[2J crashes)" in done.out
    assert f"`prestow fleet release {fleet.name}` ends it" in done.out
    assert called("fleet", "status", "--json").document["held_back"] == 12
    planned = called("fleet", "plan")
    assert planned.status == 20
    assert "a rollback to generation 11 holds" in planned.err
