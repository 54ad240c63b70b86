"""Heal: what a step meets that rotted on the disk is made again, and fetched only if it has to be."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from prestow.content.verify import verify as commit
from prestow.digest import Digest
from prestow.errors import InvalidError, MismatchError
from prestow.fsck.retry import retry_with_sound_blobs
from prestow.layers.apply import apply
from prestow.oci.image import Image, Layer
from prestow.platforms import Platform
from prestow.registry.blob import fetch_blob
from prestow.registry.fetch import fetch_manifest
from prestow.snapshots.commit import commit_snapshots
from prestow.store.node import Node, open_node
from tests.conformance.snapshotter_damage import cut, flip
from tests.image_factory import put_image, tag
from tests.registries import FaultRegistry


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with closing(open_node(str(tmp_path / "store"))) as node:
        yield node


@pytest.fixture
def reference(fault_registry: FaultRegistry) -> str:
    return f"{fault_registry.domain}/app:demo"


@pytest.fixture
def image(node: Node, reference: str) -> Image:
    """An image whose layers are stored, and nothing more."""
    return stored(node, reference)


def stored(node: Node, reference: str) -> Image:
    source = node.source(reference)
    image = fetch_manifest(source, node.content, source.resolve(), Platform("linux", "amd64"))
    for layer in image.layers:
        fetch_blob(source, node.content, layer.descriptor)
        commit(node.content, layer.descriptor)
    return image


def applied(node: Node, layer: Layer, reference: str | None) -> None:
    retry_with_sound_blobs(node, [layer], reference, lambda: apply(node.content, layer, scans=node.scans))


def committed(node: Node, image: Image, reference: str | None, driver: str) -> None:
    retry_with_sound_blobs(node, image.layers, reference, lambda: commit_snapshots(node.snapshotter(driver), image))


def asked(registry: FaultRegistry) -> list[str]:
    return [request.path.rpartition("/")[2] for request in registry.seen]


def held(node: Node) -> list[str]:
    return [Path(each.path).name for each in node.content.quarantine_area.list()]


def _other_bytes(path: Path) -> None:
    """Replace the whole content, so that not even its magic number is left."""
    path.chmod(0o600)
    path.write_bytes(b"\xff" * path.stat().st_size)


@pytest.mark.parametrize("change", [flip, _other_bytes])
def test_a_layer_that_rotted_is_fetched_again_and_applied(
    node: Node, image: Image, reference: str, fault_registry: FaultRegistry, change: Callable[[Path], None]
) -> None:
    layer = image.layers[0]
    change(node.content.path(layer.descriptor.digest))
    fault_registry.seen.clear()

    applied(node, layer, reference)

    assert asked(fault_registry) == [layer.descriptor.digest]
    assert held(node) == [layer.descriptor.digest.encoded]
    for digest in (layer.descriptor.digest, layer.diff_id):
        node.content.check(digest)


@pytest.mark.parametrize("driver", ["erofs", "overlay", "native"])
def test_a_diff_blob_that_rotted_is_decompressed_again_and_nothing_is_fetched(
    node: Node, image: Image, reference: str, fault_registry: FaultRegistry, driver: str
) -> None:
    for layer in image.layers:
        applied(node, layer, reference)
    rotten = image.layers[1].diff_id
    _other_bytes(node.content.path(rotten))
    fault_registry.seen.clear()

    with closing(Node(node.home, node.store_id)) as fresh:  # which has scanned nothing
        committed(fresh, image, reference, driver)

    assert asked(fault_registry) == []
    assert held(node) == [rotten.encoded]
    assert list(node.snapshotter(driver).verify(image.chain_id)) == []


def test_an_unpacked_image_whose_diff_blob_was_cut_is_not_taken_as_here(
    node: Node, image: Image, reference: str, fault_registry: FaultRegistry
) -> None:
    for layer in image.layers:
        applied(node, layer, reference)
    committed(node, image, reference, "erofs")
    node.content.delete(image.layers[1].descriptor.digest)
    cut(node.content.path(image.layers[1].diff_id))
    fault_registry.seen.clear()

    with closing(Node(node.home, node.store_id)) as fresh:
        assert not fresh.snapshotter("erofs").committed(image.chain_id)
        committed(fresh, image, reference, "erofs")

    assert asked(fault_registry) == [image.layers[1].descriptor.digest]
    assert node.snapshotter("erofs").committed(image.chain_id)
    assert node.content.check(image.layers[1].diff_id).size > 0


def test_where_nothing_is_to_be_fetched_it_goes_to_quarantine_and_the_advice_is_to_pull(
    node: Node, image: Image, reference: str
) -> None:
    layer = image.layers[0]
    flip(node.content.path(layer.descriptor.digest))

    with pytest.raises(MismatchError, match="was corrupt on disk, and is in quarantine now; pull the image again"):
        applied(node, layer, None)

    applied(node, stored(node, reference).layers[0], None)
    node.content.check(layer.diff_id)


def test_who_comes_second_finds_what_the_first_made_again(
    node: Node, image: Image, reference: str, fault_registry: FaultRegistry
) -> None:
    layer = image.layers[0]
    flip(node.content.path(layer.descriptor.digest))
    fault_registry.seen.clear()
    tried = []

    def work() -> None:
        tried.append(layer)
        try:
            apply(node.content, layer, scans=node.scans)
        finally:
            if len(tried) == 1:  # another process fails at the same time, and is quicker
                applied(node, layer, reference)

    retry_with_sound_blobs(node, [layer], None, work)

    assert len(tried) == 2
    assert asked(fault_registry) == [layer.descriptor.digest]
    assert held(node) == [layer.descriptor.digest.encoded]


def test_an_image_that_is_broken_itself_stays_broken_and_nothing_is_moved(
    node: Node, fault_registry: FaultRegistry
) -> None:
    layout = fault_registry.layout
    tag(layout, put_image(layout, [b"no tar" * 1000]), "demo")
    layer = stored(node, f"{fault_registry.domain}/app:demo").layers[0]
    fault_registry.seen.clear()

    with pytest.raises(InvalidError):
        applied(node, layer, f"{fault_registry.domain}/app:demo")

    assert (asked(fault_registry), held(node)) == ([], [])


def test_an_uncompressed_layer_that_was_cut_is_fetched_again(node: Node, fault_registry: FaultRegistry) -> None:
    layout = fault_registry.layout
    tag(layout, put_image(layout, [bytes(4096)], compression="none"), "demo")
    reference = f"{fault_registry.domain}/app:demo"
    layer = stored(node, reference).layers[0]
    assert layer.diff_id == layer.descriptor.digest
    os.truncate(node.content.path(layer.diff_id), 1024)
    fault_registry.seen.clear()

    stored(node, reference)

    assert asked(fault_registry)[-1] == layer.diff_id
    assert Digest.of(node.content.path(layer.diff_id).read_bytes()) == layer.diff_id
