"""Leases, with clocks that can be set."""

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from prestow.content.process_identity import Process, boot_id, start_time, uptime
from prestow.digest import Digest
from prestow.errors import NotFoundError, PreconditionError
from prestow.metadata.leases import Announcement, Kind, Leases
from prestow.oci.descriptor import Descriptor
from prestow.platforms import Platform
from tests.metadata.factory import Home
from tests.processes import Child

YEARS = 10 * 365 * 24 * 3600.0


@dataclass
class Clocks:
    """The wall clock, that of the boot, and the boot."""

    wall: float = 1_800_000_000.0
    up: float = 1000.0
    boot: str = "this"

    def leases(self, home: Home) -> Leases:
        """Look at the leases of a store by these clocks."""
        process = Process(self.boot, 1, 1)  # of a boot that is not this machine's, so dead
        return Leases(home.db, lambda: self.wall, since_boot=lambda: self.up, process=process)

    def pass_time(self, seconds: float) -> None:
        """Let both clocks go on."""
        self.wall += seconds
        self.up += seconds


def held(leases: Leases, kind: Kind) -> set[str]:
    return {key for lease in leases.list() for key in leases.resources(lease.id)[kind]}


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


def test_a_pinned_lease_ends_when_it_is_deleted_and_never_before(home: Home, clocks: Clocks) -> None:
    leases = clocks.leases(home)
    lease = leases.create("image set nightly", 60)
    leases.add(lease.id, "content", ["sha256:a"])
    leases.pin(lease.id)
    leases.create("pull", 60)

    clocks.pass_time(YEARS)
    clocks.boot = "another"
    later = clocks.leases(home)
    later.purge()
    later.delete_unfinished("image set nightly")

    assert held(later, "content") == {"sha256:a"}
    assert lease.id not in later.abandoned()
    assert later.remaining(lease) == math.inf
    later.delete(lease.id)
    assert later.list() == ()


def test_a_lease_holds_what_was_added_until_it_is_deleted(home: Home, clocks: Clocks) -> None:
    leases = clocks.leases(home)
    lease = leases.create("pull", 60)
    leases.add(lease.id, "content", ["sha256:a", "sha256:b"])
    leases.add(lease.id, "content", ["sha256:b"])
    leases.add(lease.id, "ingest", ["layer-x"])
    leases.add(lease.id, "snapshot", ["chain"])

    assert held(leases, "content") == {"sha256:a", "sha256:b"}
    assert held(leases, "ingest") == {"layer-x"}
    assert held(leases, "snapshot") == {"chain"}
    assert leases.list() == (replace(lease, pid=None),)

    leases.delete(lease.id)
    leases.delete(lease.id)
    assert held(leases, "content") == set()
    assert leases.list() == ()


def test_two_leases_hold_one_thing(home: Home, clocks: Clocks) -> None:
    leases = clocks.leases(home)
    one, two = leases.create("a", 60), leases.create("b", 60)
    for lease in (one, two):
        leases.add(lease.id, "content", ["x"])

    leases.delete(one.id)

    assert held(leases, "content") == {"x"}


def test_a_lease_ends(home: Home, clocks: Clocks) -> None:
    leases = clocks.leases(home)
    lease = leases.create("pull", 60)
    leases.add(lease.id, "content", ["x"])

    clocks.pass_time(59)
    assert held(leases, "content") == {"x"}
    clocks.pass_time(1)
    assert held(leases, "content") == set()
    with pytest.raises(NotFoundError, match="has ended"):
        leases.add(lease.id, "content", ["y"])


def test_work_that_is_left_is_safe_from_then_on(home: Home, clocks: Clocks) -> None:
    leases = clocks.leases(home)
    lease = leases.create("pull", 60)
    leases.add(lease.id, "content", ["x"])

    clocks.pass_time(50)
    leases.leave(lease.id, 60)
    clocks.pass_time(59)
    assert held(leases, "content") == {"x"}
    assert leases.remaining(lease) == 1

    clocks.pass_time(1)
    assert held(leases, "content") == set()


def test_a_lease_lasts_as_long_as_its_process_and_no_longer_if_that_left_it(home: Home, clocks: Clocks) -> None:
    living = Leases(home.db, lambda: clocks.wall, since_boot=lambda: clocks.up)
    lease = living.create("pull", 60)
    living.add(lease.id, "content", ["x"])

    clocks.pass_time(YEARS)
    living.add(lease.id, "content", ["y"])
    living.purge()
    assert held(living, "content") == {"x", "y"}
    assert [found.pid for found in living.list()] == [os.getpid()]

    living.leave(lease.id, 60)
    assert [found.pid for found in living.list()] == [None]
    clocks.pass_time(60)
    assert living.list() == ()


def test_a_process_that_died_leaves_its_lease_to_expire(home: Home, clocks: Clocks) -> None:
    with Child(["sleep", "60"]) as process:
        owner = Process(boot_id(), process.pid, start_time(process.pid) or 0)
        leases = Leases(home.db, lambda: clocks.wall, since_boot=lambda: clocks.up, process=owner)
        leases.add(leases.create("pull", 60).id, "content", ["x"])
        clocks.pass_time(61)
        assert held(leases, "content") == {"x"}

        process.kill()
        process.wait()

        assert held(leases, "content") == set()


def test_finished_work_ends_what_earlier_tries_left_and_not_what_others_do(home: Home, clocks: Clocks) -> None:
    dead, living = clocks.leases(home), Leases(home.db)
    elsewhere = Leases(home.db, namespace="other", process=Process("this", 1, 1))
    dead.create("pull a", 60)
    living.leave(living.create("pull a", 60).id, 60)
    stay = {living.create("pull a", 60), dead.create("pull b", 60), elsewhere.create("pull a", 60)}

    living.delete_unfinished("pull a")

    assert {lease.id for lease in living.list()} == {lease.id for lease in stay}


def test_what_earlier_tries_left_stays_if_it_holds_more_than_a_certain_lease(home: Home, clocks: Clocks) -> None:
    dead, living = clocks.leases(home), Leases(home.db)
    mine = living.create("bundle a", 60).id
    living.add(mine, "content", ["x", "y"])
    lesser, more, other = (dead.create("pull a", 60).id for _ in range(3))
    dead.add(lesser, "content", ["x"])
    dead.add(more, "content", ["x", "z"])
    dead.add(other, "ingest", ["x"])

    living.delete_unfinished("pull a", within=mine)

    assert {lease.id for lease in living.list()} == {mine, more, other}


def test_work_that_came_through_ends_what_killed_tries_of_it_left(home: Home, clocks: Clocks) -> None:
    clocks.leases(home).create("bundle a", 60)
    leases = Leases(home.db)

    with pytest.raises(NotFoundError), leases.during("bundle a", 60):
        raise NotFoundError("it failed")
    assert [lease.owner for lease in leases.list()] == ["bundle a"]
    with leases.during("bundle a", 60):
        pass

    assert leases.list() == ()


def test_a_process_of_another_pid_namespace_keeps_its_lease_until_it_expires(home: Home, clocks: Clocks) -> None:
    foreign = Process(boot_id(), 1, 1, namespace=1)
    leases = Leases(home.db, lambda: clocks.wall, since_boot=lambda: clocks.up, process=foreign)
    leases.add(leases.create("pull a", 60).id, "content", ["x"])

    leases.delete_unfinished("pull a")
    assert held(leases, "content") == {"x"}

    clocks.pass_time(60)
    assert held(leases, "content") == set()


def test_an_unknown_lease_cannot_be_added_to(home: Home, clocks: Clocks) -> None:
    with pytest.raises(NotFoundError):
        clocks.leases(home).add("none", "content", ["x"])


def test_an_unknown_kind_is_refused(home: Home, clocks: Clocks) -> None:
    leases = clocks.leases(home)
    with pytest.raises(PreconditionError):
        leases.add(leases.create("a", 60).id, "volume", ["x"])  # type: ignore[arg-type]  # the wrong type is the test


@pytest.mark.parametrize("jump", [-YEARS, YEARS])
def test_setting_the_wall_clock_neither_ends_nor_prolongs_a_lease(home: Home, clocks: Clocks, jump: float) -> None:
    leases = clocks.leases(home)
    leases.add(leases.create("pull", 60).id, "content", ["x"])

    clocks.wall += jump
    clocks.pass_time(59)
    assert held(leases, "content") == {"x"}
    leases.purge()
    assert held(leases, "content") == {"x"}

    clocks.pass_time(1)
    assert held(leases, "content") == set()


def test_after_a_reboot_the_wall_clock_decides(home: Home, clocks: Clocks) -> None:
    leases = clocks.leases(home)
    leases.add(leases.create("pull", 600).id, "content", ["x"])

    clocks.boot, clocks.up = "next", 5.0
    clocks.wall += 599
    assert held(clocks.leases(home), "content") == {"x"}
    clocks.wall += 1
    assert held(clocks.leases(home), "content") == set()


def test_purging_forgets_what_has_ended_only(home: Home, clocks: Clocks) -> None:
    leases = clocks.leases(home)
    leases.add(leases.create("short", 60).id, "content", ["x"])
    long = leases.create("long", 600)
    leases.add(long.id, "content", ["y"])
    clocks.pass_time(60)

    leases.purge()

    assert leases.list() == (replace(long, pid=None),)
    assert [row["key"] for row in home.db.read("SELECT key FROM lease_resources")] == ["y"]


def test_the_clocks_of_the_machine_will_do(home: Home) -> None:
    leases = Leases(home.db)
    leases.add(leases.create("pull", 60).id, "content", ["x"])

    assert held(leases, "content") == {"x"}
    leases.leave(leases.create("past", 60).id, -1)
    assert len(leases.list()) == 1


def test_a_boot_has_a_name_and_a_duration() -> None:
    assert boot_id() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert 0 < uptime() <= uptime()


def test_an_announcement_is_seen_by_others_until_the_work_ends_or_is_left(home: Home) -> None:
    leases = Leases(home.db)
    mine, other, left = (leases.create(f"pull {n}", 60).id for n in range(3))
    announced = Announcement(Descriptor("application/x", Digest.of(b"m"), 1, Platform("linux", "amd64")), "erofs", 3)
    for lease in (mine, other, left):
        leases.announce(lease, announced)
        leases.announce(lease, announced)
    leases.leave(left, 60)

    assert leases.announced(besides=mine) == (announced,)

    leases.delete(other)
    assert leases.announced(besides=mine) == ()
    assert leases.announced(besides=other) == (announced,)
    assert home.db.read("SELECT lease FROM announcements WHERE lease = ?", (other,)) == []
