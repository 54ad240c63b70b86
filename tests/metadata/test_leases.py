"""Leases, with clocks that can be set."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from prestow.content.boot import boot_id, uptime
from prestow.errors import NotFoundError, PreconditionError
from prestow.metadata.leases import Leases
from tests.metadata.factory import Home

YEARS = 10 * 365 * 24 * 3600.0


@dataclass
class Clocks:
    """The wall clock, that of the boot, and the boot."""

    wall: float = 1_800_000_000.0
    up: float = 1000.0
    boot: str = "this"

    def leases(self, home: Home) -> Leases:
        """Look at the leases of a store by these clocks."""
        return Leases(home.db, lambda: self.wall, since_boot=lambda: self.up, boot=self.boot)

    def pass_time(self, seconds: float) -> None:
        """Let both clocks go on."""
        self.wall += seconds
        self.up += seconds


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


def test_a_lease_holds_what_was_added_until_it_is_deleted(home: Home, clocks: Clocks) -> None:
    leases = clocks.leases(home)
    lease = leases.create("pull", 60)
    leases.add(lease.id, "content", ["sha256:a", "sha256:b"])
    leases.add(lease.id, "content", ["sha256:b"])
    leases.add(lease.id, "ingest", ["layer-x"])
    leases.add(lease.id, "snapshot", ["chain"])

    assert leases.held("content") == {"sha256:a", "sha256:b"}
    assert leases.held("ingest") == {"layer-x"}
    assert leases.held("snapshot") == {"chain"}
    assert leases.list() == (lease,)

    leases.delete(lease.id)
    leases.delete(lease.id)
    assert leases.held("content") == set()
    assert leases.list() == ()


def test_two_leases_hold_one_thing(home: Home, clocks: Clocks) -> None:
    leases = clocks.leases(home)
    one, two = leases.create("a", 60), leases.create("b", 60)
    for lease in (one, two):
        leases.add(lease.id, "content", ["x"])

    leases.delete(one.id)

    assert leases.held("content") == {"x"}


def test_a_lease_ends(home: Home, clocks: Clocks) -> None:
    leases = clocks.leases(home)
    lease = leases.create("pull", 60)
    leases.add(lease.id, "content", ["x"])

    clocks.pass_time(59)
    assert leases.held("content") == {"x"}
    clocks.pass_time(1)
    assert leases.held("content") == set()
    with pytest.raises(NotFoundError, match="has ended"):
        leases.add(lease.id, "content", ["y"])
    with pytest.raises(NotFoundError, match="has ended"):
        leases.renew(lease.id, 60)


def test_a_renewed_lease_lasts(home: Home, clocks: Clocks) -> None:
    leases = clocks.leases(home)
    lease = leases.create("pull", 60)
    leases.add(lease.id, "content", ["x"])

    clocks.pass_time(50)
    leases.renew(lease.id, 60)
    clocks.pass_time(50)

    assert leases.held("content") == {"x"}


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
    assert leases.held("content") == {"x"}
    leases.purge()
    assert leases.held("content") == {"x"}

    clocks.pass_time(1)
    assert leases.held("content") == set()


def test_after_a_reboot_the_wall_clock_decides(home: Home, clocks: Clocks) -> None:
    leases = clocks.leases(home)
    leases.add(leases.create("pull", 600).id, "content", ["x"])

    clocks.boot, clocks.up = "next", 5.0
    clocks.wall += 599
    assert clocks.leases(home).held("content") == {"x"}
    clocks.wall += 1
    assert clocks.leases(home).held("content") == set()


def test_purging_forgets_what_has_ended_only(home: Home, clocks: Clocks) -> None:
    leases = clocks.leases(home)
    leases.add(leases.create("short", 60).id, "content", ["x"])
    long = leases.create("long", 600)
    leases.add(long.id, "content", ["y"])
    clocks.pass_time(60)

    leases.purge()

    assert leases.list() == (long,)
    assert [row["key"] for row in home.db.read("SELECT key FROM lease_resources")] == ["y"]


def test_the_clocks_of_the_machine_will_do(home: Home) -> None:
    leases = Leases(home.db)
    leases.add(leases.create("pull", 60).id, "content", ["x"])

    assert leases.held("content") == {"x"}
    leases.create("past", -1)
    assert len(leases.list()) == 1


def test_a_boot_has_a_name_and_a_duration() -> None:
    assert boot_id() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert 0 < uptime() <= uptime()
