"""Recovery: what dead processes left goes, what living ones have stays, and a store in order is not touched."""

from pathlib import Path

import pytest

from prestow.content.process_identity import owned_name
from prestow.store.node import Node, open_node
from tests.crash.apart import forked

PLACES = (".store.json", "content/.index.json", "snapshots/.probe.json", "prefect/.record")


@pytest.fixture
def node(tmp_path: Path) -> Node:
    node = open_node(tmp_path / "store")
    node.recover()
    return node


def abandoned_name(stem: str) -> str:
    """Return a name as :func:`owned_name` does, of a process that died."""
    return forked(lambda: owned_name(stem))


def listed(home: Path) -> dict[str, int]:
    return {str(path.relative_to(home)): path.lstat().st_mtime_ns for path in home.rglob("*")}


def test_a_store_in_order_is_not_touched(node: Node) -> None:
    before = listed(node.home)

    node.recover()

    assert listed(node.home) == before


@pytest.mark.parametrize("place", PLACES)
def test_what_a_dead_process_was_about_to_name_goes_and_what_a_living_one_is_stays(node: Node, place: str) -> None:
    mine, dead = node.home / owned_name(place), node.home / abandoned_name(place)
    mine.parent.mkdir(exist_ok=True)
    for path in (mine, dead):
        path.write_bytes(b"half")

    node.recover()

    assert (mine.exists(), dead.exists()) == (True, False)


def test_what_a_dead_process_tried_goes_with_what_else_it_left(node: Node) -> None:
    attempt = node.home / "snapshots" / abandoned_name(".probe")
    (attempt / "mnt").mkdir(parents=True)
    (attempt / "tar").write_bytes(b"x")
    other = node.home / "snapshots" / abandoned_name(".probe.json")
    other.write_bytes(b"x")

    node.recover()

    assert (attempt.exists(), other.exists()) == (False, False)


def test_what_cannot_be_removed_keeps_nothing_else_back(node: Node) -> None:
    foreign = node.home / "trash" / "tree-0"
    (foreign / "mnt").mkdir(parents=True)
    unfinished = node.home / "ingest" / ("0" * 64)
    unfinished.mkdir()
    node.bundle_folder("c")
    note = node.home / "bundles/.underway/c"
    note.parent.mkdir()
    note.touch()
    (node.home / "bundles/c").mkdir(0o700)
    (node.home / "bundles/c/theirs").touch()

    node.recover()

    assert not foreign.exists()
    assert not unfinished.exists()
    assert (node.home / "bundles/c/theirs").exists()
