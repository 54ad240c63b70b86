"""Space: what an image still needs, against what the disk has."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestow.content.verify import verify as commit
from prestow.errors import ExhaustedError
from prestow.layers.ahead import ahead
from prestow.layers.apply import apply
from prestow.node import Node, open_node
from prestow.oci.image import Image
from prestow.registry.fetch import fetch_layer
from prestow.space import RATIO, Needs, admit, free_space, needs
from tests.image_factory import demo_layers
from tests.test_verify import pulled

HUGE = str(1 << 60)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return open_node(str(tmp_path / "store"))


@pytest.fixture
def image(node: Node, demo_layout: Path) -> Image:
    """The demo image, of which only the documents are here."""
    return pulled(node, demo_layout, drivers=())


def again(node: Node) -> Node:
    """Give the store as another process sees it, which reads the settings anew."""
    return Node(node.home, node.store_id)


def test_of_an_image_that_is_not_here_everything_is_needed(node: Node, image: Image) -> None:
    sizes = sorted((layer.descriptor.size for layer in image.layers), reverse=True)

    found = needs(image, node.content, driver="erofs")

    assert found.blobs == tuple(sizes)
    assert found.unpacked == sum(int(size * RATIO) for size in sizes)
    assert 0 < found.files < found.unpacked / 50
    assert found.bytes == sum(sizes) + found.unpacked + found.files


@pytest.mark.parametrize("driver", ["overlay", "native"])
def test_drivers_that_write_files_need_them_once_more(node: Node, image: Image, driver: str) -> None:
    found, mapped = (needs(image, node.content, driver=kind) for kind in (driver, "erofs"))

    assert found.files > found.unpacked
    assert found.inodes > mapped.inodes
    assert (found.blobs, found.unpacked) == (mapped.blobs, mapped.unpacked)


def test_of_an_image_that_is_here_nothing_is_needed(node: Node, demo_layout: Path) -> None:
    image = pulled(node, demo_layout, drivers=("erofs",))

    assert needs(image, node.content, driver="erofs", unpacked=True) == Needs((), 0, 0, 0)
    assert needs(image, node.content, driver="native").bytes > 0


def test_what_is_here_of_a_layer_is_not_needed_again(node: Node, image: Image) -> None:
    before = needs(image, node.content, driver="erofs")
    layer = image.largest_first[0]
    with node.content.writer(f"layer-{layer.descriptor.digest}", total=layer.descriptor.size) as writer:
        writer.write(bytes(10))

    after = needs(image, node.content, driver="erofs")

    assert before.bytes - after.bytes == 10


def test_a_blob_is_needless_beside_its_diff_blob_where_blobs_do_not_stay(node: Node, demo_layout: Path) -> None:
    image = pulled(node, demo_layout, drivers=("erofs",))
    for layer in image.layers:
        node.content.delete(layer.descriptor.digest)

    assert needs(image, node.content, driver="erofs", unpacked=True, keep_blobs=False).bytes == 0
    kept = needs(image, node.content, driver="erofs", unpacked=True)
    assert kept.bytes == sum(layer.descriptor.size for layer in image.layers)


@given(st.lists(st.integers(1, 1 << 40), max_size=8), st.integers(0, 1 << 40), st.integers(0, 1 << 40))
def test_fewer_layers_at_once_never_need_more(blobs: list[int], unpacked: int, files: int) -> None:
    found = Needs(tuple(sorted(blobs, reverse=True)), unpacked, files, 0)

    needed = [found.at_most(at_once) for at_once in range(len(blobs) + 1)]

    assert needed == sorted(needed)
    assert (needed[0], needed[-1]) == (unpacked + files, found.bytes)


def test_what_does_not_fit_is_refused_with_the_figures_and_what_helps(
    node: Node, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRESTOW_MIN_FREE_BYTES", HUGE)

    with pytest.raises(ExhaustedError) as refused:
        admit(again(node), image, "erofs")

    said = str(refused.value)
    assert image.manifest.digest.short in said
    assert str(node.home) in said
    for word in ("fetched", "unpacked", "inodes", "prestow prune", "keep_blobs = false", "--home", "check_space"):
        assert word in said


def _switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESTOW_CHECK_SPACE", "false")


def _with_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESTOW_MIN_FREE_BYTES", "0")


@pytest.mark.parametrize("settings", [_switched_off, _with_room])
def test_what_fits_or_is_not_checked_is_admitted_all_at_once(
    node: Node, image: Image, monkeypatch: pytest.MonkeyPatch, settings: Callable[[pytest.MonkeyPatch], None]
) -> None:
    monkeypatch.setenv("PRESTOW_MIN_FREE_BYTES", HUGE)
    settings(monkeypatch)

    assert admit(again(node), image, "native") == len(image.layers)


def test_what_is_complete_is_admitted_on_a_full_disk(
    node: Node, demo_layout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = pulled(node, demo_layout, drivers=("native",))
    monkeypatch.setenv("PRESTOW_MIN_FREE_BYTES", HUGE)

    assert admit(again(node), image, "native") == 1


def unpacked(node: Node, layout: Path, image: Image) -> None:
    """Fetch and unpack an image that was admitted."""
    source = node.source(f"oci:{layout}:demo")
    for layer in image.layers:
        with ahead(node.content, layer, scans=node.scans, progress=lambda _: None) as arrived:
            fetch_layer(source, node.content, layer.descriptor, progress=arrived)
        commit(node.content, layer.descriptor)
        apply(node.content, layer, scans=node.scans)


def test_the_layers_of_an_image_are_limited_together_and_to_the_byte(
    node: Node, image: Image, demo_layout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    total = sum(len(tar) for tar in demo_layers("amd64"))
    monkeypatch.setenv("PRESTOW_MAX_IMAGE_BYTES", str(total - 1))
    limited = again(node)
    admit(limited, image, "erofs")

    with pytest.raises(ExhaustedError, match=f"more than {total - 1} bytes when decompressed; raise max_image_bytes"):
        unpacked(limited, demo_layout, image)

    assert sum(node.content.info(layer.diff_id).size for layer in image.layers[:-1]) < total
    assert not node.content.has(image.layers[-1].diff_id)
    later = again(node)
    admit(later, image, "erofs")
    with pytest.raises(ExhaustedError, match="max_image_bytes"):
        apply(later.content, image.layers[-1], scans=later.scans)
    monkeypatch.setenv("PRESTOW_MAX_IMAGE_BYTES", str(total))
    allowed = again(node)
    admit(allowed, image, "erofs")
    unpacked(allowed, demo_layout, image)
    assert node.content.has(image.layers[-1].diff_id)


def test_the_file_system_is_asked_for_what_an_ordinary_user_may_have(tmp_path: Path) -> None:
    found = os.statvfs(tmp_path)

    free = free_space(tmp_path)

    assert 0 < free.bytes <= found.f_bfree * found.f_frsize
    assert free.inodes is None or free.inodes <= found.f_ffree
