"""Removing trees without harm to anything else."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from prestow.errors import PreconditionError, StorageError
from prestow.snapshots.directory_walk import measure
from prestow.snapshots.drivers.native import NativeSnapshotter
from prestow.snapshots.mounts.mount import bound, mount_all
from prestow.snapshots.remove import bury, empty_trash, remove_tree
from tests.conformance.bench import Bench
from tests.processes import Child
from tests.snapshots.unprivileged import as_nobody, home_of_nobody

DEPTH = 3000


@pytest.fixture
def trash(tmp_path: Path) -> Path:
    folder = tmp_path / "trash"
    folder.mkdir()
    return folder


def make_deep(root: Path) -> None:
    """Make a tree whose paths are far longer than the kernel takes."""
    root.mkdir()
    fd = os.open(root, os.O_RDONLY)
    for _ in range(DEPTH):
        os.mkdir("a long name", dir_fd=fd)
        os.close(os.open("file", os.O_CREAT, dir_fd=fd))
        below = os.open("a long name", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)


def test_a_tree_thousands_deep_is_measured_and_removed(tmp_path: Path) -> None:
    make_deep(tmp_path / "deep")

    assert measure(tmp_path / "deep")[1] == 2 * DEPTH + 1
    remove_tree(tmp_path / "deep")

    assert not (tmp_path / "deep").exists()


def test_a_snapshot_with_a_tree_thousands_deep_is_removed(tmp_path: Path) -> None:
    with Bench(tmp_path / "store", NativeSnapshotter) as bench:
        (mount,) = bench.snapshotter.prepare("key", None)
        make_deep(Path(mount.source) / "deep")

        bench.snapshotter.remove("key")

        assert bench.left_on_disk() == set()


def test_a_snapshot_with_a_mount_inside_is_not_removed(mounting: Path) -> None:
    victim = mounting / "victim"
    victim.mkdir()
    (victim / "file").touch()
    with Bench(mounting / "store", NativeSnapshotter) as bench:
        (mount,) = bench.snapshotter.prepare("key", None)
        inside = Path(mount.source) / "inside"
        inside.mkdir()
        mount_all([bound(victim, read_only=False)], inside)

        with pytest.raises(PreconditionError, match="mounted"):
            bench.snapshotter.remove("key")

    assert (victim / "file").exists()


def test_every_type_and_name_goes_and_links_are_not_followed(tmp_path: Path) -> None:
    victim, tree = tmp_path / "victim", tmp_path / "tree"
    victim.mkdir()
    (victim / "file").touch()
    (tree / "folder" / "empty").mkdir(parents=True)
    (tree / "link").symlink_to(victim)
    (tree / "folder" / "up").symlink_to("..")
    os.mkfifo(tree / "pipe")
    Path(os.fsdecode(bytes(tree) + b"/\xff\n\x1b")).touch()
    (tree / "closed").mkdir(mode=0o000)

    remove_tree(tree)

    assert not tree.exists()
    assert (victim / "file").exists()


@pytest.mark.parametrize("make", [Path.touch, lambda path: path.symlink_to("nowhere"), os.mkfifo])
def test_what_is_no_folder_is_removed_itself(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "thing")

    remove_tree(tmp_path / "thing")

    assert list(tmp_path.iterdir()) == []


def test_removing_nothing_succeeds(tmp_path: Path, trash: Path) -> None:
    remove_tree(tmp_path / "nothing")
    remove_tree(tmp_path / "nothing" / "below it")

    assert bury(tmp_path / "nothing", trash) is None


def test_a_mount_inside_stops_the_removal_before_it_begins(mounting: Path, trash: Path) -> None:
    victim, tree = mounting / "victim", mounting / "tree"
    victim.mkdir()
    (victim / "file").touch()
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "file").touch()
    mount_all([bound(victim, read_only=False)], tree / "a" / "b")

    for remove in (remove_tree, lambda path: bury(path, trash)):
        with pytest.raises(PreconditionError, match="tree/a/b is mounted"):
            remove(tree)

    assert (victim / "file").exists()
    assert (tree / "file").exists()


def test_a_file_that_is_a_mount_point_is_not_followed_either(mounting: Path) -> None:
    victim, tree = mounting / "victim", mounting / "tree"
    tree.mkdir()
    victim.write_text("precious")
    (tree / "file").touch()
    mount_all([bound(victim, read_only=False)], tree / "file")

    with pytest.raises(PreconditionError, match="tree/file is mounted"):
        remove_tree(tree)

    assert victim.read_text() == "precious"


def test_what_cannot_be_removed_waits_in_the_trash(tmp_path: Path, trash: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "a").mkdir(parents=True)
    (tree / "a" / "kept").touch()
    (tree / "b").touch()
    subprocess.run(["chattr", "+i", tree / "a" / "kept"], check=True)
    try:
        with pytest.raises(StorageError, match=r"kept: Operation not permitted"):
            remove_tree(bury(tree, trash) or trash)
        assert not tree.exists()
        with pytest.raises(StorageError, match="1 of the things"):
            empty_trash(trash)
        assert [path.name for path in trash.rglob("*") if path.is_file()] == ["kept"]
    finally:
        (kept,) = trash.rglob("kept")
        subprocess.run(["chattr", "-i", kept], check=True)
    empty_trash(trash)

    assert list(trash.iterdir()) == []


def test_hard_links_are_measured_once(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a").write_bytes(bytes(100_000))
    (tmp_path / "tree" / "b").hardlink_to(tmp_path / "tree" / "a")

    size, inodes = measure(tmp_path / "tree")

    assert inodes == 2
    assert 100_000 <= size < 200_000


CHANGE = """
import shutil, sys
from pathlib import Path
for _ in range(300):
    for name in "abc":
        (Path(sys.argv[1]) / "tree" / name / "deep").mkdir(parents=True)
        (Path(sys.argv[1]) / "tree" / name / "deep" / "file").touch()
    shutil.rmtree(Path(sys.argv[1]) / "tree")
"""


def test_what_is_removed_while_it_is_measured_takes_nothing(tmp_path: Path) -> None:
    assert measure(tmp_path / "nothing") == (0, 0)

    with Child([sys.executable, "-c", CHANGE, tmp_path]) as process:
        while process.poll() is None:
            assert measure(tmp_path / "tree")[1] <= 1 + 3 * 3

    assert process.returncode == 0


def test_an_ordinary_user_removes_his_closed_folders_too() -> None:
    def make_and_remove(tree: Path) -> None:
        (tree / "a" / "b").mkdir(parents=True)
        (tree / "a" / "b" / "file").touch()
        (tree / "a" / "b").chmod(0o555)
        (tree / "a").chmod(0o000)
        remove_tree(tree)

    with home_of_nobody() as home:
        as_nobody(lambda: make_and_remove(home / "tree"))

        assert list(home.iterdir()) == []
