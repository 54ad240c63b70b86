"""Drivers on file systems of every kind: what is said to work has been tried, and is what works."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from prestow.errors import StorageError, UnsupportedError
from prestow.snapshots.drivers.probe import choose, probe
from prestow.snapshots.mounts.mount import mount_all, overlaid
from prestow.snapshots.mounts.mountinfo import file_system, mounts_below
from tests.file_systems import FILE_SYSTEMS, mounted

WORK = {
    "ext4": ["erofs", "overlay", "native"],
    "tmpfs": ["erofs", "overlay", "native"],
    "overlayfs": ["native"],
    "ramfs": ["native"],
    "fuse": ["native"],
    "fuse-no-xattrs": ["native"],
    "fuse-no-owners": [],
}

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount")


@pytest.fixture(params=FILE_SYSTEMS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def root(kind: str, tmp_path: Path) -> Iterator[Path]:
    with mounted(kind, tmp_path) as folder:
        (folder / "snapshots").mkdir()
        yield folder / "snapshots"


def test_what_works_is_found_out_by_using_it(kind: str, root: Path) -> None:
    found = probe(root)

    assert [support.driver for support in found if support.works] == WORK[kind]
    assert all(support.works or (support.reason and ".probe" not in support.reason) for support in found)
    assert [path.name for path in root.iterdir()] == ["probe.json"]
    assert mounts_below(root) == ()


def test_the_best_is_chosen_and_what_does_not_work_is_refused_with_what_to_do(kind: str, root: Path) -> None:
    if WORK[kind]:
        assert choose(root) == WORK[kind][0]
    for driver in {"auto", "erofs", "overlay", "native"} - {*WORK[kind]} - ({"auto"} if WORK[kind] else set()):
        remedy = "choose native" if WORK[kind] else "ext4"
        with pytest.raises(UnsupportedError, match=remedy) as raised:
            choose(root, driver)
        assert file_system(root) in str(raised.value)


@pytest.mark.parametrize("kind", ["overlayfs", "fuse"], indirect=True)
def test_a_mount_that_fails_names_the_file_system_and_what_to_do(kind: str, root: Path) -> None:
    lower, upper, work, target = (root / name for name in ("lower", "upper", "work", "target"))
    for folder in (lower, upper, work, target):
        folder.mkdir()

    with pytest.raises(StorageError, match=rf"{upper} is on {file_system(root)}: .*doctor.*--driver"):
        mount_all([overlaid([lower], upper, work)], target)

    assert file_system(root) == {"overlayfs": "overlay", "fuse": "fuse"}[kind]


@pytest.mark.parametrize("changed", ["boot_id", "kernel", "uid", "capabilities", "device", "file_system", "tried"])
def test_what_was_found_elsewhere_or_otherwise_does_not_count(tmp_path: Path, changed: str) -> None:
    probe(tmp_path)
    record = tmp_path / "probe.json"
    document = json.loads(record.read_bytes())
    document["drivers"][0] = {"driver": "erofs", "works": False, "reason": "remembered"}
    record.write_text(json.dumps(document))
    assert probe(tmp_path)[0].reason == "remembered"

    record.write_text(json.dumps({**document, changed: "another"}))

    assert probe(tmp_path)[0].works


def test_a_store_that_moves_to_another_file_system_is_tried_anew(tmp_path: Path) -> None:
    with mounted("ext4", tmp_path) as disk, mounted("overlayfs", tmp_path) as container:
        assert choose(disk) == "erofs"
        (container / "probe.json").write_bytes((disk / "probe.json").read_bytes())

        assert choose(container) == "native"
