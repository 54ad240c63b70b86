"""Examine: one image, or all of all namespaces and the store's books; what is told names whose it is."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from prestow.cancellation import watched
from prestow.digest import Digest
from prestow.errors import CancelledError
from prestow.fsck.run import fsck
from prestow.metadata.container_files import ContainerRecord
from prestow.metadata.containers import Containers
from prestow.metadata.tag import tag
from prestow.oci.image import Image
from prestow.store.node import Node, open_node
from tests.cancel_at import CancelAt
from tests.conformance.snapshotter_damage import flip
from tests.pulling import pulled

NAME = "localhost/demo:latest"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with closing(open_node(str(tmp_path / "store"))) as node:
        yield node


@pytest.fixture
def image(node: Node, demo_layout: Path) -> Image:
    """An image that two other namespaces have under the same name, and nobody else."""
    record, image = pulled(node, f"oci:{demo_layout}:demo", NAME)
    with node.database.transaction() as cursor:
        cursor.execute("DELETE FROM images")
    for namespace in ("ci", "web"):
        tag(node.database, node.content, NAME, record.target, namespace=namespace)
    return image


def test_all_means_those_of_all_namespaces(node: Node, image: Image) -> None:
    flip(node.content.path(image.layers[0].diff_id))

    found = fsck(node, None)
    mended = fsck(node, None, repair=True)

    assert [each.found.shown for each in found.every] == [f"ci: {NAME}", f"web: {NAME}", "the store"]
    assert [len(each.left) > 0 for each in found.every] == [True, True, False]
    assert mended.damaged == 0
    assert fsck(node, None).damaged == 0
    assert [(each.namespace, each.name) for each in node.images.every()] == [("ci", NAME), ("web", NAME)]


def test_containers_of_one_id_are_told_apart(node: Node, image: Image) -> None:
    for namespace in ("ci", "default"):
        lost = ContainerRecord(namespace, "c1", NAME, Digest.of(b"manifest"), "copy", "", "/nowhere", 0.0)
        Containers(node.database, namespace).put(lost)

    found = fsck(node, None, repair=True).store

    assert found is not None
    assert [damage.name for damage in found.found.damaged] == ["ci: c1", "c1"]
    assert [mended.how for mended in found.mended] == ["the container was removed"] * 2
    assert node.containers.every() == ()


@pytest.mark.long
def test_wherever_it_is_cancelled_nothing_is_taken_for_damage(node: Node, image: Image) -> None:
    whole = 1_000_000
    with watched(CancelAt(whole)) as token:
        assert fsck(node, None, repair=True).damaged == 0
    looks = whole - token.left

    assert looks > 20
    for look in range(1, looks + 1):
        with watched(CancelAt(look)), pytest.raises(CancelledError, match=r"^enough$"):
            fsck(node, None, repair=True)
    assert not (node.home / "quarantine").exists()
    assert fsck(node, None).damaged == 0
