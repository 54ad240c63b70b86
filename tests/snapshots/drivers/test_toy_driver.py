"""A new driver: a module, a line in ``all``, and the suite for any snapshotter; the rest of the engine knows it."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from prestow.fsck.run import fsck
from prestow.gc.prune import prune
from prestow.metadata.tag import untag
from prestow.oci.image import Image
from prestow.snapshots.create import create_snapshot
from prestow.snapshots.drivers import all as every
from prestow.snapshots.drivers.probe import probe
from prestow.snapshots.mounts.mount import mount_all, unmount
from prestow.space.admission import admit
from prestow.store.node import Node, open_node
from tests.conformance import snapshotter
from tests.conformance.bench import Bench
from tests.pulling import NAME, pulled_demo
from tests.snapshots.drivers.toy import ToySnapshotter


@pytest.fixture
def node(mounting: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    """A store whose drivers are the product's and the toy."""
    monkeypatch.setattr(every, "KINDS", (*every.KINDS, ToySnapshotter))
    with closing(open_node(mounting / "store")) as node:
        yield node


@pytest.fixture
def image(node: Node, demo_layout: Path) -> Image:
    """An image that the toy has unpacked."""
    return pulled_demo(node, demo_layout, drivers=("toy",))


def place(node: Node, image: Image) -> Path:
    """Return the folder of an image's tree."""
    return node.home / "snapshots/toy" / str(node.snapshotter("toy").stat(image.chain_id).id) / "fs"


def damaged(node: Node, *, repair: bool = False) -> list[str]:
    """Return what is damaged in a store."""
    return [damage.name for each in fsck(node, None, repair=repair).every for damage in each.found.damaged]


@pytest.mark.parametrize("law", snapshotter.SUITE, ids=snapshotter.name)
def test_the_toy_keeps(law: Callable[[Bench], None], mounting: Path) -> None:
    with Bench(mounting / "store", ToySnapshotter) as bench:
        law(bench)


def test_a_container_is_made_on_it(node: Node, image: Image, mounting: Path) -> None:
    with node.lease("test") as lease:
        assert admit(node, lease, image, "toy", root=True) >= 1
    created = create_snapshot(node.snapshotter("toy"), "box", image.chain_id)

    (mounting / "root").mkdir()
    mount_all(created.mounts, mounting / "root")

    shown = sorted(path.name for path in (mounting / "root").iterdir())
    unmount(mounting / "root")
    assert shown == sorted(path.name for path in place(node, image).iterdir()) != []
    assert probe(node.home / "snapshots")[-1].driver == "toy"


def test_fsck_finds_what_is_damaged_and_repairs_it(node: Node, image: Image) -> None:
    assert damaged(node) == []
    file = next(path for path in sorted(place(node, image).rglob("*")) if path.is_file() and not path.is_symlink())
    (place(node, image).parent / "row.json").unlink()
    file.chmod(0o123)

    assert str(file) in damaged(node, repair=True)
    assert damaged(node) == []


def test_recovery_removes_what_no_row_names(node: Node, image: Image) -> None:
    stray = node.home / "snapshots/toy/1234"
    stray.mkdir()

    node.recover(whole=True)

    assert not stray.exists()
    assert node.snapshotter("toy").committed(image.chain_id)


def test_a_lost_database_is_made_again(node: Node, image: Image) -> None:
    node.database.close()
    for path in node.home.glob("metadata.db*"):
        path.unlink()

    again = Node(node.home, node.store_id)

    assert {info.key for info in again.snapshots() if info.driver == "toy"} == {x.chain_id for x in image.layers}


def test_prune_removes_what_nobody_names(node: Node, image: Image) -> None:
    untag(node.database, node.content, NAME)

    pruned = prune(node)

    assert {removed.name for removed in pruned.removed if removed.kind == "snapshot"} >= {f"toy/{image.chain_id}"}
    assert node.snapshots() == []
