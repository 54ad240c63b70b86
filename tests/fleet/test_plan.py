"""Plans: what each host lacks and takes, from its last report alone, and what moved since one was made."""

from collections.abc import Mapping
from datetime import timedelta
from math import ceil
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestow.digest import Digest
from prestow.fleet.document import parse
from prestow.fleet.file import Host
from prestow.fleet.lock import LockedSet, short
from prestow.fleet.plan import Change, HostPlan, Plan, floor_bytes, plan, stale
from prestow.fleet.report import Report, ReportedImage
from prestow.gc.generations import superseded
from prestow.metadata.sets import SetGeneration, SetImage
from tests.reports import GIB, NOW, digest, hosts, image, image_set, layer, locked_set, report

LAYERS = [layer(number, size) for number, size in enumerate([0, 1, 7, 500, 3 * GIB, 9 * GIB])]
APP, DB = image("r.io/app:1", LAYERS[3], LAYERS[4]), image("r.io/db:2", LAYERS[4], LAYERS[5])
BOTH = locked_set(APP, DB)


def planned(
    locked: LockedSet, reports: Mapping[str, Report], count: int = 1, before: LockedSet | None = None, **more: Any
) -> Plan:
    return plan("nightly", image_set(locked, **more), locked, hosts(count), reports, NOW, before)


def one(locked: LockedSet, found: Report, before: LockedSet | None = None, **more: Any) -> HostPlan:
    return planned(locked, {"gpu-000": found}, before=before, **more).hosts[0]


# -- laws ---------------------------------------------------------------------------------------------------------


class Case(NamedTuple):
    """A fleet, and what is wanted on it."""

    locked: LockedSet
    hosts: tuple[Host, ...]
    reports: Mapping[str, Report]
    disk: Mapping[str, Any]

    def plan(self) -> Plan:
        """Plan it."""
        return plan("nightly", image_set(self.locked, disk=self.disk), self.locked, self.hosts, self.reports, NOW, None)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    some = st.lists(st.sampled_from(LAYERS), max_size=4, unique_by=lambda each: each.digest)
    images = [image(f"r.io/app-{number}:1", *draw(some)) for number in range(draw(st.integers(1, 4)))]
    named = hosts(draw(st.integers(1, 4)))
    reports = {}
    for host in named:
        if draw(st.booleans()):
            reports[host.name] = report(
                host.name, draw(st.lists(st.sampled_from(images), unique_by=lambda each: each.name)), draw(some),
                at=NOW - timedelta(seconds=draw(st.sampled_from([0, 1800, 1801]))),
                rate=draw(st.none() | st.floats(1, 1e10)), free_bytes=draw(st.integers(0, 60 * GIB)),
                generations={"nightly": draw(st.sampled_from([11, 12]))},
            )  # fmt: skip
    disk = {"factor": draw(st.floats(1, 20)), "free": draw(st.sampled_from(["10%", "0%", "1GiB", 0]))}
    return Case(locked_set(*images), named, reports, disk)


@given(cases())
def test_the_sums_are_those_of_the_hosts_and_a_mirror_never_fetches_more(case: Case) -> None:
    made = case.plan()

    assert [each.host for each in made.hosts] == [host.name for host in case.hosts]
    assert made.egress_bytes == sum(each.fetch_bytes for each in made.hosts if each.state != "refused")
    assert made.egress_with_mirror <= made.egress_bytes
    assert made.egress_with_mirror >= max((each.fetch_bytes for each in made.of_state("missing")), default=0)


@given(cases())
def test_a_host_is_unknown_if_and_only_if_its_report_is_missing_or_older_than_two_intervals(case: Case) -> None:
    for each in case.plan().hosts:
        found = case.reports.get(each.host)
        assert (each.state == "unknown") == (found is None or NOW - found.at > timedelta(seconds=1800))
        if each.state == "unknown":
            assert (each.disk_after, each.seconds, each.images) == (None, None, ())
            assert "prestow node up" in each.reason


@given(cases())
def test_a_host_is_refused_if_and_only_if_what_it_lacks_does_not_fit(case: Case) -> None:
    disk = image_set(case.locked, disk=case.disk).disk
    for each, host in zip(case.plan().hosts, case.hosts, strict=True):
        if each.state != "unknown":
            found = case.reports[each.host]
            assert each.needed_bytes == ceil(each.fetch_bytes * disk.factor)
            assert each.disk_after == found.free_bytes - each.needed_bytes
            full = each.disk_after < floor_bytes(disk, host, found)
            assert (each.state == "refused") == (each.needed_bytes > 0 and full)


@given(cases())
def test_a_host_that_has_everything_needs_nothing(case: Case) -> None:
    full = {host.name: report(host.name, case.locked.images, free_bytes=0) for host in case.hosts}

    made = case._replace(reports=full).plan()

    assert made.is_nothing_to_do
    assert made.egress_bytes == made.egress_with_mirror == 0
    assert {(each.state, each.images, each.seconds) for each in made.hosts} == {("ready", (), 0.0)}


@given(cases(), st.sampled_from(LAYERS))
def test_a_layer_more_in_a_report_never_raises_what_is_fetched(case: Case, more: Any) -> None:
    richer = {
        name: found.model_copy(update={"layers": found.layers | {short(more.diff_id)}})
        for name, found in case.reports.items()
    }

    for after, before in zip(case._replace(reports=richer).plan().hosts, case.plan().hosts, strict=True):
        assert after.fetch_bytes <= before.fetch_bytes
        assert after.layers <= before.layers
        assert after.images == before.images


@given(cases())
def test_a_plan_is_the_same_after_it_was_written_and_read(case: Case) -> None:
    made = case.plan()

    again = parse(made.model_dump_json(), Plan, "plan.json")

    assert again == made
    assert again.digest == made.digest
    assert stale(again, case.locked, case.reports) == ()


@given(cases(), cases())
def test_changes_lead_from_one_generation_to_the_other(one: Case, other: Case) -> None:
    made = planned(other.locked, {}, before=one.locked)
    then = {image.reference: f"{image.name}@{image.digest}" for image in one.locked.images}

    for change in made.changes:
        assert change.before != change.after
        assert then.get(change.reference) == change.before
        then.pop(change.reference, None)
        then.update({change.reference: change.after} if change.after else {})

    assert then == {image.reference: f"{image.name}@{image.digest}" for image in other.locked.images}


# -- single rules -------------------------------------------------------------------------------------------------


def test_a_layer_that_images_share_counts_once_on_each_host_and_once_behind_a_mirror() -> None:
    made = planned(BOTH, {host.name: report(host.name) for host in hosts(3)}, 3)

    assert {(each.layers, each.fetch_bytes) for each in made.hosts} == {(3, 12 * GIB + 500)}
    assert made.egress_bytes == 3 * made.egress_with_mirror == 3 * (12 * GIB + 500)


def test_layers_of_an_image_that_is_there_are_not_fetched_for_another() -> None:
    found = report("gpu-000", [APP]).model_copy(update={"layers": frozenset()})

    assert one(BOTH, found).fetch_bytes == 9 * GIB


@pytest.mark.parametrize("fault", [{"digest": digest("old")}, {"complete": False}, {"name": "r.io/app:0"}])
def test_an_image_is_there_only_under_its_name_with_its_digest_and_complete(fault: Mapping[str, Any]) -> None:
    there = {"name": APP.name, "digest": APP.digest, "verified": NOW, "complete": True}
    found = report("gpu-000", [DB], images=[{**there, **fault}])

    assert "r.io/app:1" in one(BOTH, found).images


def test_the_time_is_that_of_the_measured_rate_and_an_unknown_rate_is_named() -> None:
    assert one(BOTH, report("gpu-000", rate=1e6)).seconds == (12 * GIB + 500) / 1e6

    unknown = one(BOTH, report("gpu-000", rate=None))

    assert unknown.seconds is None
    assert unknown.reason == "its rate is not known yet"


def test_a_refusal_names_host_image_missing_bytes_and_the_remedy() -> None:
    refused = one(BOTH, report("gpu-000", free_bytes=20 * GIB), disk={"free": "2GiB", "factor": 2.0})

    assert refused.state == "refused"
    assert refused.reason == (
        "r.io/db:2 does not fit, 6.0 GiB missing: all images take 24.0 GiB more, 20.0 GiB are free, 2.0 GiB must stay "
        "free; run `prestow prune` and `prestow node report` on gpu-000, or exclude it from the set"
    )


def test_the_limit_of_a_host_goes_before_that_of_the_set() -> None:
    host = Host.model_validate({"name": "gpu-000", "limits": {"free": "90GiB"}})
    wanted = image_set(BOTH, disk={"free": 0})

    made = plan("nightly", wanted, BOTH, [host], {"gpu-000": report("gpu-000")}, NOW, None)

    assert made.hosts[0].state == "refused"
    assert "90.0 GiB must stay free" in made.hosts[0].reason


def test_a_host_whose_platform_is_not_locked_is_refused_with_the_remedy() -> None:
    refused = one(BOTH, report("gpu-000", [DB], platform="linux/riscv64"))

    assert refused.state == "refused"
    assert refused.reason == "the lock has no linux/riscv64 of r.io/app:1; run `prestow fleet lock`"


def test_a_host_gets_the_best_of_the_platforms_that_it_runs() -> None:
    other = image("r.io/x:1", layer(50, 5), platform="linux/arm/v6")

    assert one(locked_set(other), report("gpu-000", platform="linux/arm/v7")).fetch_bytes == 5


def test_a_host_that_has_all_images_but_ran_another_generation_still_gets_a_run() -> None:
    made = one(BOTH, report("gpu-000", BOTH.images, generations={"nightly": 11}))

    assert (made.state, made.images, made.fetch_bytes) == ("missing", (), 0)
    assert "generation 11" in made.reason


@pytest.mark.parametrize(("generations", "removed"), [(1, [9, 10, 11]), (2, [9, 10]), (3, [9]), (4, []), (9, [])])
@pytest.mark.parametrize("complete", [(11, 10, 9), (12, 11, 10, 9)])
def test_images_of_generations_that_retention_drops_leave(
    generations: int, removed: list[int], complete: tuple[int, ...]
) -> None:
    there = [
        {"set": "nightly", "name": f"r.io/db:{each}", "digest": digest(f"db {each}"), "generation": each}
        for each in (9, 10, 11)
    ]
    others = {"set": "weekly", "name": "r.io/db:1", "digest": digest("db 1"), "generation": 1}
    wanted = {"set": "nightly", "name": APP.name, "digest": APP.digest, "generation": 8}

    made = one(
        BOTH,
        report("gpu-000", [APP], members=[*there, others, wanted], complete={"nightly": complete, "weekly": (2, 1)}),
        retention={"generations": generations},
    )

    assert made.removes == tuple(f"r.io/db:{each}@{digest(f'db {each}')}" for each in removed)


def test_images_of_a_generation_that_never_was_complete_leave() -> None:
    left = {"set": "nightly", "name": "r.io/db:10", "digest": digest("db 10"), "generation": 10}

    made = one(BOTH, report("gpu-000", [APP], members=[left], complete={"nightly": (11, 9)}))

    assert made.removes == (f"r.io/db:10@{digest('db 10')}",)


@given(
    there=st.lists(st.tuples(st.integers(0, 8), st.integers(1, 13)), max_size=8, unique_by=lambda each: each[0]),
    ended=st.lists(st.tuples(st.integers(1, 13), st.booleans()), max_size=8, unique_by=lambda each: each[0]),
    generations=st.integers(1, 5),
)
def test_what_a_plan_removes_is_what_the_host_then_does(
    there: list[tuple[int, int]], ended: list[tuple[int, bool]], generations: int
) -> None:
    rows = [
        SetImage("default", "nightly", f"r.io/db:{n}", Digest(digest(f"db {n}")), g, ours=True, lease=None)
        for n, g in there
    ]
    members = [
        {"set": each.set, "name": each.name, "digest": each.digest, "generation": each.generation} for each in rows
    ]
    before = [SetGeneration("nightly", generation, 0.0, complete) for generation, complete in ended]
    complete = {"nightly": tuple(each.generation for each in before if each.complete)}

    made = one(BOTH, report("gpu-000", members=members, complete=complete), retention={"generations": generations})

    after = [SetGeneration("nightly", 12, 1.0, complete=True), *(each for each in before if each.generation != 12)]
    wanted = {(each.name, Digest(each.digest)) for each in BOTH.images}
    gone = superseded(rows, after, wanted, generations=generations, is_unused=lambda _: False)
    assert set(made.removes) == {f"{each.name}@{each.digest}" for each in gone}


def test_changes_are_images_added_moved_and_removed() -> None:
    moved = image("r.io/app:1", LAYERS[1], version=2)
    made = planned(locked_set(moved, DB), {}, before=locked_set(APP, image("r.io/x:1"), generation=11))

    assert made.changes == (
        Change(reference="r.io/app:1", before=f"r.io/app:1@{APP.digest}", after=f"r.io/app:1@{moved.digest}"),
        Change(reference="r.io/db:2", before=None, after=f"r.io/db:2@{DB.digest}"),
        Change(reference="r.io/x:1", before=f"r.io/x:1@{image('r.io/x:1').digest}", after=None),
    )


def test_a_report_from_the_future_says_nothing() -> None:
    made = one(BOTH, report("gpu-000", BOTH.images, at=NOW + timedelta(days=1)))

    assert made.state == "unknown"
    assert "set the clock" in made.reason


# -- stale plans --------------------------------------------------------------------------------------------------


def test_a_later_report_with_the_same_images_makes_no_plan_stale() -> None:
    made = planned(BOTH, {"gpu-000": report("gpu-000", [APP])})
    later = report("gpu-000", [APP], at=NOW + timedelta(minutes=15), free_bytes=1, rate=5.0)

    assert stale(made, BOTH, {"gpu-000": later}) == ()


def test_a_stale_plan_says_what_moved() -> None:
    fleet = {f"gpu-00{number}": report(f"gpu-00{number}", [APP]) for number in range(3)}
    made = planned(BOTH, fleet, 4)
    now = {"gpu-000": report("gpu-000", [APP, DB]), "gpu-002": fleet["gpu-002"],
           "gpu-003": report("gpu-003", at=NOW + timedelta(minutes=1))}  # fmt: skip

    assert stale(made, locked_set(APP, DB, generation=13), now) == (
        "the lock is at generation 13, the plan at 12",
        "gpu-000 reported other images or layers than in the plan",
        "gpu-001 had a report, which is gone",
        "gpu-003 was unknown, and has reported since",
    )
    assert stale(made, locked_set(APP), fleet) == ("generation 12 of the lock has other content than in the plan",)


def test_a_report_digest_does_not_depend_on_the_order_of_images() -> None:
    images = [ReportedImage(name=n, digest=digest(n), verified=NOW, complete=True) for n in "ab"]

    assert len({report("gpu-000", images=order).digest for order in (images, images[::-1])}) == 1
