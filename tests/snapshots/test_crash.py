"""Killed before any system call, or with any of them failing: what is committed is whole, and again succeeds."""

import errno
import os
import shutil
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from prestow.errors import NotFoundError, PreconditionError
from prestow.metadata.database import Database
from prestow.oci.image import Image
from prestow.snapshots.drivers.driver import Driver
from prestow.snapshots.drivers.erofs import ErofsSnapshotter
from prestow.snapshots.drivers.native import NativeSnapshotter
from prestow.snapshots.drivers.overlay import OverlaySnapshotter
from prestow.snapshots.mounts.mount import mount_all, unmount
from prestow.snapshots.snapshotter import Kind, Mount
from tests.cases import long_but
from tests.conformance.bench import Bench
from tests.conformance.crash import EVERY, failing_at_each_call, killed_at_each_call
from tests.tar_builder import Tar
from tests.trees import differences, listing

TARS = (Tar().file("d/a", b"a").file("b", b"b"), Tar().file("c", b"c").whiteout("b"))
DRIVERS = [ErofsSnapshotter, OverlaySnapshotter, NativeSnapshotter]


class Attempts:
    """A new, empty snapshots folder and database for each attempt, on a content store that has the image."""

    def __init__(self, folder: Path, kind: Callable[..., Driver]) -> None:
        self._kind = kind
        self._count = 0
        self._folder = folder
        with Bench(folder / "bench", kind) as self.bench:
            self.image: Image = self.bench.image(*TARS)
        self.expected = self.bench.expected(*TARS)
        self._template = self.bench.home / "metadata.db"
        self.move()

    def move(self) -> None:
        """Take the next one."""
        self._count += 1
        self.home.mkdir()
        shutil.copy(self._template, self.home / "metadata.db")

    @property
    def home(self) -> Path:
        """The one in use."""
        return self._folder / str(self._count)

    def run(self, work: Callable[[Driver, Image], object]) -> None:
        """Do something with the snapshotter, opened anew."""
        with closing(Database(self.home / "metadata.db")) as database:
            root, trash = self.home / "snapshots", self.home / "trash"
            work(self._kind(root, database, self.bench.content, trash=trash), self.image)

    def check(self) -> None:
        """Hold everything that says it is there against the model, and that nothing else is left."""
        self.run(self._check)

    def _check(self, driver: Driver, image: Image) -> None:
        driver.cleanup()
        rows = {info.key: info for info in driver.walk()}
        if image.chain_id in rows:
            assert driver.committed(image.chain_id)
            with suppress(NotFoundError):
                driver.remove("check")
            self._compare(driver.view("check", image.chain_id))
            driver.remove("check")
        for key in [key for key, info in rows.items() if info.kind is Kind.ACTIVE]:
            self._compare(driver.mounts(key))
        used = {str(info.id) for info in rows.values()} | {".lock", ".locks", ".looked", ".mounts", ".new"}
        names = {path.name for path in (self.home / "snapshots" / driver.driver).iterdir()}
        assert {name for name in names if name.isdecimal() or name[0] == "."} <= used
        assert list((self.home / "trash").iterdir()) == []

    def _compare(self, mounts: tuple[Mount, ...]) -> None:
        target = self.home / "target"
        target.mkdir(exist_ok=True)
        mount_all(mounts, target)
        try:
            assert differences(listing(target), self.expected) == []
        finally:
            unmount(target)


def commit(driver: Driver, image: Image) -> None:
    driver.commit_layers(image)


def prepare(driver: Driver, image: Image) -> None:
    with suppress(NotFoundError):
        driver.stat("key")
        return
    driver.prepare("key", image.chain_id)


def remove_all(driver: Driver, image: Image) -> None:
    for key in ("key", image.layers[1].chain_id, image.layers[0].chain_id):
        with suppress(NotFoundError):
            driver.remove(key)


def is_empty(driver: Driver, _: Image) -> None:
    assert list(driver.walk()) == []


@pytest.fixture(params=long_but(ErofsSnapshotter, DRIVERS), ids=lambda kind: kind.driver)
def attempts(request: pytest.FixtureRequest, memory: Path) -> Attempts:
    return Attempts(memory, request.param)


@pytest.mark.parametrize("every", EVERY)
def test_killed_while_committing(attempts: Attempts, every: int) -> None:
    for _ in killed_at_each_call(lambda: attempts.run(commit), every):
        attempts.check()
        attempts.run(commit)
        attempts.check()
        attempts.move()


@pytest.mark.parametrize("every", EVERY)
def test_killed_while_preparing(attempts: Attempts, every: int) -> None:
    attempts.run(commit)
    for _ in killed_at_each_call(lambda: attempts.run(prepare), every):
        attempts.check()
        attempts.run(prepare)
        attempts.check()
        attempts.run(lambda driver, _: driver.remove("key"))


@pytest.mark.parametrize("every", EVERY)
def test_killed_while_removing(attempts: Attempts, every: int) -> None:
    attempts.run(commit)
    attempts.run(prepare)
    for _ in killed_at_each_call(lambda: attempts.run(remove_all), every):
        attempts.check()
        attempts.run(remove_all)
        attempts.check()
        attempts.run(is_empty)
        attempts.run(commit)
        attempts.run(prepare)


@pytest.mark.parametrize("every", EVERY)
def test_any_call_may_fail(attempts: Attempts, every: int) -> None:
    def work(driver: Driver, image: Image) -> None:
        commit(driver, image)
        prepare(driver, image)

    failures = 0
    for error in failing_at_each_call(lambda: attempts.run(work), OSError(errno.EIO, os.strerror(errno.EIO)), every):
        assert not isinstance(error, PreconditionError)
        failures += error is not None
        attempts.check()
        attempts.move()
    assert failures * every > 20
