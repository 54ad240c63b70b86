"""Garbage collection: what goes, what stays, in which order, and what it says about it."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from prestow.content.ingest import Ingest
from prestow.digest import Digest
from prestow.errors import ExhaustedError, NotFoundError, PreconditionError, UnavailableError
from prestow.gc.collect import Rules, Swept, sweep
from prestow.gc.survey import GRACE
from prestow.metadata.container_files import ContainerRecord
from prestow.metadata.containers import Containers
from prestow.metadata.layout_index import Named, read_index, write_index
from prestow.metadata.leases import Leases
from prestow.metadata.tag import tag, untag
from prestow.snapshots.snapshotter import Usage
from tests.metadata.factory import Home, Made, absent, make_image, make_index

NOTHING = Swept()


@dataclass
class Driver:
    """A snapshotter that has rows and nothing else."""

    home: Home
    driver: str = "erofs"
    removed: list[str] = field(default_factory=list)
    refused: dict[str, type[Exception]] = field(default_factory=dict)
    meanwhile: Callable[[], None] = lambda: None
    full: int = 0

    def usage(self, key: str) -> Usage:
        """Measure a row: a byte for each character of its key."""
        return Usage(len(key), 1)

    def refuse_mounted(self, key: str) -> None:
        """Refuse what is to be refused."""
        if key in self.refused:
            raise self.refused[key](f"{key} is mounted")

    def remove(self, key: str) -> None:
        """Remove a row, as any driver must in the end."""
        self.refuse_mounted(key)
        self.meanwhile()
        if self.full:
            self.full -= 1
            raise ExhaustedError("disk is full")
        with self.home.db.transaction() as cursor:
            cursor.execute("DELETE FROM snapshots WHERE driver = ? AND key = ?", (self.driver, key))
        self.removed.append(key)

    def add(self, key: str, parent: str | None = None, *, kind: str = "committed", diff_id: str | None = None) -> None:
        """Add a row, a week and a day old."""
        with self.home.db.transaction() as cursor:
            [number] = cursor.execute("SELECT coalesce(max(id), 0) + 1 FROM snapshots").fetchone()
            old = time.time() - GRACE - 86400
            cursor.execute(
                "INSERT INTO snapshots VALUES (?, ?, ?, ?, ?, ?, ?)",
                (self.driver, key, kind, parent, number, diff_id, old),
            )

    def unpack(self, image: Made) -> None:
        """Add the rows of an image's chains."""
        parent = None
        for chain, diff_id in zip(image.chains, image.diff_ids, strict=True):
            if chain not in self.keys():
                self.add(chain, parent, diff_id=diff_id)
            parent = chain

    def keys(self) -> set[str]:
        """Return the rows that there are."""
        return {row["key"] for row in self.home.db.read("SELECT key FROM snapshots WHERE driver = ?", (self.driver,))}


@pytest.fixture
def driver(home: Home) -> Driver:
    return Driver(home)


def named(home: Home, name: str, *layers: bytes) -> Made:
    image = make_image(home, *layers, note=name)
    tag(home.db, home.content, name, image.target)
    return image


def aged(home: Home, ref: str, data: bytes = b"partial") -> Path:
    """Leave an ingest that nobody has touched for more than a week."""
    with home.content.writer(ref) as writer:
        writer.write(data)
    folder = Ingest.of(home.content.ingests, ref).folder
    old = time.time() - GRACE - 60
    for path in (*folder.iterdir(), folder):
        os.utime(path, (old, old))
    return folder


def test_an_empty_store_has_no_garbage(home: Home, driver: Driver) -> None:
    assert sweep(home.db, home.content, [driver]) == NOTHING


def test_what_is_named_stays(home: Home, driver: Driver) -> None:
    image = named(home, "localhost/a:1", b"1", b"2")
    driver.unpack(image)

    assert sweep(home.db, home.content, [driver]) == NOTHING

    assert home.digests() == image.blobs
    assert driver.keys() == set(image.chains)


def test_what_nobody_names_any_more_goes(home: Home, driver: Driver) -> None:
    image = named(home, "localhost/a:1", b"1", b"2")
    driver.unpack(image)
    expected = {(info.digest, info.size) for info in home.content.walk()}
    untag(home.db, home.content, "localhost/a:1")

    swept = sweep(home.db, home.content, [driver])

    assert {(each.name, each.bytes) for each in swept.removed if each.kind == "blob"} == expected
    assert swept.of("snapshot") == tuple(f"erofs/{chain}" for chain in reversed(image.chains))
    assert swept.bytes == sum(size for _, size in expected) + sum(map(len, image.chains))
    assert (home.digests(), driver.keys(), swept.left) == (set(), set(), ())
    assert list(home.content.trash.iterdir()) == []
    assert sweep(home.db, home.content, [driver]) == NOTHING


def test_a_dry_run_tells_the_same_and_removes_nothing(home: Home, driver: Driver) -> None:
    image = named(home, "localhost/a:1", b"1", b"2")
    driver.unpack(image)
    untag(home.db, home.content, "localhost/a:1")
    aged(home, "old")

    told = sweep(home.db, home.content, [driver], Rules(dry_run=True))

    assert home.digests() == image.blobs
    assert driver.keys() == set(image.chains)
    done = sweep(home.db, home.content, [driver])
    assert set(told.removed) == set(done.removed)
    assert len(told.removed) == len(done.removed) == 2 + len(image.blobs) + 1


def test_a_shared_layer_stays_as_long_as_one_image_has_it(home: Home, driver: Driver) -> None:
    gone, stays = named(home, "localhost/a:1", b"base", b"1"), named(home, "localhost/b:1", b"base", b"2")
    driver.unpack(gone)
    driver.unpack(stays)
    untag(home.db, home.content, "localhost/a:1")

    swept = sweep(home.db, home.content, [driver])

    assert home.digests() == stays.blobs
    assert set(swept.of("blob")) == gone.blobs - stays.blobs
    assert driver.keys() == set(stays.chains)
    assert swept.of("snapshot") == (f"erofs/{gone.chains[1]}",)


def test_an_index_with_one_platform_here_stays(home: Home, driver: Driver) -> None:
    image = make_image(home, b"1")
    index = make_index(home, absent(b"another platform"), image.target)
    tag(home.db, home.content, "localhost/a:1", index)

    assert sweep(home.db, home.content, [driver]) == NOTHING


def test_a_damaged_manifest_loses_nothing(home: Home, driver: Driver) -> None:
    damaged, gone = named(home, "localhost/a:1", b"1"), named(home, "localhost/b:1", b"2")
    driver.unpack(gone)
    untag(home.db, home.content, "localhost/b:1")
    home.content.path(damaged.target.digest).chmod(0o600)
    home.content.path(damaged.target.digest).write_bytes(b"x" * damaged.target.size)

    with pytest.raises(PreconditionError, match=r"localhost/a:1: .*damaged"):
        sweep(home.db, home.content, [driver])

    assert home.digests() == damaged.blobs | gone.blobs
    assert driver.keys() == set(gone.chains)


def test_a_container_keeps_its_image_and_its_snapshot(home: Home, driver: Driver) -> None:
    image = named(home, "localhost/a:1", b"1")
    driver.unpack(image)
    driver.add("box", image.chains[0], kind="active")
    Containers(home.db).put(
        ContainerRecord("default", "box", "localhost/a:1", image.target.digest, "erofs", "box", "/bundles/box", 1.0)
    )
    untag(home.db, home.content, "localhost/a:1")

    assert sweep(home.db, home.content, [driver]) == NOTHING

    Containers(home.db).remove("box")
    swept = sweep(home.db, home.content, [driver])
    assert swept.of("snapshot") == ("erofs/box", f"erofs/{image.chains[0]}")
    assert home.digests() == set()


def test_a_young_snapshot_without_a_container_keeps_what_is_below_it(home: Home, driver: Driver) -> None:
    image = named(home, "localhost/a:1", b"1", b"2")
    driver.unpack(image)
    driver.add("unfinished", image.chains[0], kind="active")
    untag(home.db, home.content, "localhost/a:1")

    swept = sweep(home.db, home.content, [driver], Rules(clock=lambda: time.time() - 2 * 86400))

    assert swept.of("snapshot") == (f"erofs/{image.chains[1]}",)
    assert driver.keys() == {"unfinished", image.chains[0]}
    assert home.digests() == {image.diff_ids[0]}


def test_a_snapshot_that_a_person_named_stays_with_what_is_below_it(home: Home, driver: Driver) -> None:
    image = named(home, "localhost/a:1", b"1")
    driver.unpack(image)
    driver.add("my work", image.chains[0])
    untag(home.db, home.content, "localhost/a:1")

    assert sweep(home.db, home.content, [driver]).of("snapshot") == ()
    assert home.digests() == set(image.diff_ids)


def test_snapshots_of_a_driver_that_is_not_at_hand_stay_with_their_layers(home: Home, driver: Driver) -> None:
    image = named(home, "localhost/a:1", b"1")
    driver.unpack(image)
    other = Driver(home, "native")
    other.unpack(make_image(home, b"2"))
    untag(home.db, home.content, "localhost/a:1")

    swept = sweep(home.db, home.content, [other])

    assert {name.partition("/")[0] for name in swept.of("snapshot")} == {"native"}
    assert driver.keys() == set(image.chains)
    assert home.digests() == set(image.diff_ids)


@pytest.mark.parametrize("error", [PreconditionError, UnavailableError])
def test_a_snapshot_that_cannot_be_removed_is_told_and_keeps_its_layers(
    home: Home, driver: Driver, error: type[Exception]
) -> None:
    image = named(home, "localhost/a:1", b"1", b"2")
    driver.unpack(image)
    untag(home.db, home.content, "localhost/a:1")
    driver.refused[image.chains[1]] = error

    swept = sweep(home.db, home.content, [driver])

    assert driver.keys() == set(image.chains)
    assert home.digests() == set(image.diff_ids)
    assert [entry.split(":")[0] for entry in swept.left] == ["snapshot erofs/sha256"]
    assert "is mounted" in swept.left[0]
    assert set(swept.of("blob")) == image.blobs - set(image.diff_ids)

    driver.refused.clear()
    assert sweep(home.db, home.content, [driver]).left == ()
    assert home.digests() == set()


def test_a_snapshot_that_is_gone_already_needs_no_word(home: Home, driver: Driver) -> None:
    image = named(home, "localhost/a:1", b"1")
    driver.unpack(image)
    untag(home.db, home.content, "localhost/a:1")
    driver.refused[image.chains[0]] = NotFoundError

    assert sweep(home.db, home.content, [driver]).left == ()


def test_a_lease_keeps_blobs_ingests_and_snapshots(home: Home, driver: Driver) -> None:
    image = make_image(home, b"1")
    driver.unpack(image)
    aged(home, "layer-x")
    leases = Leases(home.db)
    lease = leases.create("pull", 3600)
    leases.add(lease.id, "content", [image.target.digest])
    leases.add(lease.id, "ingest", ["layer-x"])
    leases.add(lease.id, "snapshot", image.chains)

    assert sweep(home.db, home.content, [driver]) == NOTHING

    leases.delete(lease.id)
    swept = sweep(home.db, home.content, [driver])
    assert set(swept.of("blob")) == image.blobs
    assert swept.of("ingest") == ("layer-x",)
    assert swept.of("snapshot") == (f"erofs/{image.chains[0]}",)


def test_what_was_left_to_be_gone_on_with_is_given_up_on_request_and_what_is_worked_on_is_not(
    home: Home, driver: Driver
) -> None:
    left, busy = make_image(home, b"1"), make_image(home, b"2")
    driver.unpack(left)
    leases = Leases(home.db)
    for image, ref, wait in ((left, "layer-left", True), (busy, "layer-busy", False)):
        lease = leases.create(f"pull {ref}", 3600)
        leases.add(lease.id, "content", [image.target.digest])
        leases.add(lease.id, "ingest", [ref, "layer-both"])
        leases.add(lease.id, "snapshot", [*image.chains, f"box {ref}"])
        driver.add(f"box {ref}", kind="active")
        if wait:
            leases.leave(lease.id, 3600)
    for ref in ("layer-left", "layer-busy", "layer-both", "layer-of-nobody"):
        with home.content.writer(ref) as writer:
            writer.write(b"partial")
    young = Rules(clock=lambda: time.time() - 2 * 86400)
    assert sweep(home.db, home.content, [driver], young) == NOTHING

    told = sweep(home.db, home.content, [driver], replace(young, unfinished=True, dry_run=True))
    assert home.digests() == left.blobs | busy.blobs
    done = sweep(home.db, home.content, [driver], replace(young, unfinished=True))

    assert set(told.removed) == set(done.removed)
    assert set(done.of("blob")) == left.blobs
    assert set(done.of("snapshot")) == {f"erofs/{left.chains[0]}", "erofs/box layer-left"}
    assert [(each.name, each.why) for each in done.removed if each.kind == "ingest"] == [
        ("layer-left", "it was given up")
    ]
    assert [lease.owner for lease in leases.list()] == ["pull layer-busy"]


def test_an_ended_lease_keeps_nothing_and_is_forgotten(home: Home, driver: Driver) -> None:
    image = make_image(home, b"1")
    driver.unpack(image)
    leases = Leases(home.db)
    lease = leases.create("pull", 60)
    leases.leave(lease.id, -1)
    with home.db.transaction() as cursor:
        cursor.execute("INSERT INTO lease_resources VALUES (?, 'snapshot', ?)", (lease.id, image.chains[0]))

    sweep(home.db, home.content, [driver])

    assert (home.digests(), driver.keys()) == (set(), set())
    assert home.db.read("SELECT * FROM leases") == []


def test_ingests_go_when_they_are_old_and_nobody_writes_them(home: Home) -> None:
    folder = aged(home, "old", b"12345")
    with home.content.writer("young") as writer:
        writer.write(b"x")
    aged(home, "busy")
    with home.content.writer("busy"):
        swept = sweep(home.db, home.content)

    assert (swept.of("ingest"), swept.bytes) == (("old",), 5)
    assert not folder.exists()
    assert {status.ref for status in home.content.statuses()} == {"young", "busy"}


def test_what_a_crash_left_in_the_trash_goes(home: Home) -> None:
    left = home.put(b"deleted")
    home.content.discard(left.digest)

    assert sweep(home.db, home.content) == NOTHING

    assert list(home.content.trash.iterdir()) == []


def test_the_index_is_brought_up_to_date(home: Home) -> None:
    image = named(home, "localhost/a:1", b"1")
    write_index(home.content.root, [Named("localhost/stale:1", image.target)])

    sweep(home.db, home.content)

    assert [named.name for named in read_index(home.content.root)] == ["localhost/a:1"]


def test_a_folder_in_the_place_of_a_blob_does_not_stop_the_collection(home: Home) -> None:
    digest = Digest.of(b"x")
    home.content.path(digest).mkdir()
    other = home.put(b"other")

    assert sweep(home.db, home.content).of("blob") == (other.digest,)


def test_what_was_left_for_want_of_space_is_tried_again_when_there_is_some(home: Home, driver: Driver) -> None:
    driver.unpack(named(home, "localhost/a:1", b"1"))
    untag(home.db, home.content, "localhost/a:1")
    driver.full = 1

    swept = sweep(home.db, home.content, [driver])

    assert (swept.left, home.digests(), driver.keys()) == ((), set(), set())
    assert len(swept.of("snapshot")) == 1
    assert len(swept.of("blob")) == len(set(swept.of("blob")))


def test_a_snapshot_that_somebody_begins_to_use_meanwhile_needs_no_word(home: Home, driver: Driver) -> None:
    image = named(home, "localhost/a:1", b"1")
    driver.unpack(image)
    untag(home.db, home.content, "localhost/a:1")
    leases = Leases(home.db)
    driver.meanwhile = lambda: leases.add(leases.create("pull", 60).id, "snapshot", image.chains)

    swept = sweep(home.db, home.content, [driver])

    assert (swept.left, swept.of("snapshot"), driver.keys()) == ((), (), set(image.chains))
    assert set(image.diff_ids) <= home.digests()
