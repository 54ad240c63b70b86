"""Bundles written and removed, killed before any system call, and with any of them failing."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from prestow.errors import ExhaustedError, NotFoundError, StorageError
from prestow.runtime.bundle import read_spec, remove_bundle, write_bundle
from prestow.runtime.rootfs import DirectoryRoot
from prestow.runtime.spec import Spec
from tests.conformance.crash import failing_at_each_call, killed_at_each_call
from tests.runtime.busybox import make_rootfs, make_spec

SECTIONS = {"process": {"args": ["sh"]}, "root": {}, "mounts": [], "annotations": {}, "linux": {}}
SPEC = Spec.of({"ociVersion": "1.0.2", **SECTIONS})


def whole_or_missing(directory: Path) -> bool:
    """Whether there is a spec; half of one would not be read."""
    try:
        assert read_spec(directory) == SPEC
    except NotFoundError:
        return False
    return True


def test_a_killed_writer_leaves_nothing_or_all_and_the_next_one_succeeds(tmp_path: Path) -> None:
    outcomes = []
    for _ in killed_at_each_call(lambda: write_bundle(SPEC, tmp_path / "b")):
        outcomes.append(whole_or_missing(tmp_path / "b"))

        write_bundle(SPEC, tmp_path / "b")

        assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["config.json", "rootfs"]
        shutil.rmtree(tmp_path / "b")
    assert set(outcomes) == {False, True}


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_a_failing_disk_leaves_nothing_or_all_and_is_one_of_our_errors(tmp_path: Path, number: int) -> None:
    error = OSError(number, os.strerror(number))
    came = []
    for found in failing_at_each_call(lambda: write_bundle(SPEC, tmp_path / "b"), error):
        came.append(type(found))
        whole_or_missing(tmp_path / "b")
        shutil.rmtree(tmp_path / "b", ignore_errors=True)

    assert set(came) == {StorageError if number == errno.EIO else ExhaustedError}


def test_a_killed_removal_is_finished_by_the_next_one(tmp_path: Path) -> None:
    write_bundle(SPEC, tmp_path / "b")
    for _ in killed_at_each_call(lambda: remove_bundle(tmp_path / "b")):
        remove_bundle(tmp_path / "b")

        assert not (tmp_path / "b").exists()
        write_bundle(SPEC, tmp_path / "b")


def test_a_failing_disk_under_an_image_is_one_of_our_errors(tmp_path: Path) -> None:
    root = DirectoryRoot(make_rootfs(tmp_path / "rootfs"))

    def look() -> None:
        root.read("/etc/passwd", 1000)
        root.stat("/bin/sh")
        root.is_empty("/etc")

    came = list(failing_at_each_call(look, OSError(errno.EIO, "Input/output error")))

    assert came
    assert {type(error) for error in came} == {StorageError}


def test_a_transformation_writes_nothing(tmp_path: Path) -> None:
    rootfs = make_rootfs(tmp_path / "rootfs")
    before = sorted(tmp_path.rglob("*"))

    spec = make_spec(rootfs, {"User": "app", "WorkingDir": "/made", "Volumes": {"/data": {}}})

    assert spec.warnings == ()
    assert sorted(tmp_path.rglob("*")) == before
