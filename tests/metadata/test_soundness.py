"""A database of which a part is damaged takes nothing with it: what rows that vanished named stays, and comes back."""

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from prestow.digest import Digest
from prestow.errors import StorageError
from prestow.fsck.run import fsck
from prestow.gc.prune import prune
from prestow.metadata.images import Images
from prestow.metadata.layout_index import read_index
from prestow.metadata.schema import PARTS, parts
from prestow.metadata.soundness import faults
from prestow.metadata.tag import tag
from prestow.snapshots.create import create_snapshot
from prestow.store.node import Node, open_node
from tests.pulling import NAME, pulled_demo

ADVICE = "fsck --all --repair"


@pytest.fixture
def node(tmp_path: Path, demo_layout: Path) -> Iterator[Node]:
    """A store with an image, and a snapshot on it that somebody wrote into."""
    with closing(open_node(str(tmp_path / "store"))) as node:
        image = pulled_demo(node, demo_layout, drivers=["native"])
        create_snapshot(node.snapshotter("native"), "work", image.chain_id)
        (_folder(node) / "written").write_text("once")
        node.database.close()
        yield node


def _folder(node: Node) -> Path:
    return Path(node.snapshotter("native").mounts("work")[0].source)


def emptied(node: Node, index: str) -> None:
    """Let the page of an index say that it has no entry."""
    with closing(sqlite3.connect(node.database.path)) as raw:
        (root,) = raw.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (index,)).fetchone()
        (size,) = raw.execute("PRAGMA page_size").fetchone()
    with node.database.path.open("r+b") as file:
        file.seek((root - 1) * size + 3)
        file.write(b"\0\0")


def test_names_that_vanished_are_not_pruned_and_stay_in_the_index(node: Node) -> None:
    record = node.images.get(NAME)
    index = (node.content.root / "index.json").read_bytes()
    blobs = [blob.digest for blob in node.content.walk()]
    node.database.close()
    emptied(node, "sqlite_autoindex_images_1")
    assert node.images.every() == ()

    with pytest.raises(StorageError, match=ADVICE):
        prune(node)
    assert (node.content.root / "index.json").read_bytes() == index
    with suppress(StorageError):
        tag(node.database, node.content, "localhost/other:1", record.target)

    assert {named.name for named in read_index(node.content.root)} == {NAME, "localhost/other:1"}
    assert [blob.digest for blob in node.content.walk()] == blobs
    assert fsck(node, None, repair=True).damaged == 0
    assert {image.name: image.target for image in node.images.every()} == dict.fromkeys(
        (NAME, "localhost/other:1"), record.target
    )


def test_folders_of_rows_that_vanished_are_no_rubbish(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    folder = _folder(node)
    node.database.close()
    emptied(node, "sqlite_autoindex_snapshots_2")

    node.recover()

    assert ADVICE in caplog.text
    assert (folder / "written").read_text() == "once"
    assert fsck(node, None, repair=True).damaged == 0
    assert (_folder(node) / "written").read_text() == "once"


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [("images", "digest", "sha256:nonsense"), ("images", "labels", "7"), ("snapshots", "kind", "x")],
)
def test_a_row_that_makes_no_sense_is_damage(node: Node, table: str, column: str, value: str) -> None:
    with closing(sqlite3.connect(node.database.path)) as raw:
        raw.execute("PRAGMA ignore_check_constraints = ON")
        raw.execute(f"UPDATE {table} SET {column} = ?", (value,))
        raw.commit()

    with pytest.raises(StorageError, match=ADVICE):
        (Images(node.database).list(), list(node.snapshotter("native").walk()))
    assert faults(node.database)
    assert fsck(node, None, repair=True).damaged == 0
    assert faults(node.database) == []


def test_a_name_that_stands_for_nothing_here_does_not_spoil_the_index(node: Node) -> None:
    record = node.images.get(NAME)
    with node.database.transaction() as cursor:
        cursor.execute("UPDATE images SET digest = ?", (Digest.of(b"of no image"),))

    with pytest.raises(StorageError, match=ADVICE):
        tag(node.database, node.content, "localhost/other:1", record.target)

    assert fsck(node, None, repair=True).damaged == 0
    assert node.images.get(NAME).target == record.target


def test_a_database_that_was_migrated_has_all_parts(node: Node) -> None:
    assert parts() <= {tuple(row) for row in node.database.read(PARTS)}
    assert faults(node.database) == []


@pytest.mark.parametrize(("right", "wrong"), [("PRIMARY KEY", "PRIMARX KEY"), ("  id ", "  ie "), ("TABLE", "TABLD")])
def test_tables_that_are_not_ours_are_damage(node: Node, right: str, wrong: str) -> None:
    node.database.close()
    with closing(sqlite3.connect(node.database.path)) as raw:
        raw.execute("PRAGMA writable_schema = ON")
        raw.execute("UPDATE sqlite_schema SET sql = replace(sql, ?, ?) WHERE name = 'leases'", (right, wrong))
        assert raw.total_changes == 1
        raw.commit()

    assert fsck(node, None, repair=True).damaged == 0
    assert faults(node.database) == []
    assert node.images.get(NAME)


@pytest.mark.parametrize("seed", range(12))
def test_a_flipped_bit_loses_nothing_and_is_an_error_of_ours_or_none(node: Node, seed: int) -> None:
    chance = random.Random(seed)
    data = bytearray(node.database.path.read_bytes())
    record, folder = node.images.get(NAME), _folder(node)
    node.database.close()
    at = chance.choice([place for place in range(100, len(data)) if data[place]])
    data[at] ^= 1 << chance.randrange(8)
    node.database.path.write_bytes(data)

    for work in (node.images.every, node.snapshots, node.recover, lambda: prune(node)):
        try:
            work()
        except StorageError as error:
            assert ADVICE in str(error)  # noqa: PT017 - whichever meets it

    assert (folder / "written").read_text() == "once"
    assert fsck(node, None, repair=True).damaged == 0
    assert node.images.get(NAME).target == record.target
    assert (folder / "written").read_text() == "once"
