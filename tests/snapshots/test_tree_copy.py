"""Copies of trees are equal to them."""

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings

from prestow.layers.materialise import materialise
from prestow.snapshots.tree_copy import copy_root, copy_tree
from tests.snapshots.unprivileged import NOBODY, as_nobody, home_of_nobody
from tests.trees import Sample, differences, listing, samples

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make devices and owners")


@needs_root
@settings(deadline=None, max_examples=10)
@given(samples())
def test_any_tree_is_copied_as_it_is(sample: Sample) -> None:
    with tempfile.TemporaryDirectory() as place:
        source, target = Path(place, "source"), Path(place, "target")
        materialise(sample.root, sample.save(Path(place)).open, source, privileged=True)
        target.mkdir()

        copy_tree(source, target)

        assert differences(listing(source), listing(target)) == []


def test_holes_stay_holes(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for folder in (source, target):
        folder.mkdir()
    with (source / "file").open("wb") as file:
        file.seek(50 << 20)
        file.write(b"data")
        file.truncate(100 << 20)

    copy_tree(source, target)

    copied = (target / "file").stat()
    assert copied.st_size == 100 << 20
    assert copied.st_blocks * 512 < 1 << 20
    with (target / "file").open("rb") as file:
        file.seek(50 << 20)
        assert file.read(5) == b"data\0"


def test_a_roots_attributes_can_be_copied_alone(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir(mode=0o751)
    (source / "file").touch()
    target.mkdir()
    os.setxattr(source, "user.a", b"b")
    os.utime(source, ns=(1, 12345))

    copy_root(source, target)

    assert list(target.iterdir()) == []
    assert target.stat().st_mode == source.stat().st_mode
    assert target.stat().st_mtime_ns == 12345
    assert os.getxattr(target, "user.a") == b"b"


@needs_root
def test_overlayfs_marks_are_not_copied(tmp_path: Path) -> None:
    for name in ("source", "target"):
        (tmp_path / name).mkdir()
    os.setxattr(tmp_path / "source", "trusted.overlay.opaque", b"y")

    copy_root(tmp_path / "source", tmp_path / "target")

    assert os.listxattr(tmp_path / "target") == []


@needs_root
def test_an_ordinary_user_copies_what_is_his_and_leaves_out_what_only_root_may_set() -> None:
    with home_of_nobody() as home:
        source, target = home / "source", home / "target"
        (source / "folder").mkdir(parents=True)
        (source / "folder" / "file").write_text("content")
        (source / "folder" / "again").hardlink_to(source / "folder" / "file")
        before = listing(source)
        os.setxattr(source / "folder" / "file", "security.capability", bytes.fromhex("0100000200040000" + 24 * "0"))
        target.mkdir()
        os.chown(target, NOBODY, NOBODY)

        as_nobody(lambda: copy_tree(source, target))

        copied = {path: replace(listed, uid=0, gid=0) for path, listed in listing(target).items()}
        assert differences(before, copied) == []
