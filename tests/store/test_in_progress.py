"""Containers that were being made or ended: one process at a time, and what a dead one left is finished off."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from prestow.content.lock import FileLock
from prestow.digest import Digest
from prestow.errors import NotFoundError, PreconditionError, UnavailableError
from prestow.metadata.container_files import ContainerRecord
from prestow.metadata.containers import Containers
from prestow.runtime.bundle import CONFIG
from prestow.snapshots.drivers.native import NativeSnapshotter
from prestow.store.in_progress import COPY, exclusive, finish, notes
from tests.conformance.bench import Bench
from tests.crash.apart import forked
from tests.tar_builder import Tar

ID = "box"


class Place:
    """A store with an image, and a container that may come to be on it."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.bundles = bench.home / "bundles"
        self.bundles.mkdir(mode=0o700)
        self.containers = Containers(bench.database)
        self.image = bench.committed(Tar().file("a", b"a"))

    def make(self, directory: Path, *, complete: bool, driver: str = "native") -> None:
        """Make what there is of a container until its bundle is complete, or is to be."""
        if driver != COPY:
            self.bench.snapshotter.prepare(ID, self.image.chain_id)
        self.containers.put(
            ContainerRecord("default", ID, "docker.io/library/a:1", Digest.of(b""), driver, ID, str(directory), 0.0)
        )
        (directory / "rootfs").mkdir(parents=True)
        directory.chmod(0o700)
        if complete:
            (directory / CONFIG).touch()

    def finish(self) -> None:
        """Finish whatever is halfway."""
        for container_id in notes(self.bundles):
            finish(self.bundles, container_id, self.containers, [self.bench.snapshotter])

    def left(self, directory: Path) -> list[str]:
        """Return what there is of the container."""
        found = {
            "bundle": directory.exists(),
            "row": bool(self.containers.list()),
            "snapshot": any(info.key == ID for info in self.bench.snapshotter.walk()),
            "note": bool(notes(self.bundles)),
        }
        return [what for what, here in found.items() if here]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with Bench(tmp_path / "store", NativeSnapshotter) as bench:
        yield Place(bench)


def die_while(place: Place, directory: Path, *, complete: bool, driver: str = "native") -> None:
    """Let a process make a container, and end in the middle as one does that is killed."""

    def work() -> None:
        with exclusive(place.bundles, ID, directory):
            place.make(directory, complete=complete, driver=driver)
            os._exit(0)

    forked(work)


@pytest.mark.parametrize("driver", ["native", COPY])
@pytest.mark.parametrize("where", ["store/bundles/box", "elsewhere"])
def test_of_a_container_whose_maker_died_nothing_is_left(place: Place, tmp_path: Path, where: str, driver: str) -> None:
    die_while(place, tmp_path / where, complete=False, driver=driver)
    assert "note" in place.left(tmp_path / where)

    place.finish()

    assert place.left(tmp_path / where) == []


def test_a_container_that_was_complete_stays_though_its_maker_died(place: Place) -> None:
    die_while(place, place.bundles / ID, complete=True)

    place.finish()

    assert place.left(place.bundles / ID) == ["bundle", "row", "snapshot"]


def test_what_a_living_process_makes_is_left_alone(place: Place) -> None:
    with exclusive(place.bundles, ID, place.bundles / ID):
        place.make(place.bundles / ID, complete=False)

        forked(place.finish)

        assert place.left(place.bundles / ID) == ["bundle", "row", "snapshot", "note"]


def test_the_note_says_who_is_at_it_and_goes_with_the_work(place: Place) -> None:
    with exclusive(place.bundles, ID, place.bundles / ID):
        path = place.bundles / ".underway" / ID
        with pytest.raises(UnavailableError, match=f"container box is in use by process {os.getpid()}"):
            FileLock(path, timeout=0, what="container box")

    assert notes(place.bundles) == []


@pytest.mark.parametrize("complete", [False, True])
def test_work_that_failed_is_noted_unless_the_container_is_complete(place: Place, *, complete: bool) -> None:
    def fail() -> None:
        with exclusive(place.bundles, ID, place.bundles / ID):
            place.make(place.bundles / ID, complete=complete)
            raise NotFoundError("it failed")

    with pytest.raises(NotFoundError):
        fail()

    assert notes(place.bundles) == ([] if complete else [ID])


@pytest.mark.parametrize("owner", [None, "other"])
def test_a_bundle_without_a_row_goes_unless_it_is_another_containers(place: Place, owner: str | None) -> None:
    directory = place.bundles / ID

    def begin() -> None:
        with exclusive(place.bundles, ID, directory):
            (directory / "rootfs").mkdir(parents=True)
            directory.chmod(0o700)
            os._exit(0)

    if owner is not None:
        place.containers.put(ContainerRecord("default", owner, "a", Digest.of(b""), COPY, "", str(directory), 0.0))
    forked(begin)

    place.finish()

    assert directory.exists() is (owner is not None)


def test_what_somebody_uses_waits(place: Place) -> None:
    die_while(place, place.bundles / ID, complete=False)
    (place.bundles / ID / "rootfs" / "theirs").touch()

    with pytest.raises(PreconditionError):
        place.finish()

    assert {"bundle", "row", "note"} <= set(place.left(place.bundles / ID))
