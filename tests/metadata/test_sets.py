"""What the fleet's sets wanted here, as a database keeps it."""

import pytest

from prestow.digest import Digest
from prestow.metadata.checks import Check, Checks
from prestow.metadata.images import Images
from prestow.metadata.leases import Leases
from prestow.metadata.sets import SetGeneration, SetImage, Sets
from tests.metadata.factory import Home

A = Digest.of(b"a")


def test_an_image_has_one_lease_of_its_set_which_goes_with_it(home: Home) -> None:
    sets, leases = Sets(home.db), Leases(home.db)
    first, second = leases.create("set", 60).id, leases.create("set", 60).id

    sets.put("nightly", 1, "a", A, ours=True, lease=first)
    sets.put("nightly", 2, "a", A, ours=False, lease=second)

    (image,) = sets.images("nightly")
    assert image == SetImage("default", "nightly", "a", A, 2, True, second)  # noqa: FBT003
    assert [lease.id for lease in leases.list()] == [second]
    sets.put("nightly", 3, "a", A, ours=False, lease=second)
    assert [lease.id for lease in leases.list()] == [second]
    sets.drop(image)
    assert (sets.images(), leases.list()) == ((), ())


def test_an_image_outlives_a_lease_that_has_ended(home: Home) -> None:
    sets, leases = Sets(home.db), Leases(home.db)
    lease = leases.create("set", 60).id
    sets.put("nightly", 1, "a", A, ours=True, lease=lease)

    leases.delete(lease)

    assert [image.lease for image in sets.images()] == [None]


def test_namespaces_and_sets_are_apart(home: Home) -> None:
    for namespace in ("default", "team"):
        for wanted in ("one", "two"):
            Sets(home.db, namespace).put(wanted, 1, "a", A, ours=True, lease=None)

    assert [image.set for image in Sets(home.db, "team").images()] == ["one", "two"]
    assert [image.namespace for image in Sets(home.db, "team").images("one")] == ["team"]
    assert len(Sets(home.db).every()) == 4


def test_generations_are_in_the_order_in_which_they_ended(home: Home) -> None:
    now = 1000.0
    sets = Sets(home.db, clock=lambda: now)
    for generation, complete in ((11, True), (12, False), (11, True)):
        sets.end("nightly", generation, complete=complete)
        now += 1

    assert sets.generations() == (
        SetGeneration("nightly", 11, 1002.0, complete=True),
        SetGeneration("nightly", 12, 1001.0, complete=False),
    )


def test_failures_are_those_of_the_last_run_of_each_set(home: Home) -> None:
    sets = Sets(home.db)
    sets.fail("one", [("a", "why"), ("b", "why")])
    sets.fail("two", [("c", "why")])
    sets.fail("one", [("b", "other")])

    assert [(each.set, each.image) for each in sets.failures()] == [("one", "b"), ("two", "c")]
    assert [each.error for each in sets.failures()] == ["other", "why"]
    sets.fail("two", [])
    assert [each.set for each in sets.failures()] == ["one"]


def test_the_rate_leans_on_the_last_runs_and_on_the_long_ones(home: Home) -> None:
    sets = Sets(home.db)
    assert sets.rate() is None

    sets.fetch(1000, 10)
    assert sets.rate() == 100
    sets.fetch(4000, 10)
    assert sets.rate() == pytest.approx((500 + 4000) / (5 + 10))
    sets.fetch(1, 0.001)
    rate = sets.rate()
    assert rate is not None
    assert rate == pytest.approx(300, rel=0.01)


def test_the_last_look_of_fsck_counts_and_is_dropped_with_the_last_name(home: Home) -> None:
    now = 5.0
    target = home.put(b"m")
    checks = Checks(home.db, clock=lambda: now)
    images = Images(home.db)
    images.put("a", target)
    checks.put([(target.digest, False)])
    now = 6.0
    checks.put([(target.digest, True)])
    assert checks.every() == {target.digest: Check(6.0, sound=True)}

    images.remove("a")
    checks.put([(A, True)])

    assert checks.every() == {}


def test_a_rebuilt_database_still_knows_the_sets(home: Home) -> None:
    sets, leases = Sets(home.db), Leases(home.db)
    lease = leases.create("set", 60).id
    sets.put("nightly", 1, "a", A, ours=True, lease=lease)
    sets.end("nightly", 1, complete=True)
    sets.fail("nightly", [("b", "why")])
    sets.fetch(10, 1)

    home.db.rebuild("test")

    assert [image.lease for image in sets.images()] == [lease]
    assert [each.generation for each in sets.generations()] == [1]
    assert [each.image for each in sets.failures()] == ["b"]
    assert sets.rate() == 10
