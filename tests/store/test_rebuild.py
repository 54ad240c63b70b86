"""A database that was lost or damaged is made again from the disk: names, snapshots, containers and what they wrote."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from prestow.content.lock import FileLock
from prestow.digest import Digest
from prestow.errors import PreconditionError, StorageError
from prestow.fsck.run import fsck
from prestow.gc.prune import prune
from prestow.metadata.container_files import ContainerRecord, container_file
from prestow.metadata.containers import Containers
from prestow.metadata.publish import publish_names
from prestow.metadata.tag import label, tag
from prestow.oci.descriptor import Descriptor
from prestow.oci.lookup import find_image
from prestow.platforms import Platform
from prestow.snapshots.create import create_snapshot
from prestow.snapshots.mounts.mount import unmount
from prestow.snapshots.mounts.mountinfo import mounts_below
from prestow.snapshots.row_file import NAME
from prestow.store.node import Node, open_node
from tests.pulling import pulled

_LIST = "from prestow.store.node import open_node; import sys; print(len(open_node(sys.argv[1]).images.list()))"

Rows = tuple[object, ...]


@pytest.fixture
def node(tmp_path: Path, demo_layout: Path) -> Iterator[Node]:
    """A store with an image in every driver, a container on each, and one snapshot that a person committed."""
    with closing(open_node(str(tmp_path / "store"))) as node:
        record, image = pulled(node, f"oci:{demo_layout}:demo", "localhost/demo:latest")
        label(node.database, node.content, record.name, {"team": "vision"})
        for driver in node.snapshotters:
            make_container(node, driver.driver, driver.driver, record.name)
            driver.prepare("mine", image.layers[0].chain_id)
            driver.commit("kept", "mine")
            driver.prepare("on-top", "kept")
        tag(node.database, node.content, "localhost/theirs:1", record.target, source="elsewhere/a:1", namespace="ci")
        theirs = ContainerRecord("ci", "native", "localhost/theirs:1", image.manifest.digest, "copy", "", "", 2.5)
        Containers(node.database, "ci").put(replace(theirs, bundle=str(_bundle(node, "theirs"))))
        yield node
    for mount in reversed(mounts_below(tmp_path)):
        unmount(Path(mount.path))


def make_container(node: Node, container_id: str, driver: str, image: str) -> Path:
    """Make a container of an image, without a mount, and give the file that it has written."""
    record = node.images.get(image)
    found = find_image(node.content, record.target, Platform("linux", "amd64"))
    bundle = _bundle(node, container_id)
    key, root = "", bundle / "rootfs"
    if driver != "copy":
        key = create_snapshot(node.snapshotter(driver), container_id, found.chain_id).key
        root = _upper(node, driver, key)
    digest = found.manifest.digest
    node.containers.put(ContainerRecord("default", container_id, image, digest, driver, key, str(bundle), 1.5))
    (root / "written").write_text("by the container")
    return root / "written"


def _bundle(node: Node, name: str) -> Path:
    bundle = node.bundle_folder(name)
    (bundle / "rootfs").mkdir(parents=True)
    (bundle / "config.json").write_text("{}")
    return bundle


def _upper(node: Node, driver: str, key: str) -> Path:
    return node.home / "snapshots" / driver / str(node.snapshotter(driver).stat(key).id) / "fs"


def known(node: Node) -> Rows:
    """Return what a store knows, but for numbers and times that the reason is not recorded."""
    images = [(image.namespace, image.name, image.target, image.labels) for image in node.images.every()]
    snapshots = {(i.driver, i.key, i.kind, i.parent, i.diff_id, i.id * (i.diff_id is None)) for i in node.snapshots()}
    return images, snapshots, node.containers.every()


def _garbage(path: Path) -> None:
    path.write_bytes(b"garbage" * 1000)


def _flipped(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:200] + bytes(255 - byte for byte in data[200:]))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "garbage": _garbage,
    "flipped pages": _flipped,
    "emptied": lambda path: path.write_bytes(b""),
    "removed": os.unlink,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_lost_database_is_made_again_and_nothing_is_lost(
    node: Node, damage: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    before = known(node)
    node.database.close()
    damage(node.database.path)

    with closing(Node(node.home, node.store_id)) as fresh:
        assert known(fresh) == before
        assert "rebuilt from the files on disk (names: 2, " in caplog.text
        assert fsck(fresh, None).damaged == 0
        fresh.recover()
        assert known(fresh) == before
        for driver in ("erofs", "overlay", "native"):
            assert _upper(fresh, driver, driver).joinpath("written").read_text() == "by the container"


def test_names_have_their_times_again_and_count_as_used(node: Node) -> None:
    with node.database.transaction() as cursor:
        cursor.execute("UPDATE images SET created_at = 5.25, updated_at = 6.5")
    publish_names(node.database, node.content)
    node.database.close()
    node.database.path.unlink()

    found = Node(node.home, node.store_id).images.every()

    assert [(image.created_at, image.updated_at) for image in found] == [(5.25, 6.5)] * 2
    assert all(image.used_at is not None and image.used_at > 1e9 for image in found)


def test_damage_in_the_middle_is_found_by_verify_and_repaired(node: Node) -> None:
    before = known(node)
    (root,) = node.database.read("SELECT rootpage FROM sqlite_schema WHERE name = 'images'")[0]
    (size,) = node.database.read("PRAGMA page_size")[0]
    node.database.close()
    with node.database.path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)

    found = fsck(Node(node.home, node.store_id), None)
    repaired = fsck(Node(node.home, node.store_id), None, repair=True)

    assert found.store is not None
    assert [damage.kind for damage in found.store.left] == ["database"]
    assert repaired.damaged == 0
    assert [len(each.found.damaged) for each in repaired.images] == [0, 0]
    assert known(Node(node.home, node.store_id)) == before


@pytest.mark.parametrize("driver", ["erofs", "overlay", "native", "copy"])
def test_a_log_that_was_removed_takes_no_container_with_it(node: Node, driver: str) -> None:
    node.database.close()
    data = node.database.path.read_bytes()
    written = make_container(node, "late", driver, node.containers.list()[0].image)
    label(node.database, node.content, node.images.list()[0].name, {"team": "audio"})
    before = known(node)
    node.database.close()
    node.database.path.write_bytes(data)

    with closing(Node(node.home, node.store_id)) as fresh:
        fresh.recover()

        assert known(fresh) == before
        assert written.read_text() == "by the container"
        assert fsck(fresh, None).damaged == 0


def test_whoever_dies_while_he_makes_a_container_does_not_look_like_a_lost_log(node: Node) -> None:
    written = make_container(node, "late", "overlay", node.containers.list()[0].image)
    with node.database.transaction() as cursor:
        cursor.execute("DELETE FROM containers WHERE id = 'late'")
    used = node.images.list()

    node.recover()

    assert node.content.quarantine_area.list() == ()
    assert (node.images.list(), written.read_text()) == (used, "by the container")


def test_what_is_nowhere_else_is_taken_over_as_far_as_it_can_be_read(node: Node) -> None:
    record = node.images.list()[0]
    other = next(blob for blob in node.content.walk() if blob.digest != record.target.digest)
    node.images.put(record.name, Descriptor(record.target.media_type, other.digest, other.size))
    node.images.put(record.name, record.target)
    lease = node.leases.create("somebody", 3600)
    node.leases.add(lease.id, "content", [other.digest])
    with node.database.transaction() as cursor:
        cursor.execute("PRAGMA ignore_check_constraints = ON")
        cursor.execute("INSERT INTO generations VALUES ('default', 'x', 'nonsense', '', -1, 0)")
        cursor.execute("PRAGMA ignore_check_constraints = OFF")

    node.database.rebuild("a test wants it")

    assert [row["digest"] for row in node.database.read("SELECT digest FROM generations")] == [other.digest]
    assert node.leases.list() == (lease,)
    assert node.leases.resources(lease.id)["content"] == (other.digest,)


def test_layers_that_had_rows_only_can_be_made_after_it_and_are_found_by_the_next(node: Node) -> None:
    node.database.rebuild("a test wants it")
    lower = next(info for info in node.snapshotter("native").walk() if info.diff_id)
    assert node.snapshotter("native").prepare("on-lower", lower.key)
    before = known(node)

    node.database.rebuild("a test wants it again")

    assert known(node) == before
    assert [held.path for held in node.content.quarantine_area.list()].count(str(node.database.path)) == 2
    assert fsck(node, None).damaged == 0


def test_processes_that_find_it_damaged_at_once_make_it_again_once(node: Node) -> None:
    node.database.close()
    _garbage(node.database.path)

    processes = [
        subprocess.Popen([sys.executable, "-c", _LIST, str(node.home)], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]

    assert [process.communicate()[0] for process in processes] == ["1\n"] * 4
    moved = [held for held in node.content.quarantine_area.list() if held.path.endswith("metadata.db")]
    assert len(moved) == 1


def test_who_finds_another_process_at_it_says_so_and_waits(node: Node) -> None:
    node.database.close()
    node.database.path.unlink()

    with FileLock(node.home / "metadata.lock", timeout=0, what="the test"):
        other = subprocess.Popen(
            [sys.executable, "-c", _LIST, str(node.home)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert other.stderr is not None
        said = f"the making of {node.database.path} from what is on disk, which is in use by process {os.getpid()}"
        assert other.stderr.readline() == f"waiting for {said}\n"
        assert not node.database.path.exists()

    assert other.communicate()[0] == "1\n"


def test_a_folder_that_says_nothing_of_itself_goes_to_quarantine(node: Node) -> None:
    folder = _upper(node, "overlay", "on-top").parent
    (folder / NAME).unlink()
    node.database.close()
    node.database.path.unlink()

    fresh = Node(node.home, node.store_id)

    assert ("overlay", "on-top") not in {(info.driver, info.key) for info in fresh.snapshots()}
    assert [held.path for held in fresh.content.quarantine_area.list()] == [str(folder)]


def test_an_index_that_is_lost_too_costs_the_names_only(node: Node) -> None:
    snapshots = known(node)[1]
    node.database.close()
    node.database.path.unlink()
    (node.content.root / "index.json").write_bytes(b"{")
    (node.home / "names.log").unlink()

    fresh = Node(node.home, node.store_id)

    assert (fresh.images.every(), known(fresh)[1]) == ((), snapshots)


def test_a_file_of_a_container_that_is_lost_too_costs_that_container_only(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    images, snapshots, (lost, *others) = known(node)
    node.database.close()
    node.database.path.unlink()
    container_file(node.home, lost).write_text("[{}]")

    fresh = Node(node.home, node.store_id)

    assert known(fresh) == (images, snapshots, tuple(others))
    assert "save what containers wrote before the next prune" in caplog.text


@pytest.mark.parametrize("makes_sense", [True, False])
def test_containers_that_an_older_version_wrote_are_read_back(node: Node, *, makes_sense: bool) -> None:
    images, snapshots, containers = known(node)
    node.database.close()
    node.database.path.unlink()
    shutil.rmtree(node.home / "containers")
    old = node.home / "containers.json"
    old.write_text(json.dumps([asdict(record) for record in containers]) if makes_sense else "[{}]")

    fresh = Node(node.home, node.store_id)

    assert known(fresh) == (images, snapshots, containers if makes_sense else ())
    assert old.exists() == makes_sense


def test_a_store_of_a_newer_prestow_is_left_alone(node: Node) -> None:
    node.database.close()
    with closing(sqlite3.connect(node.database.path)) as raw:
        raw.execute("PRAGMA user_version = 99")
    before = node.database.path.read_bytes()

    with pytest.raises(Exception, match="newer prestow"):
        Node(node.home, node.store_id).images.list()

    assert node.database.path.read_bytes() == before
    assert Digest.of(before) == Digest.of(node.database.path.read_bytes())


def _other(text: str) -> str:
    """Return a text of which one bit is another, so that a digest is a digest still."""
    return text[:-1] + {"0": "1", "1": "0"}.get(text[-1], chr(ord(text[-1]) ^ 1) if text[-1] not in "9f" else "8")


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("images", "digest"),
        ("snapshots", "diff_id"),
        ("containers", "manifest_digest"),
        ("containers", "snapshot_key"),
        ("containers", "bundle"),
    ],
)
def test_a_row_that_contradicts_the_disk_does_not_spoil_what_the_disk_tells(
    node: Node, table: str, column: str
) -> None:
    before = known(node)
    with node.database.transaction() as cursor:
        (text,) = cursor.execute(f"SELECT {column} FROM {table} WHERE {column} != '' LIMIT 1").fetchone()
        cursor.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (_other(text), text))
    node.database.close()

    found = fsck(Node(node.home, node.store_id), None)
    with suppress(PreconditionError, StorageError):
        prune(Node(node.home, node.store_id))
    mended = fsck(Node(node.home, node.store_id), None, repair=True)

    assert found.store is not None
    assert [damage.kind for damage in found.store.left] == ["database"]
    assert mended.damaged == 0
    for driver in ("erofs", "overlay", "native"):
        assert _upper(node, driver, driver).joinpath("written").read_text() == "by the container"
    assert known(Node(node.home, node.store_id)) == before
