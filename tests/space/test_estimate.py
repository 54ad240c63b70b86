"""Space: what an image still needs, against what the disk has."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestow.content.refs import layer_ref
from prestow.layers.materialise import materialise
from prestow.oci.image import Image
from prestow.snapshots.chain import Chain
from prestow.snapshots.drivers.all import kinds
from prestow.space.estimate import RATIO, Needs, free_space, needs, of_root, of_tree
from prestow.store.node import Node, open_node
from tests.pulling import pulled_demo


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return open_node(str(tmp_path / "store"))


@pytest.fixture
def image(node: Node, demo_layout: Path) -> Image:
    """The demo image, of which only the documents are here."""
    return pulled_demo(node, demo_layout, drivers=())


def test_of_an_image_that_is_not_here_everything_is_needed(node: Node, image: Image) -> None:
    sizes = sorted((layer.descriptor.size for layer in image.layers), reverse=True)

    found = needs(image, node.content, shows_layers=True)

    assert found.blobs == tuple(sizes)
    assert found.unpacked == sum(int(size * RATIO) for size in sizes)
    assert 0 < found.files < found.unpacked / 50
    assert found.bytes == sum(sizes) + found.unpacked + found.files


@pytest.mark.parametrize("driver", ["overlay", "native"])
def test_drivers_that_write_files_need_them_once_more(node: Node, image: Image, driver: str) -> None:
    found, mapped = (needs(image, node.content, shows_layers=kinds()[name].shows_layers) for name in (driver, "erofs"))

    assert found.files > found.unpacked
    assert found.inodes > mapped.inodes
    assert (found.blobs, found.unpacked) == (mapped.blobs, mapped.unpacked)


def test_of_an_image_that_is_here_nothing_is_needed(node: Node, demo_layout: Path) -> None:
    image = pulled_demo(node, demo_layout, drivers=("erofs",))

    assert needs(image, node.content, shows_layers=True, unpacked=True) == Needs((), 0, 0, 0)
    assert needs(image, node.content, shows_layers=False).bytes > 0


def test_what_is_here_of_a_layer_is_not_needed_again(node: Node, image: Image) -> None:
    before = needs(image, node.content, shows_layers=True)
    layer = image.largest_first[0]
    with node.content.writer(layer_ref(layer.descriptor.digest), total=layer.descriptor.size) as writer:
        writer.write(bytes(10))

    after = needs(image, node.content, shows_layers=True)

    assert before.bytes - after.bytes == 10


def test_a_blob_is_needless_beside_its_diff_blob_where_blobs_do_not_stay(node: Node, demo_layout: Path) -> None:
    image = pulled_demo(node, demo_layout, drivers=("erofs",))
    for layer in image.layers:
        node.content.delete(layer.descriptor.digest)

    assert needs(image, node.content, shows_layers=True, unpacked=True, keep_blobs=False).bytes == 0
    kept = needs(image, node.content, shows_layers=True, unpacked=True)
    assert kept.bytes == sum(layer.descriptor.size for layer in image.layers)


@given(st.lists(st.integers(1, 1 << 40), max_size=8), st.integers(0, 1 << 40), st.integers(0, 1 << 40))
def test_fewer_layers_at_once_never_need_more(blobs: list[int], unpacked: int, files: int) -> None:
    found = Needs(tuple(sorted(blobs, reverse=True)), unpacked, files, 0)

    needed = [found.at_most(at_once) for at_once in range(len(blobs) + 1)]

    assert needed == sorted(needed)
    assert (needed[0], needed[-1]) == (unpacked + files, found.bytes)


def test_the_file_system_is_asked_for_what_an_ordinary_user_may_have(tmp_path: Path) -> None:
    found, free = os.statvfs(tmp_path), free_space(tmp_path)
    while os.statvfs(tmp_path) != found:  # others write there, too
        found, free = os.statvfs(tmp_path), free_space(tmp_path)

    assert 0 < free.bytes <= found.f_bfree * found.f_frsize
    assert free.inodes is None or free.inodes <= found.f_ffree


def test_layers_that_somebody_else_makes_are_not_needed(node: Node, image: Image) -> None:
    every = {layer.diff_id for layer in image.layers}

    found = needs(image, node.content, shows_layers=True, counted=every)

    assert (found.blobs, found.unpacked) == ((), 0)
    assert found.files == needs(image, node.content, shows_layers=True).files


def test_of_a_tree_a_copy_takes_as_many_inodes_and_no_more_bytes(node: Node, demo_layout: Path, tmp_path: Path) -> None:
    image = pulled_demo(node, demo_layout, drivers=("erofs",))
    tree = Chain.of_image(image).tree(node.scans.tree)

    found = of_tree(tree)

    copy = tmp_path / "copy"
    materialise(tree, lambda at: node.content.open_fd(image.layers[at].diff_id), copy, privileged=os.geteuid() == 0)
    made = {status.st_ino: status for status in map(os.lstat, [copy, *copy.rglob("*")])}.values()
    data = sum(status.st_blocks * 512 for status in made)
    assert found.inodes == len(made)
    assert 0 < data <= found.bytes
    assert of_root(image).bytes > 0
