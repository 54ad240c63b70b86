"""The store's books: what disagrees between names, rows and the disk is found, and made right; nothing is lost."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from prestow.digest import Digest
from prestow.fsck.run import fsck
from prestow.fsck.store import fsck_store
from prestow.metadata.container_files import ContainerRecord
from prestow.snapshots.create import create_snapshot
from prestow.store.node import Node, open_node
from tests.conformance.snapshotter_damage import flip
from tests.pulling import pulled

Change = Callable[[Node], object]


@pytest.fixture
def node(tmp_path: Path, demo_layout: Path) -> Iterator[Node]:
    with closing(open_node(str(tmp_path / "store"))) as node:
        pulled(node, f"oci:{demo_layout}:demo", "localhost/demo:latest")
        yield node


def _stray(place: str) -> Change:
    def change(node: Node) -> None:
        path = node.home / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"whose?")

    return change


def _rotten(node: Node) -> None:
    path = node.content.path(Digest.of(b"of no image"))
    path.write_bytes(b"no longer that")


def _index(names: Callable[[list[object]], list[object]]) -> Change:
    def change(node: Node) -> None:
        path = node.content.root / "index.json"
        document = json.loads(path.read_bytes())
        document["manifests"] = names(document["manifests"])
        path.unlink()
        path.write_text(json.dumps(document))

    return change


def _upper(node: Node) -> None:
    """Lose the folder of a snapshot that no container has."""
    driver = next(driver for driver in node.snapshotters if driver.driver == "native")
    create_snapshot(driver, "mine", next(info.key for info in driver.walk() if info.diff_id))  # type: ignore[arg-type]
    shown = Path(driver.mounts("mine")[0].source)
    shown.rename(node.home / "elsewhere")


def _instead(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink(missing_ok=True)
    make(path)


def _row(node: Node) -> None:
    with node.database.transaction() as cursor:
        cursor.execute(
            "INSERT INTO snapshots (driver, key, kind, parent, id, diff_id, created_at)"
            " VALUES ('erofs', ?, 'committed', NULL, 99, ?, 0)",
            (str(Digest.of(b"chain")), str(Digest.of(b"diff"))),
        )


def _folder(node: Node) -> Path:
    driver = node.snapshotter("overlay")
    return node.home / "snapshots/overlay" / str(next(driver.walk()).id)


def _container(node: Node) -> None:
    digest = Digest.of(b"manifest")
    node.containers.put(ContainerRecord("default", "gone", "x", digest, "native", "gone", "/nowhere", 0.0))


def _reference(node: Node) -> None:
    node.database.read("PRAGMA foreign_keys = OFF")
    with node.database.transaction() as cursor:
        cursor.execute("INSERT INTO lease_resources VALUES ('none', 'content', 'x')")


DAMAGE: dict[str, tuple[Change, str]] = {
    "a file in content": (_stray("content/rubbish"), "unknown"),
    "a file among the blobs": (_stray("content/blobs/sha256/rubbish"), "unknown"),
    "a file among the snapshots": (_stray("snapshots/rubbish"), "unknown"),
    "a bundle without container": (_stray("bundles/nobodys/config.json"), "unknown"),
    "a rotten blob of no image": (_rotten, "blob"),
    "a name that the index lacks": (_index(lambda _: []), "name"),
    "an index that is no JSON": (lambda node: (node.content.root / "index.json").write_bytes(b"{"), "index.json"),
    "a pipe for an index": (lambda node: _instead(node.content.root / "index.json", os.mkfifo), "index.json"),
    "a folder for an index": (lambda node: _instead(node.content.root / "index.json", os.mkdir), "index.json"),
    "a layout of another version": (
        lambda node: (node.content.root / "oci-layout").write_text('{"imageLayoutVersion": "9"}'),
        "oci-layout",
    ),
    "a pipe for the layout": (lambda node: _instead(node.content.root / "oci-layout", os.mkfifo), "oci-layout"),
    "a pipe for the containers": (lambda node: _instead(node.home / "containers", os.mkfifo), "containers"),
    "a file for the containers": (_stray("containers"), "containers"),
    "a folder among the containers": (_stray("containers/a.json/b"), "containers"),
    "a pipe where older versions wrote them": (
        lambda node: _instead(node.home / "containers.json", os.mkfifo),
        "containers",
    ),
    "a folder where older versions wrote them": (
        lambda node: _instead(node.home / "containers.json", os.mkdir),
        "containers",
    ),
    "a lost folder": (_upper, "row"),
    "a row without anything": (_row, "database"),
    "a container without anything": (_container, "container"),
    "nonsense among the containers": (_stray("containers/a.json"), "containers"),
    "stale containers": (lambda node: (node.home / "containers.json").write_text('[{"id": 1}]'), "containers"),
    "a folder that does not tell": (lambda node: _folder(node).joinpath("row.json").write_text("{}"), "row.json"),
    "a folder that tells nothing": (lambda node: _folder(node).joinpath("row.json").unlink(), "row.json"),
    "a row that refers to none": (_reference, "database"),
}


def names(node: Node) -> list[tuple[object, ...]]:
    """Return what names stand for."""
    return [(image.name, image.target, image.labels) for image in node.images.list()]


def test_a_sound_store_is_in_order(node: Node) -> None:
    found = fsck_store(node)

    assert (found.damaged, found.digest, found.blobs) == ((), None, 0)


@pytest.mark.parametrize("change", DAMAGE)
def test_what_disagrees_is_found_and_put_right(node: Node, change: str) -> None:
    damage, kind = DAMAGE[change]
    before = names(node)
    damage(node)

    found = fsck(node, None)
    mended = fsck(node, None, repair=True)
    after = fsck(Node(node.home, node.store_id), None)

    assert found.store is not None
    assert [each.kind for each in found.store.left] == [kind]
    assert found.damaged == 1
    assert (mended.damaged, after.damaged) == (0, 0)
    assert mended.store is not None
    assert all(each.how for each in mended.store.mended)
    assert names(node) == before


def test_a_name_that_only_the_index_has_comes_back(node: Node) -> None:
    record = node.images.list()[0]
    with node.database.transaction() as cursor:
        cursor.execute("DELETE FROM images")
        cursor.execute("DELETE FROM name_changes")

    fsck(node, None, repair=True)

    assert node.images.get(record.name).target == record.target


def test_nothing_is_deleted_that_was_not_made_here(node: Node) -> None:
    _stray("content/rubbish")(node)

    fsck(node, None, repair=True)

    held = node.content.quarantine_area.list()
    assert [each.path for each in held] == [str(node.content.root / "rubbish")]
    assert [path.read_bytes() for path in held[0].folder.rglob("*") if path.read_bytes() == b"whose?"]


def test_looking_changes_nothing_whatever_is_found(node: Node) -> None:
    flip(node.content.path(node.images.list()[0].target.digest))
    listed = sorted((node.content.root / "blobs/sha256").iterdir())

    assert fsck(node, None).damaged > 0
    assert sorted((node.content.root / "blobs/sha256").iterdir()) == listed
