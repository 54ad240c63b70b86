"""Who could put another folder in the store's place: nobody but its owner and root, or the store is refused."""

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from prestow.errors import InvalidError, StorageError
from prestow.store.folder import open_folder

SOMEBODY = 12345


def written_by_all(above: Path) -> Path:
    above.chmod(0o777)
    return above / "store"


def written_by_a_group(above: Path) -> Path:
    above.chmod(0o770)
    return above / "store"


def further_up(above: Path) -> Path:
    above.chmod(0o777)
    return above / "a" / "b" / "store"


def of_somebody(above: Path) -> Path:
    os.chown(above, SOMEBODY, SOMEBODY)
    return above / "store"


def behind_a_link(above: Path) -> Path:
    (above / "store").mkdir(0o700)
    (above.parent / "link").symlink_to(above / "store")
    above.chmod(0o777)
    return above.parent / "link"


def behind_a_link_of_somebody(above: Path) -> Path:
    above.chmod(0o1777)
    (above / "store").symlink_to(above.parent)
    os.lchown(above / "store", SOMEBODY, SOMEBODY)
    return above / "store"


@pytest.fixture
def above(tmp_path: Path) -> Path:
    folder = tmp_path / "above"
    folder.mkdir(0o755)
    return folder


@pytest.mark.parametrize(
    "spoil",
    [written_by_all, written_by_a_group, further_up, of_somebody, behind_a_link, behind_a_link_of_somebody],
)
def test_a_store_that_others_could_replace_is_refused(above: Path, spoil: Callable[[Path], Path]) -> None:
    home = spoil(above)

    # the kernel itself may refuse to follow a link of somebody's in a sticky folder (fs.protected_symlinks)
    with pytest.raises((InvalidError, StorageError), match=str(above)) as refused:
        open_folder(home)

    assert str(home) in str(refused.value)
    assert re.search("choose another (one with )?--home", str(refused.value))


def test_in_a_sticky_folder_nobody_else_can_replace_it(above: Path) -> None:
    above.chmod(0o1777)

    assert open_folder(above / "store") == open_folder(above / "store")


def test_links_of_ours_lead_to_the_store(above: Path) -> None:
    (above / "link").symlink_to("real", target_is_directory=True)
    (above / "real").mkdir(0o700)

    assert open_folder(above / "link" / "store") == open_folder(above / "real" / "store")


@pytest.mark.parametrize("mask", [0, 0o077, 0o777])
def test_what_is_made_is_for_nobody_else_whatever_the_umask(above: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        open_folder(above / "a" / "b" / "store")
    finally:
        os.umask(before)

    made = [above / "a", above / "a" / "b", above / "a" / "b" / "store"]
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in made] == [0o700 & ~mask] * 3


@pytest.mark.parametrize("mode", [0o755, 0o777])
def test_a_folder_with_other_things_in_it_is_refused_and_stays_as_it_is(above: Path, mode: int) -> None:
    (above / "passwd").touch()
    (above / "ssh").mkdir()
    above.chmod(mode)

    with pytest.raises(InvalidError, match=r"not empty: 'passwd' is in it"):
        open_folder(above)

    assert stat.S_IMODE(above.stat().st_mode) == mode
    assert sorted(path.name for path in above.iterdir()) == ["passwd", "ssh"]


def test_a_store_that_lost_its_name_gets_another_and_one_may_have_a_disk_to_itself(above: Path) -> None:
    (above / "lost+found").mkdir()
    first = open_folder(above)
    for name in ("content", "metadata.db", "metadata.db-wal"):
        (above / name).touch()
    (above / "store.json").unlink()

    assert open_folder(above) not in ("", first)
    assert stat.S_IMODE(above.stat().st_mode) == 0o700


def test_nobody_waits_for_a_pipe_in_the_place_of_the_record(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir(0o700)
    os.mkfifo(tmp_path / "store/store.json")

    with pytest.raises(StorageError, match="no regular file"):
        open_folder(tmp_path / "store")
