"""A bundle is ours alone, complete or not there, and the same spec again is success."""

import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestow.errors import (
    AlreadyExistsError,
    InvalidError,
    NotFoundError,
    PreconditionError,
    PrestowError,
    StorageError,
)
from prestow.runtime.bundle import check_container_id, prepare_bundle, read_spec, remove_bundle, running, write_bundle
from prestow.runtime.spec import Spec


def make(name: str = "sh") -> Spec:
    process = {"args": [name]}
    return Spec.of(
        {"ociVersion": "1.0.2", "process": process, "root": {}, "mounts": [], "annotations": {}, "linux": {}}
    )


def test_a_bundle_is_written_for_us_alone(tmp_path: Path) -> None:
    bundle = write_bundle(make(), tmp_path / "b")

    assert bundle.config.read_bytes() == make().to_json()
    assert stat.S_IMODE(bundle.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(bundle.config.stat().st_mode) == 0o600
    assert sorted(path.name for path in bundle.directory.iterdir()) == ["config.json", "rootfs"]
    assert read_spec(bundle.directory) == make()


def test_the_same_again_is_success_and_changes_nothing(tmp_path: Path) -> None:
    first = write_bundle(make(), tmp_path / "b")
    (first.rootfs / "file").touch()
    inode = first.config.stat()

    assert write_bundle(make(), tmp_path / "b") == first
    assert first.config.stat().st_ino == inode.st_ino
    assert first.config.stat().st_mtime_ns == inode.st_mtime_ns


def test_another_spec_is_refused(tmp_path: Path) -> None:
    write_bundle(make(), tmp_path / "b")

    with pytest.raises(AlreadyExistsError, match="another one"):
        write_bundle(make("other"), tmp_path / "b")
    assert read_spec(tmp_path / "b") == make()


def test_a_root_that_is_not_empty_is_refused_unless_the_caller_filled_it(tmp_path: Path) -> None:
    (prepare_bundle(tmp_path / "b") / "file").touch()

    with pytest.raises(AlreadyExistsError, match="not empty"):
        write_bundle(make(), tmp_path / "b")
    assert not (tmp_path / "b/config.json").exists()
    write_bundle(make(), tmp_path / "b", rootfs="filled")


def test_what_a_killed_writer_left_is_no_hindrance(tmp_path: Path) -> None:
    prepare_bundle(tmp_path / "b")
    (tmp_path / "b/.config.json.new").write_text("{half")

    assert write_bundle(make(), tmp_path / "b").config.read_bytes() == make().to_json()
    assert not (tmp_path / "b/.config.json.new").exists()


def test_a_link_to_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "b").symlink_to("victim")

    with pytest.raises(InvalidError, match="not a directory"):
        write_bundle(make(), tmp_path / "b")
    assert list((tmp_path / "victim").iterdir()) == []


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "b").touch()

    with pytest.raises(InvalidError, match="not a directory"):
        prepare_bundle(tmp_path / "b")


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o722])
def test_a_folder_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b").chmod(mode)

    with pytest.raises(InvalidError, match="another user"):
        write_bundle(make(), tmp_path / "b")


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir(mode=0o700)
    os.chown(tmp_path / "b", 1234, 1234)

    with pytest.raises(InvalidError, match="another user"):
        write_bundle(make(), tmp_path / "b")


def test_an_empty_folder_is_taken_and_closed(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir(mode=0o755)

    write_bundle(make(), tmp_path / "b")

    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o700


def test_a_folder_with_other_things_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir(mode=0o755)
    (tmp_path / "b/thesis.txt").touch()

    with pytest.raises(AlreadyExistsError, match="thesis"):
        write_bundle(make(), tmp_path / "b")
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o755
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("name", ["config.json", "rootfs"])
def test_a_link_inside_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "b").mkdir(mode=0o700)
    (tmp_path / "b" / name).symlink_to(tmp_path / "victim")

    with pytest.raises(InvalidError):
        write_bundle(make(), tmp_path / "b")


def test_a_fifo_for_a_config_is_not_waited_for(tmp_path: Path) -> None:
    prepare_bundle(tmp_path / "b")
    os.mkfifo(tmp_path / "b/config.json")

    with pytest.raises(InvalidError, match="not a file"):
        write_bundle(make(), tmp_path / "b")


def test_a_missing_parent_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="none/b"):
        write_bundle(make(), tmp_path / "none/b")


def test_what_is_not_there_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        read_spec(tmp_path / "b")
    prepare_bundle(tmp_path / "b")
    with pytest.raises(NotFoundError, match=r"config\.json"):
        read_spec(tmp_path / "b")


def test_of_many_writers_of_different_specs_one_succeeds(tmp_path: Path) -> None:
    results: list[str] = []
    barrier = threading.Barrier(8)

    def write(name: str) -> None:
        barrier.wait()
        try:
            write_bundle(make(name), tmp_path / "b")
            results.append(name)
        except AlreadyExistsError:
            pass

    threads = [threading.Thread(target=write, args=(str(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(results) == 1
    assert read_spec(tmp_path / "b") == make(results[0])


def test_a_removed_bundle_is_gone_and_removing_it_again_is_success(tmp_path: Path) -> None:
    write_bundle(make(), tmp_path / "b")
    for left in ("runtime.log", ".runtime.pid"):  # the latter by a runtime that was killed
        (tmp_path / "b" / left).touch()

    remove_bundle(tmp_path / "b")
    remove_bundle(tmp_path / "b")

    assert list(tmp_path.iterdir()) == []


def test_a_bundle_with_a_root_is_not_removed(tmp_path: Path) -> None:
    (write_bundle(make(), tmp_path / "b").rootfs / "file").touch()

    with pytest.raises(PreconditionError, match="not empty"):
        remove_bundle(tmp_path / "b")
    assert read_spec(tmp_path / "b") == make()


def test_removing_leaves_what_is_foreign(tmp_path: Path) -> None:
    write_bundle(make(), tmp_path / "b")
    (tmp_path / "b/notes").touch()

    remove_bundle(tmp_path / "b")

    assert [path.name for path in (tmp_path / "b").iterdir()] == ["notes"]


def test_a_link_is_not_removed_as_a_bundle(tmp_path: Path) -> None:
    write_bundle(make(), tmp_path / "b")
    (tmp_path / "link").symlink_to("b")

    with pytest.raises(InvalidError):
        remove_bundle(tmp_path / "link")
    assert read_spec(tmp_path / "b") == make()


def test_a_bundle_is_run_once_at_a_time(tmp_path: Path) -> None:
    write_bundle(make(), tmp_path / "b")

    with running(tmp_path / "b"):
        with pytest.raises(AlreadyExistsError, match="being run"), running(tmp_path / "b"):
            pass
        assert write_bundle(make(), tmp_path / "b").rootfs == tmp_path / "b/rootfs"
    with running(tmp_path / "b"):
        pass


@pytest.mark.parametrize("container_id", ["a", "0", "web-1", "A_b.c+d", "x" * 128])
def test_a_container_id_is_given_back(container_id: str) -> None:
    assert check_container_id(container_id) == container_id


@pytest.mark.parametrize(
    "container_id", ["", ".", "..", "../../x", "a/b", "a\n", "\na", "-x", "--root", "_x", "x" * 300, "ä", "a b", "a\0"]
)
def test_what_is_no_container_id_is_refused(container_id: str) -> None:
    with pytest.raises(InvalidError, match="container id"):
        check_container_id(container_id)


@given(st.text())
def test_a_container_id_is_one_harmless_word(text: str) -> None:
    try:
        container_id = check_container_id(text)
    except PrestowError:
        return
    assert os.path.basename(container_id) == container_id  # noqa: PTH119 - the text is judged, not a path
    assert container_id not in {"", ".", ".."}
    assert not container_id.startswith("-")
