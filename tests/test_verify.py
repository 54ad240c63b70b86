"""Verify: what is as it was says nothing, and what is not is named."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from prestow.content.verify import verify as verify_layer
from prestow.errors import PrestowError
from prestow.layers.apply import apply
from prestow.metadata.tag import tag
from prestow.node import Node, open_node
from prestow.oci.image import Image
from prestow.platforms import host
from prestow.reference import parse_source
from prestow.registry.fetch import fetch_layer, fetch_manifest
from prestow.registry.resolve import resolve
from prestow.snapshots.commit import commit_snapshots
from prestow.verify import verify

NAME = "localhost/demo:latest"


@pytest.fixture(params=["erofs", "overlay", "native"])
def stored(request: pytest.FixtureRequest, tmp_path: Path, demo_layout: Path) -> Iterator[tuple[Node, Image]]:
    """A store with the demo image, unpacked by one driver."""
    node, reference = open_node(str(tmp_path / "store")), f"oci:{demo_layout}:demo"
    target = resolve(node.source(reference), node.content, parse_source(reference))
    image = fetch_manifest(node.source(reference), node.content, target, host())
    for layer in image.layers:
        fetch_layer(node.source(reference), node.content, layer.descriptor)
        verify_layer(node.content, layer.descriptor)
        apply(node.content, layer, scans=node.scans)
    commit_snapshots(node.snapshotter(request.param), image)
    tag(node.database, node.content, NAME, target)
    yield node, image
    node.close()


def damaged(node: Node) -> list[str]:
    return [f"{damage.kind} {damage.name}" for damage in verify(node, node.images.get(NAME)).damaged]


def test_what_nobody_touched_is_well(stored: tuple[Node, Image]) -> None:
    node, image = stored
    read: list[int] = []

    found = verify(node, node.images.get(NAME), progress=read.append)

    assert found.damaged == ()
    assert found.snapshots == 1
    assert found.blobs >= 3 + 2 * len(image.layers)
    assert sum(read) == found.bytes > 0


def test_a_flipped_byte_of_a_layer_is_named(stored: tuple[Node, Image]) -> None:
    node, image = stored
    path = node.content.path(image.layers[1].descriptor.digest)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.unlink()
    path.write_bytes(data)

    assert damaged(node) == [f"layer {image.layers[1].descriptor.digest}"]


def test_a_missing_diff_blob_is_named_and_the_snapshot_that_needs_it(stored: tuple[Node, Image]) -> None:
    node, image = stored
    node.content.delete(image.layers[0].diff_id)

    names = damaged(node)

    assert f"diff blob {image.layers[0].diff_id}" in names
    assert any(name.startswith("snapshot") and name.endswith(image.chain_id) for name in names)


def test_damage_is_a_result_even_where_nothing_can_be_read(stored: tuple[Node, Image]) -> None:
    node, image = stored
    for blob in list(node.content.walk()):
        node.content.path(blob.digest).write_bytes(b"")

    try:
        names = damaged(node)
    except PrestowError as error:
        pytest.fail(f"raised {error}")

    assert names == [f"document {image.target.digest}"]
