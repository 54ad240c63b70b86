"""Mounting what a snapshotter hands out."""

import os
from pathlib import Path

import pytest

from prestow.errors import NotFoundError, PreconditionError, StorageError
from prestow.snapshots.mounts.mount import bound, escape, mount_all, overlaid, unescape, unmount
from prestow.snapshots.mounts.mountinfo import mounted_at
from prestow.snapshots.snapshotter import Mount


def folders(place: Path, *names: str) -> list[Path]:
    made = [place / name for name in names]
    for folder in made:
        folder.mkdir(parents=True)
        (folder / folder.name).write_text(str(folder))
    return made


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_escapes_are_taken_away_again() -> None:
    path = Path("/a:b,c\\d\\:")

    assert unescape(escape(path)) == str(path)


def test_an_overlay_shows_its_folders_and_writes_to_the_upper_one(place: Path) -> None:
    lower, lowest, upper, target = folders(place, "lower", "lowest", "upper", "target")
    (place / "work").mkdir()

    mount_all([overlaid([lower, lowest], upper, place / "work")], target)

    assert names(target) == ["lower", "lowest", "upper"]
    (target / "new").write_text("")
    assert (upper / "new").exists()
    assert mounted_at(target)[0].lowers == (str(lower), str(lowest))
    assert mounted_at(target)[0].upper == str(upper)


def test_a_read_only_bind_mount_cannot_be_written(place: Path) -> None:
    source, target = folders(place, "source", "target")

    mount_all([bound(source, read_only=True)], target)

    assert names(target) == ["source"]
    with pytest.raises(OSError, match="Read-only"):
        (target / "new").touch()


def test_a_writable_bind_mount_can(place: Path) -> None:
    source, target = folders(place, "source", "target")

    mount_all([bound(source, read_only=False)], target)
    (target / "new").touch()

    assert (source / "new").exists()


def test_other_file_systems_are_mounted_as_they_are_asked_for(mounting: Path) -> None:
    (target,) = folders(mounting, "target")

    mount_all([Mount("tmpfs", "none", ("ro", "size=4096"))], target)

    assert list(target.iterdir()) == []
    assert os.statvfs(target).f_flag & os.ST_RDONLY


@pytest.mark.parametrize(("count", "deep"), [(90, "l"), (90, "long" * 20), (500, "l"), (500, "long" * 20)])
def test_as_many_folders_as_the_kernel_can_are_stacked(mounting: Path, count: int, deep: str) -> None:
    root = mounting / ("x" * 60)
    lowers = folders(root, *(f"{deep}{index:04}" for index in range(count)))
    (target,) = folders(root, "target")
    before = Path.cwd()

    mount_all([overlaid(lowers)], target)

    assert len(names(target)) == count
    assert Path.cwd() == before
    unmount(target)
    assert names(target) == ["target"]


def test_one_more_than_that_is_refused_in_the_kernels_words(mounting: Path) -> None:
    lowers = folders(mounting, *(f"{'long' * 20}{index:04}" for index in range(501)))
    (target,) = folders(mounting, "target")

    with pytest.raises(StorageError, match="too many lower directories, limit is 500"):
        mount_all([overlaid(lowers)], target)


def test_a_writable_overlay_of_very_many_folders_escapes_its_other_paths(mounting: Path) -> None:
    root = mounting / "a:b,c\\d"
    lowers = folders(root, *(f"{'long' * 20}{index:04}" for index in range(200)))
    upper, target = folders(root, "upper", "target")
    (root / "work").mkdir()

    mount_all([overlaid(lowers, upper, root / "work")], target)
    (target / "new").touch()

    assert (upper / "new").exists()


def test_what_cannot_be_mounted_leaves_nothing_mounted(place: Path) -> None:
    source, target = folders(place, "source", "target")

    with pytest.raises(NotFoundError, match="missing"):
        mount_all([bound(source, read_only=True), bound(place / "missing", read_only=True)], target)

    assert mounted_at(target) == ()


def test_a_target_that_is_missing_is_named(mounting: Path) -> None:
    with pytest.raises(NotFoundError, match="nowhere"):
        mount_all([bound(mounting, read_only=True)], mounting / "nowhere")


def test_unmounting_takes_the_whole_stack_and_then_nothing(place: Path) -> None:
    source, target = folders(place, "source", "target")
    mount_all([bound(source, read_only=True), bound(source, read_only=False)], target)
    assert len(mounted_at(target)) == 2

    unmount(target)
    unmount(target)

    assert mounted_at(target) == ()


def test_unmounting_what_is_in_use_tells_what_uses_it(mounting: Path) -> None:
    source, target = folders(mounting, "source", "target")
    (source / "inner").mkdir()
    mount_all([bound(source, read_only=False)], target)

    with (target / "source").open(), pytest.raises(PreconditionError, match="open"):
        unmount(target)
    mount_all([bound(source, read_only=True)], target / "inner")
    with pytest.raises(PreconditionError, match="target/inner"):
        unmount(target)


def test_a_link_in_the_place_of_the_target_is_not_followed_when_unmounting(mounting: Path) -> None:
    source, target = folders(mounting, "source", "target")
    mount_all([bound(source, read_only=True)], target)
    (mounting / "link").symlink_to(target)

    unmount(mounting / "link")

    assert len(mounted_at(target)) == 1
