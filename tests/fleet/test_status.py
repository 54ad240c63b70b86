"""Status: what hosts have by their own reports, never what runs said."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.fleet.document import parse
from prestow.fleet.plan import plan
from prestow.fleet.report import Report
from prestow.fleet.status import Cell, HostStatus, Status, status
from tests.reports import NOW, digest, hosts, image, image_set, layer, locked_set, report

APP, DB = image("r.io/app:1", layer(1)), image("r.io/db:2", layer(2))
BOTH = locked_set(APP, DB)
HERE = {"name": APP.name, "digest": APP.digest, "verified": NOW, "complete": True}


def one(found: Report | None) -> HostStatus:
    reports = {} if found is None else {"gpu-000": found}
    return status("nightly", BOTH, hosts(1), reports, NOW).hosts[0]


def failing(image: str, error: str) -> Report:
    return report("gpu-000", [DB], failures=[{"image": image, "error": error, "at": NOW}])


def test_a_fleet_has_converged_when_every_host_has_every_image() -> None:
    full = {host.name: report(host.name, BOTH.images) for host in hosts(2)}

    assert status("nightly", BOTH, hosts(2), full, NOW).has_converged
    assert not status("nightly", BOTH, hosts(3), full, NOW).has_converged
    assert not status("nightly", BOTH, hosts(2), {**full, "gpu-001": report("gpu-001", [APP])}, NOW).has_converged


def test_what_else_is_known_of_a_host_that_lacks_images_is_said_with_its_remedy() -> None:
    reports = {"gpu-000": report("gpu-000", [DB]), "gpu-001": report("gpu-001", BOTH.images)}
    found = status("nightly", BOTH, hosts(3), reports, NOW)

    told = found.explained(dict.fromkeys(reports, "its worker is silent; run it"))

    assert (told.hosts[0].cause, told.hosts[0].remedy) == ("lacks r.io/app:1: its worker is silent", "run it")
    assert told.hosts[1:] == found.hosts[1:]


@pytest.mark.parametrize(
    ("reported", "cell"),
    [
        ([HERE], Cell.PRESENT),
        ([], Cell.ABSENT),
        ([{**HERE, "digest": digest("old")}], Cell.OTHER),
        ([{**HERE, "complete": False}], Cell.INCOMPLETE),
        ([{**HERE, "name": "r.io/app:0"}], Cell.ABSENT),
        ([{**HERE, "complete": False}, HERE], Cell.PRESENT),
    ],
)
def test_present_means_that_the_digest_is_there_and_complete(reported: Any, cell: Cell) -> None:
    # A run of this generation has ended, which proves nothing.
    found = one(report("gpu-000", images=reported, generations={"nightly": 12}))

    assert found.images == (cell, Cell.ABSENT)
    assert found.state == "missing"
    assert found.generation == 12


def test_a_host_that_lacks_images_is_shown_with_the_remedy() -> None:
    found = one(report("gpu-000", [DB]))

    assert (found.cause, found.remedy) == ("lacks r.io/app:1", "run `prestow fleet apply nightly`")


@pytest.mark.parametrize("image", [APP.name, APP.pinned, f"{APP.name}@{APP.digest}"])
def test_what_failed_is_shown_with_its_error_and_the_remedy(image: str) -> None:
    found = one(failing(image, "the registry answered\n403"))

    assert (found.state, found.cause) == ("failed", "r.io/app:1: the registry answered\\n403")
    assert found.remedy == "mend that, then run `prestow fleet apply nightly --retry-failed`"


def test_a_failure_of_an_image_that_is_there_by_now_is_none() -> None:
    assert one(failing(DB.name, "late")).state == "missing"
    assert one(report("gpu-000", BOTH.images, failures=[{"image": DB.name, "error": "x", "at": NOW}])).state == "ready"


def test_an_incomplete_image_is_repaired_by_fsck() -> None:
    assert "prestow fsck --all --repair" in one(report("gpu-000", images=[{**HERE, "complete": False}])).remedy


def test_a_report_that_is_too_old_is_shown_as_such_and_says_nothing_of_images() -> None:
    found = one(report("gpu-000", BOTH.images, at=NOW - timedelta(hours=3)))

    assert (found.state, found.images, found.seconds) == ("unknown", (Cell.UNKNOWN,) * 2, 10800)
    assert found.cause == "its report is 3 h old, its interval 15 min"
    assert found.remedy == "look at its worker (`prestow node up`)"


def test_a_host_that_never_reported_is_unknown() -> None:
    found = one(None)

    assert (found.state, found.seconds, found.cause, found.remedy) == (
        "unknown", None, "no report", "run `prestow node up` on it",
    )  # fmt: skip


def test_an_image_is_shown_with_its_hosts_and_its_oldest_verification() -> None:
    old = {**HERE, "verified": NOW - timedelta(days=9)}
    reports = {"gpu-000": report("gpu-000", [APP]), "gpu-001": report("gpu-001", images=[old])}

    app, db = status("nightly", BOTH, hosts(3), reports, NOW).images

    assert (app.present, app.missing, app.unknown, app.verified) == (2, 0, 1, NOW - timedelta(days=9))
    assert (db.present, db.missing, db.unknown, db.verified) == (0, 2, 1, None)


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from(hosts(4)).map(lambda host: host.name), st.sampled_from([(), (APP,), (APP, DB)])))
def test_status_and_plan_agree_and_every_cell_is_counted_once(there: Mapping[str, Any]) -> None:
    reports = {name: report(name, images) for name, images in there.items()}

    found = status("nightly", BOTH, hosts(4), reports, NOW)

    made = plan("nightly", image_set(BOTH), BOTH, hosts(4), reports, NOW, None)
    assert [host.state for host in found.hosts] == [host.state for host in made.hosts]
    assert {each.present + each.missing + each.unknown for each in found.images} == {4}
    assert found.has_converged == made.is_nothing_to_do == (found.lacking == ())
    assert parse(found.model_dump_json(), Status, "status.json") == found
