"""What crashes and careless people leave behind."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from prestow.errors import PreconditionError, StorageError
from prestow.snapshots.drivers.driver import Driver
from prestow.snapshots.drivers.erofs import ErofsSnapshotter
from prestow.snapshots.drivers.native import NativeSnapshotter
from prestow.snapshots.drivers.overlay import OverlaySnapshotter
from prestow.snapshots.mounts.mount import bound, mount_all, overlaid, unmount
from tests.conformance.bench import Bench
from tests.tar_builder import Tar

BASE = Tar().file("a", b"a")
ALL = pytest.mark.parametrize("kind", [ErofsSnapshotter, OverlaySnapshotter, NativeSnapshotter])
STACKED = pytest.mark.parametrize("kind", [ErofsSnapshotter, OverlaySnapshotter])


@pytest.fixture
def victim(mounting: Path) -> Path:
    folder = mounting / "victim"
    folder.mkdir()
    (folder / "precious").touch()
    return folder


@ALL
def test_a_bind_mount_left_in_a_snapshot_is_never_crossed(
    mounting: Path, victim: Path, kind: Callable[..., Driver]
) -> None:
    with Bench(mounting / "store", kind) as bench:
        bench.snapshotter.prepare("key", bench.committed(BASE).chain_id)
        inside = bench.folder / str(bench.snapshotter.stat("key").id) / "fs" / "inside"
        inside.mkdir()
        mount_all([bound(victim, read_only=False)], inside)

        with pytest.raises(PreconditionError, match="inside"):
            bench.snapshotter.remove("key")
        assert bench.snapshotter.stat("key").key == "key"
        unmount(inside)
        bench.snapshotter.remove("key")

        assert (victim / "precious").exists()


@ALL
def test_a_stray_folder_that_something_is_mounted_in_waits(
    mounting: Path, victim: Path, kind: Callable[..., Driver]
) -> None:
    with Bench(mounting / "store", kind) as bench:
        stray = bench.folder / "99"
        stray.mkdir()
        mount_all([bound(victim, read_only=False)], stray)

        bench.snapshotter.cleanup()
        assert (stray / "precious").exists()
        unmount(stray)
        bench.snapshotter.cleanup()

        assert bench.left_on_disk() == set()
        assert (victim / "precious").exists()


@STACKED
def test_a_stray_folder_that_an_overlay_writes_to_waits(mounting: Path, kind: Callable[..., Driver]) -> None:
    with Bench(mounting / "store", kind) as bench:
        lower, upper, work, target = (
            mounting / "l",
            bench.folder / "99" / "fs",
            bench.folder / "99" / "work",
            mounting / "t",
        )
        for folder in (lower, upper, work, target):
            folder.mkdir(parents=True)
        mount_all([overlaid([lower], upper, work)], target)

        bench.snapshotter.cleanup()
        (target / "written").touch()
        assert (upper / "written").exists()
        unmount(target)
        bench.snapshotter.cleanup()

        assert bench.left_on_disk() == set()


@STACKED
def test_a_work_folder_of_a_volatile_mount_is_made_anew(mounting: Path, kind: Callable[..., Driver]) -> None:
    with Bench(mounting / "store", kind) as bench:
        mounts = bench.snapshotter.prepare("key", bench.committed(BASE).chain_id)
        work = bench.folder / str(bench.snapshotter.stat("key").id) / "work"
        (work / "work" / "incompat" / "volatile").mkdir(parents=True)
        with pytest.raises(StorageError, match="refused"), bench.mounted(mounts):
            pass

        assert bench.files(bench.snapshotter.mounts("key")) == {"a": "a"}


@ALL
def test_a_snapshot_whose_folder_was_removed_says_so_and_can_be_removed(
    mounting: Path, kind: Callable[..., Driver]
) -> None:
    with Bench(mounting / "store", kind) as bench:
        bench.snapshotter.prepare("key", bench.committed(BASE).chain_id)
        (bench.folder / str(bench.snapshotter.stat("key").id)).rename(mounting / "elsewhere")

        with pytest.raises(StorageError, match="is missing; remove the snapshot"):
            bench.snapshotter.mounts("key")
        bench.snapshotter.remove("key")


@ALL
def test_numbers_of_folders_that_still_stand_are_not_given_again(mounting: Path, kind: Callable[..., Driver]) -> None:
    with Bench(mounting / "store", kind) as bench:
        parent = bench.committed(BASE).chain_id
        last = max(info.id for info in bench.snapshotter.walk())
        for number in (last + 1, last + 2, last + 50):
            (bench.folder / str(number)).mkdir()

        bench.snapshotter.prepare("key", parent)

        assert bench.snapshotter.stat("key").id == last + 3


@ALL
def test_nobody_else_can_look_into_snapshots(mounting: Path, kind: Callable[..., Driver]) -> None:
    before = os.umask(0o000)
    try:
        with Bench(mounting / "store", kind) as bench:
            bench.snapshotter.prepare("key", bench.committed(BASE).chain_id)
            folders = [bench.home / "snapshots", bench.folder, bench.home / "trash"]
            folders += [path for path in bench.folder.iterdir() if path.is_dir() and path.suffix != ".mnt"]

            assert {path.stat().st_mode & 0o7777 for path in folders} == {0o700}
    finally:
        os.umask(before)
