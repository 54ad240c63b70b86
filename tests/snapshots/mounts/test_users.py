"""Finding who uses a folder, by the kernel's table of mounts."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from prestow.snapshots.mounts.mount import bound, mount_all, overlaid
from prestow.snapshots.mounts.mountinfo import MountPoint
from prestow.snapshots.mounts.users import shown_read_only, users_of


@pytest.fixture
def folders(place: Path) -> dict[str, Path]:
    made = {name: place / name for name in ("a", "b", "c", "upper", "work", "target", "other")}
    for folder in made.values():
        folder.mkdir()
    return made


def paths(points: Sequence[MountPoint]) -> list[str]:
    return [point.path for point in points]


def test_nobody_uses_a_folder_that_is_not_mounted(folders: dict[str, Path]) -> None:
    assert users_of([*folders.values()]) == []
    assert shown_read_only([folders["a"]]) == []
    assert shown_read_only([folders["a"], folders["b"]]) == []


def test_an_overlay_uses_each_of_its_folders_and_those_around_them(folders: dict[str, Path], place: Path) -> None:
    mount_all([overlaid([folders["a"], folders["b"]], folders["upper"], folders["work"])], folders["target"])
    target = str(folders["target"])

    for used in ("a", "b", "upper"):
        assert paths(users_of([folders[used]])) == [target]
    assert target in paths(users_of([place]))
    assert users_of([folders["c"]]) == []
    assert shown_read_only([folders["a"], folders["b"]]) == []


def test_a_bind_mount_uses_its_source_and_what_is_around_it(folders: dict[str, Path]) -> None:
    (folders["a"] / "inner").mkdir()
    mount_all([bound(folders["a"] / "inner", read_only=True)], folders["target"])

    assert paths(users_of([folders["a"]])) == [str(folders["target"])]
    assert paths(shown_read_only([folders["a"] / "inner"])) == [str(folders["target"])]
    assert users_of([folders["b"]]) == []


def test_what_is_mounted_below_uses_a_folder_and_what_is_mounted_at_it_does_not(folders: dict[str, Path]) -> None:
    (folders["a"] / "inner").mkdir()
    mount_all([bound(folders["b"], read_only=True)], folders["a"] / "inner")
    mount_all([bound(folders["b"], read_only=True)], folders["c"])

    assert paths(users_of([folders["a"]])) == [str(folders["a"] / "inner")]
    assert users_of([folders["c"]]) == [] or paths(users_of([folders["c"]])) == [str(folders["a"] / "inner")]


def test_a_read_only_overlay_shows_exactly_its_folders(folders: dict[str, Path]) -> None:
    mount_all([overlaid([folders["a"], folders["b"]])], folders["target"])

    assert paths(shown_read_only([folders["a"], folders["b"]])) == [str(folders["target"])]
    assert shown_read_only([folders["b"], folders["a"]]) == []
    assert shown_read_only([folders["a"], folders["b"], folders["c"]]) == []


def test_relative_folders_of_a_large_overlay_are_known_again(mounting: Path) -> None:
    lowers = [mounting / "lower" / f"{'x' * 60}{index}" for index in range(60)]
    for folder in (*lowers, mounting / "target"):
        folder.mkdir(parents=True)
    mount_all([overlaid(lowers)], mounting / "target")

    assert paths(users_of([lowers[30]])) == [str(mounting / "target")]
    assert paths(shown_read_only(lowers)) == [str(mounting / "target")]
